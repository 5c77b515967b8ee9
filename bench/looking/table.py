"""What the table of 30 000 runs takes, as a client and as a screen see it, and how much a browser is sent at first."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psutil
from querying import stores

from flor_ray.store.compacting.compaction import Compactor
from flor_ray.store.store import Store
from tests import page
from tests.ui import worlds

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUESTIONS: dict[str, dict[str, object]] = {
    "first page": {},
    "another page": {"first": 20_000},
    "sorted": {"sort": "-lr"},
    "filtered": {"where": "lr < 1000 AND status = 'finished' AND run LIKE '%7'"},
    "sorted by a feature": {"columns": ["run", "loss"], "sort": "-loss"},
}
_TIMES = 7
_SORTED = """async () => {
  const began = performance.now();
  const header = [...document.querySelectorAll("th .sorter")].find((one) => one.textContent.startsWith("epochs"));
  const before = document.querySelector("th[aria-sort]").textContent;
  header.click();
  while (document.querySelector("th[aria-sort]").textContent === before) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def make(folder: Path, runs: int) -> None:
    """A compacted store of so many runs, of which a tenth has logged something."""
    if (folder / ".flor").exists():
        return
    worlds.folder(folder)
    worlds.compacted(folder, [stores.experiment(number) for number in range(runs)])
    store = Store(str(folder / ".flor"))
    for number in range(0, runs, 10):
        store.append_logs(stores.PROJECT, stores.version_of(number), "recorded", 0, stores.records_of(number))
    Compactor(store, stores.PROJECT).compact()


def figures(folder: Path, browser: Browser) -> dict[str, float]:
    """All of them, of a store that `make` has made."""
    sizes: list[int] = []
    with page.serving(folder) as (url, process):
        tab = browser.new_context().new_page()
        tab.on("response", lambda response: sizes.append(len(response.body())))
        began = time.perf_counter()
        tab.goto(url)
        tab.locator("table.runs tbody td.choose").first.wait_for(timeout=120_000)
        opened = 1000 * (time.perf_counter() - began)
        tab.wait_for_timeout(3000)
        sent = sum(sizes)
        screen = statistics.median(float(tab.evaluate(_SORTED)) for _ in range(_TIMES))
        tab.context.close()
        found = _asked(url, psutil.Process(process.pid))
    return {**found, "runs_sorted_on_screen_ms": screen, "runs_opened_ms": opened, "bytes_first_load": sent}


def _asked(url: str, server: psutil.Process) -> dict[str, float]:
    """How long questions to the table take: the slowest kind, and what the first one to a feature costs."""
    host, token = url.partition("/?")[0], url.partition("token=")[2]

    def ask(parameters: dict[str, object]) -> None:
        text = urlencode(parameters, doseq=True)
        with urlopen(Request(f"{host}/api/runs?{text}", headers={"authorization": f"token {token}"})) as answer:
            json.load(answer)

    walls, cpus, first = {}, {}, 0.0
    for what, parameters in QUESTIONS.items():
        each = [_timed(lambda asked=parameters: ask(asked), server) for _ in range(_TIMES)]  # type: ignore[misc]
        walls[what], cpus[what] = (1000 * statistics.median(one[i] for one in each) for i in (0, 1))
        first = 1000 * each[0][0]
        print(f"{what:20} {walls[what]:6.0f} ms, {cpus[what]:6.0f} ms of the server's processor", flush=True)
    return {"runs_page_ms": max(walls.values()), "runs_page_cpu_ms": max(cpus.values()), "runs_new_feature_ms": first}


def _timed(do: Callable[[], None], server: psutil.Process) -> tuple[float, float]:
    before, began = server.cpu_times(), time.perf_counter()
    do()
    wall, after = time.perf_counter() - began, server.cpu_times()
    return wall, after.user + after.system - before.user - before.system

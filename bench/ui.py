"""What the page takes: the table of 30 000 runs, and the first load.

    runs_page_ms        the slowest of: first page, another page, sorted, filtered (median of each, as a client sees it)
    runs_page_cpu_ms    the same in milliseconds of the server's processor, which other work here does not change
    bytes_first_load    all that a browser is sent until the table stands there

Prints a table and, last, one JSON object. `--quick` has 3 000 runs; `--store FOLDER` keeps the store there, and takes
one that it has. `--pictures` takes those of docs/ui.md of a recorded project: `--pictures FOLDER`, such as the demo's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the browser is driven as in the tests

from querying import stores  # noqa: E402

from flor_ray.store.compacting.compaction import Compactor  # noqa: E402
from flor_ray.store.store import Store  # noqa: E402
from tests import page  # noqa: E402

GOALS = {"runs_page_ms": 300, "bytes_first_load": 300_000}
QUESTIONS = {
    "first page": {},
    "another page": {"first": 20_000},
    "sorted": {"sort": "-lr"},
    "filtered": {"where": "lr < 1000 AND status = 'finished' AND run LIKE '%7'"},
}
_TIMES = 7
PICTURES = ROOT / "docs/pictures"


def main() -> None:
    options = _options()
    if options.pictures:
        take_pictures(Path(options.pictures))
        return
    runs = 3000 if options.quick else 30_000
    with tempfile.TemporaryDirectory(prefix="flor-ui-") as temporary:
        folder = Path(options.store or temporary)
        make(folder, runs)
        with page.served(folder) as url:
            found = {"runs": runs, **table(url), "bytes_first_load": first_load(url)}
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    found["date"] = time.strftime("%Y-%m-%d")
    found["missed"] = [name for name, limit in GOALS.items() if float(str(found[name])) > limit]
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3000 runs")
    parser.add_argument("--store", metavar="FOLDER", help="a project's folder, made where it is not there")
    parser.add_argument("--pictures", metavar="FOLDER", help="take the pictures of docs/ui.md of the project there")
    options: argparse.Namespace = parser.parse_args()
    return options


def make(folder: Path, runs: int) -> None:
    """A compacted store of so many runs, of which a tenth has logged something."""
    url = folder / ".flor"
    if url.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    stores.make(str(url), range(runs // 10))
    stores.make(str(url), range(runs // 10, runs), with_logs=False)
    Compactor(Store(str(url)), stores.PROJECT).compact()


def table(url: str) -> dict[str, object]:
    """How long questions to the table of runs take, after the first."""
    host, token = url.partition("/?")[0], url.partition("token=")[2]
    server = psutil.Process(os.getpid()).children()[-1]

    def ask(parameters: dict[str, object]) -> None:
        text = urlencode(parameters)
        with urlopen(Request(f"{host}/api/runs?{text}", headers={"authorization": f"token {token}"})) as answer:
            json.load(answer)

    ask({})  # the listing itself, which is made while the browser starts
    walls, cpus = {}, {}
    for what, parameters in QUESTIONS.items():
        each = [_timed(lambda parameters=parameters: ask(parameters), server) for _ in range(_TIMES)]  # type: ignore[misc]
        walls[what] = round(1000 * statistics.median(wall for wall, _ in each))
        cpus[what] = round(1000 * statistics.median(cpu for _, cpu in each))
        print(f"{what:15} {walls[what]:6} ms, {cpus[what]:6} ms of the server's processor", flush=True)
    return {"runs_page_ms": max(walls.values()), "runs_page_cpu_ms": max(cpus.values())}


def _timed(do: Callable[[], None], server: psutil.Process) -> tuple[float, float]:
    before, began = server.cpu_times(), time.perf_counter()
    do()
    wall, after = time.perf_counter() - began, server.cpu_times()
    return wall, after.user + after.system - before.user - before.system


def first_load(url: str) -> int:
    """Bytes that a browser is sent until the table of runs stands there."""
    sizes: list[int] = []
    with page.browser() as browser:
        tab = browser.new_context().new_page()
        tab.on("response", lambda response: sizes.append(len(response.body())))
        tab.goto(url)
        tab.locator("table.runs tbody td.choose").first.wait_for(timeout=120_000)
        tab.wait_for_timeout(500)
    print(f"{len(sizes)} answers, {sum(sizes)} bytes", flush=True)
    return sum(sizes)


def take_pictures(folder: Path) -> None:
    """Those of docs/ui.md, and the one of the README."""
    from flor_ray.store.project import Project

    versions = ",".join(run.version for run in Project.open(str(folder)).listed_runs()[:2])
    shots = {"ui-runs": "#/runs", "ui-compare": f"#/compare?versions={versions}"}
    with page.served(folder, "--read-only") as url, page.browser() as browser:
        for name, place in shots.items():
            tab = browser.new_context(viewport={"width": 1100, "height": 520}).new_page()
            tab.goto(f"{url}{place}")
            tab.locator("main table tbody td").first.wait_for(timeout=120_000)
            tab.wait_for_timeout(3000)
            tab.screenshot(path=str(PICTURES / f"{name}.png"))
            print(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size} bytes")


if __name__ == "__main__":
    main()

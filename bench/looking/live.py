"""What a curve of a million points, a plan and the first row of a backfill take, in a real Chromium.

curve_1m_points_ms        from asking for the curve to its line on the screen; the server has not read it before
curve_1m_points_again_ms  and when it has
curve_1m_points_zoom_ms   from letting go of the mouse to a part of it
plan_ms                   from the click on a hole of the demo to its plan; the server has just started
plan_again_ms             and once more
first_row_after_click_s   from the click on "Run it" to the first new value in the chart
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from flor_ray.records import EpochTimes, Experiment, Level, LogRecord, Profile, Status, Value
from flor_ray.store.store import Store
from tests import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_EPOCHS, _STEPS = 20, 50_000
_PROJECT = "project"
_DRAWN = """async (hash) => {
  const began = performance.now();
  location.hash = hash;
  const ready = () => document.querySelector('.page.curves .u-over') && document.querySelector('.legend li');
  while (!ready()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def million(root: Path) -> None:
    """A project with one run that has logged a million values."""
    root.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    store, version, luck = Store(str(root / ".flor")), "a" * 40, np.random.default_rng(7)
    for epoch in range(1, _EPOCHS + 1):
        values = np.exp(-epoch / 5) + luck.normal(size=_STEPS) * 0.05
        first = (epoch - 1) * _STEPS
        records = [
            LogRecord(Level.INNER, epoch, step, "loss", 0, Value("float", value), 1e9 + first + step)
            for step, value in enumerate(values.tolist())
        ]
        store.append_logs(_PROJECT, version, "recorded", first, records)
    times = tuple(EpochTimes(epoch, 0.1, 2.0, 0.1, _STEPS) for epoch in range(1, _EPOCHS + 1))
    store.end_run(
        Experiment(
            *(_PROJECT, version, None, "train.py", "long", 1e9, 1e9 + 60, Status.FINISHED, {"lr": 0.1}),
            main_loop="epoch",
            nested_loop="step",
            epochs=_EPOCHS,
            profile=Profile(1.0, times),
        )
    )
    store.merge_logs(_PROJECT, version, "recorded")


def curves(browser: Browser, root: Path) -> dict[str, float]:
    """The figures of the curve."""
    with page.serving(root) as (url, process), page.looked_at(browser, f"{url}#/timeline") as seen:
        shown = seen.page
        shown.get_by_text("No replay has run yet").wait_for()
        time.sleep(5)  # the server imports what it will need
        before = _processor_ms(process.pid)
        first = shown.evaluate(_DRAWN, "#/curves?name=loss")
        spent = _processor_ms(process.pid) - before
        again, zoomed = _again(shown), _zoom(shown)
        return {
            "curve_1m_points_ms": first,
            "curve_1m_points_cpu_ms": spent,
            "curve_1m_points_again_ms": again,
            "curve_1m_points_zoom_ms": zoomed,
        }


def _processor_ms(pid: int) -> float:
    """Processor time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system) * 1000


def _again(shown: Page) -> float:
    shown.evaluate("location.hash = '#/timeline'")
    shown.get_by_text("No replay has run yet").wait_for()
    return float(shown.evaluate(_DRAWN, "#/curves?name=loss"))


def _zoom(shown: Page) -> float:
    box = shown.locator(".u-over").bounding_box()
    if box is None:
        raise RuntimeError("There is no chart.")
    shown.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    shown.mouse.down()
    shown.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40, steps=3)
    began = time.perf_counter()
    shown.mouse.up()
    shown.get_by_role("button", name="All of it").wait_for()
    return (time.perf_counter() - began) * 1000


def backfill(browser: Browser, demo: Path) -> dict[str, float]:
    """The figures of a backfill of the demo."""
    with page.serving(demo) as (url, process), page.looked_at(browser, f"{url}#/curves?name=accuracy") as seen:
        shown = seen.page
        holes = shown.get_by_role("link", name="holes")
        holes.wait_for()
        time.sleep(5)
        before = _processor_ms(process.pid)
        first = _planned(shown)
        spent = _processor_ms(process.pid) - before
        shown.evaluate("history.back()")
        holes.wait_for()
        again = _planned(shown)
        began = time.perf_counter()
        shown.get_by_role("button", name="Run it").click()
        more = re.compile(r"^([6-9]|[1-9]\d+) values")  # than 5: the last of the demo's versions has logged its epochs
        shown.locator(".feature").get_by_text(more).wait_for(timeout=300_000)
        row = time.perf_counter() - began
        shown.get_by_label("The replay").get_by_text("has finished").wait_for(timeout=300_000)
        return {"plan_ms": first, "plan_cpu_ms": spent, "plan_again_ms": again, "first_row_after_click_s": row}


def _planned(shown: Page) -> float:
    began = time.perf_counter()
    shown.get_by_role("link", name="holes").click()
    shown.get_by_role("heading", name="The plan").wait_for()
    return (time.perf_counter() - began) * 1000


def figures(browser: Browser, demo: Path | None) -> dict[str, float]:
    """All of them; `demo` is a recorded demo, which is copied, None: it is recorded now."""
    with tempfile.TemporaryDirectory() as folder:
        million(Path(folder, "million"))
        found = curves(browser, Path(folder, "million"))
        return found | backfill(browser, copied(demo, Path(folder, "demo")))


def copied(demo: Path | None, to: Path) -> Path:
    """A demo that may be changed: a copy, or one that is recorded now."""
    if demo is not None:
        return Path(shutil.copytree(demo, to, symlinks=True))
    from flor_ray.cli import demo as recorded

    return recorded.record_all(to)

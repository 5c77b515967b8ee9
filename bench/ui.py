"""What the page takes: the table of 30 000 runs, a curve of a million points, a plan, a backfill, and the first load.

    runs_page_ms             the slowest of: first page, another page, sorted, filtered, sorted by a feature (median of
                             each, as a client sees it)
    runs_page_cpu_ms         the same in milliseconds of the server's processor, which other work here does not change
    runs_sorted_on_screen_ms from the click on a header to the rows
    curve_1m_points_ms       from asking for the curve to its line on the screen; the server has not read it before
    plan_ms                  from the click on a hole of the demo to its plan; the server has just started
    first_row_after_click_s  from the click on "Run it" to the first new value in the chart
    bytes_first_load         all that a browser is sent until the table stands there

Prints tables and, last, one JSON object; `--keep` writes that to bench/results too. `--quick` has 3 000 runs; `--store
FOLDER` keeps the store of many runs there, and takes one that it has; `--demo FOLDER` takes a copy of a recorded demo.
`--pictures` takes the pictures of docs/ui.md instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the browser is driven as in the tests

from looking import live, pictures, table  # noqa: E402

from flor_ray.reports import text_tables  # noqa: E402
from tests import page  # noqa: E402

GOALS = {
    "runs_page_ms": 300,
    "runs_sorted_on_screen_ms": 300,
    "curve_1m_points_ms": 500,
    "plan_ms": 1500,
    "first_row_after_click_s": None,
    "bytes_first_load": 300_000,
}


def main() -> None:
    options = _options()
    demo = None if options.demo is None else Path(options.demo)
    if options.pictures:
        pictures.take(demo)
        return
    runs = 3000 if options.quick else 30_000
    with tempfile.TemporaryDirectory(prefix="flor-ui-") as temporary, page.browser() as browser:
        folder = Path(options.store or Path(temporary, "many"))
        table.make(folder, runs)
        found = table.figures(folder, browser) | live.figures(browser, demo)
    found = {name: round(value, 2 if name.endswith("_s") else None) for name, value in found.items()}
    missed = [name for name, goal in GOALS.items() if goal is not None and found[name] > goal]
    print(_shown(found))
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "load": round(os.getloadavg()[0], 1),
        "quick": options.quick,
        "runs": runs,
        **found,
        "missed": missed,
    }
    if options.keep:
        name = f"ui-{platform.machine()}-{os.cpu_count()}cores-{result['date']}.json"
        Path(ROOT, "bench/results", name).write_text(f"{json.dumps(result)}\n")
    print(json.dumps(result))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3000 runs")
    parser.add_argument("--store", metavar="FOLDER", help="a project's folder, made where it is not there")
    parser.add_argument("--demo", metavar="FOLDER", help="a recorded demo, which is copied; else it is recorded")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    parser.add_argument("--pictures", action="store_true", help="take the pictures of docs/ui.md")
    options: argparse.Namespace = parser.parse_args()
    return options


def _shown(found: dict[str, float]) -> str:
    rows = []
    for name, value in found.items():
        goal = GOALS.get(name)
        verdict = "" if goal is None else "missed" if value > goal else "met"
        rows.append([name, str(value), "" if goal is None else f"<= {goal}", verdict])
    return text_tables.render(["figure", "measured", "goal", ""], rows, width=100)


if __name__ == "__main__":
    main()

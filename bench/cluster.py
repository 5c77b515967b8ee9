"""Can a cluster be trusted with a query? Faults, several users, outages, demand, ranks, and what the driver costs.

    fault_runs_simulated, fault_runs_processes, fault_runs_ray   replays of 100 segments and more, with random faults
    fault_runs_identical         of all of these those whose table is the one without faults, byte for byte
    duplicate_rows               in their tables: must be 0
    seconds_redone_per_fault_max of worker time, by any fault
    driver_ms_per_segment        of the driver's CPU, real replays on Ray
    driver_rss_growth_mb         of the driver, after its first 50 segments
    makespan_ratio               over the least possible, of actors that sleep for each segment
    epochs_replayed_twice_by_two_drivers   who ask the same question at the same time
    segments_lost_to_outage      of a store that is silent for a while
    temp_left                    folders and processes, after workers, nodes and drivers were killed
    planned_workers_equal_started          on clusters of many shapes

Each part is a module of bench/clustering, and runs in a process of its own; `--part` runs one of them. Prints a table,
and, last, one JSON object. `--quick` does less of each, some at the same time; `--keep` writes the result to
bench/results as well.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flor_ray.reports import text_tables

# The longest first.
PARTS = ("faults", "driving", "autoscaling", "users", "outage", "ranks", "leftovers", "demand_shapes")
WANTED = (
    "fault_runs_simulated",
    "fault_runs_processes",
    "fault_runs_ray",
    "fault_runs_identical",
    "duplicate_rows",
    "seconds_redone_per_fault_max",
    "driver_ms_per_segment",
    "driver_rss_growth_mb",
    "makespan_ratio",
    "epochs_replayed_twice_by_two_drivers",
    "segments_lost_to_outage",
    "temp_left",
    "planned_workers_equal_started",
)
QUICK_AT_ONCE = 4  # parts wait for Ray, for locks and for sleeping scripts most of their time
PART_SECONDS = 7200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of each part")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    parser.add_argument("--part", choices=PARTS, help="only this one, in this process")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measured(options.part, options.quick)))
        return 0
    began = time.monotonic()
    with ThreadPoolExecutor(QUICK_AT_ONCE if options.quick else 1) as pool:
        parts = list(pool.map(lambda part: apart(part, options.quick), PARTS))
    problems = [problem for _, problem in parts if problem]
    figures = together([found for found, _ in parts])
    problems += [f"{name}: no part has told it" for name in WANTED if name not in figures]
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "seconds": round(time.monotonic() - began, 1),
    } | figures
    print(text_tables.render(["measured", "value"], [[name, str(value)] for name, value in result.items()]))
    for problem in problems:
        print(f"FAILED: {problem}")
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        (Path(__file__).parent / "results" / f"cluster-{stamp}.json").write_text(line + "\n")
    print(line)
    return int(bool(problems))


def measured(part: str, quick: bool) -> dict[str, object]:
    """The figures of a part, by name."""
    from tests.conftest import close_servers

    try:
        found: dict[str, object] = importlib.import_module(f"clustering.{part}").measure(quick)
        return found
    finally:
        close_servers()


def apart(part: str, quick: bool) -> tuple[dict[str, object], str]:
    """The figures of a part from a process of its own, or why there are none."""
    command = [sys.executable, __file__, "--part", part, *(["--quick"] if quick else [])]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=PART_SECONDS, check=False)
    if done.returncode != 0:
        return {}, f"{part}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found | {f"seconds_{part}": round(time.monotonic() - began, 1)}, ""


def together(parts: list[dict[str, object]]) -> dict[str, object]:
    """All figures. What several parts tell is the largest of them: the worst, of what is counted here."""
    figures: dict[str, object] = {}
    for found in parts:
        for name, value in found.items():
            before = figures.get(name, value)
            if isinstance(before, int | float) and isinstance(value, int | float):
                figures[name] = max(before, value)
            else:
                figures[name] = value
    return figures


if __name__ == "__main__":
    sys.exit(main())

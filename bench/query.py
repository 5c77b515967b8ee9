"""What questions to a store cost, and whether their answers are right.

    pivots       logged values as a DataFrame: 1 M and 10 M records, 100 M in pieces, and FlorDB on the first
    stores       one metric of one run and of 10 000, listing 30 000, compacting 10 000
    remote       the point and the list again, on S3
    statements   SQL against brute force: how many, and how many were answered wrongly
    acquiring    the share of hindsight values that a statement's answer needs

    goals    see GOALS; seconds are of the processor, and memory is of a process that does nothing else

Prints tables and, last, one JSON object; `--keep` writes that to bench/results too. `--quick` takes less than 90 s:
fewer values and turns, and nothing is installed (FlorDB is measured where it has been before).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from flor_ray.reports import text_tables

sys.path.insert(0, str(Path(__file__).parents[1]))  # statements are those of the tests

PARTS = {
    "pivots": "pivoting",
    "stores": "stores",
    "remote": "remote",
    "statements": "statements",
    "acquiring": "acquiring",
}
GOALS: Mapping[str, tuple[str, float]] = {
    "pivot_1m_seconds": ("<=", 0.4),
    "pivot_1m_compacted_seconds": ("<=", 0.25),
    "pivot_10m_seconds": ("<=", 3.5),
    "pivot_10m_compacted_seconds": ("<=", 2.2),
    "pivot_10m_rss_gb": ("<=", 0.8),
    "pivot_100m_streamed_seconds": ("<=", 30),
    "pivot_100m_streamed_rss_gb": ("<=", 0.4),
    "pivot_1m_vs_flordb": (">=", 60),
    "point_lookup_ms": ("<=", 30),
    "one_metric_10k_runs_seconds": ("<=", 0.3),
    "list_30k_runs_seconds": ("<=", 0.3),
    "compact_10k_runs_seconds": ("<=", 25),
    "s3_point_lookup_seconds": ("<=", 0.4),
    "s3_list_30k_runs_seconds": ("<=", 2),
    "statements_wrong": ("<=", 0),
}


def main() -> None:
    options = _options()
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
    }
    for part in options.parts:
        print(f"{part} ...", flush=True)
        figures = importlib.import_module(f"querying.{PARTS[part]}").measure(options.quick)
        print(f"\n{table(figures)}\n", flush=True)
        result |= figures
    result["missed"] = [name for name in GOALS if name in result and is_missed(name, result[name])]
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"query-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line + "\n")
    print(line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less than 90 s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="by default all")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options: argparse.Namespace = parser.parse_args()
    return options


def is_missed(name: str, value: object) -> bool:
    """Whether a figure was measured and does not reach its goal."""
    relation, limit = GOALS[name]
    if not isinstance(value, int | float):
        return False
    return value > limit if relation == "<=" else value < limit


def table(figures: Mapping[str, object]) -> str:
    """Figures, and what they should be."""
    rows = []
    for name, value in figures.items():
        goal = " ".join(map(str, GOALS[name])) if name in GOALS else ""
        verdict = "" if not goal or value is None else "missed" if is_missed(name, value) else "met"
        rows.append([name, "not measured" if value is None else str(value), goal, verdict])
    return text_tables.render(["figure", "measured", "goal", ""], rows, width=100)


if __name__ == "__main__":
    main()

"""Does it know the cost, and does it finish as early as possible?

    exact       packing against exact optima of small random instances, and plain LPT
    speed       packing 10 000 segments on 1 000 workers, and up to 100 000
    traces      simulated replays of the epoch times that FlorDB's authors released, on 1 to 1 024 workers: with exact
                costs, with costs that are 20 % off, and with workers that are 8 times slower than thought
    cluster     the simulator against a local Ray with 8 workers, and how makespans shrink with more workers
    estimates   what each version was thought to take against what its replay took, on real training scripts

Everything is measured on this machine, one after the other. `--quick` is smaller in all of
that. Prints tables and, last, one JSON object; `--keep` writes that to bench/results too, with two figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from scheduling import cluster, estimates, exact, figures, speed, traces

Measure = Callable[[bool, Callable[[str], None]], dict[str, object]]
PARTS: dict[str, Measure] = {
    "exact": exact.measure,
    "speed": speed.measure,
    "traces": traces.measure,
    "cluster": cluster.measure,
    "estimates": estimates.measure,
}
_LONG = ("estimates", "scale_out_measured", "scale_out_simulated")  # rows, for the figures


def main() -> None:
    options = _options()
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
    }
    started = time.perf_counter()
    for part in options.parts:
        _say(f"\n== {part}")
        began = time.perf_counter()
        result |= PARTS[part](options.quick, _say)
        _say(f"({time.perf_counter() - began:.1f} s)")
    result["bench_seconds"] = round(time.perf_counter() - started, 1)
    if options.keep:
        _keep(result)
    print(json.dumps({name: value for name, value in result.items() if name not in _LONG}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of everything, in 60 s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="measure these only")
    parser.add_argument("--keep", action="store_true", help="write the result and its figures to bench/results")
    options: argparse.Namespace = parser.parse_args()
    return options


def _keep(result: dict[str, object]) -> None:
    stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"schedule-{stamp}.json"
    if path.exists():  # parts that are measured one by one are kept together
        result = json.loads(path.read_text()) | result
    path.write_text(json.dumps(result, indent=1) + "\n")
    for name, drawing in figures.drawn(result).items():
        (folder / f"schedule-{name}-{stamp}.svg").write_text(drawing)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    main()

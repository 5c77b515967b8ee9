"""The systems that the papers evaluate: recorded, asked for more, replayed on Ray, and compared bit for bit.

Each system of bench/systems is a user's repository with a history of versions. For each of them:

    record       every version twice in one random state: as it is, and with the statements in it from the start (the
                 truth); and once without recording, which says what re-execution takes and what torch.save would write
    replay       the newest version gets the statements of one level, and the columns are filled for all versions on one
                 warm worker of a local Ray: prefix (before the main loop), outer (per epoch), inner (per step)
    compare      every value, bit for bit, with the truth
    placing      where the statements come to stand in all versions, against places chosen by hand (`--placing`)
    overhead     a run of a minute beside the same without recording, taking turns, in CPU seconds (`--overhead`)

Replays and runs from the start leave imports out: both happen in forks of processes that have done them. `--quick`:
three systems, three versions and two epochs of each, and 12 s of one with recording and without. Prints a table and,
last, one JSON object. `--keep` writes bench/results: the JSON, Figures 7 to 10 of the paper with our numbers as SVG,
and the page docs/systems.md; what earlier runs have kept of systems that this one does not measure stays.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from evaluating import figures, histories, measuring, overhead, placing, runs, summaries
from evaluating.measuring import Picked
from evaluating.warm_worker import WarmRay

QUICK_SYSTEMS = ("gpt2", "ppo", "resnet152")
QUICK_RECORDED = ("ppo",)  # with recording and without
QUICK = Picked(3, ("--epochs", "2"))
FULL = Picked(100)
RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
PAGE = Path(__file__).parents[1] / "docs" / "systems.md"


def main() -> int:
    options = _options()
    began = time.perf_counter()
    names = options.only or (QUICK_SYSTEMS if options.quick else histories.found())
    if options.placing:
        return _placing(names)
    found: dict[str, dict[str, Any]] = {}
    if not options.overhead_only:
        found = _measured(names, QUICK if options.quick else FULL)
    if options.quick or options.overhead or options.overhead_only:
        seconds, pairs = (overhead.QUICK_SECONDS, 1) if options.quick else (overhead.SECONDS, options.pairs)
        for name in QUICK_RECORDED if options.quick else names:
            found[name] = found.get(name, {}) | overhead.measure(histories.read(name), seconds, pairs, _say)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if options.keep:
        found = _keep(result, found)
    print(summaries.table(found))
    line = result | summaries.summary(found)
    print(json.dumps(line))
    return int(bool(line["values_wrong"]))


def _placing(names: Sequence[str]) -> int:
    systems = [histories.read(name) for name in names]
    wrong = [sentence for system in systems for sentence in placing.misplaced(system)]
    for sentence in wrong:
        _say(sentence)
    print(json.dumps({"systems": len(systems), "places": sum(map(placing.places, systems)), "misplaced": len(wrong)}))
    return int(bool(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three systems, in 120 s")
    parser.add_argument("--only", nargs="+", choices=histories.found(), help="these systems")
    parser.add_argument("--overhead", action="store_true", help="runs of a minute with and without recording, too")
    parser.add_argument("--overhead-only", action="store_true", help="measure nothing else")
    parser.add_argument("--pairs", type=int, default=3, help="of runs with and without recording (default 3)")
    parser.add_argument("--placing", action="store_true", help="only look where statements come to stand; nothing runs")
    parser.add_argument("--keep", action="store_true", help="write results, figures and docs/systems.md")
    options: argparse.Namespace = parser.parse_args()
    return options


def _measured(names: Sequence[str], picked: Picked) -> dict[str, dict[str, Any]]:
    import ray

    from flor_ray.cluster import joining

    systems = [histories.read(name) for name in names]
    server = runs.server(systems)
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's workers yield to all else, and would be measured so
    joining.connect()  # the start of Ray is not part of a replay
    worker, found = WarmRay(), {}
    try:
        for system in systems:
            with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
                began = time.perf_counter()
                found[system.name] = measuring.measure(system, Path(folder), picked, server, worker, _say)
                _say(f"{system.name}: {time.perf_counter() - began:.0f} s")
    finally:
        server.close()
        worker.end()
        ray.shutdown()
    return found


def _keep(result: Mapping[str, object], found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Write everything. Returns what is kept of all systems."""
    stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
    path = RESULTS / f"systems-{stamp}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["systems"] if path.exists() else {}
    together = {name: kept.get(name, {}) | found.get(name, {}) for name in sorted({*kept, *found})}
    path.write_text(json.dumps({**result, "systems": together}, indent=1) + "\n", encoding="utf-8")
    for name, drawing in figures.drawn(together).items():
        for picture in (RESULTS / f"systems-{name}-{stamp}.svg", PICTURES / f"systems-{name}.svg"):
            picture.write_text(drawing, encoding="utf-8")
    PAGE.write_text(
        summaries.page({**result, "systems": together}, map(histories.read, histories.found())), encoding="utf-8"
    )
    return together


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())

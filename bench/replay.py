"""Is replay fast, and are its values right? Real scripts are recorded, asked for more, and run again from their start.

    speed       versions of the demo with epochs of a second: a column of the tail on one warm worker, beside the
                patched scripts run again without recording, and beside one cold process per version, in series
    range       a column of the nested loop for the last quarter of the epochs, beside those epochs in a plain run
    set-up      versions of a script that imports transformers: what each costs beyond its own data preparation
    fidelity    six scripts with statements of every region, bit for bit what a run with the statements in it logs
    planted     divergences that must be noticed, and whose cause must be named

Workers are threads of fresh processes, so that Ray's start is in none of the numbers. Everything is measured in turn on
this machine; numbers are medians. `--quick` is smaller in all of that and says how much. Prints tables and, last, one
JSON object; `--keep` writes that to bench/results too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from replaying import speed
from replaying.cases import CASES, SCHEDULE, Case, Group
from replaying.exactness import Exactness, Fidelity
from replaying.planted import PLANTED, Noticed, notice
from replaying.recording import Repository

from flor_ray.cluster.worker import Worker
from flor_ray.reports import text_tables

PARTS = ("speed", "range", "set-up", "fidelity", "planted")
FULL = speed.Sizes(
    versions=20, timed=20, epochs=10, epoch_seconds=1.0, copies=0, range_versions=5, setup_versions=4, repeats=3
)
# Most of 60 s are imports: a handful of processes is all that there is time for.
QUICK = speed.Sizes(
    versions=2, timed=1, epochs=4, epoch_seconds=0.2, copies=3, range_versions=1, setup_versions=0, repeats=1
)


def main() -> None:
    options = _options()
    sizes = QUICK if options.quick else FULL
    if options.repeats:
        sizes = speed.Sizes(**{**_fields(sizes), "repeats": options.repeats})
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        **_fields(sizes),
    }
    if options.quick:
        _say(
            f"quick: {sizes.versions} versions of {sizes.epochs} epochs of about {sizes.epoch_seconds} s, once; of "
            f"{sizes.timed} is measured what re-execution and cold processes cost; the range beside epochs without its "
            "statement; set-up of the demo's versions, which import no transformers; one script"
        )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        _measure(Path(folder), sizes, options.parts, options.quick, options.disturbing, result)
    result["bench_seconds"] = round(time.perf_counter() - started, 1)
    line = json.dumps({name: value for name, value in result.items() if name != "scripts"})
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"replay-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of everything, in 60 s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="measure these only")
    parser.add_argument("--repeats", type=int, help=f"of what is timed (default {FULL.repeats}; quick {QUICK.repeats})")
    parser.add_argument(
        "--no-disturbing", dest="disturbing", action="store_false", help="leave out statements that disturb their run"
    )
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options: argparse.Namespace = parser.parse_args()
    return options


def _fields(sizes: speed.Sizes) -> dict[str, object]:
    return {name: getattr(sizes, name) for name in speed.Sizes.__slots__}


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _measure(
    folder: Path, sizes: speed.Sizes, parts: Sequence[str], quick: bool, disturbing: bool, result: dict[str, object]
) -> None:
    worker = Worker()
    if {"speed", "range"} & set(parts):
        demo = speed.Demo(folder, sizes, _say)
        tail = speed.measure_tail(demo, _say) if "speed" in parts else None
        if tail is not None:
            result |= _tail(tail, sizes.versions)
            result |= _setup(tail.setup, "demo")
        if "range" in parts:
            known = tail.executions if tail is not None and quick else {}
            demo.repository.worker = worker if quick else None  # which spares a process's imports
            result |= _range(speed.measure_range(demo, known, _say))
    if "set-up" in parts and not quick:
        result |= _setup(speed.measure_setup(folder, sizes, _say), "language_model")
    if "fidelity" in parts:
        groups = [group for group in Group if disturbing or group is not Group.DISTURBING]
        result |= _fidelity(folder, (SCHEDULE,) if quick else CASES, groups, quick, worker)
    if "planted" in parts:
        result |= _planted([notice(p, Repository(folder / f"planted-{i}", worker)) for i, p in enumerate(PLANTED)])
    worker.close()


# --- the parts --------------------------------------------------------------------------------------------------------


def _tail(tail: speed.Tail, versions: int) -> dict[str, object]:
    median = statistics.median
    further = median(tail.further)
    again, first = median(tail.reexecution) / versions, median(tail.warm) - (versions - 1) * further
    found = {
        "reexecution_seconds": round(statistics.median(tail.reexecution), 2),
        "cold_serial_seconds": round(statistics.median(tail.cold), 2),
        "warm_seconds": round(statistics.median(tail.warm), 2),
        "prepare_seconds": round(statistics.median(tail.prepare), 2),
        "plain_epoch_seconds": round(tail.epoch_seconds, 3),
        "speedup_vs_reexecution": round(tail.ratio(tail.reexecution), 2),
        "speedup_vs_cold_serial": round(tail.ratio(tail.cold), 2),
        "further_version_seconds": round(further, 3),
        "speedup_of_further_versions": round(again / further, 1),
        "speedup_of_20_versions_projected": round(20 * again / (first + 19 * further), 1),
    }
    _table(["all versions, a column of the tail", "seconds", "times warm"], [
        ["re-executed from the start", f"{found['reexecution_seconds']}", f"{found['speedup_vs_reexecution']}"],
        ["one cold process per version", f"{found['cold_serial_seconds']}", f"{found['speedup_vs_cold_serial']}"],
        ["one warm worker", f"{found['warm_seconds']}", "1"],
        ["(the plan, in neither)", f"{found['prepare_seconds']}", ""],
        ["(a version after the first, warm)", f"{found['further_version_seconds']}", ""],
    ])  # fmt: skip
    return dict(found)


def _range(measured: speed.Range) -> dict[str, object]:
    median = statistics.median
    restore, epochs, replayed = median(measured.restore), median(measured.epochs), median(measured.replayed)
    percent = measured.overhead_pct()
    _table(
        ["last quarter, a column of the nested loop", "seconds"],
        [
            ["restore", f"{restore:.3f}"],
            ["the epochs in a plain run", f"{epochs:.2f}"],
            ["replayed", f"{replayed:.2f}"],
            ["more than both (median of ratios)", f"{percent:+.1f} %"],
        ],
    )
    return {
        "range_restore_seconds": round(restore, 4),
        "range_epochs_seconds": round(epochs, 3),
        "range_replayed_seconds": round(replayed, 3),
        "range_overhead_pct": round(percent, 1),
    }


def _setup(setup: speed.Setup, script: str) -> dict[str, object]:
    first, others = statistics.median(setup.first), statistics.median(setup.others)
    preparation = statistics.median(setup.preparation)
    _table(
        [f"set-up beyond the script's own data preparation ({script})", "seconds"],
        [
            ["first version, with its imports", f"{first:.2f}"],
            ["each version after it", f"{others:.2f}"],
            ["(the script's own data preparation)", f"{preparation:.2f}"],
        ],
    )
    return {
        "setup_of": script,
        "setup_seconds": round(others, 3),
        "setup_first_seconds": round(first, 3),
        "own_preparation_seconds": round(preparation, 3),
    }


def _fidelity(
    folder: Path, cases: Sequence[Case], groups: Sequence[Group], quick: bool, worker: Worker
) -> dict[str, object]:
    """Nothing is timed here: two scripts at a time, each thread with a worker of its own; one of them is given."""
    kept = threading.local()
    free, workers = [worker], list[Worker]()

    def check(case: Case) -> Exactness:
        if not hasattr(kept, "worker"):
            try:
                kept.worker = free.pop()
            except IndexError:
                kept.worker = Worker()
                workers.append(kept.worker)
        arguments = case.tiny if quick else case.small
        own = folder / f"fidelity-{case.name}"
        plain, truth = Repository(own / "plain", kept.worker), Repository(own / "truth")
        fidelity = Fidelity(case, plain, truth, arguments)
        fidelity.record()
        return fidelity.check(groups)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(check, cases))
    for own in workers:
        own.close()
    _table(
        ["script", "values compared", "exact", "recomputed", "operators"],
        [[e.case, str(e.compared), str(e.exact), str(e.recomputed), _kinds(e)] for e in found],
    )
    for exactness in found:
        for sentence in exactness.wrong:
            _say(f"  {exactness.case}: {sentence}")
    return {
        "values_compared": sum(e.compared for e in found),
        "values_exact": sum(e.exact for e in found),
        "scripts_exact": sum(e.is_exact for e in found),
        "scripts_compared": len(found),
        "scripts": {e.case: {"compared": e.compared, "exact": e.exact, "wrong": e.wrong} for e in found},
    }


def _kinds(exactness: Exactness) -> str:
    kinds = {f"{operator} {variant}" if operator == "DP_i" else operator for operator, variant in exactness.kinds}
    return ", ".join(sorted(kinds))


def _planted(noticed: Sequence[Noticed]) -> dict[str, object]:
    words = {True: "yes", False: "no"}
    rows = [[n.name, words[n.is_detected], words[n.is_named], n.told or "nothing"] for n in noticed]
    _table(["planted divergence", "detected", "named", "what the user is told"], rows)
    return {
        "planted": len(noticed),
        "planted_detected": sum(n.is_detected for n in noticed),
        "planted_named": sum(n.is_named for n in noticed),
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{text_tables.render(columns, rows, width=150)}\n", flush=True)


if __name__ == "__main__":
    main()

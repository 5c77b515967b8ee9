"""What the whole path costs: importing, recording, estimating, replaying with one and two workers, and by re-execution.

Records the demo's six versions, then measures, interleaved and repeated:

    re-execution    the six patched scripts run from their start, one after another: how it is done without checkpoints
    1, 2 workers    flor_ray's replay of the tail-level columns on local Ray, set-up of processes included

Prints a table and, last, one JSON object. `--keep` writes that to bench/results as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flor_ray import pipeline
from flor_ray.cli import demo
from flor_ray.cluster import joining
from flor_ray.planning.terms import Terms
from flor_ray.reports import replays, text_tables
from flor_ray.store.project import Project

NAMES = ("cf_matrix", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each kind (default 3)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        result = measure(Path(folder), options.repeats)
    print()
    print(text_tables.render(["measured", "value"], [[name, str(value)] for name, value in result.items()]))
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"end_to_end-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line + "\n")
    print(line)


def measure(folder: Path, repeats: int) -> dict[str, object]:
    print("recording six versions ...")
    recorded = demo.record_all(folder / "demo")
    joining.connect()  # the start of Ray is not part of a replay
    seconds: dict[str, list[float]] = {"reexecution": [], "one_worker": [], "two_workers": []}
    estimates: list[float] = []
    compared = replayed = 0
    for repeat in range(repeats):
        print(f"measurement {repeat + 1} of {repeats} ...")
        seconds["reexecution"].append(reexecute(recorded, folder / f"reexecution-{repeat}"))
        for name, workers in (("one_worker", 1), ("two_workers", 2)):
            root = folder / f"{name}-{repeat}"
            shutil.copytree(recorded, root)
            prepared = pipeline.prepare(Project.open(str(root)), NAMES, terms=Terms(workers))
            started = time.perf_counter()
            outcome = pipeline.run(prepared)
            seconds[name].append(time.perf_counter() - started)
            assert not outcome.failures, outcome.failures
            assert all(report.mismatch is None for report in outcome.reports)
            compared += sum(report.compared for report in outcome.reports)
            replayed = len(replays.summary(prepared, outcome))
            if workers == 1:
                estimates.append(prepared.schedule.makespan_seconds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "import_ms": import_milliseconds(),
        "versions_replayed": replayed,
        "reexecution_seconds": round(medians["reexecution"], 2),
        "one_worker_seconds": round(medians["one_worker"], 2),
        "two_workers_seconds": round(medians["two_workers"], 2),
        "estimate_one_worker_seconds": round(statistics.median(estimates), 2),
        "speedup_one_worker": round(medians["reexecution"] / medians["one_worker"], 2),
        "speedup_two_workers": round(medians["reexecution"] / medians["two_workers"], 2),
        "values_compared": compared,
    }


def reexecute(recorded: Path, folder: Path) -> float:
    """Seconds to run the five patched scripts from their start, in series and without recording."""
    prepared = pipeline.prepare(Project.open(str(recorded)), NAMES)
    (folder / "flor_ray").mkdir(parents=True)
    (folder / "flor_ray/__init__.py").write_text(SILENT)
    started = time.perf_counter()
    for cost in {cost.segment.version: cost for cost in prepared.costs}.values():
        (folder / "train.py").write_text(prepared.patched[cost.segment.version].files["train.py"])
        # threads that wait must not spin, as in replays: Ray's processes are there as well
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
        subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


# The same calls without recording: re-execution is not charged for ours.
SILENT = """
def arg(name, default=None): return default
def log(name, value): return value
def loop(name, iterable): return iterable
def checkpointing(**objects): pass
"""


def import_milliseconds() -> float:
    """Cumulative import time of flor_ray: the smallest of ten, since other work on the machine only ever adds."""

    def once() -> float:
        command = [sys.executable, "-X", "importtime", "-c", "import flor_ray"]
        lines = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stderr.splitlines()
        return int(lines[-1].split("|")[1]) / 1000

    return min(once() for _ in range(10))


if __name__ == "__main__":
    main()

"""The simulator against a real local Ray: one replay of scripts that sleep, on workers whose GPUs do not exist.

Sleeping scripts take no processor, so that eight of them run side by side on two cores as they would on eight GPUs.
What is measured begins when all workers are there: Ray's own start is in none of the numbers.
"""

from __future__ import annotations

import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from flor_ray import pipeline
from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.executors import Told
from flor_ray.environment import hardware
from flor_ray.planning import calibrations
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Outcome
from flor_ray.replaying import measuring
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.messages import WorkerJoined
from flor_ray.scheduler.simulate import simulate
from flor_ray.scheduler.world import World
from flor_ray.store.project import Project

FEATURE = "seen"
SCRIPT = """import time

import flor_ray as flor

setup_seconds = flor.arg("setup_seconds", 0.0)
epoch_seconds = flor.arg("epoch_seconds", 0.0)
state = {"weight": 1.0}
flor.checkpointing(state=state)
time.sleep(setup_seconds)
for epoch in flor.loop("epoch", range(flor.arg("epochs", 8))):
    for step in flor.loop("step", range(4)):
        time.sleep(epoch_seconds / 4)
        state["weight"] += step
    flor.log("weight", state["weight"])
"""
STATEMENT = '        flor.log("seen", state["weight"])\n'
WHERE = "epoch % 2 == 0"  # epochs that do not touch: each is a segment


@dataclass(frozen=True, slots=True)
class Sizes:
    versions: int
    epochs: int  # every other one is a segment
    setup_seconds: float
    epoch_seconds: tuple[float, float]
    workers: tuple[int, ...]
    repeats: int  # on the most workers
    simulated: tuple[int, ...]


FULL = Sizes(18, 8, 0.5, (1.0, 2.5), (1, 2, 4, 8), 3, (1, 2, 4, 8, 16, 32, 64, 128))
QUICK = Sizes(8, 16, 0.2, (0.2, 0.35), (4,), 1, (1, 2, 4, 8, 16, 32, 64))


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Predicted and measured makespans, by number of workers. Starts a Ray of its own, and ends it."""
    import ray

    sizes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        root = Path(folder, "sleeper")
        record(root, sizes)
        project = Project.open(str(root))
        most = max(sizes.workers)
        ray.init(
            num_gpus=most, num_cpus=most, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
        try:
            measured = measuring.calibrate(project.store, project.name, os.environ)
            calibrations.keep(project.store.files, {hardware.kind_here(): measured})
            if not quick:
                replay(project, max(sizes.workers))  # the first replay on a class of workers teaches most
            times = {workers: sizes.repeats if workers == most else 1 for workers in sizes.workers}
            rows = [compare(project, workers) for workers in sizes.workers for _ in range(times[workers])]
        finally:
            ray.shutdown()
        simulated = {n: predict(prepare(project, n)) for n in sizes.simulated}
    return _result(rows, simulated, say)


def record(root: Path, sizes: Sizes) -> None:
    """Versions that differ in how long they sleep, several at once; then the newest code gets its statement."""
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
    script = root / "train.py"
    script.write_text(SCRIPT)
    draw = random.Random(6)
    seconds = [draw.uniform(*sizes.epoch_seconds) for _ in range(sizes.versions)]

    def run(epoch_seconds: float) -> None:
        words = ["--kwargs", f"setup_seconds={sizes.setup_seconds}", f"epoch_seconds={epoch_seconds:.3f}"]
        words.append(f"epochs={sizes.epochs}")
        subprocess.run([sys.executable, "train.py", *words], cwd=root, check=True, capture_output=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, seconds))
    script.write_text(SCRIPT.replace("        state[", STATEMENT + "        state["))


def prepare(project: Project, workers: int) -> Prepared:
    return pipeline.prepare(project, [FEATURE], WHERE, Terms(workers), again=True)


class _Assembled(RayExecutor):
    """Tells of its workers when all of them are there."""

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        super().start(workers, first, later)
        self._joined: list[Told] = []
        while len(self._joined) < workers:
            self._joined += [event for event in super().wait(1.0) if isinstance(event, WorkerJoined)]

    def wait(self, timeout_seconds: float) -> list[Told]:
        joined, self._joined = self._joined, []
        return joined or super().wait(timeout_seconds)


def replay(project: Project, workers: int) -> tuple[Prepared, Outcome]:
    prepared = prepare(project, workers)
    outcome = pipeline.run(prepared, _Assembled())
    if outcome.failures:
        raise RuntimeError(f"segments failed: {outcome.failures}")
    return prepared, outcome


def predict(prepared: Prepared) -> float:
    """The simulator's makespan, from estimates alone."""
    found = simulate(prepared.schedule, prepared.workers, prepared.scheduled.cutting, None, World(), seed=0)
    return found.makespan_seconds


@dataclass(frozen=True, slots=True)
class Row:
    workers: int
    segments: int
    predicted_seconds: float
    measured_seconds: float
    bound_seconds: float

    @property
    def error(self) -> float:
        return self.predicted_seconds / self.measured_seconds - 1

    @property
    def ratio(self) -> float:
        return self.measured_seconds / self.bound_seconds


def compare(project: Project, workers: int) -> Row:
    prepared, outcome = replay(project, workers)
    measured = max(s.ended for s in outcome.stints) - min(s.began for s in outcome.stints)
    # Its workers were to start first; here they are there already.
    bound = prepared.schedule.lower_bound_seconds - prepared.scheduled.model.start_seconds()
    return Row(workers, len(outcome.reports), predict(prepared), measured, bound)


def _result(rows: Sequence[Row], simulated: dict[int, float], say: Callable[[str], None]) -> dict[str, object]:
    say("workers segments  predicted s  measured s  error %  bound s  measured/bound")
    for row in rows:
        say(
            f"{row.workers:7d} {row.segments:8d} {row.predicted_seconds:12.2f} {row.measured_seconds:11.2f} "
            f"{100 * row.error:8.1f} {row.bound_seconds:8.2f} {row.ratio:15.3f}"
        )
    most = max(row.workers for row in rows)
    widest = [row for row in rows if row.workers == most]
    by_workers = {n: [r.measured_seconds for r in rows if r.workers == n] for n in {r.workers for r in rows}}
    return {
        "simulator_error_pct": round(100 * max(abs(row.error) for row in widest), 2),
        "simulator_error_median_pct": round(100 * statistics.median(abs(row.error) for row in widest), 2),
        "cluster_ratio": round(max(row.ratio for row in widest), 4),
        "cluster_segments": min(row.segments for row in widest),
        "cluster_workers": most,
        "scale_out_measured": {str(n): [round(s, 2) for s in by_workers[n]] for n in sorted(by_workers)},
        "scale_out_simulated": {str(n): round(seconds, 2) for n, seconds in simulated.items()},
    }

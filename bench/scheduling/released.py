"""The epoch times that FlorDB's authors released -> versions, segments and costs, as if they had been recorded here."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from flor_ray.patching.patching import Patched
from flor_ray.planning import segmenting
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Gap,
    Point,
    Profile,
    Region,
    Segment,
    SegmentCost,
    Status,
)
from flor_ray.scheduler.problem import Cutting

FILE = Path(__file__).resolve().parents[2] / "tests" / "cases" / "traces" / "flordb_runs.csv"
CHECKPOINT_BYTES = 400_000_000  # BERT-base's weights; traces do not tell
READ_BYTES_PER_SECOND = 1e9
_COLUMN = "hindsight"


@dataclass(frozen=True, slots=True)
class Trace:
    """One run."""

    model: str
    run: str
    prep_seconds: float  # before the main loop
    epoch_seconds: tuple[float, ...]
    eval_seconds: float | None = None  # after it; None: not measured


def read() -> tuple[Trace, ...]:
    """All runs, in the file's order. Raises ValueError for a row that is not the next epoch of a run."""
    runs: dict[tuple[str, str], Trace] = {}
    with FILE.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            key = row["model"], row["run"]
            epochs = runs[key].epoch_seconds if key in runs else ()
            if int(row["epoch"]) != len(epochs) + 1:
                raise ValueError(f"epoch {row['epoch']} of {row['model']} {row['run']} should be {len(epochs) + 1}")
            suffix = float(row["eval_seconds"]) if row["eval_seconds"] else None
            runs[key] = Trace(*key, float(row["prep_seconds"]), (*epochs, float(row["epoch_seconds"])), suffix)
    return tuple(runs.values())


def replicated(traces: Sequence[Trace], versions: int, seed: int = 0) -> tuple[Trace, ...]:
    """So many runs: all of the given ones as often as they fit in, and of the rest a random choice."""
    chance = Random(f"{seed}/versions")
    times, rest = divmod(versions, len(traces))
    return (*(tuple(traces) * times), *chance.sample(traces, rest))


@dataclass(frozen=True, slots=True)
class TracedReplay:
    """The replay of a column that is logged in the nested loop, over all epochs of all runs."""

    experiments: Mapping[str, Experiment]
    costs: tuple[SegmentCost, ...]
    cutting: Cutting

    @property
    def epochs(self) -> int:
        return sum(experiment.epochs for experiment in self.experiments.values())


def replay(
    traces: Iterable[Trace],
    checkpoint_bytes: int = CHECKPOINT_BYTES,
    read_bytes_per_second: float = READ_BYTES_PER_SECOND,
) -> TracedReplay:
    """Each run as a version of its own, with a checkpoint at the end of every epoch."""
    experiments = {f"{trace.model}-{number:05d}": trace for number, trace in enumerate(traces)}
    recorded = {version: _experiment(version, trace) for version, trace in experiments.items()}
    checkpoints = {version: _checkpoints(e, checkpoint_bytes) for version, e in recorded.items()}
    gaps = [Gap(version, (_COLUMN,), tuple(range(1, e.epochs + 1))) for version, e in recorded.items()]
    patched = dict.fromkeys(recorded, Patched(regions={_COLUMN: Region.INNER}))
    segments = [s for gap in gaps for s in segmenting.plan([gap], recorded, checkpoints, patched).segments]
    points = {segment.version: segmenting.split_points(segment, checkpoints[segment.version]) for segment in segments}
    sums = {version: (0.0, *accumulate(t.seconds for t in e.profile.epochs)) for version, e in recorded.items()}
    read_seconds = checkpoint_bytes / read_bytes_per_second

    def cost(segment: Segment) -> SegmentCost:
        ends = sums[segment.version]
        return SegmentCost(
            segment,
            setup_seconds=recorded[segment.version].profile.setup_seconds,
            run_seconds=ends[segment.last] - ends[segment.first - 1] + read_seconds,
            read_seconds=read_seconds,
            read_bytes=checkpoint_bytes,
        )

    def between(segment: Segment) -> Sequence[int]:
        found = points[segment.version]
        return found[segment.first - 1 : segment.last - 1]  # a checkpoint each: point i is epoch i + 2

    return TracedReplay(recorded, tuple(map(cost, segments)), Cutting(between, segmenting.cut, cost))


def _experiment(version: str, trace: Trace) -> Experiment:
    times = tuple(EpochTimes(number, 0.0, seconds, 0.0) for number, seconds in enumerate(trace.epoch_seconds, start=1))
    return Experiment(
        project="traces",
        version=version,
        parent=None,
        script="train.py",
        run=trace.run,
        started=0.0,
        ended=None,
        status=Status.FINISHED,
        main_loop="epoch",
        nested_loop="step",
        epochs=len(times),
        profile=Profile(trace.prep_seconds, times, trace.eval_seconds or 0.0),
    )


def _checkpoints(experiment: Experiment, size: int) -> tuple[Checkpoint, ...]:
    at = ((epoch, f"{experiment.version}/{epoch}") for epoch in range(experiment.epochs + 1))
    script, point = experiment.script, Point.EPOCH_END
    return tuple(Checkpoint(experiment.version, script, 1, epoch, point, key, size, 0.0) for epoch, key in at)

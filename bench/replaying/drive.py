"""One replay, in a process of its own: python drive.py FOLDER OPTIONS. Prints what it took as JSON.

The worker runs in this process, so that no time of Ray's start is in what is measured.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from flor_ray import pipeline
from flor_ray.cluster.executors import Told, WorkerCalibrated, calibrated, failure
from flor_ray.cluster.worker import Worker
from flor_ray.errors import FlorError
from flor_ray.planning import segmenting
from flor_ray.planning.replay_plan import Prepared
from flor_ray.records import Checkpoint, Operator, Segment, SegmentCost
from flor_ray.replaying.job import VersionJob
from flor_ray.reports import replays
from flor_ray.scheduler.messages import Event, SegmentAdvanced, SegmentDone, WorkerJoined
from flor_ray.store.project import Project


class Serial:
    """An executor with one worker, which runs in this thread while it is waited for. Knows how long segments took."""

    def __init__(self, worker: Worker) -> None:
        self.seconds: dict[Segment, float] = {}  # from order to answer
        self._worker = worker
        self._events: deque[Told] = deque()
        self._ordered: deque[tuple[str, VersionJob, Segment]] = deque()

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        self._events.append(WorkerJoined("worker"))

    def cluster(self) -> tuple[str, int]:
        return "", 0

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        self._ordered.append((worker, job, segment))

    def calibrate(self, worker: str, job: VersionJob) -> None:
        self._events.append(WorkerCalibrated(worker, calibrated(self._worker, job)))

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        """What is measured is the segments' own reading."""

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        raise RuntimeError("There is no other worker that could take the rest.")

    def cancel(self, worker: str, segment: Segment) -> None:
        raise RuntimeError("There is no other worker that could be faster.")

    def grow(self, count: int) -> int:
        return 0

    def forgo(self) -> None:
        """All of them are there."""

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        return False

    def retire(self, worker: str) -> None:
        """The worker is its owner's to close."""

    def wait(self, timeout_seconds: float) -> list[Told]:
        if not self._events and self._ordered:
            self._events.append(self._run(*self._ordered.popleft()))
        events = list(self._events)
        self._events.clear()
        return events

    def close(self) -> None:
        """Nothing runs but in `wait`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, worker: str, job: VersionJob, segment: Segment) -> Event:
        started = time.perf_counter()
        try:
            report = self._worker.run(job, segment, lambda part: self._events.append(SegmentAdvanced(worker, part)))
        except FlorError as error:
            return failure(worker, segment, error)
        self.seconds[segment] = time.perf_counter() - started
        return SegmentDone(worker, report)


def replay(folder: str, options: Mapping[str, Any], worker: Worker | None = None) -> dict[str, Any]:
    """Replay in this process. A worker that is given is kept as it is, with what it has imported; else one is made for
    this replay, and its start and end are part of the seconds."""
    started = time.perf_counter()
    project = Project.open(folder)
    prepared = pipeline.prepare(project, options["names"], options["where"], again=options["again"])
    planned = time.perf_counter()
    if options["shuffle"] is not None:
        prepared = shuffled(prepared, random.Random(options["shuffle"]))
    own = worker or Worker()
    executor = Serial(own)
    try:
        outcome = pipeline.run(prepared, executor)
    finally:
        if worker is None:
            own.close()
    ended = time.perf_counter()
    return {
        "prepare_seconds": planned - started,
        "run_seconds": ended - planned,
        "segments": [
            {
                "version": report.segment.version,
                "first": report.segment.first,
                "last": report.segment.last,
                "operator": report.segment.operator.value,
                "variant": report.segment.variant.value,
                "wall_seconds": executor.seconds.get(report.segment, 0.0),  # 0: known without running
                "setup_seconds": report.setup_seconds,
                "run_seconds": report.run_seconds,
                "compared": report.compared,
                "mismatch": None if report.mismatch is None else str(report.mismatch),
            }
            for report in outcome.reports
        ],
        "failures": [f"{segment.version[:8]} {segment.id}: {error}" for segment, error in outcome.failures],
        "problems": replays.problems(prepared, outcome),
        "kinds": [(c.segment.operator.value, c.segment.variant.value) for c in prepared.costs],
    }


def shuffled(prepared: Prepared, draw: random.Random) -> Prepared:
    """The same plan with its epochs one by one, in any order. What ends the process stays last."""
    loops: list[SegmentCost] = []
    rest: list[SegmentCost] = []
    for cost in prepared.costs:
        pieces = _pieces(cost.segment, prepared.checkpoints[cost.segment.version])
        (loops if cost.segment.operator is Operator.DP_I else rest).extend(replace(cost, segment=p) for p in pieces)
    draw.shuffle(loops)
    schedule = replace(prepared.schedule, assignments=((*loops, *rest),))
    return replace(prepared, scheduled=replace(prepared.scheduled, schedule=schedule))


def _pieces(segment: Segment, checkpoints: Sequence[Checkpoint]) -> Sequence[Segment]:
    return segmenting.cut(segment, segmenting.split_points(segment, checkpoints))


if __name__ == "__main__":
    print(json.dumps(replay(sys.argv[1], json.loads(sys.argv[2]))))

"""Carrying out a schedule: the dispatcher decides, the executor does, and this loop stands between them.

executor ── events ──> Dispatcher.handle ── instructions ──> executor
               └──────────────> Progress ──> whoever watches
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flor_ray.cluster.executors import Executor
from flor_ray.cluster.worker import VersionJob
from flor_ray.errors import ReplayError
from flor_ray.records import Outcome
from flor_ray.scheduler.costs import correct
from flor_ray.scheduler.dispatch import Dispatcher, GiveUp, Instruction, Retire, Run, SegmentDone
from flor_ray.scheduler.packing import Schedule

_TICK_SECONDS = 0.5  # how often progress is told while nothing happens
_STRANDED_SECONDS = 120.0  # without any worker for so long, the replay is given up


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a replay stands."""

    segments_done: int
    segments: int
    rows: int
    remaining_seconds: float


def carry_out(
    schedule: Schedule,
    jobs: Mapping[str, VersionJob],
    executor: Executor,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Run every segment of a schedule on an executor's workers; `jobs` are by version.

    Finished segments are in the store whatever happens afterwards, so an interrupted replay only has the rest to do.
    """
    dispatcher = Dispatcher(schedule)
    outcome = Outcome()
    costs = {cost.segment: cost for assignment in schedule.assignments for cost in assignment}
    began: dict[str, float] = {}
    executor.start(sum(1 for assignment in schedule.assignments if assignment))
    last_event = time.monotonic()
    while not dispatcher.finished:
        events = executor.wait(_TICK_SECONDS)
        for event in events:
            last_event = time.monotonic()
            if isinstance(event, SegmentDone):
                outcome.reports.append(event.report)
                dispatcher.revise(correct(costs.values(), outcome.reports))
            for instruction in dispatcher.handle(event):
                _perform(instruction, jobs, executor, outcome, began)
        if dispatcher.stranded and time.monotonic() - last_event > _STRANDED_SECONDS:
            raise ReplayError(
                f"No worker has been there for {_STRANDED_SECONDS:.0f} s. Finished segments are kept; look at the "
                "cluster (`ray status`), then ask again for the rest."
            )
        now = time.monotonic()
        elapsed = {worker: now - began[worker] for worker in dispatcher.running}
        done = len(outcome.reports) + len(outcome.failures)
        rows = sum(report.rows for report in outcome.reports)
        tell(Progress(done, len(costs), rows, dispatcher.remaining_seconds(elapsed)))
    return outcome


def _perform(
    instruction: Instruction,
    jobs: Mapping[str, VersionJob],
    executor: Executor,
    outcome: Outcome,
    began: dict[str, float],
) -> None:
    match instruction:
        case Run(worker=worker, segment=segment):
            began[worker] = time.monotonic()
            executor.submit(worker, jobs[segment.version], segment)
        case GiveUp(segment=segment, error=error):
            outcome.failures.append((segment, error))
        case Retire(worker=worker):
            executor.retire(worker)

"""Carrying out a schedule: the dispatcher decides, the executor does, and this loop stands between them.

executor ── events ──> Dispatcher.handle ── instructions ──> executor
   timers ──┤              ^
            └─> CostModel ─┴─> Progress ──> whoever watches
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from flor_ray.cluster.executors import Executor, WorkerCalibrated
from flor_ray.cluster.ledger import Ledger
from flor_ray.errors import FlorError, ReplayError
from flor_ray.records import DEFAULT_LIMITS, Ending, Outcome, Segment, SegmentReport
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration, CostModel
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.jobs import WorkerState
from flor_ray.scheduler.messages import (
    Cancel,
    EstimateCorrected,
    Event,
    GiveUp,
    Instruction,
    NoOtherNode,
    Retire,
    Run,
    Seek,
    SegmentDone,
    Shorten,
    WorkerJoined,
)
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import TimeLeft, time_left

_TICK_SECONDS = 0.5  # how often progress is told while nothing happens
_CORRECTIONS = 50  # of all estimates in one replay, beside those after the first reports


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a replay stands."""

    answered: int  # rows of the table, (version, epoch) each, and one per version for what is outside the main loop
    wanted: int
    values: int  # that were written
    busy_seconds: float  # of workers so far: GPU-seconds, where each has a GPU
    left: TimeLeft  # until the last segment ends
    workers: int  # that are there
    awaited: int  # workers that have been asked for, and are not there yet
    segments: int = 0  # that are done
    failed: int = 0  # segments that were given up
    retries: int = 0  # attempts that were lost or failed, and were made again
    waiting: int = 0  # segments that no worker is at
    cache_hits: int = 0  # objects that workers found in their machine's cache
    drift: str | None = None  # how segments have begun to take longer or shorter than they did before


class Driver:
    """One replay on its way. `jobs` are by version; `model` starts from what is known and learns. `way` is how the
    executor starts workers, as in `Calibration.start`; "" of one of which nothing is to be learned."""

    def __init__(
        self,
        schedule: Schedule,
        cutting: Cutting,
        model: CostModel,
        jobs: Mapping[str, VersionJob],
        executor: Executor,
        tell: Callable[[Progress], None] = lambda progress: None,
        way: str = "",
        retries: int = DEFAULT_LIMITS.retries,
        wait_seconds: float = 300.0,
    ) -> None:
        self.model = model
        self.outcome = Outcome()
        self._costs = [cost for assignment in schedule.assignments for cost in assignment]
        self._workers = sum(1 for assignment in schedule.assignments if assignment)
        self._dispatcher = Dispatcher(schedule, cutting, retries + 1)
        self._wait_seconds = wait_seconds  # without any worker for so long, the replay is given up
        self._ledger = Ledger(self.outcome.stints)
        self._answered: set[Segment] = set()
        self._values = 0
        self._first = next((job for job in jobs.values() if not job.packages), None)  # by which workers are warmed
        self._asked: set[str] = set()  # classes of workers that were calibrated
        self._jobs, self._executor, self._tell, self._way = jobs, executor, tell, way
        self.expected = model.expected(schedule, way)
        self._joined: dict[str, float] = {}  # when each worker has joined
        self._sought: Seek | None = None  # no worker that is there has that data, and others are starting
        self._zero = time.monotonic()

    def carry_out(self) -> Outcome:
        """Run every segment on the executor's workers.

        Finished segments are in the store whatever happens afterwards, so an interrupted replay only has the rest to
        do. `outcome` holds what there is of it at any time.
        """
        self._tell(self._progress())  # to start workers takes a while
        self._executor.start(self._workers, self._first)
        last_event = self._now()
        try:
            while not self._dispatcher.finished:
                events = self._executor.wait(self._patience())
                if events:
                    last_event = self._now()
                for event in [*events, *self._ledger.slow(self._now())]:
                    self._happens(event)
                self._look_elsewhere(self._now() - last_event > self._wait_seconds)
                if self._dispatcher.stranded and self._now() - last_event > self._wait_seconds:
                    raise ReplayError(
                        f"There has been no worker for {self._wait_seconds:.0f} s. Finished segments are kept; look at "
                        "the cluster (`ray status`), then ask again for the rest."
                    )
                self._tell(self._progress())
        finally:
            self._ledger.stop(self._now())
        if self._joined and not self.outcome.failures:
            self.model = self.model.ended(self.expected.run_seconds, self._now() - min(self._joined.values()))
        return self.outcome

    def _happens(self, event: Event | WorkerCalibrated) -> None:
        now = self._now()
        if isinstance(event, WorkerCalibrated):
            self._calibrated(self._ledger.kind(event.worker), event.found, now)
            return
        if isinstance(event, WorkerJoined):
            self._joined[event.worker] = now
            self._sought = None
            self._calibrate(event)
        twice = isinstance(event, SegmentDone) and event.report.segment in self._answered
        self._ledger.happens(event, now, twice)
        if isinstance(event, SegmentDone) and not twice:
            self._answered.add(event.report.segment)
            self._learn(event.worker, event.report, now)
        self._perform(self._dispatcher.handle(event, now), now)

    def _look_elsewhere(self, in_vain: bool) -> None:
        """See to workers on other nodes; where there are none, the dispatcher may want others for another version."""
        while (sought := self._sought) is not None:
            if not in_vain and self._executor.elsewhere(sought.nodes, sought.count):
                return
            self._sought = None
            now = self._now()
            self._perform(self._dispatcher.handle(NoOtherNode(sought.version), now), now)

    def _learn(self, worker: str, report: SegmentReport, now: float) -> None:
        """From a segment that is done; the first ones say most."""
        if self._way and worker == next(iter(self._joined)) and 0 < report.start_seconds < self._joined[worker]:
            self.model = self.model.started(self._way, self._joined[worker] - report.start_seconds)
            self._way = ""  # once is enough
        reports = self.outcome.reports
        reports.append(report)
        self._values += report.rows
        self.model = self.model.observe(report)
        if len(reports) <= _CORRECTIONS or len(reports) % max(1, len(self._costs) // _CORRECTIONS) == 0:
            self._correct(now)

    def _correct(self, now: float) -> None:
        corrected = EstimateCorrected(self.model.corrected(self._costs), self.model.slowness())
        self._perform(self._dispatcher.handle(corrected, now), now)

    def _calibrate(self, joined: WorkerJoined) -> None:
        """Measure a class of workers that is new, once."""
        job = self._first
        if job is not None and joined.kind not in self._asked and self.model.unknown_kinds([joined.kind]):
            self._asked.add(joined.kind)
            self._executor.calibrate(joined.worker, job)

    def _calibrated(self, kind: str, found: Calibration | FlorError, now: float) -> None:
        if isinstance(found, Calibration):
            self.model = self.model.calibrated(kind, found)
            self._correct(now)
        else:
            self.outcome.notes.append(
                f"The speed of workers of class {kind!r} could not be measured beforehand: {found}"
            )

    def _perform(self, instructions: tuple[Instruction, ...], now: float) -> None:
        for instruction in instructions:
            match instruction:
                case Run(worker=worker, segment=segment):
                    self._ledger.begins(instruction, now)
                    job = self._jobs[segment.version]
                    self._executor.submit(worker, replace(job, as_it_is=instruction.as_it_is), segment)
                case Shorten(worker=worker, segment=segment, last=last):
                    self._executor.shorten(worker, segment, last)
                case Cancel(worker=worker, segment=segment):
                    self._executor.cancel(worker, segment)
                case GiveUp(segment=segment, error=error, lacking=lacking):
                    self.outcome.failures.append((segment, error))
                    if lacking:
                        self.outcome.lacking[segment] = lacking
                case Seek():
                    self._sought = instruction
                case Retire(worker=worker):
                    self._executor.retire(worker)

    def _patience(self) -> float:
        """Seconds to wait for an event: until something is to be called slow, or progress is to be told."""
        return max(0.0, min(_TICK_SECONDS, self._ledger.next_slow() - self._now()))

    def _progress(self) -> Progress:
        now = self._now()
        standing = self._dispatcher.standing(now)
        states = self._dispatcher.workers.values()
        outlook = self.expected.outlook(
            now, len(states), standing.lanes, standing.waiting_seconds, standing.steps_ended
        )
        ended_badly = sum(stint.ending in (Ending.FAILED, Ending.LOST) for stint in self.outcome.stints)
        awaited = max(0, self._workers - len(self._joined))
        return Progress(
            answered=standing.rows_answered,
            wanted=standing.rows,
            values=self._values,
            busy_seconds=self._ledger.busy_seconds(now),
            left=time_left(outlook),
            awaited=awaited,
            workers=sum(1 for state in states if state not in (WorkerState.LOST, WorkerState.RETIRED)),
            segments=len(self.outcome.reports),
            failed=len(self.outcome.failures),
            retries=max(0, ended_badly - len(self.outcome.failures)),
            waiting=standing.waiting,
            cache_hits=sum(report.cache_hits for report in self.outcome.reports),
            drift=self.model.drift(),
        )

    def _now(self) -> float:
        """Seconds since the replay began."""
        return time.monotonic() - self._zero

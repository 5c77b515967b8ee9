"""Carrying out a schedule: the dispatcher decides, the executor does, and this loop stands between them.

executor ── events ──> Dispatcher.handle ── instructions ──> executor
   timers ──┤              ^
            └─> CostModel ─┴─> Progress ──> whoever watches
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flor_ray.cluster.company import Company
from flor_ray.cluster.demand import Headcount
from flor_ray.cluster.executors import Executor, StoreAwaited, Told, WorkerCalibrated
from flor_ray.cluster.ledger import Ledger
from flor_ray.errors import FlorError, ReplayError
from flor_ray.records import DEFAULT_LIMITS, Operator, Outcome, RunningStint, Segment, SegmentReport
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration, CostModel
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.jobs import PRESENT, WorkerState
from flor_ray.scheduler.messages import (
    Cancel,
    EstimateCorrected,
    Event,
    Fetch,
    GiveUp,
    Instruction,
    NoOtherNode,
    OthersAtWork,
    Retire,
    Run,
    Seek,
    SegmentAdvanced,
    SegmentDone,
    SegmentFailed,
    SegmentShortened,
    SegmentTaken,
    Shorten,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.scheduler.overdue import OverdueStep, overdue
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import TimeLeft, time_left
from flor_ray.store.claims import Staff
from flor_ray.wording import counted, duration, ended

_STARTS = 3.0  # times the start of a worker that has to be left: on busy machines that takes longer
_TICK_SECONDS = 0.5  # how often progress is told while nothing happens
_TELL_SECONDS = 0.1  # and at most that often while much does
_FORGO_SECONDS = 20.0  # without work for another worker, and those that are still to come are not waited for
_MORE_REPORTS = 1.1  # times as many as at the last correction of all estimates make another one due


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
    overdue: tuple[OverdueStep, ...] = ()  # what takes longer than it should, the longest first
    drift: str | None = None  # how segments have begun to take longer or shorter than they did before
    elsewhere: Mapping[str, int] = field(default_factory=dict)  # who replays how many segments that are wanted here
    share: int | None = None  # slots, of a cluster that other replays use, too
    headcount: str = ""  # that fewer or more workers are there than it was planned for
    away: str | None = None  # why workers wait for the store, if they do


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
        wait_seconds: float = 1800.0,
        company: Company | None = None,
    ) -> None:
        self.model = model
        self.outcome = Outcome()
        self._costs = [cost for assignment in schedule.assignments for cost in assignment]
        self._workers = sum(1 for assignment in schedule.assignments if assignment)
        self._dispatcher = Dispatcher(schedule, cutting, retries + 1, model.slowness())
        self._company, self._cutting = company, cutting
        self._share: int | None = None  # of the cluster's slots, at the last look; None: nobody else is there
        self._started = 0  # workers that were asked for
        self._has_shared = False  # slots, with other replays: then it is these that it has fewer workers for
        self._wait_seconds = wait_seconds  # without any worker for so long, the replay is given up
        self._ledger = Ledger(self.outcome.stints)
        self._answered: dict[Segment, set[int]] = {}  # epochs by what they are of
        self._awaited: dict[str, str] = {}  # by worker, why it waits for the store; "" or missing: it does not
        self._away_since: float | None = None  # the first worker gave up waiting; None: something was answered since
        self._corrected = 0  # reports at the last correction of all estimates
        self._values = self._cache_hits = 0
        self._drift: str | None = None
        self._first = next((job for job in jobs.values() if not job.packages), None)  # by which workers are warmed
        self._asked: set[str] = set()  # classes of workers that were calibrated
        self._jobs, self._executor, self._tell, self._way = jobs, executor, tell, way
        self.expected = model.expected(schedule, way)
        self._joined: dict[str, float] = {}  # when each worker has joined
        self._sought: Seek | None = None  # no worker that is there has that data, and others are starting
        self._headcount = Headcount(self._workers)
        self._needed = 0.0  # when one more worker would last have had something to do
        self._zero = time.monotonic()

    def carry_out(self) -> Outcome:
        """Run every segment on the executor's workers.

        Finished segments are in the store whatever happens afterwards, so an interrupted replay only has the rest to
        do. `outcome` holds what there is of it at any time.
        """
        self._tell(self._progress())  # to start workers takes a while
        self._start()
        last_event = told = self._now()
        try:
            while not self._dispatcher.finished:
                events = self._executor.wait(self._patience())
                if events:
                    last_event = self._now()
                for event in [*events, *self._ledger.slow(self._now())]:
                    self._happens(event)
                self._look_elsewhere(self._now() - last_event > self._wait_seconds)
                self._look_at_others()
                if self._dispatcher.stranded and self._now() - last_event > self._wait_seconds:
                    raise ReplayError(self._no_worker())
                if self._now() - told >= _TELL_SECONDS or self._dispatcher.finished:
                    told, progress = self._now(), self._progress()
                    self._grow(progress)
                    self._tell(progress)
        finally:
            self._ledger.stop(self._now())
            self.outcome.notes += [] if self._has_shared else self._headcount.ended()
            if self._company is not None:
                if self._dispatcher.finished:
                    self._company.ended()
                self.outcome.shared += self._company.reports
                self.outcome.notes += self._company.notes
        if self._joined and not self.outcome.failures:
            self.model = self.model.ended(self.expected.run_seconds, self._now() - min(self._joined.values()))
        return self.outcome

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return self._now()

    @property
    def open(self) -> tuple[RunningStint, ...]:
        """What workers are at. For the thread that carries it out."""
        return self._ledger.open()

    def _start(self) -> None:
        """Ask for as many workers as the plan is for, or for this replay's share where others use the cluster."""
        workers = self._workers
        if self._company is not None:
            self._look_at_others()
            if self._company.share is not None:
                workers = min(workers, max(1, self._company.share))
        self._started = workers
        self._executor.start(workers, self._first, self._workers - workers)

    def _look_at_others(self) -> None:
        """What other replays run, have answered or left is told to the dispatcher; slots are shared with them."""
        company, now = self._company, self._now()
        if company is None or not company.is_due:
            return
        there = self._there()
        standing = self._dispatcher.standing(now)
        could_use = len(self._dispatcher.running) + self._dispatcher.places_for_others
        wants = could_use or min(1, standing.waiting + standing.elsewhere)
        sifted = company.look(self._dispatcher, Staff(*self._executor.cluster(), len(there), wants))
        if sifted:
            self._perform(self._dispatcher.handle(OthersAtWork(sifted), now), now)
        before, self._share = self._share, company.share
        self._has_shared = self._has_shared or self._share is not None
        if self._share is not None and self._share == before:  # who comes in one look may be gone in the next
            for worker in there[: max(0, len(there) - max(1, self._share))]:
                self._happens(WorkerDraining(worker))

    def _there(self) -> list[str]:
        """Workers that are there to stay: first those that are idle, then those that came last."""
        states = self._dispatcher.workers
        there = [name for name, state in states.items() if state in PRESENT]
        return sorted(there, key=lambda name: (states[name] is not WorkerState.IDLE, -self._joined[name]))

    def _happens(self, event: Told) -> None:
        now = self._now()
        if isinstance(event, StoreAwaited):
            self._awaited[event.worker] = event.why
            return
        if isinstance(event, WorkerCalibrated):
            self._calibrated(self._ledger.kind(event.worker), event.found, now)
            return
        if isinstance(event, WorkerJoined):
            self._joined[event.worker] = now
            self._sought = None
            self._calibrate(event)
        if isinstance(event, SegmentDone | SegmentAdvanced):
            fresh = self._fresh(event.report)
            self._ledger.happens(event, now, twice=fresh is None)
            self._awaited.pop(event.worker, None)
            self._away_since = None
            if fresh is not None:
                self._learn(event.worker, fresh, now)
        else:
            self._ledger.happens(event, now)
        if isinstance(event, SegmentFailed | WorkerLost):
            self._awaited.pop(event.worker, None)
        if isinstance(event, SegmentFailed) and not event.counts:
            self._store_was_away(event, now)
        self._perform(self._dispatcher.handle(event, now), now)

    def _store_was_away(self, event: SegmentFailed, now: float) -> None:
        """A worker has waited in vain. Others, or the same one, wait again; but not for ever."""
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > self._wait_seconds:
            raise ReplayError(
                f"The store has not come back, and {now - self._away_since:.0f} s have passed without an answer since "
                f"a worker gave up waiting: {ended(event.error)} Finished segments are kept; ask again for the rest."
            )

    def _fresh(self, report: SegmentReport) -> SegmentReport | None:
        """The report, with the rows that no other worker has told before; None if there are none. Epochs have about
        equally many: two clones' parts need not end with the same one."""
        what, epochs = _epochs_of(report.segment)
        answered = self._answered.setdefault(what, set())
        fresh = epochs - answered
        answered |= fresh
        return replace(report, rows=report.rows * len(fresh) // len(epochs)) if fresh else None

    def _is_answered(self, segment: Segment) -> bool:
        what, epochs = _epochs_of(segment)
        return epochs <= self._answered.get(what, set())

    def _look_elsewhere(self, in_vain: bool) -> None:
        """See to workers on other nodes; where there are none, the dispatcher may want others for another version."""
        while (sought := self._sought) is not None:
            if not in_vain and self._executor.elsewhere(sought.nodes, sought.count):
                return
            self._sought = None
            now = self._now()
            self._perform(self._dispatcher.handle(NoOtherNode(sought.version), now), now)

    def _no_worker(self) -> str:
        seconds = self._wait_seconds
        return (
            f"There has been no worker for {f'{seconds:.0f} s' if seconds < 120 else duration(seconds)}. "
            f"{counted(self._workers, 'worker')} had been asked of the cluster: `ray status` says whether it has, or "
            "starts, what each of them is to get, and who holds it. Finished segments are kept; ask again for the "
            "rest, with --wait if nodes take longer to come."
        )

    def _grow(self, progress: Progress) -> None:
        """More workers, where room for them has come up and they would still have something to do. Once they have had
        nothing for a while, those that have not come yet are not waited for: nodes would be started for them."""
        now, places = self._now(), self._dispatcher.places_for_others
        if not self._joined:
            self._needed = now
        elif places:
            self._needed = now
            if self._share is not None:
                places = min(places, self._share - len(self._there()) - progress.awaited)
            if places > 0 and self._is_worth_starting(progress):
                self._started += self._executor.grow(places)
        elif now - self._needed > _FORGO_SECONDS:
            self._needed = now
            self._started = len(self._joined)
            self._executor.forgo()

    def _is_worth_starting(self, progress: Progress) -> bool:
        """Whether a worker that is started now would come before the end. Others leave slots when they have nothing
        more to do, which is often just before that: then segments as long as those that are done have to tell."""
        ready, done = self.expected.ready_seconds, len(self.outcome.reports)
        if self._has_shared and done:
            segments = progress.waiting + len(self._dispatcher.running)
            return progress.busy_seconds / done * segments / max(1, progress.workers) > _STARTS * ready
        return progress.left.high > ready

    def _learn(self, worker: str, report: SegmentReport, now: float) -> None:
        """From a segment that is done; the first ones say most."""
        if self._way and worker == next(iter(self._joined)) and 0 < report.start_seconds < self._joined[worker]:
            self.model = self.model.started(self._way, self._joined[worker] - report.start_seconds)
            self._way = ""  # once is enough
        reports = self.outcome.reports
        reports.append(report)
        self._values += report.rows
        self._cache_hits += report.cache_hits
        self.model = self.model.observe(report)
        self._drift = self.model.drift()
        if len(reports) >= self._corrected * _MORE_REPORTS:
            self._corrected = len(reports)
            self._correct(now)

    def _correct(self, now: float) -> None:
        """Tell what is left to run by what is known now: all of it, which takes longer than anything else here."""
        self._costs = [cost for cost in self._costs if not self._is_answered(cost.segment)]
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
        while instructions:
            taken: list[Event] = []
            for instruction in instructions:
                if isinstance(instruction, Run) and (of_others := self._taken(instruction)):
                    taken += of_others
                elif isinstance(instruction, Shorten) and any(_is_of(event, instruction.worker) for event in taken):
                    taken.append(SegmentShortened(instruction.worker, instruction.segment, instruction.segment.last))
                else:
                    self._perform_one(instruction, now)
            instructions = tuple(each for event in taken for each in self._dispatcher.handle(event, now))

    def _taken(self, run: Run) -> list[Event]:
        """What has become of a segment that is not begun, since other replays are at it, or have done it."""
        if self._company is None:
            return []
        sifted = self._company.take(self._dispatcher, run.segment, self._cutting.points(run.segment))
        if not sifted:
            return []
        return [SegmentTaken(run.worker, run.segment, sifted[0].parts), OthersAtWork(tuple(sifted[1:]))]

    def _perform_one(self, instruction: Instruction, now: float) -> None:
        match instruction:
            case Run(worker=worker, segment=segment):
                self._ledger.begins(instruction, now)
                job = self._jobs[segment.version]
                self._executor.submit(worker, replace(job, as_it_is=instruction.as_it_is), segment)
            case Fetch(worker=worker, segment=segment):
                self._executor.fetch(worker, self._jobs[segment.version], segment)
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
        there = sum(state is not WorkerState.LOST for state in states)
        awaited = max(0, (self._started or self._workers) - len(self._joined))
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
            retries=max(0, self._ledger.ended_badly - len(self.outcome.failures)),
            waiting=standing.waiting,
            cache_hits=self._cache_hits,
            overdue=tuple(
                replace(step, place=self._ledger.place(worker, step.epoch))
                for worker, step in overdue(outlook, standing.steps)
            ),
            drift=self._drift,
            headcount="" if self._has_shared else self._headcount.now(there, now),
            away=next((why for why in self._awaited.values() if why), None),
            elsewhere={} if self._company is None else self._company.at_work,
            share=None if self._company is None else self._company.share,
        )

    def _now(self) -> float:
        """Seconds since the replay began."""
        return time.monotonic() - self._zero


def _epochs_of(segment: Segment) -> tuple[Segment, set[int]]:
    """What a segment answers: of what, without its epochs, and these; one that is no range of epochs has just one."""
    if segment.operator is not Operator.DP_I:
        return segment, {0}
    return replace(segment, first=0, last=0, restore=None), {*range(segment.first, segment.last + 1)}


def _is_of(event: Told, worker: str) -> bool:
    """Whether it says that the worker has not begun with its segment."""
    return isinstance(event, SegmentTaken) and event.worker == worker

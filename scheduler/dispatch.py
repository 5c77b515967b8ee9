"""Carrying a schedule out: events in, instructions out.

Pure: a state machine without I/O, clock or threads. A thin shell in `flor_ray.cluster` performs it on workers, and
`flor_ray.scheduler.simulate` in virtual time. It tells each idle worker what to run next, moves work from late workers
to idle ones, and gives up on what keeps failing.

    event              unknown  IDLE     BUSY            LEAVING  DRAINING        RETIRED  LOST
    WorkerJoined       IDLE     bad      bad             bad      bad             IDLE     IDLE
    WorkerDraining     bad      RETIRED  DRAINING        LEAVING  DRAINING        RETIRED  LOST
    WorkerLost         bad      LOST     LOST, again     LOST     LOST, again     LOST     LOST
    EpochBegun         bad      IDLE     BUSY            LEAVING  DRAINING        RETIRED  LOST
    SegmentSlow        bad      IDLE     BUSY            LEAVING  DRAINING        RETIRED  LOST
    SegmentAdvanced    bad      bad      BUSY, its rest  LEAVING  same, its rest  bad      bad
    SegmentDone        bad      bad      IDLE            next     RETIRED         bad      bad
    SegmentFailed      bad      bad      IDLE, again     next     RETIRED, again  bad      bad
    SegmentNotHere     bad      bad      IDLE, others    next     RETIRED, others bad      bad
    SegmentTaken       bad      bad      IDLE, sifted    next     RETIRED, sifted bad      bad
    SegmentShortened   bad      owed     BUSY, if asked  owed     same, if asked  owed     LOST
    SegmentCancelled   bad      owed     owed            next     owed            owed     LOST
    EstimateCorrected  (of no worker: new estimates for what waits and runs)
    OthersAtWork       (of no worker: segments that no worker is at are sifted)
    NoOtherNode        (of no worker: of the version, what waits runs as it is, or is given up)

    rest    what the worker has answered is done, and never runs again; the rest is its segment from now on
    again   the segment waits again, or is given up; if a clone of it runs elsewhere, that one simply goes on
    others  the segment waits for workers on other nodes; no attempt is counted
    sifted  parts that other replays have done are done, those that they are at are ELSEWHERE, the rest waits
    next    IDLE; RETIRED if it is to drain
    owed    ignored if the answer to a question that has become void (the segment had ended before), else bad

A bad event, and one that ends a segment which its worker does not run, raises `BadTransition`. EpochBegun and
SegmentSlow of another segment than the worker's are old news and ignored.

After an event IDLE workers are looked after, the fastest first:

    1. its own queue: the next segment. Of equal rank are first the versions that take
       long from border to border. Before that, if it has only short ones left: a long
       one of a worker that would end late.                                              Run -> BUSY, or Shorten
    2. a queue without a worker (a lost one's, what is to be tried again, or nobody
       has joined for it): one that was made for its speed, of those the longest.        Run -> BUSY
    3. the worker that would end last, if that pays: a waiting segment of it, ...         Run -> BUSY
    4. ... the tail of a waiting segment, ...                                             Run -> BUSY
    5. ... the tail of what it runs, from a checkpoint border on. The owner is asked
       first; the tail goes on only when it has answered, so no epoch is run twice.      Shorten
    6. when nothing waits: all of a segment again that is expected to end much later
       where it runs. The first result counts, the other worker is told to leave.        Run -> BUSY, later Cancel
    7. of the others as many stay IDLE as segments run, each of which might need a
       second worker, or are run by other replays, which may leave them; the rest is
       not needed.                                                                       Retire -> RETIRED

*That pays* when the thief, set-up included, ends before the owner would have ended all that it has.

*Slow workers.* A worker's speed is learned from the segments and epochs that it has ended. One that takes clearly
longer than estimates, and than the others, begins only what it ends before all others are expected to end; the rest is
left to them. It is asked to end its running segment in time in the same way; what it cannot end in time is wanted of a
second worker, the next that is free.

*Parts.* A running segment is answered part by part, each at the end of an epoch (SegmentAdvanced). What is answered is
done: of a lost worker only the rest waits again, and begins with the nearest state before it that can be restored. The
worker itself goes on, and knows its segment by the name that it was told, the answered parts included. Of two clones
both may answer, each from where it began: what one has answered the other one's rows repeat, to the bit, and readers
take each row once.

*Failures.* What a lost worker ran waits again, first. A failure that may pass (`retryable`) puts the segment at the
end of the queue, so that another worker can try it. Both count as attempts, unless it was for want of the store, which
says nothing of the segment. One that hung is tried once more, by another worker; one for which memory was too small
once more, when nothing else runs on its node (`second_tries`). A script that raises would raise again, so its segment
is given up at once. The version's other segments are still tried: a hindsight statement often fails in some epochs
only (a variable that is not bound yet), and where it always fails, it fails early and cheaply.

*Ahead.* A worker that begins with a segment is told what is first in its queue, if reading that takes a while (Fetch).

*Data.* A node that lacks what a version read is given no more of that version. When all nodes with workers lack it,
workers are sought on others (Seek). When there is none, the version runs on nodes that have other files in place of all
that they lack (`Run.as_it_is`); without such a node it is given up, with the names of the files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.records import Operator, Segment
from flor_ray.scheduler.floor import Floor
from flor_ray.scheduler.helping import (
    help_late,
    look_after_idle,
    look_at_late,
    places_for_others,
    shorten_to_leave,
)
from flor_ray.scheduler.jobs import GONE, PRESENT, FloorWorker, Job, SegmentState, WorkerState
from flor_ray.scheduler.messages import (
    Cancel,
    EpochBegun,
    EstimateCorrected,
    Event,
    Finished,
    GiveUp,
    Instruction,
    NoOtherNode,
    OthersAtWork,
    Run,
    SecondTry,
    Seek,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentNotHere,
    SegmentShortened,
    SegmentSlow,
    SegmentTaken,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.scheduler.overdue import StepAt
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import Lane
from flor_ray.scheduler.sharing import Sifted

_HISTORY = 100  # events and instructions kept for `BadTransition`; enough to see both ends of a mix-up


class BadTransition(RuntimeError):
    """The shell reported what cannot have happened. `history`: the latest events and instructions, oldest first."""

    def __init__(self, event: Event, why: str, history: Iterable[Event | Instruction]) -> None:
        self.event, self.history = event, tuple(history)
        lines = "".join(f"\n  {entry}" for entry in self.history[-10:])
        super().__init__(f"{event}: {why}. What drives the dispatcher is wrong. Before it:{lines or ' nothing'}")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a replay is."""

    rows_answered: int  # one for each wanted epoch, one for what is outside a version's main loop
    rows: int
    lanes: tuple[Lane, ...]  # of the workers that are there
    steps: tuple[StepAt, ...]  # that they are at
    waiting_seconds: float  # estimated, of what has no worker yet
    steps_ended: int  # epochs and segments, as far as was told
    waiting: int  # segments that no worker is at
    steals: int  # waiting segments, and tails of running ones, that have gone to another worker
    clones: int
    elsewhere: int = 0  # segments that other replays run


class Dispatcher:
    """State of one replay. `handle` takes each event as it happens, with the time in seconds since any moment; it never
    decreases. What `handle` returns has to be done at once, in order.

    `slowness` is by worker class (`WorkerJoined.kind`), 1 where it is not named. An empty schedule is `finished` from
    the start, and tells so at the first event. When all workers are gone while segments remain (`stranded`), nothing
    happens until one joins. Raises ValueError for less than one attempt.
    """

    def __init__(
        self,
        schedule: Schedule,
        cutting: Cutting = Cutting(),  # noqa: B008  a frozen value
        max_attempts: int = 3,
        slowness: Mapping[str, float] | None = None,
    ) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; a segment needs at least one")
        self._max_attempts = max_attempts
        self._floor = Floor(schedule, cutting, slowness or {})
        self._history: deque[Event | Instruction] = deque(maxlen=_HISTORY)
        self._told_finished = False
        self._seeks = False  # an answer to Seek is to come

    @property
    def finished(self) -> bool:
        """Whether every segment is done or given up."""
        return not self._floor.unsettled

    @property
    def stranded(self) -> bool:
        """Whether segments remain for us, and no worker is there that will run them: one has to join."""
        workers, floor = self._floor.workers.values(), self._floor
        if floor.unsettled == floor.elsewhere:
            return False
        return not any(w.state in PRESENT and not w.draining for w in workers)

    @property
    def places_for_others(self) -> int:
        """How many more workers would find something to do at once; 0 while one is idle."""
        return places_for_others(self._floor)

    @property
    def segments(self) -> Mapping[Segment, SegmentState]:
        """State of every segment; of one that was cut, of each piece."""
        return {segment: job.state for segment, job in self._floor.jobs.items()}

    @property
    def workers(self) -> Mapping[str, WorkerState]:
        """State of each worker that has ever joined, by name."""
        return {name: worker.state for name, worker in self._floor.workers.items()}

    @property
    def running(self) -> Mapping[str, Segment]:
        """Segment in flight by worker, without what has been taken away from it."""
        return {name: w.job.segment for name, w in self._floor.workers.items() if w.job is not None}

    def standing(self, now: float) -> Standing:
        """How far the replay is at this time, which is of the clock that `handle` is given."""
        floor = self._floor
        return Standing(
            rows_answered=floor.rows_answered,
            rows=floor.rows,
            lanes=floor.lanes(now),
            steps=floor.steps(),
            waiting_seconds=floor.free_seconds(),
            steps_ended=floor.steps_ended,
            waiting=floor.waiting,
            steals=floor.steals,
            clones=floor.clones,
            elsewhere=floor.elsewhere,
        )

    def open_segments(self, state: SegmentState) -> list[tuple[Segment, Sequence[int]]]:
        """Segments in a state, each with the epochs that a piece of it can begin with."""
        return [(job.segment, job.points) for job in self._floor.jobs.values() if job.state is state]

    def upcoming(self, seconds: float, most: int) -> list[tuple[Segment, Sequence[int]]]:
        """What waits and would most likely begin within this time: of each queue the first and no more than `most`; as
        `open_segments` has it."""
        return [(job.segment, job.points) for job in self._floor.next_jobs(seconds, most)]

    def handle(self, event: Event, now: float) -> tuple[Instruction, ...]:
        """What is to be done now that this has happened. Raises BadTransition, and then has changed nothing."""
        instructions = self._happened(event, now)
        if not isinstance(event, EpochBegun | SegmentSlow | SegmentAdvanced):
            instructions += look_after_idle(self._floor, now)
            instructions += self._seek()
        ahead = [self._floor.ahead(run.worker) for run in instructions if isinstance(run, Run)]
        instructions += [fetch for fetch in ahead if fetch is not None]
        if self.finished and not self._told_finished:
            self._told_finished = True
            instructions.append(Finished())
        self._history += [event, *instructions]
        return tuple(instructions)

    def _happened(self, event: Event, now: float) -> list[Instruction]:
        """The rows of the module's table."""
        match event:
            case WorkerJoined():
                return self._joined(event, now)
            case WorkerDraining():
                return self._draining(event, now)
            case WorkerLost():
                return self._lost(event, now)
            case EpochBegun():
                return self._epoch_begun(event, now)
            case SegmentSlow():
                return self._slow(event, now)
            case SegmentAdvanced():
                return self._advanced(event, now)
            case SegmentDone():
                return self._done(event, now)
            case SegmentFailed():
                return self._failed(event, now)
            case SegmentNotHere():
                return self._not_here(event, now)
            case SegmentTaken():
                return self._segment_taken(event, now)
            case OthersAtWork():
                self._floor.sift(event.sifted, now)
                return []
            case NoOtherNode():
                return self._no_other_node(event)
            case SegmentShortened():
                return self._shortened(event, now)
            case SegmentCancelled():
                return self._cancelled(event, now)
            case EstimateCorrected():
                self._floor.correct(event, now)
                return []

    # -- workers -----------------------------------------------------------------------------------------------------

    def _joined(self, event: WorkerJoined, now: float) -> list[Instruction]:
        known = self._floor.workers.get(event.worker)
        if known is not None and known.state not in GONE:
            raise BadTransition(event, f"the worker is {known.state}", self._history)
        self._floor.join(event, now)
        self._seeks = False
        return []

    def _draining(self, event: WorkerDraining, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        if worker.draining or worker.state in GONE:
            return []
        worker.draining = True
        self._floor.release_queue(worker)
        if worker.state is WorkerState.IDLE:
            return [self._floor.retire(worker)]
        if worker.state is WorkerState.LEAVING:
            return []
        worker.state = WorkerState.DRAINING
        return shorten_to_leave(self._floor, worker, now)

    def _lost(self, event: WorkerLost, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        if worker.state is WorkerState.LOST:
            return []
        left = worker.state is WorkerState.LEAVING
        job = self._floor.end_run(worker)
        instructions: list[Instruction] = []
        if job is not None and not left and not job.runners:
            error = f"worker {worker.name} was lost while it ran this; {job.failures + 1} attempts were made"
            instructions = self._again(job, worker, error, front=True)
        self._floor.leave(worker, WorkerState.LOST)
        return instructions

    # -- segments ----------------------------------------------------------------------------------------------------

    def _epoch_begun(self, event: EpochBegun, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        if not worker.runs(event.segment) or event.epoch in (0, worker.at):  # told again, with the place
            return []
        self._floor.advance(worker, event.epoch, now)
        return self._news(worker, now)

    def _slow(self, event: SegmentSlow, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        if not worker.runs(event.segment):
            return []
        self._floor.update(worker, now)
        return self._news(worker, now, slow=worker.epoch == worker.first_epoch)

    def _advanced(self, event: SegmentAdvanced, now: float) -> list[Instruction]:
        worker, report = self._worker(event, event.worker), event.report
        job, last = worker.job, report.segment.last
        if job is None:
            raise BadTransition(event, f"the worker is {worker.state}", self._history)
        if not (worker.answers(report.segment) and worker.since <= last < job.segment.last):
            raise BadTransition(event, f"epoch {worker.since} of {worker.named} is to be answered next", self._history)
        if worker.state is WorkerState.LEAVING:
            worker.since = last + 1
            return []
        self._floor.observe(worker, last, report.run_seconds)
        self._floor.commit(worker, job, last, now)
        return self._news(worker, now)

    def _done(self, event: SegmentDone, now: float) -> list[Instruction]:
        worker, report = self._worker(event, event.worker), event.report
        job = self._job(event, worker, report.segment)
        if worker.state is WorkerState.LEAVING:
            return self._left(worker, job, now)
        if report.segment.last < job.segment.last:
            job = self._taken(worker, job, report.segment.last)
        self._floor.observe(worker, report.segment.last, report.run_seconds)
        if job.segment.suffix or job.segment.operator is Operator.DP_STAR:
            self._floor.cool(worker, job.segment.version)  # the process ran to the script's end
        else:
            self._floor.warm(worker, job.segment.version)
        self._floor.end_run(worker)
        self._floor.settle(job, SegmentState.DONE)
        for other in job.runners:
            other.state = WorkerState.LEAVING
        return [Cancel(other.name, other.named) for other in job.runners] + self._next(worker)

    def _failed(self, event: SegmentFailed, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        job = self._job(event, worker, event.segment)
        self._floor.cool(worker, job.segment.version)
        if worker.state is WorkerState.LEAVING:
            return self._left(worker, job, now)
        if event.segment.last < job.segment.last:
            job = self._taken(worker, job, event.segment.last)
        self._floor.end_run(worker)
        instructions: list[Instruction] = []
        if not job.runners:  # else its clone goes on
            job.failures -= not event.counts
            instructions = self._again(job, worker, event.error, retryable=event.retryable, second=event.second)
        return instructions + self._next(worker)

    def _not_here(self, event: SegmentNotHere, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        job = self._job(event, worker, event.segment)
        self._floor.cool(worker, job.segment.version)
        if worker.state is WorkerState.LEAVING:
            return self._left(worker, job, now)
        if event.segment.last < job.segment.last:
            job = self._taken(worker, job, event.segment.last)
        self._floor.end_run(worker)
        self._floor.lacks(worker, job.segment.version, event.lacking)
        if not job.runners:  # else its clone goes on
            self._floor.wait_for_others(job)
        return self._next(worker)

    def _segment_taken(self, event: SegmentTaken, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        job = self._job(event, worker, event.segment)
        if event.segment != job.segment:
            raise BadTransition(event, f"the worker was to run {job.segment}", self._history)
        if worker.state is WorkerState.LEAVING:
            return self._left(worker, job, now)
        self._floor.end_run(worker)
        if not job.runners:  # else its clone goes on
            self._floor.wait_for_others(job)
            self._floor.sift([Sifted(job.segment, event.parts)], now)
        return self._next(worker)

    def _no_other_node(self, event: NoOtherNode) -> list[Instruction]:
        self._seeks = False
        jobs = self._floor.blocked().get(event.version, [])
        data = self._floor.data
        if not jobs:
            return []
        data.take_as_they_are(event.version)
        if any(data.may_run(event.version, worker.node) for worker in self._floor.present()):
            return []
        files = data.nowhere(event.version)
        self._floor.withdraw(jobs)
        error = f"{', '.join(file.path for file in files)}: not on any node"
        return [GiveUp(job.segment, error, files) for job in jobs]

    def _seek(self) -> list[Instruction]:
        """Of what no worker can run that is there, one version's at a time."""
        if self._seeks or not self._floor.data.versions:
            return []
        for version, jobs in self._floor.blocked().items():
            self._seeks = True
            return [Seek(version, len(jobs), self._floor.data.nodes_without(version))]
        return []

    def _shortened(self, event: SegmentShortened, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        job, asked = worker.job, worker.asked
        if worker.state is WorkerState.LOST or self._was_owed("shorten", worker, event.segment):
            return []  # it may run the same segment again, and have been asked again: that answer is yet to come
        if job is None or asked is None or not worker.runs(event.segment):
            raise BadTransition(event, f"nobody has asked it; the worker is {worker.state}", self._history)
        if not asked <= event.last <= job.segment.last:
            raise BadTransition(event, f"the segment was to end after epoch {asked} or later", self._history)
        if event.last < job.segment.last:
            self._floor.take_tail(worker, job, event.last + 1)
        else:
            self._floor.answered(worker)
            worker.refused = True
        self._floor.update(worker, now)
        return shorten_to_leave(self._floor, worker, now) if worker.draining and not worker.refused else []

    def _cancelled(self, event: SegmentCancelled, now: float) -> list[Instruction]:
        worker = self._worker(event, event.worker)
        if worker.state is WorkerState.LOST:
            return []
        if worker.state is not WorkerState.LEAVING or worker.job is None or not worker.runs(event.segment):
            if self._was_owed("cancelled", worker, event.segment):
                return []
            raise BadTransition(event, f"nobody has asked it; the worker is {worker.state}", self._history)
        self._floor.cool(worker, event.segment.version)
        self._floor.observe_left(worker, now)
        self._floor.end_run(worker)
        return self._next(worker)

    def _news(self, worker: FloorWorker, now: float, slow: bool = False) -> list[Instruction]:
        """How far a worker is has changed what is expected of it."""
        instructions = help_late(self._floor, worker, now)
        if not instructions and worker.draining:
            instructions = shorten_to_leave(self._floor, worker, now)
        if not instructions and worker.job is not None and (worker.is_late(now) or slow):
            self._floor.suspects[worker] = now
            instructions = look_at_late(self._floor, now)
        return instructions

    # -- what becomes of them ----------------------------------------------------------------------------------------

    def _taken(self, worker: FloorWorker, job: Job, last: int) -> Job:
        """The worker's segment has ended after epoch `last`; the answer that said so may come still."""
        worker.owed["shorten", worker.named] += 1
        return self._floor.take_tail(worker, job, last + 1)

    def _left(self, worker: FloorWorker, job: Job, now: float) -> list[Instruction]:
        """It has ended a segment that another one had done; it may say that it has left it, too."""
        worker.owed["cancelled", worker.named] += 1
        self._floor.observe_left(worker, now)
        self._floor.end_run(worker)
        return self._next(worker)

    def _next(self, worker: FloorWorker) -> list[Instruction]:
        if worker.draining:
            return [self._floor.retire(worker)]
        worker.state = WorkerState.IDLE
        self._floor.fresh.append(worker)
        return []

    def _again(
        self,
        job: Job,
        worker: FloorWorker,
        error: str,
        front: bool = False,
        retryable: bool = True,
        second: SecondTry | None = None,
    ) -> list[Instruction]:
        """It waits for another attempt, if one is left."""
        job.failures += 1
        if retryable and second not in job.second_tries and job.failures < self._max_attempts:
            if second is not None:
                self._floor.harmful.add(job, worker, second)
            self._floor.wait_again(job, worker.queue, front)
            return []
        self._floor.settle(job, SegmentState.GIVEN_UP)
        return [GiveUp(job.segment, error)]

    # -- checks ------------------------------------------------------------------------------------------------------

    def _worker(self, event: Event, name: str) -> FloorWorker:
        worker = self._floor.workers.get(name)
        if worker is None:
            raise BadTransition(event, "the worker is unknown", self._history)
        return worker

    def _job(self, event: Event, worker: FloorWorker, segment: Segment) -> Job:
        """What the worker runs, if it can end as this segment."""
        job = worker.job
        if job is None:
            raise BadTransition(event, f"the worker is {worker.state}", self._history)
        last = job.segment.last
        least = last if worker.asked is None else worker.asked  # with which it can end, before its answer has come
        if isinstance(event, SegmentFailed | SegmentNotHere):
            of_it = replace(segment, last=last) == worker.named
            fits = worker.runs(segment) or (of_it and least <= segment.last <= last)
        else:
            fits = worker.answers(segment) and max(worker.since, least) <= segment.last <= last
        if not fits:
            why = f"the worker runs {worker.named} and has to answer epoch {worker.since} next"
            raise BadTransition(event, why, self._history)
        return job

    def _was_owed(self, question: str, worker: FloorWorker, segment: Segment) -> bool:
        """Whether this answers a question that has become void. A worker's answers come in the order of questions."""
        if not worker.owed[question, segment]:
            return False
        worker.owed[question, segment] -= 1
        return True

"""Carrying a schedule out: events in, instructions out.

Pure: a state machine without I/O, clock or threads, which one thin shell in `flor_ray.cluster` performs. It tells each
idle worker what to run next, moves work from late workers to idle ones, and gives up on what keeps failing.

    worker       WorkerJoined     SegmentDone       SegmentFailed              WorkerLost
    (unknown)    -> IDLE          bad               bad                        bad
    IDLE         bad              bad               bad                        -> LOST
    BUSY         bad              -> IDLE           -> IDLE, retry or give up  -> LOST, retry or give up
    RETIRED      -> IDLE          bad               bad                        -> LOST
    LOST         -> IDLE          bad               bad                        LOST (nothing to do)

A bad transition, and a done or failed segment that is not the one its worker runs, raises `BadTransition`. After each
event every IDLE worker is looked after, in the order in which they joined:

    1. its own queue: the next segment.                                              Run -> BUSY
    2. else a queue without a worker (a lost one's, or nobody has joined for it):
       the one with most seconds becomes its own.                                    Run -> BUSY
    3. else the last segment of another worker's queue, if that pays: the queues
       with most remaining seconds are tried first.                                  Run -> BUSY
    4. else, if no segment waits anywhere, it is not needed.                         Retire -> RETIRED
    5. else it stays IDLE: what waits is better off where it is.

*Stealing pays* when the thief, set-up included, would end the segment before its owner ends everything that it has
now. Without a clock half of a running segment is taken to be left.

*Failures.* A worker's loss puts its segment back to the front of its queue, and the queue is free for others (2, 3). A
failure that may pass (`retryable`) puts the segment at the end of the queue, so that another worker can try it. Both
count as attempts. A script that raises would raise again, so its segment is given up at once. The version's other
segments are still tried: a hindsight statement often fails in some epochs only (a variable that is not bound yet),
and where it always fails, it fails early and cheaply.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flor_ray.records import Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.packing import Schedule

_HISTORY = 100  # events and instructions kept for `BadTransition`; enough to see both ends of a mix-up


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    worker: str


@dataclass(frozen=True, slots=True)
class SegmentDone:
    worker: str
    report: SegmentReport


@dataclass(frozen=True, slots=True)
class SegmentFailed:
    worker: str
    segment: Segment
    error: str
    retryable: bool  # False: the script itself raised, and would again


@dataclass(frozen=True, slots=True)
class WorkerLost:
    worker: str


@dataclass(frozen=True, slots=True)
class Run:
    worker: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class GiveUp:
    segment: Segment
    error: str


@dataclass(frozen=True, slots=True)
class Retire:
    """The worker is not needed any more; it can be given back."""

    worker: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Every segment is done or given up. Told once, last."""


Event = WorkerJoined | SegmentDone | SegmentFailed | WorkerLost
Instruction = Run | GiveUp | Retire | Finished


class WorkerState(StrEnum):
    IDLE = "idle"
    BUSY = "busy"
    RETIRED = "retired"
    LOST = "lost"


class SegmentState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    GIVEN_UP = "given up"


class BadTransition(RuntimeError):
    """The shell reported what cannot have happened. `history`: the latest events and instructions, oldest first."""

    def __init__(self, event: Event, why: str, history: Iterable[Event | Instruction]) -> None:
        self.event, self.history = event, tuple(history)
        lines = "".join(f"\n  {entry}" for entry in self.history[-10:])
        super().__init__(f"{event}: {why}. What drives the dispatcher is wrong. Before it:{lines or ' nothing'}")


@dataclass(slots=True)
class _Queue:
    waiting: deque[Segment]
    owner: str | None = None


@dataclass(slots=True)
class _Worker:
    state: WorkerState = WorkerState.IDLE
    running: Segment | None = None
    warm: set[str] = field(default_factory=set)  # versions with a live process here: no set-up


class Dispatcher:
    """State of one replay. `handle` takes each event as it happens; what it returns has to be done at once, in order.

    An empty schedule is `finished` from the start, and tells so at the first event. When all workers are lost while
    segments remain (`stranded`), nothing happens until one joins.
    """

    def __init__(self, schedule: Schedule, max_attempts: int = 3) -> None:
        if max_attempts < 1:
            raise ValueError(f"max_attempts is {max_attempts}; a segment needs at least one")
        self._max_attempts = max_attempts
        self._costs = {c.segment: c for assignment in schedule.assignments for c in assignment}
        self._queues = [_Queue(deque(c.segment for c in assignment)) for assignment in schedule.assignments]
        self._segments = dict.fromkeys(self._costs, SegmentState.WAITING)
        self._attempts = dict.fromkeys(self._costs, 0)
        self._unsettled = len(self._costs)  # segments neither done nor given up
        self._workers: dict[str, _Worker] = {}  # in the order in which they joined
        self._history: deque[Event | Instruction] = deque(maxlen=_HISTORY)
        self._told_finished = False

    @property
    def finished(self) -> bool:
        return not self._unsettled

    @property
    def stranded(self) -> bool:
        """Whether segments remain and no worker is there to run them: one has to join."""
        states = [worker.state for worker in self._workers.values()]
        return not self.finished and not any(s in (WorkerState.IDLE, WorkerState.BUSY) for s in states)

    @property
    def segments(self) -> Mapping[Segment, SegmentState]:
        return dict(self._segments)

    @property
    def workers(self) -> Mapping[str, WorkerState]:
        return {name: worker.state for name, worker in self._workers.items()}

    @property
    def running(self) -> Mapping[str, Segment]:
        """Segment in flight by worker."""
        return {name: worker.running for name, worker in self._workers.items() if worker.running is not None}

    def handle(self, event: Event) -> tuple[Instruction, ...]:
        """What to do now that this has happened. Raises BadTransition, and then has changed nothing."""
        match event:
            case WorkerJoined(worker=name):
                self._require(event, name, None, WorkerState.RETIRED, WorkerState.LOST)
                instructions = self._join(name)
            case SegmentDone(worker=name, report=report):
                self._require_running(event, name, report.segment)
                instructions = self._done(name, report.segment)
            case SegmentFailed(worker=name, segment=segment, error=error, retryable=retryable):
                self._require_running(event, name, segment)
                instructions = self._failed(name, segment, error, retryable)
            case WorkerLost(worker=name):
                self._require(event, name, *WorkerState)
                instructions = self._lost(name)
        instructions += self._look_after_idle()
        if self.finished and not self._told_finished:
            self._told_finished = True
            instructions.append(Finished())
        self._history += [event, *instructions]
        return tuple(instructions)

    def revise(self, costs: Iterable[SegmentCost]) -> None:
        """Replaces estimates, e.g. by `costs.correct`ed ones; segments that are not in this replay are ignored."""
        self._costs |= {c.segment: c for c in costs if c.segment in self._costs}

    def remaining_seconds(self, elapsed_seconds: Mapping[str, float] | None = None) -> float:
        """Estimated seconds until the last segment ends, with the workers that are there (one, if none is).

        At least the longest of the workers' own remains, and at least the average: queues without a worker are
        shared. `elapsed_seconds` says how long each worker has been at its segment; without it half of it is left.
        """
        elapsed = elapsed_seconds or {}
        present = [n for n, w in self._workers.items() if w.state in (WorkerState.IDLE, WorkerState.BUSY)]
        own = [self._worker_seconds(name, elapsed.get(name)) for name in present]
        free = sum(self._queue_seconds(queue, ()) for queue in self._queues if queue.owner is None)
        return max([0.0, *own, (sum(own) + free) / max(1, len(present))])

    def seconds_by_state(self) -> Mapping[SegmentState, float]:
        """Estimated run seconds (without set-ups) of the segments in each state."""
        seconds = dict.fromkeys(SegmentState, 0.0)
        for segment, state in self._segments.items():
            seconds[state] += self._costs[segment].run_seconds
        return seconds

    # -- events ------------------------------------------------------------------------------------------------------

    def _join(self, name: str) -> list[Instruction]:
        self._workers.pop(name, None)  # whoever comes back is the last to have joined, and cold
        self._workers[name] = _Worker()
        return []

    def _done(self, name: str, segment: Segment) -> list[Instruction]:
        worker = self._workers[name]
        worker.state, worker.running = WorkerState.IDLE, None
        self._segments[segment] = SegmentState.DONE
        self._unsettled -= 1
        if segment.suffix or segment.operator is Operator.DP_STAR:
            worker.warm.discard(segment.version)  # the process ran to the script's end
        else:
            worker.warm.add(segment.version)
        return []

    def _failed(self, name: str, segment: Segment, error: str, retryable: bool) -> list[Instruction]:
        worker = self._workers[name]
        worker.state, worker.running = WorkerState.IDLE, None
        worker.warm.discard(segment.version)
        if not retryable or self._attempts[segment] >= self._max_attempts:
            return [self._give_up(segment, error)]
        self._segments[segment] = SegmentState.WAITING
        self._own_queue(name).waiting.append(segment)
        return []

    def _lost(self, name: str) -> list[Instruction]:
        worker = self._workers[name]
        segment, worker.running, worker.state = worker.running, None, WorkerState.LOST
        if segment is None:
            self._release_queue(name)
            return []
        attempts = self._attempts[segment]
        if attempts >= self._max_attempts:
            self._release_queue(name)
            return [self._give_up(segment, f"worker {name} was lost while it ran this; {attempts} attempts were made")]
        self._segments[segment] = SegmentState.WAITING
        self._own_queue(name).waiting.appendleft(segment)
        self._release_queue(name)
        return []

    def _give_up(self, segment: Segment, error: str) -> GiveUp:
        self._segments[segment] = SegmentState.GIVEN_UP
        self._unsettled -= 1
        return GiveUp(segment, error)

    # -- what idle workers do ----------------------------------------------------------------------------------------

    def _look_after_idle(self) -> list[Instruction]:
        instructions: list[Instruction] = []
        for name, worker in self._workers.items():
            if worker.state is not WorkerState.IDLE:
                continue
            segment = self._next_own(name) or self._steal(name)
            if segment is not None:
                worker.state, worker.running = WorkerState.BUSY, segment
                self._segments[segment] = SegmentState.RUNNING
                self._attempts[segment] += 1
                instructions.append(Run(name, segment))
        if not any(queue.waiting for queue in self._queues):
            instructions += self._retire_idle()
        return instructions

    def _retire_idle(self) -> list[Instruction]:
        idle = [name for name, worker in self._workers.items() if worker.state is WorkerState.IDLE]
        for name in idle:
            self._workers[name].state = WorkerState.RETIRED
            self._release_queue(name)
        return [Retire(name) for name in idle]

    def _next_own(self, name: str) -> Segment | None:
        """The next segment of the worker's queue, or of a queue without a worker, which becomes its own."""
        queue = self._own_queue(name)
        if not queue.waiting:
            warm = self._workers[name].warm
            free = [q for q in self._queues if q.owner is None and q.waiting]
            if not free:
                return None
            self._release_queue(name)
            queue = max(free, key=lambda q: self._queue_seconds(q, warm))
            queue.owner = name
        return queue.waiting.popleft()

    def _steal(self, name: str) -> Segment | None:
        """The last segment of the queue with most remaining seconds of which taking one pays."""
        full = [(q, q.owner) for q in self._queues if q.owner is not None and q.owner != name and q.waiting]
        late = [(self._worker_seconds(owner), queue) for queue, owner in full]
        for seconds, queue in sorted(late, key=lambda pair: -pair[0]):
            if self._cost(queue.waiting[-1], self._workers[name].warm) < seconds:
                return queue.waiting.pop()
        return None

    def _own_queue(self, name: str) -> _Queue:
        """The worker's queue; a new, empty one if it has none."""
        for queue in self._queues:
            if queue.owner == name:
                return queue
        self._queues.append(_Queue(deque(), name))
        return self._queues[-1]

    def _release_queue(self, name: str) -> None:
        """Leaves what waits in the worker's queue to others."""
        for queue in self._queues:
            if queue.owner == name:
                queue.owner = None
        self._queues = [queue for queue in self._queues if queue.waiting or queue.owner is not None]

    # -- estimates ---------------------------------------------------------------------------------------------------

    def _cost(self, segment: Segment, warm: Iterable[str]) -> float:
        cost = self._costs[segment]
        return cost.run_seconds + (0.0 if segment.version in warm else cost.setup_seconds)

    def _queue_seconds(self, queue: _Queue, warm: Iterable[str]) -> float:
        """Seconds of a queue's waiting segments, each version that is not warm being set up once."""
        versions: set[str] = set(warm)
        seconds = 0.0
        for segment in queue.waiting:
            seconds += self._cost(segment, versions)
            versions.add(segment.version)
        return seconds

    def _worker_seconds(self, name: str, elapsed_seconds: float | None = None) -> float:
        """Seconds until a worker has run what it runs and what waits in its queue."""
        worker = self._workers[name]
        seconds, warm = 0.0, set(worker.warm)
        if worker.running is not None:
            whole = self._cost(worker.running, warm)
            seconds = whole / 2 if elapsed_seconds is None else max(0.0, whole - elapsed_seconds)
            warm.add(worker.running.version)
        return seconds + sum(self._queue_seconds(queue, warm) for queue in self._queues if queue.owner == name)

    # -- checks ------------------------------------------------------------------------------------------------------

    def _require(self, event: Event, name: str, *allowed: WorkerState | None) -> None:
        state = self._workers[name].state if name in self._workers else None
        if state not in allowed:
            raise BadTransition(event, f"the worker is {state or 'unknown'}", self._history)

    def _require_running(self, event: Event, name: str, segment: Segment) -> None:
        self._require(event, name, WorkerState.BUSY)
        if self._workers[name].running != segment:
            raise BadTransition(event, f"the worker runs {self._workers[name].running}", self._history)

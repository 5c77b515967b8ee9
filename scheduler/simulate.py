"""A replay in virtual time: the dispatcher of the real cluster, in a world that is described.

Pure: events in a heap, and chance from a seed only. Workers do as real ones do: they set a version up once, read the
state that a segment restores, run its epochs, tell of each, and take up what they are told between epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from flor_ray.records import Ending, Operator, Segment, SegmentCost, SegmentReport, Stint
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.jobs import rows
from flor_ray.scheduler.messages import (
    Cancel,
    EpochBegun,
    EstimateCorrected,
    Event,
    GiveUp,
    Instruction,
    NoOtherNode,
    OthersAtWork,
    Retire,
    Run,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentShortened,
    SegmentSlow,
    Shorten,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.world import SharedStorage, TrueRun, Truth, World

Learn = Callable[[SegmentReport], EstimateCorrected | None]
Watch = Callable[[Dispatcher, float], None]
_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What happened in a simulated replay. Seconds are of the virtual clock, from when the workers were wanted."""

    stints: tuple[Stint, ...]
    makespan_seconds: float
    workers: int  # that there were at first
    busy_seconds: float  # of all workers together
    wasted_seconds: float  # of these, on what was lost, cancelled, or done by another worker first
    clones: int
    steals: int  # waiting segments, and tails of running ones, that went to another worker
    failures: int  # workers that were lost
    given_up: int  # segments

    @property
    def extra_share(self) -> float:
        """Worker seconds that were wasted, for each useful one."""
        useful = self.busy_seconds - self.wasted_seconds
        return self.wasted_seconds / useful if useful else 0.0

    @property
    def utilisation(self) -> float:
        """Share of the workers' time in which they were busy."""
        return self.busy_seconds / (self.workers * self.makespan_seconds) if self.makespan_seconds else 1.0


def simulate(
    schedule: Schedule,
    workers: int | Sequence[str],
    cutting: Cutting = Cutting(),  # noqa: B008  a frozen value
    truth: Callable[[Segment], SegmentCost] | None = None,
    world: World = World(),  # noqa: B008  a frozen value
    seed: int = 0,
    learn: Learn | None = None,
    watch: Watch | None = None,
    attempts: int = 3,
) -> Simulation:
    """Carries a schedule out on some workers: a number, or the class of each.

    `truth` says what segments really take, without the world's noise (None: what was estimated). `learn` is given each
    report and may answer with new estimates, as a driver does. `watch` is shown the dispatcher, and told the time, once
    a second until the replay has ended. The same arguments give the same simulation. Raises ValueError for less than
    one worker, and when all workers have failed and none will come again.
    """
    kinds = ("",) * workers if isinstance(workers, int) else tuple(workers)
    if not kinds:
        raise ValueError(f"workers is {workers}; at least one is needed")
    costs = [cost for assignment in schedule.assignments for cost in assignment]
    true = Truth(costs, cutting, truth, world, seed)
    dispatcher = Dispatcher(schedule, cutting, attempts, world.kinds)
    return _VirtualReplay(dispatcher, kinds, true, world, seed, learn, watch).run()


@dataclass(slots=True, eq=False)
class _VirtualWorker:
    name: str
    kind: str
    slowness: float
    warm: set[str] = field(default_factory=set)
    segment: Segment | None = None
    told: Run | None = None
    token: int = 0  # changes when what it does ends; older happenings in the heap then mean nothing
    began: float = 0.0
    setup_seconds: float = 0.0
    run_began: float = 0.0
    read_ended: float = 0.0
    true: TrueRun | None = None
    epoch: int = -1  # index of the one that it is in
    since: int = 0  # the first epoch that is not answered yet
    alive: bool = True


class _VirtualReplay:
    def __init__(
        self,
        dispatcher: Dispatcher,
        kinds: Sequence[str],
        truth: Truth,
        world: World,
        seed: int,
        learn: Learn | None,
        watch: Watch | None,
    ) -> None:
        self._dispatcher, self._truth, self._world, self._learn = dispatcher, truth, world, learn
        self._watch = watch
        self._chance = Random(f"{seed}/workers")
        self._kinds = kinds
        self._now = 0.0
        self._numbers = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._workers: dict[str, _VirtualWorker] = {}
        self._storage: SharedStorage[tuple[_VirtualWorker, int]] = SharedStorage(world)
        self._reading = 0
        self._stints: list[Stint] = []
        self._done: set[Segment] = set()
        self._wasted = 0.0
        self._failures = self._given_up = 0
        self._ended: float | None = None

    def run(self) -> Simulation:
        slow = set(self._chance.sample(range(len(self._kinds)), round(self._world.straggler_share * len(self._kinds))))
        for number, kind in enumerate(self._kinds):
            self._at(self._world.start_seconds, self._joiner(f"w{number}", kind, number in slow))
        if self._watch is not None:
            self._at(0.0, self._look(self._watch))
        while self._heap and self._ended is None:
            self._now, _, happen = heappop(self._heap)
            happen()
        if self._ended is None:
            raise ValueError("all workers have failed and no other one will come; the replay cannot end")
        for worker in self._workers.values():
            if worker.segment is not None:
                self._end(worker, Ending.CANCELLED)
        standing = self._dispatcher.standing(self._now)
        return Simulation(
            stints=tuple(sorted(self._stints, key=lambda s: (s.began, s.worker))),
            makespan_seconds=self._ended,
            workers=len(self._kinds),
            busy_seconds=sum(stint.ended - stint.began for stint in self._stints),
            wasted_seconds=self._wasted,
            clones=standing.clones,
            steals=standing.steals,
            failures=self._failures,
            given_up=self._given_up,
        )

    # -- the clock ---------------------------------------------------------------------------------------------------

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        if moment < inf:
            heappush(self._heap, (moment, next(self._numbers), happen))

    def _look(self, watch: Watch) -> Callable[[], None]:
        def look() -> None:
            watch(self._dispatcher, self._now)
            if self._heap:
                self._at(self._now + _WATCH_SECONDS, look)

        return look

    def _tell(self, event: Event) -> None:
        """The dispatcher hears of it a moment later."""
        if self._world.latency_seconds:
            self._at(self._now + self._world.latency_seconds, lambda: self._hear(event))
        else:
            self._hear(event)

    def _hear(self, event: Event) -> None:
        of_nobody = EstimateCorrected | NoOtherNode | OthersAtWork
        worker = None if isinstance(event, of_nobody) else self._workers[event.worker]
        if worker is not None and not worker.alive and not isinstance(event, WorkerJoined | WorkerLost):
            return  # what a worker told before it was lost and came after that
        for instruction in self._dispatcher.handle(event, self._now):
            self._perform(instruction)
        if isinstance(event, SegmentDone) and self._learn is not None and not self._dispatcher.finished:
            correction = self._learn(event.report)
            if correction is not None:
                self._hear(correction)
        if self._dispatcher.finished and self._ended is None:
            self._ended = self._now

    def _perform(self, instruction: Instruction) -> None:
        match instruction:
            case Run():
                self._send(instruction.worker, lambda worker: self._begin(worker, instruction))
            case Shorten():
                self._send(instruction.worker, lambda worker: self._shorten(worker, instruction))
            case Cancel():
                self._send(instruction.worker, lambda worker: self._cancel(worker, instruction))
            case GiveUp():
                self._given_up += 1
            case Retire(worker=name):
                self._workers[name].token += 1

    def _send(self, name: str, do: Callable[[_VirtualWorker], None]) -> None:
        worker = self._workers[name]

        def arrive() -> None:
            if worker.alive:
                do(worker)

        self._at(self._now + self._world.latency_seconds, arrive)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _joiner(self, name: str, kind: str, straggles: bool) -> Callable[[], None]:
        def join() -> None:
            slowness = self._world.kinds.get(kind, 1.0) * (self._world.straggler_slowness if straggles else 1.0)
            worker = self._workers[name] = _VirtualWorker(name, kind, slowness)
            if self._world.failures_per_hour:
                life = self._chance.expovariate(self._world.failures_per_hour / 3600)
                self._at(self._now + life, lambda: self._fail(worker))
            if self._world.drains_per_hour:
                life = self._chance.expovariate(self._world.drains_per_hour / 3600)
                self._at(self._now + life, lambda: self._drain(worker))
            self._tell(WorkerJoined(name, kind))

        return join

    def _drain(self, worker: _VirtualWorker) -> None:
        if worker.alive:
            self._tell(WorkerDraining(worker.name))
            self._at(self._now + self._world.drain_seconds, lambda: self._fail(worker))

    def _fail(self, worker: _VirtualWorker) -> None:
        if not worker.alive:
            return
        self._failures += 1
        if worker.segment is not None:
            self._end(worker, Ending.LOST)
        worker.alive = False
        self._tell(WorkerLost(worker.name))
        name = f"{worker.name}'"
        self._at(self._now + self._world.replacement_seconds, self._joiner(name, worker.kind, straggles=False))

    def _begin(self, worker: _VirtualWorker, run: Run) -> None:
        worker.segment, worker.told, worker.began, worker.epoch = run.segment, run, self._now, -1
        worker.since = run.segment.first
        worker.true = self._truth.run(run.segment)
        cold = run.segment.version not in worker.warm
        worker.setup_seconds = worker.true.setup_seconds * worker.slowness if cold else 0.0
        token = worker.token
        if run.slow_after_seconds < inf:
            self._at(self._now + run.slow_after_seconds, self._if_still(worker, token, self._tell_slow))
        self._at(self._now + worker.setup_seconds, self._if_still(worker, token, self._read))

    def _if_still(self, worker: _VirtualWorker, token: int, do: Callable[[_VirtualWorker], None]) -> Callable[[], None]:
        return lambda: do(worker) if worker.token == token and worker.alive else None

    def _tell_slow(self, worker: _VirtualWorker) -> None:
        if worker.told is not None:
            self._tell(SegmentSlow(worker.name, worker.told.segment))

    def _read(self, worker: _VirtualWorker) -> None:
        worker.run_began = self._now
        true = worker.true
        if true is None:
            return
        if true.shared:
            self._storage.begin((worker, worker.token), true.read_bytes, self._now)
            self._watch_storage()
        else:
            wait = true.read_seconds * worker.slowness
            self._at(self._now + wait, self._if_still(worker, worker.token, self._next_epoch))

    def _watch_storage(self) -> None:
        """Comes again when somebody has read all, unless somebody begins or stops before."""
        self._reading += 1
        watch = self._reading
        found = self._storage.next_done(self._now)
        if found is None:
            return
        moment, (worker, token) = found

        def done() -> None:
            if watch == self._reading:
                self._storage.stop((worker, token), self._now)
                self._watch_storage()
                self._next_epoch(worker)

        self._at(moment, done)

    def _next_epoch(self, worker: _VirtualWorker) -> None:
        """An epoch, or reading, has ended."""
        true, segment = worker.true, worker.segment
        if true is None or segment is None:
            return
        if worker.epoch < 0:
            worker.read_ended = self._now
        worker.epoch += 1
        left = [e for e, _ in true.epochs[worker.epoch : worker.epoch + 1] if e <= segment.last]
        if left:
            self._commit(worker, left[0] - 1)
            seconds = true.epochs[worker.epoch][1] * worker.slowness
            self._at(self._now + seconds, self._if_still(worker, worker.token, self._next_epoch))
            self._tell(EpochBegun(worker.name, segment, left[0]))
        else:
            cut = worker.told is not None and segment != worker.told.segment
            seconds = 0.0 if cut else true.rest_seconds * worker.slowness
            self._at(self._now + seconds, self._if_still(worker, worker.token, self._finish))

    def _commit(self, worker: _VirtualWorker, last: int) -> None:
        """An epoch is over, and others follow: what is answered may be written now."""
        segment = worker.segment
        if segment is None or segment.operator is not Operator.DP_I or last < worker.since:
            return
        if self._now - max(worker.began, worker.run_began) >= self._world.commit_seconds:
            report = self._report(worker, last)
            self._add_stint(worker, report.segment, Ending.DONE)
            worker.since, worker.began, worker.setup_seconds = last + 1, self._now, 0.0
            worker.run_began = worker.read_ended = self._now
            self._tell(SegmentAdvanced(worker.name, report))

    def _finish(self, worker: _VirtualWorker) -> None:
        segment = worker.segment
        if segment is None:
            return
        if self._happens(self._world.failing_share):
            assert worker.told is not None
            failed = SegmentFailed(worker.name, worker.told.segment, "its process was killed", retryable=True)
            self._end(worker, Ending.FAILED)
            self._tell(failed)
            return
        report = self._report(worker, segment.last)
        self._end(worker, Ending.DONE)
        if self._happens(self._world.unheard_share):
            self._fail(worker)
            return
        if segment.suffix or segment.operator is Operator.DP_STAR:
            worker.warm.discard(segment.version)
        else:
            worker.warm.add(segment.version)
        self._tell(SegmentDone(worker.name, report))

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    def _report(self, worker: _VirtualWorker, last: int) -> SegmentReport:
        """On what the worker has run up to an epoch, and not answered before."""
        assert worker.told is not None
        assert worker.true is not None
        part = worker.told.segment.part(worker.since, last)
        return SegmentReport(
            part,
            rows(part),
            worker.setup_seconds,
            self._now - worker.run_began,
            kind=worker.kind,
            read_seconds=worker.read_ended - worker.run_began,
            read_bytes=worker.true.read_bytes if worker.since == worker.told.segment.first else 0,
        )

    def _end(self, worker: _VirtualWorker, ending: Ending) -> None:
        segment, told = worker.segment, worker.told
        if segment is None or told is None:
            return
        if ending is not Ending.DONE:
            worker.warm.discard(segment.version)
        if (worker, worker.token) in self._storage:
            self._storage.stop((worker, worker.token), self._now)
            self._watch_storage()
        self._add_stint(worker, told.segment.part(worker.since, segment.last), ending)
        worker.segment = worker.told = worker.true = None
        worker.token += 1

    def _add_stint(self, worker: _VirtualWorker, part: Segment, ending: Ending) -> None:
        assert worker.told is not None
        if ending is not Ending.DONE or part in self._done:
            self._wasted += self._now - worker.began
        if ending is Ending.DONE:
            self._done.add(part)
        stint = Stint(
            worker=worker.name,
            segment=part,
            began=worker.began,
            ended=self._now,
            ending=ending,
            setup_seconds=min(worker.setup_seconds, self._now - worker.began),
            estimated_seconds=worker.told.estimated_seconds * rows(part) / rows(worker.told.segment),
            kind=worker.kind,
            rows=rows(part) if ending is Ending.DONE else 0,
        )
        self._stints.append(stint)

    def _shorten(self, worker: _VirtualWorker, shorten: Shorten) -> None:
        segment, true = worker.segment, worker.true
        if segment != shorten.segment or true is None:
            return  # it has ended, and that was told
        at = true.epochs[worker.epoch][0] if 0 <= worker.epoch < len(true.epochs) else 0
        last = min(segment.last, max(shorten.last, at))
        worker.segment = replace(segment, last=last)
        self._tell(SegmentShortened(worker.name, segment, last))

    def _cancel(self, worker: _VirtualWorker, cancel: Cancel) -> None:
        if worker.segment == cancel.segment:
            self._end(worker, Ending.CANCELLED)
            self._tell(SegmentCancelled(worker.name, cancel.segment))

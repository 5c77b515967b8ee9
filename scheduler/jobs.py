"""What a dispatcher knows of the segments and workers in its hands, and what it expects of them. No decisions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.messages import SecondTry
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import Lane

BAND = 1.5  # a worker's seconds may differ from the estimate by this factor, either way, before it counts as its speed
_TELLING_SECONDS = 0.1  # shorter runs are mostly overhead
_MEASURED_POINTS = 200
_NEWS_SECONDS = 2.0  # between two words of how far a worker is, at most
_LATEST, _LATEST_OF_ALL = 3, 64  # segments by which a worker's speed is known, and that of all


class WorkerState(StrEnum):
    """What a worker is doing, as far as the dispatcher knows; `dispatch` has the transitions."""

    IDLE = "idle"
    BUSY = "busy"
    LEAVING = "leaving"  # told to leave a segment that another worker has done
    DRAINING = "draining"  # busy for the last time
    RETIRED = "retired"
    LOST = "lost"


PRESENT = (WorkerState.IDLE, WorkerState.BUSY, WorkerState.LEAVING)
GONE = (WorkerState.RETIRED, WorkerState.LOST)


class SegmentState(StrEnum):
    """What has become of a segment so far; the last two are final."""

    WAITING = "waiting"
    RUNNING = "running"
    ELSEWHERE = "elsewhere"  # another replay runs it
    DONE = "done"
    GIVEN_UP = "given up"


@dataclass(slots=True, eq=False)
class Job:
    """A segment, or a piece of one, on its way through a replay."""

    segment: Segment
    base: SegmentCost  # as first estimated
    cost: SegmentCost  # as estimated now
    points: tuple[int, ...]  # epochs that a piece can begin with
    state: SegmentState = SegmentState.WAITING
    failures: int = 0
    runners: list[FloorWorker] = field(default_factory=list)  # two: one of them is a clone
    shares: tuple[float, ...] = ()  # of its run seconds, before each of `points`: filled when it runs
    second_tries: frozenset[SecondTry] = frozenset()  # it has harmed who ran it, and is tried once more in these ways
    hung_at: FloorWorker | None = None  # that is left alone with it, if there is another one

    @property
    def alone(self) -> bool:
        """Whether nothing else is to run on its node meanwhile."""
        return SecondTry.ALONE in self.second_tries

    @property
    def stretch(self) -> float:
        """Run seconds from one border to the next, on average."""
        return self.cost.run_seconds / (len(self.points) + 1)

    def share(self, epoch: int) -> float:
        """Share of its run seconds before an epoch begins; between points as if all epochs were equal."""
        begin, end = first_run(self.segment), self.segment.last + 1
        if not begin < epoch < end:
            return 0.0 if epoch <= begin else 1.0
        index = bisect_right(self.points, epoch)
        low, below = (self.points[index - 1], self.shares[index - 1]) if index and self.shares else (begin, 0.0)
        known = index < len(self.points) and self.shares
        high, above = (self.points[index], self.shares[index]) if known else (end, 1.0)
        return below + (above - below) * (epoch - low) / (high - low)

    def measure(self, cutting: Cutting) -> None:
        """Finds out its `shares`. With very many points epochs count as equal: finding out takes time, too."""
        if self.shares or not 0 < len(self.points) <= _MEASURED_POINTS or self.cost.run_seconds <= 0:
            return
        parts = (cutting.cut(self.segment, (point,))[0] for point in self.points)
        shares = (min(1.0, self.piece_seconds(part, cutting) / self.cost.run_seconds) for part in parts)
        self.shares = tuple(accumulate(shares, max))

    def cut(self, point: int, cutting: Cutting) -> tuple[Job, Job]:
        """What ends before epoch `point`, and the rest, which restores the nearest state that can be."""
        head, tail = cutting.cut(self.segment, (point,))
        if point not in self.points and self.segment.first < point:
            nearest = bisect_left(self.points, point)
            restore = self.points[nearest - 1] - 1 if nearest else self.segment.restore
            tail = replace(tail, restore=restore)
        return tuple(self._piece(part, cutting) for part in (head, tail))  # type: ignore[return-value]

    def piece_seconds(self, segment: Segment, cutting: Cutting) -> float:
        """Run seconds of a piece of this job, as estimated now."""
        return _piece_cost(self.cost, segment, cutting).run_seconds

    def _piece(self, segment: Segment, cutting: Cutting) -> Job:
        low = bisect_right(self.points, segment.first)
        points = self.points[low : bisect_right(self.points, segment.last)]
        base, cost = (_piece_cost(whole, segment, cutting) for whole in (self.base, self.cost))
        return Job(segment, base, cost, points)


def rows(segment: Segment) -> int:
    """Rows that a segment answers: one for each wanted epoch, one for what is outside the main loop."""
    epochs = segment.last - segment.first + 1 if segment.last else 0
    return max(1, epochs + (segment.suffix and segment.operator is Operator.DP_STAR))


def first_run(segment: Segment) -> int:
    """The first epoch that is run, to warm up or as the first wanted one."""
    return segment.first if segment.restore is None and not segment.from_prefix else (segment.restore or 0) + 1


def _piece_cost(whole: SegmentCost, piece: Segment, cutting: Cutting) -> SegmentCost:
    """What a piece costs: the estimate's share of what the whole is thought to take now."""
    before = cutting.cost(whole.segment)
    if before.known and before.run_seconds > 0:
        cost = cutting.cost(piece)
        scale = whole.run_seconds / before.run_seconds
        read = cost.read_seconds * scale
        return replace(whole, segment=piece, run_seconds=cost.run_seconds * scale, read_seconds=read)
    part, all_ = (s.last - first_run(s) + 1 for s in (piece, whole.segment))
    return replace(whole, segment=piece, run_seconds=whole.run_seconds * part / max(1, all_))


class Queue:
    """Waiting jobs of one worker, in order, and the seconds that they take. Changes at both ends are cheap."""

    def __init__(self, slowness: float = 1.0) -> None:
        self.slowness = slowness  # of the worker that it was made for
        self.owner: FloorWorker | None = None
        self.stamp = -1  # of its entry among the queues without an owner
        self._jobs: deque[Job] = deque()
        self._versions: Counter[str] = Counter()
        self._setups: dict[str, float] = {}  # of waiting versions that its owner has to set up
        self._run_seconds = self._setup_seconds = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    @property
    def seconds(self) -> float:
        """Estimated seconds of all jobs at slowness 1, with the set-ups of versions that are not warm."""
        return max(0.0, self._run_seconds + self._setup_seconds)

    def latest(self, count: int) -> list[Job]:
        """The last few jobs, the last one first."""
        return [self._jobs[-number] for number in range(1, min(count, len(self._jobs)) + 1)]

    def add(self, job: Job, front: bool = False) -> None:
        """Puts a job at the end, or in front of all."""
        if front:
            self._jobs.appendleft(job)
        else:
            self._jobs.append(job)
        self._count(job, 1)

    def pop(self) -> Job:
        """Takes the first job out. Raises IndexError if none waits."""
        job = self._jobs.popleft()
        self._count(job, -1)
        return job

    def remove(self, job: Job) -> None:
        """Takes a job out, looking from the end. Raises ValueError if it does not wait here."""
        for number in range(len(self._jobs) - 1, -1, -1):
            if self._jobs[number] is job:
                del self._jobs[number]
                self._count(job, -1)
                return
        raise ValueError(f"{job.segment} does not wait here")

    def exchange(self, pieces: Mapping[int, Sequence[Job]]) -> None:
        """Puts others in the places of jobs that are given by id; for none, a job just goes."""
        jobs = [new for job in self._jobs for new in pieces.get(id(job), (job,))]
        self._jobs = deque(jobs)
        self.recount()

    def replace_last(self, job: Job) -> None:
        """Puts what is left of the last job in its place."""
        self._count(self._jobs.pop(), -1)
        self.add(job)

    def own(self, owner: FloorWorker | None) -> None:
        """Gives the queue to a worker, or to nobody; that decides which versions are warm."""
        self.owner = owner
        self.recount()

    def recount(self) -> None:
        """Adds up anew: estimates or warm versions have changed."""
        jobs, self._jobs = self._jobs, deque()
        self._versions, self._setups, self._run_seconds, self._setup_seconds = Counter(), {}, 0.0, 0.0
        for job in jobs:
            self.add(job)

    def warmed(self, version: str) -> None:
        """The owner need not set this version up any more."""
        self._setup_seconds -= self._setups.pop(version, 0.0)

    def cooled(self, version: str) -> None:
        """The owner has to set this version up again."""
        if self._versions[version]:
            self.recount()

    def _count(self, job: Job, change: int) -> None:
        version = job.segment.version
        self._run_seconds += change * job.cost.run_seconds
        self._versions[version] += change
        if not self._versions[version]:
            del self._versions[version]
            self._setup_seconds -= self._setups.pop(version, 0.0)
        elif change > 0 and self._versions[version] == 1 and not (self.owner and version in self.owner.warm):
            self._setups[version] = job.cost.setup_seconds
            self._setup_seconds += job.cost.setup_seconds
        if not self._jobs:
            self._run_seconds = self._setup_seconds = 0.0  # no rounding is carried on


class Speed:
    """How fast the latest segments were: measured against estimated seconds."""

    def __init__(self, latest: int) -> None:
        self._seen: deque[tuple[str, str, float, float]] = deque(maxlen=latest)
        self._measured = self._estimated = 0.0

    @property
    def known(self) -> bool:
        """Whether enough was seen for the ratio to tell anything."""
        return self._estimated >= _TELLING_SECONDS

    def observe(self, version: str, kind: str, measured: float, estimated: float) -> None:
        """Takes note of a segment: its version, the class of its worker, and its seconds."""
        self._seen.append((version, kind, measured, estimated))
        self._add_up()

    def corrected(self, versions: Mapping[str, float], kinds: Mapping[str, float]) -> None:
        """What was estimated of these versions, and for workers of these classes, would be so many times that now."""
        seen = [(v, k, m, e * versions.get(v, 1.0) * kinds.get(k, 1.0)) for v, k, m, e in self._seen]
        self._seen = deque(seen, self._seen.maxlen)
        self._add_up()

    def ratio(self, measured: float = 0.0, estimated: float = 0.0) -> float:
        """Measured over estimated seconds; with what has been seen of a run that goes on, if that is given."""
        below = self._estimated + estimated
        return (self._measured + measured) / below if below >= _TELLING_SECONDS else 1.0

    def _add_up(self) -> None:
        self._measured = sum(measured for _, _, measured, _ in self._seen)
        self._estimated = sum(estimated for _, _, _, estimated in self._seen)


def speed_of_all() -> Speed:
    """The speed that all workers have in common: of more segments than one worker's own."""
    return Speed(_LATEST_OF_ALL)


@dataclass(slots=True, eq=False)
class FloorWorker:
    """A worker as the dispatcher sees it: what it has, what it runs, and how fast it has been."""

    name: str
    order: int  # in which they joined
    queue: Queue
    kind: str = ""
    node: str = ""  # that it is on
    state: WorkerState = WorkerState.IDLE
    draining: bool = False
    warm: set[str] = field(default_factory=set)  # versions with a live process here: no set-up
    held: set[str] = field(default_factory=set)  # versions of which its machine has read states, whoever of it
    slowness: float = 1.0  # its seconds per estimated second
    of_kind: float = 1.0
    slow: bool = False  # clearly more than its kind's
    speed: Speed = field(default_factory=lambda: Speed(_LATEST))
    # What it runs:
    job: Job | None = None
    told: Segment | None = None  # the job's segment when it was told to run it
    since: int = 0  # the first epoch of it that it has not answered yet
    began: float = 0.0
    setup_seconds: float = 0.0  # estimated, of this run
    first_epoch: tuple[int, float] | None = None  # that it was told to be at, and when
    epoch: tuple[int, float] | None = None
    asked: int | None = None  # to end after this epoch; not answered yet
    refused: bool = False  # nothing could be taken while it is in this epoch
    thief: FloorWorker | None = None  # that asked
    awaits: FloorWorker | None = None  # whom it has asked
    owed: Counter[tuple[str, Segment]] = field(
        default_factory=Counter
    )  # answers that will come still, and mean nothing
    stamp: int = 0  # of its latest entry in the dispatcher's heap

    @property
    def takes(self) -> bool:
        """Whether it is there and takes segments."""
        return self.state in PRESENT and not self.draining

    def cost(self, job: Job) -> float:
        """Seconds that this worker would take for a job, set-up included if it needs one."""
        return self.slowness * (job.cost.run_seconds + self.setup_of(job))

    def setup_of(self, job: Job) -> float:
        """Estimated seconds, at slowness 1, to set the job's version up here; 0 if it is warm."""
        return 0.0 if job.segment.version in self.warm else job.cost.setup_seconds

    @property
    def at(self) -> int:
        """The epoch that it is in, as far as is known; 0 before the first."""
        return self.epoch[0] if self.epoch else 0

    @property
    def named(self) -> Segment:
        """What it runs as it knows it itself: as it was told to, without what was taken away since, and with what it or
        a clone has answered of that already."""
        assert self.job is not None
        assert self.told is not None
        return replace(self.told, last=self.job.segment.last)

    def runs(self, segment: Segment) -> bool:
        """Whether it runs this segment, as it was told to or as that has become since."""
        if self.job is None or self.told is None:
            return False
        last = self.job.segment.last
        return replace(segment, last=last) == self.named and last <= segment.last <= self.told.last

    def answers(self, segment: Segment) -> bool:
        """Whether it can say that this is answered: what follows what it has answered before, up to any epoch."""
        return self.told is not None and segment == self.told.part(self.since, segment.last)

    def estimated(self, last: int) -> float:
        """Estimated seconds, at slowness 1, of what it has run up to epoch `last` and not answered before. 0 where
        another worker was further: nothing is known of what it ran twice."""
        if self.job is None or self.since < self.job.segment.first:
            return 0.0
        goes_on = self.told is not None and self.since > self.told.first
        begin = self.job.share(self.since) if goes_on else 0.0
        return (self.job.share(last + 1) - begin) * self.job.cost.run_seconds

    def seen(self) -> tuple[float, float]:
        """Measured and estimated seconds of the epochs that it has ended in this run, at its kind's slowness."""
        if self.job is None or self.epoch is None or self.first_epoch is None:
            return 0.0, 0.0
        (begin, since), (epoch, at) = self.first_epoch, self.epoch
        return at - since, (self.job.share(epoch) - self.job.share(begin)) * self.job.cost.run_seconds * self.of_kind

    def taken(self, now: float) -> tuple[float, float]:
        """Measured and estimated seconds of the epochs of this run, as if the one that it is in ended now."""
        (since, seconds), (measured, estimated) = self._step(), self.seen()
        return measured + now - since, estimated + seconds * self.of_kind

    def first_seconds(self) -> float:
        """Estimated seconds from when it began with its segment to the end of the first epoch."""
        if self.job is None:
            return 0.0
        share = self.job.share(first_run(self.job.segment) + 1)
        return self.setup_seconds + share * self.job.cost.run_seconds

    def _step(self) -> tuple[float, float]:
        """When it has begun with what it is at, its set-up and first epoch or a later one, and the seconds for that."""
        if self.job is None:
            return 0.0, 0.0
        if self.epoch is None:
            return self.began, self.first_seconds()
        share = self.job.share(self.epoch[0] + 1) - self.job.share(self.epoch[0])
        return self.epoch[1], share * self.job.cost.run_seconds

    def is_late(self, now: float) -> bool:
        """Whether it is known to be slow, or its epoch takes clearly longer than it should."""
        since, seconds = self._step()
        return self.slow or now - since > BAND * self.slowness * seconds

    def run_end(self, now: float) -> float:
        """When its running segment will end; `now` if there is none."""
        return now if self.job is None else self.epoch_end(self.job.segment.last, now)

    def epoch_end(self, last: int, now: float) -> float:
        """When its running segment will end if it ends after epoch `last`.

        An epoch that has taken longer than it should will take three times that much more, but no longer again than it
        has taken."""
        if self.job is None or self.state is WorkerState.LEAVING:
            return now
        since, seconds = self._step()
        epoch = first_run(self.job.segment) if self.epoch is None else self.epoch[0]
        after = max(0.0, self.job.share(last + 1) - self.job.share(epoch + 1)) * self.job.cost.run_seconds
        taken, step = now - since, self.slowness * seconds
        left = step - taken if taken <= step else min(taken, 3 * (taken - step))
        pace = (taken + left) / seconds if taken > BAND * step and seconds > 0 else self.slowness
        return now + left + after * pace

    def lane(self, now: float) -> Lane:
        """What is left for it, and how long it has been at its step. How far it is is told now and then only, so a step
        has as many epochs as pass until the next news."""
        waits = self.slowness * self.queue.seconds
        if self.job is None or self.state is WorkerState.LEAVING:
            return Lane(0.0, 0.0, waits)
        since, seconds = self._step()
        epoch = first_run(self.job.segment) if self.epoch is None else self.epoch[0]
        after = (1.0 - self.job.share(epoch + 1)) * self.job.cost.run_seconds
        step = max(seconds, min(seconds + after, _NEWS_SECONDS))
        after, step, taken = self.slowness * (seconds + after - step), self.slowness * step, now - since
        return Lane(taken, step, after * max(1.0, taken / step / BAND if step else 1.0) + waits)

    def end(self, now: float) -> float:
        """When it will have run all that it has, what waits in its queue included."""
        return self.run_end(now) + self.slowness * self.queue.seconds

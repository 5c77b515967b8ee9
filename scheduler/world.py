"""A world to simulate replays in: what segments really take there, and what goes wrong. Seeded, and so repeatable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import exp, inf, log, sqrt
from random import Random
from typing import Generic, TypeVar

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.jobs import first_run
from flor_ray.scheduler.problem import Cutting

Reader = TypeVar("Reader")


@dataclass(frozen=True, slots=True)
class World:
    """What is not perfect in a simulated cluster. The default is perfect: all is as estimated, at once, and nothing
    fails."""

    latency_seconds: float = 0.0  # of a call to a worker, and of what it tells
    start_seconds: float = 0.0  # from when a worker is wanted to when it is there
    bandwidth_bytes_per_second: float = inf  # of the storage, shared by all that read at the same moment
    reader_bytes_per_second: float = inf  # what one reader gets at most
    noise: float = 0.0  # relative standard deviation of an epoch's seconds
    segment_noise: float = 0.0  # of all seconds of one version's runs together
    straggler_share: float = 0.0  # of the workers
    straggler_slowness: float = 8.0
    failures_per_hour: float = 0.0  # of one worker
    replacement_seconds: float = 60.0  # from a worker's loss to when another one is there
    drains_per_hour: float = 0.0  # of one worker: it is told, and lost a while later
    drain_seconds: float = 120.0
    unheard_share: float = 0.0  # of the segments that are done: the worker is lost before it has told so
    failing_share: float = 0.0  # of the segments that are run: the process dies, and another attempt may succeed
    commit_seconds: float = inf  # after which a running segment writes what it has, at the end of an epoch
    kinds: Mapping[str, float] = field(default_factory=dict)  # slowness by worker class; the dispatcher knows it

    def __post_init__(self) -> None:
        least = {"bandwidth_bytes_per_second": 1e-9, "reader_bytes_per_second": 1e-9, "straggler_slowness": 1e-9}
        for name in self.__slots__:
            value = getattr(self, name)
            if not isinstance(value, Mapping) and not value >= least.get(name, 0.0):
                raise ValueError(f"{name} is {value}; it must be {'positive' if name in least else 'at least 0'}")
        for name in ("straggler_share", "unheard_share", "failing_share"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a share, at most 1")


@dataclass(frozen=True, slots=True)
class TrueRun:
    """What a segment really takes on a worker of slowness 1, part by part."""

    setup_seconds: float
    read_seconds: float
    read_bytes: int
    shared: bool  # the storage is simulated: the bytes count, and not the seconds
    epochs: tuple[tuple[int, float], ...]  # epoch and its seconds
    rest_seconds: float  # after the last epoch, or all if no epoch is run


class Truth:
    """What segments really take: costs, with the world's noise. The same whoever runs them, and in what order."""

    def __init__(
        self,
        costs: Sequence[SegmentCost],
        cutting: Cutting,
        truth: Callable[[Segment], SegmentCost] | None,
        world: World,
        seed: int,
    ) -> None:
        self._whole = {} if truth else {cost.segment: cost for cost in costs}
        self._cost = truth or cutting.cost
        self._world, self._seed = world, seed
        self._factors: dict[str, tuple[Random, list[float]]] = {}

    def run(self, segment: Segment) -> TrueRun:
        """What the segment takes, part by part, with this world's noise."""
        cost = self._known(segment)
        epochs = range(first_run(segment), segment.last + 1) if segment.operator is not Operator.DP else range(0)
        read = cost.read_seconds
        work = max(0.0, cost.run_seconds - read)
        seconds = self._epochs(segment, epochs, work)
        rest = work - sum(seconds)
        version = self._factor(segment.version, 0)
        noisy = tuple((e, s * version * self._factor(segment.version, e)) for e, s in zip(epochs, seconds, strict=True))
        limited = min(self._world.bandwidth_bytes_per_second, self._world.reader_bytes_per_second) < inf
        return TrueRun(
            setup_seconds=cost.setup_seconds * version,
            read_seconds=read,
            read_bytes=cost.read_bytes,
            shared=limited and cost.read_bytes > 0,
            epochs=noisy,
            rest_seconds=max(0.0, rest) * version,
        )

    def cost(self, segment: Segment) -> SegmentCost:
        """What the segment takes as one cost, for bounds."""
        run, cost = self.run(segment), self._known(segment)
        seconds = cost.read_seconds + sum(s for _, s in run.epochs) + run.rest_seconds
        return replace(cost, setup_seconds=run.setup_seconds, run_seconds=seconds)

    def _known(self, segment: Segment) -> SegmentCost:
        return self._whole.get(segment) or self._cost(segment)

    def _epochs(self, segment: Segment, epochs: range, work: float) -> list[float]:
        """Each epoch's seconds, from what segments that end with it would take."""
        if len(epochs) <= 1:
            return [work] * len(epochs)
        wanted = [e for e in epochs if segment.first <= e < segment.last]
        costs = [self._cost(replace(segment, last=e, suffix=False)) for e in wanted]
        if not all(c.known for c in costs):
            return [work / len(epochs)] * len(epochs)
        ends = [max(0.0, c.run_seconds - c.read_seconds) for c in costs]
        before = len(epochs) - len(wanted) - 1  # epochs that only warm up share what comes before the first wanted one
        first = ends[0] if ends else work
        seconds = [first / (before + 1)] * (before + 1)
        seconds += [later - earlier for earlier, later in zip(ends, [*ends[1:], work], strict=True)] if ends else []
        return [max(0.0, s) for s in seconds]

    def _factor(self, version: str, number: int) -> float:
        """Of the version's seconds (0) or of one of its epochs'; 1 on average."""
        if version not in self._factors:
            self._factors[version] = Random(f"{self._seed}/{version}"), []
        random, factors = self._factors[version]
        while len(factors) <= number:
            factors.append(_lognormal(random, self._world.noise if factors else self._world.segment_noise))
        return factors[number]


def _lognormal(random: Random, relative: float) -> float:
    """Positive, 1 on average, with that standard deviation."""
    sigma = sqrt(log(1 + relative**2))
    return exp(random.gauss(0.0, sigma) - sigma**2 / 2) if sigma else 1.0


class SharedStorage(Generic[Reader]):
    """Storage that all readers share evenly, none getting more than its limit."""

    def __init__(self, world: World) -> None:
        self._total, self._limit = world.bandwidth_bytes_per_second, world.reader_bytes_per_second
        self._read = 0.0  # bytes that a reader who was there all the time would have got
        self._at = 0.0
        self._ends: list[tuple[float, int, Reader]] = []  # heap by the value of `_read` at which a reader is done
        self._numbers = count()
        self._readers: set[Reader] = set()

    def __contains__(self, reader: object) -> bool:
        return reader in self._readers

    def begin(self, reader: Reader, size: float, now: float) -> None:
        """A reader wants so many bytes, from now on."""
        self._advance(now)
        self._readers.add(reader)
        heappush(self._ends, (self._read + size, next(self._numbers), reader))

    def stop(self, reader: Reader, now: float) -> None:
        """A reader does not read any more, be it done or not."""
        self._advance(now)
        self._readers.discard(reader)

    def next_done(self, now: float) -> tuple[float, Reader] | None:
        """Who will be done first and when, if nobody else begins before."""
        self._advance(now)
        while self._ends and self._ends[0][2] not in self._readers:
            heappop(self._ends)
        if not self._ends:
            return None
        return now + max(0.0, self._ends[0][0] - self._read) / self._rate(), self._ends[0][2]

    def _advance(self, now: float) -> None:
        if self._readers:
            self._read += (now - self._at) * self._rate()
        self._at = now

    def _rate(self) -> float:
        return min(self._limit, self._total / max(1, len(self._readers)))

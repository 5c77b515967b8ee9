"""Segments on workers: what each worker runs, and until when. Pure; what packing phases share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from flor_ray.records import SegmentCost
from flor_ray.scheduler.problem import Slot, noticed


class JobColumns:
    """Segments as columns: fast to compute with. Raises ValueError for seconds that are negative or no number."""

    def __init__(self, costs: Sequence[SegmentCost]) -> None:
        names = sorted({c.segment.version for c in costs})
        numbers = {name: number for number, name in enumerate(names)}
        self.costs = costs
        self.names = names
        self.version = [numbers[c.segment.version] for c in costs]  # of each segment
        self.run = [noticed(c.run_seconds) for c in costs]
        self.read = [min(c.read_seconds, run) for c, run in zip(costs, self.run, strict=True)]
        self.setups = [0.0] * len(names)  # if a version's set-ups differ, the longest counts for all
        self.jobs: list[list[int]] = [[] for _ in names]  # of each version, longest first
        for c, version in zip(costs, self.version, strict=True):
            _require_seconds(c)
            self.setups[version] = max(noticed(c.setup_seconds), self.setups[version])
        self.longest_first = sorted(
            range(len(costs)), key=lambda j: (-self.run[j], self.version[j], costs[j].segment.id)
        )
        for job in self.longest_first:
            self.jobs[self.version[job]].append(job)
        self.totals = [sum(self.run[job] for job in jobs) for jobs in self.jobs]


class Bins:
    """Workers being filled with segments, both by number. Loads are seconds until a worker is done with all it has;
    until it is ready, if nothing."""

    def __init__(self, work: JobColumns, slots: Sequence[Slot]) -> None:
        self.work, self.slots = work, slots
        self.jobs: list[list[int]] = [[] for _ in slots]
        self.loads = [slot.ready_seconds for slot in slots]
        self.counts: list[dict[int, int]] = [{} for _ in slots]  # version -> its segments here
        numbers = {name: number for number, name in enumerate(work.names)}
        self.warm = [frozenset(numbers[v] for v in slot.warm if v in numbers) for slot in slots]
        self.held = [frozenset(numbers[v] for v in slot.held if v in numbers) for slot in slots]
        self.slowness = [slot.slowness for slot in slots]

    @property
    def makespan(self) -> float:
        """Seconds until the last worker that has anything is done; 0 if none has."""
        return max((load for load, jobs in zip(self.loads, self.jobs, strict=True) if jobs), default=0.0)

    @property
    def busy(self) -> float:
        """Seconds of all workers together: less means fewer set-ups."""
        return sum(self.loads)

    def seconds(self, worker: int, job: int) -> float:
        """Seconds that a segment (by number) runs on a worker (by number), without set-up."""
        work = self.work
        read = work.read[job] if work.version[job] in self.held[worker] else 0.0
        return self.slowness[worker] * (work.run[job] - read)

    def setup(self, worker: int, version: int) -> float:
        """Seconds that a version's first segment on a worker takes beside its run; 0 if the version is warm there."""
        return 0.0 if version in self.warm[worker] else self.slowness[worker] * self.work.setups[version]

    def added(self, worker: int, job: int) -> float:
        """What a worker's load would be with one more segment."""
        version = self.work.version[job]
        setup = 0.0 if version in self.counts[worker] else self.setup(worker, version)
        return self.loads[worker] + setup + self.seconds(worker, job)

    def add(self, worker: int, job: int) -> None:
        """Gives a segment to a worker: its run, and its version's set-up if that is new there."""
        version = self.work.version[job]
        self.loads[worker] = self.added(worker, job)
        self.jobs[worker].append(job)
        self.counts[worker][version] = self.counts[worker].get(version, 0) + 1

    def remove(self, worker: int, job: int) -> None:
        """Takes a segment from a worker that has it. Raises ValueError if it has not."""
        version = self.work.version[job]
        self.jobs[worker].remove(job)
        self.loads[worker] -= self.seconds(worker, job)
        self.counts[worker][version] -= 1
        if not self.counts[worker][version]:
            del self.counts[worker][version]
            self.loads[worker] -= self.setup(worker, version)


def longest_setups(costs: Iterable[SegmentCost]) -> dict[str, float]:
    """Set-up seconds by version: if those of a version differ, the longest."""
    setups: dict[str, float] = {}
    for c in costs:
        setups[c.segment.version] = max(c.setup_seconds, setups.get(c.segment.version, 0.0))
    return setups


def load(costs: Sequence[SegmentCost], slot: Slot, setups: dict[str, float]) -> float:
    """Seconds until a worker is done with these segments, from scratch; 0 for none."""
    if not costs:
        return 0.0
    runs = sum(
        c.run_seconds - (min(c.read_seconds, c.run_seconds) if c.segment.version in slot.held else 0.0) for c in costs
    )
    versions = dict.fromkeys(c.segment.version for c in costs)
    return slot.ready_seconds + slot.slowness * (runs + sum(setups[v] for v in versions if v not in slot.warm))


def _require_seconds(cost: SegmentCost) -> None:
    for name, seconds in (("set-up", cost.setup_seconds), ("run", cost.run_seconds), ("read", cost.read_seconds)):
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"{name} seconds of {cost.segment} are {seconds}; they must be numbers, and not negative")

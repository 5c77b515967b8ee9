"""Makes a schedule better by moving segments about. Pure, and bounded by a count of steps instead of a clock.

`exchange` looks at the worker that ends last: one of its segments, or all that it has of a version, moves to another
worker or changes places with a segment or a version there, if both then end earlier than it does now. The best
of the exchanges that were looked at is made, until there is none or the steps are spent. Each makes the sorted
loads smaller, so a schedule never gets worse.

`search` tries every assignment, longest segment first, leaving out what cannot beat the best one known: a branch whose
loads and remaining runs do not fit, and workers that are alike. For few segments it ends with the best possible.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from flor_ray.scheduler.bins import Bins

_GAIN = 1e-9  # relative; gains below rounding would let segments wander for ever
_PARTNERS = 10  # workers with the least load, and as many spread over the others, that are asked per exchange
_ITEMS = 48  # of one worker that are looked at; more of them are alike anyway


@dataclass(frozen=True, slots=True)
class _Item:
    """Segments of one version that move together."""

    version: int
    jobs: tuple[int, ...]
    seconds: float  # estimated, without set-up
    last: bool  # all that the worker has of the version


def exchange(bins: Bins, goal: float, steps: int) -> None:
    """Improves until `goal` is reached or nothing helps; a step is one exchange looked at."""
    order = sorted((load, worker) for worker, load in enumerate(bins.loads))
    while steps > 0 and order:
        longest, busiest = order[-1]
        if not bins.jobs[busiest]:
            order.pop()  # it is only ready late
            continue
        if longest <= goal * (1 + _GAIN):
            return
        found, looked = _best(bins, busiest, order)
        steps -= looked
        if found is None:
            return
        mine, worker, theirs = found
        for touched in (busiest, worker):
            del order[bisect_left(order, (bins.loads[touched], touched))]
        for job in theirs.jobs if theirs else ():
            bins.remove(worker, job)
        for job in mine.jobs:
            bins.remove(busiest, job)
            bins.add(worker, job)
        for job in theirs.jobs if theirs else ():
            bins.add(busiest, job)
        for touched in (busiest, worker):
            insort(order, (bins.loads[touched], touched))


def _best(
    bins: Bins, busiest: int, order: Sequence[tuple[float, int]]
) -> tuple[tuple[_Item, int, _Item | None] | None, int]:
    """The best exchange for the busiest worker, and how many were looked at."""
    limit = bins.loads[busiest] * (1 - _GAIN)
    items = _items(bins, busiest)
    best: tuple[_Item, int, _Item | None] | None = None
    looked = 0
    for worker in _partners(bins, busiest, order, items):
        if bins.loads[worker] >= limit:
            continue
        theirs: list[_Item | None] = [None, *_items(bins, worker)]
        looked += len(items) * len(theirs)
        middle = (bins.loads[worker] + bins.loads[busiest]) / 2
        for mine in items:
            there = _added(bins, worker, mine)
            here = _removed(bins, busiest, mine)
            for other in theirs:
                if other is None:
                    longer = max(there, here)
                elif other.version == mine.version:
                    swing = other.seconds - mine.seconds
                    if bins.held[worker] or bins.held[busiest]:
                        continue
                    longer = max(
                        bins.loads[busiest] + bins.slowness[busiest] * swing,
                        bins.loads[worker] - bins.slowness[worker] * swing,
                    )
                else:
                    longer = here - bins.loads[busiest] + _added(bins, busiest, other)
                    if longer >= limit:
                        continue
                    longer = max(longer, there - bins.loads[worker] + _removed(bins, worker, other))
                if longer < limit:
                    best, limit = (mine, worker, other), longer
        if best is not None and best[1] == worker and limit <= middle * (1 + 1e-3):
            break
    return best, looked


def _partners(bins: Bins, busiest: int, order: Sequence[tuple[float, int]], items: Sequence[_Item]) -> list[int]:
    """The workers to ask: those with least load, those that have the same versions, and some of the others."""
    most = len(order) - 1
    chosen = [order[index][1] for index in range(min(_PARTNERS, most))]
    if most > _PARTNERS:
        stride = max(1, (most - _PARTNERS) // _PARTNERS)
        chosen += [order[index][1] for index in range(_PARTNERS, most, stride)]
    for version in dict.fromkeys(item.version for item in items[: 2 * _PARTNERS]):
        having = bins.where[version]
        if 1 < len(having) <= 4 * _PARTNERS:
            chosen.append(min((bins.loads[w], w) for w in having if w != busiest)[1])
    return [worker for worker in dict.fromkeys(chosen) if worker != busiest]


def _items(bins: Bins, worker: int) -> list[_Item]:
    work, counts = bins.work, bins.counts[worker]
    jobs = bins.jobs[worker]
    chosen = jobs if len(jobs) <= _ITEMS else sorted(jobs, key=lambda j: (work.run[j], j))[:: len(jobs) // _ITEMS]
    items = []
    for job in chosen:
        version = work.version[job]
        items.append(_Item(version, (job,), work.run[job], counts[version] == 1))
    if len(counts) < len(jobs):
        together: dict[int, list[int]] = {}
        for job in jobs:
            if counts[work.version[job]] > 1:
                together.setdefault(work.version[job], []).append(job)
        chosen_versions = list(together)[:: max(1, len(together) // _ITEMS)]
        for version in chosen_versions:
            group = together[version]
            items.append(_Item(version, tuple(group), sum(work.run[job] for job in group), last=True))
    return items


def _seconds(bins: Bins, worker: int, item: _Item) -> float:
    if item.version in bins.held[worker]:
        return sum(bins.seconds(worker, job) for job in item.jobs)
    return bins.slowness[worker] * item.seconds


def _added(bins: Bins, worker: int, item: _Item) -> float:
    setup = 0.0 if item.version in bins.counts[worker] else bins.setup(worker, item.version)
    return bins.loads[worker] + setup + _seconds(bins, worker, item)


def _removed(bins: Bins, worker: int, item: _Item) -> float:
    setup = bins.setup(worker, item.version) if item.last else 0.0
    return bins.loads[worker] - setup - _seconds(bins, worker, item)


def search(bins: Bins, goal: float, steps: int) -> Bins:
    """The best schedule of the same segments that a search of so many steps finds; `bins` if none is better."""
    found = _Search(bins, goal, steps)
    found.place(0)
    if found.best is None:
        return bins
    better = Bins(bins.work, bins.slots)
    for job, worker in zip(found.order, found.best, strict=True):
        better.add(worker, job)
    return better


class _Search:
    def __init__(self, bins: Bins, goal: float, steps: int) -> None:
        work = bins.work
        self.order = sorted(
            range(len(work.costs)), key=lambda j: (-work.run[j] - work.setups[work.version[j]], work.version[j], j)
        )
        self.bins = Bins(work, bins.slots)
        self.goal, self.steps = goal * (1 + _GAIN), steps
        self.limit = bins.makespan * (1 - _GAIN)
        self.equal = len(set(bins.slots)) == 1
        self.chosen: list[int] = []
        self.best: list[int] | None = None
        runs = [
            work.run[j] - (work.read[j] if any(work.version[j] in held for held in bins.held) else 0.0)
            for j in self.order
        ]
        warm = [any(v in own for own in bins.warm) for v in range(len(work.names))]
        self.rest = [0.0] * (len(runs) + 1)  # least seconds of the jobs from here on
        seen: set[int] = set()
        firsts = []
        for job in self.order:
            version = work.version[job]
            firsts.append(0.0 if version in seen or warm[version] else work.setups[version])
            seen.add(version)
        for index in range(len(runs) - 1, -1, -1):
            self.rest[index] = self.rest[index + 1] + runs[index] + firsts[index]

    def place(self, index: int) -> None:
        bins = self.bins
        if index == len(self.order):
            self.best, self.limit = list(self.chosen), bins.makespan * (1 - _GAIN)
            return
        free = sum(max(0.0, self.limit - load) / slow for load, slow in zip(bins.loads, bins.slowness, strict=True))
        if self.rest[index] > free * (1 + _GAIN):
            return
        job = self.order[index]
        ends = sorted((bins.added(worker, job), worker) for worker in range(len(bins.loads)))
        seen: set[object] = set()
        for end, worker in ends:
            if end >= self.limit or self.limit <= self.goal or self.steps <= 0:
                return
            if self.equal:
                alike = (bins.loads[worker], frozenset(bins.counts[worker]))
                if alike in seen:
                    continue
                seen.add(alike)
            self.steps -= 1
            before = bins.loads[worker]
            bins.add(worker, job)
            self.chosen.append(worker)
            self.place(index + 1)
            self.chosen.pop()
            bins.remove(worker, job)
            bins.loads[worker] = before

"""The best schedule of few segments, by trying. Pure, and bounded by a count of steps instead of a clock.

Every assignment is tried, longest segment first, leaving out what cannot beat the best one known: a branch whose loads
and remaining runs do not fit, and workers that are alike. For so few segments it nearly always ends with the best
possible.
"""

from __future__ import annotations

from flor_ray.scheduler.bins import Bins
from flor_ray.scheduler.bounds import REACHED

_FEW = 14  # segments; with more the steps are spent before anything better is found
_STEPS = 18_750  # segments given to a worker; some 0.1 s
_GAIN = 1e-9  # relative; what is better by less than rounding is no better


def search(bins: Bins, bound: float) -> Bins:
    """The best schedule of the segments in `bins` that is found; `bins` itself if they are many, or none is better."""
    if len(bins.work.costs) > _FEW or bins.makespan <= bound * (1 + REACHED):
        return bins
    found = _Search(bins, bound * (1 + REACHED))
    found.place(0)
    if found.best is None:
        return bins
    better = Bins(bins.work, bins.slots)
    for job, worker in zip(found.order, found.best, strict=True):
        better.add(worker, job)
    return better


class _Search:
    def __init__(self, bins: Bins, goal: float) -> None:
        work = bins.work
        self.order = sorted(
            range(len(work.costs)), key=lambda j: (-work.run[j] - work.setups[work.version[j]], work.version[j], j)
        )
        self.bins = Bins(work, bins.slots)
        self.goal, self.steps = goal, _STEPS
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

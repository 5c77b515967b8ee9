"""Ways to build a schedule from nothing. Pure; `packing` says which are tried and takes the best.

plain LPT           longest segment first, each to the worker that would end it first (Graham 1969)
whole versions      longest version first, all of its segments to the worker that would end it first: fewest set-ups
batches             for a deadline T that the bound does not reject, ends by 3/2 T: `in_batches`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappush, heapreplace

from flor_ray.scheduler.bins import Bins, JobColumns
from flor_ray.scheduler.problem import Slot

_MARGIN = 1e-9  # relative; what a deadline may be missed by for rounding


class _Ends:
    """Finds the worker that would end something first, among equals the first one, without asking all of them.

    Loads only grow while a schedule is built, so entries of the heaps are lower estimates: one that is out of date is
    put right when it comes to the top. Workers of one slowness compare by load alone; those that have a version are
    looked at apart, since they need no set-up, and so are those that hold its checkpoints.
    """

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        kinds: dict[float, list[tuple[float, int]]] = {}
        for worker, (slowness, load) in enumerate(zip(bins.slowness, bins.loads, strict=True)):
            kinds.setdefault(slowness, []).append((load, worker))
        self.all = list(kinds.values())
        for heap in self.all:
            heapify(heap)
        self.kind = {slowness: number for number, slowness in enumerate(kinds)}
        self.having: list[dict[int, list[tuple[float, int]]]] = [{} for _ in bins.work.names]  # version -> kind -> heap
        self.holding: list[list[int]] = [[] for _ in bins.work.names]
        for worker in range(len(bins.loads)):
            for version in sorted(bins.warm[worker]):
                self.has(version, worker)
            for version in sorted(bins.held[worker]):
                self.holding[version].append(worker)

    def has(self, version: int, worker: int) -> None:
        heap = self.having[version].setdefault(self.kind[self.bins.slowness[worker]], [])
        heappush(heap, (self.bins.loads[worker], worker))

    def first(self, version: int, run: float, read: float = 0.0) -> int:
        """The worker that would end so many seconds of a version first."""
        bins = self.bins
        best = (float("inf"), -1)
        setup = bins.work.setups[version]
        for heap in self.all:
            load, worker = self._top(heap)
            best = min(best, (load + bins.slowness[worker] * (setup + run), worker))
        for heap in self.having[version].values():
            load, worker = self._top(heap)
            best = min(best, (load + bins.slowness[worker] * run, worker))
        for worker in self.holding[version]:
            paid = 0.0 if version in bins.counts[worker] else bins.setup(worker, version)
            best = min(best, (bins.loads[worker] + paid + bins.slowness[worker] * (run - read), worker))
        return best[1]

    def add(self, worker: int, job: int) -> None:
        version = self.bins.work.version[job]
        new = version not in self.bins.counts[worker] and version not in self.bins.warm[worker]
        self.bins.add(worker, job)
        if new:
            self.has(version, worker)

    def _top(self, heap: list[tuple[float, int]]) -> tuple[float, int]:
        loads = self.bins.loads
        while (top := heap[0])[0] != loads[top[1]]:
            heapreplace(heap, (loads[top[1]], top[1]))
        return top


def plain_lpt(work: JobColumns, slots: Sequence[Slot]) -> Bins:
    """Longest segment first, each to the worker that would end it first, set-up included."""
    bins = Bins(work, slots)
    ends = _Ends(bins)
    for job in work.longest_first:
        ends.add(ends.first(work.version[job], work.run[job], work.read[job]), job)
    return bins


def whole_versions(work: JobColumns, slots: Sequence[Slot]) -> Bins:
    """Longest version first, each as a whole to the worker that would end it first."""
    bins = Bins(work, slots)
    ends = _Ends(bins)
    for version in sorted(range(len(work.names)), key=lambda v: (-work.totals[v] - work.setups[v], v)):
        worker = ends.first(version, work.totals[version], sum(work.read[job] for job in work.jobs[version]))
        for job in work.jobs[version]:
            ends.add(worker, job)
    return bins


def in_batches(work: JobColumns, workers: int, deadline: float) -> Bins | None:
    """A schedule on equal cold workers that ends by 3/2 T, for a deadline T; None if T is too early for that.

    With s, t and the kinds of jobs as in `bounds`:

    1. A version with s > T/2 gets workers of its own, each filled with its jobs until it ends at T or later. The job
       that passes T has t <= T - s < T/2, so the worker ends by 3/2 T; and all but the last hold T - s of it, so
       no more than N are used.
    2. Jobs with t > T/2 of other versions get a worker each. Jobs with t <= T/2 < s + t fill workers of their own
       version as in 1; all but the last end at T or later. So far as many workers are in use as the bound counts.
    3. The small jobs of a version (s + t <= T/2) fill up the workers that it has, until these end at T or later.
       If any are left then, its workers hold T - s of it each, so it needs one more set-up by the bound's count.
    4. The jobs left go to the free time before T of all workers in a row, version after version, each version with
       one set-up. A job or set-up that would pass T goes to the next worker as a whole, with a set-up of its own; the
       next worker's free time counts only what would have passed. So its load is what was counted there (at most T)
       and at most one set-up and one job more, together <= T/2. What was counted is no more than the bound's load, so
       the row ends before the workers do.

    A T that the bound does not reject therefore gives a schedule.
    """
    bins = Bins(work, (Slot(),) * workers)
    limit = deadline * (1 + _MARGIN)
    free = 0
    left: list[tuple[int, list[int]]] = []
    for version, jobs in enumerate(work.jobs):
        large = [job for job in jobs if work.setups[version] + work.run[job] > limit / 2]
        own = _give_large(bins, large, free, deadline, limit)
        if own is None:
            return None
        free = own.stop
        rest = _fill_up(bins, own, jobs[len(large) :], deadline)
        if rest:
            left.append((version, rest))
    return bins if _in_a_row(bins, left, deadline, limit) else None


def _give_large(bins: Bins, jobs: Sequence[int], first: int, deadline: float, limit: float) -> range | None:
    """Steps 1 and 2 of `in_batches` for one version: the workers that are in use then, from `first` on."""
    work, free = bins.work, first
    for job in jobs:
        setup = work.setups[work.version[job]]
        alone = setup <= limit / 2 < work.run[job]
        if free == first or alone or bins.loads[free - 1] >= deadline or work.run[bins.jobs[free - 1][0]] > limit / 2:
            free += 1
        if free > len(bins.loads) or setup + work.run[job] > limit:
            return None
        bins.add(free - 1, job)
    return range(first, free)


def _fill_up(bins: Bins, workers: range, jobs: list[int], deadline: float) -> list[int]:
    """Step 3 of `in_batches` for one version: its small jobs that its own workers have no time for."""
    placed = 0
    for worker in workers:
        while placed < len(jobs) and bins.loads[worker] < deadline:
            bins.add(worker, jobs[placed])
            placed += 1
    return jobs[placed:]


def _in_a_row(bins: Bins, left: Iterable[tuple[int, list[int]]], deadline: float, limit: float) -> bool:
    """Step 4 of `in_batches`."""
    work, workers = bins.work, len(bins.loads)
    counted = list(bins.loads)
    worker = 0
    for version, jobs in left:
        for index, job in enumerate(jobs):
            seconds = work.run[job] + (work.setups[version] if index == 0 else 0.0)
            while worker < workers and counted[worker] + seconds > limit:
                seconds -= max(0.0, deadline - counted[worker])
                worker += 1
            if worker == workers:
                return False
            counted[worker] += seconds
            bins.add(worker, job)
    return True

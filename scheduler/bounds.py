"""Seconds below which no schedule can end, however clever. Pure.

A guess T is *rejected* when a count or a sum shows that nothing can end by T; then every schedule takes longer than T.
The bound is the largest T that was rejected (or the plain average, which needs no guess), so it is sound whether or not
rejection is monotone in T. The terms: s is a version's set-up, t the run of one of its jobs, P the sum of these; cap is
what the most capable worker can do by T, (T - ready) / slowness. Something that no worker with cap can do, none can.

*Set-ups.* A worker that has any of a version spends s on it and at most cap - s on its jobs. So the version needs at
least N = ceil(P / (cap - s)) workers, and also its number of jobs / (how many of the smallest fit into cap - s).

*Alone.* Take as large: all jobs of versions with s > cap/2; jobs with t > cap/2; other jobs with s + t > cap/2. Large
jobs of two versions never share a worker, since each brings more than cap/2; a job of the second kind shares none with
a large job of its own version either (s + t + t' > cap). So versions with s > cap/2 need N workers of their own,
others one for each job of the second kind and ceil(sum of the third / (cap - s)) more. Together at most as many as
there are workers with more than cap/2. (Deppert and Jansen, "Near-Linear Approximation Algorithms for Scheduling
Problems with Batch Setup Times", SPAA 2019.)

*Load.* All runs and all needed set-ups (N, or what was needed alone if that is more) fit into the sum of what the
workers can do. A version of one piece that needs N workers is cut N - 1 times, each time paying at least its least
restore.

*Counting.* A worker that has any of a version pays s, which is at least s/q for each of its jobs there when no more
than q fit. So jobs of size t + s/q fit into cap on every worker without set-ups. Count each job as the most units u
= cap/(k+1) that are strictly less than its size: a worker's count is less than cap/u = k + 1, so at most k. If all
counts together exceed k per worker, T is rejected; this holds for every k. (A dual feasible function, Fekete and
Schepers 2001; with equal sizes it is the pigeonhole principle.)

*Few versions.* Let S(a) be the a shortest set-ups together, and let every version be worth its P, but at most
(cap - S(a+1)) / a, each second of it alike. A worker with at most a versions earns at most cap - S(a+1), and one with
more runs no more seconds than that. So if all versions together are worth more than cap - S(a+1) per worker, T is
rejected; this holds for every a.

A version that is warm on some worker counts as having no set-up, and jobs of a version that some worker holds count
without their reading: that only makes the bound smaller.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil

from flor_ray.scheduler.problem import Slot, noticed

REACHED = 1e-8  # relative; what ends so near the bound, which itself is found by halving, ends as early as can be
_MARGIN = 1e-9  # relative; rounding never rejects what is possible
_CLOSE = 1e-9  # relative; how far bisection goes
_FEW_VERSIONS = 24  # per worker; with more their set-ups are in the load
_MOST_PER_WORKER = 48  # jobs in the counting test; with more the average is within 2 % anyway


@dataclass(slots=True)
class Demand:
    """What one version needs of the workers at least, however its jobs are distributed."""

    setup_seconds: float
    sizes: list[float]  # of its jobs that cannot be divided, ascending
    pieces: int = 0  # segments that it comes in: so many workers can share it without a cut
    restore_seconds: float = 0.0  # least that a further piece adds
    sums: list[float] = field(init=False)  # of the smallest sizes: sums[k] of k

    def __post_init__(self) -> None:
        self.setup_seconds = noticed(self.setup_seconds)
        self.sizes = list(map(noticed, self.sizes))
        self.sums = [0.0, *accumulate(self.sizes)]

    @property
    def total(self) -> float:
        """Seconds that all of its jobs run, without set-up."""
        return self.sums[-1]


def least_makespan(demands: Iterable[Demand], slots: Sequence[Slot]) -> float:
    """Seconds before which no schedule ends that runs each job whole, on one worker; 0 for no jobs."""
    given = [d for d in demands if d.sizes]
    if not given:
        return 0.0
    test = DualTest(given, slots)
    low = test.plain_bound()
    if not test.rejects(low * (1 + 2 * _MARGIN)):
        return low
    low *= 1 + 2 * _MARGIN
    step = 1e-3
    while test.rejects(high := low * (1 + step)):
        low, step = high, step * 4
    while high > low * (1 + _CLOSE):
        middle = (low + high) / 2
        if not low < middle < high:  # there is no number between them: seconds as small as can be
            break
        if test.rejects(middle):
            low = middle
        else:
            high = middle
    return low


def average(seconds: float, slots: Sequence[Slot]) -> float:
    """When the workers, all ending together, are done with so many seconds of work, if that can be divided at will."""
    speed = waited = 0.0
    ended = float("inf")
    for slot in sorted(slots, key=lambda slot: slot.ready_seconds):
        if slot.ready_seconds >= ended:
            break
        speed += 1 / slot.slowness
        waited += slot.ready_seconds / slot.slowness
        ended = (seconds + waited) / speed
    return ended


class DualTest:
    """Rejects guesses of when these demands, one at least and each of one job at least, can end on these workers."""

    def __init__(self, demands: Sequence[Demand], slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.equal = all((s.slowness, s.ready_seconds) == (slots[0].slowness, slots[0].ready_seconds) for s in slots)
        self.demands = sorted(demands, key=lambda d: d.setup_seconds + d.total)
        self.wholes = [d.setup_seconds + d.total for d in self.demands]
        self.whole_sums = [0.0, *accumulate(self.wholes)]
        self.least_setups = [0.0, *accumulate(sorted(d.setup_seconds for d in demands)[:_FEW_VERSIONS])]
        self.totals = sorted(d.total for d in demands)
        self.total_sums = [0.0, *accumulate(self.totals)]
        self.inflated: list[float] = []
        self.inflated_until = 0.0

    def plain_bound(self) -> float:
        """The larger of the average and of the largest job: a bound that needs no guess."""
        largest = max(d.setup_seconds + d.sizes[-1] for d in self.demands)
        alone = min(slot.ready_seconds + slot.slowness * largest for slot in self.slots)
        return max(alone, average(self.whole_sums[-1], self.slots))

    def rejects(self, guess: float) -> bool:
        """Whether a count or a sum shows that no schedule ends by this time. False proves nothing."""
        slots = self.slots
        caps = [max(0.0, guess - s.ready_seconds) / s.slowness for s in (slots[:1] if self.equal else slots)]
        cap = max(caps) * (1 + _MARGIN)
        if cap <= 0:
            return self.whole_sums[-1] > 0
        room = sum(caps) * (len(slots) if self.equal else 1) * (1 + _MARGIN)
        able = len(slots) if self.equal else sum(c > cap / 2 for c in caps)
        return self._alone_or_load(cap, able, room) or self._counting(caps, cap, guess) or self._few_versions(cap)

    def _alone_or_load(self, cap: float, able: int, room: float) -> bool:
        small = bisect_right(self.wholes, cap / 2)  # these fit with anything that is not large
        workers, load = 0, self.whole_sums[small]
        for index in range(small, len(self.demands)):
            demand = self.demands[index]
            left = cap - demand.setup_seconds
            if demand.sizes[-1] > left:
                return True
            alone, setups = _needs(demand, cap, left)
            workers += alone
            cuts = max(0, setups - demand.pieces) if demand.pieces else 0
            load += demand.total + setups * demand.setup_seconds + cuts * demand.restore_seconds
        return workers > able or load > room

    def _few_versions(self, cap: float) -> bool:
        for number in range(1, len(self.least_setups) - 1):
            most = cap - self.least_setups[number + 1]
            if most <= 0:
                break
            whole = bisect_right(self.totals, most / number)
            worth = self.total_sums[whole] + (len(self.totals) - whole) * most / number
            if worth > len(self.slots) * most * (1 + _MARGIN):
                return True
        return False

    def _counting(self, caps: Sequence[float], cap: float, guess: float) -> bool:
        sizes = self._inflated(cap, guess)
        fitting = min(_MOST_PER_WORKER, 2 + int(len(sizes) / max(1, len(self.slots))))
        for k in range(1, fitting + 1):
            unit = cap / (k + 1)
            count = sum(len(sizes) - bisect_right(sizes, times * unit) for times in range(1, k + 1))
            if self.equal:
                most = k * len(self.slots)
            else:
                most = sum(max(0, ceil(c * (1 + _MARGIN / 2) / unit) - 1) for c in caps)
            if count > most:
                return True
        return False

    def _inflated(self, cap: float, guess: float) -> list[float]:
        """Sizes with their share of the set-up. The shares are for a later time, too, and so hold for this one."""
        if guess > self.inflated_until:
            self.inflated_until = guess * 1.02
            most = cap * 1.02 + max(0.02 * s.ready_seconds / s.slowness for s in self.slots)
            sizes: list[float] = []
            for demand in self.demands:
                fit = max(1, bisect_right(demand.sums, most - demand.setup_seconds) - 1)
                share = demand.setup_seconds / min(fit, len(demand.sizes))
                sizes += [size + share for size in demand.sizes] if share else demand.sizes
            self.inflated = sorted(sizes)
        return self.inflated


def _needs(demand: Demand, cap: float, left: float) -> tuple[int, int]:
    """Workers that a version needs for large jobs alone, and set-ups."""
    sizes, sums = demand.sizes, demand.sums
    setups = 1
    if demand.total > left:
        fit = max(1, bisect_right(sums, left) - 1)
        setups = max(_ceil(demand.total / left), -(-len(sizes) // fit))
    half = cap / 2
    if demand.setup_seconds > half:
        return setups, setups
    large = bisect_right(sizes, half)  # from here on: with nothing else that is large
    medium = bisect_right(sizes, half - demand.setup_seconds)
    alone = len(sizes) - large
    if large > medium:
        together = max(1, int(left / sizes[medium] * (1 + _MARGIN)))
        alone += max(_ceil((sums[large] - sums[medium]) / left), -(-(large - medium) // together))
    return alone, max(setups, alone)


def _ceil(ratio: float) -> int:
    return ceil(ratio * (1 - _MARGIN))

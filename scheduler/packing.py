"""Segments -> workers, so that the last one ends as early as possible.

Pure. This is makespan minimisation on identical machines with a set-up per (class, machine), the class being the
version: a worker keeps one live process per version, so it prepares a version's data once however many of its
segments it runs. (Without set-ups it is P||Cmax; with them see Maecker, Malatyali, Meyer auf der Heide and Riechers,
"Non-preemptive Scheduling on Machines with Setup Times", WADS 2015.) Phases:

    plain LPT        longest segment first, each to the worker that would end it first (Graham 1969)
    whole versions   the same with each version as one job: fewest set-ups
    version by version   longest version first, its segments one after the other: in between
    in line          all segments in a row, version after version, cut into as even stretches as can be: at most one
                     more set-up per worker, so it suits many small pieces (McNaughton's wrap-around rule, 1959)
    -> the best of the four -> moves: segments leave the busiest worker while that shortens the makespan

A schedule is never worse than plain LPT, and says how far from the best possible it can be: `lower_bound`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose

from flor_ray.records import Operator, SegmentCost

_HALVINGS = 12  # of the limit in `_in_line`: to a few thousandths of the longest segment
_MOVES_PER_SEGMENT = 4  # every move shortens something, so moves end by themselves; this bounds odd cases


@dataclass(frozen=True, slots=True)
class Schedule:
    """What each worker runs, in order. Workers are numbered; who they are is known when they join."""

    assignments: tuple[tuple[SegmentCost, ...], ...]
    makespan_seconds: float
    lower_bound_seconds: float  # no schedule of these segments on as many workers ends earlier


def pack(costs: Sequence[SegmentCost], workers: int) -> Schedule:
    """A schedule of all segments on `workers` workers, the best that the phases above find; same input, same output.

    Set-ups of one version are taken to be equal; if they differ, the longest counts for all. Raises ValueError for
    less than one worker.
    """
    _require_workers(workers)
    setups = _setups(costs)
    candidates = [
        phase(costs, workers, setups) for phase in (_plain_lpt, _whole_versions, _version_by_version, _in_line)
    ]
    best = min(candidates, key=lambda bins: (bins.makespan, bins.busy))  # the first one wins ties
    _improve(best)
    return _schedule(best, lower_bound(costs, workers))


def longest_first(costs: Sequence[SegmentCost], workers: int) -> Schedule:
    """Plain LPT, for comparison."""
    _require_workers(workers)
    return _schedule(_plain_lpt(costs, workers, _setups(costs)), lower_bound(costs, workers))


def lower_bound(costs: Sequence[SegmentCost], workers: int) -> float:
    """Seconds below which no schedule of these segments on `workers` workers can end.

    Each version is set up on some worker at least once, so the workers' loads sum up to at least all runs plus one
    set-up per version, and the largest load is at least their average. The worker that gets a given segment has to
    set its version up too, so its load is at least that segment's run plus that set-up.
    """
    _require_workers(workers)
    setups = _setups(costs)
    average = (sum(c.run_seconds for c in costs) + sum(setups.values())) / workers
    return max([average, *(setups[c.segment.version] + c.run_seconds for c in costs)])


def one_row(costs: Iterable[SegmentCost]) -> list[SegmentCost]:
    """All segments in a row, version by version and by epoch: an order that cutting segments does not change."""
    return sorted(costs, key=lambda c: (c.segment.version, *_by_epoch(c)))


def validate(schedule: Schedule, costs: Iterable[SegmentCost]) -> None:
    """Checks a schedule from scratch: raises ValueError that lists all that is wrong with it."""
    expected = list(costs)
    placed = [c for assignment in schedule.assignments for c in assignment]
    wrong = []
    if Counter(placed) != Counter(expected):
        wrong.append(f"{len(expected)} segments were given and {len(placed)} placed, or not the same ones")
    longest = {c.segment.version: 0.0 for c in placed}
    for c in expected:
        longest[c.segment.version] = max(c.setup_seconds, longest.get(c.segment.version, 0.0))
    loads = [0.0]
    for number, assignment in enumerate(schedule.assignments):
        versions = [c.segment.version for c in assignment]
        changes = sum(before != after for before, after in pairwise(versions))
        if versions and changes + 1 != len(set(versions)):
            wrong.append(f"worker {number} comes back to a version: {versions}")
        loads.append(sum(c.run_seconds for c in assignment) + sum(longest[v] for v in set(versions)))
    if not isclose(max(loads), schedule.makespan_seconds, rel_tol=1e-9, abs_tol=1e-9):
        wrong.append(f"the longest load is {max(loads)} s and the makespan {schedule.makespan_seconds} s")
    if schedule.makespan_seconds < schedule.lower_bound_seconds * (1 - 1e-9) - 1e-9:
        wrong.append(f"makespan {schedule.makespan_seconds} s is below the bound {schedule.lower_bound_seconds} s")
    if wrong:
        raise ValueError("; ".join(wrong))


class _Bins:
    """Workers being filled: their segments, loads, and which versions each has to set up."""

    def __init__(self, workers: int, setups: dict[str, float]) -> None:
        self.setups = setups
        self.segments: list[list[SegmentCost]] = [[] for _ in range(workers)]
        self.loads = [0.0] * workers
        self._counts: list[dict[str, int]] = [{} for _ in range(workers)]  # version -> its segments here

    @property
    def makespan(self) -> float:
        return max(self.loads)

    @property
    def busy(self) -> float:
        """Seconds of all workers together: less means fewer set-ups."""
        return sum(self.loads)

    def added(self, worker: int, version: str, run_seconds: float) -> float:
        """The worker's load with so much more of a version."""
        setup = 0.0 if version in self._counts[worker] else self.setups[version]
        return self.loads[worker] + run_seconds + setup

    def removed(self, worker: int, cost: SegmentCost) -> float:
        """The worker's load without one of its segments."""
        setup = self.setups[cost.segment.version] if self._counts[worker][cost.segment.version] == 1 else 0.0
        return self.loads[worker] - cost.run_seconds - setup

    def first_to_end(self, version: str, run_seconds: float) -> int:
        """The worker that would be ready first with so much more of a version; the lowest number wins ties."""
        return min(range(len(self.loads)), key=lambda worker: self.added(worker, version, run_seconds))

    def add(self, worker: int, cost: SegmentCost) -> None:
        version = cost.segment.version
        self.loads[worker] = self.added(worker, version, cost.run_seconds)
        self.segments[worker].append(cost)
        self._counts[worker][version] = self._counts[worker].get(version, 0) + 1

    def remove(self, worker: int, cost: SegmentCost) -> None:
        version = cost.segment.version
        self.loads[worker] = self.removed(worker, cost)
        self.segments[worker].remove(cost)
        self._counts[worker][version] -= 1
        if not self._counts[worker][version]:
            del self._counts[worker][version]


def _plain_lpt(costs: Sequence[SegmentCost], workers: int, setups: dict[str, float]) -> _Bins:
    bins = _Bins(workers, setups)
    for c in sorted(costs, key=_by_run):
        bins.add(bins.first_to_end(c.segment.version, c.run_seconds), c)
    return bins


def _whole_versions(costs: Sequence[SegmentCost], workers: int, setups: dict[str, float]) -> _Bins:
    bins = _Bins(workers, setups)
    for group in _versions(costs, setups):
        worker = bins.first_to_end(group[0].segment.version, sum(c.run_seconds for c in group))
        for c in group:
            bins.add(worker, c)
    return bins


def _version_by_version(costs: Sequence[SegmentCost], workers: int, setups: dict[str, float]) -> _Bins:
    bins = _Bins(workers, setups)
    for group in _versions(costs, setups):
        for c in sorted(group, key=_by_run):
            bins.add(bins.first_to_end(c.segment.version, c.run_seconds), c)
    return bins


def _in_line(costs: Sequence[SegmentCost], workers: int, setups: dict[str, float]) -> _Bins:
    """Fills worker after worker up to the smallest limit that leaves nothing over, found by bisection."""
    row = one_row(costs)
    low = lower_bound(costs, workers)
    longest = max((setups[c.segment.version] + c.run_seconds for c in costs), default=0.0)
    # A worker is left for the next one when less than `longest` is free, and that adds one set-up.
    high = low + 2 * longest
    bins = _filled(row, workers, setups, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tighter = _filled(row, workers, setups, middle)
        if tighter.makespan <= middle:
            bins, high = tighter, middle
        else:
            low = middle
    return bins


def _filled(row: Sequence[SegmentCost], workers: int, setups: dict[str, float], limit: float) -> _Bins:
    """The row on workers, each filled up to the limit; the last one takes what is left over."""
    bins = _Bins(workers, setups)
    worker = 0
    for c in row:
        if worker + 1 < workers and bins.added(worker, c.segment.version, c.run_seconds) > limit:
            worker += 1
        bins.add(worker, c)
    return bins


def _improve(bins: _Bins) -> None:
    """Moves segments off the busiest worker, each to where its new load is least, while both loads stay below it."""
    for _ in range(_MOVES_PER_SEGMENT * sum(map(len, bins.segments))):
        busiest = max(range(len(bins.loads)), key=lambda worker: (bins.loads[worker], -worker))
        move = _best_move(bins, busiest)
        if move is None:
            return
        cost, worker = move
        bins.remove(busiest, cost)
        bins.add(worker, cost)


def _best_move(bins: _Bins, busiest: int) -> tuple[SegmentCost, int] | None:
    others = [worker for worker in range(len(bins.loads)) if worker != busiest]
    limit = bins.loads[busiest] * (1 - 1e-9)  # gains below rounding would let segments wander for ever
    best: tuple[float, SegmentCost, int] | None = None
    for c in sorted(bins.segments[busiest], key=_by_run) if others else ():
        version = c.segment.version
        worker = min(others, key=lambda other: bins.added(other, version, c.run_seconds))
        longer = max(bins.added(worker, version, c.run_seconds), bins.removed(busiest, c))
        if longer < (limit if best is None else best[0]):
            best = longer, c, worker
    return best and (best[1], best[2])


def _schedule(bins: _Bins, bound: float) -> Schedule:
    assignments = tuple(tuple(_in_order(segments, bins.setups)) for segments in bins.segments)
    loads = (_load(segments, bins.setups) for segments in assignments)
    return Schedule(assignments, max(loads), bound)


def _in_order(segments: Sequence[SegmentCost], setups: dict[str, float]) -> list[SegmentCost]:
    """One version after the other, longest first; in one by epoch, and DP last: its process ends with the suffix."""
    return [c for group in _versions(segments, setups) for c in sorted(group, key=_by_epoch)]


def _load(segments: Sequence[SegmentCost], setups: dict[str, float]) -> float:
    return sum(c.run_seconds for c in segments) + sum(setups[v] for v in {c.segment.version for c in segments})


def _versions(costs: Iterable[SegmentCost], setups: dict[str, float]) -> list[list[SegmentCost]]:
    """Segments by version, the version that takes longest first."""
    groups: dict[str, list[SegmentCost]] = {}
    for c in costs:
        groups.setdefault(c.segment.version, []).append(c)
    return [groups[v] for v in sorted(groups, key=lambda v: (-_load(groups[v], setups), v))]


def _setups(costs: Iterable[SegmentCost]) -> dict[str, float]:
    setups: dict[str, float] = {}
    for c in costs:
        setups[c.segment.version] = max(c.setup_seconds, setups.get(c.segment.version, 0.0))
    return setups


def _by_run(cost: SegmentCost) -> tuple[float, str, str]:
    return -cost.run_seconds, cost.segment.version, cost.segment.id


def _by_epoch(cost: SegmentCost) -> tuple[bool, str]:
    return cost.segment.operator is Operator.DP, cost.segment.id


def _require_workers(workers: int) -> None:
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one is needed")

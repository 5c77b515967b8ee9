"""Segments -> workers, so that the last one ends as early as possible.

Pure. This is makespan minimisation with a set-up per (class, machine), the class being the version: a worker keeps one
live process per version, so it prepares a version's data once however many of its segments it runs.

    build        plain LPT, whole versions (`constructing`); workers filled one after the other (`filling`, for few
                 segments `completing`); for equal cold workers batches for the earliest deadline that the bound does
                 not reject: at most 3/2 of that
    search       all assignments, if there are few segments (`searching`)

A schedule is never worse than plain LPT, at most 3/2 of the best possible on equal cold workers, and says how far from
the best possible it can be (`bounds`). What is tried is counted, not timed, so the same input gives the same schedule
everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flor_ray.records import Operator, SegmentCost
from flor_ray.scheduler import completing, constructing, filling
from flor_ray.scheduler.bins import Bins, JobColumns, load
from flor_ray.scheduler.bounds import REACHED, Demand, least_makespan
from flor_ray.scheduler.problem import Slot, Workers, slots_of
from flor_ray.scheduler.searching import search

_CLOSE = 1e-3  # relative; how near the earliest deadline is found by trying
_COMPLETED_SEGMENTS = 4_000  # workers are filled with a closer look for so few; some 0.5 s
_DEADLINES = 12  # halvings of the interval between the bound and 3/2 of it, to try batches


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which segments each worker runs, and in which order. Workers are numbered; who they are is known when they
    join."""

    assignments: tuple[tuple[SegmentCost, ...], ...]
    makespan_seconds: float
    lower_bound_seconds: float  # no schedule of this work on these workers ends earlier
    slots: tuple[Slot, ...] = ()  # the workers that it was made for; (): equal ones


def pack(costs: Sequence[SegmentCost], workers: Workers) -> Schedule:
    """A schedule of all segments, the best that is found; same input, same output.

    Set-ups of one version are taken to be equal; if they differ, the longest counts for all. Raises ValueError when
    there is no worker, and for seconds that are negative or no number.
    """
    slots = slots_of(workers)
    work = JobColumns(costs)
    bound = _bound(work, slots)
    return schedule_of(search(_best_start(work, slots, bound), bound), bound, workers)


def schedule_of(bins: Bins, bound: float, workers: Workers) -> Schedule:
    """Filled bins as a schedule: each worker's segments in order, and the makespan added up anew."""
    costs, slots = bins.work.costs, bins.slots
    setups = dict(zip(bins.work.names, bins.work.setups, strict=True))
    assignments = tuple(
        tuple(in_order([costs[job] for job in jobs], slot, setups)) for jobs, slot in zip(bins.jobs, slots, strict=True)
    )
    makespan = max(load(assignment, slot, setups) for assignment, slot in zip(assignments, slots, strict=True))
    return Schedule(assignments, makespan, bound, () if isinstance(workers, int) else tuple(slots))


def in_order(costs: Iterable[SegmentCost], slot: Slot, setups: dict[str, float]) -> list[SegmentCost]:
    """The order in which a worker runs its segments.

    One version after the other: warm ones first, while their process lives; then by their lowest rank, and longest
    first. Within a version what runs on from the start comes first and DP last, since its process ends with the
    suffix; the others by rank, then by epoch.
    """
    groups: dict[str, list[SegmentCost]] = {}
    for c in costs:
        groups.setdefault(c.segment.version, []).append(c)

    def turn(version: str) -> tuple[bool, float, float, str]:
        group = groups[version]
        seconds = setups[version] + sum(c.run_seconds for c in group)
        return version not in slot.warm, min(c.rank for c in group), -seconds, version

    return [c for version in sorted(groups, key=turn) for c in sorted(groups[version], key=_by_epoch)]


def _by_epoch(cost: SegmentCost) -> tuple[bool, bool, float, str]:
    return cost.segment.operator is Operator.DP, not cost.segment.from_prefix, cost.rank, cost.segment.id


def _best_start(work: JobColumns, slots: Sequence[Slot], bound: float) -> Bins:
    """The best of all ways to build a schedule; of equals the one with least set-ups, then the first."""
    best = constructing.plain_lpt(work, slots)
    for build in (_whole_versions, _in_a_row, _in_batches):
        if best.makespan <= bound * (1 + REACHED):
            break
        bins = build(work, slots, bound, best.makespan)
        if bins is not None and (bins.makespan, bins.busy) < (best.makespan, best.busy):
            best = bins
    return best


def _whole_versions(work: JobColumns, slots: Sequence[Slot], bound: float, until: float) -> Bins | None:
    return constructing.whole_versions(work, slots)


def _in_a_row(work: JobColumns, slots: Sequence[Slot], bound: float, until: float) -> Bins | None:
    if until <= bound * (1 + _CLOSE):
        return None
    strips = [
        filling.strip(work.setups[version], [work.run[job] for job in jobs], work.names[version])
        for version, jobs in enumerate(work.jobs)
    ]
    until, filled = filling.earliest(filling.fill, strips, slots, bound, until, _CLOSE)
    if len(work.costs) <= _COMPLETED_SEGMENTS and until > bound * (1 + _CLOSE):
        _, closer = filling.earliest(completing.complete, strips, slots, bound, until, _CLOSE)
        filled = closer or filled
    if filled is None:
        return None
    bins = Bins(work, slots)
    for worker, stretches in enumerate(filled):
        for version, begin, end in stretches:
            for job in work.jobs[version][begin:end]:
                bins.add(worker, job)
    return bins


def _in_batches(work: JobColumns, slots: Sequence[Slot], bound: float, until: float) -> Bins | None:
    """Batches for the earliest deadline found; None where workers differ, or when the result would be no better."""
    if set(slots) != {Slot()} or until <= bound * (1 + REACHED):
        return None
    best = constructing.in_batches(work, len(slots), bound * (1 + 1e-9))
    low, high = bound, until
    for _ in range(_DEADLINES if best is None else 0):
        middle = (low + high) / 2
        bins = constructing.in_batches(work, len(slots), middle)
        if bins is None:
            low = middle
        else:
            best, high = bins, middle
    return best


def _bound(work: JobColumns, slots: Sequence[Slot]) -> float:
    warm = {version for slot in slots for version in slot.warm}
    held = {version for slot in slots for version in slot.held}
    demands = []
    for version, (name, jobs) in enumerate(zip(work.names, work.jobs, strict=True)):
        runs = [work.run[job] - work.read[job] if name in held else work.run[job] for job in jobs]
        demands.append(Demand(0.0 if name in warm else work.setups[version], sorted(runs)))
    return least_makespan(demands, slots)

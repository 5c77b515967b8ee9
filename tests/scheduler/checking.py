"""An independent check of schedules: from their segments alone, with none of the scheduler's sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from math import isclose

from flor_ray.records import SegmentCost
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Slot


def wrongs(schedule: Schedule, costs: Iterable[SegmentCost]) -> list[str]:
    """All that is wrong with a schedule of these segments. A version has one set-up per worker, its longest."""
    expected = list(costs)
    placed = [c for assignment in schedule.assignments for c in assignment]
    setups: dict[str, float] = {}
    for c in [*expected, *placed]:
        setups[c.segment.version] = max(c.setup_seconds, setups.get(c.segment.version, 0.0))
    found = []
    if Counter(placed) != Counter(expected):
        found.append(f"{len(placed)} of {len(expected)} segments are placed, or not the same ones")
    slots = schedule.slots or (Slot(),) * len(schedule.assignments)
    ends = [0.0]
    for number, (assignment, slot) in enumerate(zip(schedule.assignments, slots, strict=True)):
        versions = [version for version, _ in groupby(c.segment.version for c in assignment)]
        if len(set(versions)) < len(versions):
            found.append(f"worker {number} comes back to a version: {versions}")
        runs = (c.run_seconds - (c.read_seconds if c.segment.version in slot.held else 0.0) for c in assignment)
        busy = sum(runs) + sum(setups[version] for version in set(versions) - slot.warm)
        ends.append(slot.ready_seconds + slot.slowness * busy if assignment else 0.0)
    if not isclose(max(ends), schedule.makespan_seconds, rel_tol=1e-9, abs_tol=1e-9):
        found.append(f"the last worker ends at {max(ends)} s and not at {schedule.makespan_seconds} s")
    if schedule.makespan_seconds < schedule.lower_bound_seconds * (1 - 1e-9) - 1e-9:
        found.append(f"makespan {schedule.makespan_seconds} s is below the bound {schedule.lower_bound_seconds} s")
    return found

"""How long a replay takes on 1, 2, 3, ... workers, what that costs, and how many are worth having.

Pure. Each row is a schedule made for so many workers. A schedule for fewer is one for more too (the others stay idle),
so that more workers are never shown as slower.

*The knee* is the number of workers at which efficiency per second of makespan is greatest, E(n) / T(n), with
efficiency E(n) = T(1) / (n T(n)): Eager, Zahorjan and Lazowska, "Speedup versus efficiency in parallel systems", IEEE
Transactions on Computers 38(3), 1989. That is where n T(n)^2 is least; beyond it, one more worker gains less than half
of what those before it have gained on average. Rules that measure the curve's bend, such as Kneedle (Satopaa et al.,
2011), first scale it to the range that is shown, so that their knee moves with the length of the table; this one stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flor_ray.records import SegmentCost
from flor_ray.scheduler.bins import longest_setups
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.splitting import schedule

MOST_WORKERS = 1024  # of a table without a limit of its own
_EVERY = 16  # so many are looked at one by one, then two numbers per doubling
_MANY_SEGMENTS = 500  # with more, schedules take long: two numbers per doubling from the start
_WORTH_SHOWING = 0.01  # of the makespan; a table ends when the last doubling has gained less


@dataclass(frozen=True, slots=True)
class TradeOff:
    """What a replay would take on so many workers, and how well they are used."""

    workers: int
    makespan_seconds: float
    lower_bound_seconds: float  # no schedule on as many workers ends earlier
    gpu_seconds: float  # of all workers together while they are busy; one that is not needed any more is given back
    efficiency: float  # speed-up over one worker, per worker: 1 when twice the workers take half the time
    is_knee: bool = False  # the most that are worth having, by the rule above


def tradeoff(
    costs: Sequence[SegmentCost], cutting: Cutting, workers: int | Sequence[int] = MOST_WORKERS, at_hand: int = 1
) -> tuple[TradeOff, ...]:
    """A row for each number of workers that is looked at, ascending; one is the knee. Nothing to run: no rows.

    Args:
        costs: of whole segments; they are cut anew for each number of workers.
        workers: the numbers to look at; or their most, and the table ends where more bring nothing.
        at_hand: a number that is in the table in any case.

    Raises:
        ValueError: a number below 1.
    """
    if not costs:
        return ()
    alone = schedule(costs, 1, cutting).makespan_seconds
    numbers = sorted({*(_rungs(workers, len(costs)) if isinstance(workers, int) else workers), at_hand})
    found: list[TradeOff] = []
    for n in numbers:
        if isinstance(workers, int) and n > at_hand and _is_flat(found):
            break
        found.append(_row(schedule(costs, n, cutting), n, alone, found[-1] if found else None))
    knee = min(found, key=lambda row: (row.workers * row.makespan_seconds**2, row.workers))
    return tuple(replace(row, is_knee=row is knee) for row in found)


def _busy_seconds(made: Schedule) -> float:
    """Worker time: all runs, and a set-up per (version, worker)."""
    setups = longest_setups(c for assignment in made.assignments for c in assignment)
    return sum(
        sum(c.run_seconds for c in assignment) + sum(setups[v] for v in {c.segment.version for c in assignment})
        for assignment in made.assignments
    )


def _row(made: Schedule, workers: int, alone: float, fewer: TradeOff | None) -> TradeOff:
    makespan, bound, busy = made.makespan_seconds, made.lower_bound_seconds, _busy_seconds(made)
    if fewer is not None and fewer.makespan_seconds <= makespan:
        makespan, busy = fewer.makespan_seconds, fewer.gpu_seconds
    # The bound holds for segments that are cut as they are in this schedule; the one of fewer workers may cut less.
    bound = min(bound, makespan)
    return TradeOff(workers, makespan, bound, busy, alone / (workers * makespan) if makespan > 0 else 1 / workers)


def _is_flat(found: Sequence[TradeOff]) -> bool:
    """Whether the last doubling has brought next to nothing."""
    last = found[-1]
    halves = [row for row in found if 2 * row.workers <= last.workers]
    return bool(halves) and last.makespan_seconds > (1 - _WORTH_SHOWING) * halves[-1].makespan_seconds


def _rungs(most: int, segments: int) -> Iterable[int]:
    """1, 2, 3, ... one by one, then two numbers per doubling: 16, 24, 32, 48, 64, ..., and `most`."""
    if most < 1:
        raise ValueError(f"workers is {most}; at least one is needed")
    each = min(most, _EVERY if segments <= _MANY_SEGMENTS else 2)
    yield from range(1, each + 1)
    power = 2
    while power <= most:
        yield from (n for n in (power, power + power // 2) if each < n <= most)
        power *= 2
    yield most

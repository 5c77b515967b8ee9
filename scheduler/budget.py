"""As much as fits into a GPU budget, a deadline, or both.

Pure. What is taken for a given number of GPU-seconds is decided by `Atoms`: the lowest ranks first. A deadline, and a
budget on several workers, where a version may be set up more than once, are kept by looking: atoms are taken for so
many GPU-seconds and scheduled; if the schedule takes too long or too much, they are taken for less, by bisection. Where
set-ups of one version on several workers would eat more than a tenth of what there is to spend, half as many workers
are tried, and so on.

*Safety.* Segments deviate from their estimates independently of each other (see `SegmentCost`), so a sum of them has
the root of the sum of their squared spreads. With `safety` z, z times that is added to what is spent, and to the time
at which each worker ends, before these are held against budget and deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flor_ray.errors import UsageError
from flor_ray.records import Segment, SegmentCost
from flor_ray.scheduler import priorities, splitting
from flor_ray.scheduler.allowance import ROUNDING, Allowance, Atoms, gpu_span, load, span
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.priorities import Ranks
from flor_ray.scheduler.problem import Cutting, Workers, slots_of
from flor_ray.wording import counted

_TRIES = 8  # schedules made on one number of workers to find how much keeps the limits
_NEAR = 1.01  # numbers of GPU-seconds as near as that are not told apart
_WORTH_SPREADING = 0.9  # of what could be spent has to be left for answers, or fewer workers are tried


@dataclass(frozen=True, slots=True)
class Chosen:
    """What fits into a budget or a deadline, and what does not; both in the order of the segments that were given."""

    costs: tuple[SegmentCost, ...]  # with ranks
    left_out: tuple[Segment, ...]
    spent_seconds: float  # GPU-seconds of the schedule, as estimated: set-ups and runs
    schedule: Schedule  # of the costs; on fewer workers than there are if the budget needs that
    note: str = ""  # what is left out, in a sentence; "" if nothing is


class NothingFits(UsageError):
    """Not even the cheapest atom fits. `needed_seconds` is what it takes, of a GPU or until its end."""

    def __init__(self, needed_seconds: float, allowance: Allowance, cheapest: Segment) -> None:
        self.needed_seconds, self.cheapest = needed_seconds, cheapest
        first, last = cheapest.first, cheapest.last
        takes = f"takes {'up to ' if allowance.margin > 1 else ''}{span(needed_seconds * allowance.margin)}"
        epochs = f"epochs {first}-{last}" if last > first else f"epoch {last}"
        super().__init__(
            f"Nothing can be replayed in {allowance}: the least, {epochs if last else 'what is outside the main loop'} "
            f"of version {cheapest.version[:8]}, {takes}, set-up included. Allow more than that."
        )


def within(
    costs: Sequence[SegmentCost],
    cutting: Cutting | None = None,
    *,
    gpu_seconds: float | None = None,
    deadline_seconds: float | None = None,
    workers: Workers = 1,
    ranks: Ranks | None = None,
    safety: float = 0.0,
    margin: float = 1.0,
) -> Chosen:
    """The segments, or the pieces of them, that fit into a budget, a deadline or both; all of them, whole, if they do.

    Args:
        costs: of segments that are not cut yet; their own ranks are not used.
        gpu_seconds: all set-ups and runs together; None: no limit.
        deadline_seconds: from now to the end of the last segment; None: no limit.
        ranks: of epochs, by version (`priorities.ranks`); None: the last epoch, then coarse to fine.
        safety: standard deviations to keep clear of both limits.
        margin: both are kept even if everything takes so many times as long.

    Raises:
        NothingFits: not even the cheapest atom does.
        ValueError: a limit that is not positive, a negative safety, or no worker.
    """
    allowance = Allowance(gpu_seconds, deadline_seconds, slots_of(workers), safety, margin)
    ranks = priorities.ranks(priorities.wanted(costs)) if ranks is None else ranks
    costs = priorities.ranked(costs, ranks)
    cutting = cutting or Cutting()
    ranked = priorities.ranked_cutting(cutting, ranks)
    schedule, _ = _fitting(costs, ranked, allowance)
    if schedule is not None:
        return Chosen(costs, (), _spent(schedule, allowance)[0], schedule)
    found = _largest(Atoms(costs, cutting, ranks, allowance), ranked, allowance)
    note = _note(costs, found, ranks, allowance) if found.left_out else ""
    spent, _ = _spent(found.schedule, found.allowance)
    return Chosen(found.costs, found.left_out, spent, found.schedule, note)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was taken for so many GPU-seconds, with a schedule that keeps the limits."""

    seconds: float
    costs: tuple[SegmentCost, ...]
    left_out: tuple[Segment, ...]
    schedule: Schedule
    allowance: Allowance


def _largest(atoms: Atoms, cutting: Cutting, allowance: Allowance) -> _Taken:
    """The most GPU-seconds that are found to keep the limits, on as many workers as leave enough of them."""
    needed = atoms.least_seconds
    if needed > allowance.gpu * ROUNDING or needed + allowance.ideal.ready_seconds > allowance.deadline * ROUNDING:
        raise NothingFits(needed, allowance, atoms.cheapest)
    enough = _WORTH_SPREADING * allowance.most_seconds
    best: _Taken | None = None
    fewer = allowance
    while best is None or fewer.most_seconds > best.seconds * _NEAR:
        found = _searched(atoms, cutting, fewer)
        if found is not None and (best is None or found.seconds > best.seconds):
            best = found
        if (best is not None and best.seconds >= enough) or len(fewer.slots) == 1:
            break
        fewer = allowance.on_fewer(len(fewer.slots) // 2)
    if best is None:
        best, excess = _tried(atoms, cutting, fewer, needed)
        if best is None:  # the worker that is there is not the best one that there could be
            raise NothingFits(needed * excess, allowance, atoms.cheapest)
    return best


def _searched(atoms: Atoms, cutting: Cutting, allowance: Allowance) -> _Taken | None:
    """Bisection between nothing and all that these workers could do."""
    low, high = 0.0, allowance.most_seconds
    best, guess = None, high
    for _ in range(_TRIES):
        found, excess = _tried(atoms, cutting, allowance, guess)
        if found is None:
            high = guess
        else:
            best, low = found, guess
        if high <= max(low * _NEAR, atoms.least_seconds):
            break
        guess = (low + high) / 2 if best else high / max(excess, _NEAR)
    return best


def _tried(atoms: Atoms, cutting: Cutting, allowance: Allowance, seconds: float) -> tuple[_Taken | None, float]:
    costs, left_out = atoms.take(seconds)
    schedule, excess = _fitting(costs, cutting, allowance)
    return (_Taken(seconds, costs, left_out, schedule, allowance) if schedule and costs else None), excess


def _fitting(costs: Sequence[SegmentCost], cutting: Cutting, allowance: Allowance) -> tuple[Schedule | None, float]:
    """A schedule, if it keeps the limits; else None. And by what factor it takes more than is allowed, or less."""
    seconds, variance = load(costs, allowance.ideal)
    available = sum(max(0.0, allowance.deadline - slot.ready_seconds) for slot in allowance.slots)
    if seconds > available * ROUNDING or allowance.upper(seconds, variance) > allowance.gpu * ROUNDING:
        return None, max(allowance.upper(seconds, variance) / allowance.gpu, seconds / available if available else 2.0)
    schedule = splitting.schedule(costs, allowance.workers, cutting)
    ends = [
        slot.ready_seconds + allowance.upper(*load(assignment, slot))
        for assignment, slot in zip(schedule.assignments, allowance.slots, strict=True)
        if assignment
    ]
    late = max(ends, default=0.0) / allowance.deadline
    excess = max(late, allowance.upper(*_spent(schedule, allowance)) / allowance.gpu)
    return (schedule if excess <= ROUNDING else None), excess


def _spent(schedule: Schedule, allowance: Allowance) -> tuple[float, float]:
    """GPU-seconds of a schedule, and their variance."""
    loads = [load(costs, slot) for costs, slot in zip(schedule.assignments, allowance.slots, strict=True)]
    return sum(seconds for seconds, _ in loads), sum(variance for _, variance in loads)


# --- what is told -----------------------------------------------------------------------------------------------------


def _note(costs: Sequence[SegmentCost], found: _Taken, ranks: Ranks, allowance: Allowance) -> str:
    missing, wanted = _places(found.left_out, ranks), _places((c.segment for c in costs), ranks)
    inside, outside = sum(epoch > 0 for _, epoch in missing), sum(epoch == 0 for _, epoch in missing)
    what = [f"{inside} of {sum(epoch > 0 for _, epoch in wanted)} epochs"] if inside else []
    what += [f"what {counted(outside, 'version')} logged outside the main loop"] if outside else []
    versions = counted(len({version for version, _ in wanted}), "version")
    spent, _ = _spent(found.schedule, found.allowance)
    workers = len(found.allowance.slots)
    fewer = f" on {counted(workers, 'worker')}, to save set-ups" if workers < len(allowance.slots) else ""
    return (
        f"{' and '.join(what)} of {versions} {'does' if len(missing) == 1 else 'do'} not fit into {allowance}: what is "
        f"replayed takes {gpu_span(spent)}{fewer}, and all of it would take at least "
        f"{gpu_span(load(costs, allowance.ideal)[0])}."
    )


def _places(segments: Iterable[Segment], ranks: Ranks) -> set[tuple[str, int]]:
    """Wanted (version, epoch) in segments; epoch 0 is outside the main loop."""
    places = {(s.version, epoch) for s in segments for epoch in range(s.first, s.last + 1)}
    return {(version, epoch) for version, epoch in places if epoch in ranks.get(version, ())}

"""When a step of a segment takes longer than it should: at first that is told, and much later its segment is ended.
Pure.

    step of a script:   |── expected ──|── within the interval ──|── told to be overdue ──|── ended: it hangs
                        began                                    late                     limit

A step is the set-up with the first epoch, or a later epoch; what is outside of a main loop's epochs is one step, too.
Nobody can tell a script that hangs from one that is slow. So the limit is far beyond what estimates can be off by, and
grows with what the version's own steps have taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from flor_ray.records import Operator, SegmentCost
from flor_ray.scheduler.costs import epochs_run
from flor_ray.scheduler.remaining import Outlook, late_lanes

_LEAST_LATE_SECONDS = 10.0  # a step that takes this much longer than it should is nothing to speak of
_LEAST_LIMIT_SECONDS = 600.0  # a download, a compiler or a busy disk may be in the way
_LEAST_LIMIT_UNKNOWN = 3600.0  # where nothing was measured that could tell
_GENEROUS = 10.0  # times the upper end of the interval: a statement that was added may be dear
_UNEVEN = 2.0  # an epoch may take this many times what the segment's epochs take on average


@dataclass(frozen=True, slots=True)
class StepLimits:
    """Of the steps of one version."""

    late_seconds: float  # a step that takes longer is worth a word
    limit_seconds: float  # one that takes longer hangs


@dataclass(frozen=True, slots=True)
class OverdueStep:
    """A step that takes longer than it should in nine of ten cases."""

    version: str
    epoch: int  # 0: before the first, or outside the main loop
    seconds: float  # that it has taken
    expected_seconds: float
    place: str = ""  # where the script is, as train.py:31


@dataclass(frozen=True, slots=True)
class StepAt:
    """What a worker is at, beside its `Lane`."""

    worker: str
    version: str
    epoch: int


def step_limits(
    costs: Iterable[SegmentCost], interval: Callable[[Iterable[SegmentCost]], tuple[float, float]]
) -> StepLimits:
    """For the segments of one version, whose estimates hold within `interval` (`CostModel.interval`)."""
    costs = list(costs)
    late = max((interval([_step(cost)])[1] for cost in costs), default=0.0)
    least = _LEAST_LIMIT_SECONDS if all(cost.known for cost in costs) else _LEAST_LIMIT_UNKNOWN
    return StepLimits(late + _LEAST_LATE_SECONDS, max(least, _GENEROUS * late))


def grown(limit_seconds: float, longest_seconds: float) -> float:
    """The limit for a version of which a step has ended that took so long."""
    return max(limit_seconds, _GENEROUS * longest_seconds)


def overdue(outlook: Outlook, steps: Iterable[StepAt]) -> tuple[tuple[str, OverdueStep], ...]:
    """What is overdue, by worker, the longest first. `steps` are of the outlook's first lanes."""
    by_lane, late = list(steps), late_lanes(outlook)
    found = [
        (at.worker, OverdueStep(at.version, at.epoch, lane.taken, lane.step))
        for at, lane in ((by_lane[number], outlook.lanes[number]) for number in late if number < len(by_lane))
        if at.version and lane.taken - lane.step > _LEAST_LATE_SECONDS
    ]
    return tuple(sorted(found, key=lambda each: -each[1].seconds))


def _step(cost: SegmentCost) -> SegmentCost:
    """What its longest step should cost."""
    epochs = len(epochs_run(cost.segment))
    if cost.segment.operator is not Operator.DP_I or cost.segment.suffix or epochs < 2:
        return cost
    share = min(1.0, _UNEVEN / epochs)
    return replace(cost, run_seconds=cost.run_seconds * share, run_spread=cost.run_spread * share)

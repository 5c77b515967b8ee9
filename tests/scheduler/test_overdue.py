"""What is told to be overdue, and from when on a script hangs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.overdue import OverdueStep, StepAt, StepLimits, grown, overdue, step_limits
from flor_ray.scheduler.remaining import Lane, Outlook


def twice(costs: Iterable[SegmentCost]) -> tuple[float, float]:
    total = sum(cost.setup_seconds + cost.run_seconds for cost in costs)
    return total / 2, total * 2


def cost(epochs: int, seconds: float, operator: Operator = Operator.DP_I, **more: bool) -> SegmentCost:
    suffix = more.pop("suffix", False)
    restore = 0 if operator is Operator.DP_I else None
    return SegmentCost(Segment("v", 1, epochs, operator, restore=restore, suffix=suffix), 5.0, seconds, **more)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([], StepLimits(10.0, 600.0)),
        ([cost(10, 100.0)], StepLimits(60.0, 600.0)),  # an epoch is 10 s, and may be twice that; the set-up is 5 s
        ([cost(10, 100.0), cost(1, 995.0)], StepLimits(2010.0, 20000.0)),
        ([cost(10, 95.0, suffix=True)], StepLimits(210.0, 2000.0)),  # what follows the loop is in its last step
        ([cost(10, 95.0, Operator.DP_STAR)], StepLimits(210.0, 2000.0)),  # nobody hears of its epochs
        ([cost(10, 1.0, known=False)], StepLimits(20.4, 3600.0)),
    ],
)
def test_limits_are_far_beyond_the_upper_end_of_what_a_step_should_take(
    costs: list[SegmentCost], expected: StepLimits
) -> None:
    found = step_limits(costs, twice)
    assert found.late_seconds == pytest.approx(expected.late_seconds)
    assert found.limit_seconds == pytest.approx(expected.limit_seconds)


def test_a_limit_grows_with_the_steps_that_were_seen() -> None:
    assert grown(600.0, 20.0) == 600.0
    assert grown(600.0, 100.0) == 1000.0


def test_what_takes_clearly_longer_is_named_the_longest_first() -> None:
    lanes = (
        Lane(30.0, 20.0, 0.0),
        Lane(720.0, 40.0, 0.0),
        Lane(900.0, 40.0, 9.0),
        Lane(0.0, 0.0, 0.0),
        Lane(99.0, 1, 0),
    )
    steps = (StepAt("a", "v0", 1), StepAt("b", "v1", 4), StepAt("c", "v2", 0), StepAt("d", "", 0))
    found = overdue(Outlook(lanes, 0.0, 3, 0.3), steps)  # the last lane is of a worker that is yet to join
    assert found == (("c", OverdueStep("v2", 0, 900.0, 40.0)), ("b", OverdueStep("v1", 4, 720.0, 40.0)))

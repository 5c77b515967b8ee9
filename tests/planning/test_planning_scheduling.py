"""Whose a segment is, where several queries ask: each is somebody's, so that nothing planned is left out."""

from __future__ import annotations

import pytest

from flor_ray.planning.scheduling import _by_share
from flor_ray.records import Gap, Operator, Segment, SegmentCost

LOOP = Segment("v", 3, 5, Operator.DP_I, restore=2, names=("x",))
OUTSIDE = Segment("v", 0, 0, Operator.DP, names=("x",))
WHOLE = Segment("v", 1, 5, Operator.DP_STAR, suffix=True, names=("x",))


@pytest.mark.parametrize(
    ("segment", "gap"),
    [
        (LOOP, Gap("v", ("x",), (5,))),
        (OUTSIDE, Gap("v", ("x",), (), data_prep=True)),
        (WHOLE, Gap("v", ("x",), (), data_prep=True)),  # wanted outside the loop only, and all of it has to run
        (WHOLE, Gap("v", ("x",), (2,))),
    ],
)
def test_a_segment_that_one_of_several_queries_wants_is_run(segment: Segment, gap: Gap) -> None:
    shares = [(1.0, [gap]), (2.0, [Gap("other", ("x",), (1,))])]
    assert [cost.segment for cost in _by_share([SegmentCost(segment, 1.0, 1.0)], shares)] == [segment]

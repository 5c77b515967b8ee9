"""The trade-off between workers and time: never slower with more of them, and one knee that does not move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.planning import segmenting
from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.tradeoff import TradeOff, tradeoff

WHOLE = Cutting()


def cost(version: str, run_seconds: float, setup_seconds: float = 0.0) -> SegmentCost:
    return SegmentCost(Segment(version, 1, 1, Operator.DP_I, restore=0), setup_seconds, run_seconds)


def test_equal_segments_without_set_up_are_worth_a_worker_each_and_no_more() -> None:
    rows = tradeoff([cost(version, 10) for version in "abcd"], WHOLE, [1, 2, 4, 8])
    assert tuple(replace(row, lower_bound_seconds=round(row.lower_bound_seconds, 6)) for row in rows) == (
        TradeOff(1, 40.0, 40.0, 40.0, 1.0),
        TradeOff(2, 20.0, 20.0, 40.0, 1.0),
        TradeOff(4, 10.0, 10.0, 40.0, 1.0, is_knee=True),
        TradeOff(8, 10.0, 10.0, 40.0, 0.5),
    )


def test_the_table_ends_where_a_doubling_brings_nothing() -> None:
    rows = tradeoff([cost(version, 10) for version in "abcd"], WHOLE)
    assert [row.workers for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row.workers for row in tradeoff([cost("a", 10)], WHOLE)] == [1, 2]


def test_beyond_sixteen_workers_two_numbers_per_doubling_are_looked_at_and_those_at_hand() -> None:
    rows = tradeoff([cost(f"v{n}", 10) for n in range(200)], WHOLE, 100, at_hand=50)
    assert [row.workers for row in rows] == [*range(1, 17), 24, 32, 48, 50, 64, 96, 100]


def test_workers_at_hand_are_shown_even_if_they_are_more_than_of_any_use() -> None:
    assert [row.workers for row in tradeoff([cost("a", 10)], WHOLE, at_hand=40)][-1] == 40


def test_the_knee_stays_when_the_table_grows() -> None:
    costs = [cost("long", 100), *(cost(f"v{n}", 10) for n in range(30))]
    knees = [next(r.workers for r in tradeoff(costs, WHOLE, range(1, most)) if r.is_knee) for most in (6, 12, 40)]
    assert knees == [4, 4, 4]  # the long one takes 100 s, and the rest fits on three more workers


def test_cut_segments_pay_a_set_up_on_each_worker() -> None:
    segment = Segment("a", 1, 40, Operator.DP_I, restore=0)

    def price(piece: Segment) -> SegmentCost:
        return SegmentCost(piece, 10.0, 1.0 * (piece.last - piece.first + 1))

    cutting = Cutting(lambda whole: range(2, 41), segmenting.cut, price)
    one, two, four = tradeoff([price(segment)], cutting, [1, 2, 4])
    assert (one.makespan_seconds, one.gpu_seconds) == (50.0, 50.0)
    assert (two.makespan_seconds, two.gpu_seconds) == (30.0, 60.0)
    assert (four.makespan_seconds, four.gpu_seconds, four.efficiency) == (20.0, 80.0, 50 / 80)
    assert four.is_knee  # 4 x 20^2 = 1600 is less than 2 x 30^2 and 50^2


def test_nothing_to_run_is_no_table_and_no_workers_are_refused() -> None:
    assert tradeoff([], WHOLE) == ()
    for workers in (0, [0, 1]):
        with pytest.raises(ValueError, match="at least one"):
            tradeoff([cost("a", 1)], WHOLE, workers)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50), st.floats(0, 20)), min_size=1, max_size=8),
    st.integers(1, 12),
)
def test_more_workers_are_never_slower_and_never_beat_the_bound(
    drawn: list[tuple[str, float, float]], most: int
) -> None:
    costs = [
        SegmentCost(Segment(version, n, n, Operator.DP_I, restore=n - 1), setup, run)
        for n, (version, run, setup) in enumerate(drawn, start=1)
    ]
    rows = tradeoff(costs, WHOLE, range(1, most + 1))
    times = [row.makespan_seconds for row in rows]
    assert times == sorted(times, reverse=True)
    assert all(row.lower_bound_seconds <= row.makespan_seconds for row in rows)
    assert sum(row.is_knee for row in rows) == 1
    assert rows == tradeoff(costs, WHOLE, range(1, most + 1))

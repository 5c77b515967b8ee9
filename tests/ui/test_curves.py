"""The pure part of curves: what is left out, and what never is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.ui.curves import reducing
from flor_ray.ui.curves.reducing import Curve, PointState, Window

NAN, INF = math.nan, math.inf


def of(*y: float, missing: list[int] | None = None, x: list[float] | None = None) -> Curve:
    gone = np.isin(np.arange(len(y)), missing or [])
    return reducing.curve(np.array(range(len(y)) if x is None else x, float), np.array(y, float), gone)


def test_what_is_no_number_is_told_apart() -> None:
    found = of(1.0, NAN, INF, -INF, NAN, missing=[4])
    assert found.state.tolist() == [*range(5)]
    assert [PointState(state).name for state in found.state[1:3]] == ["NAN", "PLUS_INFINITY"]


def test_few_points_are_all_sent() -> None:
    found = reducing.reduced(of(3, 1, 2), Window(0, 2, 10))
    assert (found.points.tolist(), found.shown, found.is_reduced) == ([0, 1, 2], 3, False)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([NAN, INF, -INF])), min_size=60, max_size=400),
    st.integers(1, 12),
    st.integers(0, 30),
)
def test_a_column_keeps_its_ends_its_extremes_and_all_that_is_no_number(
    y: list[float], pixels: int, first: int
) -> None:
    whole, seen = of(*y), Window(first, len(y) - 1 - first, pixels)
    if len(y) - 2 * first <= 0:
        return
    found = reducing.reduced(whole, seen)
    inside = [i for i in range(len(y)) if seen.first <= i <= seen.last]
    assert found.shown == len(inside)
    columns = seen.columns(whole.x)
    for column in range(pixels):
        mine = [i for i in inside if columns[i] == column]
        kept = [i for i in found.points.tolist() if columns[i] == column]
        numbers = [y[i] for i in mine if math.isfinite(y[i])]
        if mine:
            assert (kept[0], kept[-1]) == (mine[0], mine[-1])
        if numbers:
            shown = [y[i] for i in kept if math.isfinite(y[i])]
            assert (min(shown), max(shown)) == (min(numbers), max(numbers))
        assert {int(whole.state[i]) for i in kept} == {int(whole.state[i]) for i in mine}
    outside = [i for i in found.points.tolist() if i not in inside]
    assert set(outside) <= {inside[0] - 1, inside[-1] + 1}  # to which the line leads


def test_a_million_points_become_few_and_it_says_so() -> None:
    y = np.sin(np.arange(1_000_000) / 1000)
    y[777_777] = 50.0
    y[5] = NAN
    whole = reducing.curve(np.arange(len(y), dtype=float), y)
    found = reducing.reduced(whole, Window(0, len(y) - 1, 1000))
    assert found.is_reduced
    assert found.shown == 1_000_000
    assert len(found.points) <= 5000
    assert {5, 777_777} <= set(found.points.tolist())


def test_a_mark_that_few_points_have_is_not_left_out() -> None:
    marks = np.zeros(10_000, np.int64)
    marks[4321] = 2
    found = reducing.reduced(of(*np.ones(10_000)), Window(0, 9999, 10), marks)
    assert 4321 in found.points


def test_columns_of_a_log_axis_are_even_in_the_logarithm() -> None:
    assert Window(1, 1000, 3, is_log=True).columns(np.array([1.0, 9, 11, 99, 101, 1000])).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_window_is_as_far_as_curves_reach_and_above_zero_on_a_log_axis() -> None:
    shown = reducing.window([of(1, 2, 3), of(1, x=[7])], 100, None, None, is_log=False)
    assert (shown.first, shown.last) == (0, 7)
    shown = reducing.window([of(1, 2, 3)], 100, -5, None, is_log=True)
    assert (shown.first, shown.last) == (1, 2)
    nothing = reducing.window([], 100, None, None, is_log=True)
    assert (nothing.first, nothing.last) == (1, 1)


@pytest.mark.parametrize("weight", [0.1, 0.6, 0.9, 0.99, 0.999])
def test_smoothing_is_the_moving_mean_that_it_says(weight: float) -> None:
    y = np.random.default_rng(3).normal(size=3000) + 5
    total = weights = 0.0
    expected = []
    for value in y.tolist():
        total, weights = total * weight + value, weights * weight + 1
        expected.append(total / weights)
    found = reducing.smoothed(y, np.zeros(len(y), np.uint8), weight)
    assert np.allclose(found, expected, rtol=1e-9)


def test_smoothing_leaves_holes_where_there_are_holes_and_is_not_spoiled_by_them() -> None:
    with_holes = of(1, NAN, 3, INF, 5, missing=[1])
    found = reducing.smoothed(with_holes.y, with_holes.state, 0.5)
    alone = reducing.smoothed(np.array([1.0, 3, 5]), np.zeros(3, np.uint8), 0.5)
    assert np.isnan(found[[1, 3]]).all()
    assert found[[0, 2, 4]].tolist() == alone.tolist()


def test_a_weight_of_nothing_leaves_the_line_and_one_of_all_is_refused() -> None:
    assert reducing.smoothed(np.array([1.0, 2]), np.zeros(2, np.uint8), 0).tolist() == [1, 2]
    with pytest.raises(ValueError, match="below 1"):
        reducing.smoothed(np.array([1.0]), np.zeros(1, np.uint8), 1.0)


def test_a_group_has_mean_and_spread_of_the_runs_that_have_a_number_there() -> None:
    found = reducing.band([of(1, 2, NAN), of(3, 2), of(5, NAN, 7)], Window(0, 2, 100))
    assert found.x.tolist() == [0, 1, 2]
    assert found.mean.tolist() == [3, 2, 7]
    assert found.spread.tolist()[:2] == [2, 0]
    assert math.isnan(found.spread[2])
    assert (found.lowest.tolist(), found.highest.tolist()) == ([1, 2, 7], [5, 2, 7])
    assert found.runs.tolist() == [3, 2, 1]
    assert not found.is_reduced


def test_in_a_group_a_run_that_logs_more_often_does_not_count_more() -> None:
    often = reducing.curve(np.linspace(0, 10, 1001), np.full(1001, 4.0))
    found = reducing.band([often, of(*[0.0] * 11)], Window(0, 10, 5))
    assert found.is_reduced
    assert found.mean.tolist() == [2.0] * 5
    assert found.runs.tolist() == [2] * 5


def test_a_group_of_nothing_is_empty() -> None:
    found = reducing.band([of(NAN)], Window(0, 1, 10))
    assert len(found.x) == len(found.mean) == 0
    assert len(reducing.band([], Window(0, 1, 10)).x) == 0


def test_groups_are_in_the_order_of_numbers() -> None:
    found = reducing.groups({"a": 10, "b": 9.5, "c": "adam", "d": 10, "e": None})
    assert found == {9.5: ["b"], 10: ["a", "d"], None: ["e"], "adam": ["c"]}
    assert list(found)[:2] == [9.5, 10]


def test_peak_and_end_are_numbers() -> None:
    whole = of(1, INF, 9, 2, NAN)
    assert (reducing.peak(whole), reducing.peak(whole, greatest=False), reducing.end(whole)) == (2, 0, 3)
    assert reducing.peak(of(NAN)) is None
    assert reducing.end(of(NAN)) is None

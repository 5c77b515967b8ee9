"""In which order epochs, versions and queries come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.planning.segmenting import cut
from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.priorities import Share, fair, order, rank_of, ranked, ranked_cutting, ranks, wanted
from flor_ray.scheduler.problem import Cutting


def segment(version: str, first: int, last: int, names: tuple[str, ...] = ()) -> Segment:
    return Segment(version, first, last, Operator.DP_I, restore=first - 1, names=names)


def cost(version: str, first: int, seconds: float, names: tuple[str, ...] = (), setup: float = 0.0) -> SegmentCost:
    return SegmentCost(segment(version, first, first, names), setup, seconds)


# --- within a version -------------------------------------------------------------------------------------------------


def test_the_last_epoch_comes_first_and_then_the_longest_gap_is_halved() -> None:
    assert order(range(1, 9)) == (8, 1, 4, 6, 2, 3, 5, 7)
    assert order(range(1, 18))[:9] == (17, 1, 9, 5, 13, 3, 7, 11, 15)


def test_peaks_come_before_the_last_epoch() -> None:
    assert order(range(1, 9), {3}) == (3, 8, 1, 5, 2, 4, 6, 7)
    assert order(range(1, 9), {8, 2})[:3] == (2, 8, 5)
    assert order(range(1, 9), {30}) == order(range(1, 9))  # it is not wanted: it is there already


def test_coarse_to_fine_without_an_end_begins_in_the_middle() -> None:
    assert order(range(1, 9), end=False) == (4, 8, 1, 6, 2, 3, 5, 7)
    assert order(range(1, 9), {2}, end=False)[:3] == (2, 8, 5)


def test_epochs_that_lie_apart_are_spread_by_what_lies_between_them() -> None:
    assert order([1, 2, 3, 50]) == (50, 1, 3, 2)
    assert order([5, 5, 1]) == (5, 1)
    assert order([7]) == (7,)
    assert order([]) == ()


def test_what_is_outside_the_main_loop_comes_first() -> None:
    assert order([0, 1, 2], {1}) == (0, 1, 2)
    assert order([0]) == (0,)
    with pytest.raises(ValueError, match="epochs begin with 1"):
        order([-1, 3])


@given(st.sets(st.integers(0, 200)), st.sets(st.integers(0, 200), max_size=5), st.booleans())
def test_an_order_holds_every_wanted_epoch_once_and_peaks_before_others(
    epochs: set[int], peaks: set[int], end: bool
) -> None:
    found = order(epochs, peaks, end)
    assert sorted(found) == sorted(epochs)
    inside = [epoch for epoch in found if epoch]
    among = peaks & set(inside)
    assert set(inside[: len(among)]) == among
    if end and inside:
        assert max(inside) in inside[: len(among) + 1]


def radius(epochs: Sequence[int], chosen: Sequence[int]) -> int:
    return max(min(abs(epoch - c) for c in chosen) for epoch in epochs)


def least_radius(epochs: Sequence[int], number: int) -> int:
    """By the greedy cover, which is optimal on a line."""
    for limit in range(epochs[-1] - epochs[0] + 1):
        used, at = 0, 0
        while at < len(epochs):
            used += 1
            centre = max(e for e in epochs if e <= epochs[at] + limit)
            at = next((i for i, e in enumerate(epochs) if e > centre + limit), len(epochs))
        if used <= number:
            return limit
    raise AssertionError


@given(st.sets(st.integers(1, 60), min_size=1, max_size=16), st.booleans())
def test_the_first_epochs_are_spread_at_most_twice_as_wide_as_any_could_be(epochs: set[int], end: bool) -> None:
    in_order, found = sorted(epochs), order(epochs, end=end)
    for number in range(1, len(found) + 1):
        assert radius(in_order, found[:number]) <= 2 * least_radius(in_order, number)


@given(st.integers(2, 300))
def test_no_gap_is_much_longer_than_another(last: int) -> None:
    found = order(range(1, last + 1))
    for number in range(2, len(found) + 1):
        taken = sorted(found[:number])
        longest = max(b - a for a, b in pairwise(taken))
        assert longest <= 2 * -(-(last - 1) // (number - 1))  # even gaps, rounded up


# --- across versions --------------------------------------------------------------------------------------------------


def test_every_version_gets_its_first_epochs_before_any_gets_its_tenth() -> None:
    found = ranks({"a": range(1, 101), "b": [3, 4]}, peaks={"b": [3]})
    assert found["b"] == {3: 0, 4: 1}
    assert found["a"][100] == 0
    assert found["a"][1] == 1
    assert sorted(found["a"].values()) == list(range(100))


def test_preferred_versions_come_first_among_equals_only() -> None:
    found = ranks({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, first=["c", "a"])
    in_order = sorted((rank, v, e) for v, of in found.items() for e, rank in of.items())
    assert [(v, e) for _, v, e in in_order] == [("c", 2), ("a", 2), ("b", 2), ("c", 1), ("a", 1), ("b", 1)]


def test_a_segment_has_the_rank_of_its_most_important_epoch_and_so_has_each_piece() -> None:
    whole = SegmentCost(segment("a", 1, 8), 1.0, 8.0)
    found = ranks(wanted([whole]))
    assert [c.rank for c in ranked([whole], found)] == [0]
    assert rank_of(segment("a", 2, 3), found) == 4
    assert rank_of(segment("b", 1, 3), found) == inf
    cutting = Cutting(lambda s: range(2, 9), cut, lambda s: SegmentCost(s, 1.0, 1.0))
    assert [ranked_cutting(cutting, found).cost(piece).rank for piece in cut(whole.segment, [4])] == [1, 0]


def test_what_a_version_lacks_outside_its_main_loop_has_an_epoch_of_its_own() -> None:
    dp = SegmentCost(Segment("a", 0, 0, Operator.DP), 1.0, 1.0)
    both = [dp, SegmentCost(segment("a", 2, 3), 1.0, 1.0)]
    assert wanted(both) == {"a": {0, 2, 3}}
    assert [c.rank for c in ranked(both, ranks(wanted(both)))] == [0, 1]


# --- across queries ---------------------------------------------------------------------------------------------------


def names(costs: Sequence[SegmentCost]) -> str:
    return "".join(c.segment.version[0] for c in costs)


def test_queries_take_turns_by_weight() -> None:
    a = tuple(cost(f"a{n}", 1, 1.0) for n in range(4))
    b = tuple(cost(f"b{n}", 1, 1.0) for n in range(4))
    assert names(fair([Share("a", 1, a), Share("b", 1, b)])) == "abababab"
    found = fair([Share("a", 3, a), Share("b", 1, b)])
    assert names(found) == "abaaabbb"
    assert [c.rank for c in found] == sorted(c.rank for c in found)


def test_a_query_with_long_segments_gets_no_more_than_its_share() -> None:
    a, b = tuple(cost(f"a{n}", 1, 4.0) for n in range(2)), tuple(cost(f"b{n}", 1, 1.0) for n in range(8))
    assert names(fair([Share("a", 1, a), Share("b", 1, b)])) == "abbbbabbbb"


def test_a_segment_that_two_queries_want_runs_once_and_is_charged_to_both() -> None:
    a = (cost("x", 1, 2.0, ("loss",)), cost("a", 1, 1.0))
    b = (cost("x", 1, 2.0, ("norm",)), cost("b", 1, 1.0))
    found = fair([Share("a", 1, a), Share("b", 1, b), Share("c", 1, (cost("c", 1, 1.0), cost("c", 2, 1.0)))])
    assert [(c.segment.version, c.rank) for c in found] == [("a", 0), ("b", 0), ("c", 0), ("x", 1), ("c", 1)]
    assert found[3].segment.names == ("loss", "norm")


def test_a_version_that_is_set_up_is_not_charged_for_it_again() -> None:
    a = (cost("x", 1, 1.0, setup=5.0), cost("x", 2, 1.0, setup=5.0))
    b = tuple(cost(f"b{n}", 1, 1.0) for n in range(8))
    assert names(fair([Share("a", 1, a), Share("b", 1, b)])) == "xbbbbbbxbb"


def test_within_a_query_ranks_decide() -> None:
    late_first = (replace(cost("x", 1, 1.0), rank=1.0), replace(cost("y", 1, 1.0), rank=0.0))
    assert names(fair([Share("a", 2.5, late_first)])) == "yx"
    assert fair([]) == ()


@pytest.mark.parametrize("weight", [0.0, -1.0, inf, float("nan")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of a"):
        fair([Share("a", weight, ())])


def test_two_queries_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        fair([Share("a", 1, ()), Share("a", 1, ())])


@st.composite
def shares(draw: st.DrawFn, shared: bool) -> list[Share]:
    count = draw(st.integers(2, 4))
    seconds = st.floats(0.01, 10)
    common = [cost(f"s{n}", 1, draw(seconds), setup=draw(seconds)) for n in range(5)] if shared else []
    found = []
    for number in range(count):
        own = [cost(f"{number}v{n % 3}", n, draw(seconds), setup=0.5) for n in range(1, draw(st.integers(1, 8)) + 1)]
        some = draw(st.lists(st.sampled_from(common), unique=True)) if common else []
        found.append(Share(str(number), draw(st.floats(0.1, 10)), (*own, *some)))
    return found


def started(queries: Sequence[Share], seed: int) -> list[tuple[dict[str, float], float, set[str]]]:
    """After each start: seconds by query, seconds in all, queries that wait. Equal ranks come in any order."""
    chance = random.Random(seed)
    in_order = sorted(fair(queries), key=lambda c: (c.rank, chance.random()))
    left = {q.name: {replace(c.segment, names=()) for c in q.costs} for q in queries}
    given_to, total, warm = dict.fromkeys(left, 0.0), 0.0, set[str]()
    steps = []
    for c in in_order:
        seconds = c.run_seconds + (0.0 if c.segment.version in warm else c.setup_seconds)
        warm.add(c.segment.version)
        total += seconds
        for q in queries:
            if c.segment in left[q.name]:
                left[q.name].remove(c.segment)
                given_to[q.name] += seconds
        steps.append((dict(given_to), total, {name for name, waiting in left.items() if waiting}))
    return steps


def longest(query: Share) -> float:
    return max(c.run_seconds + c.setup_seconds for c in query.costs)


@given(shares(shared=False), st.integers(0, 9))
def test_two_waiting_queries_are_never_further_apart_than_one_segment(queries: list[Share], seed: int) -> None:
    for given_to, _, waiting in started(queries, seed):
        for f in queries:
            for g in queries:
                if {f.name, g.name} <= waiting:
                    apart = abs(given_to[f.name] / f.weight - given_to[g.name] / g.weight)
                    assert apart <= max(longest(f) / f.weight, longest(g) / g.weight) * (1 + 1e-9)


@given(shares(shared=True), st.integers(0, 9))
def test_a_waiting_query_has_its_share_less_a_segment_of_each(queries: list[Share], seed: int) -> None:
    weights = sum(q.weight for q in queries)
    for given_to, total, waiting in started(queries, seed):
        for q in queries:
            if q.name in waiting:
                least = q.weight / weights * (total - sum(map(longest, queries)))
                assert given_to[q.name] >= least - 1e-9


@given(shares(shared=True))
def test_every_wanted_segment_is_in_a_fair_order_once(queries: list[Share]) -> None:
    segments = [replace(c.segment, names=()) for c in fair(queries)]
    assert len(set(segments)) == len(segments)
    assert set(segments) == {replace(c.segment, names=()) for q in queries for c in q.costs}

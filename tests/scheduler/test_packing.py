"""Schedules hold every segment once, never beat the bound, and are never worse than plain LPT."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.packing import Schedule, longest_first, lower_bound, pack, validate


def cost(version: str, first: int, run_seconds: float, setup_seconds: float = 0.0) -> SegmentCost:
    return SegmentCost(Segment(version, first, first, Operator.DP_I, restore=first - 1), setup_seconds, run_seconds)


def dp(version: str, run_seconds: float, setup_seconds: float = 0.0) -> SegmentCost:
    return SegmentCost(Segment(version, 0, 0, Operator.DP, suffix=True), setup_seconds, run_seconds)


def test_a_set_up_is_paid_once_per_version_and_worker() -> None:
    a1, a2, b = cost("a", 1, 5, 10), cost("a", 2, 5, 10), cost("b", 1, 8, 10)
    assert pack([a2, b, a1], 2) == Schedule(((b,), (a1, a2)), makespan_seconds=20.0, lower_bound_seconds=19.0)


def test_a_version_is_spread_when_that_is_worth_its_set_ups() -> None:
    costs = [cost("a", epoch, 10, 1) for epoch in (1, 2, 3, 4)]
    made = pack(costs, 4)
    assert made.makespan_seconds == 11.0
    assert [len(assignment) for assignment in made.assignments] == [1, 1, 1, 1]


def test_versions_are_contiguous_longest_first_and_the_suffix_ends_its_version() -> None:
    costs = [dp("a", 1), cost("b", 3, 2), cost("a", 7, 1), cost("b", 1, 4), cost("a", 2, 1)]
    made = pack(costs, 1)
    assert made.assignments == ((cost("b", 1, 4), cost("b", 3, 2), cost("a", 2, 1), cost("a", 7, 1), dp("a", 1)),)
    validate(made, costs)


def test_more_workers_than_segments_leave_workers_without_any() -> None:
    assert pack([cost("a", 1, 5, 1)], 3) == Schedule(((cost("a", 1, 5, 1),), (), ()), 6.0, 6.0)
    assert pack([], 2) == Schedule(((), ()), 0.0, 0.0)


def test_no_worker_is_refused() -> None:
    for function in (pack, longest_first, lower_bound):
        with pytest.raises(ValueError, match="at least one"):
            function([], 0)


def test_other_phases_find_what_longest_first_misses() -> None:
    costs = [cost(version, 1, seconds) for version, seconds in zip("abcde", (3, 3, 2, 2, 2), strict=True)]
    assert longest_first(costs, 2).makespan_seconds == 7.0
    made = pack(costs, 2)
    assert made.makespan_seconds == made.lower_bound_seconds == 6.0


def test_many_small_pieces_of_many_versions_need_few_more_set_ups() -> None:
    costs = [cost(f"v{version}", epoch, 1.0, 10.0) for version in range(10) for epoch in range(1, 51)]
    made = pack(costs, 4)
    busy = sum(10.0 * len({c.segment.version for c in a}) + len(a) for a in made.assignments)
    assert made.lower_bound_seconds == 150.0
    assert made.makespan_seconds <= 160.0
    assert busy <= 600.0 + 3 * 10.0


def test_the_checker_names_what_is_wrong_with_a_schedule() -> None:
    costs = [cost("a", 1, 5.0, 1.0), cost("b", 1, 3.0, 1.0), cost("a", 2, 5.0, 1.0)]
    good = pack(costs, 1)
    validate(good, costs)
    for bad, words in (
        (replace(good, assignments=(good.assignments[0][1:],)), "3 segments were given and 2 placed"),
        (replace(good, assignments=(*good.assignments, good.assignments[0][:1])), "3 segments were given and 4 placed"),
        (replace(good, makespan_seconds=1.0), "the longest load is 15.0 s and the makespan 1.0 s"),
        (replace(good, lower_bound_seconds=99.0), "makespan 15.0 s is below the bound 99.0 s"),
        (replace(good, assignments=(tuple(costs),)), "worker 0 comes back to a version"),
    ):
        with pytest.raises(ValueError, match=words):
            validate(bad, costs)


@st.composite
def problems(draw: st.DrawFn, most: int = 20) -> list[SegmentCost]:
    setups = {version: draw(st.sampled_from([0.0, 0.5, 2.0, 30.0])) for version in "abcd"}
    runs = draw(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 50)), max_size=most))
    return [cost(version, number, run, setups[version]) for number, (version, run) in enumerate(runs, start=1)]


@given(problems(), st.integers(1, 6))
def test_a_schedule_is_valid_and_never_worse_than_plain_lpt(costs: list[SegmentCost], workers: int) -> None:
    made = pack(costs, workers)
    assert len(made.assignments) == workers
    validate(made, costs)
    plain = longest_first(costs, workers)
    validate(plain, costs)
    assert made.makespan_seconds <= plain.makespan_seconds + 1e-9
    assert made.lower_bound_seconds == plain.lower_bound_seconds == lower_bound(costs, workers)


@given(problems(), st.integers(1, 6))
def test_the_same_segments_in_another_order_end_at_the_same_time(costs: list[SegmentCost], workers: int) -> None:
    assert pack(costs, workers) == pack(costs, workers)
    other = pack(costs[::-1], workers)
    assert other.makespan_seconds == pytest.approx(pack(costs, workers).makespan_seconds)


def best_makespan(costs: list[SegmentCost], workers: int) -> float:
    """By trying every assignment."""
    setups = {c.segment.version: c.setup_seconds for c in costs}
    best = float("inf")
    for assignment in product(range(workers), repeat=len(costs)):
        loads = [0.0] * workers
        for worker, version in {(w, c.segment.version) for w, c in zip(assignment, costs, strict=True)}:
            loads[worker] += setups[version]
        for worker, c in zip(assignment, costs, strict=True):
            loads[worker] += c.run_seconds
        best = min(best, max(loads))
    return best


@given(problems(most=5), st.integers(1, 3))
def test_the_bound_is_below_the_best_possible_and_the_schedule_is_within_twice_of_it(
    costs: list[SegmentCost], workers: int
) -> None:
    best = best_makespan(costs, workers)
    assert lower_bound(costs, workers) <= best + 1e-9
    assert best - 1e-9 <= pack(costs, workers).makespan_seconds <= 2 * best + 1e-9

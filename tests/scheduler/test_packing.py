"""Schedules hold every segment once, never beat the bound, and are never worse than plain LPT."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.bins import JobColumns
from flor_ray.scheduler.bounds import Demand, DualTest
from flor_ray.scheduler.constructing import in_batches, plain_lpt
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Slot, Workers, slots_of
from tests.scheduler.checking import wrongs


def cost(version: str, first: int, run_seconds: float, setup_seconds: float = 0.0) -> SegmentCost:
    return SegmentCost(Segment(version, first, first, Operator.DP_I, restore=first - 1), setup_seconds, run_seconds)


def dp(version: str, run_seconds: float, setup_seconds: float = 0.0) -> SegmentCost:
    return SegmentCost(Segment(version, 0, 0, Operator.DP, suffix=True), setup_seconds, run_seconds)


def lpt_seconds(costs: list[SegmentCost], workers: Workers) -> float:
    """Makespan of plain LPT; with room for rounding, since its loads are kept up to date and not added up anew, and
    for what is too little to be noticed."""
    return plain_lpt(JobColumns(costs), slots_of(workers)).makespan * (1 + 1e-12) + 1e-8 * len(costs)


def test_a_set_up_is_paid_once_per_version_and_worker() -> None:
    a1, a2, b = cost("a", 1, 5, 10), cost("a", 2, 5, 10), cost("b", 1, 8, 10)
    made = pack([a2, b, a1], 2)
    assert (made.assignments, made.makespan_seconds) == (((b,), (a1, a2)), 20.0)
    assert made.lower_bound_seconds == pytest.approx(20.0)


def test_a_version_is_spread_when_that_is_worth_its_set_ups() -> None:
    costs = [cost("a", epoch, 10, 1) for epoch in (1, 2, 3, 4)]
    made = pack(costs, 4)
    assert made.makespan_seconds == 11.0
    assert [len(assignment) for assignment in made.assignments] == [1, 1, 1, 1]


def test_versions_are_contiguous_longest_first_and_the_suffix_ends_its_version() -> None:
    costs = [dp("a", 1), cost("b", 3, 2), cost("a", 7, 1), cost("b", 1, 4), cost("a", 2, 1)]
    made = pack(costs, 1)
    assert made.assignments == ((cost("b", 1, 4), cost("b", 3, 2), cost("a", 2, 1), cost("a", 7, 1), dp("a", 1)),)
    assert not wrongs(made, costs)


def test_more_workers_than_segments_leave_workers_without_any() -> None:
    assert pack([cost("a", 1, 5, 1)], 3) == Schedule(((cost("a", 1, 5, 1),), (), ()), 6.0, 6.0)
    assert pack([], 2) == Schedule(((), ()), 0.0, 0.0)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        pack([], 0)


def test_other_ways_find_what_longest_first_misses() -> None:
    costs = [cost(version, 1, seconds) for version, seconds in zip("abcde", (3, 3, 2, 2, 2), strict=True)]
    assert lpt_seconds(costs, 2) == pytest.approx(7.0)
    made = pack(costs, 2)
    assert made.makespan_seconds == made.lower_bound_seconds == 6.0


def test_many_small_pieces_of_many_versions_need_few_more_set_ups() -> None:
    costs = [cost(f"v{version}", epoch, 1.0, 10.0) for version in range(10) for epoch in range(1, 51)]
    made = pack(costs, 4)
    busy = sum(10.0 * len({c.segment.version for c in a}) + len(a) for a in made.assignments)
    assert made.lower_bound_seconds == pytest.approx(155.0)  # with two versions a worker has too little to run
    assert made.makespan_seconds <= 160.0
    assert busy <= 600.0 + 3 * 10.0


def test_the_checker_names_what_is_wrong_with_a_schedule() -> None:
    costs = [cost("a", 1, 5.0, 1.0), cost("b", 1, 3.0, 1.0), cost("a", 2, 5.0, 1.0)]
    good = pack(costs, 1)
    assert not wrongs(good, costs)
    for bad, words in (
        (replace(good, assignments=(good.assignments[0][1:],)), "2 of 3 segments are placed"),
        (replace(good, assignments=(*good.assignments, good.assignments[0][:1])), "4 of 3 segments are placed"),
        (replace(good, makespan_seconds=1.0), "the last worker ends at 15.0 s and not at 1.0 s"),
        (replace(good, lower_bound_seconds=99.0), "makespan 15.0 s is below the bound 99.0 s"),
        (replace(good, assignments=(tuple(costs),)), "worker 0 comes back to a version"),
    ):
        assert words in "; ".join(wrongs(bad, costs))


@st.composite
def problems(draw: st.DrawFn, most: int = 20) -> list[SegmentCost]:
    setups = {version: draw(st.sampled_from([0.0, 0.5, 2.0, 30.0])) for version in "abcd"}
    runs = draw(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 50)), max_size=most))
    return [cost(version, number, run, setups[version]) for number, (version, run) in enumerate(runs, start=1)]


@given(problems(), st.integers(1, 6))
def test_a_schedule_is_valid_and_never_worse_than_plain_lpt(costs: list[SegmentCost], workers: int) -> None:
    made = pack(costs, workers)
    assert len(made.assignments) == workers
    assert not wrongs(made, costs)
    assert made.makespan_seconds <= lpt_seconds(costs, workers)


@given(problems(most=30), st.integers(1, 6))
def test_a_schedule_on_equal_cold_workers_is_within_three_halves_of_the_bound(
    costs: list[SegmentCost], workers: int
) -> None:
    made = pack(costs, workers)
    assert made.makespan_seconds <= 1.5 * made.lower_bound_seconds * (1 + 1e-3) + 1e-9


@given(problems(most=30), st.integers(1, 6), st.floats(0, 3))
def test_batches_end_by_three_halves_of_any_deadline_that_is_not_refused(
    costs: list[SegmentCost], workers: int, stretch: float
) -> None:
    deadline = stretch * pack(costs, workers).lower_bound_seconds
    work = JobColumns(costs)
    bins = in_batches(work, workers, deadline)
    if bins is None:
        demands = [
            Demand(setup, sorted(work.run[j] for j in own)) for setup, own in zip(work.setups, work.jobs, strict=True)
        ]
        test, earlier = DualTest(demands, [Slot()] * workers), deadline * (1 - 1e-6)
        assert earlier < test.plain_bound() or test.rejects(earlier)
    else:
        assert sorted(job for own in bins.jobs for job in own) == list(range(len(costs)))
        assert bins.makespan <= 1.5 * deadline * (1 + 1e-6)


@given(problems(), st.integers(1, 6))
def test_the_same_segments_in_another_order_end_at_the_same_time(costs: list[SegmentCost], workers: int) -> None:
    made = pack(costs, workers)
    assert made == pack(costs, workers)
    assert pack(costs[::-1], workers).makespan_seconds == pytest.approx(made.makespan_seconds)


def best_makespan(costs: list[SegmentCost], slots: list[Slot]) -> float:
    """By trying every assignment."""
    best = float("inf")
    for assignment in product(range(len(slots)), repeat=len(costs)):
        ends = [0.0]
        for number, slot in enumerate(slots):
            own = [c for worker, c in zip(assignment, costs, strict=True) if worker == number]
            setups = {c.segment.version: c.setup_seconds for c in own if c.segment.version not in slot.warm}
            runs = [c.run_seconds - (c.read_seconds if c.segment.version in slot.held else 0.0) for c in own]
            ends.append(slot.ready_seconds + slot.slowness * (sum(setups.values()) + sum(runs)) if own else 0.0)
        best = min(best, max(ends))
    return best


@given(problems(most=5), st.integers(1, 3))
def test_few_segments_are_packed_as_well_as_can_be_and_the_bound_is_below_that(
    costs: list[SegmentCost], workers: int
) -> None:
    best = best_makespan(costs, [Slot()] * workers)
    made = pack(costs, workers)
    assert made.lower_bound_seconds <= best * (1 + 1e-9) + 1e-9
    assert made.makespan_seconds == pytest.approx(best)


SLOTS = st.lists(
    st.builds(
        Slot,
        slowness=st.sampled_from([0.5, 1.0, 3.0]),
        ready_seconds=st.sampled_from([0.0, 2.0, 40.0]),
        warm=st.frozensets(st.sampled_from("abx"), max_size=2),
        held=st.frozensets(st.sampled_from("bcx"), max_size=2),
    ),
    min_size=1,
    max_size=3,
)


@given(problems(most=5), SLOTS)
def test_unequal_workers_get_the_best_schedule_of_few_segments_too(costs: list[SegmentCost], slots: list[Slot]) -> None:
    costs = [replace(c, read_seconds=c.run_seconds / 4) for c in costs]
    best = best_makespan(costs, slots)
    made = pack(costs, slots)
    assert made.lower_bound_seconds <= best * (1 + 1e-9) + 1e-9
    assert not wrongs(made, costs)
    assert made.makespan_seconds == pytest.approx(best)
    assert made.makespan_seconds <= lpt_seconds(costs, slots)


def test_segments_that_take_no_time_are_packed_on_unequal_workers_too() -> None:
    costs = [cost("a", 1, 0, 0.5), cost("c", 2, 0, 2)]
    made = pack(costs, [Slot(slowness=0.5), Slot(slowness=3.0)])
    assert not wrongs(made, costs)
    assert made.makespan_seconds == 1.25


@pytest.mark.parametrize("seconds", [5e-324, 1e-320, 1e-300, 1e300])
def test_seconds_as_small_and_as_large_as_can_be_are_packed(seconds: float) -> None:
    costs = [cost("a", 1, seconds), cost("a", 2, 0), cost("b", 3, seconds)]
    for workers in (1, 2, [Slot(slowness=0.5), Slot(slowness=3.0)]):
        made = pack(costs, workers)
        assert not wrongs(made, costs)
        assert made.lower_bound_seconds <= made.makespan_seconds * (1 + 1e-9) + 1e-9
        assert made.makespan_seconds <= lpt_seconds(costs, workers)


@given(problems(most=30), SLOTS)
def test_a_schedule_on_unequal_workers_is_valid_and_never_worse_than_plain_lpt(
    costs: list[SegmentCost], slots: list[Slot]
) -> None:
    made = pack(costs, slots)
    assert not wrongs(made, costs)
    assert made.slots == tuple(slots)
    assert made.makespan_seconds <= lpt_seconds(costs, slots)


def test_a_warm_worker_needs_no_set_up_and_runs_its_version_first() -> None:
    costs = [cost("a", 1, 10, 5), cost("b", 1, 10, 5), cost("b", 2, 1, 5)]
    made = pack(costs, [Slot(warm=frozenset({"b"}))])
    assert made.makespan_seconds == made.lower_bound_seconds == 26.0
    assert [c.segment.version for c in made.assignments[0]] == ["b", "b", "a"]
    made = pack(costs, [Slot(), Slot(warm=frozenset({"b"}))])
    assert made.assignments == ((costs[0],), (costs[1], costs[2]))
    assert made.makespan_seconds == 15.0


def test_a_worker_that_holds_checkpoints_does_not_read_them_and_a_slow_or_late_one_gets_less() -> None:
    reading = replace(cost("a", 1, 10), read_seconds=4)
    made = pack([reading], [Slot(), Slot(held=frozenset({"a"}))])
    assert (made.assignments, made.makespan_seconds) == (((), (reading,)), 6.0)
    costs = [cost(f"v{number}", 1, 1) for number in range(9)]
    made = pack(costs, [Slot(), Slot(slowness=2.0), Slot(ready_seconds=3.0)])
    assert [len(assignment) for assignment in made.assignments] == [5, 2, 2]
    assert made.makespan_seconds == pytest.approx(made.lower_bound_seconds) == 5.0
    assert pack(costs[:1], [Slot(), Slot(ready_seconds=9.0)]).makespan_seconds == 1.0  # nobody waits for the late one


def test_what_has_a_lower_rank_runs_first_where_that_costs_no_set_up() -> None:
    a, b, later = cost("a", 1, 9, 1), replace(cost("b", 2, 1, 1), rank=-1.0), cost("b", 1, 1, 1)
    assert pack([a, later, b], 1).assignments == ((b, later, a),)


def test_seconds_and_workers_that_cannot_be_are_refused() -> None:
    good = cost("a", 1, 1.0)
    bad = replace(good, run_seconds=-1.0), replace(good, setup_seconds=nan), replace(good, read_seconds=inf)
    for wrong in bad:
        with pytest.raises(ValueError, match="must be numbers"):
            pack([wrong], 1)
    with pytest.raises(ValueError, match="slowness"):
        Slot(slowness=0.0)
    with pytest.raises(ValueError, match="ready_seconds"):
        Slot(ready_seconds=-1.0)
    with pytest.raises(ValueError, match="at least one"):
        pack([], [])

"""Estimates are sums of what was measured, and corrections scale them by what replay took."""

from __future__ import annotations

import pytest

from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Operator,
    Point,
    Profile,
    Segment,
    SegmentCost,
    SegmentReport,
    Variant,
)
from flor_ray.scheduler.costs import Correction, correct, fill_unknown, restore_bytes, segment_cost

# Epoch e takes 1 s of head, 10 e of nested loop and 2 s of tail; epoch 1 is slower, as first epochs are.
PROFILE = Profile(
    setup_seconds=30.0,
    epochs=(EpochTimes(1, 5.0, 50.0, 6.0), *(EpochTimes(e, 1.0, 10.0 * e, 2.0) for e in (2, 3, 4))),
    suffix_seconds=7.0,
)
SIZES = {(e, Point.EPOCH_END): 100 for e in range(5)} | {(e, Point.NESTED_EXIT): 40 for e in range(1, 5)}


def dp_i(first: int, last: int, variant: Variant = Variant.INNER, restore: int | None = None) -> Segment:
    return Segment("v", first, last, Operator.DP_I, variant, restore)


def cost(segment: Segment, profile: Profile = PROFILE) -> SegmentCost:
    return segment_cost(segment, profile, SIZES, bandwidth_bytes_per_second=20.0, spawn_seconds=3.0)


def test_a_range_with_its_nested_loops_costs_the_restore_and_its_epochs() -> None:
    segment = dp_i(3, 4, restore=2)
    assert cost(segment) == SegmentCost(segment, 33.0, 5.0 + 33.0 + 43.0)


def test_epochs_that_are_only_run_to_warm_up_cost_as_much_as_wanted_ones() -> None:
    assert cost(dp_i(4, 4, restore=1)).run_seconds == 5.0 + 23.0 + 33.0 + 43.0
    assert cost(dp_i(2, 2, restore=None)).run_seconds == 61.0 + 23.0


def test_a_range_without_its_nested_loops_costs_an_exit_state_instead_of_each() -> None:
    segment = dp_i(3, 4, Variant.OUTER, restore=2)
    assert cost(segment) == SegmentCost(segment, 33.0, 5.0 + 2 * (1.0 + 2.0 + 2.0))


def test_the_prefix_costs_its_set_up_only_and_the_suffix_the_final_state_too() -> None:
    prefix = Segment("v", 0, 0, Operator.DP)
    assert cost(prefix) == SegmentCost(prefix, 33.0, 0.0)
    suffix = Segment("v", 0, 0, Operator.DP, restore=4, suffix=True)
    assert cost(suffix) == SegmentCost(suffix, 33.0, 5.0 + 7.0)


def test_the_whole_script_costs_all_its_parts() -> None:
    everything = Segment("v", 1, 4, Operator.DP_STAR, suffix=True)
    assert cost(everything) == SegmentCost(everything, 33.0, 61.0 + 23.0 + 33.0 + 43.0 + 7.0)


def test_an_epoch_that_was_not_measured_counts_as_the_median_of_the_later_ones() -> None:
    assert cost(dp_i(6, 6, restore=5)).run_seconds == 5.0 + 1.0 + 30.0 + 2.0


def test_the_first_epoch_stands_for_all_when_it_is_the_only_measured_one() -> None:
    crashed = Profile(setup_seconds=30.0, epochs=PROFILE.epochs[:1])
    assert cost(dp_i(2, 3, restore=1), crashed).run_seconds == 5.0 + 2 * 61.0


def test_without_any_measured_epoch_the_cost_is_marked_as_unknown() -> None:
    segment = dp_i(2, 3, restore=1)
    assert cost(segment, Profile(setup_seconds=30.0)) == SegmentCost(segment, 33.0, 5.0, known=False)
    assert cost(Segment("v", 0, 0, Operator.DP), Profile(setup_seconds=30.0)).known
    assert not cost(Segment("v", 0, 0, Operator.DP), Profile()).known


def test_unknown_costs_get_the_median_seconds_per_epoch_of_the_known_ones() -> None:
    known = [
        SegmentCost(dp_i(e, e + 1, restore=e - 1), 1.0, seconds) for e, seconds in ((1, 8.0), (3, 10.0), (5, 80.0))
    ]
    unknown = SegmentCost(dp_i(9, 10, restore=7), 1.0, 0.5, known=False)
    filled = SegmentCost(unknown.segment, 1.0, 0.5 + 3 * 5.0, known=False)
    assert fill_unknown([*known, unknown]) == (*known, filled)
    assert fill_unknown([unknown]) == (SegmentCost(unknown.segment, 1.0, 0.5 + 3.0, known=False),)


def test_a_bandwidth_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        segment_cost(dp_i(1, 1), PROFILE, {}, 0.0, 0.0)


def test_the_size_of_a_state_that_is_listed_twice_is_the_larger_one() -> None:
    states = [Checkpoint("v", "t.py", 1, 2, Point.EPOCH_END, key, size, 0.0) for key, size in (("a", 5), ("b", 9))]
    assert restore_bytes(states) == {(2, Point.EPOCH_END): 9}


def report(segment: Segment, run_seconds: float) -> SegmentReport:
    return SegmentReport(segment, rows=1, setup_seconds=0.0, run_seconds=run_seconds)


def segment_of(version: str, first: int = 1) -> Segment:
    return Segment(version, first, first, Operator.DP_I, restore=first - 1)


def test_a_version_with_reports_is_corrected_by_them_and_others_by_all_reports() -> None:
    costs = [SegmentCost(segment_of(v, e), 3.0, 10.0) for v in "abc" for e in (1, 2)]
    reports = [report(segment_of("a"), 20.0), report(segment_of("b"), 5.0)]
    seconds = {c.segment.version: c.run_seconds for c in correct(costs, reports)}
    assert seconds == {"a": 20.0, "b": 5.0, "c": 12.5}
    assert {c.setup_seconds for c in correct(costs, reports)} == {3.0}


def test_no_reports_and_foreign_reports_correct_nothing() -> None:
    costs = (SegmentCost(segment_of("a"), 3.0, 10.0),)
    assert correct(costs, []) == correct(costs, [report(segment_of("z"), 99.0)]) == costs


def test_stand_ins_for_unknown_costs_do_not_correct_other_versions() -> None:
    stand_in = SegmentCost(segment_of("a"), 0.0, 1.0, known=False)
    correction = Correction().observe(stand_in, report(stand_in.segment, 50.0))
    assert correction == Correction(0.0, 0.0, {"a": (50.0, 1.0)})
    assert (correction.ratio("a"), correction.ratio("b")) == (50.0, 1.0)


def test_a_segment_without_run_seconds_says_nothing() -> None:
    free = SegmentCost(segment_of("a"), 3.0, 0.0)
    assert Correction().observe(free, report(free.segment, 0.2)) == Correction()

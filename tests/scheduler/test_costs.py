"""The work of a segment is a sum of what was measured when its version was recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flor_ray.records import Checkpoint, EpochTimes, Operator, Point, Profile, Region, Segment, Variant
from flor_ray.scheduler.costs import RecordedVersion, restore_bytes, typical_epoch_seconds, work

# Epoch e takes 1 s of head, 10 e of nested loop and 2 s of tail; epoch 1 is slower, as first epochs are.
PROFILE = Profile(
    setup_seconds=30.0,
    epochs=(EpochTimes(1, 5.0, 50.0, 6.0), *(EpochTimes(e, 1.0, 10.0 * e, 2.0) for e in (2, 3, 4))),
    suffix_seconds=7.0,
    import_seconds=20.0,
)
WARM_UP = 61.0 - 33.0  # the first epoch, beside the median of the others
SIZES = {(e, Point.EPOCH_END): 100 for e in range(5)} | {(e, Point.NESTED_EXIT): 40 for e in range(1, 5)}
RECORDED = RecordedVersion(PROFILE, SIZES)
NOT_COMPARED = replace(RECORDED, sizes={place: 10**12 + size for place, size in SIZES.items()})


def dp_i(first: int, last: int, variant: Variant = Variant.INNER, restore: int | None = None, *names: str) -> Segment:
    return Segment("v", first, last, Operator.DP_I, variant, restore, names=names)


def test_a_range_with_its_nested_loops_does_its_epochs_again() -> None:
    found = work(dp_i(3, 4, restore=2), RECORDED)
    assert (found.setup_seconds, found.run_seconds, found.epochs) == (10.0 + WARM_UP, 33.0 + 43.0, 2)


def test_imports_are_a_servers_and_no_part_of_a_set_up() -> None:
    prefix = work(Segment("v", 0, 0, Operator.DP), RECORDED)
    assert (prefix.setup_seconds, prefix.run_seconds, prefix.reads, prefix.known) == (10.0, 0.0, 0, True)


def test_epochs_that_are_only_run_to_warm_up_take_as_long_as_wanted_ones() -> None:
    assert work(dp_i(4, 4, restore=1), RECORDED).run_seconds == 23.0 + 33.0 + 43.0


def test_what_the_first_epoch_takes_longer_is_paid_with_the_set_up_whichever_epoch_a_process_runs_first() -> None:
    first, later = work(dp_i(1, 2, restore=0), RECORDED), work(dp_i(3, 3, restore=2), RECORDED)
    assert first.setup_seconds == later.setup_seconds == 10.0 + WARM_UP
    assert first.setup_seconds + first.run_seconds == 10.0 + 61.0 + 23.0
    outer = work(dp_i(3, 3, Variant.OUTER, restore=2), RECORDED)
    assert outer.setup_seconds == 10.0 + (5.0 + 6.0) - (1.0 + 2.0)


def test_a_range_without_its_nested_loops_reads_an_exit_state_instead_of_each() -> None:
    found = work(dp_i(3, 4, Variant.OUTER, restore=2), NOT_COMPARED)
    assert (found.run_seconds, found.reads) == (2 * (1.0 + 2.0), 1 + 2)


def test_epochs_of_which_the_end_is_enough_are_only_read() -> None:
    found = work(dp_i(2, 4, Variant.END), RECORDED)
    assert (found.setup_seconds, found.run_seconds) == (10.0, 0.0)
    assert (found.reads, found.read_bytes, found.epochs) == (3, 300, 3)


def test_the_suffix_begins_with_the_final_state() -> None:
    suffix = work(Segment("v", 0, 0, Operator.DP, restore=4, suffix=True), RECORDED)
    assert (suffix.run_seconds, suffix.reads, suffix.read_bytes) == (7.0, 1, 100)


def test_the_whole_script_does_all_its_parts() -> None:
    found = work(Segment("v", 1, 4, Operator.DP_STAR, suffix=True), RECORDED)
    assert found.setup_seconds + found.run_seconds == 10.0 + 61.0 + 23.0 + 33.0 + 43.0 + 7.0
    assert found.reads == 0


def test_a_script_without_a_main_loop_runs_all_that_it_does_after_its_imports() -> None:
    found = work(Segment("v", 0, 0, Operator.DP_STAR, suffix=True), RecordedVersion(Profile(30.0, import_seconds=20.0)))
    assert (found.setup_seconds, found.run_seconds) == (0.0, 10.0)


def test_a_segments_last_epoch_ends_where_nothing_more_is_wanted_of_it() -> None:
    left = replace(RECORDED, ends={"a": Region.HEAD, "b": Region.INNER, "c": Region.TAIL})
    begun = work(dp_i(3, 3, Variant.INNER, 2, "a"), left)
    assert (begun.run_seconds, begun.reads) == (1.0, 1)
    assert work(dp_i(3, 3, Variant.OUTER, 2, "a"), left).read_bytes == 100
    assert work(dp_i(3, 4, Variant.INNER, 2, "a", "b"), left).run_seconds == 33.0 + 1.0 + 40.0
    assert work(dp_i(3, 3, Variant.INNER, 2, "a", "c"), left).run_seconds == 33.0
    assert work(dp_i(3, 3, Variant.INNER, 2, "a", "elsewhere"), left).run_seconds == 33.0


def test_epochs_in_between_are_left_where_the_next_one_begins_with_a_recorded_state() -> None:
    left = replace(NOT_COMPARED, ends={"b": Region.INNER}, leave=frozenset({3}))
    found = work(dp_i(3, 4, Variant.INNER, 2, "b"), left)
    assert (found.run_seconds, found.reads) == (31.0 + 41.0, 2)
    warming_up = work(dp_i(4, 4, Variant.INNER, 2, "b"), left)
    assert (warming_up.run_seconds, warming_up.reads) == (33.0 + 41.0, 1)


def test_a_statement_that_was_added_takes_a_moment_each_time_and_longer_where_there_is_much_state() -> None:
    profile = replace(PROFILE, steps=200.0)
    added = replace(NOT_COMPARED, profile=profile, regions={"i": Region.INNER, "t": Region.TAIL})
    bare = work(dp_i(3, 3, restore=2), added)
    tail, inner = (work(dp_i(3, 3, Variant.INNER, 2, name), added) for name in ("t", "i"))
    assert inner.run_seconds - bare.run_seconds == pytest.approx(200 * (tail.run_seconds - bare.run_seconds))
    assert inner.run_spread > bare.run_spread
    little = replace(added, sizes=SIZES)
    assert 0.03 < work(dp_i(3, 3, Variant.INNER, 2, "i"), little).run_seconds - 33.0 < 0.5


def test_states_that_cost_little_are_read_again_to_be_compared() -> None:
    assert work(dp_i(3, 4, restore=2), NOT_COMPARED).reads == 1
    found = work(dp_i(3, 4, restore=2), RECORDED)
    assert (found.reads, found.read_bytes) == (3, 100 + 40 + 100)


def test_an_epoch_that_was_not_measured_counts_as_the_median_of_the_later_ones_and_is_less_sure() -> None:
    unknown, known = work(dp_i(6, 6, restore=5), RECORDED), work(dp_i(3, 3, restore=2), RECORDED)
    assert unknown.run_seconds == 33.0 == known.run_seconds
    assert unknown.run_spread > 2 * known.run_spread


def test_the_first_epoch_stands_for_all_when_it_is_the_only_measured_one() -> None:
    crashed = RecordedVersion(replace(PROFILE, epochs=PROFILE.epochs[:1]))
    assert work(dp_i(2, 3, restore=1), crashed).run_seconds == 2 * 61.0
    assert typical_epoch_seconds(crashed.profile) == 61.0


def test_without_any_measured_epoch_the_work_is_marked_as_unknown() -> None:
    bare = RecordedVersion(Profile(setup_seconds=30.0))
    assert not work(dp_i(2, 3, restore=1), bare).known
    assert work(Segment("v", 0, 0, Operator.DP), bare).known
    assert not work(Segment("v", 0, 0, Operator.DP), RecordedVersion(Profile())).known
    assert typical_epoch_seconds(bare.profile) is None


def test_a_set_up_of_which_nobody_knows_how_much_was_imports_is_not_sure() -> None:
    prefix = Segment("v", 0, 0, Operator.DP)
    old = work(prefix, RecordedVersion(replace(PROFILE, import_seconds=0.0)))
    assert old.setup_spread / old.setup_seconds > 4 * work(prefix, RECORDED).setup_spread / 10.0


def test_a_state_of_unknown_size_counts_as_the_median_of_its_kind() -> None:
    assert work(dp_i(8, 8, Variant.OUTER, restore=7), RECORDED).read_bytes == 100 + 40


def test_the_size_of_a_state_that_is_listed_twice_is_the_larger_one() -> None:
    states = [Checkpoint("v", "t.py", 1, 2, Point.EPOCH_END, key, size, 0.0) for key, size in (("a", 5), ("b", 9))]
    assert restore_bytes(states) == {(2, Point.EPOCH_END): 9}


@pytest.mark.parametrize("operator", [Operator.DP, Operator.DP_STAR])
def test_only_a_range_of_epochs_is_left_early(operator: Operator) -> None:
    left = replace(RECORDED, ends={"a": Region.HEAD})
    whole = Segment("v", 0, 4, operator, names=("a",), suffix=True, restore=4 if operator is Operator.DP else None)
    assert work(whole, left).run_seconds == work(whole, RECORDED).run_seconds

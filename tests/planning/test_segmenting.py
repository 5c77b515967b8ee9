"""Which segments answer which gaps, and why. The property tests simulate a worker that trusts its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.patching.patching import Patched
from flor_ray.planning.segmenting import Plan, cut, plan, split_points
from flor_ray.records import ENTRIES, Checkpoint, Experiment, Gap, Operator, Point, Region, Segment, Status, Variant

V = "3fa2c0de77"
END, EXIT = Point.EPOCH_END, Point.NESTED_EXIT


def experiment(**changes: Any) -> Experiment:
    fields: dict[str, Any] = {"version": V, "main_loop": "epoch", "nested_loop": "step", "epochs": 8}
    fields |= {"project": "p", "parent": None, "script": "train.py", "run": "", "started": 0.0, "ended": None}
    return Experiment(**{**fields, "status": Status.FINISHED, **changes})


def checkpoint(epoch: int, point: Point, *uncaptured: str) -> Checkpoint:
    return Checkpoint(
        V, "train.py", 5, epoch, point, f"{epoch}{point}", 100, 0.1, frozenset(), uncaptured=frozenset(uncaptured)
    )


def ends(*epochs: int) -> list[Checkpoint]:
    return [checkpoint(epoch, END) for epoch in epochs]


def exits(*epochs: int) -> list[Checkpoint]:
    return [checkpoint(epoch, EXIT) for epoch in epochs]


def planned(
    gaps: Sequence[Gap],
    checkpoints: Sequence[Checkpoint],
    regions: Mapping[str, Region],
    tail_reads: Iterable[str] | None = (),
    recorded: Experiment | None = None,
) -> Plan:
    patched = Patched(regions=regions, tail_reads=None if tail_reads is None else frozenset(tail_reads))
    return plan(gaps, {V: recorded or experiment()}, {V: checkpoints}, {V: patched})


def dp_i(first: int, last: int, variant: Variant, restore: int | None, names: tuple[str, ...] = ("m",)) -> Segment:
    return Segment(V, first, last, Operator.DP_I, variant, restore, names=names)


def gap(*epochs: int, names: tuple[str, ...] = ("m",)) -> Gap:
    return Gap(V, names, epochs)


OUTSIDE = Gap(V, ("m",), (), data_prep=True)
ALL = range(9)


def test_a_name_of_the_tail_restores_the_nested_loop() -> None:
    assert planned([gap(3, 4, 5)], ends(*ALL) + exits(*ALL), {"m": Region.TAIL}) == Plan(
        (dp_i(3, 5, Variant.OUTER, 2),)
    )


def test_a_name_of_the_head_restores_the_nested_loop_too() -> None:
    assert planned([gap(1)], ends(0) + exits(1), {"m": Region.HEAD}) == Plan((dp_i(1, 1, Variant.OUTER, 0),))


def test_a_name_of_the_nested_loop_runs_its_steps() -> None:
    assert planned([gap(3)], ends(*ALL) + exits(*ALL), {"m": Region.INNER}) == Plan((dp_i(3, 3, Variant.INNER, 2),))


def test_a_loop_without_a_nested_one_is_run_as_it_is() -> None:
    made = planned([gap(3)], ends(*ALL), {"m": Region.HEAD}, recorded=experiment(nested_loop=None))
    assert made == Plan((dp_i(3, 3, Variant.INNER, 2),))


def test_runs_that_are_apart_are_separate_segments() -> None:
    made = planned([gap(1, 2, 6)], ends(*ALL) + exits(*ALL), {"m": Region.TAIL})
    assert made.segments == (dp_i(1, 2, Variant.OUTER, 0), dp_i(6, 6, Variant.OUTER, 5))


def test_a_run_that_would_start_where_another_stops_goes_on_instead_of_restoring() -> None:
    made = planned([gap(2, 4)], ends(0, 2), {"m": Region.INNER})
    assert made.segments == (dp_i(2, 4, Variant.INNER, 0),)


def test_two_wanted_epochs_of_one_block_are_one_segment_that_runs_no_epoch_twice() -> None:
    made = planned([gap(2, 4)], ends(0), {"m": Region.INNER})
    assert made == Plan(
        (dp_i(2, 4, Variant.INNER, 0),),
        (
            "version 3fa2c0de: no checkpoint right before epochs 2-4 exists, "
            "so the replay begins at the nearest complete checkpoint",
        ),
    )


def test_a_variable_that_was_not_captured_means_a_replay_from_the_start() -> None:
    checkpoints = [checkpoint(epoch, END, "meter") for epoch in ALL]
    assert planned([gap(3)], checkpoints, {"m": Region.INNER}) == Plan(
        (dp_i(3, 3, Variant.INNER, None),),
        ("version 3fa2c0de: variable `meter` could not be captured, so epoch 3 can only be replayed from the start",),
    )


def test_without_any_checkpoint_all_epochs_run_from_the_prefix_with_their_nested_loops() -> None:
    assert planned([gap(2)], exits(1, 2), {"m": Region.TAIL}) == Plan(
        (dp_i(2, 2, Variant.INNER, None),),
        (
            "version 3fa2c0de: the nested loop of epoch 2 has to run, "
            "because it can only be reached from the start of the script",
            "version 3fa2c0de: no checkpoint right before epoch 2 exists, so the replay begins at the start",
        ),
    )


def test_the_tail_decides_whether_an_incomplete_exit_state_is_enough() -> None:
    checkpoints = [*ends(*ALL), checkpoint(3, EXIT, "batch", "loss")]
    enough = planned([gap(3)], checkpoints, {"m": Region.TAIL}, tail_reads={"model"})
    assert enough == Plan((dp_i(3, 3, Variant.OUTER, 2),))
    note = (
        "version 3fa2c0de: the nested loop of epoch 3 has to run, because variable{} could not be captured at its exit"
    )
    read = planned([gap(3)], checkpoints, {"m": Region.TAIL}, tail_reads={"loss"})
    assert read == Plan((dp_i(3, 3, Variant.INNER, 2),), (note.format(" `loss`"),))
    unknown = planned([gap(3)], checkpoints, {"m": Region.TAIL}, tail_reads=None)
    assert unknown == Plan((dp_i(3, 3, Variant.INNER, 2),), (note.format("s `batch`, `loss`"),))


def test_an_epoch_is_not_continued_from_an_exit_state_that_is_only_good_for_its_tail() -> None:
    checkpoints = [*ends(*ALL), checkpoint(3, EXIT, "batch"), checkpoint(4, EXIT, "batch")]
    made = planned([gap(3, 4)], checkpoints, {"m": Region.TAIL}, tail_reads={"model"})
    assert made == Plan((dp_i(3, 3, Variant.OUTER, 2), dp_i(4, 4, Variant.OUTER, 3)))


def test_warm_up_epochs_skip_their_nested_loops_only_if_every_exit_state_is_there() -> None:
    regions = {"m": Region.TAIL}
    assert planned([gap(3)], ends(0) + exits(1, 2, 3), regions).segments == (dp_i(3, 3, Variant.OUTER, 0),)
    without = planned([gap(3)], ends(0) + exits(1, 3), regions)
    assert without.segments == (dp_i(3, 3, Variant.INNER, 0),)
    assert without.notes[0] == (
        "version 3fa2c0de: the nested loop of epoch 3 has to run, "
        "because not every exit state on the way there was checkpointed"
    )


def test_only_the_blocks_with_a_name_of_the_nested_loop_run_their_steps() -> None:
    gaps = [gap(1, 2, 3, 4, 5, names=("acc",)), gap(3, names=("loss",))]
    made = planned(gaps, ends(*ALL) + exits(*ALL), {"acc": Region.TAIL, "loss": Region.INNER})
    assert made.segments == (
        dp_i(1, 2, Variant.OUTER, 0, ("acc",)),
        dp_i(3, 3, Variant.INNER, 2, ("acc", "loss")),
        dp_i(4, 5, Variant.OUTER, 3, ("acc",)),
    )


def test_the_most_complete_of_two_checkpoints_of_one_place_is_used() -> None:
    checkpoints = [checkpoint(2, END, "meter"), *ends(2)]
    assert planned([gap(3)], checkpoints, {"m": Region.INNER}) == Plan((dp_i(3, 3, Variant.INNER, 2),))


def test_a_name_of_the_prefix_needs_no_epoch() -> None:
    assert planned([OUTSIDE], [], {"m": Region.PREFIX}) == Plan((Segment(V, 0, 0, Operator.DP, names=("m",)),))


def test_a_name_of_the_suffix_is_answered_from_the_final_checkpoint() -> None:
    made = planned([OUTSIDE], ends(8), {"m": Region.SUFFIX})
    assert made == Plan((Segment(V, 0, 0, Operator.DP, restore=8, suffix=True, names=("m",)),))


def test_a_name_of_the_suffix_without_the_final_checkpoint_needs_the_whole_script() -> None:
    everything = Segment(V, 1, 8, Operator.DP_STAR, suffix=True, names=("m",))
    start = "version 3fa2c0de: `m` is logged after the main loop and "
    missing = start + "no checkpoint of the last epoch's end exists, so the whole script is replayed"
    assert planned([OUTSIDE], ends(7), {"m": Region.SUFFIX}) == Plan((everything,), (missing,))
    incomplete = start + "variable `meter` could not be captured at its end, so the whole script is replayed"
    made = planned([OUTSIDE], [checkpoint(8, END, "meter")], {"m": Region.SUFFIX})
    assert made == Plan((everything,), (incomplete,))


def test_the_suffix_of_a_run_that_crashed_comes_with_a_warning() -> None:
    crashed = experiment(status=Status.CRASHED)
    assert planned([OUTSIDE], ends(8), {"m": Region.SUFFIX}, recorded=crashed).notes == (
        "version 3fa2c0de: the recorded run crashed after 8 epochs, so it may never have reached `m`; "
        "the replayed value is what the script logs after that many epochs",
    )


def test_the_epochs_come_first_and_the_suffix_last() -> None:
    gaps = [Gap(V, ("final", "size"), (), data_prep=True), gap(2)]
    regions = {"final": Region.SUFFIX, "size": Region.PREFIX, "m": Region.INNER}
    assert planned(gaps, ends(1, 8), regions).segments == (
        dp_i(2, 2, Variant.INNER, 1),
        Segment(V, 0, 0, Operator.DP, restore=8, suffix=True, names=("final", "size")),
    )


def test_one_name_that_may_be_anywhere_replays_everything_once_for_all_names() -> None:
    gaps = [Gap(V, ("norm",), (1, 2), data_prep=True), gap(2), Gap(V, ("size",), (), data_prep=True)]
    regions = {"norm": Region.WHOLE, "m": Region.TAIL, "size": Region.PREFIX}
    assert planned(gaps, ends(*ALL), regions) == Plan(
        (Segment(V, 1, 8, Operator.DP_STAR, suffix=True, names=("m", "norm", "size")),),
        ("version 3fa2c0de: `norm` may be logged anywhere in the script, so the whole script is replayed",),
    )


def test_a_name_that_may_be_anywhere_does_not_run_what_a_crashed_run_never_reached() -> None:
    made = planned([gap(1)], [], {}, recorded=experiment(status=Status.CRASHED, epochs=3))
    assert made.segments == (Segment(V, 1, 3, Operator.DP_STAR, suffix=False, names=("m",)),)


def test_what_entered_its_main_loop_again_is_replayed_beyond_that() -> None:
    swept = experiment(status=Status.FAILED, epochs=3, environment={ENTRIES: 2})
    made = planned([Gap(V, ("m",), (1, 2, 3), True)], ends(0, 1, 2, 3), {"m": Region.WHOLE}, recorded=swept)
    assert made.segments == (Segment(V, 1, 3, Operator.DP_STAR, suffix=True, names=("m",)),)
    assert made.notes[0] == (
        "version 3fa2c0de: the recorded run failed after it had entered its main loop 2 times; if nothing stops its "
        "replay there, that goes on"
    )


def test_a_script_without_a_main_loop_is_replayed_whole() -> None:
    made = planned([OUTSIDE], [], {"m": Region.PREFIX}, recorded=experiment(main_loop=None, nested_loop=None, epochs=0))
    assert made == Plan(
        (Segment(V, 0, 0, Operator.DP_STAR, suffix=True, names=("m",)),),
        ("version 3fa2c0de: it has no main loop to skip, so the whole script is replayed",),
    )


def test_versions_keep_the_order_of_their_gaps() -> None:
    gaps = [Gap("w", ("m",), (), True), Gap("v", ("m",), (), True)]
    patched = dict.fromkeys("vw", Patched(regions={"m": Region.PREFIX}))
    made = plan(gaps, {"v": experiment(version="v"), "w": experiment(version="w")}, {}, patched)
    assert [segment.version for segment in made.segments] == ["w", "v"]


def test_no_gaps_need_no_segments() -> None:
    assert planned([], ends(*ALL), {}) == Plan()
    assert planned([Gap(V, ("m",), ())], ends(*ALL), {"m": Region.TAIL}) == Plan()


def test_a_segment_can_be_cut_where_an_epoch_ended_completely() -> None:
    segment = dp_i(3, 8, Variant.INNER, 1)
    checkpoints = [*ends(1, 2, 3, 6), checkpoint(4, END, "meter")]
    assert split_points(segment, checkpoints) == (4, 7)
    assert cut(segment, (7, 4)) == (
        dp_i(3, 3, Variant.INNER, 1),
        dp_i(4, 6, Variant.INNER, 3),
        dp_i(7, 8, Variant.INNER, 6),
    )


def test_only_ranges_of_epochs_can_be_cut() -> None:
    everything = Segment(V, 1, 8, Operator.DP_STAR)
    assert split_points(everything, ends(*ALL)) == ()
    assert cut(everything, ()) == (everything,)
    with pytest.raises(ValueError, match="cannot be cut at epoch 4"):
        cut(everything, (4,))
    with pytest.raises(ValueError, match="cannot be cut at epoch 3"):
        cut(dp_i(3, 8, Variant.INNER, 2), (3,))


EPOCHS = st.integers(1, 8)
UNCAPTURED = st.frozensets(st.sampled_from(["batch", "meter"]), max_size=1)
NAMES = {
    "prefix": Region.PREFIX,
    "head": Region.HEAD,
    "inner": Region.INNER,
    "tail": Region.TAIL,
    "suffix": Region.SUFFIX,
    "whole": Region.WHOLE,
}


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(NAMES)), unique=True, min_size=1))
    gaps = []
    for name in names:
        looped = NAMES[name] not in (Region.PREFIX, Region.SUFFIX)
        epochs = tuple(sorted(draw(st.frozensets(EPOCHS, min_size=1)))) if looped else ()
        gaps.append(Gap(V, (name,), epochs, data_prep=not looped or name == "whole"))
    places = draw(st.frozensets(st.tuples(st.integers(0, 8), st.sampled_from([END, EXIT]))))
    return {
        "gaps": gaps,
        "checkpoints": [checkpoint(e, p, *draw(UNCAPTURED)) for e, p in sorted(places)],
        "regions": NAMES,
        "tail_reads": draw(st.none() | UNCAPTURED),
        "recorded": experiment(nested_loop=draw(st.sampled_from([None, "step"]))),
    }


def epochs_run(segment: Segment) -> range:
    """What a worker runs: from its restore point, or the start, to the last wanted epoch."""
    return range(0) if segment.operator is Operator.DP else range((segment.restore or 0) + 1, segment.last + 1)


@given(situations())
def test_every_wanted_value_is_answered_by_exactly_one_segment(situation: dict[str, Any]) -> None:
    segments = planned(**situation).segments
    for gap in situation["gaps"]:
        for name in gap.names:
            for epoch in gap.epochs:
                assert sum(name in s.names and s.first <= epoch <= s.last for s in segments) == 1
            if gap.data_prep:
                answering = [s for s in segments if name in s.names]
                assert len(answering) == 1
                assert answering[0].operator in (Operator.DP, Operator.DP_STAR)
                assert answering[0].suffix or NAMES[name] is Region.PREFIX


@given(situations())
def test_no_epoch_is_run_twice_and_names_are_only_those_asked_for(situation: dict[str, Any]) -> None:
    segments = planned(**situation).segments
    run = [epoch for segment in segments for epoch in epochs_run(segment)]
    assert len(run) == len(set(run))
    assert {name for segment in segments for name in segment.names} == {n for g in situation["gaps"] for n in g.names}


def assert_trustworthy(segment: Segment, checkpoints: Sequence[Checkpoint], reads: frozenset[str] | None) -> None:
    """Every state that a worker restores for this segment exists and holds all that is read from it."""
    at = {(c.epoch, c.point): c.uncaptured for c in checkpoints}
    if segment.restore is not None:
        assert at[segment.restore, END] == frozenset()
    if segment.variant is Variant.OUTER:
        assert segment.restore is not None
        *before, last = epochs_run(segment)
        assert all(at[epoch, EXIT] == frozenset() for epoch in before)
        missed = at[last, EXIT]
        assert not (missed if reads is None else missed & reads)


def test_what_only_added_lines_make_is_in_no_checkpoint() -> None:
    def segments_of(region: Region, wanted: Gap, **made: Any) -> tuple[Plan, str]:
        patch = Patched(regions={"m": region}, tail_reads=frozenset({"norm"}), **made)
        found = plan([wanted], {V: experiment()}, {V: [*ends(*ALL), *exits(*ALL)]}, {V: patch})
        return found, " ".join(found.notes)

    tail, said = segments_of(Region.TAIL, gap(3), made_in_steps=frozenset({"norm", "other"}))
    assert tail.segments == (dp_i(3, 3, Variant.INNER, 2),)
    assert "because what follows it reads `norm`, which only added lines make" in said
    enough, _ = segments_of(Region.TAIL, gap(3), made_in_steps=frozenset({"other"}))
    assert enough.segments == (dp_i(3, 3, Variant.OUTER, 2),)
    suffix, said = segments_of(Region.SUFFIX, OUTSIDE, missed_after=frozenset({"norm"}))
    assert [segment.operator for segment in suffix.segments] == [Operator.DP_STAR]
    assert "`m` is logged after the main loop, where `norm` is read, which only added lines make" in said


@given(situations())
def test_every_state_that_is_restored_exists_and_is_complete(situation: dict[str, Any]) -> None:
    for segment in planned(**situation).segments:
        assert_trustworthy(segment, situation["checkpoints"], situation["tail_reads"])
        inner = "inner" in segment.names
        assert not (inner and segment.variant is Variant.OUTER)


@given(situations(), st.data())
def test_the_pieces_of_a_segment_keep_its_epochs_and_restore_complete_states(
    situation: dict[str, Any], data: st.DataObject
) -> None:
    for segment in planned(**situation).segments:
        points = split_points(segment, situation["checkpoints"])
        chosen = data.draw(st.lists(st.sampled_from(points), unique=True)) if points else []
        pieces = cut(segment, chosen)
        assert len(pieces) == len(chosen) + 1
        assert [e for p in pieces for e in range(p.first, p.last + 1)] == list(range(segment.first, segment.last + 1))
        assert [e for p in pieces for e in epochs_run(p)] == list(epochs_run(segment))
        assert {p.names for p in pieces} == {segment.names}
        for piece in pieces:
            assert_trustworthy(piece, situation["checkpoints"], situation["tail_reads"])


@given(situations())
def test_the_plan_does_not_depend_on_the_order_of_checkpoints(situation: dict[str, Any]) -> None:
    turned = {**situation, "checkpoints": situation["checkpoints"][::-1]}
    assert planned(**situation) == planned(**turned)

"""What others run is left to them, and nothing else; slots are divided fairly, and stay where they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.records import Claim, Operator, Segment
from flor_ray.scheduler import sharing
from flor_ray.scheduler.fair_shares import Tenant, divided
from flor_ray.scheduler.sharing import SegmentPart, Whose

WHOLE = Segment("v", 1, 10, Operator.DP_I, names=("a",))
STATEMENTS = {"v": {"a": "1", "b": "2"}}


def holds(*spans: tuple[int, int], names: str = "a", operator: Operator = Operator.DP_I, version: str = "v") -> Claim:
    return Claim(version, operator, tuple((name, STATEMENTS["v"][name]) for name in names), spans)


def test_a_segment_is_left_to_others_from_border_to_border_only() -> None:
    found = sharing.sift(WHOLE, (4, 7), STATEMENTS, [holds((4, 8))], [holds((1, 3))])
    assert found == (SegmentPart(3, Whose.ANSWERED), SegmentPart(6, Whose.THEIRS), SegmentPart(10, Whose.OURS))


def test_what_nobody_else_is_at_is_ours() -> None:
    ours = (SegmentPart(10, Whose.OURS),)
    others = [
        holds((1, 10), version="w"),
        replace(holds((1, 10)), statements=(("a", "another digest"),)),
        holds((0, 0), operator=Operator.DP),
        holds((4, 6)),  # which cannot be cut out
    ]
    assert sharing.sift(WHOLE, (), STATEMENTS, []) == ours
    for other in others:
        assert sharing.sift(WHOLE, (), STATEMENTS, [other]) == ours


def test_others_must_log_all_that_is_wanted_and_may_log_more() -> None:
    both = replace(WHOLE, names=("a", "b"))
    assert sharing.sift(WHOLE, (), STATEMENTS, [holds((1, 10), names="ab")]) == (SegmentPart(10, Whose.THEIRS),)
    assert sharing.sift(both, (), STATEMENTS, [holds((1, 10))]) == (SegmentPart(10, Whose.OURS),)


def test_who_runs_the_whole_script_answers_everything_of_it() -> None:
    outside = Segment("v", 0, 0, Operator.DP, names=("a",))
    whole = holds((1, 10), operator=Operator.DP_STAR)
    assert sharing.sift(outside, (), STATEMENTS, [whole]) == (SegmentPart(0, Whose.THEIRS),)
    assert sharing.sift(WHOLE, (), STATEMENTS, [whole]) == (SegmentPart(10, Whose.THEIRS),)
    assert sharing.sift(outside, (), STATEMENTS, [holds((0, 0))]) == (SegmentPart(0, Whose.OURS),)
    assert sharing.sift(replace(WHOLE, operator=Operator.DP_STAR), (5,), STATEMENTS, [holds((1, 10))]) == (
        SegmentPart(10, Whose.OURS),
    )


def test_two_others_together_answer_what_neither_does_alone() -> None:
    found = sharing.sift(WHOLE, (), STATEMENTS, [holds((1, 4)), holds((5, 10))])
    assert found == (SegmentPart(10, Whose.THEIRS),)


def test_claims_of_neighbours_are_one_span() -> None:
    pieces = [replace(WHOLE, first=first, last=last) for first, last in ((4, 6), (1, 3), (9, 9))]
    outside = Segment("v", 0, 0, Operator.DP, names=("b",))
    assert sharing.claim([*pieces, outside], STATEMENTS) == (
        Claim("v", Operator.DP, (("b", "2"),), ((0, 0),)),
        Claim("v", Operator.DP_I, (("a", "1"),), ((1, 6), (9, 9))),
    )


def test_statements_that_differ_are_named_where_epochs_meet() -> None:
    other = Claim("v", Operator.DP_I, (("a", "9"), ("b", "2")), ((8, 12),))
    assert sharing.differing([WHOLE], STATEMENTS, [other]) == {"a"}
    assert not sharing.differing([replace(WHOLE, last=7)], STATEMENTS, [other])


@given(
    st.lists(st.integers(2, 20), max_size=6),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=3),
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=3),
)
def test_parts_are_the_whole_segment_and_what_is_not_ours_is_others_in_every_epoch(
    points: list[int], theirs: list[tuple[int, int]], done: list[tuple[int, int]]
) -> None:
    segment = replace(WHOLE, last=20)
    parts = sharing.sift(segment, sorted(set(points)), STATEMENTS, [holds(*theirs)], [holds(*done)])
    lasts = [part.last for part in parts]
    assert lasts == sorted(set(lasts))
    assert lasts[-1] == 20
    first = 1
    for part in parts:
        assert first == 1 or first in points
        for epoch in range(first, part.last + 1):
            answered = any(low <= epoch <= high for low, high in done)
            held = any(low <= epoch <= high for low, high in theirs)
            assert part.whose is Whose.OURS or (answered if part.whose is Whose.ANSWERED else answered or held)
        first = part.last + 1


# --- shares -----------------------------------------------------------------------------------------------------------


def test_slots_are_divided_equally_and_what_one_leaves_goes_to_the_others() -> None:
    assert divided(8, [Tenant("a", 8), Tenant("b", 8)]) == {"a": 4, "b": 4}
    assert divided(9, [Tenant("a", 1), Tenant("b", 8), Tenant("c", 8)]) == {"a": 1, "b": 4, "c": 4}
    assert divided(8, [Tenant("a", 3)]) == {"a": 3}
    assert divided(6, [Tenant("a", 6, weight=2.0), Tenant("b", 6)]) == {"a": 4, "b": 2}
    assert divided(8, [Tenant("a", 0), Tenant("b", 8)]) == {"a": 0, "b": 8}


def test_a_remainder_stays_where_it_is() -> None:
    assert divided(3, [Tenant("a", 3, holds=1), Tenant("b", 3, holds=2)]) == {"a": 1, "b": 2}
    assert divided(3, [Tenant("a", 3), Tenant("b", 3)]) == {"a": 2, "b": 1}


def test_more_replays_than_slots_have_one_each() -> None:
    assert divided(2, [Tenant(id, 5) for id in "abc"]) == {"a": 1, "b": 1, "c": 1}


def test_a_weight_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        divided(2, [Tenant("a", 1, weight=0.0)])


TENANTS = st.lists(
    st.builds(Tenant, st.sampled_from("abcdef"), st.integers(0, 9), st.integers(0, 9), st.sampled_from([1.0, 2.0])),
    unique_by=lambda one: one.id,
    max_size=6,
)


@given(st.integers(1, 24), TENANTS)
def test_shares_add_up_starve_nobody_and_do_not_move_once_they_are_held(slots: int, tenants: list[Tenant]) -> None:
    given_ = divided(slots, tenants)
    wanting = [one for one in tenants if one.wants]
    assert sum(given_.values()) == max(min(slots, sum(one.wants for one in tenants)), len(wanting))
    assert all(1 <= given_[one.id] <= one.wants for one in wanting)
    assert divided(slots, [replace(one, holds=given_[one.id]) for one in tenants]) == given_
    equal = [given_[one.id] for one in wanting if one.weight == 1.0 and given_[one.id] < one.wants]
    assert not equal or max(equal) - min(equal) <= 1

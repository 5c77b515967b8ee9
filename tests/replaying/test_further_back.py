"""From where a segment is replayed when states turn out to be lost: values in, values out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flor_ray.errors import RestoreFailed
from flor_ray.records import Checkpoint, Experiment, Operator, Point, Segment, Status, Variant
from flor_ray.replaying.further_back import LostStates, told

VERSION = "v" * 40
RUN = replace(Experiment("p", VERSION, None, "train.py", "", 0.0, 1.0, Status.FINISHED), epochs=9)


def ends(*epochs: int, incomplete: int | None = None) -> list[Checkpoint]:
    lost = {incomplete: frozenset({"net"})}
    return [
        Checkpoint(
            VERSION, "train.py", 1, epoch, Point.EPOCH_END, "key", 1, 0.0, frozenset(), lost.get(epoch, frozenset())
        )
        for epoch in epochs
    ]


CHECKPOINTS = ends(0, 2, 4, 6, 9)


def dp_i(first: int, last: int, restore: int | None, variant: Variant = Variant.INNER) -> Segment:
    return Segment(VERSION, first, last, Operator.DP_I, variant, restore, names=("y",))


def lost(*failures: tuple[int, Point]) -> LostStates:
    found = LostStates()
    for epoch, point in failures:
        found.add(RestoreFailed(epoch, point, "no way back"))
    return found


END, EXIT = Point.EPOCH_END, Point.NESTED_EXIT
SUFFIX = Segment(VERSION, 0, 0, Operator.DP, restore=9, suffix=True, names=("z",))


@pytest.mark.parametrize(
    ("failures", "segment", "instead"),
    [
        ([], dp_i(5, 6, 4), dp_i(5, 6, 4)),
        ([(4, END)], dp_i(3, 4, 2), dp_i(3, 4, 2)),
        ([(4, END)], dp_i(5, 6, 4), dp_i(5, 6, 2)),
        ([(4, END)], dp_i(7, 8, 6), dp_i(7, 8, 2)),
        ([(6, END), (4, END)], dp_i(7, 8, 6), dp_i(7, 8, 0)),
        ([(6, END), (4, END)], dp_i(3, 3, 2), dp_i(3, 3, 0)),
        ([(4, END), (2, END), (0, END)], dp_i(5, 6, 4), dp_i(5, 6, None)),
        ([(0, END)], dp_i(1, 1, 0), dp_i(1, 1, None)),
        ([(5, EXIT)], dp_i(5, 6, 4, Variant.OUTER), dp_i(5, 6, 4)),
        ([(5, EXIT)], dp_i(5, 6, None, Variant.END), dp_i(5, 6, None, Variant.END)),
        ([(4, END)], dp_i(5, 6, 4, Variant.OUTER), dp_i(5, 6, 2)),
        ([(6, END)], dp_i(5, 6, None, Variant.END), dp_i(5, 6, 4)),
        ([(6, END)], dp_i(1, 9, None, Variant.END), dp_i(1, 9, 0)),
        ([(6, END)], dp_i(5, 5, None, Variant.END), dp_i(5, 5, None, Variant.END)),
        ([(9, END)], SUFFIX, replace(SUFFIX, restore=6, last=9)),
        ([(9, END), (6, END)], SUFFIX, replace(SUFFIX, restore=0, last=9)),
        (
            [(9, END), (6, END), (0, END)],
            SUFFIX,
            Segment(VERSION, 1, 9, Operator.DP_STAR, suffix=True, names=("z",)),
        ),
        ([(1, END)], dp_i(1, 2, None), dp_i(1, 2, None)),
        ([(1, END)], replace(SUFFIX, restore=None, suffix=False), replace(SUFFIX, restore=None, suffix=False)),
    ],
)
def test_a_segment_begins_where_nothing_lost_is_needed(
    failures: list[tuple[int, Point]], segment: Segment, instead: Segment
) -> None:
    assert lost(*failures).instead(segment, RUN, CHECKPOINTS) == instead


def test_only_complete_states_are_begun_with() -> None:
    assert lost((6, END)).instead(dp_i(7, 7, 6), RUN, ends(0, 2, 4, 6, incomplete=4)) == dp_i(7, 7, 2)


def test_what_is_told_names_the_place_and_the_reason() -> None:
    why = lost((4, END)).why
    assert told(dp_i(5, 6, 4), dp_i(5, 6, 2), why) == (
        "epochs 5-6 had to be replayed from the end of epoch 2: The state at the end of epoch 4 cannot be put back: "
        "no way back"
    )
    assert told(SUFFIX, replace(SUFFIX, restore=0), "w").startswith(
        "what is outside the main loop had to be replayed from the entry of the main loop: "
    )
    assert told(dp_i(5, 5, 4), dp_i(5, 5, None), "w").startswith("epoch 5 had to be replayed from the start of the ")

"""A pinned statement goes to the gap that the user names, under the names of the older version."""

from __future__ import annotations

import pytest

from flor_ray.propagation import propagate
from flor_ray.records import Pin, Placement

NEWER = """\
from tools import Net, args, fit, loader

net = Net(args)
for epoch in range(args.epochs):
    fit(net, loader)
    net.clip(args.clip)
"""
OLDER = """\
from tools import Net, args, fit, loader

model = Net(args)
for e in range(args.epochs):
    # one epoch
    if e == 0:
        model.warm_up()

    else:
        fit(model, loader)
    # saved

    model.save()
model.push()
"""


def pinned(older: str, pin: Pin, newer: str = NEWER, line: int = 6) -> str:
    return propagate(newer, older, [line], pins={line: pin}).source


def with_line(older: str, after: int, text: str) -> str:
    lines = older.splitlines(keepends=True)
    return "".join([*lines[:after], text, *lines[after:]])


def refusal(older: str, pin: Pin) -> str:
    result = propagate(NEWER, older, [6], pins={6: pin})
    assert result.source == older
    assert not result.placed
    return result.refused[0].reason


def test_a_pin_behind_a_simple_statement_is_that_gap() -> None:
    assert pinned(OLDER, Pin(3)) == with_line(OLDER, 3, "model.clip(args.clip)\n")


def test_a_pin_behind_the_header_of_a_loop_is_the_start_of_its_body() -> None:
    older = OLDER.replace("    # one epoch\n", "")
    assert pinned(older, Pin(4)) == with_line(older, 4, "    model.clip(args.clip)\n")


def test_a_pin_behind_the_header_of_an_if_is_the_start_of_its_body() -> None:
    assert pinned(OLDER, Pin(6)) == with_line(OLDER, 6, "        model.clip(args.clip)\n")


def test_a_pin_behind_the_header_of_an_else_is_the_start_of_its_body() -> None:
    assert pinned(OLDER, Pin(9)) == with_line(OLDER, 9, "        model.clip(args.clip)\n")


def test_a_pin_behind_the_last_line_of_a_block_is_its_end() -> None:
    assert pinned(OLDER, Pin(7)) == with_line(OLDER, 7, "        model.clip(args.clip)\n")
    assert pinned(OLDER, Pin(10)) == with_line(OLDER, 10, "        model.clip(args.clip)\n")


def test_an_indentation_chooses_among_the_blocks_that_end_at_a_line() -> None:
    assert pinned(OLDER, Pin(10, 8)) == with_line(OLDER, 10, "        model.clip(args.clip)\n")
    assert pinned(OLDER, Pin(10, 4)) == with_line(OLDER, 10, "    model.clip(args.clip)\n")
    assert pinned(OLDER, Pin(13, 4)) == with_line(OLDER, 13, "    model.clip(args.clip)\n")
    assert pinned(OLDER, Pin(13, 0)) == with_line(OLDER, 13, "model.clip(args.clip)\n")


def test_a_pin_behind_the_last_line_of_the_file_is_its_end() -> None:
    assert pinned(OLDER, Pin(14)) == with_line(OLDER, 14, "model.clip(args.clip)\n")
    bare = OLDER.removesuffix("\n")
    assert pinned(bare, Pin(14)) == bare + "\nmodel.clip(args.clip)"


def test_a_pin_before_what_it_reads_is_bound_is_refused() -> None:
    reason = "it reads `net`, which the older version binds behind its place only, on line 3"
    assert refusal(OLDER, Pin(1)) == reason


def test_a_pin_before_everything_is_the_start_of_the_file() -> None:
    newer = NEWER.replace("net.clip(args.clip)", 'print("epoch")')
    assert pinned(OLDER, Pin(0), newer) == 'print("epoch")\n' + OLDER


@pytest.mark.parametrize("indent", [2, 12])
def test_an_indentation_that_no_block_has_there_is_refused(indent: int) -> None:
    assert refusal(OLDER, Pin(10, indent)) == (
        f"it is pinned after line 10, where no block with an indentation of {indent} of the older version goes on or "
        "ends"
    )


@pytest.mark.parametrize("after", [-1, 16, 1_000])
def test_a_pin_outside_of_the_file_is_refused(after: int) -> None:
    assert refusal(OLDER, Pin(after)) == (
        f"it is pinned after line {after}, where no block of the older version goes on or ends"
    )


def test_a_pin_inside_a_statement_of_many_lines_is_refused() -> None:
    older = "from tools import (\n    args,\n    net,\n)\n\nnet.run()\n"
    assert refusal(older, Pin(2)) == "it is pinned after line 2, where no block of the older version goes on or ends"


def test_a_pin_into_an_empty_file_is_refused() -> None:
    assert refusal("", Pin(0)) == "it is pinned after line 0, where no block of the older version goes on or ends"


def test_a_pin_behind_a_one_line_block_is_behind_the_block() -> None:
    older = "from tools import Net, args, loader\n\nnet = Net(args)\nfor batch in loader: net.fit(batch)\nnet.save()\n"
    assert pinned(older, Pin(4)) == with_line(older, 4, "net.clip(args.clip)\n")
    assert pinned(older, Pin(4, 0)) == with_line(older, 4, "net.clip(args.clip)\n")


def test_a_pin_inside_a_one_line_block_is_refused() -> None:
    older = "from tools import Net, args, loader\n\nnet = Net(args)\nfor batch in loader: net.fit(batch)\nnet.save()\n"
    assert "no block with an indentation of 4" in refusal(older, Pin(4, 4))


def test_comments_and_blank_lines_belong_to_the_gap_in_which_they_stand() -> None:
    for after in (10, 11, 12):
        result = pinned(OLDER, Pin(after, 4)).splitlines()
        assert result.index("    model.clip(args.clip)") in (10, 11, 12)
        assert [line for line in result if line != "    model.clip(args.clip)"] == OLDER.splitlines()


def test_a_pin_among_comments_at_the_head_of_a_body_is_the_start_of_the_body() -> None:
    result = pinned(OLDER, Pin(5)).splitlines()
    assert result.index("    model.clip(args.clip)") in (4, 5)
    assert [line for line in result if line != "    model.clip(args.clip)"] == OLDER.splitlines()


def test_a_pin_keeps_the_carriage_returns_of_the_older_file() -> None:
    older = OLDER.replace("\n", "\r\n")
    assert pinned(older, Pin(6)) == with_line(OLDER, 6, "        model.clip(args.clip)\n").replace("\n", "\r\n")


def test_a_pin_counts_the_columns_of_tabs_as_characters() -> None:
    older = OLDER.replace("    ", "\t")
    assert pinned(older, Pin(10, 1)) == with_line(older, 10, "\tmodel.clip(args.clip)\n")


def test_a_form_feed_does_not_count_as_a_line() -> None:
    older = OLDER.replace("model = Net(args)\n", "\x0cmodel = Net(args)\n")
    lines = older.split("\n")
    expected = "\n".join([*lines[:6], "        model.clip(args.clip)", *lines[6:]])
    assert pinned(older, Pin(6)) == expected


def test_a_pinned_statement_says_so_and_tells_its_names() -> None:
    (placed,) = propagate(NEWER, OLDER, [6], pins={6: Pin(10, 4)}).placed
    assert placed == Placement(6, 11, placed.confidence, {"net": "model"}, "pinned by hand")
    assert placed.confidence >= 0.9


def test_a_pin_of_another_line_changes_nothing() -> None:
    assert propagate(NEWER, OLDER, [6], pins={5: Pin(3)}) == propagate(NEWER, OLDER, [6])


def test_a_pinned_statement_is_placed_where_propagation_would_refuse() -> None:
    older = "from tools import Net, args\n\nmodel = Net(args)\nmodel.save()\n"
    assert propagate(NEWER, older, [6]).refused
    assert pinned(older, Pin(3)) == with_line(older, 3, "model.clip(args.clip)\n")


def test_a_pinned_statement_of_many_lines_is_indented_for_its_block() -> None:
    newer = NEWER.replace("net.clip(args.clip)", "net.clip(\n        args.clip,  # the norm\n    )")
    assert pinned(OLDER, Pin(6), newer) == with_line(
        OLDER, 6, "        model.clip(\n            args.clip,  # the norm\n        )\n"
    )


def test_a_pinned_log_brings_the_import_that_it_needs() -> None:
    newer = "import flor_ray as flor\n" + NEWER.replace("net.clip(args.clip)", 'flor.log("norm", net.norm())')
    assert pinned(OLDER, Pin(9), newer, 7) == with_line(
        with_line(OLDER, 9, '        flor.log("norm", model.norm())\n'), 1, "import flor_ray as flor\n"
    )


def test_the_pins_of_two_lines_hold_each_for_its_own() -> None:
    newer = NEWER + "    net.save()\n"
    older = OLDER.replace("    model.save()\n", "    model.half()\n")
    result = propagate(newer, older, [6, 7], pins={6: Pin(6), 7: Pin(9)})
    expected = with_line(with_line(older, 9, "        model.save()\n"), 6, "        model.clip(args.clip)\n")
    assert result.source == expected
    assert [(each.line, each.placed_line) for each in result.placed] == [(6, 7), (7, 11)]

"""Plain text tables: columns side by side, in as much room as there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flor_ray.redaction import shown
from flor_ray.reports.text_tables import render


def lines(*args: object, **options: object) -> list[str]:
    return render(*args, **options).split("\n")  # type: ignore[arg-type]


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_blanks() -> None:
    assert lines(["name", "n", "why"], [["a", "1", ""], ["longer", "22", "so"]]) == [
        "name     n    why",
        "─────────────────",
        "a        1",
        "longer   22   so",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert lines(["a", "bc"], []) == ["a   bc", "──────"]


def test_what_looks_like_markup_stays_as_it_is() -> None:
    assert lines(["x"], [["[red]:smile:[/red]"]])[-1] == "[red]:smile:[/red]"


def test_texts_of_the_widest_column_go_on_in_the_next_line() -> None:
    assert lines(["id", "why"], [["1", "the quick brown fox jumps"], ["2", "over"]], width=20) == [
        "id   why",
        "────────────────────",
        "1    the quick brown",
        "     fox jumps",
        "2    over",
    ]


def test_a_column_that_is_to_stay_whole_does_and_others_give_way() -> None:
    stamp = "2026-11-22 04:18:24"
    assert lines(["timestamp", "args"], [[stamp, "lr=0.1, batch=10"]], width=32, whole=["timestamp"]) == [
        "timestamp             args",
        "────────────────────────────────",
        f"{stamp}   lr=0.1,",
        "                      batch=10",
    ]


def test_a_word_is_cut_only_where_there_is_no_room_for_it() -> None:
    assert lines(["x"], [["abcdefghijklmnop"]], width=10) == ["x", "──────────", "abcdefghij", "klmnop"]


def test_lines_in_a_cell_stay_lines() -> None:
    assert lines(["a", "b"], [["1\n2", "x"]]) == ["a   b", "─────", "1   x", "2"]


def test_wide_characters_take_two_columns() -> None:
    assert lines(["名前", "n"], [["a", "1"]]) == ["名前   n", "────────", "a      1"]


CELLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5), st.integers(30, 80))
def test_every_character_is_there_and_no_line_is_wider_than_it_may_be(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    head, rule, *body = lines(["a", "b", "c"], rows, width=width)
    assert head.split() == ["a", "b", "c"]
    assert len(rule) <= width
    assert all(len(line) <= len(rule) for line in body)
    cells = [shown(cell) for row in rows for cell in row]  # "APIKEY=0" is not shown as it is
    assert sorted("".join(body).replace(" ", "")) == sorted("".join(cells))

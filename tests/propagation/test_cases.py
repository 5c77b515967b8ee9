"""Golden cases: `newer.py` marks the lines to carry with `# carry`; `expected.py` is `older.py` with them in place.

A case with refusals names them in `refused.txt`, one `line: reason` each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_ray.propagation import find_statements, propagate

CASES = sorted(path for path in (Path(__file__).parent.parent / "cases" / "propagation").iterdir() if path.is_dir())
MARK = "  # carry"


def read(case: Path) -> tuple[str, str, list[int]]:
    marked = (case / "newer.py").read_text()
    lines = [number for number, line in enumerate(marked.splitlines(), 1) if line.endswith(MARK)]
    return marked.replace(MARK, ""), (case / "older.py").read_text(), lines


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_statements_arrive_where_a_reader_would_put_them(case: Path) -> None:
    newer, older, lines = read(case)
    result = propagate(newer, older, lines)
    assert result.source == (case / "expected.py").read_text()
    refused = case / "refused.txt"
    expected = refused.read_text() if refused.exists() else ""
    assert "".join(f"{each.line}: {each.reason}\n" for each in result.refused) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_every_line_gets_exactly_one_answer(case: Path) -> None:
    newer, older, lines = read(case)
    result = propagate(newer, older, lines)
    assert sorted([*(each.line for each in result.placed), *(each.line for each in result.refused)]) == lines


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_placed_lines_hold_the_feature_that_was_asked_for(case: Path) -> None:
    newer, older, lines = read(case)
    result = propagate(newer, older, lines)
    arrived = {(s.line, s.name) for s in find_statements(result.source, "older.py")}
    for placement in result.placed:
        asked = {s.name for s in find_statements(newer, "newer.py") if s.line <= placement.line <= s.end_line}
        assert not asked or asked & {name for line, name in arrived if line == placement.placed_line}


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_propagating_twice_finds_everything_present(case: Path) -> None:
    newer, older, lines = read(case)
    once = propagate(newer, older, lines)
    again = propagate(newer, once.source, [each.line for each in once.placed])
    assert again.source == once.source
    assert all(each.present for each in again.placed)
    assert [each.line for each in again.placed] == [each.line for each in once.placed]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_propagating_to_itself_finds_everything_present(case: Path) -> None:
    newer, _, lines = read(case)
    result = propagate(newer, newer, lines)
    assert result.source == newer
    assert [each.line for each in result.placed if each.present] == lines


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_an_answer_does_not_depend_on_what_was_asked_before(case: Path) -> None:
    newer, older, lines = read(case)
    assert propagate(newer, older, lines) == propagate(newer, older, lines)

"""Golden cases: `newer.py` marks the lines to carry with `# carry`; `expected.py` is `older.py` with them in place.

A case with refusals names them in `refused.txt`, one `line: reason` each. Each case is propagated once, and all tests
look at that answer; only the last one asks again, of a propagation that remembers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from flor_ray.propagation import find_statements, propagate
from flor_ray.records import Propagation
from tests.propagation.forgetting import forget

FOLDERS = sorted(path for path in (Path(__file__).parent.parent / "cases" / "propagation").iterdir() if path.is_dir())
MARK = "  # carry"


@dataclass(frozen=True)
class Golden:
    """A case, with what propagation answers to it."""

    newer: str
    older: str
    lines: Sequence[int]
    expected: str
    refused: str

    @cached_property
    def answer(self) -> Propagation:
        return propagate(self.newer, self.older, self.lines)

    @property
    def places_something(self) -> bool:
        return self.refused.count("\n") < len(self.lines)


def read(folder: Path) -> Golden:
    marked = (folder / "newer.py").read_text()
    lines = [number for number, line in enumerate(marked.splitlines(), 1) if line.endswith(MARK)]
    refused = folder / "refused.txt"
    return Golden(
        marked.replace(MARK, ""),
        (folder / "older.py").read_text(),
        lines,
        (folder / "expected.py").read_text(),
        refused.read_text() if refused.exists() else "",
    )


CASES = {folder.name: read(folder) for folder in FOLDERS}
PLACING = {name: case for name, case in CASES.items() if case.places_something}


@pytest.mark.parametrize("name", CASES)
def test_statements_arrive_where_a_reader_would_put_them(name: str) -> None:
    case = CASES[name]
    assert case.answer.source == case.expected
    assert "".join(f"{each.line}: {each.reason}\n" for each in case.answer.refused) == case.refused


@pytest.mark.parametrize("name", CASES)
def test_every_line_gets_exactly_one_answer(name: str) -> None:
    answer = CASES[name].answer
    answered = sorted([*(each.line for each in answer.placed), *(each.line for each in answer.refused)])
    assert answered == CASES[name].lines != []


@pytest.mark.parametrize("name", PLACING)
def test_placed_lines_hold_the_feature_that_was_asked_for(name: str) -> None:
    case = PLACING[name]
    asked = {
        p.line: {s.name for s in find_statements(case.newer, "newer.py") if s.line <= p.line <= s.end_line}
        for p in case.answer.placed
    }
    arrived = {(s.line, s.name) for s in find_statements(case.answer.source, "older.py")}
    there = {p.line: {name for line, name in arrived if line == p.placed_line} for p in case.answer.placed}
    assert asked != {}
    assert [line for line, names in asked.items() if names and not names & there[line]] == []


@pytest.mark.parametrize("name", PLACING)
def test_propagating_twice_finds_everything_present(name: str) -> None:
    case = PLACING[name]
    once = case.answer
    again = propagate(case.newer, once.source, [each.line for each in once.placed])
    assert again.source == once.source
    assert [each.line for each in again.placed if each.present] == [each.line for each in once.placed] != []


@pytest.mark.parametrize("name", CASES)
def test_propagating_to_itself_finds_everything_present(name: str) -> None:
    case = CASES[name]
    result = propagate(case.newer, case.newer, case.lines)
    assert result.source == case.newer
    assert [each.line for each in result.placed if each.present] == case.lines


@pytest.mark.parametrize("name", CASES)
def test_an_answer_does_not_depend_on_what_was_asked_before(name: str) -> None:
    case = CASES[name]
    remembered = case.answer
    assert forget() >= 5
    assert propagate(case.newer, case.older, case.lines) == remembered

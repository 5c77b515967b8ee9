"""The bench of questions measures what it says: all rows come, and goals are judged as they are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench_modules import bench_module


@pytest.fixture
def pivoting() -> Any:
    return bench_module("querying.pivoting")


def test_whole_and_streamed_pivots_have_every_row(pivoting: Any, tmp_path: Path) -> None:
    size = pivoting.Size(runs=3, epochs=2, steps=5)
    store = pivoting._recorded(tmp_path, size)
    pivoting._compact(store)
    taken = [pivoting._read(how, tmp_path, store) for how in ("whole", "streamed")]
    pivoting._expect(taken, size)
    assert [one.rows for one in taken] == [30, 30]
    assert all(one.seconds > 0 and one.bytes > 10_000_000 for one in taken)


def test_a_row_that_is_missing_ends_the_bench(pivoting: Any) -> None:
    with pytest.raises(SystemExit, match="10 rows were recorded, and 9 were read"):
        pivoting._expect([pivoting.Taken(0.1, 10), pivoting.Taken(0.1, 9)], pivoting.Size(1, 2, 5))


@pytest.mark.parametrize(
    ("figure", "value", "missed"),
    [
        ("pivot_1m_seconds", 0.4, False),
        ("pivot_1m_seconds", 0.41, True),
        ("pivot_1m_vs_flordb", 59.9, True),
        ("pivot_1m_vs_flordb", 60, False),
        ("pivot_1m_vs_flordb", None, False),
        ("statements_wrong", 1, True),
    ],
)
def test_goals_are_judged(figure: str, value: float | None, missed: bool) -> None:
    assert bench_module("query").is_missed(figure, value) is missed

"""The golden statements: what each needs in some worlds, exactly, and its answer."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.relational import golden
from tests.relational.acquiring import acquire, connection
from tests.relational.golden import Golden
from tests.relational.worlds import World

ALL = golden.read()


@pytest.mark.parametrize("case", ALL, ids=[case.path.stem for case in ALL])
def test_a_statement_needs_what_it_needed_and_answers_as_with_everything_acquired(case: Golden) -> None:
    database = connection()
    for seed, expected in case.worlds.items():
        world = World(int(seed))
        result = acquire(database, case.statement, world)
        assert golden.told(result.filled) == expected["needed"]
        assert golden.answered(result, case.is_ordered) == expected["answer"]
        assert result.fallback == expected.get("fallback", "")
        assert golden.problem(database, case.statement, world, result, case.is_ordered) == ""


def test_there_are_many_and_they_fill_little() -> None:
    counts: Counter[str] = Counter()
    for case in ALL:
        for about in case.worlds.values():
            counts["filled"] += sum(map(len, about["needed"].values()))
            counts["gaps"] += about["gaps"]
    assert len(ALL) >= 150
    assert counts["filled"] / counts["gaps"] < 0.45


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("point", 0.1),
        ("topk_default", 0.35),
        ("col_where_version", 0.3),
        ("range_epoch", 0.5),
        ("cte_window_best", 0.5),
    ],
)
def test_selective_statements_fill_a_small_part(name: str, share: float) -> None:
    worlds = next(case.worlds for case in ALL if case.path.stem == name).values()
    filled = sum(len(places) for about in worlds for places in about["needed"].values())
    assert filled <= share * sum(about["gaps"] for about in worlds)

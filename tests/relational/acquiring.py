"""Statements, acquired in a world step by step, and compared with full acquisition."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from flor_ray.relational.needs import lacking
from flor_ray.relational.schema import Lacking
from flor_ray.relational.statements import SqlStatement, parse
from tests.relational.worlds import COLUMNS, RELATIONS, Gap, World

Rows = list[tuple[object, ...]]


@dataclass
class Acquired:
    """A statement's answer, and what was filled for it."""

    answer: Rows
    truth: Rows  # the answer after full acquisition
    filled: set[Gap]
    gaps: set[Gap]  # of the columns that the statement names
    rounds: int = 0
    fallback: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the rows are those of full acquisition, in any order."""
        return Counter(map(_comparable, self.answer)) == Counter(map(_comparable, self.truth))

    @property
    def is_right_in_order(self) -> bool:
        return list(map(_comparable, self.answer)) == list(map(_comparable, self.truth))


def _comparable(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_rounded(value) for value in row)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}")
    if isinstance(value, list):
        return tuple(map(_rounded, value))
    if isinstance(value, dict):
        return tuple((key, _rounded(each)) for key, each in value.items())
    return value


def connection() -> duckdb.DuckDBPyConnection:
    """A database whose answers do not depend on the number of threads."""
    return duckdb.connect(config={"threads": 1})


def named(statement: SqlStatement) -> Iterable[str]:
    """The columns of which full acquisition acquires all: those that a statement names."""
    return (
        {column for name in statement.relations for column in COLUMNS[name]} if statement.every else statement.columns
    )


def acquire(database: duckdb.DuckDBPyConnection, text: str, world: World) -> Acquired:
    """Fill what is needed, lowest stage first, until nothing is; then ask."""
    statement = parse(text, COLUMNS)
    have = set(world.had)
    gaps = world.gaps(named(statement))
    world.make(database, have | gaps, statement.relations)
    truth = database.execute(text).fetchall()
    result = Acquired([], truth, set(), gaps)
    found = lacking(statement, RELATIONS)
    while True:
        world.make(database, have, statement.relations)
        needed = _needed(database, found, world)
        if not needed:
            break
        assert needed <= gaps - result.filled, (
            f"asked for {needed - gaps | (needed & result.filled)}, which are no gaps"
        )
        result.filled |= needed
        have |= needed
        result.rounds += 1
        found = lacking(statement, RELATIONS, attempt=result.rounds)
    result.fallback = found.fallback
    result.answer = database.execute(text).fetchall()
    return result


def holds_if_redrawn(database: duckdb.DuckDBPyConnection, text: str, world: World, found: Acquired, seed: int) -> bool:
    """Whether the answer is that of full acquisition too where the gaps that were left hold something else."""
    statement = parse(text, COLUMNS)
    other = copy.copy(world)
    other.had = world.had | found.filled
    other.redraw(seed)
    other.make(database, other.had | world.gaps(named(statement)), statement.relations)
    truth = database.execute(text).fetchall()
    return Counter(map(_comparable, truth)) == Counter(map(_comparable, found.answer))


def _needed(database: duckdb.DuckDBPyConnection, found: Lacking, world: World) -> set[Gap]:
    for stage in sorted({one.stage for one in found.needed}):
        needed: set[Gap] = set()
        for one in found.needed:
            if one.stage == stage:
                try:
                    rows = database.execute(one.sql).fetchall()
                except duckdb.Error as error:
                    raise AssertionError(f"{error}\n{one.sql}") from error
                needed |= {world.gap(one.column, row) for row in rows}
        if needed:
            return needed
    return set()

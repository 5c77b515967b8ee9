"""What is asked of the table of runs, as statements in SQL. Pure.

The filter is the user's own text: a condition. It is put between lines of ours, and the database, which knows nothing
but this table, has the last word on what it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from flor_ray.errors import UsageError
from flor_ray.relational.naming import quoted
from flor_ray.ui.runs.run_columns import TIMES

TABLE = "runs"
MOST_ROWS = 1000  # of one answer
_WORDS = re.compile(r'"(?:[^"]|"")*"|\w+')


@dataclass(frozen=True, slots=True)
class RunQuestion:
    """Which rows of which columns are looked at."""

    columns: tuple[str, ...]
    where: str = ""  # a condition in SQL; "": all runs
    sort: tuple[str, ...] = ("-started",)  # columns; "-" before one: descending
    first: int = 0
    count: int = 100


def words_of(where: str) -> set[str]:
    """What in a condition may be the name of a column."""
    return {word[1:-1].replace('""', '"') if word[:1] == '"' else word for word in _WORDS.findall(where)}


def named(question: RunQuestion, known: Collection[str]) -> list[str]:
    """The columns that a question needs, in the order in which they are known.

    Raises:
        UsageError: it shows or sorts by one that there is not.
    """
    shown = [*question.columns, *(one.removeprefix("-") for one in question.sort)]
    if unknown := [name for name in shown if name not in known]:
        raise UsageError(f"There is no column {unknown[0]!r}. There are {', '.join(list(known)[:40])}.")
    wanted = {word.lower() for word in (*shown, *words_of(question.where))}  # so that twins come together
    return [name for name in known if name.lower() in wanted]


def rows_statement(question: RunQuestion) -> str:
    """The rows that are looked at: version first, then the columns."""
    shown = [f"epoch({quoted(name)})" if name in TIMES else quoted(name) for name in question.columns]
    return (
        f"SELECT {', '.join(['version', *shown])} FROM {TABLE}{_condition(question.where)}\n"
        f"ORDER BY {', '.join([*map(_order, question.sort), 'started DESC', 'version'])}\n"
        f"LIMIT {min(max(question.count, 0), MOST_ROWS)} OFFSET {max(question.first, 0)}"
    )


def _order(sort: str) -> str:
    return f"{quoted(sort.removeprefix('-'))} {'DESC' if sort[:1] == '-' else 'ASC'} NULLS LAST"


def count_statement(question: RunQuestion) -> str:
    """How many runs the filter leaves."""
    return f"SELECT count(*) FROM {TABLE}{_condition(question.where)}"


def _condition(where: str) -> str:
    return f" WHERE (\n{where}\n)" if where.strip() else ""

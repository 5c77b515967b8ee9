"""The parts of a SELECT in sqlglot's tree, and how they are put into text again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlglot import exp

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_Self = TypeVar("_Self")

Query = exp.Select | exp.SetOperation

_SET_AGGREGATES: tuple[type[exp.Expr], ...] = (exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr)
_BAG_AGGREGATES: tuple[type[exp.Expr], ...] = (
    exp.Count, exp.Sum, exp.Avg, exp.Median, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop,
    exp.ArgMax, exp.ArgMin, exp.ArrayAgg, exp.GroupConcat, exp.Quantile, exp.PercentileCont, exp.PercentileDisc,
    exp.Corr, exp.CovarPop, exp.CovarSamp, exp.CountIf, exp.First, exp.Last, exp.AnyValue, exp.ApproxDistinct, exp.Mode,
)  # fmt: skip
AGGREGATES = _SET_AGGREGATES + _BAG_AGGREGATES


class Settled(Enum):
    """What is settled of a block: nothing, its parts, or its parts and its rows."""

    LOOK = 0
    PARTS = 1
    ROWS = 2


LOOK, PARTS, ROWS = Settled.LOOK, Settled.PARTS, Settled.ROWS


def remembered(
    method: Callable[Concatenate[_Self, _Given], _Result],
) -> Callable[Concatenate[_Self, _Given], _Result]:
    """A method whose result for the same parts of a tree is kept, in `known` of its object, which also holds the tree.

    Parts are told apart by where they are: equal ones in two places can have two meanings.
    """

    @wraps(method)
    def asked(self: _Self, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        known: dict[Any, Any] = self.known  # type: ignore[attr-defined]
        given = tuple(id(each) if isinstance(each, exp.Expr) else each for each in (*args, *kwargs.values()))
        key = (method.__name__, given, tuple(kwargs))
        if key not in known:
            known[key] = method(self, *args, **kwargs)
        return known[key]  # type: ignore[no-any-return]

    return asked  # type: ignore[return-value]


def own(node: exp.Expr, *kinds: type[exp.Expr]) -> list[exp.Expr]:
    """The nodes of some kinds at or below `node` that belong to its query, not to a query within it."""
    inner = (exp.Select, exp.SetOperation)
    found = node.walk(prune=lambda n: n is not node and isinstance(n, inner))
    return [n for n in found if isinstance(n, kinds) and (n is node or not isinstance(n, inner))]


def aggregates_of(node: exp.Expr) -> list[exp.Expr]:
    """The aggregates that belong to the query of `node`, not to its windows."""
    return [
        n
        for n in own(node, *AGGREGATES)
        if not isinstance(n.parent, exp.Window)
        and not (isinstance(n.parent, exp.Filter | exp.WithinGroup) and isinstance(n.parent.parent, exp.Window))
        and not (isinstance(n.parent, exp.IgnoreNulls | exp.RespectNulls) and isinstance(n.parent.parent, exp.Window))
    ]


def bag_aggregates(node: exp.Expr) -> list[exp.Expr]:
    """The aggregates of `aggregates_of` for which it matters how often a row is there."""
    return [
        n for n in aggregates_of(node) if not isinstance(n, _SET_AGGREGATES) and not isinstance(n.this, exp.Distinct)
    ]


def sql(node: exp.Expr) -> str:
    """The text of a part, every name in quotes."""
    return node.sql(dialect="duckdb", identify=True)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def flag_of(column: str) -> str:
    """The flag that a relaxed block has beside a column."""
    return quoted(column + "?")


def any_of(parts: Iterable[str]) -> str:
    return " OR ".join(dict.fromkeys(parts)) or "FALSE"


def all_of(parts: Iterable[str]) -> str:
    return " AND ".join(part for part in dict.fromkeys(parts) if part and part != "TRUE") or "TRUE"


def within(node: exp.Expr) -> list[Query]:
    """The queries directly within an expression."""
    found: list[Query] = []
    for n in node.walk(prune=lambda n: n is not node and isinstance(n, Query)):
        if isinstance(n, Query) and n is not node:
            found.append(n)
    return found


def conjuncts(node: exp.Expr | None) -> list[exp.Expr]:
    """What must all hold."""
    if node is None:
        return []
    node = node.unnest()
    return [*conjuncts(node.left), *conjuncts(node.right)] if isinstance(node, exp.And) else [node]


def is_grouped(select: exp.Select) -> bool:
    """Whether rows are put together, by GROUP BY or by an aggregate without one."""
    order = select.args.get("order")
    parts = [*select.expressions, *filter(None, [select.args.get("having"), select.args.get("qualify"), order])]
    return select.args.get("group") is not None or "having" in _given(select) or any(map(aggregates_of, parts))


def keys_of(select: exp.Select) -> list[exp.Expr]:
    """What GROUP BY puts together by."""
    group = select.args.get("group")
    if group is None:
        return []
    keys = []
    for key in group.expressions:
        by_number = isinstance(key, exp.Literal) and not key.is_string
        keys.append(select.expressions[int(key.name) - 1].unalias() if by_number else key)
    return keys


def skipped_of(query: Query) -> int:
    """How many rows OFFSET skips; 0 where `cut_of` knows no number."""
    offset = query.args.get("offset")
    return int(offset.expression.name) if offset is not None and (cut_of(query) or -1) > 0 else 0


def cut_of(query: Query) -> int | None:
    """How many rows LIMIT and OFFSET look at; -1: some number; None: there is no LIMIT."""
    limit, offset = query.args.get("limit"), query.args.get("offset")
    if limit is None and offset is None:
        return None
    numbers = [part.expression for part in (limit, offset) if part is not None]
    if limit is None or not all(isinstance(n, exp.Literal) and not n.is_string and n.name.isdigit() for n in numbers):
        return -1
    return sum(int(n.name) for n in numbers)


def _given(select: exp.Expr) -> set[str]:
    return {name for name, value in select.args.items() if value}

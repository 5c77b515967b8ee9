"""Which statements are answered: one SELECT over the relations that there are, or EXPLAIN before one.

What a statement may name is listed here, not what it may not: a table function, a file's name in FROM or a kind of
statement that nobody thought of is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from flor_ray.errors import BadStatement
from flor_ray.relational.macro_calls import expanded

_ADVICE = "Ask with one SELECT (WITH, UNION and VALUES are possible too), or with EXPLAIN before it."
_EXPLAIN = re.compile(r"\s*EXPLAIN\b(?!\s*\()", re.IGNORECASE)
_TABLES = (exp.GenerateSeries, exp.Unnest, exp.Explode, exp.Values)  # tables that are made of their arguments alone
# Functions that tell of the process or change it; that they are refused is beside the sandbox of the database.
_REFUSED = frozenset(
    [
        "getenv",
        "current_setting",
        "set_config",
        "nextval",
        "currval",
        "setseed",
        "getvariable",
        "write_log",
        "read_text",
        "read_blob",
        "glob",
        "query",
        "query_table",
        "sniff_csv",
        "parquet_scan",
        "parquet_metadata",
        "parquet_schema",
        "duckdb_secrets",
        "which_secret",
        "load_aws_credentials",
    ]
)
_BEGINNINGS = ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT")
_FILTERED = ("version", "run", "epoch", "step")
_COMPARED: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=",
}  # fmt: skip
_TURNED = {"=": "=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition that all rows of a relation satisfy that a statement can look at: `column operator values`."""

    column: str
    operator: str  # "=" (any of the values), "<", "<=", ">" or ">=" (the one value)
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One SELECT, and what it names."""

    text: str  # the SELECT as the user wrote it, without EXPLAIN
    explains: bool  # EXPLAIN stands before it
    relations: tuple[str, ...]  # as they are spelled where they are known
    columns: frozenset[str]  # every name that may be a column's, in lower case
    quoted: frozenset[str]  # those of them that stand in quotes, as they are spelled
    star: bool  # it may show columns that it does not name
    every: bool  # it may decide by columns that it does not name: NATURAL, COLUMNS(), EXCEPT of *, names for those of *
    filters: Mapping[str, tuple[Filter, ...]] = field(default_factory=dict)  # by relation; all hold
    tree: Any = None  # of sqlglot's


def parse(text: str, known: Collection[str]) -> SqlStatement:
    """Read one statement over `known` relations.

    Raises:
        BadStatement: it is not one that is answered.
    """
    explained = _EXPLAIN.match(text)
    select = text[explained.end() :] if explained else text
    tree = expanded(_tree(select))
    if not isinstance(tree, exp.Query | exp.Values | exp.Pivot):
        raise BadStatement(f"it begins with {_first_word(select)}", _ADVICE)
    for node in tree.walk():
        _refuse(node)
    by_name = {name.lower(): name for name in known}
    relations = dict.fromkeys(_named(tree, by_name))
    names = [node for node in tree.find_all(exp.Identifier) if not isinstance(node.parent, exp.TableAlias)]
    return SqlStatement(
        select.strip(),
        explained is not None,
        tuple(relations),
        frozenset(node.name.lower() for node in names) | frozenset(_written(tree)),
        frozenset(node.name for node in names if node.args.get("quoted")),
        _has_star(tree),
        any(map(_decides_by_any, tree.walk())),
        {name: filters for name in relations if (filters := _filters(tree, name))},
        tree,
    )


def _tree(text: str) -> exp.Expr:
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of statements that it does not know, which are refused below
    try:
        trees = [tree for tree in sqlglot.parse(text, read="duckdb") if tree is not None]
    except (SqlglotError, RecursionError) as error:
        word = _first_word(text)
        if word and word not in _BEGINNINGS:
            raise BadStatement(f"it begins with {word}", _ADVICE) from error
        errors = getattr(error, "errors", None)
        where = f" near {errors[0]['highlight']!r}" if errors and errors[0].get("highlight") else ""
        why = errors[0]["description"] if errors else str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadStatement(f"it could not be read{where} ({why.rstrip('. ')})", _ADVICE) from error
    finally:
        logger.setLevel(level)
    trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
    if not trees:
        raise BadStatement("it is empty", _ADVICE)
    if len(trees) > 1:
        raise BadStatement(f"these are {len(trees)} statements", _ADVICE)
    return trees[0]


def _first_word(text: str) -> str:
    word = re.match(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", text, re.DOTALL)
    return word.group(1).upper() if word else ""


def _refuse(node: exp.Expr) -> None:
    if isinstance(node, exp.DDL | exp.DML | exp.Command) and not isinstance(node, exp.Query | exp.Values):
        raise BadStatement(f"it contains {type(node).__name__.upper()}", _ADVICE)
    if isinstance(node, exp.Into) or (isinstance(node, exp.Select) and node.args.get("into")):
        raise BadStatement("it contains INTO", _ADVICE)
    if isinstance(node, exp.Table) and not isinstance(node.this, (exp.Identifier, *_TABLES)):
        raise BadStatement(
            f"it reads from the function {_function(node.this)}",
            "Of functions that make tables there are range, generate_series and unnest.",
        )
    if isinstance(node, exp.Lateral) and not isinstance(node.this, (exp.Subquery, exp.Query, *_TABLES)):
        raise BadStatement(
            f"it reads from the function {_function(node.this)}",
            "Of functions that make tables there are range, generate_series and unnest.",
        )
    if isinstance(node, exp.Func) and _function(node).lower() in _REFUSED:
        raise BadStatement(f"it calls {_function(node)}", "Statements see what was logged, and nothing else.")
    if isinstance(node, exp.Placeholder | exp.Parameter | exp.SessionParameter):
        raise BadStatement("it has a parameter without a value", "Write the value into the statement.")


def _function(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        return str(node.this)
    if isinstance(node, exp.Dot):
        return node.sql(dialect="duckdb").split("(")[0]
    return node.sql_name().lower() if isinstance(node, exp.Func) else type(node).__name__


def _named(tree: exp.Expr, by_name: Mapping[str, str]) -> Iterator[str]:
    """The relations that are named, as they are known."""
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            continue
        name = table.name.lower()
        if not table.db and name in _ctes_at(table):
            continue
        if table.db or table.catalog or name not in by_name:
            spelled = ".".join(part.name for part in table.parts)
            raise BadStatement(f"there is no relation {spelled!r}", f"There are {', '.join(sorted(by_name.values()))}.")
        yield by_name[name]


def _ctes_at(table: exp.Expr) -> set[str]:
    """The names of WITH that are visible where a table is named."""
    found: set[str] = set()
    node: exp.Expr | None = table
    below: exp.Expr = table
    while node is not None:
        with_ = node.args.get("with_")
        if with_ is not None and below is not with_:
            found |= {cte.alias.lower() for cte in with_.expressions}
        if isinstance(node, exp.With):
            inside = node.expressions.index(below) + (1 if node.args.get("recursive") else 0)
            found |= {cte.alias.lower() for cte in node.expressions[:inside]}
        below, node = node, node.parent
    return found


def _written(tree: exp.Expr) -> Iterator[str]:
    """Names that are written as something else: as text (COLUMNS('...')), or as words of the language."""
    for node in tree.find_all(exp.Var):
        yield node.name.lower()
    for columns in tree.find_all(exp.Columns):
        for text in columns.find_all(exp.Literal):
            yield text.name.lower()


def _has_star(tree: exp.Expr) -> bool:
    for node in tree.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            return True
        if isinstance(node, exp.Pivot) or _decides_by_any(node):
            return True
        if isinstance(node, exp.Column) and not node.table and _is_row(node):
            return True
    return False


def _decides_by_any(node: exp.Expr) -> bool:
    """Whether a part decides by columns, or gives names to columns, that it does not name."""
    if isinstance(node, exp.SetOperation):
        stars = [_shows_all(side) for side in (node.this, node.expression)]
        compared = any(stars) and not isinstance(node, exp.Union)
        return bool(node.args.get("by_name")) or compared or (any(stars) and not all(stars))
    if isinstance(node, exp.TableAlias) and node.args.get("columns") and node.parent is not None:
        source = node.parent.this
        if isinstance(node.parent, exp.Table):
            return isinstance(source, exp.Identifier)  # of a function, as range(4) AS r(i), they are its own
        return _shows_all(source)
    if isinstance(node, exp.Order) and isinstance(node.parent, exp.Query) and _shows_all(node.parent):
        return any(isinstance(ordered.this, exp.Literal | exp.Var | exp.All) for ordered in node.expressions)
    return isinstance(node, exp.Columns) or (isinstance(node, exp.Join) and node.method == "NATURAL")


def _shows_all(query: object) -> bool:
    """Whether * stands in what a query shows."""
    if not isinstance(query, exp.Query):
        return False
    if isinstance(query, exp.SetOperation):
        return _shows_all(query.this) or _shows_all(query.expression)
    inner = query.this if isinstance(query, exp.Subquery) else None
    return _shows_all(inner) if inner is not None else any(e.is_star for e in query.selects)


def _is_row(column: exp.Column) -> bool:
    """Whether a name may be that of a source, which stands for its whole row."""
    select = column.find_ancestor(exp.Select)
    while select is not None:
        if any(t.alias_or_name.lower() == column.name.lower() for t in select.find_all(exp.Table, exp.Subquery)):
            return True
        select = select.find_ancestor(exp.Select)
    return False


# --- filters ----------------------------------------------------------------------------------------------------------


def _filters(tree: exp.Expr, relation: str) -> tuple[Filter, ...]:
    """What all rows of `relation` satisfy that the statement can look at. Only where it is named once."""
    tables = [t for t in tree.find_all(exp.Table) if t.name.lower() == relation.lower()]
    if len(tables) != 1 or not isinstance(tables[0].parent, exp.From | exp.Join) or tables[0].args.get("sample"):
        return ()
    if any(cte.alias.lower() == relation.lower() for cte in tree.find_all(exp.CTE)) or tree.find(exp.Pivot):
        return ()
    holder = tables[0].parent
    select = holder.parent
    if not isinstance(select, exp.Select) or select.args.get("where") is None or select.args.get("laterals"):
        return ()
    if isinstance(holder, exp.Join) and holder.args.get("method") == "ASOF":
        return ()
    joins = select.args.get("joins") or []
    if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return ()
    name = tables[0].alias_or_name.lower()
    shown = {e.alias.lower() for e in select.expressions if isinstance(e, exp.Alias)}
    found = []
    for column, one in (pair for test in _conjuncts(select.args["where"].this) for pair in _bounds(test)):
        if column.table.lower() == name if column.table else not joins and one.column not in shown:
            found.append(one)
    return tuple(found)


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    node = node.unnest()
    return [*_conjuncts(node.left), *_conjuncts(node.right)] if isinstance(node, exp.And) else [node]


def _bounds(test: exp.Expr) -> list[tuple[exp.Column, Filter]]:
    """The filters that a predicate is, with their columns."""
    if isinstance(test, exp.Between):
        low = exp.GTE(this=test.this.copy(), expression=test.args["low"].copy())
        high = exp.LTE(this=test.this.copy(), expression=test.args["high"].copy())
        return [] if test.args.get("symmetric") else [*_bounds(low), *_bounds(high)]
    found = _filter(test)
    return [found] if found is not None else []


def _filter(test: exp.Expr) -> tuple[exp.Column, Filter] | None:
    """The column and the filter that a predicate is, if it is one."""
    if isinstance(test, exp.In) and not test.args.get("query") and not test.args.get("unnest"):
        column, values, operator = test.this, [_value(e) for e in test.expressions], "="
    elif type(test) in _COMPARED:
        column, values, operator = test.this, [_value(test.expression)], _COMPARED[type(test)]
        if not isinstance(column, exp.Column):
            column, values, operator = test.expression, [_value(test.this)], _TURNED[operator]
    else:
        return None
    if not isinstance(column, exp.Column) or column.name.lower() not in _FILTERED or column.args.get("db"):
        return None
    kind = str if column.name.lower() in ("version", "run") else int | float
    if not values or not all(isinstance(value, kind) for value in values):
        return None
    return column, Filter(column.name.lower(), operator, tuple(v for v in values if v is not None))


def _value(node: exp.Expr) -> Value | None:
    if isinstance(node, exp.Neg):
        value = _value(node.this)
        return -value if isinstance(value, int | float) else None
    if not isinstance(node, exp.Literal):
        return None
    if node.is_string:
        return node.name
    return int(node.name) if node.name.isdigit() else float(node.name)

"""Statements in one form: every column with its source, every source with a name of its own, no names but those.

The rule (`needs`) reads only this form. The statement that answers is the user's own text, so what is lost here (names
of the answer) is no loss. What has no such form is `NotWalked`, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from flor_ray.relational.clauses import AGGREGATES, Query, aggregates_of, own

_MOST_NODES = 20_000


class NotWalked(Exception):
    """A statement that the rule does not know; the text says why, as the end of "because it ..."."""


# Deterministic, and a function of nothing but their arguments. Whatever is not here is not walked.
_SCALARS: tuple[type[exp.Expr], ...] = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.NullSafeEQ,
    exp.NullSafeNEQ, exp.Between, exp.In, exp.Like, exp.ILike, exp.Escape, exp.Add, exp.Sub, exp.Mul, exp.Div,
    exp.IntDiv, exp.Mod, exp.Neg, exp.Pow, exp.DPipe, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast,
    exp.TryCast, exp.DataType, exp.Literal, exp.Boolean, exp.Null, exp.Tuple, exp.Array, exp.Interval, exp.Abs,
    exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Ln, exp.Log, exp.Exp, exp.Sign, exp.Greatest, exp.Least, exp.Lower,
    exp.Upper, exp.Length, exp.Substring, exp.Concat, exp.Trim, exp.Replace, exp.StartsWith, exp.Contains, exp.IsNan,
    exp.IsInf, exp.Year, exp.Month, exp.Day, exp.Extract, exp.TimestampTrunc, exp.DateTrunc, exp.Date, exp.RegexpLike,
    exp.Any, exp.All, exp.Exists, exp.Bracket, exp.Var, exp.Identifier, exp.JSONExtract,
    exp.JSONExtractScalar, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript,
    exp.Column, exp.DataTypeParam, exp.Dot,
)  # fmt: skip
_WINDOW_PARTS: tuple[type[exp.Expr], ...] = (
    exp.Window, exp.WindowSpec, exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile,
    exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.IgnoreNulls, exp.RespectNulls,
)  # fmt: skip
_CLAUSES: tuple[type[exp.Expr], ...] = (
    exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Subquery, exp.From, exp.Join, exp.Where, exp.Group,
    exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Distinct, exp.Alias, exp.Table,
    exp.TableAlias, exp.Lateral, exp.Values, exp.Unnest, exp.GenerateSeries, exp.Star, exp.Filter, exp.WithinGroup,
)  # fmt: skip
# Functions that sqlglot does not know, of the database or of ours. They may not read tables.
_CALLED = frozenset(
    [
        "is_nan",
        "is_inf",
        "isinf",
        "isnan",
        "isfinite",
        "even",
        "gcd",
        "lcm",
        "jaccard",
        "levenshtein",
        "printf",
        "format",
        "hash",
    ]
)
_KNOWN = frozenset(_SCALARS + AGGREGATES + _WINDOW_PARTS + _CLAUSES)
_NAMED: Mapping[type[exp.Expr], str] = {
    exp.Pivot: "uses PIVOT or UNPIVOT",
    exp.TableSample: "draws a SAMPLE",
    exp.Columns: "uses COLUMNS()",
    exp.Rollup: "uses grouping sets",
    exp.Cube: "uses grouping sets",
    exp.GroupingSets: "uses grouping sets",
    exp.LimitOptions: "limits by percentage",
    exp.Lambda: "uses a lambda",
}


def normal(tree: exp.Expr, columns: Mapping[str, Iterable[str]]) -> Query:
    """The statement in the rule's form. `columns` are those of the relations; names are compared without case.

    Raises:
        NotWalked: there is no such form, or it is not known to mean the same.
    """
    tree = tree.copy()
    _refuse_early(tree)
    schema: dict[str, object] = {
        name.lower(): {column.lower(): "UNKNOWN" for column in those} for name, those in columns.items()
    }
    _refuse_names(tree, columns, schema)
    tree = _without_ctes(tree, {})
    try:
        tree = qualify(tree, schema=schema, dialect="duckdb", quote_identifiers=False, canonicalize_table_aliases=True)
    except SqlglotError as error:
        raise NotWalked(f"has a name that could not be followed ({str(error).splitlines()[0]})") from error
    while isinstance(tree, exp.Subquery) and not any(v for k, v in tree.args.items() if k not in ("this", "alias")):
        tree = tree.this
    for select in list(tree.find_all(exp.Select)):
        _settle_windows(select)
        _settle_aliases(select)
        _settle_group(select)
    for select in list(tree.find_all(exp.Select)):
        _settle_semi_joins(select)
    _check(tree)
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise NotWalked("is no SELECT")
    return tree


def _refuse_early(tree: exp.Expr) -> None:
    for node in tree.walk():
        for kind, words in _NAMED.items():
            if isinstance(node, kind):
                raise NotWalked(words)
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise NotWalked("has a recursive CTE")
        if isinstance(node, exp.Join) and node.args.get("method") not in (None, "", "NATURAL"):
            raise NotWalked(f"uses a {node.args['method']} join")
        if isinstance(node, exp.SetOperation) and node.args.get("by_name"):
            raise NotWalked("combines queries BY NAME")
        if isinstance(node, exp.Order) and any(isinstance(e.this, exp.Var | exp.All) for e in node.expressions):
            raise NotWalked("uses ORDER BY ALL")
    for select in tree.find_all(exp.Select):
        joins = select.args.get("joins") or []
        sides = [join.side for join in joins]
        merging = sum(1 for join in joins if join.args.get("using") or join.method == "NATURAL")
        if merging > 1 and ({"RIGHT", "FULL"} & set(sides)):
            raise NotWalked("merges columns of several joins, one of them RIGHT or FULL")


def _refuse_names(tree: exp.Expr, columns: Mapping[str, Iterable[str]], schema: Mapping[str, object]) -> None:
    if len(schema) != len(columns):
        raise NotWalked("chooses between relations whose names differ in case only")
    known: set[str] = set()
    for name, those in columns.items():
        lower = [column.lower() for column in those]
        if len(set(lower)) != len(lower):
            raise NotWalked(f"reads {name}, some of whose columns differ in case only")
        if any(column.endswith("?") for column in lower):
            raise NotWalked(f"reads {name}, which has a column with a question mark at its end")
        known.update(lower)
    for select in tree.find_all(exp.Select):
        shadows = {
            e.alias.lower()
            for e in select.expressions
            if isinstance(e, exp.Alias) and e.alias.lower() in known and e.this.name.lower() != e.alias.lower()
        } | {
            e.alias.lower()
            for e in select.expressions
            if isinstance(e, exp.Alias) and e.alias.lower() in known and not isinstance(e.this, exp.Column)
        }
        places = [select.args.get("having"), select.args.get("qualify"), select.args.get("distinct")]
        order = select.args.get("order")
        places += [e.this for e in order.expressions if not isinstance(e.this, exp.Column)] if order else []
        for column in (c for place in places if place is not None for c in place.find_all(exp.Column)):
            if not column.table and column.name.lower() in shadows:
                raise NotWalked(f"gives the name {column.name} to something else than that column")


def _without_ctes(node: exp.Expr, outer: Mapping[str, exp.Expr]) -> exp.Expr:
    """`node` with each CTE's query where the CTE is named, each time anew."""
    known = dict(outer)
    with_ = node.args.get("with_")
    if with_ is not None:
        for cte in with_.expressions:
            if cte.args.get("scalar") or cte.args.get("key_expressions"):
                raise NotWalked("has a CTE of an unusual kind")
            query = _without_ctes(cte.this, known)
            names = cte.args["alias"].args.get("columns") or []
            known[cte.alias.lower()] = exp.Subquery(
                this=query, alias=exp.TableAlias(columns=[name.copy() for name in names])
            )
        node.set("with_", None)
    for child in list(node.iter_expressions()):
        if isinstance(child, exp.Table) and not child.db and child.name.lower() in known:
            _refuse_growth(node)
            child.replace(_reference(child, known))
        else:
            _without_ctes(child, known)
    return node


def _reference(table: exp.Table, known: Mapping[str, exp.Expr]) -> exp.Expr:
    derived = known[table.name.lower()].copy()
    if table.args.get("pivots") or table.args.get("sample"):
        raise NotWalked("changes a CTE where it names it")
    alias = table.args.get("alias")
    given = alias.args.get("columns") if alias is not None else None
    name = (alias.this if alias is not None and alias.this is not None else table.this).copy()
    columns = [c.copy() for c in given] if given else derived.args["alias"].args.get("columns") or []
    derived.set("alias", exp.TableAlias(this=name, columns=columns))
    for join in table.args.get("joins") or []:
        _without_ctes(join, known)
        derived.append("joins", join)
    return derived


def _refuse_growth(node: exp.Expr) -> None:
    if sum(1 for _ in node.root().walk()) > _MOST_NODES:
        raise NotWalked("names CTEs too many times")


def _settle_windows(select: exp.Select) -> None:
    named = {window.this.name.lower(): window for window in select.args.get("windows") or []}
    for window in own(select, exp.Window):
        if window.args.get("alias") is not None and window.parent is not select:
            meant = named.get(window.args["alias"].name.lower())
            if meant is None or meant.args.get("alias") is not None:
                raise NotWalked("has a window whose name could not be followed")
            for part in ("partition_by", "order", "spec"):
                if meant.args.get(part) and not window.args.get(part):
                    value = meant.args[part]
                    window.set(part, [v.copy() for v in value] if isinstance(value, list) else value.copy())
            window.set("alias", None)
    select.set("windows", None)


def _settle_aliases(select: exp.Select) -> None:
    """Say what the names of the answer stand for where ORDER BY, DISTINCT ON, HAVING and QUALIFY use them."""
    meant = {e.alias_or_name.lower(): e.unalias() for e in select.expressions}
    for place in ("order", "distinct", "having", "qualify", "group"):
        clause = select.args.get(place)
        for column in [] if clause is None else own(clause, exp.Column):
            if isinstance(column, exp.Column) and not column.table and isinstance(column.this, exp.Identifier):
                if column.name.lower() not in meant:
                    raise NotWalked(f"names {column.name}, which could not be followed")
                column.replace(exp.Paren(this=meant[column.name.lower()].copy()))
    for clause in filter(None, [select.args.get("order")]):
        for ordered in clause.expressions:
            if isinstance(ordered.this, exp.Literal) and not ordered.this.is_string:
                ordered.set("this", exp.Paren(this=select.expressions[int(ordered.this.name) - 1].unalias().copy()))


def _settle_group(select: exp.Select) -> None:
    group = select.args.get("group")
    if group is None:
        return
    if group.args.get("all"):
        keys = [e.unalias() for e in select.expressions if not aggregates_of(e)]
        select.set("group", exp.Group(expressions=[key.copy() for key in keys]) if keys else None)
    elif any(group.args.get(part) for part in ("cube", "rollup", "grouping_sets", "totals")):
        raise NotWalked("uses grouping sets")


def _settle_semi_joins(select: exp.Select) -> None:
    kept = []
    for join in select.args.get("joins") or []:
        if join.kind not in ("SEMI", "ANTI"):
            kept.append(join)
            continue
        later = select.args["joins"][select.args["joins"].index(join) :]
        if join.args.get("on") is None or any(j.side in ("RIGHT", "FULL") for j in later):
            raise NotWalked(f"uses a {join.kind} join in an unusual place")
        inner = exp.Select(expressions=[exp.Literal.number(1)]).from_(join.this.copy()).where(join.args["on"].copy())
        found: exp.Expr = exp.Exists(this=inner)
        select.where(exp.Not(this=found) if join.kind == "ANTI" else found, copy=False)
    select.set("joins", kept)


def _check(tree: exp.Expr) -> None:
    for node in tree.walk():
        if type(node) not in _KNOWN and not (isinstance(node, exp.Anonymous) and node.name.lower() in _CALLED):
            name = node.name if isinstance(node, exp.Anonymous) else type(node).__name__
            raise NotWalked(f"uses {name}, which the rule does not know")
        if isinstance(node, exp.Column) and not node.table:
            raise NotWalked(f"names {node.name}, which could not be followed")
        if isinstance(node, exp.Subquery) and any(
            node.args.get(part) for part in ("order", "limit", "offset", "sample")
        ):
            raise NotWalked("orders or limits a query in parentheses")
        if isinstance(node, exp.Table) and node.args.get("alias") and node.args["alias"].args.get("columns"):
            raise NotWalked("renames the columns of a relation")
        if isinstance(node, exp.Subquery | exp.Lateral) and node.alias and isinstance(node.this, exp.Subquery | Query):
            _refuse_twins(node)
        if isinstance(node, exp.Limit | exp.Offset) and node.find(exp.Column, exp.Query):
            raise NotWalked("limits by a query or a column")
        if isinstance(node, exp.Join) and (
            node.args.get("using") or node.method or (node.side and not node.args.get("on"))
        ):
            raise NotWalked("joins in a way that could not be followed")
        if isinstance(node, exp.Alias) and node.alias.endswith("?"):
            raise NotWalked("names a column with a question mark at its end")
    for select in tree.find_all(exp.Select):
        if (
            select.args.get("laterals")
            or select.args.get("pivots")
            or select.args.get("match")
            or select.args.get("into")
        ):
            raise NotWalked("uses a clause that the rule does not know")


def _refuse_twins(derived: exp.Expr) -> None:
    names = [name.lower() for name in derived.this.unnest().named_selects]
    if len(set(names)) != len(names):
        raise NotWalked("selects two columns of one name in a query that it then reads")

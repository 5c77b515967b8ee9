"""Which rows of an answer are settled while values are still lacking: of statements whose rows stand for themselves."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from flor_ray.relational.clauses import aggregates_of
from flor_ray.relational.normalising import NotWalked, normal
from flor_ray.relational.schema import Relation
from flor_ray.relational.statements import SqlStatement

_PARTS = frozenset({"kind", "hint", "expressions", "from_", "where", "order"})  # that a row-by-row SELECT may have
_APART = (exp.Window, exp.Subquery, exp.Star, exp.Columns, exp.Exists, exp.Query)


def settled(statement: SqlStatement, relations: Mapping[str, Relation]) -> str | None:
    """A statement for those rows of the answer that no value still lacking can change, in any order. None: any row of
    this statement may depend on any other."""
    tree = statement.tree
    if not isinstance(tree, exp.Select) or any(value for part, value in tree.args.items() if part not in _PARTS):
        return None
    if len(statement.relations) != 1 or _is_more(tree):
        return None
    relation = relations[statement.relations[0]]
    try:
        plain = normal(tree, {relation.name: relation.columns})
    except NotWalked:
        return None
    if aggregates_of(plain):
        return None
    found = tree.copy()
    found.set("order", None)
    lacking = [relation.flags[column] for column in relation.flags if column.lower() in statement.columns]
    if relation.opens and any(column.lower() in statement.columns for column in relation.adders):
        lacking.append(relation.opens)
    if lacking:
        table = found.args["from_"].this
        alias = table.alias_or_name
        table.replace(exp.alias_(exp.to_table(f'"{relation.flagged}"', dialect="duckdb"), alias, table=True))
        flags = [exp.column(flag, table=alias, quoted=True) for flag in lacking]
        found = found.where(exp.not_(exp.or_(*flags, wrap=True)), copy=False)
    return found.sql(dialect="duckdb")


def _is_more(tree: exp.Select) -> bool:
    """Whether a part of it looks at more than one row."""
    return any(node is not tree and isinstance(node, _APART) for node in tree.walk())

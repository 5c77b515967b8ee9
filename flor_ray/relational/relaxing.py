"""What a statement's parts may be, and what they surely are, whatever its gaps turn out to hold. Text of SQL only.

Predicates are relaxed by polarity: `may` is true where a predicate can be true, `must` where it is true in any case. An
atom that reads a gap may be anything; AND, OR and NOT are walked; NULL is "not true" on both sides. A block of the
statement is relaxed by letting through what may pass; beside each column it then has a flag, `flag_of`, that says in
which rows the column may be something else.

Parts within a block (derived tables, subqueries) can be settled or not. With LOOK they are not: their rows are those
that may be, and what depends on them may be anything. With PARTS they are, and are taken as they are written; with ROWS
it is settled too which rows the block has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlglot import exp

from flor_ray.relational.clauses import (
    AGGREGATES,
    LOOK,
    PARTS,
    ROWS,
    Query,
    Settled,
    aggregates_of,
    all_of,
    any_of,
    bag_aggregates,
    cut_of,
    flag_of,
    is_grouped,
    keys_of,
    own,
    quoted,
    remembered,
    sql,
    within,
)
from flor_ray.relational.normalising import NotWalked
from flor_ray.relational.schema import Relation


class Relaxed:
    """A statement in the form of `normalising`, over relations of which some columns have gaps."""

    def __init__(self, tree: Query, relations: Mapping[str, Relation], wanted: frozenset[str]) -> None:
        """`relations` by lower-case name. Of their columns only those in `wanted` (lower case) count as having gaps."""
        self.tree, self._wanted = tree, wanted
        self.bases: dict[str, Relation] = {}
        self.derived: dict[str, Query] = {}
        self.bag: dict[int, bool] = {}  # of a block: whether it matters how often a row is there
        self.known: dict[Any, Any] = {}  # what was asked before
        for table in tree.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier):
                self.bases[table.alias_or_name] = relations[table.name.lower()]
        for node in tree.find_all(exp.Subquery, exp.Lateral):
            query = node.this.unnest() if isinstance(node.this, exp.Subquery | Query) else None
            if node.alias and isinstance(query, Query):
                self.derived[node.alias] = query
        self._count(tree, bag=True)

    def _count(self, query: exp.Expr, bag: bool) -> None:
        query = query.unnest() if isinstance(query, exp.Subquery) else query
        if isinstance(query, exp.SetOperation):
            plain = isinstance(query, exp.Union)
            inner = (bag or cut_of(query) is not None or not plain) and not query.args.get("distinct")
            self._count(query.this, inner)
            self._count(query.expression, inner)
            return
        if not isinstance(query, exp.Select):
            return
        if is_grouped(query):
            inner = any(bag_aggregates(part) for part in self.parts(query))
        else:
            distinct = query.args.get("distinct") is not None
            inner = bool(own(query, exp.Window)) or ((bag or cut_of(query) is not None) and not distinct)
        self.bag[id(query)] = inner
        for nested in within(query):
            if any(nested is d for d in self.derived.values()):
                self._count(nested, inner)
            else:
                holder = nested.parent.parent if isinstance(nested.parent, exp.Subquery) else nested.parent
                self._count(nested, bag=not isinstance(holder, exp.Exists | exp.In | exp.Any | exp.All))

    def parts(self, select: exp.Select) -> list[exp.Expr]:
        """The clauses of a block but its FROM."""
        clauses = (select.args.get(name) for name in ("where", "group", "having", "qualify", "order", "distinct"))
        return [*select.expressions, *(clause for clause in clauses if clause is not None)]

    @remembered
    def sources(self, select: exp.Select) -> list[str]:
        """The names of what a block reads."""
        nodes = [select.args["from_"].this] if select.args.get("from_") else []
        nodes += [join.this for join in select.args.get("joins") or []]
        return [alias for node in nodes for alias in self._aliases(node)]

    def _aliases(self, node: exp.Expr) -> list[str]:
        if node.alias_or_name and (not isinstance(node, exp.Subquery) or node.alias):
            found = [node.alias_or_name]
        else:
            found = self._aliases(node.this) if isinstance(node, exp.Subquery) else []
        return found + [alias for join in node.args.get("joins") or [] for alias in self._aliases(join.this)]

    @remembered
    def joins(self, select: exp.Select) -> list[exp.Join]:
        """All joins of a block, those in parentheses too."""
        from_ = select.args.get("from_")
        parts = [*([from_] if from_ is not None else []), *(select.args.get("joins") or [])]
        return [join for part in parts for join in own(part, exp.Join) if isinstance(join, exp.Join)]

    def opened(self, select: exp.Select) -> list[str]:
        """The sources of a block of which it matters that rows may become several, or appear."""
        found = [alias for alias in self.sources(select) if self.opening(alias)]
        return found if self.bag[id(select)] else [alias for alias in found if self.bases[alias].appears]

    def appearing(self, select: exp.Select) -> list[str]:
        """When rows of a block's sources may not be there at all."""
        openings = (
            self.opening(alias) for alias in self.sources(select) if alias in self.bases and self.bases[alias].appears
        )
        return [opening for opening in openings if opening]

    def is_wanted(self, column: str) -> bool:
        """Whether gaps of a column count."""
        return column.lower() in self._wanted

    @remembered
    def opening(self, alias: str) -> str | None:
        """When a row of a source may become several; None: none may."""
        relation = self.bases.get(alias)
        adders = [a for a in self.adders(relation) if self.is_wanted(a)] if relation is not None else []
        if relation is None or not adders:
            return None
        gaps = any_of(f"{quoted(alias)}.{quoted(relation.flags[adder])}" for adder in adders)
        return f"coalesce({quoted(alias)}.{quoted(relation.opens)} AND ({gaps}), FALSE)"

    def adders(self, relation: Relation) -> tuple[str, ...]:
        """The columns whose gaps may add rows."""
        return (relation.adders or tuple(relation.flags)) if relation.opens else ()

    def gap(self, alias: str, column: str) -> str | None:
        """When a column of a relation has a gap; None: never."""
        relation = self.bases[alias]
        flags = {name.lower(): flag for name, flag in relation.flags.items()}
        if column.lower() not in flags or not self.is_wanted(column):
            return None
        return f"coalesce({quoted(alias)}.{quoted(flags[column.lower()])}, FALSE)"

    def may_differ(self, alias: str, column: str) -> str | None:
        """When rows may be added that have something else in a column of a relation; None: never."""
        relation = self.bases[alias]
        numbered = {name.lower() for name in relation.numbered or relation.columns}
        return self.opening(alias) if column.lower() in numbered else None

    @remembered
    def flag(self, alias: str, column: str, mode: Settled) -> str | None:
        """When a column of a source may be something else than it is; None: never."""
        if alias in self.bases:
            found = [flag for flag in (self.gap(alias, column), self.may_differ(alias, column)) if flag]
            return f"({any_of(found)})" if found else None
        query = self.derived.get(alias)
        if query is None or mode is not LOOK or not self.unsure(query):
            return None
        names = [name.lower() for name in query.named_selects]
        is_sure = column.lower() in names and self.is_sure(query, names.index(column.lower()))
        return None if is_sure else f"coalesce({quoted(alias)}.{flag_of(column.lower())}, FALSE)"

    @remembered
    def unsure(self, query: exp.Expr) -> bool:
        """Whether what a query gives can depend on gaps."""
        reads = any(self.flag(c.table, c.name, mode=PARTS) for c in query.find_all(exp.Column))
        return reads or any(self.opened(select) for select in query.find_all(exp.Select))

    # --- predicates ---------------------------------------------------------------------------------------------------

    @remembered
    def terms(self, node: exp.Expr, mode: Settled) -> list[str]:
        """When an expression may be something else than it is: any of these."""
        if mode is LOOK and any(self.unsure(query) for query in within(node)):
            return ["TRUE"]
        found = []
        inner = {alias for query in within(node) for s in query.find_all(exp.Select) for alias in self.sources(s)}
        for column in node.find_all(exp.Column):
            if column.table in inner:
                continue
            if self._is_doubted(column, mode):
                return ["TRUE"]
            flag = self.flag(column.table, column.name, mode)
            if flag:
                found.append(flag)
        return list(dict.fromkeys(found))

    def _is_doubted(self, column: exp.Column, mode: Settled) -> bool:
        """Whether a column's source is one of which `doubtful` speaks where it stands. In ON earlier joins count."""
        node: exp.Expr = column
        join = None
        while node.parent is not None:
            if isinstance(node.parent, exp.Join) and node.arg_key in ("on", "this"):
                join = node.parent
            node = node.parent
            if isinstance(node, exp.Select):
                if column.table in self.sources(node):
                    return column.table in self.doubtful(node, mode, join)
                join = None
        return False

    @remembered
    def doubtful(self, select: exp.Select, mode: Settled, before: exp.Expr | None = None) -> set[str]:
        """The sources that may be NULL where they are not, or the other way round: outer joins that a gap decides."""
        joins = self.joins(select)
        if mode is ROWS or not any(join.side for join in joins):
            return set()
        tests = [join.args["on"] for join in joins if join.args.get("on")]
        flagged = any(self.flag(c.table, c.name, PARTS) for test in tests for c in test.find_all(exp.Column))
        queried = mode is LOOK and any(self.unsure(query) for test in tests for query in within(test))
        if not (flagged or queried or self.appearing(select) or self._reads_unsure(select, mode)):
            return set()
        if len(joins) != len(select.args.get("joins") or []):
            raise NotWalked("nests joins in parentheses, beside an outer join that a gap decides")
        earlier = self._aliases(select.args["from_"].this)
        found: set[str] = set()
        for join in joins:
            if join is before:
                break
            here = self._aliases(join.this)
            found |= set(here) if join.side in ("LEFT", "FULL") else set()
            found |= set(earlier) if join.side in ("RIGHT", "FULL") else set()
            earlier += here
        return found

    def _reads_unsure(self, select: exp.Select, mode: Settled) -> bool:
        derived = (self.derived[alias] for alias in self.sources(select) if alias in self.derived)
        return mode is LOOK and any(self.unsure(query) for query in derived)

    def may(self, node: exp.Expr, mode: Settled, group: exp.Select | None = None, negated: bool = False) -> str:
        """Where a predicate (or its negation) can be true."""
        return self._walk(node, mode, group, negated, "may")

    def must(self, node: exp.Expr, mode: Settled, group: exp.Select | None = None, negated: bool = False) -> str:
        """Where a predicate (or its negation) is true in any case."""
        return self._walk(node, mode, group, negated, "must")

    def _walk(self, node: exp.Expr, mode: Settled, group: exp.Select | None, negated: bool, which: str) -> str:
        node = node.unnest() if isinstance(node, exp.Paren) else node
        if isinstance(node, exp.Not):
            return self._walk(node.this, mode, group, not negated, which)
        if isinstance(node, exp.And | exp.Or):
            word = "AND" if isinstance(node, exp.And) != negated else "OR"
            sides = (self._walk(side, mode, group, negated, which) for side in (node.left, node.right))
            return "(" + f" {word} ".join(sides) + ")"
        terms = self.terms(node, mode) if group is None else self.group_terms(node, mode, group)
        if "TRUE" in terms:
            return "TRUE" if which == "may" else "FALSE"
        text = f"(NOT ({sql(node)}))" if negated else f"({sql(node)})"
        if not terms:
            return text
        return f"({any_of(terms)} OR {text})" if which == "may" else f"(NOT ({any_of(terms)}) AND {text})"

    def group_terms(self, node: exp.Expr, mode: Settled, select: exp.Select) -> list[str]:
        """When an expression over groups of a block may be something else: any of these."""
        terms = [*self.terms(node, mode)]
        if "TRUE" in terms:
            return terms
        if own(node, *AGGREGATES):
            terms += [] if self.is_steady(select, mode) else [f"({self.surely(select, mode)}) IS NOT TRUE"]
        if bag_aggregates(node):
            terms += filter(None, map(self.opening, self.sources(select)))
        return [f"bool_or({any_of(terms)})"] if terms else []

    @remembered
    def is_steady(self, select: exp.Select, mode: Settled) -> bool:
        """Whether the rows that pass FROM and WHERE are sure, but for those that open."""
        tests = [j.args["on"] for j in self.joins(select) if j.args.get("on")]
        tests += [select.args["where"].this] if select.args.get("where") else []
        return (
            not self._reads_unsure(select, mode)
            and not self.appearing(select)
            and not any(self.terms(test, mode) for test in tests)
        )

    @remembered
    def possibly(self, select: exp.Select, mode: Settled) -> str:
        """Where a row of the relaxed FROM may pass WHERE."""
        where = select.args.get("where")
        return self.may(where.this, mode) if where is not None else "TRUE"

    @remembered
    def surely(self, select: exp.Select, mode: Settled) -> str:
        """Where a row of the relaxed FROM is there in any case, and passes WHERE."""
        if self.doubtful(select, mode) or self._reads_unsure(select, mode):
            return "FALSE"
        tests = [j.args["on"] for j in self.joins(select) if j.args.get("on") and not j.side]
        tests += [select.args["where"].this] if select.args.get("where") else []
        return all_of([*(self.must(test, mode) for test in tests), *(f"NOT {one}" for one in self.appearing(select))])

    @remembered
    def is_sure(self, query: exp.Expr, position: int) -> bool:
        """Whether a column of a relaxed query, which has all rows that may be, is what it is in any case."""
        if not self.unsure(query):
            return True
        if isinstance(query, exp.SetOperation):
            sides = (query.this.unnest(), query.expression.unnest())
            return all(self.is_sure(side, position) for side in sides)
        if not isinstance(query, exp.Select):
            return False
        node = query.expressions[position]
        return not self._output_terms(query, node)

    @remembered
    def _output_terms(self, select: exp.Select, node: exp.Expr) -> list[str]:
        terms = self.terms(node, mode=LOOK)
        rows = [] if self.is_steady(select, mode=LOOK) else ["TRUE"]
        if own(node, exp.Window):
            opened = [a for a in self.sources(select) if self.opening(a)]
            return ["TRUE"] if terms or rows or opened or is_grouped(select) else []
        if not is_grouped(select):
            return terms
        if aggregates_of(node):
            keys = [t for key in keys_of(select) for t in self.terms(key, mode=LOOK)]
            opened = [a for a in self.sources(select) if self.opening(a)] if bag_aggregates(node) else []
            return ["TRUE"] if terms or rows or keys or opened else []
        return [f"bool_or({any_of(terms)})"] if terms and "TRUE" not in terms else terms

    def relaxed(self, query: exp.Query, names: list[str] | None = None) -> str:
        """All rows that a query may give, with a flag beside each column."""
        if isinstance(query, exp.Subquery):
            return self.relaxed(query.this, names)
        names = [name.lower() for name in query.named_selects] if names is None else names
        if isinstance(query, exp.SetOperation) and self.unsure(query):
            left = self.relaxed(query.this, names)
            return (
                f"({left}) UNION ALL ({self.relaxed(query.expression, names)})"
                if isinstance(query, exp.Union)
                else left
            )
        if not self.unsure(query):
            columns = ", ".join(quoted(name) for name in names)
            flags = ", ".join(f"FALSE AS {flag_of(name)}" for name in names)
            return f"SELECT *, {flags} FROM ({sql(query)}) AS plain({columns})"
        if not isinstance(query, exp.Select):
            raise NotWalked("combines queries in an unusual way")
        outputs = []
        for node, name in zip(query.expressions, names, strict=True):
            flag = any_of(self._output_terms(query, node))
            outputs.append(f"{sql(node.unalias())} AS {quoted(name)}, {flag} AS {flag_of(name)}")
        text = f"SELECT {', '.join(outputs)}{self.source(query, mode=LOOK)} WHERE {self.possibly(query, mode=LOOK)}"
        return text + (self._grouped(query) if is_grouped(query) else "")

    def _grouped(self, select: exp.Select) -> str:
        keys = keys_of(select)
        flags = [t for key in keys for t in self.terms(key, mode=LOOK)]
        text = f" GROUP BY {', '.join([*map(sql, keys), *dict.fromkeys(flags)])}" if keys else ""
        having = select.args.get("having")
        return text + (f" HAVING {self.may(having.this, LOOK, select)}" if having is not None and not flags else "")

    @remembered
    def source(self, select: exp.Select, mode: Settled, before: str = "") -> str:
        """FROM, with what may be joined; up to the source named `before`."""
        from_ = select.args.get("from_")
        if from_ is None:
            return " FROM (VALUES (1)) AS nothing(n)"
        joins = select.args.get("joins") or []
        if before:
            later = [n for n, join in enumerate(joins) if before in self._aliases(join.this)]
            joins = joins[: later[0]] if later else []
            if not later:
                raise NotWalked("reads a query in FROM that refers to queries around it")
        return f" FROM {self._item(from_.this, mode)}" + self._joined(joins, mode)

    def _joined(self, joins: list[exp.Join], mode: Settled) -> str:
        text = ""
        for join in joins:
            on = join.args.get("on")
            item = self._item(join.this, mode)
            text += f" {join.side} JOIN {item} ON {self.may(on, mode)}" if on is not None else f" CROSS JOIN {item}"
        return text

    def _item(self, node: exp.Expr, mode: Settled) -> str:
        joined = self._joined(node.args.get("joins") or [], mode)
        if isinstance(node, exp.Table) and node.alias_or_name in self.bases:
            relation = self.bases[node.alias_or_name]
            name = quoted(relation.flagged if relation.flags and relation.flagged else relation.name)
            if relation.appears:  # rows that only other columns' gaps may add are not there
                gaps = any_of(quoted(relation.flags[a]) for a in self.adders(relation) if self.is_wanted(a))
                name = f"(SELECT * FROM {name} WHERE {quoted(relation.address[-1])} IS NOT NULL OR {gaps})"
            return f"{name} AS {quoted(node.alias_or_name)}{joined}"
        query = self.derived.get(node.alias)
        if query is not None:
            lateral = "LATERAL " if isinstance(node, exp.Lateral) else ""
            text = self.relaxed(query) if mode is LOOK and self.unsure(query) else sql(query)
            columns = ", ".join(quoted(name.lower()) for name in query.named_selects)
            columns = "" if mode is LOOK and self.unsure(query) else f"({columns})"
            return f"{lateral}({text}) AS {quoted(node.alias)}{columns}{joined}"
        if isinstance(node, exp.Subquery):
            return f"({self._item(node.this, mode)}){joined}"
        if any(self.flag(c.table, c.name, mode) for c in node.find_all(exp.Column)):
            raise NotWalked("reads a table that a gap decides about")
        return sql(node)

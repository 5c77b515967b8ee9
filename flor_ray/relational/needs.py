"""What a statement must acquire before its answer is that of full acquisition. Pure: text in, text out.

Each block of the statement (SELECT ... FROM ... WHERE ...) has its stages, in the order in which SQL evaluates: its
parts, what decides which rows it has, what groups, ranks and cuts them, what it shows. A requirement of a stage names
the places whose gaps decide about that stage, given that lower stages are settled. So when no requirement has a row,
each stage is what it would be after full acquisition, and so is the answer. Blocks within others are asked only for
rows that their reader may look at. What the rule does not know makes all gaps of the columns that are named a need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from flor_ray.relational.clauses import (
    LOOK,
    PARTS,
    ROWS,
    Query,
    all_of,
    any_of,
    bag_aggregates,
    cut_of,
    keys_of,
    quoted,
    sql,
    within,
)
from flor_ray.relational.narrowing import ALL, Look, ReadBy, SelectBlock
from flor_ray.relational.normalising import NotWalked, normal
from flor_ray.relational.relaxing import Relaxed
from flor_ray.relational.schema import Lacking, Relation, Requirement
from flor_ray.relational.statements import SqlStatement

_ROWS, _KEYS, _ORDER, _SHOWN = range(4)  # the stages of a block
_STAGES = 1000  # between two heights of blocks: columns in WHERE have one for each cost
_SHORT = 120


def lacking(
    statement: SqlStatement,
    relations: Iterable[Relation],
    costs: Mapping[str, float] | None = None,
    attempt: int = 0,
) -> Lacking:
    """What must be acquired before the statement's answer is that of full acquisition of the columns that it names.

    Of columns that decide about rows those with the lowest of `costs` come first (1.0 where nothing is given). With
    each `attempt` (0, 1, ...) a filter that is not sure yet is asked about twice as many of the first rows by an order
    that is.
    """
    by_name = {relation.name.lower(): relation for relation in relations}
    named = {name.lower(): by_name[name.lower()] for name in statement.relations}
    if not any(_wanted(relation, statement) for relation in named.values()):
        return Lacking(())
    try:
        wanted = frozenset(column.lower() for each in named.values() for column in _wanted(each, statement))
        tree = normal(statement.tree, {relation.name: relation.columns for relation in named.values()})
        rule = _Lacks(Relaxed(tree, named, wanted), costs or {}, attempt)
        rule.ask(tree)
    except NotWalked as unknown:
        return everything(statement, named.values(), f"the statement {unknown}")
    stages = {stage: n for n, stage in enumerate(sorted({one.stage for one in rule.needed}))}
    return Lacking(tuple(replace(one, stage=stages[one.stage]) for one in rule.needed))


def everything(statement: SqlStatement, relations: Iterable[Relation], why: str) -> Lacking:
    """All gaps of the columns that a statement names, because of `why`."""
    needed = []
    for relation in relations:
        for column in _wanted(relation, statement):
            address = ", ".join(map(quoted, relation.address))
            text = f"SELECT DISTINCT {address} FROM {quoted(relation.flagged)} WHERE {quoted(relation.flags[column])}"
            needed.append(Requirement(relation.name, column, text, why))
    return Lacking(tuple(needed), why)


def _wanted(relation: Relation, statement: SqlStatement) -> list[str]:
    return [column for column in relation.flags if statement.every or column.lower() in statement.columns]


class _Lacks:
    """Collects what is needed, from the outermost query to the innermost ones."""

    def __init__(self, relaxed: Relaxed, costs: Mapping[str, float], attempt: int) -> None:
        self.needed: list[Requirement] = []
        self._relaxed, self.attempt = relaxed, attempt
        self._ranks = {cost: n for n, cost in enumerate(sorted({1.0, *costs.values()}))}
        self._costs = {name.lower(): cost for name, cost in costs.items()}

    def rank(self, column: str) -> int:
        """Which of the columns that decide about rows come first."""
        return min(self._ranks[self._costs.get(column.lower(), 1.0)], _STAGES - 10)

    def ask(self, query: exp.Expr, reader: ReadBy = ALL) -> int:
        """Add what a query lacks for its reader. Returns its height: how many queries are within one another."""
        query = query.unnest() if isinstance(query, exp.Subquery) else query
        if not self._relaxed.unsure(query):
            return 0
        if isinstance(query, exp.Select):
            return _Asking(self, self._relaxed, query, reader).ask()
        if not isinstance(query, exp.SetOperation):
            raise NotWalked("combines queries in an unusual way")
        left, right = query.this.unnest(), query.expression.unnest()
        whole = replace(reader, rows=(), by_column=None)
        if cut_of(query) is not None:
            reader = whole
        elif not (isinstance(query, exp.Union) and not query.args.get("distinct")):
            reader = replace(reader, by_column=None)
        to_left = to_right = reader
        if not isinstance(query, exp.Union):
            to_right = replace(reader, rows=(*reader.rows, *self._same(left, right)))
        if isinstance(query, exp.Intersect):
            to_left = replace(reader, rows=(*reader.rows, *self._same(right, left)))
        return max(self.ask(left, to_left), self.ask(right, to_right))

    def _same(self, looking: Query, looked_at: Query) -> tuple[Look, ...]:
        """Rows of one side that may be on the other side too."""
        count = len(looking.named_selects)
        sure = self._relaxed.is_sure
        columns = tuple(c for c in range(count) if sure(looking, c) and sure(looked_at, c))
        names = [f"n{c}" for c in range(count)]
        shown = ", ".join(f"side.n{c} AS c{i}" for i, c in enumerate(columns)) or "1 AS any_row"
        return (Look(f"SELECT DISTINCT {shown} FROM ({self._relaxed.relaxed(looking, names)}) AS side", columns),)

    def add(self, requirement: Requirement) -> None:
        self.needed.append(requirement)


class _Asking(SelectBlock):
    """What one SELECT lacks for its reader."""

    def __init__(self, rule: _Lacks, relaxed: Relaxed, select: exp.Select, reader: ReadBy) -> None:
        super().__init__(relaxed, select, reader, rule.attempt)
        self._rule, self._height = rule, 0

    # --- the order in which things are settled ------------------------------------------------------------------------

    def ask(self) -> int:
        """Add what is lacking, and return the block's height."""
        parts = [self._ask_derived(alias) for alias in self.aliases if alias in self.relaxed.derived]
        parts += [self._ask_within(part, query) for part in self._parts() for query in within(part)]
        self._height = 1 + max(parts, default=0)
        for alias, column in self.columns_in(self.tests):
            unsure = any_of(
                f"({self.relaxed.must(test, PARTS)}) IS NOT TRUE"
                for test in self.tests
                if (alias, column) in self.columns_in([test])
            )
            texts = [sql(test) for test in self.tests if (alias, column) in self.columns_in([test])]
            self._need(
                alias, column, _ROWS, all_of([f"({unsure})", *self.early()]), "decides about " + ", ".join(texts)
            )
        self._ask_opening()
        if self.grouped:
            self._ask_groups()
        else:
            self._ask_rows()
        return self._height

    def _parts(self) -> list[exp.Expr]:
        return [*self.tests, *(p for p in self.relaxed.parts(self.select) if not isinstance(p, exp.Where))]

    def _ask_rows(self) -> None:
        """What ranks, cuts and shows rows that are not grouped."""
        qualify = self.select.args.get("qualify")
        ranking = [*self.windows, *self.on, *filter(None, [qualify])]
        for alias, column in self.columns_in(ranking):
            self._need(alias, column, _ORDER, "", "is what rows are ranked by")
        if self.cut is not None or self.on:
            for alias, column in self.columns_in(self.order):
                self._need(alias, column, _ORDER, all_of(self.first()), "is what rows are ordered by")
        shown = [(i, e) for i, e in enumerate(self.select.expressions) if self.shows(i)]
        uses: dict[tuple[str, str], list[str]] = {}
        for i, e in shown:
            looked = all_of(look.passes(self.outputs) for look in self.looks(self.reader.looks(i)))
            for use in self.columns_in([e]):
                uses.setdefault(use, []).append(looked)
        if self.cut is None and not self.on:
            rows = all_of(look.passes(self.outputs) for look in self.looks(self.reader.rows))
            for use in self.columns_in(self.order):
                uses.setdefault(use, []).append(rows)
        for (alias, column), looks in uses.items():
            self._need(alias, column, _SHOWN, all_of([f"({any_of(looks)})", *self.last()]), "is shown")

    def _ask_groups(self) -> None:
        """What groups, and what is shown of groups or decides about them."""
        having, keys = self.select.args.get("having"), keys_of(self.select)
        for alias, column in self.columns_in(keys):
            self._need(alias, column, _KEYS, "", "is what rows are grouped by")
        deciding = [*([having.this] if having else []), *self.windows, *filter(None, [self.select.args.get("qualify")])]
        deciding += self.order if self.cut is not None else []
        for alias, column in self.columns_in(deciding):
            only_having = having and (alias, column) not in self.columns_in(deciding[1:])
            self._need(alias, column, _ORDER, self.in_groups(undecided=bool(only_having)), "decides about groups")
        shown = [(i, e) for i, e in enumerate(self.select.expressions) if self.shows(i)]
        uses: dict[tuple[str, str], list[tuple[Look, ...]]] = {}
        for i, e in shown:
            for use in self.columns_in([e]):
                uses.setdefault(use, []).append(self.reader.looks(i))
        for use in self.columns_in(self.order if self.cut is None else []):
            uses.setdefault(use, []).append(self.reader.rows)
        for (alias, column), looks in uses.items():
            passed = any_of(self.in_groups(each, settled=True) for each in looks)
            self._need(alias, column, _SHOWN, f"({passed})", "is shown")

    def _ask_opening(self) -> None:
        for alias in self.relaxed.opened(self.select):
            if not self.grouped or self.relaxed.bases[alias].appears:
                self._open(alias, _ROWS, all_of(self.early()))
                continue
            clauses = [self.select.args.get("having"), *self.windows]
            clauses += self.order if self.cut is not None else []
            if any(bag_aggregates(part) for part in clauses if part is not None):
                self._open(alias, _ORDER, self.in_groups())
            shown = [i for i, e in enumerate(self.select.expressions) if self.shows(i) and bag_aggregates(e)]
            if shown or any(map(bag_aggregates, self.order)):
                passed = any_of(self.in_groups(self.reader.looks(i), settled=True) for i in shown)
                self._open(alias, _SHOWN, f"({passed})" if shown else self.in_groups(settled=True))

    # --- parts --------------------------------------------------------------------------------------------------------

    def _ask_derived(self, alias: str) -> int:
        """Ask what a table in FROM lacks that is a query, of rows that this block may look at."""
        query = self.relaxed.derived[alias]
        if not self.relaxed.unsure(query):
            return 0
        names = [name.lower() for name in query.named_selects]
        columns = tuple(c for c in range(len(names)) if self.relaxed.is_sure(query, c))
        shown = (
            ", ".join(f"{quoted(alias)}.{quoted(names[c])} AS c{i}" for i, c in enumerate(columns)) or "1 AS any_row"
        )
        start = f"SELECT DISTINCT {shown}{self.relaxed.source(self.select, LOOK)} WHERE "
        rows = Look(start + all_of(self._looked_at()), columns)
        by_column = {}
        elsewhere = [part for part in self._parts() if part not in self.tests] + self._laterals()
        for c in range(len(names)):
            tests = [test for test in self.tests if _reads(test, alias, names[c])]
            if any(_reads(part, alias, names[c]) for part in elsewhere):
                by_column[c] = (rows,)
            elif tests:
                by_column[c] = (Look(start + all_of(self._looked_at(tests)), columns),)
        around = self.reader.around
        if _refers_outside(query, self.relaxed):
            around = (*around, (self.relaxed.source(self.select, LOOK, before=alias), "TRUE"))
        return self._rule.ask(query, ReadBy((rows,), by_column, around))

    def _laterals(self) -> list[exp.Expr]:
        return [self.relaxed.derived[alias] for alias in self.aliases if alias in self.relaxed.derived]

    def _looked_at(self, tests: Sequence[exp.Expr] = ()) -> list[str]:
        """Where a row of this block, of which nothing is settled, may matter: for these tests, or for anything."""
        relaxed, select = self.relaxed, self.select
        found = [relaxed.possibly(select, LOOK)]
        if tests:
            found.append(f"({any_of(f'({relaxed.must(test, LOOK)}) IS NOT TRUE' for test in tests)})")
        if self.cut is None and not self.windows and not self.on:
            found += [look.passes(self.outputs) for look in self.looks(self.reader.rows, of_rows=True)]
        return found

    def _ask_within(self, part: exp.Expr, query: Query) -> int:
        """Ask what a query in an expression lacks, for rows of this block that may look at it."""
        if not self.relaxed.unsure(query):
            return 0
        holder = query.parent.parent if isinstance(query.parent, exp.Subquery) else query.parent
        looked_at = all_of(self._looked_at([part] if part in self.tests else []))
        source = self.relaxed.source(self.select, LOOK)
        by_column: dict[int, tuple[Look, ...]] | None = {} if isinstance(holder, exp.Exists) else None
        if _refers_outside(query, self.relaxed):
            return self._rule.ask(query, ReadBy((), by_column, (*self.reader.around, (source, looked_at))))
        rows: tuple[Look, ...] = ()
        if isinstance(holder, exp.In) and part in self.tests and not self.reader.around:
            given = holder.this.unnest()
            values = given.expressions if isinstance(given, exp.Tuple) else [given]
            columns = tuple(
                c
                for c, value in enumerate(values)
                if not self.relaxed.terms(value, LOOK) and self.relaxed.is_sure(query, c)
            )
            shown = ", ".join(f"{sql(values[c])} AS c{i}" for i, c in enumerate(columns)) or "1 AS any_row"
            text = f"SELECT DISTINCT {shown}{source} WHERE {looked_at}"
            rows = (Look(text, columns, exact=_is_positive(holder, part)),)
        return self._rule.ask(query, ReadBy(rows, by_column))

    # --- what is needed -----------------------------------------------------------------------------------------------

    def _need(self, alias: str, column: str, stage: int, condition: str, why: str) -> None:
        relation = self.relaxed.bases.get(alias)
        if relation is None:
            return  # `_ask_derived` asks the query
        if self.relaxed.may_differ(alias, column):
            self._open(alias, stage, condition)
        gap = self.relaxed.gap(alias, column)
        if gap:
            meant = next(name for name in relation.flags if name.lower() == column)
            self._add(alias, relation, meant, stage, all_of([gap, condition]), why)

    def _open(self, alias: str, stage: int, condition: str) -> None:
        relation = self.relaxed.bases[alias]
        for adder in self.relaxed.adders(relation):
            if not self.relaxed.is_wanted(adder):
                continue
            flag = f"{quoted(alias)}.{quoted(relation.flags[adder])}"
            opens = all_of([self.relaxed.opening(alias) or "FALSE", flag, condition])
            self._add(alias, relation, adder, stage, opens, "may add rows")

    def _add(self, alias: str, relation: Relation, column: str, stage: int, condition: str, why: str) -> None:
        mode = ROWS if stage > _ROWS else PARTS
        source, possibly = self.relaxed.source(self.select, mode), self.relaxed.possibly(self.select, mode)
        names = [quoted(name) for name in relation.address]
        address = ", ".join(f"{quoted(alias)}.{name}" for name in names)
        if " OVER (" in condition:  # over all rows that may be, so not in WHERE
            inner = f"SELECT {address}, ({condition}) AS is_needed{source} WHERE {possibly}"
            text = f"SELECT DISTINCT {', '.join(names)} FROM ({inner}) AS asked WHERE is_needed"
        else:
            text = f"SELECT DISTINCT {address}{source} WHERE {all_of([possibly, condition])}"
        for around, where in reversed(self.reader.around):
            inside = ", ".join(f"inside.{name}" for name in names)
            text = f"SELECT DISTINCT {inside}{around} CROSS JOIN LATERAL ({text}) AS inside WHERE {where}"
        ordinal = self._height * _STAGES + (self._rule.rank(column) if stage == _ROWS else _STAGES - 10 + stage)
        self._rule.add(Requirement(relation.name, column, text, f"{column} {why}"[:_SHORT], ordinal))


def _reads(node: exp.Expr, alias: str, column: str) -> bool:
    return any(c.table == alias and c.name.lower() == column for c in node.find_all(exp.Column))


def _refers_outside(query: Query, relaxed: Relaxed) -> bool:
    inside = {alias for select in query.find_all(exp.Select) for alias in relaxed.sources(select)}
    return any(column.table not in inside for column in query.find_all(exp.Column))


def _is_positive(node: exp.Expr, top: exp.Expr) -> bool:
    """Whether it makes no difference in `top` whether a predicate is NULL or false."""
    while node is not top and isinstance(node.parent, exp.And | exp.Or | exp.Paren):
        node = node.parent
    return node is top

"""Which rows of a block matter: that its reader may look at, that may be among the first, whose group may pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from flor_ray.relational.clauses import (
    LOOK,
    PARTS,
    ROWS,
    Settled,
    aggregates_of,
    all_of,
    conjuncts,
    cut_of,
    is_grouped,
    keys_of,
    own,
    skipped_of,
    sql,
    within,
)
from flor_ray.relational.relaxing import Relaxed


@dataclass(frozen=True, slots=True)
class Look:
    """Rows of a query that its reader may look at, all or for one of its columns."""

    text: str  # SELECT ... of what is looked at
    columns: tuple[int, ...]  # of the query, in the order of `text`, where they are c0, c1, ...
    exact: bool = True  # NULL looks at NULL, and at nothing else; if not, it looks at all, and all at it

    def passes(self, outputs: Sequence[str]) -> str:
        """Where a row with these outputs is looked at."""
        equal = "(looked.c{0} IS NOT DISTINCT FROM {1})"
        loose = "(looked.c{0} = {1} OR looked.c{0} IS NULL OR {1} IS NULL)"
        tests = [(equal if self.exact else loose).format(i, f"({outputs[c]})") for i, c in enumerate(self.columns)]
        return f"EXISTS (SELECT 1 FROM ({self.text}) AS looked WHERE {all_of(tests)})"


@dataclass(frozen=True, slots=True)
class ReadBy:
    """How a query is read: which rows, which columns, and in which rows of the queries around it."""

    rows: tuple[Look, ...] = ()
    by_column: Mapping[int, tuple[Look, ...]] | None = None  # None: all of them, wherever rows are looked at
    around: tuple[tuple[str, str], ...] = ()  # FROM and WHERE of blocks to which it refers

    def columns(self, count: int) -> list[int]:
        return list(range(count)) if self.by_column is None else [c for c in self.by_column if c < count]

    def looks(self, column: int) -> tuple[Look, ...]:
        return self.rows + (() if self.by_column is None else self.by_column.get(column, ()))


ALL = ReadBy()


class SelectBlock:
    """One SELECT of a statement, as a reader reads it."""

    def __init__(self, relaxed: Relaxed, select: exp.Select, reader: ReadBy, attempt: int) -> None:
        self.relaxed, self.select, self.reader, self._attempt = relaxed, select, reader, attempt
        self.aliases = relaxed.sources(select)
        self.outputs = [sql(e.unalias()) for e in select.expressions]
        self.windows = own(select, exp.Window)
        self.cut = cut_of(select)
        distinct = select.args.get("distinct")
        self.on = distinct.args["on"].expressions if distinct is not None and distinct.args.get("on") else []
        self._distinct = distinct is not None
        self.grouped = is_grouped(select)
        self.order = select.args["order"].expressions if select.args.get("order") else []
        where = select.args.get("where")
        joins = [join.args["on"] for join in relaxed.joins(select) if join.args.get("on")]
        self.tests = [test for each in ([where.this] if where else []) + joins for test in conjuncts(each)]

    def columns_in(self, nodes: Iterable[exp.Expr]) -> list[tuple[str, str]]:
        """The columns of this block's sources in some clauses, also within queries in them."""
        found = []
        for node in nodes:
            for column in node.find_all(exp.Column):
                alias, name = column.table, column.name.lower()
                if alias in self.aliases and self.relaxed.flag(alias, name, LOOK):
                    found.append((alias, name))
        return list(dict.fromkeys(found))

    def shows(self, column: int) -> bool:
        """Whether anybody reads this column of the block."""
        everything = self._distinct and not self.on
        return everything or column in self.reader.columns(len(self.outputs))

    def looks(self, looks: Iterable[Look], of_rows: bool = False) -> list[Look]:
        """Looks, reduced to the columns that are sure here; `of_rows`: and in each row that goes into a group."""
        return [self._reduced(look, of_rows) for look in looks]

    def _reduced(self, look: Look, of_rows: bool) -> Look:
        kept = [
            (i, c)
            for i, c in enumerate(look.columns)
            if self.relaxed.is_sure(self.select, c)
            and not own(self.select.expressions[c], exp.Window)
            and not (of_rows and self.grouped and aggregates_of(self.select.expressions[c]))
        ]
        shown = ", ".join(f"wider.c{i} AS c{n}" for n, (i, _) in enumerate(kept)) or "1 AS any_row"
        if len(kept) == len(look.columns):
            return look
        return Look(f"SELECT DISTINCT {shown} FROM ({look.text}) AS wider", tuple(c for _, c in kept), look.exact)

    def early(self) -> list[str]:
        """Which rows matter while it is not settled which there are."""
        if self.grouped:
            return [self.in_groups()] if not self.columns_in(keys_of(self.select)) else []
        if self.windows or self.on:
            return []
        if self.cut is not None:
            return self.first()
        found = [look.passes(self.outputs) for look in self.looks(self.reader.rows)]
        return [*found, *self._not_yet()]

    def _not_yet(self) -> list[str]:
        """Of rows of which one is enough, those of which none is sure."""
        shown = [e for i, e in enumerate(self.select.expressions) if self.shows(i)]
        unsure = [e for e in shown if self.columns_in([e]) or any(map(self.relaxed.unsure, within(e)))]
        opened = any(map(self.relaxed.opening, self.aliases))
        if self.relaxed.bag[id(self.select)] or unsure or opened:
            return []
        surely = self.relaxed.surely(self.select, PARTS)
        by = f"PARTITION BY {', '.join(sql(e.unalias()) for e in shown)}" if shown else ""
        return [] if surely == "FALSE" else [f"NOT coalesce(bool_or({surely}) OVER ({by}), FALSE)"]

    def first(self) -> list[str]:
        """Which rows can be among the first: before them, in the order as far as it is sure, are fewer sure ones."""
        if self.cut in (None, -1) or self.windows or self.on or self._distinct:
            return []
        if self.relaxed.doubtful(self.select, PARTS):
            return []
        surely = self.relaxed.surely(self.select, PARTS)
        return _ranked(self._sure_order(), self.cut or 0, surely, self._attempt)

    def _sure_order(self) -> list[str]:
        order = []
        for ordered in self.order:
            if self.columns_in([ordered]) or within(ordered):
                break
            order.append(sql(ordered))
        return order

    def last(self) -> list[str]:
        """Which rows are shown, once it is settled which there are and how they are ordered."""
        order = ", ".join(map(sql, self.order))
        qualify = self.select.args.get("qualify")
        found = [f"({sql(qualify.this)})"] if qualify is not None else []
        if self.on:
            found.append(f"rank() OVER (PARTITION BY {', '.join(map(sql, self.on))} ORDER BY {order or '1'}) = 1")
        elif self.cut not in (None, -1) and order and not qualify and not self._distinct:
            found.append(f"rank() OVER (ORDER BY {order}) <= {self.cut}")
            if skipped_of(self.select):  # as many rows come before it, or are equal, as are skipped
                found.append(f"count(*) OVER (ORDER BY {order}) > {skipped_of(self.select)}")
        return found

    def in_groups(self, looks: Iterable[Look] = (), settled: bool = False, undecided: bool = False) -> str:
        """Where a row's group may pass HAVING and LIMIT, and may be looked at."""
        select, relaxed = self.select, self.relaxed
        mode = ROWS if settled else PARTS
        having = select.args.get("having")
        keys = [sql(key) for key in keys_of(select)]
        if not settled:
            looks = self.reader.rows if self.cut is None and not self.windows else ()
        reduced = self.looks(looks) if not self.windows or settled else []
        names = [f"{key} AS k{i}" for i, key in enumerate(keys)]
        names += [f"{self.outputs[c]} AS o{c}" for c in sorted({c for look in reduced for c in look.columns})]
        text = f"SELECT {', '.join(names) or '1 AS any_row'}{relaxed.source(select, mode)}"
        text += f" WHERE {relaxed.possibly(select, mode)}" + (f" GROUP BY {', '.join(keys)}" if keys else "")
        tests = [relaxed.may(having.this, mode, select)] if having else []
        tests += [f"({relaxed.must(having.this, mode, select)}) IS NOT TRUE"] if having and undecided else []
        text += f" HAVING {all_of(tests) if tests else 'count(*) >= 0'}"
        text += self._first_groups(mode)
        passed = [f"(grouped.k{i} IS NOT DISTINCT FROM ({key}))" for i, key in enumerate(keys)]
        passed += [look.passes([f"grouped.o{c}" for c in range(len(self.outputs))]) for look in reduced]
        return f"EXISTS (SELECT 1 FROM ({text}) AS grouped WHERE {all_of(passed)})"

    def _first_groups(self, mode: Settled) -> str:
        """Which groups can be among the first."""
        if self.cut in (None, -1) or self.windows or self._distinct:
            return ""
        relaxed, having = self.relaxed, self.select.args.get("having")
        if mode is ROWS:
            order = ", ".join(map(sql, self.order))
            return f" QUALIFY rank() OVER (ORDER BY {order}) <= {self.cut}" if order else ""
        if relaxed.doubtful(self.select, PARTS):
            return ""
        order_parts = []
        for ordered in self.order:
            if within(ordered) or relaxed.group_terms(ordered, PARTS, self.select):
                break
            order_parts.append(sql(ordered))
        surely = f"bool_or({relaxed.surely(self.select, PARTS)})"
        if having:
            surely = f"{surely} AND {relaxed.must(having.this, PARTS, self.select)}"
        ranked = _ranked(order_parts, self.cut or 0, surely, self._attempt)
        return f" QUALIFY {all_of(ranked)}" if ranked else ""


def _ranked(order: Sequence[str], count: int, surely: str, attempt: int) -> list[str]:
    """Where rows can be among the first `count` in an order of which only the beginning is sure."""
    if not order:
        return []
    by = f"ORDER BY {', '.join(order)}"
    frame = "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP"
    sure_before = f"count(*) FILTER (WHERE {surely}) OVER ({by} {frame}) < {count}"
    return [sure_before, f"rank() OVER ({by}) <= {count * 2 ** min(attempt, 20)}"]

"""Random statements over the relations of `worlds`."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.relational.worlds import COLUMNS, LEVELS, TEXTS

_NUMBERS = {"acc": (0.1, 0.3, 0.5, 0.7, 0.9), "val_loss": (0.5, 1.0, 1.5), "loss": (1.0, 2.0), "lr": (0.01, 0.1)}
_WHOLE = {"epoch": (1, 2, 3), "step": (0, 1, 2), "epochs": (3, 4), "hidden": (64, 100)}
_WORDS = {
    "version": ("v01", "v02", "v04"),
    "run": ("run0", "run1"),
    "status": ("failed",),
    "opt": ("adam",),
    "project": ("p",),
}
_BOOLEANS = ("h", "hard")
_VIEWS = ("outer_loop_pivot", "outer_loop_pivot", "full_pivot", "data_prep_pivot", "experiments", "inner_loop_pivot")


class Drawing:
    """One statement being drawn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw, self._count = draw, 0

    def one(self, *choices: object) -> str:
        return str(self._draw(st.sampled_from(choices)))

    def chance(self, percent: int) -> bool:
        return bool(self._draw(st.integers(1, 100)) <= percent)

    def name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    # --- predicates ---------------------------------------------------------------------------------------------------

    def column(self, alias: str, columns: tuple[str, ...], numeric: bool = False) -> str:
        usable = [c for c in columns if not numeric or (c not in TEXTS and c not in _BOOLEANS)]
        named = [c for c in usable if c in LEVELS and c not in ("lr", "hidden", "opt")]
        pool = named if named and self.chance(65) else usable
        return f"{alias}.{self.one(*pool)}"

    def value(self, column: str) -> str:
        name = column.split(".")[-1]
        if name in _WORDS:
            return "'" + self.one(*_WORDS[name]) + "'"
        return self.one(*_NUMBERS.get(name, _WHOLE.get(name, (1, 3, 5, 7, 9))))

    def atom(self, alias: str, columns: tuple[str, ...], depth: int) -> str:
        column = self.column(alias, columns)
        name = column.split(".")[-1]
        if name in _BOOLEANS or (name.startswith("c") and name[1:].isdigit()):
            return (
                self.one(column, f"{column} IS NULL", f"{column} IS NOT NULL")
                if name in _BOOLEANS
                else f"{column} IS NOT NULL"
            )
        kind = self.one(
            "cmp",
            "cmp",
            "cmp",
            "null",
            "in",
            "between",
            "arith",
            "columns",
            "coalesce",
            "case",
            "like",
            "query",
            "query",
        )
        if kind == "query" and depth > 0:
            return self.nested(alias, columns, depth)
        if kind == "null":
            return f"{column} IS {self.one('', 'NOT ')}NULL"
        if kind == "in":
            return f"{column} {self.one('', 'NOT ')}IN ({self.value(column)}, {self.value(column)})"
        if kind == "like" and name in _WORDS:
            return f"{column} LIKE '%{self.one(0, 1, 2)}'"
        return self.compared(alias, columns, column, kind)

    def compared(self, alias: str, columns: tuple[str, ...], column: str, kind: str) -> str:
        """A predicate that compares a column."""
        name = column.split(".")[-1]
        numbers = [c for c in columns if c not in TEXTS and c not in _BOOLEANS and not c.startswith("c")]
        if name in _WORDS or not numbers:
            return f"{column} {self.one('=', '<>', '<', '>=')} {self.value(column)}"
        if kind == "between":
            return f"{column} BETWEEN {self.value(column)} AND {self.one(2, 6, 8)}"
        if kind in ("arith", "columns"):
            other = f"{alias}.{self.one(*numbers)}"
            return (
                f"{column} {self.one('+', '-', '*')} {other} {self.one('<', '>')} {self.value(column)}"
                if kind == "arith"
                else f"{column} {self.one('<', '>', '=')} {other}"
            )
        if kind == "coalesce":
            return f"coalesce({column}, 4) {self.one('<', '>')} {self.value(column)}"
        if kind == "case":
            return f"CASE WHEN {column} > {self.value(column)} THEN true ELSE {alias}.{self.one(*numbers)} < 3 END"
        return f"{column} {self.one('=', '<>', '<', '<=', '>', '>=')} {self.value(column)}"

    def predicate(self, alias: str, columns: tuple[str, ...], depth: int) -> str:
        kind = self.one("atom", "atom", "and", "and", "or", "not")
        if kind == "atom":
            return self.atom(alias, columns, depth)
        if kind == "not":
            return f"NOT ({self.predicate(alias, columns, depth)})"
        return f"({self.atom(alias, columns, depth)} {kind} {self.predicate(alias, columns, depth - 1)})"

    def nested(self, alias: str, columns: tuple[str, ...], depth: int) -> str:
        """A predicate with a query in it."""
        inner, relation = self.name(), self.one(*_VIEWS)
        own = COLUMNS[relation]
        joined = f"{inner}.version = {alias}.version" if "version" in columns and self.chance(70) else ""
        if joined and "epoch" in own and "epoch" in columns and self.chance(40):
            joined += f" AND {inner}.epoch {self.one('=', '<', '>')} {alias}.epoch"
        test = self.predicate(inner, own, depth - 1)
        where = f"{joined} AND {test}" if joined and self.chance(80) else joined or test
        rest = f"FROM {relation} {inner} WHERE {where})"
        kind = self.one("exists", "in", "scalar", "tuple", "all")
        numbers = [c for c in columns if c not in TEXTS and c not in _BOOLEANS and not c.startswith("c")]
        if kind == "tuple" and "epoch" in own and "epoch" in columns and "version" in columns:
            word = self.one("", "NOT ")
            return f"({alias}.version, {alias}.epoch) {word}IN (SELECT {inner}.version, {inner}.epoch {rest}"
        shared = [c for c in columns if c in own]
        if kind == "in" and shared and self.chance(35):
            return self.narrowed(alias, inner, relation, self.one(*shared), where, test)
        if kind == "in" and shared:
            column = self.one(*shared)
            return f"{alias}.{column} {self.one('', '', 'NOT ')}IN (SELECT {inner}.{column} {rest}"
        if kind in ("scalar", "all") and numbers:
            number = self.column(inner, own, numeric=True)
            if kind == "all":
                return f"{alias}.{self.one(*numbers)} > {self.one('ALL', 'ANY')} (SELECT {number} {rest}"
            aggregate = self.one("max", "min", "avg", "count", "sum")
            return f"{alias}.{self.one(*numbers)} {self.one('<', '>', '=')} (SELECT {aggregate}({number}) {rest}"
        return f"{self.one('', 'NOT ')}EXISTS (SELECT 1 {rest}"

    def narrowed(self, alias: str, inner: str, relation: str, column: str, where: str, test: str) -> str:
        """A predicate with a query in it that groups or cuts."""
        own = COLUMNS[relation]
        if self.chance(50):
            having = f"{self.aggregate(inner, own)} {self.one('<', '>')} {self.one(0.5, 2, 5)}"
            rest = f"FROM {relation} {inner} WHERE {where} GROUP BY {inner}.{column} HAVING {having})"
        else:
            rest = f"FROM {relation} {inner} WHERE {test} ORDER BY {self.order(inner, own)} LIMIT {self.one(1, 3)})"
        return f"{alias}.{column} {self.one('', 'NOT ')}IN (SELECT {inner}.{column} {rest}"

    def order(self, alias: str, columns: tuple[str, ...]) -> str:
        """What orders by some column, and rows of which that is equal by their address."""
        total = ", ".join(f"{alias}.{c}" for c in columns if c in ("version", "run", "epoch", "step", "c0"))
        return f"{self.column(alias, columns)} {self.one('', 'DESC')}, {total or f'{alias}.{columns[0]}'}"

    # --- queries ------------------------------------------------------------------------------------------------------

    def source(self, depth: int) -> tuple[str, str, tuple[str, ...]]:
        """A table in FROM: its text, its name and its columns."""
        alias = self.name()
        if depth > 0 and self.chance(35):
            text, columns = self.block(depth - 1, named=True)
            return f"({text}) AS {alias}", alias, columns
        relation = self.one(*_VIEWS)
        return f"{relation} AS {alias}", alias, COLUMNS[relation]

    def block(self, depth: int, named: bool = False) -> tuple[str, tuple[str, ...]]:
        """A SELECT, and the names of its columns."""
        text, alias, columns = self.source(depth)
        joined: tuple[str, tuple[str, ...]] | None = None
        if self.chance(35):
            other, second, own = self.source(depth)
            shared = [c for c in ("version", "epoch", "run") if c in columns and c in own]
            if shared:
                side = self.one(
                    "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"
                )
                on = f"{alias}.{shared[0]} = {second}.{shared[0]}"
                if len(shared) > 1 and self.chance(60):
                    on += f" AND {alias}.{shared[1]} = {second}.{shared[1]}"
                if self.chance(50):
                    on += f" AND {self.predicate(second, own, 0)}"
                text += f" {side} {other} ON {on}"
                joined = (second, own) if side[:4] not in ("SEMI", "ANTI") else None
        elif "version" in columns and self.chance(12):
            lateral, joined = self.lateral(alias)
            text += lateral
        where = ""
        if self.chance(75):
            where = f" WHERE {self.predicate(alias, columns, depth)}"
            if joined and self.chance(40):
                where += f" {self.one('AND', 'OR')} {self.predicate(*joined, 0)}"
        return (
            self.grouped(alias, columns, text, where)
            if self.chance(35)
            else self.plain(alias, columns, joined, text, where, named)
        )

    def lateral(self, alias: str) -> tuple[str, tuple[str, tuple[str, ...]]]:
        """A query in FROM that refers to a source before it; its name and columns."""
        second, inner, relation = self.name(), self.name(), self.one(*_VIEWS)
        own = COLUMNS[relation]
        names = tuple(dict.fromkeys(["version", self.column(inner, own).split(".")[1]]))
        test = f" AND {self.predicate(inner, own, 0)}" if self.chance(60) else ""
        text = f"SELECT {', '.join(f'{inner}.{c} AS {c}' for c in names)} FROM {relation} {inner}"
        text += f" WHERE {inner}.version = {alias}.version{test}"
        if self.chance(50):
            text += f" ORDER BY {self.order(inner, own)} LIMIT {self.one(1, 2)}"
        word = self.one(", LATERAL", " CROSS JOIN LATERAL", " LEFT JOIN LATERAL")
        return f"{word} ({text}) AS {second}" + (" ON true" if "LEFT" in word else ""), (second, names)

    def grouped(self, alias: str, columns: tuple[str, ...], text: str, where: str) -> tuple[str, tuple[str, ...]]:
        usual = [c for c in columns if c in ("version", "run", "epoch", "opt", "h", "lr")] or columns[:1]
        keys = [self.one(*usual)] if self.chance(85) else []
        if "version" in columns and self.chance(30):
            keys = list(dict.fromkeys([*keys, "version"]))
        shown = [f"{alias}.{key} AS {key}" for key in keys]
        aggregates = [self.aggregate(alias, columns) for _ in range(self._draw(st.integers(1, 2)))]
        shown += [f"{aggregate} AS c{n}" for n, aggregate in enumerate(aggregates)]
        text = f"SELECT {', '.join(shown)} FROM {text}{where}"
        if keys:
            text += f" GROUP BY {', '.join(f'{alias}.{key}' for key in keys)}"
        if self.chance(40):
            text += f" HAVING {self.having(alias, columns)}"
        if keys and self.chance(30):
            order = f"{self.aggregate(alias, columns)} {self.one('', 'DESC')}, " if self.chance(80) else ""
            text += f" ORDER BY {order}{', '.join(f'{alias}.{key}' for key in keys)} LIMIT {self.one(1, 2)}"
        return text, (*keys, *(f"c{n}" for n in range(len(aggregates))))

    def having(self, alias: str, columns: tuple[str, ...]) -> str:
        test = f"{self.aggregate(alias, columns)} {self.one('<', '>')} {self.one(0.5, 2, 5)}"
        if self.chance(40):
            test += (
                f" {self.one('AND', 'OR')} {self.aggregate(alias, columns)} {self.one('<', '>')} {self.one(0.5, 2, 5)}"
            )
        return f"NOT ({test})" if self.chance(20) else test

    def aggregate(self, alias: str, columns: tuple[str, ...]) -> str:
        numbers = [c for c in columns if c not in TEXTS and c not in _BOOLEANS]
        if not numbers or self.chance(15):
            return "count(*)"
        column = self.column(alias, columns, numeric=True)
        column = column if column.split(".")[1] in numbers else f"{alias}.{numbers[0]}"
        text = self.one("max", "min", "avg", "sum", "count", "count(DISTINCT") + f"({column})"
        text = text.replace("count(DISTINCT(", "count(DISTINCT ")
        if self.chance(20):
            text += f" FILTER (WHERE {self.atom(alias, columns, 0)})"
        return text

    def plain(
        self,
        alias: str,
        columns: tuple[str, ...],
        joined: tuple[str, tuple[str, ...]] | None,
        text: str,
        where: str,
        named: bool,
    ) -> tuple[str, tuple[str, ...]]:
        names = list(
            dict.fromkeys(self.column(alias, columns).split(".")[1] for _ in range(self._draw(st.integers(1, 3))))
        )
        names += [c for c in ("version", "epoch") if c in columns and c not in names and self.chance(60)]
        shown = [f"{alias}.{name} AS {name}" for name in names]
        if joined and self.chance(60):
            extra = self.column(*joined).split(".")[1]
            if extra not in names:
                shown, names = [*shown, f"{joined[0]}.{extra} AS {extra}"], [*names, extra]
        partition = f"PARTITION BY {alias}.version " if "version" in columns else ""
        order = self.order(alias, columns)
        if self.chance(15):
            shown, names = [*shown, f"{self.window(alias, columns, partition, order)} AS c9"], [*names, "c9"]
        if "version" in columns and self.chance(10):
            shown, names = [*shown, f"({self.scalar(alias)}) AS c8"], [*names, "c8"]
        if "version" in columns and self.chance(8):
            text = f"SELECT DISTINCT ON ({alias}.version) {', '.join(shown)} FROM {text}{where}"
            return f"{text} ORDER BY {alias}.version, {order}", tuple(names)
        distinct = "DISTINCT " if self.chance(20) else ""
        text = f"SELECT {distinct}{', '.join(shown)} FROM {text}{where}"
        if self.chance(15):
            text += (
                f" QUALIFY {self.one('row_number', 'rank')}() OVER ({partition}ORDER BY {order}) <= {self.one(1, 2)}"
            )
        if not distinct and self.chance(25):
            text += f" ORDER BY {order} LIMIT {self.one(1, 2, 4)}" + (
                f" OFFSET {self.one(1, 2)}" if self.chance(30) else ""
            )
        return text, tuple(names)

    def window(self, alias: str, columns: tuple[str, ...], partition: str, order: str) -> str:
        """A function over other rows."""
        number = self.column(alias, columns)
        function = self.one(f"lag({number})", f"max({number})", f"count({number})", "row_number()")
        framed = function[:3] in ("max", "cou") and self.chance(50)
        frame = " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW" if framed else ""
        return f"{function} OVER ({partition}ORDER BY {order}{frame})"

    def scalar(self, alias: str) -> str:
        """A query for one value."""
        inner, relation = self.name(), self.one(*_VIEWS)
        number = self.aggregate(inner, COLUMNS[relation])
        test = f" AND {self.predicate(inner, COLUMNS[relation], 0)}" if self.chance(60) else ""
        return f"SELECT {number} FROM {relation} {inner} WHERE {inner}.version = {alias}.version{test}"

    def statement(self) -> str:
        """A whole statement."""
        kind = self.one("block", "block", "block", "block", "set", "cte", "cte")
        if kind == "block":
            return self.block(2)[0]
        first, columns = self.block(1, named=True)
        if kind == "set":
            second, others = self.block(1, named=True)
            shared = [c for c in columns if c in others]
            if not shared:
                return first
            word = self.one("UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL")
            names = ", ".join(shared)
            limit = f" ORDER BY {names} LIMIT {self.one(1, 3)}" if self.chance(25) else ""
            return f"SELECT {names} FROM ({first}) AS a {word} SELECT {names} FROM ({second}) AS b{limit}"
        test = self.predicate("w", columns, 1)
        if self.chance(50) and "version" in columns:
            relation = self.one("outer_loop_pivot", "experiments", "full_pivot")
            own = self.column("o", COLUMNS[relation])
            return (
                f"WITH w AS ({first}) SELECT o.version, {own} FROM {relation} o {self.one('JOIN', 'LEFT JOIN')} w "
                f"ON o.version = w.version WHERE {test}"
            )
        return f"WITH w AS ({first}), x AS (SELECT * FROM w WHERE {test}) SELECT {self.one(*columns)} FROM x"


@st.composite
def statements(draw: st.DrawFn) -> str:
    """Texts of statements."""
    return Drawing(draw).statement()

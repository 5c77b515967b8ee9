"""Worlds in which the truth is known: what was recorded, what hindsight would give, and which of it is acquired.

A world draws versions with epochs and steps. Of the columns in LEVELS that are in HINDSIGHT most values are gaps. Its
tables can be made as they are after any acquisition, beside twins that say where the gaps are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import duckdb
import pyarrow as pa

from flor_ray.relational.schema import Relation

LEVELS = {
    "lr": "d", "opt": "d", "hidden": "d", "nparams": "d",
    "acc": "o", "val_loss": "o", "gnorm": "o", "f1": "o", "h": "o",
    "loss": "i", "gstep": "i", "hstep": "i",
}  # fmt: skip
HINDSIGHT = ("nparams", "gnorm", "f1", "h", "gstep", "hstep")
ADDERS = ("gstep", "hstep")
TYPES = {
    "opt": "TEXT",
    "hidden": "INT",
    "h": "BOOLEAN",
    "epoch": "INT",
    "step": "INT",
    "epochs": "INT",
    "hard": "BOOLEAN",
}
_ARROW = {"INT": pa.int32(), "BOOLEAN": pa.bool_(), "TEXT": pa.string(), "DOUBLE": pa.float64()}
TEXTS = ("project", "version", "run", "status", "opt")
_ADDRESS = ("project", "version", "run")
COLUMNS = {
    "experiments": (*_ADDRESS, "status", "epochs", "hard"),
    "data_prep_pivot": (*_ADDRESS, *(n for n, level in LEVELS.items() if level == "d")),
    "outer_loop_pivot": (*_ADDRESS, "epoch", *(n for n, level in LEVELS.items() if level == "o")),
    "inner_loop_pivot": (*_ADDRESS, "epoch", "step", *(n for n, level in LEVELS.items() if level == "i")),
    "full_pivot": (*_ADDRESS, "epoch", "step", *LEVELS),
}
_AT = {"data_prep_pivot": 1, "outer_loop_pivot": 2, "inner_loop_pivot": 3, "full_pivot": 3}
_OPENS = "_opens"

Gap = tuple[str, str, int | None]  # name, version, epoch (None: outside of the loop)
Place = tuple[str, int | None, int | None]


def _flag(column: str) -> str:
    return f"_{column}_gap"


def _relation(name: str) -> Relation:
    columns = COLUMNS[name]
    flags = {column: _flag(column) for column in columns if column in HINDSIGHT}
    if not flags:
        return Relation(name, columns)
    address = ("version", "epoch", "step")[: _AT[name]]
    inner = "step" in columns
    opens = {"opens": _OPENS, "adders": ADDERS, "numbered": ("step", "loss", *ADDERS)} if inner else {}
    return Relation(name, columns, address, flags, f"{name}_flagged", appears=name == "inner_loop_pivot", **opens)  # type: ignore[arg-type]


RELATIONS = tuple(_relation(name) for name in COLUMNS)


class World:
    """One world, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.versions = [f"v{n:02d}" for n in range(chance.choice([5, 6, 7]))]
        self.epochs = {v: chance.choice([2, 3, 4, 5]) for v in self.versions}
        self._steps = {v: chance.random() < 0.6 for v in self.versions}  # whether an inner feature was recorded
        self._about = {
            v: (f"run{n % 3}", chance.choice(["finished", "finished", "failed"]), self.epochs[v], chance.random() < 0.5)
            for n, v in enumerate(self.versions)
        }
        self._recorded = self._draw_recorded(chance)
        self._refused = {(name, v) for name in HINDSIGHT for v in self.versions if chance.random() < 0.1}
        self.truth = self._draw_truth(chance)
        self.had = {gap for gap in self._places(HINDSIGHT) if chance.random() < 0.2}

    def _draw_recorded(self, chance: random.Random) -> dict[tuple[Place, str], object]:
        values: dict[tuple[Place, str], object] = {}
        for v in self.versions:
            values[(v, None, None), "lr"] = chance.choice([0.1, 0.01, 0.001])
            values[(v, None, None), "opt"] = chance.choice(["adam", "sgd"])
            if chance.random() < 0.7:
                values[(v, None, None), "hidden"] = chance.choice([64, 128])
            for e in range(1, self.epochs[v] + 1):
                values[(v, e, None), "acc"] = round(chance.random(), 6)
                if chance.random() < 0.8:
                    values[(v, e, None), "val_loss"] = round(chance.random() * 2, 6)
                for s in range(2 if self._steps[v] else 0):
                    values[(v, e, s), "loss"] = round(chance.random() * 3, 6)
        return values

    def _places(self, names: Iterable[str]) -> list[Gap]:
        found: list[Gap] = []
        for name in names:
            for v in self.versions:
                if (name, v) not in self._refused:
                    found += [(name, v, e) for e in ([None] if LEVELS[name] == "d" else range(1, self.epochs[v] + 1))]
        return found

    def _draw_truth(self, chance: random.Random) -> dict[tuple[Place, str], object]:
        truth: dict[tuple[Place, str], object] = {}
        for name, v, e in self._places(HINDSIGHT):
            inner = chance.choice([2, 2, 2, 0]) if self._steps[v] else chance.choice([2, 3, 1, 0])
            for s in range(inner) if LEVELS[name] == "i" else (None,):
                if chance.random() < 0.9:  # a log in an `if` sometimes logs nothing
                    coarse = chance.random() < 0.3
                    value: object = round(chance.random() * 10, 0 if coarse else 4)
                    truth[(v, e, s), name] = chance.random() < 0.5 if name == "h" else value
        return truth

    def redraw(self, seed: int) -> None:
        """Other truths that agree with what is acquired."""
        new = self._draw_truth(random.Random(seed))
        kept = {key: x for key, x in self.truth.items() if self._is_in(key, self.had)}
        self.truth = kept | {key: x for key, x in new.items() if not self._is_in(key, self.had)}

    def _is_in(self, key: tuple[Place, str], have: set[Gap]) -> bool:
        (v, e, _), name = key
        return (name, v, e) in have

    def gaps(self, names: Iterable[str]) -> set[Gap]:
        """The places of some columns that nobody has acquired."""
        return set(self._places(name for name in names if name in HINDSIGHT)) - self.had

    def gap(self, column: str, row: tuple[object, ...]) -> Gap:
        """The place that a row of a requirement means."""
        epoch = row[1] if LEVELS[column] != "d" else None
        return column, str(row[0]), epoch  # type: ignore[return-value]

    def make(self, database: duckdb.DuckDBPyConnection, have: set[Gap], names: Iterable[str]) -> None:
        """Make tables, and their twins, as they are when `have` is acquired."""
        known = self._recorded | {key: x for key, x in self.truth.items() if self._is_in(key, have)}
        missing = set(self._places(HINDSIGHT)) - have
        for name in names:
            columns, hindsight = COLUMNS[name], [c for c in COLUMNS[name] if c in HINDSIGHT]
            rows = list(self._rows(name, known, missing))
            plain = [row[: len(columns)] for row in rows if not (name == "inner_loop_pivot" and row[4] is None)]
            _table(database, name, [(c, _type(c)) for c in columns], plain)
            if hindsight:
                flags = [*(_flag(c) for c in hindsight), *([_OPENS] if "step" in columns else [])]
                flagged = [*((c, _type(c)) for c in columns), *((flag, "BOOLEAN") for flag in flags)]
                _table(database, f"{name}_flagged", flagged, rows)

    def _rows(
        self, name: str, known: dict[tuple[Place, str], object], missing: set[Gap]
    ) -> Iterable[tuple[object, ...]]:
        hindsight = [c for c in COLUMNS[name] if c in HINDSIGHT]
        steps: dict[tuple[str, int | None], set[int]] = {}
        for (v, e, s), _ in known:
            if s is not None:
                steps.setdefault((v, e), set()).add(s)
        for v in self.versions:
            run, status, epochs, hard = self._about[v]
            if name == "experiments":
                yield "p", v, run, status, epochs, hard
                continue
            for e in [None] if name == "data_prep_pivot" else range(1, epochs + 1):
                there = sorted(steps.get((v, e), ()))
                opens = not self._steps[v] and any((adder, v, e) in missing for adder in ADDERS)
                if name == "inner_loop_pivot" and not there and not opens:
                    continue
                rows: list[int | None] = [*there] if there and "step" in COLUMNS[name] else [None]
                for s in rows:
                    address = [e] * ("epoch" in COLUMNS[name]) + [s] * ("step" in COLUMNS[name])
                    features = [c for c in COLUMNS[name] if c in LEVELS]
                    at: dict[str, Place] = {"d": (v, None, None), "o": (v, e, None), "i": (v, e, s)}
                    values = [known.get((at[LEVELS[c]], c)) for c in features]
                    flags = [(c, v, None if LEVELS[c] == "d" else e) in missing for c in hindsight]
                    yield ("p", v, run, *address, *values, *flags, *([opens] if "step" in COLUMNS[name] else []))


def _type(column: str) -> str:
    return "TEXT" if column in TEXTS else TYPES.get(column, "DOUBLE")


def _table(
    database: duckdb.DuckDBPyConnection, name: str, columns: list[tuple[str, str]], rows: list[tuple[object, ...]]
) -> None:
    given = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = [pa.array(values, _ARROW[kind]) for values, (_, kind) in zip(given, columns, strict=True)]
    database.register("incoming", pa.table(arrays, [column for column, _ in columns]))
    database.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")
    database.unregister("incoming")

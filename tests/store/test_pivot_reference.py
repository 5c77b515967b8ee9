"""Pivots against a slow reference that says what they mean, for whatever was logged, in whatever order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.records import Experiment, Level, LogRecord, Status, Value
from flor_ray.store import typed_values
from flor_ray.store.pivoting import pivots, slices
from flor_ray.store.pivoting.pivot_columns import Kind
from flor_ray.store.store import Store

VERSIONS = ("a" * 40, "b" * 40, "c" * 40)
PLACES = [(None, None), (1, None), (2, None), (4, None), (1, 0), (1, 1), (2, 0), (3, 2)]
VALUES = [0.5, math.nan, math.inf, 7, 2**53, 2**53 + 1, 2**70, True, "text", "\udcff", None, [1, {"a": None}], b"x"]
LEVELS = ("d", "o", "i")
Key = tuple[int, int, int, int]  # version, epoch, step, iteration; -1 where there is none


def run(version: str, epochs: int) -> Experiment:
    return Experiment("digits", version, None, "train.py", "", 0.5, None, Status.FINISHED, epochs=epochs)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[str, list[LogRecord]]]:
    """Of each version its records, each key once, in some order."""
    found = []
    for version in draw(st.lists(st.sampled_from(VERSIONS), unique=True)):
        keys = st.tuples(st.sampled_from(["x", "y", "x_o", "version"]), st.sampled_from(PLACES), st.integers(0, 2))
        chosen = draw(st.lists(keys, unique=True, max_size=14))
        if draw(st.booleans()):
            chosen.sort(key=lambda key: (key[1][0] or 0, key[1][1] is None, key[1][1] or 0, key[2]))
        kinds = draw(st.sampled_from([VALUES[:3], VALUES[:5], VALUES[3:6], VALUES[8:11], VALUES]))
        values = [draw(st.sampled_from(kinds)) for _ in chosen]
        found.append((version, [record(*key, value) for key, value in zip(chosen, values, strict=True)]))
    return found


def record(name: str, place: tuple[int | None, int | None], iteration: int, value: object) -> LogRecord:
    level = Level(LEVELS[sum(part is not None for part in place)])
    return LogRecord(level, *place, name, iteration, typed_values.encode(value), 0.0)


# --- the reference --------------------------------------------------------------------------------------------------


class Reference:
    """The rows and columns of a pivot, record by record."""

    def __init__(
        self, logged: Sequence[tuple[str, list[LogRecord]]], experiments: Sequence[Experiment], level: str | None
    ) -> None:
        numbers = {e.version: number for number, e in enumerate(experiments)}
        records = {
            (r.name, LEVELS.index(r.level.value), self._key(numbers[version], r)): r.value
            for version, of_version in logged
            for r in of_version
        }
        depths = {name: {depth for n, depth, _ in records if n == name} for name, _, _ in records}
        self.names = sorted(depths, key=lambda name: (min(depths[name]), name))
        least = 0 if level is None else LEVELS.index(level)
        if level is not None:
            chosen = {name: {least} if max(found) >= least else found for name, found in depths.items()}
            records = {key: value for key, value in records.items() if key[1] in chosen[key[0]]}
        self.records = records
        self.experiments = experiments
        self.depth = max([least, *(depth for _, depth, _ in records)])
        self.rows = self._rows()

    @staticmethod
    def _key(version: int, r: LogRecord) -> Key:
        return version, -1 if r.epoch is None else r.epoch, -1 if r.step is None else r.step, r.iteration

    def _rows(self) -> list[Key]:
        keys = [key for _, _, key in self.records]
        cells = {(version, -1, -1) for version in range(len(self.experiments))}
        if self.depth >= 1:
            epochs = {(v, e, -1) for v, one in enumerate(self.experiments) for e in range(1, one.epochs + 1)}
            epochs |= {(v, e, -1) for v, e, _, _ in keys if e != -1}
            cells = epochs | {cell for cell in cells if not any(cell[0] == other[0] for other in epochs)}
        if self.depth >= 2:
            steps = {(v, e, s) for v, e, s, _ in keys if s != -1}
            cells = steps | {cell for cell in cells if not any(cell[:2] == other[:2] for other in steps)}
        rows = {(*cell, 0) for cell in cells}
        for _, depth, key in self.records:
            if key[3]:
                rows |= {(*cell, key[3]) for cell in cells if cell[: depth + 1] == key[: depth + 1]}
        return sorted(rows)

    def columns(self) -> dict[str, list[Any]]:
        """The values of each column's rows; None where there is none."""
        found: dict[str, list[Any]] = {}
        for name in self.names:
            for depth in [*self._coarser(name), None]:
                column = name if depth is None else f"{name}_{LEVELS[depth]}"
                taken = column == "version" or (depth is not None and column in self.names)
                shown = [self._value(name, row, depth) for row in self.rows]
                found[f"{column}_logged" if taken else column] = shown
        return found

    def _coarser(self, name: str) -> list[int]:
        places = {(key[0], depth) for n, depth, key in self.records if n == name}
        several = any(len({d for w, d in places if w == v}) > 1 for v, _ in places)
        return sorted({depth for _, depth in places})[:-1] if several else []

    def _value(self, name: str, row: Key, only: int | None = None) -> Any:
        own = {depth for n, depth, key in self.records if n == name and key[0] == row[0]}
        for depth in [only] if only is not None else [max(own)] if own else []:
            at = row[: depth + 1]
            there = {k[3]: v for (n, d, k), v in self.records.items() if (n, d, k[: depth + 1]) == (name, depth, at)}
            if row[3] in there:
                return _decoded(there[row[3]])
            if depth < self.depth and list(there) == [0]:  # logged once: it holds for each repetition below
                return _decoded(there[0])
        return None


def _decoded(stored: Value) -> object:
    return typed_values.decode(stored, lambda key: b"x")


def _same(found: Any, expected: Any) -> bool:
    """Whether a column shows this value; a NaN looks as if there were none."""
    found, expected = (None if isinstance(v, float) and math.isnan(v) else v for v in (found, expected))
    return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)


def _compacted(rows: pa.Table) -> pa.Table:
    """Rows of F in the order of compacted files."""
    keys = [(key, "ascending") for key in ("version", "level", "name", "epoch", "step", "iteration")]
    plain = pa.schema([f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in rows.schema])
    return rows.cast(plain).sort_by(keys).cast(rows.schema)


@settings(max_examples=150, deadline=None)
@given(
    logged=logs(),
    epochs=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    level=st.sampled_from([None, *LEVELS]),
    compacted=st.booleans(),
    piece=st.integers(1, 5),
)
def test_a_pivot_is_what_the_reference_says(
    tmp_path_factory: pytest.TempPathFactory,
    logged: list[tuple[str, list[LogRecord]]],
    epochs: list[int],
    level: str | None,
    compacted: bool,
    piece: int,
) -> None:
    store = Store(str(tmp_path_factory.mktemp("store")))
    for version, records in logged:
        store.append_logs("digits", version, "recorded", 0, records)
    runs = [run(version, count) for version, count in zip(reversed(VERSIONS), epochs, strict=True)]
    rows = _compacted(store.logs("digits")) if compacted else store.logs("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "_PIECE_ROWS", piece)
        logs_read = slices.SlicedLogs.read([rows], [one.version for one in runs])
        found = pivots.pivot(store, "digits", [], runs, logs_read, level=level)
    expected = Reference(logged, runs, level)
    places = [(runs[v].version, e, s, i) for v, e, s, i in expected.rows]
    assert list(zip(*(_dimension(found, name) for name in ("version", "epoch", "step", "iteration")), strict=True)) == [
        (version, *(None if part == -1 else part for part in place), i) for version, *place, i in places
    ]
    features = {name: column for name, column in found.columns.items() if name not in pivots.DIMENSIONS}
    assert list(features) == list(expected.columns())
    for name, values in expected.columns().items():
        shown = [features[name].value(row) for row in range(found.length)]
        assert all(map(_same, shown, values)), (name, shown, values)


def _dimension(found: pivots.Pivot, name: str) -> list[object]:
    if name == "iteration" and name not in found.columns:
        return [0] * found.length
    if name not in found.columns:
        return [None] * found.length
    return [found.columns[name].value(row) for row in range(found.length)]


@settings(max_examples=100, deadline=None)
@given(
    logged=logs(),
    epochs=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    level=st.sampled_from([None, *LEVELS]),
    records=st.integers(1, 20),
)
def test_pieces_are_the_whole_with_equal_columns(
    tmp_path_factory: pytest.TempPathFactory,
    logged: list[tuple[str, list[LogRecord]]],
    epochs: list[int],
    level: str | None,
    records: int,
) -> None:
    store = Store(str(tmp_path_factory.mktemp("store")))
    for version, of_version in logged:
        store.append_logs("digits", version, "recorded", 0, of_version)
    runs = [run(version, count) for version, count in zip(reversed(VERSIONS), epochs, strict=True)]
    whole = pivots.pivot(store, "digits", [], runs, level=level)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pivots, "_PIECE_RECORDS", records)
        pieces = [piece for piece, _ in pivots.in_pieces(store, "digits", [], runs, level)]
    assert all([*piece.columns] == [*pieces[0].columns] for piece in pieces)
    assert [c for c in pieces[0].columns if c != "iteration"] == [c for c in whole.columns if c != "iteration"]
    assert sum(piece.length for piece in pieces) == whole.length
    for name in whole.columns:
        shown = [piece.columns[name].value(row) for piece in pieces for row in range(piece.length)]
        assert all(map(_same, shown, (whole.columns[name].value(row) for row in range(whole.length))))
        kinds = {piece.columns[name].kind for piece in pieces}
        is_empty = all(value is None or value != value for value in shown)  # only None was logged at this level
        assert kinds == {whole.columns[name].kind} or kinds <= {Kind.NUMBER, Kind.OBJECT} or is_empty

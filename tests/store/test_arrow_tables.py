"""Pivots as Arrow tables: types, what is missing, and values that are not decoded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flor_ray.records import Experiment, Level, LogRecord, Status
from flor_ray.store import typed_values
from flor_ray.store.pivoting import arrow_tables, pivots
from flor_ray.store.store import Store

A, B = "a" * 40, "b" * 40


def run(version: str, epochs: int) -> Experiment:
    return Experiment("digits", version, None, "train.py", "", 0.5, None, Status.FINISHED, epochs=epochs)


def record(name: str, value: object, epoch: int | None = None) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER
    return LogRecord(level, epoch, None, name, 0, typed_values.encode(value), 0.0)


def table(store: Store, *names: str, **options: Any) -> pa.Table:
    runs = [run(A, 3), run(B, 0)]
    return arrow_tables.of(pivots.pivot(store, "digits", names, runs, decode=False, **options))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.mark.parametrize(
    ("logged", "kind", "expected"),
    [
        ([1, ..., 2**63 - 1], pa.int64(), [1, None, 2**63 - 1]),
        ([math.nan, ..., math.inf], pa.float64(), [math.nan, None, math.inf]),
        ([1, 0.5, None], pa.float64(), [1.0, 0.5, None]),
        ([True, ..., False], pa.bool_(), [True, None, False]),
        (["é", ..., ""], pa.string(), ["é", None, ""]),
        ([[1, 2], ..., {"a": None}], pa.string(), ["[1, 2]", None, '{"a": null}']),
        ([..., ..., ...], pa.float64(), [None, None, None]),
    ],
)
def test_a_column_has_the_narrowest_type_and_null_where_a_value_is_missing(
    store: Store, logged: list[Any], kind: pa.DataType, expected: list[Any]
) -> None:
    values = [record("x", value, epoch) for epoch, value in enumerate(logged, 1) if value is not ...]
    store.append_logs("digits", A, "recorded", 0, [record("other", 1), *values])
    column = table(store, "x", level="o")["x"]
    assert column.type == kind
    assert repr(column.to_pylist()) == repr([*expected, None])


def test_values_of_several_types_keep_them(store: Store) -> None:
    logged = [2**62 + 1, 0.5, "a"]
    store.append_logs("digits", A, "recorded", 0, [record("x", value, e) for e, value in enumerate(logged, 1)])
    found = table(store, "x")
    assert found["x"].to_pylist() == [
        {"type": "int", "number": None, "integer": 2**62 + 1, "text": None},
        {"type": "float", "number": 0.5, "integer": None, "text": None},
        {"type": "str", "number": None, "integer": None, "text": "a"},
        None,
    ]
    assert arrow_tables.types_of(found.schema.field("x")) == {"int", "float", "str"}


def test_integers_beyond_64_bits_are_their_text_and_none_is_null(store: Store) -> None:
    store.append_logs("digits", A, "recorded", 0, [record("x", 2**70, 1), record("x", None, 2)])
    assert [row and (row["type"], row["text"]) for row in table(store, "x")["x"].to_pylist()] == [
        ("bigint", hex(2**70)),
        None,
        None,
        None,
    ]


def test_arrays_are_their_keys_and_nothing_is_read_of_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append_logs("digits", A, "recorded", 0, [record("cf", np.zeros((2, 2)), 1)])
    monkeypatch.setattr(store.objects, "get_each", None)
    found = table(store, "cf")
    assert found["cf"].to_pylist() == [store.logs("digits")["text"][0].as_py(), None, None, None]
    assert arrow_tables.types_of(found.schema.field("cf")) == {"array"}


def test_dimensions_have_types_of_their_own(store: Store) -> None:
    store.append_logs("digits", A, "recorded", 0, [record("x", 1, 1)])
    found = table(store, "x")
    assert [(f.name, str(f.type)) for f in found.schema][:5] == [
        ("project", "dictionary<values=string, indices=int32, ordered=0>"),
        ("version", "dictionary<values=string, indices=int32, ordered=0>"),
        ("run", "dictionary<values=string, indices=int32, ordered=0>"),
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("epoch", "int64"),
    ]
    assert [t.timestamp() for t in found["timestamp"].to_pylist()] == [0.5] * 4
    assert found["epoch"].to_pylist() == [1, 2, 3, None]


@pytest.mark.parametrize(
    ("epochs", "rows"),
    [
        ({}, [("a", 1), ("a", 2), ("a", 3), ("b", None)]),
        ({A: {2, 7}}, [("a", 2), ("b", None)]),
        ({A: set(), B: {1}}, [("b", None)]),
    ],
)
def test_epochs_are_chosen_by_version(store: Store, epochs: pivots.Epochs, rows: list[tuple[str, int | None]]) -> None:
    store.append_logs("digits", A, "recorded", 0, [record("lr", 0.1), *(record("x", e, e) for e in (1, 2, 3))])
    found = table(store, "x", "lr", level="o", epochs=epochs)
    assert list(zip([v[0] for v in found["version"].to_pylist()], found["epoch"].to_pylist(), strict=True)) == rows
    assert found["x"].to_pylist() == [epoch for _, epoch in rows]
    assert found["lr"].to_pylist() == [0.1 if version == "a" else None for version, _ in rows]


def test_a_decoded_pivot_is_no_arrow_table(store: Store) -> None:
    store.append_logs("digits", A, "recorded", 0, [record("x", [1], 1)])
    with pytest.raises(ValueError, match="decode=False"):
        arrow_tables.of(pivots.pivot(store, "digits", ["x"], [run(A, 1)]))

"""Arrow columns written by hand are those that pyarrow would have made."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.store import columns

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): TEXT,
    pa.binary(): st.binary(max_size=8),
    columns.SYMBOL: TEXT,
    pa.list_(pa.string()): st.lists(TEXT, max_size=3),
}


@pytest.mark.parametrize("kind", VALUES, ids=str)
@settings(deadline=None)  # the first example pays for imports
@given(data=st.data())
def test_columns_are_what_pyarrow_would_make_of_the_values(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], max_size=20))
    schema = pa.schema([pa.field("x", kind)])
    made = columns.table({"x": values}, schema)
    made.validate(full=True)
    assert made.schema == schema
    assert made["x"].to_pylist() == values
    plain = pa.string() if kind == columns.SYMBOL else kind
    assert made["x"].cast(plain).combine_chunks().equals(pa.array(values, plain))


def test_rows_become_columns_and_a_missing_one_is_an_error() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    assert columns.table_of_rows([{"a": 1, "b": None, "c": 0}], schema).to_pylist() == [{"a": 1, "b": None}]
    with pytest.raises(KeyError, match="b"):
        columns.table_of_rows([{"a": 1}], schema)
    with pytest.raises(TypeError, match="bool"):
        columns.table({"a": [True]}, pa.schema([("a", pa.bool_())]))


def test_recording_imports_neither_pandas_nor_the_compute_functions() -> None:
    code = """
import sys
from flor_ray.store import fragments
from flor_ray.records import *
record = LogRecord(Level.INNER, 1, 2, "loss", 0, Value("float", 0.5), 3.0)
checkpoint = Checkpoint("v", "train.py", 1, 1, Point.EPOCH_END, "k", 1, 0.1)
for table in (fragments.log_table([], [], []), fragments.checkpoint_table(checkpoint, None)):
    fragments.from_bytes(fragments.to_bytes(table), table.schema, "x")
print([name for name in ("pandas", "pyarrow.compute", "pyarrow.dataset") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]), st.none() | st.integers(-9, 9), st.none() | st.floats(), st.none() | st.text()
        )
    ),
    st.data(),
)
def test_taken_rows_are_those_of_table_take(rows: list[tuple[object, ...]], data: st.DataObject) -> None:
    schema = pa.schema([("s", columns.SYMBOL), ("i", pa.int64()), ("f", pa.float64()), ("t", pa.string())])
    table = columns.table_of_rows([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    table = table.slice(min(1, len(rows)))  # columns may begin in the middle of their buffers
    chosen = data.draw(st.lists(st.integers(0, table.num_rows - 1))) if table.num_rows else []
    found = columns.taken(table, np.array(chosen, np.int64))
    found.validate(full=True)
    assert repr(found.to_pylist()) == repr(table.take(pa.array(chosen, pa.int64())).to_pylist())


def test_distinct_combinations_over_chunks_with_dictionaries_of_their_own() -> None:
    def part(names: list[str], epochs: list[int | None]) -> pa.Table:
        symbols = pa.array(names).dictionary_encode()
        return pa.table({"name": symbols, "origin": symbols, "epoch": pa.array(epochs, pa.int64())})

    table = pa.concat_tables([part(["b", "a", "b"], [2, None, 2]), part(["a", "c"], [None, 2**62])])
    found = columns.distinct(table, ["name", "origin"], "epoch", missing=-1)
    assert sorted(found) == [("a", "a", -1), ("b", "b", 2), ("c", "c", 2**62)]
    assert columns.distinct(table.slice(0, 0), ["name", "origin"], "epoch", missing=-1) == []

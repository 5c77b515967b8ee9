"""Pivots as Arrow tables, for SQL and for whoever reads them in pieces. Part of the pyarrow door; no pandas.

    dimensions    project, version, run: dictionaries of text; timestamp: in UTC, to the microsecond; the others: int64
    int, bool     int64, bool
    float         double: NaN that was logged is NaN, a value that is missing is null
    str           string
    None          null, beside whatever else
    JSON, repr    string: its text [of one of these types only]
    blobs         string: the key in S, of which nothing is read
    other         STORED_TYPE: the value as F has it, one of number, integer and text beside its type [mixed types,
                  integers beyond 64 bits, text with lone surrogates]

The field of a feature says in its metadata which types its values have: `types_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flor_ray.store import columns
from flor_ray.store.pivoting.pivot_columns import Column, Kind
from flor_ray.store.pivoting.pivots import Pivot
from flor_ray.store.pivoting.slices import Values
from flor_ray.store.typed_values import BLOB_TYPES
from flor_ray.wording import printable

STORED_TYPE = pa.struct(
    [
        pa.field("type", columns.SYMBOL),
        pa.field("number", pa.float64()),
        pa.field("integer", pa.int64()),
        pa.field("text", pa.string()),
    ]
)
_ONE_TEXT = BLOB_TYPES | {"json", "repr"}  # what a column of only one of them shows is its text
_TYPES = b"flor_types"
_MICROSECONDS = 1e6


def of(pivot: Pivot) -> pa.Table:
    """A pivot that was made with `decode=False` as an Arrow table.

    Raises:
        ValueError: values were decoded to objects.
    """
    made = {name: _array(column, pivot.length) for name, column in pivot.columns.items()}
    fields = [_field(name, array.type, pivot.columns[name]) for name, array in made.items()]
    return pa.Table.from_arrays(list(made.values()), schema=pa.schema(fields))


def types_of(field: pa.Field) -> frozenset[str]:
    """Which types the values of a feature's column have, as `typed_values` names them; none of a dimension."""
    found = (field.metadata or {}).get(_TYPES, b"").decode()
    return frozenset(found.split(",")) if found else frozenset()


def _field(name: str, kind: pa.DataType, column: Column) -> pa.Field:
    metadata = {_TYPES: ",".join(column.types).encode()} if column.types else None
    return pa.field(printable(name), kind, metadata=metadata)


def _array(column: Column, length: int) -> pa.Array:
    values, missing = column.values, column.missing
    if column.kind is Kind.LABEL:
        return columns.symbols(values.astype(np.int32), list(map(printable, column.labels)))
    if column.kind is Kind.TIME:
        times = np.array([round(seconds * _MICROSECONDS) for seconds in column.labels], np.int64)
        return _plain(pa.timestamp("us", "UTC"), times[values] if len(times) else np.zeros(length, np.int64))
    if column.kind is Kind.TEXT:
        return columns.texts(values.tolist())
    if column.kind is Kind.STORED and column.stored is not None:
        return _stored(column.stored, values, column.types)
    if column.kind is not Kind.NUMBER:
        raise ValueError("a pivot with decoded values is no Arrow table: make it with decode=False")
    if values.dtype == bool:
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [_validity(missing), bits])
    return _plain(pa.float64() if values.dtype == np.float64 else pa.int64(), values, missing)


def _plain(kind: pa.DataType, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [_validity(missing), data])


def _validity(missing: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little"))


def _stored(stored: Values, positions: npt.NDArray[np.int64], types: Sequence[str]) -> pa.Array:
    missing = positions < 0
    at = np.where(missing, 0, positions)
    text = columns.joined_texts([(stored.text, len(stored))]) or pa.nulls(len(stored), pa.string())
    if len(set(types) - {"none"}) == 1 and _ONE_TEXT & set(types):
        return text.take(_plain(pa.int64(), positions, missing))
    is_float, is_integer = stored.are("float"), stored.are("int") | stored.are("bool")
    parts = [
        columns.symbols(stored.type[at].astype(np.int32), list(stored.types)),
        _plain(pa.float64(), stored.numbers[at], ~is_float[at]),
        _plain(pa.int64(), stored.integers[at], ~is_integer[at]),
        text.take(_plain(pa.int64(), positions, missing)),
    ]
    return pa.StructArray.from_buffers(STORED_TYPE, len(positions), [_validity(missing)], children=parts)

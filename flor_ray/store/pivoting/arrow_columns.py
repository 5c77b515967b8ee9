"""Columns for SQL as Arrow arrays, each as narrow as its values allow. Part of the pyarrow door; no pandas.

What a column of logged values becomes:

    logged                                           array             SQL type
    nothing, or None only                            null              "NULL", which compares with everything
    int                                              int64             BIGINT
    bool                                             bool              BOOLEAN
    float, or float and ints that a float can hold   float64           DOUBLE
    str, or the repr of what cannot be pickled       string            VARCHAR
    dict, list                                       string            JSON
    ints beyond 64 bits                              string, decimal   HUGEINT
    arrays, tensors, images, frames, pickles, bytes  string, the key   VARCHAR
    anything else, or kinds that are mixed           string            VARCHAR

No value is changed on its way: where no type could hold all of them exactly, the column is text and `note` says so. To
compare text with a number is an error in DuckDB, so that nobody takes it for one. None is NULL; NaN is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flor_ray.records import Value
from flor_ray.store import columns, typed_values
from flor_ray.store.columns import codes_of
from flor_ray.store.pivoting.slices import Integers, Values
from flor_ray.store.typed_values import BLOB_TYPES
from flor_ray.wording import printable

Booleans = npt.NDArray[np.bool_]
Array, Table = pa.Array, pa.Table  # so that who is not of the pyarrow door can name them

_TEXTS = frozenset({"str", "repr", "escaped"})
_LARGEST_HUGEINT = (1 << 127) - 1
_MOST_DECIMAL_BITS = 10_000  # beyond them Python does not write decimal text
_MICROSECONDS = 1e6
_MOST_SECONDS = 1e12  # that a time can be from 1970: 30 000 years


@dataclass(frozen=True, slots=True)
class Typed:
    """One column of logged values."""

    array: pa.Array
    sql: str = ""  # type that SQL casts it to; "": that of the array
    note: str = ""  # what its reader should know


def typed(values: Values | None, source: Integers | None, length: int) -> Typed:
    """The column of this length with the narrowest type that holds its values; `source` as `Sources.of` has it."""
    if values is None or not len(values):
        return Typed(pa.nulls(length))
    source = np.arange(length) if source is None else source
    there = source >= 0
    there[there] = ~values.are("none")[source[there]]
    used = source[there]
    kinds = {values.types[code] for code in np.flatnonzero(np.bincount(values.type[used], minlength=1)).tolist()}
    if not len(used):
        return Typed(pa.nulls(length))
    if kinds == {"int"}:
        return Typed(integers(_scattered(values.integers[used], there), there))
    if kinds == {"bool"}:
        return Typed(booleans(_scattered(values.integers[used], there).astype(bool), there))
    if kinds <= {"int", "float"} and (numbers := _floats(values, used)) is not None:
        return Typed(floats(_scattered(numbers, there), there))
    if kinds <= {"int", "bigint"}:
        return _huge(values.take(used), there)
    if kinds <= _TEXTS or kinds <= BLOB_TYPES or kinds == {"json"}:
        note = "has texts that are not UTF-8, which are shown with backslashes" if "escaped" in kinds else ""
        texts_of = values.text.take(columns.integers(np.where(there, source, 0)))
        return Typed(_with_validity(texts_of, there), "JSON" if kinds == {"json"} else "", note)
    said = [_said(value) for value in values.take(used).each()]
    return Typed(_texts_at(said, there), note=f"holds values of several types ({', '.join(sorted(kinds))}), as text")


def _floats(values: Values, used: Integers) -> npt.NDArray[np.float64] | None:
    """Numbers as floats; None if an integer among them would not survive that."""
    is_int = values.are("int")[used]
    whole = values.integers[used]
    near = whole.astype(np.float64)
    exact = (np.abs(near) < 2.0**63) & (np.where(np.abs(near) < 2.0**63, near, 0.0).astype(np.int64) == whole)
    return np.where(is_int, near, values.numbers[used]) if exact[is_int].all() else None


def _huge(values: Values, there: Booleans) -> Typed:
    numbers = [_decoded(value) for value in values.each()]
    array = _texts_at(list(map(_decimal, numbers)), there)
    if all(-_LARGEST_HUGEINT <= number <= _LARGEST_HUGEINT for number in numbers):
        return Typed(array, "HUGEINT")
    return Typed(array, note="has integers beyond 128 bits, shown as text")


def _decimal(number: int) -> str:
    return str(number) if number.bit_length() < _MOST_DECIMAL_BITS else hex(number)


def _decoded(value: Value) -> Any:
    return typed_values.decode(value, str.encode)


def _said(value: Value) -> str:
    """A value as text; of what lies in S, its key."""
    if value.type == "bool":
        return "true" if value.integer else "false"
    if value.type in ("int", "bigint"):
        return _decimal(_decoded(value))
    return str(value.number) if value.type == "float" else value.text or ""


# --- arrays ---------------------------------------------------------------------------------------------------------


def labels(codes: npt.NDArray[Any], names: Sequence[str]) -> pa.Array:
    """Of each row the text with its code."""
    return columns.symbols(codes.astype(np.int32), list(map(printable, names)))


def integers(values: npt.NDArray[np.integer[Any]], there: Booleans | None = None) -> pa.Array:
    """Integers, NULL where they are not there."""
    return _plain(pa.int64(), values.astype(np.int64), there)


def floats(values: npt.NDArray[np.float64], there: Booleans | None = None) -> pa.Array:
    """Floats, NULL where they are not there. NaN is a value."""
    return _plain(pa.float64(), values, there)


def booleans(values: Booleans, there: Booleans | None = None) -> pa.Array:
    """Booleans, NULL where they are not there."""
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [_bits(there), bits])


def times(seconds: Sequence[float | None], codes: npt.NDArray[Any] | None = None) -> pa.Array:
    """Times in UTC, of seconds since 1970; of each row that with its code."""
    there = np.array([value is not None and abs(value) < _MOST_SECONDS for value in seconds], bool)
    known = [value if value is not None and is_there else 0.0 for value, is_there in zip(seconds, there, strict=True)]
    micros = np.array([round(value * _MICROSECONDS) for value in known], np.int64)
    if codes is not None:
        there, micros = there[codes], micros[codes]
    return _plain(pa.timestamp("us", "UTC"), micros, there)


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts, NULL for None."""
    return columns.texts(values)


def made(kind: str, values: Sequence[Any]) -> pa.Array:
    """A column of numbers ("int64", "double") or of lists of texts ("list"), NULL for None."""
    of = {"int64": pa.int64(), "double": pa.float64(), "list": pa.list_(pa.string())}[kind]
    return columns.table({"column": values}, pa.schema([pa.field("column", of)]))["column"].chunk(0)


def table(arrays: Mapping[str, pa.Array]) -> pa.Table:
    """A table of these columns, which are equally long."""
    return pa.Table.from_arrays(list(arrays.values()), names=list(arrays))


def _plain(kind: pa.DataType, values: npt.NDArray[Any], there: Booleans | None) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [_bits(there), data])


def _bits(there: Booleans | None) -> pa.Buffer | None:
    return None if there is None or there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _scattered(values: npt.NDArray[Any], there: Booleans) -> npt.NDArray[Any]:
    whole = np.zeros(len(there), values.dtype)
    whole[there] = values
    return whole


def _texts_at(values: Sequence[str], there: Booleans) -> pa.Array:
    following = iter(values)
    return columns.texts([next(following) if is_there else None for is_there in there.tolist()])


def _with_validity(array: pa.Array, there: Booleans) -> pa.Array:
    """These texts, NULL where they are not there."""
    return pa.Array.from_buffers(array.type, len(array), [_bits(there), *array.buffers()[1:]])


# --- log records ----------------------------------------------------------------------------------------------------


def readable(logs: pa.Table) -> pa.Table:
    """Log records with integers of any length as decimal text, as SQL reads them."""
    if not logs.num_rows:
        return logs
    kind = logs["type"].chunk(0)
    known = kind.dictionary.to_pylist()
    if "bigint" not in known:
        return logs
    said = logs["text"].to_pylist()
    for row in np.flatnonzero(codes_of(kind) == known.index("bigint")).tolist():
        said[row] = _decimal(int(said[row], 16))
    return logs.set_column(logs.schema.get_field_index("text"), "text", columns.texts(said))

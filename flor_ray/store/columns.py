"""Python lists and numpy arrays to Arrow columns, and back to numpy.

`pyarrow.array` and `Array.to_numpy` would do the same, but they import pandas: 0.3 s of processor time that every
recorded run and every question to the store would pay.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Number = TypeVar("Number", np.int32, np.int64, np.float64)

_DTYPES: Mapping[pa.DataType, Any] = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64}
_CODES = {pa.int64(): "q", pa.float64(): "d"}
SYMBOL = pa.dictionary(pa.int32(), pa.string())


def table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """A table of whole columns, None where a value is missing.

    Raises:
        KeyError, TypeError: a column is missing, or is of a type that is not written here.
    """
    return pa.Table.from_arrays([_column(field.type, columns[field.name]) for field in schema], schema=schema)


def table_of_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return table({name: [row[name] for row in rows] for name in schema.names}, schema)


def symbols(codes: npt.NDArray[np.int32], texts: Sequence[str]) -> pa.DictionaryArray:
    """A column of SYMBOL: of each row the text with its code."""
    indices = pa.Array.from_buffers(pa.int32(), len(codes), [None, pa.py_buffer(np.ascontiguousarray(codes))])
    return pa.DictionaryArray.from_arrays(indices, _column(pa.string(), texts))


def integers(numbers: npt.NDArray[np.int64]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])


def texts(values: Sequence[str | None]) -> pa.Array:
    """A column of texts, None where there is none."""
    return _column(pa.string(), values)


def joined_texts(parts: Sequence[tuple[pa.Array | None, int]]) -> pa.Array | None:
    """Columns of texts one after the other, each with its length; None is one without texts, and if all are so."""
    if all(part is None for part, _ in parts):
        return None
    return pa.concat_arrays([pa.nulls(length, pa.string()) if part is None else part for part, length in parts])


def codes_of(column: pa.DictionaryArray) -> npt.NDArray[np.int32]:
    """Of each row the number of its text in the column's dictionary. No row may be without one."""
    return _numbers(column.indices, np.int32)


def texts_of(column: pa.ChunkedArray) -> list[str | None]:
    """The texts of a column of symbols; rows with the same one share it."""
    found: list[str | None] = []
    for chunk in column.chunks:
        known = [*chunk.dictionary.to_pylist(), None]
        codes = _numbers(chunk.indices, np.int32)
        if chunk.indices.null_count:
            codes = np.where(_is_there(chunk.indices), codes, np.int32(-1))
        found += [known[code] for code in codes.tolist()]
    return found


def distinct(table: pa.Table, symbols: Sequence[str], number: str, missing: int) -> list[tuple[Any, ...]]:
    """The combinations that columns of symbols and one of integers have, each once: texts, and the integer, or
    `missing` where there is none."""
    table = table.unify_dictionaries()
    if not table.num_rows:
        return []
    every = np.concatenate([integers_of(chunk, missing) for chunk in table[number].chunks])
    numbers, of_each = np.unique(every, return_inverse=True)
    known = [*(table[name].chunk(0).dictionary.to_pylist() for name in symbols), numbers.tolist()]
    sizes = [len(values) for values in known]
    codes = [np.concatenate([codes_of(chunk) for chunk in table[name].chunks]) for name in symbols]
    each = np.unravel_index(np.unique(np.ravel_multi_index((*codes, of_each), sizes)), sizes)
    found = [[values[code] for code in column.tolist()] for values, column in zip(known, each, strict=True)]
    return list(zip(*found, strict=True))


def integers_of(column: pa.Array, missing: int) -> npt.NDArray[np.int64]:
    """A column of integers, with `missing` where there is none."""
    found = _numbers(column, np.int64)
    return found if not column.null_count else np.where(_is_there(column), found, missing)


def floats_of(column: pa.Array) -> npt.NDArray[np.float64]:
    """A column of floats, with NaN where there is none."""
    found = _numbers(column, np.float64)
    return found if not column.null_count else np.where(_is_there(column), found, np.nan)


def _numbers(column: pa.Array, dtype: type[Number]) -> npt.NDArray[Number]:
    """The values of a column, whatever stands where there is none."""
    data = column.buffers()[1]
    if data is None or not len(column):
        return np.zeros(len(column), dtype)
    return np.frombuffer(data, dtype, column.offset + len(column))[column.offset :]


def _is_there(column: pa.Array) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(column.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=column.offset + len(column), bitorder="little")[column.offset :].astype(bool)


def taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """These rows of a table whose columns are in one piece each. Unlike `Table.take`, it does not import
    pyarrow.compute unless there are texts in them."""
    return pa.Table.from_arrays([_taken(column.chunk(0), rows) for column in table.columns], schema=table.schema)


def _taken(column: pa.Array, rows: npt.NDArray[np.int64]) -> pa.Array:
    there = _is_there(column)[rows] if column.null_count else None
    if there is not None and not there.any():
        return pa.nulls(len(rows), column.type)
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(_taken(column.indices, rows), column.dictionary)
    if column.type not in _DTYPES:
        return column.take(integers(rows))
    data = pa.py_buffer(_numbers(column, _DTYPES[column.type])[rows])
    validity = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.Array.from_buffers(column.type, len(rows), [validity, data])


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if kind in _CODES:
        plain = array(_CODES[kind], [0 if value is None else value for value in values])
        return pa.Array.from_buffers(kind, len(values), [_validity(values), pa.py_buffer(plain)])
    if kind == SYMBOL:
        known = {value: index for index, value in enumerate(dict.fromkeys(v for v in values if v is not None))}
        plain = array("i", [0 if value is None else known[value] for value in values])
        indices = pa.Array.from_buffers(pa.int32(), len(values), [_validity(values), pa.py_buffer(plain)])
        return pa.DictionaryArray.from_arrays(indices, _column(pa.string(), list(known)))
    if kind in (pa.string(), pa.binary()):
        # A name of a file or a variable may stand for bytes that are no UTF-8, and must not cost the other rows.
        encoded = [
            b"" if v is None else v.encode("utf-8", "backslashreplace") if isinstance(v, str) else v for v in values
        ]
        buffers = [_validity(values), _offsets(map(len, encoded)), pa.py_buffer(b"".join(encoded))]
        return pa.Array.from_buffers(kind, len(values), buffers)
    if kind == pa.list_(pa.string()):
        items = _column(pa.string(), [item for value in values for item in value or ()])
        buffers = [_validity(values), _offsets(len(value or ()) for value in values)]
        return pa.Array.from_buffers(kind, len(values), buffers, children=[items])
    raise TypeError(f"columns of type {kind} are not written here")


def _validity(values: Sequence[Any]) -> pa.Buffer | None:
    """Arrow's bitmap of the values that are there; None if all are."""
    if None not in values:
        return None
    bits = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        if value is not None:
            bits[index >> 3] |= 1 << (index & 7)
    return pa.py_buffer(bytes(bits))


def _offsets(lengths: Any) -> pa.Buffer:
    total, offsets = 0, array("i", [0])
    for length in lengths:
        total += length
        offsets.append(total)  # OverflowError beyond 2 GiB of text in one column of one file
    return pa.py_buffer(offsets)

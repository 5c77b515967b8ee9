"""What reading bytes of the store may take: sizes that their heads declare are looked at before memory is. Part of the
pyarrow door.

A check raises ValueError. What it lets pass may take many times its bytes, as equal values do, but no more than what a
run could have recorded.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_CELLS, _CELLS_PER_BYTE = 40_000_000, 64  # of a table: so many whatever its size, or so many for each byte of its file
_TEXT_BYTES = 1 << 30  # of texts that many rows share, before it is counted what they come to
_ZSTD_RATIO = 1 << 17  # more is in no format: a block of 128 KiB takes a byte at the least


def expect_decompressed(size: int, kept: int) -> None:
    """So many bytes cannot come out of so few that are compressed with zstd."""
    if not 0 <= size <= kept * _ZSTD_RATIO:
        raise ValueError(f"{kept} bytes cannot be {size} bytes, compressed")


def expect_npy(data: bytes) -> None:
    """The head of a file of numpy's must tell of as many elements as follow it."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    following = len(data) - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * max(dtype.itemsize, 1) > max(following, 0):
        raise ValueError(f"an array {'x'.join(map(str, shape))} of {dtype} is not in {following} bytes")


def parquet(data: bytes) -> pq.ParquetFile:
    """A Parquet file, all of it, of which what it declares is looked at.

    Raises:
        ValueError, OSError, pyarrow.ArrowException: it is none, or reading it would take memory out of proportion.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    groups = _groups_of(file.metadata, len(data))
    shared = [
        (column.path_in_schema, column.num_values * column.total_uncompressed_size)
        for group in groups
        for column in (group.column(index) for index in range(group.num_columns))
        if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page
    ]
    if sum(most for _, most in shared) > _TEXT_BYTES:
        _expect_texts(data, sorted({path for path, _ in shared}))
    return file


def _groups_of(found: pq.FileMetaData, size: int) -> list[pq.RowGroupMetaData]:
    """The row groups of a file of `size` bytes. Raises ValueError if it says that it has more than there can be."""
    groups = [found.row_group(index) for index in range(found.num_row_groups)]
    rows = max(found.num_rows, sum(group.num_rows for group in groups))
    cells = rows * max(found.num_columns, 1)
    if min(found.num_rows, *(group.num_rows for group in groups), 0) < 0:
        raise ValueError("it says that it has fewer than no rows")
    if cells > max(_CELLS, size * _CELLS_PER_BYTE):
        raise ValueError(f"{size} bytes are said to be {rows} rows")
    return groups


def place_of(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where in its file a column of a row group begins, and how many bytes it has."""
    first = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        first = min(first, chunk.dictionary_page_offset)
    return first, chunk.total_compressed_size


def expect_chunks(chunks: Sequence[pq.ColumnChunkMetaData], plain: Collection[str], size: int) -> None:
    """Columns of row groups must lie within their file of `size` bytes, and be no larger than compression can have made
    of it. Texts that are read as such, in the columns `plain`, must not be shared: nobody would have said what they
    come to."""
    for chunk in chunks:
        start, length = place_of(chunk)
        if not 0 <= start <= start + length <= size:
            raise ValueError(f"the column {chunk.path_in_schema!r:.100} lies outside of its file")
        expect_decompressed(chunk.total_uncompressed_size, max(length, 1))
        if chunk.path_in_schema in plain and chunk.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page:
            raise ValueError(f"the texts of {chunk.path_in_schema!r:.100} are kept in a form that is not read")


def expect_symbols(column: pa.ChunkedArray) -> None:
    """Rows that share texts must not come to more than is read of texts at once."""
    for chunk in column.chunks:
        longest = max((len(text or "") for text in chunk.dictionary.to_pylist()), default=0)
        if longest * len(chunk) > _TEXT_BYTES:
            raise ValueError(f"{len(chunk)} rows are said to have texts of {longest} characters")


def expect_shape(found: pq.FileMetaData, size: int) -> None:
    """The metadata of a Parquet file of `size` bytes must tell of no more than can be in it. Raises ValueError."""
    _groups_of(found, size)


def _expect_texts(data: bytes, paths: list[str]) -> None:
    """Texts are kept once and referred to by row: what they come to, if each row gets its own."""
    whole: Any = pq.ParquetFile(pa.BufferReader(data), read_dictionary=paths)
    total = 0
    for path in paths:
        for chunk in whole.read(columns=[path], use_threads=False).column(0).chunks:
            if not pa.types.is_dictionary(chunk.type):
                raise ValueError(f"the texts of {path!r:.100} are kept in a form that is not read")
            lengths = chunk.dictionary.cast(pa.large_binary()).to_pylist()
            sizes = np.array([len(text or b"") for text in lengths] or [0], np.int64)
            codes = np.asarray(chunk.indices.drop_null())
            total += int(sizes[codes].sum())
    if total > max(_TEXT_BYTES, len(data) * 1000):
        raise ValueError(f"{len(data)} bytes are said to be {total} bytes of text")

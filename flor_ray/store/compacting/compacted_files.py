"""What compacted files of all kinds have in common: how parts of them are read and checked. Of the pyarrow door."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from flor_ray.store import bounds, typed_json
from flor_ray.store.columns import SYMBOL
from flor_ray.store.compacting.spans import SpannedFile
from flor_ray.store.files import Files
from flor_ray.store.fragments import conforming, corrupt
from flor_ray.store.log_files import END_BYTES, holds_metadata

FOLDER = "compacted"
S = TypeVar("S", bound="Said")


def read_metadata(files: Files, path: str, size: int) -> pq.FileMetaData:
    """That of a file of `size` bytes: its end is read, and no more.

    Raises:
        Damaged: it is no whole Parquet file.
        FileNotFoundError: it is gone.
    """
    end = files.read_end(path, END_BYTES)
    if not holds_metadata(end) and end.endswith(b"PAR1"):
        end = files.read_end(path, int.from_bytes(end[-8:-4], "little") + 8)
    try:
        found = pq.read_metadata(pa.BufferReader(end))
        bounds.expect_shape(found, size)
        return found
    except (pa.ArrowException, OSError, ValueError) as error:
        raise corrupt(f"{files.url}/{path}", error) from error


class Said(Protocol):
    """What a compacted file says of itself in its metadata."""

    @property
    def row_groups(self) -> int:
        """How many it has."""

    def check(self) -> None:
        """Raises ValueError unless what it says fits together."""


def read_said(files: Files, path: str, size: int, key: bytes, kind: type[S]) -> tuple[pq.FileMetaData, S]:
    """A file's metadata, and what stands in it under `key`. Errors are those of `read_metadata`."""
    metadata = read_metadata(files, path, size)
    try:
        found = typed_json.from_json((metadata.metadata or {})[key], kind)
        found.check()
        if found.row_groups != metadata.num_row_groups:
            raise ValueError("it has other row groups than it says")
    except (ValueError, KeyError, TypeError) as error:
        raise corrupt(f"{files.url}/{path}", error) from error
    return metadata, found


def generation_in(pattern: re.Pattern[str], path: str) -> int | None:
    """The generation of a compacted file, the pattern's only group; None if the path is not that of one."""
    found = pattern.fullmatch(path)
    return int(found[1]) if found else None


def read_groups(
    files: Files, path: str, size: int, metadata: pq.FileMetaData, groups: Sequence[int], wanted: pa.Schema
) -> pa.Table:
    """Some columns of some row groups: of the file's bytes only these are read. Errors are those of `read_metadata`."""
    where = f"{files.url}/{path}"
    try:
        numbers = {metadata.schema.column(n).path: n for n in range(metadata.num_columns)}
        chosen = [numbers[name] for name in wanted.names]
        chunks = [metadata.row_group(group).column(number) for group in groups for number in chosen]
        bounds.expect_chunks(chunks, {field.name for field in wanted if field.type != SYMBOL}, size)
    except (KeyError, ValueError) as error:
        raise corrupt(where, error) from error
    spans = list(_spans(chunks))
    file = SpannedFile(size, lambda start, length: files.read_range(path, start, length))
    parts = files.each(lambda span: files.read_range(path, *span), spans)
    for (start, _), part in zip(spans, parts, strict=True):
        file.put(start, part)
    try:
        opened = pq.ParquetFile(file, metadata=metadata)
        table = conforming(opened.read_row_groups(groups, columns=wanted.names, use_threads=False), wanted)
        for field in wanted:
            if field.type == SYMBOL:
                bounds.expect_symbols(table[field.name])
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise corrupt(where, error) from error


def _spans(chunks: Sequence[pq.ColumnChunkMetaData]) -> Iterator[tuple[int, int]]:
    """Where the bytes of column chunks are: start and length; what lies side by side is one span."""
    start = end = -1
    for begins, length in sorted(map(bounds.place_of, chunks)):
        if begins != end:
            if end > start:
                yield start, end - start
            start = end = begins
        end += length
    if end > start:
        yield start, end - start

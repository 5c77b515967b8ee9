"""One file of F: rows, and in its metadata what can be known without reading them. Part of the pyarrow door.

    flor_names    name -> the levels at which it was logged, and the types of its values
    flor_report   of a replayed segment: how it went (`flor_ray.store.segment_reports`)

Files of flor_ray 0.1.0 say nothing of their names: these are looked for in their rows then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flor_ray.records import SegmentReport
from flor_ray.store import bounds, checks, columns, segment_reports
from flor_ray.store.fragments import LOG_FILE_SCHEMA, NO_LOGS, conforming, corrupt, expect_log_rows, only, to_bytes
from flor_ray.store.typed_values import BLOB_TYPES

_NAMES = b"flor_names"
_REPORT = b"flor_report"
END_BYTES = 64 << 10  # of a file, in which the metadata of all but unusual ones lies
_SMALL_ROWS = 2000
PART_ROWS = 1 << 18  # that are read at once of a file that is not read as a whole
_DESCRIBING = pa.schema([LOG_FILE_SCHEMA.field(column) for column in ("level", "name", "type")])
_REFERENCES = pa.schema([LOG_FILE_SCHEMA.field(column) for column in ("type", "text")])


@dataclass(frozen=True, slots=True)
class Named:
    """What a file holds of one name."""

    levels: frozenset[str]  # d, o, i: at which it was logged
    types: frozenset[str]  # of its values, as `schema.Value` has them


def log_bytes(table: pa.Table, report: Mapping[str, object] | None = None) -> bytes:
    """A file with these rows, whose columns are those of LOG_FILE_SCHEMA, each in one piece."""
    names = {name: [sorted(found.levels), sorted(found.types)] for name, found in _names_in(table).items()}
    metadata = {_NAMES: json.dumps(names).encode()}
    if report is not None:
        metadata[_REPORT] = json.dumps(report, default=str).encode()
    return to_bytes(table.replace_schema_metadata(metadata))


class LogFile:
    """A file of F, of which only the metadata was read so far. `where` is its place, for messages.

    `data` is all of it; or, where `whole` reads all of it, its last bytes, which are where a Parquet file has its
    metadata. Everything raises Damaged, naming the place, unless it is a whole Parquet file with these columns.
    """

    def __init__(self, data: bytes, where: str, whole: Callable[[], bytes] | None = None) -> None:
        self._where, self._whole = where, whole
        if whole is not None and not holds_metadata(data):
            data, self._whole = whole(), None
        self._file = self._open(data, is_whole=self._whole is None)
        self._metadata: Mapping[bytes, bytes] = self._file.metadata.metadata or {}

    @cached_property
    def names(self) -> Mapping[str, Named]:
        """What it holds of each name, from the metadata; of an older file, from its rows."""
        if _NAMES not in self._metadata:
            return _names_in(self._read(_DESCRIBING))
        try:
            found = checks.parsed(self._metadata[_NAMES])
            return {name: Named(frozenset(levels), frozenset(types)) for name, (levels, types) in found.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise corrupt(self._where, error) from error

    def report(self, version: str) -> SegmentReport:
        """How the replayed segment of this version went whose file this is."""
        try:
            return segment_reports.from_plain(checks.parsed(self._metadata[_REPORT]), version)
        except (ValueError, KeyError, TypeError) as error:
            raise corrupt(self._where, error) from error

    def report_text(self, version: str) -> str:
        """What `report` reads, as JSON."""
        self.report(version)
        return self._metadata[_REPORT].decode()

    def rows(self, names: Collection[str] | None = None, wanted: pa.Schema = LOG_FILE_SCHEMA) -> pa.Table:
        """Its rows with the columns of `wanted`, `name` among them, in the order of logging. If `names` are given, rows
        of others may be left out."""
        if names is not None and _NAMES in self._metadata and self.names.keys().isdisjoint(names):
            return NO_LOGS.select(wanted.names)
        table = self._read(wanted)
        # To take rows out of a table takes 0.1 ms, longer than to read a small file: of these it is done at once.
        return table if names is None or table.num_rows < _SMALL_ROWS else only(in_one_piece(table), names)

    def parts(self, names: Collection[str] | None, wanted: pa.Schema) -> Iterator[pa.Table]:
        """What `rows` answers, a part at a time: less is in memory then than the whole."""
        file = self._whole_file()
        try:
            for batch in file.iter_batches(PART_ROWS, columns=wanted.names, use_threads=False):
                table = conforming(pa.Table.from_batches([batch]), wanted)
                expect_log_rows(table)
                yield table if names is None else only(in_one_piece(table), names)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise corrupt(self._where, error) from error

    def blob_keys(self) -> set[str]:
        """Objects in S that its values refer to."""
        if all(named.types.isdisjoint(BLOB_TYPES) for named in self.names.values()):
            return set()
        table = self._read(_REFERENCES)
        kinds, texts = table["type"].to_pylist(), table["text"].to_pylist()
        return {text for kind, text in zip(kinds, texts, strict=True) if kind in BLOB_TYPES}

    def _open(self, data: bytes, is_whole: bool) -> pq.ParquetFile:
        try:
            return bounds.parquet(data) if is_whole else pq.ParquetFile(pa.BufferReader(data))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise corrupt(self._where, error) from error

    def _whole_file(self) -> pq.ParquetFile:
        if self._whole is not None:
            self._file, self._whole = self._open(self._whole(), is_whole=True), None
        return self._file

    def _read(self, columns: pa.Schema) -> pa.Table:
        file = self._whole_file()
        try:
            table = conforming(file.read(columns=columns.names, use_threads=False), columns)
            expect_log_rows(table)
            return table
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise corrupt(self._where, error) from error


def holds_metadata(end: bytes) -> bool:
    """Whether the metadata lies within the last bytes of a Parquet file: ... metadata, its length, "PAR1"."""
    return end.endswith(b"PAR1") and int.from_bytes(end[-8:-4], "little") + 8 <= len(end)


def _names_in(table: pa.Table) -> dict[str, Named]:
    """What rows hold of each name."""
    if not table.num_rows:
        return {}
    table = in_one_piece(table.select(["name", "level", "type"]))
    name, level, kind = (table[column].chunk(0) for column in ("name", "level", "type"))
    names, levels, kinds = (column.dictionary.to_pylist() for column in (name, level, kind))
    numbers = columns.codes_of(name).astype(np.int64) * len(levels) + columns.codes_of(level)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for number in np.flatnonzero(np.bincount(numbers * len(kinds) + columns.codes_of(kind))).tolist():
        rest, its_kind = divmod(number, len(kinds))
        its_name, its_level = divmod(rest, len(levels))
        of_name = found.setdefault(names[its_name], (set(), set()))
        of_name[0].add(levels[its_level])
        of_name[1].add(kinds[its_kind])
    return {text: Named(frozenset(levels), frozenset(types)) for text, (levels, types) in found.items()}


def in_one_piece(table: pa.Table) -> pa.Table:
    """Rows whose columns have one chunk each; large files come in several."""
    pieces = {column.num_chunks for column in table.columns}
    return table if pieces == {1} else table.unify_dictionaries().combine_chunks()

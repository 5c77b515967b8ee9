"""A compacted file of F: records of many runs and replays, sorted so that a feature is one slice. Of the pyarrow door.

    compacted/<project>/logs-<generation>-<hash of its bytes>.parquet

Its rows are those of LOG_FILE_SCHEMA, and two columns more: `cover`, the number of the (version, origin) that a row is
of, and `ordinal`, which gives back the order of logging. They are sorted by (name, version, origin, level, epoch, step,
iteration): the version does not go first, since a feature of ten thousand small runs would be ten thousand slices. Row
groups begin with a name where names are long. The reports of replayed segments are rows of their own behind all others.

What can be known without rows lies in the metadata (flor_compacted, JSON): the covers, for each of them the names with
their levels and types, and which names and covers each row group has. The file's name is made of its bytes, so that
what was read of it once is never of another file.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flor_ray.store import columns
from flor_ray.store.compacting.compacted_files import FOLDER, generation_in, read_groups, read_said
from flor_ray.store.compacting.coverage import Cover
from flor_ray.store.files import Files
from flor_ray.store.fragments import LOG_FILE_SCHEMA, combine, corrupt, expect_log_rows, quote
from flor_ray.store.log_files import Named, in_one_piece
from flor_ray.store.typed_values import BLOB_TYPES

Integers = npt.NDArray[np.int64]

LEVELS = ("d", "o", "i")  # as they are sorted
_INDEX = b"flor_compacted"
_PATH = re.compile(rf"{FOLDER}/[^/]+/logs-(\d{{4,}})-[0-9a-f]{{16}}\.parquet")
_PLACES = pa.schema([("cover", pa.int64()), ("ordinal", pa.int64())])
SCHEMA = pa.schema([*_PLACES, *LOG_FILE_SCHEMA])
_GROUP_ROWS = 1 << 14  # at most: what has to be read for one value
_LEAST_ROWS = 1 << 12  # of a row group before a name that begins another one: small ones cost more than they save
_REPORT = "report"  # type of the rows that are reports
_REPORT_COLUMNS = pa.schema([("cover", pa.int64()), *(LOG_FILE_SCHEMA.field(name) for name in ("name", "text"))])
_ENCODINGS = {"ordinal": "DELTA_BINARY_PACKED", "step": "DELTA_BINARY_PACKED"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a file says of a replayed segment."""

    cover: int
    segment: str  # as fragments' names have it
    text: str  # JSON


@dataclass(frozen=True, slots=True)
class CoveredRows:
    """Log records, and of each where it is of."""

    table: pa.Table  # columns of LOG_FILE_SCHEMA, in one piece each
    cover: Integers  # number of its (version, origin) in a list that is given elsewhere
    ordinal: Integers  # ascends in the order of logging, within one cover


@dataclass(frozen=True, slots=True)
class _Index:
    """What the metadata says: lists of equal length for what is counted together."""

    versions: tuple[str, ...]  # ascending, as `quote` has them
    origins: tuple[str, ...]
    names: tuple[str, ...]  # ascending
    kinds: tuple[tuple[tuple[int, str, tuple[str, ...]], ...], ...]  # number of a name, levels, types
    cover_version: tuple[int, ...]  # ascending: of each cover the number of its version, of its origin, ...
    cover_origin: tuple[int, ...]
    cover_kinds: tuple[int, ...]
    cover_rows: tuple[int, ...]
    covers: tuple[int | tuple[tuple[tuple[int, int], ...], tuple[str, ...]], ...]  # n: the records 0 to n
    groups: tuple[tuple[int, int, int, int, int], ...]  # rows; first and last name; least and greatest cover
    report_groups: int  # how many row groups follow that have reports

    @property
    def row_groups(self) -> int:
        """How many the file has."""
        return len(self.groups) + self.report_groups

    def check(self) -> None:
        """Raises ValueError unless the lists fit together."""
        count = len(self.covers)
        for given, most in (
            (self.cover_version, len(self.versions)),
            (self.cover_origin, len(self.origins)),
            (self.cover_kinds, len(self.kinds)),
        ):
            if len(given) != count or (count and not 0 <= min(given) <= max(given) < most):
                raise ValueError("its covers do not fit together")
        named = (number for kinds in self.kinds for number, _, _ in kinds)
        if not all(0 <= number < len(self.names) for number in named) or len(self.cover_rows) != count:
            raise ValueError("its names do not fit together")


def generation_of(path: str) -> int | None:
    """The generation of a compacted file; None if the path is not that of one."""
    return generation_in(_PATH, path)


class CompactedLogs:
    """A compacted file, of which only the metadata is read until rows are wanted. It never changes.

    Everything raises Damaged, naming the place, unless it holds what it should; FileNotFoundError where it is gone.
    """

    def __init__(self, files: Files, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.generation = generation_of(path) or 0
        self._files = files
        self._where = f"{files.url}/{path}"
        self._metadata, self._index = read_said(files, path, size, _INDEX, _Index)

    # --- what it says ---------------------------------------------------------------------------------------------

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """The version and the origin of each cover."""
        index = self._index
        pairs = zip(index.cover_version, index.cover_origin, strict=True)
        return [(index.versions[version], index.origins[origin]) for version, origin in pairs]

    def place(self, number: int) -> tuple[str, str]:
        """The version and the origin of a cover."""
        index = self._index
        return index.versions[index.cover_version[number]], index.origins[index.cover_origin[number]]

    def covers_of(self, version: str) -> range:
        """Numbers of the covers of a version."""
        index = self._index
        at = bisect_left(index.versions, quote(version), key=quote)
        if at == len(index.versions) or index.versions[at] != version:
            return range(0)
        return range(bisect_left(index.cover_version, at), bisect_left(index.cover_version, at + 1))

    @property
    def rows_of(self) -> Sequence[int]:
        """How many rows each cover has."""
        return self._index.cover_rows

    def cover(self, number: int) -> Cover:
        """The cover with this number."""
        told = self._index.covers[number]
        return Cover(((0, told),)) if isinstance(told, int) else Cover(*told)

    def kinds(self, number: int) -> Mapping[str, Named]:
        """What a cover has of each name."""
        return self._named[self._index.cover_kinds[number]]

    def names_of(self, covers: Collection[int]) -> set[str]:
        """Names of all that these covers have."""
        several = {self._index.cover_kinds[number] for number in covers}
        return {name for kinds in several for name in self._named[kinds]}

    @cached_property
    def _named(self) -> list[dict[str, Named]]:
        names = self._index.names
        return [
            {names[name]: Named(frozenset(levels), frozenset(types)) for name, levels, types in kinds}
            for kinds in self._index.kinds
        ]

    # --- rows -----------------------------------------------------------------------------------------------------

    def rows(
        self, covers: Collection[int], names: Collection[str] | None = None, wanted: pa.Schema = LOG_FILE_SCHEMA
    ) -> CoveredRows:
        """The rows of these covers, of all names or of some, in the order of the file, with the columns of `wanted`;
        `name` is one of them."""
        among = self._among(covers)
        return self._of_groups(self._groups(among, names), among, names, wanted)

    def parts(
        self, covers: Collection[int], names: Collection[str] | None, wanted: pa.Schema, most_rows: int
    ) -> Iterator[CoveredRows]:
        """What `rows` answers, about so many at a time: less is in memory then than the whole."""
        among = self._among(covers)
        part: list[int] = []
        for group in self._groups(among, names):
            if part and sum(self._index.groups[one][0] for one in [*part, group]) > most_rows:
                yield self._of_groups(part, among, names, wanted)
                part = []
            part.append(group)
        if part:
            yield self._of_groups(part, among, names, wanted)

    def _among(self, covers: Collection[int]) -> npt.NDArray[np.bool_]:
        among = np.zeros(len(self._index.covers), bool)
        among[list(covers)] = True
        return among

    def _of_groups(
        self, groups: Sequence[int], among: npt.NDArray[np.bool_], names: Collection[str] | None, wanted: pa.Schema
    ) -> CoveredRows:
        table = in_one_piece(self._read(groups, pa.schema([*_PLACES, *wanted])))
        kept = self._kept(table, among, names)
        if kept is not None:
            table = columns.taken(table, kept)
        cover, ordinal = (self._column(table, name) for name in _PLACES.names)
        return CoveredRows(table.select(wanted.names), cover, ordinal)

    def _kept(self, table: pa.Table, wanted: npt.NDArray[np.bool_], names: Collection[str] | None) -> Integers | None:
        """Numbers of the rows that are wanted; None if all are."""
        if not table.num_rows:
            return None
        found = wanted[self._column(table, "cover")]
        if names is not None:
            name = table["name"].chunk(0)
            known = np.array([text in names for text in name.dictionary.to_pylist()], bool)
            found &= known[columns.codes_of(name)]
        return None if found.all() else np.flatnonzero(found)

    def _groups(self, wanted: npt.NDArray[np.bool_], names: Collection[str] | None) -> list[int]:
        """The row groups that have any of these covers and names."""
        index = self._index
        among = np.concatenate([[0], np.cumsum(wanted)])
        numbers = None
        if names is not None:
            numbers = sorted(
                at for name in names for at in [bisect_left(index.names, name)] if index.names[at : at + 1] == (name,)
            )
        found = []
        for group, (_, first_name, last_name, least, greatest) in enumerate(index.groups):
            if not 0 <= least <= greatest < len(wanted) or among[greatest + 1] == among[least]:
                continue
            if numbers is not None and bisect_left(numbers, first_name) == bisect_left(numbers, last_name + 1):
                continue
            found.append(group)
        return found

    def reports(self, covers: Collection[int]) -> list[Report]:
        """Of the replayed segments of these covers, in their order."""
        if not any(self.cover(number).segments for number in covers):
            return []
        first = len(self._index.groups)
        table = self._read(list(range(first, first + self._index.report_groups)), _REPORT_COLUMNS)
        rows = zip(*(table[name].to_pylist() for name in _REPORT_COLUMNS.names), strict=True)
        kept = set(covers)
        return [Report(cover, segment, text or "") for cover, segment, text in rows if cover in kept]

    def blob_keys(self) -> dict[str, set[str]]:
        """Objects in S that its values refer to, by version."""
        found: dict[str, set[str]] = {version: set() for version in self._index.versions}
        names = {name for kinds in self._named for name, kind in kinds.items() if not kind.types.isdisjoint(BLOB_TYPES)}
        for group in self._groups(np.ones(len(self._index.covers), bool), names):
            table = self._read([group], pa.schema([SCHEMA.field(name) for name in ("cover", "type", "text")]))
            for cover, kind, text in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
                if kind in BLOB_TYPES:
                    found[self.places[cover][0]].add(text)
        return found

    def _column(self, table: pa.Table, name: str) -> Integers:
        if not table.num_rows:
            return np.zeros(0, np.int64)
        return columns.integers_of(table[name].chunk(0), 0)

    def _read(self, groups: Sequence[int], wanted: pa.Schema) -> pa.Table:
        """Columns of row groups, checked."""
        table = read_groups(self._files, self.path, self.size, self._metadata, groups, wanted)
        try:
            self._expect(table)
            return table
        except ValueError as error:
            raise corrupt(self._where, error) from error

    def _expect(self, table: pa.Table) -> None:
        expect_log_rows(table)
        for name, limit in (("cover", len(self._index.covers)), ("ordinal", 1 << 62)):
            for chunk in table[name].chunks if name in table.column_names else ():
                numbers = columns.integers_of(chunk, -1)
                if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < limit:
                    raise ValueError(f"a row has an impossible {name}")


# --- writing --------------------------------------------------------------------------------------------------------


def to_bytes(
    places: Sequence[tuple[str, str]],
    covers: Sequence[Cover],
    rows: CoveredRows,
    reports: Sequence[Report],
) -> bytes:
    """A compacted file. `places` are the version and the origin of each cover, by version as `quote` has them, and
    `rows.table` has the columns of LOG_FILE_SCHEMA in one piece each."""
    names, name = _ranked(rows.table["name"])
    level = _depths(rows.table["level"])
    keys = [
        columns.integers_of(rows.table[part].chunk(0), -1) + 1 if len(name) else name
        for part in ("epoch", "step", "iteration")
    ]
    key = combine(combine(name, rows.cover), level)
    kinds, of_cover = _kinds(rows, names, name, level, len(places))
    for part in keys:
        key = combine(key, part)
    order = np.argsort(key, kind="stable")
    versions = list(dict.fromkeys(version for version, _ in places))
    origins = list(dict.fromkeys(origin for _, origin in places))
    cuts = _cuts(name[order])
    described = {
        "versions": versions,
        "origins": origins,
        "names": names,
        "kinds": kinds,
        "cover_version": _positions([version for version, _ in places], versions),
        "cover_origin": _positions([origin for _, origin in places], origins),
        "cover_kinds": of_cover,
        "cover_rows": np.bincount(rows.cover, minlength=len(places)).tolist(),
        "covers": [_told(cover) for cover in covers],
        "groups": [_group(name[order[a:b]], rows.cover[order[a:b]]) for a, b in cuts],
        "report_groups": len(range(0, len(reports), _GROUP_ROWS)),
    }
    sink = pa.BufferOutputStream()
    with _writer(sink, SCHEMA) as writer:
        for a, b in cuts:
            writer.write_table(_slice(rows, order[a:b], SCHEMA))
        for first in range(0, len(reports), _GROUP_ROWS):
            writer.write_table(_report_rows(reports[first : first + _GROUP_ROWS], SCHEMA))
        # Not with the schema, of which the file has a copy: its end would be twice as long.
        writer.add_key_value_metadata({_INDEX: json.dumps(described, separators=(",", ":")).encode()})
    return bytes(sink.getvalue().to_pybytes())


def _writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    repeating = ["cover", "epoch", "iteration", "level", "name", "type", "integer"]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=repeating,
        column_encoding=_ENCODINGS,
        write_statistics=["name", "cover", "epoch", "step"],
    )


def _ranked(column: pa.ChunkedArray) -> tuple[list[str], Integers]:
    """The texts of a column of symbols, ascending, and of each row the number of its text."""
    if not len(column):
        return [], np.zeros(0, np.int64)
    codes, texts = columns.codes_of(column.chunk(0)), column.chunk(0).dictionary.to_pylist()
    used = sorted({texts[code] for code in np.flatnonzero(np.bincount(codes))})
    position = {text: number for number, text in enumerate(used)}
    return used, np.array([position.get(text, 0) for text in texts], np.int64)[codes]


def _depths(column: pa.ChunkedArray) -> Integers:
    if not len(column):
        return np.zeros(0, np.int64)
    texts = column.chunk(0).dictionary.to_pylist()
    depth = [LEVELS.index(text) if text in LEVELS else len(LEVELS) for text in texts]
    return np.array(depth, np.int64)[columns.codes_of(column.chunk(0))]


def _kinds(
    rows: CoveredRows, names: Sequence[str], name: Integers, level: Integers, count: int
) -> tuple[list[Any], list[int]]:
    """Each set of names, levels and types that a cover has, and of each cover which of them it has."""
    found: list[dict[int, tuple[set[str], set[str]]]] = [{} for _ in range(count)]
    if len(name):
        levels = rows.table["level"].chunk(0)
        kinds = rows.table["type"].chunk(0)
        level_texts, kind_texts = levels.dictionary.to_pylist(), kinds.dictionary.to_pylist()
        level_codes, kind_codes = columns.codes_of(levels).astype(np.int64), columns.codes_of(kinds).astype(np.int64)
        small = (name * len(level_texts) + level_codes) * len(kind_texts) + kind_codes
        several = np.unique(rows.cover * (len(names) * len(level_texts) * len(kind_texts)) + small)
        for number in several.tolist():
            rest, kind = divmod(number, len(kind_texts))
            rest, at = divmod(rest, len(level_texts))
            cover, of_name = divmod(rest, len(names))
            sets = found[cover].setdefault(of_name, (set(), set()))
            sets[0].add(level_texts[at])
            sets[1].add(kind_texts[kind])
    distinct: dict[str, int] = {}
    plain = [[[n, "".join(sorted(one)), sorted(other)] for n, (one, other) in sorted(own.items())] for own in found]
    of_cover = [distinct.setdefault(json.dumps(own), len(distinct)) for own in plain]
    return [json.loads(text) for text in distinct], of_cover


def _positions(texts: Sequence[str], known: Sequence[str]) -> list[int]:
    position = {text: number for number, text in enumerate(known)}
    return [position[text] for text in texts]


def _told(cover: Cover) -> object:
    if not cover.segments and len(cover.ranges) == 1 and cover.ranges[0][0] == 0:
        return cover.ranges[0][1]
    return [cover.ranges, cover.segments]


def _cuts(names: Integers) -> list[tuple[int, int]]:
    """Where row groups begin and end, of rows with these names."""
    starts = [0, *(np.flatnonzero(np.diff(names)) + 1).tolist(), len(names)] if len(names) else [0]
    found: list[tuple[int, int]] = []
    begun = 0
    for end in starts[1:]:
        while end - begun > _GROUP_ROWS:
            found.append((begun, begun + _GROUP_ROWS))
            begun += _GROUP_ROWS
        if end - begun >= _LEAST_ROWS or end == len(names):
            found.append((begun, end))
            begun = end
    return [(a, b) for a, b in found if b > a]


def _group(names: Integers, covers: Integers) -> list[int]:
    return [len(names), int(names[0]), int(names[-1]), int(covers.min()), int(covers.max())]


def _slice(rows: CoveredRows, chosen: Integers, schema: pa.Schema) -> pa.Table:
    """Some rows, with no more texts than they have."""
    taken = columns.taken(rows.table, chosen)
    places = [columns.integers(part[chosen]) for part in (rows.cover, rows.ordinal)]
    found = dict(zip(taken.column_names, taken.columns, strict=True))
    names, name = _ranked(found["name"])
    found["name"] = columns.symbols(name.astype(np.int32), names)
    return pa.Table.from_arrays([*places, *(found[part] for part in LOG_FILE_SCHEMA.names)], schema=schema)


def _report_rows(reports: Sequence[Report], schema: pa.Schema) -> pa.Table:
    count = len(reports)
    given: dict[str, list[Any]] = {name: [None] * count for name in schema.names}
    given |= {
        "cover": [report.cover for report in reports],
        "ordinal": [0] * count,
        "name": [report.segment for report in reports],
        "iteration": [0] * count,
        "level": [LEVELS[0]] * count,
        "type": [_REPORT] * count,
        "text": [report.text for report in reports],
    }
    return columns.table(given, schema)

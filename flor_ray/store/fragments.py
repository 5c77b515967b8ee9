"""Immutable Parquet fragments: their names, their columns, and how several of them become one table.

A fragment of F is called

    <origin>.<first>-<last>.parquet    records first to last of a run or replay, counted from 0; they can be merged
    <origin>.<segment>.parquet         a replayed segment, with its report in the file's metadata (`log_files`)

Readers ignore a fragment whose range lies within that of another one of the same origin. So a merge may write
[0-9] + [10-19] -> [0-19] and then delete the two, and be killed anywhere: no row is seen twice or missed.

With `store` and `log_files` this is the pyarrow door.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flor_ray.errors import Damaged
from flor_ray.records import Checkpoint, EpochTimes, LogRecord, Point, Skip, Value
from flor_ray.store import bounds, columns
from flor_ray.store.columns import SYMBOL

LOG_FILE_SCHEMA = pa.schema(
    [
        pa.field("level", SYMBOL),
        pa.field("epoch", pa.int64()),
        pa.field("step", pa.int64()),
        pa.field("name", SYMBOL),
        pa.field("iteration", pa.int64()),
        pa.field("type", SYMBOL),
        pa.field("number", pa.float64()),
        pa.field("integer", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("timestamp", pa.float64()),
    ]
)
LOG_SCHEMA = pa.schema(
    [
        pa.field("project", SYMBOL),
        pa.field("version", SYMBOL),
        pa.field("origin", SYMBOL),
        *LOG_FILE_SCHEMA,
    ]
)
CHECKPOINT_FILE_SCHEMA = pa.schema(
    [
        pa.field("filename", pa.string()),
        pa.field("line", pa.int64()),
        pa.field("epoch", pa.int64()),
        pa.field("point", pa.string()),
        pa.field("key", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("captured", pa.list_(pa.string())),
        pa.field("uncaptured", pa.list_(pa.string())),
        pa.field("opaque", pa.list_(pa.string())),
        pa.field("background_seconds", pa.float64()),
        pa.field("why", pa.string()),
        pa.field("head_seconds", pa.float64()),
        pa.field("inner_seconds", pa.float64()),
        pa.field("tail_seconds", pa.float64()),
    ]
)
SOURCE_FILE_SCHEMA = pa.schema(
    [
        pa.field("version", pa.string()),
        pa.field("filename", pa.binary()),  # git's file names are bytes
        pa.field("parent", pa.string()),
        pa.field("oid", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("key", pa.string()),
        pa.field("bytes", pa.int64()),
    ]
)

RECORDED = "recorded"
NO_LOGS = columns.table_of_rows([], LOG_FILE_SCHEMA)  # `empty_table` would import pandas
# Bytes of a table in memory, up to which neither zstd nor statistics are used. zstd makes its own tables anew for each
# column, which takes several times as long as reading a small one does, and makes no small file smaller.
_SMALL_BYTES = 1 << 18
_TIMES = ("head_seconds", "inner_seconds", "tail_seconds")
_OF_CHECKPOINTS = ("filename", "line", "bytes", "seconds", "captured", "uncaptured", "opaque")
_POINT_ORDER = {Point.NESTED_EXIT: 0, Point.EPOCH_END: 1}
_RANGE = re.compile(r"(\d{12,})-(\d{12,})")
_SUFFIX = ".parquet"
_MOST_ORDINAL = 1 << 48  # of epochs, steps and iterations: sums of them stay integers


# --- names ----------------------------------------------------------------------------------------------------------


def quote(name: str) -> str:
    """A name as one folder or file name: letters, digits, - and _ stay, all else becomes ~ and hexadecimal bytes."""
    plain = re.sub(r"[^A-Za-z0-9_-]", lambda m: "".join(f"~{b:02X}" for b in _bytes(m.group())), name)
    return plain or "~"


def unquoted(text: str) -> str:
    return "" if text == "~" else unquote(text.replace("~", "%"), errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A file of F: a range of records, or a segment of a replay."""

    folder: str  # log_records/<project>/<version>
    origin: str
    first: int = -1
    last: int = -1
    segment: str | None = None  # then there is no range

    @property
    def path(self) -> str:
        """Where it is in the store."""
        tail = self.segment if self.segment is not None else f"{self.first:012d}-{self.last:012d}"
        return f"{self.folder}/{self.origin}.{tail}{_SUFFIX}"

    @property
    def version(self) -> str:
        return unquoted(self.folder.rpartition("/")[2])


def parse(path: str) -> Fragment | None:
    """The fragment that a path names, None if it is not one."""
    folder, _, name = path.rpartition("/")
    origin, _, tail = name.removesuffix(_SUFFIX).rpartition(".")
    if not name.endswith(_SUFFIX) or not origin:
        return None
    numbers = _RANGE.fullmatch(tail)
    if numbers:
        return Fragment(folder, origin, int(numbers[1]), int(numbers[2]))
    return Fragment(folder, origin, segment=tail)


def visible(fragments: Iterable[Fragment]) -> list[Fragment]:
    """Those to read, in order of precedence per version: recorded first, then the newest replay.

    A range within another range of the same origin has been merged into it.
    """
    ordered = sorted(fragments, key=lambda f: (f.folder, f.origin, f.first, -f.last, f.segment or ""))
    kept: list[Fragment] = []
    reached: dict[tuple[str, str], int] = {}
    for fragment in ordered:
        place = (fragment.folder, fragment.origin)
        if fragment.segment is None:
            if fragment.last <= reached.get(place, -1):
                continue
            reached[place] = fragment.last
        kept.append(fragment)
    kept.sort(key=lambda f: f.origin, reverse=True)  # stable, so ranges stay in order
    return sorted(kept, key=lambda f: (f.folder, f.origin != RECORDED))


def mergeable(fragments: Iterable[Fragment]) -> list[list[Fragment]]:
    """Visible ranges of one origin, grouped where one begins right after the other ends; groups of one left out."""
    groups: list[list[Fragment]] = []
    for fragment in visible(f for f in fragments if f.segment is None):
        if groups and fragment.first == groups[-1][-1].last + 1:
            groups[-1].append(fragment)
        else:
            groups.append([fragment])
    return [group for group in groups if len(group) > 1]


# --- files ----------------------------------------------------------------------------------------------------------


def to_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    large = table.nbytes > _SMALL_BYTES
    # Dictionaries of columns that hardly repeat are built in vain, and in small files cost more than they save.
    repeat = [f.name for f in table.schema if f.type == SYMBOL or (large and f.type == pa.int64())]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd" if large else "snappy", use_dictionary=repeat, write_statistics=large
    )
    return bytes(sink.getvalue().to_pybytes())


def from_bytes(data: bytes, schema: pa.Schema, where: str) -> pa.Table:
    """Raises Damaged, naming `where`, unless it is a whole Parquet file with these columns."""
    try:
        table = conforming(bounds.parquet(data).read(columns=schema.names, use_threads=False), schema)
        if schema is CHECKPOINT_FILE_SCHEMA:
            expect_checkpoint_rows(table)
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise corrupt(where, error) from error


def conforming(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """What was read of a file, with exactly these columns. Raises pa.ArrowException, ValueError or KeyError."""
    table = table.replace_schema_metadata(None)
    return table if table.schema == schema else table.cast(schema)


def corrupt(where: str, error: Exception) -> Damaged:
    """The error for a file at `where` that cannot be read."""
    return Damaged(
        f"{where} is not a whole Parquet file of flor_ray ({type(error).__name__}: {error}). Restore it from a backup, "
        "or delete it: its rows are lost then, and a replay can compute them again."
    )


# --- rows of F ------------------------------------------------------------------------------------------------------


def log_table(records: Sequence[LogRecord], values: Sequence[Value], keys: Sequence[str]) -> pa.Table:
    """Records with their stored values; `keys` are those of the values' blobs, in order."""
    key = iter(keys)
    named: dict[str, list[Any]] = {
        "level": [r.level.value for r in records],
        "epoch": [r.epoch for r in records],
        "step": [r.step for r in records],
        "name": [r.name for r in records],
        "iteration": [r.iteration for r in records],
        "type": [v.type for v in values],
        "number": [v.number for v in values],
        "integer": [v.integer for v in values],
        "text": [v.text if v.blob is None else next(key) for v in values],
        "timestamp": [r.timestamp for r in records],
    }
    return columns.table(named, LOG_FILE_SCHEMA)


def only(table: pa.Table, names: Collection[str]) -> pa.Table:
    """The rows of these names. The columns of `table` are in one piece each."""
    if not table.num_rows:
        return table
    name = table["name"].chunk(0)
    wanted = np.array([text in names for text in name.dictionary.to_pylist()], bool)
    if wanted.all():
        return table
    return columns.taken(table, np.flatnonzero(wanted[columns.codes_of(name)]))


def combine(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number per pair of non-negative numbers; equal for equal pairs only, and in the pairs' order."""
    if not len(left):
        return left
    span = int(right.max()) + 1
    if (int(left.max()) + 1) * span >= 2**62:
        left = np.unique(left, return_inverse=True)[1].astype(np.int64)
        if (int(left.max()) + 1) * span >= 2**62:
            right = np.unique(right, return_inverse=True)[1].astype(np.int64)
            span = int(right.max()) + 1
    return left * span + right


# --- rows of C ------------------------------------------------------------------------------------------------------


def checkpoint_table(checkpoint: Checkpoint, times: EpochTimes | None) -> pa.Table:
    """One row of C: a checkpoint, with the times of the epoch that it ends, if any."""
    row = {field.name: getattr(checkpoint, field.name, None) for field in CHECKPOINT_FILE_SCHEMA}
    row["point"] = checkpoint.point.value
    row |= {name: sorted(getattr(checkpoint, name)) for name in ("captured", "uncaptured", "opaque")}
    row |= {name: getattr(times, name, None) for name in _TIMES}
    return columns.table_of_rows([row], CHECKPOINT_FILE_SCHEMA)


def skip_table(skips: Iterable[Skip]) -> pa.Table:
    """Rows without a key."""
    rows = []
    for skip in skips:
        row: dict[str, Any] = dict.fromkeys(CHECKPOINT_FILE_SCHEMA.names)
        row |= {"epoch": skip.epoch, "point": Point.EPOCH_END.value, "why": skip.why}
        rows.append(row | {name: getattr(skip.times, name) for name in _TIMES})
    return columns.table_of_rows(rows, CHECKPOINT_FILE_SCHEMA)


def expect_log_rows(table: pa.Table) -> None:
    """Rows of F must have what all have, in ranges that are there. Raises ValueError."""
    for name in ("level", "name", "iteration", "type"):
        if name in table.column_names and table[name].null_count:
            raise ValueError(f"a row has no {name}")
    for name, least in (("epoch", 1), ("step", 0), ("iteration", 0)):
        if name not in table.column_names:
            continue
        for chunk in table[name].chunks:
            numbers = columns.integers_of(chunk, least)
            if len(numbers) and not least <= int(numbers.min()) <= int(numbers.max()) < _MOST_ORDINAL:
                raise ValueError(f"a row has an impossible {name}")


def expect_checkpoint_rows(table: pa.Table) -> None:
    """Rows of C must be of an epoch and a point that there are. Raises ValueError."""
    points = {point.value for point in Point}
    for row in table.to_pylist():
        if row["point"] not in points or not isinstance(row["epoch"], int) or not 0 <= row["epoch"] < _MOST_ORDINAL:
            raise ValueError(f"there is no point {row['point']!r:.40} of an epoch {row['epoch']}")
        told = _OF_CHECKPOINTS if row["key"] else _TIMES if row["key"] is None else ()
        if lacking := [name for name in told if row[name] is None]:
            raise ValueError(f"the row of epoch {row['epoch']} has no {lacking[0]}")


def checkpoint_rows(tables: Iterable[pa.Table]) -> list[dict[str, Any]]:
    """Rows in the order in which they were taken; each (epoch, point) once, should a merge have doubled it.

    A checkpoint (a row with a key) goes before a skip (None): the last epoch's is taken when the loop has turned out to
    be over. Before both goes a checkpoint that was dropped (""): nothing brings it back.
    """
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for row in (row for table in tables for row in table.to_pylist()):
        other = rows.get((row["epoch"], row["point"]), row)
        times = {name: other[name] if row[name] is None else row[name] for name in _TIMES}
        stands = max(other, row, key=lambda row: (row["key"] is not None, row["key"] == ""))
        rows[row["epoch"], row["point"]] = stands | times
    return [rows[key] for key in sorted(rows, key=lambda key: (key[0], _POINT_ORDER[Point(key[1])]))]


def checkpoint_of(row: Mapping[str, Any], version: str) -> Checkpoint:
    """The checkpoint in a row of C; the version is in the file's path only."""
    return Checkpoint(
        version=version,
        filename=row["filename"],
        line=row["line"],
        epoch=row["epoch"],
        point=Point(row["point"]),
        key=row["key"],
        bytes=row["bytes"],
        seconds=row["seconds"],
        captured=frozenset(row["captured"]),
        uncaptured=frozenset(row["uncaptured"]),
        opaque=frozenset(row["opaque"]),
        background_seconds=row["background_seconds"],
        why=row["why"],
    )


def times_of(rows: Iterable[Mapping[str, Any]]) -> tuple[EpochTimes, ...]:
    """By epoch, of the epochs whose times are known."""
    known = {
        row["epoch"]: EpochTimes(row["epoch"], *(row[part] for part in _TIMES))
        for row in rows
        if row[_TIMES[0]] is not None
    }
    return tuple(known[epoch] for epoch in sorted(known))

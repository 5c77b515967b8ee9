"""A compacted file of E: many runs, each with the text of the file that it was in. Of the pyarrow door.

    compacted/<project>/runs-<generation>-<hash of its bytes>.parquet

A row is a run: what the file said that was read of it (`row`), the columns that lists need, beside it, and what it said
of the files that it wrote. A run that crashed is as it was rebuilt from its log; `begin` is what it said itself, should
it turn out to live. Rows are ordered by version. What the file covers lies in its metadata (flor_runs, JSON): the
versions, which of them have ended, and how many rows each row group has.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flor_ray.records import IMPORTED, Experiment, Status
from flor_ray.store import checks, columns
from flor_ray.store.columns import SYMBOL
from flor_ray.store.compacting.compacted_files import FOLDER, generation_in, read_groups, read_said
from flor_ray.store.files import Files
from flor_ray.store.fragments import corrupt, quote

_COVERS = b"flor_runs"
_PATH = re.compile(rf"{FOLDER}/[^/]+/runs-(\d{{4,}})-[0-9a-f]{{16}}\.parquet")
_GROUP_ROWS = 256  # of which one is wanted most often
_LISTED = [
    pa.field("version", pa.string()),
    pa.field("run", SYMBOL),
    pa.field("script", SYMBOL),
    pa.field("started", pa.float64()),
    pa.field("ended", pa.float64()),
    pa.field("status", SYMBOL),
    pa.field("epochs", pa.int64()),
    pa.field("error", SYMBOL),
    pa.field("args", pa.string()),
]
SCHEMA = pa.schema(
    [*_LISTED, pa.field("row", pa.string()), pa.field("begin", pa.string()), pa.field("files", pa.string())]
)


def _imported_from(run: Experiment) -> str:
    about = run.environment.get(IMPORTED)
    return f"from {about.get('from')}" if isinstance(about, Mapping) else ""


@dataclass(frozen=True, slots=True)
class ListedRun:
    """What lists show of a run."""

    version: str
    run: str  # its name, "" if it has none
    script: str  # or, of an imported run, "from" which program it is
    started: float  # unix seconds
    ended: float | None
    status: Status
    epochs: int
    error: str | None
    args_json: str

    @classmethod
    def of(cls, run: Experiment) -> ListedRun:
        """What lists show of this run."""
        args = json.dumps(run.args, default=repr)
        script = run.script or _imported_from(run)
        return cls(run.version, run.run, script, run.started, run.ended, run.status, run.epochs, run.error, args)

    @property
    def args(self) -> dict[str, object]:
        """The values of flor.arg."""
        found: dict[str, object] = checks.parsed(self.args_json)
        return found


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as a compacted file has it."""

    version: str
    row: str  # JSON, of how it ended or as what it was rebuilt
    begin: str | None  # JSON, of one that never said how it ended
    files: str | None  # JSON, of what it wrote; None: it did not say


@dataclass(frozen=True, slots=True)
class _Covers:
    versions: tuple[str, ...]  # ascending, as `quote` has them
    ended: tuple[int, ...]  # 1: how it ended was said
    files: tuple[int, ...]  # 1: what it wrote was said
    groups: tuple[int, ...]  # rows of each row group

    @property
    def row_groups(self) -> int:
        """How many the file has."""
        return len(self.groups)

    def check(self) -> None:
        """Raises ValueError unless the lists fit together."""
        if not len(self.versions) == len(self.ended) == len(self.files) == sum(self.groups):
            raise ValueError("its covers do not fit together")


def generation_of(path: str) -> int | None:
    """The generation of a compacted file; None if the path is not that of one."""
    return generation_in(_PATH, path)


class CompactedRuns:
    """A compacted file, of which only the metadata is read until a run is wanted. It never changes.

    Everything raises Damaged, naming the place, unless it holds what it should; FileNotFoundError where it is gone.
    """

    def __init__(self, files: Files, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.generation = generation_of(path) or 0
        self.where = f"{files.url}/{path}"
        self._files = files
        self._metadata, self._covers = read_said(files, path, size, _COVERS, _Covers)

    @property
    def versions(self) -> Sequence[str]:
        """Ascending, as `quote` has them."""
        return self._covers.versions

    def has_ended(self, number: int) -> bool:
        """Whether the run with this number said how it ended."""
        return self._covers.ended[number] == 1

    def has_files(self, number: int) -> bool:
        """Whether the run with this number said which files it wrote."""
        return self._covers.files[number] == 1

    def knows(self, number: int) -> tuple[bool, bool]:
        """How much the file says of a run: what is greater is read. A compactor that another one overtakes may not find
        what a run wrote."""
        return self.has_ended(number), self.has_files(number)

    def number(self, version: str) -> int | None:
        """That of a version's run; None if it has none."""
        at = bisect_left(self.versions, quote(version), key=quote)
        return at if at < len(self.versions) and self.versions[at] == version else None

    def kept(self, numbers: Collection[int]) -> list[KeptRun]:
        """The runs with these numbers, in their order."""
        found = []
        wanted = sorted(numbers)
        for group, first, last in self._groups():
            here = wanted[bisect_left(wanted, first) : bisect_left(wanted, last)]
            if here:
                rows = self._read([group], ["version", "row", "begin", "files"], last - first)
                for number in here:
                    version, row, begin, files = (column[number - first] for column in rows)
                    if version != self.versions[number] or row is None:
                        raise corrupt(
                            self.where, ValueError(f"row {number} is not of version {self.versions[number]!r:.60}")
                        )
                    found.append(KeptRun(version, row, begin, files))
        return found

    def _groups(self) -> list[tuple[int, int, int]]:
        """Of each row group its number, and those of its first run and of the one behind its last."""
        found, first = [], 0
        for group, rows in enumerate(self._covers.groups):
            found.append((group, first, first + rows))
            first += rows
        return found

    def listed(self) -> list[ListedRun]:
        """What lists show, of all runs."""
        names = [field.name for field in fields(ListedRun) if field.name != "args_json"]
        rows = self._read(list(range(self._metadata.num_row_groups)), [*names, "args"], len(self.versions))
        position = names.index("status")
        try:
            known = {text: Status(text) for text in set(rows[position])}
            rows[position] = [known[text] for text in rows[position]]
            found = list(map(ListedRun, *rows))
            if tuple(one.version for one in found) != self.versions:
                raise ValueError("its rows are not of the versions that it names")
            return found
        except (ValueError, TypeError) as error:
            raise corrupt(self.where, error) from error

    def _read(self, groups: Sequence[int], names: Sequence[str], count: int) -> list[list[Any]]:
        """Columns of row groups, which have so many rows, as lists."""
        schema = pa.schema([SCHEMA.field(name) for name in names])
        table = read_groups(self._files, self.path, self.size, self._metadata, groups, schema)
        if table.num_rows != count:
            raise corrupt(self.where, ValueError(f"it has {table.num_rows} rows, and says {count}"))
        return [
            columns.texts_of(table[name]) if kind == SYMBOL else table[name].to_pylist()
            for name, kind in zip(schema.names, schema.types, strict=True)
        ]


def to_bytes(found: Sequence[tuple[KeptRun, ListedRun]]) -> bytes:
    """A compacted file of runs, which are sorted by version as `quote` has them."""
    described = {
        "versions": [kept.version for kept, _ in found],
        "ended": [int(kept.begin is None) for kept, _ in found],
        "files": [int(kept.files is not None) for kept, _ in found],
        "groups": [len(found[first : first + _GROUP_ROWS]) for first in range(0, len(found), _GROUP_ROWS)],
    }
    sink = pa.BufferOutputStream()
    symbols = [field.name for field in SCHEMA if field.type == SYMBOL]
    with pq.ParquetWriter(
        sink, SCHEMA, compression="zstd", use_dictionary=symbols, write_statistics=["started"]
    ) as writer:
        for first in range(0, len(found), _GROUP_ROWS):
            writer.write_table(_rows(found[first : first + _GROUP_ROWS], SCHEMA))
        # Not with the schema, of which the file has a copy: its end would be twice as long.
        writer.add_key_value_metadata({_COVERS: json.dumps(described, separators=(",", ":")).encode()})
    return bytes(sink.getvalue().to_pybytes())


def _rows(found: Sequence[tuple[KeptRun, ListedRun]], schema: pa.Schema) -> pa.Table:
    listed = [run for _, run in found]
    given: dict[str, list[Any]] = {
        field.name: [getattr(one, field.name) for one in listed]
        for field in fields(ListedRun)
        if field.name != "status"
    }
    given["status"] = [one.status.value for one in listed]
    given["args"] = given.pop("args_json")
    given |= {name: [getattr(kept, name) for kept, _ in found] for name in ("row", "begin", "files")}
    return columns.table(given, schema)

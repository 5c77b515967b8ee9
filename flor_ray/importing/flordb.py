"""FlorDB's runs: JSONL of 4.x, .flor.json of 3.x, and the SQLite files of both.

    flor.log, flor.arg     values where they were logged, with the types that JSON has; SQLite has texts, which become
                           what Python would print so
    a top-level loop       the main loop, in epochs from 1: of several, one with a nested loop, and of those the
                           one with most values
    its nested loops       steps from 0
    what a loop yields     as <loop>_value, like in FlorDB's own frames, where it is not just the iteration's number

FlorDB 4 counts iterations from 0, FlorDB 3 from 1. Values of other top-level loops are outside the main loop, in the
order in which they were logged.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flor_ray import redaction
from flor_ray.errors import SourceUnreadable
from flor_ray.importing import databases
from flor_ray.importing.found_runs import LARGEST_RECORD, FoundRun, RunContents, from_text, parsed
from flor_ray.wording import counted, printable, size

TABLES = {"logs": frozenset({"projid", "tstamp", "filename", "value_name", "value", "value_type"})}
JSON_FILE, JSONL_SUFFIX = ".flor.json", ".jsonl"
_LOGGED = 1  # value_type of flor.log and flor.arg
_OTHER_TYPES = {2: "lines of output", 3: "times of FlorDB's own", 4: "starts of runs"}
_DEEPEST = 100  # loops in loops

Path = tuple[tuple[str, "int | None", "str | None"], ...]  # loops around a record, outermost first: name, number, value


@dataclass(frozen=True, slots=True)
class FlorRow:
    """A record as FlorDB has it."""

    path: Path
    name: str
    value: object


# --- what a run holds -----------------------------------------------------------------------------------------------


def _read(rows: Callable[[RunContents], Iterable[FlorRow]], tstamp: str, first: int) -> RunContents:
    """A run whose loops count from `first`. `rows` is asked twice, so that nothing but values is held."""
    found, uncounted = RunContents(), RunContents()
    if (moment := _moment(tstamp)) is not None:
        found.seen(moment)
    when = found.started or 0.0
    loops = _RunLoops.of(row.path for row in rows(uncounted))
    found.main_loop, found.nested_loop = loops.main, loops.nested[0] if loops.nested else None
    place = _LoopPlaces(loops.main, first)
    for row in rows(found):
        epoch, step = place.of(row.path)
        for name, value, *at in place.yielded(row.path):
            found.log.add(name, value, when, *at)
        name = printable(row.name)
        found.log.add(name, redaction.hide(name, row.value), when, epoch, step)
    found.notes += loops.sentences()
    return found


def _moment(tstamp: str) -> float | None:
    """Local time, which is what FlorDB notes."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return datetime.datetime.fromisoformat(tstamp).timestamp()
    return None


@dataclass(frozen=True, slots=True)
class _RunLoops:
    """The names of a run's loops."""

    main: str | None
    nested: tuple[str, ...]
    others: tuple[str, ...]  # beside the main loop
    deeper: tuple[str, ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> _RunLoops:
        counts: dict[str, int] = {}
        below: dict[str, dict[str, None]] = {}
        deeper: dict[str, dict[str, None]] = {}
        for path in paths:
            if path:
                top = path[0][0]
                counts[top] = counts.get(top, 0) + 1
                if len(path) > 1:
                    below.setdefault(top, {})[path[1][0]] = None
                    deeper.setdefault(top, {}).update(dict.fromkeys(name for name, *_ in path[2:]))
        main = max(counts, key=lambda name: (name in below, counts[name]), default=None)
        others = tuple(name for name in counts if name != main)
        return cls(main, tuple(below.get(main or "", ())), others, tuple(deeper.get(main or "", ())))

    def sentences(self) -> list[str]:
        said = []
        if self.others:
            said.append(
                f"Values of {_listed(self.others)} are outside the main loop ({self.main}), in the order in which they "
                "were logged."
            )
        if len(self.nested) > 1:
            said.append(f"Steps are those of {_listed(self.nested)}.")
        if self.deeper:
            said.append(f"Values of {_listed(self.deeper)} have no number but `iteration`: loops deeper than steps.")
        return said


def _listed(names: tuple[str, ...]) -> str:
    return f"the loop{'' if len(names) == 1 else 's'} {', '.join(map(printable, names))}"


class _LoopPlaces:
    """Where in a run a record belongs."""

    def __init__(self, main: str | None, first: int) -> None:
        self._main, self._first = main, first
        self._before: Path = ()
        self._unnumbered: dict[Path, int] = {}
        self._count: dict[Path, int] = {}

    def of(self, path: Path) -> tuple[int | None, int | None]:
        """Epoch and step."""
        if not path or path[0][0] != self._main:
            return None, None
        epoch = self._number(path[:1]) + 1
        return epoch, self._number(path[:2]) if len(path) > 1 else None

    def yielded(self, path: Path) -> Iterator[tuple[str, str, int | None, int | None]]:
        """What the loops have yielded of which this is the first record: name, value, epoch, step."""
        same = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(path, self._before, strict=False))
        )
        self._before = path
        for depth in range(same, len(path)):
            name, number, value = path[depth]
            if value is not None and (number is None or value != str(number - self._first)) and value != str(number):
                yield printable(f"{name}_value"), printable(value), *self.of(path[: depth + 1])

    def _number(self, path: Path) -> int:
        """The number of an iteration, from 0. Those without one are numbered as they come."""
        number = path[-1][1]
        if number is not None:
            return number - self._first
        if path not in self._unnumbered:
            above = path[:-1]
            self._unnumbered[path] = self._count[above] = self._count.get(above, -1) + 1
        return self._unnumbered[path]


def _left_out(found: RunContents, kind: object) -> bool:
    if kind == _LOGGED:
        return False
    found.left_out[
        _OTHER_TYPES.get(kind, "rows of other kinds") if isinstance(kind, int) else "rows of other kinds"
    ] += 1
    return True


def _segment(said: Mapping[str, Any]) -> tuple[str, int | None, str | None]:
    name, number, value = said["name"], said["iteration"], said.get("value")
    if not isinstance(name, str) or not (number is None or (isinstance(number, int) and abs(number) < 1 << 62)):
        raise ValueError("a loop has no name or no number")
    return name, number, None if value is None else str(value)


# --- JSON -----------------------------------------------------------------------------------------------------------


def run_of_file(path: str) -> list[FoundRun]:
    """The runs of a JSONL file of 4.x, or of the .flor.json of 3.x. Raises SourceUnreadable if it is neither."""
    keys: dict[tuple[str, str, str], None] = {}
    for record in _records(path, RunContents()):
        keys[_key(record)] = None
    first = 1 if path.endswith(JSON_FILE) else 0
    if not keys and os.path.getsize(path):
        raise SourceUnreadable(f"{path} holds no record of FlorDB.")

    def found(key: tuple[str, str, str]) -> FoundRun:
        return FoundRun("flordb", path, key, lambda: _read(lambda into: _rows(path, key, into), key[1], first), (path,))

    return [found(key) for key in keys]


_KEY = {"projid", "tstamp", "filename"}


def _key(record: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(record["projid"]), str(record["tstamp"]), str(record["filename"])


def _records(path: str, found: RunContents) -> Iterator[Mapping[str, Any]]:
    damaged = 0
    for text in _texts(path):
        try:
            record = parsed(text)
        except ValueError:
            record = None
        if isinstance(record, dict) and record.keys() >= _KEY:
            yield record
        else:
            damaged += 1
    if damaged:
        found.notes.append(f"{path}: {counted(damaged, 'record')} torn or damaged, and left out.")


def _texts(path: str) -> Iterator[str]:
    """The JSON of each record."""
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        if path.endswith(JSON_FILE):
            yield from _of_list(file.read(LARGEST_RECORD + 1), path)
            return
        while line := file.readline(LARGEST_RECORD):
            if line.strip():
                yield line


def _of_list(text: str, path: str) -> Iterator[str]:
    """The objects of a list that was written with an indent of 2: each begins and ends with a line of its own."""
    if len(text) > LARGEST_RECORD:
        raise SourceUnreadable(
            f"{path} is larger than {size(LARGEST_RECORD)}, and not read. Its values are in FlorDB's database."
        )
    lines: list[str] = []
    for line in text.split("\n"):
        if line == "  {":
            lines = []
        lines.append(line)
        if line in ("  }", "  },"):
            yield "\n".join(lines).rstrip(",")
            lines = []
    if [line for line in lines if line not in ("[", "]", "[]", "")]:
        yield "torn"


def _rows(path: str, key: tuple[str, str, str], found: RunContents) -> Iterator[FlorRow]:
    damaged = 0
    found.about |= {"project": printable(key[0]), "script": printable(key[2])}
    for record in _records(path, found):
        if _key(record) != key or _left_out(found, record.get("type")):
            continue
        try:
            row = FlorRow(_path(record["ctx"]), str(record["name"]), record["value"])
        except (ValueError, KeyError, TypeError):
            damaged += 1
            continue
        yield row
    if damaged:
        found.notes.append(f"{path}: {counted(damaged, 'record')} of no place that there can be, and left out.")


def _path(context: object) -> Path:
    """Loops as 4.x has them (a list), or 3.x (each has the one around it)."""
    if isinstance(context, list):
        return tuple(map(_segment, context))
    found: list[tuple[str, int | None, str | None]] = []
    while isinstance(context, dict):
        found.append(_segment(context))
        context = context["p_ctx"]
        if len(found) > _DEEPEST:
            raise ValueError("loops are too deep")
    if context is not None:
        raise ValueError("these are no loops")
    return tuple(reversed(found))


# --- databases ------------------------------------------------------------------------------------------------------


def runs_in(path: str, connection: sqlite3.Connection) -> list[FoundRun]:
    """The runs of a database of 3.x or 4.x; it is a copy, and gets an index."""
    with databases.damaged(path):
        known = databases.tables_of(connection)
        is_newer = "ctx" in known["logs"]
        connection.execute("PRAGMA query_only = OFF")
        connection.execute("CREATE INDEX flor_import_logs ON logs (projid, tstamp, filename)")
        if "loops" in known:
            connection.execute("CREATE INDEX flor_import_loops ON loops (ctx_id)")
        connection.execute("PRAGMA query_only = ON")
        rows = connection.execute("SELECT DISTINCT projid, tstamp, filename FROM logs ORDER BY tstamp").fetchall()

    def found(key: tuple[str, str, str]) -> FoundRun:
        def rows(into: RunContents) -> Iterator[FlorRow]:
            return _database_rows(path, connection, key, is_newer, into)

        return FoundRun("flordb", path, key, lambda: _read(rows, key[1], 0 if is_newer else 1), (path,))

    return [found((str(project), str(tstamp), str(script))) for project, tstamp, script in rows]


def _database_rows(
    path: str, connection: sqlite3.Connection, key: tuple[str, str, str], is_newer: bool, found: RunContents
) -> Iterator[FlorRow]:
    found.about |= {"project": printable(key[0]), "script": printable(key[2])}
    if not is_newer:
        found.notes.append("FlorDB 3 does not say which of its values were recorded and which it has replayed.")
    with databases.damaged(path):
        has_source = "source" in databases.tables_of(connection)["logs"]
        columns = f"{'ctx' if is_newer else 'ctx_id'}, value_name, value, value_type, {'source' if has_source else 1}"
        order = f"SELECT {columns} FROM logs WHERE projid = ? AND tstamp = ? AND filename = ? ORDER BY rowid"
        known: tuple[object, Path] = (None, ())
        for context, name, value, kind, source in connection.execute(order, key):
            if _left_out(found, kind):
                continue
            if has_source and source != "forward":
                found.left_out["values that FlorDB has replayed, or read out of printed text"] += 1
                continue
            try:
                if context != known[0]:
                    known = context, _of_text(context) if is_newer else _of_loops(connection, context)
            except (ValueError, KeyError, TypeError):
                found.left_out["values at no place that there can be"] += 1
                continue
            yield FlorRow(known[1], str(name), from_text(value) if isinstance(value, str) else value)


def _of_text(context: object) -> Path:
    if context is None:
        return ()
    if not isinstance(context, str):
        raise TypeError("loops are kept as a text")
    return _path(parsed(context))


def _of_loops(connection: sqlite3.Connection, context: int | None) -> Path:
    found: list[tuple[str, int | None, str | None]] = []
    while context is not None:
        row = connection.execute(
            "SELECT p_ctx_id, l_name, iteration, l_value FROM loops WHERE ctx_id = ?", (context,)
        ).fetchone()
        if row is None or len(found) > _DEEPEST:
            raise ValueError("a loop is not there, or too deep")
        context = row[0]
        found.append(_segment({"name": row[1], "iteration": row[2], "value": row[3]}))
    return tuple(reversed(found))

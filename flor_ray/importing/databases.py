"""SQLite files of others, read from a copy: no lock is taken, and nothing beside them is created or touched.

A copy is made of the file and of what SQLite has beside it (what a writer has not moved into the file yet), and made
again if one of them has changed meanwhile. A file may hold anything: only plain tables are read, nothing of it is run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flor_ray.errors import SourceUnreadable, UsageError
from flor_ray.importing.found_runs import LARGEST_RECORD

MAGIC = b"SQLite format 3\0"
_BESIDE = ("", "-wal", "-journal")
_TRIES = 5
_PAUSE_SECONDS = 0.2


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A connection to a copy of the database, as it is now; the copy goes with it.

    Raises:
        UsageError: it is written all the time, so that no copy is whole; or there is no room for one.
        SourceUnreadable: it is no database that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="flor-import-") as folder:
        copy = os.path.join(folder, "copy.db")
        _copy(os.path.realpath(path), copy)  # what SQLite has beside it is where a link leads to
        with damaged(path), contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_RECORD)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            yield connection


@contextlib.contextmanager
def damaged(path: str) -> Iterator[None]:
    """What SQLite says of a file that it cannot read becomes SourceUnreadable."""
    try:
        yield
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{path} cannot be read as a database of SQLite: {error}.") from error


def _copy(path: str, copy: str) -> None:
    for attempt in range(_TRIES):
        before = _look(path)
        try:
            for suffix in _BESIDE:
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{copy}{suffix}").unlink()
                if before[suffix] is not None:
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        except FileNotFoundError:
            before = {}  # it went meanwhile
        except OSError as error:
            raise UsageError(f"{path} could not be copied, from where it would be read: {error}.") from error
        if _look(path) == before:
            return
        if attempt < _TRIES - 1:
            time.sleep(_PAUSE_SECONDS)
    raise UsageError(
        f"{path} is written all the time: {_TRIES} copies were begun, and it changed during each. Try again when less "
        "is written, or import a backup of it."
    )


def _look(path: str) -> dict[str, tuple[object, ...] | None]:
    """What changes about a database with every write: its files' times and sizes, and the beginning of each."""
    found: dict[str, tuple[object, ...] | None] = {}
    for suffix in _BESIDE:
        try:
            with open(f"{path}{suffix}", "rb") as file:
                about = os.fstat(file.fileno())
                found[suffix] = (about.st_mtime_ns, about.st_size, about.st_ino, file.read(100))
        except FileNotFoundError:
            found[suffix] = None
    return found


def tables_of(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """The plain tables that a connection sees, with their columns."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    ).fetchall()
    return {
        name: frozenset(row[1] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (name,)))
        for (name,) in names
    }

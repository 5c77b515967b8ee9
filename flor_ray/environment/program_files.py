"""Files that other programs make, change or remove while a script runs: those that it starts, and processes that are
forked from it. None of them tells us.

    the script starts a program ──> Surveyor: what is in the script's folder, once
    a checkpoint                ──> what is there now, and was not told of by the script itself

What may live here: no store, nothing heavy; this is imported with flor_ray.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Mark = tuple[int, int, int]  # inode, bytes, modification time: what shows that a file is another one

_MOST_FILES = 5000  # of a folder, and of all; one with more holds data
_MOST_SECONDS = 0.2  # that one survey may take: on a slow file system there is none
_MOST_SHARE = 0.01  # of the run's time, that surveys may take
_NO_DATA = ("__pycache__",)  # and folders whose names begin with a dot: environments, stores, git's


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that was `before` what it was at the last survey, and is now something else. None: not there."""

    path: str
    before: Mark | None
    now: Mark | None


@dataclass(slots=True)
class Surveyor:
    """Looks at one folder, once a run is recorded and has started a program."""

    folder: Callable[[], str]
    _records: bool = False
    _runs: bool = False  # whether a program was started
    _marks: dict[str, Mark] | None = None  # at the last survey
    _over: bool = False  # a survey took too long: there are no others
    _began: float = field(default_factory=time.monotonic)
    _spent: float = 0.0

    def begin(self) -> None:
        """This process records a run from now on."""
        self._records = True
        if self._runs:
            self.before_program()

    def before_program(self) -> None:
        """The script is about to start a program."""
        self._runs = True
        if self._records and self._marks is None and not self._over:
            self._marks = self._survey()

    def changed(self) -> tuple[ChangedFile, ...]:
        """What has become another file since the last survey."""
        before = self._marks
        if before is None or self._spent > max(_MOST_SECONDS, _MOST_SHARE * (time.monotonic() - self._began)):
            return ()
        self._marks = now = self._survey()
        if now is None:
            return ()
        paths = sorted(before.keys() | now.keys())
        return tuple(ChangedFile(p, before.get(p), now.get(p)) for p in paths if before.get(p) != now.get(p))

    def _survey(self) -> dict[str, Mark] | None:
        started, found = time.perf_counter(), {}
        for path, mark in _files(self.folder()):
            found[path] = mark
            if len(found) > _MOST_FILES or time.perf_counter() - started > _MOST_SECONDS:
                self._over = True
                return None
        self._spent += time.perf_counter() - started
        return found


def _files(folder: str) -> Iterator[tuple[str, Mark]]:
    """Those of a folder and of the folders in it, with their marks."""
    try:
        with os.scandir(folder) as entries:
            found = list(itertools.islice(entries, _MOST_FILES + 1))
    except OSError:  # it is gone, or not ours to read
        return
    if len(found) > _MOST_FILES:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith(".") and entry.name not in _NO_DATA:
                yield from _files(entry.path)
            continue
        with contextlib.suppress(OSError):
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                yield entry.path, (status.st_ino, status.st_size, status.st_mtime_ns)


def is_ours(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a program that is about to be started is the git by which flor_ray keeps the source code."""
    words = arguments[1] if event == "subprocess.Popen" and len(arguments) > 1 else ()
    return isinstance(words, list | tuple) and f"core.hooksPath={os.devnull}" in words

"""Files that other programs make, change or remove while a script runs: those that it starts, and processes that are
forked from it. None of them tells us.

    the script starts a program ──> Surveyor: what is in the script's folder, once
    a checkpoint                ──> what is there now, and was not told of by the script itself

What may live here: no store, nothing heavy; this is imported with flor_ray.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Mark = tuple[int, int, int]  # inode, bytes, modification time: what shows that a file is another one

_MOST_FILES = 5000  # that are looked at; the rest of a larger folder is not
_MOST_SHARE = 0.01  # of the run's time, that surveys may take
_UNNOTICED_SECONDS = 0.2  # they may take in any case
_NO_DATA = ("__pycache__",)  # and folders whose names begin with a dot: environments, stores, git's


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that was `before` what it was at the last survey, and is now something else. None: not there."""

    path: str
    before: Mark | None
    now: Mark | None


@dataclass(slots=True)
class Surveyor:
    """Looks at one folder, once a program has been started."""

    folder: Callable[[], str]
    _marks: dict[str, Mark] | None = None  # at the last survey; None: no program was started yet
    _began: float = field(default_factory=time.monotonic)
    _spent: float = 0.0

    def before_program(self) -> None:
        """The script is about to start a program."""
        if self._marks is None:
            self._marks = self._survey()

    def changed(self) -> tuple[ChangedFile, ...]:
        """What has become another file since the last survey."""
        if self._marks is None or not self._has_time():
            return ()
        before, now = self._marks, self._survey()
        self._marks = now
        paths = sorted(before.keys() | now.keys())
        return tuple(ChangedFile(p, before.get(p), now.get(p)) for p in paths if before.get(p) != now.get(p))

    def _has_time(self) -> bool:
        return self._spent < max(_UNNOTICED_SECONDS, _MOST_SHARE * (time.monotonic() - self._began))

    def _survey(self) -> dict[str, Mark]:
        started = time.perf_counter()
        try:
            files = zip(range(_MOST_FILES), _files(self.folder()), strict=False)
            return {path: mark for _, (path, mark) in files}
        finally:
            self._spent += time.perf_counter() - started


def _files(folder: str) -> Iterator[tuple[str, Mark]]:
    """Those of a folder and of the folders in it, in an order that is the same each time, with their marks."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:  # it is gone, or not ours to read
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

"""Files that the recorded run wrote, as they were where a segment begins.

    the script begins          what the run found when it began
    a checkpoint is restored   what there was at that checkpoint

Everything goes through the layers: the user's own files stay as they are. A file whose content was not kept is there
all the same, as long and as old as it was, since scripts look for that. If it is read before it is written again, the
replay began too late, and begins further back; one that begins with the script is told. A file that the script has
open for writing is filled where it is, and how long it is may be asked only further back: the rest of it may wait in
the open file, which no checkpoint holds.
"""

from __future__ import annotations

import contextlib
import os
import posix
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any

from flor_ray.environment.file_states import state_at
from flor_ray.environment.written_files import ABSENT, FOLDER, FROM_START, LOST, UNREAD
from flor_ray.records import FileState, Point, WrittenFile
from flor_ray.replaying.sandbox.layered_calls import absolute
from flor_ray.replaying.sandbox.layers import Layers
from flor_ray.replaying.sandbox.plain_files import held_files, is_folder, make_folders


class LaidFiles:
    """Those of one replay process. `newer` are files that were made after the run, relative to the user's folder."""

    def __init__(
        self, layers: Layers, files: Sequence[WrittenFile], newer: Sequence[str], get: Callable[[str], bytes]
    ) -> None:
        self.tell: Callable[[str], None] = lambda sentence: None
        # what a checkpoint lacks: must not return
        self.lacks: Callable[[int, Point, str], None] = lambda epoch, point, why: None
        self._at = FROM_START, Point.EPOCH_END
        self._held: set[tuple[int, int]] = set()  # files that are open for writing
        self._layers = layers
        self._files = files
        self._get = get
        self._laid: dict[str, tuple[str, tuple[int, int, int]]] = {}  # path -> key, and what shows that it is still it
        self._unknown: dict[str, tuple[str, str]] = {}  # real path -> path, and why its content is not the recorded one
        layers.leave_out([os.path.join(layers.original, name) for name in newer], self._looked_at)
        layers.listed = self._listed
        layers.opened = self._opens  # what libraries open past Python
        sys.addaudithook(self._hook)

    def lay(self, epoch: int = FROM_START, point: Point = Point.EPOCH_END) -> None:
        """Make the files what they were at a checkpoint; without one, what they were when the run began."""
        self._unknown.clear()
        self._layers.asked.clear()
        self._at = epoch, point
        self._held = held_files()
        states = [(file.path, state_at(file, epoch, point)) for file in self._files]
        # folders before what is in them, and what is gone from the inside out; older files first, as they were made
        there = [each for each in states if each[1].kept != ABSENT]
        for path, state in sorted(there, key=lambda each: (each[1].kept != FOLDER, each[1].mtime_ns, each[0])):
            self._put(os.path.join(self._layers.original, path), path, state)
            if epoch > 0:
                self._refuse_to_measure(path)
        for path, _ in sorted((each for each in states if each[1].kept == ABSENT), reverse=True):
            self._remove(os.path.join(self._layers.original, path))

    def _refuse_to_measure(self, shown: str) -> None:
        """Of a file that the script has open for writing nobody knows how long it will be after the next write: where
        the open file stands is in no checkpoint, nor what waits in it to be written."""
        real = self._layers.reading(os.path.join(self._layers.original, shown))
        if (held := self._is_held(real)) is not None:
            at = self._at
            why = (
                f"{shown} is asked how long it is: it is open, and no checkpoint holds what has yet to be written to it"
            )
            self._layers.asked[held] = lambda: self.lacks(*at, why)

    def _opens(self, path: str, how: str) -> None:
        """The script opens a file, by its real path, to r(ead), w(rite) all of it or a(ppend) to it."""
        unknown = self._unknown.get(path)
        if unknown is None or how == "a":
            return
        if how == "r":
            if self._at[0] != FROM_START:
                self.lacks(*self._at, f"{unknown[0]} is read: {unknown[1]}")
            self.tell(f"{unknown[0]} was read and is not what it was in the recorded run: {unknown[1]}")
        del self._unknown[path]

    def missed(self, path: str) -> None:
        """The script looked for a file in vain. One of its name that is in the user's folder was made by the run, or by
        a program that it started, in epochs that this replay may not have run."""
        shown = os.path.relpath(path, self._layers.root)
        if self._at[0] != FROM_START and os.path.lexists(os.path.join(self._layers.original, shown)):
            self.lacks(*self._at, f"{shown} is read: what made it is not known, so it was not kept")

    def _put(self, path: str, shown: str, state: FileState) -> None:
        if state.kept == FOLDER:
            if not self._is_folder(path):
                posix.mkdir(self._layers.new_place(path))
            return
        if state.kept in (UNREAD, LOST):
            why = state.why or "the run itself did not read it then, so it was not kept"
            real = self._layers.reading(path)
            mark = _mark(real)
            if mark is None or (state.bytes is not None and mark[1:] != (state.bytes, state.mtime_ns)):
                real = self._make(path, b"", state)
            self._unknown[real] = shown, why
            return
        real = self._layers.reading(path)
        mark = _mark(real)
        if mark is None or self._laid.get(path) != (state.kept, mark):
            real = self._make(path, self._get(state.kept), state)
            if (mark := _mark(real)) is not None:
                self._laid[path] = state.kept, mark

    def _make(self, path: str, content: bytes, state: FileState) -> str:
        real = self._layers.reading(path)
        if self._is_held(real) is None:  # else it stays the file to which the script writes
            folder = self._layers.folder(os.path.dirname(path))
            make_folders(folder.upper)
            if self._is_folder(path):
                self._remove(path)
            with contextlib.suppress(FileNotFoundError):
                self._layers.remove(path, folder=False)  # a link among the user's files must not be followed
            real = self._layers.writing(path, copy=False)
        descriptor = posix.open(real, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if state.kept in (UNREAD, LOST):
                file.truncate(state.bytes)  # scripts look how long a file is
        if state.mtime_ns:
            posix.utime(real, ns=(state.mtime_ns, state.mtime_ns))
        return real

    def _remove(self, path: str) -> None:
        """Remove a file, or a folder if nothing is in it that the run did not write."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                self._layers.remove(path, folder=self._is_folder(path))
            except OSError as error:
                if not self._is_folder(path):
                    raise
                if not self._layers.names(self._layers.folder(path)):
                    raise error

    def _is_held(self, real: str) -> tuple[int, int] | None:
        """Device and inode of a file that the script has open for writing."""
        with contextlib.suppress(OSError):
            status = posix.lstat(real)
            if (found := (status.st_dev, status.st_ino)) in self._held:
                return found
        return None

    def _is_folder(self, path: str) -> bool:
        return is_folder(self._layers.reading(path))

    def _looked_at(self, path: str) -> None:
        sentence = (
            f"{os.path.relpath(path, self._layers.original)} was made or changed after this version was recorded, and "
            "was hidden from its replay"
        )
        self.tell(sentence)
        sys.stderr.write(f"flor_ray: {sentence}\n")

    def _listed(self, path: str) -> None:
        """A folder of which only those files are here that the recorded run opened."""
        shown = os.path.relpath(path, self._layers.root)
        shown = os.path.relpath(path, self._layers.original) if shown.startswith("..") else shown
        sentence = (
            f"{path if shown.startswith('..') else shown} was listed: this machine has of it what the recorded run "
            "read, and nothing else that may have been there"
        )
        self.tell(sentence)
        sys.stderr.write(f"flor_ray: {sentence}\n")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._unknown:
            return
        if event == "open":
            name, mode, flags = arguments
            path = absolute(name)
            if path is not None:
                self._opens(path, _how(mode, flags or 0))
        elif event == "os.rename":
            for name in arguments[:2]:
                if (path := absolute(name)) is not None:
                    self._opens(path, "w")


def _how(mode: Any, flags: int) -> str:
    """How a file is opened: to r(ead), w(rite) all of it or a(ppend) to it."""
    if isinstance(mode, str):
        return "w" if "w" in mode or "x" in mode else "a" if "a" in mode and "+" not in mode else "r"
    return "w" if flags & os.O_TRUNC else "a" if flags & os.O_WRONLY else "r"


def _mark(path: str) -> tuple[int, int, int] | None:
    """What shows that a file is another one; None if there is none."""
    try:
        status = posix.stat(path)
    except OSError:
        return None
    return None if stat.S_ISDIR(status.st_mode) else (status.st_ino, status.st_size, status.st_mtime_ns)

"""Files that a run writes are state: what they are when the run begins, and at each of its checkpoints.

    open, rename, remove (told before it happens) ──> WrittenFiles ── at each checkpoint: which files are there
    journal's thread ── contents that the run has read ──> S              └─> WrittenFile, one per path

A *life* of a file lasts from one change of it to the next. A replay makes the changes again that the run made, so what
a checkpoint needs of a life is its content if the run reads that, and else only that there is a file. A content is
kept once it has been read: soon, and at the latest just before the file is changed. So files that are only written
cost next to nothing, and the run's own checkpoints are not kept twice. Where the system's descriptors stand in their
files is in no checkpoint: `at` says in which files the script has moved on by one.

What may live here: no store, nothing heavy; this is imported with flor_ray.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from flor_ray.environment.program_files import Mark, Surveyor

# Instead of a key:
ABSENT = "-"  # it is not there
UNREAD = "?"  # it is there, and its content was not read in that life
LOST = "!"  # it is there, and its content was read and could not be kept
FOLDER = "/"
FROM_START = -1  # instead of an epoch: as the run found it
_DESCRIPTORS = "/proc/self/fd"
_IN_MEMORY = "/memfd:"
_FIRST_POINT = "epoch_end"  # that of FROM_START
_MOST_BYTES = 1 << 30  # of one content
_FLUID_BYTES = 64 << 20  # of a file that stays open for changes, and is therefore kept at each checkpoint
_WAITING_BYTES = 256 << 20  # of contents that are in memory and wait for the store
_BYTES_PER_SECOND = 500e6  # at which a content is read, hashed and written
_UNNOTICED_SECONDS = 0.5  # may be spent in any case
State = tuple[int, str, str, int, str, int | None]  # the fields of records.FileState


@dataclass(slots=True, eq=False)
class _Life:
    there: bool = True
    is_folder: bool = False
    read: bool = False
    looked: bool = False  # since it began
    mark: Mark | None = None
    fluid: bool = False  # it may be changed by who has opened it, at any time
    content: bytes | None = None  # until it is in the store
    key: str = ""
    lost: str = ""  # why its content, which was read, is not kept

    @property
    def kept(self) -> str:
        if not self.there:
            return ABSENT
        if self.is_folder:
            return FOLDER
        if self.lost:
            return LOST
        return self.key or (LOST if self.read else UNREAD)


@dataclass(slots=True)
class WrittenFiles:
    """Those of the run in this process. `is_none` tells files that are not the script's (libraries', ours)."""

    programs: Surveyor = field(default_factory=lambda: Surveyor(lambda: ""))
    followed: Callable[[str], bool] = lambda path: False  # told of a file that a program made; whether it was read
    is_none: Callable[[str], bool] = lambda path: False
    overhead: float = 0.02  # share of the run's time that keeping contents may cost
    most: int = 5000  # files that are followed
    _lives: dict[str, _Life] = field(default_factory=dict)
    _states: dict[str, list[tuple[int, str, _Life]]] = field(default_factory=dict)
    _beyond: dict[str, bool] = field(default_factory=dict)  # written, not followed -> whether it has been read since
    _pending: list[tuple[str, _Life]] = field(default_factory=list)  # whose contents are to be kept
    _random: list[str] = field(default_factory=list)  # temporary files and folders, whose names are others in a replay
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _raw: set[str] = field(default_factory=set)  # opened past Python's file objects, or mapped into memory
    _at_entry: dict[tuple[int, int], int] = field(default_factory=dict)  # positions in them when the loop began
    _ours: set[int] = field(default_factory=set)  # threads that read a content right now
    _began: float = field(default_factory=time.monotonic)
    _spent: float = 0.0
    _waiting: int = 0  # bytes of contents that are read and not in the store

    # what the script does

    def reads(self, path: str) -> None:
        """The script is about to read a file."""
        if threading.get_ident() in self._ours:
            return
        with self._lock:
            if path in self._beyond:
                self._beyond[path] = True
            if path not in self._lives:
                return
            life = self._look(path)
            if not life.read:
                life.read = True
                if self._is_in_checkpoint(path, life):
                    self._pending.append((path, life))

    def changes(self, path: str, was_read: bool, fluid: bool = False, folder: bool = False) -> None:
        """The script is about to change, make, replace or remove a file. `was_read`: it has been opened for reading."""
        if threading.get_ident() in self._ours:
            return
        with self._lock:
            if path not in self._lives:
                if self.is_none(path):
                    return
                if len(self._lives) >= self.most:
                    self._beyond.setdefault(path, False)
                    return
                first = _Life(read=was_read)
                self._lives[path], self._states[path] = first, [(FROM_START, _FIRST_POINT, first)]
            life = self._look(path)
            if life.read and self._is_in_checkpoint(path, life):
                self._read(path, life)
                self._pending.append((path, life))
            self._lives[path] = _Life(fluid=fluid, read=fluid, is_folder=folder)

    def is_raw(self, path: str) -> None:
        """The script is about to open a file by `os.open`, or to map it into memory: nobody tells what it does then."""
        if len(self._raw) < self.most:
            self._raw.add(path)

    def removes_tree(self, folder: str) -> None:
        """The script is about to remove a folder with all that is in it."""
        with self._lock:  # other threads add to them
            for path in [path for path in self._lives if path.startswith(f"{folder}/")]:
                self.changes(path, was_read=False)

    def renames(self, old: str, new: str, was_read: bool) -> None:
        """The script is about to give a file or a folder another name."""
        with self._lock:
            for path in [path for path in self._lives if path.startswith(f"{old}/")]:
                self.changes(path, was_read=False)
                self.changes(new + path[len(old) :], was_read=False)
            self.changes(old, was_read)
            self.changes(new, was_read)

    def is_random(self, path: str) -> None:
        """A temporary file or folder of this name was made: a replay will have another."""
        self._random.append(path)

    # what the recorder does

    def at(self, epoch: int, point: str) -> set[str]:
        """A checkpoint is taken now: what the files are belongs to it.

        Returns the files that it cannot do justice to, since the script has moved on in them by a descriptor of the
        system's: a replay has opened them again before the loop, and stands where the script stood then; or it has
        opened another one, if the name was drawn.
        """
        with self._lock:
            self._follow_those_of_programs()
            descriptors = _descriptors(self._raw)
            if epoch == 0:
                self._at_entry = {each.key: each.position for each in descriptors}
            for path in _held_now(self._raw & self._lives.keys(), descriptors):
                life = self._look(path)
                if not life.lost:
                    why = "a descriptor or a mapping of it is open, which no checkpoint can hold"
                    self._lives[path] = _Life(looked=True, read=True, mark=life.mark, lost=why)
            for path, states in list(self._states.items()):
                life = self._look(path)
                if states[-1][2] is not life:
                    states.append((epoch, point, life))
                    if life.read:
                        self._pending.append((path, life))
                if life.fluid:
                    self._read(path, life)
                elif [each.there for _, _, each in states] == [False, False]:  # it was there for a moment
                    del self._states[path], self._lives[path]
            moved = {
                each.path
                for each in descriptors
                if self._at_entry.get(each.key) != each.position or each.path in self._random
            }
            return {path for path in moved if not self.is_none(path)}

    def keep(self, put: Callable[[bytes], str]) -> None:
        """Keep the contents that wait for it; `put` stores one, and says its key. Tries again those that it refuses."""
        while self._pending:
            with self._lock:
                path, life = self._pending.pop(0)
                if self.is_none(path):  # it was followed before that was known
                    continue
                self._read(path, life)
                content = life.content
            if content is None:
                continue
            started = time.perf_counter()
            try:
                life.key = put(content)
            except Exception:
                self._pending.append((path, life))
                raise
            finally:
                self._spent += time.perf_counter() - started
            life.content = None
            self._waiting -= len(content)

    def described(self) -> dict[str, tuple[State, ...]]:
        """What is known now, by path."""
        why = f"no more than {self.most} written files are followed"
        lost = (FROM_START, _FIRST_POINT, ABSENT, 0, "", None), (0, _FIRST_POINT, LOST, 0, why, None)
        with self._lock:
            found = {p: tuple(_described(states)) for p, states in self._states.items() if not self.is_none(p)}
            return found | {path: lost for path, is_read in self._beyond.items() if is_read and not self.is_none(path)}

    def follows(self, path: str) -> bool:
        """Whether this file has been written."""
        return path in self._states

    def _follow_those_of_programs(self) -> None:
        """Begin to follow what another program has changed, and the script has not."""
        self._ours.add(threading.get_ident())  # a survey lists folders
        try:
            changed = self.programs.changed()
        finally:
            self._ours.discard(threading.get_ident())
        for file in changed:
            if file.path not in self._lives and len(self._lives) < self.most and not self.is_none(file.path):
                was_read = self.followed(file.path)
                before = _Life(file.before is not None, looked=True, mark=file.before)
                self._states[file.path] = [(FROM_START, _FIRST_POINT, before)]
                self._lives[file.path] = _Life(read=was_read)  # what it has become

    # lives

    def _is_in_checkpoint(self, path: str, life: _Life) -> bool:
        """Whether a checkpoint, or the run's beginning, has this life. Nobody needs the others."""
        return self._states[path][-1][2] is life

    def _look(self, path: str) -> _Life:
        """A file's life, which is another one if the file was changed by who does not tell us."""
        life = self._lives[path]
        status = _status(path)
        there, mark = status is not None, None if status is None else _mark(status)
        is_folder = status is not None and stat.S_ISDIR(status.st_mode)
        if not life.looked:
            life.looked, life.there, life.is_folder, life.mark = True, there, is_folder, mark
        elif there != life.there or (there and not is_folder and mark != life.mark):
            if life.read and not life.key and life.content is None:
                life.lost = life.lost or "it was changed unseen"
            life = self._lives[path] = _Life(there, is_folder, life.fluid, True, mark, life.fluid)
        return life

    def _read(self, path: str, life: _Life) -> None:
        """Read the content of a life into memory, or note why that cannot be kept."""
        if life.key or life.lost or life.content is not None or not life.there or life.is_folder:
            return
        self._ours.add(threading.get_ident())
        started = time.perf_counter()
        try:
            life.lost = self._why_not(path, life) or self._content(path, life)
        except Exception as error:  # noqa: BLE001 - this runs within the script's own `open`, which must go on
            life.lost = f"{type(error).__name__}: {error}"
        finally:
            self._spent += time.perf_counter() - started
            self._ours.discard(threading.get_ident())

    def _why_not(self, path: str, life: _Life) -> str:
        """Why a content is not kept; "" if nothing speaks against it."""
        if self._lives.get(path) is not life:
            return "it was changed unseen"
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "it is no regular file"
        if any(path == name or path.startswith(f"{name}/") for name in self._random):
            return "it is a temporary file, which has another name in each run"
        if status.st_size > (_FLUID_BYTES if life.fluid else _MOST_BYTES):
            return f"it is too large ({status.st_size / 1e6:.0f} MB)"
        if self._waiting and self._waiting + status.st_size > _WAITING_BYTES:
            return "too much was waiting to be written"
        if os.path.exists(f"{path}-wal") and os.stat(f"{path}-wal").st_size:
            return "it is a database with a write-ahead log"
        cost = self._spent + status.st_size / _BYTES_PER_SECOND
        if cost > max(_UNNOTICED_SECONDS, self.overhead * (time.monotonic() - self._began)):
            return "keeping it would have taken more than the budget allows"
        return ""

    def _content(self, path: str, life: _Life) -> str:
        """Why the content could not be read; "" if it was."""
        with open(path, "rb") as file:
            before = _mark(os.fstat(file.fileno()))
            content = file.read()
            if before != _mark(os.fstat(file.fileno())) or before != life.mark:
                return "it was changed while it was being read"
        life.content = content
        self._waiting += len(content)
        return ""


def _described(states: Iterable[tuple[int, str, _Life]]) -> Iterator[State]:
    """Without those that say the same as the one before. How long and how old a file is belongs to it: scripts look for
    the newest one."""
    last: tuple[str, Mark | None] = "", None
    for epoch, point, life in states:
        mark = life.mark if life.there else None
        now = life.kept, None if life.is_folder else mark
        if now != last or now[0] not in (ABSENT, UNREAD, FOLDER):
            bytes_ = None if mark is None or life.is_folder else mark[1]
            yield epoch, point, life.kept, mark[2] if mark else 0, life.lost, bytes_
        last = now


class _Descriptor(NamedTuple):
    """One that is open. `key` is the same as long as it is."""

    path: str
    key: tuple[int, int]
    position: int
    is_changing: bool  # it is open for writing, and its file is not empty


def _descriptors(paths: Set[str]) -> list[_Descriptor]:
    """Those of some regular files, and of all that are in memory only."""
    found: list[_Descriptor] = []
    if os.path.isdir(_DESCRIPTORS):
        for name in os.listdir(_DESCRIPTORS):
            number = int(name)
            with contextlib.suppress(OSError):  # that of the listing itself is closed again
                path, status = os.readlink(f"{_DESCRIPTORS}/{name}").removesuffix(" (deleted)"), os.fstat(number)
                if (path in paths or path.startswith(_IN_MEMORY)) and stat.S_ISREG(status.st_mode):
                    writes = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
                    position = os.lseek(number, 0, os.SEEK_CUR)
                    key = number, status.st_ino
                    found.append(_Descriptor(path, key, position, writes and status.st_size > 0))
    return found


def _held_now(paths: Set[str], descriptors: Iterable[_Descriptor]) -> set[str]:
    """Those of some files that are not empty, and open for writing or mapped into memory that is."""
    if paths and not os.path.isdir(_DESCRIPTORS):
        return set(paths)  # nobody can tell
    found = {each.path for each in descriptors if each.is_changing} & paths
    if paths:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            parts = [line.rstrip("\n").split(maxsplit=5) for line in maps]
        found |= {
            each[5] for each in parts if len(each) == 6 and each[1].startswith("rw") and each[1][3] == "s"
        } & paths
    return found


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _mark(status: os.stat_result) -> Mark:
    return status.st_ino, status.st_size, status.st_mtime_ns

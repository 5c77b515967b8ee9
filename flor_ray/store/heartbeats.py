"""How each replay stands, for whoever looks from another machine: a file that beats while it runs, and stays.

    jobs/<project>/<origin>.json      a Heartbeat: written every 10 s, and when the replay ends
    jobs/<project>/<origin>.end       it is asked to end
    jobs/<project>/<origin>.live      what it looks like just now, while it runs: for pages that show it

Whether one still runs is judged by its process where that is one of this host, and else by the age of its file. Ages
are told by the clock that dates the store's files, its server's; two machines' clocks are never compared.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import warnings
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from flor_ray import processes
from flor_ray.errors import FlorError, FlorWarning, ReplayStopped, StoreError, UsageError
from flor_ray.redaction import shown
from flor_ray.store import checks, typed_json
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted

_FOLDER = "jobs"
_BEAT_SECONDS = 10.0
_ASK_SECONDS = 2.0  # between two looks whether the replay is to end
_HERE_SECONDS = 0.5  # and where the store is a folder, in which a look costs nothing
_SHOW_SECONDS = 10.0  # between two pictures in a store of which each request costs
_LOST_SECONDS = 60.0  # a replay of another host that was silent for longer is taken for dead
_SUFFIX, _TO_END, _LIVE = ".json", ".end", ".live"
_MOST_NAMED = 3
_MOST_SECONDS = 1e10  # 300 years: more can be said by no replay, and shown to nobody


class ReplayState(StrEnum):
    """How a replay stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"  # by its user: what was finished is kept
    LOST = "lost"  # it never said how it ended, and is gone


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a replay says of itself."""

    names: tuple[str, ...]  # features that it was asked for
    versions: int
    host: str
    pid: int
    pid_started: int | None
    submission: str = ""  # id of the Ray job that it is part of
    state: ReplayState = ReplayState.RUNNING
    seconds: float = 0.0  # since it began
    answered: int = 0  # rows
    wanted: int = 0
    workers: int = 0
    busy_seconds: float = 0.0  # of its workers
    left_seconds: float = 0.0  # as it is estimated
    overdue: str = ""  # what takes longer than it should, in words: then nobody knows what is left
    failures: int = 0  # segments that were given up
    said: str = ""  # why it has failed as a whole
    user: str = ""  # who asked


@dataclass(frozen=True, slots=True)
class KnownReplay:
    """A replay, as the store knows it."""

    id: str
    last: Heartbeat
    state: ReplayState
    quiet_seconds: float  # since its file was written

    @property
    def began_seconds(self) -> float:
        """How long ago it began."""
        return self.last.seconds + self.quiet_seconds


class Pulse:
    """Beats for a replay of this process, from `with` to the end of its block, and hears whether it is to end."""

    def __init__(self, files: Files, project: str, origin: str, first: Heartbeat) -> None:
        self._files, self._path = files, _path(project, origin)
        self._beats = files.impatient()  # one that is missed is followed by another
        self._last, self._zero = first, time.monotonic()
        self._over = threading.Event()
        self._asked_to_end = False
        self._picture = b""  # that has not been written yet

    def __enter__(self) -> Self:
        self._write(self._files)
        self._thread = processes.start_background(self._beat, name="flor-pulse")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        state, said = _ending(error)
        self._last = replace(self._last, state=state, said=said, left_seconds=0.0, overdue="", workers=0)
        try:
            files = self._files if error is None else self._beats  # who was stopped does not wait
            self._write(files)
            files.delete(f"{self._path}{_TO_END}")
            files.delete(f"{self._path}{_LIVE}")
        except StoreError as failed:  # which must not hide how the replay ended
            warnings.warn(f"How this replay ended could not be written: {failed}", FlorWarning, stacklevel=2)

    def stands(self, **changed: Any) -> None:
        """Tell how the replay stands now, by field of Heartbeat. For the replay's own thread."""
        self._last = replace(self._last, **changed)

    def shows(self, picture: bytes) -> None:
        """Tell what the replay looks like now, for whoever watches it. For the replay's own thread."""
        self._picture = picture

    def expect_wanted(self) -> None:
        """Raises ReplayStopped if somebody has asked the replay to end."""
        if self._asked_to_end:
            raise ReplayStopped("This replay was asked to end (`flor-ray cancel`). What was finished is kept.")

    def _beat(self) -> None:
        remote = self._files.remote
        now = time.monotonic()
        due, show_due = now + _BEAT_SECONDS, now
        while not self._over.wait(_ASK_SECONDS if remote else _HERE_SECONDS):
            try:
                if self._picture and time.monotonic() >= show_due:
                    picture, self._picture = self._picture, b""
                    self._beats.write(f"{self._path}{_LIVE}", picture)
                    show_due = time.monotonic() + (_SHOW_SECONDS if remote else 0.0)
                self._asked_to_end = self._asked_to_end or self._beats.exists(f"{self._path}{_TO_END}")
                if time.monotonic() >= due:
                    self._write(self._beats)
                    due = time.monotonic() + _BEAT_SECONDS
            except StoreError:  # it is away; values are written, and its absence told, by others
                continue

    def _write(self, files: Files) -> None:
        now = replace(self._last, seconds=time.monotonic() - self._zero)
        files.write(f"{self._path}{_SUFFIX}", json.dumps(typed_json.to_plain(now)).encode())


def of_this_process(names: tuple[str, ...], versions: int, submission: str) -> Heartbeat:
    """The first heartbeat of a replay that begins here."""
    pid = os.getpid()
    return Heartbeat(
        names, versions, socket.gethostname(), pid, processes.started(pid), submission, user=processes.user()
    )


def known(files: Files, project: str, newest: int | None = None) -> tuple[KnownReplay, ...]:
    """Replays of a project, oldest first; the `newest` ones of them.

    Raises:
        StoreError: the store cannot be read.

    Warns:
        FlorWarning: a file does not hold what it should, and is left out.
    """
    dated = {path: info for path, info in files.infos(f"{_FOLDER}/{quote(project)}").items() if path.endswith(_SUFFIX)}
    paths = sorted(dated)[-newest if newest else None :]
    if not paths:
        return ()
    now, found = _now(files), []
    for path, data in files.read_many(paths).items():
        try:
            last = typed_json.from_plain(checks.parsed(data), Heartbeat)
            _expect_seconds(last)
        except ValueError as error:
            warnings.warn(
                f"{files.url}/{path} does not say how a replay stands ({error}). It is left out.",
                FlorWarning,
                stacklevel=2,
            )
            continue
        id = _id(path)
        quiet = max(0.0, now - dated[path].modified)
        found.append(KnownReplay(id, last, _state(last, quiet), quiet))
    return tuple(found)


def find(files: Files, project: str, id: str) -> KnownReplay:
    """The replay whose id begins so, with or without "replay-"; or the newest that is part of the Ray job of this id.

    Raises:
        UsageError: there is none, or several ids begin so.
        StoreError: the store cannot be read.
    """
    every = known(files, project)
    of_job = [one for one in every if one.last.submission == id]
    fitting = of_job[-1:] or [one for one in every if one.id.startswith((id, f"replay-{id}"))]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(one.id for one in (fitting or every)[-_MOST_NAMED:]) or "none"
    raise UsageError(
        f"{len(fitting) or 'No'} replays of {project} begin with {id!r}; the newest are {listed}. `flor-ray jobs` "
        "lists them."
    )


def quiet_seconds(files: Files, project: str, origin: str) -> float | None:
    """How long ago a replay's file was written; None if it has none.

    Raises:
        StoreError: the store cannot be read.
    """
    written = files.modified(f"{_path(project, origin)}{_SUFFIX}")
    return None if written is None else max(0.0, _now(files) - written)


def ask_to_end(files: Files, project: str, replay: KnownReplay) -> None:
    """Ask a replay to end, wherever it runs. Raises StoreError if the store cannot be written."""
    files.write(f"{_path(project, replay.id)}{_TO_END}", b"")


def picture(files: Files, project: str, id: str) -> bytes | None:
    """What a replay has last shown of itself; None if it shows nothing, or no more. Raises StoreError if the store
    cannot be read."""
    try:
        return files.read(f"{_path(project, id)}{_LIVE}")
    except FileNotFoundError:
        return None


def modified(files: Files, project: str, id: str) -> float | None:
    """When a replay has beaten last, by the clock that dates the store's files; None if it never has. Raises StoreError
    if the store cannot be read."""
    return files.modified(f"{_path(project, id)}{_SUFFIX}")


def stamps(files: Files, project: str) -> dict[str, float]:
    """When each replay has beaten last, by id: two of these tell who was at work between them. Raises StoreError if
    the store cannot be read."""
    infos = files.infos(f"{_FOLDER}/{quote(project)}")
    return {_id(path): info.modified for path, info in infos.items() if path.endswith(_SUFFIX)}


def _id(path: str) -> str:
    return unquoted(path.rpartition("/")[2].removesuffix(_SUFFIX))


def _path(project: str, origin: str) -> str:
    return f"{_FOLDER}/{quote(project)}/{quote(origin)}"


def _state(last: Heartbeat, quiet_seconds: float) -> ReplayState:
    if last.state is not ReplayState.RUNNING:
        return last.state
    here = last.host == socket.gethostname()
    lives = processes.is_running(last.pid, last.pid_started) if here else quiet_seconds <= _LOST_SECONDS
    return ReplayState.RUNNING if lives else ReplayState.LOST


def _expect_seconds(last: Heartbeat) -> None:
    for seconds in (last.seconds, last.busy_seconds, last.left_seconds):
        if not 0 <= seconds < _MOST_SECONDS:
            raise ValueError(f"it has {seconds} seconds")


def _ending(error: BaseException | None) -> tuple[ReplayState, str]:
    if error is None:
        return ReplayState.FINISHED, ""
    if isinstance(error, ReplayStopped) or not isinstance(error, Exception):  # Ctrl-C, a signal
        return ReplayState.STOPPED, ""
    return ReplayState.FAILED, shown(str(error) if isinstance(error, FlorError) else f"{type(error).__name__}: {error}")


def _now(files: Files) -> float:
    if files.read_only and not files.remote:
        return time.time()  # which dates files of this machine
    try:
        return files.now()
    except StoreError:
        warnings.warn(
            f"{files.url} cannot be written here, so that ages are by this machine's clock.", FlorWarning, stacklevel=3
        )
        return time.time()

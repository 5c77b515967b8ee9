"""Who replays what, so that several people can ask at once: a small file in the store for each replay that is going on.

    claims/<project>/<origin>.json      whose it is, where its workers are, what it holds, and what it wants to hold

Nobody but its replay writes a file. Two replays never hold the same:

    1. announce   write what is wanted into one's own file
    2. look       read the files of all others: what they hold is theirs; what they want, too, if they began earlier
    3. hold       write what is left as held

Of two that want the same at once, at least one sees the other, since a listing and a read see what was written before
they began. The later one leaves it; the earlier one looks again until the other has made up its mind. That needs no
more of a store than that, in particular no If-None-Match.

A claim lapses with its owner: at once where its process is gone from this host, else when nothing of it was written for
a minute. That is told by watching its files change, with this process's own stopwatch; no two clocks are compared.
"""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from flor_ray import processes
from flor_ray.errors import FlorWarning, StoreError
from flor_ray.records import Claim
from flor_ray.store import checks, heartbeats, typed_json
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted

_FOLDER = "claims"
_SUFFIX = ".json"
_LAPSED_SECONDS = 60.0  # heartbeats come every 10 s
_UNDECIDED_SECONDS = 3.0  # that an earlier replay waits for a later one to make up its mind, which takes two requests
_AGAIN_SECONDS = 0.05
_Key = tuple[str, str]  # project and id of a replay


@dataclass(frozen=True, slots=True)
class Staff:
    """A replay's workers. Replays whose workers are on one cluster share its slots."""

    cluster: str = ""  # where they are; "": nobody else's can be there
    slots: int = 0  # that there are for workers like these
    workers: int = 0
    wants: int = 0  # workers that it could use


@dataclass(frozen=True, slots=True)
class Claimant:
    """A replay that is going on, as its file has it."""

    user: str
    host: str
    pid: int
    pid_started: int | None
    again: bool = False  # it wants new values of what is answered: only what runs now can be shared
    question: str = ""  # as it was asked; "": nobody else's is the same
    staff: Staff = field(default_factory=Staff)
    held: tuple[Claim, ...] = ()
    wanted: tuple[Claim, ...] = ()  # announced

    @property
    def who(self) -> str:
        """For people."""
        return f"{self.user}@{self.host}"


@dataclass(frozen=True, slots=True)
class Other:
    """Another replay that is going on."""

    project: str
    id: str
    said: Claimant
    theirs: tuple[Claim, ...]  # what it is at, as far as we are concerned


def of_this_process(again: bool = False, question: str = "") -> Claimant:
    """The first file of a replay that begins here."""
    pid = os.getpid()
    return Claimant(processes.user(), socket.gethostname(), pid, processes.started(pid), again, question)


class ReplayClaims:
    """What one replay claims, from `with` to the end of its block. For one thread.

    Everything raises StoreError where the store cannot be read or written.
    """

    def __init__(self, files: Files, project: str, origin: str, first: Claimant) -> None:
        self._files, self._project, self._origin = files, project, origin
        self._path = _path(project, origin)
        self.said = first  # as `flush` writes it
        self._written: Claimant | None = None
        self._watch = _OthersWatch(files)

    def __enter__(self) -> Self:
        self.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._files.delete(self._path)
        except StoreError as failed:  # which must not hide how the replay ended; the claims lapse
            warnings.warn(f"What this replay had claimed could not be removed: {failed}", FlorWarning, stacklevel=2)

    @property
    def id(self) -> str:
        """Of the replay."""
        return self._origin

    def flush(self) -> None:
        """Write what is `said`, if it has changed."""
        if self.said != self._written:
            self._files.write(self._path, json.dumps(typed_json.to_plain(self.said)).encode())
            self._written = self.said

    def others(self) -> tuple[Other, ...]:
        """The other replays that are going on, of all projects, with what they hold."""
        return tuple(Other(*key, said, said.held) for key, said in self._live().items())

    def announce(self, wanted: Iterable[Claim]) -> tuple[Other, ...]:
        """Want something; what others are at. What overlaps it is theirs, and all else is this replay's from now on,
        if what is flushed next has it as held."""
        self.said = replace(self.said, wanted=tuple(wanted))
        self.flush()
        until = time.monotonic() + _UNDECIDED_SECONDS
        while True:
            live = self._live()
            later = [said for key, said in live.items() if self._meets(key) and key[1] > self._origin]
            undecided = any(_meet(ours, one) for said in later for one in said.wanted for ours in self.said.wanted)
            if not undecided or time.monotonic() > until:
                first = {key for key in live if self._meets(key) and (key[1] < self._origin or undecided)}
                return tuple(Other(*key, said, _theirs(key in first, said)) for key, said in live.items())
            time.sleep(_AGAIN_SECONDS)

    def _meets(self, key: _Key) -> bool:
        return key[0] == self._project

    def _live(self) -> dict[_Key, Claimant]:
        return self._watch.look(apart=self._path)


def live(files: Files) -> tuple[Other, ...]:
    """The replays that are going on, of all projects, with what they hold. Raises StoreError if the store cannot be
    read."""
    return tuple(Other(*key, said, said.held) for key, said in _OthersWatch(files).look(sweeps=False).items())


def _theirs(with_wanted: bool, said: Claimant) -> tuple[Claim, ...]:
    return (*said.held, *said.wanted) if with_wanted else said.held


def _meet(one: Claim, other: Claim) -> bool:
    """Whether two claims may have a place in common."""
    names = {name for name, _ in one.statements}
    return one.version == other.version and any(name in names for name, _ in other.statements)


@dataclass(slots=True)
class _SeenFiles:
    """What was seen last of a replay's files, and by our stopwatch when that was new."""

    modified: tuple[float | None, float | None]
    since: float


@dataclass(slots=True)
class _OthersWatch:
    """Which replays are going on, found out by looking again and again."""

    files: Files
    clock: Callable[[], float] = time.monotonic
    _seen: dict[_Key, _SeenFiles] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)  # paths of files that say nothing

    def look(self, sweeps: bool = True, apart: str = "") -> dict[_Key, Claimant]:
        """The replays that are going on, by project and id, without the one whose file is `apart`; what dead ones have
        left is removed, if it `sweeps`."""
        try:
            found = {}
            for path, info in self.files.infos(_FOLDER).items():
                key = _key(path)
                said = None if key is None or path == apart else self._read(path)
                if said is None or key is None:
                    continue
                if self._lives(key, said, info.modified):
                    found[key] = said
                elif sweeps:
                    self.files.delete(path)
            return found
        except StoreError:
            for seen in self._seen.values():  # nobody could write either
                seen.since = self.clock()
            raise

    def _read(self, path: str) -> Claimant | None:
        try:
            return typed_json.from_plain(checks.parsed(self.files.read(path)), Claimant)
        except FileNotFoundError:  # it has ended meanwhile
            return None
        except ValueError as error:
            if path not in self._told:
                self._told.add(path)
                where = f"{self.files.url}/{path}"
                warnings.warn(
                    f"{where} does not say what a replay has claimed ({error}). What it runs may be run twice.",
                    FlorWarning,
                    stacklevel=2,
                )
            return None

    def _lives(self, key: _Key, said: Claimant, modified: float) -> bool:
        if said.host == socket.gethostname():
            return processes.is_running(said.pid, said.pid_started)
        beat = heartbeats.modified(self.files, *key)
        seen, now = self._seen.get(key), self.clock()
        if seen is None:
            latest = max(modified, beat or 0.0)
            self._seen[key] = seen = _SeenFiles((modified, beat), now - max(0.0, self.files.now() - latest))
        elif seen.modified != (modified, beat):
            self._seen[key] = seen = _SeenFiles((modified, beat), now)
        return now - seen.since <= _LAPSED_SECONDS


def _key(path: str) -> _Key | None:
    parts = path.split("/")
    if len(parts) != 3 or not parts[2].endswith(_SUFFIX):
        return None
    return unquoted(parts[1]), unquoted(parts[2].removesuffix(_SUFFIX))


def _path(project: str, origin: str) -> str:
    return f"{_FOLDER}/{quote(project)}/{quote(origin)}{_SUFFIX}"

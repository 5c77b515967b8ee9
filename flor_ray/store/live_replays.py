"""Which replays are going on: one small file each in the store, so that gc leaves alone what they need.

    replays/<project>/<origin>.json      who replays which versions, and since when

It is written before the first segment runs and deleted after the last one. One that a killed process left behind counts
no more once that process is gone from this host; one of another host, where nobody can look, once the replay's heart
(`heartbeats`) has not beaten for some minutes. Older releases' hearts do not beat: their marks count for a day.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flor_ray import processes
from flor_ray.errors import StoreError
from flor_ray.store import checks, heartbeats, typed_json
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted

_FOLDER = "replays"
_QUIET_SECONDS = 300.0  # thirty beats: a store may be away, or a machine busy, for a while
_UNKNOWN_SECONDS = 86_400.0  # longer than replays take, short enough not to keep a full bucket full


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay that is going on."""

    project: str
    origin: str  # its id
    versions: frozenset[str]
    started: float  # unix seconds
    path: str  # of its file


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a file holds."""

    versions: tuple[str, ...]
    started: float
    host: str
    pid: int
    pid_started: int | None = None


@contextlib.contextmanager
def replaying(files: Files, project: str, origin: str, versions: Iterable[str]) -> Iterator[None]:
    """While this lasts, gc drops no checkpoint of these versions and refuses a short grace.

    Raises:
        StoreError: the store cannot be written.
    """
    path = f"{_FOLDER}/{quote(project)}/{origin}.json"
    pid = os.getpid()
    mark = _Mark(tuple(sorted(set(versions))), time.time(), socket.gethostname(), pid, processes.started(pid))
    files.write(path, json.dumps(typed_json.to_plain(mark)).encode())
    try:
        yield
    finally:
        files.delete(path)


def live(files: Files, now: float) -> tuple[Replay, ...]:
    """Replays that are going on at `now` (unix seconds), by project and id.

    Raises:
        StoreError: the store cannot be read, or a mark says nothing.
    """
    found = []
    for path in files.list(_FOLDER):
        with contextlib.suppress(FileNotFoundError):  # ended meanwhile
            replay, mark = _read(path, files.read(path), f"{files.url}/{path}")
            if not _is_over(files, replay, mark, now):
                found.append(replay)
    return tuple(found)


def _read(path: str, data: bytes, where: str) -> tuple[Replay, _Mark]:
    try:
        mark = typed_json.from_plain(checks.parsed(data), _Mark)
        _, project, name = path.split("/")
        replay = Replay(unquoted(project), name.removesuffix(".json"), frozenset(mark.versions), mark.started, where)
    except ValueError as error:
        raise StoreError(f"{where} does not say which replay is running ({error}). Delete it if none is.") from error
    return replay, mark


def _is_over(files: Files, replay: Replay, mark: _Mark, now: float) -> bool:
    if mark.host == socket.gethostname():
        return not processes.is_running(mark.pid, mark.pid_started)
    quiet = heartbeats.quiet_seconds(files, replay.project, replay.origin)
    return now - mark.started > _UNKNOWN_SECONDS if quiet is None else quiet > _QUIET_SECONDS

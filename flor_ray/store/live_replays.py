"""Which replays are going on: one small file each in the store, so that gc leaves alone what they need.

    replays/<project>/<origin>.json      who replays which versions, and since when

It is written before the first segment runs and deleted after the last one. One that a killed process left behind counts
no more once that process is gone from this host; one of another host, where nobody can look, after a day.
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
from flor_ray.records import Experiment, Status
from flor_ray.store import runs
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted

_FOLDER = "replays"
_ELSEWHERE_SECONDS = 86_400.0  # longer than replays take, short enough not to keep a full bucket full


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay that is going on."""

    project: str
    origin: str  # its id
    versions: frozenset[str]
    started: float  # unix seconds
    path: str  # of its file


@contextlib.contextmanager
def replaying(files: Files, project: str, origin: str, versions: Iterable[str]) -> Iterator[None]:
    """While this lasts, gc drops no checkpoint of these versions and refuses a short grace.

    Raises:
        StoreError: the store cannot be written.
    """
    path = f"{_FOLDER}/{quote(project)}/{origin}.json"
    mark = {
        "versions": sorted(set(versions)),
        "started": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": processes.started(os.getpid()),
    }
    files.write(path, json.dumps(mark).encode())
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
            replay, is_over = _read(path, files.read(path), now, f"{files.url}/{path}")
            if not is_over:
                found.append(replay)
    return tuple(found)


def _read(path: str, data: bytes, now: float, where: str) -> tuple[Replay, bool]:
    try:
        mark = json.loads(data)
        _, project, name = path.split("/")
        versions, started = frozenset(mark["versions"]), float(mark["started"])
        replay = Replay(unquoted(project), name.removesuffix(".json"), versions, started, where)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} does not say which replay goes on ({error}). Delete it if none does.") from error
    if mark.get("host") != socket.gethostname():
        return replay, now - started > _ELSEWHERE_SECONDS
    process = Experiment(replay.project, "", None, "", "", started, None, Status.RUNNING, environment=mark)
    return replay, runs.has_crashed(process, None, now)

"""Places that users have pinned by hand, in the store: one small file per decision, never changed.

    pins/<project>/<microseconds>-<random>.json     a pin, or that one was removed

Of the decisions on one statement in one file's bytes the latest one holds. Any number of users may decide at once.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import secrets
import socket
import time
from dataclasses import asdict, replace
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.records import Pin, PinnedPlace
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote

_FOLDER = "pins"
_Subject = tuple[str, str, int, str]  # what a decision is about


def keep(files: Files, project: str, place: PinnedPlace) -> PinnedPlace:
    """Keep a pin, with who and when. It goes before what was decided earlier on its statement and file."""
    return _write(files, project, place, removed=False)


def remove(files: Files, project: str, place: PinnedPlace) -> None:
    """From now on this pin does not hold."""
    _write(files, project, place, removed=True)


def kept(files: Files, project: str) -> tuple[PinnedPlace, ...]:
    """The pins that hold, oldest first.

    Raises:
        StoreError: the store cannot be read, or a file of it is no pin.
    """
    latest: dict[_Subject, tuple[PinnedPlace, bool]] = {}
    paths = files.list(_folder(project))
    for path, data in sorted(files.read_many(paths).items()):
        place, removed = _parse(data, f"{files.url}/{path}")
        latest.pop(_subject(place), None)
        latest[_subject(place)] = place, removed
    return tuple(place for place, removed in latest.values() if not removed)


def _write(files: Files, project: str, place: PinnedPlace, removed: bool) -> PinnedPlace:
    folder = _folder(project)
    newest = max((_microseconds(path) for path in files.list(folder)), default=0)
    while True:  # later than all that could be seen, whatever the clocks of other machines say
        moment = max(int(time.time() * 1e6), newest + 1)
        place = replace(place, who=_user(), created=moment / 1e6)
        data = json.dumps({**asdict(place), "removed": removed}, indent=1).encode()
        if files.create(f"{folder}/{moment:017d}-{secrets.token_hex(4)}.json", data):
            return place


def _parse(data: bytes, where: str) -> tuple[PinnedPlace, bool]:
    try:
        row: dict[str, Any] = json.loads(data)
        removed = bool(row.pop("removed"))
        pin = Pin(int(row["pin"]["after"]), row["pin"]["indent"])
        return PinnedPlace(**{**row, "pin": pin}), removed
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{where} is not a pinned place ({error}). Delete it, and pin the place again.") from error


def _subject(place: PinnedPlace) -> _Subject:
    return place.name, place.statement, place.ordinal, place.blob


def _microseconds(path: str) -> int:
    with contextlib.suppress(ValueError):
        return int(path.rpartition("/")[2].partition("-")[0])
    return 0


def _folder(project: str) -> str:
    return f"{_FOLDER}/{quote(project)}"


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without an entry in passwd
        name = "?"
    return f"{name}@{socket.gethostname()}"

"""Places that users have pinned by hand, in the store: one small file per decision, never changed.

    pins/<project>/<microseconds>-<random>.json     a pin, or that one was removed

Of the decisions on one statement in one file's bytes the latest one holds. Any number of users may decide at once.
"""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass, replace
from typing import Any

from flor_ray.records import PinnedPlace
from flor_ray.store import typed_json
from flor_ray.store.decisions import Decisions
from flor_ray.store.files import Files

_Subject = tuple[str, str, int, str]  # what a decision is about


@dataclass(frozen=True, slots=True)
class _PinDecision:
    place: PinnedPlace
    removed: bool


def keep(files: Files, project: str, place: PinnedPlace) -> PinnedPlace:
    """Keep a pin, with who and when. It goes before what was decided earlier on its statement and file."""
    return _decide(files, project, place, removed=False)


def remove(files: Files, project: str, place: PinnedPlace) -> None:
    """From now on this pin does not hold."""
    _decide(files, project, place, removed=True)


def kept(files: Files, project: str) -> tuple[PinnedPlace, ...]:
    """The pins that hold, oldest first.

    Raises:
        StoreError: the store cannot be read, or a file of it is no pin.
    """
    latest: dict[_Subject, _PinDecision] = {}
    for decision in _DECISIONS.all(files, project):
        latest.pop(_subject(decision.place), None)
        latest[_subject(decision.place)] = decision
    return tuple(decision.place for decision in latest.values() if not decision.removed)


def _decide(files: Files, project: str, place: PinnedPlace, removed: bool) -> PinnedPlace:
    who = _user()
    made = _DECISIONS.add(files, project, lambda now: _PinDecision(replace(place, who=who, created=now), removed))
    return made.place


def _to_plain(decision: _PinDecision) -> object:
    return {**typed_json.to_plain(decision.place), "removed": decision.removed}


def _from_plain(plain: Any, name: str) -> _PinDecision:
    return _PinDecision(typed_json.from_plain(plain, PinnedPlace), typed_json.from_plain(plain["removed"], bool))


_DECISIONS = Decisions("pins", "a pinned place", "Delete it, and pin the place again.", _to_plain, _from_plain)


def _subject(place: PinnedPlace) -> _Subject:
    return place.name, place.statement, place.ordinal, place.blob


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without an entry in passwd
        name = "?"
    return f"{name}@{socket.gethostname()}"

"""What a replay looks like while it runs, for pages that show it: a picture in the store, by the replay itself.

driver ── Picture ──> jobs/<project>/<origin>.live ── read ──> whoever watches, and any number of them
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from flor_ray.records import RunningStint
from flor_ray.reports import timelines
from flor_ray.reports.timelines import Timeline
from flor_ray.store import checks, heartbeats, typed_json
from flor_ray.store.files import Files

_SHARE = 0.02  # of the replay's own time that pictures may take: of ten thousand stints one takes a tenth of a second


@dataclass(frozen=True, slots=True)
class LiveStanding:
    """How far a replay is."""

    seconds: float  # since it began
    answered: int  # rows
    wanted: int
    values: int
    workers: int
    awaited: int
    busy_seconds: float
    left_seconds: float
    left_low_seconds: float
    left_high_seconds: float
    overdue: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A replay that runs."""

    timeline: Timeline  # of what has ended
    open: tuple[RunningStint, ...]
    standing: LiveStanding


class Painter:
    """Makes pictures, and no more of them than cost little."""

    def __init__(self, show: Callable[[bytes], None], clock: Callable[[], float] = time.perf_counter) -> None:
        self._show, self._clock, self._due = show, clock, 0.0

    def paint(self, picture: Callable[[], Picture]) -> None:
        """Show what `picture` gives, unless the last one was made just now."""
        began = self._clock()
        if began < self._due:
            return
        self._show(to_json(picture()))
        ended = self._clock()
        self._due = ended + (ended - began) / _SHARE


def to_json(picture: Picture) -> bytes:
    """A picture as the store has it."""
    plain = typed_json.to_plain(replace(picture, timeline=Timeline("", (), (), 0, 0.0)))
    return json.dumps({**plain, "timeline": timelines.to_plain(picture.timeline)}).encode()


def of_json(data: bytes, origin: str) -> Picture:
    """The picture of which `to_json` made this. Raises ValueError for what is none."""
    try:
        plain = checks.parsed(data)
        timeline = timelines.from_plain(plain["timeline"], origin)
        return typed_json.from_plain({**plain, "timeline": timeline}, Picture)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"it shows no replay ({type(error).__name__}: {error})") from error


def read(files: Files, project: str, origin: str) -> Picture | None:
    """What a replay has last shown of itself; None if it shows nothing (older releases' do not), or no more. What is
    damaged shows nothing: the next one comes soon. Raises StoreError if the store cannot be read."""
    data = heartbeats.picture(files, project, origin)
    if data is None:
        return None
    try:
        return of_json(data, origin)
    except ValueError:
        return None

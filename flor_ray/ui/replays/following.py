"""How replays stand, for any number of browsers: those of the page and all others, as the store and their notes tell.

    heartbeats (who, since when, how it ended) ─┐
    pictures (what workers do now) ─────────────┼─> standing, the same for all who follow
    launches (what was asked, what it prints) ──┘

Nothing is remembered between two looks but for a moment: a server that is started anew sees the same.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from typing import Any

from flor_ray.errors import StoreError, UsageError
from flor_ray.reports import live, timelines
from flor_ray.reports.jobs import standing as standing_in_words
from flor_ray.store import heartbeats
from flor_ray.store.heartbeats import KnownReplay, ReplayState
from flor_ray.store.project import Project
from flor_ray.ui import cells
from flor_ray.ui.replays import stints
from flor_ray.ui.replays.launches import CANCELLED, PAUSED, Launches, PageReplay

PLANNING, NOTHING = "planning", "nothing to do"
OVER = frozenset({"finished", "failed", "stopped", "lost", PAUSED, CANCELLED, NOTHING})
_NEWEST = 40  # replays that are listed
_FRESH_SECONDS = 0.3  # a look serves all who ask within it


class ReplayWatch:
    """Looks at the replays of a project. For any threads."""

    def __init__(self, project: Project, launches: Launches) -> None:
        self._project, self._launches = project, launches
        self._lock = threading.Lock()
        self._looks: dict[str, tuple[float, dict[str, Any]]] = {}

    def every(self) -> list[dict[str, Any]]:
        """The newest replays, newest first, without what their workers do. Raises StoreError if the store cannot be
        read."""
        known = heartbeats.known(self._project.store.files, self._project.name, _NEWEST)
        launched = self._launches.every()[-_NEWEST:]
        by_launch = {launch.id: _replay_of(launch, known) for launch in launched}
        taken = {replay.id for replay in by_launch.values() if replay is not None}
        rows = [self._summary(launch, by_launch[launch.id]) for launch in launched]
        rows += [self._summary(None, replay) for replay in known if replay.id not in taken]
        return sorted(rows, key=lambda row: -float(row["began"]))

    def standing(self, id: str) -> dict[str, Any]:
        """How a replay stands: its summary, what its workers did and are at, and what it prints.

        Raises:
            UsageError: there is none of this id.
            StoreError: the store cannot be read.
        """
        with self._lock:
            looked, found = self._looks.get(id, (float("-inf"), {}))
            if time.monotonic() - looked < _FRESH_SECONDS:
                return found
            found = self._look(id)
            self._looks = {key: look for key, look in self._looks.items() if time.monotonic() - look[0] < 60}
            self._looks[id] = time.monotonic(), found
            return found

    def end(self, id: str, pauses: bool) -> dict[str, Any]:
        """Ask a replay to end, as Ctrl-C would: what is finished is kept, and the same question goes on with the rest.

        Raises:
            UsageError: there is none of this id, or it has ended.
            StoreError: the store cannot be written.
        """
        launch, replay = self._find(id)
        if self._state(launch, replay) in OVER:
            raise UsageError(f"{id} has ended already.")
        if pauses and launch is None:
            raise UsageError("Only a replay that was started here can be paused: nobody else knows what was asked.")
        if launch is not None:
            self._launches.wish(launch, PAUSED if pauses else CANCELLED)
        if replay is not None:
            heartbeats.ask_to_end(self._project.store.files, self._project.name, replay)
        elif launch is not None:
            self._launches.interrupt(launch)
        with self._lock:
            self._looks.pop(id, None)
        return self.standing(id)

    def _find(self, id: str) -> tuple[PageReplay | None, KnownReplay | None]:
        known = heartbeats.known(self._project.store.files, self._project.name)
        launched = self._launches.every()
        for launch in launched:
            replay = _replay_of(launch, known)
            if id == launch.id or (replay is not None and id == replay.id):
                return launch, replay
        for replay in known:
            if replay.id == id:
                return None, replay
        raise UsageError(f"There is no replay {id!r} in {self._project.name}.")

    def _look(self, id: str) -> dict[str, Any]:
        launch, replay = self._find(id)
        found = self._summary(launch, replay)
        picture = None
        if replay is not None and found["state"] not in OVER:
            picture = live.read(self._project.store.files, self._project.name, replay.id)
        if picture is not None:
            found |= {
                "standing": asdict(picture.standing),
                "timeline": stints.timeline(picture.timeline),
                "open": [stints.open_row(one) for one in picture.open],
            }
        elif replay is not None and found["state"] in OVER:
            found["timeline"] = self._timeline(replay.id)
        if launch is not None:
            lines = self._launches.output(launch).splitlines()
            found["output"] = [cells.readable(line) for line in lines]
        return found

    def _timeline(self, replay: str) -> dict[str, Any] | None:
        """That of a replay which is over; None if it has none, as one whose process was killed."""
        try:
            return stints.timeline(timelines.find(self._project.store.files, self._project.name, replay))
        except (UsageError, StoreError):
            return None

    def _summary(self, launch: PageReplay | None, replay: KnownReplay | None) -> dict[str, Any]:
        last = None if replay is None else replay.last
        names = last.names if last is not None else launch.asked.names if launch is not None else ()
        began = time.time() - replay.began_seconds if replay is not None else launch.began if launch is not None else 0
        return {
            "id": launch.id if launch is not None else replay.id if replay is not None else "",
            "replay": "" if replay is None else replay.id,
            "names": [cells.readable(name) for name in names],
            "state": self._state(launch, replay),
            "ending": bool(launch is not None and launch.wish),
            "began": launch.began if launch is not None else began,
            "asked": None if launch is None else _asked(launch),
            "answered": 0 if last is None else last.answered,
            "wanted": 0 if last is None else last.wanted,
            "failures": 0 if last is None else last.failures,
            "said": "" if last is None else cells.readable(last.said),
            "host": cells.readable(last.host if last is not None else launch.host if launch is not None else ""),
            "words": "" if replay is None else cells.readable(standing_in_words(replay, ())),
        }

    def _state(self, launch: PageReplay | None, replay: KnownReplay | None) -> str:
        if replay is not None:
            stopped = replay.state is ReplayState.STOPPED and launch is not None and launch.wish
            return launch.wish if stopped and launch is not None else replay.state.value
        if launch is None or launch.lives:
            return PLANNING
        if launch.wish:
            return launch.wish
        return NOTHING if self._launches.status(launch) == 0 else "failed"


def _replay_of(launch: PageReplay, known: tuple[KnownReplay, ...]) -> KnownReplay | None:
    """The replay that runs in a launch's process: numbers of processes are given out again, starts are not."""
    for replay in reversed(known):
        last = replay.last
        if (last.host, last.pid, last.pid_started) == (launch.host, launch.pid, launch.pid_started):
            return replay
    return None


def _asked(launch: PageReplay) -> dict[str, Any]:
    """What was asked for, as it may be shown."""
    asked = asdict(launch.asked) | {"names": list(map(cells.readable, launch.asked.names))}
    return {name: cells.readable(value) if isinstance(value, str) else value for name, value in asked.items()}

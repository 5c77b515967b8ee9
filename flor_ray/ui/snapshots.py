"""What is known of all runs at one time: a table scrolls over it, and it is soon looked at again.

To list a store's runs may take longer than a page waits. So one listing answers until the next is there; the next is
made while the last still answers, and not more often than its cost allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from flor_ray import lookup
from flor_ray.errors import NothingRecorded
from flor_ray.patching.virtual_columns import VirtualColumn
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.project import Project
from flor_ray.ui import notices, virtual

_LEAST_SECONDS = 2.0  # that a listing answers
_COST_TIMES = 10.0  # as long as it took to make, at least


@dataclass(frozen=True, slots=True)
class RunsSnapshot:
    """All runs, oldest first, as they were at one time."""

    number: int
    runs: tuple[ListedRun, ...]
    features: frozenset[str]  # names that were logged
    verdicts: dict[str, str]  # by version, of those that were replayed
    virtual: dict[str, VirtualColumn]  # what the working tree logs, with or without values
    notices: tuple[str, ...]  # what a reader was warned of


class Snapshots:
    """The newest snapshot of a project. Any thread may ask."""

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self._project, self._clock = project, clock
        self._lock = threading.Lock()
        self._latest: RunsSnapshot | None = None
        self._until = 0.0
        self._refreshing = False

    def latest(self) -> RunsSnapshot:
        """The newest; if it is no longer new, another is being made meanwhile."""
        with self._lock:
            if self._latest is None:
                self._latest = self._made(1)
            elif self._clock() > self._until and not self._refreshing:
                self._refreshing = True
                threading.Thread(target=self._refresh, daemon=True, name="flor-ray-runs").start()
            found = self._latest
        notices.tell(found.notices)
        return found

    def _refresh(self) -> None:
        try:
            latest = self._latest
            made = self._made(1 if latest is None else latest.number + 1)
            with self._lock:
                same = latest is not None and _same(latest, made)
                self._latest = latest if same else made
        finally:
            with self._lock:
                self._refreshing = False

    def _made(self, number: int) -> RunsSnapshot:
        began = self._clock()
        with notices.collecting() as warned:
            store, name = self._project.store, self._project.name
            try:
                runs = self._project.listed_runs()
            except NothingRecorded:
                runs = ()
            logged = store.logged(name, (), columns=["version"], in_order=False) if runs else None
            judged = lookup.judged_by_version(logged.reports, ())[0] if logged and logged.reports else {}
            verdicts = {version: one.verdict.value for version, one in judged.items()}
            columns = virtual.working_columns(self._project, runs)
        now = self._clock()
        self._until = now + max(_LEAST_SECONDS, _COST_TIMES * (now - began))
        return RunsSnapshot(number, runs, logged.names if logged else frozenset(), verdicts, columns, tuple(warned))


def _same(one: RunsSnapshot, other: RunsSnapshot) -> bool:
    return replace(one, number=0) == replace(other, number=0)

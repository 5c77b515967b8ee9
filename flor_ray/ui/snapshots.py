"""What is known of all runs at one time, for all pages: a table scrolls over it, and it is soon looked at again.

To list a store's runs may take longer than a page waits. So one listing answers until the next is there; the next is
made while the last still answers, not more often than its cost allows, and only if files have come or gone since.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flor_ray import lookup
from flor_ray.errors import FlorError, NothingRecorded, UnknownVersion, UsageError
from flor_ray.patching import statements
from flor_ray.patching.virtual_columns import LoggingCode, VirtualColumn, virtual_columns
from flor_ray.records import Experiment, Status
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.project import Project
from flor_ray.ui import notices

_LEAST_SECONDS = 2.0  # that a listing answers
_COST_TIMES = 10.0  # as long as it took to make, at least
_ID = 40  # characters of a whole version


@dataclass(frozen=True, slots=True)
class RunsSnapshot:
    """All runs, oldest first, as they were at one time."""

    number: int
    runs: tuple[ListedRun, ...]
    features: frozenset[str]  # names that were logged
    verdicts: dict[str, str]  # by version, of those that were replayed
    virtual: dict[str, VirtualColumn]  # what the working tree logs, with or without values
    of_store: tuple[str, ...]  # what the store's reader was warned of
    of_code: tuple[str, ...]  # and the working tree's
    stamp: int | None  # of the store's files; None: they could not be read

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be said with it."""
        return (*self.of_store, *self.of_code)

    def is_like(self, other: RunsSnapshot) -> bool:
        """Whether a page shows the same of both."""
        return replace(self, number=0, stamp=None) == replace(other, number=0, stamp=None)


class Snapshots:
    """The newest snapshot of a project. Any thread may ask."""

    def __init__(self, project: Project, clock: Callable[[], float] = time.monotonic) -> None:
        self.project, self._clock = project, clock
        self._lock = threading.Lock()
        self._latest: RunsSnapshot | None = None
        self._until = 0.0
        self._refreshing = False

    def latest(self) -> RunsSnapshot:
        """The newest; if it is no longer new, another is being made meanwhile."""
        with self._lock:
            if self._latest is None:
                self._latest = self._made(None)
            elif self._clock() > self._until and not self._refreshing:
                self._refreshing = True
                threading.Thread(target=self._refresh, daemon=True, name="flor-ray-runs").start()
            found = self._latest
        notices.tell(found.notices)
        return found

    def newest(self, most: int) -> tuple[Experiment, ...]:
        """The newest runs, oldest first. Raises StoreError if the store cannot be read."""
        versions = [run.version for run in self.latest().runs[-most:]]
        return self.project.store.experiments(self.project.name, versions=versions) if versions else ()

    def chosen(self, prefixes: Sequence[str], most: int) -> tuple[Experiment, ...]:
        """The runs whose versions begin so, in the order in which they are named; also those that began just now.

        Raises:
            UnknownVersion: that is not one version each.
            UsageError: too many are named.
            StoreError: the store cannot be read.
        """
        named = [prefix.lower() for prefix in dict.fromkeys(prefixes)]
        if len(named) > most:
            raise UsageError(f"{len(named)} versions are chosen, and {most} can be shown. Choose fewer.")
        whole = list(dict.fromkeys(one if len(one) == _ID else self._only(one) for one in named))
        found = {e.version: e for e in self.project.store.experiments(self.project.name, versions=whole)}
        if gone := [version for version in whole if version not in found]:
            raise UnknownVersion(gone[0], [run.version for run in self.latest().runs])
        return tuple(found[version] for version in whole)

    def _only(self, prefix: str) -> str:
        known = [run.version for run in self.latest().runs]
        if not _beginning(prefix, known):
            known = [run.version for run in self.project.listed_runs()]
        matching = _beginning(prefix, known)
        if len(matching) != 1:
            raise UnknownVersion(prefix, known, matching)
        return matching[0]

    def _refresh(self) -> None:
        last = self._latest
        made: RunsSnapshot | None
        try:
            made = self._made(last)
        except FlorError as error:  # what was known is shown on, and why it is not new
            self._until = self._clock() + _LEAST_SECONDS
            made = None if last is None else replace(last, of_store=(str(error),), stamp=None)
        finally:
            with self._lock:
                self._refreshing = False
        with self._lock:
            self._latest = made

    def _made(self, last: RunsSnapshot | None) -> RunsSnapshot:
        """A new one, with the number of the last if nothing has changed."""
        began = self._clock()
        store, name = self.project.store, self.project.name
        stamp = store.stamp(name)  # before anything is read: what comes meanwhile counts anew
        if last is None or stamp != last.stamp or any(run.status is Status.RUNNING for run in last.runs):
            with notices.collecting() as warned:
                runs, features, verdicts = self._listed()
            of_store = tuple(warned)
        else:
            runs, features, verdicts, of_store = last.runs, last.features, last.verdicts, last.of_store
        with notices.collecting() as warned:
            columns = working_columns(self.project, runs)
        now = self._clock()
        self._until = now + max(_LEAST_SECONDS, _COST_TIMES * (now - began))
        number = 1 if last is None else last.number + 1
        made = RunsSnapshot(number, runs, features, verdicts, columns, of_store, tuple(warned), stamp)
        return replace(made, number=last.number) if last is not None and made.is_like(last) else made

    def _listed(self) -> tuple[tuple[ListedRun, ...], frozenset[str], dict[str, str]]:
        """The runs, what they have logged, and the verdicts on those that were replayed."""
        try:
            runs = self.project.listed_runs()
        except NothingRecorded:
            return (), frozenset(), {}
        logged = self.project.store.logged(self.project.name, (), columns=["version"], in_order=False)
        judged = lookup.judged_by_version(logged.reports, ())[0] if logged.reports else {}
        return runs, logged.names, {version: one.verdict.value for version, one in judged.items()}


def _beginning(prefix: str, known: Sequence[str]) -> list[str]:
    return [version for version in known if prefix and version.startswith(prefix)]


def working_columns(project: Project, runs: Sequence[ListedRun]) -> dict[str, VirtualColumn]:
    """What the files of the working tree log, saved or committed."""
    scripts = list(dict.fromkeys(run.script for run in reversed(runs) if not is_imported(run)))
    return virtual_columns([LoggingCode("the working tree", statements.working_texts(project), scripts)])


def is_imported(run: ListedRun) -> bool:
    """Whether another program has recorded a run: then it has no code."""
    return run.script.startswith("from ")  # as `ListedRun.of` says it

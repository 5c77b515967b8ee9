"""The recorder's background writer: what a script logs reaches the store without the script waiting for it.

Two threads: one writes log records (once a second, so that a crash loses at most the last second) and the heartbeat;
one hashes and writes checkpoints, at most two of which are held in memory (then the training thread waits).

A write that fails is tried again with the next one; what still cannot be written when the run ends is reported. A
checkpoint that cannot be written is dropped, with a warning: its row is written last, so it never looks like one.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flor_ray.errors import FlorError, FlorWarning
from flor_ray.fragments import RECORDED
from flor_ray.records import Checkpoint, EpochTimes, Experiment, LogRecord, Point

if TYPE_CHECKING:
    from flor_ray.checkpoints import Snapshot
    from flor_ray.store import Store
    from flor_ray.versions import Repository

_FLUSH_SECONDS = 1.0  # what a SIGKILL may lose
_BEAT_SECONDS = 30.0  # a run whose heart has not beaten for three of these counts as crashed
_PENDING_SNAPSHOTS = 2  # one being written, one waiting: more would only hold memory
_PENDING_RECORDS = 1_000_000  # while the store cannot be written, keep this many records in memory and no more


@dataclass(slots=True)
class PendingCheckpoint:
    """A snapshot on its way to the store."""

    snapshot: Snapshot
    point: Point
    epoch: int
    filename: str
    line: int
    times: EpochTimes | None


class Journal:
    """Writes one run. `close` must be called once, from the thread that records."""

    def __init__(self, store: Store, experiment: Experiment, repository: Repository) -> None:
        self._store = store
        self._experiment = experiment
        self._repository = repository
        self._records: list[LogRecord] = []
        self._written = 0
        self._dropped = 0
        self._last_beat = time.monotonic()
        self._failed: str | None = None
        self._sources_written = False
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._snapshots: queue.Queue[PendingCheckpoint | None] = queue.Queue(_PENDING_SNAPSHOTS)
        self._log_thread = threading.Thread(target=self._run_logs, name="flor-logs", daemon=True)
        self._snapshot_thread = threading.Thread(target=self._run_snapshots, name="flor-checkpoints", daemon=True)
        self._log_thread.start()
        self._snapshot_thread.start()

    def log(self, record: LogRecord) -> None:
        self._records.append(record)  # atomic under the GIL; the log thread takes a prefix of the list

    def checkpoint(self, pending: PendingCheckpoint) -> None:
        """Queue a snapshot; waits while two are already pending, so that memory stays bounded."""
        self._snapshots.put(pending)

    def close(self, ended: Experiment) -> None:
        """Write everything that is pending and how the run ended."""
        self._closing.set()
        self._snapshots.put(None)
        self._snapshot_thread.join()
        self._log_thread.join()
        self._write_sources()
        self._flush()
        if self._records or self._dropped:
            count = len(self._records) + self._dropped
            warnings.warn(f"{count} log records could not be written: {self._failed}", FlorWarning, stacklevel=2)
        try:
            self._store.end_run(ended)
            self._store.merge_logs(ended.project, ended.version, RECORDED)
        except (FlorError, OSError) as error:
            warnings.warn(f"How this run ended could not be written: {error}", FlorWarning, stacklevel=2)

    # threads

    def _run_logs(self) -> None:
        self._write_sources()
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()
            self._beat()

    def _run_snapshots(self) -> None:
        while (pending := self._snapshots.get()) is not None:
            try:
                self._write_checkpoint(pending)
            except (FlorError, OSError) as error:
                self._fail(f"the checkpoint of epoch {pending.epoch}", error)

    # writes

    def _write_sources(self) -> None:
        """Mirror the version's files from git (not from the working tree, which may have changed) to the store."""
        if self._sources_written:
            return
        project, version, parent = self._experiment.project, self._experiment.version, self._experiment.parent
        try:
            known = self._store.known_sources(project, parent) if parent is not None else {}
            files = self._repository.sources(version, frozenset(known))
            self._store.write_sources(project, version, parent, files, known)
            self._sources_written = True
        except (FlorError, OSError) as error:
            self._fail("the source code", error)

    def _flush(self) -> None:
        with self._writing:
            batch = self._records[:]
            if not batch:
                return
            project, version = self._experiment.project, self._experiment.version
            try:
                self._store.append_logs(project, version, RECORDED, self._written, batch)
            except (FlorError, OSError) as error:
                self._fail(f"{len(batch)} log records", error)
                excess = len(batch) - _PENDING_RECORDS
                if excess > 0:
                    self._dropped += excess
                    del self._records[:excess]
                return
            self._written += len(batch)
            del self._records[: len(batch)]

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat < _BEAT_SECONDS:
            return
        self._last_beat = time.monotonic()
        try:
            self._store.beat(self._experiment.project, self._experiment.version, time.time())
        except (FlorError, OSError) as error:
            self._fail("the heartbeat", error)

    def _write_checkpoint(self, pending: PendingCheckpoint) -> None:
        snapshot = pending.snapshot
        key, size = snapshot.write(self._store.objects)
        checkpoint = Checkpoint(
            version=self._experiment.version,
            filename=pending.filename,
            line=pending.line,
            epoch=pending.epoch,
            point=pending.point,
            key=key,
            bytes=size,
            seconds=snapshot.seconds,
            captured=snapshot.captured,
            uncaptured=snapshot.uncaptured,
        )
        self._store.append_checkpoint(self._experiment.project, checkpoint, pending.times)

    def _fail(self, what: str, error: Exception) -> None:
        """Say the first failure; the rest is counted at the end."""
        if self._failed is None:
            warnings.warn(
                f"flor_ray could not write {what} to {self._store.url} ({error}); training goes on, and it is tried "
                "again.",
                FlorWarning,
                stacklevel=2,
            )
        self._failed = str(error)

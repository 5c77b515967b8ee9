"""The recorder's background writer: what a script logs reaches the store without the script waiting for it.

Two threads: one writes log records (once a second, so that a crash loses at most the last second) and the heartbeat;
one hashes and writes checkpoints, a few of which are held in memory (then the training thread waits).

A write that fails is tried again until the run ends, and for a while after that. Meanwhile checkpoints are not taken,
and the oldest waiting ones give way to the last; what is lost in the end is named. A checkpoint's row is written last,
so that what was not written whole never looks like one.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flor_ray.environment import opened
from flor_ray.environment.inputs import InputFiles
from flor_ray.errors import FlorError, FlorWarning
from flor_ray.processes import start_background
from flor_ray.recording.pending import PendingCheckpoint
from flor_ray.records import Checkpoint, Experiment, LogRecord, Skip, WrittenFile
from flor_ray.state.snapshots import SnapshotWriter
from flor_ray.store import typed_values
from flor_ray.store.fragments import RECORDED
from flor_ray.wording import counted

if TYPE_CHECKING:
    from flor_ray.store.repository import Repository
    from flor_ray.store.store import Store

_FLUSH_SECONDS = 1.0  # what a SIGKILL may lose
_BEAT_SECONDS = 30.0  # a run whose heart has not beaten for three of these counts as crashed
_PENDING_SNAPSHOTS = 3  # two points of one epoch, and the last one: more would only hold memory ...
_PENDING_BYTES = 256 << 20  # ... unless they are small: then a store that is away for minutes costs no checkpoint
_PENDING_RECORDS = 1_000_000  # while the store cannot be written, keep this many records in memory and no more
_FLUSH_RECORDS = 100_000  # waiting records that are written at once: 30 MB
_WAIT_RECORDS = 500_000  # waiting records from which on a script that logs without pause has to wait
_FLUSH_BLOB_BYTES = 32 << 20  # the same for images, arrays and the like, which are larger
_WAIT_BLOB_BYTES = 256 << 20
_BACK_OFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)  # between tries; the last one again and again
_LAST_TRIES_SECONDS = 60.0  # for which a run that has ended goes on trying to write to a server
_HALVED = 1000  # large values of which a disk that is full is offered each by itself, when a run ends
_NAMED = 5  # features of which values are lost
_QUIET_SECONDS = 2.0  # an end that takes longer is explained


class Journal:
    """Writes one run. `close` must be called once, from the thread that records."""

    def __init__(self, store: Store, experiment: Experiment, repository: Repository, inputs: InputFiles) -> None:
        self._store = store
        self._experiment = experiment
        self._repository = repository
        self._inputs = inputs
        self._tracked: frozenset[str] = frozenset()  # paths of the version's own files
        self._files: tuple[WrittenFile, ...] = ()  # as the store has them
        self._writing_files = threading.Lock()
        self._records: list[LogRecord] = []
        self._blob_bytes = 0
        self._skips: list[Skip] = []
        self._written = 0
        self._dropped: Counter[str] = Counter()  # records that there was no memory to hold, by name
        self._left_out: set[str] = set()  # names of which a value could not be kept
        self._last_beat = time.monotonic()
        self._failed: str | None = None  # why the store cannot be written at this time
        self._why_lost: str | None = None
        self._sources_written = False
        self._closing = threading.Event()
        self._give_up = float("inf")
        self._wake_logs = threading.Event()
        self._room = threading.Condition()
        self._flushed = threading.Event()
        self._pending: deque[PendingCheckpoint | None] = deque()
        self._at_work: PendingCheckpoint | None = None
        self._lost: list[int] = []
        self.background_seconds = 0.0  # processor time that checkpoints took in their thread
        self.device_seconds = 0.0  # for which checkpoints held up GPUs
        self.restore_seconds = 0.0  # about what reading a checkpoint takes, judged by the writing of the last one
        self._writer = SnapshotWriter(store.objects)
        self._log_thread = start_background(self._run_logs, name="flor-logs")
        self._snapshot_thread = start_background(self._run_snapshots, name="flor-checkpoints")

    # what the recorder calls

    def log(self, record: LogRecord, blob_bytes: int = 0) -> None:
        """Queue a record. Waits only if half a million, or 256 MB of blobs, are waiting for a store that works."""
        self._records.append(record)  # atomic under the GIL; the log thread takes a prefix of the list
        self._blob_bytes += blob_bytes
        if len(self._records) >= _FLUSH_RECORDS or self._blob_bytes >= _FLUSH_BLOB_BYTES:
            self._wake_logs.set()
            if len(self._records) >= _WAIT_RECORDS or self._blob_bytes >= _WAIT_BLOB_BYTES:
                self._wait_for_flush()

    def skip(self, skip: Skip) -> None:
        """Queue the row of an epoch without a checkpoint."""
        self._skips.append(skip)

    @property
    def busy(self) -> str:
        """Why no further checkpoint should be taken now; "" if nothing speaks against it.

        An epoch that begins finds the two points of the one before still being written: that is no reason.
        """
        waiting = [p.snapshot.bytes for p in (self._at_work, *list(self._pending)) if p is not None]
        if waiting and self._failed is not None:
            return f"the store could not be written ({self._failed})"
        late = len(waiting) >= _PENDING_SNAPSHOTS and sum(waiting) > _PENDING_BYTES / 4
        return "those before it are still being written" if late else ""

    def checkpoint(self, pending: PendingCheckpoint) -> None:
        """Queue a snapshot; waits while others are pending, so that memory stays bounded.

        While the store cannot be written, the oldest one gives way instead: the training goes on.
        """
        with self._room:
            while self._is_full(pending.snapshot.bytes):
                if self._failed is not None:
                    oldest = self._pending.popleft()
                    if oldest is not None:
                        self._lost.append(oldest.epoch)
                else:
                    self._room.wait(0.1)
            self._pending.append(pending)
            self._room.notify_all()

    def _is_full(self, more_bytes: int) -> bool:
        waiting = sum(pending.snapshot.bytes for pending in self._pending if pending is not None)
        return len(self._pending) >= _PENDING_SNAPSHOTS and waiting + more_bytes > _PENDING_BYTES

    def settle(self, ended: Experiment) -> None:
        """Wait until everything is written, and say how the run ended; what is still logged is written as before. For a
        process that may be killed without notice."""
        until = time.monotonic() + _LAST_TRIES_SECONDS
        while self._records or self._skips or self._pending or self._at_work is not None:
            if self._failed is not None or time.monotonic() > until:
                return  # then the run counts as crashed
            self._wake_logs.set()
            time.sleep(0.01)
        try:
            self._store.end_run(self._with_inputs(ended))
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and the user is told
            self._fail("how this run ended", error)

    def close(self, ended: Experiment) -> None:
        """Write everything that is pending and how the run ended."""
        self._give_up = time.monotonic() + (_LAST_TRIES_SECONDS if self._store.files.remote else 0.0)
        self._closing.set()
        self._wake_logs.set()
        with self._room:
            self._pending.append(None)
            self._room.notify_all()
        self._wait_for_threads()
        if not self._hopeless:
            self._write_sources()
        self._flush_until_given_up()
        try:
            if not self._hopeless:
                self._write_files()
        except Exception as error:  # noqa: BLE001 - as above: the run has ended, and the user is told
            self._fail("the files that the script wrote", error)
        self._tell_what_is_lost()
        if self._hopeless:
            warnings.warn(f"How this run ended could not be written: {self._failed}", FlorWarning, stacklevel=2)
            return
        try:
            from flor_ray.store.compacting import (
                compaction,  # with what it reads by: a run that begins need not wait for that
            )

            self._store.end_run(self._with_inputs(ended))
            self._store.merge_logs(ended.project, ended.version, RECORDED)
            self._store.merge_checkpoints(ended.project, ended.version)
            compaction.by_itself(self._store, ended.project)
        except Exception as error:  # noqa: BLE001 - whatever it is, the script ends as it would and the user is told
            warnings.warn(f"How this run ended could not be written: {error}", FlorWarning, stacklevel=2)

    def exchanged(self) -> tuple[str, ...]:
        """Files in which this rank read what another one had written."""
        return self._inputs.exchanged(own=False)

    # the end

    def _with_inputs(self, ended: Experiment) -> Experiment:
        """The run with its input files. Without a list of the version's own files they cannot be told apart."""
        if not self._sources_written:
            return ended
        return replace(ended, environment=dict(ended.environment) | self._inputs.described(self._tracked))

    def _wait_for_threads(self) -> None:
        """Join them; if that takes long, say on stderr what is still to be written."""
        told = False
        for thread in (self._snapshot_thread, self._log_thread):
            thread.join(_QUIET_SECONDS)
            while thread.is_alive():
                waiting = [p for p in (self._at_work, *self._pending) if p is not None]
                size = sum(pending.snapshot.bytes for pending in waiting) / 1e6
                print(  # noqa: T201 - for the person who waits, on stderr
                    f"\rflor_ray: writing {len(waiting)} checkpoints ({size:.0f} MB) and {len(self._records)} log "
                    f"records to {self._store.url} ... ",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
                told = True
                thread.join(_QUIET_SECONDS)
        if told:
            print("done", file=sys.stderr)  # noqa: T201

    def _flush_until_given_up(self) -> None:
        while (self._records or self._skips) and not self._hopeless:
            if self._flush():
                return
            left = self._give_up - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _BACK_OFF_SECONDS[1]))

    def _tell_what_is_lost(self) -> None:
        lost = []
        if records := self._dropped + Counter(record.name for record in self._records):
            names = ", ".join(sorted(records)[:_NAMED]) + (", ..." if len(records) > _NAMED else "")
            lost.append(f"{counted(records.total(), 'log record')} ({names})")
        if self._lost:
            epochs = ", ".join(map(str, sorted(set(self._lost))))
            lost.append(f"the checkpoints of epochs {epochs} (replays of these begin at earlier ones)")
        if self._skips:
            lost.append(f"the times of {len(self._skips)} epochs")
        if not self._sources_written:
            lost.append("the source code (it is in git, on flor.shadow)")
        if lost:
            warnings.warn(
                f"Of this run, {' and '.join(lost)} could not be written to {self._store.url}: {self._why_lost}",
                FlorWarning,
                stacklevel=3,
            )

    # threads

    def _run_logs(self) -> None:
        self._write_sources()
        while not self._closing.is_set():
            self._wake_logs.wait(_FLUSH_SECONDS)
            self._wake_logs.clear()
            if not self._flush() and not self._closing.is_set():
                self._closing.wait(_BACK_OFF_SECONDS[0])
            self._beat()
            if self._sources_written:
                self._inputs.fingerprint(self._tracked)
            try:
                self._write_files()
            except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and the user is told
                self._fail("the files that the script writes", error)

    def _run_snapshots(self) -> None:
        while (pending := self._next()) is not None:
            if not self._is_written(pending):
                self._lost.append(pending.epoch)
            self._at_work = None

    def _is_written(self, pending: PendingCheckpoint) -> bool:
        """Try until it is, or until there is no time left to try."""
        tries = 0
        while not self._hopeless:
            if self._try_checkpoint(pending):
                return True
            if not self._waited_to_try_again(_BACK_OFF_SECONDS[min(tries, len(_BACK_OFF_SECONDS) - 1)]):
                return False
            tries += 1
        return False

    @property
    def _hopeless(self) -> bool:
        """A server was away for all the time that there was: each further try would only hold up the script's end."""
        return self._store.files.remote and self._failed is not None and time.monotonic() >= self._give_up

    def _next(self) -> PendingCheckpoint | None:
        with self._room:
            while not self._pending:
                self._room.wait()
            self._at_work = self._pending.popleft()
            self._room.notify_all()
            return self._at_work

    def _waited_to_try_again(self, seconds: float) -> bool:
        """Wait; false if the run has ended and there is no time left to try."""
        if not self._closing.is_set():
            self._closing.wait(seconds)  # the end of the run is one more occasion to try
            return True
        left = self._give_up - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        return left > 0

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
            self._tracked = frozenset(files)
            self._sources_written = True
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on and the user is told
            self._fail("the source code", error)

    def _write_files(self) -> None:
        """Keep what the script has read of files that it writes, and say which these are."""
        with self._writing_files:
            opened.written.keep(self._store.objects.put)
            files = self._inputs.written(self._tracked)
            if files != self._files:
                self._store.write_files(self._experiment.project, self._experiment.version, files)
                self._files = files

    def _flush(self) -> bool:
        """Write the records and skips that wait; whether that was possible."""
        batch, skips = self._records[:], self._skips[:]
        try:
            left = self._append(batch) if batch else []
            self._blob_bytes = 0
            self._records[: len(batch)] = self._bounded(left)
            if left:
                return False
            if skips:
                self._store.append_skips(self._experiment.project, self._experiment.version, skips)
                del self._skips[: len(skips)]
            if batch or skips:
                self._failed = None
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(f"the times of {len(skips)} epochs", error)
            return False
        finally:
            self._flushed.set()
        return True

    def _append(self, batch: Sequence[LogRecord]) -> list[LogRecord]:
        """Write these records; those are returned that the store does not take at this time. One that can never be
        written costs itself, and one whose blob the store has no room for costs no number beside it."""
        try:
            self._store.append_logs(self._experiment.project, self._experiment.version, RECORDED, self._written, batch)
        except (OSError, FlorError) as error:
            self._fail(f"{len(batch)} log records", error)
            plain, heavy = ([r for r in batch if _is_heavy(r) is which] for which in (False, True))
            if plain and heavy:
                return [*self._append(plain), *self._append(heavy)]
            is_last_try = self._closing.is_set() and not self._store.files.remote
            return self._by_halves(batch) if is_last_try and 1 < len(heavy) <= _HALVED else list(batch)
        except Exception as error:  # noqa: BLE001 - as above
            if len(batch) > 1:
                return self._by_halves(batch)
            self._leave_out(batch[0], error)
            return []
        self._written += len(batch)
        return []

    def _by_halves(self, batch: Sequence[LogRecord]) -> list[LogRecord]:
        middle = len(batch) // 2
        return [*self._append(batch[:middle]), *self._append(batch[middle:])]

    def _bounded(self, waiting: Sequence[LogRecord]) -> list[LogRecord]:
        """As many of these, the newest first of all, as may be held in memory."""
        kept: list[LogRecord] = []
        room = _WAIT_BLOB_BYTES
        for record in reversed(waiting):
            size = len(getattr(record.value, "blob", None) or b"")
            if len(kept) >= _PENDING_RECORDS or size > room:
                self._dropped[record.name] += 1
            else:
                room -= size
                kept.append(record)
        return kept[::-1]

    def _leave_out(self, record: LogRecord, error: Exception) -> None:
        if record.name not in self._left_out:
            self._left_out.add(record.name)
            warnings.warn(
                f"A value of {record.name!r} cannot be kept ({type(error).__name__}: {error}) and is left out, and so "
                "are others of this name if they are like it; training goes on.",
                FlorWarning,
                stacklevel=2,
            )

    def _wait_for_flush(self) -> None:
        """Called by the thread that logs. It must not wait for a store that cannot be written."""
        if self._failed is None and self._log_thread.is_alive():
            self._flushed.clear()
            self._wake_logs.set()
            self._flushed.wait(_BEAT_SECONDS)

    def _beat(self) -> None:
        if time.monotonic() - self._last_beat < _BEAT_SECONDS:
            return
        self._last_beat = time.monotonic()
        try:
            self._store.beat(self._experiment.project, self._experiment.version, time.time())
        except Exception as error:  # noqa: BLE001 - as above
            self._fail("the heartbeat", error)

    def _try_checkpoint(self, pending: PendingCheckpoint) -> bool:
        try:
            self._write_checkpoint(pending)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(f"the checkpoint of epoch {pending.epoch}", error)
            return False
        self._failed = None
        return True

    def _write_checkpoint(self, pending: PendingCheckpoint) -> None:
        snapshot = pending.snapshot
        used, started = time.thread_time(), time.perf_counter()
        self._write_files()  # first: who finds a checkpoint finds what files belong to it
        key = self._writer.write(snapshot, pending.compress)
        seconds = time.thread_time() - used
        checkpoint = Checkpoint(
            version=self._experiment.version,
            filename=pending.filename,
            line=pending.line,
            epoch=pending.epoch,
            point=pending.point,
            key=key,
            bytes=snapshot.bytes,
            seconds=snapshot.seconds,
            captured=snapshot.captured,
            uncaptured=snapshot.uncaptured,
            opaque=snapshot.opaque,
            background_seconds=seconds,
            why=pending.why,
        )
        self._store.append_checkpoint(self._experiment.project, checkpoint, pending.times)
        self.background_seconds += time.thread_time() - used
        self.device_seconds += snapshot.device_seconds()
        self.restore_seconds = time.perf_counter() - started

    def _fail(self, what: str, error: Exception) -> None:
        """Say the first failure; what is lost in the end is told then."""
        if self._failed is None:
            warnings.warn(
                f"flor_ray could not write {what} to {self._store.url} ({type(error).__name__}: {error}); training "
                "goes on, and flor_ray tries again.",
                FlorWarning,
                stacklevel=2,
            )
        self._failed = self._why_lost = str(error)


def _is_heavy(record: LogRecord) -> bool:
    """Whether its value is, or will be, an object of its own in the store."""
    return isinstance(record.value, typed_values.Deferred) or getattr(record.value, "blob", None) is not None

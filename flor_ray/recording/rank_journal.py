"""What a rank that is not the first keeps of a run: its random states at its first call, and its checkpoints.

    rank 0 ── Identity, on the board ──> this rank's thread ── RankRecord, its states ──> store.ranks

It is one version, which rank 0 commits and names. Until this rank has heard which, its snapshots wait in memory; what
cannot be written is left out, and told: replays then begin where all ranks have their part.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flor_ray.environment.inputs import KEY, InputFiles
from flor_ray.errors import FlorWarning
from flor_ray.processes import start_background
from flor_ray.recording.agreement import Board
from flor_ray.recording.board import IDENTITY, Identity
from flor_ray.recording.pending import PendingCheckpoint
from flor_ray.records import Checkpoint, Experiment, LogRecord, RankRecord, Skip
from flor_ray.state.snapshots import SnapshotWriter
from flor_ray.store import ranks

if TYPE_CHECKING:
    from flor_ray.store.store import Store

_LOOK_SECONDS = 0.05  # between two looks for the identity, while there is none
_MOST_LOOK_SECONDS = 1.0
_PENDING_SNAPSHOTS = 3
_PENDING_BYTES = 256 << 20
_END_SECONDS = 20.0  # for what is left to be written when the run ends
_TRIES = 3
_TRY_SECONDS = 2.0  # between them


@dataclass(frozen=True, slots=True)
class _KnownRun:
    """The run that this rank is of, and where it is kept."""

    identity: Identity
    store: Store
    writer: SnapshotWriter


class RankJournal:
    """Writes what one rank keeps. `store_at` opens rank 0's store; `inputs` are the files that this rank reads."""

    def __init__(
        self,
        record: RankRecord,
        board: Board,
        store_at: Callable[[str], Store],
        inputs: InputFiles,
    ) -> None:
        self._record = record
        self._board = board
        self._store_at, self._inputs = store_at, inputs
        self._known: _KnownRun | None = None
        self._pending: deque[PendingCheckpoint] = deque()
        self._room = threading.Condition()
        self._at_work = False
        self._closing = threading.Event()
        self._lost: list[int] = []
        self._why = "rank 0 did not say which run this is"
        self._failed = False
        self.background_seconds = self.device_seconds = self.restore_seconds = 0.0
        self.busy = ""  # rank 0 decides
        self._thread = start_background(self._run, name="flor-rank")

    # what the recorder calls

    def log(self, record: LogRecord, blob_bytes: int = 0) -> None:
        """Rank 0 logs for all."""

    def skip(self, skip: Skip) -> None:
        """Rank 0 says it for all."""

    def exchanged(self) -> tuple[str, ...]:
        """Said in the rank's own record."""
        return ()

    def checkpoint(self, pending: PendingCheckpoint) -> None:
        """Queue a snapshot. Waits while others are being written; where they cannot be, the oldest gives way."""
        with self._room:
            while self._is_full(pending.snapshot.bytes):
                if self._failed or self._known is None:
                    self._lost.append(self._pending.popleft().epoch)
                else:
                    self._room.wait(0.1)
            self._pending.append(pending)
            self._room.notify_all()

    def _is_full(self, more_bytes: int) -> bool:
        waiting = sum(pending.snapshot.bytes for pending in self._pending)
        return len(self._pending) >= _PENDING_SNAPSHOTS and waiting + more_bytes > _PENDING_BYTES

    def settle(self, ended: Experiment) -> None:
        """Wait until all that waits is written, for a process that may be killed without notice."""
        until = time.monotonic() + _END_SECONDS
        while (self._pending or self._at_work or self._known is None) and time.monotonic() < until:
            if self._failed or not self._thread.is_alive():
                return
            time.sleep(0.01)
        if self._known is not None and not self._failed:
            self._say_what_was_read(self._known)

    def close(self, ended: Experiment) -> None:
        """Write what is left, and say what is lost."""
        self._closing.set()
        with self._room:
            self._room.notify_all()
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            self._why = "there was no time left for it"
        lost = sorted({*self._lost, *(pending.epoch for pending in self._pending)})
        if lost and (self._known is not None or self._failed):
            warnings.warn(
                f"Of rank {self._record.rank}, the states of epochs {', '.join(map(str, lost))} could not be kept "
                f"({self._why}): replays of these begin at earlier ones.",
                FlorWarning,
                stacklevel=2,
            )

    # its thread

    def _run(self) -> None:
        try:
            known = self._hears_which_run()
            if known is None:
                return
            self._say(known)
            while (pending := self._next()) is not None:
                if not self._is_written(known, pending):
                    self._lost.append(pending.epoch)
                self._at_work = False
            self._say_what_was_read(known)
            known.store.merge_checkpoints(*self._place(known))
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on, and `close` tells
            self._failed, self._why = True, f"{type(error).__name__}: {error}"
            self._tell()

    def _hears_which_run(self) -> _KnownRun | None:
        wait = _LOOK_SECONDS
        while (text := self._board.read(IDENTITY)) is None:
            if self._closing.wait(wait):
                text = self._board.read(IDENTITY)
                break
            wait = min(wait * 1.1, _MOST_LOOK_SECONDS)
        if text is None:
            return None
        identity = Identity.of(text)
        store = self._store_at(identity.url)
        if store.experiment(identity.project, identity.version) is None:
            raise FileNotFoundError(
                f"{identity.url} is another folder on this machine than on that of rank 0: record to a bucket, or to a "
                "folder that all machines see"
            )
        self._known = _KnownRun(identity, store, SnapshotWriter(store.objects))
        return self._known

    def _say(self, known: _KnownRun) -> None:
        ranks.write(known.store.files, known.identity.project, known.identity.version, self._record)

    def _say_what_was_read(self, known: _KnownRun) -> None:
        rows = known.store.source_rows(known.identity.project, known.identity.version)
        tracked = frozenset(row["filename"].decode("utf-8", "surrogateescape") for row in rows)
        found: Any = self._inputs.described(tracked)[KEY]
        self._record = replace(self._record, exchanged=self._inputs.exchanged(), inputs=tuple(found))
        self._say(known)

    def _next(self) -> PendingCheckpoint | None:
        with self._room:
            while not self._pending:
                if self._closing.is_set():
                    return None
                self._room.wait()
            self._at_work = True
            pending = self._pending.popleft()
            self._room.notify_all()
            return pending

    def _is_written(self, known: _KnownRun, pending: PendingCheckpoint) -> bool:
        for _ in range(_TRIES):
            try:
                self._write(known, pending)
                self._failed = False
                return True
            except Exception as error:  # noqa: BLE001 - as above
                self._failed, self._why = True, f"{type(error).__name__}: {error}"
                self._closing.wait(_TRY_SECONDS)
        return False

    def _write(self, known: _KnownRun, pending: PendingCheckpoint) -> None:
        snapshot, used = pending.snapshot, time.thread_time()
        project, version = self._place(known)
        checkpoint = Checkpoint(
            version=version,
            filename=pending.filename,
            line=pending.line,
            epoch=pending.epoch,
            point=pending.point,
            key=known.writer.write(snapshot, pending.compress),
            bytes=snapshot.bytes,
            seconds=snapshot.seconds,
            captured=snapshot.captured,
            uncaptured=snapshot.uncaptured,
            opaque=snapshot.opaque,
            background_seconds=time.thread_time() - used,
            why=pending.why,
        )
        known.store.append_checkpoint(project, checkpoint, pending.times)

    def _place(self, known: _KnownRun) -> tuple[str, str]:
        return ranks.place(known.identity.project, known.identity.version, self._record.rank)

    def _tell(self) -> None:
        warnings.warn(
            f"Nothing of rank {self._record.rank} can be kept ({self._why}), so that this run cannot be replayed; "
            "training goes on.",
            FlorWarning,
            stacklevel=2,
        )

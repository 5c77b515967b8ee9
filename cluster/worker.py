"""One replay slot: prepares a version's files, runs its segments in one process, and writes what is new to the store.

A worker keeps the process of the version that it ran last, so that data preparation is paid once per (version, worker),
and the servers that such processes are forked from, so that imports are paid once per worker. It knows nothing of Ray;
a Ray actor and a thread wrap it alike.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flor_ray import processes
from flor_ray.environment import hardware
from flor_ray.errors import Cancelled, RestoreFailed, StoreAway
from flor_ray.records import Operator, Segment, SegmentReport
from flor_ray.replaying import further_back, leftovers, measuring
from flor_ray.replaying.answering import Answering
from flor_ray.replaying.claims import Claims
from flor_ray.replaying.data import DataFinder
from flor_ray.replaying.fetching import Fetcher
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.further_back import LostStates
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.meeting import Hosts
from flor_ray.replaying.output_log import OutputLog
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.replaying.version_process import VersionProcess, WarmServers
from flor_ray.scheduler.calibration import Calibration
from flor_ray.store.outages import Patience
from flor_ray.store.store import Store


class Worker:
    """Replays segments, one at a time. `without_gpu` hides GPUs that the slot does not own. Servers that are given are
    used, and left running for who gave them; else the worker has its own. `kind`: its class; None: this machine's. What
    scripts print is kept in the folder `logs`, if one is given."""

    def __init__(
        self,
        without_gpu: bool = True,
        servers: WarmServers | None = None,
        kind: str | None = None,
        logs: Path | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self._without_gpu, self._hosts = without_gpu, hosts
        self.kind = hardware.kind_here(not without_gpu) if kind is None else kind
        self._process: VersionProcess | None = None
        leftovers.sweep_once()
        self._folder = tempfile.TemporaryDirectory(prefix=processes.folder_prefix("worker"))
        self._servers = servers or WarmServers(self._folder.name)
        self._owns_servers = servers is None
        self._store: Store | None = None
        self._patience = Patience(0.0)  # with its store
        self._log = OutputLog(logs or Path(self._folder.name), stays=logs is not None)
        self._claims = Claims(Path(self._folder.name, "claims"))
        self._lock = threading.Lock()  # `shorten`, `cancel` and `epoch` are called from other threads than `run`
        self._running: Segment | None = None
        self._answering: Answering | None = None
        self._cancelled = False
        self._start_seconds = 0.0  # of imports that no report has told yet
        self._data = DataFinder()
        self._fetcher = Fetcher()
        self._lost: dict[tuple[str, str], LostStates] = {}  # by replay and version

    def warm(self, job: VersionJob) -> None:
        """Import what the version imports, so that the first segment need not. Raises StoreError for a version whose
        files cannot be read, and ReplayError if there can be no server."""
        self._servers.seconds = 0.0
        store = self._open(job)
        with VersionFolder(job, store) as folder:
            self._servers.prepared(folder.preload(self._without_gpu))
        self._start_seconds += self._servers.seconds
        # Reading the store takes libraries that this process, too, imports when it first needs them.
        RecordedValues.read(store, job.experiment.project, job.experiment.version)

    def calibrate(self, job: VersionJob) -> Calibration:
        """Measure what a worker of this class takes, in a second or two. Raises ReplayError if no process answers."""
        store = self._open(job)
        return measuring.calibrate(store, job.experiment.project, os.environ, self._without_gpu)

    def run(
        self, job: VersionJob, segment: Segment, tell: Callable[[SegmentReport], None] = lambda report: None
    ) -> SegmentReport:
        """Replay a segment and write its rows. Doing it again writes the same again.

        Of a long one, parts are written on the way, and `tell` is given the report of each: what is returned is that of
        what was left. Where a recorded state cannot be put back, the segment is replayed in a fresh process, or from
        further back.

        Raises:
            ScriptFailed: the script raised, exceeded a limit, or did not behave as when it was recorded.
            SegmentHung: the script did not go on; on another worker it may.
            ProcessKilled: its process was killed; running it again may succeed.
            NotOnThisNode: this machine lacks data that the version read; nothing has run.
            RestoreFailed: a state could not be put back, and nothing before it leads there.
            Cancelled: `cancel` was called before it was done.
            StoreAway: the store was away for longer than the job waits for it; running it again may succeed.
            StoreError: the version's files or the checkpoint cannot be read, or the rows not be written.
        """
        self._patience.renew()
        store = self._open(job)
        answering = Answering(job, segment, store, self._servers, self.kind, self._start_seconds, tell)
        self._start_seconds = 0.0
        with self._lock:
            self._running, self._answering, self._cancelled = segment, answering, False
            self._claims.begin(segment.last)
        try:
            return self._answered(job, answering)
        except StoreAway as error:
            if self._cancelled:
                raise Cancelled("Another worker was faster.") from error
            raise
        finally:
            with self._lock:
                self._running = self._answering = None

    def _answered(self, job: VersionJob, answering: Answering) -> SegmentReport:
        try:
            result = self._replayed(job, answering)
        except BaseException:
            self._end_process()
            raise
        if result.exhausted:
            self._end_process()
        return answering.all(result)

    def _replayed(self, job: VersionJob, answering: Answering) -> SegmentResult:
        """What is left of the segment when its parts have been answered."""
        lost = self._lost.setdefault((job.origin, job.experiment.version), LostStates())
        while True:
            segment = answering.rest(self._claims.last)
            ran = lost.instead(segment, job.experiment, job.checkpoints)
            was_there = self._process
            process = self._process_for(replace(job, leave=frozenset()) if lost.any else job, ran, answering.store)
            why = "" if ran == segment else further_back.told(segment, ran, lost.why)
            answering.begins(process, process is was_there, why)
            try:
                return process.run(ran, lambda: self._cancelled, answering.part)
            except RestoreFailed as failed:
                was_fresh = process.segments == 1
                self._end_process()
                with self._lock:  # its tail may have been taken away meanwhile
                    segment = answering.rest(self._claims.last)
                    self._claims.begin(segment.last)
                if was_fresh:
                    lost.add(failed)
                    if lost.instead(segment, job.experiment, job.checkpoints) == ran:
                        raise

    def fetch(self, job: VersionJob, segment: Segment) -> None:
        """Begin to bring what the segment restores to this machine, beside what runs."""
        self._fetcher.wish(job, segment)

    def shorten(self, segment: Segment, last: int) -> int:
        """Let the running segment end after epoch `last`, or after the one that it is in if that is later. Returns its
        last epoch from now on: as before, if it is not running or runs as a whole."""
        with self._lock:
            if not self._runs(segment) or segment.operator is not Operator.DP_I:
                return segment.last
            if self._hosts is not None:  # ranks on other machines do not see claims
                return segment.last
            first = segment.first if self._answering is None else self._answering.begun
            return self._claims.shorten(max(last, first))

    def cancel(self, segment: Segment) -> None:
        """Leave the segment if it is running: `run` raises Cancelled soon, unless it is nearly done."""
        with self._lock:
            if self._runs(segment):
                self._cancelled = True
                self._patience.end()

    def awaits(self) -> str:
        """Why it waits for the store, which is away; "" if it does not."""
        if (error := self._patience.why) is not None:
            return str(error)
        return "A replay process cannot read the store." if self._claims.is_waiting else ""

    def epoch(self, segment: Segment) -> int:
        """The epoch in which the segment is; 0 before the first one, and if it is not running."""
        with self._lock:
            return self._claims.claimed if self._runs(segment) else 0

    def whereabouts(self, segment: Segment) -> tuple[int, str]:
        """The epoch in which the segment is, as `epoch` has it, and the place of its script (train.py:31) where that
        takes longer than it should."""
        epoch, process = self.epoch(segment), self._process
        with self._lock:
            late = process is not None and self._runs(segment)
        return epoch, process.place(epoch) if late and process is not None else ""

    def _runs(self, segment: Segment) -> bool:
        """Whether it is what runs, or was that before it was shortened."""
        return self._running is not None and replace(self._running, last=segment.last) == segment

    def close(self) -> None:
        """End the live process and remove its files; end the worker's own servers."""
        self._fetcher.close()
        self._end_process()
        if self._owns_servers:
            self._servers.close()
        self._data.close()
        self._claims.close()
        self._folder.cleanup()

    def _waited_seconds(self) -> float:
        return self._patience.waited_seconds + self._claims.waited_seconds

    def _end_process(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.close()

    def _open(self, job: VersionJob) -> Store:
        url, seconds = job.store_url, job.limits.outage_seconds
        if self._store is None or self._store.url != url or self._patience.seconds != seconds:
            self._patience = Patience(seconds)
            self._store = Store(url, self._patience)
        return self._store

    def _process_for(self, job: VersionJob, segment: Segment, store: Store) -> VersionProcess:
        live = self._process
        if live is not None and (live.job != job or segment.from_prefix):
            self._end_process()
        if self._process is None:
            self._process = VersionProcess(
                job,
                store,
                self._servers,
                self._without_gpu,
                self._claims,
                self._data,
                self._log,
                self._waited_seconds,
                self._hosts,
            )
        return self._process

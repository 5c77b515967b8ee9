"""One replay slot: prepares a version's files, runs its segments in one process, and writes what is new to the store.

A worker keeps the process of the version that it ran last, so that data preparation is paid once per (version, worker),
and the servers that such processes are forked from, so that imports are paid once per worker. It knows nothing of Ray;
a Ray actor and a thread wrap it alike.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from flor_ray.environment import hardware
from flor_ray.errors import ReplayError, RestoreFailed
from flor_ray.records import Operator, Segment, SegmentReport
from flor_ray.replaying import further_back, measuring, results
from flor_ray.replaying.claims import Claims
from flor_ray.replaying.data import DataFinder
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.further_back import LostStates
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.replaying.version_process import VersionProcess, WarmServers
from flor_ray.scheduler.calibration import Calibration
from flor_ray.store.store import Store


class Worker:
    """Replays segments, one at a time. `without_gpu` hides GPUs that the slot does not own. Servers that are given are
    used, and left running for who gave them; else the worker has its own."""

    def __init__(self, without_gpu: bool = True, servers: WarmServers | None = None) -> None:
        self._without_gpu = without_gpu
        self.kind = hardware.kind_here(not without_gpu)
        self._process: VersionProcess | None = None
        self._servers = servers or WarmServers()
        self._owns_servers = servers is None
        self._store: Store | None = None
        self._claims_folder = tempfile.TemporaryDirectory(prefix="flor-claims-")
        self._claims = Claims(Path(self._claims_folder.name, "claims"))
        self._lock = threading.Lock()  # `shorten`, `cancel` and `epoch` are called from other threads than `run`
        self._running: Segment | None = None
        self._cancelled = False
        self._start_seconds = 0.0  # of imports that no report has told yet
        self._data = DataFinder()
        self._lost: dict[tuple[str, str], LostStates] = {}  # by replay and version

    def warm(self, job: VersionJob) -> None:
        """Import what the version imports, so that the first segment need not. Raises StoreError for a version whose
        files cannot be read, and ReplayError if there can be no server."""
        self._servers.seconds = 0.0
        store = self._open(job.store_url)
        with VersionFolder(job, store) as folder:
            self._servers.prepared(folder.preload(self._without_gpu))
        self._start_seconds += self._servers.seconds
        # Reading the store takes libraries that this process, too, imports when it first needs them.
        RecordedValues.read(store, job.experiment.project, job.experiment.version)

    def calibrate(self, job: VersionJob) -> Calibration:
        """Measure what a worker of this class takes, in a second or two. Raises ReplayError if no process answers."""
        store = self._open(job.store_url)
        return measuring.calibrate(store, job.experiment.project, os.environ, self._without_gpu)

    def run(self, job: VersionJob, segment: Segment) -> SegmentReport:
        """Replay a segment and write its rows. Doing it again writes the same file again.

        Where a recorded state cannot be put back, the segment is replayed in a fresh process, or from further back.

        Raises:
            ScriptFailed: the script raised, exceeded a limit, or did not behave as when it was recorded.
            ProcessKilled: its process was killed; running it again may succeed.
            NotOnThisNode: this machine lacks data that the version read; nothing has run.
            RestoreFailed: a state could not be put back, and nothing before it leads there.
            Cancelled: `cancel` was called before it was done.
            StoreError: the version's files or the checkpoint cannot be read.
        """
        began = time.perf_counter()
        self._servers.seconds = 0.0
        store = self._open(job.store_url)
        hits = store.objects.hits
        with self._lock:
            self._running, self._cancelled = segment, False
            self._claims.begin(segment.last)
        was_there = self._process
        try:
            process, ready, result = self._replayed(job, segment, store)
        except ReplayError:
            self._end_process()
            raise
        finally:
            with self._lock:
                self._running = None
        if result.exhausted:
            self._end_process()
        answered = time.perf_counter()
        evidence = process.evidence
        setup = 0.0
        if process is not was_there:
            judging = time.perf_counter() - answered  # input files are looked at once
            setup = ready - began - self._servers.seconds + result.setup_seconds + judging
        spent = max(0.0, time.perf_counter() - began - self._servers.seconds)
        setup = min(setup, spent)  # part of which is measured in the process, by another clock
        result = replace(
            result,
            kind=self.kind,
            start_seconds=self._start_seconds + self._servers.seconds,
            setup_seconds=setup,
            cache_hits=result.cache_hits + store.objects.hits - hits,
            run_seconds=spent - setup,
        )
        self._start_seconds = 0.0
        return results.write(store, job.experiment, job.origin, process.recorded, result, job.doubtful, evidence)

    def _replayed(self, job: VersionJob, segment: Segment, store: Store) -> tuple[VersionProcess, float, SegmentResult]:
        """The process that has answered the segment, since when it was ready, and what it said."""
        lost = self._lost.setdefault((job.origin, job.experiment.version), LostStates())
        while True:
            ran = lost.instead(segment, job.experiment, job.checkpoints)
            process = self._process_for(replace(job, leave=frozenset()) if lost.any else job, ran, store)
            ready = time.perf_counter()
            try:
                result = process.run(ran, lambda: self._cancelled)
            except RestoreFailed as failed:
                was_fresh = process.segments == 1
                self._end_process()
                if was_fresh:
                    lost.add(failed)
                    if lost.instead(segment, job.experiment, job.checkpoints) == ran:
                        raise
                with self._lock:  # its tail may have been taken away meanwhile
                    segment = replace(segment, last=self._claims.last)
                    self._claims.begin(segment.last)
                continue
            if ran == segment:
                return process, ready, result
            if segment.operator is Operator.DP_I:
                segment = replace(segment, last=result.segment.last)
            warnings = (*result.warnings, further_back.told(segment, ran, lost.why))
            return process, ready, replace(result, segment=segment, warnings=warnings, further_back=True)

    def shorten(self, segment: Segment, last: int) -> int:
        """Let the running segment end after epoch `last`, or after the one that it is in if that is later. Returns its
        last epoch from now on: as before, if it is not running or runs as a whole."""
        with self._lock:
            if not self._runs(segment) or segment.operator is not Operator.DP_I:
                return segment.last
            return self._claims.shorten(max(last, segment.first))

    def cancel(self, segment: Segment) -> None:
        """Leave the segment if it is running: `run` raises Cancelled soon, unless it is nearly done."""
        with self._lock:
            self._cancelled = self._cancelled or self._runs(segment)

    def epoch(self, segment: Segment) -> int:
        """The epoch in which the segment is; 0 before the first one, and if it is not running."""
        with self._lock:
            return self._claims.claimed if self._runs(segment) else 0

    def _runs(self, segment: Segment) -> bool:
        """Whether it is what runs, or was that before it was shortened."""
        return self._running is not None and replace(self._running, last=segment.last) == segment

    def close(self) -> None:
        """End the live process and remove its files; end the worker's own servers."""
        self._end_process()
        if self._owns_servers:
            self._servers.close()
        self._data.close()
        self._claims.close()
        self._claims_folder.cleanup()

    def _end_process(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.close()

    def _open(self, url: str) -> Store:
        if self._store is None or self._store.url != url:
            self._store = Store(url)
        return self._store

    def _process_for(self, job: VersionJob, segment: Segment, store: Store) -> VersionProcess:
        live = self._process
        if live is not None and (live.job != job or segment.from_prefix):
            self._end_process()
        if self._process is None:
            claims = str(self._claims.path)
            self._process = VersionProcess(job, store, self._servers, self._without_gpu, claims, self._data)
        return self._process

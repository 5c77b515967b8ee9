"""Workers as processes of this machine, without Ray: for replays that are over before Ray would have started.

    driver ── _RunRequest, _CalibrateRequest ──> connection ──> a process: the main thread works, one thing at a time
           ── _ShortenRequest, _CancelRequest, ... ─>       └──> another thread answers, also while something runs
           <── events ──

Each worker is a fresh interpreter in a session of its own: Ctrl-C in the terminal is for the driver, which then ends
them; and when the driver is gone, however it went, they end by themselves. One that dies is replaced by a new one; its
segment goes back to the dispatcher. It is what `flor_ray.cluster.actors` is on Ray, but for GPUs, which are not shared
out here, and for environments of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from flor_ray.cluster.executors import (
    MAX_REPLACEMENTS,
    StoreAwaited,
    Told,
    WorkerCalibrated,
    calibrated,
    failure,
    without_packages,
)
from flor_ray.cluster.worker import Worker
from flor_ray.errors import FlorError, ReplayError, UsageError
from flor_ray.records import Segment, SegmentReport
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.messages import (
    EpochBegun,
    SegmentAdvanced,
    SegmentDone,
    SegmentShortened,
    WorkerJoined,
    WorkerLost,
)

_SERVE = "import sys; from flor_ray.cluster import local; local.serve(int(sys.argv[1]))"
_EPOCH_SECONDS = 1.0  # between two looks how far the segment is
_CLOSE_SECONDS = 10.0  # for workers to leave what they are at, and to remove their files
_OUTPUT_BYTES = 2000  # of what a worker printed before it ended, in an error

# --- what the driver says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _BeginRequest:
    worker: str  # its name
    first: VersionJob | None


@dataclass(frozen=True, slots=True)
class _RunRequest:
    job: VersionJob
    segment: Segment


@dataclass(frozen=True, slots=True)
class _FetchRequest:
    job: VersionJob
    segment: Segment


@dataclass(frozen=True, slots=True)
class _CalibrateRequest:
    job: VersionJob


@dataclass(frozen=True, slots=True)
class _ShortenRequest:
    segment: Segment
    last: int


@dataclass(frozen=True, slots=True)
class _CancelRequest:
    segment: Segment


@dataclass(frozen=True, slots=True)
class _RetireRequest:
    """End, once what was asked for before is done."""


# --- the driver's end -----------------------------------------------------------------------------------------------


class LocalExecutor:
    """Workers on this machine: as many as it has CPUs, none of them with a GPU."""

    def __init__(self) -> None:
        self.available = os.cpu_count() or 1
        self._processes: dict[str, _Process] = {}
        self._leaving: list[_Process] = []
        self._replacements: dict[str, int] = {}  # how often the slot of this worker got a new process
        self._numbers = itertools.count()
        self._first: VersionJob | None = None
        self._room = 0  # for workers that are not there, of those that were planned

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each worker that has joined."""
        return {name: process.pid for name, process in self._processes.items() if process.joined}

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        if workers > self.available:
            raise UsageError(f"{workers} workers were asked for, and this machine has {self.available} CPUs.")
        self._first, self._room = first, later
        for _ in range(workers):
            self._start_process(replacements=0)

    def cluster(self) -> tuple[str, int]:
        return f"processes of {socket.gethostname()}", self.available

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        without_packages(job)
        self._processes[worker].send(_RunRequest(job, segment))

    def calibrate(self, worker: str, job: VersionJob) -> None:
        self._processes[worker].send(_CalibrateRequest(job))

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        self._processes[worker].send(_FetchRequest(job, segment))

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        self._processes[worker].send(_ShortenRequest(segment, last))

    def cancel(self, worker: str, segment: Segment) -> None:
        self._processes[worker].send(_CancelRequest(segment))

    def retire(self, worker: str) -> None:
        if (process := self._processes.pop(worker, None)) is not None:
            self._room += 1
            process.send(_RetireRequest())
            self._leaving.append(process)

    def grow(self, count: int) -> int:
        found = min(count, self._room)
        self._room -= found
        for _ in range(found):
            self._start_process(replacements=0)
        return found

    def forgo(self) -> None:
        pass  # they come in a moment, and wait for nobody

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        return False

    def wait(self, timeout_seconds: float) -> list[Told]:
        by_connection = {process.connection: name for name, process in self._processes.items()}
        if not by_connection:
            time.sleep(timeout_seconds)
            return []
        events: list[Told] = []
        for connection in wait(list(by_connection), timeout_seconds):
            assert isinstance(connection, Connection)  # as all that were given
            name = by_connection[connection]
            told = self._processes[name].received()
            events += told if told is not None else self._lost(name)
        return events

    def close(self) -> None:
        """End all workers, whatever they are at."""
        ending = [*self._processes.values(), *self._leaving]
        self._processes.clear()
        self._leaving.clear()
        for process in ending:
            process.leave()
        until = time.monotonic() + _CLOSE_SECONDS
        for process in ending:
            process.end(max(0.0, until - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_process(self, replacements: int) -> None:
        worker = f"worker-{next(self._numbers)}"
        self._replacements[worker] = replacements
        self._processes[worker] = _Process(_BeginRequest(worker, self._first))

    def _lost(self, worker: str) -> list[Told]:
        process = self._processes.pop(worker)
        process.end(_CLOSE_SECONDS)
        replacements = self._replacements.pop(worker)
        if replacements < MAX_REPLACEMENTS:
            self._start_process(replacements + 1)
        elif not self._processes:
            raise ReplayError(
                "All workers on this machine have ended, and so have those that were started in their places. Finished "
                f"segments are kept. The last worker said:\n{process.said}"
            )
        return [WorkerLost(worker)] if process.joined else []


class _Process:
    """One worker's process, seen from the driver."""

    def __init__(self, begin: _BeginRequest) -> None:
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self.said = ""  # the last that it printed, once it has ended
        self.joined = False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd="/",  # holds no modules, unlike folders of users
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        self.send(begin)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: object) -> None:
        """Say something; a process that is gone does not hear it, which `received` tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self.connection.send(message)

    def received(self) -> list[Told] | None:
        """What it has said since the last time; None if it is gone and has said nothing more."""
        events: list[Told] = []
        try:
            while self.connection.poll(0):
                events.append(self.connection.recv())
        except (EOFError, ConnectionError):
            if not events:
                return None
        self.joined = self.joined or any(isinstance(event, WorkerJoined) for event in events)
        return events

    def leave(self) -> None:
        """Have it end at once: it does when its connection is closed."""
        self.connection.close()

    def end(self, seconds: float) -> None:
        """Wait until it has ended; kill it if that takes longer."""
        self.connection.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - _OUTPUT_BYTES))
        self.said = self._output.read().decode(errors="replace").strip() or "nothing"
        self._output.close()


# --- the worker's process -------------------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Body of a worker's process: do what the driver asks for, until it retires the worker or is gone."""
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, ConnectionError):
        begin: _BeginRequest = connection.recv()
        _Served(connection, begin).serve()


class _Served:
    """A worker in its own process. The main thread works, another one listens."""

    def __init__(self, connection: Connection, begin: _BeginRequest) -> None:
        self._connection = connection
        self._name, self._first = begin.worker, begin.first
        self._worker = Worker()
        self._work: queue.SimpleQueue[_RunRequest | _CalibrateRequest | None] = queue.SimpleQueue()  # None: end
        self._running: Segment | None = None
        self._gone = False  # the driver
        self._lock = threading.Lock()  # of what is sent

    def serve(self) -> None:
        threading.Thread(target=self._listen, name="flor-listen", daemon=True).start()
        try:
            with contextlib.suppress(FlorError):  # which the first segment will tell
                if self._first is not None:
                    self._worker.warm(self._first)
            self._tell(WorkerJoined(self._name, self._worker.kind))
            while (work := self._work.get()) is not None and not self._gone:
                self._tell(self._done(work))
        finally:
            self._worker.close()

    def _done(self, work: _RunRequest | _CalibrateRequest) -> Told:
        if isinstance(work, _CalibrateRequest):
            return WorkerCalibrated(self._name, calibrated(self._worker, work.job))
        self._running = work.segment
        try:
            return SegmentDone(self._name, self._worker.run(work.job, work.segment, self._advanced))
        except Exception as error:  # noqa: BLE001 - every failure becomes an event: the driver decides
            return failure(self._name, work.segment, error)
        finally:
            self._running = None

    def _advanced(self, report: SegmentReport) -> None:
        self._tell(SegmentAdvanced(self._name, report))

    def _listen(self) -> None:
        """Answer what comes while something runs, and tell how far that is."""
        told: tuple[Segment, int, str] | None = None
        awaited = ""
        while True:
            segment = self._running
            if (why := self._worker.awaits() if segment is not None else "") != awaited:
                awaited = why
                self._tell(StoreAwaited(self._name, why))
            if segment is not None:
                now = segment, *self._worker.whereabouts(segment)
                if any(now[1:]) and told != now:
                    told = now
                    self._tell(EpochBegun(self._name, *now))
            try:
                if not self._connection.poll(_EPOCH_SECONDS):
                    continue
                message = self._connection.recv()
            except (EOFError, ConnectionError):
                self._gone = True
                self._leave()
                return
            if isinstance(message, _ShortenRequest):
                left = self._worker.shorten(message.segment, message.last)
                self._tell(SegmentShortened(self._name, message.segment, left))
            elif isinstance(message, _FetchRequest):
                self._worker.fetch(message.job, message.segment)
            elif isinstance(message, _CancelRequest):
                self._worker.cancel(message.segment)
            elif isinstance(message, _RetireRequest):
                self._work.put(None)
            else:
                self._work.put(message)

    def _leave(self) -> None:
        """Let go of everything: nobody waits for it. What does not let go (an import or a file server that hangs) is
        left: the servers end with this process, and with them what they run."""
        self._work.put(None)
        until = time.monotonic() + _CLOSE_SECONDS
        while time.monotonic() < until:
            if (segment := self._running) is not None:  # one that begins just now has to be cancelled again
                self._worker.cancel(segment)
            time.sleep(0.1)
        os._exit(1)

    def _tell(self, event: Told) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError, ConnectionError):
            self._connection.send(event)

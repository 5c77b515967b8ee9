"""The contract between the driver and whatever runs workers, and its simplest implementation, on threads.

    driver ── submit, shorten, cancel, retire ──> executor ── events (flor_ray.scheduler.messages) ──> driver

An executor promises: one segment at a time per worker; for each submitted segment the parts of it that are written, in
their order, and then exactly one of done, failed, not here, cancelled or the worker's loss; for each `shorten` one
answer, or the worker's loss; `wait` returns as soon as there is an event; after `close` nothing of it runs.
`flor_ray.cluster.actors` keeps this contract on Ray, and `flor_ray.cluster.local` with processes of this machine.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from flor_ray.cluster.worker import Worker
from flor_ray.errors import (
    Cancelled,
    FlorError,
    MemoryShort,
    NotOnThisNode,
    ProcessKilled,
    SegmentHung,
    StoreAway,
    UsageError,
)
from flor_ray.records import Segment, SegmentReport
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.version_process import WarmServers
from flor_ray.scheduler.calibration import Calibration
from flor_ray.scheduler.messages import (
    EpochBegun,
    Event,
    SecondTry,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentNotHere,
    SegmentShortened,
    WorkerJoined,
)

_SECOND_TRIES = {SegmentHung: SecondTry.ELSEWHERE, MemoryShort: SecondTry.ALONE}
MAX_REPLACEMENTS = 3  # new workers for one that was lost, and for those that came after it, before its slot is given up


@dataclass(frozen=True, slots=True)
class WorkerCalibrated:
    """Answer to `calibrate`: what workers of a class take; or why that could not be measured."""

    worker: str
    found: Calibration | FlorError


@dataclass(frozen=True, slots=True)
class StoreAwaited:
    """The store is away, and a worker waits for it with what it has; told again when it does not any more."""

    worker: str
    why: str  # "": it does not


Told = Event | WorkerCalibrated | StoreAwaited


class Executor(Protocol):
    """Runs segments on workers; see the module for what it promises."""

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        """Begin to start this many workers; each says WorkerJoined when it is ready: when it has imported what `first`
        imports, since others most likely import the same (None: nothing). There is room for as many as `later` says
        more, which `grow` may ask for."""

    def cluster(self) -> tuple[str, int]:
        """Where the workers are, by a name that is the same for all replays there ("": nobody else's can be there), and
        how many like these there is room for, whoever has it now."""

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        """Run the segment, in an environment that has the job's packages. Raises UsageError if there can be none."""

    def calibrate(self, worker: str, job: VersionJob) -> None:
        """Measure what workers of this one's class take, before it runs anything else."""

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        """The worker may bring what the segment restores to its machine, while it runs another one."""

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        """Let the segment end after epoch `last`, or as soon after it as can be."""

    def cancel(self, worker: str, segment: Segment) -> None:
        """Leave the segment, unless it is done by then."""

    def retire(self, worker: str) -> None:
        """The worker is not needed any more."""

    def grow(self, count: int) -> int:
        """Begin to start up to so many workers more, where there is room that there was not when it began; how many."""

    def forgo(self) -> None:
        """Workers that have not joined yet are not needed any more."""

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        """Begin to start up to so many workers more, on machines other than these, unless some are starting anyway.
        False: nobody is starting, and there is no other machine to start one on."""

    def wait(self, timeout_seconds: float) -> list[Told]:
        """Events since the last call; [] if there was none within the time. How far segments are is told now and
        then."""

    def close(self) -> None:
        """End all workers, whatever they do. Nothing else may be called after that."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def failure(worker: str, segment: Segment, error: BaseException) -> SegmentFailed | SegmentNotHere | SegmentCancelled:
    """The event for a segment that raised: a lost process is worth another attempt, a failing script is not. That the
    store was away is no attempt at all."""
    if isinstance(error, Cancelled):
        return SegmentCancelled(worker, segment)
    if isinstance(error, NotOnThisNode):
        return SegmentNotHere(worker, segment, error.lacking)
    message = str(error) if isinstance(error, FlorError) else f"{type(error).__name__}: {error}"
    away = isinstance(error, StoreAway)
    second = next((second for kind, second in _SECOND_TRIES.items() if isinstance(error, kind)), None)
    retryable = away or second is not None or isinstance(error, ProcessKilled)
    return SegmentFailed(worker, segment, message, retryable, second, counts=not away)


def calibrated(worker: Worker, job: VersionJob) -> Calibration | FlorError:
    """What a worker measured of its class. That it could not is an answer too: estimates are then less sure."""
    try:
        return worker.calibrate(job)
    except FlorError as error:
        return error


def without_packages(job: VersionJob) -> None:
    """Raise UsageError if a job needs packages of its own: where workers share the driver's, it cannot have them."""
    if job.packages:
        raise UsageError(
            f"Workers of this machine have the packages that are installed here ({', '.join(job.packages)} would be "
            'needed). Replay on Ray, or with env="current".'
        )


class ThreadExecutor:
    """Workers on threads of this process: for tests, which see into them.

    The first workers use the `servers` that are given, which go on when the executor is closed; others have their own.
    """

    def __init__(self, servers: Sequence[WarmServers] = ()) -> None:
        self._servers = servers
        self._events: queue.Queue[Told] = queue.Queue()
        self._workers: dict[str, Worker] = {}
        self._inboxes: dict[str, queue.Queue[tuple[VersionJob, Segment | None] | None]] = {}  # None: calibrate
        self._running: dict[str, tuple[Segment, int, str]] = {}  # and the epoch of it, with its place, told last
        self._awaited: dict[str, str] = {}  # why each waits for the store, as was told last
        self._threads: list[threading.Thread] = []

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        for index in range(workers):
            name = f"worker-{index}"
            self._workers[name] = Worker(servers=self._servers[index] if index < len(self._servers) else None)
            self._inboxes[name] = queue.Queue()
            thread = threading.Thread(target=self._run, args=(name, first), name=f"flor-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def cluster(self) -> tuple[str, int]:
        return "", 0

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        without_packages(job)
        self._running[worker] = segment, 0, ""
        self._inboxes[worker].put((job, segment))

    def calibrate(self, worker: str, job: VersionJob) -> None:
        self._inboxes[worker].put((job, None))

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        self._workers[worker].fetch(job, segment)

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        left = self._workers[worker].shorten(segment, last)
        self._events.put(SegmentShortened(worker, segment, left))

    def cancel(self, worker: str, segment: Segment) -> None:
        self._workers[worker].cancel(segment)

    def retire(self, worker: str) -> None:
        self._inboxes[worker].put(None)

    def grow(self, count: int) -> int:
        return 0

    def forgo(self) -> None:
        pass  # threads are there at once

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        return False

    def wait(self, timeout_seconds: float) -> list[Told]:
        try:
            events = [self._events.get(timeout=timeout_seconds)]
        except queue.Empty:
            return self._epochs()
        for event in events:
            if isinstance(event, SegmentDone | SegmentFailed | SegmentNotHere | SegmentCancelled):
                self._running.pop(event.worker, None)
        return [*self._epochs(), *events]

    def close(self) -> None:
        for name, (segment, _, _) in self._running.items():
            self._workers[name].cancel(segment)
        for inbox in self._inboxes.values():
            inbox.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _epochs(self) -> list[Told]:
        """How far the running segments are, where that has changed."""
        found: list[Told] = []
        for name, (segment, *told) in self._running.items():
            epoch, place = self._workers[name].whereabouts(segment)
            if (epoch or place) and told != [epoch, place]:
                self._running[name] = segment, epoch, place
                found.append(EpochBegun(name, segment, epoch, place))
            if (why := self._workers[name].awaits()) != self._awaited.get(name, ""):
                self._awaited[name] = why
                found.append(StoreAwaited(name, why))
        return found

    def _telling(self, name: str) -> Callable[[SegmentReport], None]:
        return lambda report: self._events.put(SegmentAdvanced(name, report))

    def _run(self, name: str, first: VersionJob | None) -> None:
        worker = self._workers[name]
        with contextlib.suppress(FlorError):  # which the first segment will tell
            if first is not None:
                worker.warm(first)
        self._events.put(WorkerJoined(name, worker.kind))
        try:
            while (work := self._inboxes[name].get()) is not None:
                job, segment = work
                if segment is None:
                    self._events.put(WorkerCalibrated(name, calibrated(worker, job)))
                    continue
                try:
                    self._events.put(SegmentDone(name, worker.run(job, segment, self._telling(name))))
                except Exception as error:  # noqa: BLE001 - every failure becomes an event: the driver decides
                    self._events.put(failure(name, segment, error))
        finally:
            worker.close()

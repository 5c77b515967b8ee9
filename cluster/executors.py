"""The contract between the driver and whatever runs workers, and its implementation on threads of this process.

    driver ── submit(worker, job, segment) ──> executor ── events: joined, done, failed, lost ──> driver

An executor promises: one call in flight per worker; exactly one event for each submitted segment; `wait` returns as
soon as there is one; after `close` nothing of it runs. `flor_ray.cluster.actors` keeps the same contract on Ray.
"""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Protocol, Self

from flor_ray.cluster.worker import VersionJob, Worker
from flor_ray.errors import FlorError, ProcessKilled, UsageError
from flor_ray.records import Segment
from flor_ray.scheduler.dispatch import Event, SegmentDone, SegmentFailed, WorkerJoined


class Executor(Protocol):
    """Runs segments on workers; see the module for what it promises."""

    def start(self, workers: int) -> None:
        """Begin to start this many workers; each says WorkerJoined when it is ready."""

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        """Run the segment, in an environment that has the job's packages. Raises UsageError if there can be none."""

    def retire(self, worker: str) -> None:
        """The worker is not needed any more."""

    def wait(self, timeout_seconds: float) -> list[Event]:
        """Events since the last call; [] if there was none within the time."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def failure(worker: str, segment: Segment, error: BaseException) -> SegmentFailed:
    """The event for a segment that raised: a lost process is worth another attempt, a failing script is not."""
    message = str(error) if isinstance(error, FlorError) else f"{type(error).__name__}: {error}"
    return SegmentFailed(worker, segment, message, retryable=isinstance(error, ProcessKilled))


class ThreadExecutor:
    """Workers on threads of this process: for small replays without Ray, and for tests."""

    def __init__(self) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self._inboxes: dict[str, queue.Queue[tuple[VersionJob, Segment] | None]] = {}
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        for index in range(workers):
            name = f"worker-{index}"
            self._inboxes[name] = queue.Queue()
            thread = threading.Thread(target=self._run, args=(name,), name=f"flor-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        if job.packages:
            raise UsageError(
                f"Threads of this process cannot have other packages than it ({', '.join(job.packages)} would be "
                'needed). Replay on Ray, or with env="current".'
            )
        self._inboxes[worker].put((job, segment))

    def retire(self, worker: str) -> None:
        self._inboxes[worker].put(None)

    def wait(self, timeout_seconds: float) -> list[Event]:
        try:
            return [self._events.get(timeout=timeout_seconds)]
        except queue.Empty:
            return []

    def close(self) -> None:
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

    def _run(self, name: str) -> None:
        worker = Worker()
        self._events.put(WorkerJoined(name))
        try:
            while (work := self._inboxes[name].get()) is not None:
                job, segment = work
                try:
                    self._events.put(SegmentDone(name, worker.run(job, segment)))
                except Exception as error:  # noqa: BLE001 - every failure becomes an event: the driver decides
                    self._events.put(failure(name, segment, error))
        finally:
            worker.close()

"""A worker on Ray that is kept from one replay to the next, so that what is measured is replaying and not importing.

Seconds are those of processors: of the actor and all processes below it, between two segments' ends. Clocks on the wall
say more of what else the machine does.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from types import TracebackType

import psutil

from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.executors import Told
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.messages import SegmentDone, SegmentFailed, WorkerJoined


class WarmRay(RayExecutor):
    """One worker. `end` it."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu_seconds: dict[str, float] = defaultdict(float)  # of the replay that ran last, by version
        self._known: list[Told] = []  # how the worker joined
        self._again: list[Told] = []
        self._seen = 0.0

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        self.cpu_seconds.clear()
        if self._known:
            self._again = list(self._known)
            self._seen = self._used()
        else:
            super().start(1, first, later)

    def wait(self, timeout_seconds: float) -> list[Told]:
        if self._again:
            told, self._again = self._again, []
            return told
        told = super().wait(timeout_seconds)
        for event in told:
            if isinstance(event, WorkerJoined):
                self._known.append(event)
                self._seen = self._used()
            elif isinstance(event, SegmentDone | SegmentFailed):
                segment = event.report.segment if isinstance(event, SegmentDone) else event.segment
                used = self._used()
                self.cpu_seconds[segment.version] += used - self._seen
                self._seen = used
        return told

    def _used(self) -> float:
        """Processor seconds of the actor, of all processes below it, and of those that have ended."""
        total = 0.0
        for pid in self.pids.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                actor = psutil.Process(pid)
                for process in (actor, *actor.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile, and counts with its parent
                        total += sum(process.cpu_times()[:4])
        return total

    def grow(self, count: int) -> int:
        return 0

    def retire(self, worker: str) -> None:
        """There is a next replay."""

    def close(self) -> None:
        """There is a next replay."""

    def end(self) -> None:
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is a next replay."""

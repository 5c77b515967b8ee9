"""Workers as Ray actors: one whole GPU each, or one CPU slot where the cluster has no GPU.

A call in flight per actor, and `ray.wait` over all of them. An actor that dies is replaced by a new one; its segment
goes back to the dispatcher.
"""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayActorError

from flor_ray.cluster.executors import failure
from flor_ray.cluster.worker import VersionJob, Worker
from flor_ray.errors import FlorError, UsageError
from flor_ray.records import Segment, SegmentReport
from flor_ray.scheduler.dispatch import Event, SegmentDone, WorkerJoined, WorkerLost

_MAX_REPLACEMENTS = 3  # new actors per worker slot before the slot is given up
_CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")  # where ray.init finds a cluster that runs on this machine
_CLOSE_SECONDS = 10.0  # for retired actors to remove their files


class _ReplayActor:
    """A worker on some node of the cluster."""

    def __init__(self, without_gpu: bool) -> None:
        self._worker = Worker(without_gpu)

    def ready(self) -> int:
        """Its process id."""
        return os.getpid()

    def run(self, job: VersionJob, segment: Segment) -> SegmentReport | Exception:
        """A failing segment is an answer, not a failing actor: its error travels as a value."""
        try:
            return self._worker.run(job, segment)
        except Exception as error:  # noqa: BLE001 - see above
            return error if isinstance(error, FlorError) else FlorError(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        self._worker.close()


def connect() -> None:
    """Join the cluster at RAY_ADDRESS, or start one on this machine."""
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def expected_slots() -> int:
    """How many workers there will be room for. Looks at this machine, where no cluster is there yet to be asked."""
    if ray.is_initialized() or "RAY_ADDRESS" in os.environ or _CURRENT_CLUSTER.exists():
        return slots()[0]
    gpus = Path("/proc/driver/nvidia/gpus")
    return (len(list(gpus.iterdir())) if gpus.is_dir() else 0) or os.cpu_count() or 1


def slots() -> tuple[int, bool]:
    """How many workers the cluster has room for, and whether each of them has a GPU."""
    connect()
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0))
    return (gpus, True) if gpus else (max(1, int(resources.get("CPU", 1))), False)


class RayExecutor:
    """Workers on the Ray cluster that this process is connected to, or on one that it starts."""

    def __init__(self) -> None:
        self.available, self._with_gpu = slots()
        self._actors: dict[str, Any] = {}
        self._replacements: dict[str, int] = {}  # how often the slot of this worker got a new actor
        self._in_flight: dict[Any, tuple[str, Segment | None]] = {}  # reference -> worker and segment (None: starting)
        self._closing: list[Any] = []
        self._numbers = itertools.count()
        self.pids: dict[str, int] = {}  # process id of each worker's actor, on its node

    def start(self, workers: int) -> None:
        if workers > self.available:
            kind = "GPUs" if self._with_gpu else "CPU slots"
            raise UsageError(f"{workers} workers were asked for, and the cluster has {self.available} {kind}.")
        for _ in range(workers):
            self._start_actor(replacements=0)

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        self._in_flight[self._actors[worker].run.remote(job, segment)] = (worker, segment)

    def retire(self, worker: str) -> None:
        self._closing.append(self._actors[worker].close.remote())

    def wait(self, timeout_seconds: float) -> list[Event]:
        if not self._in_flight:
            return []
        ready, _ = ray.wait(list(self._in_flight), num_returns=1, timeout=timeout_seconds)
        return [event for reference in ready for event in self._events(reference)]

    def close(self) -> None:
        if self._closing:
            ray.wait(self._closing, num_returns=len(self._closing), timeout=_CLOSE_SECONDS)
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._in_flight.clear()
        self._closing.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_actor(self, replacements: int) -> None:
        worker = f"worker-{next(self._numbers)}"
        remote_class: Any = ray.remote(_ReplayActor)
        options = {"num_gpus": 1} if self._with_gpu else {"num_cpus": 1}
        actor = remote_class.options(**options).remote(without_gpu=not self._with_gpu)
        self._actors[worker] = actor
        self._replacements[worker] = replacements
        self._in_flight[actor.ready.remote()] = (worker, None)

    def _events(self, reference: Any) -> list[Event]:
        worker, segment = self._in_flight.pop(reference)
        try:
            answer = ray.get(reference)
        except RayActorError:  # the actor or its node is gone
            del self._actors[worker]
            self.pids.pop(worker, None)
            replacements = self._replacements.pop(worker)
            if replacements < _MAX_REPLACEMENTS:
                self._start_actor(replacements + 1)
            return [] if segment is None else [WorkerLost(worker)]
        if segment is None:
            self.pids[worker] = answer
            return [WorkerJoined(worker)]
        if isinstance(answer, Exception):
            return [failure(worker, segment, answer)]
        return [SegmentDone(worker, answer)]

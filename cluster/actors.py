"""Workers as Ray actors: one whole GPU each, or one CPU slot where the cluster has no GPU, or what their shape says.

One segment in flight per actor, and `ray.wait` over all of them. Short questions go beside it, in a thread of their
own: how far it is, and where it shall end. An actor that dies is replaced by a new one; its segment goes back to the
dispatcher. Workers on nodes that Ray drains are told as such.

A version whose packages are others than those that are installed is replayed by an actor with a `runtime_env` in which
they are: the slot's actor makes room for it, and the next one for a version with other packages does the same. Ray
builds an environment once per node, and keeps it while it runs. One that cannot be built fails the segments that need
it, and is not tried again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flor_ray.cluster import addresses, room
from flor_ray.cluster.executors import MAX_REPLACEMENTS, WorkerCalibrated, calibrated, failure
from flor_ray.cluster.ray_failures import RayFailure, meaning, why_unbuildable, words
from flor_ray.cluster.room import NodeResources
from flor_ray.cluster.worker import Worker
from flor_ray.errors import ClusterRefused, FlorError, ReplayError
from flor_ray.records import ANY_SHAPE, Segment, SegmentReport, WorkerShape
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration
from flor_ray.scheduler.messages import (
    EpochBegun,
    Event,
    SegmentDone,
    SegmentFailed,
    SegmentShortened,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.wording import ended

_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_ALIVE_SECONDS = 5.0
_OTHER_PORT = "It may be another of Ray's ports: that of the head node is 6379 unless it was started with another"
_TOKEN = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token (`ray get-auth-token` there tells it)"
_REFUSALS = {  # status of a call -> what was seen, and what to do
    "UNAUTHENTICATED": ("it lets nobody in without its token, and got none or another one", _TOKEN),
    "UNIMPLEMENTED": ("what answers there is not the cluster's head node", _OTHER_PORT),
    "UNAVAILABLE": ("what answers there is not the cluster's head node", _OTHER_PORT),
    "DEADLINE_EXCEEDED": ("it does not answer in time", "See whether the head node is well (`ray status` there)"),
}
_RAISED = (RayError, OSError, RuntimeError, ValueError)  # by ray.init
_CLOSE_SECONDS = 10.0  # for retired actors to remove their files
_INSTALL_SECONDS = 540  # for Ray to copy the installed environment and install packages, which may be large
_INSTALL_OPTIONS = ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
_INSTALL_TRIES = "RUNTIME_ENV_RETRY_TIMES"  # read by the clusters that this process starts; each try is a whole copy
_ASK_SECONDS = 1.0  # between two questions how far a segment is
_DRAIN_SECONDS = 5.0  # between two looks whether nodes are drained
_BESIDE = "beside"  # the concurrency group of what is asked while a segment runs


class _ReplayActor:
    """A worker on some node of the cluster."""

    def __init__(self, without_gpu: bool, secrets: Mapping[str, str]) -> None:
        os.environ.update(secrets)
        self._worker = Worker(without_gpu)

    def ready(self, first: VersionJob | None) -> _ActorPlace:
        with contextlib.suppress(FlorError):  # which the first segment will tell
            if first is not None:
                self._worker.warm(first)
        return _ActorPlace(os.getpid(), ray.get_runtime_context().get_node_id(), self._worker.kind)

    def run(self, job: VersionJob, segment: Segment) -> SegmentReport | Exception:
        """A failing segment is an answer, not a failing actor: its error travels as a value."""
        try:
            return self._worker.run(job, segment)
        except Exception as error:  # noqa: BLE001 - see above
            return error if isinstance(error, FlorError) else FlorError(f"{type(error).__name__}: {error}")

    def calibrate(self, job: VersionJob) -> Calibration | FlorError:
        return calibrated(self._worker, job)

    @ray.method(concurrency_group=_BESIDE)
    def shorten(self, segment: Segment, last: int) -> int:
        return self._worker.shorten(segment, last)

    @ray.method(concurrency_group=_BESIDE)
    def cancel(self, segment: Segment) -> None:
        self._worker.cancel(segment)

    @ray.method(concurrency_group=_BESIDE)
    def epoch(self, segment: Segment) -> int:
        return self._worker.epoch(segment)

    def close(self) -> None:
        self._worker.close()


@dataclass(frozen=True, slots=True)
class _ActorPlace:
    """Where an actor runs."""

    pid: int
    node: str
    kind: str


def connect() -> None:
    """Join the cluster at RAY_ADDRESS, or the one that runs on this machine, or start one here.

    Raises:
        ClusterRefused: none can be joined at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault(_INSTALL_TRIES, "1")
    named, here = addresses.named(), addresses.here()
    if named == "auto" and not here:
        raise ClusterRefused(named, "no cluster runs on this machine", "Start one (`ray start --head`)")
    address = here if named in ("", "auto") else named
    if address in ("", "local"):
        try:
            _init("local")
        except _RAISED as error:
            raise ReplayError(f"Ray could not be started on this machine: {ended(words(error))}") from error
        return
    addresses.check(address)
    expect_alive(address, found_here=address != named)
    try:
        _init(named or None)  # Ray looks for the one that runs here itself, and for its token
    except _RAISED as error:
        raise ClusterRefused(address, words(error), "Correct the address") from error


def _init(address: str | None) -> None:
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except _RAISED:
        ray.shutdown()
        raise


def expect_alive(address: str, found_here: bool) -> None:
    """Ask the head node at an address whether it is one, and lets this process in. Ray would try for long, and end this
    process. It has no public function for it; where a release has none at all, Ray finds out itself."""
    try:
        import grpc
        from ray._private.authentication import authentication_token_setup as tokens
        from ray._private.grpc_utils import init_grpc_channel
    except ImportError:
        return
    if found_here:  # as ray.init does
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        with contextlib.closing(init_grpc_channel(address)) as channel:
            channel.unary_unary(_ALIVE)(b"", timeout=_ALIVE_SECONDS)
    except grpc.RpcError as error:
        other = (f"it does not answer as a head node does ({error.code().name})", _OTHER_PORT)
        raise ClusterRefused(address, *_REFUSALS.get(error.code().name, other)) from None
    except (RayError, RuntimeError):
        raise ClusterRefused(
            address, "its token is to be sent (RAY_AUTH_MODE), and there is none here", _TOKEN
        ) from None


def slots(shape: WorkerShape = ANY_SHAPE, workers: int | None = None) -> int:
    """How many workers of this shape the cluster has room for; `workers` are asked for.

    Raises:
        UsageError: it has none, or for fewer.
    """
    return _fitting(shape, workers)[1]


def _fitting(shape: WorkerShape, workers: int | None) -> tuple[WorkerShape, int]:
    """The shape, complete; and how many of it there is room for."""
    connect()
    nodes = alive_nodes()
    made = room.completed(shape, nodes)
    if shape == ANY_SHAPE and not room.room(made, nodes):
        return made, 1  # a cluster may start a node for it
    return made, room.check(made, nodes, workers)


def alive_nodes() -> list[NodeResources]:
    """The cluster's nodes. Their order is that of their names."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = [
        NodeResources(
            one["NodeManagerHostname"],
            one["Resources"],
            one.get("Labels", {}).get(room.TYPE_LABEL, ""),
            one["NodeID"],
        )
        for one in nodes
        if one["Alive"]
    ]
    return sorted(found, key=lambda node: node.name)


class RayExecutor:
    """Workers on the Ray cluster that this process is connected to, or on one that it starts. `secrets` are
    variables of theirs: they go with the call that makes a worker, since the dashboard shows each runtime_env."""

    def __init__(self, shape: WorkerShape = ANY_SHAPE, secrets: Mapping[str, str] | None = None) -> None:
        self._shape, self._secrets = shape, dict(secrets or {})
        self._actors: dict[str, Any] = {}
        self._packages: dict[str, tuple[str, ...]] = {}  # of each worker's actor, besides what is installed anyway
        self._unbuildable: dict[tuple[str, ...], str] = {}  # packages -> why there is no environment with them
        self._failed: list[Event | WorkerCalibrated] = []  # not told yet
        self._proven: set[tuple[str, ...]] = {()}  # packages with which an actor has run something
        self._replacements: dict[str, int] = {}  # how often the slot of this worker got a new actor
        self._in_flight: dict[Any, tuple[str, Segment | None]] = {}  # reference -> worker and segment (None: starting)
        self._questions: dict[
            Any, Callable[[Any], list[Event | WorkerCalibrated]]
        ] = {}  # beside: reference -> what its answer means
        self._asked: dict[str, float] = {}  # worker -> when it was asked last how far it is
        self._told: dict[str, tuple[Segment, int]] = {}  # worker -> how far it said it was
        self._nodes: dict[str, str] = {}  # worker -> its node
        self._tried: Counter[str] = Counter()  # how often a worker was started on a node for its data
        self._looked = 0.0  # when it was last seen which nodes are drained
        self._closing: list[Any] = []
        self._retired: set[str] = set()
        self._numbers = itertools.count()
        self.pids: dict[str, int] = {}  # process id of each worker's actor, on its node

    def start(self, workers: int, first: VersionJob | None) -> None:
        self._first = first
        self._shape, _ = _fitting(self._shape, workers)
        for _ in range(workers):
            self._start_actor(replacements=0)

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        if (why := self._unbuildable.get(job.packages)) is not None:
            self._failed.append(SegmentFailed(worker, segment, why, retryable=False))
            return
        if self._packages.get(worker) != job.packages:
            self._close_actor(worker)
            node = self._nodes.get(worker)  # the dispatcher counts on its data
            strategy = None if node is None else NodeAffinitySchedulingStrategy(node, soft=True)
            self._create_actor(worker, job.packages, strategy)
        self._in_flight[self._actors[worker].run.remote(job, segment)] = (worker, segment)
        self._asked[worker] = time.monotonic()

    def calibrate(self, worker: str, job: VersionJob) -> None:
        def answered(found: Calibration | FlorError) -> list[Event | WorkerCalibrated]:
            return [WorkerCalibrated(worker, found)]

        self._questions[self._actors[worker].calibrate.remote(job)] = answered

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        def answered(left: int) -> list[Event | WorkerCalibrated]:
            return [SegmentShortened(worker, segment, left)]

        self._questions[self._actors[worker].shorten.remote(segment, last)] = answered

    def cancel(self, worker: str, segment: Segment) -> None:
        self._questions[self._actors[worker].cancel.remote(segment)] = lambda _: []

    def retire(self, worker: str) -> None:
        if worker in self._actors:
            self._retired.add(worker)
            self._closing.append(self._actors[worker].close.remote())

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        if any(segment is None for _, segment in self._in_flight.values()):
            return True  # they may be elsewhere
        free = [node for node, slots in self._free_slots(nodes) for _ in range(slots)][:count]
        for node in free:
            self._start_actor(replacements=0, node=node)
        self._tried.update(set(free))
        return bool(free)

    def _free_slots(self, apart: Collection[str]) -> list[tuple[str, int]]:
        """Nodes but these, and how many workers each has room for beside ours; most of it first. Other users of the
        cluster may be in the way: then it takes a while."""
        for worker in [w for w in self._retired if w in self._actors and self._nodes.get(w) not in apart]:
            self._close_actor(worker)
        taken = Counter(self._nodes[worker] for worker in self._actors if worker in self._nodes)
        passed = {*apart, *draining_nodes(), *(node for node, times in self._tried.items() if times > MAX_REPLACEMENTS)}
        slots = {node.id: room.room(self._shape, [node]) for node in alive_nodes() if node.id not in passed}
        found = [(node, count - taken[node]) for node, count in slots.items() if count > taken[node]]
        return sorted(found, key=lambda each: -each[1])

    def wait(self, timeout_seconds: float) -> list[Event | WorkerCalibrated]:
        if self._failed:
            failed, self._failed = self._failed, []
            return failed
        if not self._in_flight:
            time.sleep(timeout_seconds)
            return []
        self._ask()
        try:
            ready, _ = ray.wait([*self._questions, *self._in_flight], num_returns=1, timeout=timeout_seconds)
        except RayError as error:
            raise _replay_failed(error) from error
        return [*self._drained(), *(event for reference in ready for event in self._events(reference))]

    def _ask(self) -> None:
        """Ask the busy workers now and then how far they are."""
        now = time.monotonic()
        for worker, segment in self._in_flight.values():
            if segment is not None and now - self._asked[worker] >= _ASK_SECONDS:
                self._asked[worker] = now
                self._questions[self._actors[worker].epoch.remote(segment)] = self._progress(worker, segment)

    def _progress(self, worker: str, segment: Segment) -> Callable[[int], list[Event | WorkerCalibrated]]:
        def answered(epoch: int) -> list[Event | WorkerCalibrated]:
            if epoch == 0 or self._told.get(worker) == (segment, epoch) or (worker, segment) not in self._running():
                return []
            self._told[worker] = segment, epoch
            return [EpochBegun(worker, segment, epoch)]

        return answered

    def _running(self) -> set[tuple[str, Segment | None]]:
        return set(self._in_flight.values())

    def _drained(self) -> list[Event | WorkerCalibrated]:
        """Workers whose nodes will soon be gone, as Ray's head node knows it. Each is told once."""
        now = time.monotonic()
        if now - self._looked < _DRAIN_SECONDS:
            return []
        self._looked = now
        nodes = draining_nodes()
        gone = [worker for worker, node in self._nodes.items() if node in nodes]
        for worker in gone:
            del self._nodes[worker]
        return [WorkerDraining(worker) for worker in gone]

    def close(self) -> None:
        running = {worker: segment for worker, segment in self._in_flight.values() if segment is not None}
        for worker, segment in running.items():  # which would have to be waited for
            self._actors[worker].cancel.remote(segment)
        for worker in (self.pids.keys() | running.keys()) - self._retired:  # others have nothing to tidy up
            self._closing.append(self._actors[worker].close.remote())
        if self._closing:
            ray.wait(self._closing, num_returns=len(self._closing), timeout=_CLOSE_SECONDS)
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._in_flight.clear()
        self._questions.clear()
        self._closing.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_actor(self, replacements: int, node: str | None = None) -> None:
        worker = f"worker-{next(self._numbers)}"
        self._replacements[worker] = replacements
        strategy = None if node is None else NodeAffinitySchedulingStrategy(node, soft=False)
        self._create_actor(worker, (), strategy)
        self._in_flight[self._actors[worker].ready.remote(self._first)] = (worker, None)

    def _create_actor(
        self, worker: str, packages: tuple[str, ...], strategy: NodeAffinitySchedulingStrategy | None = None
    ) -> None:
        decorate: Any = ray.remote  # whose overloads do not know all options
        remote_class = decorate(concurrency_groups={_BESIDE: 1})(_ReplayActor)
        options = _options(self._shape)
        if strategy is not None:
            options["scheduling_strategy"] = strategy
        if packages:
            options["runtime_env"] = {
                "pip": {"packages": list(packages), "pip_install_options": _INSTALL_OPTIONS},
                "config": {"setup_timeout_seconds": _INSTALL_SECONDS},
            }
        self._actors[worker] = remote_class.options(**options).remote(not self._shape.gpus, self._secrets)
        self._packages[worker] = packages

    def _close_actor(self, worker: str) -> None:
        """Let a worker's actor remove its files, then end and free its slot; without waiting for that."""
        actor = self._actors.pop(worker, None)
        self._packages.pop(worker, None)
        self.pids.pop(worker, None)
        if actor is not None:
            self._closing.append(actor.close.remote())
            actor.__ray_terminate__.remote()

    def _events(self, reference: Any) -> list[Event | WorkerCalibrated]:
        if reference in self._questions:
            answered = self._questions.pop(reference)
            try:
                return answered(ray.get(reference))
            except RayError:  # told by the segment's own reference
                return []
        worker, segment = self._in_flight.pop(reference)
        try:
            answer = ray.get(reference)
        except RayError as error:
            return self._failed_by_ray(worker, segment, error)
        self._proven.add(self._packages[worker])
        if segment is None:
            self.pids[worker], self._nodes[worker] = answer.pid, answer.node
            return [WorkerJoined(worker, answer.kind, node=answer.node)]
        if isinstance(answer, Exception):
            return [failure(worker, segment, answer)]
        return [SegmentDone(worker, answer)]

    def _failed_by_ray(self, worker: str, segment: Segment | None, error: RayError) -> list[Event | WorkerCalibrated]:
        """A segment's answer, or a worker's beginning, did not come; `ray_failures` has what that means."""
        what = meaning(error)
        if what is RayFailure.REPLAY_FAILED:
            raise _replay_failed(error) from error
        if segment is not None and self._packages[worker] not in self._proven:
            if isinstance(error, RuntimeEnvSetupError):
                return [self._unbuildable_environment(worker, segment, str(error))]
            if what is RayFailure.WORKER_LOST:
                return [self._unbuildable_environment(worker, segment, f"A worker that had them died: {error}")]
        if segment is not None and what is not RayFailure.WORKER_LOST:
            return [SegmentFailed(worker, segment, words(error), retryable=what is RayFailure.AGAIN)]
        return self._lost(worker, segment is not None, error)

    def _lost(self, worker: str, joined: bool, error: RayError) -> list[Event | WorkerCalibrated]:
        """An actor or its node is gone, or an actor could not begin: another one takes its place, a few times."""
        del self._actors[worker]
        del self._packages[worker]
        self.pids.pop(worker, None)
        self._nodes.pop(worker, None)
        replacements = self._replacements.pop(worker)
        if replacements < MAX_REPLACEMENTS:
            self._start_actor(replacements + 1)
        elif not self._actors.keys() - self._retired:
            raise ReplayError(
                "All workers of the cluster have ended, and so have those that were started in their places. Finished "
                f"segments are kept. Ray says of the last one: {ended(words(error))} (Workers need flor_ray, and what "
                "the scripts import, on every machine of the cluster.)"
            )
        return [WorkerLost(worker)] if joined else []

    def _unbuildable_environment(self, worker: str, segment: Segment, error: str) -> SegmentFailed:
        """The worker itself goes on: it gets an actor with the next segment."""
        packages = self._packages.pop(worker)
        del self._actors[worker]
        self.pids.pop(worker, None)
        self._unbuildable[packages] = why_unbuildable(packages, error)
        return SegmentFailed(worker, segment, self._unbuildable[packages], retryable=False)


def _options(shape: WorkerShape) -> dict[str, Any]:
    """Those of Ray for an actor of this shape, which is complete."""
    found: dict[str, Any] = {"num_gpus": shape.gpus, "num_cpus": shape.cpus, "memory": shape.memory_bytes}
    if len(shape.accelerators) == 1:
        found["accelerator_type"] = shape.accelerators[0]
    elif shape.accelerators:
        found["label_selector"] = {room.TYPE_LABEL: f"in({','.join(shape.accelerators)})"}
    return {name: value for name, value in found.items() if value}


def _replay_failed(error: RayError) -> ReplayError:
    return ReplayError(
        f"Ray cannot be asked any more: {ended(words(error))} Finished segments are kept; look at the cluster "
        "(`ray status`), then ask again for the rest."
    )


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that will soon be taken away. Ray tells it in no public function; where a release has none at
    all, such a node is noticed when it is gone."""
    from ray._private.state import state

    ask = getattr(state, "get_draining_nodes", None)
    return frozenset() if ask is None else frozenset(ask())

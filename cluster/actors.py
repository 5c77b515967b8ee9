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
import functools
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import RayError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flor_ray.cluster import demand, joining, rank_actors, room
from flor_ray.cluster.executors import MAX_REPLACEMENTS, StoreAwaited, Told, WorkerCalibrated, calibrated, failure
from flor_ray.cluster.rank_actors import ActorHosts, RankActors
from flor_ray.cluster.ray_failures import RayFailure, meaning, why_unbuildable, words
from flor_ray.cluster.worker import Worker
from flor_ray.environment import hardware
from flor_ray.errors import FlorError, ReplayError
from flor_ray.records import ANY_SHAPE, Crew, Segment, SegmentReport, WorkerShape
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration
from flor_ray.scheduler.messages import (
    EpochBegun,
    SegmentAdvanced,
    SegmentDone,
    SegmentFailed,
    SegmentShortened,
    WorkerDraining,
    WorkerJoined,
    WorkerLost,
)
from flor_ray.wording import ended

_CLOSE_SECONDS = 10.0  # for retired actors to remove their files
_INSTALL_SECONDS = 540  # for Ray to copy the installed environment and install packages, which may be large
_INSTALL_OPTIONS = ["--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
_ANSWER_SECONDS = 120.0  # for a question beside a segment, which takes a moment: then its worker hangs
_CALIBRATION_SECONDS = 900.0  # for a calibration, which reads the store, that may be away for a while
_ASK_SECONDS = 1.0  # between two questions how far a segment is, at least; and of all workers
_ASKED_PER_SECOND = 8.0  # so many are asked: a question takes the driver as long as a third of a segment
_DRAIN_SECONDS = 5.0  # between two looks whether nodes are drained
_GROW_SECONDS = 5.0  # between two looks whether there is room for more workers
_BESIDE = "beside"  # the concurrency group of what is asked while a segment runs


class _ReplayActor:
    """A worker on some node of the cluster."""

    def __init__(self, gpus: float, secrets: Mapping[str, str], hosts: ActorHosts | None = None) -> None:
        os.environ.update(secrets)
        kind = _own_kind(gpus) if gpus else None
        self._worker = Worker(not gpus, kind=kind, logs=_session_logs(), hosts=hosts)
        self._segment: Segment | None = None  # that runs, or ran last
        self._parts: tuple[SegmentReport, ...] = ()  # of it, as far as they are written

    def ready(self, first: VersionJob | None) -> _ActorPlace:
        with contextlib.suppress(FlorError):  # which the first segment will tell
            if first is not None:
                self._worker.warm(first)
        return _ActorPlace(os.getpid(), ray.get_runtime_context().get_node_id(), self._worker.kind)

    def run(self, job: VersionJob, segment: Segment) -> _SegmentEnd:
        """A failing segment is an answer, not a failing actor: its error travels as a value."""
        self._parts, self._segment = (), segment
        try:
            end: SegmentReport | Exception = self._worker.run(job, segment, self._advanced)
        except Exception as error:  # noqa: BLE001 - see above
            end = error if isinstance(error, FlorError) else FlorError(f"{type(error).__name__}: {error}")
        return _SegmentEnd(self._parts, end)

    def _advanced(self, report: SegmentReport) -> None:
        self._parts = (*self._parts, report)

    def calibrate(self, job: VersionJob) -> Calibration | FlorError:
        return calibrated(self._worker, job)

    @ray.method(concurrency_group=_BESIDE)
    def shorten(self, segment: Segment, last: int) -> int:
        return self._worker.shorten(segment, last)

    @ray.method(concurrency_group=_BESIDE)
    def fetch(self, job: VersionJob, segment: Segment) -> None:
        self._worker.fetch(job, segment)

    @ray.method(concurrency_group=_BESIDE)
    def cancel(self, segment: Segment) -> None:
        self._worker.cancel(segment)

    @ray.method(concurrency_group=_BESIDE)
    def stands(self, segment: Segment, heard: int) -> _Stand:
        """How far the segment is; `heard` of its parts are known already."""
        parts = self._parts[heard:] if self._segment == segment else ()  # it may not have begun yet
        return _Stand(*self._worker.whereabouts(segment), parts, self._worker.awaits())

    def close(self) -> None:
        self._worker.close()


def _own_kind(gpus: float) -> str:
    """The class of worker that this actor is: by the GPUs that it was given, and how much of them."""
    context = ray.get_runtime_context()
    here = context.get_node_id()
    types = {
        node.gpu_type for node in joining.alive_nodes() if node.id == here
    }  # where the machine does not name its GPUs
    return hardware.kind_of(context.get_accelerator_ids().get(room.GPU, []), gpus, "".join(types))


def _session_logs() -> Path | None:
    """The folder of this node in which `ray logs` and the dashboard look. Ray tells it in no public function; where a
    release has none at all, what scripts print is kept as without Ray."""
    from ray._private import worker

    ask = getattr(getattr(worker, "_global_node", None), "get_logs_dir_path", None)
    folder = None if ask is None else Path(ask())
    return folder if folder is not None and os.access(folder, os.W_OK) else None


@dataclass(frozen=True, slots=True)
class _SegmentEnd:
    """What became of a segment."""

    parts: tuple[SegmentReport, ...]  # all that were written before its end
    end: SegmentReport | Exception


@dataclass(frozen=True, slots=True)
class _Stand:
    """How far a segment is."""

    epoch: int  # 0: it does not run, or is before its first one
    place: str  # where it is overdue, "" if it is not
    parts: tuple[SegmentReport, ...]  # that were not known
    awaits: str  # why it waits for the store, "" if it does not


@dataclass(frozen=True, slots=True)
class _ActorPlace:
    """Where an actor runs."""

    pid: int
    node: str
    kind: str


_Meaning = Callable[[Any], list[Told]]


@dataclass(frozen=True, slots=True)
class _AskedBeside:
    """What a worker was asked beside its segment."""

    worker: str
    means: _Meaning  # what an answer is
    deadline: float  # time.monotonic


class RayExecutor:
    """Workers on the Ray cluster that this process is connected to, or on one that it starts. `secrets` are
    variables of theirs: they go with the call that makes a worker, since the dashboard shows each runtime_env. There
    are never more than `most` of them. `ranks`: processes for which each worker has room, of `shape` each."""

    def __init__(
        self,
        shape: WorkerShape = ANY_SHAPE,
        secrets: Mapping[str, str] | None = None,
        most: int | None = None,
        scales_to: int | None = None,
        ranks: int = 1,
    ) -> None:
        self._ranks = ranks
        self._layouts: dict[str, tuple[int, ...]] = {}  # how the ranks of a worker are spread over nodes, if there are
        self._open_layouts: list[tuple[int, ...]] = []  # for workers that are still to be started
        self._groups: dict[str, RankActors] = {}  # of workers with several nodes
        self._shape, self._secrets = shape, dict(secrets or {})
        self._most, self._scales_to = most, scales_to
        self._crew = Crew(shape, most=most)
        self._spare = 0  # workers for which there was room when it began, and no work
        self._actors: dict[str, Any] = {}
        self._packages: dict[str, tuple[str, ...]] = {}  # of each worker's actor, besides what is installed anyway
        self._unbuildable: dict[tuple[str, ...], str] = {}  # packages -> why there is no environment with them
        self._died: set[tuple[str, ...]] = set()  # packages with which an actor has died before any had run something
        self._failed: list[Told] = []  # not told yet
        self._proven: set[tuple[str, ...]] = {()}  # packages with which an actor has run something
        self._replacements: dict[str, int] = {}  # how often the slot of this worker got a new actor
        self._in_flight: dict[Any, tuple[str, Segment | None]] = {}  # reference -> worker and segment (None: starting)
        self._questions: dict[Any, _AskedBeside] = {}  # beside: by reference
        self._jobs: dict[tuple[str, bool], tuple[VersionJob, Any]] = {}  # by version and `as_it_is`: its reference
        self._asked: dict[str, float] = {}  # worker -> when it was asked last how far it is
        self._asking: dict[str, Any] = {}  # worker -> that question
        self._told: dict[str, tuple[Segment, int, str]] = {}  # worker -> how far it said it was
        self._awaited: dict[str, str] = {}  # worker -> why it waits for the store, as was told last
        self._heard: dict[str, int] = {}  # worker -> of how many parts of its segment it has told
        self._nodes: dict[str, str] = {}  # worker -> its node
        self._tried: Counter[str] = Counter()  # how often a worker was started on a node for its data
        self._looked = 0.0  # when it was last seen which nodes are drained
        self._grows_at = 0.0  # when it is looked next whether there is room for more
        self._added: set[str] = set()  # workers that were added while it ran, and have not joined yet
        self._in_vain = 0  # of these, how many in a row could not begin
        self._closing: list[Any] = []
        self._numbers = itertools.count()
        self.pids: dict[str, int] = {}  # process id of each worker's actor, on its node

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        self._first = first
        if self._ranks > 1:
            nodes = joining.alive_nodes()
            self._shape = room.completed(self._shape, nodes)
            self._open_layouts = rank_actors.groups(self._shape, self._ranks, nodes)
            workers = min(workers, len(self._open_layouts))
            for _ in range(workers):
                self._start_actor(replacements=0)
            return
        self._crew = replace(joining.crew(self._shape, workers, self._scales_to), most=self._most)
        self._shape = self._crew.shape
        free = sum(room.fitting(self._shape, node, free=True) for node in joining.alive_nodes())
        self._spare = max(0, free - workers - later)
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
        self._in_flight[self._actors[worker].run.remote(self._kept(job), segment)] = (worker, segment)
        self._heard[worker] = 0
        self._asked[worker] = time.monotonic()

    def _kept(self, job: VersionJob) -> Any:
        """The job in Ray's object store: it is pickled once, and not with each segment of its version."""
        key = (job.experiment.version, job.as_it_is)
        if key not in self._jobs or self._jobs[key][0] != job:
            self._jobs[key] = job, ray.put(job)
        return self._jobs[key][1]

    def calibrate(self, worker: str, job: VersionJob) -> None:
        def answered(found: Calibration | FlorError) -> list[Told]:
            return [WorkerCalibrated(worker, found)]

        self._put(worker, self._actors[worker].calibrate.remote(job), answered, _CALIBRATION_SECONDS)

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        if (actor := self._actors.get(worker)) is not None:  # else it gets one with what it runs next
            actor.fetch.remote(self._kept(job), segment)

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        def answered(left: int) -> list[Told]:
            return [SegmentShortened(worker, segment, left)]

        self._put(worker, self._actors[worker].shorten.remote(segment, last), answered)

    def cancel(self, worker: str, segment: Segment) -> None:
        self._put(worker, self._actors[worker].cancel.remote(segment), lambda _: [])

    def _put(self, worker: str, question: Any, means: _Meaning, seconds: float | None = None) -> None:
        deadline = time.monotonic() + (_ANSWER_SECONDS if seconds is None else seconds)
        self._questions[question] = _AskedBeside(worker, means, deadline)

    def retire(self, worker: str) -> None:
        self._close_actor(worker)  # others may want what it holds

    def cluster(self) -> tuple[str, int]:
        joining.connect()
        nodes = joining.alive_nodes()
        return ray.get_runtime_context().gcs_address, room.room(room.completed(self._shape, nodes), nodes)

    def grow(self, count: int) -> int:
        now = time.monotonic()
        if now < self._grows_at or self._in_vain > MAX_REPLACEMENTS or self._ranks > 1:
            return 0
        self._grows_at = now + _GROW_SECONDS
        starting = self._starting()
        found = min(
            count, demand.more(self._crew, joining.alive_nodes(), len(self._actors) - starting, starting, self._spare)
        )
        for _ in range(found):
            self._added.add(self._start_actor(replacements=MAX_REPLACEMENTS))
        return found

    def forgo(self) -> None:
        for reference, (worker, segment) in list(self._in_flight.items()):
            if segment is None:
                del self._in_flight[reference], self._packages[worker], self._replacements[worker]
                self._added.discard(worker)
                ray.kill(self._actors.pop(worker))

    def _starting(self) -> int:
        return sum(1 for _, segment in self._in_flight.values() if segment is None)

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        if self._starting():
            return True  # they may be elsewhere
        if self._ranks > 1:
            return False
        free = [node for node, slots in self._free_slots(nodes) for _ in range(slots)][:count]
        for node in free:
            self._start_actor(replacements=0, node=node)
        self._tried.update(set(free))
        return bool(free)

    def _free_slots(self, apart: Collection[str]) -> list[tuple[str, int]]:
        """Nodes but these, and how many workers each has room for beside ours; most of it first. Other users of the
        cluster may be in the way: then it takes a while."""
        taken = Counter(self._nodes[worker] for worker in self._actors if worker in self._nodes)
        passed = {*apart, *(node for node, times in self._tried.items() if times > MAX_REPLACEMENTS)}
        nodes = [node for node in joining.alive_nodes() if node.id not in passed and not node.leaving]
        slots = {node.id: room.fitting(self._shape, node) for node in nodes}
        found = [(node, count - taken[node]) for node, count in slots.items() if count > taken[node]]
        return sorted(found, key=lambda each: -each[1])

    def wait(self, timeout_seconds: float) -> list[Told]:
        if self._failed:
            failed, self._failed = self._failed, []
            return failed
        if not self._in_flight:
            time.sleep(timeout_seconds)
            return []
        if silent := self._silent():
            return silent
        self._ask()
        try:
            ready, _ = ray.wait([*self._questions, *self._in_flight], num_returns=1, timeout=timeout_seconds)
        except RayError as error:
            raise _replay_failed(error) from error
        return [*self._drained(), *(event for reference in ready for event in self._events(reference))]

    def _ask(self) -> None:
        """Ask the busy workers now and then how far they are."""
        now = time.monotonic()
        pause = max(_ASK_SECONDS, len(self._in_flight) / _ASKED_PER_SECOND)
        for worker, segment in self._in_flight.values():
            waits = self._asking.get(worker) in self._questions  # a machine that does not answer is not asked again
            if segment is not None and not waits and now - self._asked[worker] >= pause:
                self._asked[worker] = now
                heard = self._heard[worker]
                self._asking[worker] = self._actors[worker].stands.remote(segment, heard)
                self._put(worker, self._asking[worker], self._progress(worker, segment, heard))

    def _silent(self) -> list[Told]:
        """Workers that leave a question open for long hang, or their machines do, and their segments may never be
        answered either. They count as lost at once: Ray is told to end them, and does not know when it has."""
        now = time.monotonic()
        silent = {question.worker for question in self._questions.values() if question.deadline < now}
        self._questions = {ref: one for ref, one in self._questions.items() if one.worker not in silent}
        events: list[Told] = []
        for worker in sorted(silent & self._actors.keys()):
            ray.kill(self._actors[worker])
            self._in_flight = {ref: of for ref, of in self._in_flight.items() if of[0] != worker}
            events += self._lost(worker, True, RayError(f"{worker} has not answered a question for a long time"))
        return events

    def _progress(self, worker: str, segment: Segment, heard: int) -> _Meaning:
        def answered(now: _Stand) -> list[Told]:
            if (worker, segment) not in self._running() or self._heard[worker] != heard:
                return []  # it has ended, and what is answered here was in that answer
            found = self._advanced(worker, now.parts)
            if now.awaits != self._awaited.get(worker, ""):
                self._awaited[worker] = now.awaits
                found.append(StoreAwaited(worker, now.awaits))
            whereabouts = segment, now.epoch, now.place
            if (now.epoch or now.place) and self._told.get(worker) != whereabouts:
                self._told[worker] = whereabouts
                found.append(EpochBegun(worker, *whereabouts))
            return found

        return answered

    def _advanced(self, worker: str, parts: Sequence[SegmentReport]) -> list[Told]:
        """Parts that have not been told before."""
        self._heard[worker] += len(parts)
        return [SegmentAdvanced(worker, report) for report in parts]

    def _running(self) -> set[tuple[str, Segment | None]]:
        return set(self._in_flight.values())

    def _drained(self) -> list[Told]:
        """Workers whose nodes will soon be gone, as Ray's head node knows it. Each is told once."""
        now = time.monotonic()
        if now - self._looked < _DRAIN_SECONDS:
            return []
        self._looked = now
        nodes = joining.draining_nodes()
        gone = [worker for worker, node in self._nodes.items() if node in nodes]
        for worker in gone:
            del self._nodes[worker]
        return [WorkerDraining(worker) for worker in gone]

    def close(self) -> None:
        running = {worker: segment for worker, segment in self._in_flight.values() if segment is not None}
        for worker, segment in running.items():  # which would have to be waited for
            self._actors[worker].cancel.remote(segment)
        for worker in self.pids.keys() | running.keys():  # others have nothing to tidy up
            self._closing.append(self._actors[worker].close.remote())
        if self._closing:
            ray.wait(self._closing, num_returns=len(self._closing), timeout=_CLOSE_SECONDS)
        for actor in self._actors.values():
            ray.kill(actor)
        for worker in list(self._groups):
            self._end_group(worker)
        if self._actors:
            joining.gave_back()
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

    def _start_actor(self, replacements: int, node: str | None = None) -> str:
        worker = f"worker-{next(self._numbers)}"
        self._replacements[worker] = replacements
        strategy = None if node is None else NodeAffinitySchedulingStrategy(node, soft=False)
        self._create_actor(worker, (), strategy)
        self._in_flight[self._actors[worker].ready.remote(self._first)] = (worker, None)
        return worker

    def _create_actor(
        self, worker: str, packages: tuple[str, ...], strategy: NodeAffinitySchedulingStrategy | None = None
    ) -> None:
        options = options_of(self._shape)
        if strategy is not None:
            options["scheduling_strategy"] = strategy
        environment: dict[str, Any] = {}
        if packages:
            environment["runtime_env"] = {
                "pip": {"packages": list(packages), "pip_install_options": _INSTALL_OPTIONS},
                "config": {"setup_timeout_seconds": _INSTALL_SECONDS},
            }
        hosts = None
        if self._ranks > 1:
            options, hosts = self._with_ranks(worker, options, environment)
        actor = _remote(_ReplayActor).options(**options, **environment)
        self._actors[worker] = actor.remote(self._shape.gpus or 0, self._secrets, hosts)
        self._packages[worker] = packages

    def _with_ranks(
        self, worker: str, options: dict[str, Any], environment: Mapping[str, Any]
    ) -> tuple[dict[str, Any], ActorHosts | None]:
        """Options of a worker's actor that has room for all ranks, or that leads actors on other nodes which have."""
        if worker not in self._layouts:
            if not self._open_layouts:  # one takes the place of another
                self._open_layouts = rank_actors.groups(self._shape, self._ranks, joining.alive_nodes())
            self._layouts[worker] = self._open_layouts.pop(0)
        layout = self._layouts[worker]
        if len(layout) == 1:
            return options | options_of(rank_actors.scaled(self._shape, self._ranks)), None
        group = self._groups[worker] = rank_actors.spread(self._shape, layout, environment, self._secrets)
        own = rank_actors.resources_of(rank_actors.scaled(self._shape, layout[0]))
        return {**own, "scheduling_strategy": group.strategy()}, group.hosts

    def _end_group(self, worker: str) -> None:
        if (group := self._groups.pop(worker, None)) is not None:
            group.end()

    def _close_actor(self, worker: str) -> None:
        """Let a worker's actor remove its files, then end and free its slot; without waiting for that."""
        actor = self._actors.pop(worker, None)
        self._packages.pop(worker, None)
        self.pids.pop(worker, None)
        if actor is not None:
            if self._closing:
                _, self._closing = ray.wait(self._closing, num_returns=len(self._closing), timeout=0)
            closed = actor.close.remote()
            self._closing.append(closed)
            if worker in self._groups:  # whose slots go with the group
                ray.wait([closed], timeout=_CLOSE_SECONDS)
                self._end_group(worker)
            actor.__ray_terminate__.remote()

    def _events(self, reference: Any) -> list[Told]:
        if reference in self._questions:
            question = self._questions.pop(reference)
            try:
                return question.means(ray.get(reference))
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
            if worker in self._added:
                self._in_vain = 0
                self._added.remove(worker)
            return [WorkerJoined(worker, answer.kind, node=answer.node)]
        told = self._advanced(worker, answer.parts[self._heard[worker] :])
        if isinstance(answer.end, Exception):
            return [*told, failure(worker, segment, answer.end)]
        return [*told, SegmentDone(worker, answer.end)]

    def _failed_by_ray(self, worker: str, segment: Segment | None, error: RayError) -> list[Told]:
        """A segment's answer, or a worker's beginning, did not come; `ray_failures` has what that means."""
        what = meaning(error)
        if what is RayFailure.REPLAY_FAILED:
            raise _replay_failed(error) from error
        if segment is not None and self._packages[worker] not in self._proven:
            if isinstance(error, RuntimeEnvSetupError):
                return [self._unbuildable_environment(worker, segment, str(error))]
            if what is RayFailure.WORKER_LOST:
                return [self._died_with_packages(worker, segment, error)]
        if segment is not None and what is not RayFailure.WORKER_LOST:
            return [SegmentFailed(worker, segment, words(error), retryable=what is RayFailure.AGAIN)]
        return self._lost(worker, segment is not None, error)

    def _lost(self, worker: str, joined: bool, error: RayError) -> list[Told]:
        """An actor or its node is gone, or an actor could not begin: another one takes its place, a few times."""
        self._end_group(worker)
        self._layouts.pop(worker, None)
        del self._actors[worker]
        del self._packages[worker]
        self.pids.pop(worker, None)
        self._nodes.pop(worker, None)
        replacements = self._replacements.pop(worker)
        if worker in self._added:
            self._added.remove(worker)
            self._in_vain += 1
        if replacements < MAX_REPLACEMENTS:
            self._start_actor(replacements + 1)
        elif not self._actors:
            raise ReplayError(
                "All workers of the cluster have ended, and so have those that were started in their places. Finished "
                f"segments are kept. Ray says of the last one: {ended(words(error))} (Workers need flor_ray, and what "
                "the scripts import, on every machine of the cluster.)"
            )
        return [WorkerLost(worker)] if joined else []

    def _died_with_packages(self, worker: str, segment: Segment, error: RayError) -> SegmentFailed:
        """One death may be its node's doing: the segment is tried again. A second one is the packages'."""
        packages = self._packages[worker]
        if packages in self._died:
            return self._unbuildable_environment(worker, segment, f"Workers that had them died: {error}")
        self._died.add(packages)
        self._forget_actor(worker)
        return SegmentFailed(worker, segment, words(error), retryable=True)

    def _unbuildable_environment(self, worker: str, segment: Segment, error: str) -> SegmentFailed:
        packages = self._packages[worker]
        self._forget_actor(worker)
        self._unbuildable[packages] = why_unbuildable(packages, error)
        return SegmentFailed(worker, segment, self._unbuildable[packages], retryable=False)

    def _forget_actor(self, worker: str) -> None:
        """The worker itself goes on: it gets an actor with the next segment."""
        del self._packages[worker], self._actors[worker]
        self.pids.pop(worker, None)


@functools.cache
def _remote(of_actors: type) -> Any:
    """The class on Ray. Ray looks through one that it has not seen before, which takes longer than to start an
    actor."""
    decorate: Any = ray.remote  # whose overloads do not know all options
    return decorate(concurrency_groups={_BESIDE: 1})(of_actors)


def options_of(shape: WorkerShape) -> dict[str, Any]:
    """Those of Ray for an actor of this shape, which is complete."""
    found: dict[str, Any] = {"num_gpus": shape.gpus, "memory": shape.memory_bytes}
    if len(shape.accelerators) == 1:
        found["accelerator_type"] = shape.accelerators[0]
    labels = dict(shape.labels)
    if len(shape.accelerators) > 1:
        labels[room.TYPE_LABEL] = f"in({','.join(shape.accelerators)})"
    found["label_selector"] = labels
    # Of who has GPUs and does not speak of CPUs, Ray takes one, too: sixteen GPUs of two CPUs would get two workers.
    return {"num_cpus": shape.cpus} | {name: value for name, value in found.items() if value}


def _replay_failed(error: RayError) -> ReplayError:
    return ReplayError(
        f"Ray cannot be asked any more: {ended(words(error))} Finished segments are kept; look at the cluster "
        "(`ray status`), then ask again for the rest."
    )

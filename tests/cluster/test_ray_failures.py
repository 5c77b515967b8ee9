"""What becomes of a replay when Ray raises: each exception of the installed Ray has a meaning, and none ends a replay
that could go on."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
import ray.exceptions
from ray.exceptions import RayError

from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.executors import MAX_REPLACEMENTS
from flor_ray.cluster.ray_failures import RayFailure, meaning, words
from flor_ray.errors import ReplayError
from flor_ray.records import Operator, Segment
from flor_ray.scheduler.messages import SegmentFailed, WorkerLost

SEGMENT = Segment("v", 1, 2, Operator.DP_I, restore=0)
LOST = {
    "RayActorError",
    "ActorDiedError",
    "ActorUnavailableError",
    "WorkerCrashedError",
    "NodeDiedError",
    "OwnerDiedError",
    "OutOfMemoryError",
    "ActorUnschedulableError",
    "TaskUnschedulableError",
}
ENDS = {"AuthenticationError", "LocalRayletDiedError", "RpcError"}
FAILS = {"RayTaskError", "RuntimeEnvSetupError"}
KINDS = {
    name: kind for name, kind in vars(ray.exceptions).items() if isinstance(kind, type) and issubclass(kind, RayError)
}


def raised(name: str) -> RayError:
    """An exception of this class; how one is made, and becomes a text, is Ray's business, and differs."""
    kind = type("Raised", (KINDS[name],), {"__init__": lambda self: None, "__str__": lambda self: "what Ray says"})
    return cast(RayError, kind())


def test_every_exception_of_ray_has_the_meaning_that_it_should() -> None:
    found = {name: meaning(raised(name)) for name in KINDS}
    assert {name for name, what in found.items() if what is RayFailure.WORKER_LOST} == LOST & KINDS.keys()
    assert {name for name, what in found.items() if what is RayFailure.REPLAY_FAILED} == ENDS & KINDS.keys()
    assert {name for name, what in found.items() if what is RayFailure.FAILED} == FAILS & KINDS.keys()


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "RayError"),
        ("The actor died.\nMore of it", "The actor died."),
        (
            "The actor died because of an error raised in its creation task, ray::X.__init__() (pid=7)\n"
            "  File \"x.py\", line 2\n    import flor_ray\nModuleNotFoundError: No module named 'flor_ray'\n",
            "ModuleNotFoundError: No module named 'flor_ray'",
        ),
    ],
)
def test_of_what_ray_says_the_line_that_tells_why_is_kept(said: str, line: str) -> None:
    assert words(RayError(said)) == line


class Floor:
    """A `RayExecutor` without a cluster: actors are names, and references raise what a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.executor = RayExecutor()
        self.started = 0
        self.raises: RayError = raised("RayError")
        monkeypatch.setattr(RayExecutor, "_create_actor", self._create)
        monkeypatch.setattr("ray.get", self._get)

    def _create(self, worker: str, packages: tuple[str, ...], strategy: object = None) -> None:
        self.started += 1
        self.executor._actors[worker] = Handle(worker)
        self.executor._packages[worker] = packages

    def _get(self, reference: object) -> object:
        raise self.raises

    def happens(self, error: RayError, segment: Segment | None) -> list[Any]:
        """The exception, of the newest worker's segment, or its beginning."""
        self.raises = error
        executor = self.executor
        worker = list(executor._actors)[-1]
        executor._in_flight.clear()
        executor._in_flight["reference"] = (worker, segment)
        return executor._events("reference")


class Handle:
    """An actor's handle, of which only `ready` is called."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def ready(self) -> Handle:
        return self

    def remote(self, first: object) -> str:
        return f"ready {self.name}"


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch) -> Floor:
    found = Floor(monkeypatch)
    found.executor._first = None
    found.executor._start_actor(replacements=0)
    return found


@pytest.mark.parametrize("name", sorted(KINDS))
def test_what_ray_raises_of_a_segment_becomes_one_event_or_ends_the_replay(name: str, floor: Floor) -> None:
    what = meaning(raised(name))
    if what is RayFailure.REPLAY_FAILED:
        with pytest.raises(ReplayError, match=r"Ray cannot be asked any more: .* Finished segments are kept"):
            floor.happens(raised(name), SEGMENT)
        return
    (event,) = floor.happens(raised(name), SEGMENT)
    if what is RayFailure.WORKER_LOST:
        assert event == WorkerLost("worker-0")
        assert list(floor.executor._actors) == ["worker-1"]
    else:
        assert isinstance(event, SegmentFailed)
        assert (event.worker, event.segment, event.retryable) == ("worker-0", SEGMENT, what is RayFailure.AGAIN)
        assert list(floor.executor._actors) == ["worker-0"]  # which goes on


@pytest.mark.parametrize("name", sorted(KINDS.keys() - ENDS))
def test_workers_that_cannot_begin_are_replaced_a_few_times_and_then_it_is_said_why(name: str, floor: Floor) -> None:
    for _ in range(MAX_REPLACEMENTS):
        assert floor.happens(raised(name), None) == []
    with pytest.raises(ReplayError, match=r"All workers of the cluster have ended.* Ray says of the last one: "):
        floor.happens(raised(name), None)
    assert floor.started == 1 + MAX_REPLACEMENTS


def test_while_nothing_is_under_way_the_driver_waits_and_does_not_spin() -> None:
    executor = RayExecutor()
    began, used = time.monotonic(), time.process_time()
    for _ in range(3):
        assert executor.wait(0.2) == []
    assert time.monotonic() - began >= 0.6
    assert time.process_time() - used < 0.3


def test_the_first_death_of_an_actor_with_other_packages_is_not_blamed_on_them(floor: Floor) -> None:
    packages = ("toolz==1.0.0",)

    def dies() -> SegmentFailed:
        floor._create("worker-0", packages)
        (event,) = floor.happens(raised("NodeDiedError"), SEGMENT)
        assert isinstance(event, SegmentFailed)
        return event

    assert dies().retryable
    assert floor.executor._unbuildable == {}
    assert not dies().retryable
    assert "toolz==1.0.0. Workers that had them died" in floor.executor._unbuildable[packages]

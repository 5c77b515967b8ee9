"""What the driver makes of what workers tell: rows are counted once, and a store is not waited for for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from types import TracebackType
from typing import Self

import pytest

from flor_ray.cluster.driver import Driver, Progress
from flor_ray.cluster.executors import StoreAwaited, Told
from flor_ray.errors import ReplayError
from flor_ray.planning import segmenting
from flor_ray.records import Ending, Experiment, Operator, Profile, Segment, SegmentCost, SegmentReport, Status
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.costs import RecordedVersion
from flor_ray.scheduler.messages import SegmentAdvanced, SegmentDone, SegmentFailed, WorkerJoined
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting

WHOLE = Segment("v", 1, 8, Operator.DP_I, restore=0, names=("x",))
AWAY = SegmentFailed("x", WHOLE, "The store is away.", retryable=True, counts=False)


class Script:
    """An executor whose workers tell what is written here, an event at a time."""

    def __init__(self, *events: Told) -> None:
        self._events = deque(events)
        self.submitted: list[tuple[str, Segment]] = []

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        """They join when it is written that they do."""

    def submit(self, worker: str, job: VersionJob, segment: Segment) -> None:
        self.submitted.append((worker, segment))

    def calibrate(self, worker: str, job: VersionJob) -> None:
        """Nobody measures."""

    def shorten(self, worker: str, segment: Segment, last: int) -> None:
        raise AssertionError(f"{worker} was asked to shorten {segment}")

    def cancel(self, worker: str, segment: Segment) -> None:
        """It is left as it is."""

    def retire(self, worker: str) -> None:
        """It is left as it is."""

    def elsewhere(self, nodes: Collection[str], count: int) -> bool:
        return False

    def cluster(self) -> tuple[str, int]:
        return "script", 1

    def grow(self, count: int) -> int:
        return 0

    def forgo(self) -> None:
        """All have come."""

    def fetch(self, worker: str, job: VersionJob, segment: Segment) -> None:
        """It reads nothing."""

    def wait(self, timeout_seconds: float) -> list[Told]:
        return [self._events.popleft()]

    def close(self) -> None:
        """Nothing runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def driver(script: Script, told: list[Progress], wait_seconds: float = 300.0) -> Driver:
    run = Experiment("p", "v", None, "train.py", "", 0.0, 1.0, Status.FINISHED, main_loop="epoch", epochs=8)
    cutting = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, lambda s: SegmentCost(s, 1.0, 10.0))
    schedule = Schedule(((SegmentCost(WHOLE, 1.0, 80.0),),), 81.0, 81.0)
    jobs = {"v": VersionJob("memory://", "replay-1", run, ())}
    model = CostModel({"v": RecordedVersion(Profile())})
    return Driver(schedule, cutting, model, jobs, script, told.append, wait_seconds=wait_seconds)


def report(first: int, last: int, rows: int = 8) -> SegmentReport:
    return SegmentReport(WHOLE.part(first, last), rows, 0.0, 1.0)


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flor_ray.cluster.driver._TELL_SECONDS", 0.0)


def test_parts_are_answered_as_they_come_and_each_is_reported() -> None:
    told: list[Progress] = []
    script = Script(
        WorkerJoined("x"),
        SegmentAdvanced("x", report(1, 2)),
        SegmentAdvanced("x", report(3, 7)),
        SegmentDone("x", report(8, 8)),
    )
    outcome = driver(script, told).carry_out()
    assert [one.segment for one in outcome.reports] == [WHOLE.part(1, 2), WHOLE.part(3, 7), WHOLE.part(8, 8)]
    assert [stint.ending for stint in outcome.stints] == [Ending.DONE] * 3
    assert [(p.answered, p.values, p.segments) for p in told[1:]] == [(0, 0, 0), (2, 8, 1), (7, 16, 2), (8, 24, 3)]


def test_rows_that_another_worker_has_told_before_count_once() -> None:
    one = driver(Script(), [])
    assert one._fresh(report(1, 2)) == report(1, 2)
    assert one._fresh(report(1, 2)) is None
    assert one._fresh(report(1, 4)) == report(1, 4, rows=4)
    assert one._fresh(report(1, 4)) is None


def test_that_the_store_is_away_is_told_while_workers_wait_and_costs_no_attempt() -> None:
    told: list[Progress] = []
    joined, awaits, back = WorkerJoined("x"), StoreAwaited("x", "It is silent."), StoreAwaited("x", "")
    script = Script(joined, awaits, AWAY, awaits, AWAY, AWAY, AWAY, awaits, back, SegmentDone("x", report(1, 8)))
    outcome = driver(script, told).carry_out()
    assert outcome.failures == []
    assert script.submitted == [("x", WHOLE)] * 5
    silent = "It is silent."
    assert [p.away for p in told[2:]] == [silent, None, silent, None, None, None, silent, None, None]


def test_a_store_that_does_not_come_back_ends_the_replay() -> None:
    script = Script(WorkerJoined("x"), AWAY, AWAY, AWAY)
    with pytest.raises(ReplayError, match=r"The store has not come back, and .* The store is away\. Finished"):
        driver(script, [], wait_seconds=0.0).carry_out()

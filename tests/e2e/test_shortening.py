"""The rest of a running segment is given to another worker, or all of it: no epoch twice, none lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray.cluster.worker import Worker
from flor_ray.errors import Cancelled
from flor_ray.records import Operator, Segment, SegmentReport, Variant
from flor_ray.replaying.job import VersionJob
from tests.conftest import Lab

EPOCHS = 8
SCRIPT = f"""
import time
import flor_ray as flor

state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range({EPOCHS})):
    for step in flor.loop("step", range(2)):
        state["weight"] += epoch
        time.sleep(SECONDS)
    flor.log("weight", state["weight"])
"""
STATEMENT = """        flor.log("seen", (epoch, step, state["weight"]))
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("shortening") / "project")
    lab.record_forked(SCRIPT.replace("SECONDS", "0"))
    return lab


@pytest.fixture
def workers() -> Iterator[tuple[Worker, Worker]]:
    both = Worker(), Worker()
    yield both
    for worker in both:
        worker.close()


def job(lab: Lab, seconds: float = 0.1) -> VersionJob:
    project, (experiment,) = lab.project, lab.experiments()
    checkpoints = project.store.checkpoints(project.name, experiment.version)
    lines = SCRIPT.replace("SECONDS", str(seconds)).splitlines(keepends=True)
    patched = "".join(line + STATEMENT if "time.sleep" in line else line for line in lines)
    return VersionJob(project.store.url, "replay-test", experiment, checkpoints, {"train.py": patched})


def whole(job: VersionJob) -> Segment:
    return Segment(job.experiment.version, 1, EPOCHS, Operator.DP_I, Variant.INNER, restore=0, names=("seen",))


class Running:
    """A segment on its way on a worker."""

    def __init__(self, worker: Worker, job: VersionJob, segment: Segment) -> None:
        self.answer: SegmentReport | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(worker, job, segment))
        self._thread.start()
        self.wait_until(lambda: worker.epoch(segment) > 0)

    def _run(self, worker: Worker, job: VersionJob, segment: Segment) -> None:
        try:
            self.answer = worker.run(job, segment)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.answer = error

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            assert self._thread.is_alive(), self.answer
            time.sleep(0.005)

    def end(self) -> SegmentReport | Exception | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.answer


def test_the_rest_of_a_running_segment_goes_to_another_worker(recorded: Lab, workers: tuple[Worker, Worker]) -> None:
    owner, thief = workers
    work = job(recorded)
    segment = whole(work)
    running = Running(owner, work, segment)
    assert owner.shorten(segment, 4) == 4
    tail = replace(segment, first=5, restore=4)
    stolen = thief.run(work, tail)
    kept = running.end()
    assert isinstance(kept, SegmentReport)
    assert (kept.segment, kept.rows) == (replace(segment, last=4), 4 * 2)
    assert (stolen.segment, stolen.rows) == (tail, 4 * 2)
    found = [(epoch, step, tuple(value)) for epoch, step, _, value in recorded.values("seen")]
    weights = [1.0]
    for epoch in range(EPOCHS):
        weights += [weights[-1] + epoch, weights[-1] + 2 * epoch]
    steps = [(epoch, step) for epoch in range(EPOCHS) for step in range(2)]
    assert found == [(e + 1, s, (e, s, weight)) for (e, s), weight in zip(steps, weights[1:], strict=True)]


def test_a_worker_that_is_further_keeps_the_epoch_that_it_is_in(recorded: Lab, workers: tuple[Worker, Worker]) -> None:
    work = job(recorded)
    segment = whole(work)
    running = Running(workers[0], work, segment)
    running.wait_until(lambda: workers[0].epoch(segment) >= 3)
    left = workers[0].shorten(segment, 1)
    assert left >= 3
    kept = running.end()
    assert isinstance(kept, SegmentReport)
    assert kept.segment.last == left
    # The process is warm and can go on with any other part of the version.
    again = workers[0].run(work, replace(segment, first=2, last=2, restore=1))
    assert (again.rows, again.setup_seconds) == (2, 0)


def test_what_does_not_run_is_not_shortened(recorded: Lab, workers: tuple[Worker, Worker]) -> None:
    work = job(recorded, 0)
    segment = whole(work)
    assert workers[0].shorten(segment, 3) == EPOCHS
    report = workers[0].run(work, segment)
    assert report.segment == segment
    assert workers[0].shorten(segment, 3) == EPOCHS
    assert workers[0].epoch(segment) == 0


def test_a_cancelled_segment_ends_soon_and_writes_nothing(
    recorded: Lab, workers: tuple[Worker, Worker], tmp_path: Path
) -> None:
    work = replace(job(recorded, 100), origin="replay-cancelled")
    segment = whole(work)
    running = Running(workers[0], work, segment)
    began = time.monotonic()
    workers[0].cancel(segment)
    assert isinstance(running.end(), Cancelled)
    assert time.monotonic() - began < 10
    reports = recorded.project.store.logged(recorded.project.name, []).reports
    assert "replay-cancelled" not in {kept.origin for kept in reports}
    # It is of use again, with a new process.
    assert workers[0].run(job(recorded, 0), segment).rows == EPOCHS * 2

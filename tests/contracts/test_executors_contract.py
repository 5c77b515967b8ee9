"""What `Executor` promises the driver, whether workers are threads, processes of this machine, or Ray's actors."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from flor_ray import processes, running
from flor_ray.cluster.executors import Executor, ThreadExecutor, WorkerCalibrated
from flor_ray.cluster.local import LocalExecutor
from flor_ray.errors import UsageError
from flor_ray.records import Limits, Segment
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration
from flor_ray.scheduler.messages import (
    EpochBegun,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentShortened,
    WorkerJoined,
    WorkerLost,
)
from tests.conftest import Lab

SCRIPT = """
import os
import time
import flor_ray as flor

state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(8)):
    for step in flor.loop("step", range(2)):
        state["weight"] += 0.5
    flor.log("weight", state["weight"])
"""
HINDSIGHT = {
    "before": 'flor.log("before", state["weight"])',
    "slow": 'flor.log("slow", time.sleep(0.4))',
    "raises": 'flor.log("raises", print("about to raise") or state["nothing"])',
    "dies": 'flor.log("dies", os.kill(os.getpid(), 9))',
}
SECONDS = 60.0  # for anything to happen


def on_ray() -> Executor:
    from flor_ray.cluster.actors import RayExecutor

    return RayExecutor()


KINDS: dict[str, Callable[[], Executor]] = {"threads": ThreadExecutor, "local": LocalExecutor, "ray": on_ray}
WITH_PROCESSES = ("local", "ray")


@dataclass(frozen=True)
class Work:
    """What a worker is given, for a column of the one recorded version."""

    job: VersionJob
    segment: Segment


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Work]:
    lab = Lab(tmp_path_factory.mktemp("executors") / "project")
    lab.record(SCRIPT)
    found = {}
    for name, statement in HINDSIGHT.items():
        lab.write("train.py", SCRIPT.replace("        state[", f"        {statement}\n        state["))
        prepared = lab.prepare([name])
        (job,) = running.jobs(prepared, f"replay-{name}").values()
        (segment,) = {replace(cost.segment, first=1, last=8) for cost in prepared.costs}
        found[name] = Work(job, segment)
    return found


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return str(request.param)


@pytest.fixture(scope="module")
def executor(kind: str) -> Iterator[Executor]:
    """With one worker that has joined: each test leaves it without work."""
    with KINDS[kind]() as executor:
        executor.start(1, None)
        joined = until(executor, WorkerJoined)
        assert [type(event) for event in joined] == [WorkerJoined]
        yield executor


def until(executor: Executor, wanted: type, seconds: float = SECONDS) -> list[Any]:
    """All events up to the first of a kind."""
    found: list[Any] = []
    deadline = time.monotonic() + seconds
    while not any(isinstance(event, wanted) for event in found):
        assert time.monotonic() < deadline, f"no {wanted.__name__} came, but {found}"
        found += executor.wait(0.5)
    return found


def run(executor: Executor, work: Work, ending: type = SegmentDone) -> list[Any]:
    """What is told of a segment, but for how far it is; the last is how it ended."""
    executor.submit("worker-0", work.job, work.segment)
    found = [event for event in until(executor, ending) if not isinstance(event, EpochBegun)]
    assert executor.wait(0.3) == []  # exactly one end
    return found


def test_a_segment_is_done_once_and_its_rows_are_in_the_store(executor: Executor, works: dict[str, Work]) -> None:
    work = works["before"]
    (done,) = run(executor, work)
    assert (done.worker, done.report.segment, done.report.rows) == ("worker-0", work.segment, 16)
    lab = Lab(Path(work.job.original_root))
    assert [value for *_, value in lab.values("before")] == [1.0 + 0.5 * n for n in range(16)]


def test_parts_of_a_segment_are_told_in_their_order_before_its_end(executor: Executor, works: dict[str, Work]) -> None:
    work = works["before"]
    job = replace(work.job, origin="replay-parts", limits=Limits(commit_seconds=0.0))
    *parts, done = run(executor, Work(job, work.segment))
    assert [type(event) for event in parts] == [SegmentAdvanced] * 7
    assert [event.report.segment for event in (*parts, done)] == [work.segment.part(e, e) for e in range(1, 9)]
    lab = Lab(Path(job.original_root))
    assert [value for *_, value in lab.values("before")] == [1.0 + 0.5 * n for n in range(16)]


def test_a_segment_that_fails_late_has_told_what_was_written_of_it(executor: Executor, works: dict[str, Work]) -> None:
    job = replace(works["slow"].job, origin="replay-late", limits=Limits(seconds=4.5, commit_seconds=0.0))
    executor.submit("worker-0", job, works["slow"].segment)
    found = [event for event in until(executor, SegmentFailed) if not isinstance(event, EpochBegun)]
    assert executor.wait(0.3) == []
    parts, failed = found[:-1], found[-1]
    assert "its time limit is 4.5 s" in failed.error
    assert [event.report.segment.first for event in parts] == [*range(1, len(parts) + 1)]
    lab = Lab(Path(job.original_root))
    kept = [one for one in lab.project.store.logged(lab.project.name, ["slow"]).reports if one.origin == job.origin]
    assert len(parts) <= len(kept) <= len(parts) + 1  # the limit may fall between writing a part and telling of it


def test_how_far_a_segment_is_is_told_epoch_by_epoch(executor: Executor, works: dict[str, Work]) -> None:
    executor.submit("worker-0", works["slow"].job, works["slow"].segment)
    *begun, done = until(executor, SegmentDone)
    assert isinstance(done, SegmentDone)
    assert len(begun) >= 3
    assert all(isinstance(event, EpochBegun) and event.segment == works["slow"].segment for event in begun)
    epochs = [event.epoch for event in begun]
    assert epochs == sorted(set(epochs))
    assert {*epochs} <= {*range(1, 9)}


def test_a_script_that_raises_has_failed_for_good_and_its_output_is_kept(
    kind: str, executor: Executor, works: dict[str, Work]
) -> None:
    (failed,) = run(executor, works["raises"], SegmentFailed)
    assert (failed.worker, failed.segment, failed.retryable) == ("worker-0", works["raises"].segment, False)
    assert "KeyError" in failed.error
    place = re.search(r"\nIts last output:\nabout to raise\n\(All of it is in (\S+) on \S+\.\)", failed.error)
    assert place is not None, failed.error
    kept = Path(place[1])
    assert "about to raise\n" in kept.read_text()
    assert (kept.parent.name == "logs") == (kind == "ray")  # of Ray's session


def test_a_script_whose_process_is_killed_may_be_tried_again(executor: Executor, works: dict[str, Work]) -> None:
    (failed,) = run(executor, works["dies"], SegmentFailed)
    assert failed.retryable
    assert "was killed by SIGKILL" in failed.error


def test_a_segment_that_exceeds_its_limit_has_failed(executor: Executor, works: dict[str, Work]) -> None:
    limited = replace(works["slow"], job=replace(works["slow"].job, limits=Limits(1.5)))
    (failed,) = run(executor, limited, SegmentFailed)
    assert "its time limit is 1.5 s" in failed.error


def test_a_segment_that_is_shortened_ends_where_the_answer_says(executor: Executor, works: dict[str, Work]) -> None:
    work = works["slow"]
    executor.submit("worker-0", work.job, work.segment)
    until(executor, EpochBegun)
    executor.shorten("worker-0", work.segment, 4)
    answer = next(event for event in until(executor, SegmentShortened) if isinstance(event, SegmentShortened))
    assert answer.segment == work.segment
    assert 4 <= answer.last < 8
    done = until(executor, SegmentDone)[-1]
    assert done.report.segment == replace(work.segment, last=answer.last)


def test_a_segment_that_is_cancelled_is_left_and_writes_nothing(executor: Executor, works: dict[str, Work]) -> None:
    work = replace(works["slow"], job=replace(works["slow"].job, origin="replay-cancelled"))
    executor.submit("worker-0", work.job, work.segment)
    until(executor, EpochBegun)
    executor.cancel("worker-0", work.segment)
    cancelled = until(executor, SegmentCancelled)[-1]
    assert (cancelled.worker, cancelled.segment) == ("worker-0", work.segment)
    lab = Lab(Path(work.job.original_root))
    assert "replay-cancelled" not in {kept.origin for kept in lab.project.store.logged(lab.project.name, []).reports}


def test_a_worker_says_what_its_class_takes_before_it_runs_what_comes_next(
    executor: Executor, works: dict[str, Work]
) -> None:
    executor.calibrate("worker-0", works["before"].job)
    calibrated, done = run(executor, works["before"])
    assert isinstance(calibrated, WorkerCalibrated)
    assert isinstance(calibrated.found, Calibration)
    assert (calibrated.worker, done.worker) == ("worker-0", "worker-0")


@pytest.mark.parametrize("kind", WITH_PROCESSES, indirect=True)
def test_a_worker_that_is_killed_is_lost_once_and_another_one_joins(kind: str, works: dict[str, Work]) -> None:
    with KINDS[kind]() as executor:
        executor.start(1, None)
        until(executor, WorkerJoined)
        executor.submit("worker-0", works["slow"].job, works["slow"].segment)
        until(executor, EpochBegun)
        killed = executor.pids["worker-0"]  # type: ignore[attr-defined]
        assert len(_folders_of(killed)) == 2
        os.kill(killed, signal.SIGKILL)
        found = until(executor, WorkerLost)
        found += [] if any(isinstance(event, WorkerJoined) for event in found) else until(executor, WorkerJoined)
        assert [event.worker for event in found if isinstance(event, WorkerLost)] == ["worker-0"]
        (other,) = {event.worker for event in found if isinstance(event, WorkerJoined)}
        executor.submit(other, works["before"].job, works["before"].segment)
        assert until(executor, SegmentDone)[-1].worker == other
        assert _folders_of(killed) == []


def _folders_of(process: int) -> list[str]:
    return [name for name in os.listdir(tempfile.gettempdir()) if processes.owner(name) == process]


@pytest.mark.parametrize("kind", WITH_PROCESSES, indirect=True)
def test_a_worker_that_is_not_needed_any_more_ends_at_once(kind: str) -> None:
    """What it holds, a GPU above all, is somebody else's then."""
    with KINDS[kind]() as executor:
        executor.start(1, None)
        until(executor, WorkerJoined)
        (retired,) = executor.pids.values()  # type: ignore[attr-defined]
        executor.retire("worker-0")
        deadline = time.monotonic() + SECONDS
        while psutil.pid_exists(retired) and psutil.Process(retired).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "it is still there"
            executor.wait(0.2)


@pytest.mark.parametrize("kind", ["ray"], indirect=True)
def test_an_actor_that_answers_no_question_is_ended_and_replaced(
    kind: str, works: dict[str, Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = works["slow"]
    with KINDS[kind]() as executor:
        executor.start(1, None)
        until(executor, WorkerJoined)
        executor.submit("worker-0", work.job, work.segment)
        until(executor, EpochBegun)
        monkeypatch.setattr("flor_ray.cluster.actors._ANSWER_SECONDS", 2.0)
        (hanging,) = executor.pids.values()  # type: ignore[attr-defined]
        os.kill(hanging, signal.SIGSTOP)
        try:
            executor.cancel("worker-0", work.segment)
            assert until(executor, WorkerLost)[-1] == WorkerLost("worker-0")
            monkeypatch.undo()
            assert until(executor, WorkerJoined)[-1].worker == "worker-1"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(hanging, signal.SIGKILL)


def test_close_ends_what_runs_and_removes_its_files(kind: str, works: dict[str, Work]) -> None:
    work = replace(works["slow"], job=replace(works["slow"].job, origin="replay-closed"))

    def folders() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob(f"flor-{work.job.experiment.version[:8]}-*"))

    others = folders()  # of workers that keep what they ran last
    with KINDS[kind]() as executor:
        executor.start(1, None)
        until(executor, WorkerJoined)
        executor.submit("worker-0", work.job, work.segment)
        until(executor, EpochBegun)
        own = folders() - others
        assert len(own) == 1
    deadline = time.monotonic() + SECONDS
    while own & folders():
        assert time.monotonic() < deadline, "something of it still runs"
        time.sleep(0.1)
    lab = Lab(Path(work.job.original_root))
    assert "replay-closed" not in {kept.origin for kept in lab.project.store.logged(lab.project.name, []).reports}


@pytest.mark.parametrize("kind", WITH_PROCESSES, indirect=True)
def test_more_workers_than_there_is_room_for_are_refused(kind: str) -> None:
    with KINDS[kind]() as executor, pytest.raises(UsageError, match=r"99 workers were asked for, (and|but)"):
        executor.start(99, None)


@pytest.mark.parametrize("kind", ["threads", "local"], indirect=True)
def test_packages_that_only_ray_can_install_are_refused(kind: str, works: dict[str, Work]) -> None:
    with KINDS[kind]() as executor:
        executor.start(1, None)
        job = replace(works["before"].job, packages=("toolz==0.11.0",))
        with pytest.raises(UsageError, match=r"toolz==0\.11\.0 would be needed"):
            executor.submit("worker-0", job, works["before"].segment)


def test_local_workers_that_were_planned_or_given_back_can_be_asked_for_later() -> None:
    with LocalExecutor() as executor:
        executor.start(1, None, later=1)
        assert executor.grow(5) == 1
        joined: list[str] = []
        end = time.monotonic() + SECONDS
        while len(joined) < 2:
            assert time.monotonic() < end
            joined += [event.worker for event in executor.wait(0.5) if isinstance(event, WorkerJoined)]
        assert executor.grow(1) == 0
        executor.retire(joined[0])
        assert executor.grow(1) == 1
        assert executor.cluster()[1] == os.cpu_count()

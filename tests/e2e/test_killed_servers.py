"""Killed at the worst moment, a server from which replay processes are forked, or one of them, costs an attempt, and no
segment."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flor_ray import running
from flor_ray.cluster.executors import failure
from flor_ray.cluster.worker import Worker
from flor_ray.errors import ProcessKilled
from flor_ray.records import Segment
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.warm import WarmServer
from flor_ray.scheduler.messages import SegmentFailed
from tests.conftest import Lab

SCRIPT = """
import flor_ray as flor
state = {"total": 0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        state["total"] += step
    flor.log("total", state["total"])
"""


def asked(lab: Lab) -> tuple[VersionJob, Segment]:
    """A recorded version that a statement was added to, and the one segment that answers it."""
    lab.record_forked(SCRIPT)
    step = "        state["
    lab.write("train.py", SCRIPT.replace(step, f'        flor.log("before", state["total"])\n{step}'))
    prepared = lab.prepare(["before"])
    (job,) = running.jobs(prepared, "replay-servers").values()
    (cost,) = prepared.costs
    return job, cost.segment


def test_a_process_that_went_with_its_server_is_tried_again(lab: Lab) -> None:
    job, segment = asked(lab)
    first, second = (replace(segment, first=n, last=n, restore=n - 1) for n in (1, 2))
    worker = Worker()
    try:
        assert worker.run(job, first, lambda report: None).rows == 2
        process = worker._process
        assert process is not None
        (server,) = worker._servers._by_environment.values()
        folder = Path(process._folder.path)
        os.kill(server.pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while folder.exists() and time.monotonic() < until:
            time.sleep(0.05)  # who is abandoned removes what is its own
        assert not folder.exists()
        with pytest.raises(ProcessKilled) as killed:
            worker.run(job, second, lambda report: None)
        assert _is_tried_again(second, killed.value)
        assert worker.run(job, second, lambda report: None).rows == 2
    finally:
        worker.close()


def test_a_process_that_is_killed_before_it_knows_its_task_is_tried_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, segment = asked(lab)
    fork, killed = WarmServer.fork, list[int]()

    def fork_and_kill(server: WarmServer, *arguments: Any) -> Any:
        process = fork(server, *arguments)
        if not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
        return process

    monkeypatch.setattr(WarmServer, "fork", fork_and_kill)
    worker = Worker()
    try:
        with pytest.raises(ProcessKilled) as ended:
            worker.run(job, segment, lambda report: None)
        assert _is_tried_again(segment, ended.value)
        assert worker.run(job, segment, lambda report: None).rows == 6
    finally:
        worker.close()
    assert killed


def _is_tried_again(segment: Segment, error: ProcessKilled) -> bool:
    told = failure("worker", segment, error)
    return isinstance(told, SegmentFailed) and told.retryable

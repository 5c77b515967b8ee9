"""Workers that are not there yet, come later, or are held by others: a replay waits for them, counts on what it gets,
and takes what joins it. Real head nodes, with nodes that are processes of this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster import demand, driver
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.replaying.job import VersionJob
from flor_ray.reports import timelines
from tests.bench_modules import bench_module
from tests.conftest import Lab, keep_usual_calibration
from tests.ray_heads import RayHead

pytestmark = pytest.mark.timeout(400)

SCRIPT = """
import os
import time
import flor_ray as flor

flor.arg("rate", 1)
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    state["weight"] /= 2
    flor.log("loss", state["weight"])
"""
SLOW = '    flor.log("slow", (time.sleep(1.0), state["weight"])[1])\n'
HOLD = """
import ray, sys
ray.init(log_to_driver=False)
@ray.remote(num_cpus=float(sys.argv[1]))
class Somebody:
    def here(self): return True
somebody = Somebody.remote()
print(ray.get(somebody.here.remote()), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with RayHead("--object-store-memory=80000000", "--num-gpus=0", cpus=1) as head:
        yield head


@pytest.fixture
def project(tmp_path: Path, head: RayHead) -> Lab:
    lab = Lab(tmp_path / "project")
    for rate in range(4):
        lab.record_forked(SCRIPT, "--kwargs", f"rate={rate}")
    lab.write("train.py", SCRIPT + SLOW)
    lab.write("flor.yaml", f"address: {head.address}\n")
    keep_usual_calibration(lab.project)
    return lab


def workers(project: Lab) -> set[str]:
    """Those that have run something in the latest replay."""
    timeline = timelines.newest(project.project.store.files, project.project.name)
    return set() if timeline is None else {stint.worker for stint in timeline.stints}


def ask(project: Lab, head: RayHead, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flor_ray.cli", "replay", "slow", "--yes", *options]
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Holder:
    """Somebody else, who holds CPUs of the head from `with` to the end of its block."""

    def __init__(self, head: RayHead, cpus: float) -> None:
        variables = head.environment | {"RAY_ADDRESS": head.address}
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(cpus)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Holder:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "True"
        time.sleep(0.5)  # until Ray tells of it
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(30)


def test_while_others_hold_everything_the_replay_waits_and_begins_when_it_is_given_back(
    head: RayHead, project: Lab
) -> None:
    with Holder(head, 1) as holder:
        asked = ask(project, head)
        time.sleep(8.0)
        assert asked.poll() is None
        holder.give_back()
        said, _ = asked.communicate(timeout=200)
    assert "It counts on 1 worker with 1 CPU. Others hold all that they need" in said
    assert list(project.frame("slow")["slow"]) == [0.5, 0.25, 0.125] * 4, said


def test_a_replay_that_gets_no_worker_ends_after_the_wait_with_what_to_do(head: RayHead, project: Lab) -> None:
    with Holder(head, 1):
        said, _ = ask(project, head, "--wait", "3s").communicate(timeout=200)
    assert re.search(
        r"There has been no worker for 3 s\. 1 worker had been asked of the cluster: `ray status`", said
    ), said
    assert "--wait" in said


LESS_AND_MORE = """
import time
from flor_ray.cluster import actors
from flor_ray.cluster.actors import RayExecutor
from flor_ray.scheduler.messages import WorkerJoined

actors._GROW_SECONDS = 0.0

def joined(executor, wanted, seconds):
    found, until = set(), time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < until:
        found |= {event.worker for event in executor.wait(0.3) if isinstance(event, WorkerJoined)}
    return sorted(found)

with RayExecutor(scales_to=2) as executor:  # which is not so: one of them waits for ever
    executor.start(2, None)
    print(len(joined(executor, 2, 15)), executor.grow(1))  # the other one is to have what becomes free
    executor.forgo()
    (first,) = executor.pids
    print(executor.grow(1), joined(executor, 1, 1))  # nothing is free
    executor.retire(first)
    until = time.monotonic() + 60
    while not (grown := executor.grow(4)) and time.monotonic() < until:
        time.sleep(0.2)
    print(grown, len(joined(executor, 1, 60)))
"""


def test_who_is_not_there_yet_can_be_done_without_and_what_a_retired_worker_held_is_free(head: RayHead) -> None:
    variables = head.environment | {"RAY_ADDRESS": head.address}
    done = subprocess.run(
        [sys.executable, "-c", LESS_AND_MORE], env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["1 0", "0 []", "1 1"], done.stderr


def test_a_node_that_joins_in_mid_replay_is_given_work(head: RayHead, project: Lab) -> None:
    """The last test of this head: the node stays."""
    for rate in range(4, 16):
        project.record_forked(SCRIPT, "--kwargs", f"rate={rate}")
    project.write("train.py", SCRIPT + SLOW)
    asked = ask(project, head)
    head.add_node("--object-store-memory=80000000", "--num-gpus=0", cpus=1)
    said, _ = asked.communicate(timeout=300)
    assert list(project.frame("slow")["slow"]) == [0.5, 0.25, 0.125] * 16, said
    assert "on 1 worker (" in said
    assert "Note: Planned for 1 worker; 2 are there." in said
    assert len(workers(project)) == 2


class OneComes(ThreadExecutor):
    """Of the workers that were planned, one."""

    grown = forgone = 0

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        super().start(1, first)

    def grow(self, count: int) -> int:
        self.grown += 1
        return 0

    def forgo(self) -> None:
        self.forgone += 1


def test_while_something_is_left_more_workers_are_asked_for_and_then_not_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_FORGO_SECONDS", 0.2)
    monkeypatch.setattr(demand, "_SETTLING_SECONDS", 0.0)
    lab = Lab(tmp_path / "project")
    for rate in range(2):
        lab.record_forked(SCRIPT, "--kwargs", f"rate={rate}")
    lab.write("train.py", SCRIPT + SLOW)
    executor = OneComes()
    outcome = pipeline.run(lab.prepare(["slow"], workers=2), executor)
    assert outcome.notes == ["Planned for 2 workers; 1 worker at most came."]
    assert executor.grown > 0
    assert executor.forgone > 0
    assert list(lab.frame("slow")["slow"]) == [0.5, 0.25, 0.125] * 2


def test_a_cluster_without_gpus_that_starts_two_is_planned_for_both_and_waited_for(tmp_path: Path) -> None:
    autoscaling = bench_module("clustering.autoscaling")
    found = autoscaling.query(tmp_path)
    assert autoscaling.holds(found), found

"""What each worker gets of a cluster, on a real head node that says it has GPUs: flor.yaml's gpus, cpus, memory and
accelerators."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Lab
from tests.ray_heads import RayHead

pytestmark = pytest.mark.timeout(400)

SCRIPT = """
import os
import flor_ray as flor

flor.arg("rate", 1)
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(2)):
    state["weight"] /= 2
    flor.log("loss", state["weight"])
"""
HINDSIGHT = SCRIPT + '    flor.log("devices", os.getenv("CUDA_" + "VISIBLE_DEVICES"))\n'


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    kind = '--resources={"accelerator_type:T4": 1}', "--labels=ray.io/accelerator-type=T4"
    with RayHead("--num-gpus=2", "--memory=4000000000", *kind) as head:
        yield head


@pytest.fixture
def project(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "project")
    for rate in range(3):
        lab.record(SCRIPT, "--kwargs", f"rate={rate}")
    lab.write("train.py", HINDSIGHT)
    return lab


def replay(head: RayHead, project: Lab, settings: str, *options: str) -> str:
    project.write("flor.yaml", f"address: {head.address}\n{settings}")
    done = project.cli("replay", "devices", "--yes", *options, check=False, **head.environment)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "workers", "devices"),
    [
        ("gpus: 0.5\naccelerators: [T4, A100]\n", 4, {"0", "1"}),
        ("gpus: 2\naccelerators: [T4]\nmemory: 3GB\n", 1, {"0,1"}),
        ("gpus: 0\ncpus: 0.5\n", 4, {""}),
    ],
)
def test_each_worker_gets_its_share_and_there_is_room_for_as_many_as_follows(
    head: RayHead, project: Lab, settings: str, workers: int, devices: set[str]
) -> None:
    said = replay(head, project, settings, "--workers", str(workers + 1))
    assert said.startswith(
        f"Error: {workers + 1} workers were asked for, but the cluster has room for {workers}, with "
    )
    said = replay(head, project, settings)
    frame = project.frame("devices")
    assert frame["devices"].notna().all(), said
    assert set(frame["devices"]) <= devices


COUNT = """
import time
from flor_ray.cluster.actors import RayExecutor
from flor_ray.records import WorkerShape
from flor_ray.scheduler.messages import WorkerJoined

with RayExecutor(WorkerShape(gpus=0.25)) as executor:
    executor.start(6, None)
    joined, deadline = set(), time.monotonic() + 120
    while len(joined) < 6 and time.monotonic() < deadline:
        joined |= {(event.worker, event.kind) for event in executor.wait(1.0) if isinstance(event, WorkerJoined)}
print(len(joined), *{kind for _, kind in joined})
"""


def test_workers_with_gpus_need_no_cpus(head: RayHead) -> None:
    """The node has two. Unless it is told otherwise, Ray takes one for each worker that has a GPU. They know which part
    of which GPU is theirs."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        env=head.environment | {"RAY_ADDRESS": head.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["6", "T4", "x", "0.25"], done.stderr


@pytest.mark.parametrize(
    ("settings", "options", "sentence"),
    [
        ("gpus: 1\n", ("--gpus", "3"), "Error: Each worker is to get 3 GPUs, and no node of the cluster has that ("),
        (
            "accelerators: [H100]\n",
            (),
            "Error: Each worker is to get 1 GPU of type H100, and no node of the cluster has",
        ),
        ("memory: 5GB\nworkers: 1\n", (), "Error: Each worker is to get 1 GPU and 5.4 GB of memory, and no node"),
        (
            "cpus: 2\nworkers: 2\n",
            (),
            "Error: 2 workers were asked for, but the cluster has room for 1, with 1 GPU and 2 CPU",
        ),
        (
            "",
            ("--gpus", "1.5"),
            "Error: gpus should be a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3; it is 1.5.",
        ),
    ],
)
def test_what_no_node_has_is_refused_at_once(
    head: RayHead, project: Lab, settings: str, options: tuple[str, ...], sentence: str
) -> None:
    began = time.monotonic()
    said = replay(head, project, settings, *options)
    assert said.startswith(sentence)
    assert time.monotonic() - began < 30

"""A cluster without GPUs whose autoscaler may start two nodes with one each: the query waits, starts and ends.

A real head node, Ray's own autoscaler, and nodes that are processes of this machine and say that they have a GPU. The
user says nothing of GPUs, nor of how far the cluster grows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Lab, keep_usual_calibration
from tests.ray_heads import RayHead

GPUS = 2
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
SLOW = '    flor.log("devices", (time.sleep(0.5), os.getenv("CUDA_" + "VISIBLE_DEVICES"))[1])\n'  # to be carried to all
_VERSIONS = 4
_COUNT = "import ray; ray.init(log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"


@dataclass(frozen=True, slots=True)
class Scaled:
    """What became of the query."""

    said: str  # the plan, and what was told meanwhile
    devices: tuple[object, ...]  # that each (version, epoch) saw
    started: int  # nodes that the autoscaler has started
    seconds: float  # from the question to the answer, nodes' starts included


def query(folder: Path) -> Scaled:
    """Ask it of a new cluster; the repository is made in the folder."""
    lab = Lab(folder / "project")
    for rate in range(_VERSIONS):
        lab.record_forked(SCRIPT, "--kwargs", f"rate={rate}")
    lab.write("train.py", SCRIPT + SLOW)
    with RayHead("--object-store-memory=80000000", cpus=1, starts={"CPU": 1, "GPU": 1}) as head:
        lab.write("flor.yaml", f"address: {head.address}\nwait: 4m\n")
        keep_usual_calibration(lab.project)
        began = time.monotonic()
        asked = [sys.executable, "-m", "flor_ray.cli", "replay", "devices", "--yes"]
        done = lab.run(asked, lab.root, head.environment, check=False, seconds=400)
        seconds = time.monotonic() - began
        variables = head.environment | {"RAY_ADDRESS": head.address}
        nodes = subprocess.run(
            [sys.executable, "-c", _COUNT], env=variables, capture_output=True, text=True, check=True
        )
    devices = tuple(lab.frame("devices")["devices"]) if done.returncode == 0 else ()
    return Scaled(done.stdout + done.stderr, devices, int(nodes.stdout) - 1, seconds)


def holds(found: Scaled) -> bool:
    """Whether it was planned for the GPUs that were to come, they came, and every epoch was answered on one of them."""
    planned = f"It counts on {GPUS} workers with 1 GPU each: all of them come on nodes that the cluster starts"
    answered = set(found.devices) == {"0"} and len(found.devices) == 3 * _VERSIONS
    return planned in found.said and answered and found.started == GPUS


def measure(quick: bool) -> dict[str, object]:
    """For bench/cluster.py. One query, quick or not."""
    with tempfile.TemporaryDirectory(prefix="flor-") as folder:
        found = query(Path(folder))
    return {"autoscaled_from_nothing": holds(found), "autoscaled_seconds": round(found.seconds, 1)}

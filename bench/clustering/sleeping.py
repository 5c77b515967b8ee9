"""Projects whose scripts sleep instead of training: cheap, and with values that are the same in each replay.

A version's state is a number that each step moves on, by the version's own seed; epoch by epoch it is in a checkpoint,
so that each epoch can be a segment of its own. The hindsight statement in them logs the state before each step, and
sleeps: what it answers is known without running anything, and what it takes is chosen.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flor_ray import pipeline
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import SegmentCost
from flor_ray.scheduler import packing
from flor_ray.store.project import Project
from tests.conftest import environment, keep_usual_calibration, script_server
from tests.forking import RECORDING, Request

NAME = "before"
STEPS = 2
SCRIPT = f"""
import os
import time
import flor_ray as flor

seed = flor.arg("seed", 1)
state = {{"number": seed}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(int(os.environ.get("EPOCHS", "12")))):
    for step in flor.loop("step", range({STEPS})):
        state["number"] = (state["number"] * 48271 + epoch) % 2147483647
    flor.log("number", state["number"])
"""
_STEP = '        state["number"] ='


def hindsight(seconds: float) -> str:
    """The script with the statement in it: an epoch of it sleeps so long."""
    statement = f'        flor.log("{NAME}", time.sleep({seconds / STEPS}) or state["number"])\n'
    return SCRIPT.replace(_STEP, statement + _STEP)


def record(root: Path, versions: int, epochs: int, seconds: float, store_url: str | None = None) -> Project:
    """A repository with so many recorded versions, whose newest code has the hindsight statement."""
    root.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    script = root / "train.py"
    script.write_text(SCRIPT)
    store = {} if store_url is None else {"FLOR_RAY_STORE": store_url}
    for seed in range(1, versions + 1):
        arguments = ("--flor", f"run{seed}", "--kwargs", f"seed={seed}")
        variables = environment(EPOCHS=str(epochs), **store)
        output = root.parent / "output.txt"
        ended = script_server(RECORDING).run(Request("train.py", arguments, str(root), variables, str(output)))
        if ended != 0:
            raise RuntimeError(f"a run could not be recorded: {output.read_text()}")
    script.write_text(hindsight(seconds))
    project = Project.open(str(root), store_url)
    keep_usual_calibration(project)
    return project


def prepared(project: Project, workers: int, seconds: float, epochs: int = 1) -> Prepared:
    """The question for the statement's values, in segments of so many epochs, each of which is expected to take so
    long."""
    found = pipeline.prepare(project, [NAME], terms=Terms(workers))
    cutting = found.scheduled.cutting
    costs: list[SegmentCost] = []
    for whole in found.costs:
        for segment in cutting.cut(whole.segment, cutting.points(whole.segment)[epochs - 1 :: epochs]):
            took = seconds * (segment.last - segment.first + 1)
            costs.append(replace(cutting.cost(segment), run_seconds=took, setup_seconds=0.0))
    schedule = packing.pack(costs, workers)
    return replace(found, scheduled=replace(found.scheduled, schedule=schedule))


def expected(versions: int, epochs: int) -> list[tuple[int, int, int, int]]:
    """What the statement logs: seed, epoch, step, value; in order."""
    rows: list[tuple[int, int, int, int]] = []
    for seed in range(1, versions + 1):
        number = seed
        for epoch in range(epochs):
            for step in range(STEPS):
                rows.append((seed, epoch + 1, step, number))
                number = (number * 48271 + epoch) % 2147483647
    return rows


def workers_alive(pids: Sequence[int]) -> list[int]:
    """Which of these processes are there."""
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]

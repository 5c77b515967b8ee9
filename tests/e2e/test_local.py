"""Replays on worker processes of this machine, as they run where there is no cluster: the same table as on Ray."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flor_ray import asked_terms, filling, lookup, pipeline
from flor_ray.cluster.driver import Progress
from flor_ray.cluster.local import LocalExecutor
from flor_ray.cluster.places import LOCAL, Place
from flor_ray.errors import UsageError
from flor_ray.planning import calibrations
from flor_ray.planning.terms import Terms
from flor_ray.scheduler.calibration import Calibration
from flor_ray.store.project import Project
from tests.conftest import Lab, environment

SCRIPT = """
import random
import time
import flor_ray as flor

rate = flor.arg("rate", 1)
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        time.sleep(0.05)
        state["weight"] += rate * random.random()
    flor.log("weight", state["weight"])
"""
HINDSIGHT = SCRIPT.replace("        time.sleep", '        flor.log("before", state["weight"])\n        time.sleep')


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = Lab(tmp_path_factory.mktemp("local") / "project")
    for rate in range(1, 5):
        lab.record(SCRIPT, "--flor", f"rate{rate}", "--kwargs", f"rate={rate}")
    lab.write("train.py", HINDSIGHT)
    return lab.root


@pytest.fixture
def root(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "copy")
    return tmp_path / "copy"


def table(root: Path) -> pd.DataFrame:
    frame = lookup.dataframe("before", "weight", path=str(root))
    return frame.drop(columns="timestamp").reset_index(drop=True)


def command(root: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """A command line and its environment, in which no cluster is at hand, whatever other tests have started."""
    variables = {n: v for n, v in environment(PYTHONUNBUFFERED="1").items() if n != "RAY_ADDRESS"}
    return [sys.executable, "-m", "flor_ray.cli", *arguments], variables | {"RAY_TMPDIR": str(root)}


def test_the_table_is_the_same_as_on_ray(root: Path, recorded: Path, ray_cluster: None, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "ray")
    on_ray = filling.replay(["before"], workers=2, path=str(tmp_path / "ray"))
    local = filling.replay(["before"], workers=2, path=str(root), executor="local")
    assert (on_ray.attrs["executor"], local.attrs["executor"]) == ("ray", "local")
    same = ["run", "version", "rows", "fidelity", "outcome"]
    pd.testing.assert_frame_equal(local[same], on_ray[same])
    assert list(local["outcome"]) == ["replayed"] * 4
    assert table(root)["before"].notna().all()
    pd.testing.assert_frame_equal(table(root), table(tmp_path / "ray"))


def test_a_short_replay_without_a_cluster_runs_here_and_says_so_in_one_line(root: Path) -> None:
    words, variables = command(root, "replay", "before", "--workers", "1")
    done = subprocess.run(words, cwd=root, env=variables, capture_output=True, text=True, check=True, timeout=100)
    said = [line for line in done.stdout.splitlines() if "of this machine" in line]
    assert said == ["Running on 1 worker process of this machine: starting Ray would take longer (--ray does so)."]
    assert table(root)["before"].notna().all()


def test_what_starting_workers_takes_is_in_the_estimate_and_is_learned(root: Path) -> None:
    told: list[Progress] = []
    prepared = pipeline.prepare(Project.open(str(root)), ["before"], terms=Terms(2))
    totals = pipeline.explained(prepared, Place(LOCAL)).totals
    began = time.monotonic()
    outcome = pipeline.run(prepared, LOCAL, told.append)
    took = time.monotonic() - began
    assert outcome.failures == []
    assert (told[0].workers, told[0].awaited, told[-1].awaited) == (0, 2, 0)
    assert told[0].left.interval == pytest.approx((totals.makespan_low_seconds, totals.makespan_high_seconds), rel=0.1)
    assert totals.ready_seconds > 1.0  # of what nothing is known yet
    assert totals.makespan_seconds > prepared.schedule.makespan_seconds + 1.0
    (kept,) = calibrations.kept(prepared.project.store.files).values()
    assert kept.starts[LOCAL].count == 1
    assert 0 < kept.starts[LOCAL].value < took
    assert kept.off.count == Calibration().off.count + 1
    again = pipeline.prepare(Project.open(str(root)), ["before"], terms=Terms(2), again=True)
    start = pipeline.explained(again, Place(LOCAL)).totals.ready_seconds - again.schedule.slots[0].ready_seconds
    assert start == pytest.approx(kept.starts[LOCAL].value)


def test_a_deadline_is_kept_with_the_start_of_workers(root: Path) -> None:
    with pytest.raises(UsageError, match=r"by a deadline of 1\.0 s: workers take about 2\.0 s to start"):
        pipeline.prepare(Project.open(str(root)), ["before"], terms=Terms(1, deadline_seconds=1.0, way=LOCAL))
    assert asked_terms.parse_terms(1, deadline="1s", executor=LOCAL).way == LOCAL


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on_with_the_rest(root: Path) -> None:
    words, variables = command(root, "replay", "before", "--workers", "1", "--yes", "--local")
    process = subprocess.Popen(
        words, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert any(re.match(r"Replaying: [1-9]\d* of 16 rows", line) for line in process.stdout)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (130, "Stopped. What was finished is kept.")
    assert time.monotonic() - began < 30  # nothing that runs is waited for
    some = table(root)["before"].notna().sum()
    assert 0 < some < 4 * 4 * 3
    again = subprocess.run(words, cwd=root, env=variables, capture_output=True, text=True, check=True, timeout=100)
    rest = re.search(r"Replaying: 0 of (\d+) rows", again.stdout)
    assert rest is not None
    assert 0 < int(rest[1]) < 16
    assert table(root)["before"].notna().all()


def run(root: Path, meanwhile: Callable[[LocalExecutor, Progress], None]) -> None:
    prepared = pipeline.prepare(Project.open(str(root)), ["before"], terms=Terms(2))
    executor = LocalExecutor()
    outcome = pipeline.run(prepared, executor, lambda progress: meanwhile(executor, progress))
    assert outcome.failures == []


def test_killing_a_worker_in_mid_replay_leaves_no_hole(root: Path) -> None:
    killed: list[int] = []

    def kill_one(executor: LocalExecutor, progress: Progress) -> None:
        if progress.answered >= 1 and not killed and executor.pids:
            killed.append(next(iter(executor.pids.values())))
            os.kill(killed[0], signal.SIGKILL)

    run(root, kill_one)
    assert len(killed) == 1
    assert table(root)["before"].notna().all()


def test_workers_end_when_their_driver_is_killed(root: Path) -> None:
    code = (
        "import time\nfrom flor_ray.cluster.local import LocalExecutor\n"
        "executor = LocalExecutor()\nexecutor.start(1, None)\nwhile not executor.pids:\n    executor.wait(1.0)\n"
        "print(*executor.pids.values(), flush=True)\ntime.sleep(100)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}/cmdline").exists() and b"local" in Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)

"""The same table whatever the cluster does: one worker, two, and workers that are killed in the middle."""

from __future__ import annotations

import contextlib
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

from flor_ray import filling, lookup, pipeline
from flor_ray.cluster import actors, joining
from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.driver import Progress
from flor_ray.errors import ReplayError, UsageError
from flor_ray.planning.terms import Terms
from flor_ray.records import Outcome
from flor_ray.scheduler.messages import WorkerDraining
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
    lab = Lab(tmp_path_factory.mktemp("ray") / "project")
    for rate in range(1, 7):
        lab.record(SCRIPT, "--flor", f"rate{rate}", "--kwargs", f"rate={rate}")
    lab.write("train.py", HINDSIGHT)
    return lab.root


def copy(recorded: Path, folder: Path) -> Path:
    shutil.copytree(recorded, folder / "copy")
    return folder / "copy"


def table(root: Path) -> pd.DataFrame:
    frame = lookup.dataframe("before", "weight", path=str(root))
    return frame.drop(columns="timestamp").reset_index(drop=True)


@pytest.fixture(scope="module")
def one_worker(recorded: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> pd.DataFrame:
    root = copy(recorded, tmp_path_factory.mktemp("one"))
    summary = filling.replay(["before"], workers=1, path=str(root))
    assert list(summary["outcome"]) == ["replayed"] * 6
    return table(root)


def run_on_ray(root: Path, meanwhile: Callable[[RayExecutor, Progress], None]) -> Outcome:
    from flor_ray.store.project import Project

    prepared = pipeline.prepare(Project.open(str(root)), ["before"], terms=Terms(2))
    executor = RayExecutor()
    return pipeline.run(prepared, executor, lambda progress: meanwhile(executor, progress))


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout
    return [int(child) for child in found.split()]


def servers(worker: int) -> list[int]:
    """What a worker forks scripts from; it has other children for a moment, such as git."""
    found = []
    for child in children(worker):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"serve_forks" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def test_one_worker_fills_every_cell_with_the_values_that_were(one_worker: pd.DataFrame) -> None:
    assert len(one_worker) == 6 * 4 * 3
    assert one_worker["before"].notna().all()
    ends = one_worker[one_worker["step"] == 2].reset_index(drop=True)
    starts = one_worker[one_worker["step"] == 0].reset_index(drop=True)
    same_version = (starts["version"] == starts["version"].shift(1)).to_numpy()
    assert (starts["before"][same_version].to_numpy() == ends["weight"].shift(1)[same_version].to_numpy()).all()


def test_two_workers_give_the_same_table_as_one(recorded: Path, one_worker: pd.DataFrame, tmp_path: Path) -> None:
    root = copy(recorded, tmp_path)
    workers: set[str] = set()
    outcome = run_on_ray(root, lambda executor, progress: workers.update(executor.pids))
    assert outcome.failures == []
    assert len(workers) == 2
    pd.testing.assert_frame_equal(table(root), one_worker)


def test_killing_a_worker_in_mid_replay_changes_nothing_in_the_table(
    recorded: Path, one_worker: pd.DataFrame, tmp_path: Path
) -> None:
    root = copy(recorded, tmp_path)
    killed: list[int] = []

    def kill_one(executor: RayExecutor, progress: Progress) -> None:
        if progress.answered >= 1 and not killed:
            killed.append(next(iter(executor.pids.values())))
            os.kill(killed[0], signal.SIGKILL)

    outcome = run_on_ray(root, kill_one)
    assert len(killed) == 1
    assert outcome.failures == []
    pd.testing.assert_frame_equal(table(root), one_worker)


def test_killing_the_script_s_own_process_runs_its_segment_again(
    recorded: Path, one_worker: pd.DataFrame, tmp_path: Path
) -> None:
    root = copy(recorded, tmp_path)
    killed: list[int] = []

    def kill_one(executor: RayExecutor, progress: Progress) -> None:
        if killed:
            return
        of_all = [server for worker in executor.pids.values() for server in servers(worker)]
        for process in (process for server in of_all for process in children(server)):
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    outcome = run_on_ray(root, kill_one)
    assert killed
    assert outcome.failures == []
    pd.testing.assert_frame_equal(table(root), one_worker)


def test_killing_the_server_that_scripts_are_forked_from_runs_their_segments_again(
    recorded: Path, one_worker: pd.DataFrame, tmp_path: Path
) -> None:
    root = copy(recorded, tmp_path)
    killed: list[int] = []

    def kill_all(executor: RayExecutor, progress: Progress) -> None:
        if progress.answered < 1 or killed:
            return
        for server in (server for worker in executor.pids.values() for server in servers(worker)):
            os.kill(server, signal.SIGKILL)
            killed.append(server)

    outcome = run_on_ray(root, kill_all)
    assert killed
    assert outcome.failures == []
    pd.testing.assert_frame_equal(table(root), one_worker)


def test_more_workers_than_the_cluster_has_slots_is_one_clear_error(recorded: Path, ray_cluster: None) -> None:
    with pytest.raises(UsageError, match="workers were asked for, but the cluster has 2 CPU slots"):
        filling.replay(["before"], workers=99, path=str(recorded))


def test_workers_that_cannot_begin_end_the_replay_soon_and_say_why(
    recorded: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where flor_ray is not installed on the nodes."""

    class Missing:
        def __init__(self, gpus: float, secrets: object, hosts: object = None) -> None:
            raise ModuleNotFoundError("No module named 'flor_ray'")

        def ready(self, first: object) -> None: ...

    monkeypatch.setattr(actors, "_ReplayActor", Missing)
    began, used = time.monotonic(), time.process_time()
    with pytest.raises(ReplayError, match=r"Ray says of the last one: ModuleNotFoundError: No module named 'flor_ray'"):
        filling.replay(["before"], workers=2, path=str(recorded))
    assert time.monotonic() - began < 60
    assert time.process_time() - used < 0.5 * (time.monotonic() - began)  # it waits, and does not spin


def test_a_store_in_memory_cannot_be_replayed_from_and_says_so(ray_cluster: None, tmp_path: Path) -> None:
    from dataclasses import replace

    from flor_ray.store.project import Project
    from flor_ray.store.store import Store

    lab = Lab(tmp_path / "project")
    lab.record(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    prepared = lab.prepare(["before"])
    elsewhere = replace(prepared.project, store=Store("memory://elsewhere"))
    assert isinstance(elsewhere, Project)
    with pytest.raises(UsageError, match="Workers are other processes and cannot see memory://elsewhere"):
        pipeline.run(replace(prepared, project=elsewhere))


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on_with_the_rest(
    recorded: Path, one_worker: pd.DataFrame, tmp_path: Path
) -> None:
    """The command runs in a process of its own, and finds the tests' cluster by RAY_ADDRESS."""
    import ray

    root = copy(recorded, tmp_path)
    mode = {name: value for name, value in os.environ.items() if name == "RAY_AUTH_MODE"}  # as ray.init has set it
    variables = environment(**mode, RAY_ADDRESS=ray.get_runtime_context().gcs_address, PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", "flor_ray.cli", "replay", "before", "--workers", "1", "--yes"]
    process = subprocess.Popen(
        command, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"Replaying: [1-9]\d* of (\d+) rows", line):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[-1]) == (130, "Stopped. What was finished is kept.")
    assert 0 < table(root)["before"].notna().sum() < len(one_worker)
    again = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, check=True, timeout=100)
    rest = re.search(r"Replaying: 0 of (\d+) rows", again.stdout)
    assert found is not None
    assert rest is not None
    assert 0 < int(rest[1]) < int(found[1])
    pd.testing.assert_frame_equal(table(root), one_worker)


def test_workers_on_nodes_that_are_drained_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which nodes these are is Ray's to say; a cluster of several nodes would take half a minute."""
    executor = RayExecutor.__new__(RayExecutor)
    executor._looked = 0.0
    executor._nodes = {"worker-0": "a", "worker-1": "b"}
    monkeypatch.setattr(joining, "draining_nodes", lambda: frozenset({"b"}))
    monkeypatch.setattr(actors, "_DRAIN_SECONDS", 0.0)
    assert executor._drained() == [WorkerDraining("worker-1")]
    assert executor._drained() == []


def test_no_node_of_a_quiet_cluster_is_drained(ray_cluster: None) -> None:
    assert joining.draining_nodes() == frozenset()

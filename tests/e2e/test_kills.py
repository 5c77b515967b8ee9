"""A few kills of bench/kills.py, which says what is checked after each; the bench itself does 50 and more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray.records import Status
from tests.conftest import Lab, environment

BENCH = Path(__file__).parents[2] / "bench" / "kills.py"


def kill(*options: str) -> dict[str, object]:
    """What the bench found; that nothing was wrong is its exit status."""
    command = [sys.executable, str(BENCH), *options]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.timeout(180)
def test_a_kill_at_any_moment_loses_a_second_of_records_and_nothing_else() -> None:
    found = kill("--kills", "4", "--seed", "2", "--replays", "1", "--moments", "training", "end")
    assert (found["kills"], found["kills_training"], found["kills_end"]) == (4, 2, 2)
    assert found["problems"] == 0
    assert found["ended_before_its_kill"] == 0
    assert found["later_runs"] == 1
    assert isinstance(found["epochs_replayed"], int)
    assert found["epochs_replayed"] >= 3


TINY = """
import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(2)):
    total += epoch + 1
    flor.log("total", total)
"""
STOPPED = """
import os
import signal
import flor_ray.store.{module}
flor_ray.store.{module}.{name} = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
"""
MOMENTS = {
    "before the shadow commit": ("repository", "Repository.commit_shadow"),
    "in the shadow commit, before the branch moves": ("repository", "Repository._commit_tree"),
    "before the run is made known": ("store", "Store.begin_run"),
    "before its sources are mirrored": ("store", "Store.write_sources"),
    "before the first checkpoint is listed": ("store", "Store.append_checkpoint"),
    "before the first records are written": ("store", "Store.append_logs"),
    "before its end is written": ("store", "Store.end_run"),
    "before its records are merged": ("store", "Store.merge_logs"),
    "before its checkpoints are merged": ("store", "Store.merge_checkpoints"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_whatever_step_of_recording_a_kill_comes_before_other_versions_are_answered(lab: Lab, moment: str) -> None:
    """A kill at a known place, one for each thing that recording does outside of the script."""
    module, name = MOMENTS[moment]
    whole = lab.record_forked(TINY, "--flor", "whole")
    lab.write("train.py", STOPPED.format(module=module, name=name) + TINY)
    lab.git("add", "train.py")
    before = lab.git("--no-optional-locks", "status", "--porcelain"), (lab.root / ".git/index").read_bytes()
    assert lab.python("train.py", "--flor", "killed", check=False).returncode == -9
    assert (lab.git("--no-optional-locks", "status", "--porcelain"), (lab.root / ".git/index").read_bytes()) == before
    runs = {run.run: run for run in lab.experiments()}
    begun = list(MOMENTS).index(moment) > list(MOMENTS).index("before the run is made known")
    assert ("killed" in runs) == begun
    if begun:
        ended = "merged" in moment
        assert runs["killed"].status is (Status.FINISHED if ended else Status.CRASHED)
        values = [value for *_, value in lab.values("total", runs["killed"].version)]
        assert values == ([1, 3] if ended or moment == "before its end is written" else values[:0])
    again = lab.record_forked(TINY, "--flor", "again")
    assert again.status is Status.FINISHED
    lab.write("train.py", TINY.replace("    flor.log", '    flor.log("twice", 2 * total)\n    flor.log'))
    _, outcome = lab.replay(["twice"], "run in ['whole', 'again']")
    assert outcome.failures == []
    for run in (whole, again):
        assert lab.values("twice", run.version) == [(1, None, 0, 2), (2, None, 0, 6)]

"""Replays as jobs on a real head node: by `ray job submit --working-dir . -- flor-ray ...`, where Ray packs no .git,
and by `flor-ray submit`; what becomes of those that are left, stopped or killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flor_ray.store import heartbeats
from flor_ray.store.heartbeats import KnownReplay, ReplayState
from tests.conftest import Lab
from tests.e2e.test_without_git import HINDSIGHT, SCRIPT
from tests.ray_heads import RAY, RayHead

FLOR_RAY = (sys.executable, "-m", "flor_ray.cli")
EPOCHS, VERSIONS = 10, 4  # a version is a segment: its values are there when it is done
ROWS = EPOCHS * VERSIONS
LONG = SCRIPT.replace("range(3)", f"range({EPOCHS})")
SLOW = LONG.replace(  # an epoch that is replayed runs no more than what is logged
    '    flor.log("loss"',
    '    flor.log("weight", __import__("time").sleep(0.5) or state["weight"])\n    flor.log("loss"',
)
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with RayHead() as head:
        yield head


@pytest.fixture
def project(tmp_path: Path) -> Lab:
    """A repository with a recorded version, and a new statement in today's code."""
    return made(tmp_path, SCRIPT, HINDSIGHT)


def made(folder: Path, recorded: str, newest: str, versions: int = 1) -> Lab:
    lab = Lab(folder / "six")
    lab.write("flor.yaml", f"store: {folder / 'store'}\nworkers: 1\n")
    for _ in range(versions):
        lab.record_forked(recorded)
    lab.write("train.py", newest)
    return lab


def user(head: RayHead) -> dict[str, str]:
    """The environment of somebody with the cluster's token, in front of another machine."""
    return {name: value for name, value in head.environment.items() if name not in ("TMPDIR", "RAY_TMPDIR")}


def command(head: RayHead, *words: str) -> list[str]:
    return [*FLOR_RAY, *words, "--address", head.dashboard]


def run(lab: Lab, head: RayHead, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(head, *words), cwd=lab.root, env=user(head), capture_output=True, text=True, timeout=200, check=False
    )


def replays(lab: Lab) -> tuple[KnownReplay, ...]:
    return heartbeats.known(lab.project.store.files, lab.project.name)


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not met():
        assert time.monotonic() < end
        time.sleep(0.2)


def filled(lab: Lab) -> int:
    """Rows that the store has."""
    return int(lab.project.store.logs("six", names=["weight"]).num_rows)


def test_a_job_fills_a_column_of_the_project_it_was_submitted_from(head: RayHead, project: Lab) -> None:
    assert project.frame("loss").shape[0] == 3
    done = head.submit(project.root, *FLOR_RAY, "replay", "weight", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'six' is taken, the only project in" in done.stdout
    assert list(project.frame("weight")["weight"]) == [0.5, 0.25, 0.125]
    (ran,) = [line for line in done.stdout.splitlines() if line.startswith("Warning: ")]
    folder = Path(ran.split()[1])
    assert folder.name.startswith("_ray_pkg_")
    assert sorted(path.name for path in folder.iterdir()) == ["flor.yaml", "train.py"]  # jobs may share it


def test_a_job_whose_store_is_not_told_says_what_to_write(head: RayHead, project: Lab) -> None:
    (project.root / "flor.yaml").unlink()
    done = head.submit(project.root, *FLOR_RAY, "versions")
    assert done.returncode == 1
    said = next(line for line in done.stdout.splitlines() if line.startswith("Error: "))  # Ray repeats it
    assert "is not inside a git repository" in said
    assert "name its store: `store:` in flor.yaml" in said


def test_a_job_goes_on_when_it_is_left_and_after_a_kill_only_the_rest_is_replayed(
    head: RayHead, tmp_path: Path
) -> None:
    lab = made(tmp_path, LONG, SLOW, VERSIONS)
    words = command(head, "submit", "replay", "weight")
    watching = subprocess.Popen(words, cwd=lab.root, env=user(head), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(lambda: filled(lab) > 0)
    watching.send_signal(signal.SIGINT)
    said = watching.communicate(timeout=60)[0].decode()
    assert watching.returncode == 130, said
    (id,) = re.findall(r"(flor-six-\w+) goes on\. `flor-ray logs \1` shows it again", said)
    again = run(lab, head, "submit", "replay", "weight", "--no-wait")
    assert f"{id} is running already." in again.stdout, again.stderr
    (one,) = replays(lab)
    assert (one.state, one.last.submission) == (ReplayState.RUNNING, id)

    os.kill(one.last.pid, signal.SIGKILL)
    until(lambda: replays(lab)[0].state is ReplayState.LOST)
    assert run(lab, head, "logs", id).returncode not in (0, 2, 130)
    kept = filled(lab)
    assert 0 < kept < ROWS
    done = run(lab, head, "submit", "replay", "weight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Submitted {id}-2 to {head.dashboard}" in done.stdout
    assert filled(lab) == ROWS
    first, second = replays(lab)
    assert (first.state, second.state) == (ReplayState.LOST, ReplayState.FINISHED)
    assert (second.last.wanted, second.last.answered) == (ROWS - kept, ROWS - kept)
    assert second.last.submission == f"{id}-2"


def test_a_job_is_cancelled_through_the_store_and_what_is_finished_is_kept(head: RayHead, tmp_path: Path) -> None:
    lab = made(tmp_path, LONG, SLOW, VERSIONS)
    done = run(lab, head, "submit", "replay", "weight", "--no-wait")
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: filled(lab) > 0)
    (one,) = replays(lab)
    cancelled = lab.cli("cancel", one.last.submission)
    assert cancelled.returncode == 0, cancelled.stderr
    assert f"{one.id}: stopped" in cancelled.stdout
    shown = run(lab, head, "logs", one.id)
    assert shown.returncode == 130, shown.stdout + shown.stderr
    assert "This replay was asked to end" in shown.stdout
    assert 0 < filled(lab) < ROWS
    listed = lab.cli("jobs")
    assert re.search(rf"weight +stopped .* {one.last.submission}", listed.stdout), listed.stdout
    assert lab.cli("status", one.id).returncode == 0
    assert f"{one.id}: stopped" in lab.cli("cancel", one.id).stdout


def test_secrets_go_by_name_and_are_in_nothing_that_the_cluster_shows(head: RayHead, project: Lab) -> None:
    name, value = "PLANTED_WORD", "planted" + "-in-the-environment"
    project.write("flor.yaml", f"store: {project.root.parent / 'store'}\nproject: six\nworkers: 1\nsecrets: [{name}]\n")
    project.write("train.py", HINDSIGHT.replace('state["weight"])', f'len(__import__("os").environ["{name}"]))', 1))
    with_secret = user(head) | {name: value}
    words = command(head, "submit", "replay", "weight")
    done = subprocess.run(words, cwd=project.root, env=with_secret, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"Replays need {name} in their environment" in done.stdout
    listed = [*RAY, "job", "list", "--address", head.dashboard]
    shown = subprocess.run(listed, env=user(head), capture_output=True, text=True, check=True)
    assert "flor-six-" in shown.stdout
    assert value not in shown.stdout + shown.stderr
    direct = subprocess.run(
        [*FLOR_RAY, "replay", "weight", "--yes"],
        cwd=project.root,
        env=with_secret | {"RAY_ADDRESS": head.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert direct.returncode == 0, direct.stdout + direct.stderr
    assert list(project.frame("weight")["weight"]) == [len(value)] * 3  # which its workers had
    assert value not in direct.stdout + direct.stderr


def test_a_secret_in_a_question_is_not_sent(head: RayHead, project: Lab) -> None:
    done = run(project, head, "submit", "replay", "weight", "--where", "api_key == 'planted'")
    assert done.returncode == 2
    assert "Secrets go by name" in done.stderr
    assert "planted" not in done.stderr + done.stdout

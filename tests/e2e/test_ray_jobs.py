"""`ray job submit --working-dir . -- flor-ray ...` on a real head node: Ray packs no .git into a job's folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Lab
from tests.e2e.test_without_git import HINDSIGHT, SCRIPT
from tests.ray_heads import RayHead

FLOR_RAY = (sys.executable, "-m", "flor_ray.cli")
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with RayHead() as head:
        yield head


@pytest.fixture
def project(tmp_path: Path) -> Lab:
    """A repository with a recorded version, and a new statement in today's code."""
    lab = Lab(tmp_path / "six")
    lab.write("flor.yaml", f"store: {tmp_path / 'store'}\nworkers: 1\n")
    lab.record(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    return lab


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

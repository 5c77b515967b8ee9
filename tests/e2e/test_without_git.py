"""Asking in a folder without git: a copy of the working directory, as a job on a cluster has it, or a container."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flor_ray as flor
from flor_ray.errors import FlorWarning, NoRepository, UsageError
from flor_ray.store.project import Project
from tests.conftest import Lab, environment

SCRIPT = """
import flor_ray as flor
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    state["weight"] *= 0.5
    flor.log("loss", 1 / (epoch + 1))
"""
HINDSIGHT = SCRIPT.replace('    flor.log("loss"', '    flor.log("weight", state["weight"])\n    flor.log("loss"')


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository `six`, of which a version is recorded in the folder's `store`."""
    folder = tmp_path_factory.mktemp("recorded")
    Lab(folder / "six").write("train.py", SCRIPT)
    Lab(folder / "six").python("train.py", FLOR_RAY_STORE=str(folder / "store"))
    return folder


@pytest.fixture
def package(recorded: Path, tmp_path: Path) -> Path:
    """The working directory of a job: today's code, without git, beside a store of the test's own."""
    shutil.copytree(recorded / "store", tmp_path / "store")
    folder = tmp_path / "_ray_pkg_a8b1"
    folder.mkdir()
    (folder / "train.py").write_text(HINDSIGHT)
    return folder


def flor_ray(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flor_ray.cli", *arguments]
    env = environment(**variables)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)


def answered(folder: Path) -> list[list[str]]:
    """Epoch and weight, as the command prints them."""
    lines = flor_ray(folder, "dataframe", "weight").stdout.splitlines()[2:]
    return [line.split()[-2:] for line in lines]


def record_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("inner", [".", "configs/deep"])
def test_a_job_replays_with_flor_yaml_and_writes_nothing_into_its_folder(package: Path, inner: str) -> None:
    (package / "flor.yaml").write_text("store: ../store\nproject: six\nworkers: 1\n")
    (package / inner).mkdir(parents=True, exist_ok=True)
    before = record_of(package)
    done = flor_ray(package / inner, "replay", "weight", "--yes", "--local", PATH="/nowhere")  # nor is git installed
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
    assert "on 1 worker" in done.stdout
    assert answered(package / inner) == [["1", "0.5"], ["2", "0.25"], ["3", "0.125"]]
    assert record_of(package) == before


def test_the_stores_only_project_is_taken_and_said(package: Path) -> None:
    store = str(package.parent / "store")
    done = flor_ray(package, "replay", "weight", "--yes", "--local", "--workers", "1", "--store", store)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"Warning: {package} is not inside a git repository: 'six' is taken, the only project in {store}. To be sure "
        "of that, set `project:` in flor.yaml, or the environment variable FLOR_RAY_PROJECT."
    ]
    named = flor_ray(package, "versions", FLOR_RAY_STORE=store, FLOR_RAY_PROJECT="six")
    assert (named.returncode, named.stderr) == (0, "")


def test_python_asks_with_the_same_settings(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "flor.yaml").write_text("store: ../store\nworkers: 1\nbudget: 1h\n")
    monkeypatch.chdir(package)
    with pytest.warns(FlorWarning, match="'six' is taken"):
        explained = flor.explain("weight")
    assert (explained.prepared.workers, explained.prepared.terms.gpu_seconds) == (1, 3600.0)
    (package / "flor.yaml").write_text("store: ../store\nproject: six\n")
    summary = flor.replay("weight", workers=1, executor="local")
    assert list(summary["project"]) == ["six"]
    assert list(flor.dataframe("weight")["weight"]) == [0.5, 0.25, 0.125]


def test_a_copy_of_the_folder_with_its_own_store_is_enough(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded / "store", tmp_path / "copy/.flor")
    with pytest.warns(FlorWarning, match="'six' is taken"):
        assert Project.open(str(tmp_path / "copy")).name == "six"


def test_of_several_projects_none_is_guessed(package: Path) -> None:
    store = package.parent / "store"
    lab = Lab(package.parent / "seven")
    lab.write("train.py", SCRIPT)
    lab.python("train.py", FLOR_RAY_STORE=str(store))
    done = flor_ray(package, "versions", "--store", str(store))
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: {package} is not inside a git repository, and {store} holds 2 projects: 'seven', 'six'. Say which is "
        "meant: `project:` in flor.yaml, or the environment variable FLOR_RAY_PROJECT.\n"
    )
    (package / "flor.yaml").write_text("store: ../store\nproject: sven\n")
    with pytest.raises(UsageError, match=r"No version of project 'sven' .*\(it has 'seven', 'six'\)"):
        Project.open(str(package)).experiments()


def test_an_empty_store_and_none_at_all_are_told_apart(package: Path) -> None:
    (package.parent / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is not inside a git repository, and .*/empty holds no project\. Record"):
        Project.open(str(package), str(package.parent / "empty"))
    (package / "flor.yaml").write_text("store: stores/here\nproject: six")
    with pytest.raises(UsageError, match=r"there is no store at .*_ray_pkg_a8b1/stores/here\. A relative folder in"):
        Project.open(str(package))
    (package / "flor.yaml").unlink()
    with pytest.raises(NoRepository, match=r"git init.*name its store: `store:` in flor.yaml"):
        Project.open(str(package))
    assert record_of(package) == ["train.py"]


def test_a_script_is_not_recorded_without_git(package: Path) -> None:
    (package / "flor.yaml").write_text("store: ../store\nproject: six\n")
    command = [sys.executable, "train.py"]
    done = subprocess.run(command, cwd=package, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NoRepository: " in done.stderr.splitlines()[-1]
    assert record_of(package) == ["flor.yaml", "train.py"]


def test_a_repository_where_git_is_not_installed_is_asked_as_a_folder_without_one(
    recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded / "six", tmp_path / "six")
    shutil.copytree(recorded / "store", tmp_path / "store")
    (tmp_path / "six/train.py").write_text(HINDSIGHT)
    (tmp_path / "bin").mkdir()
    variables = {"PATH": str(tmp_path / "bin"), "FLOR_RAY_STORE": str(tmp_path / "store")}
    assert "git" not in flor_ray(tmp_path / "six", "versions", **variables).stderr  # which needs none
    done = flor_ray(tmp_path / "six", "replay", "weight", "--yes", "--local", **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: git is not installed here, so of ") == 1
    lines = flor_ray(tmp_path / "six", "dataframe", "weight", **variables).stdout.splitlines()[2:]
    assert [line.split()[-2:] for line in lines] == [["1", "0.5"], ["2", "0.25"], ["3", "0.125"]]
    command = [sys.executable, "train.py"]
    done = subprocess.run(
        command, cwd=tmp_path / "six", env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert "GitError: git cannot be run: git is not installed here." in done.stderr.splitlines()[-1]

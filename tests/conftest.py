"""A lab: a real git repository in which real scripts are recorded and replayed by real processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from flor_ray.store import cache
from tests.radosgw import RadosGateway
from tests.s3_servers import Moto

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.planning.replay_plan import Prepared
    from flor_ray.records import Experiment, Outcome
    from flor_ray.store.project import Project

# How long an example takes depends on what else runs on the machine: no test fails for that.
settings.register_profile("machines are shared", deadline=None)
settings.load_profile("machines are shared")


class Lab:
    """A git repository and what can be done in it. Everything runs in processes of its own, as for users."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", ".")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def python(
        self, *arguments: str, check: bool = True, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments and environment variables. With `check` a failing run fails the test."""
        return self.run([sys.executable, *arguments], cwd or self.root, variables, check)

    def run(
        self, command: list[str], folder: Path, variables: dict[str, str], check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def record(self, text: str, *arguments: str, script: str = "train.py", **variables: str) -> Experiment:
        """Write a script, run it, and return what was recorded."""
        self.write(script, text)
        self.run([sys.executable, script, *arguments], self.root, variables)
        return self.experiments()[-1]

    def cli(self, *arguments: str, check: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "flor_ray.cli", *arguments], self.root, variables, check)

    @property
    def project(self) -> Project:
        from flor_ray.store.project import Project

        return Project.open(str(self.root))

    def experiments(self) -> tuple[Experiment, ...]:
        return self.project.experiments()

    def prepare(
        self, names: Sequence[str], where: str | None = None, workers: int = 1, again: bool = False
    ) -> Prepared:
        from flor_ray import pipeline
        from flor_ray.planning.terms import Terms

        return pipeline.prepare(self.project, names, where, Terms(workers), again)

    def replay(
        self, names: Sequence[str], where: str | None = None, workers: int = 1, again: bool = False
    ) -> tuple[Prepared, Outcome]:
        """Replay on threads of this process: everything but Ray."""
        from flor_ray import pipeline
        from flor_ray.cluster.executors import ThreadExecutor

        prepared = self.prepare(names, where, workers, again)
        return prepared, pipeline.run(prepared, ThreadExecutor())

    def frame(self, *names: str) -> pd.DataFrame:
        from flor_ray import lookup

        return lookup.dataframe(*names, path=str(self.root))

    def values(self, name: str, version: str | None = None) -> list[tuple[Any, ...]]:
        """(epoch, step, iteration, value) of a feature, in order, of the newest version unless another is named."""
        from flor_ray.records import Value
        from flor_ray.store.typed_values import decode

        store = self.project.store
        version = version or self.experiments()[-1].version
        table = store.logs(self.project.name, names=[name], versions=[version])
        rows = [
            (
                row["epoch"],
                row["step"],
                row["iteration"],
                decode(Value(row["type"], row["number"], row["integer"], row["text"]), store.objects.get),
            )
            for row in table.to_pylist()
        ]
        return sorted(rows, key=lambda row: tuple(-1 if part is None else part for part in row[:3]))


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLOR_RAY_", "RANK", "LOCAL_RANK")) and name not in ("COLUMNS", "LINES")
    }
    kept |= {name: os.environ[name] for name in (cache.FOLDER_VARIABLE,) if name in os.environ}
    # Several scripts at once on few cores must not spin. How often checkpoints are taken must not depend on how busy
    # the machine is.
    return {"OMP_WAIT_POLICY": "PASSIVE", "FLOR_RAY_OVERHEAD": "1"} | kept | variables


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has its own cache of remote objects, made when it is used; the user's is left alone."""
    folder = tmp_path / "object-cache"
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "project")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for all tests that need one: its start takes 10 to 25 s."""
    import ray

    os.environ.setdefault("RUNTIME_ENV_RETRY_TIMES", "1")  # as when flor_ray starts Ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--s3", choices=("moto", "radosgw"), default="moto", help="server of the tests that need a bucket")


@pytest.fixture(scope="session")
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of an S3 server on this machine; the environment points every client at it."""
    import boto3

    real = request.config.getoption("--s3") == "radosgw"
    server = RadosGateway(tmp_path_factory.mktemp("radosgw")) if real else Moto()
    with server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="flor")
        yield "flor"

"""A lab: a real git repository in which real scripts are recorded and replayed by real processes."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flor_ray.store import cache
from tests import examples
from tests.forking import RECORDING, TRAINING, Request, ScriptServer
from tests.radosgw import RadosGateway
from tests.s3_servers import Moto

# Torch's threads must not spin while they wait: several tests, and their scripts, share the cores. Read when torch is
# first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.cluster.executors import ThreadExecutor
    from flor_ray.planning.replay_plan import Prepared
    from flor_ray.records import Experiment, Outcome
    from flor_ray.replaying.version_process import WarmServers
    from flor_ray.store.project import Project

examples.register_profiles()


@pytest.fixture(scope="session", autouse=True)
def drawn_examples(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same examples wherever a test runs, unless others are asked for."""
    explores = request.config.getoption("--hypothesis-profile") == examples.EXPLORE
    with contextlib.nullcontext() if explores else examples.no_constants():
        yield


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
        self, command: list[str], folder: Path, variables: dict[str, str], check: bool = True, seconds: float = 100
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=seconds,
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

    def record_forked(
        self, text: str, *arguments: str, torch: bool = False, script: str = "train.py", **variables: str
    ) -> Experiment:
        """Write a script, run it in a fork, and return what was recorded. For tests of what comes after recording: a
        fork starts in a tenth of the time of `record`."""
        self.write(script, text)
        output = self.root.parent / "output.txt"
        server = script_server(TRAINING if torch else RECORDING)
        status = server.run(Request(script, arguments, str(self.root), environment(**variables), str(output)))
        if status != 0:
            raise AssertionError(f"{script} ended with {status}:\n{output.read_text()}")
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

        prepared = self.prepare(names, where, workers, again)
        return prepared, pipeline.run(prepared, self.executor())

    def executor(self) -> ThreadExecutor:
        """For one replay of what is recorded here. It need not measure this machine, nor start servers of its own."""
        from flor_ray.cluster.executors import ThreadExecutor

        keep_usual_calibration(self.project)
        return ThreadExecutor(warm_servers())

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
                decode(Value(row["type"], row["number"], row["integer"], row["text"]), store.objects.get, pickles=True),
            )
            for row in table.to_pylist()
        ]
        return sorted(rows, key=lambda row: tuple(-1 if part is None else part for part in row[:3]))


def keep_usual_calibration(project: Project) -> None:
    """What the workers of tests take: no measurement, so that estimates are the same on each machine."""
    from flor_ray.environment import hardware
    from flor_ray.planning import calibrations
    from flor_ray.scheduler.calibration import Calibration

    files, kind = project.store.files, hardware.kind_here(with_gpu=False)
    if kind not in calibrations.kept(files):
        usual = Calibration()
        calibrations.keep(files, {kind: replace(usual, prepare=replace(usual.prepare, count=3))})


@functools.cache
def warm_servers() -> tuple[WarmServers, ...]:
    """Of this test process: to start one takes longer than most replays."""
    from flor_ray.replaying.version_process import WarmServers

    return WarmServers(), WarmServers()


@functools.cache
def script_server(imports: Sequence[str]) -> ScriptServer:
    """Of this test process."""
    server = ScriptServer(imports)
    _SCRIPT_SERVERS.append(server)
    return server


_SCRIPT_SERVERS: list[ScriptServer] = []


@pytest.fixture(scope="session", autouse=True)
def _closed_servers() -> Iterator[None]:
    yield
    close_servers()


def close_servers() -> None:
    """Those of this process."""
    for server in _SCRIPT_SERVERS:
        server.close()
    if warm_servers.cache_info().currsize:
        for servers in warm_servers():
            servers.close()


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what tests or a ray.init in it (RAY_AUTH_MODE) have set, and with these variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLOR_RAY_", "RANK", "LOCAL_RANK"))
        and name not in ("COLUMNS", "LINES", "RAY_AUTH_MODE")
    }
    kept |= {name: os.environ[name] for name in (cache.FOLDER_VARIABLE,) if name in os.environ}
    # How often checkpoints are taken must not depend on how busy the machine is.
    return {"FLOR_RAY_OVERHEAD": "1"} | kept | variables


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's cache of remote objects is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache") / "objects"))
        yield


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, made when it is used."""
    folder = tmp_path / "object-cache"
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    _forget_the_current_test()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    _forget_the_current_test()


def _forget_the_current_test() -> None:
    """Warm servers serve an environment, which would be another one in each test."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


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
def _bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of an S3 server on this machine; the environment points every client at it."""
    import boto3

    real = request.config.getoption("--s3") == "radosgw"
    server = RadosGateway(tmp_path_factory.mktemp("radosgw")) if real else Moto()
    with server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="flor")
        yield "flor"


@pytest.fixture
def bucket(_bucket: str, cache_folder: Path) -> str:
    """Its name. What the test reads does not come from a cache that others have filled."""
    return _bucket

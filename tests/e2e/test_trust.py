"""Scripts whose replayed values were once wrong or needlessly refused: tests/cases/trust, judged like bench/trust."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from flor_ray.cluster.worker import Worker
from tests.conftest import environment, keep_usual_calibration, script_server, warm_servers
from tests.forking import TRAINING, Request

BENCH = Path(__file__).parents[2] / "bench"
CASES = Path(__file__).parents[1] / "cases" / "trust"
NAMES = sorted(path.stem for path in CASES.iterdir() if path.is_dir() or path.suffix == ".py")


def module(name: str) -> ModuleType:
    """A module of bench/trusting, importable as it is for the scripts in bench."""
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module(f"trusting.{name}")
    finally:
        sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(servers=warm_servers()[0])
    yield worker
    worker.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_replayed_is_right_or_warned_of(
    name: str, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # servers serve an environment
    (case,) = (case for case in module("cases").every_case() if case.name == name)
    plain, truth = (
        module("trial").Repository(tmp_path / which, worker, case.folder, in_a_fork) for which in ("plain", "truth")
    )
    keep_usual_calibration(plain.project)
    verdict = module("trial").judge(case, plain, truth)
    assert verdict.wrong_unwarned == 0, f"{verdict.first}; told: {verdict.sentences}"
    if not case.warned:
        assert verdict.warned == verdict.refused == 0, f"{verdict.first}; told: {verdict.sentences}"
        assert verdict.exact > 0
    else:
        assert verdict.warned + verdict.refused > 0


def in_a_fork(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    """What `python script.py ...` does, in a process that has imported torch; other ways to start are as they are."""
    if arguments[0].startswith("-"):
        module("trial").run_python(arguments, folder, variables)
        return
    output = folder / ".git" / "output.txt"
    request = Request(arguments[0], arguments[1:], str(folder), environment(**variables), str(output))
    assert script_server(TRAINING).run(request) == 0, output.read_text()

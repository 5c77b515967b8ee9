"""The modules of bench/, whose folder is importable for tests as it is for the scripts in it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flor_ray.cluster.worker import Worker
from tests.conftest import environment, keep_usual_calibration, script_server
from tests.forking import TRAINING, Request

BENCH = Path(__file__).parents[1] / "bench"


def bench_module(name: str) -> Any:
    """A module by its name below bench/: `replaying.cases`."""
    sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCH))


def bench_repository(files: Path, worker: Worker | None = None, folder: str = ".") -> Any:
    """A `replaying.recording.Repository` whose scripts run in forks of a process that has imported torch, and whose
    replays measure no machine."""
    repository = bench_module("replaying.recording").Repository(files, worker, folder, _in_a_fork)
    keep_usual_calibration(repository.project)
    return repository


def _in_a_fork(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    run_in_a_fork(arguments, folder, variables, TRAINING)


def run_in_a_fork(arguments: Sequence[str], folder: Path, variables: Mapping[str, str], imports: Sequence[str]) -> None:
    """What `python script.py ...` does, of a process that has imported these; other ways to start Python are as they
    are."""
    if arguments[0].startswith("-"):
        bench_module("replaying.recording").run_python(arguments, folder, variables)
        return
    output = folder / ".git" / "output.txt"
    request = Request(arguments[0], arguments[1:], str(folder), environment(**variables), str(output))
    assert script_server(imports).run(request) == 0, output.read_text()

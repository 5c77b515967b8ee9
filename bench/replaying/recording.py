"""Git repositories with scripts in them: recorded, replayed by a process of its own, and run again from the start."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flor_ray.cluster.worker import Worker
from flor_ray.records import Experiment, Value
from flor_ray.store.project import Project
from flor_ray.store.typed_values import decode
from replaying import drive
from replaying.cases import SCRIPT

SEED = "FLOR_BENCH_SEED"
# Two runs of a script that seeds nothing begin in the same random state. Replays lack the variable, and so this help.
_SEEDING = f"""# becomes sitecustomize.py
import os
if "{SEED}" in os.environ:
    import random, numpy, torch
    random.seed(7)
    numpy.random.seed(7)
    torch.manual_seed(7)
"""
# The same calls without recording, so that re-execution is not charged for ours. What they measure: seconds from the
# first call, which follows the imports, to the main loop, and of each of its epochs. What torch imports only when the
# first optimizer is made is an import too.
_SILENT = """
import json, os, sys, time
_first, _depth, _seconds = None, 0, {"epochs": []}
def _called():
    global _first
    if _first is None:
        if "torch" in sys.modules:
            import torch._dynamo
        _first = time.perf_counter()
def arg(name, default=None):
    _called()
    return _args.get(name, default)
def log(name, value): return value
def loop(name, iterable):
    global _depth
    _called()
    _depth += 1
    main = _depth == 1
    if main:
        _seconds["preparation"] = time.perf_counter() - _first
    for element in iterable:
        started = time.perf_counter()
        yield element
        if main:
            _seconds["epochs"].append(time.perf_counter() - started)
            with open(os.environ["FLOR_BENCH_TIMES"], "w") as file:
                json.dump(_seconds, file)
    _depth -= 1
class checkpointing:
    def __init__(self, *objects, **named): _called()
    def __enter__(self): return None
    def __exit__(self, *error): return None
with open(os.environ["FLOR_BENCH_ARGS"]) as file:
    _args = json.load(file)
"""
RunsPython = Callable[[Sequence[str], Path, Mapping[str, str]], None]  # arguments, folder, environment variables
Row = tuple[int | None, int | None, int | None, Any]  # epoch, step, iteration, value


@dataclass(frozen=True, slots=True)
class Execution:
    """A plain run from start to end."""

    seconds: float  # of the process
    preparation: float  # from after the imports to the main loop
    epochs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a segment's report says, and when it was begun and ended."""

    version: str
    first: int
    last: int
    operator: str
    variant: str
    wall_seconds: float  # of the worker, everything included
    setup_seconds: float
    run_seconds: float
    compared: int
    mismatch: str | None


@dataclass(frozen=True, slots=True)
class Drive:
    """A replay on one worker that runs in the process that asks it."""

    prepare_seconds: float
    run_seconds: float  # from the plan to the last value in the store
    segments: tuple[Replayed, ...]
    failures: tuple[str, ...]
    problems: tuple[str, ...]  # sentences that a user is shown
    kinds: tuple[tuple[str, str], ...]  # operator and variant of each planned segment


class ScriptBroke(SystemExit):
    """A script of the bench did not run: there is nothing to measure."""


def run_python(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    """Raises ScriptBroke."""
    _run([sys.executable, *arguments], folder, variables)


class Repository:
    """A user's folder. Everything runs in processes of its own."""

    def __init__(
        self, files: Path, worker: Worker | None = None, folder: str = ".", python: RunsPython = run_python
    ) -> None:
        """A folder for `files`, in which `folder` is the repository. `worker`: replays are its, in this process,
        instead of a fresh process each. `python` runs scripts that are recorded."""
        self._files = files
        self._python = python
        self.root = files / folder
        self.worker = worker
        self.root.mkdir(parents=True)
        _run(["git", "init", "--quiet", "."], self.root, {})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self._files / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def record(
        self, arguments: Mapping[str, object] | None = None, run: str = "", seeded: bool = False, every: bool = True
    ) -> None:
        """Run the script as it stands. `every`: a checkpoint after every epoch, however busy the machine is."""
        kwargs = ["--kwargs", *(f"{name}={value}" for name, value in arguments.items())] if arguments else []
        self.run([SCRIPT, *(["--flor", run] if run else []), *kwargs], seeded, every)

    def run(self, command: Sequence[str], seeded: bool = False, every: bool = True) -> None:
        """Run Python with these arguments."""
        variables = {"FLOR_RAY_OVERHEAD": "1"} if every else {}
        if seeded:
            folder = self._files.parent / "seeding"
            folder.mkdir(exist_ok=True)
            (folder / "sitecustomize.py").write_text(_SEEDING, encoding="utf-8")
            paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
            variables |= {SEED: "1", "PYTHONPATH": os.pathsep.join(paths)}
        self._python(command, self.root, variables)

    def replay(
        self, names: Sequence[str], where: str | None = None, again: bool = False, shuffle: int | None = None
    ) -> Drive:
        """Replay on one worker. `shuffle`: each epoch that can be is a segment, in an order drawn with that seed."""
        options = {"names": list(names), "where": where, "again": again, "shuffle": shuffle}
        if self.worker is not None:
            told = drive.replay(str(self.root), options, self.worker)
        else:
            command = [sys.executable, str(Path(drive.__file__)), str(self.root), json.dumps(options)]
            told = json.loads(_run(command, self._files.parent, {}).splitlines()[-1])
        return Drive(
            told["prepare_seconds"],
            told["run_seconds"],
            tuple(Replayed(**segment) for segment in told["segments"]),
            tuple(told["failures"]),
            tuple(told["problems"]),
            tuple((operator, variant) for operator, variant in told["kinds"]),
        )

    @property
    def project(self) -> Project:
        return Project.open(str(self.root))

    def experiments(self) -> tuple[Experiment, ...]:
        return self.project.experiments()

    def values(self, name: str, version: str) -> list[Row]:
        """What was logged under a name in a version, in order, such that equal bits, and only they, compare equal."""
        store = self.project.store
        table = store.logs(self.project.name, names=[name], versions=[version])
        rows = []
        for row in table.to_pylist():
            value = Value(row["type"], row["number"], row["integer"], row["text"])
            place = row["epoch"], row["step"], row["iteration"]
            rows.append((*place, bits(decode(value, store.objects.get))))
        return sorted(rows, key=lambda row: tuple(-1 if part is None else part for part in row[:3]))


def reexecute(files: Mapping[str, str], arguments: Mapping[str, object], folder: Path) -> Execution:
    """Run a script from its start, without recording, in a folder that is made for it."""
    silent = folder / "flor_ray"
    silent.mkdir(parents=True, exist_ok=True)
    (silent / "__init__.py").write_text(_SILENT, encoding="utf-8")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    times, args = folder / "times.json", folder / "args.json"
    args.write_text(json.dumps(dict(arguments)), encoding="utf-8")
    started = time.perf_counter()
    _run([sys.executable, SCRIPT], folder, {"FLOR_BENCH_TIMES": str(times), "FLOR_BENCH_ARGS": str(args)})
    seconds = time.perf_counter() - started
    told = json.loads(times.read_text(encoding="utf-8"))
    return Execution(seconds, told["preparation"], tuple(told["epochs"]))


def bits(value: object) -> object:
    """A value such that equal bits, and only they, compare equal."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, list):
        return [bits(item) for item in value]
    tobytes = getattr(value, "tobytes", None)
    return (str(getattr(value, "dtype", "")), getattr(value, "shape", ()), tobytes()) if tobytes else value


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> str:
    # threads that wait must not spin: replays do not, and several scripts share the machine's cores
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("FLOR_RAY_", "RANK", "LOCAL_RANK"))}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE"} | dict(variables)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ScriptBroke(f"{' '.join(command)} in {folder} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout

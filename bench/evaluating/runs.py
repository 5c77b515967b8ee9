"""Runs of a system's versions: recorded without and with the statements, and run from the start without recording."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replaying.recording import Repository, ScriptBroke

from evaluating.histories import MAKES_DATA, System, SystemVersion
from tests.forking import TRAINING, Request, ScriptServer

EVERY = {"FLOR_RAY_OVERHEAD": "1"}  # a checkpoint after every epoch
TOLD = "FLOR_BENCH_TOLD"
# The same calls without recording. With FLOR_BENCH_TOLD they tell the processor seconds of the script, and how large
# a file torch.save makes of what is checkpointed after each epoch; that is not in the seconds.
SILENT = """
import atexit, json, os, time
_path, _began = os.environ.get("FLOR_BENCH_TOLD"), time.process_time()
_objects, _bytes, _saving, _depth = {}, [], 0.0, 0
_saves, _looping = os.environ.get("FLOR_BENCH_SAVES") != "0", 0.0
class _Counter:
    size = 0
    def write(self, data):
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes
    def flush(self): pass
def _state(value):
    return value.state_dict() if hasattr(value, "state_dict") else value
def arg(name, default=None): return default
def log(name, value): return value
def loop(name, iterable):
    global _depth, _saving, _looping
    _depth += 1
    main = _depth == 1
    for element in iterable:
        entered = time.process_time()
        yield element
        if main:
            _looping += time.process_time() - entered
        if main and _path and _saves:
            import torch
            began, counter = time.process_time(), _Counter()
            torch.save({name: _state(value) for name, value in _objects.items()}, counter)
            _bytes.append(counter.size)
            _saving += time.process_time() - began
    _depth -= 1
class checkpointing:
    def __init__(self, *objects, **named):
        _objects.update({str(index): value for index, value in enumerate(objects)})
        _objects.update(named)
    def __enter__(self): return None
    def __exit__(self, *error): return None
def _tell():
    model = max((sum(p.numel() * p.element_size() for p in value.parameters())
                 for value in _objects.values() if hasattr(value, "parameters")), default=0)
    with open(_path, "w") as file:
        json.dump({"seconds": time.process_time() - _began - _saving, "loop_seconds": _looping,
                   "saved_bytes": sum(_bytes), "model_bytes": model}, file)
if _path:
    atexit.register(_tell)
"""


@dataclass(frozen=True, slots=True)
class FromStart:
    """A version with all its statements, run from its start without recording."""

    seconds: float  # of processors, imports left out
    saved_bytes: int  # of torch.save after each epoch
    model_bytes: int  # of the parameters


class Runs:
    """The folders of one system. `server` has imported what its scripts import."""

    def __init__(self, system: System, folder: Path, server: ScriptServer, arguments: Sequence[str] = ()) -> None:
        self.system = system
        self._folder, self._arguments = folder, [*system.arguments, *arguments]
        self._server = server
        self.plain = Repository(folder / "plain" / system.name, python=self._python)
        self.truth = Repository(folder / "truth" / system.name, python=self._python)
        silent = folder / "silent" / "flor_ray"
        silent.mkdir(parents=True)
        (silent / "__init__.py").write_text(SILENT, encoding="utf-8")
        self._silent = silent.parent
        self._again = folder / "again"
        self._again.mkdir()
        self._make_data(system.versions[0].files)

    def record(self, version: SystemVersion) -> None:
        """Both ways, in one random state."""
        for repository, files in ((self.plain, version.files), (self.truth, self.system.asking(version))):
            replace_files(repository.root, files)
            repository.run([self.system.script, "--flor", version.run, *self._arguments], seeded=True)

    def from_start(self, files: Mapping[str, str]) -> FromStart:
        """Run these files without recording."""
        replace_files(self._again, files)
        told = self._folder / "told.json"
        self._run(
            [self.system.script, *self._arguments], self._again, {"PYTHONPATH": str(self._silent), TOLD: str(told)}
        )
        found = json.loads(told.read_text(encoding="utf-8"))
        return FromStart(found["seconds"], found["saved_bytes"], found["model_bytes"])

    def _make_data(self, files: Mapping[str, str]) -> None:
        if MAKES_DATA not in files:
            return
        replace_files(self._again, files)
        self._run([MAKES_DATA], self._again, {})
        for repository in (self.plain, self.truth):
            shutil.copytree(self._again / "data", repository.root / "data")

    def _python(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._run(arguments, folder, {**EVERY, **variables})

    def _run(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        output = self._folder / "output.txt"
        request = Request(arguments[0], arguments[1:], str(folder), environment() | dict(variables), str(output))
        if self._server.run(request) != 0:
            raise ScriptBroke(f"{' '.join(arguments)} in {folder} failed:\n{output.read_text(encoding='utf-8')}")


def server(systems: Iterable[System]) -> ScriptServer:
    """For the scripts of all of these. Close it. Threads that wait do not spin: with several processes on a few cores,
    most of the time would be theirs."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is imported
    return ScriptServer(list(dict.fromkeys([*TRAINING, *(name for system in systems for name in system.imports)])))


def environment() -> dict[str, str]:
    """This process's, without settings of ours."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("FLOR_RAY_", "RANK", "LOCAL_RANK", "RAY_"))}
    return kept | {"TRANSFORMERS_VERBOSITY": "error"}


def replace_files(root: Path, files: Mapping[str, str]) -> None:
    """The user's files become these; data, the store and git's own are left."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in (".git", ".flor", "data") and relative.as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")

"""Which program's runs a path holds, and which runs these are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flor_ray.errors import SourceUnreadable, UsageError
from flor_ray.importing import databases, flordb, leveldb_log, mlflow, tensorboard, wandb_files
from flor_ray.importing.found_runs import FoundRun, Tell
from flor_ray.importing.kinds import KINDS
from flor_ray.wording import counted

_DATABASES = (".db", ".sqlite", ".sqlite3")
_RUNS_OF_FLORDB = os.path.join(".flor", "runs")
_NOT_LOOKED_INTO = frozenset({".git", "node_modules", "__pycache__", ".venv"})


@dataclass(slots=True)
class RunSource:
    """What a path holds."""

    path: str
    runs: list[FoundRun] = field(default_factory=list)  # each once
    notes: list[str] = field(default_factory=list)  # what is not among them, in sentences
    damaged: bool = False  # whether something could not be read


@dataclass(slots=True)
class _SourceFiles:
    """Files that may hold runs, by kind."""

    event_files: dict[str, list[str]] = field(default_factory=dict)  # by folder
    wandb: list[str] = field(default_factory=list)
    mlflow: list[str] = field(default_factory=list)  # folders of runs
    flordb: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)


def find(path: str, kind: str | None, stack: contextlib.ExitStack, tell: Tell) -> RunSource:
    """The runs at a path. Databases are open as long as `stack` is.

    Raises:
        UsageError: nothing is there; or no runs of the `kind`; or runs of several kinds, and none was given.
    """
    if not os.path.exists(path):
        raise UsageError(f"There is nothing at {path}.")
    source = RunSource(path)
    seen = _of_file(path) if os.path.isfile(path) else _of_folder(path, tell)
    ways: dict[str, Callable[[], Iterable[FoundRun]]] = {
        "tensorboard": lambda: _tensorboard(path, seen, source),
        "wandb": lambda: _wandb(seen, source),
        "mlflow": lambda: _mlflow(seen, source),
        "flordb": lambda: _flordb(seen, source),
    }
    found = {name: list(ways[name]()) for name in KINDS if kind in (None, name)}
    for at in seen.databases:
        _database(at, kind, found, source, stack)
    there = {name: runs for name, runs in found.items() if runs}
    if len(there) > 1:
        listed = ", ".join(f"{counted(len(runs), 'run')} of {KINDS[name]}" for name, runs in there.items())
        raise UsageError(
            f"{path} holds {listed}. Say with --kind {'|'.join(there)} which are meant, or give a path below."
        )
    for name, runs in there.items():
        versions: dict[str, FoundRun] = {}
        for run in runs:
            first = versions.setdefault(run.version, run)
            if first is not run and name != "flordb":  # which has each run as a file, and in its database
                source.notes.append(f"{run.where} holds the run that {first.where} holds, which is taken.")
        source.runs = list(versions.values())
    if not source.runs and not source.notes:
        wanted = (
            KINDS[kind]
            if kind
            else "TensorBoard (*tfevents*), wandb (*.wandb), MLflow (mlruns, *.db) or FlorDB (.flor)"
        )
        raise UsageError(f"No run of {wanted} was found at {path}.")
    return source


def _of_file(path: str) -> _SourceFiles:
    seen = _SourceFiles()
    with open(path, "rb") as file:
        beginning = file.read(len(databases.MAGIC))
    if beginning == databases.MAGIC:
        seen.databases.append(path)
    elif beginning.startswith(leveldb_log.HEADER) or path.endswith(wandb_files.SUFFIX):
        seen.wandb.append(path)
    elif path.endswith((flordb.JSONL_SUFFIX, flordb.JSON_FILE)):
        seen.flordb.append(path)
    elif tensorboard.MARK in os.path.basename(path):
        seen.event_files[os.path.dirname(path) or "."] = [path]
    return seen


def _of_folder(path: str, tell: Tell) -> _SourceFiles:
    seen = _SourceFiles()
    looked = 0
    for at, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in _NOT_LOOKED_INTO)
        looked += 1
        tell("Looking into folders", looked, looked + len(folders))
        if mlflow.is_run(at):
            seen.mlflow.append(at)
            folders[:] = []  # what it has below are its artifacts
            continue
        for name in sorted(names):
            _sort(os.path.join(at, name), seen)
    return seen


def _sort(path: str, seen: _SourceFiles) -> None:
    at, name = os.path.split(path)
    if not os.path.isfile(path):
        return
    if tensorboard.MARK in name:
        seen.event_files.setdefault(at, []).append(path)
    elif name.endswith(wandb_files.SUFFIX):
        seen.wandb.append(path)
    elif name == flordb.JSON_FILE or (name.endswith(flordb.JSONL_SUFFIX) and at.endswith(_RUNS_OF_FLORDB)):
        seen.flordb.append(path)
    elif name.endswith(_DATABASES):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if file.read(len(databases.MAGIC)) == databases.MAGIC:
                seen.databases.append(path)


def _tensorboard(path: str, seen: _SourceFiles, source: RunSource) -> Iterable[FoundRun]:
    for folder, files in seen.event_files.items():
        below = os.path.relpath(folder, path) if os.path.isdir(path) else "."
        name = os.path.basename(os.path.abspath(folder)) if below == "." else below.replace(os.sep, "/")
        with _told(source):
            yield tensorboard.run_of(folder, name, files)


def _wandb(seen: _SourceFiles, source: RunSource) -> Iterable[FoundRun]:
    parts = []
    for path in seen.wandb:
        with _told(source):
            parts.append(wandb_files.part_of(path))
    return wandb_files.runs_of(parts)


def _mlflow(seen: _SourceFiles, source: RunSource) -> Iterable[FoundRun]:
    deleted = 0
    for folder in seen.mlflow:
        with _told(source):
            run = mlflow.run_of(folder)
            if run is None:
                deleted += 1
            else:
                yield run
    if deleted:
        source.notes.append(f"Without {counted(deleted, 'folder')} of models, and of runs that MLflow has as deleted.")


def _flordb(seen: _SourceFiles, source: RunSource) -> Iterable[FoundRun]:
    for path in seen.flordb:
        with _told(source):
            yield from flordb.run_of_file(path)


def _database(
    path: str, kind: str | None, found: dict[str, list[FoundRun]], source: RunSource, stack: contextlib.ExitStack
) -> None:
    """Add the runs of a database of MLflow or FlorDB; others are none of ours."""
    with _told(source):
        connection = stack.enter_context(databases.opened(path))
        with databases.damaged(path):
            known = databases.tables_of(connection)
        for name, program in (("mlflow", mlflow), ("flordb", flordb)):
            if kind in (None, name) and all(columns <= known.get(t, set()) for t, columns in program.TABLES.items()):
                found[name] += program.runs_in(path, connection)


@contextlib.contextmanager
def _told(source: RunSource) -> Iterator[None]:
    """What is damaged costs itself, and is told."""
    try:
        yield
    except SourceUnreadable as error:
        source.damaged = True
        source.notes.append(str(error))
    except OSError as error:
        source.damaged = True
        source.notes.append(f"{error.filename or source.path} cannot be read: {error.strerror or error}.")

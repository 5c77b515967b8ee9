"""How long a question takes until the statement stands in every version: a project of 20 files, 300 versions, nothing
remembered. From the store to patched sources, as `flor-ray explain` does it; each version edits its script, or others
of its files, or both."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from flor_ray.records import Experiment, SourceFile, Status
from flor_ray.store.project import Project
from propagating.drafts import Draft
from propagating.edits import EDITS
from propagating.sizes import pieces
from propagating.synthetic import scripts

# What most commits do; a hundred of them one after another still leave a script that somebody would know again.
_SMALL = ("change_constant", "change_arguments", "add_print", "add_statements", "rename_variables", "remove_statement")
VERSIONS, FILES, LINES = 300, 20, 300
_SCRIPT = "train.py"
_AFTER = "        gap = valid_loss - train_loss\n"
_PROBE = '        flor.log("probe", gap)\n'
_ASK = """
import sys, time
from flor_ray.patching import statements
from flor_ray.store.project import Project
project, began = Project.open(), time.perf_counter()
found = statements.propagated(project, ["probe"])
seconds = time.perf_counter() - began
placed = sum(finding.fate.value == "placed" for _, finding in found.findings)
print(seconds, time.process_time(), placed, len(found.patched))
"""


@dataclass(frozen=True, slots=True)
class Whole:
    """What it took to carry one statement into all versions of a history."""

    versions: int
    scripts: int  # that differ
    placed: int
    seconds: float
    cpu_seconds: float  # of that process, its start included


def whole(seed: int = 0) -> Whole:
    """One log into all versions of a history, in a process of its own."""
    history = _history(random.Random(f"whole {seed}"))
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        _recorded(Path(folder), history)
        script = history[-1][_SCRIPT]
        Path(folder, _SCRIPT).write_text(script.replace(_AFTER, _AFTER + _PROBE), encoding="utf-8")
        environment = os.environ | {"FLOR_RAY_CACHE": str(Path(folder, ".cache"))}  # nothing is remembered
        ran = subprocess.run(
            [sys.executable, "-c", _ASK], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
    seconds, cpu_seconds, placed, versions = ran.stdout.split()
    return Whole(
        int(versions),
        len({files[_SCRIPT] for files in history}),
        int(placed),
        round(float(seconds), 2),
        round(float(cpu_seconds), 2),
    )


def _history(rng: random.Random) -> list[dict[str, str]]:
    """The files of each version, oldest first."""
    files = {f"part_{number}.py": _module(rng) for number in range(FILES - 1)}
    files[_SCRIPT] = scripts()["cnn_validation"].replace("  #@edge", "") + "\n"
    found = [dict(files)]
    while len(found) < VERSIONS:
        for path in rng.sample(sorted(files), rng.randrange(1, 4)) + [_SCRIPT] * rng.randrange(2):
            files[path] = _edited(files[path], rng)
        found.append(dict(files))
    return found


def _module(rng: random.Random) -> str:
    return "\n".join(["import flor_ray as flor", *(piece.newer for piece in pieces(LINES, rng))]) + "\n"


def _edited(source: str, rng: random.Random) -> str:
    for _ in range(5):
        changed = EDITS[rng.choice(_SMALL)](Draft(source), rng)
        try:
            ast.parse(changed or "")
        except SyntaxError:
            continue
        if changed and (_AFTER not in source or changed.count(_AFTER) == 1) and len(changed) < 2 * len(source):
            return changed.replace("  #@edge", "")
    return source


def _recorded(folder: Path, history: list[dict[str, str]]) -> None:
    subprocess.run(["git", "init", "--quiet", "."], cwd=folder, check=True)
    for path, text in history[-1].items():
        (folder / path).write_text(text, encoding="utf-8")
    project, parent = Project.open(str(folder)), None
    for number, files in enumerate(history):
        version = hashlib.sha1(f"version {number}".encode()).hexdigest()
        began = time.time() + number
        run = Experiment(project.name, version, parent, _SCRIPT, f"run {number}", began, None, Status.RUNNING)
        project.store.begin_run(run)
        data = {path: text.encode() for path, text in files.items()}
        mirrored = {path: SourceFile(each, "100644", hashlib.sha1(each).hexdigest()) for path, each in data.items()}
        project.store.write_sources(project.name, version, parent, mirrored)
        ended = Experiment(
            *(project.name, version, parent, _SCRIPT, f"run {number}", began, began + 1, Status.FINISHED),
            main_loop="epoch",
            epochs=30,
        )
        project.store.end_run(ended)
        parent = version

"""What recording costs a run of a minute: beside the same run without recording, in processor seconds.

Both are processes of their own, with our defaults (checkpoints within 2 %), and take turns, so that whatever else the
machine does troubles them alike. Two processes of one script differ by some percent, wherever their memory happens to
lie: of several pairs the middle one is told. Beside the ratio stands what recording accounts for itself, which is what
a run of hours would pay: the seconds of checkpoints against those of epochs, without what a run pays once. Modules are
compiled before, as after an installation.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from record import Turns

from evaluating.histories import MAKES_DATA, System
from evaluating.runs import SILENT, TOLD, environment, replace_files
from flor_ray.store.project import Project

SECONDS, QUICK_SECONDS = 60.0, 12.0
_PROBE_EPOCHS = 2
_MOST_EPOCHS = 1000
_COUNTED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("processor seconds", used.ru_utime + used.ru_stime)
sys.exit(status)
"""


def measure(system: System, seconds: float, pairs: int, say: Callable[[str], None]) -> dict[str, object]:
    """The newest version for about so many processor seconds, with recording and without, so many times."""
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as name:
        roots = _folders(system, Path(name))
        probe = _run(system, roots, ["plain", "flor"], _PROBE_EPOCHS)["plain"]  # compiles the modules of both, too
        told = json.loads((Path(name) / "told.json").read_text(encoding="utf-8"))
        epoch = max(0.01, told["loop_seconds"] / _PROBE_EPOCHS)
        epochs = max(_PROBE_EPOCHS, min(_MOST_EPOCHS, round((seconds - (probe - told["loop_seconds"])) / epoch)))
        used = [_run(system, roots, ["plain", "flor"], epochs) for _ in range(pairs)]
        accounted = _accounted(roots["flor"])
    overheads = [100 * (each["flor"] / each["plain"] - 1) for each in used]
    found = {
        "overhead_epochs": epochs,
        "overhead_plain_seconds": [round(each["plain"], 2) for each in used],
        "overhead_flor_seconds": [round(each["flor"], 2) for each in used],
        "record_overhead_pct": round(median(overheads), 2),
        "long_run_overhead_pct": round(accounted, 2),
    }
    say(f"{system.name}: {json.dumps(found)}")
    return found


def _folders(system: System, folder: Path) -> dict[str, Path]:
    silent = folder / "silent" / "flor_ray"
    silent.mkdir(parents=True)
    (silent / "__init__.py").write_text(SILENT, encoding="utf-8")
    roots = {way: folder / way for way in ("plain", "flor")}
    files = system.versions[-1].files
    for root in roots.values():
        root.mkdir()
        subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
        replace_files(root, files)
    if MAKES_DATA in files:
        subprocess.run([sys.executable, MAKES_DATA], cwd=roots["plain"], check=True, env=environment())
        shutil.copytree(roots["plain"] / "data", roots["flor"] / "data")
    return roots


def _run(system: System, roots: Mapping[str, Path], ways: Sequence[str], epochs: int) -> dict[str, float]:
    """Processor seconds of each way, from start to exit."""
    turns = {way: Turns(_command(system, epochs), roots[way], _environment(way, roots[way].parent)) for way in ways}
    order = list(turns.values())
    while not all(turn.done for turn in order):
        order.reverse()
        for turn in order:
            turn.take()
    return {way: float(re.findall(r"processor seconds ([\d.]+)", turn.output())[-1]) for way, turn in turns.items()}


def _command(system: System, epochs: int) -> list[str]:
    script = [sys.executable, system.script, *system.arguments, "--epochs", str(epochs)]
    return [sys.executable, "-c", _COUNTED, *script]


def _environment(way: str, folder: Path) -> dict[str, str]:
    variables = environment() | {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "OMP_WAIT_POLICY": "PASSIVE"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    if way == "plain":
        variables |= {"PYTHONPATH": str(folder / "silent"), TOLD: str(folder / "told.json"), "FLOR_BENCH_SAVES": "0"}
    return variables


def _accounted(root: Path) -> float:
    """Seconds of checkpoints, in both threads, in percent of the epochs'."""
    project = Project.open(str(root))
    experiment = project.experiments()[-1]
    checkpoints = project.store.checkpoints(project.name, experiment.version)
    seconds = sum(c.seconds + c.background_seconds for c in checkpoints if c.epoch > 0)
    epochs = sum(times.seconds for times in experiment.profile.epochs)
    return 100 * seconds / epochs if epochs else 0.0

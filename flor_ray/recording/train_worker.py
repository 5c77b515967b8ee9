"""A worker of Ray Train, as a rank that can be replayed: which script its driver runs, how that was started.

Ray is looked up among the modules that are there: who records in one of its workers has it.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flor_ray.recording import flags

_UTILS = "ray.train.v2._internal.execution.train_fn_utils"


@dataclass(frozen=True, slots=True)
class TrainDriver:
    """How the process was started that has called `TorchTrainer(...).fit()`."""

    script: Path  # that it runs
    argv: tuple[str, ...] = ()  # what followed the script's name, without our flags
    cwd: str = ""  # "": not known
    module: str = ""  # under which it runs as `python -m` does


def goes_on_from_a_checkpoint() -> bool | None:
    """Whether this worker's function was given a checkpoint to go on from; None: it is no worker of Ray Train's second
    version."""
    utils: Any = sys.modules.get(_UTILS)
    if utils is None or getattr(utils, "_train_fn_utils", None) is None:
        return None
    return utils.get_train_fn_utils().get_checkpoint() is not None


def driver_of(file: Path) -> TrainDriver | None:
    """The driver of this worker, which runs a function of `file`; None: what it runs cannot be seen, or is none."""
    if goes_on_from_a_checkpoint() is not False:
        return None
    try:
        ray: Any = sys.modules["ray"]
        own = ray.get_runtime_context().get_job_id()
        (job,) = [one for one in ray._private.state.jobs() if one["JobID"] == own]
        is_here = job["DriverIPAddress"] == ray.util.get_node_ip_address()
        pid, entrypoint = int(job["DriverPid"]), str(job["Entrypoint"])
    except Exception:  # noqa: BLE001 - Ray tells it in no public function; then nobody knows, which the run says
        return None
    if is_here and (words := _words_of(pid)):
        return parsed(words, file, _folder_of(pid))
    return parsed(shlex.split(entrypoint), file, "")


def parsed(words: Sequence[str], file: Path, cwd: str) -> TrainDriver | None:
    """What a command line says of the script that it runs. Without the folder in which that was, it is the script only
    if it has the name of `file`. Pure, but for links."""
    for index, word in enumerate(words[1:], start=1):
        argv = tuple(flags.parse(words[index + 1 :])[1])
        if word == "-m" and index + 1 < len(words):
            module = words[index + 1]
            is_it = file.with_suffix("").as_posix().endswith("/" + module.replace(".", "/"))
            return TrainDriver(file, argv[1:], cwd, module) if is_it else None
        if word.endswith(".py"):
            if cwd:
                return TrainDriver(Path(os.path.realpath(os.path.join(cwd, word))), argv, cwd)
            return TrainDriver(file, argv) if Path(word).name == file.name else None
    return None


def _words_of(pid: int) -> list[str]:
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # no /proc, or it is another user's
        return []
    return [word.decode(errors="replace") for word in data.split(b"\0")[:-1]]


def _folder_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""

"""What processes that were killed have left on this machine: their temporary folders, and what still runs in those.

    flor-<what>-<place>-<process>-<since>-<random>      whose name tells who owns it (processes.folder_prefix)
        process.txt                                     of a version's folder: the replay process that runs in it
        scratch.txt                                     another folder that goes with it

A folder goes when its owner is surely gone: it was a process of this host and of this user, and has ended. One with a
failed script's output (`output_log`) stays for a day. Several sweepers at once do no harm: what one has removed is
nothing to the other.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path

from flor_ray import processes
from flor_ray.replaying.sandbox.plain_files import remove_tree

LOG = "log"  # what the folder is for in which a failed script's output is
_LOG_SECONDS = 86_400.0  # for which that stays
_PROCESS, _SCRATCH = "process.txt", "scratch.txt"
_swept = threading.Event()  # once in a process is enough


def note_process(folder: Path, process: int) -> None:
    """A replay process, which leads its process group, runs in this folder."""
    folder.joinpath(_PROCESS).write_text(f"{process} {processes.started(process)}", encoding="ascii")


def note_scratch(folder: Path, scratch: str) -> None:
    """What runs in this folder has another one for its temporary files. Both go together."""
    folder.joinpath(_SCRATCH).write_text(scratch, encoding="utf-8", errors="surrogateescape")


def sweep_once() -> None:
    """Sweep beside what this process does, unless it has done so before."""
    if not _swept.is_set():
        _swept.set()
        processes.start_background(sweep, name="flor-sweep")


def sweep(temporary: str | None = None) -> tuple[str, ...]:
    """End the processes that owners of temporary folders have left behind, and remove the folders. Returns their
    names."""
    base = temporary or tempfile.gettempdir()
    found = []
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        found = [entry for entry in entries if processes.owner_is_gone(entry.name) and _may_go(entry)]
    for entry in found:
        _end_process(Path(entry.path))
        remove(entry.path)
    return tuple(sorted(entry.name for entry in found))


def remove(folder: str | Path) -> None:
    """Remove a folder, and the scratch folder that goes with it, also where a script has forbidden that. What cannot
    be removed stays."""
    with contextlib.suppress(OSError, ValueError):
        scratch = Path(folder, _SCRATCH).read_text(encoding="utf-8", errors="surrogateescape")
        if processes.owner(os.path.basename(scratch)) is not None:  # no other folder, whatever a script has written
            remove_tree(scratch)
    remove_tree(str(folder))


def _may_go(entry: os.DirEntry[str]) -> bool:
    try:
        about = entry.stat(follow_symlinks=False)
        if entry.name.startswith(f"flor-{LOG}-") and time.time() - about.st_mtime < _LOG_SECONDS:
            return False
        return entry.is_dir(follow_symlinks=False) and about.st_uid == os.geteuid()
    except OSError:  # another one has removed it
        return False


def _end_process(folder: Path) -> None:
    try:
        found = re.fullmatch(r"(\d+) (\d+)", folder.joinpath(_PROCESS).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if found is None:
        return
    process, since = int(found[1]), int(found[2])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if processes.is_running(process, since) and os.getpgid(process) == process:
            os.killpg(process, signal.SIGKILL)

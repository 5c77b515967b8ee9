"""Processes of this machine, and what they hold: who is still there, since when, and how much memory. psutil's door.

A process is told from a later one that was given the same number by when it began. psutil is imported when it is asked:
`import flor_ray` does without.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LINUX = sys.platform == "linux"
_CGROUPS = Path("/sys/fs/cgroup")


def started(pid: int) -> int | None:
    """When a process of this host began, in clock ticks; None if it is gone or the system does not say.

    Stores keep it. On Linux the ticks are counted from boot, as in /proc, where older releases read them: setting the
    clock does not move them. Elsewhere they are counted from 1970, since there the system keeps the time of a start.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else _ticks(process)
    except psutil.Error:
        return None


def is_running(pid: int, since: object) -> bool:
    """Whether the process that had this number, and began when `started` said `since`, still runs. Where the system
    does not say, and for what is no start (None), the number has to do."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # someone else's process, which the system may hide
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        now = _ticks(process)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # psutil makes these of two readings of a clock that may be set between them, so they are equal to within a second.
    return now is None or not isinstance(since, int) or abs(now - since) <= _ticks_per_second()


def age_seconds() -> float:
    """How long ago this process began; if the system does not say, the time that it has computed."""
    ticks = started(os.getpid())
    if ticks is None:
        return time.process_time()
    now = time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.time()
    return max(0.0, now - ticks / _ticks_per_second())


def group_bytes(group: int, enough: int = 0) -> int:
    """Memory of a process group: what its processes have to themselves, and their share of what several map.

    Where a sum that counts shared pages in full is at most `enough` already, that is the answer: it costs less.
    """
    import psutil

    resident: dict[psutil.Process, int] = {}
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group:
                process = psutil.Process(pid)
                resident[process] = process.memory_info().rss
        except (ProcessLookupError, PermissionError, psutil.Error):  # it has ended, or is none of ours
            continue
    if sum(resident.values()) <= enough:
        return sum(resident.values())
    return sum(_proportional_bytes(process, size) for process, size in resident.items())


def machine_bytes() -> int:
    """The memory that processes like this one may have: the machine's, or less where control groups limit it."""
    import psutil

    return min([int(psutil.virtual_memory().total), *_control_group_bytes()])


def _ticks(process: psutil.Process) -> int | None:
    """See `started`. Raises psutil.Error if the process is gone or may not be looked at."""
    import psutil

    try:
        # Older releases of psutil add the boot time that was read last: it is read before.
        epoch = psutil.boot_time() if _LINUX else 0.0
        seconds = float(process.create_time() - epoch)
        return round(seconds * _ticks_per_second())
    except (OSError, RuntimeError):  # a sandbox without /proc/stat
        return None


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


def _proportional_bytes(process: psutil.Process, resident: int) -> int:
    import psutil

    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    except psutil.AccessDenied:
        return resident
    share: int = getattr(memory, "pss", memory.uss)  # macOS knows only what a process has to itself
    return share


def _control_group_bytes() -> list[int]:
    """The limits of the control groups, of either version, that this process is in. psutil does not know them."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = base / path.lstrip("/")
        for place in (folder, *folder.parents):
            try:
                text = place.joinpath(name).read_text().strip()
            except OSError:  # a folder of another namespace, or above the control groups
                continue
            if text.isdigit():
                found.append(int(text))
    return found

"""Limits of a replayed segment: how they are written, and whether a process group keeps them (as /proc says)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flor_ray.cache import parse_bytes
from flor_ray.errors import UsageError
from flor_ray.records import Limits
from flor_ray.retention import parse_seconds

_LOOK_SECONDS = 0.5  # between two looks at the memory
_LOOK_SHARE = 0.02  # of the time may go into looking: on a machine with many processes it is done less often
_MACHINE_SHARE = 0.9  # of the machine's memory, where no limit is given: what the system needs is left to it
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def parse_limits(time_limit: float | str | None, memory_limit: int | str | None) -> Limits:
    """Limits as users write them: seconds, or a span such as "10m"; bytes, or a size such as "8GB".

    Raises:
        UsageError: one of them is neither, or is not more than zero.
    """
    seconds = parse_seconds(time_limit) if isinstance(time_limit, str) else time_limit
    size = parse_bytes(memory_limit, "memory limit", "") if isinstance(memory_limit, str) else memory_limit
    if seconds is not None and seconds <= 0:
        raise UsageError(f"A time limit of {time_limit} leaves no time at all. Write a number of seconds, or 10m.")
    if size is not None and size <= 0:
        raise UsageError(f"A memory limit of {memory_limit} leaves no memory at all. Write a number of bytes, or 8GB.")
    return Limits(seconds, size)


class Watch:
    """Whether a segment that runs in the process group `group` since `began` (time.monotonic) keeps its limits."""

    def __init__(self, limits: Limits, group: int, began: float) -> None:
        if limits.memory_bytes is not None and not _PROC.joinpath("self/stat").exists():
            raise UsageError("A memory limit needs Linux: this machine has no /proc to read a process's memory from.")
        self._limits = limits
        self._group = group
        self._began = began
        self._memory_bytes = limits.memory_bytes or machine_bytes()
        self._next_look = began + _LOOK_SECONDS

    def breach(self) -> str | None:
        """What limit the segment has exceeded, and what to do about it; None while it keeps them."""
        now = time.monotonic()
        seconds = self._limits.seconds
        if seconds is not None and now - self._began > seconds:
            return (
                f"The segment was ended after {now - self._began:.1f} s: its time limit is {seconds:g} s, set-up "
                "included. Give it more by --time-limit (time_limit= in Python), or leave the limit out."
            )
        if self._memory_bytes is None or now < self._next_look:
            return None
        used = group_bytes(self._group, self._memory_bytes)
        self._next_look = now + max(_LOOK_SECONDS, (time.monotonic() - now) / _LOOK_SHARE)
        if used <= self._memory_bytes:
            return None
        given = "its limit" if self._limits.memory_bytes else f"{_MACHINE_SHARE:.0%} of this machine's memory"
        return (
            f"The segment was ended when its processes held {_size(used)} of memory: {given} is "
            f"{_size(self._memory_bytes)}. Give it more by --memory-limit (memory_limit= in Python)"
            + (", or leave the limit out." if self._limits.memory_bytes else ", or replay on fewer or larger workers.")
        )


def group_bytes(group: int, enough: int = 0) -> int:
    """Memory of a process group: what its processes have to themselves, and their share of what several map.

    Where a sum that counts shared pages in full is at most `enough` already, that is the answer: it costs less.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    resident: dict[str, int] = {}
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            fields = _PROC.joinpath(entry, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group:
            resident[entry] = int(fields[21]) * page
    if sum(resident.values()) <= enough:
        return sum(resident.values())
    return sum(_proportional_bytes(entry, size) for entry, size in resident.items())


def _proportional_bytes(process: str, resident: int) -> int:
    try:
        lines = _PROC.joinpath(process, "smaps_rollup").read_text().splitlines()
    except ProcessLookupError:  # it has ended
        return 0
    except OSError:  # a kernel without it, or a process that we may not look into
        return resident
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def machine_bytes() -> int | None:
    """The memory that a segment may take where no limit is given; None where it cannot be known."""
    try:
        fields = _PROC.joinpath("meminfo").read_text().split()
    except OSError:
        return None
    total = int(fields[fields.index("MemTotal:") + 1]) * 1024
    return int(min([total, *_control_group_bytes()]) * _MACHINE_SHARE)


def _control_group_bytes() -> list[int]:
    """The limits of the control groups, of either version, that this process is in."""
    found = []
    for line in _PROC.joinpath("self/cgroup").read_text().splitlines():
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


def _size(count: int) -> str:
    return f"{count / (1 << 30):.2f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"

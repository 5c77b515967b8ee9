"""Limits of a replayed segment: how they are written, and whether a process group keeps them."""

from __future__ import annotations

import time

from flor_ray import processes
from flor_ray.errors import UsageError
from flor_ray.records import Limits
from flor_ray.wording import parse_bytes, parse_seconds

_LOOK_SECONDS = 0.5  # between two looks at the memory
_LOOK_SHARE = 0.02  # of the time may go into looking: on a machine with many processes it is done less often
_MACHINE_SHARE = 0.9  # of the machine's memory, where no limit is given: what the system needs is left to it


def parse_limits(time_limit: float | str | None, memory_limit: int | str | None, retries: int | None = None) -> Limits:
    """Limits as users write them: seconds, or a span such as "10m"; bytes, or a size such as "8GB".

    Raises:
        UsageError: one of them is neither, or is not more than zero; or `retries` is less.
    """
    seconds = parse_seconds(time_limit) if isinstance(time_limit, str) else time_limit
    size = parse_bytes(memory_limit, "memory limit") if isinstance(memory_limit, str) else memory_limit
    if seconds is not None and seconds <= 0:
        raise UsageError(f"A time limit of {time_limit} leaves no time at all. Write a number of seconds, or 10m.")
    if size is not None and size <= 0:
        raise UsageError(f"A memory limit of {memory_limit} leaves no memory at all. Write a number of bytes, or 8GB.")
    if retries is not None and retries < 0:
        raise UsageError(f"{retries} retries cannot be: give 0 or more.")
    return Limits(seconds, size) if retries is None else Limits(seconds, size, retries)


class Watch:
    """Whether a segment that runs in the process group `group` since `began` (time.monotonic) keeps its limits."""

    def __init__(self, limits: Limits, group: int, began: float) -> None:
        self._limits = limits
        self._group = group
        self._began = began
        self._memory_bytes = limits.memory_bytes or int(processes.machine_bytes() * _MACHINE_SHARE)
        self._next_look = began + _LOOK_SECONDS

    def breach(self) -> str | None:
        """What limit the segment has exceeded, and what to do about it; None while it keeps them."""
        now = time.monotonic()
        seconds = self._limits.seconds
        if seconds is not None and now - self._began > seconds:
            return (
                f"The segment was ended after {now - self._began:.1f} s: its time limit is {seconds:g} s, set-up "
                "included. Give it more with --time-limit (time_limit= in Python), or leave the limit out."
            )
        if now < self._next_look:
            return None
        used = processes.group_bytes(self._group, self._memory_bytes)
        self._next_look = now + max(_LOOK_SECONDS, (time.monotonic() - now) / _LOOK_SHARE)
        if used <= self._memory_bytes:
            return None
        given = "its limit" if self._limits.memory_bytes else f"{_MACHINE_SHARE:.0%} of this machine's memory"
        return (
            f"The segment was ended when its processes held {_size(used)} of memory: {given} is "
            f"{_size(self._memory_bytes)}. Give it more with --memory-limit (memory_limit= in Python)"
            + (", or leave the limit out." if self._limits.memory_bytes else ", or replay on fewer or larger workers.")
        )


def _size(count: int) -> str:
    return f"{count / (1 << 30):.2f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"

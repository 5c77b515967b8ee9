"""Limits of a replayed segment: how they are written, and whether a process group keeps them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flor_ray import processes
from flor_ray.errors import LimitExceeded, MemoryShort, ScriptFailed, SegmentHung, UsageError
from flor_ray.records import Limits
from flor_ray.replaying import memory
from flor_ray.scheduler.overdue import grown
from flor_ray.settings import NO_LIMIT
from flor_ray.wording import counted, parse_bytes, parse_seconds, roughly

_LOOK_SECONDS = 0.5  # between two looks at the memory
_LOOK_SHARE = 0.02  # of the time may go into looking: on a machine with many processes it is done less often
_MACHINE_SHARE = 0.9  # of the machine's memory, where no limit is given: what the system needs is left to it


def parse_limits(
    time_limit: float | str | None,
    memory_limit: int | str | None,
    retries: int | None = None,
    commit: float | str | None = None,
    outage: float | str | None = None,
) -> Limits:
    """Limits as users write them: seconds, a span such as "10m", or "none" for `time_limit`; bytes, or a size such as
    "8GB". None: the default.

    Raises:
        UsageError: one of them is neither, or is not more than zero; or `retries` is less.
    """
    none = time_limit == NO_LIMIT
    seconds = math.inf if none else parse_seconds(time_limit) if isinstance(time_limit, str) else time_limit
    size = parse_bytes(memory_limit, "memory limit") if isinstance(memory_limit, str) else memory_limit
    if seconds is not None and seconds <= 0:
        raise UsageError(f"A time limit of {time_limit} leaves no time at all. Write seconds, a span (10m), or none.")
    if size is not None and size <= 0:
        raise UsageError(f"A memory limit of {memory_limit} leaves no memory at all. Write a number of bytes, or 8GB.")
    if retries is not None and retries < 0:
        raise UsageError(f"{retries} retries cannot be: give 0 or more.")
    given: dict[str, Any] = {
        "retries": retries,
        "commit_seconds": parse_seconds(commit) if isinstance(commit, str) else commit,
        "outage_seconds": parse_seconds(outage) if isinstance(outage, str) else outage,
    }
    return replace(Limits(seconds, size), **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a segment is to be ended."""

    error: type[ScriptFailed]
    sentence: str
    hangs: bool  # it is worth telling where it is


class Watch:
    """Whether a segment that runs in these process groups since `began` (time.monotonic) keeps its limits.

    `longest_seconds` is what the longest step of the same version has taken so far. Seconds that `waited` tells, which
    only grow, do not count: for a store that was away.
    """

    def __init__(
        self,
        limits: Limits,
        groups: Sequence[int],
        began: float,
        longest_seconds: float = 0.0,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._limits = limits
        self._waited, self._waited_before = waited, waited()
        self._groups = groups
        self._began = began
        self._step = 0, began, self._waited_before  # epoch, since when, and what had been waited by then
        self.longest_seconds = longest_seconds
        self._memory_bytes = limits.memory_bytes or int(processes.machine_bytes() * _MACHINE_SHARE)
        self._tight_since: float | None = None
        self._next_look = began + _LOOK_SECONDS

    def breach(self, epoch: int = 0) -> Breach | None:
        """What limit the segment has exceeded, which is in this epoch, and what to do about it; None while it keeps
        them."""
        now = time.monotonic()
        if epoch != self._step[0]:
            self.ends()
            self._step = epoch, now, self._waited()
        return self._too_long(now) or self._too_large(now)

    def ends(self) -> None:
        """The step has ended by itself."""
        self.longest_seconds = max(self.longest_seconds, self._step_seconds(time.monotonic()))

    def _step_seconds(self, now: float) -> float:
        _, since, waited = self._step
        return now - since - (self._waited() - waited)

    def _too_long(self, now: float) -> Breach | None:
        seconds = self._limits.seconds
        if seconds is not None:
            ran = now - self._began
            if ran <= seconds or (ran := ran + self._waited_before - self._waited()) <= seconds:
                return None
            sentence = (
                f"The segment was ended after {ran:.1f} s: its time limit is {seconds:g} s, set-up "
                "included. Give it more with --time-limit (time_limit= in Python), or leave the limit out."
            )
            return Breach(LimitExceeded, sentence, hangs=True)
        epoch, seconds = self._step[0], self._step_seconds(now)
        step_seconds = self._limits.step_seconds
        if step_seconds is None or seconds <= grown(step_seconds, self.longest_seconds):
            return None
        expected = (
            ""
            if self._limits.late_seconds is None
            else f", and {roughly(self._limits.late_seconds)} at most was expected"
        )
        at = f"in epoch {epoch}" if epoch else "before its first epoch, or outside the main loop"
        sentence = (
            f"The script hangs: it has been {at} for {roughly(seconds)}{expected}. It was ended. If it only takes "
            "long, replay it with --time-limit none (time_limit= in Python), or with a limit of your own."
        )
        return Breach(SegmentHung, sentence, hangs=True)

    def _too_large(self, now: float) -> Breach | None:
        if now < self._next_look:
            return None
        used = sum(processes.group_bytes(group, self._memory_bytes) for group in self._groups)
        self._next_look = now + max(_LOOK_SECONDS, (time.monotonic() - now) / _LOOK_SHARE)
        if used <= self._memory_bytes:
            return self._too_tight(now)
        given = "its limit" if self._limits.memory_bytes else f"{_MACHINE_SHARE:.0%} of this machine's memory"
        sentence = (
            f"The segment was ended when its processes held {_size(used)} of memory: {given} is "
            f"{_size(self._memory_bytes)}. Give it more with --memory-limit (memory_limit= in Python)"
            + (", or leave the limit out." if self._limits.memory_bytes else ", or replay on fewer or larger workers.")
        )
        return Breach(LimitExceeded if self._limits.memory_bytes else MemoryShort, sentence, hangs=False)

    def _too_tight(self, now: float) -> Breach | None:
        seen = memory.state()
        if seen is None:
            self._tight_since = None
            return None
        tight_seconds = 0.0 if self._tight_since is None else now - self._tight_since
        self._tight_since = now - tight_seconds
        if not memory.verdict(seen, os.getpid(), tight_seconds):
            return None
        sentence = (
            f"The segment was ended before its machine ran out of memory: {_size(seen.in_use)} of {_size(seen.limit)} "
            f"were in use, {_size(seen.by_worker[os.getpid()])} of that by this worker's processes, which held most of "
            f"{counted(len(seen.by_worker), 'worker')} here. Have fewer of them on one machine (memory: in flor.yaml, "
            "or --workers), or larger machines."
        )
        return Breach(MemoryShort, sentence, hangs=False)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.2f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"

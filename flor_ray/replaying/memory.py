"""Whether a machine is about to run out of memory, and which of its workers then ends what it replays.

A replay's memory is in processes of its own, which Ray's monitor does not count as the actor's: it would shoot any
actor when the machine is full, and the kernel any process. So each worker looks in time, and the one whose processes
hold most ends them. `verdict` is pure.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from flor_ray import processes

_TIGHT = 0.9  # of the memory
_SHOOTS = (
    "RAY_memory_usage_threshold"  # the share from which on Ray shoots, 0.95 unless nodes were started with another
)
_BEFORE = 0.05  # of the memory, before that
_LEAST = 0.05  # of it that a worker has to hold: else others are the reason, and nothing is gained
_YIELD_SECONDS = 3.0  # a worker that does not hold most lets that one go first


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What a worker sees. Bytes."""

    in_use: int  # of all that there is
    limit: int
    by_worker: Mapping[int, int]  # process of each worker of this machine -> what it and its processes hold


def state() -> MemoryState | None:
    """How it stands; None while there is enough memory."""
    in_use, limit = processes.machine_use()
    if in_use <= _tight() * limit:
        return None
    try:
        names = os.listdir(tempfile.gettempdir())
    except OSError:
        names = []
    workers = processes.owners(names, "worker") | {os.getpid()}
    return MemoryState(in_use, limit, {worker: processes.tree_bytes(worker) for worker in sorted(workers)})


def _tight() -> float:
    try:
        return min(_TIGHT, float(os.environ[_SHOOTS]) - _BEFORE)
    except (KeyError, ValueError):
        return _TIGHT


def verdict(seen: MemoryState, worker: int, tight_seconds: float) -> bool:
    """Whether this worker is the one to end what it replays, if memory has been tight for so long."""
    own = seen.by_worker[worker]
    if own < _LEAST * seen.limit:
        return False
    most = max(seen.by_worker, key=lambda each: (seen.by_worker[each], each))
    return worker == most and (tight_seconds == 0.0 or tight_seconds >= _YIELD_SECONDS)

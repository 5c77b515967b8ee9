"""Who ends what it replays when a machine's memory is nearly used up."""

from __future__ import annotations

import os
import time

import pytest

from flor_ray import processes
from flor_ray.errors import LimitExceeded, MemoryShort
from flor_ray.records import Limits
from flor_ray.replaying import memory
from flor_ray.replaying.limits import Watch
from flor_ray.replaying.memory import MemoryState, verdict

GB = 1 << 30


@pytest.mark.parametrize(
    ("by_worker", "tight_seconds", "ends"),
    [
        ({1: 20 * GB, 2: 5 * GB}, 0.0, True),
        ({1: 5 * GB, 2: 20 * GB}, 0.0, False),
        ({1: 5 * GB, 2: 4 * GB}, 0.5, False),  # another one that held more has just ended its own
        ({1: 5 * GB, 2: 4 * GB}, 3.5, True),
        ({1: 5 * GB, 2: 5 * GB}, 0.0, False),  # of equals one
        ({2: 5 * GB, 1: 5 * GB, 0: 5 * GB}, 9.0, False),
        ({1: GB}, 9.0, False),  # others fill the machine
        ({1: 2 * GB}, 0.0, True),
    ],
)
def test_the_worker_that_holds_most_ends_what_it_replays(
    by_worker: dict[int, int], tight_seconds: float, ends: bool
) -> None:
    assert verdict(MemoryState(30 * GB, 32 * GB, by_worker), 1, tight_seconds) == ends


def test_memory_is_tight_near_the_limit_and_workers_of_this_machine_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "machine_use", lambda: (89, 100))
    assert memory.state() is None
    monkeypatch.setattr(processes, "machine_use", lambda: (91, 100))
    found = memory.state()
    assert found is not None
    assert (found.in_use, found.limit) == (91, 100)
    assert found.by_worker[os.getpid()] > 10 << 20
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.5")  # Ray would shoot sooner
    monkeypatch.setattr(processes, "machine_use", lambda: (46, 100))
    assert memory.state() is not None
    monkeypatch.setattr(processes, "machine_use", lambda: (44, 100))
    assert memory.state() is None


def test_a_segment_is_ended_with_what_used_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = MemoryState(15 * GB, 16 * GB, {os.getpid(): 9 * GB, 1: GB})
    monkeypatch.setattr(memory, "state", lambda: seen)
    monkeypatch.setattr(processes, "group_bytes", lambda group, enough: 8 * GB)
    monkeypatch.setattr(processes, "machine_bytes", lambda: 16 * GB)
    breach = Watch(Limits(), [1], time.monotonic() - 10).breach()
    assert breach is not None
    assert breach.error is MemoryShort
    assert "15.00 GB of 16.00 GB were in use, 9.00 GB of that by this worker's processes, which" in breach.sentence
    assert "memory: in flor.yaml" in breach.sentence
    limited = Watch(Limits(memory_bytes=GB), [1], time.monotonic() - 10).breach()
    assert limited is not None
    assert limited.error is LimitExceeded


def test_what_this_machine_uses_is_less_than_what_it_has() -> None:
    in_use, limit = processes.machine_use()
    assert 0 < in_use < limit <= max(limit, processes.machine_bytes())
    assert processes.kills_for_memory() >= 0
    assert processes.tree_bytes(os.getpid()) >= processes.tree_bytes(2**22 + 1) == 0

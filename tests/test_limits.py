"""How limits are written, and how the memory of a process group is measured."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from flor_ray.errors import UsageError
from flor_ray.limits import group_bytes, machine_bytes, parse_limits
from flor_ray.records import Limits


def test_limits_are_written_as_people_do() -> None:
    assert parse_limits(None, None) == Limits(None, None)
    assert parse_limits("10m", "8GB") == Limits(600.0, 8 << 30)
    assert parse_limits(1.5, 1000) == Limits(1.5, 1000)


@pytest.mark.parametrize(
    ("time_limit", "memory_limit"), [("ten", None), (0, None), (None, "much"), (None, 0), ("0", None)]
)
def test_a_limit_that_is_none_is_refused(time_limit: float | str | None, memory_limit: int | str | None) -> None:
    with pytest.raises(UsageError):
        parse_limits(time_limit, memory_limit)


def test_without_a_limit_a_segment_may_take_most_of_the_machine() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = machine_bytes()
    assert allowed is not None
    assert 0 < allowed <= 0.9 * total


def test_pages_that_the_processes_of_a_group_share_count_once() -> None:
    script = """
import os, sys
data = b"x" * (200 << 20)
for _ in range(3):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 200 << 20 < group_bytes(process.pid) < 300 << 20
        assert group_bytes(process.pid, enough=2 << 30) > 800 << 20  # as quickly as can be: it counts what is shared
        assert process.stdin is not None
        process.stdin.close()

"""How limits are written, and what is said of a segment that exceeds them."""

from __future__ import annotations

import math
import os
import time

import pytest

from flor_ray import processes
from flor_ray.errors import UsageError
from flor_ray.records import Limits
from flor_ray.replaying.limits import Watch, parse_limits


def test_limits_are_written_as_people_do() -> None:
    assert parse_limits(None, None) == Limits(None, None)
    assert parse_limits("10m", "8GB") == Limits(600.0, 8 << 30)
    assert parse_limits(1.5, 1000) == Limits(1.5, 1000)
    assert parse_limits("none", None) == Limits(math.inf)


@pytest.mark.parametrize(
    ("time_limit", "memory_limit"), [("ten", None), (0, None), (None, "much"), (None, 0), ("0", None)]
)
def test_a_limit_that_is_none_is_refused(time_limit: float | str | None, memory_limit: int | str | None) -> None:
    with pytest.raises(UsageError):
        parse_limits(time_limit, memory_limit)


def test_without_a_limit_a_segment_may_take_most_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "machine_bytes", lambda: 100)
    for used, kept in ((90, True), (91, False)):
        monkeypatch.setattr(processes, "group_bytes", lambda group, enough, used=used: used)
        breach = Watch(Limits(), [1], time.monotonic() - 10).breach()
        assert (breach is None) == kept
        assert kept or "90% of this machine's memory" in str(breach.sentence if breach else "")


def test_how_much_may_be_lost_and_how_long_a_store_may_be_away_are_limits_too() -> None:
    assert parse_limits(None, None) == Limits(commit_seconds=30.0, outage_seconds=600.0)
    assert parse_limits(None, None, 1, "1m", 5) == Limits(retries=1, commit_seconds=60.0, outage_seconds=5.0)


def test_seconds_for_which_the_store_was_away_are_not_the_scripts() -> None:
    waited = 100.0
    watch = Watch(Limits(2.0), [os.getpgid(0)], time.monotonic() - 3.0, waited=lambda: waited)
    breach = watch.breach()
    assert breach is not None
    assert "after 3.0 s" in breach.sentence
    waited += 2.0
    assert watch.breach() is None
    hangs = Watch(Limits(step_seconds=2.0), [os.getpgid(0)], time.monotonic() - 3.0, waited=lambda: waited)
    assert hangs.breach() is not None
    waited += 2.0
    assert hangs.breach() is None

"""How replays stand, from the store: while they run, when they have ended, and when they are gone without a word."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flor_ray.errors import FlorWarning, ReplayStopped, StoreError, UsageError
from flor_ray.records import Claim, Operator
from flor_ray.reports import jobs
from flor_ray.store import heartbeats
from flor_ray.store.files import Files
from flor_ray.store.heartbeats import Heartbeat, Pulse, ReplayState

ORIGIN = "replay-20261122T161200.000001Z-ab12"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "_ASK_SECONDS", 0.02)
    monkeypatch.setattr(heartbeats, "_BEAT_SECONDS", 0.05)


def beginning(submission: str = "") -> Heartbeat:
    return heartbeats.of_this_process(("grad_norm",), 2, submission)


def until(met: Any) -> None:
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)


def stands(files: Files, origin: str = ORIGIN) -> heartbeats.KnownReplay:
    return heartbeats.find(files, "digits", origin)


@pytest.mark.usefixtures("quick")
def test_a_replay_that_runs_tells_how_far_it_is(files: Files) -> None:
    with Pulse(files, "digits", ORIGIN, beginning("flor-digits-1")) as pulse:
        assert stands(files).state is ReplayState.RUNNING
        pulse.stands(answered=3, wanted=10, workers=2, left_seconds=7.0)
        until(lambda: stands(files).last.answered == 3)
        found = stands(files, "flor-digits-1")  # by its job's id
        assert (found.id, found.last.wanted, found.last.workers) == (ORIGIN, 10, 2)
        assert "about 7.0 s left" in jobs.standing(found)
        assert "flor-digits-1" in jobs.table([found], 200)
    assert (stands(files).state, stands(files).last.answered) == (ReplayState.FINISHED, 3)


def test_it_is_shown_who_replays_and_what_is_left_to_them(files: Files) -> None:
    of_loop = Claim("1a2b3c4d5e", Operator.DP_I, (("grad_norm", "x"), ("loss", "y")), ((3, 5), (8, 8)))
    outside = Claim("1a2b3c4d5e", Operator.DP, (("shape", "z"),), ((0, 0),))
    with Pulse(files, "digits", ORIGIN, replace(beginning(), user="ann", host="box")):
        shown = jobs.standing(stands(files), [of_loop, outside]).splitlines()
        assert f"ann@box, process {os.getpid()}" in jobs.table([stands(files)], 200)
    assert f"Where: process {os.getpid()} of ann@box" in shown
    assert shown[-2:] == [
        "Claims version 1a2b3c4d, epochs 3-5, 8 (grad_norm, loss), which other replays leave to it",
        "Claims version 1a2b3c4d, outside its main loop (shape), which other replays leave to it",
    ]


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (KeyboardInterrupt(), ReplayState.STOPPED, ""),
        (SystemExit(15), ReplayState.STOPPED, ""),
        (ReplayStopped("asked"), ReplayState.STOPPED, ""),
        (StoreError("the disk of https://me:planted@host is full"), ReplayState.FAILED, "the disk of https://***@host"),
        (ZeroDivisionError("by zero"), ReplayState.FAILED, "ZeroDivisionError: by zero"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_a_replay_ended_is_kept(files: Files, error: BaseException, state: ReplayState, said: str) -> None:
    with pytest.raises(type(error)), Pulse(files, "digits", ORIGIN, beginning()):
        raise error
    assert stands(files).state is state
    assert stands(files).last.said.startswith(said)
    assert "planted" not in stands(files).last.said


@pytest.mark.usefixtures("quick")
def test_a_replay_hears_from_another_machine_that_it_is_to_end(files: Files) -> None:
    def replaying() -> None:
        with Pulse(files, "digits", ORIGIN, beginning()) as pulse:
            pulse.expect_wanted()
            heartbeats.ask_to_end(Files(files.url), "digits", stands(files))
            until(pulse.expect_wanted)

    with pytest.raises(ReplayStopped, match="was asked to end"):
        replaying()
    assert stands(files).state is ReplayState.STOPPED
    assert [path for path in files.list("jobs") if path.endswith(".end")] == []


def kept(files: Files, origin: str, **changed: Any) -> None:
    """As a process that is gone has left it."""
    pulse = Pulse(files, "digits", origin, replace(beginning(), **changed))
    pulse._write(files)


def test_one_whose_process_is_gone_from_this_host_is_lost_at_once(files: Files) -> None:
    kept(files, ORIGIN, pid_started=12345)
    assert stands(files).state is ReplayState.LOST
    assert "gone without a word" in jobs.standing(stands(files))


def test_one_of_another_host_is_lost_when_it_has_been_silent_by_the_stores_own_clock(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's clock is wrong
    kept(files, ORIGIN, host="another", seconds=50.0)
    assert stands(files).state is ReplayState.RUNNING
    dated = files.now()
    monkeypatch.setattr(Files, "now", lambda self: dated + 61)
    found = stands(files)
    assert found.state is ReplayState.LOST
    assert found.quiet_seconds == pytest.approx(61, abs=2)
    kept(files, ORIGIN + "2", host="another", state=ReplayState.FINISHED)
    assert stands(files, ORIGIN + "2").state is ReplayState.FINISHED


def test_a_damaged_file_costs_itself(files: Files) -> None:
    kept(files, ORIGIN)
    files.write("jobs/digits/replay-2.json", b'{"names": 7}')
    files.write("jobs/digits/replay-3.json", b"[" * 200_000)
    kept(files, "replay-4", left_seconds=float("nan"))
    with pytest.warns(FlorWarning, match="does not say how a replay stands"):
        assert [one.id for one in heartbeats.known(files, "digits")] == [ORIGIN]


def test_only_the_newest_are_read_and_an_id_must_be_one(files: Files) -> None:
    for number in range(5):
        kept(files, f"replay-2026112{number}")
    assert [one.id for one in heartbeats.known(files, "digits", 2)] == ["replay-20261123", "replay-20261124"]
    assert stands(files, "20261122").id == "replay-20261122"
    with pytest.raises(UsageError, match="5 replays of digits begin with '2026'"):
        stands(files, "2026")
    with pytest.raises(UsageError, match="No replays of digits begin with 'x'"):
        stands(files, "x")
    assert heartbeats.known(files, "other") == ()


def test_a_store_that_is_away_ends_no_replay(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Files, path: str, data: bytes) -> None:
        raise StoreError("away")

    with pytest.warns(FlorWarning, match="could not be written: away"), Pulse(files, "digits", ORIGIN, beginning()):
        monkeypatch.setattr(Files, "write", away)

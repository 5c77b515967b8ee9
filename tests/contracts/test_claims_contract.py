"""Of replays that want the same at once one holds it, on every kind of store; claims lapse with their owners."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from flor_ray import processes
from flor_ray.errors import FlorWarning, StoreError
from flor_ray.records import Claim, Operator, Segment
from flor_ray.scheduler import sharing
from flor_ray.scheduler.sharing import Whose
from flor_ray.store import claims, typed_json
from flor_ray.store.claims import Other, ReplayClaims
from flor_ray.store.files import Files

STATEMENTS = {"v": {"a": "digest"}}
EPOCHS = 24


def epochs(*which: int) -> tuple[Claim, ...]:
    return sharing.claim([Segment("v", e, e, Operator.DP_I, names=("a",)) for e in which], STATEMENTS)


def epochs_of(found: tuple[Claim, ...]) -> set[int]:
    return {e for one in found for first, last in one.spans for e in range(first, last + 1)}


def say(ours: ReplayClaims, held: tuple[Claim, ...]) -> None:
    ours.said = replace(ours.said, held=held, wanted=())
    ours.flush()


def ids(others: tuple[Other, ...]) -> list[str]:
    return [one.id for one in others]


class Grabber(threading.Thread):
    """A replay that claims what is free, some of it at a time, until nothing is."""

    def __init__(self, files: Files, number: int, start: threading.Barrier) -> None:
        super().__init__()
        self.held: set[int] = set()
        self.failed: BaseException | None = None
        self._random, self._begins = random.Random(number), start
        self._claims = ReplayClaims(files, "p", f"replay-{number}", claims.of_this_process())

    def run(self) -> None:
        try:
            with self._claims:
                self._begins.wait(20)
                free = set(range(1, EPOCHS + 1))
                while free:
                    self._grab(self._random.sample(sorted(free), min(3, len(free))), free)
                self._begins.wait(20)  # all have what they get
        except BaseException as error:
            self.failed = error
            self._begins.abort()
            raise

    def _grab(self, wanted: list[int], free: set[int]) -> None:
        theirs = [one for other in self._claims.announce(epochs(*wanted)) for one in other.theirs]
        for epoch in wanted:
            (part,) = sharing.sift(Segment("v", epoch, epoch, Operator.DP_I, names=("a",)), (), STATEMENTS, theirs)
            if part.whose is Whose.OURS:
                self.held.add(epoch)
            free.discard(epoch)
        say(self._claims, epochs(*self.held))


def test_each_epoch_is_held_by_one_however_many_want_it_at_once(url: str) -> None:
    files = Files(url)
    barrier = threading.Barrier(4)
    grabbers = [Grabber(files, number, barrier) for number in range(4)]
    for one in grabbers:
        one.start()
    for one in grabbers:
        one.join(60)
    assert not [one.failed for one in grabbers if one.failed]
    held = [epoch for one in grabbers for epoch in one.held]
    assert len(held) == len(set(held))
    assert len(held) >= EPOCHS - 8  # what an earlier one saw a later one want, the later one has left to it
    assert files.list("claims") == []


def test_others_see_what_a_replay_holds_until_it_ends(url: str) -> None:
    files = Files(url)
    first = ReplayClaims(files, "p", "replay-1", claims.of_this_process())
    second = ReplayClaims(files, "p", "replay-2", claims.of_this_process(again=True))
    with second:
        with first:
            say(first, epochs(1, 2))
            (seen,) = second.others()
            assert (seen.id, epochs_of(seen.theirs)) == ("replay-1", {1, 2})
            assert [one.said.again for one in first.others()] == [True]
            assert ids(claims.live(files)) == ["replay-1", "replay-2"]
        assert second.others() == ()


def test_of_two_that_want_the_same_the_earlier_one_gets_it(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    with (
        ReplayClaims(files, "p", "replay-1", claims.of_this_process()) as first,
        ReplayClaims(files, "p", "replay-2", claims.of_this_process()) as second,
    ):
        assert ids(second.announce(epochs(1, 2))) == ["replay-1"]
        waiting = threading.Thread(target=lambda: answers.append(first.announce(epochs(2, 3))))
        answers: list[tuple[Other, ...]] = []
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()  # the later one may not have seen it
        say(second, epochs(1, 2))
        waiting.join(5)
        assert [epochs_of(one.theirs) for one in answers[0]] == [{1, 2}]
        say(second, ())
        assert [epochs_of(one.theirs) for one in second.announce(epochs(3))] == [{2, 3}]


def test_who_does_not_make_up_its_mind_keeps_what_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_UNDECIDED_SECONDS", 0.1)
    files = Files(str(tmp_path))
    with (
        ReplayClaims(files, "p", "replay-1", claims.of_this_process()) as first,
        ReplayClaims(files, "p", "replay-2", claims.of_this_process()) as second,
    ):
        second.announce(epochs(1))
        assert [epochs_of(one.theirs) for one in first.announce(epochs(1))] == [{1}]


def test_the_claims_of_a_process_that_is_gone_from_this_host_lapse_at_once(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = processes.started(process.pid)
    dead = replace(claims.of_this_process(), pid=process.pid, pid_started=began, held=epochs(1))
    files.write("claims/p/replay-0.json", json.dumps(typed_json.to_plain(dead)).encode())
    with ReplayClaims(files, "p", "replay-1", claims.of_this_process()) as ours:
        assert ids(ours.others()) == ["replay-0"]
        process.kill()
        process.wait()
        assert ids(claims.live(files)) == ["replay-1"]
        assert ours.announce(epochs(1)) == ()
        assert files.list("claims") == ["claims/p/replay-1.json"]


class Elsewhere:
    """A replay on another host, whose clock is wrong; what is seen of it, by a stopwatch that is moved by hand."""

    def __init__(self, files: Files) -> None:
        self.files, self.now = files, 1000.0
        self.watch = claims._OthersWatch(files, lambda: self.now)
        self.said = replace(claims.of_this_process(), host="elsewhere", pid=1, pid_started=1)
        self.write()

    def write(self) -> None:
        self.files.write("claims/p/replay-0.json", json.dumps(typed_json.to_plain(self.said)).encode())

    def lives(self) -> bool:
        return ("p", "replay-0") in self.watch.look()


def test_claims_of_another_host_lapse_when_nothing_changes_for_a_minute(url: str) -> None:
    other = Elsewhere(Files(url))
    assert other.lives()
    other.now += 50
    assert other.lives()
    other.now += 20
    assert not other.lives()
    assert other.files.list("claims") == []


def test_a_beat_is_a_sign_of_life(tmp_path: Path) -> None:
    other = Elsewhere(Files(str(tmp_path)))
    assert other.lives()
    for _ in range(3):
        other.now += 50
        other.files.write("jobs/p/replay-0.json", b"{}")
        assert other.lives()
    other.now += 70
    assert not other.lives()


def test_seconds_in_which_the_store_was_away_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Elsewhere(Files(str(tmp_path)))
    assert other.lives()
    other.now += 300

    def away(prefix: str) -> dict[str, object]:
        raise StoreError("away")

    with monkeypatch.context() as patched:
        patched.setattr(other.files, "infos", away)
        with pytest.raises(StoreError):
            other.lives()
    assert other.lives()


def test_what_was_left_long_ago_counts_for_nothing_at_first_sight(tmp_path: Path) -> None:
    other = Elsewhere(Files(str(tmp_path)))
    path = os.path.join(str(tmp_path), "claims/p/replay-0.json")
    os.utime(path, (1e9, 1e9))
    assert not other.lives()


def test_a_file_that_says_nothing_is_told_once_and_left_out(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    files.write("claims/p/replay-0.json", b"{")
    with ReplayClaims(files, "p", "replay-1", claims.of_this_process()) as ours:
        with pytest.warns(FlorWarning, match="does not say what a replay has claimed"):
            assert ours.others() == ()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert ours.announce(epochs(1)) == ()


def test_neighbours_of_a_replay_are_listed_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    for number in (3, 1, 2):
        ReplayClaims(files, "p" if number < 3 else "q", f"replay-{number}", claims.of_this_process()).__enter__()
    found = ids(claims.live(files))
    assert all(one < other for one, other in pairwise(found))
    assert len(found) == 3

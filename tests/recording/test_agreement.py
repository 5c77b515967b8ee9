"""Ranks take their checkpoints at rank 0's points, whoever comes first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from flor_ray.recording.agreement import FirstRank, OtherRank
from flor_ray.recording.checkpoint_budget import CheckpointDecision

TAKE, SKIP = CheckpointDecision(True, "cheap"), CheckpointDecision(False, "dear")


@dataclass
class Words:
    """A board in memory."""

    said: dict[str, str] = field(default_factory=dict)

    def post(self, key: str, text: str) -> None:
        self.said[key] = text

    def read(self, key: str) -> str | None:
        return self.said.get(key)


def never() -> CheckpointDecision:
    raise AssertionError("only rank 0's budget decides")


@pytest.mark.parametrize("decided", [TAKE, SKIP])
def test_a_rank_that_follows_does_what_rank_0_does(decided: CheckpointDecision) -> None:
    board = Words()
    first, other = FirstRank(board), OtherRank(board)
    first.begins(1, lambda: decided)
    other.begins(1, never)
    assert first.decision(1, early=True) == decided
    assert other.decision(1, early=True).take is other.decision(1, early=False).take is decided.take


def test_a_rank_that_comes_early_looks_again_when_the_steps_have_run() -> None:
    board = Words()
    first, other = FirstRank(board), OtherRank(board)
    other.begins(1, never)
    assert other.decision(1, early=True).take  # it looks at the loop as if it took one
    first.begins(1, lambda: TAKE)
    assert other.decision(1, early=False).take


def test_a_rank_that_hears_nothing_takes_none_and_waits_for_nobody() -> None:
    other = OtherRank(Words())
    other.begins(1, never)
    assert not other.decision(1, early=False).take


def test_what_was_said_of_another_epoch_says_nothing_of_this_one() -> None:
    board = Words()
    first, other = FirstRank(board), OtherRank(board)
    for epoch, decided in enumerate((TAKE, SKIP, TAKE), start=1):
        first.begins(epoch, partial(replace, decided))
        other.begins(epoch, never)
        assert other.decision(epoch, early=False).take is decided.take
    assert not first.decision(7, early=False).take

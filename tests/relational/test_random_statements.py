"""Random statements: each answer is that of full acquisition. `make soak` tries ten times as many."""

from __future__ import annotations

import pytest

from tests.relational.soak import Judge, soak


@pytest.mark.timeout(600)
def test_random_statements_are_answered_as_with_everything_acquired() -> None:
    judge = Judge()
    soak(200, None, judge)
    assert judge.counts["statements"] >= 180
    assert judge.counts["wrong"] == 0
    assert judge.counts["fallbacks"] < 20, "the rule should know what the grammar has"
    assert judge.summary["share_filled"] < 0.75

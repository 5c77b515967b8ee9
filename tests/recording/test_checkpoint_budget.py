"""When checkpoints are taken: simulated runs, with costs and epochs in seconds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.recording.checkpoint_budget import CheckpointDecision, RunSoFar, Spacing


def run(
    spacing: Spacing, epochs: int, epoch: float, stall: float, background: float, restore: float = 0.0
) -> tuple[list[int], float]:
    """Epochs that got a checkpoint, the last one always, and the share of the computed time that all of them cost."""
    written = background / 3  # epoch 0: no optimizer slots yet
    spacing.took(stall / 3)
    taken, computed, last = [0], 0.0, 0.0
    for number in range(1, epochs + 1):
        computed += epoch
        decision = spacing.decide(RunSoFar(computed, computed - last, written, restore))
        if decision.take or number == epochs:
            taken.append(number)
            spacing.took(stall)
            written += background
            last = computed
    return taken, (spacing.stalled_seconds + spacing.share * written) / computed


def test_a_cheap_snapshot_is_taken_after_every_epoch() -> None:
    taken, cost = run(Spacing(0.02), epochs=50, epoch=120.0, stall=0.05, background=0.2)
    assert taken == list(range(51))
    assert cost < 0.01


def test_a_dear_snapshot_is_taken_as_often_as_three_tenths_of_the_budget_pay_for() -> None:
    taken, cost = run(Spacing(0.02), epochs=800, epoch=2.0, stall=0.05, background=0.43)
    assert 0.0055 < cost <= 0.0061
    gaps = [right - left for left, right in itertools.pairwise(taken[2:-1])]
    assert set(gaps) == {40}  # 0.48 s are 0.6 % of 80 s


def test_a_larger_budget_takes_more_of_them() -> None:
    few, _ = run(Spacing(0.02), 200, 2.0, 0.05, 0.35)
    many, _ = run(Spacing(0.10), 200, 2.0, 0.05, 0.35)
    assert len(many) > 4 * len(few)


def test_spacing_grows_when_snapshots_become_dear_and_shrinks_when_they_become_cheap() -> None:
    spacing, computed, written = Spacing(0.02), 0.0, 0.0
    spacing.took(0.1)
    taken: list[int] = []
    for number in range(1, 601):
        computed += 1.0
        if spacing.decide(RunSoFar(computed, 1.0, written, 0.0)).take:
            taken.append(number)
            spacing.took(0.1 if number <= 200 or number > 400 else 0.5)
    counts = [sum(low < number <= low + 200 for number in taken) for low in (0, 200, 400)]
    assert counts[1] < counts[0] / 3
    assert counts[2] > 3 * counts[1]


def test_a_short_run_of_a_small_model_keeps_every_epoch() -> None:
    taken, _ = run(Spacing(0.02), epochs=20, epoch=0.05, stall=0.002, background=0.008)
    assert taken == list(range(21))


def test_what_is_too_little_to_be_noticed_is_limited_in_all() -> None:
    taken, _ = run(Spacing(0.02), epochs=2000, epoch=0.05, stall=0.002, background=0.008)
    assert 0.2 < 0.01 * len(taken) < 0.7  # 0.25 s, or 0.6 % of 100 s


def test_no_checkpoint_is_taken_that_is_slower_to_restore_than_to_compute_again() -> None:
    taken, _ = run(Spacing(0.9), epochs=20, epoch=1.0, stall=0.1, background=0.1, restore=3.5)
    assert taken == [0, 4, 8, 12, 16, 20]


def test_one_or_more_means_every_epoch_whatever_it_costs() -> None:
    spacing = Spacing(1.0)
    spacing.took(1000.0)
    now = RunSoFar(computed=1.0, since_last=1.0, background=500.0, restore=9.0, writing="busy")
    assert spacing.decide(now) == CheckpointDecision(True, "every epoch, as asked for")


def test_while_the_last_one_is_being_written_no_other_is_taken() -> None:
    decision = Spacing(0.5).decide(RunSoFar(100.0, 10.0, 0.0, 0.0, writing="those before it are still being written"))
    assert decision == CheckpointDecision(False, "those before it are still being written")


def test_a_decision_says_what_was_weighed() -> None:
    spacing = Spacing(0.02)
    spacing.took(0.1, 100_000_000)  # the next one is expected to hold twice as much again, 0.4 s of work
    assert spacing.decide(RunSoFar(10.0, 10.0, 0.1, 0.0)).why == (
        "it and the last one would cost 1.2 s, and 0 ms of the budget (2.0% of the run's time) were left"
    )


@pytest.mark.parametrize(("size", "epoch", "expected"), [(1e6, 0.0, True), (30e6, 2.0, False), (30e6, 80.0, True)])
def test_bytes_are_compressed_where_that_goes_unnoticed(size: int, epoch: float, expected: bool) -> None:
    assert Spacing(0.02).has_time_to_compress(size, epoch) is expected


@given(
    st.floats(0.001, 0.2),
    st.floats(0.05, 100),
    st.floats(0.0001, 5),
    st.floats(0, 20),
    st.floats(0.1, 1),
    st.integers(1, 300),
)
def test_checkpoints_stay_within_their_part_of_the_budget_but_for_the_first_the_last_and_what_nobody_notices(
    overhead: float, epoch: float, stall: float, background: float, share: float, epochs: int
) -> None:
    spacing = Spacing(overhead, share)
    taken, cost = run(spacing, epochs, epoch, stall, background)
    one = stall + share * background
    assert taken[0] == 0
    assert taken[-1] == epochs
    assert cost * epoch * epochs <= max(0.3 * overhead * epoch * epochs + 2 * one, 0.5 + 2 * one) + 1e-6

"""As much as fits into a budget or a deadline: the most important epochs first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.planning.segmenting import cut
from flor_ray.records import Operator, Segment, SegmentCost, Variant
from flor_ray.scheduler.budget import Chosen, NothingFits, within
from flor_ray.scheduler.priorities import Ranks, order, ranks, wanted
from flor_ray.scheduler.problem import Cutting, Slot
from tests.pace import slowness
from tests.scheduler.checking import wrongs


@dataclass(frozen=True)
class Replay:
    """Versions that want epochs 1 to n, with a state to restore every so many epochs."""

    epochs: int = 8
    versions: str = "a"
    epoch_seconds: float = 10.0
    setup_seconds: float = 5.0
    restore_seconds: float = 1.0
    every: int = 1
    spread: float = 0.0
    slower: float = 0.0  # seconds by which each version's epochs take longer than those of the one before

    def cost(self, segment: Segment) -> SegmentCost:
        number = segment.last - (segment.restore or 0)
        restore = self.restore_seconds if segment.restore else 0.0
        seconds = self.epoch_seconds + self.slower * self.versions.index(segment.version)
        return SegmentCost(
            segment,
            self.setup_seconds,
            restore + number * seconds,
            run_spread=self.spread * sqrt(number),
            read_seconds=restore,
        )

    @property
    def costs(self) -> tuple[SegmentCost, ...]:
        return tuple(self.cost(Segment(v, 1, self.epochs, Operator.DP_I, restore=0)) for v in self.versions)

    @property
    def cutting(self) -> Cutting:
        return Cutting(
            lambda s: [e for e in range(s.first + 1, s.last + 1) if (e - 1) % self.every == 0], cut, self.cost
        )

    def within(self, gpu: float | None = None, deadline: float | None = None, **options: Any) -> Chosen:
        return within(self.costs, self.cutting, gpu_seconds=gpu, deadline_seconds=deadline, **options)


def ranges(segments: Sequence[Segment]) -> list[str]:
    return [f"{s.version}{s.first}-{s.last}" for s in segments]


def chosen(found: Chosen) -> list[str]:
    return ranges([c.segment for c in found.costs])


def answered(found: Chosen) -> set[tuple[str, int]]:
    return {(c.segment.version, e) for c in found.costs for e in range(c.segment.first, c.segment.last + 1)}


# --- a GPU budget -----------------------------------------------------------------------------------------------------


def test_what_fits_is_replayed_whole() -> None:
    replay = Replay()
    found = replay.within(85.0)
    assert [c.segment for c in found.costs] == [c.segment for c in replay.costs]
    assert (found.left_out, found.note, found.spent_seconds, found.schedule.makespan_seconds) == ((), "", 85.0, 85.0)
    assert replay.within().left_out == ()  # no limit at all


def test_the_end_comes_first_then_coarse_to_fine() -> None:
    replay = Replay()
    assert chosen(replay.within(5.0 + 11)) == ["a8-8"]
    assert chosen(replay.within(5.0 + 11 + 10)) == ["a1-1", "a8-8"]  # epoch 1 restores nothing
    found = replay.within(5.0 + 11 + 10 + 11)
    assert chosen(found) == ["a1-1", "a4-4", "a8-8"]
    assert ranges(found.left_out) == ["a2-3", "a5-7"]
    assert found.spent_seconds == 37.0
    assert [c.rank for c in found.costs] == [1, 2, 0]


def test_a_peak_goes_before_the_end() -> None:
    found = Replay().within(16.0, ranks=ranks({"a": range(1, 9)}, {"a": [5]}))
    assert chosen(found) == ["a5-5"]


def test_neighbours_are_one_segment_that_restores_once() -> None:
    found = Replay().within(5.0 + 5 * 10 + 3)  # 8, 1, 4, 6, and then 2, which goes on from 1
    assert chosen(found) == ["a1-2", "a4-4", "a6-6", "a8-8"]
    assert found.spent_seconds == 5 + 50 + 3
    found = Replay().within(5.0 + 5 * 10 + 2)  # no second for 2, nor for 3; but 5 joins two segments
    assert chosen(found) == ["a1-1", "a4-6", "a8-8"]
    assert found.spent_seconds == 5 + 50 + 2


def test_every_version_gets_its_end_before_any_gets_more() -> None:
    replay = Replay(versions="abc", slower=1.0)
    found = replay.within(3 * 5 + 11 + 12 + 13 + 10)
    assert chosen(found) == ["a1-1", "a8-8", "b8-8", "c8-8"]


def test_as_many_versions_as_can_be_get_their_end_and_the_rest_of_the_money_goes_on() -> None:
    replay = Replay(versions="abc", slower=20.0)  # ends take 16, 36 and 56 seconds, set-up included
    assert chosen(replay.within(16 + 36 + 54)) == ["a1-1", "a4-4", "a8-8", "b1-1", "b8-8"]
    newest = ranks(wanted(replay.costs), first="cba")
    assert chosen(replay.within(56.0 + 16 + 10, ranks=newest)) == ["a1-1", "a8-8", "c8-8"]  # b does not fit


def test_what_cannot_be_cut_is_taken_or_left_whole() -> None:
    whole = SegmentCost(Segment("a", 1, 8, Operator.DP_STAR), 5.0, 80.0)
    short = SegmentCost(Segment("b", 1, 2, Operator.DP_I, restore=0), 5.0, 20.0)
    assert chosen(within([whole, short], gpu_seconds=100)) == ["b1-2"]  # the cheaper one of those with an end
    assert chosen(within([whole, short], gpu_seconds=109)) == ["b1-2"]
    assert chosen(within([whole, short], gpu_seconds=110)) == ["a1-8", "b1-2"]
    assert chosen(Replay(every=4).within(70.0)) == ["a5-8"]


def test_what_is_outside_the_main_loop_counts_too() -> None:
    dp = SegmentCost(Segment("a", 0, 0, Operator.DP), 5.0, 2.0)
    replay = Replay()
    found = within(
        [dp, *replay.costs],
        Cutting(lambda s: replay.cutting.points(s) if s.last else (), cut, replay.cost),
        gpu_seconds=20,
    )
    assert chosen(found) == ["a0-0", "a8-8"]
    with pytest.raises(NothingFits, match="what is outside the main loop of version a, takes 7 s"):
        within([dp], gpu_seconds=6)


def test_states_that_are_only_restored_are_chosen_one_by_one() -> None:
    whole = Segment("a", 1, 8, Operator.DP_I, Variant.END)
    cutting = Cutting(
        lambda s: range(s.first + 1, s.last + 1), cut, lambda s: SegmentCost(s, 5.0, s.last - s.first + 1.0)
    )
    assert chosen(within([cutting.cost(whole)], cutting, gpu_seconds=8)) == ["a1-1", "a4-4", "a8-8"]


def test_stand_in_seconds_are_divided_by_epochs() -> None:
    replay = Replay()
    unknown = SegmentCost(replay.costs[0].segment, 5.0, 16.0, known=False)
    cutting = Cutting(replay.cutting.points, cut)
    found = within([unknown], cutting, gpu_seconds=5 + 3 * 2)
    assert chosen(found) == ["a1-1", "a4-4", "a8-8"]
    assert not any(c.known for c in found.costs)


def test_the_note_says_what_is_left_out_and_what_all_would_take() -> None:
    found = Replay(epochs=20, versions="ab", epoch_seconds=100.0).within(3600.0)
    assert found.note == (
        "5 of 40 epochs of 2 versions do not fit into 60.0 GPU-minutes: what is replayed takes 58.5 GPU-minutes, and "
        "all of it would take at least 66.8 GPU-minutes."
    )


def test_when_nothing_fits_the_least_is_told() -> None:
    with pytest.raises(NothingFits, match=r"in 10 GPU-seconds: the least, epoch 1 of version a, takes 15 s") as error:
        Replay().within(10.0)
    assert error.value.needed_seconds == 15.0
    with pytest.raises(NothingFits, match=r"in 20 s on 3 workers: the least, epochs 1-4 of version a, takes 45 s"):
        Replay(every=4).within(deadline=20.0, workers=3)


@pytest.mark.parametrize(
    "options",
    [{"gpu": 0.0}, {"gpu": -1.0}, {"deadline": float("nan")}, {"deadline": inf}, {"safety": -1.0}, {"workers": 0}],
)
def test_limits_that_are_none_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says its own
        Replay().within(**options)


def test_nothing_to_run_fits() -> None:
    assert within([], gpu_seconds=1.0).costs == ()


# --- several workers, and a deadline ----------------------------------------------------------------------------------


def test_a_deadline_is_kept_on_the_workers_that_there_are() -> None:
    replay = Replay(versions="abcd")
    one, four = replay.within(deadline=40.0), replay.within(deadline=40.0, workers=4)
    assert len(answered(one)) == 2
    assert answered(four) > {(v, 8) for v in "abcd"} | {(v, 1) for v in "abcd"}
    for found, workers in ((one, 1), (four, 4)):
        assert found.schedule.makespan_seconds <= 40.0
        assert len(found.schedule.assignments) == workers
    assert replay.within(deadline=85.0, workers=4).note == ""


def test_one_version_is_shared_by_workers_for_a_deadline() -> None:
    found = Replay().within(deadline=26.0, workers=3)
    assert len(answered(found)) >= 5
    assert found.spent_seconds >= 3 * 5 + 50


def test_a_budget_pays_for_the_set_ups_that_workers_share_a_version_by() -> None:
    replay = Replay(epochs=40, setup_seconds=5.0)
    found = replay.within(300.0, workers=4)
    assert found.spent_seconds <= 300.0
    assert len(found.schedule.assignments) == 4
    assert found.schedule.makespan_seconds < 100.0


def test_where_set_ups_would_eat_a_budget_fewer_workers_are_used() -> None:
    found = Replay(epochs=40, setup_seconds=100.0).within(300.0, workers=8)
    assert len(found.schedule.assignments) == 1
    assert "on 1 worker, to save set-ups" in found.note
    assert len(answered(found)) >= 18


def test_safety_keeps_clear_of_the_limits_by_standard_deviations() -> None:
    replay = Replay(epochs=100, spread=4.0)
    plain, safe = replay.within(505.0), replay.within(505.0, safety=2.0)
    variance = sum(c.run_spread**2 for c in safe.costs)
    assert len(answered(plain)) > len(answered(safe))
    assert safe.spent_seconds + 2 * sqrt(variance) <= 505.0
    assert safe.spent_seconds > 400  # spreads add up as squares do
    late = replay.within(deadline=300.0, workers=2, safety=2.0)
    for costs in late.schedule.assignments:
        seconds = 5.0 + sum(c.run_seconds for c in costs)
        assert seconds + 2 * sqrt(sum(c.run_spread**2 for c in costs)) <= 300.0


def test_workers_that_are_warm_or_late_or_slow_are_reckoned_with() -> None:
    replay = Replay(setup_seconds=100.0)
    assert chosen(replay.within(30.0, workers=[Slot(warm=frozenset("a"), held=frozenset("a"))])) == [
        "a1-1",
        "a4-4",
        "a8-8",
    ]
    with pytest.raises(NothingFits, match=r"takes 1\.8 min"):
        replay.within(30.0)
    late = Replay().within(deadline=60.0, workers=[Slot(ready_seconds=34.0)])
    assert chosen(late) == ["a1-1", "a8-8"]
    slow = Replay().within(deadline=60.0, workers=[Slot(slowness=2.0)])
    assert chosen(slow) == ["a1-1", "a8-8"]
    assert slow.spent_seconds == 2 * (5 + 10 + 11)


# --- always -----------------------------------------------------------------------------------------------------------

replays = st.builds(
    Replay,
    epochs=st.integers(1, 12),
    versions=st.sampled_from(["a", "ab", "abcd"]),
    epoch_seconds=st.floats(0.5, 20),
    setup_seconds=st.floats(0, 30),
    restore_seconds=st.floats(0, 5),
    every=st.integers(1, 4),
    slower=st.floats(0, 5),
)


def total(replay: Replay) -> float:
    return sum(c.setup_seconds + c.run_seconds for c in replay.costs)


def tried(replay: Replay, **options: Any) -> Chosen | NothingFits:
    try:
        return replay.within(**options)
    except NothingFits as error:
        return error


@settings(max_examples=150, deadline=None)
@given(replays, st.floats(0.05, 1.2), st.integers(1, 3))
def test_a_choice_keeps_its_budget_and_holds_all_that_was_asked_for(replay: Replay, share: float, workers: int) -> None:
    limit = share * total(replay)
    found = tried(replay, gpu=limit, workers=workers)
    if isinstance(found, NothingFits):
        assert found.needed_seconds > limit
        return
    assert found.spent_seconds <= limit * (1 + 1e-6)
    pieces = [*(c.segment for c in found.costs), *found.left_out]
    places = Counter((s.version, e) for s in pieces for e in range(s.first, s.last + 1))
    assert places == Counter((v, e) for v in replay.versions for e in range(1, replay.epochs + 1))
    planned = [c for assignment in found.schedule.assignments for c in assignment]
    assert {(c.segment.version, e) for c in planned for e in range(c.segment.first, c.segment.last + 1)} == answered(
        found
    )
    assert not wrongs(found.schedule, planned)


@settings(max_examples=80, deadline=None)
@given(replays, st.floats(0.1, 1.2), st.integers(1, 4))
def test_a_choice_keeps_its_deadline(replay: Replay, share: float, workers: int) -> None:
    deadline = share * total(replay) / workers
    found = tried(replay, deadline=deadline, workers=workers)
    if isinstance(found, NothingFits):
        assert found.needed_seconds > deadline
        return
    assert found.schedule.makespan_seconds <= deadline * (1 + 1e-6)
    assert found.costs


slots = st.builds(
    Slot,
    slowness=st.floats(0.5, 4),
    ready_seconds=st.floats(0, 20),
    warm=st.sampled_from([frozenset(), frozenset("a"), frozenset("ab")]),
    held=st.sampled_from([frozenset(), frozenset("a")]),
)


@settings(max_examples=80, deadline=None)
@given(replays, st.floats(0.1, 1.2), st.lists(slots, min_size=1, max_size=3))
def test_limits_are_kept_on_unequal_workers(replay: Replay, share: float, workers: list[Slot]) -> None:
    limit = share * total(replay)
    found = tried(replay, gpu=limit, deadline=limit / len(workers), workers=workers)
    if isinstance(found, NothingFits):
        return
    assert found.spent_seconds <= limit * (1 + 1e-6)
    assert found.schedule.makespan_seconds <= limit / len(workers) * (1 + 1e-6)
    assert found.costs


def by_rank(found: Chosen, ranks: Ranks) -> list[int]:
    """How many epochs of each place in the order are answered."""
    count = Counter(ranks[version][epoch] for version, epoch in answered(found))
    return [count[rank] for rank in sorted({rank for of in ranks.values() for rank in of.values()})]


@settings(max_examples=150, deadline=None)
@given(replays, st.floats(0.05, 1.0), st.floats(1.0, 1.5))
def test_at_the_first_rank_that_differs_a_larger_budget_answers_more(replay: Replay, share: float, more: float) -> None:
    replay = replace(replay, every=1)
    of = ranks(wanted(replay.costs))
    small, large = (tried(replay, gpu=limit * total(replay)) for limit in (share, share * more))
    if isinstance(small, NothingFits):
        return
    assert isinstance(large, Chosen)
    assert by_rank(large, of) >= by_rank(small, of)


def test_the_choice_is_a_prefix_of_the_order_where_all_epochs_cost_the_same() -> None:
    replay = Replay(epochs=30, restore_seconds=0.0)
    for number in range(1, 31):
        found = replay.within(5.0 + 10 * number)
        assert answered(found) == {("a", epoch) for epoch in order(range(1, 31))[:number]}


def test_a_hundred_thousand_epochs_are_chosen_from_in_seconds() -> None:
    versions = [f"v{n:03d}" for n in range(1000)]

    def cost(segment: Segment) -> SegmentCost:
        return SegmentCost(
            segment, 5.0, 0.5 + (1 + int(segment.version[1:]) % 7) * (segment.last - (segment.restore or 0))
        )

    cutting = Cutting(lambda s: range(s.first + 1, s.last + 1), cut, cost)
    costs = [cost(Segment(v, 1, 100, Operator.DP_I, restore=0)) for v in versions]
    began = time.process_time()
    found = within(costs, cutting, gpu_seconds=30_000.0)
    assert time.process_time() - began < 4.0 * slowness()  # some 1.5 s where little else runs
    assert 29_990 < found.spent_seconds <= 30_000

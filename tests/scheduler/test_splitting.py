"""Long segments are cut where that helps, and only as often as it helps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.planning.segmenting import cut
from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.packing import Schedule, pack
from flor_ray.scheduler.problem import Cutting, Slot
from flor_ray.scheduler.splitting import schedule
from tests.scheduler.checking import wrongs


def segment(version: str, last: int, first: int = 1) -> Segment:
    return Segment(version, first, last, Operator.DP_I, restore=first - 1)


def everywhere(whole: Segment) -> range:
    return range(whole.first + 1, whole.last + 1)


def costing(
    setup_seconds: float, epoch_seconds: float = 1.0, restore_seconds: float = 0.0
) -> Callable[[Segment], SegmentCost]:
    def cost(segment: Segment) -> SegmentCost:
        epochs = segment.last - (segment.restore or 0)
        return SegmentCost(
            segment, setup_seconds, restore_seconds + epoch_seconds * epochs, read_seconds=restore_seconds
        )

    return cost


def pieces(made: Schedule) -> list[SegmentCost]:
    return sorted((c for own in made.assignments for c in own), key=lambda c: (c.segment.version, c.segment.first))


def ranges(made: Schedule) -> list[tuple[int, int]]:
    return [(c.segment.first, c.segment.last) for c in pieces(made)]


def test_one_long_segment_is_shared_evenly() -> None:
    whole = segment("v", 12)
    made = schedule([costing(0.0)(whole)], 4, Cutting(everywhere, cut, costing(0.0)))
    assert ranges(made) == [(1, 3), (4, 6), (7, 9), (10, 12)]
    assert [c.segment.restore for c in pieces(made)] == [0, 3, 6, 9]
    assert made.makespan_seconds == made.lower_bound_seconds == 3.0


def test_nothing_is_cut_when_others_have_enough_to_do() -> None:
    cost = costing(10.0)
    costs = [cost(segment(version, 2)) for version in "abcd"]
    made = schedule(costs, 4, Cutting(everywhere, cut, cost))
    assert ranges(made) == [(1, 2)] * 4


def test_epochs_that_do_not_divide_evenly_are_not_cut_into_more_pieces_than_useful() -> None:
    whole = segment("v", 12)
    made = schedule([costing(0.0)(whole)], 5, Cutting(everywhere, cut, costing(0.0)))
    assert ranges(made) == [(1, 3), (4, 6), (7, 9), (10, 12)]
    assert made.lower_bound_seconds == pytest.approx(3.0)  # no 5 workers end before 3 seconds


def test_pieces_end_where_they_can_be_cut() -> None:
    whole = segment("v", 12)
    cost = costing(0.0)
    assert ranges(schedule([cost(whole)], 4, Cutting(lambda s: (11,), cut, cost))) == [(1, 10), (11, 12)]
    assert ranges(schedule([cost(whole)], 4, Cutting())) == [(1, 12)]


def test_nothing_is_cut_for_one_worker_and_no_worker_is_refused() -> None:
    whole = segment("v", 12)
    cutting = Cutting(everywhere, cut, costing(0.0))
    assert ranges(schedule([costing(0.0)(whole)], 1, cutting)) == [(1, 12)]
    assert schedule([], 3, cutting) == Schedule(((), (), ()), 0.0, 0.0)
    with pytest.raises(ValueError, match="at least one"):
        schedule([], 0, cutting)


def test_a_long_segment_is_cut_where_a_short_one_leaves_room() -> None:
    cost = costing(1.0)
    made = schedule([cost(segment("a", 20)), cost(segment("b", 2))], 2, Cutting(everywhere, cut, cost))
    assert [c.segment.version for c in pieces(made)] == ["a", "a", "b"]
    assert made.makespan_seconds == 13.0


def test_a_segment_of_unknown_cost_is_cut_by_its_epochs() -> None:
    whole = segment("v", 12)
    unknown = SegmentCost(whole, 1.0, 24.0, known=False, rank=2.0)
    made = schedule([unknown], 4, Cutting(everywhere, cut, costing(1.0, epoch_seconds=0.0)))
    assert [(c.run_seconds, c.known, c.rank) for c in pieces(made)] == [(6.0, False, 2.0)] * 4


def test_a_few_more_versions_than_workers_are_cut_where_one_worker_is_full() -> None:
    wholes = [segment(f"v{number:02}", 100 + number) for number in range(20)]
    cost = costing(20.0, restore_seconds=3.0)
    costs = [cost(whole) for whole in wholes]
    made = schedule(costs, 16, Cutting(everywhere, cut, cost))
    assert len(pieces(made)) - len(costs) <= 20
    assert pack(costs, 16).makespan_seconds == 253.0  # two whole versions on some worker
    assert made.lower_bound_seconds > 179.0  # no worker is done with one version
    assert made.makespan_seconds <= 187.0


def test_many_short_epochs_are_worth_no_further_set_up() -> None:
    cost = costing(40.0, epoch_seconds=0.07, restore_seconds=0.5)
    costs = [cost(segment(f"v{number}", 100)) for number in range(8)]
    made = schedule(costs, 8, Cutting(everywhere, cut, cost))
    assert ranges(made) == [(1, 100)] * 8


def test_pieces_go_to_the_worker_that_is_warm_for_them_and_to_fast_ones() -> None:
    cost = costing(5.0)
    costs = [cost(segment("a", 12)), cost(segment("b", 12))]
    slots = [Slot(warm=frozenset({"b"})), Slot(slowness=0.5), Slot(ready_seconds=100.0)]
    made = schedule(costs, slots, Cutting(everywhere, cut, cost))
    assert not wrongs(made, pieces(made))
    assert [c.segment.version for c in made.assignments[0]] == ["b"]
    assert made.assignments[2] == ()
    assert made.makespan_seconds <= 12.0


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(LENGTHS, st.integers(1, 6), st.sampled_from([0.0, 0.5, 3.0, 20.0]), st.sampled_from([0.0, 0.3]), st.data())
def test_pieces_cover_the_same_epochs_and_never_end_later_than_the_whole(
    lengths: list[int], workers: int, setup_seconds: float, restore_seconds: float, data: st.DataObject
) -> None:
    segments = [segment(f"v{number}", last) for number, last in enumerate(lengths)]
    points = {s: sorted(data.draw(st.frozensets(st.integers(2, s.last)))) if s.last > 1 else [] for s in segments}
    cost = costing(setup_seconds, restore_seconds=restore_seconds)
    costs = [cost(s) for s in segments]
    cutting = Cutting(lambda s: points[s], cut, cost)
    made = schedule(costs, workers, cutting)
    for whole in segments:
        own = [c.segment for c in pieces(made) if c.segment.version == whole.version]
        assert [e for p in own for e in range(p.first, p.last + 1)] == list(range(1, whole.last + 1))
        assert all(p.first in points[whole] for p in own[1:])
    assert not wrongs(made, [cost(c.segment) for c in pieces(made)])
    for assignment in made.assignments:
        ends = {(c.segment.version, c.segment.last + 1) for c in assignment}
        assert not ends & {(c.segment.version, c.segment.first) for c in assignment}  # neighbours are one segment
    assert made.makespan_seconds <= pack(costs, workers).makespan_seconds
    assert schedule(costs, workers, cutting) == made


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.integers(1, 3), st.sampled_from([0.0, 0.5, 3.0]))
def test_the_bound_holds_for_every_way_to_cut(lengths: list[int], workers: int, setup_seconds: float) -> None:
    cost = costing(setup_seconds, restore_seconds=0.25)
    wholes = [segment(f"v{number}", last) for number, last in enumerate(lengths)]
    made = schedule([cost(whole) for whole in wholes], workers, Cutting(everywhere, cut, cost))
    best = float("inf")
    ways = [
        [cut(whole, points) for size in range(whole.last) for points in combinations(everywhere(whole), size)]
        for whole in wholes
    ]
    for way in product(*ways):
        parts = [cost(piece) for own in way for piece in own]
        if len(parts) <= 6:
            best = min(best, pack(parts, workers).makespan_seconds)
    assert made.lower_bound_seconds <= best + 1e-9
    assert made.makespan_seconds == pytest.approx(best, rel=0.01)

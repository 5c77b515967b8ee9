"""Long segments are cut where that helps, and only as often as it helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.plan import cut
from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler.packing import pack
from flor_ray.scheduler.splitting import split


def segment(version: str, last: int, first: int = 1) -> Segment:
    return Segment(version, first, last, Operator.DP_I, restore=first - 1)


def costing(
    setup_seconds: float, epoch_seconds: float = 1.0, restore_seconds: float = 0.0
) -> Callable[[Segment], SegmentCost]:
    def cost(segment: Segment) -> SegmentCost:
        epochs = segment.last - (segment.restore or 0)
        return SegmentCost(segment, setup_seconds, restore_seconds + epoch_seconds * epochs)

    return cost


def ranges(costs: Sequence[SegmentCost]) -> list[tuple[int, int]]:
    return [(c.segment.first, c.segment.last) for c in costs]


def test_one_long_segment_is_shared_evenly() -> None:
    whole = segment("v", 12)
    pieces = split([costing(0.0)(whole)], {whole: range(2, 13)}, 4, costing(0.0), cut)
    assert ranges(pieces) == [(1, 3), (4, 6), (7, 9), (10, 12)]
    assert [c.segment.restore for c in pieces] == [0, 3, 6, 9]


def test_a_dear_set_up_means_fewer_pieces_and_a_very_dear_one_means_none() -> None:
    whole = segment("v", 12)
    for setup_seconds, number in ((1.0, 4), (100.0, 4), (0.0, 4)):
        cost = costing(setup_seconds)
        assert len(split([cost(whole)], {whole: range(2, 13)}, 4, cost, cut)) == number
    cost = costing(10.0)
    short = [segment(v, 2) for v in "abcd"]
    uncut = [cost(s) for s in short]
    assert split(uncut, dict.fromkeys(short, (2,)), 4, cost, cut) == tuple(uncut)


def test_epochs_that_do_not_divide_evenly_are_not_cut_into_more_pieces_than_useful() -> None:
    whole = segment("v", 12)
    pieces = split([costing(0.0)(whole)], {whole: range(2, 13)}, 5, costing(0.0), cut)
    assert ranges(pieces) == [(1, 3), (4, 6), (7, 9), (10, 12)]  # no 5 workers end before 3 seconds


def test_pieces_end_where_they_can_be_cut() -> None:
    whole = segment("v", 12)
    assert ranges(split([costing(0.0)(whole)], {whole: (11,)}, 4, costing(0.0), cut)) == [(1, 10), (11, 12)]
    assert ranges(split([costing(0.0)(whole)], {}, 4, costing(0.0), cut)) == [(1, 12)]


def test_nothing_is_cut_for_one_worker_and_no_worker_is_refused() -> None:
    whole = segment("v", 12)
    assert ranges(split([costing(0.0)(whole)], {whole: range(2, 13)}, 1, costing(0.0), cut)) == [(1, 12)]
    assert split([], {}, 3, costing(0.0), cut) == ()
    with pytest.raises(ValueError, match="at least one"):
        split([], {}, 0, costing(0.0), cut)


def test_only_segments_longer_than_the_share_are_cut() -> None:
    long, short = segment("a", 20), segment("b", 2)
    cost = costing(1.0)
    pieces = split([cost(long), cost(short)], {long: range(2, 21), short: (2,)}, 2, cost, cut)
    assert [c.segment.version for c in pieces] == ["a", "a", "b"]
    assert pack(pieces, 2).makespan_seconds == 13.0


def test_a_segment_of_unknown_cost_is_cut_by_its_epochs() -> None:
    whole = segment("v", 12)
    unknown = SegmentCost(whole, 1.0, 24.0, known=False)
    pieces = split([unknown], {whole: range(2, 13)}, 4, costing(1.0, epoch_seconds=0.0), cut)
    assert [(c.run_seconds, c.known) for c in pieces] == [(6.0, False)] * 4


def test_a_few_more_versions_than_workers_are_cut_where_one_worker_is_full() -> None:
    wholes = [segment(f"v{number:02}", 100 + number) for number in range(20)]
    cost = costing(20.0, restore_seconds=3.0)
    costs = [cost(whole) for whole in wholes]
    pieces = split(costs, {whole: range(2, whole.last + 1) for whole in wholes}, 16, cost, cut)
    assert len(pieces) - len(costs) <= 15
    assert pack(costs, 16).makespan_seconds == 253.0  # two whole versions on some worker
    assert pack(pieces, 16).makespan_seconds == 186.0
    assert pack(pieces, 16).lower_bound_seconds > 160.0


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(LENGTHS, st.integers(1, 6), st.sampled_from([0.0, 0.5, 3.0, 20.0]), st.sampled_from([0.0, 0.3]), st.data())
def test_pieces_cover_the_same_epochs_and_never_end_later_than_the_whole(
    lengths: list[int], workers: int, setup_seconds: float, restore_seconds: float, data: st.DataObject
) -> None:
    segments = [segment(f"v{number}", last) for number, last in enumerate(lengths)]
    points = {s: sorted(data.draw(st.frozensets(st.integers(2, s.last)))) if s.last > 1 else [] for s in segments}
    cost = costing(setup_seconds, restore_seconds=restore_seconds)
    costs = [cost(s) for s in segments]
    pieces = split(costs, points, workers, cost, cut)
    for whole in segments:
        own = [c.segment for c in pieces if c.segment.version == whole.version]
        assert [e for p in own for e in range(p.first, p.last + 1)] == list(range(1, whole.last + 1))
        assert all(p.first in points[whole] for p in own[1:])
    assert pack(pieces, workers).makespan_seconds <= pack(costs, workers).makespan_seconds
    assert split(costs, points, workers, cost, cut) == pieces

"""What a driver makes of other replays: what it leaves to them, what it takes, and how it goes on without the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray.cluster import company
from flor_ray.cluster.company import Company
from flor_ray.errors import StoreError
from flor_ray.planning import segmenting
from flor_ray.records import Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler import sharing
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.messages import OthersAtWork, WorkerJoined
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.sharing import SegmentPart, Sifted, Whose
from flor_ray.store import claims
from flor_ray.store.claims import ReplayClaims, Staff
from flor_ray.store.store import Store

WHOLE = Segment("v", 1, 4, Operator.DP_I, restore=0, names=("a",))
STATEMENTS = {"v": {"a": "digest"}}
HERE = Staff("cluster", 8, 2, 8)


def price(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, 1.0, 10.0 * (segment.last - segment.first + 1))


CUTTING = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, price)


def epochs(first: int, last: int) -> Segment:
    return WHOLE.part(first, last)


def dispatcher(*segments: Segment) -> Dispatcher:
    return Dispatcher(Schedule((tuple(price(one) for one in segments or (WHOLE,)),), 0.0, 0.0), CUTTING)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(company, "_LOOK_AT_OTHERS_SECONDS", 0.0)
    return Store(str(tmp_path / "store"))


@pytest.fixture
def other(store: Store) -> Iterator[ReplayClaims]:
    with ReplayClaims(store.files, "p", "replay-0", claims.of_this_process()) as found:
        yield found


@pytest.fixture
def own(store: Store) -> Iterator[ReplayClaims]:
    with ReplayClaims(store.files, "p", "replay-1", claims.of_this_process()) as found:
        yield found


def of(store: Store, own: ReplayClaims, fresh: tuple[str, ...] = ()) -> Company:
    return Company(store, "p", own, STATEMENTS, fresh)


def holds(one: ReplayClaims, *segments: Segment, digest: str = "digest") -> None:
    one.said = replace(one.said, held=sharing.claim(segments, {"v": {"a": digest}}), wanted=())
    one.flush()


def reports(store: Store, segment: Segment, origin: str = "replay-0") -> None:
    store.write_replay("p", "v", origin, segment.id, [], SegmentReport(segment, 0, 0.0, 1.0))


def test_what_another_replay_holds_is_left_to_it_and_the_rest_is_claimed(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    ours = of(store, own)
    holds(other, epochs(2, 3))
    (sifted,) = ours.look(dispatcher(), HERE)
    parts = (SegmentPart(1, Whose.OURS), SegmentPart(3, Whose.THEIRS), SegmentPart(4, Whose.OURS))
    assert sifted == Sifted(WHOLE, parts)
    d = dispatcher()
    assert ours.take(d, WHOLE, (2, 3, 4))[0] == sifted
    assert ours.take(d, epochs(4, 4), ()) == []
    assert sharing.claim([epochs(4, 4)], STATEMENTS) == own.said.held


def test_what_it_waits_for_is_answered_by_a_report_and_comes_back_without_one(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    ours, d = of(store, own), dispatcher()
    holds(other, WHOLE)
    d.handle(OthersAtWork(ours.look(d, HERE)), 0.0)
    assert ours.at_work == {f"{other.said.who} (replay-0)": 1}
    assert ours.look(d, HERE) == ()
    reports(store, epochs(1, 2))
    holds(other)
    (sifted,) = ours.look(d, HERE)
    assert sifted.parts == (SegmentPart(2, Whose.ANSWERED), SegmentPart(4, Whose.OURS))
    assert [one.segment for one in ours.reports] == [replace(epochs(1, 2), restore=None)]


def test_reports_of_other_statements_answer_nothing_and_that_is_said(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    ours, d = of(store, own), dispatcher()
    holds(other, WHOLE, digest="another")
    reports(store, epochs(1, 2))
    assert ours.look(d, HERE) == ()
    holds(other)
    assert ours.take(d, WHOLE, (2, 3, 4)) == []
    (note,) = ours.notes
    assert "is replaying a with other statements (replay-0)" in note


def test_what_was_done_since_the_plan_was_made_is_answered(store: Store, own: ReplayClaims) -> None:
    reports(store, epochs(1, 4))
    (sifted,) = of(store, own, fresh=("replay-0",)).look(dispatcher(), HERE)
    assert sifted.parts == (SegmentPart(4, Whose.ANSWERED),)
    assert of(store, own).look(dispatcher(), HERE) == ()


def test_alone_many_segments_are_claimed_at_once_beside_others_those_that_come_next(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    short = [replace(price(epochs(e, e)), run_seconds=0.1) for e in range(1, 31)]
    d = Dispatcher(Schedule((tuple(short),), 0.0, 0.0), CUTTING)
    d.handle(WorkerJoined("x"), 0.0)
    ours = of(store, own)
    assert ours.take(d, epochs(1, 1), ()) == []
    assert own.said.held[0].spans == ((1, 17),)
    ours.look(d, HERE)
    ours.look(d, HERE)
    assert own.said.held[0].spans == ((1, 2),)  # the rest is given back
    ours.ended()
    assert [one.said.held for one in other.others()] == [()]


def test_slots_are_shared_with_replays_on_the_same_cluster_only(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    ours, d = of(store, own), dispatcher()
    other.said = replace(other.said, staff=Staff("elsewhere", 8, 8, 8))
    other.flush()
    ours.look(d, HERE)
    assert ours.share is None
    other.said = replace(other.said, staff=Staff("cluster", 16, 16, 16))  # of half the size
    other.flush()
    ours.look(d, HERE)
    assert ours.share == 4


def test_who_repeats_a_question_has_one_worker_and_what_the_first_does_not_want(
    store: Store, own: ReplayClaims, other: ReplayClaims
) -> None:
    ours, d = of(store, own), dispatcher()
    own.said = replace(own.said, question="the same")
    other.said = replace(other.said, question="the same", staff=Staff("cluster", 8, 8, 8))
    other.flush()
    ours.look(d, HERE)
    assert ours.share == 1
    other.said = replace(other.said, staff=Staff("cluster", 8, 2, 2))
    other.flush()
    ours.look(d, HERE)
    assert ours.share == 6
    holds(other, WHOLE, digest="another")  # which is not the same question
    other.said = replace(other.said, staff=Staff("cluster", 8, 8, 8))
    other.flush()
    ours.look(d, HERE)
    assert ours.share == 4


def test_without_the_store_a_replay_goes_on_by_itself_and_says_so(
    store: Store, own: ReplayClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreError("It is away.")

    ours, d = of(store, own), dispatcher()
    with monkeypatch.context() as patched:
        patched.setattr(store.files, "infos", away)
        patched.setattr(own, "_files", store.files)
        assert ours.take(d, WHOLE, ()) == []
        assert not ours.is_due
        assert ours.take(d, WHOLE, ()) == []
    assert [note.endswith("may have been run twice: It is away.") for note in ours.notes] == [True]

"""The timeline of a replay, from what workers are told and tell."""

from __future__ import annotations

from flor_ray.cluster.ledger import Ledger
from flor_ray.records import Ending, Operator, Segment, SegmentReport
from flor_ray.scheduler.messages import Run, SegmentAdvanced, SegmentDone, SegmentShortened, WorkerJoined, WorkerLost

WHOLE = Segment("v", 1, 8, Operator.DP_I, restore=0)


def test_each_part_is_a_stint_of_its_own_and_shares_what_was_estimated() -> None:
    ledger = Ledger()
    ledger.happens(WorkerJoined("w", "A100"), 0.0)
    ledger.begins(Run("w", WHOLE, 100.0, 80.0), 1.0)
    ledger.happens(SegmentAdvanced("w", SegmentReport(WHOLE.part(1, 2), 4, 3.0, 20.0)), 24.0)
    ledger.happens(SegmentShortened("w", WHOLE, 6), 30.0)
    ledger.happens(SegmentAdvanced("w", SegmentReport(WHOLE.part(3, 5), 6, 0.0, 30.0)), 54.0)
    assert ledger.busy_seconds(60.0) == 59.0
    ledger.happens(SegmentDone("w", SegmentReport(WHOLE.part(6, 6), 2, 0.0, 10.0)), 64.0)
    seen = [(s.segment, s.began, s.ended, s.ending, s.setup_seconds, s.rows, s.kind) for s in ledger.stints]
    assert seen == [
        (WHOLE.part(1, 2), 1.0, 24.0, Ending.DONE, 3.0, 4, "A100"),
        (WHOLE.part(3, 5), 24.0, 54.0, Ending.DONE, 0.0, 6, "A100"),
        (WHOLE.part(6, 6), 54.0, 64.0, Ending.DONE, 0.0, 2, "A100"),
    ]
    assert [stint.estimated_seconds for stint in ledger.stints] == [20.0, 30.0, 10.0]


def test_only_what_was_not_answered_is_lost_with_a_worker() -> None:
    ledger = Ledger()
    ledger.begins(Run("w", WHOLE), 0.0)
    ledger.happens(SegmentAdvanced("w", SegmentReport(WHOLE.part(1, 5), 5, 0.0, 50.0)), 50.0, twice=True)
    ledger.happens(WorkerLost("w"), 55.0)
    assert [(s.segment, s.ending, s.ended - s.began) for s in ledger.stints] == [
        (WHOLE.part(1, 5), Ending.CANCELLED, 50.0),
        (WHOLE.part(6, 8), Ending.LOST, 5.0),
    ]

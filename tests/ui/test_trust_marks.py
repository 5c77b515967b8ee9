"""How far a value can be trusted is said of each value, by the report of the replay that computed it."""

import numpy as np

from flor_ray.records import Fidelity, Mismatch, Operator, Segment, SegmentReport
from flor_ray.store.segment_reports import KeptReport
from flor_ray.ui.curves import marks
from flor_ray.ui.curves.marks import Trust, TrustMarking

VERSION = "a" * 40


def report(first: int, last: int, verdict: Fidelity, **more: object) -> SegmentReport:
    segment = Segment(VERSION, first, last, Operator.DP_I, names=("acc",))
    return SegmentReport(segment, last - first + 1, 0.0, 1.0, verdict=verdict, **more)  # type: ignore[arg-type]


def trust(verdict: Fidelity, **more: object) -> tuple[Trust, str]:
    found = marks.of_report(report(1, 2, verdict, **more), "acc", "replay-1")
    return found.trust, found.reason


def test_each_verdict_has_its_word_and_its_reason() -> None:
    assert trust(Fidelity.EXACT, compared=3, states_compared=1, exact=3) == (
        Trust.EXACT,
        "3 recorded values and 1 recorded state computed again: all equal, bit for bit",
    )
    assert trust(Fidelity.WITHIN_TOLERANCE, compared=3, exact=1)[0] is Trust.WITHIN_TOLERANCE
    assert trust(Fidelity.UNVERIFIED)[0] is Trust.UNVERIFIED


def test_what_speaks_against_a_value_makes_it_doubtful() -> None:
    mismatch = Mismatch("loss", 2, None, "0.5", "0.6")
    word, reason = trust(Fidelity.DIVERGED, mismatch=mismatch, cause="another GPU")
    assert word is Trust.DOUBTFUL
    assert "0.5" in reason
    assert trust(Fidelity.UNVERIFIED, cause="data.csv has changed")[0] is Trust.DOUBTFUL
    assert trust(Fidelity.EXACT, compared=1, doubtful={"acc": "stream"})[0] is Trust.DOUBTFUL
    assert trust(Fidelity.EXACT, compared=1, measured=("acc",))[0] is Trust.DOUBTFUL
    assert trust(Fidelity.EXACT, compared=1, measured=("other",), doubtful={"other": "x"})[0] is Trust.EXACT


def test_each_epoch_has_the_mark_of_the_replay_that_it_is_from() -> None:
    kept = [
        KeptReport("replay-1", "dp_i-000002-000003", report(2, 3, Fidelity.EXACT, compared=1)),
        KeptReport("replay-2", "dp_i-000004-000004", report(4, 4, Fidelity.UNVERIFIED)),
    ]
    replayed = {"replay-1": {VERSION: [2, 3]}, "replay-2": {VERSION: [4, 5]}}
    marking = TrustMarking("acc", kept, replayed)
    found = marking.of(VERSION, np.array([1, 2, 3, 4, 5]))
    assert [marking.known[number].trust for number in found] == [
        Trust.RECORDED,
        *[Trust.EXACT] * 2,
        *[Trust.UNVERIFIED] * 2,
    ]
    assert marking.known[found[4]].reason == "the report of the replay that computed it is gone"
    assert marking.of("b" * 40, np.array([1])).tolist() == [0]

"""What a worker writes of a segment, and when: parts in their order; those in doubt when something confirms them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from flor_ray.records import (
    Experiment,
    Fidelity,
    Level,
    LogRecord,
    Mismatch,
    Operator,
    Segment,
    SegmentReport,
    Status,
)
from flor_ray.replaying.answering import Answering
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.results import NO_EVIDENCE, SegmentResult
from flor_ray.replaying.version_process import WarmServers
from flor_ray.store import typed_values
from flor_ray.store.store import Store

VERSION = "v" * 8
RUN = Experiment("p", VERSION, None, "train.py", "", 0.0, 1.0, Status.FINISHED, main_loop="epoch", epochs=6)
FROM_START = Segment(VERSION, 1, 6, Operator.DP_I, names=("words",))


@dataclass
class Told:
    """One run of a segment with a process that says what it is told to."""

    store: Store
    whole: Segment = FROM_START
    doubts: dict[str, str] = field(default_factory=dict)
    parts: list[SegmentReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        job = VersionJob(self.store.url, "replay-1", RUN, (), doubtful=self.doubts)
        self.answering = Answering(job, self.whole, self.store, WarmServers(), "", 0.0, self.parts.append)
        process: Any = SimpleNamespace(recorded=RecordedValues({}), evidence=NO_EVIDENCE)
        self.answering.begins(process, was_there=True, further_back="")

    def result(self, first: int, last: int, **more: Any) -> SegmentResult:
        records = tuple(
            LogRecord(Level.OUTER, epoch, None, "words", 0, typed_values.encode(float(epoch)), 0.0)
            for epoch in range(first, last + 1)
        )
        return SegmentResult(self.whole.part(first, last), records, 0.0, 1.0, **more)

    @property
    def written(self) -> list[tuple[int, int]]:
        """First and last epochs of what is in the store."""
        reports = self.store.logged("p", ["words"]).reports
        return sorted((kept.report.segment.first, kept.report.segment.last) for kept in reports)


def test_each_part_is_written_at_once_and_told_and_the_rest_is_what_is_left() -> None:
    told = Told(Store("memory://answering-parts"), FROM_START.part(2, 6))
    told.answering.part(told.result(2, 3, goes_on=True))
    assert told.written == [(2, 3)]
    assert [report.segment for report in told.parts] == [told.whole.part(2, 3)]
    assert (told.answering.begun, told.answering.rest(6).first) == (4, 4)
    end = told.answering.all(told.result(4, 5))  # its tail was taken away
    assert end.segment == told.whole.part(4, 5)
    assert told.written == [(2, 3), (4, 5)]


def test_parts_in_doubt_wait_until_something_confirms_them_all() -> None:
    told = Told(Store("memory://answering-held"), doubts={"words": "near"})
    told.answering.part(told.result(1, 2, goes_on=True))
    told.answering.part(told.result(3, 3, goes_on=True))
    assert told.written == []
    told.answering.part(told.result(4, 4, goes_on=True, states_compared=1))
    assert told.written == [(1, 4)]
    (report,) = told.parts
    assert (report.verdict, report.doubtful, report.rows) == (Fidelity.EXACT, {}, 4)
    end = told.answering.all(told.result(5, 6))
    assert (end.doubtful, told.written) == ({"words": "near"}, [(1, 4), (5, 6)])


def test_what_nothing_confirms_in_the_end_is_written_with_its_doubt() -> None:
    told = Told(Store("memory://answering-doubt"), doubts={"words": "near"})
    told.answering.part(told.result(1, 2, goes_on=True))
    end = told.answering.all(told.result(3, 6))
    assert (end.segment, end.doubtful, told.parts) == (FROM_START, {"words": "near"}, [])
    assert told.written == [(1, 6)]


def test_a_difference_in_a_part_is_told_with_that_part() -> None:
    told = Told(Store("memory://answering-mismatch"))
    mismatch = Mismatch("weight", 2, None, "1", "2")
    told.answering.part(told.result(1, 2, goes_on=True, states_compared=1, state_mismatch=mismatch))
    assert told.parts[0].verdict is Fidelity.DIVERGED
    assert told.answering.all(told.result(3, 6, states_compared=1)).verdict is Fidelity.EXACT

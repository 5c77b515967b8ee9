"""What is told of values that rest on what no checkpoint can hold."""

from __future__ import annotations

import pytest

from flor_ray.records import (
    Experiment,
    Fidelity,
    Level,
    LogRecord,
    Operator,
    Segment,
    Status,
    Variant,
)
from flor_ray.replaying import results
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.results import SegmentResult
from flor_ray.reports.replays import describe_doubts
from flor_ray.store import typed_values
from flor_ray.store.store import Store

RUN = Experiment("p", "v" * 8, None, "train.py", "", 0.0, 1.0, Status.FINISHED, main_loop="epoch", epochs=3)
DOUBTS = {"words": "near", "other": "far"}


def record(name: str, value: float, epoch: int | None = 3) -> LogRecord:
    return LogRecord(Level.OUTER, epoch, None, name, 0, typed_values.encode(value), 0.0)


def part(variant: Variant, restore: int | None) -> Segment:
    return Segment("v" * 8, 3, 3, Operator.DP_I, variant, restore, names=("words",))


@pytest.mark.parametrize(
    ("segment", "again", "doubtful"),
    [
        (part(Variant.INNER, None), [], {"words": "near"}),
        (Segment("v" * 8, 1, 3, Operator.DP_STAR, names=("words",)), [], {"words": "near"}),
        (part(Variant.INNER, None), [record("loss", 1.0)], {}),  # what was recorded came out again
        (part(Variant.INNER, 2), [], {}),  # a checkpoint that lacks what is needed is not begun at
        (part(Variant.END, None), [], {}),
        (Segment("v" * 8, 0, 0, Operator.DP, names=("words",)), [], {}),
    ],
)
def test_values_are_doubted_where_they_ran_from_the_start_and_nothing_confirms_them(
    segment: Segment, again: list[LogRecord], doubtful: dict[str, str]
) -> None:
    recorded = RecordedValues({(3, None, "loss", 0): typed_values.encode(1.0)})
    words = record("words", 3.0, None if segment.operator is Operator.DP else 3)
    result = SegmentResult(segment, (words, *again), 0.0, 0.0)
    report = results.write(Store("memory://results"), RUN, "replay-1", recorded, result, DOUBTS)
    assert (report.rows, report.doubtful) == (1, doubtful)
    assert report.verdict is (Fidelity.EXACT if again else Fidelity.UNVERIFIED)


def test_each_object_is_named_once_with_what_to_do() -> None:
    told = describe_doubts([("a" * 8, {"x": "near", "y": "near"}), ("b" * 8, {"x": "near"}), ("b" * 8, {"z": "far"})])
    assert told == [
        "version bbbbbbbb: z depends on 'far', which no checkpoint can hold, and nothing that was recorded confirms "
        "what the replay made of it: log a value that comes from 'far' in training, and replays are compared with that",
        "2 versions: aaaaaaaa, bbbbbbbb: x, y depend on 'near', which no checkpoint can hold, and nothing that was "
        "recorded confirms what the replay made of it: log a value that comes from 'near' in training, and replays are "
        "compared with that",
    ]

"""Replayed values are compared with the recorded ones bit for bit."""

from __future__ import annotations

import math
from typing import Any

import blake3
import numpy as np
import pytest

from flor_ray.fidelity import RecordedValues, compare
from flor_ray.records import Level, LogRecord, Mismatch
from flor_ray.schema import Value, encode


def record(value: Any, name: str = "x", epoch: int = 1, step: int | None = None) -> LogRecord:
    return LogRecord(Level.OUTER, epoch, step, name, 0, encode(value), 0.0)


def stored(value: Any) -> Value:
    """As it is read back: a blob has become its key."""
    encoded = encode(value)
    if encoded.blob is None:
        return encoded
    return Value(encoded.type, text=blake3.blake3(encoded.blob).hexdigest())


def mismatch(was: Any, now: Any) -> Mismatch | None:
    compared, found = compare(RecordedValues({(1, None, "x", 0): stored(was)}), [record(now)])
    assert compared == 1
    return found


@pytest.mark.parametrize(
    "value",
    [1, 0.1, -0.0, math.nan, math.inf, 2**70, True, None, "text", "\ud800", [1, {"a": [None]}], b"bytes", np.zeros(3)],
    ids=repr,
)
def test_a_value_equals_itself(value: Any) -> None:
    assert mismatch(value, value) is None


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (0.0, -0.0),
        (1, 1.0),
        (True, 1),
        (0.1, math.nextafter(0.1, 1)),
        (math.nan, 0.0),
        (0.0, math.nan),
        (math.inf, -math.inf),
        ("a", "b"),
        (None, "None"),
        ([1, 2], [1, 2.0]),
        (b"a", b"b"),
        (np.zeros(3), np.zeros(3, dtype=np.float32)),
        (np.array([0.0]), np.array([-0.0])),
    ],
    ids=repr,
)
def test_values_that_differ_in_type_or_bits_are_told(was: Any, now: Any) -> None:
    assert mismatch(was, now) is not None
    assert mismatch(now, was) is not None


def test_the_first_difference_is_told_and_what_was_not_recorded_is_not_compared() -> None:
    recorded = RecordedValues({(epoch, None, "x", 0): encode(float(epoch)) for epoch in (1, 2, 3)})
    replayed = [record(1.0), record(9.0, "new"), record(2.5, epoch=2), record(3.5, epoch=3)]
    assert compare(recorded, replayed) == (3, Mismatch("x", 2, None, "2.0", "2.5"))

"""Whether replayed values are the recorded ones: every recorded value that a replay computes again is compared.

Equal means equal bit for bit: the same type, the same number (NaN equals NaN), the same text, the same bytes.

    equal -> exact      on other hardware, and nearly equal -> within tolerance      else -> diverged
    nothing to compare, or an input file that is not the same any more -> unverified

Values that measure the clock are expected to differ: then they are counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import blake3

from flor_ray.records import Fidelity, LogRecord, Mismatch, Value
from flor_ray.store import typed_values
from flor_ray.store.fragments import RECORDED
from flor_ray.store.store import Store

Key = tuple[int | None, int | None, str, int]  # epoch, step, name, iteration

# How far a number may be from the recorded one on other hardware, relative to it. Sums in another order differ by 1e-7
# (single precision) at once, and training lets that grow; a changed program is mostly off by more than this.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class RecordedValues:
    """What was recorded for one version, by key; blobs by their key in the object store."""

    values: dict[Key, Value]
    blob: Callable[[str], bytes] | None = None  # reads one; None: blobs that are not equal are not close either

    @classmethod
    def read(cls, store: Store, project: str, version: str) -> RecordedValues:
        """All that the original run of a version logged; blobs are read when they are compared."""
        table = store.logs(project, versions=[version])
        names = ("epoch", "step", "name", "iteration", "type", "number", "integer", "text", "origin")
        columns = [table[name].to_pylist() for name in names]
        values = {row[:4]: Value(*row[4:8]) for row in zip(*columns, strict=True) if row[8] == RECORDED}
        return cls(values, store.objects.get)

    def has(self, record: LogRecord) -> bool:
        return _key(record) in self.values


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the comparison of a segment's values with the recorded ones has shown."""

    compared: int = 0
    exact: int = 0  # of them
    clocked: int = 0  # not among them: values that measure the clock, and differ
    mismatch: Mismatch | None = None  # the first, as the script ran
    close: bool = True  # all that differ are within tolerance


def compare(
    recorded: RecordedValues,
    replayed: Iterable[LogRecord],
    clocked: frozenset[str] = frozenset(),
    tolerant: bool = False,
) -> Comparison:
    """Compare replayed values with those that were recorded too.

    `clocked` are the features that measure the clock. Only if `tolerant` it is found out whether all are close.
    """
    compared, exact, apart, close = 0, 0, 0, tolerant
    first = None
    for record in replayed:
        was, value = recorded.values.get(_key(record)), record.value
        if was is None:
            continue
        assert isinstance(value, Value)  # a session encodes what it logs
        equal = _equal(was, value)
        if not equal and record.name in clocked:
            apart += 1
            continue
        compared += 1
        exact += equal
        if equal:
            continue
        close = close and is_close(was, value, recorded.blob)
        if first is None:
            first = Mismatch(record.name, record.epoch, record.step, _shown(was), _shown(value))
    return Comparison(compared, exact, apart, first, close or first is None)


def judge(
    comparison: Comparison, states_compared: int, state: Mismatch | None, elsewhere: bool, inputs_changed: bool
) -> Fidelity:
    """The verdict on a segment.

    Args:
        states_compared: recorded states that the replay came to and that were compared with its own.
        state: where the first of them differed.
        elsewhere: whether it ran on other hardware than when it was recorded.
        inputs_changed: whether a file that the recorded run read is another one now.
    """
    if comparison.mismatch is None and state is None:
        if inputs_changed or not comparison.compared + states_compared:
            return Fidelity.UNVERIFIED
        return Fidelity.EXACT
    # How far apart two states are is not known: where values were compared as well, these decide.
    close = comparison.close and comparison.compared > 0
    if elsewhere and close and not inputs_changed:
        return Fidelity.WITHIN_TOLERANCE
    return Fidelity.DIVERGED


def is_close(was: Value, now: Value, blob: Callable[[str], bytes] | None = None) -> bool:
    """Whether numbers, alone or in lists, dicts, arrays and tensors, are within TOLERANCE, and all else is equal."""
    if _equal(was, now):
        return True
    if was.type != now.type or was.type in ("image", "pickle", "dataframe", "bytes"):
        return False
    if was.type in typed_values.BLOB_TYPES and blob is None:
        return False
    read = blob or (lambda key: b"")
    return _near(typed_values.decode(was, read), typed_values.decode(now, read))


def _near(was: Any, now: Any) -> bool:
    if type(was) is not type(now):
        return False
    if isinstance(was, float):
        return (math.isnan(was) and math.isnan(now)) or math.isclose(was, now, rel_tol=TOLERANCE)
    if isinstance(was, list):
        return len(was) == len(now) and all(map(_near, was, now))
    if isinstance(was, Mapping):
        return was.keys() == now.keys() and all(_near(item, now[key]) for key, item in was.items())
    if getattr(was, "shape", None) is not None:
        return _near_arrays(was, now)
    return bool(was == now)


def _near_arrays(was: Any, now: Any) -> bool:
    """Each element relative to the largest of the array: small ones are what remains when large ones cancel out."""
    import numpy

    if was.shape != now.shape or was.dtype != now.dtype:
        return False
    if was.dtype.kind not in "fc" or not was.size:
        return bool(numpy.array_equal(was, now))
    largest = float(numpy.nanmax(numpy.abs(numpy.where(numpy.isfinite(was), was, 0))))
    return bool(numpy.allclose(was, now, rtol=TOLERANCE, atol=TOLERANCE * largest, equal_nan=True))


def _key(record: LogRecord) -> Key:
    return (record.epoch, record.step, record.name, record.iteration)


def _equal(was: Value, now: Value) -> bool:
    if was.type != now.type:
        return False
    if now.blob is not None:
        return was.text == blake3.blake3(now.blob).hexdigest()
    if now.number is not None and was.number is not None:  # `==` does not tell 0.0 from -0.0, nor NaN from anything
        both_nan = math.isnan(now.number) and math.isnan(was.number)
        return both_nan or was.number.hex() == now.number.hex()
    return (was.number, was.integer, was.text) == (now.number, now.integer, now.text)


def _shown(value: Value) -> str:
    for field in (value.number, value.integer, value.text):
        if field is not None:
            return str(field)[:80]
    return value.type

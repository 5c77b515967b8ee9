"""Whether replayed values are the recorded ones: every recorded value that a replay computes again is compared.

Equal means equal bit for bit: the same type, the same number (NaN equals NaN), the same text, the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import blake3

from flor_ray.fragments import RECORDED
from flor_ray.records import LogRecord, Mismatch
from flor_ray.schema import Value
from flor_ray.store import Store

Key = tuple[int | None, int | None, str, int]  # epoch, step, name, iteration


@dataclass(frozen=True, slots=True)
class RecordedValues:
    """What was recorded for one version, by key; blobs by their key in the object store."""

    values: dict[Key, Value]

    @classmethod
    def read(cls, store: Store, project: str, version: str) -> RecordedValues:
        table = store.logs(project, versions=[version])
        names = ("epoch", "step", "name", "iteration", "type", "number", "integer", "text", "origin")
        columns = [table[name].to_pylist() for name in names]
        return cls({row[:4]: Value(*row[4:8]) for row in zip(*columns, strict=True) if row[8] == RECORDED})

    def has(self, record: LogRecord) -> bool:
        return _key(record) in self.values


def compare(recorded: RecordedValues, replayed: Iterable[LogRecord]) -> tuple[int, Mismatch | None]:
    """How many replayed values were recorded too, and the first one, as the script ran, that differs."""
    compared, first = 0, None
    for record in replayed:
        was = recorded.values.get(_key(record))
        if was is None:
            continue
        compared += 1
        value = record.value
        assert isinstance(value, Value)  # a session encodes what it logs
        if first is None and not _equal(was, value):
            first = Mismatch(record.name, record.epoch, record.step, _shown(was), _shown(value))
    return compared, first


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

"""Of each run the last value of a feature, its least and its greatest: what a table of runs shows of it. Pure.

The last one is that of the last step of the last epoch, at the finest level at which the run logged it. Least and
greatest are of numbers at that level, and leave NaN out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flor_ray.store.pivoting.slices import NO_VALUES, NONE, Integers, SlicedLogs, Values

_NUMBERS = frozenset({"int", "float", "bool"})


@dataclass(frozen=True, slots=True)
class LastValues:
    """One feature, by position of its run."""

    values: Values  # the last ones
    source: Integers  # of each run, where its value is in `values`; -1: it has none
    least: npt.NDArray[np.float64] | None  # None: not all values are numbers. NaN where a run has none
    greatest: npt.NDArray[np.float64] | None
    replayed: frozenset[str]  # versions whose last value no run has recorded


def last_values(logs: SlicedLogs, name: str, versions: Sequence[str]) -> LastValues:
    """Those of a feature; places count the runs as `versions` do."""
    count = len(versions)
    source, epochs = np.full(count, -1, np.int64), np.full(count, NONE, np.int64)
    least, greatest = np.full(count, np.nan), np.full(count, np.nan)
    parts: list[Values] = []
    taken, has_numbers = 0, True
    for slice_ in logs.finest_of(name).values():
        which, starts = np.unique(slice_.places.version, return_index=True)
        ends = np.append(starts[1:], len(slice_.places)) - 1
        parts.append(slice_.values.take(ends))
        source[which] = taken + np.arange(len(which))
        epochs[which] = slice_.places.epoch[ends]
        taken += len(which)
        if not _NUMBERS.issuperset(slice_.values.types):
            has_numbers = False
        elif len(which):
            numbers = _numbers(slice_.values)
            least[which] = np.fmin.reduceat(numbers, starts)
            greatest[which] = np.fmax.reduceat(numbers, starts)
    values = Values.joined(parts) if parts else NO_VALUES
    are_numbers = has_numbers and bool(parts)
    replayed = _replayed(logs, name, versions, epochs)
    return LastValues(values, source, least if are_numbers else None, greatest if are_numbers else None, replayed)


def _numbers(values: Values) -> npt.NDArray[np.float64]:
    return np.where(values.are("float"), values.numbers, values.integers.astype(np.float64))


def _replayed(logs: SlicedLogs, name: str, versions: Sequence[str], epochs: Integers) -> frozenset[str]:
    last = dict(zip(versions, epochs.tolist(), strict=True))
    by_origin = logs.replayed.get(name, {}).values()
    return frozenset(v for of in by_origin for v, replayed in of.items() if last.get(v) in replayed)

"""Where the values of two runs begin to differ. Pure.

Values are compared at the places that both have: the same epoch, step and iteration. Two NaN are equal; 1 and 1.0 are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flor_ray.records import Value
from flor_ray.store.fragments import combine
from flor_ray.store.pivoting.slices import NONE, Integers, Slice, SlicedLogs, Values

_NUMBERS = ("int", "float", "bool")


@dataclass(frozen=True, slots=True)
class Divergence:
    """Two runs' values of one feature at one level."""

    name: str
    level: int  # 0: outside of the main loop, 1: in it, 2: in the nested loop
    common: int  # places that both have
    differing: int  # of these
    only_left: int  # places that only one has
    only_right: int
    epoch: int | None = None  # of the first difference; None: there is none, or it is outside of the loop
    step: int | None = None
    iteration: int = 0
    left: Value | None = None  # the values there
    right: Value | None = None

    @property
    def place(self) -> tuple[float, float, int]:
        """For sorting by when it happened: what is logged once in an epoch comes after the epoch's steps."""
        return (
            -math.inf if self.epoch is None else self.epoch,
            math.inf if self.step is None else self.step,
            self.iteration,
        )


def divergences(logs: SlicedLogs) -> list[Divergence]:
    """Those of every feature of two runs (their positions are 0 and 1) that both have, the earliest difference first;
    then features without one."""
    found = [
        _divergence(name, depth, slice_)
        for name, by_depth in sorted(logs.of.items())
        for depth, slice_ in sorted(by_depth.items())
        if {0, 1} <= set(np.unique(slice_.places.version).tolist())
    ]
    return sorted(found, key=lambda one: (one.differing == 0, one.place, one.name))


def _divergence(name: str, depth: int, both: Slice) -> Divergence:
    rows = [np.flatnonzero(both.places.version == position) for position in (0, 1)]
    codes = [_codes(both, of) for of in rows]
    common, left, right = np.intersect1d(codes[0], codes[1], return_indices=True)
    left, right = rows[0][left], rows[1][right]  # ascending, as epochs and steps are
    differs = np.flatnonzero(~_equal(both.values.take(left), both.values.take(right)))
    only = len(np.unique(codes[0])) - len(common), len(np.unique(codes[1])) - len(common)
    if not len(differs):
        return Divergence(name, depth, len(common), 0, *only)
    at = left[differs[0]]
    epoch, step = (None if part[at] == NONE else int(part[at]) for part in (both.places.epoch, both.places.step))
    values = [both.values.take(np.array([of[differs[0]]])).each()[0] for of in (left, right)]
    iteration = int(both.places.iteration[at])
    return Divergence(name, depth, len(common), len(differs), *only, epoch, step, iteration, values[0], values[1])


def _codes(of: Slice, rows: Integers) -> Integers:
    wide = [part.astype(np.int64) for part in (of.places.epoch, of.places.step, of.places.iteration)]
    whole = combine(combine(wide[0] + 1, wide[1] + 1), wide[2])
    return np.asarray(whole[rows], np.int64)


def _equal(one: Values, other: Values) -> npt.NDArray[np.bool_]:
    numeric = [_are_numbers(values) for values in (one, other)]
    both_numbers = numeric[0] & numeric[1]
    numbers = [np.where(v.are("float"), v.numbers, v.integers.astype(np.float64)) for v in (one, other)]
    both_whole = ~one.are("float") & ~other.are("float")
    same = np.where(both_whole, one.integers == other.integers, numbers[0] == numbers[1])
    same |= np.isnan(numbers[0]) & np.isnan(numbers[1]) & one.are("float") & other.are("float")
    kinds = [np.array(v.types or ("",))[v.type] for v in (one, other)]
    texts = np.array([a == b for a, b in zip(one.texts, other.texts, strict=True)], bool)
    return np.asarray(np.where(both_numbers, same, (kinds[0] == kinds[1]) & texts), bool)


def _are_numbers(values: Values) -> npt.NDArray[np.bool_]:
    return np.isin(values.type, [number for number, kind in enumerate(values.types) if kind in _NUMBERS])

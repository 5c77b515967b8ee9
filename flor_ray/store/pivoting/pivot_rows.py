"""Rows of a pivot, and which record each of them takes a value from. Arrays only: nothing is read here.

The places of a slice ascend, so that rows and records are merged instead of looked up, or taken as they are where every
row has a record; places that several names share are merged once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.records import Experiment
from flor_ray.store.pivoting.slices import (
    NO_VALUES,
    NONE,
    NOWHERE,
    Integers,
    Places,
    Slice,
    SlicedLogs,
    Values,
    ascends,
    codes_of,
)

Epochs = Mapping[str, Collection[int]]  # by version


def rows_of(slices: SlicedLogs, experiments: Sequence[Experiment], depth: int, epochs: Epochs) -> Places:
    """The rows of a pivot, in order: what was logged, and what every version has anyway; of versions in `epochs`, those
    of these epochs."""
    every = slices.places
    count = len(experiments)
    cells = _coarse(np.arange(count))
    if depth >= 1:
        seen = [_distinct(_where(places, places.epoch != NONE).upto(1)) for _, places in every]
        cells = _with_parents(_distinct(_counted(experiments), *seen), cells, 0)
    if depth >= 2:
        steps = [_distinct(_where(places, places.step != NONE).upto(2)) for _, places in every]
        cells = _with_parents(_distinct(*steps), cells, 1)
    rows = [cells]
    for level, places in every:  # a repeated value has a row for each time, below everything that it applies to
        again = _where(places, places.iteration > 0)
        if len(again) and level <= depth:
            rows.append(_below(cells, again, level))
    found = _distinct(*rows)
    return found.take(_wanted(found, experiments, epochs)) if epochs and depth else found


def _counted(experiments: Sequence[Experiment]) -> Places:
    """The epochs of versions, 1 to as many as were counted."""
    begun = np.array([experiment.epochs for experiment in experiments], np.int64)
    return _coarse(np.repeat(np.arange(len(experiments)), begun), _counting(begun) + 1)


def _coarse(version: Integers, epoch: Integers | None = None) -> Places:
    """Places of versions, or of their epochs."""
    none = np.broadcast_to(np.int32(NONE), len(version))
    return Places(version, none if epoch is None else epoch, none, np.broadcast_to(np.int32(0), len(version)))


def _where(places: Places, there: npt.NDArray[np.bool_]) -> Places:
    return places if there.all() else places.take(there)


def _wanted(rows: Places, experiments: Sequence[Experiment], epochs: Epochs) -> npt.NDArray[np.bool_]:
    """Which rows are of epochs that are wanted, or of a version without any."""
    wanted = np.ones(len(rows), bool)
    for version, experiment in enumerate(experiments):
        if experiment.version in epochs:
            first, last = np.searchsorted(rows.version, (version, version + 1))
            own = rows.epoch[first:last]
            wanted[first:last] = (own == NONE) | np.isin(own, list(epochs[experiment.version]))
    return wanted


# --- places ---------------------------------------------------------------------------------------------------------


def _distinct(*parts: Places) -> Places:
    """All places once, in order."""
    every = Places.joined([part for part in parts if len(part)] or [NOWHERE])
    (codes,) = codes_of(every)
    if _is_each_once(codes):
        return every
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    return every.take(order[np.concatenate([[True], ordered[1:] != ordered[:-1]])])


def _is_each_once(codes: Integers) -> bool:
    """Whether each is greater than the one before."""
    return bool((codes[1:] > codes[:-1]).all())


def _with_parents(cells: Places, parents: Places, depth: int) -> Places:
    """`cells`, and those of `parents` that have no cell; they are places of this depth."""
    theirs, ours = codes_of(parents, cells.upto(depth))
    alone = ~_is_in(theirs, ours)
    return _distinct(cells, parents.take(alone)) if alone.any() else cells


def _is_in(wanted: Integers, ascending: Integers) -> npt.NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(wanted), bool)
    return np.asarray(ascending[np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)] == wanted)


def _below(cells: Places, repeated: Places, depth: int) -> Places:
    """Each cell at or below the place of a repeated record, which is of this depth, once for each of its iterations."""
    ours, theirs = codes_of(cells.upto(depth), repeated.upto(depth))
    order = np.argsort(theirs, kind="stable")
    first, last = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    counts = np.asarray(last - first, np.int64)
    which = np.repeat(np.arange(len(ours)), counts)
    of = order[np.repeat(first, counts) + _counting(counts)]
    found = cells.take(which)
    return Places(found.version, found.epoch, found.step, repeated.iteration[of])


def _counting(counts: Integers) -> Integers:
    """0, 1, ... up to each count, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


# --- sources --------------------------------------------------------------------------------------------------------


class Sources:
    """Which record each row of a column takes its value from."""

    def __init__(self, slices: SlicedLogs, rows: Places, depth: int) -> None:
        self._slices, self._rows, self._depth = slices, rows, depth
        self._repeated = bool((rows.iteration > 0).any())
        self._last: dict[int, tuple[Places, Integers | None]] = {}

    def of(self, name: str, only: int | None = None) -> tuple[Values, Integers | None]:
        """Values, and per row the number of its value, -1 for none; no numbers: each row has the value at its place. Of
        each version the values of the finest depth, or of `only` one.
        """
        own = self._slices.of.get(name, {})
        levels = self._slices.finest_of(name) if only is None else {d: one for d, one in own.items() if d == only}
        if not levels:
            return NO_VALUES, np.full(len(self._rows), -1, np.int64)
        if len(levels) == 1:
            ((depth, one),) = levels.items()
            return one.values, self._at(depth, one)
        found, before = np.full(len(self._rows), -1, np.int64), 0
        for depth, one in sorted(levels.items()):
            source = self._at(depth, one)
            numbers = np.arange(len(self._rows)) if source is None else source
            found = np.where(numbers >= 0, numbers + before, found)
            before += len(one.values)
        return Values.joined([one.values for _, one in sorted(levels.items())]), found

    def _at(self, depth: int, one: Slice) -> Integers | None:
        places, found = self._last.get(depth, (None, None))
        if places is not one.places:
            found = self._look_up(depth, one.places)
            self._last[depth] = one.places, found
        return found

    def _look_up(self, depth: int, places: Places) -> Integers | None:
        rows, own = self._rows.upto(depth), places.upto(depth)
        wanted, keys = codes_of(_again(rows, self._rows), _again(own, places))
        if len(wanted) == len(keys) and np.array_equal(wanted, keys) and _is_each_once(keys):
            return None
        found = np.full(len(self._rows), -1, np.int64)
        if self._repeated and depth < self._depth:
            # what was logged once applies to every repetition below it
            cells, its = codes_of(rows, own)
            several = np.unique(its[places.iteration > 0])
            once = np.flatnonzero(~_is_in(its, several))
            found = _looked_up(its[once], once, cells, found)
        return _looked_up(keys, None, wanted, found)


def _again(cells: Places, places: Places) -> Places:
    return Places(cells.version, cells.epoch, cells.step, places.iteration)


def _looked_up(keys: Integers, records: Integers | None, wanted: Integers, otherwise: Integers) -> Integers:
    """Per row the first record with its key, `otherwise` where there is none; no records: they are 0, 1, ..."""
    if not len(keys):
        return otherwise
    if not ascends(keys):  # as those of a slice do not that has steps at the level of epochs
        order = np.argsort(keys, kind="stable")
        keys, records = keys[order], order if records is None else records[order]
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    candidate: Any = position if records is None else records[position]
    return np.where(keys[position] == wanted, candidate, otherwise)

"""The values of one feature as curves are drawn of them: read once, and kept while the store has no others.

    store ── pivots ──> FeatureReading: parallel arrays, a run's points side by side ── x axis ──> reducing.Curve

Nothing is sampled here, and nothing is decoded but numbers: what is no number is looked at when somebody opens it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from flor_ray.records import Experiment, Value
from flor_ray.store.pivoting import pivots
from flor_ray.store.pivoting.pivot_columns import Column, Kind
from flor_ray.store.pivoting.slices import NONE
from flor_ray.store.project import Project
from flor_ray.ui.curves import reducing
from flor_ray.ui.curves.marks import TrustMark, TrustMarking
from flor_ray.ui.curves.reducing import Curve, Floats, Integers

AXES = ("epoch", "step", "time")
_KEPT_POINTS = 10_000_000  # of all readings that are kept: with their curves, half a gigabyte


@dataclass(frozen=True, slots=True, eq=False)
class FeatureReading:
    """All points of a feature in some runs, in the order of runs, epochs, steps and iterations."""

    name: str
    experiments: Mapping[str, Experiment]  # that it was read for
    spans: Mapping[str, tuple[int, int]]  # by version: its first point, and the one after its last
    epoch: Integers  # NONE outside of the main loop
    step: Integers  # NONE outside of nested loops
    iteration: Integers
    y: Floats
    missing: npt.NDArray[np.bool_]
    others: npt.NDArray[np.bool_]  # values that are no numbers
    mark: Integers  # positions in `marks`
    marks: Sequence[TrustMark]
    types: tuple[str, ...]  # of the values, as F names them
    column: Column
    drawn: dict[tuple[str, str], tuple[Curve, Integers]] = field(default_factory=dict)  # by version and axis

    @property
    def level(self) -> str:
        """The finest at which there are values: "d", "o", "i"; "" if there is none."""
        if self.missing.all():
            return ""
        there = ~self.missing
        return "i" if (self.step[there] != NONE).any() else "o" if (self.epoch[there] != NONE).any() else "d"

    def stored(self, row: int) -> Value | None:
        """A value as the store has it; None if there is none."""
        if self.missing[row]:
            return None
        value = self.column.value(row)
        if isinstance(value, Value):
            return value
        if isinstance(value, str):
            return Value("str", text=value)
        if isinstance(value, bool):
            return Value("bool", integer=int(value))
        return Value("int", integer=value) if isinstance(value, int) else Value("float", float(str(value)))

    def curve(self, version: str, axis: str) -> tuple[Curve, Integers]:
        """A run's points over an axis, and their rows here. Points without a place on it are left out."""
        if (version, axis) not in self.drawn:
            self.drawn[version, axis] = self._curve(version, axis)
        return self.drawn[version, axis]

    def _curve(self, version: str, axis: str) -> tuple[Curve, Integers]:
        start, end = self.spans[version]
        rows = np.arange(start, end)
        epoch, step = self.epoch[start:end], self.step[start:end]
        x = self._places(self.experiments[version], axis, epoch, step)
        here = np.isfinite(x)
        if not here.all():
            rows, x = rows[here], x[here]
        if len(x) > 1 and (x[1:] < x[:-1]).any():
            order = np.argsort(x, kind="stable")
            rows, x = rows[order], x[order]
        return reducing.curve(x, self.y[rows], self.missing[rows], self.others[rows]), rows

    def _places(self, run: Experiment, axis: str, epoch: Integers, step: Integers) -> Floats:
        """Where points lie. What is logged outside of the main loop lies at its beginning."""
        number = np.maximum(epoch, 0)
        counts = self._steps(run, epoch, step)
        inside = step != NONE
        if axis == "time":
            return _times(run, number, np.where(inside, (step + 1) / counts[number], np.nan))
        if axis == "step":
            before = np.concatenate([[0], np.cumsum(counts[1:])])  # steps of the epochs before each
            at_end = np.where(number > 0, before[number], 0)
            return np.where(inside, np.where(number > 0, before[number - 1], 0) + step, at_end).astype(np.float64)
        return np.where(inside, number - 1 + (step + 1) / counts[number], number).astype(np.float64)

    def _steps(self, run: Experiment, epoch: Integers, step: Integers) -> Integers:
        """How many steps each epoch has: as recorded, or as far as values tell."""
        last = max([int(epoch.max(initial=0)), *(times.epoch for times in run.profile.epochs)])
        counts = np.ones(max(0, last) + 1, np.int64)
        np.maximum.at(counts, np.maximum(epoch, 0), step + 1)
        for times in run.profile.epochs:
            if times.steps:
                counts[times.epoch] = max(counts[times.epoch], times.steps)
        return counts


def _times(run: Experiment, epoch: Integers, part: Floats) -> Floats:
    """Seconds from the start of the run until a place was reached while it was recorded; `part`: which share of the
    nested loop was done, NaN at an epoch's end. NaN where nothing was measured."""
    profile = run.profile
    last = max([int(epoch.max(initial=0)), *(times.epoch for times in profile.epochs)])
    ends, inner, inner_ends = (np.full(last + 1, np.nan) for _ in range(3))
    ends[0] = now = profile.setup_seconds
    for times in sorted(profile.epochs, key=lambda one: one.epoch):
        inner_ends[times.epoch] = now + times.head_seconds + times.inner_seconds
        inner[times.epoch] = times.inner_seconds
        now += times.head_seconds + times.inner_seconds + times.tail_seconds
        ends[times.epoch] = now
    return np.where(np.isnan(part), ends[epoch], inner_ends[epoch] - inner[epoch] * (1 - part))


def read(project: Project, name: str, experiments: Sequence[Experiment]) -> FeatureReading:
    """The values of a feature in these runs. Raises StoreError if the store cannot be read."""
    logged = pivots.read(project.store, project.name, [name], experiments)
    found = pivots.pivot(project.store, project.name, [name], experiments, logged.logs, decode=False, pickles="refuse")
    column = list(found.columns.values())[-1]  # the finest of its levels
    length = found.length

    def numbers(of: str, none: int) -> Integers:
        if of not in found.columns:
            return np.full(length, none, np.int64)
        dimension = found.columns[of]
        values = dimension.values.astype(np.int64)
        return values if dimension.missing is None else np.where(dimension.missing, none, values)

    versions = found.columns["version"]
    epoch = numbers("epoch", NONE)
    y, missing, others = _numbers(column, length)
    marking = TrustMarking(name, logged.reports, found.replayed.get(name, {}))
    mark, spans = np.zeros(length, np.int64), {}
    codes = versions.values
    for number, version in enumerate(versions.labels):
        start, end = (int(at) for at in np.searchsorted(codes, [number, number + 1]))
        spans[version] = start, end
        mark[start:end] = marking.of(version, epoch[start:end])
    return FeatureReading(
        name,
        {e.version: e for e in experiments},
        spans,
        epoch,
        numbers("step", NONE),
        numbers("iteration", 0),
        y,
        missing,
        others,
        np.where(missing, 0, mark),
        marking.known,
        column.types,
        column,
    )


def _numbers(column: Column, length: int) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Numbers (NaN where there is none), where no value is, and where one is that is no number."""
    nothing = np.zeros(length, bool)
    missing = nothing if column.missing is None else column.missing
    if column.kind is Kind.NUMBER:
        return column.values.astype(np.float64), missing, nothing
    if column.kind is Kind.STORED and column.stored is not None and len(column.stored):
        at = np.maximum(column.values, 0)
        stored = column.stored
        is_float, is_whole = stored.are("float")[at], (stored.are("int") | stored.are("bool"))[at]
        y = np.where(is_float, stored.numbers[at], np.where(is_whole, stored.integers[at].astype(np.float64), np.nan))
        return y, missing, ~(is_float | is_whole | missing)
    return np.full(length, np.nan), missing, ~missing


class Readings:
    """Keeps readings, the last used ones longest, and reads anew what the store has changed. For any threads."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], tuple[int, FeatureReading]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str, experiments: Sequence[Experiment]) -> FeatureReading:
        """As `read` has it. Raises StoreError if the store cannot be read."""
        versions = tuple(e.version for e in experiments)
        # Asked before they are read: what comes between counts anew.
        stamp = hash(
            (self._project.store.stamp(self._project.name, versions), *((e.status, e.epochs) for e in experiments))
        )
        with self._lock:
            kept = self._kept.get((name, versions))
            if kept is not None and kept[0] == stamp:
                self._kept.move_to_end((name, versions))
                return kept[1]
        found = read(self._project, name, experiments)
        with self._lock:
            self._kept[name, versions] = stamp, found
            self._kept.move_to_end((name, versions))
            while len(self._kept) > 1 and sum(len(one.y) for _, one in self._kept.values()) > _KEPT_POINTS:
                self._kept.popitem(last=False)
        return found

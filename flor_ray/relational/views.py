"""The four pivoted views as Arrow tables, with gap flags [paper, Figures 3 and 4].

    data_prep_pivot     a row per version                 what was logged outside the main loop
    outer_loop_pivot    a row per (version, epoch)        in the main loop
    inner_loop_pivot    a row per (version, epoch, step)  in a loop nested in it
    full_pivot          a row per (version, epoch, step)  all; an epoch without steps, a version without epochs: one row

Values of a coarser level repeat on all finer rows of full_pivot. Figure 4, taken literally, joins the inner view to the
outer one by epoch, and so loses the data-prep values of every inner row whose epoch has no outer one, and the epoch
values beside it; here no value is lost. Names, levels and suffixes (`loss_o`, `epoch_logged`) are those of
`flor_ray.store.pivoting.pivots`, and so are the rows. Which rows there are does not depend on the names that a
statement mentions: a place has as many rows as the name that was logged there most often (`iteration`), whoever asks.

A gap is flagged on each row whose value it could give. A gap in a nested loop may also add rows, one for each step.
Where the record says how many steps the epoch had, they are there from the start, as soon as an inner feature of the
statement has a place in that epoch, answered or not; else `opens` is true on the rows that are there instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.records import Experiment, Operator
from flor_ray.relational.contents import Contents
from flor_ray.relational.naming import column_name, feature_columns, folded, free, inner_names, quoted
from flor_ray.relational.schema import Relation
from flor_ray.store.pivoting import arrow_columns, pivots
from flor_ray.store.pivoting.pivot_rows import Sources, rows_of
from flor_ray.store.pivoting.pivots import ReadLogs
from flor_ray.store.pivoting.slices import LEVELS, NO_VALUES, NONE, Places, Slice, SlicedLogs
from flor_ray.store.store import Store

DEPTHS = {"data_prep_pivot": 0, "outer_loop_pivot": 1, "inner_loop_pivot": 2, "full_pivot": 2}
_FULL = "full_pivot"
_ADDRESS = ("version", "epoch", "step")
_DIMENSIONS = ("project", "version", "run", "timestamp", "epoch", "step", "iteration")
_ALIASES = {"projectid": "project", "versionid": "version"}
_STEPS = "\0steps"  # stands for the steps that were counted, and is no feature: names have no such character
_MOST_STEPS = 20_000_000  # rows that are made of counted steps; beyond, their epochs are as if nobody had counted

Gaps = Mapping[str, Mapping[str, frozenset[int | None]]]  # feature -> version -> epochs; None: outside the main loop
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EpochBound:
    """A condition that rows satisfy which a statement can look at: their epoch, compared with values."""

    operator: str  # "=" (any of the values), "<", "<=", ">" or ">=" (the one value)
    values: tuple[float, ...]

    def holds(self, epochs: Any) -> Booleans:
        """Of which epochs it is true."""
        if self.operator == "=":
            return np.asarray(np.isin(epochs, np.array(self.values)), bool)
        (value,) = self.values
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[self.operator]
        return np.asarray(compare(epochs, value), bool)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statement asks of a project's features."""

    experiments: tuple[Experiment, ...]
    names: frozenset[str] | None = None  # that may be those of columns, in lower case; None: all columns are wanted
    levels: Mapping[str, Collection[str]] = field(default_factory=dict)  # of features with or without values; none: any
    gaps: Gaps = field(default_factory=dict)
    repeating: Collection[str] = ()  # features that a place may have several of, or that bring a loop of their own
    versions: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of a view: the only versions it is asked for
    epochs: Mapping[str, Sequence[EpochBound]] = field(default_factory=dict)  # of a view: what its epochs satisfy

    def wants(self, column: str) -> bool:
        """Whether a statement may name this column."""
        return self.names is None or column.lower() in self.names


class Views:
    """The pivoted views of what was recorded in some versions. Log records are read when the first one is asked for."""

    def __init__(self, store: Store, project: str, asked: Asked) -> None:
        self._store, self._project, self._asked = store, project, asked

    @cached_property
    def _logged(self) -> ReadLogs:
        return pivots.read(self._store, self._project, (), self._asked.experiments)

    @cached_property
    def columns(self) -> dict[str, str]:
        """What the column of each feature is called, in whatever view."""
        names = dict.fromkeys([*self._logged.logs.of, *sorted(self._asked.levels)])
        return feature_columns(names, {folded(name) for name in _DIMENSIONS})

    def elsewhere(self) -> dict[str, tuple[str, ...]]:
        """In which views the column of each feature is, by its folded name."""
        found: dict[str, tuple[str, ...]] = {}
        for name, column in self.columns.items():
            depths = {*self._logged.logs.of.get(name, ()), *map(LEVELS.index, self._asked.levels.get(name, ()))}
            own = [view for view, depth in DEPTHS.items() if view != _FULL and depth in (depths or DEPTHS.values())]
            found[folded(column)] = (*own, _FULL)
        return found

    def view(self, name: str) -> Contents:
        """One of DEPTHS."""
        return _View(self, name).contents()


class _View:
    def __init__(self, views: Views, name: str) -> None:
        self._name, self._depth = name, DEPTHS[name]
        self._asked, self._project = views._asked, views._project
        self._every = self._asked.experiments
        self._levels = {n: frozenset(map(str, of)) or frozenset(LEVELS) for n, of in self._asked.levels.items()}
        self._columns = views.columns
        self._slices = views._logged.logs if name == _FULL else _only(views._logged.logs, self._depth)
        self._answered = _answered(views._logged, self._inner)
        self._stepped = self._steps()
        self._rows = self._places()
        self._sources = Sources(self._slices, self._rows, self._depth)
        self._features = self._listed()

    @property
    def _inner(self) -> frozenset[str]:
        """Features of nested loops that a statement may name."""
        return frozenset(n for n, of in self._levels.items() if "i" in of and self._asked.wants(n))

    # --- rows -------------------------------------------------------------------------------------------------------

    def _steps(self) -> Mapping[str, Mapping[int, int]]:
        """By version and epoch, how many steps stand as rows because they were counted."""
        if self._depth < 2:
            return {}
        found: dict[str, dict[int, int]] = {}
        for experiment in self._every:
            known = {times.epoch: times.steps for times in experiment.profile.epochs if times.steps is not None}
            here = set(self._answered.get(experiment.version, ()))
            for name in self._inner:
                here |= {e for e in self._asked.gaps.get(name, {}).get(experiment.version, ()) if e is not None}
            for bound in self._asked.epochs.get(self._name, ()):
                here = {epoch for epoch in here if bound.holds(epoch)}
            if steps := {epoch: known[epoch] for epoch in sorted(here) if known.get(epoch, -1) >= 0}:
                found[experiment.version] = steps
        return found if sum(sum(of.values()) for of in found.values()) <= _MOST_STEPS else {}

    def _places(self) -> Places:
        every = self._slices
        if self._stepped:
            every = replace(every, of={**every.of, _STEPS: {2: Slice(self._counted(), NO_VALUES)}})
        rows = rows_of(every, self._every, self._depth, {})
        wanted = np.ones(len(rows), bool) if self._name in ("data_prep_pivot", _FULL) else rows.epoch != NONE
        for bound in self._asked.epochs.get(self._name, ()) if self._depth else ():
            wanted &= (rows.epoch != NONE) & bound.holds(rows.epoch)
        only = self._asked.versions.get(self._name)
        if only is not None:
            wanted &= np.array([e.version in only for e in self._every], bool)[rows.version]
        return rows if wanted.all() else rows.take(wanted)

    def _counted(self) -> Places:
        parts = [
            (index, epoch, count)
            for index, experiment in enumerate(self._every)
            for epoch, count in self._stepped.get(experiment.version, {}).items()
        ]
        counts = np.array([count for *_, count in parts], np.int64)
        version, epoch = (np.repeat(np.array([part[i] for part in parts], np.int64), counts) for i in (0, 1))
        step = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return Places(version, epoch, step, np.zeros(len(step), np.int64))

    # --- columns ----------------------------------------------------------------------------------------------------

    def _listed(self) -> dict[str, tuple[str, int | None]]:
        """Of each column of features: which, and at which depth only."""
        level = None if self._name == _FULL else LEVELS[self._depth]
        virtual = [n for n, of in sorted(self._levels.items()) if level is None or level in of]
        taken = {folded(name) for name in (*_DIMENSIONS, *self._columns.values())}
        found: dict[str, tuple[str, int | None]] = {}
        for name in dict.fromkeys([*self._slices.of, *virtual]):
            for depth in self._coarser(name):
                other = column_name(f"{name}_{LEVELS[depth]}", taken)
                taken.add(folded(other))
                found[other] = name, depth
            found[self._columns[name]] = name, None
        return found

    def _coarser(self, name: str) -> list[int]:
        """The depths of a feature's values, but for the finest, if a version has it at several."""
        known = name in self._slices.of and self._slices.has_several(name)
        return sorted(self._slices.of[name])[:-1] if known else []

    def contents(self) -> Contents:
        length = len(self._rows)
        inner = inner_names(self._columns.values())
        arrays: dict[str, Any] = self._dimensions()
        shown = {name: quoted(name) for name in arrays}
        notes: list[str] = []
        columns: dict[str, str] = {}
        for column, (name, depth) in self._features.items():
            called = inner.get(column, column)
            if not (self._asked.wants(column) or self._asked.wants(called)):
                continue
            typed = arrow_columns.typed(*self._sources.of(name, depth), length)
            raw = f"feature {len(columns)}"
            arrays[raw] = typed.array
            shown[called] = f"CAST({quoted(raw)} AS {typed.sql})" if typed.sql else quoted(raw)
            columns[called] = name
            notes += [f"{column} {typed.note}"] if typed.note else []
        shown |= self._aliases(arrays, shown)
        flags, opens, adders = self._flags(arrays, columns)
        relation = Relation(
            self._name,
            tuple(shown),
            tuple(column for column in _ADDRESS if column in shown),
            flags,
            f"{self._name} with gaps" if flags else "",
            opens,
            adders,
            tuple(self._differing(shown, columns, adders)),
            bool(opens) and self._name == "inner_loop_pivot",
        )
        where = '"step" IS NOT NULL' if self._name == "inner_loop_pivot" else ""
        return Contents(relation, arrow_columns.table(arrays), shown, where, tuple(notes), columns, inner)

    def _dimensions(self) -> dict[str, Any]:
        rows, every = self._rows, self._every
        found = {
            "project": arrow_columns.labels(np.zeros(len(rows), np.int32), [self._project]),
            "version": arrow_columns.labels(rows.version, [e.version for e in every]),
            "run": arrow_columns.labels(rows.version, [e.run for e in every]),
            "timestamp": arrow_columns.times([e.started for e in every], rows.version),
        }
        for name, values in (("epoch", rows.epoch), ("step", rows.step))[: self._depth]:
            found[name] = arrow_columns.integers(values, values != NONE)
        if (rows.iteration > 0).any() or (self._asked.names is not None and "iteration" in self._asked.names):
            found["iteration"] = arrow_columns.integers(rows.iteration)
        return found

    def _loops(self) -> dict[str, int]:
        """Names that users gave to loops of this view and that no column has: 1 for main loops, 2 for nested ones."""
        taken = {folded(name) for name in (*self._features, *_DIMENSIONS, *_ALIASES)}
        named = [(e.main_loop, 1) for e in self._every] + [(e.nested_loop, 2) for e in self._every]
        return {name: depth for name, depth in named if name and depth <= self._depth and folded(name) not in taken}

    def _aliases(self, arrays: dict[str, Any], shown: Mapping[str, str]) -> dict[str, str]:
        """Other names of columns, of those that a statement names; `SELECT *` has none of them."""
        if self._asked.names is None:
            return {}
        found = {a: quoted(c) for a, c in _ALIASES.items() if self._asked.wants(a) and a not in map(folded, shown)}
        for name in self._loops():
            if self._asked.wants(name):
                main, nested = (
                    [getattr(e, f"{part}_loop") == name for e in self._every] for part in ("main", "nested")
                )
                rows = self._rows
                values = np.where(np.array(main, bool)[rows.version], rows.epoch, NONE)
                if self._depth == 2:
                    values = np.where(np.array(nested, bool)[rows.version], rows.step, values)
                if all(main):
                    found[name] = '"epoch"'
                elif all(nested):
                    found[name] = '"step"'
                else:
                    arrays[f"loop {name}"] = arrow_columns.integers(values, values != NONE)
                    found[name] = quoted(f"loop {name}")
        return found

    # --- gaps -------------------------------------------------------------------------------------------------------

    def _flags(self, arrays: dict[str, Any], columns: Mapping[str, str]) -> tuple[dict[str, str], str, tuple[str, ...]]:
        """Columns with gaps and their flags; the flag of rows that others may be added to; whose gaps may add them."""
        taken = {folded(column) for column in (*arrays, *columns, *self._features)}
        flags: dict[str, str] = {}
        of_feature: dict[str, str] = {}
        opens = np.zeros(len(self._rows), bool)
        adding: list[str] = []
        for column, name in columns.items():
            if name not in self._asked.gaps:
                continue
            if name not in of_feature:
                gap = self._gap(name)
                if not gap.any():
                    continue
                of_feature[name] = free(f"gap {len(of_feature)}", taken)
                arrays[of_feature[name]] = arrow_columns.booleans(gap)
                adds = gap & self._may_add(name)
                opens |= adds
                adding += [name] if adds.any() else []
            flags[column] = of_feature[name]
        if not adding:
            return flags, "", ()
        flag = free("opens", taken)
        arrays[flag] = arrow_columns.booleans(opens)
        return flags, flag, tuple(column for column, name in columns.items() if name in adding)

    def _gap(self, name: str) -> Booleans:
        """The rows whose value of a feature nobody has acquired."""
        rows = self._rows
        width = int(rows.epoch.max(initial=0)) + 2
        position = {e.version: index for index, e in enumerate(self._every)}
        inside, outside = [], np.zeros(len(self._every), bool)
        for version, epochs in self._asked.gaps[name].items():
            if version in position:
                outside[position[version]] = None in epochs
                inside += [position[version] * width + e + 1 for e in epochs if e is not None and e + 1 < width]
        codes = rows.version.astype(np.int64) * width + rows.epoch.astype(np.int64) + 1
        found: Booleans = np.zeros(len(rows), bool)
        if self._depth:
            found |= np.isin(codes, np.array(inside, np.int64))
        if self._name in ("data_prep_pivot", _FULL):
            found |= outside[rows.version]
        return np.asarray(found, bool)

    def _repeats(self, name: str) -> bool:
        """Whether one place may have several values of a feature."""
        mine = self._slices.of.get(name, {}).values()
        return name in self._asked.repeating or any((one.places.iteration > 0).any() for one in mine)

    def _depths(self, name: str) -> set[int]:
        """The depths at which a feature is, or may be, logged."""
        found = {*self._slices.of.get(name, ()), *map(LEVELS.index, self._levels.get(name, ()))}
        return found or set(range(len(LEVELS)))

    def _differing(self, shown: Iterable[str], columns: Mapping[str, str], adders: Iterable[str]) -> Iterator[str]:
        """The columns in which rows that gaps add may differ from those beside them: what says which row it is, and
        features of the level at which rows are added, or below. What is coarser is repeated."""
        added = [min(self._depths(name)) if self._repeats(name) else 2 for name in {columns[c] for c in adders}]
        for column in shown:
            if column in columns:
                if added and max(self._depths(columns[column])) >= min(added):
                    yield column
            elif column in ("step", "iteration") or self._loops().get(column) == 2:
                yield column

    def _may_add(self, name: str) -> Booleans:
        """The rows beside which a feature's gap may put others."""
        every = np.ones(len(self._rows), bool)
        if self._repeats(name):
            return every
        if self._depth < 2 or "i" not in self._levels.get(name, LEVELS):
            return ~every
        rows = self._rows
        known = np.zeros(len(rows), bool)
        for index, experiment in enumerate(self._every):
            if steps := self._stepped.get(experiment.version):
                known |= (rows.version == index) & np.isin(rows.epoch, list(steps))
        return np.asarray((rows.epoch != NONE) & ~known, bool)


def _only(every: SlicedLogs, depth: int) -> SlicedLogs:
    """The records of one depth."""
    return replace(every, of={name: {depth: of[depth]} for name, of in every.of.items() if depth in of})


def _answered(logged: ReadLogs, names: Iterable[str]) -> dict[str, set[int]]:
    """By version, the epochs in which the statement of one of these features was replayed."""
    wanted = frozenset(names)
    found: dict[str, set[int]] = {}
    for kept in logged.reports if wanted else ():
        segment = kept.report.segment
        if wanted & set(segment.names) and segment.operator is not Operator.DP:
            found.setdefault(segment.version, set()).update(range(max(segment.first, 1), segment.last + 1))
    return found

"""Pivots: log records as columns, at the finest level that is asked for [views of the paper, section 4.1.1].

    only d  ->  a row per version                    columns  project, version, run, timestamp,
    o       ->  a row per (version, epoch)                    [epoch,] [step,] [iteration,] then the names
    i       ->  a row per (version, epoch, step)

Values of a coarser level are repeated in every row below them. Versions, and epochs, without values have rows too, so
that what is missing shows as missing. `iteration` appears only where a name was logged more than once in one place.

A name may be logged at several levels. Its column has of each version the values of the finest one; if a version has it
at several, each coarser level has a column too: `loss_o` for those in the main loop, `loss_d` for those outside of it.

No pandas here: who only prints a table need not import it. `data_frames` makes DataFrames of these.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.errors import FlorWarning, StoreError
from flor_ray.records import Experiment, Value
from flor_ray.store import not_loaded, typed_values
from flor_ray.store.columns import codes_of, floats_of, integers, integers_of
from flor_ray.store.fragments import combine
from flor_ray.store.not_loaded import PICKLES_VARIABLE, NotLoaded
from flor_ray.store.store import Store
from flor_ray.wording import counted

Integers = npt.NDArray[np.int64]
Table = Any  # of pyarrow, which is not imported here

DIMENSIONS = ("project", "version", "run", "timestamp", "epoch", "step", "iteration")
_NONE = -1  # epoch or step of a row that has none
LEVELS = ("d", "o", "i")  # the index of a level is its depth: how many of epoch and step its rows have
_EXACT_FLOAT = 2**53  # integers up to it survive in a float64


class Kind(StrEnum):
    """What the values of a column are."""

    LABEL = "label"  # texts that many rows share
    TIME = "time"  # seconds since 1970 that many rows share
    NUMBER = "number"  # int64, float64 (NaN where there is none) or bool
    TEXT = "text"
    OBJECT = "object"  # NaN where there is none


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a pivot's rows, as narrow as they can be."""

    kind: Kind
    values: npt.NDArray[Any]  # of LABEL and TIME: positions in `labels`
    missing: npt.NDArray[np.bool_] | None = None  # rows without a value, unless NaN says so
    labels: Sequence[Any] = ()

    def value(self, row: int) -> object:
        """The value of one row; None or NaN if it has none."""
        if self.missing is not None and self.missing[row]:
            return None
        value = self.values[row]
        if self.kind is Kind.LABEL:
            return self.labels[value]
        if self.kind is Kind.TIME:
            return datetime.datetime.fromtimestamp(self.labels[value], datetime.UTC)
        return value.item() if self.kind is Kind.NUMBER else value


@dataclass(frozen=True, slots=True)
class Pivot:
    """A table of logged values: columns of equal length."""

    columns: Mapping[str, Column]
    length: int

    def rows(self, most: int) -> Iterator[list[object]]:
        """The first rows, at most so many."""
        for row in range(min(most, self.length)):
            yield [column.value(row) for column in self.columns.values()]


def pivot(
    store: Store,
    project: str,
    names: Sequence[str],
    experiments: Sequence[Experiment],
    logs: Table | None = None,
    least_depth: int = 0,
    level: str | None = None,
    pickles: str | None = None,
) -> Pivot:
    """The values of `names` (none: of every recorded name) in the given experiments, in their order.

    A feature with the name of a dimension gets the suffix `_logged`, and so does the level of a name if a feature has
    the name of its column.

    Args:
        logs: the log records of `names` in the versions of these experiments, as of `Store.logs`; None: read them.
        least_depth: 1 for a row per epoch, 2 for a row per step, whatever was logged.
        level: one of LEVELS, for the rows of that level. Only its values count; of names that were logged at coarser
            levels only, those, repeated as ever.
        pickles: "allow" or "refuse", as `not_loaded.allowed` has it.
    """
    may_unpickle = not_loaded.allowed(pickles)
    if logs is None:
        logs = store.logs(project, names or None, [experiment.version for experiment in experiments])
    records = _Records.of(logs, experiments)
    if level is not None:
        least_depth = LEVELS.index(level)
        records = records.at(least_depth)
    return _of(store, records, project, names or None, experiments, least_depth, may_unpickle)


def features_of(columns: Collection[str], features: Collection[str]) -> set[str]:
    """The features whose values are in these columns: a column has a feature's name, or that of one of its levels."""
    found = set()
    for column in columns:
        name, _, level = column.rpartition("_")
        found |= {column} if column in features else {name} & set(features) if level in LEVELS else set()
    return found


def places(store: Store, project: str, experiments: Sequence[Experiment]) -> Pivot:
    """A row per (version, epoch), without values."""
    return _of(store, _Records.empty(), project, (), experiments, 1)


# --- records --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Records:
    """Log records as arrays; versions and names are positions in lists."""

    names: list[str]  # by level, then by alphabet
    keys: _Keys
    depth: Integers
    name: Integers
    type: Integers
    types: list[str]
    number: npt.NDArray[np.float64]
    integer: Integers
    text: Any  # a pyarrow array

    @classmethod
    def empty(cls) -> _Records:
        nothing = np.zeros(0, np.int64)
        keys = _Keys(*[nothing] * 4)
        return cls([], keys, nothing, nothing, nothing, [], np.zeros(0), nothing, None)

    @classmethod
    def of(cls, table: Table, experiments: Sequence[Experiment]) -> _Records:
        versions = [experiment.version for experiment in experiments]
        if not table.num_rows:
            return cls.empty()
        column = {name: table[name].chunk(0) for name in table.column_names}
        depth = _codes(column["level"], LEVELS)
        known = column["name"].dictionary.to_pylist()
        coarsest = np.full(len(known), len(LEVELS), np.int64)
        np.minimum.at(coarsest, codes_of(column["name"]), depth)
        ordered = [text for least, text in sorted(zip(coarsest.tolist(), known, strict=True)) if least < len(LEVELS)]
        epoch, step, iteration = (integers_of(column[name], _NONE) for name in ("epoch", "step", "iteration"))
        return cls(
            names=ordered,
            keys=_Keys(_codes(column["version"], versions), epoch, step, iteration),
            depth=depth,
            name=_codes(column["name"], ordered),
            type=codes_of(column["type"]).astype(np.int64),
            types=column["type"].dictionary.to_pylist(),
            number=floats_of(column["number"]),
            integer=integers_of(column["integer"], 0),
            text=column["text"],
        )

    def at(self, depth: int) -> _Records:
        """Of each name its records at this depth; of one that has none there or below, those above."""
        there = np.zeros(len(self.names), bool)
        there[self.name[self.depth >= depth]] = True
        chosen = np.flatnonzero(np.where(there[self.name], self.depth == depth, self.depth < depth))
        return replace(
            self,
            keys=self.keys.take(chosen),
            depth=self.depth[chosen],
            name=self.name[chosen],
            type=self.type[chosen],
            number=self.number[chosen],
            integer=self.integer[chosen],
            text=None if self.text is None else self.text.take(integers(chosen)),
        )

    def coarser(self, name: str) -> list[int]:
        """The depths of a name's records, but for the finest, if a version has it at several."""
        mine = self.name == self.names.index(name) if name in self.names else np.zeros(len(self.name), bool)
        depths = np.unique(self.depth[mine]).tolist()
        several = np.unique(combine(self.keys.version[mine], self.depth[mine]))
        return depths[:-1] if len(several) > len(np.unique(self.keys.version[mine])) else []

    @property
    def finest(self) -> int:
        return int(self.depth.max(initial=0))

    def texts(self, records: Integers) -> list[str | None]:
        """The texts of the records with these numbers."""
        found: list[str | None] = self.text.take(integers(records)).to_pylist()
        return found

    def values(self, records: Integers) -> list[Value]:
        """The stored values of the records with these numbers."""
        return [
            Value(self.types[kind], float(number), int(integer), text)
            for kind, number, integer, text in zip(
                self.type[records],
                self.number[records],
                self.integer[records],
                self.texts(records),
                strict=True,
            )
        ]


def _codes(column: Any, known: Sequence[str]) -> Integers:
    """Position in `known` of every value of a dictionary column; those that no row has need not be in it."""
    position = {text: index for index, text in enumerate(known)}
    translation = np.array([position.get(text, -1) for text in column.dictionary.to_pylist()], np.int64)
    return np.asarray(translation[codes_of(column)], np.int64)


# --- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Keys:
    """Addresses of records or rows, as parallel arrays; _NONE where there is no epoch or step."""

    version: Integers
    epoch: Integers
    step: Integers
    iteration: Integers

    def __len__(self) -> int:
        return len(self.version)

    def take(self, rows: Any) -> _Keys:
        return _Keys(self.version[rows], self.epoch[rows], self.step[rows], self.iteration[rows])

    def upto(self, depth: int) -> _Keys:
        """These places without what is below a depth: 0 leaves the version, 1 the epoch too, 2 the step too."""
        none = np.full(len(self), _NONE, np.int64)
        zeros = np.zeros(len(self), np.int64)
        return _Keys(self.version, self.epoch if depth >= 1 else none, self.step if depth >= 2 else none, zeros)


def _codes_of_places(*parts: _Keys) -> list[Integers]:
    """One number per address; equal for equal ones only, in all parts, and in the order of version, epoch, step and
    iteration."""
    version, epoch, step, iteration = (
        np.concatenate([getattr(part, field) for part in parts]) for field in ("version", "epoch", "step", "iteration")
    )
    codes = combine(combine(combine(version, epoch + 1), step + 1), iteration)
    return np.split(codes, np.cumsum([len(part) for part in parts])[:-1])


def _distinct(*parts: _Keys) -> _Keys:
    """All addresses once, in order."""
    fields = ("version", "epoch", "step", "iteration")
    every = _Keys(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))
    return every.take(np.unique(_codes_of_places(every)[0], return_index=True)[1])


def _rows(records: _Records, experiments: Sequence[Experiment], depth: int) -> _Keys:
    """The rows of a pivot, in order: what was logged, and what every version has anyway."""
    logged = records.keys
    count = len(experiments)
    cells = _Keys(np.arange(count), np.full(count, _NONE), np.full(count, _NONE), np.zeros(count, np.int64))
    if depth >= 1:
        begun = np.array([experiment.epochs for experiment in experiments], np.int64)
        version = np.repeat(np.arange(count), begun)
        every = _Keys(version, _counting(begun) + 1, np.full(len(version), _NONE), np.zeros(len(version), np.int64))
        seen = logged.take(logged.epoch != _NONE).upto(1)
        cells = _with_parents(_distinct(every, seen), cells, 0)
    if depth >= 2:
        cells = _with_parents(_distinct(logged.take(logged.step != _NONE).upto(2)), cells, 1)
    rows = [cells]
    for level in range(depth + 1):  # a repeated value has a row for each time, below everything that it applies to
        again = logged.take((logged.iteration > 0) & (records.depth == level))
        if len(again):
            rows.append(_below(cells, again, level))
    return _distinct(*rows)


def _with_parents(cells: _Keys, parents: _Keys, depth: int) -> _Keys:
    """`cells`, and those of `parents` that have no cell; they are places of this depth."""
    theirs, ours = _codes_of_places(parents, cells.upto(depth))
    return _distinct(cells, parents.take(~np.isin(theirs, ours)))


def _below(cells: _Keys, repeated: _Keys, depth: int) -> _Keys:
    """Each cell at or below the place of a repeated record, which is of this depth, once for each of its iterations."""
    ours, theirs = _codes_of_places(cells.upto(depth), repeated.upto(depth))
    order = np.argsort(theirs, kind="stable")
    first, last = (np.searchsorted(theirs[order], ours, side) for side in ("left", "right"))
    counts = np.asarray(last - first, np.int64)
    which = np.repeat(np.arange(len(ours)), counts)
    of = order[np.repeat(first, counts) + _counting(counts)]
    found = cells.take(which)
    return _Keys(found.version, found.epoch, found.step, repeated.iteration[of])


def _counting(counts: Integers) -> Integers:
    """0, 1, ... up to each count, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


class _Sources:
    """Which record each row of a column takes its value from."""

    def __init__(self, records: _Records, rows: _Keys, depth: int) -> None:
        self._records = records
        self._depth = depth
        self._repeated = bool((rows.iteration > 0).any())
        count = len(records.depth)
        both = [
            np.concatenate([getattr(records.keys, part), getattr(rows, part)])
            for part in ("version", "epoch", "step", "iteration")
        ]
        cells = [both[0], combine(both[0], both[1] + 1)]
        cells.append(combine(cells[1], both[2] + 1))
        self._record_cells, self._row_cells = [c[:count] for c in cells], [c[count:] for c in cells]
        keys = [combine(cell, both[3]) for cell in cells]
        self._record_keys, self._row_keys = [k[:count] for k in keys], [k[count:] for k in keys]

    def of(self, name: str, only: int | None = None) -> Integers:
        """Record number per row, -1 for none: of each version the records of the finest depth, or of one only."""
        records = self._records
        found = np.full(len(self._row_keys[0]), -1, np.int64)
        if name not in records.names:
            return found
        mine = np.flatnonzero(records.name == records.names.index(name))
        if only is None:
            version = records.keys.version[mine]
            finest = np.zeros(int(version.max(initial=0)) + 1, np.int64)
            np.maximum.at(finest, version, records.depth[mine])
            mine = mine[records.depth[mine] == finest[version]]
        for depth in range(self._depth + 1) if only is None else (only,):
            part = mine[records.depth[mine] == depth]
            if not len(part):
                continue
            if self._repeated and depth < self._depth:
                # what was logged once applies to every repetition below it
                cells = self._record_cells[depth][part]
                once = part[~np.isin(cells, cells[records.keys.iteration[part] > 0])]
                found = _look_up(self._record_cells[depth], once, self._row_cells[depth], found)
            found = _look_up(self._record_keys[depth], part, self._row_keys[depth], found)
        return found


def _look_up(record_keys: Integers, records: Integers, row_keys: Integers, otherwise: Integers) -> Integers:
    """Per row the record with its key, `otherwise` where there is none."""
    if not len(records):
        return otherwise
    keys = record_keys[records]
    order = np.argsort(keys, kind="stable")
    position = np.minimum(np.searchsorted(keys[order], row_keys), len(keys) - 1)
    candidate = order[position]
    return np.where(keys[candidate] == row_keys, records[candidate], otherwise)


# --- columns --------------------------------------------------------------------------------------------------------


def _of(
    store: Store,
    records: _Records,
    project: str,
    names: Sequence[str] | None,
    experiments: Sequence[Experiment],
    least_depth: int,
    pickles: bool = False,
) -> Pivot:
    depth = max(records.finest, least_depth)
    rows = _rows(records, experiments, depth)
    sources = _Sources(records, rows, depth)
    columns = _places(project, experiments, rows, depth)
    wanted = list(records.names if names is None else dict.fromkeys(names))
    for name in wanted:
        coarser = [(f"{name}_{LEVELS[depth]}", sources.of(name, depth)) for depth in records.coarser(name)]
        for column, source in [*coarser, (name, sources.of(name))]:
            taken = column in columns or (column != name and column in wanted)
            columns[f"{column}_logged" if taken else column] = _typed(store, records, source, name, pickles)
    return Pivot(columns, len(rows))


def _places(project: str, experiments: Sequence[Experiment], rows: _Keys, depth: int) -> dict[str, Column]:
    columns = {
        "project": Column(Kind.LABEL, np.zeros(len(rows), np.int64), labels=[project]),
        "version": Column(Kind.LABEL, rows.version, labels=[e.version for e in experiments]),
        "run": Column(Kind.LABEL, rows.version, labels=[e.run for e in experiments]),
        "timestamp": Column(Kind.TIME, rows.version, labels=[e.started for e in experiments]),
    }
    for name, values in (("epoch", rows.epoch), ("step", rows.step))[:depth]:
        columns[name] = _integers(values, values == _NONE)
    if (rows.iteration > 0).any():
        columns["iteration"] = Column(Kind.NUMBER, rows.iteration)
    return columns


def _integers(values: Integers, missing: npt.NDArray[np.bool_]) -> Column:
    if not missing.any():
        return Column(Kind.NUMBER, values)
    return Column(Kind.NUMBER, np.where(missing, 0, values), missing)


def _typed(store: Store, records: _Records, source: Integers, name: str, pickles: bool) -> Column:
    """A column with the narrowest type that holds all its values."""
    there = source >= 0
    used = source[there]
    if not len(used):
        return Column(Kind.NUMBER, np.full(len(source), np.nan))
    kinds = {records.types[code] for code in np.flatnonzero(np.bincount(records.type[used]))}
    if "none" in kinds and len(kinds) > 1:
        kinds.discard("none")
        there[there] = records.type[used] != records.types.index("none")
        plain = source[there]
    else:
        plain = used
    if kinds == {"int"} or kinds == {"bool"}:
        values = np.zeros(len(source), np.int64)
        values[there] = records.integer[plain]
        if kinds == {"int"}:
            return _integers(values, ~there)
        return Column(Kind.NUMBER, values.astype(bool), None if there.all() else ~there)
    is_int = records.type[plain] == (records.types.index("int") if "int" in kinds else -1)
    if kinds <= {"int", "float"} and (np.abs(records.integer[plain][is_int]) <= _EXACT_FLOAT).all():
        numbers = np.full(len(source), np.nan)
        numbers[there] = np.where(is_int, records.integer[plain], records.number[plain])
        return Column(Kind.NUMBER, numbers)
    if kinds == {"str"}:
        texts = np.full(len(source), None, object)
        texts[there] = records.texts(plain)
        return Column(Kind.TEXT, texts, ~there)
    return _objects(store, records, source, name, pickles)


def _objects(store: Store, records: _Records, source: Integers, name: str, pickles: bool) -> Column:
    """Decoded values; NaN where there is none, None where None was logged, NotLoaded for what was not read."""
    used = np.unique(source[source >= 0])
    values = records.values(used)
    blobs = store.objects.get_each(v.text or "" for v in values if v.type in typed_values.BLOB_TYPES)
    decoded = np.empty(len(used), object)
    for index, value in enumerate(values):
        decoded[index] = _decoded(value, blobs, pickles)
    _tell(name, [value for value in decoded if isinstance(value, NotLoaded)])
    column = np.full(len(source), np.nan, object)
    column[source >= 0] = decoded[np.searchsorted(used, source[source >= 0])]
    return Column(Kind.OBJECT, column)


def _decoded(value: Value, blobs: Mapping[str, bytes | StoreError], pickles: bool) -> object:
    def get(key: str) -> bytes:
        found = blobs[key]
        if isinstance(found, StoreError):
            raise found
        return found

    try:
        return typed_values.decode(value, get, pickles)
    except StoreError as error:
        return NotLoaded(value.type, why=str(error))


def _tell(name: str, values: Sequence[NotLoaded]) -> None:
    pickled = [value for value in values if not value.why]
    if pickled:
        warnings.warn(
            f"{counted(len(pickled), 'value')} of {name} {'is' if len(pickled) == 1 else 'are'} pickled and shown as "
            f"{pickled[0]}: to load a pickle is to run what it says. Where you trust all who can write the store, set "
            f"{PICKLES_VARIABLE}=allow, or call `load()` of a value.",
            FlorWarning,
            stacklevel=2,
        )
    for why in dict.fromkeys(value.why for value in values if value.why):
        warnings.warn(f"A value of {name} cannot be shown: {why}", FlorWarning, stacklevel=2)

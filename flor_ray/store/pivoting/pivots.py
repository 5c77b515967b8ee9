"""Pivots: log records as columns, at the finest level that is asked for [views of the paper, section 4.1.1].

    only d  ->  a row per version                    columns  project, version, run, timestamp,
    o       ->  a row per (version, epoch)                    [epoch,] [step,] [iteration,] then the names
    i       ->  a row per (version, epoch, step)

Values of a coarser level are repeated in every row below them. Versions, and epochs, without values have rows too, so
that what is missing shows as missing. `iteration` appears only where a name was logged more than once in one place.

A name may be logged at several levels. Its column has of each version the values of the finest one; if a version has it
at several, each coarser level has a column too: `loss_o` for those in the main loop, `loss_d` for those outside of it.

No pandas here: who only prints a table need not import it. `data_frames` makes DataFrames of these, `arrow_tables`
Arrow tables, in which logged NaN and missing values stay apart. With `decode=False` what has no narrow type (JSON,
arrays, other objects, mixed types, integers beyond 64 bits) stays as the store has it (`Kind.STORED`): nothing is read
of S, and the key of a blob stands for it. So a table of a few names, versions and epochs, for SQL, is

    arrow_tables.of(pivots.pivot(store, project, names, experiments, level="o", epochs={v: {3, 4}}, decode=False))
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from flor_ray.records import Experiment
from flor_ray.store import log_pieces, not_loaded
from flor_ray.store.log_pieces import LogPiece, PartlyRead
from flor_ray.store.pivoting.pivot_columns import Column, Kind, ValueReading, typed
from flor_ray.store.pivoting.pivot_rows import Epochs, Sources, rows_of
from flor_ray.store.pivoting.slices import LEVELS, NONE, Places, Replayed, SlicedLogs, Table
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.store import Store

__all__ = ["DIMENSIONS", "LEVELS", "Epochs", "Pivot", "features_of", "in_pieces", "pivot", "places", "read"]

DIMENSIONS = ("project", "version", "run", "timestamp", "epoch", "step", "iteration")
_READ_RECORDS = 1 << 20  # that are read at once for a pivot
_PIECE_RECORDS = 500_000  # of a piece of a pivot, as far as versions allow it


@dataclass(frozen=True, slots=True)
class Pivot:
    """A table of logged values: columns of equal length."""

    columns: Mapping[str, Column]
    length: int
    replayed: Replayed = field(default_factory=dict)  # which values no run has recorded

    def rows(self, most: int) -> Iterator[list[object]]:
        """The first rows, at most so many."""
        for row in range(min(most, self.length)):
            yield [column.value(row) for column in self.columns.values()]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns a pivot has: what is known of all its versions together."""

    levels: Mapping[str, Collection[int]]  # of each name, the depths of which the values count
    names: Collection[str]  # in the order of columns
    depth: int  # of the rows
    several: Collection[str] = ()  # names that a version has at several levels
    types: Mapping[str, Collection[str]] | None = None  # of a name's values, if its columns are parts of longer ones

    @classmethod
    def of(
        cls,
        levels: Mapping[str, Collection[int]],
        several: Collection[str],
        names: Sequence[str],
        least_depth: int,
        level: str | None,
        types: Mapping[str, Collection[str]] | None = None,
    ) -> Layout:
        """That of names with their depths; all else as in `pivot`."""
        ordered = sorted(levels, key=lambda name: (min(levels[name]), name))
        if level is not None:
            least_depth = LEVELS.index(level)
            levels = {n: found if max(found) < least_depth else {least_depth} & {*found} for n, found in levels.items()}
            types = None if types is None else {name: types[name] if levels[name] else () for name in levels}
        depth = max([least_depth, *(depth for found in levels.values() for depth in found)])
        return cls(levels, dict.fromkeys(names or ordered), depth, several, types)

    def columns_of(self, name: str) -> list[tuple[str, int | None]]:
        """The columns of a name, with the depth that they are of; None: of each version the finest."""
        coarser = sorted(self.levels[name])[:-1] if name in self.several else []
        return [*((f"{name}_{LEVELS[depth]}", depth) for depth in coarser), (name, None)]


@dataclass(frozen=True, slots=True)
class ReadLogs:
    """What was logged."""

    logs: SlicedLogs  # of the names that were asked for
    names: frozenset[str]  # all, asked for or not
    reports: list[KeptReport]  # of replayed segments


class ListedVersion(Protocol):
    """A run of which it is enough to know which version it is."""

    @property
    def version(self) -> str: ...


def read(
    store: Store,
    project: str,
    names: Sequence[str],
    experiments: Sequence[ListedVersion],
    most_records: int = _READ_RECORDS,
) -> ReadLogs:
    """What these experiments have logged of `names` (none: of all), each file read once and in as little memory as that
    takes: at most so many records at once, of all names together.

    Raises:
        StoreError: the store cannot be read.

    Warns:
        FlorWarning: a file that does not hold what it should is left out.
    """
    versions = [experiment.version for experiment in experiments]
    known: set[str] = set()
    reports: list[KeptReport] = []

    def tables(splits: bool) -> Iterator[Table]:
        for piece in log_pieces.pieces(store.log_reader, project, names, versions, most_records, splits):
            known.update(piece.logged.names)
            reports.extend(piece.logged.reports)
            yield piece.logged.rows

    try:
        return ReadLogs(SlicedLogs.read(tables(True), versions), frozenset(known), reports)
    except PartlyRead:
        known, reports = set(), []
        return ReadLogs(SlicedLogs.read(tables(False), versions), frozenset(known), reports)


def pivot(
    store: Store,
    project: str,
    names: Sequence[str],
    experiments: Sequence[Experiment],
    logs: SlicedLogs | None = None,
    least_depth: int = 0,
    level: str | None = None,
    pickles: str | None = None,
    epochs: Epochs | None = None,
    decode: bool = True,
) -> Pivot:
    """The values of `names` (none: of every recorded name) in the given experiments, in their order.

    A feature with the name of a dimension gets the suffix `_logged`, and so does the level of a name if a feature has
    the name of its column.

    Args:
        logs: the log records of `names` in the versions of these experiments, as `read` has them; None: read them.
        least_depth: 1 for a row per epoch, 2 for a row per step, whatever was logged.
        level: one of LEVELS, for the rows of that level. Only its values count; of names that were logged at coarser
            levels only, those, repeated as ever.
        pickles: "allow" or "refuse", as `not_loaded.allowed` has it.
        epochs: by version, those whose rows are wanted; None, or a version that is not in it: all. What was logged
            outside the main loop stays, but a version with epochs, of which none is wanted, has no row at a finer level
            than that of versions.
        decode: False: values without a narrow type as the store has them.
    """
    reading = ValueReading(store, not_loaded.allowed(pickles), decode)
    slices = read(store, project, names, experiments).logs if logs is None else logs
    several = {name for name in slices.of if slices.has_several(name)}
    layout = Layout.of({name: set(levels) for name, levels in slices.of.items()}, several, names, least_depth, level)
    return _of(reading, slices, project, layout, experiments, epochs or {})


def in_pieces(
    store: Store,
    project: str,
    names: Sequence[str],
    experiments: Sequence[Experiment],
    level: str | None = None,
    pickles: str | None = None,
    decode: bool = True,
) -> Iterator[tuple[Pivot, list[KeptReport]]]:
    """The rows of `pivot` in pieces of some versions each, with the reports of their replays.

    All have the same columns, of the same types (but where an integer beyond 2^53 would not survive beside floats), and
    `iteration` is among them whether anything was logged repeatedly or not. In memory is one piece: half a million
    records, or a version, where one has more.
    """
    reading = ValueReading(store, not_loaded.allowed(pickles), decode)
    layout = _layout_of(store, project, names, experiments, level)
    by_version = {experiment.version: experiment for experiment in experiments}
    left, splits = list(by_version), True
    while left:
        pieces = log_pieces.pieces(store.log_reader, project, names, left, _PIECE_RECORDS, splits)
        try:
            for versions, of_versions in itertools.groupby(pieces, key=lambda piece: tuple(piece.versions)):
                reports: list[KeptReport] = []
                slices = SlicedLogs.read(_rows(of_versions, reports), versions)
                yield _of(reading, slices, project, layout, [by_version[v] for v in versions], {}), reports
                left = left[len(versions) :]
        except PartlyRead:
            splits = False


def _rows(pieces: Iterable[LogPiece], reports: list[KeptReport]) -> Iterator[Table]:
    for piece in pieces:
        reports += piece.logged.reports
        yield piece.logged.rows


def _layout_of(
    store: Store, project: str, names: Sequence[str], experiments: Sequence[Experiment], level: str | None
) -> Layout:
    """What the metadata of files says of features."""
    versions = [experiment.version for experiment in experiments]
    wanted = names or sorted(store.names(project, versions))
    levels: dict[str, dict[str, set[int]]] = {}
    types: dict[str, set[str]] = {}
    for version, _, name, kind in store.kinds(project, wanted, versions):
        levels.setdefault(name, {}).setdefault(version, set()).update(map(LEVELS.index, kind.levels))
        types.setdefault(name, set()).update(kind.types)
    several = {name for name, by_version in levels.items() if any(len(found) > 1 for found in by_version.values())}
    depths = {name: set[int]().union(*by_version.values()) for name, by_version in levels.items()}
    return Layout.of(depths, several, names, 0, level, types)


def features_of(columns: Collection[str], features: Collection[str]) -> set[str]:
    """The features whose values are in these columns: a column has a feature's name, or that of one of its levels."""
    found = set()
    for column in columns:
        name, _, level = column.rpartition("_")
        found |= {column} if column in features else {name} & set(features) if level in LEVELS else set()
    return found


def places(store: Store, project: str, experiments: Sequence[Experiment]) -> Pivot:
    """A row per (version, epoch), without values."""
    return _of(ValueReading(store), SlicedLogs({}), project, Layout({}, (), 1), experiments, {})


def _of(
    reading: ValueReading,
    slices: SlicedLogs,
    project: str,
    layout: Layout,
    experiments: Sequence[Experiment],
    epochs: Epochs,
) -> Pivot:
    slices = slices.at(layout.levels)
    rows = rows_of(slices, experiments, layout.depth, epochs)
    sources = Sources(slices, rows, layout.depth)
    columns = _dimensions(project, experiments, rows, layout)
    for name in layout.names:
        types = None if layout.types is None else layout.types.get(name, ())
        for column, only in layout.columns_of(name):
            values, source = sources.of(name, only)
            taken = column in columns or (only is not None and column in layout.names)
            columns[f"{column}_logged" if taken else column] = typed(reading, values, source, name, types)
    return Pivot(columns, len(rows), slices.replayed)


def _dimensions(project: str, experiments: Sequence[Experiment], rows: Places, layout: Layout) -> dict[str, Column]:
    version = rows.version
    columns = {
        "project": Column(Kind.LABEL, np.broadcast_to(np.int32(0), len(rows)), labels=[project]),
        "version": Column(Kind.LABEL, version, labels=[e.version for e in experiments]),
        "run": Column(Kind.LABEL, version, labels=[e.run for e in experiments]),
        "timestamp": Column(Kind.TIME, version, labels=[e.started for e in experiments]),
    }
    is_part = layout.types is not None
    for name, ordinals in (("epoch", rows.epoch), ("step", rows.step))[: layout.depth]:
        missing = ordinals == NONE
        values = np.where(missing, 0, ordinals).astype(np.int64)
        columns[name] = Column(Kind.NUMBER, values, missing if is_part or missing.any() else None)
    if is_part or (rows.iteration > 0).any():
        columns["iteration"] = Column(Kind.NUMBER, rows.iteration.astype(np.int64))
    return columns

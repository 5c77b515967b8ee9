"""Rows of several files as one table: each key once, in the order that was asked for. Of the pyarrow door."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flor_ray.store import columns
from flor_ray.store.columns import codes_of, integers_of
from flor_ray.store.compacting.compacted_logs import CoveredRows, Integers
from flor_ray.store.compacting.coverage import Choice, Cover
from flor_ray.store.fragments import LOG_FILE_SCHEMA, LOG_SCHEMA, Fragment, combine
from flor_ray.store.log_files import in_one_piece

Place = tuple[str, str]  # version and origin

_KEYS = ("epoch", "step", "name", "iteration")
# Ordinals of one origin's records: of segments by segment, then by row; those of ranges behind, by their number.
_SEGMENT = 1 << 40
_RANGES = 1 << 61


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader asks for; None: all."""

    versions: frozenset[str] | None = None
    names: frozenset[str] | None = None
    levels: frozenset[str] | None = None
    columns: tuple[str, ...] | None = None  # of LOG_SCHEMA
    in_order: bool = True  # rows in the order of logging; else those of a name and version may follow one another
    whole: bool = False  # a damaged file is an error

    @property
    def schema(self) -> pa.Schema:
        """The columns that are read of files."""
        if self.columns is None:
            return LOG_FILE_SCHEMA
        needed = {*self.columns, *_KEYS, *(["level"] if self.levels is not None else [])}
        return pa.schema([one for one in LOG_FILE_SCHEMA if one.name in needed])


@dataclass(frozen=True, slots=True)
class FragmentRows:
    """What was read of a fragment."""

    fragment: Fragment
    table: pa.Table


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """What was read of several fragments, one after the other: many small tables take several times the memory."""

    fragments: tuple[Fragment, ...]
    counts: tuple[int, ...]  # rows of each
    table: pa.Table


def joined(found: Sequence[FragmentRows], names: Collection[str] | None = None) -> JoinedRows:
    """These in one, with the rows of some names only."""
    whole = in_one_piece(pa.concat_tables([one.table for one in found]))
    counts = np.array([one.table.num_rows for one in found], np.int64)
    if names is not None and whole.num_rows:
        symbols = whole["name"].chunk(0)
        known = np.array([text in names for text in symbols.dictionary.to_pylist()], bool)
        mask = known[codes_of(symbols)]
        if not mask.all():
            ends = np.concatenate([[0], np.cumsum(mask)])[np.cumsum(counts)]
            counts = np.diff(ends, prepend=0)
            whole = columns.taken(whole, np.flatnonzero(mask))
    return JoinedRows(tuple(one.fragment for one in found), tuple(counts.tolist()), whole)


@dataclass(frozen=True, slots=True)
class SlicedRows:
    """What was read of a compacted file."""

    places: Sequence[Place]  # of the file's covers
    covers: Mapping[int, Cover]  # those that were read
    rows: CoveredRows


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """Rows of several files, one after the other, and where each is of."""

    table: pa.Table  # columns in one piece each
    version: Integers  # of each place the number of its version
    place: Integers  # of each row the number of its place
    ordinal: Integers  # ascends in the order of logging, within one place


AnyRows = FragmentRows | JoinedRows | SlicedRows


def placed(choices: Mapping[Place, Choice], found: Sequence[AnyRows], schema: pa.Schema) -> PlacedRows:
    """What was read of what is chosen, with columns as in `schema`. `choices` are by version and precedence."""
    number = {place: index for index, place in enumerate(choices)}
    segments = [choice.segments for choice in choices.values()]
    tables, places, ordinals = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for one in found:
        if isinstance(one, SlicedRows):
            place = np.array([number.get(place, -1) for place in one.places], np.int64)[one.rows.cover]
            part, ordinal = one.rows.table, _ordinals(one, number, segments)
        else:
            part, place, ordinal = _of_fragments(one, choices, number, segments)
        tables.append(part)
        places.append(place)
        ordinals.append(ordinal)
    table = pa.concat_tables(tables) if tables else columns.table_of_rows([], schema)
    known = {version: code for code, version in enumerate(dict.fromkeys(version for version, _ in choices))}
    return PlacedRows(
        in_one_piece(table),
        np.array([known[version] for version, _ in choices], np.int64),
        np.concatenate(places),
        np.concatenate(ordinals),
    )


def _of_fragments(
    one: FragmentRows | JoinedRows,
    choices: Mapping[Place, Choice],
    number: Mapping[Place, int],
    segments: Sequence[Sequence[str]],
) -> tuple[pa.Table, Integers, Integers]:
    """The rows of the fragments that are chosen, with their places and ordinals. Others may have been read before."""
    single = isinstance(one, FragmentRows)
    fragments = (one.fragment,) if isinstance(one, FragmentRows) else one.fragments
    counts = np.array([one.table.num_rows] if single else one.counts, np.int64)  # type: ignore[union-attr]
    at, bases = np.full(len(counts), -1, np.int64), np.zeros(len(counts), np.int64)
    for index, fragment in enumerate(fragments):
        place = (fragment.version, fragment.origin)
        if place in choices and fragment in choices[place].fragments:
            at[index] = number[place]
            bases[index] = _base(fragment, segments[number[place]])
    starts = np.cumsum(counts) - counts
    ordinal = np.repeat(bases - starts, counts) + np.arange(int(counts.sum()))
    rows = np.repeat(at, counts)
    if (at >= 0).all():
        return one.table, rows, ordinal
    kept = np.flatnonzero(rows >= 0)
    return columns.taken(in_one_piece(one.table), kept), rows[kept], ordinal[kept]


def _base(fragment: Fragment, segments: Sequence[str]) -> int:
    """The ordinal of a fragment's first row."""
    return _RANGES + fragment.first if fragment.segment is None else segments.index(fragment.segment) * _SEGMENT


def _ordinals(one: SlicedRows, number: Mapping[Place, int], segments: Sequence[Sequence[str]]) -> Integers:
    """A compacted file numbers the segments that it has; those of other files may come between them."""
    ordinal = one.rows.ordinal
    for index, cover in one.covers.items():
        if not cover.segments:
            continue
        known = segments[number[one.places[index]]]
        if list(cover.segments) != list(known):
            moved = np.array([known.index(segment) for segment in cover.segments], np.int64)
            mine = np.flatnonzero((one.rows.cover == index) & (ordinal < _RANGES))
            ordinal = ordinal.copy()
            at = np.minimum(ordinal[mine] // _SEGMENT, len(moved) - 1)
            ordinal[mine] = moved[at] * _SEGMENT + ordinal[mine] % _SEGMENT
    return ordinal


def table(project: str, choices: Mapping[Place, Choice], found: Sequence[AnyRows], wanted: Wanted) -> pa.Table:
    """The rows that are wanted, each (version, epoch, step, name, iteration) once: where it goes first."""
    all_rows = placed(choices, found, wanted.schema)
    kept = _matching(all_rows.table, wanted)
    kept = _without_doubles(all_rows, _doubtful(choices), kept)
    if wanted.in_order:
        kept = _in_order(all_rows, kept)
    rows, place = all_rows.table, all_rows.place
    if kept is not None:
        rows, place = columns.taken(rows, kept), place[kept]
    named = {"project": columns.symbols(np.zeros(len(place), np.int32), [project])}
    for column, texts in zip(("version", "origin"), zip(*choices, strict=True) if choices else ((), ()), strict=True):
        known = {text: code for code, text in enumerate(dict.fromkeys(texts))}
        codes = np.array([known[text] for text in texts], np.int32)
        named[column] = columns.symbols(codes[place], list(known))
    named |= dict(zip(rows.column_names, rows.columns, strict=True))
    schema = LOG_SCHEMA if wanted.columns is None else pa.schema([LOG_SCHEMA.field(name) for name in wanted.columns])
    return pa.Table.from_arrays([named[name] for name in schema.names], schema=schema)


def _matching(table: pa.Table, wanted: Wanted) -> Integers | None:
    """Numbers of the rows with names and levels that are wanted; None: all of them."""
    found: npt.NDArray[np.bool_] | None = None
    for column, texts in (("name", wanted.names), ("level", wanted.levels)):
        if texts is not None and table.num_rows:
            symbols = table[column].chunk(0)
            known = np.array([text in texts for text in symbols.dictionary.to_pylist()], bool)
            mask = known[codes_of(symbols)]
            found = mask if found is None else found & mask
    return None if found is None or found.all() else np.flatnonzero(found)


def is_each_once(choices: Mapping[Place, Choice]) -> bool:
    """Whether no key can be there more than once."""
    return not _doubtful(choices).any()


def _doubtful(choices: Mapping[Place, Choice]) -> npt.NDArray[np.bool_]:
    """Of each place, whether its version may have a key more than once."""
    versions = [version for version, _ in choices]
    apart = np.array([choice.apart for choice in choices.values()], bool)
    same = np.array([a == b for a, b in itertools.pairwise(versions)], bool)
    found = ~apart
    found[1:] |= same
    found[:-1] |= same
    return found


def _without_doubles(rows: PlacedRows, doubtful: npt.NDArray[np.bool_], kept: Integers | None) -> Integers | None:
    """`kept` (None: all) without the rows whose key goes first elsewhere. Keys are those of a version."""
    if not doubtful.any() or not rows.table.num_rows:
        return kept
    every = np.arange(len(rows.place)) if kept is None else kept
    suspects = every[doubtful[rows.place[every]]]
    order = suspects[np.lexsort((rows.ordinal[suspects], rows.place[suspects]))]
    key = rows.version[rows.place[order]]
    for column in _KEYS:
        values = rows.table[column].chunk(0)
        part = codes_of(values).astype(np.int64) if column == "name" else integers_of(values, -1) + 1
        key = combine(key, part[order])
    first = np.unique(key, return_index=True)[1]
    if len(first) == len(order):
        return kept
    gone = np.ones(len(order), bool)
    gone[first] = False
    stays = np.ones(len(rows.place), bool)
    stays[order[gone]] = False
    return every[stays[every]]


def _in_order(rows: PlacedRows, kept: Integers | None) -> Integers | None:
    """The rows in the order of logging."""
    place, ordinal = (part if kept is None else part[kept] for part in (rows.place, rows.ordinal))
    forth = np.diff(place)
    if not ((forth > 0) | ((forth == 0) & (np.diff(ordinal) >= 0))).all():
        order = np.lexsort((ordinal, place))
        return order if kept is None else kept[order]
    return kept

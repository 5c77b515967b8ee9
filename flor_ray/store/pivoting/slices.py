"""Log records by feature: of each name and level its places and values, as narrow as they can be.

Rows of F come in pieces, in the order of logging or sorted by name. Each piece is split into slices by (level, name);
slices of one feature are laid one after the other, and the pieces are let go. Then places ascend, mostly: to ask
whether they do costs little, and where they do not (threads, replays after recorded ones, other orders of versions) a
stable sort makes use of all that is in order. Names that were logged at the same places share them, so that what pivots
do with places is done once for all: ten million records of four names take 0.2 GB here, and 0.8 GB as rows of F.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.records import Value
from flor_ray.store import columns
from flor_ray.store.fragments import RECORDED, combine

Integers = npt.NDArray[np.int64]
Table = Any  # of pyarrow, which is not imported here
# name -> replay -> version -> epochs whose values that replay has computed; NONE: those outside the main loop
Replayed = Mapping[str, Mapping[str, Mapping[str, Collection[int]]]]

NONE = -1  # epoch or step of a place that has none
LEVELS = ("d", "o", "i")  # the index of a level is its depth: how many of epoch and step its rows have
_NUMBERS = frozenset({"int", "float", "bool", "none"})  # types of values that have no text
_INTEGERS = frozenset({"int", "bool"})
_PIECE_ROWS = 1 << 20  # that are split at once: what is made of them meanwhile takes a tenth of a GB
_MOST_CODE = 2**62
_LEAST = (0, NONE, NONE, 0)  # of version, epoch, step and iteration
_COMPARED = 4  # other names' places that those of a name are compared with


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Addresses of records or rows, as parallel arrays; NONE where there is no epoch or step."""

    version: npt.NDArray[np.integer[Any]]  # positions among the experiments
    epoch: npt.NDArray[np.integer[Any]]
    step: npt.NDArray[np.integer[Any]]
    iteration: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.version)

    @property
    def parts(self) -> tuple[npt.NDArray[np.integer[Any]], ...]:
        return self.version, self.epoch, self.step, self.iteration

    def take(self, rows: Any) -> Places:
        return Places(*(part[rows] for part in self.parts))

    def upto(self, depth: int) -> Places:
        """These places without what is below a depth: 0 leaves the version, 1 the epoch too, 2 the step too."""
        none = np.broadcast_to(np.int32(NONE), len(self))
        zeros = np.broadcast_to(np.int32(0), len(self))
        return Places(self.version, self.epoch if depth >= 1 else none, self.step if depth >= 2 else none, zeros)

    def ordered(self) -> tuple[Places, Integers | None]:
        """These places so that they ascend, and the order that makes them so; None: they do."""
        (codes,) = codes_of(self)
        if ascends(codes):
            return self, None
        order = np.argsort(codes, kind="stable")
        return self.take(order), order

    def equals(self, other: Places) -> bool:
        return len(self) == len(other) and all(map(np.array_equal, self.parts, other.parts))

    @classmethod
    def joined(cls, every: Sequence[Places]) -> Places:
        """One after the other."""
        if len(every) == 1:
            return every[0]
        return cls(*(np.concatenate(parts) for parts in zip(*(one.parts for one in every), strict=True)))


NOWHERE = Places(*[np.zeros(0, np.int32)] * 4)


def codes_of(*parts: Places) -> list[Integers]:
    """One number per place; equal for equal ones only, in all parts, and in the order of version, epoch, step and
    iteration."""
    each = zip(*(part.parts for part in parts), strict=True)
    spans = [max(map(_most, same)) + 1 - least for same, least in zip(each, _LEAST, strict=True)]
    if math.prod(spans) < _MOST_CODE:
        found = []
        for place in parts:
            codes = place.version.astype(np.int64)
            for part, span in zip(place.parts[1:], spans[1:], strict=True):
                if span > 1:  # else all are alike
                    codes *= span
                    codes += part
            found.append(codes)
        return found
    version, epoch, step, iteration = Places.joined(parts).parts
    wide = [part.astype(np.int64) for part in (version, epoch, step, iteration)]
    codes = combine(combine(combine(wide[0], wide[1] + 1), wide[2] + 1), wide[3])
    return np.split(codes, np.cumsum([len(part) for part in parts])[:-1])


def _most(part: npt.NDArray[np.integer[Any]]) -> int:
    """The greatest number of a part; of one that is alike in all places, without looking at each."""
    return int(part[:1].max(initial=NONE)) if part.strides == (0,) else int(part.max(initial=NONE))


def ascends(codes: Integers) -> bool:
    """Whether none is less than the one before."""
    return bool((codes[1:] >= codes[:-1]).all())


@dataclass(frozen=True, slots=True)
class Values:
    """Stored values, as parallel columns; one that no value needs is None."""

    types: tuple[str, ...]  # that there are
    type: npt.NDArray[np.int8 | np.int64]  # positions in `types`
    number: npt.NDArray[np.float64] | None
    integer: Integers | None
    text: Any  # a pyarrow array

    def __len__(self) -> int:
        return len(self.type)

    def take(self, rows: Integers) -> Values:
        """Those with these numbers."""
        number = None if self.number is None else self.number[rows]
        integer = None if self.integer is None else self.integer[rows]
        text = None if self.text is None else self.text.take(columns.integers(rows))
        return Values(self.types, self.type[rows], number, integer, text)

    def are(self, kind: str) -> npt.NDArray[np.bool_]:
        """Which of them have this type."""
        position = self.types.index(kind) if kind in self.types else -1
        return np.asarray(self.type == position, bool)

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        return np.full(len(self), np.nan) if self.number is None else self.number

    @property
    def integers(self) -> Integers:
        return np.zeros(len(self), np.int64) if self.integer is None else self.integer

    @property
    def texts(self) -> list[str | None]:
        """The text of each, None where it has none."""
        found: list[str | None] = [None] * len(self) if self.text is None else self.text.to_pylist()
        return found

    def each(self) -> list[Value]:
        """As F has them."""
        return [
            Value(self.types[kind], float(number), int(integer), text)
            for kind, number, integer, text in zip(self.type, self.numbers, self.integers, self.texts, strict=True)
        ]

    @classmethod
    def joined(cls, every: Sequence[Values]) -> Values:
        """One after the other."""
        if len(every) == 1:
            return every[0]
        types = tuple(dict.fromkeys(kind for one in every for kind in one.types))
        if len(types) == 1:
            kinds = np.broadcast_to(np.int8(0), sum(map(len, every)))
        else:
            kinds = np.concatenate([np.array([types.index(k) for k in one.types], np.int64)[one.type] for one in every])
        number = None if all(one.number is None for one in every) else np.concatenate([one.numbers for one in every])
        integer = None if all(one.integer is None for one in every) else np.concatenate([o.integers for o in every])
        return cls(types, kinds, number, integer, columns.joined_texts([(one.text, len(one)) for one in every]))


NO_VALUES = Values((), np.zeros(0, np.int64), None, None, None)


@dataclass(frozen=True, slots=True)
class Slice:
    """The records of one name at one level."""

    places: Places  # ascending
    values: Values

    def take(self, records: Integers) -> Slice:
        return Slice(self.places.take(records), self.values.take(records))


@dataclass(frozen=True, slots=True)
class SlicedLogs:
    """Log records by name and depth; a name that has none is not in it, nor is such a depth."""

    of: Mapping[str, Mapping[int, Slice]]  # depths ascending
    replayed: Replayed = field(default_factory=dict)

    @classmethod
    def read(cls, tables: Iterable[Table], versions: Sequence[str]) -> SlicedLogs:
        """Those of pieces of F that have the columns of `fragments.LOG_SCHEMA`. Rows of other versions are left out."""
        found: dict[tuple[int, str], list[Slice]] = {}
        replayed: dict[str, dict[str, dict[str, set[int]]]] = {}
        for table in tables:
            for piece in table.to_batches(max_chunksize=_PIECE_ROWS):
                if piece.num_rows:
                    _split(piece, versions, found)
                    _note_replayed(piece, replayed)
        shared: dict[tuple[int, ...], tuple[Places, Integers | None]] = {}
        recent: dict[int, list[Places]] = {}
        by_name: dict[str, dict[int, Slice]] = {}
        for depth, name in sorted(found):
            pieces = found.pop((depth, name))
            key = tuple(id(one.places) for one in pieces)
            if key not in shared:
                places, order = Places.joined([one.places for one in pieces]).ordered()
                others = recent.setdefault(depth, [])
                same = next((one for one in others if one.equals(places)), places)
                recent[depth] = [same, *(one for one in others if one is not same)][:_COMPARED]
                shared[key] = same, order
            places, order = shared[key]
            values = Values.joined([one.values for one in pieces])
            by_name.setdefault(name, {})[depth] = Slice(places, values if order is None else values.take(order))
        return cls(by_name, replayed)

    def at(self, levels: Mapping[str, Collection[int]]) -> SlicedLogs:
        """Of each name the records at some depths."""
        chosen = {
            name: {d: one for d, one in own.items() if d in levels.get(name, ())} for name, own in self.of.items()
        }
        return SlicedLogs(chosen, self.replayed)

    @property
    def places(self) -> list[tuple[int, Places]]:
        """All that there are, each once, with their depths."""
        every = {id(one.places): (depth, one.places) for levels in self.of.values() for depth, one in levels.items()}
        return list(every.values())

    def has_several(self, name: str) -> bool:
        """Whether a version has a name at several levels."""
        versions = [np.unique(one.places.version) for one in self.of[name].values()]
        return len(versions) > 1 and len(np.unique(np.concatenate(versions))) < sum(map(len, versions))

    def finest_of(self, name: str) -> dict[int, Slice]:
        """By depth, of each version the records of the finest depth."""
        levels = self.of.get(name, {})
        if len(levels) < 2:
            return dict(levels)
        finest = np.full(1 + max(int(one.places.version.max()) for one in levels.values()), -1)
        for depth in sorted(levels):
            finest[levels[depth].places.version] = depth
        chosen = {d: np.flatnonzero(finest[one.places.version] == d) for d, one in sorted(levels.items())}
        return {depth: levels[depth].take(records) for depth, records in chosen.items() if len(records)}


def _split(piece: Any, versions: Sequence[str], found: dict[tuple[int, str], list[Slice]]) -> None:
    """Add the slices of a piece to those of its features."""
    column = {name: piece.column(name) for name in piece.schema.names}
    names = column["name"].dictionary.to_pylist()
    depth, name, version = (
        _codes(column["level"], LEVELS),
        _codes(column["name"], names),
        _codes(column["version"], versions),
    )
    group = depth * len(names) + name
    if len(LEVELS) * len(names) < 1 << 15:
        group = group.astype(np.int16)  # which numpy sorts by counting
    order = None if ascends(group) else np.argsort(group, kind="stable")
    if int(version.min()) < 0:
        order = np.arange(len(group)) if order is None else order
        order = order[version[order] >= 0]
    ordered = group if order is None else group[order]
    if not len(ordered):
        return
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    parts = _Parts(column, version)
    others: dict[int, list[Places]] = {}
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(ordered)], strict=True):
        its_depth, its_name = divmod(int(ordered[start]), len(names))
        rows = slice(start, end) if order is None else order[start:end]
        places = parts.places(rows)
        known = others.setdefault(its_depth, [])
        same = next((one for one in known if one.equals(places)), places)
        if same is places:
            others[its_depth] = [places, *known[: _COMPARED - 1]]
        found.setdefault((its_depth, names[its_name]), []).append(Slice(same, parts.values(rows)))


class _Parts:
    """The columns of a piece, from which slices are taken."""

    def __init__(self, column: Mapping[str, Any], version: Integers) -> None:
        of = {name: _narrow(columns.integers_of(column[name], NONE)) for name in ("epoch", "step", "iteration")}
        self._places = Places(_narrow(version), of["epoch"], of["step"], of["iteration"])
        self._type, self._types = columns.codes_of(column["type"]), column["type"].dictionary.to_pylist()
        self._number, self._integer, self._text = column["number"], column["integer"], column["text"]
        self._floats = columns.floats_of(self._number) if "float" in self._types else None
        has_integers = not _INTEGERS.isdisjoint(self._types)
        self._integers = columns.integers_of(self._integer, 0) if has_integers else None

    def places(self, rows: Any) -> Places:
        return self._places.take(rows)

    def values(self, rows: Any) -> Values:
        codes = self._type[rows]
        seen = np.flatnonzero(np.bincount(codes, minlength=len(self._types)))
        types = tuple(self._types[code] for code in seen)
        if len(types) == 1:
            kinds: Any = np.broadcast_to(np.int8(0), len(codes))
        else:
            kinds = np.searchsorted(seen, codes).astype(np.int8)
        number = self._floats[rows] if self._floats is not None and "float" in types else None
        integer = self._integers[rows] if self._integers is not None and not _INTEGERS.isdisjoint(types) else None
        text = None if _NUMBERS.issuperset(types) else _texts(self._text, rows)
        return Values(types, kinds, number, integer, text)


def _note_replayed(piece: Any, found: dict[str, dict[str, dict[str, set[int]]]]) -> None:
    """Add the places of a piece's rows that are not recorded ones."""
    origin = piece.column("origin")
    origins = origin.dictionary.to_pylist()
    replayed = np.array([text != RECORDED for text in origins], bool)
    rows = np.flatnonzero(replayed[columns.codes_of(origin)]) if replayed.any() else ()
    if not len(rows):
        return
    name, version = piece.column("name"), piece.column("version")
    codes = [columns.codes_of(column)[rows].astype(np.int64) for column in (name, origin, version)]
    epoch = columns.integers_of(piece.column("epoch"), NONE)[rows]
    key = combine(combine(combine(codes[0], codes[1]), codes[2]), epoch + 1)
    for row in np.unique(key, return_index=True)[1]:
        its_name, its_origin, its_version = (
            column.dictionary[int(code[row])].as_py()
            for column, code in zip((name, origin, version), codes, strict=True)
        )
        found.setdefault(its_name, {}).setdefault(its_origin, {}).setdefault(its_version, set()).add(int(epoch[row]))


def _texts(column: Any, rows: Any) -> Any:
    if isinstance(rows, slice):
        return column.slice(rows.start, rows.stop - rows.start)
    return column.take(columns.integers(rows))


def _codes(column: Any, known: Sequence[str]) -> Integers:
    """Position in `known` of every value of a dictionary column, -1 for those that are not in it."""
    texts = column.dictionary.to_pylist()
    codes = columns.codes_of(column)
    if texts == list(known):
        return codes.astype(np.int64)
    position = {text: index for index, text in enumerate(known)}
    translation = np.array([position.get(text, -1) for text in texts], np.int64)
    return np.asarray(translation[codes], np.int64)


def _narrow(numbers: Integers) -> npt.NDArray[np.integer[Any]]:
    return numbers.astype(np.int32) if int(numbers.max(initial=0)) < 1 << 31 else numbers

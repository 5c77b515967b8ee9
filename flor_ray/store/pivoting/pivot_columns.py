"""Columns of a pivot, as narrow as their values allow."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.errors import FlorWarning, StoreError
from flor_ray.records import Value
from flor_ray.store import typed_values
from flor_ray.store.not_loaded import PICKLES_VARIABLE, NotLoaded
from flor_ray.store.pivoting.slices import Integers, Values
from flor_ray.store.store import Store
from flor_ray.wording import counted

_EXACT_FLOAT = 2**53  # integers up to it survive in a float64


class Kind(StrEnum):
    """What the values of a column are."""

    LABEL = "label"  # texts that many rows share
    TIME = "time"  # seconds since 1970 that many rows share
    NUMBER = "number"  # int64, float64 (NaN where there is none) or bool
    TEXT = "text"
    OBJECT = "object"  # NaN where there is none
    STORED = "stored"  # not decoded: positions in `stored`, -1 where there is none, or None was logged


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a pivot's rows, as narrow as they can be. The arrays may be shared, and are not to be changed."""

    kind: Kind
    values: npt.NDArray[Any]  # of LABEL and TIME: positions in `labels`
    missing: npt.NDArray[np.bool_] | None = None  # rows without a value; floats are NaN there
    labels: Sequence[Any] = ()
    stored: Values | None = None
    types: tuple[str, ...] = ()  # of a feature's values, as F has them; sorted

    def value(self, row: int) -> object:
        """The value of one row; None or NaN if it has none."""
        if self.missing is not None and self.missing[row]:
            return None
        value = self.values[row]
        if self.kind is Kind.STORED and self.stored is not None:
            return self.stored.take(np.array([value])).each()[0]
        if self.kind is Kind.LABEL:
            return self.labels[value]
        if self.kind is Kind.TIME:
            return datetime.datetime.fromtimestamp(self.labels[value], datetime.UTC)
        return value.item() if self.kind is Kind.NUMBER else value


@dataclass(frozen=True, slots=True)
class ValueReading:
    """How values become those of a column."""

    store: Store
    pickles: bool = False  # whether they are loaded
    decode: bool = True


def typed(
    reading: ValueReading, values: Values, source: Integers | None, name: str, types: Collection[str] | None = None
) -> Column:
    """A column with the narrowest type that holds all its values; `source` as `Sources.of` has it.

    `types` of which other rows have values, too: then the column has that type, whatever is missing here. Where
    integers of this column would not survive in it, their column has another one.
    """
    kinds = _kinds(values, source) if types is None else set(types)
    length = len(values) if source is None else len(source)
    if not kinds:
        return _without_values(length)
    is_part = types is not None
    types = tuple(sorted(kinds))
    plain = source
    if "none" in kinds and len(kinds) > 1:
        kinds.discard("none")
        plain = _but(values.are("none"), source)
    gone = np.zeros(length, bool) if plain is None else plain < 0
    missing = gone if is_part or gone.any() else None
    if kinds == {"int"} or kinds == {"bool"}:
        whole = _gathered(values.integers, plain, 0)
        return Column(Kind.NUMBER, whole if kinds == {"int"} else whole.astype(bool), missing, types=types)
    if kinds <= {"int", "float"} and (numbers := _floats(values, plain, kinds)) is not None:
        return Column(Kind.NUMBER, numbers, missing, types=types)
    if kinds == {"str"}:
        used, positions = _used(len(values), plain)
        texts = np.array([*values.take(used).texts, None], object)  # -1, the last, is none
        return Column(Kind.TEXT, texts[positions], missing, types=types)
    if reading.decode:
        return replace(_objects(reading, values, source, name), types=types)
    if kinds == {"none"}:
        return replace(_without_values(length), types=types)
    used, positions = _used(len(values), plain)
    return Column(Kind.STORED, positions, positions < 0, stored=values.take(used), types=types)


def _without_values(length: int) -> Column:
    return Column(Kind.NUMBER, np.full(length, np.nan), np.ones(length, bool))


def _kinds(values: Values, source: Integers | None) -> set[str]:
    """The types of the values that are in rows."""
    codes = values.type if source is None else values.type[source[source >= 0]]
    if len(values.types) == 1:
        return set(values.types) if len(codes) else set()
    return {values.types[code] for code in np.flatnonzero(np.bincount(codes, minlength=len(values.types)))}


def _but(out: npt.NDArray[np.bool_], source: Integers | None) -> Integers:
    """`source` without the values that are out."""
    if not len(out):
        return np.full(0 if source is None else len(source), -1)
    if source is None:
        return np.where(out, -1, np.arange(len(out)))
    return np.where(out[source], -1, source)


def _gathered(values: npt.NDArray[Any], source: Integers | None, otherwise: object) -> npt.NDArray[Any]:
    """The values of rows."""
    if source is None:
        return values
    if not len(values):
        return np.full(len(source), otherwise, values.dtype)
    found = values[source]
    found[source < 0] = otherwise
    return found


def _floats(values: Values, source: Integers | None, kinds: set[str]) -> npt.NDArray[Any] | None:
    """Numbers as floats; None if an integer among them would not survive that."""
    numbers = _gathered(values.numbers, source, np.nan)
    if kinds == {"float"}:
        return numbers
    is_int = _gathered(values.are("int"), source, False)
    whole = _gathered(values.integers, source, 0)
    return np.where(is_int, whole, numbers) if (np.abs(whole[is_int]) <= _EXACT_FLOAT).all() else None


def _used(count: int, source: Integers | None) -> tuple[Integers, Integers]:
    """Which of so many values are in rows, and of each row the position among them, -1 for none."""
    if source is None:
        return np.arange(count), np.arange(count)
    used = np.unique(source[source >= 0])
    return used, np.where(source >= 0, np.searchsorted(used, source), -1)


def _objects(reading: ValueReading, values: Values, source: Integers | None, name: str) -> Column:
    """Decoded values; NaN where there is none, None where None was logged, NotLoaded for what was not read."""
    used, positions = _used(len(values), source)
    stored = values.take(used).each()
    blobs = reading.store.objects.get_each(v.text or "" for v in stored if v.type in typed_values.BLOB_TYPES)
    decoded = np.empty(len(used) + 1, object)
    decoded[-1] = np.nan
    for index, value in enumerate(stored):
        decoded[index] = _decoded(value, blobs, reading.pickles)
    _tell(name, [value for value in decoded if isinstance(value, NotLoaded)])
    return Column(Kind.OBJECT, decoded[positions])


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

"""Values of runs that another program recorded, on their way into the store: compact while they are collected, then
sorted, numbered and written as one file of F. Part of the pyarrow door.

A value takes about 50 bytes of memory, four times as much while it is written, and a text its length besides.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flor_ray.errors import UsageError
from flor_ray.records import Experiment, Level
from flor_ray.store import columns, typed_values
from flor_ray.store.fragments import LOG_FILE_SCHEMA, RECORDED, Fragment, quote
from flor_ray.store.log_files import log_bytes
from flor_ray.store.store import Store

Integers = npt.NDArray[np.integer[Any]]

_NONE = -1  # epoch or step of a value that has none
_MOST_STEP = 1 << 48  # as `fragments.expect_log_rows` has it
_MOST_EPOCHS = 1_000_000  # as `checks.expect_epochs` has it
_LAST_SECOND = 253_000_000_000.0  # as `checks.expect_run` has it
_EXACT_FLOAT = 2**53  # integers up to it survive in a float
_TYPES = ("float", "int", "bool", "none", "str", "json", "escaped", "bigint")
_FLOAT, _INT = 0, 1
STEPS = "step"  # for `RunLog.collected`
_LEVELS = (Level.DATA_PREP, Level.OUTER, Level.INNER)


@dataclass(frozen=True, slots=True)
class Collected:
    """The values of one run, as they are to be kept."""

    table: pa.Table  # columns of LOG_FILE_SCHEMA
    epochs: int  # the last one that has a value
    steps: bool  # whether any value is of a step
    superseded: int  # values that a later part of the source has again

    @property
    def values(self) -> int:
        """How many there are."""
        return int(self.table.num_rows)

    @property
    def names(self) -> list[str]:
        """Their names, by alphabet."""
        return sorted(self.table["name"].chunk(0).dictionary.to_pylist()) if self.values else []

    @property
    def digest(self) -> str:
        """A text that other values do not have, timestamps included."""
        said = hashlib.sha256()
        for column in self.table.columns:
            for buffer in column.chunk(0).buffers() if self.values else ():
                said.update(b"-" if buffer is None else memoryview(buffer))
            if self.values and pa.types.is_dictionary(column.type):
                said.update("\0".join(column.chunk(0).dictionary.to_pylist()).encode())
        return said.hexdigest()


class RunLog:
    """Values of one run, in any order. `part` numbers the parts of a source, such as its files; what a later part has
    for the same name, epoch and step stands in place of what earlier parts had."""

    def __init__(self) -> None:
        self.part = 0
        self.out_of_range: Counter[str] = Counter()  # names of values at epochs and steps that there cannot be
        self.not_kept: Counter[str] = Counter()  # names of values that no column can hold
        self.untimed = 0  # values whose time is none that there can be; it is 0 then
        self._names: dict[str, int] = {}
        self._name, self._type, self._part = array("i"), array("b"), array("i")
        self._epoch, self._step, self._integer, self._text = array("q"), array("q"), array("q"), array("i")
        self._number, self._timestamp = array("d"), array("d")
        self._texts: dict[str, int] = {}
        self._purges: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._name)

    def add(
        self, name: str, value: object, timestamp: float, epoch: int | None = None, step: int | None = None
    ) -> None:
        """Add a value: a number, a text, None, or what JSON can say."""
        if not (epoch is None or 1 <= epoch <= _MOST_EPOCHS) or not (step is None or 0 <= step < _MOST_STEP):
            self.out_of_range[name] += 1
            return
        number, integer, text = 0.0, 0, -1
        if type(value) is float:
            kind, number = _FLOAT, value
        else:
            encoded = typed_values.encode(value)
            if encoded.type not in _TYPES:
                self.not_kept[name] += 1
                return
            kind = _TYPES.index(encoded.type)
            integer = encoded.integer or 0
            if encoded.text is not None:
                text = self._texts.setdefault(encoded.text, len(self._texts))
        code = self._names.get(name)
        if not abs(timestamp) < _LAST_SECOND:  # NaN, too
            self.untimed, timestamp = self.untimed + 1, 0.0
        self._name.append(self._names.setdefault(name, len(self._names)) if code is None else code)
        self._type.append(kind)
        self._part.append(self.part)
        self._epoch.append(_NONE if epoch is None else epoch)
        self._step.append(_NONE if step is None else step)
        self._number.append(number)
        self._integer.append(integer)
        self._text.append(text)
        self._timestamp.append(timestamp)

    def purge(self, step: int) -> None:
        """What earlier parts have from this step on does not count."""
        self._purges.append((self.part, step))

    def collected(self, epochs: str | None = None) -> Collected:
        """All values: those outside the loops first, then by epoch and step, then as they came. Integers of a name that
        has floats too become floats, unless one of them would become another number.

        `epochs` says what of the source are epochs: STEPS, or a name. In the first case the values of steps become
        values of the main loop; in the second, a step is of the epoch that the name had last. Epochs that are counted
        from 0 are counted from 1 here; where the name has fractions (1.5 epochs are done), they are rounded up.

        Raises:
            UsageError: this run has no numbers of that name.
        """
        name, part, kind, text, epoch, step, integer = self._integers()
        number, timestamp = (np.frombuffer(a, np.float64) for a in (self._number, self._timestamp))
        if epochs is not None and (step != _NONE).any():
            epoch, step = self._by_epochs(epochs, name, kind, epoch, step, integer, number)
        chosen, iteration = self._chosen(name, part, epoch, step)
        kind, number = _as_floats(name, kind, integer, number)
        inner, outer = (step != _NONE) & (epoch != _NONE), epoch != _NONE
        is_int = (kind == _INT) | (kind == _TYPES.index("bool"))
        # One after the other: what is in memory beside all of the values is one column of them.
        of: dict[str, Callable[[], pa.Array]] = {
            "level": lambda: _symbols((inner.astype(np.int8) + outer)[chosen], [each.value for each in _LEVELS]),
            "epoch": lambda: _nullable(epoch[chosen], outer[chosen]),
            "step": lambda: _nullable(step[chosen], (step != _NONE)[chosen]),
            "name": lambda: _symbols(name[chosen], list(self._names)),
            "iteration": lambda: columns.integers(iteration.astype(np.int64)),
            "type": lambda: _symbols(kind[chosen], list(_TYPES)),
            "number": lambda: _nullable(number[chosen], (kind == _FLOAT)[chosen]),
            "integer": lambda: _nullable(integer[chosen], is_int[chosen]),
            "text": lambda: _texts_of(text[chosen], list(self._texts)),
            "timestamp": lambda: _nullable(timestamp[chosen], np.ones(len(chosen), bool)),
        }
        table = pa.Table.from_arrays([of[field.name]() for field in LOG_FILE_SCHEMA], schema=LOG_FILE_SCHEMA)
        last = int(max(0, epoch[chosen].max(initial=0)))
        return Collected(table, last, bool((step != _NONE)[chosen].any()), len(name) - len(chosen))

    def _integers(self) -> list[Integers]:
        """Of all values: name, part, type, text, epoch, step and integer; no copies."""
        held: list[tuple[array[int], type[np.integer[Any]]]] = [
            (self._name, np.int32),
            (self._part, np.int32),
            (self._type, np.int8),
            (self._text, np.int32),
            (self._epoch, np.int64),
            (self._step, np.int64),
            (self._integer, np.int64),
        ]
        return [np.frombuffer(values, dtype) for values, dtype in held]

    def _by_epochs(
        self,
        epochs: str,
        name: Integers,
        kind: Integers,
        epoch: Integers,
        step: Integers,
        integer: Integers,
        number: npt.NDArray[np.float64],
    ) -> tuple[Integers, Integers]:
        """Epochs and steps, by what of the source are epochs."""
        stepped = step != _NONE
        if epochs == STEPS:
            found = np.where(stepped, step + int((step == 0).any()), epoch)
            _expect_epochs(found[stepped], "its steps")
            return found, np.full(len(step), _NONE, np.int64)
        said = np.flatnonzero((name == self._names.get(epochs, -1)) & stepped & (kind <= _INT))
        if not len(said):
            raise UsageError(f"it has no numbers called {epochs!r} that could say the epochs of its steps.")
        said = said[np.argsort(step[said], kind="stable")]
        numbers = np.where(kind[said] == _INT, integer[said], number[said])
        if not np.isfinite(numbers).all():
            raise UsageError(f"{epochs!r} is not a number everywhere, so that it cannot say the epochs of its steps.")
        fractions = bool((numbers != np.floor(numbers)).any())
        counted = np.maximum(np.ceil(numbers), 1) if fractions else numbers + int(numbers.min() == 0)
        _expect_epochs(counted, repr(epochs))
        place = np.maximum(np.searchsorted(step[said], step, side="right") - 1, 0)
        return np.where(stepped, counted.astype(np.int64)[place], epoch), step

    def _chosen(self, name: Integers, part: Integers, epoch: Integers, step: Integers) -> tuple[Integers, Integers]:
        """The values that count, in the order in which they are kept, and of each its iteration."""
        stands = np.ones(len(name), bool)
        for since, first in self._purges:
            stands &= ~((part < since) & (step >= first) & (step != _NONE))
        order = np.flatnonzero(stands)
        order = order[np.lexsort((order, part[order], step[order], epoch[order], name[order]))]
        is_first = _begins(name[order], epoch[order], step[order])
        place = np.cumsum(is_first) - 1
        newest = part[order][np.append(np.flatnonzero(is_first)[1:], len(order)) - 1] if len(order) else part[:0]
        order = order[part[order] == newest[place]] if len(order) else order
        begins = np.flatnonzero(_begins(name[order], epoch[order], step[order]))
        counts = np.diff(np.append(begins, len(order)))
        iteration = np.arange(len(order)) - np.repeat(begins, counts)
        final = np.lexsort((order, step[order], epoch[order]))
        return order[final], iteration[final]


def _expect_epochs(found: npt.NDArray[np.generic], what: str) -> None:
    least, most = (int(found.min()), int(found.max())) if len(found) else (1, 1)
    if not 1 <= least <= most <= _MOST_EPOCHS:
        raise UsageError(f"{what} cannot be its epochs: they go from {least} to {most}, counted from 1.")


def _begins(*keys: Integers) -> npt.NDArray[np.bool_]:
    """Of sorted keys, where a new one begins."""
    found = np.ones(len(keys[0]), bool)
    found[1:] = False
    for key in keys:
        found[1:] |= key[1:] != key[:-1]
    return found


def _as_floats(
    name: Integers, kind: Integers, integer: Integers, number: npt.NDArray[np.float64]
) -> tuple[Integers, npt.NDArray[np.float64]]:
    exact = (kind == _FLOAT) | ((kind == _INT) & (np.abs(integer) <= _EXACT_FLOAT))
    count = int(name.max(initial=-1)) + 1
    has_floats, has_others = np.zeros(count, bool), np.zeros(count, bool)
    has_floats[name[kind == _FLOAT]] = True
    has_others[name[(kind == _INT) & ~exact]] = True
    change = (kind == _INT) & (has_floats & ~has_others)[name]
    return np.where(change, _FLOAT, kind), np.where(change, integer.astype(np.float64), number)


def _bits(there: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _nullable(values: npt.NDArray[np.generic], there: npt.NDArray[np.bool_]) -> pa.Array:
    kind = pa.float64() if values.dtype == np.float64 else pa.int64()
    plain = np.where(there, values, np.zeros((), values.dtype))
    return pa.Array.from_buffers(kind, len(values), [_bits(there), pa.py_buffer(plain)])


def _symbols(codes: Integers, texts: list[str]) -> pa.Array:
    """A column of symbols, whose dictionary has no text that no row has."""
    used, dense = np.unique(codes, return_inverse=True)
    return columns.symbols(dense.astype(np.int32), [texts[code] for code in used.tolist()])


def _texts_of(codes: Integers, texts: list[str]) -> pa.Array:
    if not (codes >= 0).any():
        return pa.nulls(len(codes), pa.string())
    found = [texts[code] if code >= 0 else None for code in codes.tolist()]
    return columns.table({"text": found}, _TEXT)["text"].chunk(0)


_TEXT = pa.schema([LOG_FILE_SCHEMA.field("text")])


def write_run(store: Store, experiment: Experiment, found: Collected) -> None:
    """Add a run with its values. It becomes visible when all of it is there; doing it again changes nothing."""
    if found.values:
        folder = f"log_records/{quote(experiment.project)}/{quote(experiment.version)}"
        fragment = Fragment(folder, RECORDED, 0, found.values - 1)
        store.write_log_file(fragment, log_bytes(found.table))
    store.end_run(experiment)

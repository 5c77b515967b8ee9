"""Pivots: log records as pandas columns, at the finest level that is asked for [views of the paper, section 4.1.1].

    only d  ->  a row per version                    columns  project, version, run, timestamp,
    o       ->  a row per (version, epoch)                    [epoch,] [step,] [iteration,] then the names
    i       ->  a row per (version, epoch, step)

Values of a coarser level are repeated in every row below them. Versions, and epochs, without values have rows too, so
that what is missing shows as NaN; a NaN or None that was logged looks the same in a numeric column. `iteration` appears
only where a name was logged more than once in one place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flor_ray.errors import BadWhere
from flor_ray.records import Experiment, Value
from flor_ray.store import typed_values
from flor_ray.store.columns import codes_of, floats_of, integers_of
from flor_ray.store.fragments import combine
from flor_ray.store.store import Store

Integers = npt.NDArray[np.int64]
Table = Any  # of pyarrow, which this room does not import

DIMENSIONS = ("project", "version", "run", "timestamp", "epoch", "step", "iteration")
_NONE = -1  # epoch or step of a row that has none
_LEVELS = ("d", "o", "i")  # the index of a level is its depth: how many of epoch and step its rows have
CONSTANTS = frozenset({"index", "inf", "Inf"})  # what pandas adds to the columns in a query string
_EXACT_FLOAT = 2**53  # integers up to it survive in a float64


def dataframe(
    store: Store, project: str, names: Sequence[str], experiments: Sequence[Experiment], logs: Table | None = None
) -> pd.DataFrame:
    """The values of `names` (none: of every recorded name) in the given experiments, in their order.

    `logs` are the log records of `names` in the versions of these experiments; None: read them.

    A feature with the name of a dimension gets the suffix `_logged`. Columns are typed: int64 or Int64 (where some are
    missing), float64, bool or boolean, str, else object.
    """
    records = _Records.of(_logs(store, project, names, experiments) if logs is None else logs, experiments)
    wanted = list(dict.fromkeys(names)) if names else records.names
    return _pivot(store, records, project, wanted, experiments, records.finest)


def dimensions(
    store: Store,
    project: str,
    experiments: Sequence[Experiment],
    names: Sequence[str] = (),
    virtual: Sequence[str] = (),
) -> pd.DataFrame:
    """What a `where` is evaluated on: a row per (version, epoch), or per (version, epoch, step) if one of `names` was
    logged in a nested loop.

    Epochs are 1 to n; a version without any has one row. `virtual` names that no row has are columns of NaN.
    """
    wanted = [name for name in dict.fromkeys(names) if name not in DIMENSIONS]
    records = _Records.of(_logs(store, project, wanted, experiments), experiments) if wanted else _Records.empty()
    frame = _pivot(store, records, project, wanted, experiments, max(records.finest, 1))
    for name in virtual:
        if name not in frame:
            frame[name] = np.nan
    return frame


def select(frame: pd.DataFrame, where: str) -> Mapping[str, frozenset[int] | None]:
    """Epochs of each version in which `where` (a pandas query string) holds; None for a version without epochs.

    Raises:
        BadWhere: it does not parse, names an unknown column, or is not true or false.
    """
    columns = [str(column) for column in frame.columns]
    for name in sorted(referenced_columns(where)):
        if name not in columns and name not in CONSTANTS:
            raise BadWhere(where, f"there is no column {name!r}", columns)
    try:
        found = _evaluate(frame, where)
    except Exception as error:
        raise BadWhere(where, f"{type(error).__name__}: {error}", columns) from error
    if isinstance(found, bool | np.bool_):
        found = pd.Series(bool(found), index=frame.index)
    kinds = {"bool", "boolean"}
    if not isinstance(found, pd.Series) or (str(found.dtype) not in kinds and not _only_bools(found)):
        kind = f"values of type {found.dtype}" if isinstance(found, pd.Series) else f"a {type(found).__name__}"
        raise BadWhere(where, f"it gives {kind}, not true or false", columns)
    hits = frame.loc[found.fillna(False).astype(bool), ["version", "epoch"]]
    selected: dict[str, frozenset[int] | None] = {}
    for version, epochs in hits.groupby("version", sort=False, observed=True)["epoch"]:
        known = epochs.dropna()
        selected[str(version)] = frozenset(map(int, known.unique())) if len(known) else None
    return selected


def referenced_columns(where: str) -> frozenset[str]:
    """Identifiers that a pandas query string mentions, functions that it calls left out.

    Raises:
        BadWhere: it does not parse.
    """
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        return quoted.setdefault(match[1], f"_quoted_{len(quoted)}")

    try:
        tree = ast.parse(re.sub(r"`([^`]*)`", plain, where).strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise BadWhere(where, f"it does not parse ({error})", DIMENSIONS) from error
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    back = {placeholder: name for name, placeholder in quoted.items()}
    return frozenset(back.get(name, name) for name in found)


def _evaluate(frame: pd.DataFrame, where: str) -> Any:
    """A time without a zone, as in `timestamp > "2026-11-01"`, is UTC."""
    options: dict[str, Any] = {"engine": "python", "local_dict": {}, "global_dict": {}}
    try:
        return frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None)).eval(where, **options)
    except TypeError:
        return frame.eval(where, **options)


def _only_bools(values: pd.Series[Any]) -> bool:
    """Whether an object column holds nothing but true, false and missing values."""
    return values.dtype == object and all(isinstance(v, bool | np.bool_) or v is None or v != v for v in values)


def _logs(store: Store, project: str, names: Sequence[str], experiments: Sequence[Experiment]) -> Table:
    return store.logs(project, names or None, [experiment.version for experiment in experiments])


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
        depth = _codes(column["level"], _LEVELS)
        known = column["name"].dictionary.to_pylist()
        coarsest = np.full(len(known), len(_LEVELS), np.int64)
        np.minimum.at(coarsest, codes_of(column["name"]), depth)
        ordered = [text for least, text in sorted(zip(coarsest.tolist(), known, strict=True)) if least < len(_LEVELS)]
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

    @property
    def finest(self) -> int:
        return int(self.depth.max(initial=0))

    def values(self, records: Integers) -> list[Value]:
        """The stored values of the records with these numbers."""
        return [
            Value(self.types[kind], float(number), int(integer), text)
            for kind, number, integer, text in zip(
                self.type[records],
                self.number[records],
                self.integer[records],
                self.text.take(records).to_pylist(),
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

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"version": self.version, "epoch": self.epoch, "step": self.step, "iteration": self.iteration}
        )


def _pivot(
    store: Store, records: _Records, project: str, names: Sequence[str], experiments: Sequence[Experiment], depth: int
) -> pd.DataFrame:
    rows = _rows(records, experiments, depth)
    sources = _Sources(records, rows, depth)
    columns: dict[str, Any] = _places(project, experiments, rows, depth)
    for name in names:
        column = f"{name}_logged" if name in columns else name
        columns[column] = _typed(store, records, sources.of(name))
    return pd.DataFrame(columns)


def _rows(records: _Records, experiments: Sequence[Experiment], depth: int) -> _Keys:
    """The rows of a pivot, in order: what was logged, and what every version has anyway."""
    place = ["version", "epoch", "step"]
    logged = records.keys.frame().assign(depth=records.depth)
    cells = pd.DataFrame({"version": np.arange(len(experiments)), "epoch": _NONE, "step": _NONE})
    if depth >= 1:
        begun = np.array([experiment.epochs for experiment in experiments], np.int64)
        every = pd.DataFrame(
            {"version": np.repeat(np.arange(len(begun)), begun), "epoch": _counting(begun) + 1, "step": _NONE}
        )
        seen = logged.loc[logged.epoch != _NONE, ["version", "epoch"]].drop_duplicates().assign(step=_NONE)
        cells = _with_parents(pd.concat([every, seen]).drop_duplicates(), cells, ["version"])
    if depth >= 2:
        cells = _with_parents(logged.loc[logged.step != _NONE, place].drop_duplicates(), cells, place[:2])
    rows = cells.assign(iteration=0)
    again = logged[logged.iteration > 0]
    for level in range(depth + 1):  # a repeated value has a row for each time, below everything that it applies to
        on = place[: level + 1]
        part = again.loc[again.depth == level, [*on, "iteration"]].drop_duplicates()
        if len(part):
            rows = pd.concat([rows, cells.merge(part, on=on)])
    rows = rows.drop_duplicates().sort_values([*place, "iteration"])
    return _Keys(*(rows[column].to_numpy(np.int64) for column in (*place, "iteration")))


def _with_parents(cells: pd.DataFrame, parents: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """`cells`, and those of `parents` that have no cell."""
    lonely = ~pd.MultiIndex.from_frame(parents[on]).isin(pd.MultiIndex.from_frame(cells[on]))
    return pd.concat([cells, parents[lonely]])


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

    def of(self, name: str) -> Integers:
        """Record number per row, -1 for none. A finer record goes before a coarser one."""
        records = self._records
        found = np.full(len(self._row_keys[0]), -1, np.int64)
        if name not in records.names:
            return found
        mine = np.flatnonzero(records.name == records.names.index(name))
        for depth in range(self._depth + 1):
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


def _places(project: str, experiments: Sequence[Experiment], rows: _Keys, depth: int) -> dict[str, Any]:
    def per_version(values: list[Any], dtype: Any) -> Any:
        return pd.array(values, dtype=dtype).take(rows.version)

    started = pd.to_datetime([e.started for e in experiments], unit="s", utc=True)
    columns = {
        "project": per_version([project] * len(experiments), "str"),
        "version": per_version([e.version for e in experiments], "str"),
        "run": per_version([e.run for e in experiments], "str"),
        "timestamp": started.take(rows.version),
    }
    for name, values in (("epoch", rows.epoch), ("step", rows.step))[:depth]:
        columns[name] = _integer_column(values, values == _NONE)
    if (rows.iteration > 0).any():
        columns["iteration"] = rows.iteration
    return columns


def _integer_column(values: Integers, missing: npt.NDArray[np.bool_]) -> Any:
    return pd.arrays.IntegerArray(np.where(missing, 0, values), missing) if missing.any() else values


def _typed(store: Store, records: _Records, source: Integers) -> Any:
    """A column with the narrowest type that holds all its values."""
    there = source >= 0
    used = source[there]
    if not len(used):
        return np.full(len(source), np.nan)
    kinds = {records.types[code] for code in np.unique(records.type[used])}
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
            return _integer_column(values, ~there)
        return values.astype(bool) if there.all() else pd.arrays.BooleanArray(values.astype(bool), ~there)
    is_int = records.type[plain] == (records.types.index("int") if "int" in kinds else -1)
    if kinds <= {"int", "float"} and (np.abs(records.integer[plain][is_int]) <= _EXACT_FLOAT).all():
        numbers = np.full(len(source), np.nan)
        numbers[there] = np.where(is_int, records.integer[plain], records.number[plain])
        return numbers
    if kinds == {"str"}:
        texts = np.full(len(source), None, object)
        texts[there] = records.text.take(plain).to_pylist()
        return pd.array(texts, dtype="str")
    return _objects(store, records, source)


def _objects(store: Store, records: _Records, source: Integers) -> Any:
    """Decoded values; NaN where there is none, None where None was logged."""
    used = np.unique(source[source >= 0])
    values = records.values(used)
    blobs = store.objects.get_many(v.text or "" for v in values if v.type in typed_values.BLOB_TYPES)
    decoded = np.empty(len(used), object)
    for index, value in enumerate(values):
        decoded[index] = typed_values.decode(value, blobs.__getitem__)
    column = np.full(len(source), np.nan, object)
    column[source >= 0] = decoded[np.searchsorted(used, source[source >= 0])]
    return pd.Series(column, dtype=object)

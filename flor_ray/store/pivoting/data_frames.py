"""Pivots as pandas DataFrames, and the versions and epochs that a query string picks.

Columns are typed: int64 or Int64 (where some are missing), float64, bool or boolean, str, else object. What is missing
is NaN; a NaN or None that was logged looks the same in a numeric column.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flor_ray.errors import BadWhere
from flor_ray.records import Experiment
from flor_ray.store.pivoting import pivots
from flor_ray.store.pivoting.pivot_columns import Column, Kind
from flor_ray.store.pivoting.pivots import DIMENSIONS, Pivot
from flor_ray.store.pivoting.slices import NONE
from flor_ray.store.store import Store
from flor_ray.wording import printable

_FEW_COLUMNS = 50  # that need not be laid side by side; pandas warns of more than a hundred that are not
_INDEX = ("version", "epoch", "step", "iteration")
# What a condition may call on a column. Of the rest some write files, and some lead to whatever Python can do.
_METHODS = """
    abs all any astype between bfill clip count cummax cummin cumprod cumsum diff dt duplicated empty eq ewm
    expanding ffill fillna first ge groupby gt head idxmax idxmin isin isna isnull last le lt max mean median
    min mode mul ne nlargest notna notnull nsmallest nunique pct_change quantile rank rolling round shift size
    std str sub sum tail unique var
"""
_ACCESSORS = ("str", "dt")  # whose methods only look at texts and times
CONSTANTS = frozenset({"index", "inf", "Inf"})  # what pandas adds to the columns in a query string


def of(pivot: Pivot, index: bool = False) -> pd.DataFrame:
    """A pivot as a DataFrame; with an `index` of version, epoch, step and iteration, as far as it has such columns."""
    columns = {name: _series(column) for name, column in pivot.columns.items()}
    frame = pd.DataFrame(columns, copy=len(columns) > _FEW_COLUMNS)
    return frame.set_index([name for name in _INDEX if name in pivot.columns]) if index else frame


def provenance(pivot: Pivot) -> dict[str, dict[str, dict[str, list[int | None]]]]:
    """Of each feature with replayed values, by replay and version, their epochs; None: outside the main loop."""
    return {
        name: {
            replay: {version: [e if e != NONE else None for e in sorted(epochs)] for version, epochs in of.items()}
            for replay, of in sorted(by_replay.items())
        }
        for name, by_replay in sorted(pivot.replayed.items())
    }


def _series(column: Column) -> Any:
    values, missing = column.values, column.missing
    if column.kind is Kind.LABEL:
        return pd.array(list(map(printable, column.labels)), dtype="str").take(values)
    if column.kind is Kind.TIME:
        return pd.to_datetime(list(column.labels), unit="s", utc=True).take(values)
    if column.kind is Kind.TEXT:
        return pd.array(values, dtype="str")
    if column.kind is Kind.OBJECT:
        return pd.Series(values, dtype=object)
    if missing is None or values.dtype == np.float64:
        return values if values.flags.writeable else values.copy()
    nullable = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
    return nullable(values, missing)


def dataframe(store: Store, project: str, names: Sequence[str], experiments: Sequence[Experiment]) -> pd.DataFrame:
    """The values of `names` (none: of every recorded name) in the given experiments, in their order; see `pivots`."""
    return of(pivots.pivot(store, project, names, experiments))


def dimensions(
    store: Store,
    project: str,
    experiments: Sequence[Experiment],
    names: Sequence[str] = (),
    virtual: Sequence[str] = (),
    pickles: str | None = None,
) -> pd.DataFrame:
    """What a `where` is evaluated on: a row per (version, epoch), or per (version, epoch, step) if one of `names` was
    logged in a nested loop. `pickles` as in `pivots.pivot`.

    Epochs are 1 to n; a version without any has one row. `virtual` names that no row has are columns of NaN.
    """
    wanted = [name for name in dict.fromkeys(names) if name not in DIMENSIONS]
    if wanted:
        frame = of(pivots.pivot(store, project, wanted, experiments, least_depth=1, pickles=pickles))
    else:
        frame = of(pivots.places(store, project, experiments))
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
        BadWhere: it does not parse, or asks for more than a condition needs.
    """
    quoted: dict[str, str] = {}

    def plain(match: re.Match[str]) -> str:
        return quoted.setdefault(match[1], f"_quoted_{len(quoted)}")

    try:
        tree = ast.parse(re.sub(r"`([^`]*)`", plain, where).strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise BadWhere(where, f"it does not parse ({error})", DIMENSIONS) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not _is_harmless(node):
            raise BadWhere(where, f"it asks for `.{node.attr}`, which a condition may not", DIMENSIONS)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    back = {placeholder: name for name, placeholder in quoted.items()}
    return frozenset(back.get(name, name) for name in found)


def _is_harmless(asked: ast.Attribute) -> bool:
    """Whether an attribute of a column, or of what is computed of one, only computes."""
    held = asked.value
    if isinstance(held, ast.Attribute) and held.attr in _ACCESSORS:
        return not asked.attr.startswith("_")
    if (
        asked.attr == "transform"
    ):  # of groups, which know a few functions by name; a column would call any of its methods
        return isinstance(held, ast.Call) and isinstance(held.func, ast.Attribute) and held.func.attr == "groupby"
    return asked.attr in _METHODS.split()


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

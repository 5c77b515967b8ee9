"""Arrow tables as pandas DataFrames, with the types that DataFrames of pivots have, and without changing a value.

integers      int64, or Int64 where some are missing (pandas alone would make floats of them, and round)
HUGEINT       int64 or Int64 if that holds them, else objects: Python's integers
booleans      bool, or boolean where some are missing
texts         str
times         datetime64 in UTC
nothing       float64, all NaN
others        as pyarrow has it
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_INT64 = range(-(2**63), 2**63)


def frame_of(table: Any) -> pd.DataFrame:
    """A table of pyarrow as a DataFrame; several columns may have one name."""
    found = pd.concat([_series(column) for column in table.columns], axis=1) if table.num_columns else pd.DataFrame()
    found.columns = pd.Index(list(table.column_names))
    return found


def _series(column: Any) -> pd.Series[Any]:
    kind = str(column.type)
    if kind.startswith("decimal128(38, 0)"):
        return _integers([None if value is None else int(value) for value in column.to_pylist()])
    if kind == "null":
        return pd.Series(np.full(len(column), np.nan))
    if kind in ("string", "large_string") or (kind.startswith("dictionary<values=string") and "ordered=0" in kind):
        return pd.Series(pd.array(column.to_pylist(), dtype="str"))
    if column.null_count and kind.startswith(("int", "uint")):
        return pd.Series(column.to_pandas(types_mapper=lambda _: pd.Int64Dtype()))
    if column.null_count and kind == "bool":
        return pd.Series(column.to_pandas(types_mapper=lambda _: pd.BooleanDtype()))
    return pd.Series(column.to_pandas())


def _integers(values: list[int | None]) -> pd.Series[Any]:
    if not all(value is None or value in _INT64 for value in values):
        return pd.Series(values, dtype=object)
    return pd.Series(pd.array(values, dtype="Int64")) if None in values else pd.Series(values, dtype="int64")

"""Rows of an answer as CSV and JSON, with values as programs read them."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Iterable, Sequence

from flor_ray.store.typed_values import text_of

_EXACT = (1 << 53) - 1  # what every reader of JSON takes a number for, to the last digit


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header, and a line per row; NULL is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return text.getvalue()


def as_json(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An array with an object per row. NaN and the infinities, which JSON does not have, are texts."""
    found = [dict(zip(columns, map(_json, row), strict=True)) for row in rows]
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return "" if value is None else value
    return _text(value)


def _json(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return str(value)
    if isinstance(value, dict):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else text_of(value, str)

"""One logged value, opened: what a page shows of an array, a picture, a table, a text. Pure; values are data.

    matrix      few rows and columns of numbers: each is shown, as of a confusion matrix
    numbers     a row of numbers, and how often they are how large: a histogram
    picture     pixels, which are asked for as PNG
    table, text, cell

Nothing of a value is run: pickles are not loaded, and markup stays text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.store.not_loaded import NotLoaded
from flor_ray.ui import cells
from flor_ray.ui.values import png

_MOST_SIDE = 64  # rows and columns of a matrix whose numbers are shown
_MOST_NUMBERS = 2000  # of a row that are drawn one by one
_MOST_ROWS, _MOST_COLUMNS = 100, 30  # of a table
_LONGEST = 20_000  # characters of a text
_BINS = 30
_CHANNELS = (1, 3, 4)
_LEAST_SIDE = 8  # of what is taken for a picture: three by four numbers are none


@dataclass(frozen=True, slots=True)
class OpenedValue:
    """What is shown, and the pixels, if it is a picture."""

    told: dict[str, Any]
    png: bytes = b""


def opened(value: object) -> OpenedValue:
    """What to show of a decoded value."""
    if isinstance(value, NotLoaded):
        return OpenedValue({"kind": "text", "text": cells.readable(repr(value)), "type": "not loaded"})
    if isinstance(value, bytes | bytearray | memoryview):
        return _of_bytes(bytes(value))
    if hasattr(value, "columns") and hasattr(value, "iloc"):
        return OpenedValue(_table(value))
    numbers = _numbers(value)
    if numbers is not None and numbers.ndim:
        return _of_array(numbers)
    if isinstance(value, str):
        return OpenedValue({"kind": "text", "text": _text(value), "type": "text"})
    if isinstance(value, dict | list | tuple):
        text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
        return OpenedValue({"kind": "text", "text": _text(text), "type": "JSON"})
    return OpenedValue({"kind": "cell", "value": cells.cell(value, _LONGEST), "type": type(value).__name__})


def _of_bytes(data: bytes) -> OpenedValue:
    """Pictures are kept as PNG; other bytes are only counted."""
    try:
        picture = png.checked(data)
    except ValueError as error:
        why = f": as a picture, {error}" if data.startswith(b"\x89PNG") else ""
        return OpenedValue({"kind": "text", "text": f"{len(data)} bytes{why}", "type": "bytes"})
    width, height = png.size(picture)
    return OpenedValue({"kind": "picture", "width": width, "height": height, "type": "image"}, picture)


def _numbers(value: object) -> npt.NDArray[Any] | None:
    """An array of numbers; None for what is none, as a list of texts or of rows of several lengths."""
    if not isinstance(value, np.ndarray | list | tuple) or not len(value):
        return None
    try:
        found = np.asarray(value)
    except ValueError:
        return None
    return found if found.dtype.kind in "biuf" else None


def _of_array(array: npt.NDArray[Any]) -> OpenedValue:
    told: dict[str, Any] = {"shape": list(array.shape), "type": str(array.dtype)}
    if array.ndim == 2 and max(array.shape) <= _MOST_SIDE:
        rows = [[cells.cell(one) for one in row] for row in array.tolist()]
        return OpenedValue({"kind": "matrix", "rows": rows, **told})
    pixels = _pixels(array)
    if pixels is not None:
        picture, said = pixels
        told |= {"kind": "picture", "width": picture.shape[1], "height": picture.shape[0], "said": said}
        return OpenedValue(told, png.of(picture))
    told |= _histogram(array)
    if array.ndim == 1 and len(array) <= _MOST_NUMBERS:
        told["numbers"] = [cells.cell(one) for one in array.tolist()]
    return OpenedValue({"kind": "numbers", **told})


def _histogram(array: npt.NDArray[Any]) -> dict[str, Any]:
    flat = array.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    told: dict[str, Any] = {"count": len(flat), "odd": len(flat) - len(finite), "counts": [], "edges": []}
    if len(finite):
        counts, edges = _binned(finite)
        told |= {"counts": counts.tolist(), "edges": edges.tolist()}
        told |= {"least": float(finite.min()), "greatest": float(finite.max()), "mean": float(finite.mean())}
    return {name: cells.cell(value) if isinstance(value, float) else value for name, value in told.items()}


def _binned(finite: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """How many numbers are in each of some bins; all in one where they are too large, or too near, to be told apart."""
    try:
        with np.errstate(all="ignore"):
            counts, edges = np.histogram(finite, _BINS)
    except ValueError:
        return np.array([len(finite)]), np.array([finite.min(), finite.max()])
    if not np.isfinite(edges).all():
        return np.array([len(finite)]), np.array([finite.min(), finite.max()])
    return counts, edges


def _pixels(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str] | None:
    """An array as a picture, and how its numbers became colours; None for what is none."""
    if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, 2)  # as torch has them
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if not is_picture or min(array.shape[:2]) < _LEAST_SIDE or max(array.shape[:2]) > 4 * 1024:
        return None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array), ""
    values = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    said = f"black is {low:g}, white is {high:g}"
    if odd := values.size - len(finite):
        said += f"; {odd} values are no finite numbers"
    return np.round(scaled * 255).astype(np.uint8), said


def _table(frame: Any) -> dict[str, Any]:
    part = frame.iloc[:_MOST_ROWS, :_MOST_COLUMNS]
    return {
        "kind": "table",
        "type": "DataFrame",
        "shape": list(frame.shape),
        "columns": [cells.readable(str(name)) for name in part.columns],
        "rows": [[cells.cell(value) for value in row] for row in part.itertuples(index=False, name=None)],
    }


def _text(text: str) -> str:
    """A text in which lines stay lines."""
    more = f"\n... and {len(text) - _LONGEST} more characters" if len(text) > _LONGEST else ""
    return "\n".join(map(cells.readable, text[:_LONGEST].split("\n"))) + more

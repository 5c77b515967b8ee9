"""Values as JSON for a page: what they are and no more than can be looked at. Pure.

    a number, true, false, null, a text      as they are in JSON
    {"number": "NaN"}                        what JSON has no number for: NaN, Infinity, integers beyond 2^53
    {"text": "...", "cut": 1000000}          the beginning of a text of so many characters
    {"other": "<bytes, 12>"}                 what is no text and no number, described

`static/cells.js` shows them. Secrets are hidden as everywhere; what a terminal or a reader would obey (control
characters, marks that turn the direction of writing) is written out there and here.
"""

from __future__ import annotations

import json
import math
from typing import Any

from flor_ray import redaction

Cell = None | bool | int | float | str | dict[str, Any]

LONGEST = 400  # characters of a text in a table
_EXACT = 2**53  # integers up to it are numbers in JavaScript


def cell(value: object, longest: int = LONGEST) -> Cell:
    """A value as a page is told it."""
    found = _plain_number(value)
    if found is not None or value is None:
        return found
    if isinstance(value, str):
        return text(value, longest)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"other": f"<{len(value)} bytes>"}
    if isinstance(value, dict | list | tuple):
        return text(json.dumps(value, default=str, ensure_ascii=False), longest)
    return text(str(value), longest)


def _plain_number(value: object) -> Cell:
    if hasattr(value, "item") and not isinstance(value, str | bytes) and getattr(value, "ndim", 0) == 0:
        value = value.item()  # numpy's
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else {"number": str(value)}
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return {"number": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    return None


def text(value: str, longest: int = LONGEST) -> Cell:
    """A text as a page is told it: without secrets, with what would be obeyed written out, and not endless."""
    begin = readable(value[: longest + 1])
    return begin if len(value) <= longest else {"text": begin[:longest], "cut": len(value)}


def readable(value: str) -> str:
    """A whole text as it may be shown: also what is no Unicode is written out."""
    return redaction.shown(value.encode("utf-8", "backslashreplace").decode())


def code_line(line: str, longest: int = 2000) -> str:
    """A line of code as it may be shown."""
    return readable(line if len(line) <= longest else f"{line[:longest]} …")

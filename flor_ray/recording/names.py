"""Names under which values are kept: texts that any file can hold. Recording and replaying share the rule.

A text stays as it is, but what stands in it for bytes that are no UTF-8 becomes an escape. A whole number, an enum or a
path becomes its text. Nothing else is a name: what it names is left out.
"""

from __future__ import annotations

import contextlib
import enum
import numbers
import os
from collections.abc import Callable

from flor_ray.wording import printable


class KeptNames:
    """The names of one run; `tell` is told of each kind of name that had to be changed, or could not be kept, once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[type] = set()
        self.known: dict[object, str] = {}  # those that were given -> those that are kept

    def of(self, given: object) -> str | None:
        """The name that is kept for this one; None: there is none. Look it up in `known` first, for speed."""
        kept, kind = _kept(given), type(given)
        if kind not in self._told and kept != given:
            self._told.add(kind)
            self._tell(_said(kept, given))
        if kept is None:
            return None
        with contextlib.suppress(TypeError):  # it cannot be hashed: then it is judged each time
            self.known[given] = kept
        return kept


def _said(kept: str | None, given: object) -> str:
    kind = type(given).__name__
    if kept is None:
        return (
            f"A {kind} was given as the name of a value, which is left out: names are texts, and come first, as in "
            'flor.log("loss", 0.5).'
        )
    if isinstance(given, str):
        return f"A name has characters that stand for bytes which are no UTF-8: it is kept as {kept!r}."
    return f"A name is no text, but of type {kind}: such names are kept as their texts, this one as {kept!r}."


def _kept(given: object) -> str | None:
    if isinstance(given, str):
        return printable(str.__str__(given))
    if not isinstance(given, numbers.Integral | enum.Enum | os.PathLike):
        return None
    try:
        return printable(str(given))
    except Exception:  # noqa: BLE001 - any user's class may raise anything; training must go on
        return None

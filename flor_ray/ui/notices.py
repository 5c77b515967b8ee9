"""Warnings of one request: its answer carries them, and the page shows them.

`warnings.catch_warnings` is of a whole process, and requests run in several threads. So what shows warnings is replaced
once, and hands ours to the request that they belong to.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TextIO

from flor_ray.errors import FlorWarning

_collected: ContextVar[list[str] | None] = ContextVar("flor_ray_ui_notices", default=None)


def install() -> None:
    """From now on, in this process, our warnings go to whoever collects them; every one of them, each time."""
    warnings.simplefilter("always", FlorWarning)
    shown_before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        found = _collected.get()
        if found is None or not issubclass(category, FlorWarning):
            shown_before(message, category, filename, lineno, file, line)
        elif str(message) not in found:
            found.append(str(message))

    warnings.showwarning = show


@contextlib.contextmanager
def collecting() -> Iterator[list[str]]:
    """The list that our warnings of this context are put into."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def found() -> list[str]:
    """What this context was warned of so far."""
    return list(_collected.get() or ())


def tell(sentences: Iterable[str]) -> None:
    """Count these among what this context was warned of."""
    told = _collected.get()
    if told is not None:
        told.extend(one for one in sentences if one not in told)

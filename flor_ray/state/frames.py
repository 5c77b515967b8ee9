"""Variables of a living frame: read, bound and unbound; and loops whose iterators the script itself holds.

Loop-carried variables (`flor_ray.analysis.loops`) go into checkpoints by `read`, and come back by `write`.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import threading
from collections.abc import Generator, Iterable, Mapping
from types import FrameType
from typing import Any


def read(frame: FrameType, names: Iterable[str]) -> dict[str, object]:
    """Values of `names` in the frame: its local variables, else its module's globals. Unbound names are left out."""
    found: dict[str, object] = {}
    local = frame.f_locals
    for name in sorted(names):
        if name in local:
            found[name] = local[name]
        elif name in frame.f_globals:
            found[name] = frame.f_globals[name]
    return found


def write(frame: FrameType, values: Mapping[str, object], remove: Iterable[str] = ()) -> None:
    """Bind `values` in the frame, and unbind the names in `remove`, so that a stale value can never be read."""
    if frame.f_locals is frame.f_globals:
        frame.f_globals.update(values)
        for name in remove:
            frame.f_globals.pop(name, None)
        return
    slots = set(frame.f_code.co_varnames) | set(frame.f_code.co_cellvars) | set(frame.f_code.co_freevars)
    local = frame.f_locals
    for name, value in values.items():
        (local if name in slots else frame.f_globals)[name] = value
    for name in remove:
        (local if name in slots else frame.f_globals).pop(name, None)
    if sys.version_info < (3, 13):  # from 3.13 on, f_locals writes through by itself (PEP 667)
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))


class HeldLoops:
    """Loops whose iterators are held by a variable, as in `bar = tqdm(flor.loop(...))`.

    `break` does not close such an iterator. It is closed when the script is next seen outside of the loop's lines.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Generator[Any, None, None], FrameType, range, int]] = []

    def add(self, iterator: Generator[Any, None, None], frame: FrameType, lines: range) -> None:
        """Watch an iterator that a variable of `frame` holds, and that the loop in these lines goes through."""
        self._open.append((iterator, frame, lines, threading.get_ident()))

    def close_left(self) -> None:
        """Close those that the script has left, in the thread that goes through them."""
        if not self._open:
            return
        for entry in reversed(self._open[:]):
            iterator, frame, lines, thread = entry
            if thread != threading.get_ident():
                continue
            state = inspect.getgeneratorstate(iterator)
            if state == inspect.GEN_SUSPENDED and frame.f_lineno not in lines:
                iterator.close()
            if inspect.getgeneratorstate(iterator) == inspect.GEN_CLOSED:
                self._open.remove(entry)

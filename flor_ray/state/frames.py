"""Variables of a living frame: read, bound and unbound; and loops whose iterators the script itself holds.

Loop-carried variables (`flor_ray.analysis.loops`) go into checkpoints by `read`, and come back by `write`.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Mapping
from types import FrameType
from typing import Any

from flor_ray.state import unbinding


def read(frame: FrameType, names: Iterable[str]) -> dict[str, object]:
    """Values of `names` in the frame: its local variables, else its module's globals. Unbound names are left out."""
    found: dict[str, object] = {}
    local, own = unbinding.local_variables(frame), _variables(frame)
    for name in sorted(names):
        if name in local:
            found[name] = local[name]
        elif name in frame.f_globals and name not in own:
            found[name] = frame.f_globals[name]
    return found


def write(frame: FrameType, values: Mapping[str, object], remove: Iterable[str] = ()) -> None:
    """Bind `values` in the frame, and unbind the names in `remove`, so that a stale value can never be read."""
    local, shared = frame.f_locals, frame.f_globals
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a module's or class's body, where names are in dictionaries
        for name, value in values.items():
            (local if name in local or name not in shared else shared)[name] = value
        for name in remove:
            (local if name in local else shared).pop(name, None)
        return
    variables = _variables(frame)
    unbinding.bind(frame, {name: value for name, value in values.items() if name in variables})
    shared.update({name: value for name, value in values.items() if name not in variables})
    unbinding.unbind(frame, variables.intersection(remove))
    for name in set(remove) - variables:
        shared.pop(name, None)


def _variables(frame: FrameType) -> set[str]:
    """Names that are variables of a function, bound or not: none of them is looked up in its module."""
    code = frame.f_code
    return {*code.co_varnames, *code.co_cellvars, *code.co_freevars} if code.co_flags & inspect.CO_OPTIMIZED else set()


class HeldLoops:
    """Loops whose iterators are held by a variable, as in `bar = tqdm(flor.loop(...))`.

    `break` does not close such an iterator. It is closed when the script is next seen outside of the loop's lines.
    """

    def __init__(self) -> None:
        self._open: list[tuple[Generator[Any, None, None], FrameType, range]] = []

    def add(self, iterator: Generator[Any, None, None], frame: FrameType, lines: range) -> None:
        """Watch an iterator that a variable of `frame` holds, and that the loop in these lines goes through."""
        self._open.append((iterator, frame, lines))

    def close_left(self) -> None:
        """Close those that the script has left."""
        if not self._open:
            return
        for entry in reversed(self._open[:]):
            iterator, frame, lines = entry
            state = inspect.getgeneratorstate(iterator)
            if state == inspect.GEN_SUSPENDED and frame.f_lineno not in lines:
                iterator.close()
            if inspect.getgeneratorstate(iterator) == inspect.GEN_CLOSED:
                self._open.remove(entry)

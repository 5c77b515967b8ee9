"""What was there when a loop began, by where it was: the same keys in every process that runs this code.

    ("<main>", "buf", 0)              buf[0]
    ("main", "agent", "memory", 3)    agent.memory[3], a list, or agent.memory's item of the key 3

A checkpoint says of what it holds which of it is one of these, so that a replay puts it into the very object, and the
very memory, that it was in when it was recorded, wherever that is held by now. What is not found here is made anew.
"""

from __future__ import annotations

import collections
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flor_ray.state.memory import is_plain_array
from flor_ray.state.reachable import attributes

_NODES = 20_000  # looked at; what lies beyond is made anew
_ATOMS = (int, float, complex, str, bytes, bytearray, type(None), range, slice)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.GeneratorType)

Key = tuple[Any, ...]
Getter = Callable[[], Any]


def identities(roots: Iterable[tuple[Key, Any]], elsewhere: Mapping[int, Any], weakly: bool) -> dict[Key, Getter]:
    """Getters of the objects and arrays behind `roots`, which have their names as keys. `elsewhere` are ids of objects
    that are known by other means. `weakly`: they are not kept alive, and their getters return None in the end."""
    found: dict[Key, Getter] = {}
    seen: set[int] = set()
    pending = collections.deque(roots)
    nodes = 0
    while pending and nodes < _NODES:
        key, value = pending.popleft()
        nodes += 1
        if isinstance(value, (*_ATOMS, *_CODE)) or id(value) in seen or id(value) in elsewhere:
            continue
        seen.add(id(value))
        if type(value) not in (list, tuple, dict, set, frozenset):
            getter = _getter(value, weakly)
            if getter is None:
                continue
            found[key] = getter
            if is_plain_array(value):
                continue
        for step, item in _parts(value):
            if not isinstance(item, _ATOMS):
                pending.append(((*key, step), item))
            else:
                nodes += 1
            if len(pending) > _NODES:
                break
    return found


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from ((step, item) for step, item in value.items() if isinstance(step, str | int | tuple))
    elif isinstance(value, list | tuple | collections.deque):
        yield from enumerate(value)
    if type(value) not in (list, tuple, dict, set, frozenset, collections.deque):
        try:
            held = attributes(value)
        except Exception:  # noqa: BLE001 - a property of the user's class may raise anything
            return
        yield from held.items()


def _getter(value: Any, weakly: bool) -> Getter | None:
    if not weakly:
        return lambda: value
    try:
        return weakref.ref(value)
    except TypeError:
        return None

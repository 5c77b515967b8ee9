"""Functions that a library's functions make: hooks, as torch and transformers put them on models. No pickle finds these
by their names.

    def install(module, key):           closure("library", "install.<locals>.hook", {"key": "attentions"})
        def hook(module, args, out):      where it is written, and what it took along
            ... key ...

One is kept where nothing that it took along can change: then it holds no state, and one made anew is the same.
"""

from __future__ import annotations

import dis
import enum
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from flor_ray import stored_names

_SETTLED = frozenset({int, float, complex, bool, str, bytes, type(None), range})
_GOES_ON = 0x20 | 0x80 | 0x100 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR


def reduced(
    function: types.FunctionType,
    is_users: Callable[[Any], bool],
    is_there: Callable[[Any], bool],
    within: frozenset[int] = frozenset(),
) -> tuple[Any, ...] | None:
    """What a pickler's `reducer_override` returns for such a function; None if it is none, or may hold what changes.
    `is_there` tells what a replay has too, and is referred to; `within` are ids of functions that took it along."""
    code, home = function.__code__, function.__globals__.get("__name__")
    if "<locals>" not in function.__qualname__ or not isinstance(home, str) or home == "__main__" or is_users(function):
        return None
    path = code.co_qualname
    outermost = stored_names.code_of(home, path.partition(".<locals>.")[0])
    if outermost is None or stored_names.code_of(home, path) is not code or not _settles(outermost, code.co_freevars):
        return None
    try:
        taken = dict(zip(code.co_freevars, (c.cell_contents for c in function.__closure__ or ()), strict=True))
    except ValueError:  # one is empty
        return None

    def is_settled(value: Any) -> bool:
        if type(value) in _SETTLED or isinstance(value, type | enum.Enum) or is_there(value):
            return True
        if isinstance(value, types.BuiltinFunctionType):
            return isinstance(value.__self__, types.ModuleType)  # else it may be the append of some list
        if isinstance(value, tuple | frozenset):
            return all(map(is_settled, value))
        if not isinstance(value, types.FunctionType) or id(value) in within or value is function:
            return False
        by_name = "<locals>" not in value.__qualname__
        return by_name or reduced(value, is_users, is_there, within | {id(function)}) is not None

    if not all(map(is_settled, (*taken.values(), *_own(function)))):
        return None
    defaults, attributes = function.__defaults__, dict(vars(function))
    return stored_names.closure, (home, path, taken, defaults, function.__kwdefaults__, attributes)


def _own(function: types.FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()


@functools.lru_cache(maxsize=4096)
def _settles(outermost: types.CodeType, names: tuple[str, ...]) -> bool:
    """Whether variables of functions in a function are bound once, by the one that they are of, which has ended."""
    if outermost.co_flags & _GOES_ON:
        return False
    bound: dict[str, int] = dict.fromkeys(names, 0)
    for code in _all_of(outermost):
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("STORE_DEREF", "DELETE_DEREF") and instruction.argval in bound:
                bound[instruction.argval] += 2 if instruction.argval in code.co_freevars else 1
    return max(bound.values(), default=0) <= 1


def _all_of(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_of(constant)

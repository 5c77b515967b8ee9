"""What the code that a loop runs can reach besides the variables of its own frame.

    main loop ── mentions ──> function ── reads ──> module global   history.append(x), global count
                                       └─ closes over ──> cell      nonlocal n
                                       └─ defaults, attributes      def f(x, cache=[]), f.calls
                          ──> class ── attributes                   Meter.count += 1
                          ──> method, partial ── their objects      push = history.append
                          ──> object, container ── what is in them  self.trainer.scheduler

Each of these is a `ReachedPlace`: somewhere that holds values by name. A library's code is not followed: its functions
change what they are given, not what they hide.

What may live here: walking live Python objects, and reading byte code. No files, no torch.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import copyreg
import dis
import enum
import functools
import gc
import logging
import os
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from flor_ray.errors import StoreError

_ITEMS_FOLLOWED = 1000  # of one container; what comes later is most likely of the kinds that came before

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: all that class statements define, and some that are made in C
_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: a type made in C
_REDUCERS = ("__reduce__", "__reduce_ex__", "__getstate__")

_ALIAS_OF_MAIN = "__mp_main__"  # multiprocessing's; in a replay it is another module

_LRU_CACHE = type(functools.lru_cache(lambda: None))


@dataclass(slots=True)
class ReachedPlace:
    """Somewhere that holds values by name. `key` is the same in every process that runs this code."""

    key: str
    read: Callable[[], dict[str, Any]]
    write: Callable[[Mapping[str, Any], Iterable[str]], None]  # new values, and names to remove
    bound: set[str] = field(default_factory=set)  # names that may get another value, rather than one that changes
    binds_all: bool = False  # any name may, and names may come and go
    keeps_atoms: bool = False  # also those that no loop changes: another process has others

    def binds(self, name: str) -> bool:
        return self.binds_all or name in self.bound


@dataclass(slots=True)
class Reached:
    """`code` holds functions and classes, `caches` functions of the user's that remember what they returned, `others`
    everything else that was met on the way; all by stable keys."""

    places: list[ReachedPlace]
    code: dict[str, Any]
    others: dict[str, Any]
    caches: dict[str, Any]


def reach(
    roots: Mapping[str, Any],
    is_users: Callable[[Any], bool],
    inside: Callable[[Any], Mapping[str, Any]],
    inserted: Mapping[str, frozenset[int]] | None = None,
    held: Mapping[str, Any] | None = None,
) -> Reached:
    """Follow `roots` through the user's code.

    `is_users` tells whether a function, class or module is the user's; `inside` says what an object of a library holds
    that may be reached. `inserted` are lines, by resolved path, of statements that are not followed: what a replay has
    in them besides must not lead to anything by another way than the record came to it. `held` are values that are not
    held by a name of the user's.
    """
    walk = _Walk(is_users, inside, inserted or {})
    for path, value in sorted((held or {}).items()):
        walk.hold(path, value)
    for name, value in sorted(roots.items()):
        walk.add(name, value)
    walk.run()
    return Reached(walk.places(), walk.code, walk.others, walk.caches)


def attributes(value: Any) -> dict[str, Any]:
    """An object's own attributes, those in slots included."""
    found: dict[str, Any] = {}
    for name, slot in slots(type(value)).items():
        with contextlib.suppress(AttributeError):  # nothing is in it
            found[name] = slot.__get__(value)
    found.update(getattr(value, "__dict__", {}))
    return found


def slots(kind: type) -> dict[str, types.MemberDescriptorType]:
    """The slots of a class and its bases, by name. They are read and filled past properties and `__setattr__`: those of
    pathlib have properties with their names, which cannot be set. A slot below another one of its name is called after
    its class."""
    found: dict[str, types.MemberDescriptorType] = {}
    for base in kind.__mro__:
        declared = vars(base).get("__slots__", ())
        for name in (declared,) if isinstance(declared, str) else declared:
            private = name.startswith("__") and not name.endswith("__")
            mangled = f"_{base.__name__.lstrip('_')}{name}" if private else name
            slot = vars(base).get(mangled)
            if isinstance(slot, types.MemberDescriptorType):
                found[mangled if mangled not in found else f"{base.__qualname__}.{mangled}"] = slot
    return found


def is_python(kind: type) -> bool:
    """Whether a class statement made it, so that all of its instances' own state is in their items and attributes.

    Classes made in C, C++ or Rust cannot be changed, are made by a function of their own, pickle themselves so, or are
    pickled by a function that copyreg knows; `typing.Generic`, which holds nothing, is one of them from Python 3.12 on.
    """
    if kind is typing.Generic:
        return True
    if kind in copyreg.dispatch_table or not can_be_changed(kind):
        return False
    held = vars(kind)
    new = held.get("__new__")
    if isinstance(new, types.BuiltinFunctionType) and new.__self__ is kind:
        return False
    if any(not isinstance(held.get(name), types.FunctionType | None) for name in _REDUCERS):
        return False
    return "__slots__" in held or "__dict__" in held or any(is_python(base) for base in kind.__bases__)


def can_be_changed(kind: type) -> bool:
    """Whether attributes of a class can be set."""
    return kind.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE


def remembered(cache: Any) -> list[Any]:
    """What a function that remembers what it returned has returned, and was given; in an order of its own."""
    found: list[Any] = []
    for part in gc.get_referents(cache):
        if isinstance(part, dict) and part is not vars(cache):  # without a largest size; else its parts are listed
            found += part.values()
        elif part is not vars(cache):
            found.append(part)
    return sorted((each for each in found if type(each).__name__ != "_lru_list_elem"), key=id)


class _Walk:
    def __init__(
        self,
        is_users: Callable[[Any], bool],
        inside: Callable[[Any], Mapping[str, Any]],
        inserted: Mapping[str, frozenset[int]],
    ) -> None:
        self._is_users, self._inside, self._inserted = is_users, inside, inserted
        self._queue: collections.deque[tuple[str, Any]] = collections.deque()
        self._seen: set[int] = set()
        self._globals: dict[str, tuple[MutableMapping[str, Any], set[str], set[str]]] = {}  # all names, stored names
        self._places: list[ReachedPlace] = []
        self._objects: dict[str, Any] = {}
        self.code: dict[str, Any] = {}
        self.others: dict[str, Any] = {}
        self.caches: dict[str, Any] = {}

    def add(self, path: str, value: Any) -> None:
        if id(value) not in self._seen:
            self._queue.append((path, value))

    def run(self) -> None:
        while self._queue:
            path, value = self._queue.popleft()
            if id(value) in self._seen or isinstance(value, int | float | str | bytes | complex | type(None)):
                continue
            self._seen.add(id(value))
            self._follow(path, value)

    def places(self) -> list[ReachedPlace]:
        found = [_global_place(key, *parts) for key, parts in sorted(self._globals.items())]
        if self._objects:
            found.append(ReachedPlace("objects", lambda: dict(self._objects), lambda values, remove: None))
        return found + self._places

    def _follow(self, path: str, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            if self._is_users(value):
                self._function(path, value)
        elif isinstance(value, type):
            if self._is_users(value) and not issubclass(value, enum.Enum):
                self._class(path, value)
        elif isinstance(value, types.ModuleType):
            if self._is_users(value):
                self._module(value)
        elif isinstance(value, types.MethodType | types.BuiltinMethodType):
            if not isinstance(value.__self__, types.ModuleType | type(None)):
                self.hold(f"{path}.__self__", value.__self__)
            self.add(f"{path}.__func__", getattr(value, "__func__", None))
        elif isinstance(value, functools.partial):
            for index, item in enumerate((value.func, *value.args)):
                self.hold(f"{path}.{index}", item)
            for name, item in value.keywords.items():
                self.hold(f"{path}.{name}", item)
        elif isinstance(value, _LRU_CACHE | staticmethod | classmethod):
            if isinstance(value, _LRU_CACHE) and self._is_users(value.__wrapped__):
                self.caches[path] = value
            self.add(f"{path}.__wrapped__", value.__wrapped__)
        elif isinstance(value, property):
            for index, function in enumerate((value.fget, value.fset, value.fdel)):
                self.add(f"{path}.{index}", function)
        elif isinstance(value, contextvars.ContextVar):
            self._made_once(path, value, _context_place(value))
        elif isinstance(value, threading.local):
            self._made_once(path, value, dict_place("", vars(value)))
        else:
            self._data(path, value)

    def _made_once(self, path: str, value: Any, place: ReachedPlace) -> None:
        """An object that is never pickled: what it holds is a place of its own. A hindsight statement may reach it on
        another way, so that it is called after the module that has it."""
        for module_name, module in sorted(sys.modules.items()):
            if self._is_users(module) and module_name != _ALIAS_OF_MAIN:
                path = next((f"{module_name}.{n}" for n, held in attributes(module).items() if held is value), path)
        self.code[path] = value
        place.key = f"{path}.<value>"
        self._places.append(place)
        for name, item in place.read().items():
            self.add(f"{path}.{name}", item)

    def _data(self, path: str, value: Any) -> None:
        self.others[path] = value
        if isinstance(value, collections.defaultdict):
            self.add(f"{path}.default_factory", value.default_factory)
        if isinstance(value, dict):
            for index, (key, item) in enumerate(value.items()):
                if index >= _ITEMS_FOLLOWED:
                    break
                self.add(f"{path}[{key!r}]" if isinstance(key, str | int) else f"{path}[{index}]", item)
        elif isinstance(value, list | tuple | set | frozenset | collections.deque):
            for index, item in zip(range(_ITEMS_FOLLOWED), value, strict=False):
                self.add(f"{path}[{index}]", item)
        self.add(f"{path}.__class__", type(value))
        if self._is_users(type(value)):
            for name, item in attributes(value).items():
                self.add(f"{path}.{name}", item)
        for name, item in self._inside(value).items():
            if callable(item) and self._is_users(type(item)):  # a hook with a state: who has it does not pickle it
                self.hold(f"{path}.{name}", item)
            else:
                self.add(f"{path}.{name}", item)
        if isinstance(value, logging.Logger):
            for index, handler in enumerate(value.handlers):
                if self._is_users(type(handler)):
                    self.hold(f"{path}.handlers[{index}]", handler)
            self.add(f"{path}.parent", value.parent)

    def hold(self, path: str, value: Any) -> None:
        """A value that no name holds: only what is in it can change."""
        if not isinstance(value, types.FunctionType | type | types.ModuleType):
            self._objects[path] = value
        self.add(path, value)

    def _function(self, path: str, function: types.FunctionType) -> None:
        key = self._key(path, function)
        filename = os.path.realpath(function.__code__.co_filename) if self._inserted else ""
        names, stored, held = _names(function.__code__, self._inserted.get(filename, frozenset()))
        self._module_names(function.__globals__, names, stored)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells = {name: cell for name, cell in cells.items() if name in held}
        if cells:
            self._places.append(_closure_place(f"{key}.<closure>", cells))
        for name, cell in cells.items():
            if _is_filled(cell):
                self.add(f"{key}.{name}", cell.cell_contents)
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for index, value in enumerate(defaults):
            if not isinstance(value, int | float | str | bytes | tuple | type(None)):
                self.hold(f"{key}.<default {index}>", value)
        self._places.append(dict_place(f"{key}.<attributes>", function.__dict__))
        for name, value in function.__dict__.items():
            self.add(f"{key}.{name}", value)

    def _class(self, path: str, kind: type) -> None:
        key = self._key(path, kind)
        self._places.append(_class_place(f"{key}.<class>", kind))
        for name, value in vars(kind).items():
            if not name.startswith("__") or isinstance(value, types.FunctionType):
                self.add(f"{key}.{name}", value)
        for index, base in enumerate(kind.__bases__):
            self.add(f"{key}.<base {index}>", base)

    def _module(self, module: types.ModuleType) -> None:
        """All of it: what is assigned to `module.name` is seen nowhere else."""
        names = {name for name in vars(module) if not name.startswith("__")}
        self._module_names(vars(module), names, {n for n in names if not isinstance(vars(module)[n], types.ModuleType)})

    def _module_names(self, namespace: dict[str, Any], names: set[str], stored: set[str]) -> None:
        key = str(namespace.get("__name__", "?"))
        _, known, known_stored = self._globals.setdefault(key, (namespace, set(), set()))
        known |= {name for name in names if name in namespace and not name.startswith("__")}
        known |= stored
        known_stored |= stored
        for name in sorted(names):
            if name in namespace:
                self.add(f"{key}.{name}", namespace[name])

    def _key(self, path: str, code: Any) -> str:
        """Its qualified name; of several with the same one, all but the first by the way that led there."""
        name = f"{code.__module__}:{code.__qualname__}"
        key = name if name not in self.code else f"{name} by {path}"
        self.code[key] = code
        return key


_MAKE_CELLS = ("MAKE_CELL", "LOAD_CLOSURE")  # for the functions in it


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType, inserted: frozenset[int]) -> tuple[set[str], set[str], set[str]]:
    """Names that the code, or functions in it, may look up in its module, those that it stores there, and variables of
    functions around it that it uses; without those that only stand on `inserted` lines."""
    names, held = set(code.co_names), set(code.co_freevars)
    instructions = list(dis.get_instructions(code))
    stored = {str(each.argval) for each in instructions if each.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")}
    parts = [_names(constant, inserted) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    if inserted:
        used = [each for each in instructions if each.opname not in _MAKE_CELLS]
        then = {str(each.argval) for each in used if each.positions is None or each.positions.lineno not in inserted}
        new = {str(each.argval) for each in used} - then
        names -= new
        held = {name for name in held if name in then or any(name in part[2] for part in parts)}
    return names.union(*(part[0] for part in parts)), stored.union(*(part[1] for part in parts)), held


# What makes methods and properties of a class.
DESCRIPTORS: tuple[type, ...] = (staticmethod, classmethod, property, functools.cached_property)
DESCRIPTORS += (types.MemberDescriptorType, types.GetSetDescriptorType)


def _is_class_data(name: str, value: object) -> bool:
    if name.startswith("__"):
        return isinstance(value, types.FunctionType)
    return not name.startswith("_abc_")


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # assigned later
        return False


def _global_place(key: str, namespace: MutableMapping[str, Any], names: set[str], stored: set[str]) -> ReachedPlace:
    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        namespace.update(values)
        for name in remove:
            namespace.pop(name, None)

    return ReachedPlace(
        f"{key}.<globals>", lambda: {n: namespace[n] for n in sorted(names) if n in namespace}, write, stored
    )


def _closure_place(key: str, cells: Mapping[str, types.CellType]) -> ReachedPlace:
    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        for name, value in values.items():
            cells[name].cell_contents = value

    return ReachedPlace(
        key, lambda: {n: c.cell_contents for n, c in sorted(cells.items()) if _is_filled(c)}, write, binds_all=True
    )


def dict_place(key: str, held: dict[str, Any]) -> ReachedPlace:
    """A dictionary of attributes: any name may get another value, come and go."""

    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        held.update(values)
        for name in remove:
            held.pop(name, None)

    return ReachedPlace(key, lambda: {n: v for n, v in held.items() if n != "__wrapped__"}, write, binds_all=True)


def _context_place(variable: contextvars.ContextVar[Any]) -> ReachedPlace:
    def read() -> dict[str, Any]:
        with contextlib.suppress(LookupError):
            return {"value": variable.get()}
        return {}

    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        if any(True for _ in remove):
            raise StoreError(f"The context variable {variable.name!r} was not set yet, and cannot be unset.")
        for value in values.values():
            variable.set(value)

    return ReachedPlace("", read, write, binds_all=True)


def _class_place(key: str, kind: type) -> ReachedPlace:
    """Its data and its methods."""

    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        for name, value in values.items():
            if vars(kind).get(name) is not value:
                setattr(kind, name, value)
        for name in remove:
            delattr(kind, name)

    return ReachedPlace(
        key, lambda: {name: v for name, v in vars(kind).items() if _is_class_data(name, v)}, write, binds_all=True
    )

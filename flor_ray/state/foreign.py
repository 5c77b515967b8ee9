"""Attributes that the user's code has set on modules, classes and functions of libraries since a loop began.

    F.relu = leaky      torch.Tensor.twice = twice      builtins.seen = [1]      mock.patch.object(np, "save", keep)

A library's own attributes are none of a script's state: it binds some when they are first needed. So only those count
that the user's code may have set by what its text says (`flor_ray.analysis.foreign_attributes`), and of these only the
ones that hold something else than they did. They are one place, by their whole names; "del NAME" is one that is gone.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flor_ray.analysis.foreign_attributes import ForeignAttributes
from flor_ray.state.fingerprint import fingerprint, hides
from flor_ray.state.reachable import ReachedPlace, can_be_changed

FOREIGN = "foreign"  # the place
_DELETED = "del "
_ABSENT = object()
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, staticmethod, classmethod, property)
_STREAMS = frozenset({"sys.stdin", "sys.stdout", "sys.stderr"})


@dataclass(slots=True)
class _Owner:
    """Something that has attributes, as it was when the loop began."""

    holder: Any
    entered: dict[str, Any]  # what those that are looked at held
    size: int  # how many it had
    said: frozenset[str]  # names that are surely set on this one
    any_name: bool
    is_late: bool  # nobody knows what it held


@dataclass(slots=True)
class ForeignState:
    """Those of one loop. `said` is what the user's texts say; `is_users` tells whether code is the user's."""

    said: ForeignAttributes
    is_users: Callable[[Any], bool]
    _owners: dict[str, _Owner] = field(default_factory=dict)  # by path
    _known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._look_at(self.said.owners, late=False)

    def meet(self, values: Iterable[Any]) -> None:
        """Whoever has an object comes to its class: `type(x).f = g`."""
        for kind in sorted({base for value in values for base in type(value).__mro__}, key=_path_of):
            self._add(_path_of(kind), kind, frozenset(), any_name=False, late=False)

    def _look_at(self, paths: Iterable[str], late: bool) -> None:
        names: dict[int, set[str]] = {}  # by the id of their owner
        for path, name in self.said.pairs:
            names.setdefault(id(_found(path)), set()).add(name)
        wholes = {id(_found(path)) for path in self.said.wholes}
        for path in sorted({*paths, *self.said.wholes, *(path for path, _ in self.said.pairs)}):
            holder = _found(path)
            self._add(
                _path_of(holder) or path, holder, frozenset(names.get(id(holder), ())), id(holder) in wholes, late
            )

    def _add(self, path: str, holder: Any, said: frozenset[str], any_name: bool, late: bool) -> None:
        if id(holder) in self._known or not isinstance(getattr(holder, "__dict__", None), Mapping):
            return
        is_code = isinstance(holder, types.ModuleType | types.FunctionType | type)
        may_be_set = can_be_changed(holder) if isinstance(holder, type) else is_code or bool(said)
        if not path or not may_be_set or self.is_users(holder if is_code else type(holder)):
            return
        self._known.add(id(holder))
        held = vars(holder)
        names = held.keys() if any_name else held.keys() & (self.said.names | said)
        entered = {} if late else {name: held[name] for name in names}
        self._owners[path] = _Owner(holder, entered, -1 if late else len(held), said, any_name, late)

    def followed(self) -> dict[str, Any]:
        """What the user's code has put there by now: what is in it can change."""
        found = dict(self._changed())
        for path, owner in self._owners.items():
            held = vars(owner.holder)
            for name in owner.entered.keys() & held.keys():
                if name in owner.said or self._is_users(held[name]):
                    found[f"{path}.{name}"] = held[name]
        return {where: value for where, value in sorted(found.items()) if self._is_followed(where, value)}

    def _is_followed(self, where: str, value: Any) -> bool:
        is_librarys_code = isinstance(value, (*_CODE, types.ModuleType)) and not self.is_users(value)
        return not is_librarys_code and not (where in _STREAMS and hides(fingerprint(value)))

    def _is_users(self, value: Any) -> bool:
        return self.is_users(value if isinstance(value, (*_CODE, types.ModuleType)) else type(value))

    def place(self) -> ReachedPlace:
        """What they hold, where that is something else than it was."""
        return ReachedPlace(FOREIGN, lambda: dict(self._changed()), self._write, binds_all=True)

    def _changed(self) -> Iterator[tuple[str, Any]]:
        self._look_at((), late=True)  # modules that have been imported since
        for path, owner in self._owners.items():
            held = vars(owner.holder)
            if not (owner.entered or owner.said or owner.any_name) and len(held) == owner.size:
                continue  # so it is with nearly all
            names = set(owner.entered) | owner.said
            if len(held) != owner.size or owner.any_name:
                names |= held.keys() if owner.any_name else held.keys() & self.said.names
            for name in sorted(names):
                value, was = held.get(name, _ABSENT), owner.entered.get(name, _ABSENT)
                if value is was or _is_submodule(value, path, name):
                    continue
                if name in owner.said or self._is_set_by_user(name, value, owner):
                    where = f"{path}.{name}"
                    yield (f"{_DELETED}{where}", None) if value is _ABSENT else (where, value)

    def _is_set_by_user(self, name: str, value: Any, owner: _Owner) -> bool:
        """Where it is not said whose attribute is set: a library sets some, too, when they are first needed."""
        if self._is_users(value):
            return True
        return not owner.is_late and (name in self.said.names or not name.startswith("_"))

    def _write(self, values: Mapping[str, Any], remove: Iterable[str]) -> None:
        for where in remove:  # first: what has been set here may be gone there
            path, _, name = where.removeprefix(_DELETED).rpartition(".")
            if not (owner := self._owners[path]).is_late:
                self._set(f"{path}.{name}", owner.entered.get(name, _ABSENT))
        for where, value in values.items():
            self._set(where.removeprefix(_DELETED), _ABSENT if where.startswith(_DELETED) else value)

    def _set(self, where: str, value: Any) -> None:
        path, _, name = where.rpartition(".")
        holder = self._owners[path].holder if path in self._owners else _imported(path)
        if value is not _ABSENT:
            setattr(holder, name, value)
        elif name in vars(holder):
            delattr(holder, name)


def _is_submodule(value: Any, path: str, name: str) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__ == f"{path}.{name}"


def _found(path: str) -> Any:
    """What has this path, of what has been imported; None if nothing has. No library is made to load anything."""
    module, rest = path, list[str]()
    while module and module not in sys.modules:
        module, _, name = module.rpartition(".")
        rest.insert(0, name)
    found: Any = sys.modules.get(module)
    for name in rest:
        holders = found.__mro__ if isinstance(found, type) else (found,)
        found = next((held[name] for each in holders if name in (held := getattr(each, "__dict__", {}))), None)
        found = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    return found


def _imported(path: str) -> Any:
    """What has this path, of what may have yet to be imported."""
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        module = ".".join(parts[:count])
        if module not in sys.modules and _found(module) is None:
            __import__(module)
    return _found(path)


def _path_of(holder: Any) -> str:
    """The path that a module, class or function is known by everywhere; "" if it has none."""
    if isinstance(holder, types.ModuleType):
        path = holder.__name__
    else:
        path = f"{getattr(holder, '__module__', '')}.{getattr(holder, '__qualname__', '')}"
    return path if _found(path) is holder else ""

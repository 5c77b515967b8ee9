"""Functions of other libraries, replaced right after their module has run: whoever imports them later gets ours.

Modules that are loaded already, as those that a fork server preloads, are patched at once, together with the names
under which others have imported the same function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Patch = Callable[[ModuleType], tuple[object, object] | None]  # old and new object, if others may have them

_OWN = ("posix", "_io")  # where the system's functions are found for good


def after_import(patches: Mapping[str, Sequence[Patch]], replaced: Mapping[int, object] | None = None) -> None:
    """Apply patches to modules by name: now where they are loaded, else when they are. A patch that waits for a module
    already does not wait for it twice.

    Objects that are `replaced` already, by id, are so in all loaded modules too.
    """
    pairs = []  # an id is only good as long as its object is there
    # One finder for all: two that wait for one module would ask each other for it.
    finder = (
        next((finder for finder in sys.meta_path if isinstance(finder, _PatchingFinder)), None) or _PatchingFinder()
    )
    for name, some in patches.items():
        module = sys.modules.get(name)
        if module is None:
            finder.wait_for(name, some)
        else:
            pairs += [pair for patch in some if (pair := patch(module)) is not None]
    copies = dict(replaced or {}) | {id(old): new for old, new in pairs}
    if copies:
        _replace_copies(copies)
    if finder.is_waiting and finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


def replace(module: ModuleType, attribute: str, make: Callable[[Any], Any]) -> tuple[object, object] | None:
    """Replace a function (or `Class.method`) of a module by what `make` makes of it, if the module has it.

    The old and the new one, if others may have imported it.
    """
    owner: Any = module
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    found = getattr(owner, name, None)
    if found is None:
        return None
    made = make(found)
    setattr(owner, name, made)
    return (found, made) if owner is module else None


def look_for(objects: Iterable[object]) -> None:
    """Find the names of these objects in the modules that are loaded by now. A process that is forked later needs not
    look through all of them again, which takes as long as starting it."""
    _looked_for.update({id(found): found for found in objects})
    for name, module in list(sys.modules.items()):
        if name not in _looked_through:
            _looked_through.add(name)
            for names, found in _names_in(name, module, _looked_for):
                _places.setdefault(id(names[found]), []).append((names, found))


_looked_for: dict[int, object] = {}
_looked_through: set[str] = set()  # modules
_places: dict[int, list[tuple[dict[str, Any], str]]] = {}  # where the objects that were looked for have a name


def _replace_copies(copies: Mapping[int, object]) -> None:
    """Replace objects in the names of all loaded modules (`from os import remove`)."""
    known = copies.keys() <= _looked_for.keys()
    for key, new in copies.items() if known else ():
        for names, name in _places.get(key, ()):
            names[name] = new
    for module_name, module in list(sys.modules.items()):
        if not known or module_name not in _looked_through:
            for names, name in _names_in(module_name, module, copies):
                names[name] = copies[id(names[name])]


def _names_in(module_name: str, module: object, objects: Mapping[int, object]) -> list[tuple[dict[str, Any], str]]:
    """Where a module has names for some objects, by id."""
    names = getattr(module, "__dict__", None)
    if not names or module_name in _OWN:
        return []
    return [(names, name) for name, value in list(names.items()) if id(value) in objects]


class _PatchingFinder(MetaPathFinder):
    """Lets the others find, and puts a loader of ours around theirs."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Patch]] = {}

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def wait_for(self, name: str, patches: Iterable[Patch]) -> None:
        known = self._waiting.setdefault(name, [])
        known += [patch for patch in patches if patch not in known]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._waiting:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _PatchingLoader(spec.loader, tuple(self._waiting[name]))
                return spec
        return None


class _PatchingLoader(Loader):
    def __init__(self, loader: Loader, patches: Sequence[Patch]) -> None:
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader  # whoever asks for sources or data files asks the real one
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)

"""The state of a loop that a library runs: a Trainer's epochs have no variables of the script's.

    targets   what has a state of its own: model, optimizer, scheduler, scaler, random generators
              and Machinery: numbers, texts, tensors and containers of them in the library's own objects
    places    what is the user's: callbacks, data sets, attributes that a class of the user's adds to the Trainer
    fixed     what each process makes for itself: pickles refer to it by its name

What lives here knows no library: `flor_ray.automatic` says which objects these are.
"""

from __future__ import annotations

import collections
import enum
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import PurePath
from types import FrameType, MappingProxyType
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.state import stateful
from flor_ray.state.random_states import is_generator
from flor_ray.state.reachable import ReachedPlace

_ATOMS = (int, float, complex, str, bytes, bool, type(None), enum.Enum, PurePath, date, timedelta)
_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque)
_DEPTH = 6  # of containers in containers; what lies deeper is no number that a Trainer counts with
_ABSENT = object()

_Parts = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DrivenLoop:
    """What a checkpoint of such a loop is made of."""

    frame: FrameType  # of the script, which has called the library
    targets: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[ReachedPlace, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    has_exits: bool = True  # the state after an epoch's last step can be put back where no step has run


class Machinery:
    """The plain attributes of a library's objects, as one object with a state of its own.

    Args:
        parts: the objects by name, found anew each time.
        held: what must be the same objects all the time, by name: no checkpoint could say what took their place.
        names: the attributes of an object that are the library's; None: all.
        apart: what is kept elsewhere, by name, such as data sets. An attribute that holds one is not kept here.
        enters_once: that the loop's entry cannot be put back any more once an epoch has begun.
    """

    compares = False  # it holds times and counters of time, which no two runs share

    def __init__(
        self,
        parts: _Parts,
        held: _Parts,
        names: Callable[[Any], frozenset[str] | None] = lambda part: None,
        apart: Mapping[str, Any] = MappingProxyType({}),
        enters_once: bool = False,
    ) -> None:
        self._parts, self._names = parts, names
        self._held, self._began = held, dict(held())
        self._apart = {id(value): value for value in apart.values() if not isinstance(value, _ATOMS)}
        self._enters_once = enters_once
        self.is_at_entry = True

    def state_dict(self) -> dict[str, Any]:
        """The attributes of all parts.

        Raises:
            StoreError: an object has been replaced that checkpoints only refer to.
        """
        now = self._held()
        for name in sorted(now.keys() | self._began.keys()):
            if now.get(name) is not self._began.get(name):
                raise StoreError(f"{name} is not the object that it was when the training began")
        parts = {path: self._kept(part) for path, part in self._parts().items()}
        return {"at_entry": self.is_at_entry and self._enters_once, "parts": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back.

        Raises:
            StoreError: this process lacks a part, or has left the loop's entry for good.
        """
        if state["at_entry"] and not self.is_at_entry:
            raise StoreError("the batches of the first epoch have been drawn in this process")
        parts = self._parts()
        for path, (plain, others) in state["parts"].items():
            if path not in parts:
                raise StoreError(f"the training has no {path} here")
            self._put(parts[path], plain, others)

    def _kept(self, part: Any) -> tuple[dict[str, Any], list[str]]:
        """The plain attributes of a part, and the names of all others: what they hold is for each process to make."""
        plain = dict(self._plain(part))
        return plain, sorted(attributes_of(part).keys() - plain.keys())

    def _plain(self, part: Any) -> Iterator[tuple[str, Any]]:
        names = self._names(part)
        for name, value in attributes_of(part).items():
            if (names is None or name in names) and id(value) not in self._apart and is_plain(value):
                yield name, value

    def _put(self, part: Any, plain: Mapping[str, Any], others: Sequence[str]) -> None:
        held = attributes_of(part)
        for name, _ in list(self._plain(part)):
            if name not in plain and name not in others:
                del held[name]
        for name, value in plain.items():
            held[name] = filled(held.get(name, _ABSENT), value)


def attributes_of(part: Any) -> dict[str, Any]:
    """The attributes of an object, past any `__setattr__`; a dict is taken for what holds them itself."""
    return part if type(part) is dict else vars(part)


def filled(living: Any, saved: Any) -> Any:
    """What stands for a saved value: a living container of its kind, with what was in it, since others may hold it."""
    if type(living) is not type(saved) or isinstance(saved, tuple | frozenset):
        return saved
    if isinstance(saved, dict | set):
        living.clear()
        living.update(saved)
        return living
    if isinstance(saved, list | collections.deque):
        living.clear()
        living.extend(saved)
        return living
    return saved


def is_plain(value: Any, depth: int = _DEPTH) -> bool:
    """Whether a value is a number, a text, a tensor without a history, or a container of such."""
    if isinstance(value, _ATOMS):
        return True
    if type(value) in _CONTAINERS or isinstance(value, collections.OrderedDict | collections.defaultdict):
        items: Iterable[Any] = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(is_plain(item, depth - 1) for item in items)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return True
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return True
    return stateful.is_array(value) and not stateful.has_graph(value) and not isinstance(value, _parameter(torch))


def _parameter(torch: Any) -> Any:
    return () if torch is None else torch.nn.Parameter


def data_parts(root: Any, path: str) -> dict[str, Any]:
    """A loader of torch's kind, with the samplers and loaders that it holds, by name. Data sets are no part of it."""
    data = sys.modules["torch.utils.data"]
    found: dict[str, Any] = {}
    todo, seen = [(path, root)], set[int]()
    while todo:
        name, value = todo.pop()
        if id(value) in seen or not isinstance(value, data.DataLoader | data.Sampler):
            continue
        seen.add(id(value))
        found[name] = value
        todo += [(f"{name}.{attribute}", item) for attribute, item in vars(value).items()]
    return found


def generators_in(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Random generators that objects hold, by name; each once."""
    found: dict[str, Any] = {}
    for path, part in sorted(parts.items()):
        for name, value in attributes_of(part).items():
            if is_generator(value) and all(value is not other for other in found.values()):
                found[f"{path}.{name}"] = value
    return found


def attributes_place(key: str, holder: Any, is_own: Callable[[str], bool]) -> ReachedPlace:
    """Attributes of an object of which the library does not know."""
    held = vars(holder)

    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        held.update(values)
        for name in remove:
            held.pop(name, None)

    return ReachedPlace(
        key, lambda: {name: value for name, value in held.items() if is_own(name)}, write, binds_all=True
    )


def values_place(key: str, values: Mapping[str, Any]) -> ReachedPlace:
    """Objects that stay the same, and are filled."""
    return ReachedPlace(key, lambda: dict(values), lambda new, remove: None)

"""Is the state that a replay has come to the one that was recorded there? And if not, where does it differ first?

What is compared is what training computes with: numbers, tensors, arrays, containers and objects of these, and random
states. Text is not: paths and dates differ without harm. torch and numpy are looked up in `sys.modules`.
"""

from __future__ import annotations

import collections
import itertools
import math
import operator
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flor_ray.state import random_states, shards, stateful
from flor_ray.state.pickling import LEFT_OUT
from flor_ray.state.reachable import attributes

_NODES = 50_000  # of a graph of objects; the rest is taken to be equal
_SHOWN = 60  # characters of a value


@dataclass(frozen=True, slots=True)
class StateDifference:
    """The first place where two states differ."""

    path: str  # such as `net.0.weight`, or `best`
    recorded: str
    replayed: str


@dataclass(slots=True)
class _PairWalk:
    left: int = _NODES
    seen: set[int] = field(default_factory=set)

    def find(self, path: str, saved: Any, living: Any) -> StateDifference | None:
        """The first difference between a value that was kept and the one that is there now."""
        self.left -= 1
        if saved is living or self.left < 0 or id(saved) in self.seen:
            return None
        if isinstance(saved, str | bytes | types.ModuleType | types.FunctionType | type):
            return None
        if isinstance(saved, bool | int | float | complex | None) or isinstance(living, bool | int | float | None):
            return None if _same_number(saved, living) else _different(path, saved, living)
        self.seen.add(id(saved))
        if random_states.is_generator(saved) and random_states.is_generator(living):
            same = _plain(random_states.state_of(saved)) == _plain(random_states.state_of(living))
            return None if same else StateDifference(path, "a generator's state", "another one")
        if stateful.is_array(saved):
            return self._array(path, saved, living)
        return next(self._parts(path, saved, living), None)

    def _array(self, path: str, saved: Any, living: Any) -> StateDifference | None:
        if type(saved) is not type(living) or saved.shape != living.shape or saved.dtype != living.dtype:
            return StateDifference(path, _kind(saved), _kind(living))
        if stateful.is_tensor(saved):
            if shards.is_shared_out(saved):  # this rank's part: to compare the whole is a collective
                saved, living = shards.part_of(saved), shards.part_of(living)
                if saved.shape != living.shape:
                    return StateDifference(path, _kind(saved), _kind(living))
            if saved.layout is not sys.modules["torch"].strided or saved.is_quantized:
                return None
            left, right = saved.detach().cpu(), living.detach().cpu()
            if left.dtype in (sys.modules["torch"].bfloat16, sys.modules["torch"].half):
                left, right = left.float(), right.float()
            equal = bool(((left == right) | ((left != left) & (right != right))).all())
        else:
            if saved.dtype.hasobject or saved.dtype.kind not in "biufc":
                return None
            left, right = saved, living
            equal = bool(sys.modules["numpy"].array_equal(left, right, equal_nan=left.dtype.kind in "fc"))
        if equal:
            return None
        return StateDifference(path, _kind(saved), f"another, by up to {_far(left, right):.3g}")

    def _parts(self, path: str, saved: Any, living: Any) -> Iterator[StateDifference]:
        """Differences among the items and attributes of two values."""
        if type(saved) is not type(living):
            return
        if isinstance(saved, Mapping):
            pairs = [(f"{path}.{key!s:.40}", item, living[key]) for key, item in saved.items() if key in living]
            if len(saved) != len(living):
                yield StateDifference(path, f"{len(saved)} items", f"{len(living)} items")
        elif (steps := position(saved)) is not None:
            if steps != position(living):
                yield StateDifference(path, "a position", "another one")
            return
        elif isinstance(saved, list | tuple | collections.deque):
            pairs = [(f"{path}[{index}]", a, b) for index, (a, b) in enumerate(zip(saved, living, strict=False))]
            if len(saved) != len(living):
                yield StateDifference(path, f"{len(saved)} items", f"{len(living)} items")
        elif isinstance(saved, set | frozenset):
            if len(saved) != len(living):
                yield StateDifference(path, f"{len(saved)} items", f"{len(living)} items")
            return
        else:
            held, now = attributes(saved), attributes(living)
            names = [n for n, item in held.items() if n in now and n != LEFT_OUT and not _is_private_number(n, item)]
            pairs = [(f"{path}.{name}", held[name], now[name]) for name in names]
        for inner, left, right in pairs:
            if (found := self.find(inner, left, right)) is not None:
                yield found


def first_difference(path: str, saved: Any, living: Any) -> StateDifference | None:
    """Where a value that was kept and the one that is there now differ first; None if they do not."""
    return _PairWalk().find(path, saved, living)


def position(value: Any) -> object:
    """How far a generator, or an iterator of Python's own, has come; None for anything else."""
    if isinstance(value, types.GeneratorType):
        held = {} if value.gi_frame is None else value.gi_frame.f_locals
        numbers = {name: item for name, item in held.items() if isinstance(item, bool | int | float | str | None)}
        return value.gi_frame is None, value.gi_frame and value.gi_frame.f_lasti, numbers
    if isinstance(value, itertools.count | itertools.repeat):
        return repr(value)
    if not isinstance(value, Iterator) or type(value).__module__ != "builtins":
        return None
    left = operator.length_hint(value, -1)
    if left >= 0:
        return left
    within = value.__reduce__()[1] if isinstance(value, enumerate | zip | map | filter | reversed) else ()
    return tuple(item if isinstance(item, int) else position(item) for item in within)


def _is_private_number(name: str, value: Any) -> bool:
    """Hashes, counters of accesses, and the like: they differ between processes without harm."""
    return name.startswith("_") and isinstance(value, bool | int | float | None)


def _same_number(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left.hex() == right.hex() or (math.isnan(left) and math.isnan(right))
    return type(left) is not type(right) or left == right  # of another kind: an object that is made anew


def _different(path: str, saved: Any, living: Any) -> StateDifference:
    return StateDifference(path, str(saved)[:_SHOWN], str(living)[:_SHOWN])


def _kind(value: Any) -> str:
    shape = tuple(value.shape) if stateful.is_array(value) else ""
    return f"{type(value).__name__}{shape}"


def _far(left: Any, right: Any) -> float:
    """How far two arrays or tensors are from each other at most."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(left, torch.Tensor):
        left, right = left.numpy(force=True), right.numpy(force=True)
    kind = complex if left.dtype.kind == "c" else float
    return float(abs(left.astype(kind) - right.astype(kind)).max())


def _plain(state: Any) -> str:
    return repr(state)

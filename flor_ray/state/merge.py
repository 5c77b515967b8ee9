"""Putting a saved graph of objects into the living one, so that everything that refers to it sees the change.

    living   history = {"loss": [1, 2, 3]}      losses ──> the same list
    saved    history = {"loss": [1]}            losses ──> the same list
    merged   the living dict and the living list, with what was saved in them

A living object is filled where it is of the same kind as its saved counterpart; else the saved one takes its place.
What is one object among the saved ones is one object afterwards. torch and numpy are looked up in `sys.modules`.
"""

from __future__ import annotations

import collections
import enum
import functools
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import PurePath
from typing import Any
from uuid import UUID

from flor_ray.errors import StoreError
from flor_ray.state import random_states, shards
from flor_ray.state.memory import is_plain_array, lies_as
from flor_ray.state.pickling import LEFT_OUT
from flor_ray.state.reachable import attributes, is_python, slots

_FILLED: tuple[type, ...] = (
    list,
    dict,
    set,
    bytearray,
    collections.deque,
    collections.defaultdict,
    collections.OrderedDict,
)
_FILLED += (types.SimpleNamespace,)
ATOMIC = (
    enum.Enum,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    range,
    slice,
    type,
    types.FunctionType,
    types.ModuleType,
    PurePath,
    UUID,
    date,
    timedelta,
)


class Merger:
    """Merges the values of one checkpoint. `check` is told of attributes that a living object keeps as they are.

    `counterparts` are living objects by the id of the saved object that was the same one. An array has no other: what
    stands in its place in a list may be a view of memory that nothing else of the checkpoint belongs in. Without
    `counterparts`, as for checkpoints of older releases, what is in the same place is taken for it.
    """

    def __init__(
        self,
        check: Callable[[Any, Iterable[str]], None] = lambda holder, names: None,
        counterparts: Mapping[int, Any] | None = None,
    ) -> None:
        self._check = check
        self._counterparts = counterparts
        self._reserved = {id(living) for living in (counterparts or {}).values()}
        self._done: dict[int, Any] = {}  # id of saved -> what stands for it now
        self._alive: list[Any] = []  # keeps the ids in use
        self._claimed: set[int] = set()  # living objects that stand for a saved one

    def merge(self, living: Any, saved: Any) -> Any:
        """What stands for `saved` from now on: `living`, filled, if that is possible."""
        if isinstance(saved, ATOMIC):
            return saved
        if id(saved) in self._done:
            return self._done[id(saved)]
        self._alive.append(saved)
        if living is saved:
            self._done[id(saved)] = saved
            return saved
        known = (self._counterparts or {}).get(id(saved))
        if known is not None:
            living = known
        elif id(living) in self._reserved or (self._counterparts is not None and is_plain_array(saved)):
            living = None
        if type(saved) is not type(living) or id(living) in self._claimed:
            living = None
        if isinstance(saved, tuple | frozenset):
            return self._rebuilt(living, saved)
        if type(saved) is weakref.ref:
            return self._referring(living, saved)
        if isinstance(saved, types.MethodType | functools.partial):
            return self._rebound(living, saved)
        if type(saved) is weakref.ref and (target := saved()) is not None:
            merged = self.merge(None if living is None else living(), target)
            return self._stands(saved, saved if merged is target else weakref.ref(merged))
        if living is not None and self._filled_at_once(living, saved):
            return self._stands(saved, living)
        if living is not None and not has_parts(saved):
            living = None
        target = self._stands(saved, saved if living is None else living)
        if has_parts(saved):
            self._fill(target, saved)
        return target

    def _stands(self, saved: Any, target: Any) -> Any:
        self._done[id(saved)] = target
        if target is not saved:
            self._claimed.add(id(target))
            self._alive.append(target)
        return target

    def _filled_at_once(self, living: Any, saved: Any) -> bool:
        """Tensors, arrays and random generators: their content is copied into the living one."""
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if random_states.is_generator(living):
            random_states.put_state(living, random_states.state_of(saved))
        elif torch is not None and isinstance(living, torch.Tensor):
            if self._counterparts is not None and is_plain_array(living):
                if not lies_as(living, saved):
                    living.data = saved.detach()  # it was given other memory
            elif not _same_tensor_kind(living, saved):
                return False
            elif shards.is_shared_out(living):
                shards.part_of(living).data.copy_(shards.part_of(saved))
            else:
                # `.data` has a version counter of its own: views of its memory have not been changed by the script
                living.data.copy_(saved.detach())
            if living.is_leaf and (living.is_floating_point() or living.is_complex()):
                living.requires_grad_(saved.requires_grad)
                living.grad = None if saved.grad is None else self.merge(living.grad, saved.grad)
        elif numpy is not None and isinstance(living, numpy.ndarray):
            if living.shape != saved.shape or living.dtype != saved.dtype or not living.flags.writeable:
                return False
            if living.dtype.hasobject:
                return False
            if self._counterparts is None or not is_plain_array(living) or not lies_as(living, saved):
                living[...] = saved
        else:
            return False
        return True

    def _rebuilt(self, living: Any, saved: Any) -> Any:
        olds = list(living) if isinstance(living, tuple) and len(living) == len(saved) else [None] * len(saved)
        items = [self.merge(old, new) for old, new in zip(olds, saved, strict=True)]
        if all(item is old for item, old in zip(items, olds, strict=True)) and living is not None:
            return self._stands(saved, living)
        if all(item is old for item, old in zip(items, saved, strict=True)):
            return self._stands(saved, saved)
        kind = type(saved)
        make = getattr(kind, "_make", kind)
        return self._stands(saved, make(items))

    def _rebound(self, living: Any, saved: Any) -> Any:
        """A method or partial, of what now stands for its object or arguments."""
        if isinstance(saved, types.MethodType):
            owner = self.merge(getattr(living, "__self__", None), saved.__self__)
            return self._stands(saved, types.MethodType(saved.__func__, owner))
        args = self.merge(getattr(living, "args", None), saved.args)
        keywords = self.merge(getattr(living, "keywords", None), saved.keywords)
        return self._stands(saved, functools.partial(saved.func, *args, **keywords))

    def _referring(self, living: Any, saved: Any) -> Any:
        """A weak reference, to what now stands for the object that it was to."""
        held = saved()
        if held is None:
            return self._stands(saved, saved)
        held = self.merge(living() if type(living) is weakref.ref else None, held)
        return self._stands(saved, weakref.ref(held))

    def _fill(self, target: Any, saved: Any) -> None:
        if isinstance(saved, list | collections.deque):
            olds = list(target) + [None] * len(saved)
            items = [self.merge(old, new) for old, new in zip(olds, saved, strict=False)]
            target.clear()
            target.extend(items)
        elif isinstance(saved, dict):
            pairs = [(self.merge(None, key), self.merge(target.get(key), item)) for key, item in saved.items()]
            target.clear()
            for key, item in pairs:
                dict.__setitem__(target, key, item) if type(target) is dict else target.__setitem__(key, item)
        elif isinstance(saved, set):
            elements = [self.merge(None, element) for element in saved]
            target.clear()
            target.update(elements)
        elif isinstance(saved, bytearray):
            target[:] = saved
        held, new = attributes(target), attributes(saved)
        kept = set(new.pop(LEFT_OUT, ()))  # the living object has them
        if target is not saved:
            self._check(target, sorted(kept))
            for name in held.keys() - new.keys() - kept:
                _remove(target, name)
        elif kept:
            raise StoreError(f"A {type(saved).__name__} was kept without its {', '.join(sorted(kept))}.")
        for name, item in new.items():
            value = self.merge(held.get(name), item)
            if name not in held or held[name] is not value:
                _assign(target, name, value)


def _assign(target: Any, name: str, value: Any) -> None:
    """Past any `__setattr__` or property of the class: a frozen dataclass, a DataLoader, a path."""
    slot = slots(type(target)).get(name)
    if slot is not None:
        slot.__set__(target, value)
    else:
        vars(target)[name] = value


def _remove(target: Any, name: str) -> None:
    slot = slots(type(target)).get(name)
    if slot is not None:
        slot.__delete__(target)
    else:
        del vars(target)[name]


def has_parts(value: Any) -> bool:
    """Whether all of an object's state is in its items and attributes, as it is for classes written in Python."""
    if isinstance(value, BaseException | types.GeneratorType):
        return False
    return all(base is object or base in _FILLED or is_python(base) for base in type(value).__mro__)


def _same_tensor_kind(left: Any, right: Any) -> bool:
    return bool(
        left.shape == right.shape
        and left.dtype == right.dtype
        and left.layout == right.layout
        and not left.is_quantized
        and shards.are_alike(left, right)
    )

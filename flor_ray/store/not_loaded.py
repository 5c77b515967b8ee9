"""Values that a reader does not load: to read a pickle is to run what it says, and the store is data.

    flor.log(object) ── pickle ──> S ── bytes ──> NotLoaded    who asks for it by name, or allows all, has the object

What kind of thing it is, is read off the pickle's text; nothing of it is run for that. A pickle that only makes
numbers, texts, dates and containers of these runs nothing either: it is read.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import pickletools
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flor_ray import stored_names
from flor_ray.errors import UsageError
from flor_ray.wording import size

PICKLES_VARIABLE = "FLOR_PICKLES"
ALLOW, REFUSE = "allow", "refuse"
_MOST_OPCODES = 1000  # that are looked at to find the first name
_MOST_CHARACTERS = 80  # of a name that are shown
_MAKERS = ("copyreg", "copy_reg", "builtins", "__builtin__", "cloudpickle", "functools", "_codecs")  # of other things


def allowed(wanted: str | None = None, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether readers unpickle logged values: only where the user says so, by an option or in the environment.

    Raises:
        UsageError: that is neither "allow" nor "refuse".
    """
    said = wanted if wanted is not None else variables.get(PICKLES_VARIABLE) or REFUSE
    if said not in (ALLOW, REFUSE):
        where = "pickles" if wanted is not None else PICKLES_VARIABLE
        raise UsageError(f"{where}={said!r}: give {ALLOW!r}, or {REFUSE!r}, which is the default.")
    return said == ALLOW


# Names in pickles whose values take no more memory than their pickles, and run nothing of anybody's.
_PLAIN = frozenset(
    {("builtins", name) for name in ("complex", "frozenset", "range", "set", "slice")}
    | {("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")}
    | {("collections", "OrderedDict"), ("collections", "deque"), ("decimal", "Decimal"), ("fractions", "Fraction")}
    | {("uuid", "UUID")}
)


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """Stands in a table for a logged value that was not read: a pickled one, or one whose bytes are damaged or gone."""

    kind: str  # the type of the value: that of an object in a pickle, as the pickle names it
    data: bytes = field(default=b"", repr=False)  # the value's bytes as they are in the store
    why: str = ""  # it cannot be read at all, and this is why

    def __repr__(self) -> str:
        return f"<not loaded: {self.why or f'type {self.kind}, {size(len(self.data))} pickled'}>"

    def load(self) -> Any:
        """The object, unpickled: runs what its pickle says. For values of a store whose writers you trust.

        Raises:
            ValueError: there is nothing to load.
        """
        if self.why:
            raise ValueError(f"This value cannot be loaded: {self.why}")
        return stored_names.loads(self.data)


def pickled(data: bytes) -> object:
    """What a reader makes of a pickle: the value if only plain things are in it, else a NotLoaded."""
    try:
        found = _PlainUnpickler(io.BytesIO(data)).load()
        if _count(found, len(data)) <= len(data):  # things that hold each other many times over would fill the memory
            return found
    except Exception:  # noqa: BLE001 - it holds other things, or is no pickle
        return NotLoaded(_named_in(data), data)
    return NotLoaded(_named_in(data), data)


class _PlainUnpickler(pickle.Unpickler):
    """Makes nothing but what takes memory as its pickle does."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not plain")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it is a part of another pickle")


def _count(value: object, limit: int) -> int:
    """How many things a value consists of, each counted wherever it stands; more than `limit` if it is that many."""
    count, pending = 0, [value]
    while pending and count <= limit:
        count += 1
        found = pending.pop()
        if isinstance(found, Mapping):
            pending += [*found.keys(), *found.values()]
        elif isinstance(found, list | tuple | set | frozenset | deque):
            pending += found
    return count


def _named_in(data: bytes) -> str:
    """The first class or function that a pickle names, leaving out what only serves to make other things."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(data), _MOST_OPCODES):
            if opcode.name in ("GLOBAL", "INST") and isinstance(argument, str):
                module, _, name = argument.partition(" ")
            elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                module, name = texts[-2:]
            else:
                texts += [argument] if isinstance(argument, str) else []
                continue
            if module.partition(".")[0] not in _MAKERS:
                return re.sub(r"[^\w.<>]", "?", f"{module}.{name}")[:_MOST_CHARACTERS]
    except Exception:  # noqa: BLE001 - whatever the bytes are: they are no pickle
        return "unknown"
    return "object"

"""Functions, classes and modules of the user's that are there when a loop begins.

    early     pickle may call them by their names: a replay has them, too, when it restores a checkpoint
    late      made, or bound to their names, by the loop: there a replay has nothing yet, or what they took the place of

What may live here: looking into modules. No pickling.
"""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any


class EarlyCode:
    """What there is now. `is_users` tells whether a function, class or module is the user's, and `before` what there
    was when another loop began: thousands of modules are not asked again whose they are."""

    def __init__(self, is_users: Callable[[Any], bool], before: EarlyCode | None = None) -> None:
        self._is_users = is_users
        self._modules: list[Any] = list(sys.modules.values())  # held, so that no other one gets a number of theirs
        self._numbers = set(map(id, self._modules))
        self._code: dict[int, weakref.ref[Any]] = {}
        self._users: list[types.ModuleType] = []
        known: set[int] = set()
        if before is not None:
            self._users = [module for module in before._users if id(module) in self._numbers]
            known = before._numbers
        if new := self._numbers - known:
            others = (module for module in self._modules if id(module) in new)
            # Some put other things there.
            self._users += (m for m in others if isinstance(m, types.ModuleType) and is_users(m))
        for module in self._users:
            self._look_into(module)

    def is_late(self, code: Any) -> bool:
        """Whether the user's function, class or module was not there, or not to be found by its name."""
        if not self._is_users(code):
            return False
        if isinstance(code, types.ModuleType):
            return id(code) not in self._numbers
        known = self._code.get(id(code))
        return known is None or known() is not code

    def _look_into(self, holder: types.ModuleType | type) -> None:
        for value in list(vars(holder).values()):
            for code in _code_in(value):
                if id(code) not in self._code and self._is_users(code):
                    self._code[id(code)] = weakref.ref(code)
                    if isinstance(code, type):
                        self._look_into(code)


def _code_in(value: Any) -> Iterator[types.FunctionType | type]:
    if isinstance(value, types.FunctionType | type):
        yield value
    elif isinstance(value, staticmethod | classmethod) and isinstance(value.__func__, types.FunctionType):
        yield value.__func__

"""Names of which each version has one, where the other has the other: the same thing, whatever binds it.

newer   from ours import *                     older   from ours import *
        train = Loader(Captions(folder))               train = Loader(Pictures(folder))
        valid = Loader(Captions(folder))  <--          valid would be Loader(Pictures(folder))

What binds them may say nothing: it is in another file, or an import in one version and an assignment in the other. So
all that counts is that they are exchanged everywhere, and used alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from flor_ray.propagation.adapting.bindings import module_of_name
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.names import BUILTINS, Names
from flor_ray.propagation.reading.tree import Node

_ENOUGH = 2  # statements in which they face each other; of one, all else has to be equal
_CLEAR_SHARE = 0.8  # of what faces either name


class Exchanges:
    """Names of one mapping's trees that only one of the two knows."""

    def __init__(self, mapping: Mapping, newer: Names, older: Names) -> None:
        self._mapping, self._newer, self._older = mapping, newer, older
        self._known: dict[str, str | None] = {}

    def older_of(self, name: str) -> str | None:
        """The older name that stands wherever a newer one stands; None if there is none, or any doubt."""
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> str | None:
        if name in BUILTINS or name in self._older.known:
            return None
        pairs = [(a, b) for a in self._reads(self._newer, name) if (b := self._mapping.older_of(a)) is not None]
        others = {b.label for _, b in pairs}
        other = others.pop() if len(others) == 1 else name
        if other in self._newer.known or other in BUILTINS or not self._are_of_one_package(name, other):
            return None
        back = [a for b in self._reads(self._older, other) if (a := self._mapping.newer_of(b)) is not None]
        alike = [(a, b) for a, b in pairs if _are_used_alike(a, b)]
        if len(alike) < _CLEAR_SHARE * max(len(pairs), len(back)):
            return None
        statements = {s.index: (s, t) for a, b in alike if (s := a.statement()) and (t := b.statement())}
        is_enough = len(statements) >= _ENOUGH or any(s.shape == t.shape for s, t in statements.values())
        return other if is_enough else None

    def _reads(self, names: Names, name: str) -> Iterator[Node]:
        yield from names.loose.get(name, ())
        for scope in names.scopes.values():
            yield from scope.reads.get(name, ())

    def _are_of_one_package(self, name: str, other: str) -> bool:
        """Whether two names are not imported from packages that have nothing to do with each other."""
        modules = [
            {word for scope in names.scopes.values() for word in module_of_name(scope, each).split()[:1]}
            for names, each in ((self._newer, name), (self._older, other))
        ]
        return not (modules[0] and modules[1]) or bool(modules[0] & modules[1])


def _are_used_alike(newer: Node, older: Node) -> bool:
    """Whether two names have one role, and what is taken from them has one name: `a.f(x)` and `b.f(y)`."""
    holders = newer.parent, older.parent
    if holders[0] is None or holders[1] is None or holders[0].kind != holders[1].kind or newer.role != older.role:
        return False
    return holders[0].kind != "attribute" or holders[0].children[-1].label == holders[1].children[-1].label

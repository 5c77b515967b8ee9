"""Older names that may be what a newer one is: for how they are called, made or used, and not for what faces them.

Votes for names are counted in renames.py; what is told here decides where there are none, and where one is not enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.propagation.adapting.bindings import (
    added_by,
    below,
    have_one_place,
    how_bound,
    module_of_name,
    uses_of,
    value_of,
)
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import alike, have_one_spelling, words_of
from flor_ray.propagation.reading.names import BUILTINS, Names, NameScope
from flor_ray.propagation.reading.tree import Node

_MAKING = frozenset({"call", "subscript"})  # `0`, `[]` and `args` are what many variables are bound to


class Lookalikes:
    """What one older source has beside the names of a newer one."""

    def __init__(self, mapping: Mapping, newer: Names, older: Names) -> None:
        self._mapping, self._newer, self._older = mapping, newer, older

    def candidates(self, name: str, owner: NameScope, place: NameScope) -> list[str]:
        """Older variables with a word of a newer name, or a name like it, of which the newer version knows nothing.

        They are bound in a like way; what is imported is from one module.
        """
        how, known, words = how_bound(owner, name), self._newer.known, words_of(name)
        module = module_of_name(owner, name)
        found: list[str] = []
        scope: NameScope | None = place
        while scope is not None:
            for other in scope.bindings if scope.node.kind == owner.node.kind else ():
                if other in known or not (alike(name, other) or not words.isdisjoint(words_of(other))):
                    continue
                if how_bound(scope, other) == how and module_of_name(scope, other) == module:
                    found.append(other)
            scope = scope.outer
        return found

    def left_over(self, name: str, owner: NameScope, place: NameScope) -> list[str]:
        """Older variables that a newer one may be, if a name is like its own; of two, nobody knows which."""
        found = self.candidates(name, owner, place)
        return found if any(alike(name, other) for other in found) else []

    def functions_alike(self, name: str, place: NameScope) -> list[str]:
        """What code in an older scope sees of functions, classes and imports with a name like a newer one, of which the
        newer version knows nothing."""
        found: list[str] = []
        scope: NameScope | None = place
        while scope is not None:
            found += [
                other
                for other in scope.bindings
                if other not in self._newer.known and how_bound(scope, other) != "variable" and alike(name, other)
            ]
            scope = scope.outer
        return found

    def spelled(self, name: str, owner: NameScope, place: NameScope) -> str | None:
        """The older name that has the letters or the words of a newer one: `loss_1_critic`, `critic_loss_1`.

        Each is the only one of its version, and unknown to the other; and neither is a class where the other is
        an object.
        """
        if name in self._older.known or name in BUILTINS:
            return None
        is_variable = how_bound(owner, name) == "variable"
        scope: NameScope | None = place
        found = list[str]()
        while scope is not None:
            found += [
                other
                for other in scope.bindings
                if have_one_spelling(name, other)
                and other not in self._newer.known
                and (how_bound(scope, other) == "variable") == is_variable
            ]
            scope = scope.outer
        rivals = sum(have_one_spelling(each, found[0]) for each in self._newer.known) if len(found) == 1 else 0
        return found[0] if rivals == 1 else None

    def waiting(self, place: NameScope, reads: Sequence[Node]) -> list[str]:
        """Names that the older version uses in this scope, as a newer one is, before anything has bound them; and of
        which the newer knows nothing."""
        uses, added = uses_of(reads), added_by(reads)
        early = {**self._older.loose, **self._older.unset(place)}
        return sorted(
            name
            for name, nodes in early.items()
            if name not in BUILTINS
            and name not in self._newer.known
            and any(place.node.contains(node) for node in nodes)
            and uses_of(nodes) == uses
            and (not added or not added.isdisjoint(added_by(nodes)))
        )

    def waits_for(self, name: str, place: NameScope) -> bool:
        """Whether the older version reads this very name before anything has bound it."""
        early = self._older.unset(place).get(name) or self._older.loose.get(name) or []
        return name not in BUILTINS and any(place.node.contains(each) for each in early)

    def added_to_alike(self, name: str, owner: NameScope, place: NameScope) -> list[str]:
        """Older variables, of which the newer version knows nothing, to which the same is added as to a newer one."""
        mine = added_by(owner.reads.get(name, ()))
        known = self._newer.known
        return [
            other
            for other in place.bindings
            if other not in known and not mine.isdisjoint(added_by(place.reads.get(other, ())))
        ]

    def unread_alike(self, name: str, owner: NameScope, place: NameScope) -> list[str]:
        """Older variables, of which the newer version knows nothing, with a name like one that it only sets."""
        if owner.reads.get(name):
            return []
        return [other for other in place.bindings if other not in self._newer.known and alike(name, other)]

    def has_twin(self, name: str, owner: NameScope, other: str, place: NameScope) -> bool:
        """Whether the older version makes another variable like this one, that may as well be meant, and of which the
        newer knows nothing: `a, b = f(1), f(2)` were `c = f(0)`; but `c = f(1)` is `a`."""
        there = self._older.lookup(other, place)
        made = [_maker_of(node) for node in there.bindings.get(other, ())] if there is not None else []
        if there is None or not made or None in made:
            return False
        forms = _forms(owner.bindings.get(name, ()))
        is_same = not forms.isdisjoint(_forms(there.bindings[other]))
        twins = [
            each
            for each, nodes in there.bindings.items()
            if each != other
            and each not in self._newer.known
            and any(_maker_of(node) in made for node in nodes)
            and (not is_same or not forms.isdisjoint(_forms(nodes)))
        ]
        return any(alike(name, each) for each in twins) if alike(name, other) else bool(twins)

    def is_made_alike(self, name: str, owner: NameScope, other: str, place: NameScope) -> bool:
        """Whether each version makes its own of two variables once, of one and the same value: `x, b = f(i), g(j)` and
        `x, c = f(i), g(j)`."""
        there = self._older.lookup(other, place)
        mine, theirs = owner.bindings.get(name, ()), there.bindings.get(other, ()) if there is not None else ()
        if len(mine) != 1 or len(theirs) != 1 or self._mapping.older_of(mine[0]) is not theirs[0]:
            return False
        values = value_of(mine[0]), value_of(theirs[0])
        if values[0] is None or values[1] is None or values[0].fingerprint != values[1].fingerprint:
            return False
        return any(each.kind in _MAKING for each in below(values[0]))

    def is_made_as(self, name: str, other: str, owner: NameScope) -> bool:
        """Whether a newer variable is somewhere made of what an older one is made of, but for variables' names, or by a
        call of the same function."""
        for node in owner.bindings.get(name, ()):
            partner = self._mapping.older_of(node)
            if partner is None or partner.label != other:
                continue
            values = value_of(node), value_of(partner)
            if values[0] is None or values[1] is None or values[0].shape == values[1].shape:
                return True
            if _maker_of(node) is not None and _maker_of(node) == _maker_of(partner):
                return True
        return False

    def is_the_only_change(self, name: str, owner: NameScope, other: str, place: NameScope) -> bool:
        """Whether two parameters are all in which the heads of one function differ, and whatever reads the older one
        is what reads the newer one: `def f(a, new=1, b=2)` and `def f(a, old=1, b=2)`."""
        there = self._older.lookup(other, place)
        if there is None or name in self._older.known or other in self._newer.known:
            return False
        mine, theirs = owner.bindings.get(name, ()), there.bindings.get(other, ())
        if len(mine) != 1 or len(theirs) != 1 or not have_one_place(mine[0], theirs[0], owner, there):
            return False
        partners = [self._mapping.newer_of(read) for read in there.reads.get(other, ())]
        return all(each is not None and each.label == name for each in partners)


def _maker_of(bound: Node) -> int | None:
    """What is called to make a variable, as a fingerprint; None if nothing is."""
    value = value_of(bound)
    return value.children[0].fingerprint if value is not None and value.kind == "call" and value.children else None


def _forms(bound: Sequence[Node]) -> set[int]:
    """What a variable is made of, but for variables' names."""
    values = [value_of(node) for node in bound]
    return {value.shape for value in values if value is not None}

"""What a variable, function or attribute of the newer source is called in the older one.

Every pair of linked identifiers votes for "this variable is that one"; a variable is a name in a scope. A pair that
*binds* both says more than one that only reads them: `loss.backward()` facing `total.backward()` may mean that the loss
is called `total`, or that something else is differentiated now.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass

from flor_ray.propagation.mapping import Mapping
from flor_ray.propagation.names import Names, Scope
from flor_ray.propagation.thresholds import PENALTY_DOUBTFUL_NAME, PENALTY_FACING_NAME
from flor_ray.propagation.tree import Node

_BINDING_VOTE = 3
_READING_VOTE = 1
_MIN_READS = 2  # readings that suffice without any binding
_CLEAR_SHARE = 0.8  # of the votes: no doubt
_LEAST_SHARE = 0.6  # below: contradictory

_BUILTINS = frozenset(dir(builtins))

ScopeKey = tuple[str, int, int]
_Facing = tuple[ScopeKey | None, str, ScopeKey | None]  # newer scope, name in both, older scope
_Variable = tuple[ScopeKey | None, str]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a newer name is called in the older source. `name` is None if nothing there corresponds to it."""

    name: str | None
    doubt: float = 0.0  # to be taken off the confidence
    contradiction: str = ""  # why it cannot be decided


class Renames:
    """Votes of one mapping for names."""

    def __init__(self, mapping: Mapping, newer: Names, older: Names, facing: Set[_Facing] = frozenset()) -> None:
        self._facing = facing
        self._newer, self._older = newer, older
        self._votes: dict[_Variable, Counter[_Variable]] = {}
        self._bound: set[tuple[_Variable, _Variable]] = set()
        self._claimed: dict[_Variable, set[_Variable]] = {}
        self._attributes: dict[str, Counter[str]] = {}
        self._older_attributes = {n.label for n in older.tree.nodes if n.kind == "attribute_name"}
        for a, b in mapping.pairs():
            if a.kind == "identifier":
                self._vote(a, b)
            elif a.kind == "attribute_name" and _is_set(a) and _is_set(b):
                self._attributes.setdefault(a.label, Counter())[b.label] += 1

    def variable(self, name: str, owner: Scope | None, place: Scope) -> Counterpart:
        """The counterpart of the variable `name` of the newer scope `owner`, for code in the older scope `place`."""
        variable = (scope_key(owner), name)
        there = self._older.lookup(name, place)
        votes: Counter[str] = Counter()
        for (scope, other), count in self._votes.get(variable, Counter()).items():
            if scope_key(self._older.lookup(other, place)) == scope:
                votes[other] += count
        if owner is None:
            return Counterpart(name)
        if not votes:
            return self._unvoted(name, owner, there)
        best, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        share = count / votes.total()
        kept = there is not None and not self._is_another(name, there, variable)
        if best != name and kept and (votes[name] or count < _BINDING_VOTE):
            return Counterpart(name, PENALTY_DOUBTFUL_NAME)
        if share < _LEAST_SHARE:
            options = ", ".join(f"`{each}`" for each in sorted(votes))
            return Counterpart(None, contradiction=f"`{name}` may be any of {options} in the older version")
        binding = (variable, (scope_key(self._older.lookup(best, place)), best)) in self._bound
        if best != name and not binding and count < _MIN_READS:
            return Counterpart(None)
        doubtful = share < _CLEAR_SHARE or (best != name and not binding)
        return Counterpart(best, PENALTY_DOUBTFUL_NAME if doubtful else 0.0)

    def linked_name(self, name: str, owner: Scope, place: Scope) -> str | None:
        """The older name of a variable for which the mapping itself speaks; None if it says nothing clear."""
        if (scope_key(owner), name) not in self._votes:
            return None
        found = self.variable(name, owner, place)
        if found.name is None or (found.name != name and found.name in _BUILTINS):
            return None
        there = self._older.lookup(found.name, place)
        spoken = (scope_key(there), found.name) in self._votes[scope_key(owner), name]
        return found.name if spoken else None

    def attribute(self, name: str) -> str:
        """The older name of an attribute that both versions set; the same name if the mapping knows no other."""
        votes = self._attributes.get(name)
        if not votes or name in self._older_attributes:
            return name
        best, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        return best if count / votes.total() >= _CLEAR_SHARE else name

    def _vote(self, a: Node, b: Node) -> None:
        left, right = self._newer.owner(a), self._older.owner(b)
        binding = self._newer.binds(a) and self._older.binds(b)
        if left is None and right is None:
            return
        if binding and left is not None and right is not None and left.is_class and right.is_class:
            self._attributes.setdefault(a.label, Counter())[b.label] += 1
        newer, older = (scope_key(left), a.label), (scope_key(right), b.label)
        self._votes.setdefault(newer, Counter())[older] += _BINDING_VOTE if binding else _READING_VOTE
        self._claimed.setdefault(older, set()).add(newer)
        if binding:
            self._bound.add((newer, older))

    def _is_another(self, name: str, there: Scope, variable: _Variable) -> bool:
        """Whether the older variable of this name is the counterpart of another newer one."""
        claims = self._claimed.get((scope_key(there), name), set())
        return bool(claims) and variable not in claims

    def _unvoted(self, name: str, owner: Scope, there: Scope | None) -> Counterpart:
        if there is None:
            return Counterpart(None)
        if (scope_key(owner), name, scope_key(there)) in self._facing:
            return Counterpart(name, PENALTY_FACING_NAME)
        if self._is_another(name, there, (scope_key(owner), name)):
            return Counterpart(None, contradiction=f"`{name}` is another variable in the older version")
        ours, theirs = _how_bound(owner, name), _how_bound(there, name)
        if ours == theirs != "variable":
            return Counterpart(name)
        reason = f"`{name}` is bound elsewhere in the older version, and nothing tells that it is the same variable"
        return Counterpart(None, contradiction=reason)


def scope_key(scope: Scope | None) -> ScopeKey | None:
    """Identity of a scope that holds in both the written tree and the one that is matched."""
    return (scope.node.kind, scope.node.start, scope.node.end) if scope is not None else None


def _how_bound(scope: Scope, name: str) -> str:
    kinds = set()
    for node in scope.bindings.get(name, ()):
        statement = node.statement()
        parent = node.parent
        if parent is not None and parent.kind in ("function_definition", "class_definition"):
            kinds.add("definition")
        elif statement is not None and statement.kind.startswith("import"):
            kinds.add("import")
        else:
            kinds.add("variable")
    return kinds.pop() if len(kinds) == 1 else "variable"


def _is_set(attribute: Node) -> bool:
    """Whether this attribute name is the target of an assignment, or a method's definition."""
    parent = attribute.parent
    if parent is None or parent.parent is None:
        return False
    return parent.role == "left" and parent.parent.kind in ("assignment", "augmented_assignment")

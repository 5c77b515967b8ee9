"""What a variable, function or attribute of the newer source is called in the older one.

Every pair of linked identifiers votes for "this variable is that one"; a variable is a name in a scope. A pair that
*binds* both says more than one that only reads them: `loss.backward()` facing `total.backward()` may mean that the loss
is called `total`, or that something else is differentiated now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass

from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import alike
from flor_ray.propagation.reading.names import BUILTINS, Names, NameScope
from flor_ray.propagation.reading.tree import Node

_BINDING_VOTE = 3
_READING_VOTE = 1
_MIN_READS = 2  # readings that suffice without any binding
_CLEAR_SHARE = 0.8  # of the votes: no doubt
_SAME_VALUE = 0.5  # of the other words of two bindings
_LEAST_SHARE = 0.6  # below: contradictory


_PARAMETERS = frozenset(
    {"parameters", "lambda_parameters", "default_parameter", "typed_parameter", "typed_default_parameter"}
)

ScopeKey = tuple[str, int, int]
_Facing = tuple[ScopeKey | None, str, ScopeKey | None]  # newer scope, name in both, older scope
_Variable = tuple[ScopeKey | None, str]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a newer name is called in the older source. `name` is None if nothing there corresponds to it."""

    name: str | None
    doubt: Doubt | None = None
    contradiction: str = ""  # why it cannot be decided


class Renames:
    """Votes of one mapping for names."""

    def __init__(self, mapping: Mapping, newer: Names, older: Names, facing: Set[_Facing] = frozenset()) -> None:
        self._facing = facing
        self._newer, self._older = newer, older
        self._votes: dict[_Variable, Counter[_Variable]] = {}
        self._replaced: set[tuple[_Variable, _Variable]] = set()  # bound side by side, but to different things
        self._bound: set[tuple[_Variable, _Variable]] = set()
        self._claimed: dict[_Variable, set[_Variable]] = {}
        self._attributes: dict[tuple[str, str], Counter[str]] = {}  # what it is an attribute of ("": anything), name
        self._attribute_names = attribute_names(newer), attribute_names(older)
        for a in newer.tree.of_kind("identifier"):
            b = mapping.older_of(a)
            if b is not None:
                self._vote(a, b)
        for a in newer.tree.of_kind("attribute_name"):
            b = mapping.older_of(a)
            if b is not None:
                self._vote_attribute(a, b, _holder(a))

    def variable(self, name: str, owner: NameScope | None, place: NameScope) -> Counterpart:
        """The counterpart of the variable `name` of the newer scope `owner`, for code in the older scope `place`."""
        if owner is None:
            return Counterpart(name)
        variable = (scope_key(owner), name)
        there = self._older.lookup(name, place)
        votes = self._votes_for(variable, place)
        if not votes:
            return self._unvoted(name, owner, there, place)
        best, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        share = count / votes.total()
        is_kept = there is not None and not self._is_another(name, there, variable)
        if best != name and is_kept and (votes[name] or count < _BINDING_VOTE):
            return Counterpart(name, Doubt.NAME)
        if share < _LEAST_SHARE:
            options = ", ".join(f"`{each}`" for each in sorted(votes))
            return Counterpart(None, contradiction=f"`{name}` may be any of {options} in the older version")
        if best != name and self._is_rather(best, count, owner, place):
            return Counterpart(name, Doubt.NAME) if is_kept else Counterpart(None)
        counterpart = (scope_key(self._older.lookup(best, place)), best)
        is_sure = best == name or self._is_renamed(name, best, count, owner, place)
        if is_sure is None:
            return Counterpart(None)
        is_parameter = any(_is_parameter(node) for node in owner.bindings.get(name, ()))
        is_replaced = (variable, counterpart) in self._replaced and not is_parameter
        return Counterpart(best, None if is_sure and share >= _CLEAR_SHARE and not is_replaced else Doubt.NAME)

    def _is_renamed(self, name: str, other: str, count: int, owner: NameScope, place: NameScope) -> bool | None:
        """Whether so many votes are enough for a variable of another name; None: there is nothing but a few readings.

        A binding is, with one more vote or a name alike. So is it that each version knows only its own of the two
        names; but what is imported or defined needs a name alike then, and no other that might be meant.
        """
        pair = (scope_key(owner), name), (scope_key(self._older.lookup(other, place)), other)
        is_binding, is_exchanged = pair in self._bound, self._is_exchanged(name, other, owner, place)
        if not is_binding and not is_exchanged and count < _MIN_READS:
            return None
        is_alike = alike(name, other)
        if not is_alike and count <= _BINDING_VOTE:
            return False
        if is_binding or not is_exchanged:
            return is_binding
        is_defined = _how_bound(owner, name) != "variable"
        return not is_defined or (is_alike and len(self._left_over(name, owner, place)) <= 1)

    def own(self, name: str, owner: NameScope, place: NameScope) -> Counterpart:
        """The counterpart of a variable that the statement itself binds: code after it may read it under another name.

        Its `name` is None where nothing in the older version stands for this variable.
        """
        if name == "_":
            return Counterpart(name)
        if (scope_key(owner), name) in self._votes:
            found = self.variable(name, owner, place)
            if found.name is not None and (found.name == name or found.name not in BUILTINS):
                there = self._older.lookup(found.name, place)
                if (scope_key(there), found.name) in self._votes[scope_key(owner), name]:
                    return found
            return Counterpart(None)
        if name in self._older.loose or self._older.lookup(name, place) is not None or not owner.reads.get(name):
            return Counterpart(None)
        waiting = self._waiting(place)
        close = [each for each in waiting if alike(each, name)]
        chosen = waiting if len(waiting) == 1 else close
        return Counterpart(chosen[0], Doubt.NAME) if len(chosen) == 1 else Counterpart(None)

    def linked_name(self, name: str, owner: NameScope, place: NameScope) -> str | None:
        """The older name of a variable for which the mapping itself speaks; None if it says nothing clear."""
        if (scope_key(owner), name) not in self._votes:
            return None
        found = self.variable(name, owner, place)
        there = self._older.lookup(found.name, place) if found.name is not None else None
        spoken = there is not None and (scope_key(there), found.name) in self._votes[scope_key(owner), name]
        return found.name if spoken else None

    def attribute(self, node: Node) -> Counterpart:
        """The older name of an attribute of the newer tree; the same name if the mapping knows no other."""
        name, holder = node.label, _holder(node)
        here, there = self._attribute_names
        if name in there:
            return Counterpart(name)
        for votes in (self._attributes.get((holder, name)), self._attributes.get(("", name))):
            if not votes:
                continue
            options = {other: count for other, count in votes.items() if other not in here}
            best = min(options, key=lambda other: (not alike(name, other), -options[other], other), default=name)
            if best == name or votes[best] / votes.total() < _LEAST_SHARE:
                return Counterpart(name)
            sure = alike(name, best) or votes[best] >= _MIN_READS
            return Counterpart(best, None if sure and votes[best] / votes.total() >= _CLEAR_SHARE else Doubt.NAME)
        return Counterpart(name)

    def _votes_for(self, variable: _Variable, place: NameScope) -> Counter[str]:
        """Votes for what code in `place` can see."""
        votes: Counter[str] = Counter()
        for (scope, other), count in self._votes.get(variable, Counter()).items():
            if scope_key(self._older.lookup(other, place)) == scope:
                votes[other] += count
        return votes

    def _is_exchanged(self, name: str, other: str, owner: NameScope, place: NameScope) -> bool:
        """Whether one version knows only the one name, and the other only the other: a renaming, not another use."""
        gone = self._older.lookup(name, place) is None and name not in self._older.loose
        return gone and other not in BUILTINS and self._newer.lookup(other, owner) is None

    def _is_rather(self, other: str, count: int, owner: NameScope, place: NameScope) -> bool:
        """Whether the older variable is, with as many votes, what the newer version calls by the same name."""
        mine = self._newer.lookup(other, owner)
        if mine is None:
            return False
        there = (scope_key(self._older.lookup(other, place)), other)
        return self._votes.get((scope_key(mine), other), Counter())[there] >= count

    def _left_over(self, name: str, owner: NameScope, place: NameScope) -> list[str]:
        """Older variables of a name like this one, bound in a like way, of which the newer version knows nothing."""
        how, known = _how_bound(owner, name), self._newer.known
        found = []
        scope: NameScope | None = place
        while scope is not None:
            if scope.node.kind == owner.node.kind:
                found += [
                    other
                    for other in scope.bindings
                    if other not in known and alike(name, other) and _how_bound(scope, other) == how
                ]
            scope = scope.outer
        return found

    def _waiting(self, place: NameScope) -> list[str]:
        """Names that the older version reads in this scope, and binds nowhere; and of which the newer knows nothing."""
        return sorted(
            name
            for name, nodes in self._older.loose.items()
            if name not in BUILTINS
            and name not in self._newer.known
            and any(place.node.contains(node) for node in nodes)
        )

    def _vote(self, a: Node, b: Node) -> None:
        left, right = self._newer.owner(a), self._older.owner(b)
        binding = self._newer.binds(a) and self._older.binds(b)
        if left is None and right is None:
            return
        if a.label != b.label and not self._may_be_renamed(a, b, left, right, binding):
            return
        if binding and left is not None and right is not None and left.is_class and right.is_class:
            self._vote_attribute(a, b, "self")
        newer, older = (scope_key(left), a.label), (scope_key(right), b.label)
        self._votes.setdefault(newer, Counter())[older] += _BINDING_VOTE if binding else _READING_VOTE
        self._claimed.setdefault(older, set()).add(newer)
        if binding:
            self._bound.add((newer, older))

    def _may_be_renamed(self, a: Node, b: Node, left: NameScope | None, right: NameScope | None, binding: bool) -> bool:
        """Whether two linked identifiers of different names can be one variable.

        If what it is bound to has changed too, it was replaced by another: `use_ema = args.ema` for
        `use_amp = args.amp`; and `np` of `np.zeros` is not the `torch` of `torch.zeros`.
        """
        modules = _module_of(a, left), _module_of(b, right)
        if modules[0] != modules[1]:
            both_known = b.label in self._newer.known or a.label in self._older.known
            return not both_known and alike(a.label, b.label)
        if binding and (_is_given(a, b) or _is_given(b, a)):
            return alike(a.label, b.label)
        if not binding or modules[0] or _same_value(a, b):
            return True
        self._replaced.add(((scope_key(left), a.label), (scope_key(right), b.label)))
        return alike(a.label, b.label)

    def _vote_attribute(self, a: Node, b: Node, holder: str) -> None:
        for key in ((holder, a.label), ("", a.label)):
            self._attributes.setdefault(key, Counter())[b.label] += 1

    def _is_another(self, name: str, there: NameScope, variable: _Variable) -> bool:
        """Whether the older variable of this name is the counterpart of another newer one."""
        claims = self._claimed.get((scope_key(there), name), set())
        return bool(claims) and variable not in claims

    def _unvoted(self, name: str, owner: NameScope, there: NameScope | None, place: NameScope) -> Counterpart:
        if there is None:
            left = self._left_over(name, owner, place)
            return Counterpart(left[0], Doubt.LEFT_OVER) if len(left) == 1 else Counterpart(None)
        if (scope_key(owner), name, scope_key(there)) in self._facing:
            return Counterpart(name, Doubt.FACING_NAME)
        if self._is_another(name, there, (scope_key(owner), name)):
            return Counterpart(None, contradiction=f"`{name}` is another variable in the older version")
        ours, theirs = _how_bound(owner, name), _how_bound(there, name)
        if ours == theirs != "variable":
            return Counterpart(name)
        reason = f"`{name}` is bound elsewhere in the older version, and nothing tells that it is the same variable"
        return Counterpart(None, contradiction=reason)


def _module_of(identifier: Node, owner: NameScope | None) -> str:
    """The module that a variable is, or is from; "" if it was not imported."""
    for bound in owner.bindings.get(identifier.label, ()) if owner is not None else ():
        statement = bound.statement()
        if statement is None or not statement.kind.startswith("import"):
            continue
        module = statement.child("module_name")
        if module is not None:
            return " ".join(each.label for each in (module, *module.children))
        whole = bound.parent if bound.parent is not None and bound.parent.kind == "dotted_name" else bound
        if bound.parent is not None and bound.parent.kind == "aliased_import":
            whole = bound.parent.children[0]
        return " ".join(each.label for each in (whole, *whole.children))
    return ""


def scope_key(scope: NameScope | None) -> ScopeKey | None:
    """Identity of a scope that holds in both the written tree and the one that is matched."""
    return (scope.node.kind, scope.node.start, scope.node.end) if scope is not None else None


def _how_bound(scope: NameScope, name: str) -> str:
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


def _same_value(newer: Node, older: Node) -> bool:
    """Whether two statements that bind a variable bind it to the same: they differ by variables only, or by little."""
    words: list[Counter[str]] = []
    statements = newer.statement(), older.statement()
    if statements[0] is not None and statements[1] is not None and statements[0].shape == statements[1].shape:
        return newer.parent is not None and newer.parent.kind != "parameters"
    for bound in (newer, older):
        statement = bound.statement()
        if statement is None or bound.parent is None or bound.parent.kind == "parameters":
            return False
        end = next((child.start for child in statement.children if child.kind == "block"), statement.end)
        words.append(Counter(_leaves(statement, end, bound.label)))
    common = (words[0] & words[1]).total()
    return 2 * common > (words[0].total() + words[1].total()) * _SAME_VALUE


def _is_given(bound: Node, other: Node) -> bool:
    """Whether what a name is bound to is given to a call that makes the value of another: `f(x)` of `g(f(x), y)`."""
    value, whole = (each.parent.child("right") if each.parent is not None else None for each in (bound, other))
    if value is None or whole is None or value.kind != "call":
        return False
    todo = list(whole.children)
    while todo:
        node = todo.pop()
        todo += node.children
        if node.fingerprint == value.fingerprint and node.parent is not None and node.parent.kind == "argument_list":
            return True
    return False


def _leaves(statement: Node, end: int, without: str) -> Iterator[str]:
    todo = list(statement.children)
    while todo:
        node = todo.pop()
        if node.start < end:
            todo += node.children
            if not node.children and node.label != without:
                yield node.label


def _holder(attribute: Node) -> str:
    """The variable that an attribute is one of: `self` of `self.net.weight`, "" for one of a call's result."""
    node = attribute.parent
    while node is not None and node.kind == "attribute" and node.children:
        node = node.children[0]
    return node.label if node is not None and node.kind == "identifier" else ""


def attribute_names(names: Names) -> frozenset[str]:
    """Attributes that a source mentions, and what its classes define."""
    mentioned = {node.label for node in names.tree.of_kind("attribute_name")}
    return frozenset(mentioned.union(*(scope.bindings for scope in names.scopes.values() if scope.is_class)))


def _is_parameter(node: Node) -> bool:
    return node.parent is not None and node.parent.kind in _PARAMETERS

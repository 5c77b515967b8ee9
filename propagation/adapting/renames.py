"""What a variable, function or attribute of the newer source is called in the older one.

Every pair of linked identifiers votes for "this variable is that one"; a variable is a name in a scope. A pair that
*binds* both says more than one that only reads them: `loss.backward()` facing `total.backward()` may mean that the loss
is called `total`, or that something else is differentiated now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from flor_ray.propagation.adapting.bindings import (
    DISPLAYS,
    PATTERNS,
    are_exchanged_places,
    are_the_only_ones,
    attribute_names,
    have_common_words,
    holder_of,
    how_bound,
    is_computed_otherwise,
    is_given,
    is_parameter,
    is_standard_module,
    module_of_name,
    same_value,
    scope_key,
    set_attributes,
    whole_module,
    writes_log,
)
from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.exchanges import Exchanges
from flor_ray.propagation.adapting.lookalikes import Lookalikes
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import alike, anchor_dice
from flor_ray.propagation.reading.names import BUILTINS, Names, NameScope, ScopeKey
from flor_ray.propagation.reading.tree import IMPORTS, Node

_BINDING_VOTE = 3
_READING_VOTE = 1
_MIN_READS = 2  # readings that suffice without any binding
_CLEAR_SHARE = 0.8  # of the votes: no doubt
_LEAST_SHARE = 0.6  # below: contradictory
_SAME_DEFINITION = 0.5  # of the bodies of two definitions of other names
_START = attrgetter("start")

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
        self._mapping, self._facing = mapping, facing
        self._newer, self._older = newer, older
        self._votes: defaultdict[_Variable, Counter[_Variable]] = defaultdict(Counter)
        self._replaced: set[tuple[_Variable, _Variable]] = set()  # bound side by side, but to different things
        self._bound: set[tuple[_Variable, _Variable]] = set()
        self._otherwise: set[tuple[_Variable, _Variable]] = set()  # of these, what is not computed in one way
        self._only: set[tuple[_Variable, _Variable]] = set()  # the only parameters of one function
        self._claimed: defaultdict[_Variable, set[_Variable]] = defaultdict(set)
        self._alike: dict[tuple[int, int], bool] = {}  # statements that bind variables, by index
        self._loggers: dict[_Variable, str] = {}  # what writes the same lines of a log in the older version
        self._attributes: defaultdict[tuple[str, str], Counter[str]] = defaultdict(
            Counter
        )  # what it is an attribute of ("": anything), name
        self._attribute_names = attribute_names(newer), attribute_names(older)
        self._set_attributes = set_attributes(newer), set_attributes(older)
        self._exchanges = Exchanges(mapping, newer, older)
        self.lookalikes = Lookalikes(mapping, newer, older)
        for a in newer.tree.of_kind("identifier"):
            b = mapping.older_of(a)
            if b is not None:
                self._vote(a, b)
        for a in newer.tree.of_kind("attribute_name"):
            b = mapping.older_of(a)
            if b is not None:
                self._vote_attribute(a, b, holder_of(a))

    def variable(self, name: str, owner: NameScope | None, place: NameScope, unit: Node | None = None) -> Counterpart:
        """The counterpart of the variable `name` of the newer scope `owner`, for code in the older scope `place`.

        `unit` is what reads it: if the older version has several variables for what the newer one binds again and
        again, the binding that is in force there tells which of them is meant.
        """
        if owner is None:
            other = None if name in BUILTINS else self._exchanged_for(name, place)
            return Counterpart(name) if other is None else Counterpart(other, Doubt.SAME_USE)
        variable = (scope_key(owner), name)
        owner = self._matched(owner)
        there = self._older.lookup(name, place)
        votes = self._votes_for(variable, place)
        if len(votes) > 1 and unit is not None:
            votes = self._votes_in_force(name, owner, place, unit) or votes
        spelled = self.lookalikes.spelled(name, owner, place) if there is None else None
        if spelled is not None:
            return Counterpart(spelled, None if votes[spelled] else Doubt.LEFT_OVER)
        logger = self._loggers.get(variable) if unit is not None and self._only_logs(name, owner, unit) else None
        if logger is not None and there is None and self._older.lookup(logger, place) is not None:
            return Counterpart(logger, Doubt.NAME)
        if not votes:
            return self._unvoted(name, owner, there, place)
        best, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
        share = count / votes.total()
        is_kept = there is not None and not self._is_another(name, there, variable)
        if (
            best != name
            and is_kept
            and (votes[name] or count < _BINDING_VOTE or not self.lookalikes.is_made_as(name, best, owner))
        ):
            return Counterpart(name, Doubt.NAME)
        if share < _LEAST_SHARE:
            options = ", ".join(f"`{each}`" for each in sorted(votes))
            return Counterpart(None, contradiction=f"`{name}` may be any of {options} in the older version")
        if best != name and self._is_rather(best, count, owner, place):
            return Counterpart(name, Doubt.NAME) if is_kept else Counterpart(None)
        older = self._older.lookup(best, place)
        counterpart = (scope_key(older), best)
        is_sure = best == name or self._is_renamed(name, best, count, owner, place)
        if is_sure is None:
            return Counterpart(None)
        is_given_to = any(is_parameter(node) for node in owner.bindings.get(name, ()))
        is_replaced = (variable, counterpart) in self._replaced and not is_given_to
        if is_replaced and not is_sure and (variable, counterpart) not in self._bound:
            return Counterpart(None)
        if best != name:
            whole = whole_module(owner, name)
            is_one = whole != "" and whole == whole_module(older, best)
            is_sure = is_one or (is_sure and module_of_name(owner, name) == module_of_name(older, best))
            is_sure &= (variable, counterpart) not in self._otherwise
        return Counterpart(best, None if is_sure and share >= _CLEAR_SHARE and not is_replaced else Doubt.NAME)

    def _only_logs(self, name: str, owner: NameScope, unit: Node) -> bool:
        """Whether all that a unit does with a variable is to write lines of a log."""
        return all(writes_log(node) for node in owner.reads.get(name, ()) if _is_in(unit, node))

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
        if is_binding and count < _BINDING_VOTE + _MIN_READS and self._may_be_another(name, owner, other, place):
            return None
        if not (is_alike and how_bound(owner, name) == "variable") and count <= _BINDING_VOTE:
            # What merely stands where another parameter or definition stood may have been put in its place.
            is_put = is_binding and any(self._was_put(node) for node in owner.bindings.get(name, ()))
            has_rivals = is_binding and len(self.lookalikes.candidates(name, owner, place)) > 1
            if is_binding and is_exchanged and self.lookalikes.is_made_alike(name, owner, other, place):
                return True
            is_only = pair in self._only or (
                is_exchanged and self.lookalikes.is_the_only_change(name, owner, other, place)
            )
            if has_rivals or (is_put and not is_alike and not is_only):
                return None
            if not is_alike:
                return False
        if is_alike and how_bound(owner, name) != "variable" and len(self.lookalikes.functions_alike(name, place)) > 1:
            return None  # one function became several, and which of them is called here nobody says
        if is_binding or not is_exchanged:
            return is_binding
        is_defined = how_bound(owner, name) != "variable"
        return not is_defined or (is_alike and len(self.lookalikes.left_over(name, owner, place)) <= 1)

    def _may_be_another(self, name: str, owner: NameScope, other: str, place: NameScope) -> bool:
        """Whether nothing but one binding speaks for an older variable, and as much for another of which the newer
        version knows nothing: it is made alike, or called alike where neither is made as the newer one is."""
        if self.lookalikes.has_twin(name, owner, other, place):
            return True
        is_called = alike(name, other) and not self.lookalikes.is_made_as(name, other, owner)
        return is_called and sum(alike(name, each) for each in self.lookalikes.candidates(name, owner, place)) > 1

    def _was_put(self, bound: Node) -> bool:
        """Whether an identifier is a parameter, an import, a definition that has little of what faces it, or one of
        several results of a call of which another has kept its name."""
        statement, holder = bound.statement(), bound.parent
        if is_parameter(bound) or (statement is not None and statement.kind in IMPORTS):
            return True
        if holder is not None and holder.kind in PATTERNS:
            value = holder.parent.child("right") if holder.parent is not None else None
            if value is not None and value.kind in DISPLAYS:
                return False  # `a, b = x, y`: each is given something of its own
            partners = [(each, self._mapping.older_of(each)) for each in holder.children if each.kind == "identifier"]
            return any(other is not None and other.label == each.label != "_" for each, other in partners)
        if holder is None or not holder.kind.endswith("_definition"):
            return False
        partner = self._mapping.older_of(holder)
        return partner is None or anchor_dice(self._mapping, holder, partner) < _SAME_DEFINITION

    def own(self, name: str, owner: NameScope, place: NameScope) -> Counterpart:
        """The counterpart of a variable that the statement itself binds: code after it may read it under another name.

        Its `name` is None where nothing in the older version stands for this variable.
        """
        if name == "_" or self.lookalikes.waits_for(name, place):
            return Counterpart(name)
        if (scope_key(owner), name) in self._votes:
            voted = {other for _, other in self._votes[scope_key(owner), name]}
            missing = [each for each in self.lookalikes.waiting(place, owner.reads.get(name, ())) if each in voted]
            if len(missing) == 1:
                return Counterpart(missing[0], None if voted == {missing[0]} else Doubt.NAME)
            found = self.variable(name, owner, place)
            if found.name is not None and (found.name == name or found.name not in BUILTINS):
                there = self._older.lookup(found.name, place)
                pair = (scope_key(owner), name), (scope_key(there), found.name)
                if pair[1] in self._votes[pair[0]] and not self._is_set_by_another(*pair):
                    return found
            return Counterpart(None)
        if name in self._older.loose or self._older.lookup(name, place) is not None:
            return Counterpart(None)
        reads = owner.reads.get(name, ())
        waiting = self.lookalikes.waiting(place, reads)
        close = [each for each in waiting if alike(each, name)]
        has_star = bool(self._older.tree.of_kind("wildcard_import"))  # whose names nobody sees
        chosen = waiting if len(waiting) == 1 and reads and not has_star else close
        return Counterpart(chosen[0], Doubt.NAME) if len(chosen) == 1 else Counterpart(None)

    def _is_set_by_another(self, mine: _Variable, there: _Variable) -> bool:
        """Whether what binds an older variable is what binds another newer one, and never this one."""
        others = self._claimed.get(there, set()) - {mine}
        return (mine, there) not in self._bound and any((other, there) in self._bound for other in others)

    def linked_name(self, name: str, owner: NameScope, place: NameScope, surely: bool = False) -> str | None:
        """The older name of a variable for which the mapping itself speaks; None if it says nothing clear, or, if that
        is asked for, leaves a doubt."""
        if (scope_key(owner), name) not in self._votes:
            return None
        found = self.variable(name, owner, place)
        if surely and found.doubt is not None:
            return None
        there = self._older.lookup(found.name, place) if found.name is not None else None
        spoken = there is not None and (scope_key(there), found.name) in self._votes[scope_key(owner), name]
        return found.name if spoken else None

    def was_replaced(self, name: str, start: NameScope, other: str, place: NameScope) -> bool:
        """Whether two variables are bound side by side, but to different things: one was replaced by the other."""
        mine, there = self._newer.lookup(name, start), self._older.lookup(other, place)
        pair = (scope_key(mine), name), (scope_key(there), other)
        return pair in self._replaced and not any(map(is_parameter, mine.bindings[name] if mine is not None else ()))

    def is_read_as(self, name: str, owner: NameScope, other: str, there: NameScope) -> bool:
        """Whether statements that both versions have read a newer variable where they read an older one, and nothing
        else: it is the same, however it is made."""
        votes = self._votes.get((scope_key(owner), name), Counter())
        return votes.total() >= _MIN_READS and votes[scope_key(there), other] >= _CLEAR_SHARE * votes.total()

    def attribute(self, node: Node) -> Counterpart:
        """The older name of an attribute of the newer tree; the same name if the mapping knows no other."""
        name, holder = node.label, holder_of(node)
        here, there = self._attribute_names
        if name in there:
            voted = self._attributes.get((holder, name))
            return Counterpart(name, Doubt.NAME if voted and not voted[name] else None)
        kept = [other for other in self._own_attributes(node) if alike(name, other)]
        for votes in (self._attributes.get((holder, name)), self._attributes.get(("", name))):
            if not votes:
                continue
            options = {other: count for other, count in votes.items() if other not in here}
            best = min(options, key=lambda other: (not alike(name, other), -options[other], other), default=name)
            if best == name or votes[best] / votes.total() < _LEAST_SHARE:
                break
            if len(kept) == 1 and not alike(name, best):
                break  # what merely stands where it stood is another one: `self.query` beside `self.proj` for `c_proj`
            sure = alike(name, best) or votes[best] >= _MIN_READS
            return Counterpart(best, None if sure and votes[best] / votes.total() >= _CLEAR_SHARE else Doubt.NAME)
        return Counterpart(kept[0], Doubt.LEFT_OVER) if len(kept) == 1 else Counterpart(name)

    def _own_attributes(self, node: Node) -> Set[str]:
        """Attributes that the older file sets and the newer does not know, if the newer one sets this one."""
        if node.label not in self._set_attributes[0]:
            return frozenset()
        return self._set_attributes[1] - self._attribute_names[0]

    def _exchanged_for(self, name: str, place: NameScope) -> str | None:
        """What stands in the older version wherever a newer name stands, if code of an older scope sees it."""
        other = self._exchanges.older_of(name)
        seen = other is not None and (other in self._older.loose or self._older.lookup(other, place) is not None)
        return other if seen else None

    def _votes_for(self, variable: _Variable, place: NameScope) -> Counter[str]:
        """Votes for what code in `place` can see."""
        votes: Counter[str] = Counter()
        for (scope, other), count in self._votes.get(variable, Counter()).items():
            if scope_key(self._older.lookup(other, place)) == scope:
                votes[other] += count
        return votes

    def _votes_in_force(self, name: str, owner: NameScope, place: NameScope, unit: Node) -> Counter[str]:
        """Votes of the last binding before a unit, and of what reads the variable until it is bound anew."""
        votes: Counter[str] = Counter()
        outside = [node for node in owner.bindings.get(name, ()) if not _is_in(unit, node)]
        last = max((node for node in outside if node.start < unit.start), key=_START, default=None)
        if last is None or len(outside) < 2:
            return votes
        end = min((node.start for node in outside if node.start > unit.start), default=owner.node.end)
        for node in (last, *owner.reads.get(name, ())):
            partner = self._mapping.older_of(node) if last.start <= node.start < end else None
            if partner is None or _is_in(unit, node):
                continue
            there = self._older.owner(partner)
            if there is not None and self._older.lookup(partner.label, place) is there:
                votes[partner.label] += _BINDING_VOTE if node is last else _READING_VOTE
        return votes

    def _matched(self, owner: NameScope) -> NameScope:
        """A scope of the written tree, as it is in the one that is matched."""
        return self._scopes.get(scope_key(owner), owner)

    @cached_property
    def _scopes(self) -> dict[ScopeKey | None, NameScope]:
        return {scope_key(scope): scope for scope in self._newer.scopes.values()}

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

    def _vote(self, a: Node, b: Node) -> None:
        left, right = self._newer.owner(a), self._older.owner(b)
        if left is None and right is None:
            return
        binding = self._newer.binds(a) and self._older.binds(b)
        is_kept = a.label == b.label
        if not is_kept:
            if writes_log(a) and writes_log(b):
                self._loggers[scope_key(left), a.label] = b.label
                return
            if not self._may_be_renamed(a, b, left, right, binding):
                return
        newer, older = (scope_key(left), a.label), (scope_key(right), b.label)
        self._claimed[older].add(newer)
        if not binding:
            self._votes[newer][older] += _READING_VOTE
            return
        if left is not None and right is not None and left.is_class and right.is_class:
            self._vote_attribute(a, b, "self")
        telling = is_kept or is_parameter(a) or self._are_bound_alike(a, b)
        self._votes[newer][older] += _BINDING_VOTE if telling else _READING_VOTE
        if telling:
            self._bound.add((newer, older))
            if not is_kept and is_computed_otherwise(a, b):
                self._otherwise.add((newer, older))
            if not is_kept and are_the_only_ones(a, b, left, right):
                self._only.add((newer, older))

    def _are_bound_alike(self, newer: Node, older: Node) -> bool:
        """Whether two statements that bind a variable have a word in common, beyond their form. Asked once of two."""
        statements = newer.statement(), older.statement()
        if statements[0] is None or statements[1] is None:
            return False
        key = statements[0].index, statements[1].index
        if key not in self._alike:
            is_import = statements[0].kind in IMPORTS  # of one module, or there would be no vote
            self._alike[key] = is_import or have_common_words(newer, older)
        return self._alike[key]

    def _may_be_renamed(self, a: Node, b: Node, left: NameScope | None, right: NameScope | None, binding: bool) -> bool:
        """Whether two linked identifiers of different names can be one variable.

        If what it is bound to has changed too, it was replaced by another: `use_ema = args.ema` for
        `use_amp = args.amp`; and `np` of `np.zeros` is not the `torch` of `torch.zeros`.
        """
        modules = module_of_name(left, a.label), module_of_name(right, b.label)
        if modules[0] != modules[1]:
            both_known = b.label in self._newer.known or a.label in self._older.known
            is_standard = is_standard_module(left, a.label) or is_standard_module(right, b.label)
            return not both_known and not is_standard and alike(a.label, b.label)
        if binding and (are_exchanged_places(a, b) or are_exchanged_places(b, a)):
            return False
        if binding and (is_given(a, b) or is_given(b, a)):
            return alike(a.label, b.label)
        if not binding or modules[0] or same_value(a, b) or are_the_only_ones(a, b, left, right):
            return True
        self._replaced.add(((scope_key(left), a.label), (scope_key(right), b.label)))
        return alike(a.label, b.label)

    def _vote_attribute(self, a: Node, b: Node, holder: str) -> None:
        for key in ((holder, a.label), ("", a.label)):
            self._attributes[key][b.label] += 1

    def _is_another(self, name: str, there: NameScope, variable: _Variable) -> bool:
        """Whether the older variable of this name is the counterpart of another newer one, of the same function: code
        that has gone into a function of its own says nothing of what stayed."""
        claims = self._claimed.get((scope_key(there), name), set())
        return variable not in claims and any(scope == variable[0] for scope, _ in claims)

    def _unvoted(self, name: str, owner: NameScope, there: NameScope | None, place: NameScope) -> Counterpart:
        if there is None:
            other = self._exchanged_for(name, place)
            if other is not None:
                return Counterpart(other, Doubt.SAME_USE)
            left = self.lookalikes.left_over(name, owner, place)
            return Counterpart(left[0], Doubt.LEFT_OVER) if len(left) == 1 else Counterpart(None)
        if (scope_key(owner), name, scope_key(there)) in self._facing:
            return Counterpart(name, Doubt.FACING_NAME)
        if self._is_another(name, there, (scope_key(owner), name)):
            return Counterpart(None, contradiction=f"`{name}` is another variable in the older version")
        ours, theirs = how_bound(owner, name), how_bound(there, name)
        if ours == theirs != "variable":
            return Counterpart(name)
        reason = f"`{name}` is bound elsewhere in the older version, and nothing tells that it is the same variable"
        return Counterpart(None, contradiction=reason)


def _is_in(unit: Node, node: Node) -> bool:
    """Whether a node stands in a unit of another tree of the same source."""
    return unit.start <= node.start and node.end <= unit.end

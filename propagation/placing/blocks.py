"""Which older block a newer statement belongs into.

newer                         older
for batch in loader:          for batch in loader:
    d = decay(k)                  with torch.no_grad():     the loops are matched; but what stands directly
>   step += 1                         d = decay(k)          beside the statement has gone into a `with`, and
    update(net, d)                    update(net, d)        so it goes there, too
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.matching.bottomup import body
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import alike, anchor_dice, header_likeness, header_nodes, word_dice
from flor_ray.propagation.placing.order import Order
from flor_ray.propagation.reading.conditions import contradict
from flor_ray.propagation.reading.effects import in_parameters
from flor_ray.propagation.reading.names import NameScope
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import BLOCKS, LOOPS, SCOPES, Node

_CONDITIONAL = frozenset({"if_statement", "elif_clause", "while_statement", "for_statement"})
_BRANCHES = _CONDITIONAL | {"else_clause", "except_clause", "case_clause"}
_HANDLERS = frozenset({"except_clause", "except_group_clause", "finally_clause"})
_OTHER_HEADER = 0.2  # likeness of two conditions below which they are not the same one
_CHANGED_HEADER = 0.35  # and below which they are hardly the same one
_RIVAL_HEADER = 0.15  # so much more alike is another one rather it

_SAME_FUNCTION = 0.5  # of the bodies of two functions of different names
_SAME_WORDS = 0.5  # of two statements in bodies whose headers differ
_SIBLINGS = 5  # on each side, whose blocks tell where a statement's block has gone
_MAJORITY = 0.8  # of their weight
_ROW = 2  # calls of one function that are a row, and no accident
_MOST = 3  # statements of a block without a counterpart, if the older version has them in one block


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The nearest sibling of a statement, on one side, that the older version has."""

    newer: Node
    older: Node
    distance: int  # statements from the one to be placed, 1 if nothing but log statements is between

    def beside(self) -> bool:
        """Whether it is the very next statement and unchanged: enough to vouch alone for a block that is not mapped."""
        return self.distance == 1 and self.newer.fingerprint == self.older.fingerprint


_Pair = tuple[Neighbour | None, Neighbour | None]


class Blocks:
    """Chooses blocks of one older program."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping, renames: Renames, order: Order) -> None:
        self._newer, self._older, self._mapping, self._renames, self._order = newer, older, mapping, renames, order
        self._observers = {start for start, _ in newer.features()}

    def target(self, unit: Node, before: list[Node], after: list[Node]) -> tuple[Node | None, tuple[Doubt, ...]]:
        """The older block to place into, and the doubts of choosing it. `before` and `after`: siblings, nearest first.

        It is the counterpart of the newer block, unless what stands directly beside the statement has moved elsewhere.
        """
        left, right = self.neighbour(before, None), self.neighbour(after, None)
        holder = _common_block([each for each in (left, right) if each is not None])
        counterpart = self._mapping.older_of(unit.parent) if unit.parent is not None else None
        if counterpart is None or counterpart.kind not in BLOCKS:
            dissolved = self._dissolved(before, after)
            if dissolved is not None and holder in (None, dissolved):
                holder, is_held = dissolved, True
            else:
                is_held = self._is_tight(unit, (left, right), (before, after))
            often = [Doubt.MORE_OFTEN] * (holder is not None and self._runs_more_often(unit, holder))
            return holder, (Doubt.RESIDUE, *often, Doubt.UNMAPPED_BLOCK if is_held else Doubt.LOST_BLOCK)
        if holder is counterpart:
            return counterpart, (Doubt.RESIDUE,)
        moved_to = self._majority(before, after)
        if moved_to is None or moved_to is counterpart or not self._is_near(moved_to, counterpart):
            moved_to = self._followed((left, right), (before, after), counterpart)
        if moved_to is not None:
            return moved_to, (Doubt.RESIDUE, Doubt.FOLLOWED)
        is_torn = any(each.older.parent is not counterpart for each in _directly_beside(left, right))
        return counterpart, (Doubt.RESIDUE, Doubt.TORN) if is_torn else (Doubt.RESIDUE,)

    def _dissolved(self, before: list[Node], after: list[Node]) -> Node | None:
        """The older block in which most of a newer one stands that has no counterpart itself: `if __name__ == ..` and
        its like, that only the newer version has."""
        partners = [self._mapping.older_of(each) for each in (*before, *after)]
        blocks = Counter(p.parent for p in partners if p is not None and p.is_statement and p.parent is not None)
        block, most = max(blocks.items(), key=lambda each: each[1], default=(None, 0))
        return block if most >= _MOST and most >= _MAJORITY * blocks.total() else None

    def _runs_more_often(self, unit: Node, holder: Node) -> bool:
        """Whether a statement stands in more branches that have no counterpart than the older block that it goes to."""
        alone = [
            sum(node.kind in _BRANCHES and other_of(node) is None for node in _up_to_function(each))
            for each, other_of in ((unit, self._mapping.older_of), (holder, self._mapping.newer_of))
        ]
        return alone[0] > alone[1]

    def _is_tight(self, unit: Node, neighbours: _Pair, siblings: tuple[list[Node], list[Node]]) -> bool:
        """Whether neighbours hold a statement so tightly that they vouch for a block that is not mapped."""
        held = [
            each.distance == 1 if each is not None else not rest
            for each, rest in zip(neighbours, siblings, strict=True)
        ]
        vouching = [each for each in neighbours if each is not None and self.vouches(unit, each)]
        return any(all(held) or self._order.matters(unit, each.newer) for each in vouching)

    def vouches(self, unit: Node, neighbour: Neighbour) -> bool:
        """Whether a neighbour tells alone where a statement stands: it is directly beside it, or sets what it reads."""
        is_equal = neighbour.newer.fingerprint == neighbour.older.fingerprint
        return neighbour.beside() or (is_equal and self._sets_for(neighbour.newer, unit))

    def _sets_for(self, statement: Node, unit: Node) -> bool:
        names = self._newer.names
        bound = {node.label for node in names.bound(statement)}
        return statement.start < unit.start and any(node.label in bound for node in names.free(unit))

    def _followed(self, neighbours: _Pair, siblings: tuple[list[Node], list[Node]], counterpart: Node) -> Node | None:
        """The block that all that stands directly beside a statement has moved to, if it takes the statement along."""
        (left, right), (before, after) = neighbours, siblings
        beside = _directly_beside(left, right)
        if any(each.older.parent is counterpart for each in beside):
            return None
        unchanged = [each for each in beside if each.newer.shape == each.older.shape]
        if left is not None and right is not None and beside and (len(beside) == 2 or unchanged == beside):
            holder = _common_block([left, right])
            if holder is not None:
                return holder
        near = [
            each
            for each in unchanged
            if self._is_near(each.older.parent, counterpart) and not _is_in_a_branch(each.older, counterpart)
        ]
        rest = before if right in beside else after
        stays = bool(rest) and self.neighbour(rest, counterpart) is not None
        return near[0].older.parent if len(near) == 1 and not stays else None

    def _majority(self, before: list[Node], after: list[Node]) -> Node | None:
        """The older block that holds most of what stands around a statement, the nearer the more it counts."""
        weights: dict[int, float] = {}
        blocks: dict[int, Node] = {}
        for siblings in (before, after):
            for distance, sibling in enumerate(siblings[:_SIBLINGS], 1):
                partner = self._mapping.older_of(sibling)
                if partner is not None and partner.parent is not None and partner.is_statement:
                    blocks[partner.parent.index] = partner.parent
                    weights[partner.parent.index] = weights.get(partner.parent.index, 0.0) + 1.0 / distance
        best = max(weights, key=lambda index: (weights[index], -index), default=None)
        return blocks[best] if best is not None and weights[best] >= _MAJORITY * sum(weights.values()) else None

    def _is_near(self, other: Node | None, block: Node) -> bool:
        """Whether another older block is in the same function."""
        return other is not None and _scope(other) is _scope(block)

    def neighbour(self, siblings: list[Node], block: Node | None) -> Neighbour | None:
        """The nearest sibling with a counterpart, in `block` if that is given."""
        distance = 0
        for sibling in siblings:
            distance += sibling.start not in self._observers
            partner = self._mapping.older_of(sibling)
            if partner is not None and partner.is_statement and (block is None or partner.parent is block):
                return Neighbour(sibling, partner, max(distance, 1))
        return None

    def headers(self, unit: Node, target: Node) -> list[Doubt]:
        """Doubts about the blocks around a place: whether their conditions and loops are the same ones."""
        block: Node | None = self._facing_block(unit.parent, target)
        while block is not None and block.parent is not None and target.parent is not None:
            left, right = block.parent, target.parent
            if left.kind != right.kind and not _HANDLERS.isdisjoint((left.kind, right.kind)):
                return [Doubt.OTHER_HEADER]
            if contradict(left, right, self._called_there(_asking(left), right)):
                return [Doubt.OPPOSITE_HEADER]
            if left.kind == right.kind == "else_clause":
                left, right = _asking(left), _asking(right)
            if left.kind in SCOPES or right.kind in SCOPES:
                return [Doubt.OTHER_FUNCTION] if self._is_other_function(left, right) else []
            if left.kind in _CONDITIONAL and right.kind in _CONDITIONAL:
                like = header_likeness(left, right, self._called_there(left, right))
                if like < _CHANGED_HEADER and self._face_each_other(left, right, unit):
                    return [Doubt.FACING_HEADER]
                if like < _OTHER_HEADER or (like < _CHANGED_HEADER and self._are_two_things(left, right)):
                    return [Doubt.OTHER_HEADER]
                if like < _CHANGED_HEADER or self._has_closer_header(left, right, like):
                    return [Doubt.CHANGED_HEADER]
            target = next((node for node in right.ancestors() if node.kind in BLOCKS), target)
            outer = next((node for node in left.ancestors() if node.kind in BLOCKS), None)
            block = self._facing_block(outer, target)
        return []

    def _facing_block(self, block: Node | None, target: Node) -> Node | None:
        """What faces an older block: where a newer one has no counterpart, one around it may be the older block's."""
        around = [block, *(node for node in block.ancestors() if node.kind in BLOCKS)] if block is not None else []
        return next((each for each in around if self._mapping.linked(each, target)), block)

    def _called_there(self, left: Node, right: Node) -> dict[str, str]:
        """What the variables in a newer header are called where an older one stands."""
        names, scope = self._newer.names, self._older.names.scope_of(right)
        found: dict[str, str] = {}
        for node in self._newer.tree.subtree(left):
            if node.kind == "block":
                break
            owner = names.owner(node) if node.kind == "identifier" else None
            there = self._renames.linked_name(node.label, owner, scope, True) if owner is not None else None
            if (
                there is not None
                and owner is not None
                and (alike(node.label, there) or not _is_given(owner, node.label))
            ):
                found[node.label] = there
        return found

    def _hold_the_same(self, left: Node, right: Node, unit: Node) -> bool:
        """Whether two compound statements, of which nothing tells that they mean something else, stand between the
        same neighbours and hold the same statements, but for what is placed."""
        bodies = body(left), body(right)
        if bodies[0] is None or bodies[1] is None or left.kind != right.kind or self._are_two_things(left, right):
            return False
        mine = [each for each in statements_of(bodies[0]) if each is not unit and each.start not in self._observers]
        theirs = statements_of(bodies[1])
        pairs = [(each, self._mapping.older_of(each)) for each in mine]
        faced = [b for a, b in pairs if b is not None and b.parent is bodies[1] and self._is_same(a, b)]
        if not theirs or len(faced) < len(theirs) or len(faced) * 2 < len(mine):
            return False
        for step in (-1, 1):
            beside = left.sibling(step), right.sibling(step)
            if (beside[0] is None) != (beside[1] is None):
                return False
            if beside[0] is not None and beside[1] is not None and not self._mapping.linked(beside[0], beside[1]):
                return False
        return True

    def _face_each_other(self, left: Node, right: Node, unit: Node) -> bool:
        """Whether two compound statements with other headers are one: loops that are linked for what they hold, as it
        tells little how one counts on; and what holds the same in the same place."""
        is_linked = self._mapping.linked(left, right) and left.index not in self._mapping.by_header
        are_loops = left.kind in LOOPS and right.kind in LOOPS
        return (is_linked and are_loops) or self._hold_the_same(left, right, unit) or self._joins(left, right, unit)

    def _joins(self, left: Node, right: Node, unit: Node) -> bool:
        """Whether all that an older compound statement holds are calls of what a unit calls, too, and the newer one has
        them beside it: `table.add(a)` is one of a row, whatever is asked before."""
        bodies, called = (body(left), body(right)), _called(unit)
        if bodies[0] is None or bodies[1] is None or called is None or self._are_two_things(left, right):
            return False
        theirs = statements_of(bodies[1])
        for each in theirs:
            partner, other = self._mapping.newer_of(each), _called(each)
            if partner is None or partner.parent is not bodies[0] or not self._is_same(partner, each):
                return False
            if other is None or other.shape != called.shape:
                return False
        return len(theirs) >= _ROW

    def _is_same(self, newer: Node, older: Node) -> bool:
        """Whether most words of two statements are the same, and not their form only."""
        return newer.fingerprint == older.fingerprint or word_dice(newer, older) >= _SAME_WORDS

    def _are_two_things(self, left: Node, right: Node) -> bool:
        """Whether each version knows what only the other's header asks for: `if use_ema` is not `if use_amp`."""
        ours, theirs = (
            {n.label for n in header_nodes(each) if n.kind in ("identifier", "attribute_name")}
            for each in (left, right)
        )
        known = (
            {n.label for n in program.tree.of_kind("identifier", "attribute_name")}
            for program in (self._older, self._newer)
        )
        there, here = known
        scopes = self._newer.names.scope_of(left), self._older.names.scope_of(right)
        if any(self._renames.was_replaced(a, scopes[0], b, scopes[1]) for a in ours - theirs for b in theirs - ours):
            return True
        return bool((ours - theirs) & there and (theirs - ours) & here)

    def _is_other_function(self, left: Node, right: Node) -> bool:
        """Whether two functions have neither their names nor most of their bodies in common."""
        names = left.child("name"), right.child("name")
        if left.kind != right.kind or names[0] is None or names[1] is None or names[0].label == names[1].label:
            return False
        return anchor_dice(self._mapping, left, right) < _SAME_FUNCTION

    def _has_closer_header(self, left: Node, right: Node, like: float) -> bool:
        """Whether another condition of the older function, matched with nothing, is more like the newer one."""
        scope = _scope(right)
        if like == 1.0 or scope is None:
            return False
        return any(
            header_likeness(left, node) > like + _RIVAL_HEADER
            for node in self._older.tree.of_kind(*_CONDITIONAL)
            if scope.contains(node) and node is not right and self._mapping.newer_of(node) is None
        )


def _up_to_function(node: Node) -> Iterator[Node]:
    """What is around a node in its function, but for the guard of what runs as a script."""
    return (each for each in takewhile(lambda each: each.kind not in SCOPES, node.ancestors()) if not _is_main(each))


def _is_main(node: Node) -> bool:
    condition = node.child("condition") if node.kind == "if_statement" else None
    return condition is not None and any(child.label == "__name__" for child in condition.children)


def _is_in_a_branch(statement: Node, block: Node) -> bool:
    """Whether a statement of a block runs in some cases only, and what stands in the block itself in all."""
    if not block.contains(statement):
        return False
    return any(node.kind in _BRANCHES for node in takewhile(lambda node: node is not block, statement.ancestors()))


def _is_given(owner: NameScope, name: str) -> bool:
    """Whether a variable is a parameter: its place among others tells little of what it means."""
    return any(in_parameters(node) for node in owner.bindings.get(name, ()))


def _called(statement: Node) -> Node | None:
    """What a statement calls, if that is all it does."""
    call = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    return call.children[0] if call is not None and call.kind == "call" and call.children else None


def _asking(clause: Node) -> Node:
    """What asks for the condition under which an `else` runs: its `if`, or its loop."""
    return clause.parent if clause.parent is not None and clause.parent.kind in _CONDITIONAL else clause


def _common_block(neighbours: Sequence[Neighbour]) -> Node | None:
    """The older block that all of them stand in."""
    blocks = {id(each.older.parent): each.older.parent for each in neighbours}
    return next(iter(blocks.values())) if len(blocks) == 1 else None


def _directly_beside(left: Neighbour | None, right: Neighbour | None) -> list[Neighbour]:
    return [each for each in (left, right) if each is not None and each.distance == 1]


def _scope(node: Node) -> Node | None:
    """The function, class or module around a node; a module's own is itself."""
    return next((each for each in node.ancestors() if each.kind in SCOPES), node if node.kind == "module" else None)

"""Where in the older source a newer statement belongs: between the counterparts of both its neighbours, after the
definitions of what it reads, and before the next ones.

        newer block                 older block
          loss = f(x)   <------->     loss = f(x)
        > log(loss)                 >
          log(norm)                   clip(net)          older-only: the statement may go before or after it
          loss.backward() <----->     loss.backward()

The places between the two counterparts are numbered by the statement they stand before, and narrowed by data flow. If
several remain and it matters which, the neighbour decides that the statement has names in common with. If that says
nothing either, the place right behind the statement that it follows in the newer version is taken, with little
confidence; and if it does not directly follow one, there are two equally good places, and none is taken.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from flor_ray.propagation.bottomup import CONTAINERS
from flor_ray.propagation.calls import calls
from flor_ray.propagation.edits import statements_of
from flor_ray.propagation.mapping import Mapping
from flor_ray.propagation.names import Names
from flor_ray.propagation.program import Program
from flor_ray.propagation.similarity import Likeness
from flor_ray.propagation.thresholds import (
    BOTH_NEIGHBOURS,
    NO_NEIGHBOUR,
    ONE_NEIGHBOUR,
    PENALTY_BETWEEN,
    PENALTY_CROSSED,
    PENALTY_UNDECIDED,
    PENALTY_UNMAPPED_BLOCK,
    PENALTY_WEAK_NEIGHBOUR,
)
from flor_ray.propagation.tree import Node

_RIVAL_MARGIN = 0.02  # two blocks this close in likeness are equally good
HARMLESS = frozenset({"print", "log", "info", "debug", "warning", "write", "set_description", "set_postfix"})


@dataclass(frozen=True, slots=True)
class Place:
    """A gap between two statements of an older block."""

    block: Node
    gap: int  # statements of the block that stand before it
    after: bool  # it belongs to the statement before the gap, rather than to the one behind it
    confidence: float
    why: str


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why there is none; `guess` is the statement after which it might be."""

    reason: str
    guess: Node | None = None
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What a statement reads, in the older version's names, and what that asks of its place."""

    reads: Set[str] = frozenset()
    after: Set[int] = frozenset()  # older nodes, by index, that must run before it
    before: Set[int] = frozenset()  # older nodes that must not
    carried: tuple[tuple[Node, int], ...] = ()  # blocks and gaps of statements carried along, which it must follow


@dataclass(frozen=True, slots=True)
class _Neighbour:
    newer: Node
    older: Node
    distance: int  # statements from the one to be placed, 1 if nothing but log statements is between

    def beside(self) -> bool:
        """Whether it is the very next statement and unchanged: enough to vouch alone for a block that is not mapped."""
        return self.distance == 1 and self.newer.fingerprint == self.older.fingerprint


class Placer:
    """Finds places for statements of one newer program in one older program."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping) -> None:
        self._newer, self._older, self._mapping = newer, older, mapping
        self._likeness = Likeness(newer.tree, older.tree, (newer.features(), older.features()))
        self._observers = {start for start, _ in newer.features()}
        self._quiet = {call.node.index for call in calls(older.names) if call.function == "log"}

    def place(self, unit: Node, flow: Flow) -> Place | NoPlace:
        """Place a newer statement."""
        block = unit.parent
        if block is None:
            return NoPlace("it is not in a block")
        siblings = statements_of(block)
        position = siblings.index(unit)
        before, after = siblings[:position][::-1], siblings[position + 1 :]
        counterpart = self._mapping.older_of(block)
        if counterpart is not None and counterpart.kind not in ("module", "block"):
            counterpart = None
        target, unmapped = self._target(counterpart, before, after)
        if target is None:
            return NoPlace(_absent(self._newer, block))
        rival = self._rival(block, target) if target is counterpart else None
        if rival is not None:
            lines = f"lines {self._line(target)} and {self._line(rival)}"
            return NoPlace(f"two blocks of the older version are equally good: those at {lines}", target, 0.3)
        left, right = self._neighbour(before, target), self._neighbour(after, target)
        one = left or right
        if unmapped and (left is None or right is None) and not (one is not None and one.beside()):
            return NoPlace(_absent(self._newer, block), one.older if one is not None else None, 0.3)
        ends = self._only_observers(before), self._only_observers(after)
        return self._between(target, (left, right), ends, flow, unmapped)

    def _only_observers(self, siblings: list[Node]) -> bool:
        """Whether nothing but log statements stands there: then this is as good as the block's first or last place."""
        return all(sibling.start in self._observers for sibling in siblings)

    def _target(self, counterpart: Node | None, before: list[Node], after: list[Node]) -> tuple[Node | None, bool]:
        """The older block to place into, and whether it is another one than the counterpart of the newer block."""
        left, right = self._neighbour(before, None), self._neighbour(after, None)
        holders = {id(each.older.parent): each.older.parent for each in (left, right) if each is not None}
        holder = next(iter(holders.values())) if len(holders) == 1 else None
        if counterpart is None or holder is counterpart:
            return (counterpart, False) if counterpart is not None else (holder, True)
        here = self._neighbour(before, counterpart), self._neighbour(after, counterpart)
        moved = holder is not None and left is not None and right is not None
        if moved and not any(each is not None and each.distance == 1 for each in here):
            return holder, True
        return counterpart, False

    def _neighbour(self, siblings: list[Node], block: Node | None) -> _Neighbour | None:
        """The nearest sibling with a counterpart, in `block` if that is given."""
        distance = 0
        for sibling in siblings:
            distance += sibling.start not in self._observers
            partner = self._mapping.older_of(sibling)
            if partner is not None and partner.is_statement and (block is None or partner.parent is block):
                return _Neighbour(sibling, partner, max(distance, 1))
        return None

    def _between(
        self,
        target: Node,
        neighbours: tuple[_Neighbour | None, _Neighbour | None],
        ends: tuple[bool, bool],
        flow: Flow,
        unmapped: bool,
    ) -> Place | NoPlace:
        (left, right), (first, last), reads = neighbours, ends, flow.reads
        older = statements_of(target)
        index = {statement.index: place for place, statement in enumerate(older)}
        low = index[left.older.index] + 1 if left is not None else 0
        high = index[right.older.index] if right is not None else len(older)
        known = (left is not None or first) + (right is not None or last)
        confidence = (NO_NEIGHBOUR, ONE_NEIGHBOUR, BOTH_NEIGHBOURS)[known if left or right else 0]
        if not older or (first and last and not left and not right):
            confidence = ONE_NEIGHBOUR
        confidence -= PENALTY_UNMAPPED_BLOCK * unmapped
        confidence -= sum(
            PENALTY_WEAK_NEIGHBOUR / 2
            for each in (left, right)
            if each is not None
            and self._likeness.of(each.newer, each.older) < 0.6
            and each.newer.kind not in CONTAINERS
        )
        crossed = low > high
        if crossed:
            low, high = (low, low) if self._affinity(left, reads) >= self._affinity(right, reads) else (high, high)
            confidence -= PENALTY_CROSSED
            if not self._affinity(left, reads) and not self._affinity(right, reads):
                return NoPlace("its two neighbours stand in the other order in the older version", older[low - 1], 0.4)
        earliest, latest = self._flow(target, older, flow)
        if earliest > latest:
            return NoPlace(
                "what it reads is defined after it is used again in the older version", older[earliest - 1], 0.3
            )
        if high < earliest or low > latest:  # data flow is stronger than neighbours
            low = high = earliest if high < earliest else latest
            confidence -= PENALTY_CROSSED * (not crossed)
        else:
            low, high = max(low, earliest), min(high, latest)
        twin = self._twin(left, right, older, first, last)
        if twin is not None:
            return NoPlace(
                f"two places are equally good: after line {self._line(twin[0])} and after line {self._line(twin[1])}",
                twin[0],
                0.4,
            )
        return self._choose(target, (low, high), neighbours, ends, reads, confidence)

    def _choose(
        self,
        target: Node,
        span: tuple[int, int],
        neighbours: tuple[_Neighbour | None, _Neighbour | None],
        ends: tuple[bool, bool],
        reads: Set[str],
        confidence: float,
    ) -> Place | NoPlace:
        older = statements_of(target)
        low, high = span
        left, right = neighbours
        why = _explain(self, left, right)
        to_left = left is not None or right is None
        between = [each for each in older[low:high] if self._touches(each, reads)]
        if low < high and between:
            pulls = self._affinity(left, reads), self._affinity(right, reads)
            confidence -= PENALTY_BETWEEN
            why += f"; line {self._line(between[0])}, only there, may change what it reads"
            if left is not None and right is not None:
                if pulls == (0, 0) and left.distance > 1:
                    return NoPlace(
                        f"two places are equally good: before and after line {self._line(between[0])}, which may "
                        "change what it reads and which only the older version has",
                        older[low - 1] if low else None,
                        0.45,
                    )
                confidence -= PENALTY_UNDECIDED * (pulls[0] == pulls[1])
                to_left = pulls[0] >= pulls[1]  # a log observes what the statement before it has done
        if left is None and right is None:
            to_left = not (ends[0] and not ends[1])
            gap = high if to_left else low
        elif left is None and not ends[0] and right is not None:
            to_left, gap = False, high
        elif between and left is not None and left.distance > 1 and right is None and ends[1]:
            to_left, gap = True, high  # it is at the block's end, and far from what it follows
        else:
            gap = low if to_left else high
        return Place(target, gap, to_left and gap > 0, max(confidence, 0.0), why)

    def _flow(self, target: Node, older: list[Node], flow: Flow) -> tuple[int, int]:
        """The first and the last gap of a block that the definitions allow."""
        earliest, latest = 0, len(older)
        for place, statement in enumerate(older):
            inside = range(statement.index, statement.index + statement.size)
            if any(index in inside for index in flow.after):
                earliest = place + 1
            if any(index in inside for index in flow.before) and latest == len(older):
                latest = place
        for block, gap in flow.carried:
            if block is target:
                earliest = max(earliest, gap)
            elif target.contains(block):
                holder = next(place for place, statement in enumerate(older) if statement.contains(block))
                earliest = max(earliest, holder + 1)
        return earliest, latest

    def _affinity(self, neighbour: _Neighbour | None, reads: Set[str]) -> int:
        """2 if the neighbour binds what is read, 1 if it mentions it, 0 if they have nothing in common."""
        if neighbour is None:
            return 0
        names = self._older.names
        if any(node.label in reads for node in names.bound(neighbour.older)):
            return 2
        return int(any(node.label in reads for node in names.free(neighbour.older)))

    def _touches(self, statement: Node, reads: Set[str]) -> bool:
        """Whether a statement may change what is read: binds it, calls something on it or hands it to a call."""
        names: Names = self._older.names
        if any(node.label in reads for node in names.bound(statement)):
            return True
        for node in self._older.tree.subtree(statement):
            calls_it = node.kind == "call" and node.index not in self._quiet and called_name(node) not in HARMLESS
            sets_it = node.role == "left" and node.kind in ("subscript", "attribute")
            if (calls_it or sets_it) and any(each.label in reads for each in names.free(node)):
                return True
        return False

    def _twin(
        self, left: _Neighbour | None, right: _Neighbour | None, older: list[Node], first: bool, last: bool
    ) -> tuple[Node, Node] | None:
        """The only neighbour that decides, and an unmatched copy of it in the same block."""
        if (left is None) == (right is None) or (left is None and first) or (right is None and last):
            only = None if left is not None and right is not None else (left or right)
            if only is None or not (first or last):
                return None
        else:
            only = left or right
        if only is None:
            return None
        for other in older:
            same = other is not only.older and other.fingerprint == only.older.fingerprint
            if same and self._mapping.newer_of(other) is None:
                return only.older, other
        return None

    def _rival(self, block: Node, target: Node) -> Node | None:
        """An unmatched older container that the newer one could as well be matched with, seen from outside."""
        container, chosen = block.parent, target.parent
        while container is not None and container.parent is not None and chosen is not None:
            if container.kind in CONTAINERS and self._mapping.linked(container, chosen):
                rival = self._rival_of(container, chosen)
                if rival is not None:
                    return rival
            container = container.parent
            chosen = self._mapping.older_of(container)
        return None

    def _rival_of(self, container: Node, chosen: Node) -> Node | None:
        support = self._support(container, chosen)
        score = None
        for other in self._older.tree.nodes:
            if other.kind != container.kind or other is chosen or self._mapping.newer_of(other) is not None:
                continue
            if other.contains(chosen) or chosen.contains(other) or other.parent is None or chosen.parent is None:
                continue
            if other.parent is not chosen.parent and other.fingerprint != chosen.fingerprint:
                continue
            if self._support(container, other) < support:
                continue
            score = self._likeness.of(container, chosen) if score is None else score
            if self._likeness.of(container, other) >= score - _RIVAL_MARGIN:
                return other
        return None

    def _support(self, newer: Node, older: Node) -> int:
        """How many of the direct siblings on both sides, and of the parents, are linked to each other."""
        if newer.parent is None or older.parent is None:
            return 0
        support = int(self._mapping.linked(newer.parent, older.parent))
        left, right = newer.parent.children, older.parent.children
        for step in (-1, 1):
            i, j = left.index(newer) + step, right.index(older) + step
            if 0 <= i < len(left) and 0 <= j < len(right):
                support += self._mapping.linked(left[i], right[j])
        return support

    def _line(self, node: Node) -> int:
        return self._older.tree.line(node.start)


def _explain(placer: Placer, left: _Neighbour | None, right: _Neighbour | None) -> str:
    if left is not None and right is not None:
        return f"between lines {placer._line(left.older)} and {placer._line(right.older)} of the older version"
    if left is not None:
        return f"after line {placer._line(left.older)} of the older version"
    if right is not None:
        return f"before line {placer._line(right.older)} of the older version"
    return "in the block that corresponds to its own"


def _absent(program: Program, block: Node) -> str:
    owner = block.parent.statement() if block.parent is not None else None
    if owner is None:
        return "none of the code around it is in the older version"
    line = program.tree.line(owner.start)
    return f"the block it stands in (line {line}) has no counterpart in the older version"


def called_name(call: Node) -> str:
    function = call.children[0] if call.children else None
    if function is None:
        return ""
    return (
        function.label if function.kind == "identifier" else (function.children[-1].label if function.children else "")
    )

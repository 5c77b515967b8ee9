"""Where in the older source a newer statement belongs: between the counterparts of both its neighbours, after the
definitions of what it reads, and before the next ones.

        newer block                 older block
          loss = f(x)   <------->     loss = f(x)
        > log(loss)                 >
          log(norm)                   clip(net)          older-only: the statement may go before or after it
          loss.backward() <----->     loss.backward()

The places between the two counterparts are numbered by the statement they stand before, and narrowed by data flow. If
several remain, code that only the newer version has on one side of the statement tells that it comes after (or before)
what that code replaced: gaps.py; code on both sides tells nothing, and no place is taken. If there is none, and it
matters which place is taken, the neighbour decides that the statement has names in common with, and if that says
nothing either, it is the one that the statement directly follows, with little confidence. In the end the place must be
on the right side of every call that changes the state of what is read: states.py.
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from collections.abc import Set
from dataclasses import dataclass, field

from flor_ray.propagation.adapting.doubts import Doubt, confidence
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import Likeness
from flor_ray.propagation.placing.blocks import Blocks, Neighbour
from flor_ray.propagation.placing.gaps import HARMLESS, replaces, serving
from flor_ray.propagation.placing.order import Order
from flor_ray.propagation.placing.paragraphs import gap_of_comment, paragraph_side
from flor_ray.propagation.placing.rivals import Rivals
from flor_ray.propagation.placing.states import States
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.effects import called_name
from flor_ray.propagation.reading.names import Names
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node


@dataclass(frozen=True, slots=True)
class Place:
    """A gap between two statements of an older block."""

    block: Node
    gap: int  # statements of the block that stand before it
    after: bool  # it belongs to the statement before the gap, rather than to the one behind it
    doubts: tuple[Doubt, ...]
    why: str

    @property
    def confidence(self) -> float:
        return confidence(self.doubts)


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
    names: Lookup[str, str] = field(default_factory=dict)  # what is read, as the newer version calls it -> `reads`
    moved: Set[int] = frozenset()  # first bytes of newer statements that are carried, too
    carried: tuple[tuple[Node, int], ...] = ()  # blocks and gaps of statements carried along, which it must follow


_Sides = tuple[list[Node], list[Node]]  # only-newer code before and after the statement


class Placer:
    """Finds places for statements of one newer program in one older program."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping) -> None:
        self._newer, self._older, self._mapping = newer, older, mapping
        self._likeness = Likeness(newer.tree, older.tree, (newer.features(), older.features()))
        self._rivals = Rivals(older, mapping, self._likeness)
        self._states = States(newer, older, mapping)
        self._order = Order(mapping, newer.names)
        self._serving = serving(newer, mapping, self._states.is_inert)
        self._observers = {start for start, _ in newer.features()}
        self._blocks = Blocks(older, mapping, self._order, self._observers)
        self._quiet = {call.node.index for call in calls(older.names) if call.function == "log"}

    def place(self, unit: Node, flow: Flow, code: bool = False) -> Place | NoPlace:
        """Place a newer statement: a log, or `code`, which does not ask for the state of what it reads but makes it."""
        block = unit.parent
        if block is None:
            return NoPlace("it is not in a block")
        siblings = statements_of(block)
        position = siblings.index(unit)
        before, after = siblings[:position][::-1], siblings[position + 1 :]
        counterpart = self._mapping.older_of(block)
        if counterpart is not None and counterpart.kind not in ("module", "block"):
            counterpart = None
        target, doubts = self._blocks.target(unit, counterpart, before, after)
        if target is None:
            return NoPlace(_absent(self._newer, block))
        rival = self._rivals.of(block, target) if target is counterpart else None
        if rival is not None:
            lines = f"lines {self._line(target)} and {self._line(rival)}"
            return NoPlace(f"two blocks of the older version are equally good: those at {lines}", target, 0.3)
        left, right = self._blocks.neighbour(before, target), self._blocks.neighbour(after, target)
        one = left or right
        if (
            doubts[-1] in (Doubt.UNMAPPED_BLOCK, Doubt.LOST_BLOCK)
            and (left is None or right is None)
            and not (one is not None and one.beside())
        ):
            return NoPlace(_absent(self._newer, block), one.older if one is not None else None, 0.3)
        ends = self._only_observers(before), self._only_observers(after)
        sides = self._replaced(before, left, target, flow), self._replaced(after, right, target, flow)
        place = self._between(unit, target, (left, right), ends, sides, flow, list(doubts))
        if isinstance(place, NoPlace) or code:
            return place
        wrong = self._states.conflict(unit, target, place.gap, flow.names)
        if wrong is not None:
            text = self._older.tree.text(wrong).decode("utf-8", "replace")
            return NoPlace(
                f"it would run on the other side of line {self._line(wrong)} of the older version (`{text}`), which "
                "changes the state of what it reads",
                wrong,
                0.3,
            )
        return place

    def _replaced(self, siblings: list[Node], neighbour: Neighbour | None, target: Node, flow: Flow) -> list[Node]:
        """Only-newer code between a statement and its neighbour (or its block's end) that may replace older code."""
        found: list[Node] = []
        for sibling in siblings:
            if neighbour is not None and sibling is neighbour.newer:
                break
            passive = sibling.start in self._observers or sibling.start in self._serving or sibling.start in flow.moved
            partner = self._mapping.older_of(sibling)
            if not passive and replaces(sibling) and (partner is None or partner.parent is not target):
                found.append(sibling)
        return found

    def _only_observers(self, siblings: list[Node]) -> bool:
        """Whether nothing but log statements stands there: then this is as good as the block's first or last place."""
        return all(sibling.start in self._observers for sibling in siblings)

    def _between(
        self,
        unit: Node,
        target: Node,
        neighbours: tuple[Neighbour | None, Neighbour | None],
        ends: tuple[bool, bool],
        sides: _Sides,
        flow: Flow,
        doubts: list[Doubt],
    ) -> Place | NoPlace:
        (left, right), (first, last) = neighbours, ends
        older = statements_of(target)
        index = {statement.index: place for place, statement in enumerate(older)}
        low = index[left.older.index] + 1 if left is not None else 0
        high = index[right.older.index] if right is not None else len(older)
        known = (left is not None or first) + (right is not None or last)
        if not left and not right:
            doubts.append(Doubt.ONE_NEIGHBOUR if (first and last) or not older else Doubt.NO_NEIGHBOUR)
        elif known == 1:
            doubts.append(Doubt.ONE_NEIGHBOUR)
        if any(each is not None and self._is_weak(each) for each in (left, right)):
            doubts.append(Doubt.WEAK_NEIGHBOUR)
        doubts += self._blocks.headers(unit, target)
        crossed = low > high
        span = self._order.span(unit, target)
        if span.votes:
            low, high = span.low, span.high
            if span.against:
                much = span.near or span.against > span.votes / 4
                doubts.append(Doubt.SOME_CROSSED if not much else Doubt.REORDERED if span.held else Doubt.CROSSED)
        elif crossed:
            return NoPlace("its two neighbours stand in the other order in the older version", older[high - 1], 0.4)
        earliest, latest = self._flow(target, older, flow)
        if earliest > latest:
            return NoPlace(
                "what it reads is defined after it is used again in the older version", older[earliest - 1], 0.3
            )
        if high < earliest or low > latest:  # data flow is stronger than neighbours
            low = high = earliest if high < earliest else latest
            doubts.append(Doubt.CROSSED)
        else:
            low, high = max(low, earliest), min(high, latest)
        twin = self._twin(left, right, older, first, last)
        if twin is not None:
            return NoPlace(
                f"two places are equally good: after line {self._line(twin[0])} and after line {self._line(twin[1])}",
                twin[0],
                0.4,
            )
        doubts += [Doubt.TORN] * self._is_torn(unit, target, (low, high), (left, right))
        return self._choose(unit, target, (low, high), neighbours, ends, sides, flow, doubts)

    def _is_torn(
        self, unit: Node, target: Node, span: tuple[int, int], neighbours: tuple[Neighbour | None, Neighbour | None]
    ) -> bool:
        """Whether a statement's direct neighbour has moved away from the others, which the place follows."""
        older = statements_of(target)
        for neighbour, limit, step in zip(neighbours, span, (1, -1), strict=True):
            if neighbour is None or neighbour.distance > 1:
                continue
            place = older.index(neighbour.older)
            between = older[place + 1 : limit] if step > 0 else older[limit:place]
            partners = [self._mapping.newer_of(each) for each in between]
            if any(each is not None and each.parent is unit.parent for each in partners):
                return True
        return False

    def _is_weak(self, neighbour: Neighbour) -> bool:
        return neighbour.newer.kind not in CONTAINERS and self._likeness.of(neighbour.newer, neighbour.older) < 0.6

    def _choose(
        self,
        unit: Node,
        target: Node,
        span: tuple[int, int],
        neighbours: tuple[Neighbour | None, Neighbour | None],
        ends: tuple[bool, bool],
        sides: _Sides,
        flow: Flow,
        doubts: list[Doubt],
    ) -> Place | NoPlace:
        older, reads = statements_of(target), flow.reads
        (low, high), (left, right) = span, neighbours
        why = _explain(self, left, right)
        to_left = left is not None or right is None
        between = [each for each in older[low:high] if self._touches(each, reads)]
        commented = gap_of_comment(self._newer.tree, unit, self._older.tree, target, low, high) if low < high else None
        if commented is not None:
            doubts += [Doubt.AMID_OTHERS] * bool(between)
            return Place(target, commented, commented > 0, tuple(doubts), why + "; it stands by the same comment")
        facing = any(replaces(each) and not self._is_mapped_beside(each, left, right) for each in older[low:high])
        if facing and between and all(sides):
            lines = self._lines(older[low], older[high - 1])
            return NoPlace(
                f"code on both sides of it was replaced: nothing tells where in {lines} of the older version it "
                "belongs",
                older[low - 1] if low else None,
                0.4,
            )
        if facing and any(sides) and not all(sides):
            why += "; the code that was replaced stands " + ("before it" if sides[0] else "after it")
            doubts += [Doubt.BETWEEN if between else Doubt.REPLACED]
            unexplained = self._unexplained(sides[0], between, flow) if sides[0] else None
            if unexplained is not None:
                line = self._line(unexplained)
                return NoPlace(
                    f"line {line} of the older version changes the state of what it reads, and nothing tells that the "
                    "newer version does the same before it",
                    older[low - 1] if low else None,
                    0.4,
                )
            gap = high if sides[0] else low
            after = gap > 0 and (not sides[0] or gap == len(older))
            return Place(target, gap, after, tuple(doubts), why)
        if low < high and between:
            pulls = self._affinity(left, reads), self._affinity(right, reads)
            doubts.append(Doubt.BETWEEN)
            why += f"; line {self._line(between[0])}, only there, may change what it reads"
            if left is not None and right is not None:
                if pulls == (0, 0) and left.distance > 1:
                    return NoPlace(
                        f"two places are equally good: before and after line {self._line(between[0])}, which may "
                        "change what it reads and which only the older version has",
                        older[low - 1] if low else None,
                        0.45,
                    )
                doubts += [Doubt.STATE] * any(self._states.changes(each, reads) for each in between)
                doubts += [Doubt.UNDECIDED] * (pulls[0] == pulls[1])
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
        side = paragraph_side(self._newer.tree, unit) if low < high and gap in (low, high) else 0
        if low < high:
            doubts.append(Doubt.AMID_OTHERS)
        if side and not between:
            to_left = side < 0
            gap = low if to_left else high
        return Place(target, gap, to_left and gap > 0, tuple(doubts), why)

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

    def _unexplained(self, replacing: list[Node], between: list[Node], flow: Flow) -> Node | None:
        """An older statement that changes the state of what is read, if the code that may replace it is not known to.

        It is known to if it binds a variable that the older code binds, or changes the same state itself.
        """
        changing = [each for each in between if self._states.changes(each, flow.reads)]
        bound = {node.label for each in replacing for node in self._newer.names.bound(each)}
        if not changing or any(node.label in bound for each in between for node in self._older.names.bound(each)):
            return None
        return None if any(self._states.switches(each, flow.names) for each in replacing) else changing[0]

    def _is_mapped_beside(self, statement: Node, left: Neighbour | None, right: Neighbour | None) -> bool:
        """Whether an older statement is mapped to one of the same newer block, and so replaced by nothing."""
        partner = self._mapping.newer_of(statement)
        beside = (left or right) if left is not None or right is not None else None
        return partner is not None and beside is not None and partner.parent is beside.newer.parent

    def _affinity(self, neighbour: Neighbour | None, reads: Set[str]) -> int:
        """2 if the neighbour binds what is read, 1 if it mentions it, 0 if they have nothing in common."""
        if neighbour is None:
            return 0
        names = self._older.names
        if any(node.label in reads for node in names.bound(neighbour.older)):
            return 2
        return int(any(node.label in reads for node in names.free(neighbour.older)))

    def _touches(self, statement: Node, reads: Set[str]) -> bool:
        """Whether a statement may change what is read: binds it, calls something on it or hands it to a call."""
        if self._states.changes(statement, reads):
            return True
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
        self, left: Neighbour | None, right: Neighbour | None, older: list[Node], first: bool, last: bool
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

    def _lines(self, first: Node, last: Node) -> str:
        start, end = self._line(first), self._older.tree.last_line(last)
        return f"line {start}" if start == end else f"lines {start} to {end}"

    def _line(self, node: Node) -> int:
        return self._older.tree.line(node.start)


def _explain(placer: Placer, left: Neighbour | None, right: Neighbour | None) -> str:
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

"""Which of several gaps of an older block a statement goes to, once neighbours, order and data flow have spoken.

    1  the same comment stands beside only one of them      there
    2  code beside the statement was replaced               behind what is facing it, or before; nowhere, if that code
                                                            stands on both sides of the statement
    3  code between the gaps may change what it reads       to the neighbour that it has more names in common with
    4  else                                                 to the left neighbour, or to where a blank line joins it

The first rule that has an answer decides.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.placing.blocks import Neighbour
from flor_ray.propagation.placing.gaps import HARMLESS, replaces
from flor_ray.propagation.placing.paragraphs import gap_of_comment, paragraph_side
from flor_ray.propagation.placing.places import BlockGap, NoPlace, Surroundings, lines_of
from flor_ray.propagation.placing.states import States
from flor_ray.propagation.placing.touching import ADDS_OPTIONS
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.effects import called_name, functions_by_name
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Gaps of a block that are left to choose from, from `low` to `high`."""

    around: Surroundings
    low: int
    high: int
    older: Sequence[Node]  # the statements of the block
    touching: Sequence[Node]  # those between the gaps that may change what is read
    doubts: tuple[Doubt, ...]  # of what was decided before
    why: str

    @property
    def is_open(self) -> bool:
        """Whether there is more than one."""
        return self.low < self.high

    @property
    def between(self) -> Sequence[Node]:
        return self.older[self.low : self.high]

    @property
    def guess(self) -> Node | None:
        return self.older[self.low - 1] if self.low else None

    def chosen(self, gap: int, after: bool, doubts: Sequence[Doubt], words: str = "") -> BlockGap:
        return BlockGap(self.around.block, gap, after and gap > 0, (*self.doubts, *doubts), self.why + words)


@dataclass(frozen=True, slots=True)
class _Lean:
    """To which side a statement leans, with what is to be said of that."""

    to_left: bool
    doubts: tuple[Doubt, ...] = ()
    words: str = ""


class GapRules:
    """Chooses between gaps of one older program."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping, states: States) -> None:
        self._newer, self._older, self._mapping, self._states = newer, older, mapping, states
        self._own = functions_by_name(older.tree).keys()
        self._quiet = {call.node.index for call in calls(older.names) if call.function == "log"}

    def choose(self, around: Surroundings, low: int, high: int, doubts: Sequence[Doubt]) -> BlockGap | NoPlace:
        """One of the gaps from `low` to `high`, or why none can be taken."""
        older = statements_of(around.block)
        is_option = _adds_an_option(around.unit)
        touching = [
            each
            for each in older[low:high]
            if self._touches(each, around.flow.reads) and not (is_option and _adds_an_option(each))
        ]
        gaps = _Gaps(around, low, high, older, touching, tuple(doubts), self._explain(around))
        return self._by_comment(gaps) or self._by_replaced_code(gaps) or self._by_neighbours(gaps)

    def _explain(self, around: Surroundings) -> str:
        left, right = around.left, around.right
        if left is not None and right is not None:
            return f"between lines {self._line(left.older)} and {self._line(right.older)} of the older version"
        if left is not None:
            return f"after line {self._line(left.older)} of the older version"
        if right is not None:
            return f"before line {self._line(right.older)} of the older version"
        return "in the block that corresponds to its own"

    # --- 1: comments ----------------------------------------------------------------------------------------------

    def _by_comment(self, gaps: _Gaps) -> BlockGap | None:
        if not gaps.is_open:
            return None
        unit, block = gaps.around.unit, gaps.around.block
        gap = gap_of_comment(self._newer.tree, unit, self._older.tree, block, gaps.low, gaps.high)
        if gap is None:
            return None
        return gaps.chosen(gap, True, [Doubt.AMID_OTHERS] * bool(gaps.touching), "; it stands by the same comment")

    # --- 2: replaced code -----------------------------------------------------------------------------------------

    def _by_replaced_code(self, gaps: _Gaps) -> BlockGap | NoPlace | None:
        """Code that only the newer version has on one side of the statement replaces what the older one has there."""
        before, after = gaps.around.before, gaps.around.after
        facing = any(replaces(each) and not self._is_mapped_beside(each, gaps.around) for each in gaps.between)
        if not facing or not (before or after):
            return None
        if before and after:
            return self._replaced_on_both_sides(gaps) if gaps.touching else None
        if before and (changing := self._unexplained(gaps)) is not None:
            reason = (
                f"line {self._line(changing)} of the older version changes the state of what it reads, and nothing "
                "tells that the newer version does the same before it"
            )
            return NoPlace(reason, gaps.guess, 0.4)
        gap = gaps.high if before else gaps.low
        doubt = Doubt.BETWEEN if gaps.touching else Doubt.REPLACED
        words = f"; the code that was replaced stands {'before' if before else 'after'} it"
        return gaps.chosen(gap, not before or gap == len(gaps.older), [doubt], words)

    def _replaced_on_both_sides(self, gaps: _Gaps) -> NoPlace:
        lines = lines_of(self._older.tree, gaps.older[gaps.low], gaps.older[gaps.high - 1])
        reason = (
            f"code on both sides of it was replaced: nothing tells where in {lines} of the older version it belongs"
        )
        return NoPlace(reason, gaps.guess, 0.4)

    def _unexplained(self, gaps: _Gaps) -> Node | None:
        """An older statement that changes the state of what is read, if the code that may replace it is not known to.

        It is known to if it binds a variable that the older code binds, or changes the same state itself.
        """
        flow, replacing = gaps.around.flow, gaps.around.before
        changing = [each for each in gaps.touching if self._states.changes(each, flow.reads)]
        bound = {node.label for each in replacing for node in self._newer.names.bound(each)}
        if not changing or any(node.label in bound for each in gaps.touching for node in self._older.names.bound(each)):
            return None
        if self._is_replaced_by(gaps, replacing):
            return None
        return None if any(self._states.switches(each, flow.names) for each in replacing) else changing[0]

    def _is_replaced_by(self, gaps: _Gaps, replacing: Sequence[Node]) -> bool:
        """Whether one statement is all that the newer block has before this one, and one all that the older has, and
        both are about the same things: `opt.step()` for `task.step(opt)`."""
        alone = not gaps.around.neighbours and len(gaps.older) == len(gaps.between) == len(replacing) == 1
        if not alone or gaps.older[0].kind != replacing[0].kind:
            return False
        mine, theirs = self._mentioned(self._newer, replacing[0]), self._mentioned(self._older, gaps.older[0])
        return not mine.isdisjoint(theirs)

    def _mentioned(self, program: Program, statement: Node) -> set[str]:
        names = {n.label for n in program.tree.subtree(statement) if n.kind in ("identifier", "attribute_name")}
        return names - {"self", "cls"}

    def _is_mapped_beside(self, statement: Node, around: Surroundings) -> bool:
        """Whether an older statement is mapped to one of the same newer block, and so replaced by nothing."""
        partner = self._mapping.newer_of(statement)
        return partner is not None and any(partner.parent is each.newer.parent for each in around.neighbours[:1])

    # --- 3 and 4: neighbours --------------------------------------------------------------------------------------

    def _by_neighbours(self, gaps: _Gaps) -> BlockGap | NoPlace:
        lean = self._lean(gaps)
        if isinstance(lean, NoPlace):
            return lean
        is_set = any(self._sets_part(each, gaps.around.flow.reads) for each in gaps.touching)
        to_left, gap = _beside_neighbour(gaps, lean.to_left, is_set)
        if gaps.is_open and not gaps.touching and gap in (gaps.low, gaps.high):
            side = paragraph_side(self._newer.tree, gaps.around.unit)
            if side:
                to_left, gap = side < 0, gaps.low if side < 0 else gaps.high
        return gaps.chosen(gap, to_left, [*lean.doubts, *[Doubt.AMID_OTHERS] * gaps.is_open], lean.words)

    def _lean(self, gaps: _Gaps) -> _Lean | NoPlace:
        """To the neighbour that has more in common with what is read; to the left one where that says nothing."""
        left, right, reads = gaps.around.left, gaps.around.right, gaps.around.flow.reads
        to_left = left is not None or right is None
        if not gaps.touching:
            return _Lean(to_left)
        line = self._line(gaps.touching[0])
        words = f"; line {line}, only there, may change what it reads"
        if left is None or right is None:
            return _Lean(to_left, (Doubt.BETWEEN,), words)
        pulls = self._affinity(left, reads), self._affinity(right, reads)
        if pulls == (0, 0) and left.distance > 1:
            reason = (
                f"two places are equally good: before and after line {line}, which may change what it reads and which "
                "only the older version has"
            )
            return NoPlace(reason, gaps.guess, 0.45)
        doubts = [Doubt.BETWEEN]
        doubts += [Doubt.STATE] * any(self._states.changes(each, reads) for each in gaps.touching)
        doubts += [Doubt.UNDECIDED] * (pulls[0] == pulls[1])
        return _Lean(pulls[0] >= pulls[1], tuple(doubts), words)  # a log observes what is done before it

    def _affinity(self, neighbour: Neighbour, reads: Set[str]) -> int:
        """2 if the neighbour binds what is read, 1 if it mentions it, 0 if they have nothing in common."""
        names = self._older.names
        if any(node.label in reads for node in names.bound(neighbour.older)):
            return 2
        return int(any(node.label in reads for node in names.free(neighbour.older)))

    def _touches(self, statement: Node, reads: Set[str]) -> bool:
        """Whether a statement may change what is read: binds it, calls something on it or hands it to a call."""
        if self._states.changes(statement, reads):
            return True
        names = self._older.names
        if any(node.label in reads for node in names.bound(statement)):
            return True
        for node in self._older.tree.subtree(statement):
            calls_it = (
                node.kind == "call" and node.index not in self._quiet and not self._is_harmless(called_name(node))
            )
            sets_it = node.role == "left" and node.kind in ("subscript", "attribute")
            if (calls_it or sets_it) and any(each.label in reads for each in names.free(node)):
                return True
        return False

    def _sets_part(self, statement: Node, reads: Set[str]) -> bool:
        """Whether a statement is an assignment to an attribute or item of something that is read."""
        if statement.kind != "expression_statement" or not statement.children:
            return False
        target = statement.children[0].child("left")
        while target is not None and target.kind in ("attribute", "subscript"):
            target = target.children[0]
            if target.kind == "identifier" and target.label in reads:
                return True
        return False

    def _is_harmless(self, name: str) -> bool:
        """Whether a function of this name only tells. One that the file itself defines is not known by its name."""
        return name in HARMLESS and name not in self._own

    def _line(self, node: Node) -> int:
        return self._older.tree.line(node.start)


def _adds_an_option(statement: Node) -> bool:
    """Whether a statement tells a parser of one more argument: the order of these changes nothing."""
    call = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    return call is not None and call.kind == "call" and called_name(call) in ADDS_OPTIONS


def _beside_neighbour(gaps: _Gaps, to_left: bool, is_set: bool) -> tuple[bool, int]:
    """Whether a statement belongs to what stands before it, and its gap. `is_set`: code between the gaps sets a part of
    what it reads."""
    around = gaps.around
    left, right = around.left, around.right
    if left is None and right is None:
        to_left = around.is_last or not around.is_first
        return to_left, gaps.high if to_left else gaps.low
    if left is None and not around.is_first:
        return False, gaps.high
    if gaps.touching and left is not None and right is None and around.is_last and (left.distance > 1 or is_set):
        return True, gaps.high  # it is at the block's end, and far from what it follows, or sees what is made of it
    return to_left, gaps.low if to_left else gaps.high

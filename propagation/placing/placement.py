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

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import takewhile

from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import Likeness
from flor_ray.propagation.placing.blocks import Blocks, Neighbour
from flor_ray.propagation.placing.gap_rules import GapRules
from flor_ray.propagation.placing.gaps import Serving, replaces
from flor_ray.propagation.placing.order import Order
from flor_ray.propagation.placing.places import BlockGap, Flow, NoPlace, Surroundings
from flor_ray.propagation.placing.rivals import Rivals
from flor_ray.propagation.placing.states import States
from flor_ray.propagation.reading.effects import TRAINING, called_name
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import BLOCKS, LOOPS, SCOPES, Node, Tree

_EMPTYING = frozenset({"clear", "reset", "zero_"})
_WEAK = 0.6  # likeness of two neighbours below which they say little


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """The gaps of a block that are left, from `low` to `high`, and the doubts of leaving out the others."""

    low: int
    high: int
    doubts: tuple[Doubt, ...] = ()


class Placer:
    """Finds places for statements of one newer program in one older program."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping, renames: Renames) -> None:
        self._newer, self._older, self._mapping = newer, older, mapping
        self._likeness = Likeness(newer.tree, older.tree, (newer.features(), older.features()))
        self._rivals = Rivals(older, mapping, self._likeness)
        self._states = States(newer, older, mapping)
        self._order = Order(mapping, newer.names)
        self._serving = Serving(newer, mapping, self._states.is_inert)
        self._observers = {start for start, _ in newer.features()}
        self._blocks = Blocks(newer, older, mapping, renames, self._order)
        self._rules = GapRules(newer, older, mapping, self._states)

    def place(self, unit: Node, flow: Flow, code: bool = False) -> BlockGap | NoPlace:
        """Place a newer statement: a log, or `code`, which does not ask for the state of what it reads but makes it."""
        if unit.parent is None:
            return NoPlace("it is not in a block")
        siblings = statements_of(unit.parent)
        position = siblings.index(unit)
        before, after = siblings[:position][::-1], siblings[position + 1 :]
        target, doubts = self._blocks.target(unit, before, after)
        if target is None:
            return NoPlace(self._absent(unit.parent))
        problem = self._rivalled(unit.parent, target)
        if problem is not None:
            return problem
        around = self._surroundings(unit, target, before, after, flow)
        if doubts[-1] in (Doubt.UNMAPPED_BLOCK, Doubt.LOST_BLOCK) and not self._is_held(around):
            return NoPlace(self._absent(unit.parent), next((each.older for each in around.neighbours), None), 0.3)
        place = self._between(around, doubts)
        if isinstance(place, NoPlace):
            return place
        crossed = self._order.crossed(unit, target) or self._read_ahead(target, flow)
        if crossed is not None:
            text = f"it would run on the other side of line {self._line(crossed)} of the older version"
            return NoPlace(f"{text}, with which it may not change places", crossed, 0.3)
        if code:
            return self._out_of_step(unit, place) or place
        if self._is_set_anew(around, place):
            place = replace(place, doubts=(*place.doubts, Doubt.BETWEEN))
        return self._in_another_state(around, place) or place

    def _read_ahead(self, target: Node, flow: Flow) -> Node | None:
        """What runs before an older block, or instead of it, and has to run after the statement that is to be put
        there."""
        around = [node for node in target.ancestors() if node.kind in BLOCKS]
        before_loops = list(takewhile(lambda node: node.kind not in SCOPES | LOOPS, target.ancestors()))
        for index in sorted(flow.before):
            read = self._older.tree.nodes[index]
            statement = read.statement()
            if statement is None or target.contains(statement):
                continue
            common = next((node for node in before_loops if node.contains(statement)), None)
            is_unset = read.label in self._older.names.loose  # else the other branch may have its own
            in_other_branch = is_unset and common is not None and common.kind == "if_statement"
            if in_other_branch or (index < target.index and statement.parent in around):
                return statement
        return None

    def _rivalled(self, block: Node, target: Node) -> NoPlace | None:
        rival = self._rivals.of(block, target) if target is self._mapping.older_of(block) else None
        if rival is None:
            return None
        lines = f"lines {self._line(target)} and {self._line(rival)}"
        return NoPlace(f"two blocks of the older version are equally good: those at {lines}", target, 0.3)

    def _in_another_state(self, around: Surroundings, place: BlockGap) -> NoPlace | None:
        wrong = self._states.conflict(around.unit, place.block, place.gap, around.flow.names)
        if wrong is None:
            return None
        text = self._older.tree.text(wrong).decode("utf-8", "replace")
        reason = (
            f"it would run on the other side of line {self._line(wrong)} of the older version (`{text}`), which "
            "changes the state of what it reads"
        )
        return NoPlace(reason, wrong, 0.3)

    def _is_set_anew(self, around: Surroundings, place: BlockGap) -> bool:
        """Whether the older version alone sets anew what is read, somewhere before a place: `running = 0.0` after each
        hundredth step, `losses.clear()`."""
        mine, inner = around.unit.parent, statements_of(place.block)
        at = inner[place.gap].start if place.gap < len(inner) else place.block.end
        return mine is not None and any(
            self._sets_alone(self._older, there, place.block, at)
            and not self._sets_alone(self._newer, here, mine, around.unit.start)
            for here, there in around.flow.names.items()
        )

    def _sets_alone(self, program: Program, name: str, block: Node, end: int) -> bool:
        """Whether something in a block, before a byte, sets a variable or empties it, that the other version lacks."""
        other_of = self._mapping.newer_of if program is self._older else self._mapping.older_of
        scope = program.names.lookup(name, program.names.scope_of(block.children[0])) if block.children else None
        if scope is None:
            return False
        setting = [*scope.bindings.get(name, ()), *filter(_is_emptied, scope.reads.get(name, ()))]
        statements = [node.statement() for node in setting if block.start <= node.start < end]
        return any(each is not None and other_of(each) is None for each in statements)

    def _out_of_step(self, unit: Node, place: BlockGap) -> NoPlace | None:
        """Why a call that trains cannot stand at a place: all that trains before it in the newer version (`backward`
        before `step`) stands behind it there, or the other way round."""
        own = _trains(unit)
        if not own:
            return None
        inner = statements_of(place.block)
        at = inner[place.gap].start if place.gap < len(inner) else place.block.end
        mine = _training_calls(self._newer.tree, _repeated(unit), unit.start)
        inside = place.block if place.block.kind == "module" else _repeated(place.block)
        theirs = _training_calls(self._older.tree, inside, at)
        sides = _sides(mine), _sides(theirs)
        for name in sorted(sides[0].keys() & sides[1].keys() - {own}):
            is_elsewhere = len(sides[0][name]) == len(sides[1][name]) == 1 and sides[0][name] != sides[1][name]
            if is_elsewhere or (name == "backward" and own == "step" and _is_fed(mine) and not _is_fed(theirs)):
                reason = f"it would run on the other side of `{name}`, which trains, than in the newer version"
                return NoPlace(reason, inner[place.gap - 1] if place.gap else None, 0.3)
        return None

    # --- what is around it ----------------------------------------------------------------------------------------

    def _surroundings(
        self, unit: Node, target: Node, before: list[Node], after: list[Node], flow: Flow
    ) -> Surroundings:
        left, right = self._blocks.neighbour(before, target), self._blocks.neighbour(after, target)
        return Surroundings(
            unit,
            target,
            left,
            right,
            all(sibling.start in self._observers for sibling in before),
            all(sibling.start in self._observers for sibling in after),
            self._replacing(before, left, target, flow),
            self._replacing(after, right, target, flow),
            flow,
        )

    def _replacing(self, siblings: list[Node], neighbour: Neighbour | None, target: Node, flow: Flow) -> list[Node]:
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

    # --- from all gaps of a block to one --------------------------------------------------------------------------

    def _between(self, around: Surroundings, doubts: tuple[Doubt, ...]) -> BlockGap | NoPlace:
        older = statements_of(around.block)
        doubts = (*doubts, *self._neighbour_doubts(around, older), *self._blocks.headers(around.unit, around.block))
        ordered = self._ordered(around, older)
        if isinstance(ordered, NoPlace):
            return ordered
        narrowed = self._defined(around, older, ordered)
        if isinstance(narrowed, NoPlace):
            return narrowed
        narrowed = self._behind_changes(around, older, narrowed)
        if len(around.neighbours) == 1:
            only = around.neighbours[0].older
            outermost = self._outermost(around, older, narrowed)
            if outermost is not None:
                narrowed = outermost
            elif (problem := self._equally_good(only, older)) is not None:
                return problem
        torn = [Doubt.TORN] * self._is_torn(around, older, narrowed)
        doubts = (*doubts, *ordered.doubts, *narrowed.doubts, *torn)
        return self._rules.choose(around, narrowed.low, narrowed.high, doubts)

    def _neighbour_doubts(self, around: Surroundings, older: list[Node]) -> list[Doubt]:
        """Doubts for neighbours that are not there, or hardly the same; a block's end is as good as a neighbour."""
        doubts = []
        known = (around.left is not None or around.is_first) + (around.right is not None or around.is_last)
        if not around.neighbours:
            is_alone = (around.is_first and around.is_last) or not older
            doubts.append(Doubt.ONE_NEIGHBOUR if is_alone else Doubt.NO_NEIGHBOUR)
            owner = around.unit.parent.parent if around.unit.parent is not None else None
            if owner is not None and owner.index in self._mapping.by_header and not (around.is_first or around.is_last):
                doubts.append(Doubt.LOST_BLOCK)  # neither its header nor what it holds tells where
        elif known == 1:
            doubts.append(Doubt.ONE_NEIGHBOUR)
        if any(self._is_weak(each) for each in around.neighbours):
            doubts.append(Doubt.WEAK_NEIGHBOUR)
        return doubts

    def _is_weak(self, neighbour: Neighbour) -> bool:
        return neighbour.newer.kind not in CONTAINERS and self._likeness.of(neighbour.newer, neighbour.older) < _WEAK

    def _ordered(self, around: Surroundings, older: list[Node]) -> _Narrowed | NoPlace:
        """The gaps that keep the order of all that is around the statement; between its neighbours, if none votes."""
        span = self._order.span(around.unit, around.block)
        if span.votes:
            if not span.against:
                return _Narrowed(span.low, span.high)
            is_much = span.near or span.against > span.votes / 4
            doubt = Doubt.SOME_CROSSED if not is_much else Doubt.REORDERED if span.held else Doubt.CROSSED
            return _Narrowed(span.low, span.high, (doubt,))
        low = older.index(around.left.older) + 1 if around.left is not None else 0
        high = older.index(around.right.older) if around.right is not None else len(older)
        if low > high:
            return NoPlace("its two neighbours stand in the other order in the older version", older[high - 1], 0.4)
        return _Narrowed(low, high)

    def _defined(self, around: Surroundings, older: list[Node], ordered: _Narrowed) -> _Narrowed | NoPlace:
        """The gaps behind the definitions of what is read, and before the next ones: stronger than any order."""
        earliest, latest = _flow_limits(around.block, older, around.flow)
        if earliest > latest:
            reason = "what it reads is defined after it is used again in the older version"
            return NoPlace(reason, older[earliest - 1], 0.3)
        if ordered.high < earliest:
            return _Narrowed(earliest, earliest, (Doubt.CROSSED,))
        if ordered.low > latest:
            return _Narrowed(latest, latest, (Doubt.CROSSED,))
        return _Narrowed(max(ordered.low, earliest), min(ordered.high, latest))

    def _behind_changes(self, around: Surroundings, older: list[Node], gaps: _Narrowed) -> _Narrowed:
        """Leaves out the gaps before code of the older version alone that may set what is read anew, for what follows:
        `if x is None: x = 0`; that sets another part of what the neighbour sets at once: `x, y = f()`; or that does the
        rest of what the neighbour does: `x = f(a)` and `x = g(x)` for `x = g(f(a))`."""
        set_behind = {node.label for each in around.after for node in self._newer.names.bound(each)}
        reads = {there for here, there in around.flow.names.items() if here not in set_behind}
        beside = around.right.older if around.right is not None else None
        passed_on = {node.label for node in self._older.names.free(beside)} if beside is not None else set()
        at_once = self._set_at_once(around, reads)
        for place in range(gaps.high - 1, gaps.low - 1, -1):
            if self._mapping.newer_of(older[place]) is not None:
                continue
            bound = {node.label for node in self._older.names.bound(older[place])}
            is_part = not at_once.isdisjoint(bound)
            is_rest = not reads.isdisjoint(bound) and self._is_rest_of(around.left, older[place])
            if is_part or is_rest or self._may_set(older[place], reads & bound, passed_on):
                return _Narrowed(place + 1, gaps.high, (*gaps.doubts, Doubt.BETWEEN))
        return gaps

    def _set_at_once(self, around: Surroundings, reads: Set[str]) -> Set[str]:
        """The names that the left neighbour sets, if these are several, and what is read is one of them."""
        if around.left is None or around.left.newer.kind != "expression_statement":
            return frozenset()
        names = {node.label for node in self._newer.names.bound(around.left.newer)}
        return names if len(names) > 1 and not reads.isdisjoint(names) else frozenset()

    def _is_rest_of(self, neighbour: Neighbour | None, statement: Node) -> bool:
        """Whether an older statement makes anew, of itself, what a neighbour's counterpart made, by what the neighbour
        says and its counterpart does not."""
        if neighbour is None or neighbour.distance > 1 or statement.kind != neighbour.older.kind:
            return False
        bound = {node.label for node in self._older.names.bound(statement)}
        remade = bound & {node.label for node in self._older.names.bound(neighbour.older)}
        if remade.isdisjoint(node.label for node in self._older.names.free(statement)):
            return False
        here, there = self._words(self._newer, neighbour.newer), self._words(self._older, neighbour.older)
        return not (here - there).isdisjoint(self._words(self._older, statement))

    def _words(self, program: Program, statement: Node) -> set[str]:
        return {n.label for n in program.tree.subtree(statement) if n.kind in ("identifier", "attribute_name")}

    def _may_set(self, statement: Node, remade: Set[str], passed_on: Set[str]) -> bool:
        """Whether an older statement may leave some variables as they are, or set them: by what they are, or for what
        is `passed_on`."""
        if not remade or statement.kind not in ("if_statement", "try_statement"):
            return False
        read = {node.label for node in self._older.names.free(statement)}
        return not remade.isdisjoint(passed_on | read)

    def _is_torn(self, around: Surroundings, older: list[Node], gaps: _Narrowed) -> bool:
        """Whether a statement's direct neighbour has moved away from the others, which the place follows."""
        for neighbour, limit, step in ((around.left, gaps.low, 1), (around.right, gaps.high, -1)):
            if neighbour is None or neighbour.distance > 1:
                continue
            place = older.index(neighbour.older)
            between = older[place + 1 : limit] if step > 0 else older[limit:place]
            partners = [self._mapping.newer_of(each) for each in between]
            if any(each is not None and each.parent is around.unit.parent for each in partners):
                return True
        return False

    def _outermost(self, around: Surroundings, older: list[Node], gaps: _Narrowed) -> _Narrowed | None:
        """The first gap before a run of statements that say the same, for what is the first of its block and stands
        directly before one of them; the last gap behind such a run for the last."""
        (only,) = around.neighbours
        first, place = only is around.right, older.index(only.older)
        if only.distance > 1 or not (around.is_first if first else around.is_last):
            return None
        step = -1 if first else 1
        end = place
        while 0 <= end + step < len(older) and older[end + step].fingerprint == only.older.fingerprint:
            end += step
        gap = end if first else end + 1
        return _Narrowed(gap, gap, gaps.doubts) if gap in (0, len(older)) else None

    def _equally_good(self, only: Node, older: list[Node]) -> NoPlace | None:
        """Why there is no place beside the only neighbour, if another statement says the same and is not mapped."""
        for other in older:
            if other is not only and other.fingerprint == only.fingerprint and self._mapping.newer_of(other) is None:
                lines = f"after line {self._line(only)} and after line {self._line(other)}"
                return NoPlace(f"two places are equally good: {lines}", only, 0.4)
        return None

    def _is_held(self, around: Surroundings) -> bool:
        """Whether the neighbours suffice to place a statement into a block that is not mapped."""
        return len(around.neighbours) == 2 or any(self._blocks.vouches(around.unit, n) for n in around.neighbours)

    def _absent(self, block: Node) -> str:
        owner = block.parent.statement() if block.parent is not None else None
        if owner is None:
            return "none of the code around it is in the older version"
        line = self._newer.tree.line(owner.start)
        return f"the block it stands in (line {line}) has no counterpart in the older version"

    def _line(self, node: Node) -> int:
        return self._older.tree.line(node.start)


def _is_emptied(identifier: Node) -> bool:
    """Whether a method of a variable is called that takes all out of it: `losses.clear()`."""
    function = identifier.parent
    if function is None or function.kind != "attribute" or function.role != "function":
        return False
    return function.children[-1].label in _EMPTYING


def _trains(statement: Node) -> str:
    """What a statement calls if that is all it does, and trains: `step` of `optimizer.step()`; "" of all others."""
    call = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    name = called_name(call) if call is not None and call.kind == "call" else ""
    return name if name in TRAINING else ""


def _repeated(node: Node) -> Node:
    """The innermost loop, function or module around a node: what runs again and again, or once."""
    return next(each for each in node.ancestors() if each.kind in LOOPS | SCOPES)


def _training_calls(tree: Tree, around: Node, at: int) -> list[tuple[str, bool]]:
    """What trains within a loop or function, in the order of the file, and whether it stands before a byte there."""
    calls = [call for call in tree.of_kind("call") if around.contains(call)]
    return [(name, call.start < at) for call in calls if (name := called_name(call)) in TRAINING]


def _sides(calls: Sequence[tuple[str, bool]]) -> dict[str, set[bool]]:
    """On which sides of a place there are calls of each name."""
    found: dict[str, set[bool]] = {}
    for name, is_before in calls:
        found.setdefault(name, set()).add(is_before)
    return found


def _is_fed(calls: Sequence[tuple[str, bool]]) -> bool:
    """Whether there are gradients for a step: a `backward` behind the last step before a place."""
    before = [name for name, is_before in calls if is_before and name in ("backward", "step")]
    return before[-1:] == ["backward"]


def _flow_limits(target: Node, older: list[Node], flow: Flow) -> tuple[int, int]:
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

"""What a statement asks of its place: behind what binds the names that it reads, before what binds them anew."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from functools import cached_property
from itertools import takewhile

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.bindings import DISPLAYS, holder_of, set_attributes
from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.edits import Carried, statements_of
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.adapting.vocabulary import is_set
from flor_ray.propagation.carrying.needs import Needs
from flor_ray.propagation.matching.mapping import Mapping as Links
from flor_ray.propagation.placing.gaps import Facing
from flor_ray.propagation.placing.places import BlockGap, Flow
from flor_ray.propagation.reading.names import NameScope
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import LOOPS, SCOPES, Node


class Flows:
    """Flows of units of one newer program in one older program. `carried`: what moved so far, by first byte."""

    def __init__(
        self,
        newer: Program,
        older: Program,
        links: Links,
        renames: Renames,
        facing: Facing,
        needs: Needs,
    ) -> None:
        self._newer, self._older, self._links = newer, older, links
        self._renames, self._facing, self._needs = renames, facing, needs

    def flow(self, unit: Node, adaptation: Adaptation, carried: Mapping[int, Carried], lenient: bool = False) -> Flow:
        """What a unit that is adapted like this asks of its place. `lenient`: it is code, and no log."""
        after: set[int] = set()
        before: set[int] = set()
        names: dict[str, str] = {}
        for name, owner, counterpart in adaptation.read:
            there = self._older.names.lookup(counterpart, adaptation.scope)
            if owner is None or there is None:
                continue
            names[name] = counterpart
            mine = [n for n in owner.bindings.get(name, ()) if n.statement() is not None and not unit.contains(n)]
            earlier = [n for n in mine if n.start < unit.start]
            later = [n for n in mine if n.start > unit.start]
            linked = self._linked(earlier[-1], counterpart) if earlier else []
            if any(self._is_set_outside(node, counterpart, unit, adaptation.block) for node in earlier):
                adaptation.doubts.add(Doubt.SET_OUTSIDE)
            if earlier and not linked and not lenient and not self._are_parameters(earlier[-1], counterpart, there):
                if len(mine) == len(there.bindings[counterpart]) == 1 and self._renames.is_read_as(
                    name, owner, counterpart, there
                ):
                    adaptation.doubts.add(Doubt.SAME_USE)
                else:
                    self._needs.check_binding(name, earlier[-1], unit, carried.keys())
            if linked:
                after.update(linked)
            elif earlier and there is self._older.names.scope_of(adaptation.block):
                after.update(self._first_definition(counterpart, there, adaptation.block))
            behind = self._linked(later[0], counterpart) if later else []
            before.update(index for index in behind[:1] if index not in after)
        return Flow(
            reads=frozenset(counterpart for _, _, counterpart in adaptation.read),
            after=after,
            before=before,
            names=names,
            moved=frozenset(carried),
            carried=tuple(each.place for each in adaptation.carried),
        )

    def code(self, node: Node, adaptation: Adaptation, carried: Mapping[int, Carried]) -> Flow:
        """What a statement that is not a log asks of its place: as for a log, and before what reads its variables."""
        flow = self.flow(node, adaptation, carried, lenient=True)
        early = self._older.names.unset(adaptation.scope)
        waiting = set[int]()
        for each in self._newer.names.bound(node):
            name = adaptation.renamed.get(each.label, each.label)
            waiting.update(read.index for read in self._older.names.loose.get(name, ()))
            if self._is_first(each):
                waiting.update(read.index for read in early.get(name, ()))
        waiting |= self._waiting_for_attributes(node, adaptation)
        return replace(flow, before=frozenset(flow.before) | waiting)

    def _waiting_for_attributes(self, node: Node, adaptation: Adaptation) -> set[int]:
        """What the older function reads of the attributes that a statement sets, and that nothing there sets."""
        found = set[int]()
        for each in self._newer.tree.subtree(node):
            if each.kind != "attribute_name" or not is_set(each):
                continue
            name = adaptation.renamed.get(each.label, each.label)
            if name in self._set_there:
                continue
            found.update(
                read.index
                for read in self._older.tree.of_kind("attribute_name")
                if read.label == name
                and holder_of(read) == holder_of(each)
                and self._older.names.scope_of(read) is adaptation.scope
            )
        return found

    @cached_property
    def _set_there(self) -> Set[str]:
        return set_attributes(self._older.names)

    def check_bound_before(self, place: BlockGap, adaptation: Adaptation) -> None:
        """Raises Declined if what a statement reads, and does not bind, is bound behind its place only, and no loop
        comes back; or is deleted before it."""
        statements = statements_of(place.block)
        at = statements[place.gap].start if place.gap < len(statements) else place.block.end
        loops = [node for node in place.block.ancestors() if node.kind in LOOPS]
        for name, _, counterpart in adaptation.read:
            there = self._older.names.lookup(counterpart, adaptation.scope)
            if there is not adaptation.scope or there.is_class or name in adaptation.own:
                continue
            bound = there.bindings[counterpart]
            if all(node.start >= at for node in bound) and not any(loop.contains(n) for loop in loops for n in bound):
                line = self._older.tree.line(bound[0].start)
                raise Declined(
                    f"it reads `{name}`, which the older version binds behind its place only, on line {line}"
                )
            deleted = next((n for n in statements[: place.gap][::-1] if _deletes(n, counterpart)), None)
            if deleted is not None and not any(deleted.start < node.start < at for node in bound):
                line = self._older.tree.line(deleted.start)
                raise Declined(f"it reads `{name}`, which the older version deletes before its place, on line {line}")

    def _is_first(self, bound: Node) -> bool:
        """Whether an identifier of the newer program is the first to bind its variable, and does not add to it."""
        owner = self._newer.names.owner(bound)
        augments = bound.parent is not None and bound.parent.kind == "augmented_assignment"
        return owner is not None and not augments and owner.bindings[bound.label][0] is bound

    def _linked(self, bound: Node, counterpart: str) -> list[int]:
        """Older nodes that bind what a newer identifier binds: its statement's counterpart, or what it replaced."""
        statement = bound.statement()
        matched = self._newer.matched(statement) if statement is not None else None
        partner = self._links.older_of(matched) if matched is not None else None
        if partner is not None and any(n.label == counterpart for n in self._older.names.bound(partner)):
            return [partner.index]
        return [node.index for node in self._facing.bindings.get(bound.start, ())]

    def _is_set_outside(self, bound: Node, counterpart: str, unit: Node, block: Node) -> bool:
        """Whether a loop around a unit sets a variable anew, and one around its place does not, or the other way."""
        statement = bound.statement()
        if statement is None or (bound.parent is not None and bound.parent.kind == "augmented_assignment"):
            return False
        matched = self._newer.matched(statement)
        partner = self._links.older_of(matched) if matched is not None else None
        if partner is None or all(node.label != counterpart for node in self._older.names.bound(partner)):
            return False
        return _loops_between(statement, unit) != _loops_between(partner, block)

    def _are_parameters(self, bound: Node, counterpart: str, there: NameScope) -> bool:
        """Whether a newer identifier and its counterpart are parameters: whoever calls the function makes them."""
        return _is_parameter(bound, self._newer) and _is_parameter(there.bindings[counterpart][0], self._older)

    def _first_definition(self, name: str, scope: NameScope, block: Node) -> set[int]:
        """The first binding of a variable in a block, if none reaches the block from outside: what another branch binds
        does not."""
        bound = scope.bindings.get(name, [])
        inside = [node for node in bound if block.contains(node)]
        if not inside or any(not block.contains(node) and not _is_in_other_branch(node, block) for node in bound):
            return set()
        return {inside[0].index}


def _loops_between(outer: Node, inner: Node) -> int:
    """How many loops repeat a node, and another one with it only as a whole."""
    around = takewhile(lambda each: each.kind not in SCOPES, inner.ancestors())
    return sum(each.kind in LOOPS and not each.contains(outer) for each in around)


def _is_parameter(bound: Node, program: Program) -> bool:
    """Whether an identifier is bound by the head of a function, which stands outside of what it binds for."""
    statement = bound.statement()
    return (
        statement is not None
        and statement.kind == "function_definition"
        and (program.names.scope_of(statement) is not program.names.scope_of(bound))
    )


def _deletes(statement: Node, name: str) -> bool:
    """Whether a statement deletes a variable."""
    if statement.kind != "delete_statement":
        return False
    targets = [t for child in statement.children for t in (child.children if child.kind in DISPLAYS else (child,))]
    return any(target.kind == "identifier" and target.label == name for target in targets)


def _is_in_other_branch(node: Node, block: Node) -> bool:
    """Whether a condition lets either a node run or a block, and no loop brings the one before the other."""
    around = takewhile(lambda each: each.kind not in LOOPS | SCOPES, block.ancestors())
    common = next((each for each in around if each.contains(node)), None)
    return common is not None and common.kind == "if_statement"

"""From a mapping to an edit or a refusal: which statements have to move, what they are called there, where they go.

line --> statement --> unit           the statement, or the only-newer `if`/`with`/`for` around it
                         |  needs     names that the older version lacks: their definitions come along, and calls
                         |            that it makes without using their results get a name (unnamed.py)
                         |  place     placement.py
                         |  adapt     renames.py, and the older file's name for flor_ray
                         v
                     insertion        edits.py
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.bindings import scope_key
from flor_ray.propagation.adapting.edits import (
    Carried,
    statements_of,
)
from flor_ray.propagation.adapting.embedded import check_evaluated_once, names_spelled
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.adapting.vocabulary import check_attributes, check_items, strangeness
from flor_ray.propagation.carrying.cargo import Cargo
from flor_ray.propagation.carrying.editing import Editor
from flor_ray.propagation.carrying.flows import Flows
from flor_ray.propagation.carrying.imports import is_seen_anyway
from flor_ray.propagation.carrying.needs import MAX_NEEDS, Needs
from flor_ray.propagation.carrying.otherwise import Doings
from flor_ray.propagation.carrying.serving import serving_blocks
from flor_ray.propagation.carrying.units import dropped_from, kept_in, widen
from flor_ray.propagation.carrying.unnamed import Unnamed
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.gumtree import match
from flor_ray.propagation.matching.thresholds import MAX_CARRIED_LINES
from flor_ray.propagation.placing.gaps import facing_variables
from flor_ray.propagation.placing.pinned import pinned_place
from flor_ray.propagation.placing.placement import Placer
from flor_ray.propagation.placing.places import BlockGap, Flow, NoPlace
from flor_ray.propagation.placing.presence import find_present
from flor_ray.propagation.reading.effects import TRAINING, in_parameters
from flor_ray.propagation.reading.names import NameScope, ScopeKey
from flor_ray.propagation.reading.nesting import depth, same_loops
from flor_ray.propagation.reading.program import LogCall, Program
from flor_ray.propagation.reading.tree import Node
from flor_ray.records import Pin

_Results = dict[tuple[int, int], tuple[str, Carried]]  # first and last byte of a newer call -> its older result
_NO_RESULTS: _Results = {}
_LEAVES_BLOCK = frozenset({"return_statement", "raise_statement", "yield", "await", "global_statement"})


@dataclass(frozen=True, slots=True)
class Present:
    """The older version logs this feature there already."""

    line: int


class Transplant:
    """Carries statements of one newer program to one older program. Holds what was carried so far.

    `requested` are the first bytes of the statements that the user wants carried.
    """

    def __init__(self, newer: Program, older: Program, requested: Set[int] = frozenset()) -> None:
        self.newer, self.older, self.requested = newer, older, requested
        self.mapping = match(
            newer.tree,
            older.tree,
            (newer.features(), older.features()),
            list(same_loops(newer.tree, older.tree)),
            {node.index for start in requested if (node := newer.statements.get(start)) is not None}
            | serving_blocks(newer, frozenset(requested)),
        )
        self._unnamed = Unnamed(newer, older, self.mapping)
        facing = facing_variables(self.mapping, newer.names, older.names)
        self.renames = Renames(self.mapping, newer.names, older.names, facing.variables)
        self._needs = Needs(newer, self.mapping, self._unnamed)
        self._flows = Flows(newer, older, self.mapping, self.renames, facing, self._needs)
        self._doings = Doings(newer, older, self.mapping, self.renames)
        self._cargo = Cargo(newer, older, self.renames)
        self.placer = Placer(newer, older, self.mapping, self.renames)
        self._editor = Editor(newer, older, self._unnamed)
        self.pinned: dict[int, Pin] = {}  # by first byte of a statement
        self._private: dict[int, tuple[Node, str]] = {}  # by first byte of `x = x * 2`: its `x`, and what it binds here
        self._needing: list[tuple[ScopeKey | None, str]] = []

    @property
    def carried(self) -> dict[int, Carried]:
        """What was carried so far, by the first byte of what moved as a unit."""
        return self._editor.carried

    def take_back(self, carried: dict[int, Carried]) -> None:
        """Let nothing be carried but what was at some time before."""
        self._editor.carried = carried

    def carry(self, statement: Node) -> Carried | Present:
        """Carry one statement (a node of the newer program's written tree). Raises Declined."""
        before = set(self.carried)
        result = self._carry(statement)
        own = range(self._newer_line(statement), self.newer.written.last_line(statement) + 1)
        new = [each.insertion for start, each in self.carried.items() if start not in before]
        count = sum(number not in own for insertion in new for number in insertion.newer_lines)
        if count > MAX_CARRIED_LINES:
            raise Declined(
                f"it needs {count} lines that the older version does not have, which is more than {MAX_CARRIED_LINES}"
            )
        return result

    def guess(self, statement: Node) -> Node | None:
        """The older statement after which a statement would stand if only what is around it counted."""
        matched = self.newer.matched(statement)
        place = self.placer.place(matched, Flow()) if matched is not None else None
        if not isinstance(place, BlockGap):
            return None if place is None else place.guess
        return statements_of(place.block)[place.gap - 1] if place.gap else place.block.statement()

    def _carry(self, statement: Node) -> Carried | Present:
        if statement.start in self.pinned:
            place = pinned_place(self.older.tree, self.pinned[statement.start])
            adaptation = self._adapt(statement, (), place)
            self._flows.check_bound_before(place, adaptation)
            return self._editor.finish(statement, place, adaptation, ())
        logs = [log for log in self.newer.logs if log.statement is statement]
        if not logs:
            return self._carry_plain(statement)
        present = [find_present(self.newer, self.older, self.mapping, log) for log in logs]
        missing = [log for log, line in zip(logs, present, strict=True) if line is None]
        if not missing:
            return Present(min(line for line in present if line is not None))
        if missing[0].alone:
            return self._carry_unit(self._matched(statement))
        return self._carry_embedded(statement, missing)

    def _carry_plain(self, statement: Node) -> Carried | Present:
        node = self._matched(statement)
        partner = self.mapping.older_of(node)
        if partner is not None:
            if depth(partner) != depth(node):
                line = self.older.tree.line(partner.start)
                raise Declined(f"the older version has it in another loop, on line {line}", partner, 0.4)
            return Present(self.older.tree.line(partner.start))
        first = self.placer.place(node, Flow(), code=True)
        if isinstance(first, NoPlace):
            raise Declined(first.reason, first.guess, first.confidence)
        adaptation = Adaptation(self.newer, self.older, self.renames, statement, (), first.block, lenient=True)
        for name, owner in adaptation.lacking:
            if not is_seen_anyway(self.newer, self.older, name, owner, adaptation):
                adaptation.carried += self._requested_definitions(name, owner)
        for alias in adaptation.lacking_aliases:
            raise Declined(f"it reads `{alias.name}`, which the older version does not define", confidence=0.3)
        place = self.placer.place(node, self._flows.code(node, adaptation, self.carried), code=True)
        if isinstance(place, NoPlace):
            raise Declined(place.reason, place.guess, place.confidence)
        if place.block is not first.block:
            there = Adaptation(self.newer, self.older, self.renames, statement, (), place.block, lenient=True)
            there.carried = adaptation.carried
            adaptation = there
        twin = self._doings.twin_at(node, place, adaptation)
        if twin is not None:
            return Present(self.older.tree.line(twin.start))
        self._doings.check(node, place, adaptation)
        self._check_adds_to_its_own(node, adaptation)
        check_attributes(self.newer, self.older, statement, adaptation, (), self.carried.keys() | self.requested)
        adaptation.doubts |= strangeness(self.newer, self.older, statement, adaptation, self.requested)
        return self._editor.finish(statement, place, adaptation, ())

    def _check_adds_to_its_own(self, node: Node, adaptation: Adaptation) -> None:
        """Raises Declined if a statement would add to a variable that the older version uses for something else: all
        that sets it there, or all that adds to it, is in the older version alone."""
        own = _addition(node)
        if own is None:
            return
        for bound in self.newer.names.bound(node):
            name = adaptation.renamed.get(bound.label, bound.label)
            setting = [s for n in adaptation.scope.bindings.get(name, ()) if (s := n.statement()) is not None]
            adding = [each for each in setting if (a := _addition(each)) is not None and a.label == own.label]
            for theirs in (setting, adding):
                if theirs and all(self.mapping.newer_of(each) is None for each in theirs):
                    line = self.older.tree.line(theirs[0].start)
                    text = f"it adds to `{bound.label}`, of which line {line} of the older version makes something else"
                    raise Declined(text)

    def _requested_definitions(self, name: str, owner: NameScope | None) -> list[Carried]:
        """What defines a name that the older version lacks, if it is carried on request, too. Raises Declined."""
        bound = owner.bindings.get(name, ()) if owner is not None else ()
        statements = [node.statement() for node in bound]
        found = [self.carried[each.start] for each in statements if each is not None and each.start in self.carried]
        if not found or len(found) < len(statements):
            raise Declined(f"it reads `{name}`, which the older version does not define", confidence=0.3)
        return found

    def _carry_embedded(self, statement: Node, logs: Sequence[LogCall]) -> Carried:
        node = self._matched(statement)
        partner = self.mapping.older_of(node)
        if partner is None or not partner.is_statement:
            if self._leaves(node) or node.kind in CONTAINERS:
                raise Declined("the statement that it is part of has no counterpart in the older version")
            return self._carry_unit(node)
        if self._unnamed.inside(node):
            return self._carry_unit(node)
        results = [self._beside(statement, log, partner) for log in logs]
        return results[0]

    def _beside(self, statement: Node, log: LogCall, partner: Node) -> Carried:
        """Log next to the counterpart of the statement that the call is part of."""
        check_evaluated_once(statement, log.call.node)
        assignment = statement.children[0] if statement.kind == "expression_statement" else statement
        target = assignment.child("left") if assignment.kind == "assignment" else None
        whole = target is not None and assignment.child("right") is log.call.node
        block = partner.parent
        if block is None:
            raise Declined("the statement that it is part of has no counterpart in the older version")
        position = statements_of(block).index(partner)
        if whole and target is not None and log.call.value is not None and target.kind in ("identifier", "attribute"):
            other = partner.children[0].child("left") if partner.children else None
            if other is not None and other.kind == target.kind:
                place = BlockGap(
                    block, position + 1, True, (), f"after line {self._older_line(partner)}, which it is part of"
                )
                value = self.older.tree.text(other)
                return self._insert(log.call.node, place, {(log.call.value.start, log.call.value.end): value})
        if log.call.value is not None:
            self._cargo.check_again(log.call.value, self.requested)
        place = BlockGap(block, position, False, (), f"before line {self._older_line(partner)}, which it is part of")
        return self._insert(log.call.node, place, {})

    def _carry_unit(self, statement: Node) -> Carried:
        unit, around = widen(self.newer, self.mapping, statement)
        known = self.carried.get(unit.start)
        if known is not None:
            if self._newer_line(statement) in known.insertion.newer_lines:
                return known
            lines = known.insertion.newer_lines  # less of it was needed then
            around += [n for n in self.newer.tree.subtree(unit) if n.is_statement and self._newer_line(n) in lines]
        if self._leaves(unit) and unit.kind not in ("function_definition", "class_definition", "decorated_definition"):
            raise Declined("it would leave its block (return, raise, yield or await), which the older version does not")
        written = self._written(unit)
        kept = kept_in(self.newer, unit, around, self.requested)
        dropped = [] if kept is None else [self._written(node) for node in dropped_from(self.newer, unit, kept)]
        parts = [unit] if kept is None else [self.newer.tree.nodes[index] for index in sorted(kept)]
        there = [s for s in self.carried if s not in self._private]
        coming = [*parts, *(node for start in there if (node := self.newer.statements.get(start)) is not None)]
        own = set(self._needing) | {
            (scope_key(self.newer.names.owner(n)), n.label) for part in coming for n in self.newer.names.bound(part)
        }
        results = self._results(unit, dropped)
        for part in parts:
            if part.start not in self.requested:
                in_unit, is_private = kept is not None, part.start in self._private
                self._cargo.check(self._written(part), in_unit, own, self.requested, results.keys(), is_private)
        definition = unit.parent is not None and unit.parent.parent is not None and unit.parent.parent.kind
        first = self.placer.place(unit, Flow())
        if isinstance(first, NoPlace) and definition == "function_definition" and unit.parent is not None:
            return self._carry_callers(unit, first)
        adaptation = self._adapt(written, dropped, first, results)
        self._carry_changes(written, adaptation)
        flow = self._flows.flow(unit, adaptation, self.carried)
        place = self.placer.place(unit, flow)
        if isinstance(place, NoPlace):
            raise Declined(place.reason, place.guess, place.confidence)
        if isinstance(first, NoPlace) or first.block is not place.block:
            adaptation = self._adapt(written, dropped, place, results)
            self._carry_changes(written, adaptation)
        self._editor.check_results(place, adaptation)
        self._flows.check_bound_before(place, adaptation)
        check_attributes(self.newer, self.older, written, adaptation, dropped, self.carried.keys())
        check_items(self.newer, self.mapping, unit)
        return self._editor.finish(written, place, adaptation, dropped)

    def _carry_callers(self, unit: Node, found: NoPlace) -> Carried:
        """A log in an only-newer function: carry the statements that call it, and with them the function."""
        function = unit.parent.parent if unit.parent is not None else None
        name = function.child("name") if function is not None else None
        scope = self.newer.names.owner(name) if name is not None else None
        if function is None or name is None or scope is None or self.mapping.older_of(function) is not None:
            raise Declined(found.reason, found.guess, found.confidence)
        callers = {}
        for read in scope.reads.get(name.label, ()):
            statement = read.statement()
            if statement is not None and not function.contains(statement):
                callers[statement.index] = statement
        alone = all(
            node.kind == "expression_statement"
            and node.children[0].kind == "call"
            and self.mapping.older_of(node) is None
            for node in callers.values()
        )
        if not callers or not alone:
            raise Declined(found.reason, found.guess, found.confidence)
        for caller in callers.values():
            self._carry_unit(caller)
        holder = next((c for c in self.carried.values() if self._newer_line(unit) in c.insertion.newer_lines), None)
        if holder is None:
            raise Declined(found.reason, found.guess, found.confidence)
        return holder

    def _adapt(
        self, written: Node, dropped: Sequence[Node], place: BlockGap | NoPlace, results: _Results = _NO_RESULTS
    ) -> Adaptation:
        """Names for a unit in the older program; definitions that it lacks are carried first."""
        block = place.block if isinstance(place, BlockGap) else self.older.tree.root
        named = names_spelled(self.newer, written)
        adaptation = Adaptation(self.newer, self.older, self.renames, written, dropped, block, (*results, *named))
        adaptation.replacements.update(named)
        adaptation.carried += [carried for _, carried in results.values()]
        adaptation.replacements.update((span, name.encode()) for span, (name, _) in results.items())
        for name, owner in adaptation.lacking:
            if is_seen_anyway(self.newer, self.older, name, owner, adaptation):
                continue
            if owner is None:
                raise Declined(f"it reads `{name}`, which neither version defines")
            adaptation.carried += self._carry_definitions(name, owner, written)
        for alias in adaptation.lacking_aliases:
            self._editor.bring_import(alias.node, block)
        return adaptation

    def _carry_definitions(self, name: str, owner: NameScope, reader: Node) -> list[Carried]:
        key = (scope_key(owner), name)
        if key in self._needing:
            return []
        if len(self._needing) >= MAX_NEEDS:
            raise Declined(f"it needs a chain of more than {MAX_NEEDS} definitions that the older version lacks")
        self._needing.append(key)
        try:
            definitions = self._needs.definitions(name, owner, reader)
            return [self._carry_definition(name, node) for node in definitions]
        finally:
            self._needing.pop()

    def _carry_definition(self, name: str, node: Node) -> Carried:
        statement = node.statement()
        there = self._unnamed.named(name, node)
        if there is not None:
            return self._editor.name_result(name, there, self._newer_line(node))
        if statement is not None and not self.newer.written_names.binds(node):
            call = node.parent
            if call is not None and call.kind == "attribute" and call.children[-1].label in TRAINING:
                line = self._newer_line(node)
                raise Declined(f"it reads `{name}`, which only the newer version has and which line {line} trains with")
        if statement is None or in_parameters(node):
            raise Declined(f"it reads `{name}`, a parameter that the older version does not have")
        if statement.kind in ("import_statement", "import_from_statement"):
            return self._editor.bring_import(node, self.older.tree.root)
        matched = self._matched(statement)
        partner = self.mapping.older_of(matched)
        if partner is not None and statement.kind not in ("function_definition", "class_definition"):
            raise Declined(f"it reads `{name}`, which the older version does not define", partner, 0.3)
        if statement.kind in CONTAINERS and not statement.kind.endswith("_definition"):
            raise Declined(f"it reads `{name}`, which is bound by a block that the older version does not have")
        return self._carry_unit(matched)

    def _carry_changes(self, written: Node, adaptation: Adaptation) -> None:
        """Carry `x = x * 2` along with what logs this `x`, as `x_ = x * 2`: the script must not see it."""
        names = self.newer.written_names
        for name, owner, counterpart in list(adaptation.read):
            if (name, owner) in adaptation.lacking:  # all that makes it comes along
                continue
            changed = self._needs.change_for_logs(name, owner, written) if owner is not None else None
            statement = changed.statement() if changed is not None else None
            if owner is None or changed is None or statement is None:
                continue
            fresh = counterpart + "_"
            while fresh in self.newer.names.known or fresh in self.older.names.known:
                fresh += "_"
            line = self._newer_line(statement)
            if changed.parent is None or changed.parent.kind != "assignment":
                raise Declined(f"it reads `{name}` as line {line} changes it, which the older version does not have")
            self._private[statement.start] = changed, fresh
            adaptation.carried.append(self._carry_unit(self._matched(statement)))
            for node in self.newer.written.subtree(written):
                if node.kind == "identifier" and node.label == name and names.owner(node) is owner:
                    adaptation.replacements[node.start, node.end] = fresh.encode()
        if written.start in self._private:
            target, fresh = self._private[written.start]
            adaptation.replacements[target.start, target.end] = fresh.encode()

    def _results(self, unit: Node, dropped: Sequence[Node]) -> _Results:
        """Names for the results of the calls in a unit that the older version has as statements of their own."""
        found: _Results = {}
        for call, statement in self._unnamed.inside(unit):
            within = [(start, end) for start, end in found if start <= call.start and call.end <= end]
            if within or any(each.start <= call.start and call.end <= each.end for each in dropped):
                continue
            line = self._newer_line(call)
            if self.newer.written.last_line(call) != line:
                raise Declined(f"it needs the result of a call of several lines, which line {line} begins")
            name = self._unnamed.free_name(call, statement)
            found[call.start, call.end] = name, self._editor.name_result(name, statement, line)
        return found

    def _insert(self, call: Node, place: BlockGap, values: dict[tuple[int, int], bytes]) -> Carried:
        named = names_spelled(self.newer, call)
        adaptation = Adaptation(self.newer, self.older, self.renames, call, (), place.block, (*values, *named))
        adaptation.replacements.update(named)
        for name, owner in adaptation.lacking:
            if is_seen_anyway(self.newer, self.older, name, owner, adaptation):
                continue
            raise Declined(f"it reads `{name}`, which the older version does not define")
        for alias in adaptation.lacking_aliases:
            self._editor.bring_import(alias.node, place.block)
        adaptation.replacements.update(values)
        return self._editor.finish(call, place, adaptation, ())

    def _matched(self, statement: Node) -> Node:
        node = self.newer.matched(statement)
        if node is None:
            raise Declined("it is not a statement that can be carried")
        return node

    def _written(self, node: Node) -> Node:
        if self.newer.tree is self.newer.written:
            return node
        return next(n for n in self.newer.written.statements if n.start == node.start)

    def _leaves(self, node: Node) -> bool:
        return any(each.kind in _LEAVES_BLOCK for each in self.newer.tree.subtree(node))

    def _newer_line(self, node: Node) -> int:
        return self.newer.written.line(node.start)

    def _older_line(self, node: Node) -> int:
        return self.older.tree.line(node.start)


def _addition(statement: Node) -> Node | None:
    """What adds to a variable, if a statement does nothing else: `total += 1`."""
    return next((each for each in statement.children if each.kind == "augmented_assignment"), None)

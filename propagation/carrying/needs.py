"""What defines a variable that only the newer version has: the statements that would have to come along, or why not.

A variable comes along with everything that gives it its value. What keeps its value from one epoch to the next does
not: a replay that starts from a checkpoint of the older version would find it empty.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.carrying.units import mutated
from flor_ray.propagation.carrying.unnamed import Unnamed
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.placing.gaps import HARMLESS
from flor_ray.propagation.reading.effects import called_name
from flor_ray.propagation.reading.names import NameScope
from flor_ray.propagation.reading.nesting import nesting_of
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node

MAX_NEEDS = 20  # definitions of one name, and definitions that need each other: more are not looked for
_LACKING = "and which the older version does not have"


class Needs:
    """Definitions of the newer program's variables."""

    def __init__(self, newer: Program, mapping: Mapping, unnamed: Unnamed) -> None:
        self._newer, self._mapping, self._unnamed = newer, mapping, unnamed
        self._main_loop = nesting_of(newer.written).main_loop

    def definitions(self, name: str, owner: NameScope, reader: Node) -> list[Node]:
        """Identifiers that bind or change a variable, in document order. Raises Declined."""
        statements = {s.start: node for node in owner.bindings.get(name, ()) if (s := node.statement()) is not None}
        changed = [
            node
            for node in owner.reads.get(name, ())
            if (s := node.statement()) is not None and node in mutated(s) and s.start not in statements
        ]
        found = sorted([*statements.values(), *changed], key=lambda node: node.start)
        if len(found) > MAX_NEEDS:
            raise Declined(f"it reads `{name}`, which {len(found)} statements define that the older version lacks")
        if all(is_plain_definition(node) for node in found):
            return found
        is_there = any(self._unnamed.named(name, node) is not None for node in found)
        if is_there:
            self._check_unchanged(name, found)
        for read in owner.reads.get(name, ()):
            statement = read.statement()
            if statement is not None and statement.start not in statements and not reader.contains(statement):
                self._check_use(name, read, statement, read in changed, is_there)
        self._check_epochs(name, found, owner, reader)
        return found

    def _check_unchanged(self, name: str, found: Sequence[Node]) -> None:
        """Raises Declined if a variable that holds what is the script's own in the older version is changed."""
        names = self._newer.written_names
        for node in found:
            augmented = node.parent is not None and node.parent.kind == "augmented_assignment"
            if augmented or not names.binds(node):
                line = self._newer.written.line(node.start)
                raise Declined(f"it reads `{name}`, which line {line} changes {_LACKING}")

    def check_binding(self, name: str, bound: Node, unit: Node, carried: Set[int]) -> None:
        """Raises Declined if what a unit reads was set anew just for it to see, by code that only the newer has."""
        statement = bound.statement()
        block = statement.parent if statement is not None else None
        matched = self._newer.matched(statement) if statement is not None else None
        if statement is None or block is None or matched is None or matched.parent is None:
            return
        anew = not is_plain_definition(bound) and statement.start not in carried
        if not anew or not matched.parent.contains(unit):
            return
        if not self._reads(statement, name):
            line = self._newer.written.line(statement.start)
            raise Declined(f"it reads `{name}` as line {line} sets it, which the older version does not")

    def _reads(self, statement: Node, name: str) -> bool:
        return any(node.label == name for node in self._newer.written_names.free(statement))

    def _check_use(self, name: str, read: Node, statement: Node, known: bool, is_there: bool) -> None:
        line = self._newer.written.line(statement.start)
        matched = self._newer.matched(statement)
        partner = self._mapping.older_of(matched) if matched is not None else None
        if self._only_observes(statement):
            return
        if partner is not None and not is_there:
            raise Declined(f"it reads `{name}`, which line {line} uses too {_LACKING}", partner, 0.3)
        if not known and _may_fill(read, statement):
            raise Declined(f"it reads `{name}`, which line {line} may change {_LACKING}")

    def _check_epochs(self, name: str, found: list[Node], owner: NameScope, reader: Node) -> None:
        loop = self._main_loop
        taken = [n for n in owner.reads.get(name, ()) if loop is not None and loop.contains(n) and _takes_next(n)]
        if taken and any(loop is not None and not loop.contains(node) for node in found):
            raise self._over_epochs(name, taken[0])
        inside = [node for node in found if loop is not None and loop.contains(node)]
        if loop is None or not inside:
            return
        first = inside[0].statement()
        block = first.parent if first is not None else None
        if first is None or block is None:
            return
        stateful = [node for node in inside if self._keeps(node, name, owner)]
        fresh = not self._keeps(inside[0], name, owner) and inside[0].start < reader.start and loop.contains(reader)
        behind = reader.start >= loop.end and not stateful and len(found) == len(inside)
        if behind and self._newer.written_names.scope_of(reader) is owner:
            return  # what the last epoch has made of it: that takes a run of all of them
        if stateful or len(found) > len(inside):
            fresh = fresh and block.contains(reader) and all(block.contains(node) for node in inside)
        if not fresh:
            raise self._over_epochs(name, (stateful or inside)[0])

    def _over_epochs(self, name: str, node: Node) -> Declined:
        line = self._newer.written.line(node.start)
        return Declined(f"it reads `{name}`, which keeps its value from epoch to epoch (line {line}) {_LACKING}")

    def _keeps(self, node: Node, name: str, owner: NameScope) -> bool:
        """Whether what a definition makes of a variable depends on what it was in another epoch."""
        statement = node.statement()
        if statement is None:
            return True
        reads_it = any(statement.contains(read) for read in owner.reads.get(name, ()))
        return reads_it and not self._is_made_before(name, statement)

    def _is_made_before(self, name: str, statement: Node) -> bool:
        """Whether the same pass of the main loop (or of the script) has surely bound a variable anew before."""
        child = statement
        while (block := child.parent) is not None and child is not self._main_loop:
            if any(self._makes(each, name) for each in statements_of(block) if each.start < child.start):
                return True
            around = block.statement()
            if around is None or around.kind.endswith("_definition"):
                break
            child = around
        return False

    def _makes(self, statement: Node, name: str) -> bool:
        """Whether a statement, which is no block, binds a variable to something that does not depend on it."""
        bound = statement.kind == "expression_statement" and any(
            node.label == name for node in self._newer.written_names.bound(statement)
        )
        return bound and not self._reads(statement, name)

    def change_for_logs(self, name: str, owner: NameScope, unit: Node) -> Node | None:
        """The identifier in `x = x * 2` whose `x` a unit reads, if only the newer version does this, and nothing but
        logs reads it: the older version's own `x` is another value, and must stay what it is."""
        earlier = [n for n in owner.bindings.get(name, ()) if n.statement() is not None and n.start < unit.start]
        statement = earlier[-1].statement() if earlier else None
        matched = self._newer.matched(statement) if statement is not None else None
        if statement is None or matched is None or self._mapping.older_of(matched) is not None:
            return None
        if unit.contains(statement) or self._newer.written_names.scope_of(unit) is not owner:
            return None
        changes = self._reads(statement, name) and self._is_made_before(name, statement)
        return earlier[-1] if changes and self._only_logs_read(name, owner, statement) else None

    def _only_logs_read(self, name: str, owner: NameScope, statement: Node) -> bool:
        """Whether nothing but logs, and statements that change it further, reads what a statement makes of a name."""
        anew = [s for n in owner.bindings[name] if (s := n.statement()) is not None and self._makes(s, name)]
        end = min((s.start for s in anew if s.start > statement.start), default=len(self._newer.written.source))
        readers = [r.statement() for r in owner.reads.get(name, ()) if statement.end <= r.start < end]
        return all(reader is not None and self._only_serves(reader, name) for reader in readers)

    def _only_serves(self, reader: Node, name: str) -> bool:
        bound = {node.label for node in self._newer.written_names.bound(reader)}
        return self._only_observes(reader) or (reader.kind == "expression_statement" and bound == {name})

    def _only_observes(self, statement: Node) -> bool:
        """Whether a statement just logs or prints: what it reads is not needed for training."""
        if any(log.statement is statement for log in self._newer.logs):
            return True
        call = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
        return call is not None and call.kind == "call" and called_name(call) in HARMLESS


def is_plain_definition(node: Node) -> bool:
    """An import, function or class: having it changes nothing."""
    statement = node.statement()
    return statement is not None and (
        statement.kind.startswith("import")
        or statement.kind in ("function_definition", "class_definition", "decorated_definition")
    )


def _takes_next(read: Node) -> bool:
    """Whether this is the argument in `next(items)`."""
    call = read.parent.parent if read.parent is not None else None
    return call is not None and call.kind == "call" and called_name(call) == "next" and call.children[0] is not read


def _may_fill(read: Node, statement: Node) -> bool:
    """Whether a statement hands a variable to a call for nothing but what that does to it: `show(sizes)`."""
    call = statement.children[0] if statement.kind in ("expression_statement",) and statement.children else None
    given = call.child("arguments") if call is not None and call.kind == "call" else None
    return given is not None and given.contains(read)

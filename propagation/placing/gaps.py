"""What faces what between mapped neighbours: code that one version has there replaces what the other has there.

        newer gap      P1  S  P2       between the nearest siblings of S that are mapped into the older block
        older gap      Q               between their counterparts

If only P1 is there, S comes after the replaced code, and so after Q; if only P2, before it. A variable that is bound in
the newer gap and, under the same name, in the older one is the same variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from flor_ray.propagation.adapting.bindings import scope_key
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.effects import Effects, called_name
from flor_ray.propagation.reading.names import Names, ScopeKey
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import BLOCKS, Node

HARMLESS = frozenset({"print", "log", "info", "debug", "warning", "write", "set_description", "set_postfix"})
_NEUTRAL = frozenset({"class_definition", "decorated_definition", "function_definition", "import_from_statement"})
_NEUTRAL |= {"import_statement", "pass_statement", "future_import_statement"}


@dataclass(frozen=True, slots=True)
class Facing:
    """Variables that both versions bind in gaps that face each other, under one name."""

    variables: set[tuple[ScopeKey | None, str, ScopeKey | None]] = field(
        default_factory=set
    )  # newer scope, older scope
    bindings: dict[int, list[Node]] = field(default_factory=dict)  # newer binding's first byte -> older bindings


def replaces(statement: Node) -> bool:
    """Whether a statement can stand for code that the other version has: not if it only tells, imports or defines."""
    if statement.kind in _NEUTRAL:
        return False
    if statement.kind != "expression_statement" or not statement.children:
        return True
    expression = statement.children[0]
    return expression.kind != "string" and not (expression.kind == "call" and called_name(expression) in HARMLESS)


def facing(mapping: Mapping) -> Iterable[tuple[list[Node], list[Node]]]:
    """Runs of statements that face each other in linked blocks, between neighbours linked in the same order."""
    for newer in mapping.newer.of_kind(*sorted(BLOCKS)):
        older = mapping.older_of(newer)
        if older is None or older.kind not in BLOCKS or newer.fingerprint == older.fingerprint:
            continue
        ours, theirs = statements_of(newer), statements_of(older)
        index = {node.index: place for place, node in enumerate(theirs)}
        run: list[Node] = []
        reached = 0
        for statement in ours:
            partner = mapping.older_of(statement)
            place = index.get(partner.index) if partner is not None else None
            if place is None:
                run.append(statement)
                continue
            if run and place > reached:
                yield run, _left_over(mapping, newer, theirs[reached:place])
            run = []
            reached = max(reached, place + 1)
        if run and len(theirs) > reached:
            yield run, _left_over(mapping, newer, theirs[reached:])


def _left_over(mapping: Mapping, block: Node, statements: list[Node]) -> list[Node]:
    """Those that are not mapped to a statement of this newer block."""
    return [each for each in statements if (partner := mapping.newer_of(each)) is None or partner.parent is not block]


def facing_variables(mapping: Mapping, newer: Names, older: Names) -> Facing:
    """Which variables are the same because the code that binds the one replaces the code that binds the other."""
    found = Facing()
    for left, right in facing(mapping):
        theirs: dict[str, list[Node]] = {}
        for statement in right:
            for node in older.bound(statement):
                theirs.setdefault(node.label, []).append(node)
        for statement in left:
            for node in newer.bound(statement):
                if node.label in theirs:
                    there = older.owner(theirs[node.label][0])
                    found.variables.add((scope_key(newer.owner(node)), node.label, scope_key(there)))
                    found.bindings[node.start] = theirs[node.label]
    return found


class Serving:
    """Newer-only assignments without effects that only log statements (and each other) read; by first byte.

    They come along with a log, or stay behind with one: they do not replace anything. `inert` tells whether a statement
    leaves the state of all objects as it is. Asked for few statements of a file, so nothing is worked out before.
    """

    def __init__(self, newer: Program, mapping: Mapping, inert: Callable[[Node], bool]) -> None:
        self._newer, self._mapping, self._inert = newer, mapping, inert
        self._logs = {log.statement.start for log in newer.logs}
        self._written = (
            newer.statements if newer.tree is newer.written else {node.start: node for node in newer.written.statements}
        )
        self._known: dict[int, bool] = {}

    def __contains__(self, start: int) -> bool:
        if start not in self._known:
            self._settle(start)
        return self._known[start]

    def _settle(self, start: int) -> None:
        """Decide on a statement and on all that read what it binds: those stay that nothing else reads in the end."""
        readers: dict[int, set[int]] = {}  # first byte -> statements that read what this one binds
        todo, lost = [start], list[int]()
        while todo:
            each = todo.pop()
            if each in readers:
                continue
            node = None if each in self._known else self._candidate(each)
            readers[each] = _readers(self._newer.written_names, node) - self._logs if node is not None else set()
            if node is None and not self._known.get(each, False):
                lost.append(each)
            todo += readers[each]
        served: dict[int, list[int]] = {}
        for each, by in readers.items():
            for reader in by:
                served.setdefault(reader, []).append(each)
        gone = set(lost)
        while lost:
            more = [each for each in served.get(lost.pop(), ()) if each not in gone]
            gone.update(more)
            lost += more
        self._known.update((each, each not in gone) for each in readers)

    def _candidate(self, start: int) -> Node | None:
        """The newer-only assignment without effects that starts at a byte."""
        matched = self._newer.statements.get(start)
        node = self._written.get(start)
        if node is None or matched is None or self._mapping.older_of(matched) is not None or not _is_assignment(node):
            return None
        effect = self._effects.of(node, self._newer.written.subtree(node), _never, self._logs)
        return node if effect is None and self._inert(matched) else None

    @cached_property
    def _effects(self) -> Effects:
        return Effects(self._newer)


def _is_assignment(statement: Node) -> bool:
    return (
        statement.kind == "expression_statement"
        and bool(statement.children)
        and statement.children[0].kind in ("assignment", "augmented_assignment")
    )


_MAX_READS = 100  # a variable that is read more often serves more than logs


def _readers(names: Names, statement: Node) -> set[int]:
    """First bytes of the statements that read what a statement binds; -1 for what is in none."""
    found: set[int] = set()
    for bound in names.bound(statement):
        owner = names.owner(bound)
        reads = owner.reads.get(bound.label, ()) if owner is not None else ()
        if len(reads) > _MAX_READS:
            return {-1}
        for read in reads:
            reader = read.statement()
            found.add(reader.start if reader is not None else -1)
    return found


def _never(node: Node) -> bool:
    return False

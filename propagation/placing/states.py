"""The state that objects are in where a statement stands: modes, and what training has done to them so far.

`net(x)` says something else after `net.eval()`; no data flow shows that. So the calls that change the state of what a
statement reads are listed in both versions, from the start of its block down to its place. If they differ there, but
not at some other place of the older block, then the place is on the wrong side of such a call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set
from collections.abc import Mapping as Lookup
from dataclasses import dataclass, field
from functools import cached_property

from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.placing.gaps import HARMLESS
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.effects import MODES, TRAINING, called_name, functions_by_name, receivers, root_of
from flor_ray.propagation.reading.names import BUILTINS
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import LOOPS, Node

_MAX_FUNCTIONS = 100  # entered from one statement; a deeper program is taken as it looks so far
_NO_NAMES: Set[str] = frozenset()
_UNKNOWN = "?"  # a function of another file was given the object


_Met = set[tuple[int, tuple[tuple[str, str], ...]]]  # functions entered, and what they were given


@dataclass(frozen=True, slots=True)
class StateChange:
    """One call that changes the state of an object."""

    name: str  # of the object, where the statement stands; "" for training
    what: str  # method, or _UNKNOWN
    node: Node


@dataclass(slots=True)
class _State:
    modes: dict[str, str] = field(default_factory=dict)  # object -> its last mode; new objects are in training mode
    done: set[str] = field(default_factory=set)  # training calls so far

    def add(self, change: StateChange, name: str, call: str) -> None:
        if change.what in MODES:
            self.modes[name] = change.what
        elif change.what == _UNKNOWN:
            self.modes[name] = call
        else:
            self.done.add(change.what)

    def same_modes(self, other: _State) -> bool:
        names = self.modes.keys() | other.modes.keys()
        pairs = [(self.modes.get(name, "train"), other.modes.get(name, "train")) for name in names]
        return all(a == b or _UNKNOWN in (a, b) for a, b in pairs)


class States:
    """State changes in both versions."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping) -> None:
        self._newer, self._older, self._mapping = _Side(newer), _Side(older), mapping

    def changes(self, statement: Node, reads: Set[str]) -> list[StateChange]:
        """What an older statement does to the state of what is read."""
        return list(self._older.changes(statement, self._older.related(reads)))

    def switches(self, statement: Node, names: Lookup[str, str]) -> bool:
        """Whether a newer statement is known to change the state of what is read."""
        changes = self._newer.changes(statement, self._newer.related(names.keys()))
        return any(change.what != _UNKNOWN for change in changes)

    def is_inert(self, statement: Node) -> bool:
        """Whether a newer statement leaves the state of all objects as it is."""
        return not any(self._newer.changes(statement, self._newer.objects))

    def conflict(self, unit: Node, block: Node, gap: int, names: Lookup[str, str]) -> Node | None:
        """The call that this place of an older block is on the wrong side of, if there is one.

        `names` says of each name that the unit reads what it is called in the older version.
        """
        ours = self._newer.related(names.keys())
        theirs = self._older.related(set(names.values()))
        back = {there: name for name, there in names.items()}
        ours = ours | {name for each in theirs if (name := back.get(each, each)) in self._newer.given}
        if unit.parent is None or not (ours or theirs):
            return None
        wanted = _State()
        for around, position in _levels(unit.parent, statements_of(unit.parent).index(unit)):
            for statement in statements_of(around)[:position]:
                partner = self._mapping.older_of(statement)
                call = str(partner.index) if partner is not None else _UNKNOWN
                for change in self._newer.changes(statement, ours):
                    known = self._as_older_knows(change, partner, theirs)
                    for each, name in known or [(change, names.get(change.name, change.name))]:
                        wanted.add(each, name, call)
        states: list[tuple[int, _State]] = []  # by the byte from which on they hold
        changed: list[Node] = []
        here = _State()
        for around, position in _levels(block, gap):
            before = here
            for place, statement in enumerate(statements_of(around)):
                states.append((statement.start, before))
                here = before if place == position else here
                before = _State(dict(before.modes), set(before.done))
                call = str(statement.index) if self._mapping.newer_of(statement) is not None else _UNKNOWN
                for change in self._older.changes(statement, theirs):
                    before.add(change, change.name, call)
                    changed.append(change.node)
            states.append((around.end, before))
            here = before if position == len(statements_of(around)) else here
        inner = statements_of(block)
        at = inner[gap].start if gap < len(inner) else block.end
        for same in (_State.same_modes, _same_training):
            others = [start for start, state in states if same(wanted, state)]
            if not same(wanted, here) and others:
                nearest = min(others, key=lambda start: (abs(start - at), start))
                low, high = min(at, nearest), max(at, nearest)
                return next((node for node in changed if low <= node.start < high), None)
        return None

    def _as_older_knows(
        self, change: StateChange, partner: Node | None, theirs: Set[str]
    ) -> list[tuple[StateChange, str]]:
        """What a call does of which the newer version does not know it, if it is in the older one as well, with the
        function: a function that moved to another file does what it did."""
        if partner is None or change.what != _UNKNOWN:
            return []
        there = self._older.changes(partner, theirs)
        name = called_name(change.node)
        return [(each, each.name) for each in there if each.what != _UNKNOWN and called_name(each.node) == name]


def _levels(block: Node, gap: int) -> list[tuple[Node, int]]:
    """A place within its loop's or function's body: the gap in each block around it, outermost first."""
    levels = [(block, gap)]
    owner = block.parent
    while owner is not None and owner.kind not in LOOPS | {"function_definition"}:
        if owner.is_statement and owner.parent is not None:
            levels.append((owner.parent, statements_of(owner.parent).index(owner)))
        owner = owner.parent
    return levels[::-1]


class _Side:
    """State changes in one version."""

    def __init__(self, program: Program) -> None:
        self._tree = program.tree
        self._functions = functions_by_name(program.tree)
        self._recorded = {call.node.index for call in calls(program.names)}
        self._related: dict[frozenset[str], set[str]] = {}

    @cached_property
    def objects(self) -> Set[str]:
        """All whose state may change."""
        return self._stateful | self._handed_on

    def related(self, reads: Set[str]) -> Set[str]:
        """Objects whose state what is read may depend on: read themselves, or made from what is read."""
        key = frozenset(reads)
        if key not in self._related:
            self._related[key] = self._find_related(key)
        return self._related[key]

    def _find_related(self, reads: Set[str]) -> set[str]:
        seen = set(reads)
        todo = sorted(seen & self._functions.keys())
        while todo:
            for function in self._functions[todo.pop()]:
                inner = {node.label for node in self._tree.subtree(function) if node.kind == "identifier"} - seen
                seen |= inner
                todo += sorted(inner & self._functions.keys())
        return (seen & self.objects) | (self._made_from(reads) & self._stateful)

    @cached_property
    def _stateful(self) -> Set[str]:
        """Objects that calls of known names change."""
        found = self._tree.of_kind("call")
        stateful = {root.label for _, root in receivers(found, MODES)}
        return stateful.union(*(self._mentioned(call) for call, _ in receivers(found, TRAINING)))

    def changes(self, statement: Node, objects: Set[str]) -> Iterator[StateChange]:
        """What happens to some objects in a statement, in document order, local functions entered."""
        if statement.kind not in ("function_definition", "class_definition", "decorated_definition"):
            yield from self._changes(statement, {name: name for name in objects}, set())

    def _changes(self, node: Node, objects: Lookup[str, str], met: _Met) -> Iterator[StateChange]:
        for call in self._calls_in(node):
            if call.index in self._recorded:
                continue
            name, function = called_name(call), call.children[0]
            root = root_of(function)
            if function.kind == "attribute" and name in MODES and root.label in objects:
                switched_off = name == "train" and b"False" in self._tree.text(call)
                yield StateChange(objects[root.label], "eval" if switched_off else name, call)
                continue
            if function.kind == "attribute" and name in TRAINING and self._mentioned(call) & objects.keys():
                yield StateChange("", name, call)
                continue
            yield from self._through(call, name, objects, met)

    def _through(self, call: Node, name: str, objects: Lookup[str, str], met: _Met) -> Iterator[StateChange]:
        given = call.child("arguments")
        arguments = list(given.children) if given is not None else []
        local = self._functions.get(name, [])
        for function in local:
            inner = _bind(function, call, arguments, objects)
            key = (function.index, tuple(sorted(inner.items())))
            if key not in met and len(met) < _MAX_FUNCTIONS:
                met.add(key)
                for change in self._changes(function, inner, met):
                    yield StateChange(change.name, change.what, call)
        if local or name in BUILTINS or name in HARMLESS:
            return
        for argument in arguments:
            value = argument.children[-1] if argument.kind == "keyword_argument" and argument.children else argument
            if value.kind == "identifier" and value.label in objects:
                yield StateChange(objects[value.label], _UNKNOWN, call)

    def _calls_in(self, node: Node) -> Iterator[Node]:
        """Calls that run when a statement, or a function's body, runs: not those in functions defined in it."""
        index, last = node.index + 1, node.index + node.size
        while index < last:
            each = self._tree.nodes[index]
            if each.kind in ("function_definition", "lambda"):
                index += each.size
                continue
            if each.kind == "call" and each.children:
                yield each
            index += 1

    def _mentioned(self, node: Node) -> set[str]:
        """Names in a node, a call for example: `scaler.step(optimizer)` changes what the optimizer does."""
        return {each.label for each in self._tree.subtree(node) if each.kind == "identifier"}

    def _made_from(self, names: Set[str]) -> Set[str]:
        """Variables in whose values these names have a part, directly or not."""
        found, todo = set[str](), list(names)
        while todo:
            more = self._uses.get(todo.pop(), _NO_NAMES) - found
            found |= more
            todo += more
        return found

    @cached_property
    def _uses(self) -> Lookup[str, set[str]]:
        """By name: the variables that are set to something that mentions it."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for node in self._tree.of_kind("assignment", "augmented_assignment", "for_statement"):
            target, value = node.child("left"), node.child("right")
            if target is not None and value is not None:
                variables = self._mentioned(target)
                for name in self._mentioned(value):
                    found[name] |= variables
        return found

    @cached_property
    def given(self) -> Set[str]:
        """Names that are given as they are to functions."""
        identifiers = self._tree.of_kind("identifier")
        return {n.label for n in identifiers if n.parent and n.parent.kind in ("argument_list", "keyword_argument")}

    @cached_property
    def _handed_on(self) -> Set[str]:
        """Names that are called, and given to functions: what these do to them may not be known."""
        return self.given & {node.label for node in self._tree.of_kind("identifier") if node.role == "function"}


def _same_training(left: _State, right: _State) -> bool:
    return left.done == right.done


def _bind(function: Node, call: Node, arguments: list[Node], objects: Lookup[str, str]) -> dict[str, str]:
    """The objects as a function knows them: under its parameters' names, or as globals."""
    parameters = function.child("parameters")
    named = []
    for parameter in parameters.children if parameters is not None else ():
        identifier = parameter if parameter.kind == "identifier" else next(iter(parameter.children), parameter)
        named.append(identifier.label)
    inner = {name: known for name, known in objects.items() if name not in named}
    given: list[tuple[str, Node]] = []
    if named[:1] == ["self"]:
        given.append(("self", root_of(call.children[0])))
    positional = [each for each in arguments if each.kind != "keyword_argument"]
    given += list(zip(named[len(given) :], positional, strict=False))
    given += [(a.children[0].label, a.children[-1]) for a in arguments if a.kind == "keyword_argument" and a.children]
    for name, value in given:
        root = root_of(value)
        if root.kind == "identifier" and root.label in objects:
            inner[name] = objects[root.label]
    return inner

"""In which parts of a run the statements of a source are executed: the phases of the main loop, through calls.

The script is walked in the order in which it would run, entering every function of the file where it is called. The
phase changes at recorded loops only:

        PREFIX --main loop--> HEAD --first nested loop--> INNER --its end--> TAIL --main loop's end--> SUFFIX

A statement that is met in one phase belongs to it; one that is met in several, never, or at times that cannot be known
(its function is passed around as a value) belongs to WHOLE. This is what one file tells, for finding a statement's
place in it; when it is replayed, `phases` asks all files. A plain loop around recorded ones is walked twice, because
what stands before them in it also runs after them.
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from flor_ray.propagation.calls import Call, calls
from flor_ray.propagation.names import Names, names_of
from flor_ray.propagation.tree import LOOPS, Node, Tree
from flor_ray.records import Region

_MAX_REPEATS = 2  # plain loops inside each other that are walked twice; each doubles the walk
_INITIALISERS = ("__init__", "__post_init__")


@dataclass(frozen=True, slots=True)
class _Event:
    what: str  # "run", "enter", "leave", "call", "arm"
    node: Node | None = None  # run: the statement; enter: the loop
    unit: int = 0  # call: the function's index


@dataclass(slots=True)
class _Frame:
    unit: int
    events: Sequence[_Event]
    key: tuple[int, Region, bool]
    position: int = 0
    entered: list[Region] = field(default_factory=list)  # phases in which the open loops were entered


class Regions:
    """Phases of every statement of one tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = names_of(tree)
        self._calls = calls(self._names)
        self._loops = _loop_statements(self._calls)
        self._arms = {call.node.index for call in self._calls if call.function == "checkpointing"}
        self._seen: dict[int, set[Region]] = {}  # statement -> phases
        self._events: dict[int, list[_Event]] = {}
        self._done: dict[tuple[int, Region, bool], tuple[Region, bool]] = {}
        self.main_loop: Node | None = None
        self.nested_loop: Node | None = None
        if self._loops:  # without recorded loops there are no phases to tell apart
            self._functions = _functions(self._names)
            self._called_in = _calls_by_statement(tree)
            self._walk_script()

    def of(self, node: Node) -> Region:
        """The region of the innermost statement around a node."""
        statement = node.statement()
        if self.main_loop is None or statement is None:
            return Region.WHOLE
        met = self._all_seen.get(statement.index, ())
        return next(iter(met)) if len(met) == 1 else Region.WHOLE

    @cached_property
    def _all_seen(self) -> Lookup[int, Set[Region]]:
        """Phases by statement, also of what runs at unknown times. The main loop is found without these."""
        for unit in sorted(self._find_escaped()):
            self._walk(unit, Region.WHOLE, True)
        return self._seen

    def _walk_script(self) -> None:
        armed = not self._arms
        self._walk(0, Region.PREFIX, armed)
        if self.main_loop is None:
            called = {event.unit for unit in (0, *self._functions.units) for event in self._unit_events(unit)}
            roots = [u for u in self._functions.units if u not in called and self._reaches_loop(u)]
            if len(roots) == 1:  # the file is imported, and this is what it is imported for
                self._walk(roots[0], Region.PREFIX, armed)

    def _reaches_loop(self, unit: int) -> bool:
        todo, met = [unit], {unit}
        while todo:
            for event in self._unit_events(todo.pop()):
                if event.what == "enter":
                    return True
                if event.what == "call" and event.unit not in met:
                    met.add(event.unit)
                    todo.append(event.unit)
        return False

    def _walk(self, unit: int, phase: Region, armed: bool) -> None:
        """Run one unit's events, and those of what it calls, on an explicit stack."""
        stack = [_Frame(unit, self._unit_events(unit), (unit, phase, armed))]
        active = {unit}
        while stack:
            frame = stack[-1]
            if frame.position == len(frame.events):
                self._done[frame.key] = phase, armed
                active.discard(frame.unit)
                stack.pop()
                continue
            event = frame.events[frame.position]
            frame.position += 1
            if event.what == "run" and event.node is not None:
                self._seen.setdefault(event.node.index, set()).add(phase)
            elif event.what == "arm":
                armed = True
            elif event.what == "enter" and event.node is not None:
                frame.entered.append(phase)
                phase = self._enter(event.node, phase, armed)
            elif event.what == "leave":
                phase = _leave(frame.entered.pop(), phase)
            elif event.what == "call":
                key = (event.unit, phase, armed)
                if key in self._done:
                    phase, armed = self._done[key]
                elif event.unit not in active:
                    active.add(event.unit)
                    stack.append(_Frame(event.unit, self._unit_events(event.unit), key))

    def _enter(self, loop: Node, phase: Region, armed: bool) -> Region:
        if phase is Region.PREFIX and armed:
            self.main_loop = self.main_loop or loop
            return Region.HEAD
        if phase is Region.HEAD:
            self.nested_loop = self.nested_loop or loop
            return Region.INNER
        return phase

    def _find_escaped(self) -> set[int]:
        """Functions that are mentioned other than to be called: nobody here knows when they run."""
        escaped: set[int] = set()
        for node in self._tree.of_kind("identifier"):
            called = node.parent is not None and node.parent.kind == "call" and node.role == "function"
            if not called and not self._names.binds(node):
                escaped.update(self._functions.named(self._names, node))
        for node in self._tree.of_kind("attribute_name"):
            if node.label in self._functions.methods and not _is_callee(node.parent):
                escaped.update(self._functions.methods[node.label])
        return escaped

    def _unit_events(self, unit: int) -> list[_Event]:
        if unit not in self._events:
            root = self._tree.nodes[unit]
            body = root if unit == 0 else root.child("body")
            self._events[unit] = self._flatten(body) if body is not None else []
        return self._events[unit]

    def _flatten(self, block: Node) -> list[_Event]:
        events: list[_Event] = []
        stack: list[tuple[Node | _Event, int]] = [(block, 0)]
        while stack:
            item, repeats = stack.pop()
            if isinstance(item, _Event):
                events.append(item)
                continue
            if item.is_statement:
                events += self._header(item)
            after = [c for c in _run_next(item) if item.kind in LOOPS and c.kind == "else_clause"]
            inner: list[tuple[Node | _Event, int]] = [(c, repeats) for c in _run_next(item) if c not in after]
            if item.index in self._loops:
                inner = [(_Event("enter", item), 0), *inner, (_Event("leave"), 0)]
            elif item.kind in LOOPS and repeats < _MAX_REPEATS and self._matters(item):
                inner = [(c, repeats + 1) for c, _ in inner] * 2
            inner += [(c, repeats) for c in after]
            stack.extend(reversed(inner))
        return events

    def _matters(self, loop: Node) -> bool:
        if any(n.kind == "with_statement" and n.index in self._loops for n in self._tree.subtree(loop)):
            return False  # it makes the rounds of a recorded loop
        return any(
            node.index in self._loops or (node.kind == "call" and node.children and self._called(node.children[0]))
            for node in self._tree.subtree(loop)[1:]
        )

    def _header(self, statement: Node) -> list[_Event]:
        events = []
        for node in self._called_in.get(statement.index, ()):
            if node.index in self._arms:
                events.append(_Event("arm"))
            events += [_Event("call", unit=unit) for unit in self._called(node.children[0])]
        return [*events, _Event("run", statement)]

    def _called(self, function: Node) -> list[int]:
        if function.kind == "identifier":
            return self._functions.named(self._names, function)
        if function.kind == "attribute" and function.children:
            return self._functions.methods.get(function.children[-1].label, [])
        return []


@dataclass(frozen=True, slots=True)
class _Functions:
    units: tuple[int, ...]  # indices of all function definitions
    methods: dict[str, list[int]]  # by name, those that stand in a class

    def named(self, names: Names, identifier: Node) -> list[int]:
        """What a call through this identifier runs: functions of that name, or the initialiser of a class."""
        owner = names.owner(identifier)
        found: list[int] = []
        for bound in owner.bindings.get(identifier.label, ()) if owner is not None else ():
            definition = bound.parent
            if definition is None or bound.role != "name":
                continue
            if definition.kind == "function_definition":
                found.append(definition.index)
            elif definition.kind == "class_definition":
                found += [
                    unit
                    for initialiser in _INITIALISERS
                    for unit in self.methods.get(initialiser, ())
                    if definition.contains(names.tree.nodes[unit])
                ]
        return found


def _functions(names: Names) -> _Functions:
    units, methods = [], dict[str, list[int]]()
    for node in names.tree.of_kind("function_definition"):
        units.append(node.index)
        name = node.child("name")
        if name is not None and names.scope_of(node).is_class:
            methods.setdefault(name.label, []).append(node.index)
    return _Functions(tuple(units), methods)


@lru_cache(maxsize=32)
def regions_of(tree: Tree) -> Regions:
    return Regions(tree)


def _leave(entered: Region, phase: Region) -> Region:
    if entered is Region.PREFIX and phase is not Region.PREFIX:
        return Region.SUFFIX
    if entered is Region.HEAD:
        return Region.TAIL
    return phase


def _loop_statements(found: Sequence[Call]) -> set[int]:
    """`for` statements whose iterable calls `loop`, also through enumerate(...) or tqdm(...), and `with` statements of
    `iteration`."""
    loops = set()
    for call in found:
        if call.function == "iteration":
            around = call.node.statement()
            if around is not None and any(each.kind == "with_item" for each in call.node.ancestors()):
                loops.add(around.index)
        if call.function == "loop":
            child = call.node
            for ancestor in call.node.ancestors():
                if ancestor.kind == "for_statement" and child.role == "right":
                    loops.add(ancestor.index)
                if ancestor.is_statement:
                    break
                child = ancestor
    return loops


def _calls_by_statement(tree: Tree) -> dict[int, list[Node]]:
    """Calls in the own part of each statement, in document order."""
    found: dict[int, list[Node]] = {}
    for call in tree.of_kind("call"):
        node: Node | None = call if call.children else None
        while node is not None and not node.is_statement and node.kind != "block":
            node = node.parent
        if node is not None and node.is_statement:
            found.setdefault(node.index, []).append(call)
    return found


def _run_next(node: Node) -> list[Node]:
    """What runs inside a compound statement after its header: blocks, clauses and the statements in them."""
    if node.kind in ("function_definition", "class_definition"):
        return [child for child in node.children if child.role == "body"] if node.kind == "class_definition" else []
    return [
        child
        for child in node.children
        if child.is_statement or child.kind in ("block", "class_definition") or child.kind.endswith("_clause")
        if child.kind not in ("with_clause", "for_in_clause", "if_clause")
    ]


def _is_callee(node: Node | None) -> bool:
    return node is not None and node.parent is not None and node.parent.kind == "call" and node.role == "function"

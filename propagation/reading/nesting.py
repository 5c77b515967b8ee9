"""Which recorded loops of its file a node runs in, also where only the call of the function around it says so.

        def train_epoch(net):
            for x in flor.loop("step", data):         runs in the loop "epoch" ...
                ...
        for epoch in flor.loop("epoch", range(9)):
            train_epoch(net)                          ... because this is the one call of its function

This is all that matching and placing ask of how a file runs. The region of a statement, which decides what a replay
runs, is not answered here: that takes all files of a version. Of a function that is called at several places, or handed
around as a value, nothing is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

from flor_ray.propagation.reading.calls import RecordingCall, calls
from flor_ray.propagation.reading.names import Names, names_of
from flor_ray.propagation.reading.tree import LOOPS, Node, Tree

_INITIALISERS = ("__init__", "__post_init__")

Path = tuple[Node, ...]
"""The calls through which a script comes to a node, and the node: `main()`, `train_epoch(net)`, the node. It starts in
a function where nothing in the file calls that function."""


class Nesting:
    """The recorded loops of one source, and what runs in them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._sites: dict[int, Sequence[Node] | None] = {}
        found = calls(names)
        self.loops = _recorded_loops(found)
        self.main_loop: Node | None = None
        self.nested_loop: Node | None = None
        if self.loops:
            self._find_main_loop([call.node for call in found if call.function == "checkpointing"])

    def path(self, node: Node) -> Path | None:
        """How the script comes to a node. None where there are several ways, or may be."""
        path, met = [node], set[int]()
        while (function := function_around(path[-1])) is not None:
            sites = self._calls_of(function)
            if sites is None or len(sites) > 1 or function.index in met:
                return None
            if not sites:
                break
            met.add(function.index)
            path.append(sites[0])
        return tuple(reversed(path))

    def loops_around(self, node: Node) -> list[Node]:
        """The loops that a node of a path runs in within its function, recorded or not, outermost first."""
        found, child = list[Node](), node
        for each in node.ancestors():
            if child.role == "body":
                if each.kind == "function_definition":
                    break
                if each.kind in LOOPS or each in self.loops:
                    found.append(each)
            child = each
        return found[::-1]

    def recorded_around(self, path: Path) -> list[Node]:
        """The recorded loops on the way to a node, outermost first."""
        return [loop for node in path for loop in self.loops_around(node) if loop in self.loops]

    def part(self, path: Path, start: int) -> tuple[int, bool]:
        """In how many of main and nested loop a byte is, and whether it is behind the next one: [0 [1 [2] 1'] 0'].

        `path` leads to what it is in.
        """
        depth = sum(loop in (self.main_loop, self.nested_loop) for loop in self.recorded_around(path))
        following = (self.main_loop, self.nested_loop, None)[depth]
        way = self.path(following) if following is not None else None
        return depth, way is not None and order(way) < (*order(path)[:-1], start)

    def _find_main_loop(self, checkpointing: Sequence[Node]) -> None:
        """The first loop that no other is around, and the first one in it, in the order in which they run.

        Loops before the checkpointing come first only if there are no others. Where the file is imported and several
        functions have loops, nobody knows for which of them it is.
        """
        paths = [path for loop in self.loops if (path := self.path(loop)) is not None]
        outermost = [path for path in paths if not self.recorded_around(path)]
        roots = {function_around(path[0]) for path in outermost}
        outermost = [path for path in outermost if function_around(path[0]) is None or len(roots) == 1]
        armed = [order(path) for node in checkpointing if (path := self.path(node)) is not None]
        behind = [path for path in outermost if armed and order(path) > min(armed)]
        first = min(behind or outermost, key=order, default=None)
        if first is not None:
            self.main_loop = first[-1]
            inside = [path for path in paths if self.recorded_around(path) == [first[-1]]]
            self.nested_loop = min(inside, key=order)[-1] if inside else None

    def _calls_of(self, function: Node) -> Sequence[Node] | None:
        """All calls of a function of this file; None if it is also handed around, for others to call."""
        if function.index not in self._sites:
            self._sites[function.index] = self._find_calls(function)
        return self._sites[function.index]

    def _find_calls(self, function: Node) -> Sequence[Node] | None:
        name = function.child("name")
        if name is not None and name.label in _INITIALISERS:
            owner = self._names.scope_of(function).node
            name = owner.child("name") if owner.kind == "class_definition" else None
        scope = self._names.owner(name) if name is not None else None
        if name is None or scope is None or len(scope.bindings[name.label]) > 1:
            return None
        if not scope.is_class:
            mentions: Sequence[Node] = scope.reads.get(name.label, ())
        elif self._methods[name.label] == 1:
            mentions = self._attributes.get(name.label, ())
        else:
            return None
        callees = [node for node in mentions if node.role == "function"]
        return [node.parent for node in callees if node.parent is not None] if len(callees) == len(mentions) else None

    @cached_property
    def _attributes(self) -> dict[str, list[Node]]:
        """Attributes by name, as they stand in the file: `self.train_epoch`."""
        found = defaultdict[str, list[Node]](list)
        for node in self._names.tree.of_kind("attribute_name"):
            if node.parent is not None:
                found[node.label].append(node.parent)
        return found

    @cached_property
    def _methods(self) -> Counter[str]:
        """How many classes have a method of a name."""
        names = (node.child("name") for node in self._names.tree.of_kind("function_definition"))
        return Counter(name.label for name in names if name is not None and self._names.scope_of(name).is_class)


def order(path: Path) -> tuple[int, ...]:
    """Sorts ways by the order in which a script goes them."""
    return tuple(node.start for node in path)


@lru_cache(maxsize=32)
def nesting_of(tree: Tree) -> Nesting:
    """The recorded loops of a tree, worked out once while the tree is in use."""
    return Nesting(names_of(tree))


def function_around(node: Node) -> Node | None:
    """The innermost function whose body a node stands in."""
    child = node
    for each in node.ancestors():
        if each.kind == "function_definition" and child.role == "body":
            return each
        child = each
    return None


def _recorded_loops(found: Sequence[RecordingCall]) -> tuple[Node, ...]:
    """`for` statements over `loop`, also through enumerate(...) or tqdm(...), and `with` statements of `iteration`."""
    loops = dict[int, Node]()
    for call in found:
        around = call.node.statement()
        if around is None:
            continue
        if call.function == "loop" and around.kind == "for_statement":
            over = around.child("right")
            if over is not None and over.contains(call.node):
                loops[around.index] = around
        elif call.function == "iteration" and any(each.kind == "with_item" for each in call.node.ancestors()):
            loops[around.index] = around
    return tuple(loop for _, loop in sorted(loops.items()))


def same_loops(newer: Tree, older: Tree) -> Iterable[tuple[Node, Node]]:
    """The main loops of both versions, and their nested loops."""
    left, right = nesting_of(newer), nesting_of(older)
    for mine, other in ((left.main_loop, right.main_loop), (left.nested_loop, right.nested_loop)):
        if mine is not None and other is not None:
            yield mine, other


def depth(node: Node) -> int:
    """Loops around a node, in its function."""
    count = 0
    for each in node.ancestors():
        if each.kind == "function_definition":
            break
        count += each.kind in LOOPS
    return count

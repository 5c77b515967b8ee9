"""What a statement reads and what it may change, as dotted paths: `self.net` of `self.net.eval()`.

Two statements that do not meet in what one of them changes may change places.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from flor_ray.propagation.placing.gaps import HARMLESS
from flor_ray.propagation.reading.effects import MODES, TRAINING, called_name, functions_by_name
from flor_ray.propagation.reading.names import Names
from flor_ray.propagation.reading.tree import Node

_HIDDEN = ("<training>",)
"""Stands for the state that gradients, optimizers and modes make: no name in `loss.backward()` shows it."""
_ORDERED = TRAINING | MODES | {"clip_grad_norm_", "clip_grad_value_", "manual_seed", "seed", "set_seed", "update"}
ADDS_OPTIONS, _TAKES_OPTIONS = frozenset({"add_argument"}), frozenset({"parse_args", "parse_known_args"})
_OPTIONS = ("<options>",)
"""Stands for what an argument parser knows: the order in which it is told is free, but it is told before it parses."""
_REGISTERS = HARMLESS | ADDS_OPTIONS
_LEAVES = frozenset({"return_statement", "raise_statement", "break_statement", "continue_statement", "yield", "await"})

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """Paths that a statement reads, and those that it may change."""

    reads: Set[Path]
    changes: Set[Path]
    leaves: bool  # it may end its block or give way to other code


class Touching:
    """What the statements of one program touch."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._own = functions_by_name(names.tree).keys()  # are not known by their names
        self._known: dict[int, Touched] = {}

    def conflict(self, left: Node, right: Node) -> bool:
        """Whether the order of two statements may matter."""
        a, b = self.of(left), self.of(right)
        return (
            a.leaves
            or b.leaves
            or _meet(a.changes, b.changes)
            or _meet(a.changes, b.reads)
            or _meet(b.changes, a.reads)
        )

    def of(self, statement: Node) -> Touched:
        """What one statement touches."""
        if statement.index not in self._known:
            self._known[statement.index] = self._look(statement)
        return self._known[statement.index]

    def _look(self, statement: Node) -> Touched:
        reads, changes, leaves = set[Path](), set[Path](), False
        for node in self._names.tree.subtree(statement):
            if node.kind == "identifier" and node.parent is not None:
                path, top = _path(node)
                if self._names.binds(node) or _is_target(top):
                    changes.add(path)
                if not self._names.binds(node):
                    reads.add(path)
            elif node.kind == "call" and node.children:
                name = called_name(node)
                if name in _ORDERED:
                    changes.add(_HIDDEN)
                if name in ADDS_OPTIONS:
                    reads.add(_OPTIONS)
                elif name in _TAKES_OPTIONS:
                    changes.add(_OPTIONS)
                alone = node.parent is statement and statement.kind == "expression_statement"
                function = node.children[0]
                if alone and function.kind == "attribute" and (name not in _REGISTERS or name in self._own):
                    root = function.children[0]
                    while root.children:
                        root = root.children[0]
                    changes.add(_path(root)[0][:-1] or (root.label,))
            leaves = leaves or node.kind in _LEAVES
        return Touched(reads, changes, leaves)


def _path(node: Node) -> tuple[Path, Node]:
    """The dotted path that starts at an identifier, and the node that is all of it."""
    path, top = [node.label], node
    while top.parent is not None and top.parent.kind == "attribute" and top.parent.children[0] is top:
        top = top.parent
        path.append(top.children[-1].label)
    return tuple(path), top


def _is_target(node: Node) -> bool:
    """Whether an attribute, or what a subscript is one of, is assigned to."""
    while (
        node.parent is not None and node.parent.kind in ("subscript", "attribute") and node.parent.children[0] is node
    ):
        node = node.parent
    parent = node.parent
    while parent is not None and parent.kind in ("pattern_list", "tuple_pattern", "list_pattern"):
        node, parent = parent, parent.parent
    if parent is None or node.kind == "identifier":
        return False
    return (node.role == "left" and parent.kind in ("assignment", "augmented_assignment")) or parent.kind == (
        "delete_statement"
    )


def _meet(left: Set[Path], right: Set[Path]) -> bool:
    """Whether a path of the one is part of one of the other."""
    return any(a[: len(b)] == b[: len(a)] for a in left for b in right)

"""An immutable syntax tree: what every phase of the matching looks at. Knows nothing of tree-sitter or of files.

A tree is stored twice over: as linked `Node`s, and as the list of them in preorder. In preorder a subtree is a slice,

        module(0)                     nodes = [0, 1, 2, 3, 4]
        ├── for(1) ── name(2)         subtree of 1 = nodes[1 : 1 + size] = [1, 2]
        └── call(3) ── name(4)

so that walking descendants, and pairing two isomorphic subtrees, needs neither recursion nor a stack: trees as deep as
a sum of ten thousand terms are no danger. Heights and fingerprints are those of GumTree (Falleri et al. 2014,
section 3.1): a leaf has height 1, and equal fingerprints mean isomorphic subtrees.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

BLOCKS = frozenset({"module", "block"})  # what holds statements
SCOPES = frozenset({"module", "function_definition", "class_definition"})
LOOPS = frozenset({"for_statement", "while_statement"})
_STATEMENT_ENDINGS = ("_statement", "_definition")


class Token(NamedTuple):
    """One node as a parser hands it over, in preorder. `parent` is an index into the tokens, -1 for the root."""

    kind: str
    label: str
    role: str  # name of the field that it fills in its parent, or ""
    start: int  # byte offsets
    end: int
    parent: int


class Node:
    """A syntax node. Built once by `Tree` and never changed after."""

    __slots__ = (
        "children",
        "end",
        "fingerprint",
        "height",
        "index",
        "kind",
        "label",
        "parent",
        "role",
        "shape",
        "size",
        "start",
    )

    kind: str
    label: str
    role: str
    start: int
    end: int
    index: int  # position in preorder
    size: int  # nodes in this subtree, itself included
    height: int
    fingerprint: int  # equal for isomorphic subtrees with equal labels
    shape: int  # the same, blind to the names of variables
    parent: Node | None
    children: Sequence[Node]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label!r} {self.start}-{self.end}>"

    @property
    def is_statement(self) -> bool:
        return self.parent is not None and self.parent.kind in BLOCKS and self.kind.endswith(_STATEMENT_ENDINGS)

    def child(self, role: str) -> Node | None:
        """First child that fills the field `role`."""
        for child in self.children:
            if child.role == role:
                return child
        return None

    def ancestors(self) -> Iterator[Node]:
        """Parents, innermost first."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def statement(self) -> Node | None:
        """The innermost statement that contains this node, or is it."""
        node: Node | None = self
        while node is not None and not node.is_statement:
            node = node.parent
        return node

    def contains(self, other: Node) -> bool:
        return self.index <= other.index < self.index + self.size


class Tree:
    """A whole source file as nodes, with the bytes they were read from."""

    __slots__ = ("has_errors", "height", "nodes", "source", "starts")

    def __init__(self, source: bytes, tokens: Sequence[Token], has_errors: bool = False) -> None:
        self.source = source
        self.has_errors = has_errors
        self.nodes: list[Node] = _link(tokens)
        self.height: int = self.root.height
        self.starts: list[int] = [0, *(match.end() for match in re.finditer(b"\n", source))]

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def subtree(self, node: Node) -> list[Node]:
        """The node and all its descendants, in preorder."""
        return self.nodes[node.index : node.index + node.size]

    def text(self, node: Node) -> bytes:
        return self.source[node.start : node.end]

    def line(self, offset: int) -> int:
        """Line of a byte offset, from 1."""
        return bisect_right(self.starts, offset)

    def end_of_line(self, line: int) -> int:
        """Byte offset where the line after this one starts, or the source ends."""
        return self.starts[line] if 0 <= line < len(self.starts) else len(self.source)

    def last_line(self, node: Node) -> int:
        return self.line(max(node.start, node.end - 1))


def _link(tokens: Sequence[Token]) -> list[Node]:
    nodes: list[Node] = []
    children: dict[int, list[Node]] = {}
    for index, (kind, label, role, start, end, parent) in enumerate(tokens):
        node = Node()
        node.kind, node.label, node.role = kind, label, role
        node.start, node.end, node.index = start, end, index
        node.parent, node.children = None, ()
        if parent >= 0:
            holder = node.parent = nodes[parent]
            if parent in children:
                children[parent].append(node)
            else:
                holder.children = children[parent] = [node]
        nodes.append(node)
    for node in reversed(nodes):  # children come after their parent, so this is bottom-up
        _measure(node)
    return nodes


def _measure(node: Node) -> None:
    kind, label, below = node.kind, node.label, node.children
    if not below:
        node.height = node.size = 1
        node.fingerprint = hash((kind, label))
        node.shape = hash((kind, "")) if kind == "identifier" else node.fingerprint
        return
    size = height = 0
    for child in below:
        size += child.size
        if child.height > height:
            height = child.height
    node.size, node.height = size + 1, height + 1
    node.fingerprint = hash((kind, label, *[child.fingerprint for child in below]))
    node.shape = hash((kind, label, *[child.shape for child in below]))

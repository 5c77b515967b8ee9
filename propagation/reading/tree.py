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
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

BLOCKS = frozenset({"module", "block"})  # what holds statements
SCOPES = frozenset({"module", "function_definition", "class_definition"})
LOOPS = frozenset({"for_statement", "while_statement"})
IMPORTS = frozenset({"future_import_statement", "import_from_statement", "import_statement"})
STATEMENT_ENDINGS = ("_statement", "_definition")
_VARIABLE = hash(("identifier", ""))


_NO_NODES: Sequence[Node] = ()
_INDEX = attrgetter("index")

Token = tuple[str, str, str, int, int, int]
"""One node as a parser hands it over, in preorder: kind, label, role (name of the field that it fills in its parent, or
""), byte offsets of start and end, index of the parent among the tokens (-1 for the root). A plain tuple: there are
five per line of source, and naming the fields would cost as much as reading them."""


class Node:
    """A syntax node. Built once by `Tree` and never changed after."""

    __slots__ = (
        "children",
        "end",
        "fingerprint",
        "height",
        "index",
        "is_statement",
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
    shape: int  # a fingerprint that is blind to the names of variables
    is_statement: bool
    parent: Node | None
    children: Sequence[Node]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label!r} {self.start}-{self.end}>"

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

    def sibling(self, step: int) -> Node | None:
        """The child of the same parent that many places further on (back, if negative)."""
        siblings = self.parent.children if self.parent is not None else ()
        place = bisect_left(siblings, self.index, key=_INDEX) + step  # a block may have thousands of statements
        return siblings[place] if 0 <= place < len(siblings) else None

    def contains(self, other: Node) -> bool:
        """Whether another node of the tree is in this subtree, or is this node."""
        return self.index <= other.index < self.index + self.size


class Tree:
    """A whole source file as nodes, with the bytes they were read from."""

    __slots__ = ("_by_kind", "has_errors", "height", "nodes", "source", "starts", "statements")

    def __init__(self, source: bytes, tokens: Iterable[Token], has_errors: bool = False) -> None:
        self.source = source
        self.has_errors = has_errors
        self.nodes: list[Node] = _link(tokens)
        self.height: int = self.root.height
        self.starts: list[int] = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self.statements: list[Node] = []  # in preorder
        self._by_kind: dict[str, list[Node]] = {}
        for node in self.nodes:
            if node.kind in self._by_kind:
                self._by_kind[node.kind].append(node)
            else:
                self._by_kind[node.kind] = [node]
            if node.is_statement:
                self.statements.append(node)

    @property
    def root(self) -> Node:
        """The module."""
        return self.nodes[0]

    def subtree(self, node: Node) -> list[Node]:
        """The node and all its descendants, in preorder."""
        return self.nodes[node.index : node.index + node.size]

    def of_kind(self, *kinds: str) -> Sequence[Node]:
        """All nodes of these kinds, in preorder. Most phases look at few kinds, and a file has thousands of nodes."""
        if len(kinds) == 1:
            return self._by_kind.get(kinds[0], _NO_NODES)
        return sorted((node for kind in kinds for node in self._by_kind.get(kind, ())), key=_INDEX)

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds that occur, in the order of their first node."""
        return list(self._by_kind)

    def text(self, node: Node) -> bytes:
        """A node's bytes in the source."""
        return self.source[node.start : node.end]

    def line(self, offset: int) -> int:
        """Line of a byte offset, from 1."""
        return bisect_right(self.starts, offset)

    def end_of_line(self, line: int) -> int:
        """Byte offset where the line after this one starts, or the source ends."""
        return self.starts[line] if 0 <= line < len(self.starts) else len(self.source)

    def last_line(self, node: Node) -> int:
        """Line on which a node ends, from 1."""
        return self.line(max(node.start, node.end - 1))


def _link(tokens: Iterable[Token]) -> list[Node]:
    """The nodes, in preorder. With `_measure`, the hottest loop there is: written flat, one attribute at a time."""
    nodes: list[Node] = []
    below: list[list[Node] | None] = []  # children of each node so far
    new = Node.__new__
    for kind, label, role, start, end, parent in tokens:
        node = new(Node)
        node.kind = kind
        node.label = label
        node.role = role
        node.start = start
        node.end = end
        node.index = len(nodes)
        node.children = _NO_NODES
        if parent >= 0:
            holder = node.parent = nodes[parent]
            node.is_statement = holder.kind in BLOCKS and kind.endswith(STATEMENT_ENDINGS)
            siblings = below[parent]
            if siblings is None:
                holder.children = below[parent] = [node]
            else:
                siblings.append(node)
        else:
            node.parent = None
            node.is_statement = False
        nodes.append(node)
        below.append(None)
    _measure(nodes)
    return nodes


def _measure(nodes: list[Node]) -> None:
    for node in reversed(nodes):  # children come after their parent, so this is bottom-up
        kind = node.kind
        below = node.children
        if not below:
            node.height = node.size = 1
            node.shape = node.fingerprint = hash((kind, node.label))
            if kind == "identifier":
                node.shape = _VARIABLE
            continue
        size = height = 0
        prints: list[object] = [kind, node.label]
        shapes: list[object] = [kind, node.label]
        for child in below:
            size += child.size
            if child.height > height:
                height = child.height
            prints.append(child.fingerprint)
            shapes.append(child.shape)
        node.size = size + 1
        node.height = height + 1
        node.fingerprint = hash(tuple(prints))
        node.shape = hash(tuple(shapes))

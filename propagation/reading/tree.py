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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

BLOCKS = frozenset({"module", "block"})  # what holds statements
SCOPES = frozenset({"module", "function_definition", "class_definition"})
LOOPS = frozenset({"for_statement", "while_statement"})
DEFINITIONS = ("class_definition", "function_definition")
IMPORTS = frozenset({"future_import_statement", "import_from_statement", "import_statement"})
STATEMENT_ENDINGS = ("_statement", "_definition")
_VARIABLE = hash(("identifier", ""))


_NO_NODES: Sequence[Node] = ()
_INDEX = attrgetter("index")

Token = tuple[str, str, str, int, int, int]
"""One node as a parser hands it over, in preorder: kind, label, role (name of the field that it fills in its parent, or
""), byte offsets of start and end, index of the parent among the tokens (-1 for the root). A plain tuple: there are
five per line of source, and naming the fields would cost as much as reading them."""

Twin = tuple["Node", int, int]
"""A subtree that another tree has, too: its root there, the byte where it starts here, and the index of its parent."""


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

    def __init__(self, source: bytes, tokens: Iterable[Token | Twin], has_errors: bool = False) -> None:
        self.source = source
        self.has_errors = has_errors
        self.nodes: list[Node] = _link(tokens)
        self.height: int = self.root.height
        self.starts: list[int] = [0, *(match.end() for match in re.finditer(b"\n", source))]
        self.statements: list[Node] = []  # in preorder
        self._by_kind: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            self._by_kind[node.kind].append(node)
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


def _link(tokens: Iterable[Token | Twin]) -> list[Node]:
    """The nodes, in preorder. With `_measure`, the hottest loop there is: written flat, one attribute at a time."""
    nodes: list[Node] = []
    below: list[list[Node] | None] = []  # children of each node so far
    fresh: list[Node] = []
    new = Node.__new__
    for token in tokens:
        if len(token) == 3:
            _copy(nodes, below, *token)
            continue
        kind, label, role, start, end, parent = token
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
        fresh.append(node)
    _measure(fresh)
    return nodes


def _copy(nodes: list[Node], below: list[list[Node] | None], root: Node, start: int, parent: int) -> None:
    """Add a subtree of another tree, moved: all that is measured of it holds here, too."""
    move, shift = start - root.start, len(nodes) - root.index
    new = Node.__new__
    todo = [root]
    while todo:
        each = todo.pop()
        node = new(Node)
        node.kind = each.kind
        node.label = each.label
        node.role = each.role
        node.start = each.start + move
        node.end = each.end + move
        node.index = len(nodes)
        node.size = each.size
        node.height = each.height
        node.fingerprint = each.fingerprint
        node.shape = each.shape
        node.children = _NO_NODES
        at = parent if each is root or each.parent is None else each.parent.index + shift
        holder = node.parent = nodes[at]
        node.is_statement = each.is_statement if each is not root else holder.kind in BLOCKS
        siblings = below[at]
        if siblings is None:
            holder.children = below[at] = [node]
        else:
            siblings.append(node)
        nodes.append(node)
        below.append(None)
        if each.children:
            todo += each.children[::-1]


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


def definition_path(node: Node) -> tuple[str, ...]:
    """Names of the definitions around a node and of itself, outermost first."""
    names = []
    for each in (node, *node.ancestors()):
        if each.kind in DEFINITIONS:
            name = each.child("name")
            names.append(name.label if name is not None else "")
    return tuple(reversed(names))

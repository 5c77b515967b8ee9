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


class Node:
    """A syntax node. Built once by `Tree` and never changed after."""

    __slots__ = (
        "_shape",
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
    is_statement: bool
    parent: Node | None
    _shape: int | None
    children: Sequence[Node]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label!r} {self.start}-{self.end}>"

    @property
    def shape(self) -> int:
        """A fingerprint that is blind to the names of variables. Worked out when it is asked for: most nodes have a
        twin in the other tree, names and all."""
        if self._shape is None:
            found = [self]
            for node in found:
                found += [child for child in node.children if child._shape is None]
            for node in reversed(found):
                shapes = [child._shape for child in node.children]
                is_variable = not shapes and node.kind == "identifier"
                node._shape = _VARIABLE if is_variable else hash((node.kind, node.label, *shapes))
        return self._shape or 0

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

    def __init__(self, source: bytes, nodes: list[Node], has_errors: bool = False) -> None:
        self.source = source
        self.has_errors = has_errors
        self.nodes = nodes  # in preorder
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


def added(each: Node, parent: Node | None, nodes: list[Node]) -> Node:
    """A node of another tree, alone and without its measures, as a further one of these in preorder."""
    node = Node.__new__(Node)
    node.kind = each.kind
    node.label = each.label
    node.role = each.role
    node.start = each.start
    node.end = each.end
    node.index = len(nodes)
    node.parent = parent
    node.is_statement = each.is_statement
    node.children = _NO_NODES
    if parent is not None:
        if isinstance(parent.children, list):
            parent.children.append(node)
        else:
            parent.children = [node]
    nodes.append(node)
    return node


def copied(subtree: list[Node], start: int, parent: Node | None, nodes: list[Node]) -> Node:
    """A subtree of another tree, moved and added: all that is measured of it holds here, too."""
    root = subtree[0]
    first, move, shift = root.index, start - root.start, len(nodes) - root.index
    new = Node.__new__
    copies = [new(Node) for _ in subtree]
    for node, each in zip(copies, subtree, strict=True):
        node.kind = each.kind
        node.label = each.label
        node.role = each.role
        node.start = each.start + move
        node.end = each.end + move
        node.index = each.index + shift
        node.size = each.size
        node.height = each.height
        node.fingerprint = each.fingerprint
        node._shape = each._shape
        node.is_statement = each.is_statement
        below = each.children
        if below:
            node.children = children = [copies[child.index - first] for child in below]
            for child in children:
                child.parent = node
        else:
            node.children = _NO_NODES
    copy = copies[0]
    copy.parent = parent
    copy.is_statement = parent is not None and parent.kind in BLOCKS
    nodes += copies
    return copy


def measure(nodes: Iterable[Node]) -> None:
    """Work out what follows for each of these nodes from itself and what is below it; the last one comes first."""
    for node in nodes:
        node._shape = None
        kind = node.kind
        below = node.children
        if not below:
            node.height = node.size = 1
            node.fingerprint = hash((kind, node.label))
            continue
        size = height = 0
        prints: list[object] = [kind, node.label]
        for child in below:
            size += child.size
            if child.height > height:
                height = child.height
            prints.append(child.fingerprint)
        node.size = size + 1
        node.height = height + 1
        node.fingerprint = hash(tuple(prints))


def definition_path(node: Node) -> tuple[str, ...]:
    """Names of the definitions around a node and of itself, outermost first."""
    names = []
    for each in (node, *node.ancestors()):
        if each.kind in DEFINITIONS:
            name = each.child("name")
            names.append(name.label if name is not None else "")
    return tuple(reversed(names))

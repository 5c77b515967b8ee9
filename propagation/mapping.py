"""The mapping between the nodes of two trees: a bijection, enforced. What a mapping means is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Set

from flor_ray.propagation.tree import Node, Tree


class NotABijection(ValueError):
    """A node was to be linked twice. A matching phase has a bug; no input may cause this."""


class Mapping:
    """Links between nodes of a newer and an older tree; every node has at most one.

    `withheld` are indices of newer statements that may be linked to equal ones only.
    """

    __slots__ = ("_newer", "_older", "newer", "older", "withheld")

    def __init__(self, newer: Tree, older: Tree, withheld: Set[int] = frozenset()) -> None:
        self.newer, self.older, self.withheld = newer, older, withheld
        self._older: list[Node | None] = [None] * len(newer.nodes)
        self._newer: list[Node | None] = [None] * len(older.nodes)

    def link(self, newer: Node, older: Node) -> None:
        if self._older[newer.index] is not None or self._newer[older.index] is not None:
            raise NotABijection(f"{newer!r} or {older!r} is linked already")
        self._older[newer.index] = older
        self._newer[older.index] = newer

    def free(self, newer: Node, older: Node) -> bool:
        """Whether neither of the two is linked yet."""
        return self._older[newer.index] is None and self._newer[older.index] is None

    def likely(self, newer: Node, older: Node) -> bool:
        """Whether two nodes may be linked for their likeness."""
        return newer.index not in self.withheld or newer.fingerprint == older.fingerprint

    def older_of(self, newer: Node) -> Node | None:
        return self._older[newer.index]

    def newer_of(self, older: Node) -> Node | None:
        return self._newer[older.index]

    def linked(self, newer: Node, older: Node) -> bool:
        return self._older[newer.index] is older

    def link_isomorphic(self, newer: Node, older: Node) -> None:
        """Link two isomorphic subtrees node by node, leaving out nodes that are linked elsewhere."""
        shift = older.index - newer.index
        nodes, others = self.newer.nodes, self.older.nodes
        for index in range(newer.index, newer.index + newer.size):
            if self._older[index] is None and self._newer[index + shift] is None:
                self._older[index] = others[index + shift]
                self._newer[index + shift] = nodes[index]

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Linked pairs, in the newer tree's preorder."""
        for newer, older in zip(self.newer.nodes, self._older, strict=True):
            if older is not None:
                yield newer, older

    def __len__(self) -> int:
        return sum(older is not None for older in self._older)

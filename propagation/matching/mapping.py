"""The mapping between the nodes of two trees: a bijection, enforced. What a mapping means is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Set

from flor_ray.propagation.reading.tree import Node, Tree


class NotABijection(ValueError):
    """A node was to be linked twice. A matching phase has a bug; no input may cause this."""


class Mapping:
    """Links between nodes of a newer and an older tree; every node has at most one.

    `withheld` are indices of newer statements that may be linked to equal ones only.
    """

    __slots__ = ("_newer", "_older", "by_header", "newer", "older", "withheld")

    def __init__(self, newer: Tree, older: Tree, withheld: Set[int] = frozenset()) -> None:
        self.newer, self.older, self.withheld = newer, older, withheld
        self.by_header: set[int] = set()  # indices of newer compound statements for whose link only a header speaks
        self._older: list[Node | None] = [None] * len(newer.nodes)
        self._newer: list[Node | None] = [None] * len(older.nodes)

    def link(self, newer: Node, older: Node) -> None:
        """Link two nodes. Raises NotABijection if one of them is linked already."""
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

    def withheld_pairs(self, newer: Node, older: Node) -> list[tuple[Node, Node]]:
        """What is withheld in a newer node, with what stands there in an older node of one shape."""
        inside = [index - newer.index for index in self.withheld if 0 <= index - newer.index < newer.size]
        return [(self.newer.nodes[newer.index + at], self.older.nodes[older.index + at]) for at in inside]

    def older_of(self, newer: Node) -> Node | None:
        """The older node that a newer one is linked to."""
        return self._older[newer.index]

    def newer_of(self, older: Node) -> Node | None:
        """The newer node that an older one is linked to."""
        return self._newer[older.index]

    def linked(self, newer: Node, older: Node) -> bool:
        """Whether these two are linked to each other."""
        return self._older[newer.index] is older

    def link_isomorphic(self, newer: Node, older: Node) -> None:
        """Link two isomorphic subtrees node by node, leaving out nodes that are linked elsewhere."""
        first, last = newer.index, newer.index + newer.size
        start, end = older.index, older.index + older.size
        ours, theirs = self._older[first:last], self._newer[start:end]
        nodes, others = self.newer.nodes[first:last], self.older.nodes[start:end]
        if ours.count(None) == theirs.count(None) == newer.size:  # the usual case: whole slices at once
            self._older[first:last] = others
            self._newer[start:end] = nodes
            return
        if None not in ours or None not in theirs:
            return
        for offset, (mine, other) in enumerate(zip(nodes, others, strict=True)):
            if ours[offset] is None and theirs[offset] is None:
                self._older[first + offset] = other
                self._newer[start + offset] = mine

    def partners(self, newer: Node) -> list[Node | None]:
        """What the descendants of a newer node are linked to, in preorder."""
        return self._older[newer.index + 1 : newer.index + newer.size]

    def newer_partners(self, older: Node) -> list[Node | None]:
        """What the descendants of an older node are linked to, in preorder."""
        return self._newer[older.index + 1 : older.index + older.size]

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Linked pairs, in the newer tree's preorder."""
        for newer, older in zip(self.newer.nodes, self._older, strict=True):
            if older is not None:
                yield newer, older

    def __len__(self) -> int:
        return len(self._older) - self._older.count(None)

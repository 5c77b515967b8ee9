"""Older blocks that a newer one could as well be matched with: then nobody can say which of them is meant."""

from __future__ import annotations

from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import Likeness
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import DEFINITIONS, Node, definition_path

_RIVAL_MARGIN = 0.02  # two blocks this close in likeness are equally good


class Rivals:
    """Looks for unmatched older blocks that are as good as the matched one."""

    def __init__(self, older: Program, mapping: Mapping, likeness: Likeness) -> None:
        self._older, self._mapping, self._likeness = older, mapping, likeness

    def of(self, block: Node, target: Node) -> Node | None:
        """An unmatched older container that the newer one could as well be matched with, seen from outside."""
        container, chosen = block.parent, target.parent
        while container is not None and container.parent is not None and chosen is not None:
            is_linked = container.kind in CONTAINERS and self._mapping.linked(container, chosen)
            if is_linked and not _are_namesakes(container, chosen):
                rival = self._rival_of(container, chosen)
                if rival is not None:
                    return rival
            container = container.parent
            chosen = self._mapping.older_of(container)
        return None

    def _rival_of(self, container: Node, chosen: Node) -> Node | None:
        support = self._support(container, chosen)
        score = None
        for other in self._older.tree.of_kind(container.kind):
            if other is chosen or self._mapping.newer_of(other) is not None:
                continue
            if other.contains(chosen) or chosen.contains(other) or other.parent is None or chosen.parent is None:
                continue
            if other.parent is not chosen.parent and other.fingerprint != chosen.fingerprint:
                continue
            if self._support(container, other) < support:
                continue
            score = self._likeness.of(container, chosen) if score is None else score
            if self._likeness.of(container, other) >= score - _RIVAL_MARGIN:
                return other
        return None

    def _support(self, newer: Node, older: Node) -> int:
        """How many of the direct siblings on both sides, and of the parents, are linked to each other."""
        if newer.parent is None or older.parent is None:
            return 0
        support = int(self._mapping.linked(newer.parent, older.parent))
        for step in (-1, 1):
            left, right = newer.sibling(step), older.sibling(step)
            support += left is not None and right is not None and self._mapping.linked(left, right)
        return support


def _are_namesakes(newer: Node, older: Node) -> bool:
    """Whether two definitions have one name: then no other is meant, however much alike its body is."""
    if newer.kind not in DEFINITIONS or older.kind not in DEFINITIONS:
        return False
    return definition_path(newer) == definition_path(older)

"""Greedy top-down phase of GumTree (Falleri et al. 2014, algorithm 1): anchors between isomorphic subtrees, tallest
first. Tailored to the purpose: only statements, blocks and clauses anchor, since what is to be carried is a statement;
expressions are paired inside matched statements by recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import Likeness, anchor_dice
from flor_ray.propagation.matching.thresholds import (
    MAX_AMBIGUOUS_PAIRS,
    MIN_ANCHOR_SIZE,
    MIN_SHAPE_DICE,
    MIN_SHAPE_SIZE,
)
from flor_ray.propagation.reading.tree import Node, Tree, definition_path

_MAX_EFFORT = 20_000_000
"""Nodes that may be looked at to tell equal statements apart. Scripts joined to 10 000 lines needed 2 million."""

_SAME_HOME = 2
"""What it counts to stand in definitions of the same names: as much as two neighbours."""

_Groups = dict[int, tuple[list[Node], list[Node]]]


def link_anchors(mapping: Mapping) -> None:
    """Link isomorphic statements and blocks: first those that are unique in both trees, then the ambiguous ones whose
    surroundings tell them apart. Ties are left alone: recovery may resolve them, and a guess would not be an anchor."""
    ambiguous = []
    for newer, older in _by_height(_groups(mapping, MIN_ANCHOR_SIZE, attrgetter("fingerprint"))):
        newer, older = _unlinked(mapping, newer, older)
        if len(newer) == 1 and len(older) == 1:
            mapping.link_isomorphic(newer[0], older[0])
        elif newer and older:
            ambiguous.append((newer, older))
    effort = 0
    for newer, older in ambiguous:
        if len(newer) * len(older) <= MAX_AMBIGUOUS_PAIRS and effort <= _MAX_EFFORT:
            effort += _link_by_surroundings(mapping, newer, older)


def link_renamed_anchors(mapping: Mapping, likeness: Likeness) -> None:
    """Link statements that are unique up to the names of variables, and share enough words to be the same one."""
    for newer, older in _by_height(_groups(mapping, MIN_SHAPE_SIZE, attrgetter("shape"))):
        newer, older = _unlinked(mapping, newer, older)
        newer = [node for node in newer if node.index not in mapping.withheld]
        if len(newer) != 1 or len(older) != 1 or likeness.words(newer[0], older[0]) < MIN_SHAPE_DICE:
            continue
        if not any(_is_another(mapping, a, b) for a, b in mapping.withheld_pairs(newer[0], older[0])):
            mapping.link_isomorphic(newer[0], older[0])


def _is_another(mapping: Mapping, newer: Node, older: Node) -> bool:
    """Whether of two statements of one shape the older has another variable where the newer's own is known there."""
    pairs = zip(mapping.newer.subtree(newer), mapping.older.subtree(older), strict=True)
    changed = {a.label for a, b in pairs if a.label != b.label}
    return any(node.label in changed for node in mapping.older.of_kind("identifier"))


def _anchorable(tree: Tree) -> Iterable[Node]:
    for kind in tree.kinds:  # equal nodes are of one kind: within it, preorder is all that counts
        if kind == "block" or kind.endswith(("_clause", "_definition", "_statement")):
            yield from tree.of_kind(kind)


def _groups(mapping: Mapping, least: int, key: Callable[[Node], int]) -> _Groups:
    """The unlinked nodes that both trees have, by what makes them equal."""
    theirs: dict[int, list[Node]] = {}
    for node in _anchorable(mapping.older):
        if node.size >= least and mapping.newer_of(node) is None:
            found = key(node)
            if found in theirs:
                theirs[found].append(node)
            else:
                theirs[found] = [node]
    groups: _Groups = {}
    for node in _anchorable(mapping.newer):
        if node.size >= least and mapping.older_of(node) is None:
            found = key(node)
            if found in groups:
                groups[found][0].append(node)
            elif found in theirs:
                groups[found] = [node], theirs[found]
    return groups


def _by_height(groups: _Groups) -> list[tuple[list[Node], list[Node]]]:
    return sorted(groups.values(), key=lambda group: (-group[0][0].height, -group[0][0].size, group[0][0].index))


def _unlinked(mapping: Mapping, newer: list[Node], older: list[Node]) -> tuple[list[Node], list[Node]]:
    return (
        [node for node in newer if mapping.older_of(node) is None],
        [node for node in older if mapping.newer_of(node) is None],
    )


def _link_by_surroundings(mapping: Mapping, newer: list[Node], older: list[Node]) -> int:
    """Returns how many nodes had to be looked at."""
    around = {(a.parent, b.parent): 0.0 for a in newer for b in older}
    effort = 0
    if len(around) > 1:  # else all have the same parents, and these cannot tell any apart
        for left, right in around:
            if left is not None and right is not None and left.kind == right.kind:
                around[left, right] = anchor_dice(mapping, left, right)
                effort += min(left.size, right.size)
    homes = [definition_path(a) for a in newer], [definition_path(b) for b in older]
    scores = [
        [
            around[a.parent, b.parent] + _linked_siblings(mapping, a, b) + _SAME_HOME * (home == there)
            for b, there in zip(older, homes[1], strict=True)
        ]
        for a, home in zip(newer, homes[0], strict=True)
    ]
    rows = [sorted(row, reverse=True)[:2] for row in scores]
    columns = [sorted(column, reverse=True)[:2] for column in zip(*scores, strict=True)]
    for a, row, best_of_row in zip(newer, scores, rows, strict=True):
        for b, score, best_of_column in zip(older, row, columns, strict=True):
            if score > 0 and _alone(score, best_of_row) and _alone(score, best_of_column) and mapping.free(a, b):
                mapping.link_isomorphic(a, b)
    return effort


def _alone(score: float, best: list[float]) -> bool:
    """Whether a score is the best of its row or column, and no other is as good."""
    return score == best[0] and (len(best) == 1 or best[1] != score)


def _linked_siblings(mapping: Mapping, newer: Node, older: Node) -> int:
    found = 0
    for step in (-1, 1):
        left, right = newer.sibling(step), older.sibling(step)
        found += left is not None and right is not None and mapping.linked(left, right)
    return found

"""Greedy top-down phase of GumTree (Falleri et al. 2014, algorithm 1): anchors between isomorphic subtrees, tallest
first. Tailored to the purpose: only statements, blocks and clauses anchor, since what is to be carried is a statement;
expressions are paired inside matched statements by recovery.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from flor_ray.propagation.mapping import Mapping
from flor_ray.propagation.similarity import Likeness, anchor_dice
from flor_ray.propagation.thresholds import MAX_AMBIGUOUS_PAIRS, MIN_ANCHOR_SIZE, MIN_SHAPE_DICE, MIN_SHAPE_SIZE
from flor_ray.propagation.tree import Node, Tree

_Groups = dict[int, tuple[list[Node], list[Node]]]


def link_anchors(mapping: Mapping) -> None:
    """Link isomorphic statements and blocks: first those that are unique in both trees, then the ambiguous ones whose
    surroundings tell them apart. Ties are left alone: recovery may resolve them, and a guess would not be an anchor."""
    ambiguous = []
    for newer, older in _by_height(_groups(mapping, MIN_ANCHOR_SIZE, _fingerprint)):
        newer, older = _unlinked(mapping, newer, older)
        if len(newer) == 1 and len(older) == 1:
            mapping.link_isomorphic(newer[0], older[0])
        elif newer and older:
            ambiguous.append((newer, older))
    for newer, older in ambiguous:
        if len(newer) * len(older) <= MAX_AMBIGUOUS_PAIRS:
            _link_by_surroundings(mapping, newer, older)


def link_renamed_anchors(mapping: Mapping, likeness: Likeness) -> None:
    """Link statements that are unique up to the names of variables, and share enough words to be the same one."""
    for newer, older in _by_height(_groups(mapping, MIN_SHAPE_SIZE, _shape)):
        newer, older = _unlinked(mapping, newer, older)
        newer = [node for node in newer if node.index not in mapping.withheld]
        if len(newer) == 1 and len(older) == 1 and likeness.words(newer[0], older[0]) >= MIN_SHAPE_DICE:
            mapping.link_isomorphic(newer[0], older[0])


def _fingerprint(node: Node) -> int:
    return node.fingerprint


def _shape(node: Node) -> int:
    return node.shape


def _anchorable(tree: Tree) -> Iterable[Node]:
    for node in tree.nodes:
        kind = node.kind
        if kind == "block" or kind.endswith(("_clause", "_definition", "_statement")):
            yield node


def _groups(mapping: Mapping, least: int, key: Callable[[Node], int]) -> _Groups:
    groups: _Groups = defaultdict(lambda: ([], []))
    for node in _anchorable(mapping.newer):
        if node.size >= least and mapping.older_of(node) is None:
            groups[key(node)][0].append(node)
    for node in _anchorable(mapping.older):
        if node.size >= least and mapping.newer_of(node) is None and key(node) in groups:
            groups[key(node)][1].append(node)
    return groups


def _by_height(groups: _Groups) -> list[tuple[list[Node], list[Node]]]:
    both = [group for group in groups.values() if group[1]]
    return sorted(both, key=lambda group: (-group[0][0].height, -group[0][0].size, group[0][0].index))


def _unlinked(mapping: Mapping, newer: list[Node], older: list[Node]) -> tuple[list[Node], list[Node]]:
    return (
        [node for node in newer if mapping.older_of(node) is None],
        [node for node in older if mapping.newer_of(node) is None],
    )


def _link_by_surroundings(mapping: Mapping, newer: list[Node], older: list[Node]) -> None:
    scores = {(a.index, b.index): _surroundings(mapping, a, b) for a in newer for b in older}
    for a in newer:
        row = sorted((scores[a.index, b.index] for b in older), reverse=True)
        for b in older:
            score = scores[a.index, b.index]
            column = sorted((scores[other.index, b.index] for other in newer), reverse=True)
            strictly_best = score > 0 and score == row[0] == column[0]
            if strictly_best and row.count(score) == 1 and column.count(score) == 1 and mapping.free(a, b):
                mapping.link_isomorphic(a, b)


def _surroundings(mapping: Mapping, newer: Node, older: Node) -> float:
    if newer.parent is None or older.parent is None:
        return 0.0
    score = anchor_dice(mapping, newer.parent, older.parent) if newer.parent.kind == older.parent.kind else 0.0
    for step in (-1, 1):
        left, right = _sibling(newer, step), _sibling(older, step)
        score += left is not None and right is not None and mapping.linked(left, right)
    return score


def _sibling(node: Node, step: int) -> Node | None:
    siblings = node.parent.children if node.parent is not None else ()
    position = siblings.index(node) + step
    return siblings[position] if 0 <= position < len(siblings) else None

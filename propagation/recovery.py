"""Recovery phase: inside matched containers, pair what the anchors left over. GumTree runs an optimal tree edit
distance here (Falleri et al. 2014, section 3.2); blocks of statements need less: an order-preserving alignment of the
gaps between linked statements, then the few that moved within the block.

        newer block   a  b  S  c        a-a, c-c linked: the gap [b S] faces the gap [b'],
        older block   a  b'    c        and the alignment with most similarity pairs b-b'.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence

from flor_ray.propagation.bottomup import CONTAINERS, link_container
from flor_ray.propagation.mapping import Mapping
from flor_ray.propagation.similarity import Likeness, alike, anchor_dice
from flor_ray.propagation.thresholds import (
    MAX_ALIGNED_PAIRS,
    MAX_AMBIGUOUS_PAIRS,
    MIN_ACROSS_SIMILARITY,
    MIN_MOVED_SIMILARITY,
    MIN_STATEMENT_SIMILARITY,
)
from flor_ray.propagation.tree import BLOCKS, Node, Tree

_NAMED_PARTS = frozenset(
    {"default_parameter", "keyword_argument", "pair", "typed_default_parameter", "typed_parameter"}
)


def recover(mapping: Mapping, likeness: Likeness) -> None:
    """Pair the children of linked nodes, parents first, so that what is paired on the way is entered, too."""
    nodes, index = mapping.newer.nodes, 0
    while index < len(nodes):
        newer = nodes[index]
        older = mapping.older_of(newer)
        if older is not None and newer.fingerprint == older.fingerprint:
            mapping.link_isomorphic(newer, older)
            index += newer.size
            continue
        if older is not None and newer.children and older.children:
            if newer.kind in BLOCKS:
                _align_statements(mapping, likeness, newer.children, older.children)
            else:
                _align_parts(mapping, newer.children, older.children)
        index += 1


def align_across_blocks(mapping: Mapping, likeness: Likeness) -> int:
    """Pair simple statements whose blocks differ (moved into a function, out of a `with`) by the order of the file.

    Returns how many. What stands before and after in the file says less than a common block: more likeness is asked.
    """
    newer, older = _simple_statements(mapping.newer), _simple_statements(mapping.older)
    found = 0
    for left, right in _gaps(mapping, newer, older):
        for a, b in _best_alignment(mapping, likeness, left, right, MIN_ACROSS_SIMILARITY):
            mapping.link(a, b)
            found += 1
    return found


def _simple_statements(tree: Tree) -> list[Node]:
    return [node for node in tree.nodes if node.is_statement and node.kind not in CONTAINERS and node.size > 2]


def _align_statements(mapping: Mapping, likeness: Likeness, newer: Sequence[Node], older: Sequence[Node]) -> None:
    for left, right in _gaps(mapping, newer, older):
        for a, b in _best_alignment(mapping, likeness, left, right):
            mapping.link(a, b)
    left, right = _unlinked(mapping, newer, older)
    moved = _scores(mapping, likeness, left, right, MIN_MOVED_SIMILARITY)
    votes = Counter((id(node), score) for a, b, score in moved for node in (a, b))
    for a, b, score in sorted(moved, key=lambda each: (-each[2], each[0].index, each[1].index)):
        if mapping.free(a, b) and votes[id(a), score] == votes[id(b), score] == 1:  # of two equally good: neither
            mapping.link(a, b)
    _link_containers_that_grew(mapping, *_unlinked(mapping, newer, older))


def _link_containers_that_grew(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """A loop whose body doubled looks like nothing it was; but what it still holds of the old one gives it away."""
    left = [node for node in newer if node.kind in CONTAINERS and node.index not in mapping.withheld]
    right = [node for node in older if node.kind in CONTAINERS]
    if len(left) * len(right) > MAX_AMBIGUOUS_PAIRS:
        return
    pairs = [(a, b) for a in left for b in right if a.kind == b.kind and anchor_dice(mapping, a, b) > 0]
    for a, b in pairs:
        if sum(a is x for x, _ in pairs) == sum(b is y for _, y in pairs) == 1:
            link_container(mapping, a, b)


def _gaps(
    mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]
) -> list[tuple[Sequence[Node], Sequence[Node]]]:
    """The runs of unlinked statements that face each other between pairs linked in the same order."""
    places = {node.index: place for place, node in enumerate(older)}
    linked = []
    for place, node in enumerate(newer):
        partner = mapping.older_of(node)
        if partner is not None and partner.index in places:
            linked.append((place, places[partner.index]))
    gaps: list[tuple[Sequence[Node], Sequence[Node]]] = []
    before = (-1, -1)
    for here in [*_increasing(linked), (len(newer), len(older))]:
        left = [n for n in newer[before[0] + 1 : here[0]] if mapping.older_of(n) is None]
        right = [n for n in older[before[1] + 1 : here[1]] if mapping.newer_of(n) is None]
        if left and right:
            gaps.append((left, right))
        before = here
    return gaps


def _increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """A longest subsequence that rises in both coordinates (pairs come sorted by the first)."""
    tails: list[int] = []  # index into pairs of the smallest end of a run of each length
    previous = [-1] * len(pairs)
    for index, (_, value) in enumerate(pairs):
        low, high = 0, len(tails)
        while low < high:
            middle = (low + high) // 2
            if pairs[tails[middle]][1] < value:
                low = middle + 1
            else:
                high = middle
        previous[index] = tails[low - 1] if low else -1
        tails[low : low + 1] = [index]
    run = []
    index = tails[-1] if tails else -1
    while index >= 0:
        run.append(pairs[index])
        index = previous[index]
    return run[::-1]


def _scores(
    mapping: Mapping, likeness: Likeness, newer: Sequence[Node], older: Sequence[Node], least: float
) -> list[tuple[Node, Node, float]]:
    exact_only = len(newer) * len(older) > MAX_ALIGNED_PAIRS
    scored = []
    if exact_only:
        twins: dict[int, list[Node]] = {}
        for b in older:
            twins.setdefault(b.fingerprint, []).append(b)
        return [(a, twins[a.fingerprint][0], 1.0) for a in newer if len(twins.get(a.fingerprint, ())) == 1]
    for a in newer:
        for b in older:
            score = likeness.of(a, b) if mapping.likely(a, b) else 0.0
            if score >= least:
                scored.append((a, b, score))
    return scored


def _best_alignment(
    mapping: Mapping,
    likeness: Likeness,
    newer: Sequence[Node],
    older: Sequence[Node],
    least: float = MIN_STATEMENT_SIMILARITY,
) -> list[tuple[Node, Node]]:
    """Order-preserving pairs with the largest sum of similarities (Needleman-Wunsch without gap costs)."""
    rows, columns = len(newer), len(older)
    if rows * columns > MAX_ALIGNED_PAIRS:
        pairs = [(newer.index(a), older.index(b)) for a, b, _ in _scores(mapping, likeness, newer, older, 1.0)]
        return [(newer[i], older[j]) for i, j in _increasing(sorted(pairs))]
    score = {(a.index, b.index): s for a, b, s in _scores(mapping, likeness, newer, older, least)}
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            paired = best[i + 1][j + 1] + score.get((newer[i].index, older[j].index), 0.0)
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    pairs_found, i, j = [], 0, 0
    while i < rows and j < columns:
        s = score.get((newer[i].index, older[j].index), 0.0)
        if s and best[i][j] == best[i + 1][j + 1] + s:
            pairs_found.append((newer[i], older[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs_found


def _align_parts(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """Pair the parts of two linked statements or expressions: equal ones first, then those with a role of their own."""
    for a, b in zip(newer, older, strict=False):
        if a.fingerprint == b.fingerprint and mapping.free(a, b):
            mapping.link(a, b)
    left, right = _unlinked(mapping, newer, older)
    for a in left:
        twins = [b for b in right if b.fingerprint == a.fingerprint and b.role == a.role and mapping.free(a, b)]
        if len(twins) == 1:
            mapping.link(a, twins[0])
    left, right = _unlinked(mapping, left, right)
    _align_by_name(mapping, left, right)
    left, right = _unlinked(mapping, left, right)
    if [(n.kind, n.role) for n in left] == [(n.kind, n.role) for n in right]:
        for a, b in zip(left, right, strict=True):
            mapping.link(a, b)
        return
    for some, others in _gaps(mapping, newer, older):
        if [n.kind for n in some] == [n.kind for n in others]:
            for a, b in zip(some, others, strict=True):
                mapping.link(a, b)
    left, right = _unlinked(mapping, left, right)
    for a in left:
        same = [n for n in left if (n.kind, n.role) == (a.kind, a.role)]
        others = [n for n in right if (n.kind, n.role) == (a.kind, a.role)]
        if len(same) == 1 and len(others) == 1:
            mapping.link(a, others[0])


def _align_by_name(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """Pair parameters, keyword arguments and entries of dictionaries that have one name, or much the same name."""
    for same in (operator.eq, alike):
        for a in newer:
            name = _part_name(a)
            if name and mapping.older_of(a) is None:
                twins = [b for b in older if b.kind == a.kind and mapping.free(a, b) and same(name, _part_name(b))]
                rivals = [c for c in newer if c.kind == a.kind and mapping.older_of(c) is None]
                if len(twins) == 1 and sum(same(_part_name(c), _part_name(twins[0])) for c in rivals) == 1:
                    mapping.link(a, twins[0])


def _part_name(node: Node) -> str:
    """Name of a parameter or keyword argument, the key of a dictionary's entry; "" for other parts."""
    if node.kind == "identifier" and node.parent is not None and node.parent.kind == "parameters":
        return node.label
    if node.kind == "dotted_name" and node.parent is not None and node.parent.kind == "import_from_statement":
        return node.children[-1].label if node.role == "name" else ""
    if node.kind in _NAMED_PARTS and node.children and not node.children[0].children:
        return node.children[0].label
    return ""


def _unlinked(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    return (
        [node for node in newer if mapping.older_of(node) is None],
        [node for node in older if mapping.newer_of(node) is None],
    )

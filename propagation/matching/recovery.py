"""Recovery phase: inside matched containers, pair what the anchors left over. GumTree runs an optimal tree edit
distance here (Falleri et al. 2014, section 3.2); blocks of statements need less: an order-preserving alignment of the
gaps between linked statements, then the few that moved within the block.

        newer block   a  b  S  c        a-a, c-c linked: the gap [b S] faces the gap [b'],
        older block   a  b'    c        and the alignment with most similarity pairs b-b'.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence

from flor_ray.propagation.matching.bottomup import CONTAINERS, body, link_container
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import Likeness, alike, header_likeness, header_nodes, words_of
from flor_ray.propagation.matching.thresholds import (
    MAX_ALIGNED_PAIRS,
    MAX_AMBIGUOUS_PAIRS,
    MIN_ACROSS_SIMILARITY,
    MIN_MOVED_SIMILARITY,
    MIN_STATEMENT_SIMILARITY,
)
from flor_ray.propagation.reading.tree import BLOCKS, Node, Tree

_MAX_EFFORT = 100_000
"""Pairs of statements whose likeness one matching may measure. Scripts joined to 10 000 lines needed 18 000, real ones
of 600 to 1 700 lines at most 1 500. Beyond it, only equal statements are aligned."""

_MAX_ALIKE_PAIRS = 5_000
"""Pairs of parts whose names are compared by their letters: 50 new keywords of one call by 50, which no one writes."""

_LEFT_OVER = ("for_statement", "if_statement", "try_statement", "while_statement", "with_statement")
_WRAPPERS = frozenset({"if_statement", "try_statement", "with_statement"})
_ALIKE_HEADER = 0.3  # likeness of two headers around equal statements
_SAME_HEADER = 0.6  # and around others
_SHORTEST_HEADER = 3  # nodes of one that tells something without the names in it

_Key = Callable[[Node], tuple[object, str]]

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
    return [node for node in tree.statements if node.kind not in CONTAINERS and node.size > 2]


def _align_statements(mapping: Mapping, likeness: Likeness, newer: Sequence[Node], older: Sequence[Node]) -> None:
    if not all(_unlinked(mapping, newer, older)):
        return
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
    for left, right in _gaps(mapping, newer, older):
        _link_facing_containers(mapping, left, right)
        _link_across_wrappers(mapping, left, right)


def _link_facing_containers(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """Link the only two compound statements of a kind that face each other, if their headers are alike.

    What they hold may be too small, or have changed too much, to tell.
    """
    for kind in _LEFT_OVER:
        left = [n for n in newer if n.kind == kind and mapping.older_of(n) is None and n.index not in mapping.withheld]
        right = [n for n in older if n.kind == kind and mapping.newer_of(n) is None]
        if len(left) == len(right) == 1 and _may_be_one(mapping, left[0], right[0]):
            link_container(mapping, left[0], right[0])
            mapping.by_header.add(left[0].index)


def _may_be_one(mapping: Mapping, newer: Node, older: Node) -> bool:
    bodies = body(newer), body(older)
    if bodies[0] is None or bodies[1] is None:
        return False
    theirs = {each.fingerprint for each in bodies[1].children}
    mine = [each for each in bodies[0].children if each.is_statement and each.index not in mapping.withheld]
    is_equal = bool(mine) and all(each.fingerprint in theirs for each in mine)
    if newer.kind == "try_statement":
        return is_equal
    like = header_likeness(newer, older)
    return like >= (_ALIKE_HEADER if is_equal else _SAME_HEADER) or _are_renamed(mapping, newer, older)


def _are_renamed(mapping: Mapping, newer: Node, older: Node) -> bool:
    """Whether two headers are equal up to the names of variables that are bound in one statement of both versions."""
    ours, theirs = list(header_nodes(newer)), list(header_nodes(older))
    if len(ours) != len(theirs) or len(ours) < _SHORTEST_HEADER:
        return False
    for a, b in zip(ours, theirs, strict=True):
        if (a.kind, a.label) == (b.kind, b.label):
            continue
        if a.kind != b.kind or a.kind != "identifier" or not _bind_one(mapping, a.label, b.label):
            return False
    return True


def _bind_one(mapping: Mapping, name: str, other: str) -> bool:
    """Whether some assignment to a variable of the one name has become an assignment to one of the other."""
    for node in mapping.newer.of_kind("identifier"):
        partner = mapping.older_of(node) if node.label == name and node.role == "left" else None
        if partner is not None and partner.label == other and partner.role == "left":
            return True
    return False


def _link_across_wrappers(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """Link a compound statement with one that a `try`, `with` or `if` of only one version is written around."""
    inner = [each for wrapper in newer if wrapper.kind in _WRAPPERS for each in _wrapped(wrapper)]
    their_inner = [each for wrapper in older if wrapper.kind in _WRAPPERS for each in _wrapped(wrapper)]
    for some, others in ((inner, older), (newer, their_inner)):
        pairs = [
            (a, b)
            for a in some
            for b in others
            if a.kind == b.kind and a.kind in _LEFT_OVER and mapping.free(a, b) and mapping.likely(a, b)
            if header_likeness(a, b) >= _SAME_HEADER
        ]
        for a, b in pairs:
            if sum(a is x for x, _ in pairs) == sum(b is y for _, y in pairs) == 1 and mapping.free(a, b):
                link_container(mapping, a, b)
                mapping.by_header.add(a.index)


def _wrapped(wrapper: Node) -> Sequence[Node]:
    inside = body(wrapper)
    return inside.children if inside is not None else ()


def _link_containers_that_grew(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """A loop whose body doubled looks like nothing it was; but what it still holds of the old one gives it away."""
    left = [node for node in newer if node.kind in CONTAINERS and node.index not in mapping.withheld]
    right = [node for node in older if node.kind in CONTAINERS]
    if len(left) * len(right) > MAX_AMBIGUOUS_PAIRS:
        return
    pairs = []
    for a in left:
        anchors = sorted(partner.index for partner in mapping.partners(a) if partner is not None) if right else []
        for b in right:
            if a.kind == b.kind and bisect_right(anchors, b.index) < bisect_left(anchors, b.index + b.size):
                pairs.append((a, b))
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
    ends: list[int] = []  # and that end
    previous = [-1] * len(pairs)
    for index, (_, value) in enumerate(pairs):
        low = bisect_left(ends, value)
        previous[index] = tails[low - 1] if low else -1
        tails[low : low + 1] = [index]
        ends[low : low + 1] = [value]
    run = []
    index = tails[-1] if tails else -1
    while index >= 0:
        run.append(pairs[index])
        index = previous[index]
    return run[::-1]


def _scores(
    mapping: Mapping, likeness: Likeness, newer: Sequence[Node], older: Sequence[Node], least: float
) -> list[tuple[Node, Node, float]]:
    if len(newer) * len(older) > MAX_ALIGNED_PAIRS or likeness.effort > _MAX_EFFORT:
        twins: dict[int, list[Node]] = {}
        for b in older:
            twins.setdefault(b.fingerprint, []).append(b)
        return [(a, twins[a.fingerprint][0], 1.0) for a in newer if len(twins.get(a.fingerprint, ())) == 1]
    scored = []
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
    scores = _scores(mapping, likeness, newer, older, least)
    if not scores:
        return []
    if rows * columns > MAX_ALIGNED_PAIRS:
        row_of = {node.index: row for row, node in enumerate(newer)}
        column_of = {node.index: column for column, node in enumerate(older)}
        pairs = sorted((row_of[a.index], column_of[b.index]) for a, b, _ in scores)
        return [(newer[i], older[j]) for i, j in _increasing(pairs)]
    score = {(a.index, b.index): s for a, b, s in scores}
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
    if not left or not right:
        return
    _link_only_twins(mapping, left, right, _text_and_role)
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
    _link_only_ones(mapping, left, right, _kind_and_role)


def _link_only_twins(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node], key: _Key) -> None:
    """Link newer parts to the older part that alone has the same key; of several newer ones, the first."""
    groups: dict[tuple[object, str], list[Node]] = {}
    for b in older:
        groups.setdefault(key(b), []).append(b)
    for a in newer:
        twins = groups.get(key(a), ())
        if len(twins) == 1 and mapping.free(a, twins[0]):
            mapping.link(a, twins[0])


def _link_only_ones(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node], key: _Key) -> None:
    """Link the parts that alone have a key on both sides."""
    keys = Counter(map(key, newer))
    _link_only_twins(mapping, [node for node in newer if keys[key(node)] == 1], older, key)


def _text_and_role(node: Node) -> tuple[object, str]:
    return node.fingerprint, node.role


def _kind_and_role(node: Node) -> tuple[object, str]:
    return node.kind, node.role


def _kind_and_name(node: Node) -> tuple[object, str]:
    return node.kind, _part_name(node)


def _align_by_name(mapping: Mapping, newer: Sequence[Node], older: Sequence[Node]) -> None:
    """Pair parameters, keyword arguments and entries of dictionaries that have one name, or much the same name."""
    newer, older = [node for node in newer if _part_name(node)], [node for node in older if _part_name(node)]
    if not newer or not older:
        return
    _link_only_ones(mapping, newer, older, _kind_and_name)
    newer, older = _unlinked(mapping, newer, older)
    if len(newer) * (len(newer) + len(older)) > _MAX_ALIKE_PAIRS:
        return
    for a in newer:
        name = _part_name(a)
        rest = [b for b in older if b.kind == a.kind and mapping.free(a, b)]
        twins = [b for b in rest if alike(name, _part_name(b))]
        if len(twins) == 1 and not any(b is not twins[0] and _share_a_word(name, _part_name(b)) for b in rest):
            name = _part_name(twins[0])
            rivals = [c for c in newer if c.kind == a.kind and mapping.older_of(c) is None]
            if sum(alike(_part_name(c), name) for c in rivals) == 1:
                mapping.link(a, twins[0])


def _share_a_word(left: str, right: str) -> bool:
    return not words_of(left).isdisjoint(words_of(right))


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

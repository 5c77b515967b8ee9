"""Bottom-up phase of GumTree (Falleri et al. 2014, algorithm 2): containers are matched when enough of what they hold
is anchored in each other. What else is in matched containers is found by recovery.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from operator import attrgetter

from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.similarity import dice
from flor_ray.propagation.matching.thresholds import MIN_CONTAINER_DICE, MIN_NAMED_CONTAINER_DICE
from flor_ray.propagation.reading.tree import DEFINITIONS, Node, Tree, definition_path

CONTAINERS = frozenset(
    {
        "class_definition",
        "decorated_definition",
        "for_statement",
        "function_definition",
        "if_statement",
        "match_statement",
        "try_statement",
        "while_statement",
        "with_statement",
    }
)
_BODIES = ("body", "consequence")
_INDEX = attrgetter("index")


def link_containers(mapping: Mapping) -> int:
    """Link the roots, then containers of one kind, innermost first, to the candidate with most common anchors.

    Returns how many it has linked.
    """
    found = 0
    leaves = _Leaves(mapping.newer), _Leaves(mapping.older)
    roots = mapping.newer.root, mapping.older.root
    if roots[0].kind == roots[1].kind and mapping.free(*roots):  # else one of them is an ERROR, and no module
        mapping.link(*roots)
        found = 1
    for newer in _namesakes_first(mapping):
        if mapping.older_of(newer) is None and newer.index not in mapping.withheld:
            older = _best_candidate(mapping, newer, *leaves)
            if older is not None:
                link_container(mapping, newer, older)
                found += 1
    return found + _link_namesakes(mapping)


def _namesakes_first(mapping: Mapping) -> list[Node]:
    """Containers, innermost first; before all others the definitions that the older version has under the same path:
    where a class was copied, what it was copied from is not the copy."""
    paths = set(_by_path(mapping.older, *DEFINITIONS))
    own = {
        node.index for path, nodes in _by_path(mapping.newer, *DEFINITIONS).items() if path in paths for node in nodes
    }
    innermost_first = mapping.newer.of_kind(*sorted(CONTAINERS))[::-1]
    return sorted(innermost_first, key=lambda node: node.index not in own)


def link_container(mapping: Mapping, newer: Node, older: Node) -> None:
    """Link two containers and their bodies."""
    mapping.link(newer, older)
    left, right = body(newer), body(older)
    if left is not None and right is not None and mapping.free(left, right):
        mapping.link(left, right)


def body(container: Node) -> Node | None:
    """The block that a compound statement runs first."""
    if container.kind == "decorated_definition":
        inner = container.child("definition")
        return body(inner) if inner is not None else None
    for role in _BODIES:
        found = container.child(role)
        if found is not None:
            return found
    return None


class _Leaves:
    """The statements of a tree that hold no others, with the nodes in them counted."""

    def __init__(self, tree: Tree) -> None:
        self._nodes = [node for node in tree.statements if node.kind not in CONTAINERS]
        self._counts = [0, *accumulate(node.size for node in self._nodes)]

    def below(self, container: Node) -> list[Node]:
        first, last = self._range(container)
        return self._nodes[first:last]

    def weight(self, container: Node) -> int:
        first, last = self._range(container)
        return self._counts[last] - self._counts[first]

    def _range(self, container: Node) -> tuple[int, int]:
        first = bisect_right(self._nodes, container.index, key=_INDEX)
        return first, bisect_left(self._nodes, container.index + container.size, lo=first, key=_INDEX)


def _best_candidate(mapping: Mapping, newer: Node, ours: _Leaves, theirs: _Leaves) -> Node | None:
    anchored: dict[Node, int] = {}  # older block -> nodes of statements directly in it
    for node in ours.below(newer):
        partner = mapping.older_of(node)
        if partner is not None and partner.parent is not None:
            anchored[partner.parent] = anchored.get(partner.parent, 0) + node.size
    common: dict[int, int] = {}  # candidate's index -> nodes of statements anchored in it
    for block, count in anchored.items():
        for ancestor in (block, *block.ancestors()):
            if ancestor.kind == newer.kind and mapping.newer_of(ancestor) is None:
                common[ancestor.index] = common.get(ancestor.index, 0) + count
    scored = []
    for index in sorted(common):
        older = mapping.older.nodes[index]
        score = dice(common[index], ours.weight(newer), theirs.weight(older))
        alike = _title(mapping.newer, newer) == _title(mapping.older, older)
        if score >= (MIN_NAMED_CONTAINER_DICE if alike else MIN_CONTAINER_DICE):
            scored.append((score + 0.3 * alike, older))
    scored.sort(key=lambda each: -each[0])
    if not scored or (len(scored) > 1 and scored[0][0] == scored[1][0]):
        return None  # two equally good containers: their parents may tell
    return scored[0][1]


def _title(tree: Tree, container: Node) -> tuple[int, ...]:
    """What stands before the body: a definition's name, a loop's or condition's header."""
    if container.kind == "decorated_definition":
        inner = container.child("definition")
        return _title(tree, inner) if inner is not None else ()
    if container.kind in ("function_definition", "class_definition"):
        name = container.child("name")
        return (name.fingerprint,) if name is not None else ()
    block = body(container)
    return tuple(
        child.fingerprint for child in container.children if child is not block and child.kind != "else_clause"
    )


def _link_namesakes(mapping: Mapping) -> int:
    """Definitions that keep their name and their surroundings are the same, however much their bodies changed."""
    found = 0
    for kind in DEFINITIONS:
        newer, older = _by_path(mapping.newer, kind), _by_path(mapping.older, kind)
        for path, nodes in newer.items():
            others = older.get(path, [])
            if len(nodes) == 1 and len(others) == 1 and mapping.free(nodes[0], others[0]):
                link_container(mapping, nodes[0], others[0])
                found += 1
    return found


def _by_path(tree: Tree, *kinds: str) -> dict[tuple[str, ...], list[Node]]:
    found: dict[tuple[str, ...], list[Node]] = {}
    for node in tree.of_kind(*kinds):
        found.setdefault(definition_path(node), []).append(node)
    return found

"""GumTree (Falleri, Morandat, Blanc, Martinez, Monperrus: Fine-grained and accurate source code differencing, ASE 2014)
as the composition of its phases, one module each.

        top-down anchors -> bottom-up containers -> recovery inside them
                                  ^                      |
                                  +--- once more: what recovery found supports further containers
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from flor_ray.propagation.matching.bottomup import link_container, link_containers
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.matching.recovery import align_across_blocks, recover
from flor_ray.propagation.matching.similarity import Features, Likeness
from flor_ray.propagation.matching.topdown import link_anchors, link_renamed_anchors
from flor_ray.propagation.reading.tree import Node, Tree

_ROUNDS = 2  # a third round has found nothing in any case we have seen


def match(
    newer: Tree,
    older: Tree,
    features: Features = ((), ()),
    landmarks: Sequence[tuple[Node, Node]] = (),
    withheld: Set[int] = frozenset(),
) -> Mapping:
    """Links between the nodes of two sources that stand for the same code. Deterministic.

    `features` tells the log statements: these are matched by what they log. `landmarks` are containers known to play
    the same part in both sources (the main loops, say): they are linked unless their contents say otherwise.
    `withheld` are indices of newer statements that are linked to equal ones only: what is to be carried must not take
    the place of something that merely looks like it.
    """
    mapping = Mapping(newer, older, withheld)
    likeness = Likeness(newer, older, features)
    if newer.root.fingerprint == older.root.fingerprint:
        mapping.link_isomorphic(newer.root, older.root)
        return mapping
    link_anchors(mapping)
    link_renamed_anchors(mapping, likeness)
    across = 0
    for _ in range(_ROUNDS):
        found = link_containers(mapping)
        for left, right in landmarks:
            if left.kind == right.kind and mapping.free(left, right):
                link_container(mapping, left, right)
                found += 1
        if not found and not across:
            break
        recover(mapping, likeness)
        across = align_across_blocks(mapping, likeness)
    recover(mapping, likeness)
    return mapping

"""Which gaps of a block keep a statement in the order that it has, in the newer version, with all that is around it.

        newer   a  S  b  c          every other statement of the function votes: a for the gaps behind it, b and c for
        older   b' a' . c'          those before them. What S depends on, or what depends on S, has more votes than
                                    what could as well change places with it; what is near has more than what is far.

The gaps with the fewest votes against them are the answer: one moved neighbour cannot lead astray.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.placing.touching import Touching
from flor_ray.propagation.reading.names import Names
from flor_ray.propagation.reading.tree import SCOPES, Node, Tree

_DEPENDENT = 8.0  # votes of a statement that S may not change places with; of another: 1
_NEAREST = 3.0  # times the votes, for what stands directly before or after S
_FAR = 40  # statements of the function on each side that vote; further ones would say nothing else


@dataclass(frozen=True, slots=True)
class Span:
    """The gaps with the fewest votes against them, from `low` to `high`, and how clear that is."""

    low: int
    high: int
    against: float  # votes that even these gaps have against them
    votes: float  # all votes
    near: bool  # what stands directly beside S is among those against
    held: bool  # what S depends on, or depends on S, has all the order that it needs, and there is such code


class Order:
    """Votes of one mapping."""

    def __init__(self, mapping: Mapping, newer: Names) -> None:
        self._mapping, self._touching = mapping, Touching(newer)
        self._in_scope: dict[int, list[Node]] = {}

    def span(self, unit: Node, block: Node) -> Span:
        """The best gaps of an older block for a newer statement."""
        places = statements_of(block)
        starts = [statement.index for statement in places]
        end = block.index + block.size
        against = [0.0] * (len(places) + 1)
        beside: list[range] = []  # the gaps that the direct neighbours vote against
        total = 0.0
        needed: list[range] = []  # the gaps that dependent statements vote against
        for witness, before, weight in self._witnesses(unit):
            partner = self._mapping.older_of(witness)
            if partner is None or not starts or not starts[0] <= partner.index < end:
                continue
            place = bisect_right(starts, partner.index) - 1
            total += weight
            wrong = range(place + 1) if before else range(place + 1, len(places) + 1)
            for gap in wrong:
                against[gap] += weight
            if weight >= _DEPENDENT:
                needed.append(wrong)
            if weight in (_NEAREST, _NEAREST * _DEPENDENT):
                beside.append(wrong)
        least = min(against)
        good = [gap for gap, votes in enumerate(against) if votes <= least + 1e-9]
        near = any(good[0] in gaps for gaps in beside)
        held = bool(needed) and not any(good[0] in gaps for gaps in needed)
        return Span(good[0], _run_end(good), least, total, near, held)

    def _statements(self, scope: Node) -> list[Node]:
        if scope.index not in self._in_scope:
            self._in_scope[scope.index] = list(_run_with(self._mapping.newer, scope))
        return self._in_scope[scope.index]

    def crossed(self, unit: Node, block: Node) -> Node | None:
        """What in the older function stands on the other side of a block than the newer statement has it, if the two
        may not change places: whatever the gap, the statement would run too early or too late."""
        around = list(takewhile(lambda node: node.kind not in SCOPES - {"module"}, block.ancestors()))
        for witness, before, weight in self._witnesses(unit):
            partner = self._mapping.older_of(witness) if weight >= _DEPENDENT else None
            if partner is None or partner.parent not in around or partner in around:
                continue
            if before != (partner.index < block.index) and not self._touching.of(witness).leaves:
                return partner
        return None

    def matters(self, unit: Node, other: Node) -> bool:
        """Whether two newer statements may not change places."""
        return self._touching.conflict(unit, other)

    def _witnesses(self, unit: Node) -> list[tuple[Node, bool, float]]:
        """Statements around a newer one, whether each comes before it, and what its vote counts."""
        scope = next((node for node in unit.ancestors() if node.kind in SCOPES), None)
        if scope is None:
            return []
        around = {node.index for node in unit.ancestors()}
        leaves = [node for node in self._statements(scope) if node.index not in around and not unit.contains(node)]
        behind = [node for node in leaves if node.index > unit.index][:_FAR]
        ahead = [node for node in leaves if node.index < unit.index][-_FAR:][::-1]
        found = []
        for nodes, before in ((ahead, True), (behind, False)):
            rank = 0
            for node in nodes:
                if self._mapping.older_of(node) is None:
                    rank += 1
                    continue
                inner = node.kind not in CONTAINERS and self._touching.conflict(unit, node)
                weight = _DEPENDENT if inner else 1.0
                weight *= 1.0 + (_NEAREST - 1.0) / (1 + rank)
                rank += 1
                found.append((node, before, weight))
        return found


def _run_end(good: list[int]) -> int:
    end = good[0]
    for gap in good[1:]:
        if gap != end + 1:
            break
        end = gap
    return end


def _run_with(tree: Tree, scope: Node) -> Iterator[Node]:
    """Statements of a scope, without those of the functions and classes defined in it: these run at another time."""
    index, last = scope.index + 1, scope.index + scope.size
    while index < last:
        node = tree.nodes[index]
        inner = node.kind in SCOPES
        if node.is_statement:
            yield node
        index += node.size if inner else 1

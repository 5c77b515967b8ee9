"""What a statement does, however it is written: `total += f(x)`, `total = total + g(x)`.

A statement whose deed the older version does in its place, on its own, is not put there a second time.
"""

from __future__ import annotations

from collections.abc import Mapping

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.adapting.vocabulary import NAMES
from flor_ray.propagation.matching.mapping import Mapping as Links
from flor_ray.propagation.placing.places import BlockGap
from flor_ray.propagation.reading.effects import TAKES, called_name
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node, Tree

_ADDING = frozenset({"append", "extend"})  # methods that do what `+=` does
Words = list[tuple[str, str]]


def words_of(tree: Tree, node: Node, replaced: Mapping[tuple[int, int], bytes]) -> Words:
    """Kinds and labels of all nodes of a statement, with its names as they are in the older version."""
    found = []
    for each in tree.subtree(node):
        name = replaced.get((each.start, each.end)) if each.kind in NAMES else None
        found.append((each.kind, name.decode("utf-8", "surrogatepass") if name is not None else each.label))
    return found


def deed(tree: Tree, statement: Node, replaced: Mapping[tuple[int, int], bytes]) -> Words | None:
    """What a statement adds to, or sets to what does not depend on it, with the operator; None if it does neither."""
    expression = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    if expression is None:
        return None
    if expression.kind == "call" and expression.children[0].kind == "attribute":
        name = called_name(expression)
        receiver = words_of(tree, expression.children[0].children[0], replaced)
        return [("operator", "+=" if name in _ADDING else name), *receiver] if name in TAKES else None
    target, value = expression.child("left"), expression.child("right")
    if target is None or value is None or expression.kind not in ("assignment", "augmented_assignment"):
        return None
    changed = words_of(tree, target, replaced)
    if expression.kind == "augmented_assignment":
        return [("operator", expression.label), *changed]
    if value.kind == "binary_operator" and words_of(tree, value.children[0], replaced) == changed:
        return [("operator", value.label + "="), *changed]  # x = x + 1
    names = {label for kind, label in changed if kind in NAMES}
    if any(label in names for kind, label in words_of(tree, value, replaced) if kind in NAMES):
        return None
    return [("operator", "="), *changed]


class Doings:
    """What one older program does itself of what a newer one does, written alike or otherwise."""

    def __init__(self, newer: Program, older: Program, links: Links, renames: Renames) -> None:
        self._newer, self._older, self._links, self._renames = newer, older, links, renames

    def twin_at(self, node: Node, place: BlockGap, adaptation: Adaptation) -> Node | None:
        """The statement itself, renamed, in the block that it would be put into."""
        words = words_of(self._newer.tree, node, adaptation.replacements)
        found = self._twin_of(node, place, words)
        if found is not None:
            return found
        bound = list(self._newer.names.bound(node))
        owner = self._newer.names.owner(bound[0]) if len(bound) == 1 else None
        if owner is None or bound[0].label in self._older.names.known:
            return None
        name, scope = bound[0].label, adaptation.scope
        looks = self._renames.lookalikes
        names = looks.added_to_alike(name, owner, scope) or looks.unread_alike(name, owner, scope)
        if len(names) != 1:
            return None
        span = bound[0].start, bound[0].end
        return self._twin_of(node, place, words_of(self._newer.tree, node, {span: names[0].encode()}))

    def check(self, node: Node, place: BlockGap, adaptation: Adaptation) -> None:
        """Raises Declined if what faces a statement sets the same by the same operator: it would be done twice."""
        what = deed(self._newer.tree, node, adaptation.replacements)
        if what is None:
            return
        statements = statements_of(place.block)
        low = high = place.gap
        while low and self._links.newer_of(statements[low - 1]) is None:
            low -= 1
        while high < len(statements) and self._links.newer_of(statements[high]) is None:
            high += 1
        facing = [each for statement in statements[low:high] for each in self._older.tree.subtree(statement)]
        for other in facing:
            if other.is_statement and deed(self._older.tree, other, {}) == what:
                line = self._older.tree.line(other.start)
                raise Declined(f"line {line} of the older version does this in another way", other, 0.4)

    def _twin_of(self, node: Node, place: BlockGap, words: Words) -> Node | None:
        for other in statements_of(place.block):
            partner = self._links.newer_of(other)
            # What is linked to something beside it that says another thing is this one rather.
            free = partner is None or partner.parent is not node.parent or partner.shape != other.shape
            if free and other.size == node.size and words_of(self._older.tree, other, {}) == words:
                return other
        return None

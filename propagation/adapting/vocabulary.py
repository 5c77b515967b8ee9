"""Names that the newer version knows and the older does not: what uses them may not belong there.

newer   ema = EMA(net)              older   (nothing of that name)
        self.ema.update(net)  <--   would fail, or stand for something that is done under another name
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set

from flor_ray.propagation.adapting.adaptation import Adaptation, Declined
from flor_ray.propagation.adapting.doubts import Doubt
from flor_ray.propagation.adapting.renames import attribute_names
from flor_ray.propagation.reading.names import BUILTINS
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node

NAMES = frozenset({"identifier", "attribute_name", "keyword_name"})
_TYPED = frozenset({"generic_type", "subscript", "type"})  # `dict[str, int]` was `Dict[str, int]` once


def strangeness(
    newer: Program, older: Program, statement: Node, adaptation: Adaptation, requested: Set[int]
) -> set[Doubt]:
    """Doubts about names in a statement of the newer program that the older does not know at all.

    What else is `requested` (first bytes), or observes, does not tell what the script is made of.
    """
    scopes = newer.written_names
    nodes = [
        node
        for node in newer.written.subtree(statement)
        if node.kind in NAMES
        and node.label != "_"
        and not ((owner := scopes.owner(node)) is not None and statement.contains(owner.node))
    ]
    here = Counter(node.label for node in nodes)
    there = {node.label for node in older.written.of_kind(*NAMES)}
    typed = {node.label for node in nodes if node.parent is not None and node.parent.kind in _TYPED}
    unknown = {
        name
        for name in here
        if name not in adaptation.renamed and name not in there and (name not in BUILTINS or name in typed)
    }
    if not unknown:
        return set()
    elsewhere = _vocabulary(newer.written.of_kind(*NAMES))
    along = requested | {log.statement.start for log in newer.logs}
    for other in newer.written.statements:
        if other.start in along and other is not statement:
            elsewhere.subtract(_vocabulary(newer.written.subtree(other)))
    elsewhere.subtract(here)
    set_here = {node.label for node in nodes if node.role == "left" or is_set(node)}
    found = set()
    most = max((elsewhere[name] for name in unknown - set_here), default=0)
    if most > 0:
        found.add(Doubt.STRANGE if most > 1 else Doubt.STRANGE_ONCE)
    if any(elsewhere[name] > 0 for name in unknown & set_here):
        found.add(Doubt.UNREAD)
    return found


def check_attributes(
    newer: Program, older: Program, unit: Node, adaptation: Adaptation, dropped: Sequence[Node], moved: Set[int]
) -> None:
    """Raises Declined if a unit reads an attribute that the newer file sets and the older knows nothing of.

    `moved` are the first bytes of statements that come along.
    """
    tree = newer.written
    known = attribute_names(older.written_names)
    own = {
        node.label
        for node in tree.of_kind("attribute_name")
        if is_set(node) and ((s := node.statement()) is None or not (s.start in moved or unit.contains(s)))
    }
    for node in tree.subtree(unit):
        lacking = node.kind == "attribute_name" and node.label in own and node.label not in known
        adapted = (node.start, node.end) in adaptation.replacements
        if lacking and not adapted and not any(each.contains(node) for each in dropped):
            raise Declined(f"it reads the attribute `{node.label}`, which the older version does not have")


def is_set(node: Node) -> bool:
    """Whether a name is what an assignment sets: `x`, `self.x`, one of `x, y`."""
    child, parent = node, node.parent
    while parent is not None and parent.kind in ("attribute", "pattern_list", "tuple_pattern"):
        if parent.kind == "attribute" and parent.children[-1] is not child:
            return False
        child, parent = parent, parent.parent
    return parent is not None and child.role == "left" and parent.kind in ("assignment", "augmented_assignment")


def _vocabulary(nodes: Iterable[Node]) -> Counter[str]:
    """How often each name of a variable, an attribute or a keyword is met."""
    return Counter(node.label for node in nodes if node.kind in NAMES)

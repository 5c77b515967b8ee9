"""Units: what has to move together. A statement, or the only-newer compound statement around it, less what in it the
statement does not need.

        if step % 10 == 0:          kept: the header of what the older version lacks
            print(step)             dropped: not needed
            norm = f(net)           kept: binds what is logged
            flor.log("norm", norm)
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.bindings import scope_key
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.effects import root_of, set_by
from flor_ray.propagation.reading.names import ScopeKey
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.statements import header_end
from flor_ray.propagation.reading.tree import LOOPS, Node

_LOOP_ENDS = frozenset({"break_statement", "continue_statement"})


def widen(newer: Program, mapping: Mapping, statement: Node) -> tuple[Node, list[Node]]:
    """The outermost only-newer compound statement around a statement that holds nothing the older version has."""
    unit, around = statement, [statement]
    while unit.parent is not None and unit.parent.parent is not None:
        owner = unit.parent.parent.statement()
        if owner is None or mapping.older_of(owner) is not None:
            break
        if owner.kind not in CONTAINERS or owner.kind.endswith("_definition"):
            break
        inner = newer.tree.subtree(owner)[1:]
        if _is_recorded_loop(newer, owner):
            line = newer.tree.line(owner.start)
            raise Declined(f"its flor.loop (line {line}) has no counterpart in the older version")
        if any(n.is_statement and n.size > 2 and mapping.older_of(n) is not None for n in inner):
            break  # it wraps code that is there without it
        unit = owner
        around.append(owner)
    return unit, around


def _is_recorded_loop(newer: Program, owner: Node) -> bool:
    """Whether a statement is a `for` over flor.loop, or a `with flor.checkpointing`."""
    end = header_end(owner)
    recorded = {call.node.start for call in calls(newer.names) if call.function in ("loop", "checkpointing")}
    return any(node.kind == "call" and node.start in recorded for node in newer.tree.subtree(owner) if node.start < end)


def kept_in(newer: Program, unit: Node, around: list[Node], requested: Set[int]) -> set[int] | None:
    """Statements of a compound unit that must come along; None for a unit of one statement, or a definition."""
    if unit is around[0]:
        return None
    below = [node for node in newer.tree.subtree(unit) if node.is_statement]
    kept = {node.index for node in around}
    kept |= {node.index for node in below if node.start in requested}
    path = {id(node.parent) for node in around}
    if any(n.kind in _LOOP_ENDS and id(n.parent) in path and not _ends_inner_loop(unit, n) for n in below):
        raise Declined("it stands beside a break or continue, which the older version does not have")
    return _closure(newer, unit, below, kept)


def _closure(newer: Program, unit: Node, below: list[Node], kept: set[int]) -> set[int]:
    """What is kept, with what it needs: what binds what it reads, what it stands in, and the ends of its own loops."""
    names = newer.names
    providers: dict[tuple[ScopeKey | None, str], list[Node]] = {}
    for node in below:
        for each in _provided(newer, node):
            providers.setdefault((scope_key(names.owner(each)), each.label), []).append(node)
    todo = [node for node in below if node.index in kept or _ends_inner_loop(unit, node)]
    found = set(kept)
    done: set[int] = set()
    while todo:
        node = todo.pop()
        if node.index in done:
            continue
        done.add(node.index)
        found.add(node.index)
        todo += [owner for owner in node.ancestors() if owner.is_statement and unit.contains(owner)]
        for each in _header_reads(newer, node):
            todo += providers.pop((scope_key(names.owner(each)), each.label), ())
    return found


def dropped_from(newer: Program, unit: Node, kept: set[int]) -> list[Node]:
    """The largest statements in a unit that nothing kept is in. Raises Declined if a branch would be left empty."""
    dropped: list[Node] = []
    for node in newer.tree.subtree(unit):
        if node.is_statement and node.index not in kept and not (dropped and dropped[-1].contains(node)):
            dropped.append(node)
    for node in newer.tree.subtree(unit):
        emptied = node.kind == "block" and all(child in dropped for child in statements_of(node))
        if emptied and not any(each.contains(node) for each in dropped):
            raise Declined("it stands beside an only-newer branch that it does not need")
    return dropped


def mutated(statement: Node) -> list[Node]:
    """Variables that a statement changes without binding them: `x.append(y)`, `x.a += y`, `x[i], y[j] = z`."""
    if statement.kind != "expression_statement" or not statement.children:
        return []
    expression = statement.children[0]
    targets: list[Node] = []
    if expression.kind == "call" and expression.children and expression.children[0].kind == "attribute":
        targets = [expression.children[0]]
    elif expression.kind in ("assignment", "augmented_assignment") and (left := expression.child("left")) is not None:
        targets = [each for each in set_by(left) if each.kind != "identifier"]
    return [root for target in targets if (root := root_of(target)).kind == "identifier"]


def _header_reads(newer: Program, node: Node) -> Iterable[Node]:
    end = header_end(node) if node.kind in CONTAINERS else node.end
    return [each for each in newer.names.free(node) if each.start < end]


def _provided(newer: Program, node: Node) -> list[Node]:
    """Identifiers of the variables that a statement binds or changes."""
    bound = newer.names.bound(node)
    if node.kind in CONTAINERS:
        end = header_end(node)
        return [each for each in bound if each.start < end]
    return [*bound, *(each for each in mutated(node) if not _is_imported(newer, each))]


def _is_imported(newer: Program, identifier: Node) -> bool:
    """Whether a name is a module's or one from a module: `torch.f()` does not change `torch`."""
    owner = newer.names.owner(identifier)
    bound = owner.bindings.get(identifier.label, ()) if owner is not None else ()
    return any((s := node.statement()) is not None and s.kind == "import_statement" for node in bound) or any(
        alias.name == identifier.label for alias in newer.aliases
    )


def _ends_inner_loop(unit: Node, statement: Node) -> bool:
    """Whether this is a `break` or `continue` of a loop that is in the unit, and so part of what that loop does."""
    loop = next((node for node in statement.ancestors() if node.kind in LOOPS), None)
    return statement.kind in _LOOP_ENDS and loop is not None and unit.contains(loop)

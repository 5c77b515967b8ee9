"""Calls that stand alone in the older version, and whose results only the newer one names, logs or uses.

    newer   norm = clip(net)               older                 patched   norm = \\
            flor.log("gn", norm.item())            clip(net)                   clip(net)
                                                                           flor.log("gn", norm.item())

Nobody used what the older call gives back, so that a name for it changes nothing. A second call might: it would clip
what is clipped already, or take the next batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import cached_property

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.adapting.embedded import why_not_once
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.placing.presence import GUARDS, REPEATS, around
from flor_ray.propagation.placing.states import States
from flor_ray.propagation.reading.calls import calls, dotted
from flor_ray.propagation.reading.effects import called_name, root_of
from flor_ray.propagation.reading.names import BUILTINS
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node

_CALLS = frozenset({"call", "await"})
_NAMING = frozenset({"assignment", "named_expression"})
_SETTINGS = re.compile(r"[A-Z][A-Z0-9_]*|(args?|cfg|conf|config|hparams|hyperparameters|opts?|options|params)_?")
_MAY_LEAVE = GUARDS | {"try_statement", "with_statement"}  # what stands in them may run in part only


class Unnamed:
    """The pairs of such calls in two programs, found when they are matched."""

    def __init__(self, newer: Program, older: Program, mapping: Mapping) -> None:
        self._newer, self._older, self._mapping = newer, older, mapping
        self._states = States(newer, older, mapping)
        self._alone: dict[int, Node] = {}  # newer call, by index -> older statement
        self._unclear: dict[int, list[Node]] = {}  # ... -> those of which it may be any
        self._find()
        for index, statement in self._alone.items():
            call = newer.tree.nodes[index]
            definition = call.statement()
            if definition is None or named_by(definition) is not call or not mapping.free(definition, statement):
                continue
            if mapping.likely(definition, statement):  # they are neighbours to what stands beside them
                mapping.link(definition, statement)

    def inside(self, node: Node) -> list[tuple[Node, Node]]:
        """Such calls in a newer statement, with their older statements; in document order. Raises Declined."""
        last = node.index + node.size
        for index, statements in self._unclear.items():
            if node.index <= index < last:
                numbers = " and ".join(str(self._older.tree.line(each.start)) for each in statements)
                lines = f"line{'s' * (len(statements) > 1)} {numbers}"
                text = self._newer.tree.text(self._newer.tree.nodes[index]).decode("utf-8", "replace")
                reason = f"the older version calls `{text}` too ({lines}), and nothing tells which call it is"
                raise Declined(reason, statements[0], 0.4)
        return [
            (self._newer.tree.nodes[index], statement)
            for index, statement in sorted(self._alone.items())
            if node.index <= index < last
        ]

    def named(self, name: str, definition: Node) -> Node | None:
        """The older statement whose result a variable holds where an identifier, as the newer file has it, binds it."""
        written = definition.statement()
        matched = self._newer.matched(written) if written is not None else None
        for call, statement in self.inside(matched) if matched is not None else ():
            holder = call.parent
            target = holder.children[0] if holder is not None and holder.kind in _NAMING else None
            if target is not None and (target.kind, target.label, target.start) == (
                "identifier",
                name,
                definition.start,
            ):
                return statement
        return None

    def free_name(self, call: Node, statement: Node) -> str:
        """What to call the result of an older call: a name that neither version knows."""
        name = f"{_name(call).strip('_')}_result"
        while name in self._newer.names.known or not self.is_free(name, statement):
            name += "_"
        return name

    def is_free(self, name: str, statement: Node) -> bool:
        """Whether a name that is bound at an older statement is nobody else's."""
        names = self._older.names
        scope = names.scope_of(statement)
        taken = names.lookup(name, scope) is not None or name in names.loose or name in scope.outward
        return not taken and name not in BUILTINS and not scope.is_class

    # --- finding them -----------------------------------------------------------------------------------------------

    def _find(self) -> None:
        theirs = list(self._older_ones())
        ours = list(self._newer_ones({_name(each.children[0]) for each in theirs})) if theirs else []
        for is_same in (_is_equal, self._is_renamed, self._is_given_other_values):
            fitting = {
                a.index: [b for b in theirs if is_same(a, b.children[0]) and self._runs_with(a, b)] for a in ours
            }
            for chosen in {tuple(each): each for each in fitting.values() if each}.values():
                rivals = [index for index, each in fitting.items() if any(other in chosen for other in each)]
                if len(rivals) == len(chosen) and all(fitting[index] == chosen for index in rivals):
                    self._alone.update(zip(rivals, chosen, strict=True))  # both versions make them in this order
                else:
                    self._unclear.update((index, chosen) for index in rivals)
            ours = [each for each in ours if not fitting[each.index]]
            theirs = [each for each in theirs if not any(each in chosen for chosen in fitting.values())]

    def _older_ones(self) -> Iterator[Node]:
        recorded = {call.node.start for call in calls(self._older.names)}
        for statement in self._older.tree.of_kind("expression_statement"):
            call = statement.children[0] if len(statement.children) == 1 else None
            if call is None or call.kind not in _CALLS or call.start in recorded or not _name(call):
                continue
            partner = self._mapping.newer_of(statement)
            if statement.is_statement and (partner is None or not _is_call(partner)):
                yield statement

    def _newer_ones(self, names: set[str]) -> Iterator[Node]:
        recorded = {call.node.start for call in calls(self._newer.names)}
        for call in self._newer.tree.of_kind(*sorted(_CALLS)):
            statement = call.statement()
            if _name(call) not in names or statement is None or call.start in recorded or call.parent is statement:
                continue
            if call.parent is not None and call.parent.kind == "await":
                continue
            is_header = statement.kind in CONTAINERS and statement.kind != "if_statement"
            if not is_header and not why_not_once(statement, call):
                yield call

    def _is_renamed(self, call: Node, other: Node) -> bool:
        """Whether two expressions differ by the names of variables only, and each has the other's elsewhere, too."""
        if call.shape != other.shape:
            return False
        pairs = zip(self._newer.tree.subtree(call), self._older.tree.subtree(other), strict=True)
        return all(a.label == b.label or (a.label, b.label) in self._renames for a, b in pairs)

    def _is_given_other_values(self, call: Node, other: Node) -> bool:
        """Whether both call one function, for one thing: `clip(net, 1.0)`, `clip(net, max_norm=args.clip)`."""
        if call.kind != other.kind:
            return False
        if call.kind == "await":
            return self._is_given_other_values(call.children[0], other.children[0])
        function, theirs = call.children[0], other.children[0]
        if not self._is_renamed(function, theirs):
            full = _qualified(self._newer, function)
            if not full or full != _qualified(self._older, theirs):
                return False
        first, second = _first_argument(call), _first_argument(other)
        if first is not None and second is not None and not self._is_renamed(first, second):
            return False
        return (first is None) == (second is None) and self._differ_by_settings(call, other)

    def _differ_by_settings(self, call: Node, other: Node) -> bool:
        """Whether two calls are given the same variables, other than those that hold settings."""
        trees = (self._newer.tree, call), (self._older.tree, other)
        ours, theirs = ({n.label for n in tree.subtree(node) if n.kind == "identifier"} for tree, node in trees)
        renamed = {a for a, b in self._renames if b in theirs}, {b for a, b in self._renames if a in ours}
        left = (ours - theirs - renamed[0]) | (theirs - ours - renamed[1])
        functions = {root_of(each).label for each in (call, other)}
        return all(_SETTINGS.fullmatch(name) for name in left - functions)

    @cached_property
    def _renames(self) -> Set[tuple[str, str]]:
        """What variables are called in the newer version, and in the older, where one binding became another."""
        found = set[tuple[str, str]]()
        for node in self._newer.tree.of_kind("identifier"):
            partner = self._mapping.older_of(node)
            if partner is not None and node.label != partner.label and self._newer.names.binds(node):
                found.add((node.label, partner.label))
        return found

    def _runs_with(self, call: Node, statement: Node) -> bool:
        """Whether the older statement runs whenever the newer call does, and nothing else is known of either."""
        here, partner = call.statement(), self._mapping.newer_of(statement)
        if here is None or (partner is not None and partner is not here):
            return False
        taken = self._mapping.older_of(call), self._mapping.older_of(here)
        if any(node is not None and node.statement() is not statement for node in taken):
            return False
        left, right = around(here, REPEATS), around(statement, REPEATS)
        if len(left) != len(right) or not all(map(self._mapping.linked, left, right)):
            return False
        mine = around(here, _MAY_LEAVE)
        if not all(self._mapping.newer_of(guard) in mine for guard in around(statement, _MAY_LEAVE)):
            return False
        block = statement.parent
        assert block is not None
        renames = dict(self._renames)
        read = {node.label for node in self._newer.tree.subtree(call) if node.kind == "identifier"}
        names = {name: renames.get(name, name) for name in read}
        return self._states.conflict(here, block, statements_of(block).index(statement), names) is None


def named_by(statement: Node) -> Node | None:
    """What an assignment to a name gives it: `f(x)` of `y = f(x)`; None for all other statements."""
    assignment = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    target = assignment.child("left") if assignment is not None and assignment.kind == "assignment" else None
    return assignment.child("right") if assignment is not None and target is not None and _is_name(target) else None


def _is_name(node: Node) -> bool:
    return node.kind == "identifier"


def _is_call(statement: Node) -> bool:
    return (
        statement.kind == "expression_statement" and bool(statement.children) and statement.children[0].kind in _CALLS
    )


def _name(call: Node) -> str:
    while call.kind == "await" and call.children:
        call = call.children[0]
    return called_name(call) if call.kind == "call" else ""


def _is_equal(call: Node, other: Node) -> bool:
    return call.fingerprint == other.fingerprint


def _first_argument(call: Node) -> Node | None:
    given = call.child("arguments")
    return given.children[0] if given is not None and given.children else None


def _qualified(program: Program, function: Node) -> str:
    """What is called, by its full name: `torch.nn.init.zeros_`; "" if it does not begin with an import."""
    root = root_of(function)
    owner = program.names.owner(root) if root.kind == "identifier" else None
    bound = owner.bindings.get(root.label, []) if owner is not None else []
    statement = bound[0].statement() if len(bound) == 1 else None
    if statement is None or not statement.kind.startswith("import"):
        return ""
    module, item = statement.child("module_name"), bound[0].parent
    name = item.child("name") if item is not None and item.kind == "aliased_import" else bound[0]
    parts = [dotted(each) for each in (module, name) if each is not None]
    members = [each.label for each in program.tree.subtree(function) if each.kind == "attribute_name"]
    return ".".join([*parts, *members])

"""What may come along with a log: only what computes the logged value, and nothing that does anything else."""

from __future__ import annotations

from collections.abc import Set

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.bindings import scope_key
from flor_ray.propagation.adapting.renames import Renames
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.reading.effects import MODES, Effects, called_name, receivers
from flor_ray.propagation.reading.names import ScopeKey
from flor_ray.propagation.reading.nesting import nesting_of
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.statements import header_end
from flor_ray.propagation.reading.tree import Node


class Cargo:
    """Checks statements of the newer program before they are carried along."""

    def __init__(self, newer: Program, older: Program, renames: Renames) -> None:
        self._newer, self._older, self._renames = newer, older, renames
        self._effects = Effects(newer)
        loop = nesting_of(older.written).main_loop
        self._switches_back = any(
            called_name(call) == "train"
            and (loop is None or loop.contains(call) or any(a.kind == "function_definition" for a in call.ancestors()))
            for call, _ in receivers(older.written.of_kind("call"), MODES)
        )

    def check(
        self,
        statement: Node,
        in_unit: bool,
        own: Set[tuple[ScopeKey | None, str]],
        asked: Set[int],
        without: Set[tuple[int, int]] = frozenset(),
        private: bool = False,
    ) -> None:
        """Raises Declined if a statement may not come along.

        A compound statement `in_unit` is only its header: what is in it is checked by itself. `own` are the variables
        that come along too, `asked` the first bytes of the statements that the user wants carried. What is between
        the first and last bytes of `without` stays behind. What a `private` statement binds gets a name of its own.
        """
        names = self._newer.written_names
        end = header_end(statement) if in_unit and statement.kind in CONTAINERS else statement.end
        nodes = [
            node
            for node in self._newer.written.subtree(statement)
            if node.start < end and not any(first <= node.start and node.end <= last for first, last in without)
        ]

        def is_own(node: Node) -> bool:
            return (scope_key(names.owner(node)), node.label) in own

        effect = self._effects.of(statement, nodes, is_own, asked)
        if effect is not None:
            line = self._newer.written.line(effect.node.start)
            raise Declined(f"it needs line {line}, which {effect.what} and which the older version does not have")
        if statement.kind == "expression_statement" and not private:
            self._check_overwrites(statement)
        if statement.kind in ("function_definition", "decorated_definition", "class_definition"):
            self._check_modes(nodes)

    def check_again(self, value: Node, asked: Set[int]) -> None:
        """Raises Declined if what a log reads inside another statement may not be made twice, there and for the log."""
        statement = value.statement()
        assert statement is not None
        effect = self._effects.in_nodes(self._newer.written.subtree(value), asked)
        if effect is not None:
            text = self._newer.written.text(effect.node).decode("utf-8", "replace")
            raise Declined(f"it would need `{text}` a second time, which {effect.what}", statement, 0.3)

    def _check_modes(self, nodes: list[Node]) -> None:
        """A helper may leave a model in evaluation mode only where the older version's loop switches it back."""
        switches = [(node, called_name(node)) for node, _ in receivers(nodes, MODES)]
        if not switches or switches[-1][1] == "train" or self._switches_back:
            return
        line = self._newer.written.line(switches[-1][0].start)
        raise Declined(f"it needs line {line}, which switches to evaluation, and the older version never switches back")

    def _check_overwrites(self, statement: Node) -> None:
        names = self._newer.written_names
        for node in names.bound(statement):
            owner = names.owner(node)
            for scope in self._older.names.scopes.values():
                there = self._renames.linked_name(node.label, owner, scope) if owner is not None else None
                if there is not None:
                    line = self._newer.written.line(statement.start)
                    raise Declined(f"it needs line {line}, which sets `{there}`, a variable of the older version")

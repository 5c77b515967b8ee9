"""A source as the matching wants it: parsed, its log calls known, and those inside other statements taken out.

`print("acc", flor.log("acc", acc))` and `print("acc", acc)` are the same statement to the matching, because `log` gives
back its value; so every such call is replaced by its value before trees are compared. A log call that is a statement of
its own stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from flor_ray.propagation.reading.calls import Alias, RecordingCall, aliases, calls
from flor_ray.propagation.reading.names import Names, names_of
from flor_ray.propagation.reading.parse import parse
from flor_ray.propagation.reading.tree import Node, Tree, added, measure


@dataclass(frozen=True, slots=True, eq=False)
class LogCall:
    """One call of `flor.log`; nodes are those of the written tree."""

    call: RecordingCall
    statement: Node
    feature: str  # the plain name, or the form of the expression that makes it
    alone: bool  # the statement is nothing but this call


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One source with all that is known of it. `tree` is for matching, `written` is what the file says."""

    written: Tree
    tree: Tree
    written_names: Names
    names: Names
    logs: tuple[LogCall, ...]
    aliases: tuple[Alias, ...]
    statements: dict[int, Node]  # of `tree`, by their first byte

    def matched(self, statement: Node) -> Node | None:
        """The statement of `tree` that a statement of `written` has become."""
        return self.statements.get(statement.start)

    def features(self) -> list[tuple[int, str]]:
        """First byte and feature of every log that is a statement of its own."""
        return [(log.statement.start, log.feature) for log in self.logs if log.alone]


@lru_cache(maxsize=32)
def read_program(source: str) -> Program:
    """A source with all that is known of it, worked out once while the source is in use."""
    written = parse(source)
    written_names = names_of(written)
    logs = tuple(_logs(written, calls(written_names)))
    inside = [log.call for log in logs if not log.alone and log.call.value is not None]
    tree = _without(written, inside) if inside else written
    statements = {node.start: node for node in tree.statements}
    names = names_of(tree) if inside else written_names
    return Program(written, tree, written_names, names, logs, aliases(written_names), statements)


def _logs(tree: Tree, found: tuple[RecordingCall, ...]) -> list[LogCall]:
    logs = []
    for call in found:
        statement = call.node.statement()
        if call.function != "log" or statement is None:
            continue
        alone = statement.kind == "expression_statement" and call.node.parent is statement
        logs.append(LogCall(call, statement, _feature(tree, call), alone and len(statement.children) == 1))
    return logs


def _feature(tree: Tree, call: RecordingCall) -> str:
    if call.feature is not None:
        return call.feature
    arguments = call.node.child("arguments")
    for argument in arguments.children if arguments is not None else ():
        if argument.kind != "keyword_argument":
            return _nameless(tree, argument)
        if argument.children and argument.children[0].label == "name":
            return _nameless(tree, argument.children[-1])
    return ""


def _nameless(tree: Tree, node: Node) -> str:
    """Source text of an expression that makes a name, blind to what its variables are called in this version."""
    parts, at = [b"\0"], node.start
    for each in tree.subtree(node):
        if each.kind == "identifier":
            parts += [tree.source[at : each.start], b"_"]
            at = each.end
    return b"".join([*parts, tree.source[at : node.end]]).decode("utf-8", "replace")


def _without(tree: Tree, logged: list[RecordingCall]) -> Tree:
    """The tree with each of these calls replaced by the value that it logs."""
    values = {call.node.index: call.value for call in logged}
    nodes: list[Node] = []
    places: dict[int, int] = {}  # index in the written tree -> index here
    roles: dict[int, str] = {}
    resume: list[tuple[int, int]] = []  # (end of a value, end of the call that it stands in for)
    index = 0
    while index < len(tree.nodes):
        while resume and index == resume[-1][0]:
            index = resume.pop()[1]
        if index == len(tree.nodes):
            break
        node = tree.nodes[index]
        value, parent = values.get(index), _index(node.parent)
        if value is not None:
            places[_index(value.parent)] = places[parent]
            roles[value.index] = roles.get(index, node.role)
            resume.append((value.index + value.size, index + node.size))
            index = value.index
        else:
            places[index] = len(nodes)
            kept = added(node, nodes[places[parent]] if parent >= 0 else None, nodes)
            kept.role = roles.get(index, node.role)
            index += 1
    measure(reversed(nodes))
    return Tree(tree.source, nodes, tree.has_errors)


def _index(node: Node | None) -> int:
    return node.index if node is not None else -1

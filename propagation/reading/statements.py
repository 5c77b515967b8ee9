"""Static scan of a source for what it records: log statements, args, and whether it has a main loop."""

from __future__ import annotations

from flor_ray.propagation.reading.calls import RecordingCall, calls, enclosing
from flor_ray.propagation.reading.names import names_of
from flor_ray.propagation.reading.nesting import nesting_of
from flor_ray.propagation.reading.parse import parse
from flor_ray.propagation.reading.tree import Node, Tree
from flor_ray.records import Statement


def find_statements(source: str, filename: str) -> tuple[Statement, ...]:
    """Every call of `flor.log` in a source, in document order, wherever in a statement it stands.

    `line` and `end_line` are those of the simple statement (or of the header of the compound one) around the call.
    A name that is not a plain string literal is None.
    """
    return _find(source, filename, "log")


def find_args(source: str, filename: str = "") -> tuple[Statement, ...]:
    """Every call of `flor.arg` in a source, in document order: name and lines as `find_statements` tells them."""
    return _find(source, filename, "arg")


def has_main_loop(source: str) -> bool:
    """Whether a source trains by itself: its own code, or a function for which it is imported, has a recorded loop."""
    return nesting_of(parse(source)).main_loop is not None


def _find(source: str, filename: str, function: str) -> tuple[Statement, ...]:
    tree = parse(source)
    return tuple(
        Statement(
            name=call.feature,
            filename=filename,
            line=lines[0],
            end_line=lines[1],
            definitions=_definitions(call),
        )
        for call in calls(names_of(tree))
        if call.function == function
        for lines in [_lines(tree, call.node)]
    )


def _lines(tree: Tree, node: Node) -> tuple[int, int]:
    statement = node
    for around in (node, *node.ancestors()):
        statement = around
        if around.is_statement or around.kind in ("elif_clause", "except_clause", "case_clause"):
            break
    return tree.line(statement.start), tree.line(max(statement.start, header_end(statement) - 1))


def header_end(statement: Node) -> int:
    """Byte where a compound statement's header ends; the end of a simple one."""
    previous = statement.start
    for child in statement.children:
        if child.kind == "block":
            return previous
        if not (child.kind.endswith("_clause") and child.kind != "with_clause"):
            previous = child.end
        elif previous > statement.start:
            return previous
    return statement.end


def _definitions(call: RecordingCall) -> tuple[str, ...]:
    names = [node.child("name") for node in enclosing(call.node)]
    return tuple(name.label for name in names if name is not None)

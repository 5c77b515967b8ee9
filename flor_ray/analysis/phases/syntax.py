"""Small questions about Python's own syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from flor_ray.analysis.nodes import parts_of, walk

_TALKERS = frozenset({"log", "print", "debug", "info", "warning", "error", "critical", "write"})
_QUIET: tuple[type[ast.AST], ...] = (
    ast.Name,
    ast.Attribute,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.JoinedStr,
    ast.FormattedValue,
)
_QUIET += (ast.operator, ast.unaryop, ast.expr_context)


def own_nodes(body: Sequence[ast.stmt], into_loops: bool = True) -> Iterator[ast.AST]:
    """Nodes of these statements without what is in the functions, classes and lambdas that they define."""
    todo: list[ast.AST] = list(reversed(body))
    apart = DEFINITIONS if into_loops else (*DEFINITIONS, ast.For, ast.AsyncFor, ast.While)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, apart):
            todo.extend(parts_of(node))


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def may_leave(statement: ast.stmt) -> bool:
    """Whether a statement may keep those after it in its block from being run."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return | ast.Raise | ast.Break | ast.Continue):
            return True
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and not isinstance(node, DEFINITIONS):
            for name in ("body", "handlers", "orelse", "finalbody", "cases"):
                todo += getattr(node, name, ())
    return False


def last_label(node: ast.AST) -> str:
    """The last name in an expression, or in what it calls: `log` of `flor.log` and of `flor.log(...)`."""
    if isinstance(node, ast.Call):
        return last_label(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def as_call(decorator: ast.expr) -> ast.expr:
    """A bare decorator is called where it stands."""
    if isinstance(decorator, ast.Call):
        return decorator
    return ast.copy_location(ast.Call(decorator, [], []), decorator)


def asks_for_main(test: ast.expr) -> bool:
    """Whether this is `__name__ == "__main__"`."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )


def is_own_names(node: ast.AST) -> bool:
    """`globals()` and its like."""
    label = last_label(node) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    return label in ("globals", "locals", "vars") and isinstance(node, ast.Call) and not node.args


def is_not(node: ast.AST) -> bool:
    """Whether this is `not x`."""
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def words_in(text: str) -> list[str]:
    """Words of a string that may name a file or a function."""
    found = re.findall(r"[A-Za-z_]\w+", text)
    return [word for word in found if word not in ("py", "rb", "utf")]


def is_talk(statement: ast.stmt) -> bool:
    """Whether it only logs or prints what is there: names, attributes, numbers and sums of them."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or last_label(call.func) not in _TALKERS:
        return False
    if not isinstance(call.func, ast.Name | ast.Attribute):
        return False
    parts = [*call.args, *(keyword.value for keyword in call.keywords), call.func]
    return all(isinstance(node, _QUIET) for part in parts for node in walk(part))

"""What an expression consists of, in the order of evaluation, and how each part stands in what is around it.

f(a, *b)          f (callee), a, b
x if t else y     t (test); x and y, either of which may be left out
[g(i) for i in n] n, then g(i), which may be left out, for there may be nothing in n
lambda: h()       h(), lazily: it does not run with its statement
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flor_ray.analysis.nodes import parts_of
from flor_ray.analysis.phases.syntax import is_not, last_label

# These go through a generator expression that they are given, or join it, before they return.
_CONSUMERS = frozenset(
    {"sum", "max", "min", "any", "all", "list", "tuple", "set", "dict", "sorted", "frozenset", "join"}
)
_LOOKERS = frozenset({"isinstance", "issubclass", "super", "print", "str", "repr", "len", "id", "callable", "type"})
BY_NAME = frozenset({"getattr", "hasattr", "attrgetter", "methodcaller"})
_RUNNERS = frozenset({"run", "run_until_complete"})  # of coroutines
HARMLESS = frozenset({"callee", "base", "test", "looked at", "alone"})  # nothing gets hold of the value


@dataclass(frozen=True, slots=True)
class Operand:
    """An expression that is about to be read, and how it stands in what is around it."""

    node: ast.AST
    role: str  # "callee", "base" (of an attribute), "test", "looked at", "awaited", "consumed", "alone", or ""
    optional: bool = False  # it may be left out
    lazy: str = ""  # "a lambda", "a generator expression": it does not run with its statement
    is_done: bool = False  # what is in it has been read
    repeated: bool = False  # it may come many times

    def part(
        self, node: ast.AST, role: str = "", is_optional: bool = False, lazy: str = "", is_repeated: bool = False
    ) -> Operand:
        """An expression in this one, which is at least as optional, as lazy and as often there."""
        repeated = self.repeated or is_repeated
        return Operand(node, role, self.optional or is_optional or repeated, lazy or self.lazy, repeated=repeated)


def operands(spot: Operand) -> Iterator[Operand]:
    """What an expression consists of, in the order of evaluation."""
    return _READERS.get(type(spot.node), _others)(spot, spot.node)


def _nothing(spot: Operand, node: ast.AST) -> Iterator[Operand]:
    return iter(())


def _call(spot: Operand, node: ast.Call) -> Iterator[Operand]:
    label = "" if isinstance(node.func, ast.Call) else last_label(node.func)
    yield spot.part(node.func, "callee")
    for number, argument in enumerate((*node.args, *(keyword.value for keyword in node.keywords))):
        yield spot.part(argument, _role_of_argument(node, label, number, argument))


def _role_of_argument(call: ast.Call, label: str, number: int, argument: ast.expr) -> str:
    if isinstance(argument, ast.GeneratorExp) and label in _CONSUMERS:
        return "consumed"
    is_looked_at = isinstance(call.func, ast.Name) and label in _LOOKERS
    if is_looked_at or (label in BY_NAME and number == 0):
        return "looked at"
    return "awaited" if label in _RUNNERS else ""


def _lambda(spot: Operand, node: ast.Lambda) -> Iterator[Operand]:
    defaults = [*node.args.defaults, *node.args.kw_defaults]
    yield from (spot.part(default) for default in defaults if default is not None)
    yield spot.part(node.body, lazy="a lambda")


def _comprehension(
    spot: Operand, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
) -> Iterator[Operand]:
    is_lazy = isinstance(node, ast.GeneratorExp) and spot.role != "consumed"
    lazy = "a generator expression" if is_lazy else ""
    for number, one in enumerate(node.generators):
        is_first = number == 0  # what is gone through first is evaluated at once
        yield spot.part(one.iter, "", lazy="" if is_first else lazy, is_repeated=not is_first)
        yield from (spot.part(test, "test", lazy=lazy, is_repeated=True) for test in one.ifs)
    made = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
    yield from (spot.part(each, lazy=lazy, is_repeated=True) for each in made)


def _if(spot: Operand, node: ast.IfExp) -> Iterator[Operand]:
    yield spot.part(node.test, "test")
    yield spot.part(node.body, spot.role, True)
    yield spot.part(node.orelse, spot.role, True)


def _and_or(spot: Operand, node: ast.BoolOp) -> Iterator[Operand]:
    for number, value in enumerate(node.values):
        yield spot.part(value, spot.role, number > 0)


def _based(spot: Operand, node: ast.Attribute | ast.Subscript) -> Iterator[Operand]:
    yield spot.part(node.value, "base")
    if isinstance(node, ast.Subscript):
        yield spot.part(node.slice)


def _others(spot: Operand, node: ast.AST) -> Iterator[Operand]:
    role = _role_of_part(spot, node)
    for child in parts_of(node):
        yield spot.part(child, role)


def _role_of_part(spot: Operand, node: ast.AST) -> str:
    if isinstance(node, ast.Compare | ast.FormattedValue) or is_not(node):
        return "test"
    if isinstance(node, ast.Await):
        return "awaited"
    is_display = isinstance(node, ast.Tuple | ast.List | ast.BinOp | ast.Starred)
    if spot.role == "looked at" and (is_display or not isinstance(node, ast.expr)):
        return "looked at"
    return ""


_READERS: Mapping[type[ast.AST], Callable[[Operand, Any], Iterator[Operand]]] = {
    ast.Name: _nothing,
    ast.Constant: _nothing,
    ast.Call: _call,
    ast.Lambda: _lambda,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.IfExp: _if,
    ast.BoolOp: _and_or,
    ast.Attribute: _based,
    ast.Subscript: _based,
}

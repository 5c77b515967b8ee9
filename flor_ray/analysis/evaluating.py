"""The value of an expression without running anything: constants, given names, arithmetic and a few builtins. Pure.

Whatever is not surely what Python would compute, at no cost worth speaking of, has no value: it raises `NoValue`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_PLAIN = (int, float, str, bool, type(None))
_MOST_BITS = 4096  # of an integer
_MOST_ITEMS = 10_000  # of a string or collection
_MOST_POWER = 64
_LARGE_FORMAT = re.compile(r"\d{4,}")

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_CONVERSIONS: Mapping[str, Callable[[object], str]] = {"s": str, "r": repr, "a": ascii}
_BUILTINS: Sequence[Callable[..., Any]] = (len, min, max, round, abs, int, float, str, bool, sum, sorted)
FUNCTIONS: Mapping[str, Callable[..., Any]] = {function.__name__: function for function in _BUILTINS}


class NoValue(Exception):
    """Only running the expression would tell."""


def evaluate(node: ast.expr, value_of: Callable[[str], object]) -> Any:
    """What the expression comes to. `value_of` gives the values of names; builtins are called by theirs.

    Raises:
        NoValue: that cannot be told, or Python would raise.
    """
    try:
        return _Evaluator(value_of).value(node)
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise NoValue(str(error)) from error


def is_plain(value: object, depth: int = 3) -> bool:
    """Whether a value is a number, string, bool or None, or a tuple of such: nothing can change it."""
    if type(value) is tuple:
        return depth > 0 and all(is_plain(item, depth - 1) for item in value)
    return type(value) in _PLAIN


class _Evaluator:
    def __init__(self, value_of: Callable[[str], object]) -> None:
        self._value_of = value_of

    def value(self, node: ast.expr) -> Any:
        return _checked(self._made(node))

    def _made(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._value_of(node.id)
        if isinstance(node, ast.Tuple | ast.List):
            items = [self.value(item) for item in node.elts]
            return tuple(items) if isinstance(node, ast.Tuple) else items
        if isinstance(node, ast.Dict):
            return {self._key(key): self.value(item) for key, item in zip(node.keys, node.values, strict=True)}
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self.value(node.operand))
        if isinstance(node, ast.BinOp):
            return _combined(type(node.op), self.value(node.left), self.value(node.right))
        if isinstance(node, ast.BoolOp):
            return self._either(node)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.IfExp):
            return self.value(node.body if self.value(node.test) else node.orelse)
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self._formatted, node.values))
        if isinstance(node, ast.Subscript):
            return self._item(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        raise NoValue(type(node).__name__)

    def _key(self, node: ast.expr | None) -> Any:
        if node is None:
            raise NoValue("**")
        return self.value(node)

    def _either(self, node: ast.BoolOp) -> Any:
        stops_at = isinstance(node.op, ast.Or)
        found: Any = None
        for part in node.values:
            found = self.value(part)
            if bool(found) is stops_at:
                break
        return found

    def _compared(self, node: ast.Compare) -> Any:
        left = self.value(node.left)
        for kind, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part)
            if isinstance(kind, ast.Is | ast.IsNot):
                if left is not None and right is not None:
                    raise NoValue("which objects are the same one")
                holds = (left is right) is isinstance(kind, ast.Is)
            else:
                holds = _COMPARISONS[type(kind)](left, right)
            if not holds:
                return False
            left = right
        return True

    def _formatted(self, node: ast.expr) -> str:
        if not isinstance(node, ast.FormattedValue):
            return str(self.value(node))
        value = self.value(node.value)
        if node.conversion != -1:
            value = _CONVERSIONS[chr(node.conversion)](value)
        spec = "" if node.format_spec is None else str(self.value(node.format_spec))
        if _LARGE_FORMAT.search(spec):
            raise NoValue("a large format")
        return format(value, spec)

    def _item(self, node: ast.Subscript) -> Any:
        whole = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = (node.slice.lower, node.slice.upper, node.slice.step)
            return whole[slice(*(None if part is None else self.value(part) for part in parts))]
        return whole[self.value(node.slice)]

    def _called(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise NoValue("a call")
        arguments = [self.value(argument) for argument in node.args]
        self._value_of_builtin(node.func.id)
        return FUNCTIONS[node.func.id](*arguments)

    def _value_of_builtin(self, name: str) -> None:
        """Python's own, and no variable's of that name."""
        if self._value_of(name) is not FUNCTIONS[name]:
            raise NoValue(f"{name} is another function")


def _combined(kind: type[ast.operator], left: Any, right: Any) -> Any:
    sequences = [part for part in (left, right) if isinstance(part, str | list | tuple)]
    numbers = [part for part in (left, right) if isinstance(part, int)]
    if kind is ast.Mod and isinstance(left, str):
        raise NoValue("% of a string")
    if kind is ast.Mult and sequences and numbers and len(sequences[0]) * max(numbers[0], 0) > _MOST_ITEMS:
        raise NoValue("a long repetition")
    if kind is ast.Pow and isinstance(left, int) and isinstance(right, int) and abs(right) > _MOST_POWER:
        raise NoValue("a huge power")
    return _BINARY[kind](left, right)


def _checked(value: Any) -> Any:
    if type(value) is int and value.bit_length() > _MOST_BITS:
        raise NoValue("a huge number")
    if type(value) in (str, tuple, list, dict):
        if len(value) > _MOST_ITEMS:
            raise NoValue("a long value")
    elif type(value) not in _PLAIN:
        raise NoValue(type(value).__name__)
    return value

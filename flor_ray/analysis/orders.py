"""What follows the order in which a set yields its items. Pure.

    classes = list({"cat", "dog"})       flor.log("first", next(iter(words)))

The hash of a text is another one in each process, unless PYTHONHASHSEED is set, and the order of a set of texts with
it; a set that grew has another order than one that is made at once, as from a checkpoint. A set is told by how it is
made; whether texts are in it is not known: what surely are numbers does not count.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import dotted_name, label_of
from flor_ray.analysis.source import read as source_of

_MAKERS = frozenset(("set", "frozenset"))
_JOINING = frozenset(("union", "intersection", "difference", "symmetric_difference", "copy"))
_IN_ORDER = frozenset(("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "fromkeys", "join", "dict"))
_IN_ORDER |= frozenset(("array", "asarray", "tensor", "Series", "DataFrame", "deque", "chain", "product"))
_BLIND = frozenset(("set", "frozenset", "sorted", "len", "min", "max", "sum", "any", "all", "Counter", "unique"))
_NUMBERS = frozenset(("range", "int", "len", "float", "arange"))
_ADDING = frozenset(("append", "add", "extend", "insert", "update", "setdefault"))
_IN_TURN = (ast.ListComp, ast.GeneratorExp, ast.DictComp)
_BINDING = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)


@dataclass(frozen=True, slots=True)
class Orders:
    """Of one file: `names` are variables that follow the order of a set; `features` are logged as a set yields its
    items, and `derived` are made of such variables: each with what it follows, in words."""

    names: frozenset[str] = frozenset()
    features: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)


@functools.lru_cache(maxsize=512)
def orders(text: str) -> Orders:
    """Those of a source; none if it cannot be parsed."""
    source = source_of(text)
    sets = _sets(list(source.nodes))
    if not sets.any:
        return Orders()
    names: set[str] = set()
    for node in source.nodes:
        if isinstance(node, _BINDING) and node.value is not None and sets.reveals(node.value):
            names.update(name for target in _targets(node) for name in _bound(target))
        elif isinstance(node, ast.For | ast.AsyncFor) and (sets.is_set(node.iter) or sets.reveals(node.iter)):
            names.update(name for statement in node.body for name in _changed(statement))
    features, derived = {}, {}
    for call in (*source.calls, *source.possible):
        if call.function == "log" and call.name is not None and call.value is not None:
            if found := sets.reveals(call.value):
                features[call.name] = _in_words(found)
            elif read := {dotted_name(node) for node in walk(call.value)} & names:
                derived[call.name] = _in_words(min(read))
    return Orders(frozenset(names), features, derived)


def _in_words(what: str) -> str:
    return f"the order of a set in {what}"


@dataclass(frozen=True, slots=True)
class _Sets:
    names: frozenset[str]
    any: bool  # whether there is one at all

    def is_set(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Set):
            return not all(map(_is_number, node.elts))
        if isinstance(node, ast.SetComp):
            return not _is_number(node.elt)
        if isinstance(node, ast.Name | ast.Attribute):
            return dotted_name(node) in self.names
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            return self.is_set(node.left)
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Name):
            return node.func.id in _MAKERS and not any(map(_is_number, node.args))
        return isinstance(node.func, ast.Attribute) and node.func.attr in _JOINING and self.is_set(node.func.value)

    def reveals(self, node: ast.AST) -> str:
        """A set whose order the value of an expression follows, as it is written; "" if there is none."""
        parts: list[ast.AST] = list(ast.iter_child_nodes(node))
        seen: list[ast.expr] = []
        if isinstance(node, ast.Call):
            called = label_of(node.func)
            if called in _BLIND:
                parts = [part for each in node.args for part in _within(each)]
            elif called in _IN_ORDER:
                seen = node.args
            elif called == "pop" and not node.args and isinstance(node.func, ast.Attribute):
                seen = [node.func.value]
        elif isinstance(node, _IN_TURN):
            seen = [each.iter for each in node.generators]
        elif isinstance(node, ast.Starred):
            seen = [node.value]
        found = (ast.unparse(each) for each in seen if self.is_set(each))
        return next(found, "") or next(filter(None, map(self.reveals, parts)), "")


def _within(node: ast.expr) -> list[ast.AST]:
    """What is in an argument of a function for which its order does not matter."""
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        return [node.elt]
    if isinstance(node, ast.Call) and label_of(node.func) in _IN_ORDER:
        return list(ast.iter_child_nodes(node))
    return [node]


def _is_number(node: ast.expr) -> bool:
    is_constant = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    return is_constant or (isinstance(node, ast.Call) and label_of(node.func) in _NUMBERS)


def _sets(nodes: list[ast.AST]) -> _Sets:
    """Names that are bound to sets, and to nothing else. Scopes are not told apart."""
    bound: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, _BINDING) and node.value is not None and not isinstance(node, ast.AugAssign):
            for target in _targets(node):
                if name := dotted_name(target):
                    bound.setdefault(name, []).append(node.value)
    found = _Sets(frozenset(), False)
    found = _Sets(frozenset(), any(isinstance(node, ast.expr) and found.is_set(node) for node in nodes))
    for of in (any, all):  # first those that may be sets, then, of these, those that are: a set may be made of itself
        while found.any:
            names = frozenset(name for name, values in bound.items() if of(map(found.is_set, values)))
            if names == found.names:
                break
            found = _Sets(names, True)
    return found


def _targets(node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _bound(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _bound(each)
    elif isinstance(target, ast.Starred | ast.Subscript):
        yield from _bound(target.value)
    elif name := dotted_name(target):
        yield name


def _changed(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement in a loop binds, or adds something to."""
    for node in walk(statement):
        if isinstance(node, ast.Name | ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from _bound(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDING:
            yield from _bound(node.func.value)

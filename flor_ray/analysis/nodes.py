"""The nodes of a syntax tree. Pure."""

from __future__ import annotations

import ast
from collections.abc import Sequence

_NO_PARTS = frozenset({"ctx", "op", "ops", "annotation", "returns", "type_comment", "type_params"})
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Name: (), ast.Constant: ()}


def walk(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree, in the order of `ast.walk`, which takes longer."""
    found = [tree]
    for node in found:  # which grows
        _add_held(node, node._fields, found)
    return found


def parts_of(node: ast.AST) -> list[ast.AST]:
    """What a node consists of, without annotations and operators. Faster than ast.iter_child_nodes."""
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _NO_PARTS)
    found: list[ast.AST] = []
    _add_held(node, fields, found)
    return found


def _add_held(node: ast.AST, fields: Sequence[str], found: list[ast.AST]) -> None:
    for name in fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)

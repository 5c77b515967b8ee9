"""The text that an expression surely stands for: strings, f-strings and sums of them, and variables or attributes of
plain classes that one assignment binds. The rule is that of `analysis.constants`, on the trees of this package.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from flor_ray.propagation.reading.names import Names, NameScope
from flor_ray.propagation.reading.tree import Node

ValueOf = Callable[[Node], Node | None]  # what an identifier is bound to, where that is written
_DEPTH = 20  # variables that stand for each other


def text_of(names: Names, node: Node, value_of: ValueOf) -> str | None:
    """The string that an expression is; None if only a run can tell, or if it is no string."""
    value = _node_value(names, node, value_of, _DEPTH)
    return value if isinstance(value, str) else None


def is_literal(node: Node) -> bool:
    """Whether an expression is a string as it stands, without anything that is put into it."""
    if node.kind in ("concatenated_string", "parenthesized_expression"):
        return all(is_literal(child) for child in node.children)
    return node.kind == "string" and not any(child.kind == "interpolation" for child in node.children)


def _node_value(names: Names, node: Node, value_of: ValueOf, depth: int) -> str | int | None:
    try:
        tree = ast.parse("(" + names.tree.text(node).decode("utf-8", "strict") + ")", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _value(names, tree.body, names.scope_of(node), value_of, depth)


def _value(names: Names, node: ast.expr, scope: NameScope, value_of: ValueOf, depth: int) -> str | int | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_value(names, part, scope, value_of, depth) for part in node.values]
        return "".join(map(str, parts)) if None not in parts else None
    if isinstance(node, ast.FormattedValue):
        is_plain = node.conversion == -1 and node.format_spec is None
        return _value(names, node.value, scope, value_of, depth) if is_plain else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (_value(names, each, scope, value_of, depth) for each in (node.left, node.right))
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    bound = _bound(names, node, scope, value_of) if depth else None
    return _node_value(names, bound, value_of, depth - 1) if bound is not None else None


def _bound(names: Names, node: ast.expr, scope: NameScope, value_of: ValueOf) -> Node | None:
    """What a variable, or an attribute of a class, is assigned once."""
    if isinstance(node, ast.Name):
        owner = names.lookup(node.id, scope)
        return _assigned_once(names, node.id, owner, value_of) if owner is not None else None
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name) or _is_set(names, node.attr):
        return None
    owner = names.lookup(node.value.id, scope)
    found = owner.bindings[node.value.id] if owner is not None else []
    made = found[0].parent if len(found) == 1 else None
    if made is None or made.kind != "class_definition" or made.child("superclasses") is not None:
        return None
    inside = names.scopes[made.index]
    is_plain = made.parent is None or made.parent.kind != "decorated_definition"
    return _assigned_once(names, node.attr, inside, value_of) if is_plain and node.attr in inside.bindings else None


def _assigned_once(names: Names, name: str, owner: NameScope, value_of: ValueOf) -> Node | None:
    bound = owner.bindings[name]
    stars = names.tree.of_kind("wildcard_import") if owner is names.module else ()
    if len(bound) > 1 or any(star.start > bound[0].start for star in stars):
        return None
    return value_of(bound[0])


def _is_set(names: Names, attribute: str) -> bool:
    """Whether an attribute of this name is set anywhere in the file."""
    for node in names.tree.of_kind("attribute_name"):
        if node.label == attribute and node.parent is not None:
            child: Node = node.parent
            while child.parent is not None and child.parent.kind in ("pattern_list", "tuple_pattern", "list_pattern"):
                child = child.parent
            if child.role == "left" or (child.parent is not None and child.parent.kind == "delete_statement"):
                return True
    return False

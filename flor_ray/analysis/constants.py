"""The text that an expression surely stands for: what a feature is called where its name is no plain string. Pure.

    GRADIENTS = "gn"
    flor.log(GRADIENTS, x)                      "gn"
    flor.log(f"{GRADIENTS}/max", x)             "gn/max"
    flor.log(Names.LOSS, x)                     what the one assignment in `class Names:` says
    for name in names: flor.log(name, x)        only a run can tell

A variable counts where one assignment is all that binds it, by Python's scopes. `propagation.reading.constants` goes by
the same rule on its own trees; tests/cases/recognition holds both to it.
"""

from __future__ import annotations

import ast

from flor_ray.analysis.scopes import Assigned, Defined, Namespace, Scopes

_DEPTH = 20  # variables that stand for each other


def text_of(expression: ast.expr | None, scope: Namespace, scopes: Scopes) -> str | None:
    """The string that an expression in a scope is; None if only a run can tell, or if it is no string."""
    value = _value(expression, scope, scopes, _DEPTH) if expression is not None else None
    return value if isinstance(value, str) else None


def _value(node: ast.expr, scope: Namespace, scopes: Scopes, depth: int) -> str | int | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int) else None
    if isinstance(node, ast.JoinedStr):
        parts = [_value(part, scope, scopes, depth) for part in node.values]
        return "".join(map(str, parts)) if None not in parts else None
    if isinstance(node, ast.FormattedValue):
        is_plain = node.conversion == -1 and node.format_spec is None
        return _value(node.value, scope, scopes, depth) if is_plain else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = (_value(each, scope, scopes, depth) for each in (node.left, node.right))
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    bound = _bound(node, scope, scopes) if depth else None
    return _value(bound, scopes.values[bound], scopes, depth - 1) if bound is not None else None


def _bound(node: ast.expr, scope: Namespace, scopes: Scopes) -> ast.expr | None:
    """What a variable, or an attribute of a class, is assigned once."""
    if isinstance(node, ast.Name):
        owner = scope.owner(node.id)
        return _assigned_once(node.id, owner, scopes) if owner is not None else None
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name) or node.attr in scopes.set_parts:
        return None
    owner = scope.owner(node.value.id)
    found = owner.bindings[node.value.id] if owner is not None else []
    definition = found[0] if len(found) == 1 else None
    if not isinstance(definition, Defined) or not isinstance(definition.node, ast.ClassDef):
        return None
    made = definition.node
    is_plain = not (made.bases or made.keywords or made.decorator_list)
    inside = next(one for one in scopes.scopes if one.node is made)
    return _assigned_once(node.attr, inside, scopes) if is_plain and node.attr in inside.bindings else None


def _assigned_once(name: str, owner: Namespace, scopes: Scopes) -> ast.expr | None:
    binding = owner.bindings[name][0]
    if len(owner.bindings[name]) > 1 or not isinstance(binding, Assigned):
        return None
    line = binding.value.lineno
    is_hidden = owner is scopes.module and any(star.line > line for star in scopes.stars)
    return None if is_hidden else binding.value

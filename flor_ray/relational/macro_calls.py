"""Calls of our macros, taken apart: whoever finds out what a statement needs must see the windows in them."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp

from flor_ray.relational.macros import MACROS

_BY_NAME = {macro.name: macro for macro in MACROS}


def expanded(tree: Any) -> Any:
    """A statement with the bodies of macros in place of their calls. One with too few or too many arguments stays."""
    while calls := [call for call in tree.find_all(exp.Anonymous) if _is_macro(call)]:
        for call in calls:
            macro = _BY_NAME[call.name.lower()]
            given = dict(zip(macro.parameters, call.expressions, strict=True))
            body = sqlglot.parse_one(macro.body, read="duckdb")
            call.replace(exp.Paren(this=body.transform(_filled, given)))
    return tree


def _is_macro(call: exp.Anonymous) -> bool:
    macro = _BY_NAME.get(call.name.lower())
    return macro is not None and len(macro.parameters) == len(call.expressions)


def _filled(node: Any, given: dict[str, Any]) -> Any:
    return given[node.name].copy() if isinstance(node, exp.Column) and node.name in given else node

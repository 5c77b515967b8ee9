"""Log calls inside other statements: may one be put beside the statement instead?"""

from __future__ import annotations

import json

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.reading.constants import is_literal
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node


def check_evaluated_once(statement: Node, call: Node) -> None:
    """Raises Declined unless a log call is evaluated exactly once whenever the statement that it is part of runs."""
    reason = why_not_once(statement, call)
    if reason:
        raise Declined(reason)


def why_not_once(statement: Node, call: Node) -> str:
    """Why a call is not evaluated exactly once whenever the statement that it is part of runs; "" if it is."""
    child = call
    for around in call.ancestors():
        if around.kind in (
            "elif_clause",
            "except_clause",
            "case_clause",
            "lambda",
            "for_in_clause",
            "while_statement",
        ):
            return f"it is evaluated inside a {around.kind.replace('_', ' ')}, before which it cannot be put"
        if around.kind.endswith("_comprehension") or around.kind == "generator_expression":
            return "it is evaluated inside a comprehension, before which it cannot be put"
        conditional = around.kind == "conditional_expression" and child is not around.children[1]
        chained = around.kind == "comparison_operator" and child not in around.children[:2]
        if conditional or chained or (around.kind == "boolean_operator" and child is not around.children[0]):
            return "it is evaluated only if another part of its statement says so"
        if around is statement:
            break
        child = around
    return ""


def names_spelled(newer: Program, written: Node) -> dict[tuple[int, int], bytes]:
    """Names of features that constants make, as strings: in the older version these may be others."""
    found: dict[tuple[int, int], bytes] = {}
    for log in newer.logs:
        name, feature = log.call.name, log.call.feature
        if feature is not None and name is not None and written.contains(name) and not is_literal(name):
            found[name.start, name.end] = json.dumps(feature, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return found

"""Log calls inside other statements: may one be put beside the statement instead?"""

from __future__ import annotations

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.reading.program import LogCall
from flor_ray.propagation.reading.tree import Node


def check_evaluated_once(statement: Node, log: LogCall) -> None:
    """Raises Declined unless a log call is evaluated exactly once whenever the statement that it is part of runs."""
    child = log.call.node
    for around in log.call.node.ancestors():
        if around.kind in (
            "elif_clause",
            "except_clause",
            "case_clause",
            "lambda",
            "for_in_clause",
            "while_statement",
        ):
            raise Declined(f"it is evaluated inside a {around.kind.replace('_', ' ')}, before which it cannot be put")
        if around.kind.endswith("_comprehension") or around.kind == "generator_expression":
            raise Declined("it is evaluated inside a comprehension, before which it cannot be put")
        conditional = around.kind == "conditional_expression" and child is not around.children[1]
        if conditional or (around.kind == "boolean_operator" and child is not around.children[0]):
            raise Declined("it is evaluated only if another part of its statement says so")
        if around is statement:
            return
        child = around

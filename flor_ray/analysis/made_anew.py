"""Variables that only the lines make which were added to a version: its checkpoints know nothing of them. Pure.

for epoch in flor.loop("epoch", ...):
    for x in flor.loop("step", ...):
        norm = \\                              # new
        clip(net)
    flor.log("norm", norm)                    # new: after its nested loop has been restored, there is no `norm`
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Set
from dataclasses import dataclass

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source
from flor_ray.analysis.uses import loads


@dataclass(frozen=True, slots=True)
class MadeAnew:
    """Such variables by where they are made: in recorded loops, and of these in nested ones."""

    in_loops: frozenset[str] = frozenset()
    in_steps: frozenset[str] = frozenset()


def made_anew(before: Source, after: Source) -> MadeAnew:
    """What a script's recorded loops bind after lines were added to it, and nothing bound before."""
    known = _bound(before.nodes)
    held = set[str]()  # variables that hold a loop's iterator
    for node in after.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            held |= _bound(walk(node)) if any(after.loops_through(node.value)) else set()
    loops = [node for node in after.nodes if after.is_loop(node) or after.is_iteration(node) or _goes_on(node, held)]
    nested = {inner for loop in loops for inner in walk(loop) if inner is not loop and inner in loops}
    return MadeAnew(
        frozenset(_bound(node for loop in loops for node in walk(loop)) - known),
        frozenset(_bound(node for loop in nested for node in walk(loop)) - known),
    )


def _goes_on(node: ast.AST, held: Set[str]) -> bool:
    """Whether this is a loop over what a variable holds."""
    return isinstance(node, ast.For) and not held.isdisjoint(loads(node.iter))


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}

"""Blocks that are there for what is to be carried and for nothing else.

    with torch.no_grad():                    all that it makes is read by the log
        hidden = model(sample)
    flor.log("norm", hidden.norm().item())   to be carried

The older version has none of them, so none of its own blocks is one, however much it looks like it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from flor_ray.propagation.carrying.units import mutated
from flor_ray.propagation.matching.bottomup import CONTAINERS
from flor_ray.propagation.reading.names import Names
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node


@lru_cache(maxsize=64)
def serving_blocks(program: Program, requested: frozenset[int]) -> frozenset[int]:
    """Indices of such blocks in a program's `tree`; `requested` are the first bytes of what is to be carried."""
    asked = {node.index: node for start in requested if (node := program.statements.get(start)) is not None}
    serving = _serving(program.names, asked)
    around = {
        node.index: node
        for statement in serving.values()
        for node in statement.ancestors()
        if node.kind in CONTAINERS and not node.kind.endswith("_definition")
    }
    return frozenset(index for index, node in around.items() if _only_serves(program, node, serving))


def _serving(names: Names, asked: Mapping[int, Node]) -> dict[int, Node]:
    """Statements that make what only those that are asked for, and others of them, read."""
    found: dict[int, Node] = {}
    todo = list(asked.values())
    while todo:
        for maker in _makers(names, todo.pop()):
            if maker.index not in asked and maker.index not in found and _is_in_a_block(maker):
                found[maker.index] = maker
                todo.append(maker)
    while others := [s for s in found.values() if not _readers(names, s) <= asked.keys() | found.keys()]:
        for statement in others:
            del found[statement.index]
    return found


def _makers(names: Names, statement: Node) -> Iterator[Node]:
    """Statements that give a statement what it reads."""
    for read in names.free(statement):
        owner = names.owner(read)
        if owner is None:
            continue
        for node in (*owner.bindings.get(read.label, ()), *owner.reads.get(read.label, ())):
            maker = node.statement()
            if (
                maker is not None
                and maker.kind == "expression_statement"
                and (names.binds(node) or _fills(node, maker))
            ):
                yield maker


def _readers(names: Names, statement: Node) -> set[int]:
    """Indices of the statements that read what a statement makes; its own among them if it makes nothing."""
    made = [*names.bound(statement), *mutated(statement)]
    found = set() if made else {-1}
    for node in made:
        owner = names.owner(node)
        reads = owner.reads.get(node.label, ()) if owner is not None else ()
        found |= {-1 if (reader := read.statement()) is None else reader.index for read in reads}
        found |= {-1} if owner is None else set()
    return found


def _fills(node: Node, statement: Node) -> bool:
    return any(node is each for each in mutated(statement))


def _is_in_a_block(statement: Node) -> bool:
    """Whether a compound statement is around it that is no definition, nor the file itself."""
    return any(node.kind in CONTAINERS and not node.kind.endswith("_definition") for node in statement.ancestors())


def _only_serves(program: Program, block: Node, serving: Mapping[int, Node]) -> bool:
    """Whether all that a block does, and all that its header binds, is for statements that serve."""
    for node in program.tree.subtree(block):
        if not node.is_statement:
            continue
        if node.kind not in CONTAINERS:
            if node.index not in serving:
                return False
        elif any(
            not block.contains(reader)
            for bound in program.names.bound(node)
            if bound.statement() is node and (owner := program.names.owner(bound)) is not None
            for reader in owner.reads.get(bound.label, ())
        ):
            return False
    return True

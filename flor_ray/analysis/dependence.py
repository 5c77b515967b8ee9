"""Which features depend on variables that a checkpoint could not keep: sockets, open files, writers. Pure.

    reply = sock.recv(9)   ->   if reply: hits += 1   ->   flor.log("hits", hits)        `hits` depends on `sock`

Names stand for what they hold, wherever they are used, and what a branch or loop binds depends on its condition. So a
dependence may be reported that is none; one through `getattr` is not seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from flor_ray.analysis.clocks import CLOCKS, DATES

_Edge = tuple[str, frozenset[str]]  # a name (or ">feature"), and the names that its value is made of
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def features_that_depend(variables: Iterable[str], *sources: str) -> dict[str, str]:
    """Features logged in `sources` that depend on one of `variables`, with that variable. `holder.attribute` stands for
    everything of the name `attribute`. Names mean the same in all sources; one that cannot be parsed has none."""
    return {name[1:]: variable for name, variable in _reached(sources, variables).items() if name.startswith(">")}


def read_from_the_clock(source: str) -> frozenset[str]:
    """Variables of `source` that depend on the time of day, or on how long something took."""
    reached = frozenset(_reached([source], CLOCKS | DATES)) - CLOCKS - DATES
    return frozenset(name for name in reached if not name.startswith(">"))


def _reached(sources: Iterable[str], variables: Iterable[str]) -> dict[str, str]:
    """Names, and features as `>name`, that depend on one of `variables`, each with that variable."""
    origin = {variable.rpartition(".")[2]: variable for variable in sorted(variables)}
    edges: list[_Edge] = []
    for source in sources:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        aliases = [alias for alias in ast.walk(tree) if isinstance(alias, ast.alias)]
        modules = {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        edges += [edge for statement in tree.body for edge in _edges(statement, frozenset()) if edge[0] not in modules]
    grown = True
    while grown:
        grown = False
        for name, parts in edges:
            reached = sorted(parts & origin.keys())
            if reached and name not in origin:
                origin[name] = origin[reached[0]]
                grown = True
    return origin


def _edges(node: ast.AST, around: frozenset[str]) -> Iterator[_Edge]:
    """What the statement and those in it make of what. `around`: names in the conditions that lead here."""
    for expression in _expressions(node):
        yield from _in_expression(expression, around)
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from _bound(targets, _names(node.value) | around)
    elif isinstance(node, ast.For | ast.AsyncFor):
        around |= _names(node.iter)
        yield from _bound([node.target], around)
    elif isinstance(node, ast.If | ast.While):
        around |= _names(node.test)
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            if item.optional_vars is not None:
                yield from _bound([item.optional_vars], _names(item.context_expr) | around)
    elif isinstance(node, _Function):
        yield node.name, frozenset().union(*map(_names, node.body))
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield argument.arg, frozenset((f"{node.name}()",))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _edges(child, around)


def _expressions(node: ast.AST) -> list[ast.expr]:
    """The expressions of a statement itself, without those of the statements in it."""
    found = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return found + [item.context_expr for item in getattr(node, "items", ()) if isinstance(item, ast.withitem)]


def _in_expression(expression: ast.expr, around: frozenset[str]) -> Iterator[_Edge]:
    for node in ast.walk(expression):
        if isinstance(node, ast.NamedExpr):
            yield node.target.id, _names(node.value) | around
        if not isinstance(node, ast.Call):
            continue
        made_of = frozenset().union(*map(_names, [*node.args, *(k.value for k in node.keywords)])) | around
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called:
            yield f"{called}()", made_of
        first = next(iter([*node.args, *(k.value for k in node.keywords if k.arg == "name")]), None)
        if called == "log" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield f">{first.value}", made_of
        elif isinstance(node.func, ast.Attribute):  # a method may keep its arguments in its object
            yield from _bound([node.func.value], made_of)


def _bound(targets: Iterable[ast.expr], made_of: frozenset[str]) -> Iterator[_Edge]:
    for target in targets:
        base = target
        while isinstance(base, ast.Attribute | ast.Subscript | ast.Starred):
            base = base.value
        names = base.elts if isinstance(base, ast.Tuple | ast.List) else []
        if isinstance(base, ast.Name):
            yield base.id, made_of
        yield from _bound(names, made_of)


def _names(node: ast.AST) -> frozenset[str]:
    found = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    return frozenset(found | {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)})

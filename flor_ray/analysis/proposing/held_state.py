"""What checkpoints of a main loop should hold: which parts its scope surely has when the loop begins. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.proposing.codebase import Codebase, Function, Routine
from flor_ray.analysis.proposing.parts import PartKind, TrainingPart, TrainingParts
from flor_ray.analysis.proposing.training import LoopPlace

_ORDER = list(PartKind)
_RESERVED = frozenset({"overhead", "compress", "self"})  # what checkpointing takes by these names is something else


def parts_at(
    code: Codebase, parts: TrainingParts, place: LoopPlace
) -> tuple[list[TrainingPart], list[tuple[TrainingPart, str]]]:
    """Parts that exist whenever a loop begins, models first; and those that may not, each with the reason."""
    held, unsure = list[TrainingPart](), list[tuple[TrainingPart, str]]()
    for node, holder in _variables(code, place):
        part = parts.part(place.routine, node)
        if part is None:
            continue
        if _is_bound(code, holder, place, part.name):
            held.append(part)
        elif _is_bound_somewhere_before(holder, place, part.name):
            unsure.append((part, f"`{part.name}` ({part.why}) is only made in a branch, and may not exist here"))
    held.sort(key=lambda part: _ORDER.index(part.kind))
    return held, unsure


def keyword_of(part: TrainingPart) -> str:
    """The name by which checkpointing is given a part."""
    name = part.name.rpartition(".")[2].lstrip("_") or "part"
    return f"{name}_" if name in _RESERVED else name


def _variables(code: Codebase, place: LoopPlace) -> Iterator[tuple[ast.expr, Routine]]:
    """Names and attributes of `self` that may hold a part, each with a routine that binds it."""
    routine = place.routine
    scope = code.scope(routine)
    names = [name for name in scope.bindings if name != "self"]
    if not isinstance(routine.node, ast.Module):
        read = {name for each in code.texts[routine.path].source.scopes for name in each.reads}
        names += [name for name in scope.module.bindings if name in read and name not in names]
    for name in names:
        owner = scope.owner(name)
        if owner is not None and isinstance(owner.node, ast.Module | Function):
            yield ast.Name(name, ast.Load()), Routine(routine.path, owner.node)
    if routine.owner is not None:
        stores = [node for node in walk(routine.owner) if isinstance(node, ast.Attribute)]
        attributes = [n.attr for n in stores if isinstance(n.ctx, ast.Store) and ast.unparse(n.value) == "self"]
        for name in dict.fromkeys(attributes):
            yield ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load()), routine


def _is_bound(code: Codebase, holder: Routine, place: LoopPlace, key: str) -> bool:
    if key.startswith("self."):
        return _is_bound_in_class(code, holder, place, key)
    if not isinstance(holder.node, ast.Module) and key in _parameters(holder.node):
        return True
    if holder.node is place.routine.node:
        return any(_binds(block, key) for block in _before(holder.node.body, place.node))
    return _binds(holder.node.body, key)


def _is_bound_in_class(code: Codebase, holder: Routine, place: LoopPlace, key: str) -> bool:
    assert holder.owner is not None
    methods = {each.name: each for each in holder.owner.body if isinstance(each, Function)}
    begin = methods.get("__init__")
    blocks = [list(begin.body)] if begin is not None else []
    blocks += _before(place.routine.node.body, place.node)
    return any(_binds(block, key, methods) for block in blocks)


def _is_bound_somewhere_before(holder: Routine, place: LoopPlace, key: str) -> bool:
    if holder.node is not place.routine.node or key.startswith("self."):
        return True
    return any(
        isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno < place.line and key in _bound_by(node)
        for node in walk(holder.node)
    )


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}


def _before(body: Sequence[ast.stmt], loop: ast.stmt) -> list[list[ast.stmt]]:
    """What runs before a loop whenever it is reached: of each block around it, the statements before."""
    for number, statement in enumerate(body):
        if statement is loop:
            return [list(body[:number])]
        for block in _blocks(statement):
            inner = _before(block, loop)
            if inner:
                return [list(body[:number]), *inner]
    return []


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    if isinstance(statement, Function | ast.ClassDef):
        return []
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(statement, "handlers", [])]
    return [block for block in blocks if isinstance(block, list) and block]


def _binds(
    block: Sequence[ast.stmt], key: str, methods: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] | None = None
) -> bool:
    """Whether a variable is surely bound when a block has run."""
    for statement in block:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and key in _bound_by(statement):
            return True
        if isinstance(statement, ast.If):
            is_main = "__name__" in ast.unparse(statement.test)
            if _binds(statement.body, key, methods) and (is_main or _binds(statement.orelse, key, methods)):
                return True
        elif isinstance(statement, ast.With) and _binds(statement.body, key, methods):
            return True
        elif isinstance(statement, ast.Try):
            handled = all(_binds(each.body, key, methods) for each in statement.handlers)
            if (_binds(statement.body, key, methods) and handled) or _binds(statement.finalbody, key, methods):
                return True
        elif methods and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = ast.unparse(statement.value.func).removeprefix("self.")
            if called in methods and _binds(methods[called].body, key):
                return True
    return False


def _bound_by(statement: ast.Assign | ast.AnnAssign) -> set[str]:
    if statement.value is None:
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    parts = [
        part for target in targets for part in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    ]
    return {ast.unparse(part) for part in parts}

"""Consistent, scope-aware renaming of variables: what a refactoring tool would do."""

from __future__ import annotations

import ast
import builtins
import random
from collections import defaultdict

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SHORT = {"model": "net", "optimizer": "opt", "loss": "batch_loss", "outputs": "preds", "output": "pred"}
_SHORT |= {"data": "batch", "target": "labels", "epoch": "ep", "criterion": "loss_fn", "args": "opts", "device": "dev"}


def rename(source: str, statement: ast.stmt, rng: random.Random) -> tuple[str, ast.stmt] | None:
    """The source with 1 to 3 variables renamed, one of them in this statement; and the statement as it is then."""
    tree = ast.parse(source)
    candidates = _renamable(tree)
    inside = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    lines = range(statement.lineno, (statement.end_lineno or 0) + 1)
    elsewhere = {name for name, places in candidates.items() if any(line not in lines for line, _ in places)}
    first = sorted(name for name in candidates if name in inside & elsewhere)  # else nothing tells of the renaming
    if not first:
        return None
    chosen = [rng.choice(first)]
    rest = sorted(name for name in elsewhere if name not in chosen)
    chosen += rng.sample(rest, min(len(rest), rng.randrange(3)))
    taken = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} | {
        a.arg for a in ast.walk(tree) if isinstance(a, ast.arg)
    }
    edits: list[tuple[int, int, str, str]] = []
    for name in chosen:
        fresh = _fresh(name, taken, rng)
        taken.add(fresh)
        edits += [(line, column, name, fresh) for line, column in candidates[name]]
    text = source.split("\n")
    for line, column, name, fresh in sorted(edits, reverse=True):
        data = text[line - 1].encode()
        if data[column : column + len(name.encode())] != name.encode():
            return None
        text[line - 1] = (data[:column] + fresh.encode() + data[column + len(name.encode()) :]).decode()
    changed = "\n".join(text)
    try:
        after = ast.parse(changed)
    except SyntaxError:
        return None
    for node in ast.walk(after):
        if isinstance(node, ast.stmt) and type(node) is type(statement) and node.lineno == statement.lineno:
            return changed, node
    return None


def _fresh(name: str, taken: set[str], rng: random.Random) -> str:
    for new in (
        _SHORT.get(name, ""),
        f"{name}_",
        f"my_{name}",
        f"{name}s",
        f"{name}{rng.randrange(10)}",
        f"the_{name}",
    ):
        if new and new not in taken and not hasattr(builtins, new) and rng.random() < 0.7:
            return new
    return f"{name}_{rng.randrange(1000, 9999)}"


def _renamable(tree: ast.Module) -> dict[str, list[tuple[int, int]]]:
    """Variables all of whose occurrences are one variable's: bound in one function, or only at module level."""
    homes: dict[str, set[int]] = defaultdict(set)
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    reserved: set[str] = set(dir(builtins))

    def visit(node: ast.AST, scope: int) -> None:
        if isinstance(node, ast.Name):
            places[node.id].append((node.lineno, node.col_offset))
            if not isinstance(node.ctx, ast.Load):
                homes[node.id].add(scope)
        elif isinstance(node, ast.arg):
            places[node.arg].append((node.lineno, node.col_offset))
            homes[node.arg].add(scope)
        elif isinstance(node, ast.keyword) and node.arg:
            reserved.add(node.arg)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            reserved.update(node.names)
        elif isinstance(node, ast.alias):
            reserved.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            reserved.add(node.name)
        elif isinstance(node, ast.ClassDef):
            reserved.add(node.name)
            reserved.update(
                n.id
                for each in node.body
                for n in ast.walk(each)
                if isinstance(n, ast.Name)
                and isinstance(n.ctx, ast.Store)
                and each in node.body
                and not isinstance(each, _FUNCTIONS)
            )
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            reserved.add(node.name)
        elif isinstance(node, (ast.JoinedStr, ast.MatchAs, ast.MatchStar)):
            reserved.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name))  # no columns before Python 3.12
        inner = id(node) if isinstance(node, _FUNCTIONS) else scope
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(tree, 0)
    return {
        name: spots
        for name, spots in places.items()
        if len(homes[name]) == 1
        and name not in reserved
        and name not in ("self", "cls", "_")
        and not name.startswith("__")
    }

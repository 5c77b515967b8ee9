"""Is an answer right? Python's own parser decides, never the one that is measured."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from propagating.cases import Answer, Case, Score

TRAINING = frozenset(
    {
        *("backward", "step", "zero_grad", "unscale_", "update", "train", "eval", "manual_seed", "manual_seed_all"),
        *("clip_grad_norm_", "clip_grad_value_", "clip_gradients", "synchronize", "empty_cache", "barrier"),
        *("load_state_dict", "requires_grad_", "set_epoch", "step_update", "seed", "set_seed", "join", "wait"),
    }
)
"""Calls that change a state that no name in them shows: no two statements with one of these commute."""

_HIDDEN = "<hidden state>"
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LEAVES = (
    ast.Return,
    ast.Raise,
    ast.Break,
    ast.Continue,
    ast.Yield,
    ast.YieldFrom,
    ast.Await,
)


def score(case: Case, answer: Answer) -> Score:
    """Exact: the known answer, as a syntax tree. Equivalent: only moved over statements that it commutes with."""
    if answer.source is None and answer.present and case.expected is not None:
        return Score.WRONG  # it is not there: what was asked for is silently lost
    if answer.source is None:
        return Score.DECLINED if case.expected is None else Score.REFUSED
    if case.expected is None:
        return Score.WRONG
    try:
        tree = ast.parse(answer.source)
    except (SyntaxError, ValueError):
        return Score.WRONG
    if ast.dump(tree) == ast.dump(ast.parse(case.expected)):
        return Score.EXACT
    found = ast.dump(_without_inner_names(tree))
    return Score.EQUIVALENT if found in equivalents(case.older, case.expected) else Score.WRONG


def _without_inner_names(tree: ast.Module) -> ast.Module:
    """The tree with the variables of its comprehensions numbered: what these are called changes nothing."""
    _InnerNames().visit(tree)
    return tree


class _InnerNames(ast.NodeVisitor):
    """Numbers variables of comprehensions, by how deep these are nested and in the order in which they bind them."""

    def __init__(self) -> None:
        self._known: list[dict[str, str]] = []  # of the comprehensions around, outermost first

    def visit_Name(self, node: ast.Name) -> None:
        node.id = next((names[node.id] for names in reversed(self._known) if node.id in names), node.id)

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, _COMPREHENSIONS):
            super().generic_visit(node)
            return
        self.visit(node.generators[0].iter)  # is read outside
        bound = [n.id for part in node.generators for n in ast.walk(part.target) if isinstance(n, ast.Name)]
        numbered = enumerate(dict.fromkeys(bound))
        self._known.append({name: f"<{len(self._known)} {place}>" for place, name in numbered})
        super().generic_visit(node)
        self._known.pop()


def keeps_bytes(older: str, patched: str) -> bool:
    """Whether a patch is nothing but inserted lines."""
    lines = iter(patched.splitlines(keepends=True))
    kept = older.splitlines(keepends=True)
    if kept and not kept[-1].endswith(("\n", "\r")):
        kept[-1] = kept[-1].rstrip("\r\n")
        return all(any(line.rstrip("\r\n") == old.rstrip("\r\n") for line in lines) for old in kept)
    return all(any(line == old for line in lines) for old in kept)


def parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


@lru_cache(maxsize=64)
def equivalents(older: str, expected: str) -> frozenset[str]:
    """Dumps of the source, and of all in which what `older` lacks has moved over statements that it commutes with; the
    variables of comprehensions numbered."""
    tree = _without_inner_names(ast.parse(expected))
    found = _inserted(_without_inner_names(ast.parse(older)), tree)
    dumps = {ast.dump(tree)}
    if found is None:
        return frozenset(dumps)
    block, position = found
    statement = block[position]
    for step in (-1, 1):
        here, moved = position, list(block)
        while 0 <= here + step < len(block) and commute(statement, moved[here + step]):
            moved[here], moved[here + step] = moved[here + step], moved[here]
            here += step
            original = list(block)
            block[:] = moved
            dumps.add(ast.dump(tree))
            block[:] = original
    return frozenset(dumps)


def _inserted(older: ast.Module, expected: ast.Module) -> tuple[list[ast.stmt], int] | None:
    """The block of `expected` with one more statement than its counterpart in `older`, and where it is."""
    todo: list[tuple[ast.AST, ast.AST]] = [(older, expected)]
    while todo:
        before, after = todo.pop()
        for name in after._fields:
            left, right = getattr(before, name, None), getattr(after, name, None)
            if isinstance(left, list) and isinstance(right, list):
                if len(right) == len(left) + 1:
                    for position, (a, b) in enumerate(zip(left, right, strict=False)):
                        if ast.dump(a) != ast.dump(b):
                            return right, position
                    return right, len(left)
                todo += [(a, b) for a, b in zip(left, right, strict=False) if isinstance(b, ast.AST)]
            elif isinstance(left, ast.AST) and isinstance(right, ast.AST):
                todo.append((left, right))
    return None


def commute(left: ast.stmt, right: ast.stmt) -> bool:
    """Whether two neighbours may change places: neither touches what the other reads or changes."""
    for each in (left, right):
        if any(isinstance(node, _LEAVES) for node in _run_by(each)):
            return False
    reads, writes = _touched(left)
    others, changes = _touched(right)
    return not (_meet(writes, others | changes) or _meet(changes, reads | writes))


def _run_by(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes that run when a statement does: not the bodies of functions that it defines."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        yield node
        below = list(ast.iter_child_nodes(node))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            below = [*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each)]
        todo += reversed(below)


def _meet(left: set[str], right: set[str]) -> bool:
    """Whether some dotted path of the one is a part of one of the other: `a.b` meets `a` and `a.b.c`, not `a.d`."""
    return any(a == b or a.startswith(b + ".") or b.startswith(a + ".") for a in left for b in right)


def _touched(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """Dotted paths that a statement reads, and those whose values it may change: by binding them, or by a call."""
    reads, writes = set[str](), set[str]()
    inner = set[int]()
    acting = {id(n) for each in ast.walk(statement) if isinstance(each, ast.Expr) for n in ast.walk(each)}
    for node in _run_by(statement):
        if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in inner:
            path = _path(node)
            inner.update(id(each) for each in ast.walk(node) if each is not node and _path(each))
            if path:
                (reads if isinstance(node.ctx, ast.Load) else writes).add(path)
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            writes.add(_path(node.value) or _root(node.value))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            writes.add(node.name)
        elif isinstance(node, ast.alias):
            writes.add((node.asname or node.name).split(".")[0])
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in TRAINING:
                writes.add(_HIDDEN)
            if isinstance(node.func, ast.Attribute) and id(node) in acting and name not in _REGISTERS:
                writes.add(_path(node.func.value) or _root(node.func.value))
    return reads, {path for path in writes if path}


_REGISTERS = frozenset({"add_argument"})  # their order shows in a help text only


def _path(node: ast.AST) -> str:
    """`a.b.c` of a chain of attributes that starts at a variable, else ""."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def _root(node: ast.AST) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""

"""Which variables a loop carries from one iteration to the next, and how they go in and out of its frame.

A checkpoint that holds only what the user listed forgets `global_step += 1` and `best = max(best, acc)`. So the loop's
source is read once (as it was when the run began), and its names are sorted into

    bound       assigned in the body: `x = ...`, `for x in`, `with ... as x`, `x += 1`, `global x` in any function
    changed     changed in place: `d[k] = v`, `obj.n += 1`, `items.append(x)`, `t.add_(1)`
    mentioned   read in the body; their values may still be changed by a function they are passed to
    live        bound or changed, and maybe read before they are assigned again, or after the loop

What may live here: analysis of source text with `ast`, and reading and writing a frame's variables. No files, no torch.
"""

from __future__ import annotations

import ast
import ctypes
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FrameType

_IN_PLACE_ARRAY_METHODS = {"fill", "put", "sort", "partition", "resize", "itemset", "setfield"}


@dataclass(frozen=True, slots=True)
class LoopNames:
    """The names that a loop's body uses, by how it uses them."""

    bound: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    called: frozenset[str] = frozenset()  # receivers of method calls; whether that changes them depends on their type
    mentioned: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    clears_gradients_first: bool = False  # zero_grad() comes before backward(): old gradients are never read


def loop_names(source: str, line: int) -> LoopNames | None:
    """Names of the `for` loop whose iterable is written on `line` (from 1) of `source`; None if there is none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    loop, scope = _find_loop(tree, line)
    if loop is None:
        return None
    uses = _Uses()
    uses.visit(loop.target)
    for statement in loop.body:
        uses.visit(statement)
    shared = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    bound = frozenset(uses.bound | shared)
    first_reads, _ = _reads_before_writes(loop.body, _targets(loop.target))
    read_after = {
        node.id
        for node in ast.walk(scope)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and node.lineno > (loop.end_lineno or loop.lineno)
    }
    live = (bound & (first_reads | read_after)) | uses.changed | shared
    return LoopNames(
        bound=bound,
        changed=frozenset(uses.changed),
        called=frozenset(uses.called),
        mentioned=frozenset(uses.mentioned),
        live=frozenset(live),
        clears_gradients_first=_clears_gradients_first(loop),
    )


def read(frame: FrameType, names: Iterable[str]) -> dict[str, object]:
    """Values of `names` in the frame: its local variables, else its module's globals. Unbound names are left out."""
    found: dict[str, object] = {}
    local = frame.f_locals
    for name in sorted(names):
        if name in local:
            found[name] = local[name]
        elif name in frame.f_globals:
            found[name] = frame.f_globals[name]
    return found


def write(frame: FrameType, values: Mapping[str, object], remove: Iterable[str] = ()) -> None:
    """Bind `values` in the frame, and unbind the names in `remove`, so that a stale value can never be read."""
    if frame.f_locals is frame.f_globals:
        frame.f_globals.update(values)
        for name in remove:
            frame.f_globals.pop(name, None)
        return
    slots = set(frame.f_code.co_varnames) | set(frame.f_code.co_cellvars) | set(frame.f_code.co_freevars)
    local = frame.f_locals
    for name, value in values.items():
        (local if name in slots else frame.f_globals)[name] = value
    for name in remove:
        (local if name in slots else frame.f_globals).pop(name, None)
    if sys.version_info < (3, 13):  # from 3.13 on, f_locals writes through by itself (PEP 667)
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(1))


def _find_loop(tree: ast.Module, line: int) -> tuple[ast.For | ast.AsyncFor | None, ast.AST]:
    """The innermost loop whose iterable spans `line`, and the function or module it stands in."""
    found: ast.For | ast.AsyncFor | None = None
    found_scope: ast.AST = tree
    stack: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = node
        if (
            isinstance(node, ast.For | ast.AsyncFor)
            and node.lineno <= line <= (node.iter.end_lineno or node.iter.lineno)
            and (found is None or node.lineno >= found.lineno)
        ):
            found, found_scope = node, scope
        stack.extend((child, scope) for child in ast.iter_child_nodes(node))
    return found, found_scope


class _Uses(ast.NodeVisitor):
    """Collects names; assignments inside nested functions and classes belong to those, their reads count."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.changed: set[str] = set()
        self.called: set[str] = set()
        self.mentioned: set[str] = set()
        self._depth = 0

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.mentioned.add(node.id)
        elif self._depth == 0:
            self.bound.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._in_place(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._in_place(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and (name := _base(node.func.value)):
            method = node.func.attr
            in_place = (method.endswith("_") and not method.startswith("_")) or method in _IN_PLACE_ARRAY_METHODS
            (self.changed if in_place else self.called).add(name)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._nested(node, node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._nested(node, node.name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._nested(node, node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._nested(node, None)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._nested(node, None)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # type: ignore[assignment]

    def _nested(self, node: ast.AST, name: str | None) -> None:
        if name is not None and self._depth == 0:
            self.bound.add(name)
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def _in_place(self, node: ast.Attribute | ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store | ast.Del) and (name := _base(node)):
            self.changed.add(name)


def _base(node: ast.expr) -> str | None:
    """The variable at the root of `a.b[c].d`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _targets(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)}


def _loads(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load)}


def _reads_before_writes(statements: Iterable[ast.stmt], assigned: set[str]) -> tuple[set[str], set[str]]:
    """Names that may be read before these statements assign them, and the names surely assigned after them.

    Conservative: a branch assigns only what both sides assign, a loop's body may not run, `try` may stop anywhere.
    """
    reads: set[str] = set()
    assigned = set(assigned)
    for statement in statements:
        if isinstance(statement, ast.If):
            reads |= _loads(statement.test) - assigned
            then_reads, then_assigned = _reads_before_writes(statement.body, assigned | _walrus(statement.test))
            else_reads, else_assigned = _reads_before_writes(statement.orelse, assigned | _walrus(statement.test))
            reads |= then_reads | else_reads
            assigned = then_assigned & else_assigned
        elif isinstance(statement, ast.For | ast.AsyncFor):
            reads |= _loads(statement.iter) - assigned
            reads |= _reads_before_writes(statement.body, assigned | _targets(statement.target))[0]
            reads |= _reads_before_writes(statement.orelse, assigned)[0]
        elif isinstance(statement, ast.While):
            reads |= _loads(statement.test) - assigned
            reads |= _reads_before_writes([*statement.body, *statement.orelse], assigned)[0]
        elif isinstance(statement, ast.With | ast.AsyncWith):
            for item in statement.items:
                reads |= _loads(item.context_expr) - assigned
                assigned |= _targets(item.optional_vars) if item.optional_vars else set()
            inner_reads, assigned = _reads_before_writes(statement.body, assigned)
            reads |= inner_reads
        elif isinstance(statement, ast.Try | ast.TryStar | ast.Match):
            reads |= _loads(statement) - assigned
        elif isinstance(statement, ast.AugAssign):
            reads |= (_loads(statement) | _targets(statement.target)) - assigned
        else:
            reads |= _loads(statement) - assigned
            assigned |= _targets(statement)
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assigned.add(statement.name)
    return reads, assigned


def _walrus(node: ast.expr) -> set[str]:
    return {child.target.id for child in ast.walk(node) if isinstance(child, ast.NamedExpr)}


def _clears_gradients_first(loop: ast.For | ast.AsyncFor) -> bool:
    first = {"zero_grad": sys.maxsize, "backward": sys.maxsize}
    for node in ast.walk(loop):
        if isinstance(node, ast.Attribute) and node.attr in first:
            first[node.attr] = min(first[node.attr], node.lineno)
    return first["zero_grad"] < first["backward"] < sys.maxsize

"""How a piece of code uses its names: which it binds, changes in place, calls methods of, mentions, and reads first."""

from __future__ import annotations

import ast
from collections.abc import Iterable

_IN_PLACE_ARRAY_METHODS = {"fill", "put", "sort", "partition", "resize", "itemset", "setfield"}


class Uses(ast.NodeVisitor):
    """Collects names; assignments inside nested functions and classes belong to those, their reads count."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.changed: set[str] = set()
        self.called: set[str] = set()
        self.mentioned: set[str] = set()
        self._depth = 0
        self._comprehensions = 0  # of the depth: `:=` in these binds outside of them

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        if self._depth == self._comprehensions:
            self.bound.add(node.target.id)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._bind(node.rest)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self._bind((node.asname or node.name).split(".")[0])

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.bound.update(node.names)  # a function of the loop's body assigns them

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
        self._comprehensions += 1
        self._nested(node, None)
        self._comprehensions -= 1

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # type: ignore[assignment]

    def _bind(self, name: str | None) -> None:
        if name is not None and self._depth == 0:
            self.bound.add(name)

    def _nested(self, node: ast.AST, name: str | None) -> None:
        self._bind(name)
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


def targets(node: ast.AST) -> set[str]:
    """Names that a piece of code assigns to."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)}


def loads(node: ast.AST) -> set[str]:
    """Names that a piece of code reads."""
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load)}


def reads_before_writes(
    statements: Iterable[ast.stmt], assigned: set[str], loops_run: bool = False
) -> tuple[set[str], set[str]]:
    """Names that may be read before these statements assign them, and the names surely assigned after them.

    Conservative: a branch assigns only what both sides assign, `try` may stop anywhere, and the body of a loop may not
    run, unless `loops_run` says that it does.
    """
    reads: set[str] = set()
    assigned = set(assigned)
    for statement in statements:
        if isinstance(statement, ast.If):
            reads |= loads(statement.test) - assigned
            then_reads, then_assigned = reads_before_writes(
                statement.body, assigned | _walrus(statement.test), loops_run
            )
            else_reads, else_assigned = reads_before_writes(
                statement.orelse, assigned | _walrus(statement.test), loops_run
            )
            reads |= then_reads | else_reads
            assigned = then_assigned & else_assigned
        elif isinstance(statement, ast.For | ast.AsyncFor):
            reads |= loads(statement.iter) - assigned
            inner_reads, inner_assigned = reads_before_writes(
                statement.body, assigned | targets(statement.target), loops_run
            )
            reads |= inner_reads | reads_before_writes(statement.orelse, assigned, loops_run)[0]
            assigned = inner_assigned if loops_run else assigned
        elif isinstance(statement, ast.While):
            reads |= loads(statement.test) - assigned
            reads |= reads_before_writes([*statement.body, *statement.orelse], assigned, loops_run)[0]
        elif isinstance(statement, ast.With | ast.AsyncWith):
            for item in statement.items:
                reads |= loads(item.context_expr) - assigned
                assigned |= targets(item.optional_vars) if item.optional_vars else set()
            inner_reads, assigned = reads_before_writes(statement.body, assigned, loops_run)
            reads |= inner_reads
        elif isinstance(statement, ast.Try | ast.TryStar | ast.Match):
            reads |= loads(statement) - assigned
        elif isinstance(statement, ast.AugAssign):
            reads |= (loads(statement) | targets(statement.target)) - assigned
        else:
            reads |= loads(statement) - assigned
            assigned |= targets(statement)
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assigned.add(statement.name)
    return reads, assigned


def _walrus(node: ast.expr) -> set[str]:
    return {child.target.id for child in ast.walk(node) if isinstance(child, ast.NamedExpr)}

"""How a piece of code uses its names: which it binds, changes in place, calls methods of, mentions, and reads first."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from flor_ray.analysis.nodes import walk

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
    return {child.id for child in walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)}


_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def loads(node: ast.AST) -> set[str]:
    """Names that a piece of code reads, without those that functions and comprehensions in it have for themselves."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    if isinstance(node, _Function | ast.Lambda):
        return loads_of_definition(node) | (_loads_of(_body(node)) - _own_names(node))
    if isinstance(node, _Comprehension):
        first, *others = node.generators
        own = set().union(*(targets(one.target) for one in node.generators))
        inner = [*first.ifs, *others, *([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])]
        return loads(first.iter) | ((_loads_of(inner) | loads(first.target)) - own)
    return _loads_of(ast.iter_child_nodes(node))


def loads_of_definition(node: _Function | ast.ClassDef | ast.Lambda) -> set[str]:
    """Names that are read where a function or class is defined, not by the function itself."""
    if isinstance(node, ast.Lambda):
        return loads(node.args)
    decorators = _loads_of(node.decorator_list)
    if isinstance(node, ast.ClassDef):
        return decorators | _loads_of([*node.bases, *node.keywords])
    return decorators | loads(node.args) | (loads(node.returns) if node.returns else set())


def _loads_of(nodes: Iterable[ast.AST]) -> set[str]:
    return set().union(*map(loads, nodes))


def _body(node: _Function | ast.Lambda) -> Iterable[ast.AST]:
    return [node.body] if isinstance(node, ast.Lambda) else node.body


def _own_names(node: _Function | ast.Lambda) -> set[str]:
    """Variables of a function: its parameters, and what its body binds."""
    bound = set().union(*map(_bound, _body(node)))
    parts = [part for statement in _body(node) for part in walk(statement)]
    outer = {name for part in parts if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}
    return (bound | {each.arg for each in walk(node.args) if isinstance(each, ast.arg)}) - outer


NAMELESS = ""


def words(node: ast.AST) -> set[str]:
    """Names and attributes in a piece of code, and NAMELESS if it calls anything."""
    found = set()
    for each in walk(node):
        if isinstance(each, ast.Name | ast.Attribute):
            found.add(each.id if isinstance(each, ast.Name) else each.attr)
        elif isinstance(each, ast.Call):
            found.add(NAMELESS)
    return found


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """In which order statements read and assign names.

    Conservative: a branch assigns only what both sides assign, `try` may stop anywhere, and the body of a loop may not
    run, unless `loops_run` says that it does. `read_by` has what functions that are defined elsewhere read, by their
    names: they may be called wherever that name, or an attribute of that name, is mentioned; those at NAMELESS wherever
    anything is called.
    """

    read_by: Mapping[str, frozenset[str]] = field(default_factory=dict)
    loops_run: bool = False

    def reads(self, node: ast.AST) -> set[str]:
        """Names that a piece of code may read, by itself or by calling."""
        found = loads(node)
        if self.read_by:
            found.update(*(self.read_by.get(word, ()) for word in words(node)))
        return found

    def reads_before_writes(self, statements: Iterable[ast.AST], assigned: Set[str]) -> tuple[set[str], set[str]]:
        """Names that may be read before these statements assign them, and the names surely assigned after them."""
        reads: set[str] = set()
        known = set(assigned)
        for statement in statements:
            its_reads, known = self._of(statement, known)
            reads |= its_reads
        return reads, known

    def _of(self, statement: ast.AST, assigned: set[str]) -> tuple[set[str], set[str]]:
        if isinstance(statement, ast.If):
            reads, after = self.reads(statement.test) - assigned, assigned | _walrus(statement.test)
            then_reads, then_assigned = self.reads_before_writes(statement.body, after)
            else_reads, else_assigned = self.reads_before_writes(statement.orelse, after)
            return reads | then_reads | else_reads, then_assigned & else_assigned
        if isinstance(statement, ast.For | ast.AsyncFor):
            reads = self.reads(statement.iter) - assigned
            inner_reads, inner_assigned = self.reads_before_writes(statement.body, assigned | targets(statement.target))
            else_reads, _ = self.reads_before_writes(statement.orelse, assigned)
            return reads | inner_reads | else_reads, inner_assigned if self.loops_run else assigned
        if isinstance(statement, ast.While):
            inner_reads, _ = self.reads_before_writes([*statement.body, *statement.orelse], assigned)
            return (self.reads(statement.test) - assigned) | inner_reads, assigned
        if isinstance(statement, ast.With | ast.AsyncWith):
            reads = set()
            for item in statement.items:
                reads |= self.reads(item.context_expr) - assigned
                assigned = assigned | (targets(item.optional_vars) if item.optional_vars else set())
            inner_reads, assigned = self.reads_before_writes(statement.body, assigned)
            return reads | inner_reads, assigned
        if isinstance(statement, ast.Try | ast.TryStar):
            return self._of_try(statement, assigned)
        if isinstance(statement, ast.Match):
            return self.reads(statement) - assigned, assigned
        if isinstance(statement, ast.AugAssign):
            return (self.reads(statement) | targets(statement.target)) - assigned, assigned | targets(statement.target)
        if isinstance(statement, _Function | ast.ClassDef):
            reads = loads_of_definition(statement) - assigned
            after = assigned | {statement.name}  # what it reads is read when it is called, which is later
            return reads | (self.reads(statement) - after), after
        is_bare = isinstance(statement, ast.AnnAssign) and statement.value is None
        return self.reads(statement) - assigned, assigned | (set() if is_bare else _bound(statement))

    def _of_try(self, statement: ast.Try | ast.TryStar, assigned: set[str]) -> tuple[set[str], set[str]]:
        reads, through = self.reads_before_writes([*statement.body, *statement.orelse], assigned)
        ways = [through]
        for handler in statement.handlers:
            reads |= self.reads(handler.type) - assigned if handler.type else set()
            name = {handler.name} if handler.name else set()
            its_reads, its_assigned = self.reads_before_writes(handler.body, assigned | name)
            reads |= its_reads
            ways.append(its_assigned - name)  # Python unbinds it
        final_reads, finally_assigned = self.reads_before_writes(statement.finalbody, assigned)
        return reads | final_reads, set.intersection(*ways) | finally_assigned


def _walrus(node: ast.expr) -> set[str]:
    return {child.target.id for child in walk(node) if isinstance(child, ast.NamedExpr)}


def _bound(node: ast.AST) -> set[str]:
    uses = Uses()
    uses.visit(node)
    return uses.bound

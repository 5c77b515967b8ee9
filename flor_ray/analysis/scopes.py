"""Who binds which name in a source, by Python's scopes, and which calls stand in which scope. Pure: a tree in.

A scope is a module, class, function, lambda or comprehension. What is bound in a class is not seen from the functions
in it, `global` and `nonlocal` move a binding outwards, a walrus binds outside of comprehensions, decorators, defaults
and bases belong to the scope around. The walk keeps its own stack, since expressions may be nested deeply, and goes
from scope to scope, outer ones first.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_ray.analysis.nodes import parts_of


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that is bound by an import: `from ..module import name`, or without a name the module itself."""

    module: str
    level: int = 0  # dots before it
    name: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """A name that is bound to the value of an expression. `Scopes.values` has the scope that this is evaluated in."""

    value: ast.expr


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True, eq=False)
class Defined:
    """A name that a `def` or `class` of this source binds."""

    node: Definition


@dataclass(frozen=True, slots=True)
class Held:
    """A name that holds what nobody sees: a parameter, a loop's variable, a part of what is unpacked."""


_HELD = Held()


@dataclass(frozen=True, slots=True)
class Deleted:
    """`del name`: it binds nothing, but says in which scope the name belongs."""


Binding = Imported | Assigned | Defined | Held | Deleted


@dataclass(slots=True, eq=False)
class Namespace:
    """A scope, with what is bound, called and read in it and in no scope within it, in the order of the text."""

    kind: str  # "module", "class", "function", "comprehension"
    node: ast.AST
    outer: Namespace | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)  # that stand in it
    reads: dict[str, list[ast.Name]] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)
    comprehensions: list[ast.AST] = field(default_factory=list)
    has_yield: bool = False
    outward: dict[str, str] = field(default_factory=dict)  # name -> "global" or "nonlocal"

    @property
    def module(self) -> Namespace:
        """The module's scope, around all others."""
        scope = self
        while scope.outer is not None:
            scope = scope.outer
        return scope

    @property
    def function(self) -> ast.AST:
        """The innermost function or lambda that code of this scope runs in, else the class or module."""
        scope = self
        while scope.kind == "comprehension" and scope.outer is not None:
            scope = scope.outer
        return scope.node

    def owner(self, name: str) -> Namespace | None:
        """The scope in which code of this one finds a name; None if it is a builtin, or bound nowhere."""
        scope: Namespace | None = self
        while scope is not None:
            if scope.outward.get(name) == "global":
                scope = scope.module
            if name in scope.bindings and (scope is self or scope.kind != "class"):
                return scope
            scope = scope.outer
        return None

    def bind(self, name: str, binding: Binding) -> None:
        """Note what a statement of this scope binds a name to, in the scope that the name belongs to."""
        scope: Namespace = self
        if self.outward.get(name) == "global":
            scope = self.module
        elif self.outward.get(name) == "nonlocal" and self.outer is not None:
            scope = self.outer.owner(name) or self.outer
        scope.bindings.setdefault(name, []).append(binding)


@dataclass(slots=True, eq=False)
class Scopes:
    """All scopes of a source: see `scopes_of`. No part leads back to the whole, so that reference counts free it."""

    scopes: list[Namespace]  # the module's is the first
    values: dict[ast.expr, Namespace] = field(
        default_factory=dict
    )  # what names are bound to -> where that is evaluated
    imports: list[Imported] = field(default_factory=list)  # wherever they stand; "*" where all names are taken
    stars: list[Imported] = field(default_factory=list)  # `from module import *`, without a name
    set_parts: set[str] = field(default_factory=set)  # attributes that are set or deleted, of whatever object
    plain: set[ast.AST] = field(default_factory=set)  # names that nobody gets hold of where they stand: see `_plainly`

    @property
    def module(self) -> Namespace:
        """The module's scope."""
        return self.scopes[0]


def scopes_of(tree: ast.Module) -> Scopes:
    """The scopes of a source, with what is bound, called and read in them."""
    found = Scopes([Namespace("module", tree, None)])
    for scope in found.scopes:  # it grows
        nodes: list[ast.AST] = _body(scope.node)
        nodes.reverse()
        while nodes:
            node = nodes.pop()
            if isinstance(node, ast.Attribute):  # these three are most of all
                nodes.append(node.value)
                if not isinstance(node.ctx, ast.Load):
                    found.set_parts.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                scope.reads.setdefault(node.id, []).append(node)
            elif not isinstance(node, ast.Constant):
                nodes += reversed(_READERS.get(type(node), _others)(found, node, scope))
    return found


def _body(node: ast.AST) -> list[ast.AST]:
    """What of a scope's node is in that scope."""
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        parts: list[ast.AST] = []
        for one in node.generators:
            parts += [one.iter, one.target, *one.ifs]
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return [*parts[1:], *made]  # what is gone through first is evaluated outside
    return [node.body] if isinstance(node, ast.Lambda) else list(getattr(node, "body", ()))


_Parts = Sequence[ast.AST]  # what of a node belongs to the scope that it stands in, in the order of evaluation


def _others(found: Scopes, node: ast.AST, scope: Namespace) -> _Parts:
    """All parts of a node, without annotations and operators."""
    return parts_of(node)


def _named(found: Scopes, node: ast.Name, scope: Namespace) -> _Parts:
    """What is assigned to plainly, `_assigned` has taken out."""
    scope.bind(node.id, Deleted() if isinstance(node.ctx, ast.Del) else _HELD)
    return []


def _call(found: Scopes, node: ast.Call, scope: Namespace) -> _Parts:
    scope.calls.append(node)
    _plainly(found, node.func)
    return [node.func, *node.args, *(keyword.value for keyword in node.keywords)]


def _function(found: Scopes, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Namespace) -> _Parts:
    scope.bind(node.name, Defined(node))
    scope.definitions.append(node)
    inner = Namespace("function", node, scope)
    _bind_parameters(node.args, inner)
    found.scopes.append(inner)
    return [*node.decorator_list, *_defaults(node.args)]


def _lambda(found: Scopes, node: ast.Lambda, scope: Namespace) -> _Parts:
    inner = Namespace("function", node, scope)
    _bind_parameters(node.args, inner)
    found.scopes.append(inner)
    return _defaults(node.args)


def _bind_parameters(given: ast.arguments, scope: Namespace) -> None:
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if one is not None:
            scope.bind(one.arg, _HELD)


def _defaults(given: ast.arguments) -> list[ast.expr]:
    return [*given.defaults, *(each for each in given.kw_defaults if each is not None)]


def _class(found: Scopes, node: ast.ClassDef, scope: Namespace) -> _Parts:
    scope.bind(node.name, Defined(node))
    scope.definitions.append(node)
    inner = Namespace("class", node, scope)
    found.scopes.append(inner)
    return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]


def _comprehension(
    found: Scopes, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, scope: Namespace
) -> _Parts:
    scope.comprehensions.append(node)
    found.scopes.append(Namespace("comprehension", node, scope))
    return [node.generators[0].iter]


def _walrus(found: Scopes, node: ast.NamedExpr, scope: Namespace) -> _Parts:
    outside = scope
    while outside.kind == "comprehension" and outside.outer is not None:
        outside = outside.outer
    found.values[node.value] = scope
    outside.bind(node.target.id, Assigned(node.value))
    _plainly(found, node.value)
    return [node.value]


def _assigned(found: Scopes, node: ast.Assign | ast.AnnAssign, scope: Namespace) -> _Parts:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    parts: list[ast.AST] = [node.value] if node.value is not None else []
    for target in targets:
        for part, value in _pairs(target, node.value):
            if isinstance(part, ast.Name) and value is not None:
                found.values[value] = scope
                scope.bind(part.id, Assigned(value))
                if scope.kind != "class":  # a class hands its attributes to everybody
                    _plainly(found, value)
            else:
                parts.append(part)
    return parts


def _pairs(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """`a, b = x, y` binds a to x and b to y; None for what cannot be told."""
    if not isinstance(target, ast.Tuple | ast.List):
        yield target, value
        return
    items: list[ast.expr] = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    told = len(items) == len(target.elts) and not any(isinstance(e, ast.Starred) for e in (*items, *target.elts))
    for number, part in enumerate(target.elts):
        yield from _pairs(part, items[number] if told else None)


def _import(found: Scopes, node: ast.Import, scope: Namespace) -> _Parts:
    for alias in node.names:
        module = alias.name if alias.asname else alias.name.partition(".")[0]
        scope.bind(alias.asname or module, Imported(module, line=node.lineno))
        found.imports.append(Imported(alias.name))
    return []


def _import_from(found: Scopes, node: ast.ImportFrom, scope: Namespace) -> _Parts:
    module, level = node.module or "", node.level
    for alias in node.names:
        found.imports.append(Imported(module, level, alias.name))
        if alias.name == "*":
            found.stars.append(Imported(module, level, line=node.lineno))
        else:
            scope.bind(alias.asname or alias.name, Imported(module, level, alias.name, node.lineno))
    return []


def _declared(found: Scopes, node: ast.Global | ast.Nonlocal, scope: Namespace) -> _Parts:
    scope.outward |= dict.fromkeys(node.names, type(node).__name__.lower())
    return []


def _yields(found: Scopes, node: ast.Yield | ast.YieldFrom, scope: Namespace) -> _Parts:
    scope.has_yield = True
    return _others(found, node, scope)


def _caught(found: Scopes, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar, scope: Namespace) -> _Parts:
    if node.name:
        scope.bind(node.name, _HELD)
    return _others(found, node, scope)


def _rest(found: Scopes, node: ast.MatchMapping, scope: Namespace) -> _Parts:
    if node.rest:
        scope.bind(node.rest, _HELD)
    return _others(found, node, scope)


def _tested(
    found: Scopes, node: ast.Compare | ast.If | ast.IfExp | ast.While | ast.UnaryOp, scope: Namespace
) -> _Parts:
    """`if flor:`, `flor is not None`, `not flor`: nobody gets hold of what is asked about."""
    if isinstance(node, ast.Compare):
        asked: list[ast.expr] = [node.left, *node.comparators]
    else:
        asked = [node.operand if isinstance(node, ast.UnaryOp) else node.test]
    for each in asked:
        _plainly(found, each)
    return _others(found, node, scope)


def _plainly(found: Scopes, expression: ast.expr) -> None:
    """Note the name that a chain `a.b.c` begins with: it is called, bound to another name or asked about here, so that
    it is passed to nobody."""
    while isinstance(expression, ast.Attribute):
        expression = expression.value
    if isinstance(expression, ast.Name):
        found.plain.add(expression)


_READERS: Mapping[type[ast.AST], Callable[[Scopes, Any, Namespace], _Parts]] = {
    ast.Name: _named,
    ast.Call: _call,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _lambda,
    ast.ClassDef: _class,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.NamedExpr: _walrus,
    ast.Assign: _assigned,
    ast.AnnAssign: _assigned,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: _declared,
    ast.Nonlocal: _declared,
    ast.Yield: _yields,
    ast.YieldFrom: _yields,
    ast.ExceptHandler: _caught,
    ast.MatchAs: _caught,
    ast.MatchStar: _caught,
    ast.MatchMapping: _rest,
    ast.Compare: _tested,
    ast.If: _tested,
    ast.IfExp: _tested,
    ast.While: _tested,
    ast.UnaryOp: _tested,
}

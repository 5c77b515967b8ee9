"""Who reads a name in a version's files, what a call runs, when a statement runs: the index that `taken` goes by."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from flor_ray.analysis.lending import read_all
from flor_ray.analysis.phases.phases import phases_of
from flor_ray.analysis.scopes import Assigned, Binding, Defined, Definition, Imported, Namespace
from flor_ray.analysis.source import Source, Texts, label_of
from flor_ray.analysis.taking.words import PLAIN_BASES, TRANSPARENT
from flor_ray.records import Region

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a scope."""

    scope: Namespace
    name: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of this name, of whatever object."""

    name: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What a function returns."""

    function: ast.AST
    name: str


Place = Variable | Attribute | Returned  # where code may have an object from


class Code:
    """The files that a script is seen to reach."""

    def __init__(self, script: str, files: Texts) -> None:
        self._phases = phases_of(script, files)
        reached = self._phases.reached
        self.sources = {p: s for p, s in read_all(files).items() if p in reached and s.tree is not None}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)  # by the last name in what is called
        self.attributes: dict[str, list[ast.Attribute]] = defaultdict(list)  # that are read
        self._paths: dict[ast.AST, str] = {}  # of trees
        self._scopes: dict[ast.Name, Namespace] = {}  # of names that are read
        self._reads: dict[Variable, list[ast.Name]] = defaultdict(list)
        self._unowned: dict[str, list[ast.Name]] = defaultdict(list)  # names that nothing in their file binds
        self._imported: dict[str, list[Variable]] = defaultdict(list)  # what imports bind, by what it is called there
        self.methods: dict[str, list[Function]] = defaultdict(list)
        self.classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.functions: dict[str, list[Function]] = defaultdict(list)  # at the top of a file
        for path, source in self.sources.items():
            self._index(path, source)
        self._modules = {part for path in self.sources for part in path.removesuffix(".py").split("/")}

    def _index(self, path: str, source: Source) -> None:
        if source.tree is not None:
            self._paths[source.tree] = path
        for node in source.nodes:
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Call):
                self.calls[label_of(node.func)].append(node)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self.attributes[node.attr].append(node)
        for scope in source.scopes:
            for name, nodes in scope.reads.items():
                owner = scope.owner(name)
                (self._unowned[name] if owner is None else self._reads[Variable(owner, name)]).extend(nodes)
                self._scopes.update(dict.fromkeys(nodes, scope))
            for definition in scope.definitions:
                if isinstance(definition, ast.ClassDef):
                    self.classes[definition.name].append(definition)
                elif scope.kind == "class":
                    self.methods[definition.name].append(definition)
                elif scope.kind == "module":
                    self.functions[definition.name].append(definition)
            for bound, bindings in scope.bindings.items():
                for each in bindings:
                    if isinstance(each, Imported) and each.name:
                        self._imported[each.name].append(Variable(scope, bound))

    # --- places ---------------------------------------------------------------------------------------------------

    def variables(self, name: str) -> Iterator[Variable]:
        """Variables of this name at the top of files, and where code in or around a recorded loop finds it."""
        for source in self.sources.values():
            for scope in source.scopes:
                if scope.kind == "module" and name in scope.bindings:
                    yield Variable(scope, name)
            for call in source.calls:
                if call.function not in ("loop", "iteration"):
                    continue
                owner = source.namespace(call_function(self, call.node)).owner(name)
                if owner is not None:
                    yield Variable(owner, name)

    def reads(self, place: Place) -> Iterator[ast.expr]:
        """Expressions that have their value from a place."""
        if isinstance(place, Variable):
            yield from self._reads.get(place, ())
            if place.scope.kind == "module":  # others may import it, or find it in the module
                yield from self._unowned.get(place.name, ())
                yield from (node for node in self.attributes.get(place.name, ()) if self.is_of_module(node))
        elif isinstance(place, Attribute):
            yield from (node for node in self.attributes.get(place.name, ()) if not self.is_of_library(node))
            for call in (*self.calls.get("getattr", ()), *self.calls.get("attrgetter", ())):
                said = call.args[1:2] if label_of(call.func) == "getattr" else call.args[:1]
                is_meant = bool(said) and (not isinstance(said[0], ast.Constant) or said[0].value == place.name)
                if is_meant and not self.is_of_library(call.args[0]):
                    yield call
        else:
            yield from (call for call in self.calls.get(place.name, ()) if place.function in self.run_by(call))
            yield from self.attributes.get(place.name, ()) if is_property(place.function) else ()

    def importing(self, variable: Variable) -> list[Variable]:
        """Variables of other files that import it."""
        return self._imported.get(variable.name, []) if variable.scope.kind == "module" else []

    def place_of(self, node: ast.expr) -> Place | None:
        """Where an expression that is written as a name or an attribute keeps its value."""
        if isinstance(node, ast.Attribute):
            return Attribute(node.attr)
        if not isinstance(node, ast.Name):
            return None
        scope = self._scopes.get(node) or self._scope_around(node)
        owner = scope.owner(node.id)
        return None if owner is None else Variable(owner, node.id)

    def _scope_around(self, node: ast.AST) -> Namespace:
        inner: ast.AST = node
        while not isinstance(node, ast.Module):
            inner, node = node, self.parents[node]
            is_scope = isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.GeneratorExp, ast.ListComp, ast.SetComp))
            if is_scope or isinstance(node, ast.DictComp):
                is_outside = inner in getattr(node, "decorator_list", ()) or isinstance(inner, ast.arguments)
                if not is_outside:
                    break
        return self.source_of(node).namespace(node)

    def bindings(self, node: ast.expr) -> list[Binding]:
        """What a name may have been bound to."""
        place = self.place_of(node) if isinstance(node, ast.Name) else None
        return place.scope.bindings.get(place.name, []) if isinstance(place, Variable) else []

    def is_imported(self, node: ast.expr) -> bool:
        """Whether a chain begins with what an import binds."""
        return any(isinstance(each, Imported) for each in self.bindings(root_of(node)))

    def is_of_library(self, node: ast.expr) -> bool:
        """Whether a chain begins with a module that is not the project's."""
        modules = self._imports_of(node)
        return bool(modules) and not any(self._is_ours(each) for each in modules)

    def is_made_by_library(self, node: ast.expr) -> bool:
        """Whether a name is only ever bound to what a library's function returns."""
        values = [bound.value if isinstance(bound, Assigned) else None for bound in self.bindings(node)]
        calls = [value for value in values if isinstance(value, ast.Call)]
        return bool(calls) and len(calls) == len(values) and all(self.is_of_library(call.func) for call in calls)

    def is_of_module(self, node: ast.expr) -> bool:
        """Whether a chain begins with a module of the project."""
        return any(self._is_ours(each) for each in self._imports_of(node))

    def _imports_of(self, node: ast.expr) -> list[Imported]:
        bound = self.bindings(root_of(node))
        imported = [each for each in bound if isinstance(each, Imported)]
        return imported if len(imported) == len(bound) else []

    def _is_ours(self, each: Imported) -> bool:
        return bool(each.level) or not self._modules.isdisjoint(each.module.split("."))

    # --- what a call runs -----------------------------------------------------------------------------------------

    def source_of(self, node: ast.AST) -> Source:
        return self.sources[self._path_of(node)]

    def run_by(self, call: ast.Call) -> tuple[Definition, ...]:
        """Functions and classes of the project that a call may run."""
        return self.meant_by(call.func)

    def meant_by(self, node: ast.expr) -> tuple[Definition, ...]:
        """Functions and classes of the project that an expression may mean."""
        if isinstance(node, ast.Attribute):
            if self.is_of_library(node):
                return ()
            found: tuple[Definition, ...] = (*self.methods.get(node.attr, ()), *self.classes.get(node.attr, ()))
            return (*found, *self.functions.get(node.attr, ())) if self.is_of_module(node) else found
        meant: list[Definition] = []
        for bound in self.bindings(node):
            if isinstance(bound, Defined):
                meant.append(bound.node)
            elif isinstance(bound, Imported) and bound.name and self._is_ours(bound):
                meant += [*self.functions.get(bound.name, ()), *self.classes.get(bound.name, ())]
        return tuple(meant)

    def lambdas_of(self, node: ast.expr) -> tuple[ast.Lambda, ...]:
        """Lambdas that a name was bound to."""
        values = (bound.value for bound in self.bindings(node) if isinstance(bound, Assigned))
        return tuple(value for value in values if isinstance(value, ast.Lambda))

    def initialisers(self, made: ast.ClassDef) -> list[Function]:
        """Of a class and the project's classes that it derives from; the first that there are."""
        own = [s for s in made.body if isinstance(s, Function) and s.name in ("__init__", "__new__", "__post_init__")]
        return own or [f for base in self._bases(made) for f in self.initialisers(base)]

    def _bases(self, made: ast.ClassDef) -> list[ast.ClassDef]:
        labels = [label_of(base) for base in made.bases]
        return [found for label in labels if label != made.name for found in self.classes.get(label, ())]

    def is_plain(self, made: ast.ClassDef) -> bool:
        """Whether all that its objects do stands in the project."""
        labels = [label_of(base.value if isinstance(base, ast.Subscript) else base) for base in made.bases]
        ours = {base.name for base in self._bases(made)}
        return all(label in PLAIN_BASES or label in ours for label in labels) and all(
            map(self.is_plain, self._bases(made))
        )

    def namespace(self, node: ast.AST) -> Namespace:
        return self.source_of(node).namespace(node)

    # --- when -----------------------------------------------------------------------------------------------------

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that an expression is evaluated with."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        outer = self.parents[node]
        while isinstance(node, ast.If) and isinstance(outer, ast.If) and outer.orelse == [node]:
            node, outer = outer, self.parents[outer]  # the tests of a chain are one statement of the outline
        return node

    def regions(self, node: ast.AST) -> frozenset[Region]:
        """When it runs."""
        return self._phases.regions_of(self._path_of(node), self.statement(node).lineno)

    def _path_of(self, node: ast.AST) -> str:
        while node in self.parents:
            node = self.parents[node]
        return self._paths[node]


def call_function(code: Code, call: ast.AST) -> ast.AST:
    """The function in which a call stands, or the module."""
    while not isinstance(call, (*_FUNCTIONS, ast.Module)):
        call = code.parents[call]
    return call


def root_of(node: ast.expr) -> ast.expr:
    """`a` of `a.b[c].d`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def is_property(function: ast.AST) -> bool:
    """Whether it runs where an attribute is read."""
    decorators = getattr(function, "decorator_list", [])
    return any(label_of(each) in ("property", "cached_property") for each in decorators)


def hands_on_all(function: Function) -> bool:
    """Whether its decorators leave its arguments and its value as they are."""
    labels = [label_of(each.func if isinstance(each, ast.Call) else each) for each in function.decorator_list]
    return all(label in TRANSPARENT for label in labels)

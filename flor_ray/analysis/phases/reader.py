"""Reading a file's outline from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from functools import lru_cache

from flor_ray.analysis.nodes import parts_of
from flor_ray.analysis.phases.expressions import Bindings, Expressions, OpenStatement
from flor_ray.analysis.phases.outline import (
    Block,
    Branch,
    Child,
    Class,
    Do,
    Jump,
    Outline,
    Record,
    Ref,
    Repeat,
    StatementReads,
    Step,
    Try,
    Unit,
)
from flor_ray.analysis.phases.syntax import as_call, asks_for_main, is_talk, last_label, may_leave, own_nodes
from flor_ray.analysis.scopes import Binding, Defined, Imported
from flor_ray.analysis.source import Borrowed, Source, read

_TRANSPARENT = frozenset(
    [
        "no_grad",
        "inference_mode",
        "enable_grad",
        "set_grad_enabled",
        "staticmethod",
        "classmethod",
        "abstractmethod",
        "override",
        "final",
        "overload",
        "wraps",
        "lru_cache",
        "cache",
        "script",
        "compile",
        "jit",
        "njit",
        "autocast",
        "record",
        "main",
        "command",
        "group",
        "option",
        "argument",
        "pass_context",
        "typechecked",
        "beartype",
        "export",
        "property",
        "cached_property",
        "setter",
        "deleter",
        "dataclass",
    ]
)
_PROPERTIES = frozenset({"property", "cached_property", "setter", "deleter"})


@lru_cache(maxsize=2048)
def outline_of(text: str, is_main: bool, borrowed: Borrowed = frozenset()) -> Outline:
    """The outline of a source.

    Args:
        is_main: it is run as a script, so that `__name__` is "__main__".
        borrowed: what it gets of us from other files of its version.
    """
    source = read(text, borrowed)
    try:
        if source.tree is not None:
            return _OutlineReader(source, source.tree, is_main).outline
    except RecursionError:
        return Outline(units=[Unit("", 1, None)], unreadable="is nested too deeply to be read")
    return Outline(units=[Unit("", 1, None)], unreadable="cannot be read as Python")


_Functions = ast.FunctionDef | ast.AsyncFunctionDef


class _OutlineReader(Expressions):
    def __init__(self, source: Source, tree: ast.Module, is_main: bool) -> None:
        super().__init__(source)
        called = {call.function for call in source.calls}
        self._has_iterations, self._has_loops = "iteration" in called, "loop" in called
        self._stars += [Ref("member", module=star.module, level=star.level) for star in source.stars]
        self._is_main = is_main
        self._defined: dict[ast.AST, int] = {}  # definitions -> number of the unit or class
        self._later: list[tuple[int, _Functions, Bindings]] = []
        self._headed: set[ast.Call] = set()  # those of them whose loop is known
        self._held: dict[tuple[int, str], list[ast.Call]] = {}  # by function and variable: bar = tqdm(flor.loop(...))
        self._recorded = self._plain = 0  # loops of this function around: recorded ones, and others within them
        self.outline.units.append(Unit("", 1, None))
        scope = self._entered(tree, None, 0)
        self.outline.units[0].flow = self._block(tree.body, scope, True)
        while self._later:
            number, function, outer = self._later.pop(0)
            inner = self._entered(function, outer, number)
            self.outline.units[number].flow = self._block(function.body, inner, True)
        self.outline.bindings = {name: tuple(refs) for name, refs in scope.bindings.items()}
        self.outline.stars = tuple(self._stars)
        self.outline.names = frozenset(self._spoken)
        self.outline.odd_loops = tuple(sorted(node.lineno for node in self._loop_calls if node not in self._headed))

    # --- scopes ---------------------------------------------------------------------------------------------------

    def _entered(self, node: ast.Module | _Functions | ast.ClassDef, outer: Bindings | None, unit: int) -> Bindings:
        """The scope of a definition, or of the module, with numbers for the functions and classes that it defines."""
        namespace = self._source.namespace(node)
        scope = Bindings(namespace.kind, outer, unit, namespace.outward)
        for definition in namespace.definitions:
            self._number(definition)
        for name, bound in namespace.bindings.items():
            scope.bindings[name] = [self._ref(binding) for binding in bound]
        inner = list(namespace.comprehensions)  # their variables are taken for the function's
        for each in map(self._source.namespace, inner):
            inner += each.comprehensions
            for name in each.bindings:
                scope.bindings.setdefault(name, []).append(None)
        return scope

    def _ref(self, binding: Binding) -> Ref | None:
        """What a binding means for those who call what it binds; None: a variable of any kind."""
        if isinstance(binding, Imported):
            names = (binding.name,) if binding.name else ()
            return Ref("member", module=binding.module, level=binding.level, names=names)
        if isinstance(binding, Defined):
            kind = "class" if isinstance(binding.node, ast.ClassDef) else "unit"
            return Ref(kind, self._number(binding.node))
        return None

    def _number(self, node: _Functions | ast.ClassDef) -> int:
        """The number of a function among the units, or of a class among the classes."""
        if node not in self._defined:
            if isinstance(node, ast.ClassDef):
                self._defined[node] = len(self.outline.classes)
                self.outline.classes.append(Class(node.name))
            else:
                self._defined[node] = len(self.outline.units)
                self.outline.units.append(self._unit(node))
        return self._defined[node]

    def _unit(self, node: _Functions) -> Unit:
        unit = Unit(node.name, node.lineno, None)
        yields = self._source.namespace(node).has_yield
        unit.is_lazy = "a generator" if yields else "async" if isinstance(node, ast.AsyncFunctionDef) else ""
        for decorator in node.decorator_list:
            label = last_label(decorator)
            unit.is_property |= label in _PROPERTIES
            if label not in _TRANSPARENT or label == "export":
                unit.odd_decorator = unit.odd_decorator or ast.unparse(decorator)
        return unit

    # --- statements -----------------------------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt], scope: Bindings, is_top: bool = False) -> Block:
        steps: list[Step] = []
        sure = is_top
        for statement in body:
            steps += self._statement(statement, scope, sure)
            sure = sure and not may_leave(statement)
        return tuple(steps)

    def _do(
        self, statement: ast.stmt, scope: Bindings, parts: Iterable[tuple[ast.AST | None, str]], sure: bool = False
    ) -> Do:
        index = len(self.outline.statements)
        self.outline.statements.append(StatementReads(scope.unit, statement.lineno, in_recorded=self._recorded > 0))
        part = OpenStatement(index, scope, sure=sure)
        for node, role in parts:
            if node is not None:
                self._expression(node, part, role)
        return Do(index, tuple(part.calls), arms=part.arms, trains=part.trains)

    def _statement(self, s: ast.stmt, scope: Bindings, sure: bool) -> list[Step]:
        if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef):
            self._later.append((self._defined[s], s, scope))
            defaults = [*s.args.defaults, *s.args.kw_defaults]
            return [self._do(s, scope, [*((as_call(d), "") for d in s.decorator_list), *((d, "") for d in defaults)])]
        if isinstance(s, ast.ClassDef):
            return self._class(s, scope)
        if isinstance(s, ast.If):
            return self._if(s, scope)
        if isinstance(s, ast.While | ast.For | ast.AsyncFor):
            return self._loop(s, scope)
        if isinstance(s, ast.With | ast.AsyncWith):
            return self._with(s, scope, sure)
        if isinstance(s, ast.Try | ast.TryStar):
            types = [(handler.type, "looked at") for handler in s.handlers]
            handlers = tuple(self._block(handler.body, scope) for handler in s.handlers)
            done = self._do(s, scope, types)
            body, orelse, final = (self._block(part, scope) for part in (s.body, s.orelse, s.finalbody))
            return [done, Try(body, handlers, orelse, final)]
        if isinstance(s, ast.Match):
            guards = [(case.guard, "test") for case in s.cases]
            done = self._do(s, scope, [(s.subject, ""), *((case.pattern, "looked at") for case in s.cases), *guards])
            return [done, Branch(tuple(self._block(case.body, scope) for case in s.cases), False)]
        return self._simple(s, scope, sure)

    def _simple(self, s: ast.stmt, scope: Bindings, sure: bool) -> list[Step]:
        if isinstance(s, ast.Import):
            imports = tuple(Ref("member", module=alias.name) for alias in s.names)
            self.outline.imported += imports
            return [Do(self._do(s, scope, []).statement, imports=imports)]
        if isinstance(s, ast.ImportFrom):
            module, level = s.module or "", s.level
            given = tuple(Ref("member", 0, module, level, () if a.name == "*" else (a.name,)) for a in s.names)
            self.outline.imported += given
            return [Do(self._do(s, scope, []).statement, imports=given)]
        parts: list[tuple[ast.AST | None, str]] = [(child, "") for child in parts_of(s)]
        if isinstance(s, ast.AnnAssign):
            parts = [(s.target, ""), (s.value, "")]
        elif isinstance(s, ast.Assert):
            parts = [(s.test, "test"), (s.msg, "")]
        elif isinstance(s, ast.Expr):
            parts = [(s.value, "alone")]
        if isinstance(s, ast.Assign) and len(s.targets) == 1 and isinstance(s.targets[0], ast.Name):
            held = self._loops_in(s.value)
            if held:
                self._held.setdefault((scope.unit, s.targets[0].id), []).extend(held)
        done = self._do(s, scope, parts, sure)
        if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
            self._note_read(s.target.id, scope, self.outline.statements[done.statement])
        if isinstance(s, ast.Return | ast.Raise | ast.Break | ast.Continue):
            return [done, Jump(type(s).__name__.lower())]
        return [done]

    def _class(self, s: ast.ClassDef, scope: Bindings) -> list[Step]:
        made = self.outline.classes[self._defined[s]]
        bases = []
        for base in s.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            refs: tuple[Ref, ...] = ()
            if isinstance(base, ast.Name):
                refs = self._refs(base.id, scope)
            elif isinstance(base, ast.Attribute):
                refs = self._chain_refs(base, scope)
            bases.append((ast.unparse(base), refs))
        made.bases = tuple(bases)
        inner = self._entered(s, scope, scope.unit)
        for name, refs_of in inner.bindings.items():
            for ref in refs_of:
                if ref is not None and ref.kind == "unit":
                    made.units.setdefault(name, []).append(ref.index)
                    self.outline.units[ref.index].owner = self._defined[s]
        keywords = [(keyword.value, "") for keyword in s.keywords]
        parts = [*((as_call(d), "") for d in s.decorator_list), *((base, "looked at") for base in s.bases), *keywords]
        done = self._do(s, scope, parts)
        return [done, *self._block(s.body, inner)]

    def _if(self, s: ast.If, scope: Bindings) -> list[Step]:
        chain = [s]
        while len(chain[-1].orelse) == 1 and isinstance(chain[-1].orelse[0], ast.If):
            chain.append(chain[-1].orelse[0])
        done = self._do(s, scope, [(each.test, "test") for each in chain])
        is_main_test = asks_for_main(s.test)
        blocks = []
        for number, each in enumerate(chain):
            if number == 0 and is_main_test and not self._is_main:
                continue
            blocks.append(self._block(each.body, scope))
            if number == 0 and is_main_test:
                return [done, *blocks[0]]
        blocks.append(self._block(chain[-1].orelse, scope))
        return [done, Branch(tuple(blocks), True)]

    def _loop(self, s: ast.While | ast.For | ast.AsyncFor, scope: Bindings) -> list[Step]:
        is_for = not isinstance(s, ast.While)
        parts = [(s.test, "test")] if isinstance(s, ast.While) else [(s.iter, ""), (s.target, "")]
        done = self._do(s, scope, parts)
        if not isinstance(s, ast.While) and self._records(s.iter, scope):
            children = self._children(s.body, scope)
            return [done, Record(s.lineno, children, self._block(s.orelse, scope), False, False)]
        around = any(
            isinstance(node, ast.With | ast.AsyncWith) and self._is_iteration(node)
            for node in (own_nodes(s.body, into_loops=False) if self._has_iterations else ())
        )
        self._plain += 1
        body = self._block(s.body, scope)
        self._plain -= 1
        orelse = self._block(s.orelse, scope)
        return [done, Repeat(body, orelse, around)] if is_for else [Repeat((done, *body), orelse, around)]

    def _with(self, s: ast.With | ast.AsyncWith, scope: Bindings, sure: bool) -> list[Step]:
        items = [item.context_expr for item in s.items]
        done = self._do(s, scope, [*((item, "") for item in items), *((i.optional_vars, "") for i in s.items)], sure)
        if self._is_iteration(s):
            lonely = self._plain == 0
            return [done, Record(s.lineno, self._children(s.body, scope), (), True, lonely)]
        body = self._block(s.body, scope, sure)
        if any(isinstance(i, ast.Call) and last_label(i) in ("suppress", "raises") for i in items):
            return [done, Try(body, ((),), (), ())]
        return [done, *body]

    def _children(self, body: Sequence[ast.stmt], scope: Bindings) -> tuple[Child, ...]:
        plain, self._plain = self._plain, 0
        self._recorded += 1
        found = tuple(
            Child(tuple(self._statement(s, scope, False)), s.end_lineno or s.lineno, is_talk(s)) for s in body
        )
        self._recorded, self._plain = self._recorded - 1, plain
        return found

    def _is_iteration(self, s: ast.With | ast.AsyncWith) -> bool:
        calls = [self._source.call_at(item.context_expr) for item in s.items]
        found = [call.node for call in calls if call is not None and call.function == "iteration"]
        self._headed.update(found)
        return bool(found)

    def _records(self, iterable: ast.expr, scope: Bindings) -> bool:
        found = self._loops_in(iterable)
        if isinstance(iterable, ast.Name):
            found += self._held.get((scope.unit, iterable.id), [])
        self._headed.update(found)
        return bool(found)

    def _loops_in(self, node: ast.AST) -> list[ast.Call]:
        return [call.node for call in self._source.loops_through(node)] if self._has_loops else []

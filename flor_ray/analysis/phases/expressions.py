"""What the expressions of a statement call and mention, in the order of evaluation, and what their names stand for."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.phases.operands import BY_NAME, HARMLESS, Operand, operands
from flor_ray.analysis.phases.outline import CallSite, Load, Log, Mention, Outline, Ref, StatementReads
from flor_ray.analysis.phases.syntax import is_own_names, last_label, words_in
from flor_ray.analysis.phases.trainers import (
    EVALUATES,
    EVALUATION,
    HANDED,
    TESTING,
    TESTS,
    TRAINS,
    TrainerNames,
    functions_fitted,
)
from flor_ray.analysis.source import Source

_LOADERS = frozenset(
    [
        "import_module",
        "__import__",
        "exec",
        "eval",
        "run_path",
        "run_module",
        "spec_from_file_location",
        "load_module",
        "instantiate",
        "locate",
        "get_class",
        "get_method",
        "load_source",
    ]
)


class Bindings:
    """Bindings of a module, class or function; None stands for a variable of any kind."""

    def __init__(self, kind: str, outer: Bindings | None, unit: int, outward: Mapping[str, str]) -> None:
        self.kind, self.outer, self.unit = kind, outer, unit
        self.bindings: dict[str, list[Ref | None]] = {}
        self.outward = outward  # name -> "global" or "nonlocal"

    @property
    def module(self) -> Bindings:
        """The module's bindings, around all others."""
        return self if self.outer is None else self.outer.module

    def owner(self, name: str) -> Bindings | None:
        """Where code of this scope finds a name; None if nothing in the file binds it."""
        scope: Bindings | None = self
        while scope is not None:
            if scope.outward.get(name) == "global":
                scope = self.module
            if name in scope.bindings and (scope is self or scope.kind != "class"):
                return scope
            scope = scope.outer
        return None


@dataclass(slots=True)
class OpenStatement:
    """A statement while its expressions are read."""

    index: int
    scope: Bindings
    calls: list[CallSite] = field(default_factory=list)
    arms: bool = False
    trains: bool = False
    sure: bool = False


class Expressions:
    """Reads the expressions of one file into its outline."""

    def __init__(self, source: Source) -> None:
        self.outline = Outline()
        self._source = source
        self._loop_calls: set[ast.Call] = set()
        self._spoken: set[str] = set()
        self._stars: list[Ref] = []
        self._trainers = TrainerNames(source.nodes if "rainer" in source.text else ())
        self._fitted = functions_fitted(source.nodes if "TorchTrainer" in source.text else ())
        self._run_by_fit = frozenset(self._fitted.values())
        made = (node for node in source.nodes if self._trainers.makes(node))
        self._arguments = {
            keyword.value: keyword.arg
            for call in made
            for keyword in getattr(call, "keywords", ())
            if keyword.arg in HANDED
        }

    def _refs(self, name: str, scope: Bindings) -> tuple[Ref, ...]:
        """What a name may stand for here, other than for a variable."""
        owner = scope.owner(name)
        if owner is None:
            if hasattr(builtins, name):
                return ()
            return tuple(Ref("member", module=s.module, level=s.level, names=(name,)) for s in self._stars)
        return tuple(ref for ref in owner.bindings[name] if ref is not None)

    def _is_variable(self, name: str, scope: Bindings) -> bool:
        owner = scope.owner(name)
        return owner is None or None in owner.bindings[name]

    def _chain_refs(self, node: ast.Attribute, scope: Bindings) -> tuple[Ref, ...]:
        """What `a.b.c` may stand for: a member of a module, else a method of that name."""
        names = [node.attr]
        base = node.value
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        method = Ref("method", names=(node.attr,))
        if not isinstance(base, ast.Name):
            return (method,)
        found = []
        refs = self._refs(base.id, scope)
        for ref in refs:
            if ref.kind == "member":
                found.append(Ref("member", 0, ref.module, ref.level, (*ref.names, *reversed(names))))
        if not found or len(found) < len(refs) or self._is_variable(base.id, scope):
            found.append(method)
        return tuple(found)

    # --- expressions ----------------------------------------------------------------------------------------------

    def _expression(self, root: ast.AST, part: OpenStatement, role: str) -> None:
        """Calls in the order in which they are made, and mentions. On a stack: expressions may be deep."""
        stack = [Operand(root, role)]
        while stack:
            spot = stack.pop()
            node = spot.node
            if isinstance(node, ast.Call) and spot.is_done:
                self._called(node, spot, part)
                continue
            if isinstance(node, ast.Name):
                self._named(node, spot, part)
            elif isinstance(node, ast.Attribute):
                self._attribute(node, spot, part)
            elif isinstance(node, ast.Subscript) and is_own_names(node.value):
                self._mention(Ref("file"), node.lineno, "may be looked up by its name")
            below = list(operands(spot))
            if isinstance(node, ast.Call):
                below.append(replace(spot, is_done=True))
            stack.extend(reversed(below))

    def _named(self, node: ast.Name, spot: Operand, part: OpenStatement) -> None:
        self._spoken.add(node.id)
        if isinstance(node.ctx, ast.Load):
            self._note_read(node.id, part.scope, self.outline.statements[part.index])
            if spot.role not in HARMLESS and node not in self._run_by_fit:
                for ref in self._refs(node.id, part.scope):
                    self._mention(ref, node.lineno, "is passed around as a value", self._arguments.get(node, ""))

    def _attribute(self, node: ast.Attribute, spot: Operand, part: OpenStatement) -> None:
        self.outline.statements[part.index].attributes.add(node.attr)
        if isinstance(node.ctx, ast.Load) and spot.role not in HARMLESS:
            for ref in self._chain_refs(node, part.scope):
                self._mention(ref, node.lineno, "is passed around as a value", self._arguments.get(node, ""))
        if node.attr in ("get", "pop", "values", "__getitem__") and is_own_names(node.value):
            self._mention(Ref("file"), node.lineno, "may be looked up by its name")

    def _mention(self, ref: Ref, line: int, why: str, argument: str = "") -> None:
        self.outline.mentions.append(Mention(ref, line, why, argument))

    def _note_read(self, name: str, scope: Bindings, statement: StatementReads) -> None:
        owner = scope.owner(name)
        own = owner is not None and owner.unit == scope.unit and (owner.kind != "module" or scope.unit == 0)
        (statement.own_reads if own else statement.reads).add(name)

    def _called(self, node: ast.Call, spot: Operand, part: OpenStatement) -> None:
        function = self._source.function_of(node)
        if function:
            self._calls_us(node, function, spot, part)
            return
        refs = self._refs_of_call(node, part.scope)
        if (fitted := self._fitted.get(node)) is not None:
            refs = self._refs(fitted.id, part.scope)
        if spot.lazy:
            for ref in refs:
                self._mention(ref, node.lineno, f"is called in {spot.lazy}")
        elif refs:
            part.calls.append(CallSite(refs, node.lineno, spot.optional, spot.role == "awaited", spot.repeated))
        self._asks_trainer(node, part)
        label = _label(node)
        if label in BY_NAME:
            self._by_name(node, spot, part)
        if label in _LOADERS and (isinstance(node.func, ast.Name) or label not in ("exec", "eval")):
            texts = [n.value for n in walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            words = frozenset(word for text in texts for word in words_in(text))
            self.outline.loads.append(Load(node.lineno, words, label in ("exec", "eval")))

    def _asks_trainer(self, node: ast.Call, part: OpenStatement) -> None:
        """A Trainer is called, which calls what the user has given it."""
        asked = "" if node in self._fitted else self._trainers.called(node)
        part.trains |= asked in TRAINS
        if asked in EVALUATES | TESTS:
            phase = EVALUATION if asked in EVALUATES else TESTING
            part.calls.append(CallSite((Ref(phase),), node.lineno, True, False))

    def _calls_us(self, node: ast.Call, function: str, spot: Operand, part: OpenStatement) -> None:
        if function == "log":
            self._log(node, spot, part)
        if function in ("loop", "iteration"):
            self._loop_calls.add(node)
        part.arms |= function == "checkpointing"

    def _refs_of_call(self, node: ast.Call, scope: Bindings) -> tuple[Ref, ...]:
        """What a call may run, as far as this file tells."""
        function, label = node.func, _label(node)
        refs: tuple[Ref, ...] = ()
        if isinstance(function, ast.Name):
            refs = self._refs(function.id, scope)
        elif isinstance(function, ast.Attribute):
            refs = self._chain_refs(function, scope)
        makes_any = label in ("cls", "__class__") or (
            isinstance(function, ast.Call) and last_label(function.func) == "type"
        )
        makes_another = label == "replace" and any(ref.module == "dataclasses" for ref in refs)
        return (*refs, Ref("maker")) if makes_any or makes_another else refs

    def _by_name(self, node: ast.Call, spot: Operand, part: OpenStatement) -> None:
        """getattr(x, "name") is x.name; where the name is computed, it may be any."""
        said = node.args[1:2] if last_label(node.func) in ("getattr", "hasattr") else node.args[:1]
        base = node.args[0] if node.args and said != node.args[:1] else None
        if said and isinstance(said[0], ast.Constant):
            names = str(said[0].value).split(".")
            self.outline.statements[part.index].attributes.update(names)
            if spot.role not in HARMLESS - {"callee", "base"}:
                refs = [Ref("method", names=(names[-1],))]
                for ref in self._refs(base.id, part.scope) if isinstance(base, ast.Name) else ():
                    refs.append(Ref(ref.kind, ref.index, ref.module, ref.level, (*ref.names, *names)))
                for ref in refs:
                    self._mention(ref, node.lineno, "is looked up by its name")
        elif spot.role not in ("looked at", "test"):
            root = base
            while isinstance(root, ast.Attribute):
                root = root.value
            known = self._refs(root.id, part.scope) if isinstance(root, ast.Name) else ()
            if not known or (isinstance(root, ast.Name) and self._is_variable(root.id, part.scope)):
                self.outline.searches.append(node.lineno)
            for ref in known:  # a module, or a class
                self._mention(Ref("method") if ref.kind == "class" else ref, node.lineno, "may be looked up")

    def _log(self, node: ast.Call, spot: Operand, part: OpenStatement) -> None:
        call = self._source.call_at(node)
        line = self.outline.statements[part.index].line
        sure = part.sure and not spot.optional and not spot.lazy
        self.outline.logs.append(Log(call.name if call is not None else None, part.index, line, spot.lazy, sure))


def _label(call: ast.Call) -> str:
    """The name that is called; "" of what another call has made."""
    return "" if isinstance(call.func, ast.Call) else last_label(call.func)

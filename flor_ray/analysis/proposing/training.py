"""Which loops run around the steps of an optimizer, found by walking through a script as it would run. Pure.

main() ── for epoch ── train(model, loader) ── for batch ── optimizer.step()      gives  (epoch, batch)
                    └─ evaluate(model) ── for batch                              gives nothing: nothing steps there
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from flor_ray.analysis.proposing.codebase import Codebase, Function, Routine, is_of_main, label
from flor_ray.analysis.proposing.parts import PartKind, TrainingParts

Loop = ast.For | ast.AsyncFor | ast.While
_UPDATES = frozenset({"apply_gradients", "train_on_batch", "partial_fit", "apply_updates"})
_BACKWARD = frozenset({"backward", "manual_backward"})
_TRAINERS = ("transformers", "trl", "lightning", "pytorch_lightning", "sentence_transformers", "setfit")
_STARTS = frozenset({"train", "fit"})


@dataclass(frozen=True, slots=True, eq=False)
class LoopPlace:
    """A loop of the script's, and the routine that it stands in."""

    routine: Routine
    node: Loop

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.node.lineno

    @property
    def label(self) -> str:
        """What a person calls it: its variable, or `while`."""
        if isinstance(self.node, ast.While):
            return "while"
        written = ast.unparse(self.node.target)
        return written[1:-1] if isinstance(self.node.target, ast.Tuple) else written


@dataclass(slots=True)
class Training:
    """What a walk has found: for each step of an optimizer, the loops around it, outermost first."""

    stacks: list[tuple[LoopPlace, ...]] = field(default_factory=list)
    weak_stacks: list[tuple[LoopPlace, ...]] = field(default_factory=list)  # around backward(): where nothing steps
    evidence: dict[tuple[LoopPlace, ...], tuple[str, int, str]] = field(default_factory=dict)  # file, line, words
    ways: dict[LoopPlace, tuple[Routine, ...]] = field(default_factory=dict)  # routines that lead to a loop
    makes_models: set[ast.AST] = field(default_factory=set)  # loops in which a model is made
    trainers: list[tuple[Routine, ast.Call]] = field(default_factory=list)  # of libraries, that are told to train
    loops: dict[ast.AST, LoopPlace] = field(default_factory=dict)  # all that were walked through
    calls: list[tuple[Routine, ast.Call]] = field(default_factory=list)
    is_reached: bool = True  # from the script's first line; else some function was taken for the beginning

    @property
    def found(self) -> list[tuple[LoopPlace, ...]]:
        """The loops around what trains, each chain once."""
        return list(dict.fromkeys(stack for stack in self.stacks or self.weak_stacks if stack))


def training_of(code: Codebase, parts: TrainingParts) -> Training:
    """What trains in a script, walked from its first line; where nothing does, from each function that nobody calls."""
    walk = _TrainingWalk(code, parts)
    walk.through(code.top)
    if not walk.found.found and not walk.found.trainers:
        for routine in code.routines:
            if routine not in walk.seen:
                walk.found.is_reached = False
                walk.through(routine)
    return walk.found


class _TrainingWalk:
    def __init__(self, code: Codebase, parts: TrainingParts) -> None:
        self._code, self._parts = code, parts
        self.found = Training()
        self.seen: set[Routine] = set()
        self._walked: set[tuple[Routine, tuple[LoopPlace, ...]]] = set()
        self._active: list[Routine] = []

    def through(self, routine: Routine, stack: tuple[LoopPlace, ...] = ()) -> None:
        if routine in self._active or (routine, stack) in self._walked:
            return
        self.seen.add(routine)
        self._walked.add((routine, stack))
        self._active.append(routine)
        for statement in routine.node.body:
            self._node(routine, statement, stack)
        self._active.pop()

    def _node(self, routine: Routine, node: ast.AST, stack: tuple[LoopPlace, ...]) -> None:
        if isinstance(node, Function | ast.ClassDef | ast.Lambda):
            return
        if isinstance(node, Loop):
            place = self.found.loops.setdefault(node, LoopPlace(routine, node))
            self.found.ways.setdefault(place, tuple(self._active))
            head, inside = (node.test, (*stack, place)) if isinstance(node, ast.While) else (node.iter, stack)
            self._node(routine, head, inside)
            for each in node.body:
                self._node(routine, each, (*stack, place))
            for each in node.orelse:
                self._node(routine, each, stack)
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in self._code.modules_of(routine, node):
                if module not in self.seen:  # its own lines run when it is first imported
                    self.through(module, stack)
            return
        if isinstance(node, ast.If) and routine.path != self._code.script and is_of_main(node):
            return
        for child in ast.iter_child_nodes(node):
            self._node(routine, child, stack)
        if isinstance(node, ast.Call):
            self._call(routine, node, stack)

    def _call(self, routine: Routine, call: ast.Call, stack: tuple[LoopPlace, ...]) -> None:
        self.found.calls.append((routine, call))
        if self._updates(routine, call):
            if stack not in self.found.stacks:
                self.found.evidence[stack] = self._seen_at(routine, call)
            self.found.stacks.append(stack)
        elif label(call) in _BACKWARD and isinstance(call.func, ast.Attribute):
            self.found.weak_stacks.append(stack)
            self.found.evidence.setdefault(stack, self._seen_at(routine, call))
        if self._starts_trainer(routine, call):
            self.found.trainers.append((routine, call))
        if self._parts.makes_model(routine, call):
            self.found.makes_models |= {place.node for place in stack}
        for callee in self._code.callees(routine, call):
            self.through(callee, stack)

    def _seen_at(self, routine: Routine, call: ast.Call) -> tuple[str, int, str]:
        return routine.path, call.lineno, f"{ast.unparse(call.func)}()"

    def _updates(self, routine: Routine, call: ast.Call) -> bool:
        function = call.func
        if not isinstance(function, ast.Attribute):
            return False
        if function.attr in _UPDATES:
            return True
        if function.attr != "step":
            return False
        kind = self._parts.kind(routine, function.value)
        if kind is PartKind.SCALER and call.args:
            return True
        return kind is PartKind.OPTIMIZER

    def _starts_trainer(self, routine: Routine, call: ast.Call) -> bool:
        """Whether this is `trainer.train()`, of a Trainer of a library's."""
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in _STARTS:
            return False
        made = self._parts.value(routine, function.value)
        return isinstance(made, ast.Call) and self.is_trainer(routine, made.func)

    def is_trainer(self, routine: Routine, function: ast.expr) -> bool:
        """Whether a library's Trainer is called, or a class of the user's that derives from one."""
        dotted = self._code.dotted(routine, function)
        if "Trainer" in dotted.rpartition(".")[2] and dotted.startswith(_TRAINERS):
            return True
        made = self._code.class_named(routine, dotted)
        return made is not None and any(self.is_trainer(self._code.top_of(made[0]), base) for base in made[1].bases)


def own_nodes(loop: Loop) -> Iterator[ast.AST]:
    """Nodes of a loop's body, without those of functions and classes that are defined in it."""
    pending: list[ast.AST] = list(loop.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)

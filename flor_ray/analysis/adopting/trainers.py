"""Which statements in the hooks of a Trainer the end of an epoch comes to. Pure: texts in, values out.

class Report(TrainerCallback):
    def on_epoch_end(...): flor.log("norm", ...)       the end of an epoch calls it: answered
    def on_step_end(...): flor.log("grad", ...)        the steps do: refused
def compute_metrics(pred): flor.log("recall", ...)     the evaluation at the end of an epoch does: answered
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.analysis.adopting.functions import Function, ProjectCode, root_of
from flor_ray.analysis.adopting.script import EpochsOf
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source, label_of
from flor_ray.records import Region

AT_END: Mapping[EpochsOf, frozenset[str]] = {
    EpochsOf.HUGGING_FACE: frozenset(
        {"on_epoch_end", "on_evaluate", "compute_metrics", "evaluate", "evaluation_loop", "prediction_step"}
        | {"preprocess_logits_for_metrics", "on_prediction_step"}
    ),
    EpochsOf.LIGHTNING: frozenset(
        {"on_train_epoch_end", "validation_step", "on_validation_epoch_start", "on_validation_epoch_end"}
        | {"on_validation_start", "on_validation_end", "on_validation_batch_start", "on_validation_batch_end"}
    ),
}
IN_STEPS: Mapping[EpochsOf, frozenset[str]] = {
    EpochsOf.HUGGING_FACE: frozenset(
        {"training_step", "compute_loss", "on_step_begin", "on_step_end", "on_substep_end", "on_pre_optimizer_step"}
        | {"on_optimizer_step", "on_log", "forward", "on_epoch_begin", "log"}
    ),
    EpochsOf.LIGHTNING: frozenset(
        {"training_step", "on_train_batch_start", "on_train_batch_end", "on_train_epoch_start", "on_before_backward"}
        | {"on_after_backward", "on_before_optimizer_step", "optimizer_step", "forward", "on_before_zero_grad"}
    ),
}
TRAINS: Mapping[EpochsOf, str] = {EpochsOf.HUGGING_FACE: "train", EpochsOf.LIGHTNING: "fit"}
# What a Trainer carries besides its model: of an adopted run, the states of the latter two may be in its files.
_NEVER_RESTORED = frozenset(
    {"log_history", "best_metric", "best_model_checkpoint", "total_flos", "callback_metrics", "logged_metrics"}
    | {"best_global_step", "num_input_tokens_seen", "progress_bar_metrics", "stateful_callbacks", "trial_params"}
)
_RESTORED_WITH: Mapping[str, frozenset[str]] = {
    "optimizer": frozenset({"optimizer", "optimizers"}),
    "scheduler": frozenset({"lr_scheduler", "lr_schedulers", "scheduler", "get_last_lr", "lr_scheduler_configs"}),
}
_MAKING = frozenset({"__init__", "setup", "configure_model", "configure_optimizers", "prepare_data"})


@dataclass(frozen=True, slots=True)
class HookPlace:
    """Where a feature is logged in a run of a Trainer's."""

    region: Region | None  # PREFIX: before the training; TAIL: at the end of an epoch; None: refused
    why: str = ""  # it is refused


def hook_places(
    epochs_of: EpochsOf, sources: Mapping[str, Source], script: str, names: Sequence[str], held: Iterable[str]
) -> dict[str, HookPlace]:
    """Of each feature, whether the end of an epoch comes to it. `held` are the states that checkpoint files hold."""
    hooks = _Hooks(epochs_of, sources, script, held)
    return {name: hooks.place_of(name) for name in names}


class _Hooks:
    def __init__(self, epochs_of: EpochsOf, sources: Mapping[str, Source], script: str, held: Iterable[str]) -> None:
        self._kind, self._sources, self._script = epochs_of, sources, script
        there = {state.partition(" ")[0] for state in held}
        lost = (words for state, words in _RESTORED_WITH.items() if state not in there)
        self._not_restored = _NEVER_RESTORED.union(*lost)
        self._project = ProjectCode.of(sources)
        self._passed = self._functions_passed()

    def place_of(self, name: str) -> HookPlace:
        calls = {c.node for s in self._sources.values() for c in s.calls if c.function == "log" and c.name == name}
        ends = [f for hook in self._end_hooks() for f in self._project.functions.get(hook, ())]
        steps = [f for hook in sorted(IN_STEPS[self._kind]) for f in self._project.functions.get(hook, ())]
        if any(not calls.isdisjoint(self._own_reach(f)) for f in steps):
            return HookPlace(
                None,
                "it is logged in the steps of an epoch, which would have to be trained again with random states that "
                "nobody kept",
            )
        holding = [f for f in ends if not calls.isdisjoint(self._own_reach(f))]
        if holding:
            carried = sorted({a for f in holding for a in self._carried(f)})
            if carried:
                return HookPlace(
                    None,
                    f"it reads `self.{carried[0]}`, which the training before that epoch has filled, and no checkpoint "
                    "file holds",
                )
            words = {word for f in holding for n in self._own_reach(f) for word in _words_of(n)}
            if lacking := sorted(words & self._not_restored):
                return HookPlace(
                    None, f"it is logged where `{lacking[0]}` is read, of which the checkpoint files hold no state"
                )
            return HookPlace(Region.TAIL)
        return self._outside(calls)

    def _end_hooks(self) -> list[str]:
        return sorted(AT_END[self._kind] | self._passed)

    def _functions_passed(self) -> frozenset[str]:
        """Functions that the Trainer is given to compute metrics."""
        words = {"compute_metrics", "preprocess_logits_for_metrics"}
        return frozenset(
            node.value.id
            for source in self._sources.values()
            for node in source.nodes
            if isinstance(node, ast.keyword) and node.arg in words and isinstance(node.value, ast.Name)
        )

    def _own_reach(self, function: Function) -> set[ast.AST]:
        """What a hook comes to, without other hooks that it only mentions the names of."""
        names = {*IN_STEPS[self._kind], *AT_END[self._kind]} - {function.name}
        pending, found, seen = [function], set[ast.AST](), set[str]()
        while pending:
            words = set()
            for node in walk(pending.pop()):
                found.add(node)
                if isinstance(node, ast.Call):
                    words.add(label_of(node.func))
            pending += [f for word in sorted(words - seen - names) for f in self._project.functions.get(word, ())]
            seen |= words
        return found

    def _carried(self, hook: Function) -> set[str]:
        """Attributes of its own object that a hook reads, and that the training has filled."""
        owner = next(
            (c for each in self._project.classes.values() for c in each if hook in c.body),
            None,
        )
        if owner is None:
            return set()
        read = {n.attr for n in self._own_reach(hook) if isinstance(n, ast.Attribute) and root_of(n) == "self"}
        methods = [m for m in owner.body if isinstance(m, Function)]
        ends = [m for m in methods if m.name in AT_END[self._kind]]
        others = [m for m in methods if m.name not in AT_END[self._kind] | _MAKING]
        filled = set().union(*(_filled(m) for m in others)) if others else set()
        at_end = set().union(*(_filled(m) for m in ends)) if ends else set()
        anew = set().union(*(_anew(m) for m in ends)) if ends else set()
        return read & (filled | (at_end - anew))

    def _outside(self, calls: set[ast.Call]) -> HookPlace:
        """Statements of the script itself: before or after the call that trains."""
        nodes = self._sources[self._script].nodes if self._script in self._sources else ()
        trains = [
            n.lineno
            for n in nodes
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == TRAINS[self._kind]
            if "train" in ast.unparse(n.func.value).lower()
        ]
        own = [n for n in nodes if n in calls]
        if trains and len(own) == len(calls):
            if all(call.lineno < min(trains) for call in own):
                return HookPlace(Region.PREFIX)
            if all(call.lineno > max(trains) for call in own):
                return HookPlace(
                    None,
                    "it is logged after the training, which an adopted run cannot come to: log it at the end of an "
                    "epoch, and look at the last one",
                )
        return HookPlace(None, f"nobody can tell whether the end of an epoch of {self._kind.value} comes to it")


def _words_of(node: ast.AST) -> tuple[str, ...]:
    """Names that code reads, also as `more["optimizer"]`, and parameters that a Trainer fills by their names."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (node.attr,)
    return (node.value,) if isinstance(node, ast.Constant) and isinstance(node.value, str) else ()


def _filled(method: Function) -> set[str]:
    """Attributes of `self` that a method assigns or calls methods of."""
    found = set()
    for node in walk(method):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and root_of(node) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and root_of(node) == "self":
            found |= {n.attr for n in walk(node.value) if isinstance(n, ast.Attribute)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _FILLS & {node.func.attr}:
            inner = node.func.value
            if isinstance(inner, ast.Attribute) and root_of(inner) == "self":
                found.add(inner.attr)
    return found


_FILLS = {"append", "extend", "add", "update", "insert", "setdefault", "pop", "popleft", "appendleft"}


def _anew(method: Function) -> set[str]:
    """Attributes of `self` that a method makes anew or empties."""
    found = set()
    for node in walk(method):
        if isinstance(node, ast.Assign):
            found |= {t.attr for t in node.targets if isinstance(t, ast.Attribute) and root_of(t) == "self"}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inner = node.func.value
            if node.func.attr in ("clear", "reset") and isinstance(inner, ast.Attribute) and root_of(inner) == "self":
                found.add(inner.attr)
    return found

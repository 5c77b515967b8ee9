"""What in a script is a model, an optimizer, a scheduler: by how it is made, or else by what is done with it. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.proposing.codebase import Codebase, Function, Routine, label
from flor_ray.analysis.scopes import Namespace


class PartKind(StrEnum):
    """What an object is to a training."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    SCHEDULER = "scheduler"
    SCALER = "gradient scaler"
    STATEFUL = "object with a state_dict"


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """An object that checkpoints should hold."""

    name: str  # as it is written where the main loop stands: `model`, `self.model`
    kind: PartKind
    why: str  # "made by torch.optim.Adam (line 7)"
    is_made: bool  # how it is made tells; else how it is used


_OPTIMIZERS = frozenset(
    {
        *("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam", "Adagrad", "Adadelta", "Adafactor", "ASGD"),
        *("LBFGS", "RMSprop", "Rprop", "Lion", "LAMB", "Lamb", "LARS", "Muon", "AdaBelief", "Shampoo", "SOAP"),
    }
)
_WRAPPERS = frozenset({"compile", "DataParallel", "DistributedDataParallel", "DDP", "FSDP", "deepcopy", "script"})
_SAME = frozenset({"to", "cuda", "cpu", "half", "float", "double", "bfloat16", "train", "eval", "requires_grad_"})
_CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
_LAYERS = re.compile(r"(Linear|Bilinear|Embedding|EmbeddingBag|LSTM|GRU|RNN|Transformer\w*|Conv\w*)$")
_MODEL_MAKERS = ("torchvision.models.", "timm.create_model", "torch.hub.load", "segmentation_models_pytorch.")
_OPTIMIZER_NAME = re.compile(r"(?:^|_|\.)(?:opt|optim|optimizer)(?:_|$|[A-Z0-9])", re.IGNORECASE)
_SCHEDULER_NAME = re.compile(r"(?:^|_|\.)(?:sched|scheduler|lr_scheduler)(?:_|$|[A-Z0-9])", re.IGNORECASE)
_MODEL_NAME = re.compile(
    r"(?:^|_|\.)(?:model|net|network|encoder|decoder|generator|discriminator|agent|policy|actor|critic|classifier)"
    r"(?:_|$|[A-Z0-9])",
    re.IGNORECASE,
)
_DEPTH = 6  # calls that a name is followed through


class TrainingParts:
    """The parts of a script's training."""

    def __init__(self, code: Codebase) -> None:
        self._code = code

    # --- by how it is made ------------------------------------------------------------------------------------------

    def kind_of_call(self, routine: Routine, call: ast.Call, depth: int = 0) -> PartKind | None:
        """What a call makes, if that is a part."""
        name, dotted = label(call), self._code.dotted(routine, call.func)
        if name in _WRAPPERS and call.args:
            return self._kind_of_value(routine, call.args[0], depth + 1)
        if isinstance(call.func, ast.Attribute) and name in _SAME:
            return self._kind_of_value(routine, call.func.value, depth + 1)
        if "lr_scheduler" in dotted or re.search(r"(LR|Scheduler|Restarts)$|^get_\w*schedule", name):
            return PartKind.SCHEDULER
        if name == "GradScaler":
            return PartKind.SCALER
        if name in _OPTIMIZERS or (name.endswith("Optimizer") and name[:1].isupper()):
            return PartKind.OPTIMIZER
        if dotted.startswith("torch.optim.") and name[:1].isupper():
            return PartKind.OPTIMIZER
        return PartKind.MODEL if self.makes_model(routine, call) else None

    def makes_model(self, routine: Routine, call: ast.Call) -> bool:
        """Whether a call makes a new model, rather than something of one that is there."""
        name, dotted = label(call), self._code.dotted(routine, call.func)
        if dotted.startswith("torch.nn.") and (name in _CONTAINERS or _LAYERS.search(name)):
            return True
        if dotted.startswith(_MODEL_MAKERS) or (
            name in ("from_pretrained", "from_config") and re.search(r"Model|For[A-Z]", dotted)
        ):
            return True
        if dotted.startswith("transformers.") and re.search(r"Model$|For[A-Z]\w+$|HeadModel$", name):
            return True
        made = self._code.class_named(routine, ast.unparse(call.func)) or self._code.class_named(routine, dotted)
        return made is not None and self._is_module(*made)

    def _is_module(self, path: str, made: ast.ClassDef, depth: int = 0) -> bool:
        top = self._code.top_of(path)
        for base in made.bases:
            dotted = self._code.dotted(top, base)
            if dotted in ("torch.nn.Module", "nn.Module") or dotted.rpartition(".")[2] in (
                "LightningModule",
                "PreTrainedModel",
            ):
                return True
            if dotted.startswith("torch.nn.") and "Loss" not in dotted:
                return True
            found = self._code.class_named(top, dotted) if depth < _DEPTH else None
            if found is not None and self._is_module(*found, depth + 1):
                return not made.name.endswith("Loss")
        return False

    def _kind_of_value(self, routine: Routine, value: ast.expr, depth: int) -> PartKind | None:
        if depth > _DEPTH:
            return None
        if isinstance(value, ast.Call):
            return self.kind_of_call(routine, value, depth)
        if isinstance(value, ast.IfExp):
            return self._kind_of_value(routine, value.body, depth) or self._kind_of_value(routine, value.orelse, depth)
        if isinstance(value, ast.Name | ast.Attribute):
            found = self._by_making(routine, value, depth + 1)
            return found[0] if found is not None else None
        return None

    def value(self, routine: Routine, node: ast.expr) -> ast.expr | None:
        """What a name or `self.name` was given, if it is given one value."""
        if not isinstance(node, ast.Name | ast.Attribute):
            return node
        values = [value for _, value, _ in self._values(routine, node)]
        return values[-1] if values else None

    def _values(self, routine: Routine, node: ast.expr) -> Iterator[tuple[Routine, ast.expr, int | None]]:
        """Expressions that a name is bound to, the routine that evaluates them, and the place in a tuple of each."""
        holder = self.holder(routine, node)
        if holder is None:
            return
        key = ast.unparse(node)
        for where in holder:
            for statement in walk(where.node):
                if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                    for target in targets:
                        for place, one in _targets(target):
                            if ast.unparse(one) == key and self._is_same_variable(routine, where, one, key):
                                yield self._around(where, statement), *_picked(statement.value, place)

    def holder(self, routine: Routine, node: ast.expr) -> list[Routine] | None:
        """The routines in which a variable is bound: the module or function that owns it, or the methods of `self`."""
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self" and routine.owner is not None:
                return [r for r in self._code.routines if r.path == routine.path and r.owner is routine.owner]
            return None
        if not isinstance(node, ast.Name):
            return None
        owner = self._code.scope(routine).owner(node.id)
        if owner is None or not isinstance(owner.node, ast.Module | Function):
            return None
        return [next((r for r in self._code.routines if r.node is owner.node), Routine(routine.path, owner.node))]

    def _is_same_variable(self, routine: Routine, where: Routine, one: ast.expr, key: str) -> bool:
        """Whether an assignment below a routine's node binds that routine's variable, and not a namesake's."""
        if isinstance(one, ast.Attribute):
            return True
        inner = self._scope_around(where, one)
        return inner is not None and inner.owner(key) is self._code.scope(where)

    def _scope_around(self, where: Routine, node: ast.AST) -> Namespace | None:
        source = self._code.texts[where.path].source
        best: Namespace | None = None
        for scope in source.scopes:
            if scope.kind in ("module", "function") and _spans(scope.node, node):
                best = scope
        return best

    def _around(self, where: Routine, node: ast.AST) -> Routine:
        inside = [r for r in self._code.routines if r.path == where.path and _spans(r.node, node)]
        return inside[-1] if inside else where

    def _by_making(self, routine: Routine, node: ast.expr, depth: int = 0) -> tuple[PartKind, str] | None:
        if depth > _DEPTH:
            return None
        for where, value, place in self._values(routine, node):
            line = value.lineno
            if place is None:
                kind = self._kind_of_value(where, value, depth + 1) if not _mentions(value, node) else None
                if kind is None and isinstance(value, ast.Call):
                    kind = self._returned(where, value, None, depth + 1)
                if kind is not None:
                    return kind, f"{_shortened(value)}, line {line}"
            elif isinstance(value, ast.Call):
                if label(value) == "prepare" and place < len(value.args):
                    if ast.unparse(value.args[place]) != ast.unparse(node):
                        kind = self._kind_of_value(where, value.args[place], depth + 1)
                        if kind is not None:
                            return kind, f"prepared in line {line}"
                else:
                    kind = self._returned(where, value, place, depth + 1)
                    if kind is not None:
                        return kind, f"{_shortened(value)}, line {line}"
        return None

    def _returned(self, routine: Routine, call: ast.Call, place: int | None, depth: int) -> PartKind | None:
        """What a function of the user's returns."""
        if depth > _DEPTH:
            return None
        for callee in self._code.callees(routine, call):
            if callee.name in ("__init__", ""):
                continue
            for each in walk(callee.node):
                if isinstance(each, ast.Return) and each.value is not None:
                    value, at = _picked(each.value, place)
                    kind = self._kind_of_value(callee, value, depth + 1) if at is None else None
                    if kind is not None:
                        return kind
        return None

    # --- by what is done with it --------------------------------------------------------------------------------------

    def kind(self, routine: Routine, node: ast.expr) -> PartKind | None:
        """What a name, or `self.name`, is to the training."""
        found = self.part(routine, node)
        return found.kind if found is not None else None

    def part(self, routine: Routine, node: ast.expr) -> TrainingPart | None:
        """The part that a name stands for."""
        if isinstance(node, ast.Call):
            made = self.kind_of_call(routine, node)
            return TrainingPart("", made, _shortened(node), True) if made is not None else None
        if not isinstance(node, ast.Name | ast.Attribute):
            return None
        by_making = self._by_making(routine, node)
        if by_making is not None:
            return TrainingPart(ast.unparse(node), by_making[0], by_making[1], True)
        by_use = self._by_use(routine, node, 0)
        return TrainingPart(ast.unparse(node), by_use[0], by_use[1], False) if by_use is not None else None

    def _by_use(self, routine: Routine, node: ast.expr, depth: int) -> tuple[PartKind, str] | None:
        key = ast.unparse(node)
        found: dict[str, int] = {}
        handed: list[tuple[Routine, str]] = []
        for where in self.holder(routine, node) or ():
            for call in walk(where.node):
                if not isinstance(call, ast.Call):
                    continue
                if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == key:
                    if call.func.attr not in ("train", "eval") or not call.args:
                        found.setdefault(call.func.attr, call.lineno)
                elif ast.unparse(call.func) == key and _MODEL_NAME.search(key) and self._is_object(routine, node):
                    found.setdefault("__call__", call.lineno)
                elif depth < _DEPTH:
                    handed += self._handed(where, call, key)
        kind = _kind_of_uses(found, key)
        if kind is not None:
            word = next(name for name in _TELLING if name in found)
            return kind, f"{key}{'' if word == '__call__' else f'.{word}'}() in line {found[word]}"
        for callee, parameter in dict.fromkeys(handed):
            inner = self._by_use(callee, ast.Name(parameter, ast.Load()), depth + 1)
            if inner is not None:
                return inner[0], f"{inner[1]} of {callee.name}"
        return None

    def _is_object(self, routine: Routine, node: ast.expr) -> bool:
        """Whether a name is given a value, rather than being a function's or an import's."""
        held = self.holder(routine, node) or []
        return self.value(routine, node) is not None or any(ast.unparse(node) in each.parameters for each in held)

    def _handed(self, routine: Routine, call: ast.Call, key: str) -> Iterator[tuple[Routine, str]]:
        """Parameters of the user's functions that get a variable by this call."""
        for callee in self._code.callees(routine, call):
            names = callee.parameters
            for position, given in enumerate(call.args):
                if position < len(names) and ast.unparse(given) == key:
                    yield callee, names[position]
            for keyword in call.keywords:
                if keyword.arg is not None and ast.unparse(keyword.value) == key:
                    yield callee, keyword.arg


_TELLING = (
    *("zero_grad", "step", "partial_fit", "parameters", "named_parameters", "train", "eval"),
    *("__call__", "load_state_dict", "state_dict"),
)


def _kind_of_uses(found: Iterable[str], key: str) -> PartKind | None:
    uses = set(found)
    if "step" in uses and ("zero_grad" in uses or _OPTIMIZER_NAME.search(key)):
        return PartKind.OPTIMIZER
    if "step" in uses and _SCHEDULER_NAME.search(key):
        return PartKind.SCHEDULER
    if uses & {"parameters", "named_parameters", "partial_fit"}:
        return PartKind.MODEL
    if {"train", "eval"} <= uses or ("train" in uses and re.search(r"model|net", key, re.IGNORECASE)):
        return PartKind.MODEL
    if "__call__" in uses:
        return PartKind.MODEL
    if uses & {"load_state_dict", "state_dict"}:
        return PartKind.STATEFUL
    return None


def _targets(target: ast.expr) -> Iterator[tuple[int | None, ast.expr]]:
    if isinstance(target, ast.Tuple | ast.List):
        yield from enumerate(target.elts)
    else:
        yield None, target


def _picked(value: ast.expr, place: int | None) -> tuple[ast.expr, int | None]:
    """The part of a tuple at a place; the whole, and the place, of what is none."""
    if place is not None and isinstance(value, ast.Tuple | ast.List) and place < len(value.elts):
        return value.elts[place], None
    return value, place


def _mentions(value: ast.expr, node: ast.expr) -> bool:
    key = ast.unparse(node)
    return any(isinstance(each, ast.Name | ast.Attribute) and ast.unparse(each) == key for each in walk(value))


def _spans(outer: ast.AST, inner: ast.AST) -> bool:
    if isinstance(outer, ast.Module):
        return True
    first, last = getattr(outer, "lineno", 0), getattr(outer, "end_lineno", 0)
    line = getattr(inner, "lineno", 0)
    body = getattr(outer, "body", None)
    if not isinstance(body, list):
        return first == line and outer is inner
    return first <= line <= last and line >= body[0].lineno


def _shortened(value: ast.expr) -> str:
    text = ast.unparse(value.func if isinstance(value, ast.Call) else value)
    return f"{text}(...)" if isinstance(value, ast.Call) else text

"""When a Trainer of Hugging Face's or Lightning's calls what the user has given it: its hooks, by their names.

    trainer.fit(...)     before ─> for each epoch: head ─> for each step: inner ─> tail ─> after
    trainer.evaluate()   evaluation, wherever that call stands

An evaluation may also come in the middle of an epoch, unless the files say that it comes at epochs' ends. Ray Train's
trainer knows no epochs: it calls one function, which has the loops.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from flor_ray.analysis.phases.syntax import last_label

TRAINS = frozenset({"fit", "train"})
EVALUATES = frozenset({"evaluate", "validate"})
TESTS = frozenset({"test", "predict"})

BEFORE, HEAD, INNER, TAIL, AFTER, EVALUATION, TESTING = (
    "trainer before",
    "trainer head",
    "trainer inner",
    "trainer tail",
    "trainer after",
    "trainer evaluation",
    "trainer testing",
)
_BY_PHASE: Mapping[str, str] = {
    BEFORE: """setup prepare_data configure_model configure_optimizers configure_callbacks configure_sharded_model
        on_fit_start on_train_start on_train_begin on_init_end train_dataloader val_dataloader get_train_dataloader
        create_optimizer create_scheduler create_optimizer_and_scheduler""",
    HEAD: "on_epoch_begin on_train_epoch_start train_dataloader",
    INNER: """training_step compute_loss on_step_begin on_substep_end on_pre_optimizer_step on_optimizer_step
        on_step_end
        on_train_batch_start on_train_batch_end on_before_backward on_after_backward on_before_optimizer_step
        on_before_zero_grad optimizer_step optimizer_zero_grad backward configure_gradient_clipping
        lr_scheduler_step get_batch_samples transfer_batch_to_device on_before_batch_transfer
        on_after_batch_transfer""",
    TAIL: "on_epoch_end on_train_epoch_end lr_scheduler_step",
    EVALUATION: """validation_step on_validation_start on_validation_end on_validation_epoch_start
        on_validation_epoch_end on_validation_batch_start on_validation_batch_end on_validation_model_eval
        on_validation_model_train on_validation_model_zero_grad on_evaluate on_prediction_step prediction_step
        evaluation_loop compute_loss val_dataloader get_eval_dataloader transfer_batch_to_device
        on_before_batch_transfer on_after_batch_transfer""",
    AFTER: "on_train_end on_fit_end",
    TESTING: """test_step on_test_start on_test_end on_test_epoch_start on_test_epoch_end on_test_batch_start
        on_test_batch_end test_dataloader predict_step on_predict_start on_predict_end on_predict_epoch_start
        on_predict_epoch_end on_predict_batch_start on_predict_batch_end predict_dataloader prediction_step
        evaluation_loop on_prediction_step on_predict compute_loss get_test_dataloader""",
}
PHASES: Mapping[str, frozenset[str]] = {
    name: frozenset(phase for phase, names in _BY_PHASE.items() if name in names.split())
    for names in _BY_PHASE.values()
    for name in names.split()
}
"""By the name of a method, when it is called."""
# Called at other times as well, or at times that the names of no hook tell.
_OTHERS = """log log_dict on_log on_save on_save_checkpoint on_load_checkpoint forward teardown on_exception evaluate
    predict
    save_model state_dict load_state_dict floating_point_ops store_flos train test call_model_init num_examples
    print all_gather to_torchscript to_onnx manual_backward lr_schedulers optimizers freeze unfreeze toggle_optimizer
    untoggle_optimizer on_push_begin on_sanity_check_start on_sanity_check_end get_decay_parameter_names
    configure_sharded_model state_key from_state state on_hpu_start"""
_ANY_TIME = frozenset(_OTHERS.split())
HANDED: Mapping[str, frozenset[str]] = {
    "compute_metrics": frozenset({EVALUATION, TESTING}),
    "preprocess_logits_for_metrics": frozenset({EVALUATION, TESTING}),
    "compute_loss_func": frozenset({INNER, EVALUATION, TESTING}),
}
"""By the name of an argument that a Trainer is made with, when the function is called that is given for it."""
_MIDDLE = re.compile(r"""\b(?:val_check_interval|eval_on_start)\b""")
_STRATEGY = re.compile(r"""\b(?:eval_strategy|evaluation_strategy)["']?\s*[=:]\s*(["']?[\w.]+["']?)""")
_AT_ENDS = frozenset({'"epoch"', "'epoch'", '"no"', "'no'", "IntervalStrategy.EPOCH", "IntervalStrategy.NO"})
_BASES = re.compile(r"(?:Trainer|Callback|LightningModule|LightningDataModule)$")
# Of these the names of all methods that the library calls are known: others are the user's own.
_KNOWN_BASES = frozenset(
    {"Trainer", "Seq2SeqTrainer", "Callback", "TrainerCallback", "LightningModule", "LightningDataModule"}
)


def is_base(label: str) -> bool:
    """Whether a library's class of this name is one whose methods a Trainer calls."""
    return _BASES.search(label) is not None


def may_be_called_anytime(label: str, method: str) -> bool:
    """Whether a method that is no known hook may be called by the library, of a class that derives from `label`."""
    if label not in _KNOWN_BASES or method in _ANY_TIME or method.startswith("on_"):
        return True
    return label.endswith("Trainer") and method.startswith("_")


def evaluates_at_ends(texts: Iterable[str]) -> bool:
    """Whether evaluations within the training surely come at epochs' ends."""
    said: list[str] = []
    hugging_face = False
    for text in texts:
        if _MIDDLE.search(text):
            return False
        said += _STRATEGY.findall(text)
        hugging_face |= "transformers" in text
    return (bool(said) or not hugging_face) and _AT_ENDS.issuperset(said)


def evaluates_first(texts: Iterable[str]) -> bool:
    """Whether an evaluation may come before the first epoch."""
    return any("eval_on_start" in text for text in texts)


class TrainerNames:
    """What in a file stands for a Trainer."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        nodes = tuple(nodes)
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self._classes: set[str] = set()
        grown = True
        while grown:
            before = len(self._classes)
            self._classes |= {each.name for each in classes if any(map(self._is_class, each.bases))}
            grown = len(self._classes) > before
        assigned = [node for node in nodes if isinstance(node, ast.Assign) and self.makes(node.value)]
        self._variables = {last_label(target) for node in assigned for target in node.targets}

    def _is_class(self, node: ast.expr) -> bool:
        label = last_label(node)
        return label.endswith("Trainer") or label in self._classes

    def makes(self, node: ast.AST) -> bool:
        """Whether an expression is a call that makes one."""
        return isinstance(node, ast.Call) and self._is_class(node.func)

    def is_one(self, node: ast.expr) -> bool:
        """Whether an expression is one: made here, or a variable or attribute that is called so."""
        if isinstance(node, ast.Call):
            return self.makes(node)
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        label = last_label(node)
        return label in self._variables or "trainer" in label.lower()

    def called(self, node: ast.Call) -> str:
        """The method that is called, if it is one of a Trainer's; else ""."""
        function = node.func
        return function.attr if isinstance(function, ast.Attribute) and self.is_one(function.value) else ""


def functions_fitted(nodes: Iterable[ast.AST]) -> Mapping[ast.Call, ast.Name]:
    """By the call `fit()` of a trainer of Ray Train's, the function that it calls once in each worker."""
    nodes = tuple(nodes)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    made = {call: function for call in calls if (function := _function_given(call)) is not None}
    held = [node for node in nodes if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load)]
    names = {
        node.targets[0].id: node.value
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.value in made
    }
    found: dict[ast.Call, ast.Name] = {}
    for call in calls:
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "fit":
            continue
        trainer: ast.AST | None = call.func.value
        if isinstance(trainer, ast.Name):
            is_bound_once = sum(last_label(node) == trainer.id for node in held) == 1
            trainer = names.get(trainer.id) if is_bound_once else None
        if isinstance(trainer, ast.Call) and trainer in made:
            found[call] = made[trainer]
    once = [function for function in made.values() if list(found.values()).count(function) == 1]
    return {call: function for call, function in found.items() if function in once}


def _function_given(call: ast.Call) -> ast.Name | None:
    """What a call that makes such a trainer gives it to call."""
    if last_label(call.func) != "TorchTrainer":
        return None
    named = [keyword.value for keyword in call.keywords if keyword.arg == "train_loop_per_worker"]
    given = (named + call.args)[0] if named or call.args else None
    return given if isinstance(given, ast.Name) else None

"""A Hugging Face Trainer's epochs as our main loop.

    Trainer.train ─ _inner_training_loop ─ CallbackHandler.on_epoch_begin ─> TrainerLoops.begin_epoch
                                         └ _run_epoch, of the epoch that has begun; a replay goes on to others in here
                                              └ on_epoch_end ─> the steps are over, or (a replay skips them) put back

Patched are methods of its classes, not events of a callback: an epoch has begun before any other callback hears of it.
A Trainer takes part if it has a `HuggingFaceCallback`. Releases of transformers without `_run_epoch` (before 5) have no
checkpoints of ours.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Hashable, Mapping
from types import FrameType, SimpleNamespace
from typing import Any, cast

from flor_ray.automatic.driving import TrainerLoops, in_library
from flor_ray.state import stateful
from flor_ray.state.driven import (
    DrivenLoop,
    Machinery,
    attributes_place,
    data_parts,
    generators_in,
    values_place,
)

_STAY = ("model", "model_wrapped", "optimizer", "lr_scheduler", "train_dataset", "eval_dataset", "data_collator")
_FUNCTIONS = ("compute_metrics", "compute_loss_func", "model_init", "preprocess_logits_for_metrics", "data_collator")
_LOADER = "train_dataloader"
_SELF = re.compile(r"\bself\.(\w+)\b(?:\s*:[^=\n]+)?\s*(?:=(?!=)|[-+*/]=|,)")


class HuggingFaceEpochs:
    """The epochs of one Trainer after another; `owner` is the callback that has them."""

    def __init__(self) -> None:
        self.loops = TrainerLoops()
        self._trainer: Any = None
        self._offset = 0  # the trainer's number of our first epoch: it may go on from a checkpoint of its own
        self._first: int | None = None
        self.passed = SimpleNamespace(grad_norm=None, learning_rate=None)  # of the last step, told at the epoch's end
        self._skips = False

    def train(self, trainer: Any, run: Callable[[], Any]) -> Any:
        """The whole training."""
        self.loops.abandon()  # one that ended by an exception
        self._trainer, self._first = trainer, None
        self.loops = TrainerLoops(self._state if _can_jump(type(trainer)) else None)
        try:
            return run()
        except BaseException:
            self.loops.abandon()
            raise

    def run(self, run_epoch: Callable[..., None], named: Mapping[str, Any]) -> None:
        """The epoch that has begun; in a replay, all that it wants."""
        loops, trainer = self.loops, self._trainer
        if self._first is None:
            self._first = self._offset = named["epoch"]
        while not loops.is_over:
            steering = loops.steering
            self._skips = steering.skips_steps
            here = {**named, "epoch": self._offset + loops.epoch - 1}
            run_epoch(**(here | {"num_update_steps_per_epoch": 0} if self._skips else here))
            self._skips = False
            if not steering.jumps:
                if trainer.control.should_training_stop or here["epoch"] + 1 >= trainer.state.num_train_epochs:
                    loops.end()
                return
            handler = trainer.callback_handler
            trainer.control = handler.on_epoch_begin(trainer.args, trainer.state, trainer.control)
        trainer.control.should_training_stop = True

    def end_steps(self) -> None:
        """The steps of an epoch are over, or were not run."""
        if self._skips:
            self.loops.skip_steps()
        else:
            self.loops.end_steps()

    def reported(self, grad_norm: Any, learning_rate: Any) -> tuple[Any, Any]:
        """What a Trainer reports of its last step: where its steps were not run, what it was then."""
        if self._skips:
            return self.passed.grad_norm, self.passed.learning_rate
        self.passed.grad_norm, self.passed.learning_rate = grad_norm, learning_rate
        return grad_norm, learning_rate

    def _state(self, frame: FrameType) -> DrivenLoop:
        trainer = self._trainer
        own = _names_of_the_librarys(cast(Hashable, type(trainer)))
        handler, accelerator = trainer.callback_handler, trainer.accelerator
        loader = handler.train_dataloader
        callbacks = {f"{at} {type(each).__name__}": each for at, each in enumerate(handler.callbacks)}
        users = {name: each for name, each in callbacks.items() if not in_library(type(each))}
        others = {name: each for name, each in callbacks.items() if name not in users}
        others = {name: each for name, each in others.items() if not _is_ours(each)}
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        targets = {"model": trainer.model, "optimizer": optimizer, "scheduler": scheduler, "scaler": accelerator.scaler}
        targets |= {
            f"{name}.{key}": value
            for name, each in others.items()
            for key, value in vars(each).items()
            if stateful.is_module(value)
        }

        def parts() -> dict[str, Any]:
            found = {"trainer": trainer, "args": trainer.args, "state": trainer.state, "control": trainer.control}
            found |= {"accelerator": accelerator, "gradient_state": accelerator.gradient_state, "passed": self.passed}
            found |= others | data_parts(loader, _LOADER)
            wrapped = {"optimizer": trainer.optimizer} if trainer.optimizer is not optimizer else {}
            return found | wrapped

        def held() -> dict[str, Any]:
            found = {name: getattr(trainer, name, None) for name in _STAY}
            return found | dict(_numbered(handler.callbacks))

        generators = generators_in(data_parts(loader, _LOADER))
        functions = {name: value for name in _FUNCTIONS if (value := getattr(trainer, name, None)) is not None}
        data = {name: getattr(trainer, name, None) for name in ("train_dataset", "eval_dataset")}
        data |= {f"{name}.dataset": part.dataset for name, part in _with_data(data_parts(loader, _LOADER))}
        machinery = Machinery(parts, held, lambda part: own if part is trainer else None, data)
        fixed = {"trainer": trainer, "args": trainer.args, "state": trainer.state, "accelerator": accelerator}
        fixed |= {"handler": handler, "loader": loader, "wrapped": trainer.model_wrapped}
        fixed |= {f"wrapped {name}": getattr(trainer, name) for name in ("optimizer", "lr_scheduler")}
        fixed = {name: value for name, value in fixed.items() if all(value is not each for each in targets.values())}
        places = (
            attributes_place("trainer", trainer, lambda name: name not in own),
            values_place("callbacks", users),
            values_place("functions", functions),
            values_place("data", data | {"class": type(trainer)}),
        )
        targets = {name: value for name, value in (targets | generators).items() if value is not None}
        return DrivenLoop(frame, targets | {"machinery": machinery}, places, fixed)


def _numbered(callbacks: list[Any]) -> list[tuple[str, Any]]:
    return [(f"callback {at} ({type(each).__name__})", each) for at, each in enumerate(callbacks)]


def _with_data(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in parts.items() if "dataset" in vars(part)]


@functools.cache
def _names_of_the_librarys(kind: Hashable) -> frozenset[str]:
    """Attributes of a Trainer that the library's own classes set."""
    classes = [each for each in inspect.getmro(cast(type, kind)) if in_library(each) and each is not object]
    return frozenset(name for each in classes for name in _SELF.findall(inspect.getsource(each)))


def _can_jump(kind: Any) -> bool:
    return hasattr(kind, "_run_epoch") and hasattr(kind, "_inner_training_loop")


def _is_ours(callback: Any) -> bool:
    return isinstance(getattr(callback, "epochs", None), HuggingFaceEpochs)


def epochs_of(handler: Any) -> HuggingFaceEpochs | None:
    """Those of the first callback of ours: `autolog` adds one, and the script may have added its own."""
    return next((each.epochs for each in handler.callbacks if _is_ours(each)), None)


def patch(trainer: Any) -> None:
    """Make the Trainers of the module `transformers.trainer` say where they are. Does nothing the second time."""
    if not getattr(trainer.Trainer, "_flor_ray", False):
        trainer.Trainer._flor_ray = True
        _patch_trainer(trainer.Trainer)
        _patch_handler(trainer.CallbackHandler)


def _patch_trainer(trainer: Any) -> None:
    inner, run_epoch, report = (
        getattr(trainer, name, None) for name in ("_inner_training_loop", "_run_epoch", "_maybe_log_save_evaluate")
    )
    if inner is None or run_epoch is None or report is None:
        return

    @functools.wraps(inner)
    def train(self: Any, *arguments: Any, **named: Any) -> Any:
        epochs = epochs_of(self.callback_handler)
        whole = functools.partial(inner, self, *arguments, **named)
        return whole() if epochs is None else epochs.train(self, whole)

    @functools.wraps(run_epoch)
    def run(self: Any, **named: Any) -> None:
        epochs = epochs_of(self.callback_handler)
        one = functools.partial(run_epoch, self)
        if epochs is None:
            one(**named)
        else:
            epochs.run(one, named)

    @functools.wraps(report)
    def told(self: Any, tr_loss: Any, grad_norm: Any, *rest: Any, learning_rate: Any = None, **named: Any) -> None:
        epochs = epochs_of(self.callback_handler)
        if epochs is not None:
            grad_norm, learning_rate = epochs.reported(grad_norm, learning_rate)
        report(self, tr_loss, grad_norm, *rest, learning_rate=learning_rate, **named)

    trainer._inner_training_loop, trainer._run_epoch, trainer._maybe_log_save_evaluate = train, run, told


def _patch_handler(handler: Any) -> None:
    begins, ends = handler.on_epoch_begin, handler.on_epoch_end

    @functools.wraps(begins)
    def on_epoch_begin(self: Any, args: Any, state: Any, control: Any) -> Any:
        epochs = epochs_of(self)
        if epochs is not None:
            epochs.loops.begin_epoch()
            if epochs.loops.is_over:  # it is no epoch that begins
                return control
        return begins(self, args, state, control)

    @functools.wraps(ends)
    def on_epoch_end(self: Any, args: Any, state: Any, control: Any) -> Any:
        epochs = epochs_of(self)
        if epochs is not None:
            epochs.end_steps()
        return ends(self, args, state, control)

    handler.on_epoch_begin, handler.on_epoch_end = on_epoch_begin, on_epoch_end

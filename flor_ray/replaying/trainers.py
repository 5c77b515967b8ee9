"""Epochs of Trainers in replays of adopted versions: none is trained, and the end of each comes as it did.

    Hugging Face   Trainer.train()    state restored ─> on_epoch_end, evaluate() if it did that after epochs
    Lightning      Trainer.fit(...)   its own fit loop, whose batches are left out: validation, on_train_epoch_end

Both are stood in for when their library has been imported. What the libraries' own callbacks would do (save, report,
stop early) is left out.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

from flor_ray.analysis.adopting.script import EpochsOf
from flor_ray.errors import ReplayError
from flor_ray.recording.session import CheckpointOptions, Session

_LIGHTNINGS = ("lightning.pytorch", "pytorch_lightning")
_MODEL, _OPTIMIZER, _SCHEDULER = "model", "optimizer", "scheduler"  # in checkpoints of ours


def stand_in(epochs_of: str, epochs: int, session: Session, script: str) -> None:
    """From now on, who runs the epochs runs none. `script` is the text of the version's script."""
    if epochs_of == EpochsOf.HUGGING_FACE:
        trainer = importlib.import_module("transformers").Trainer
        trainer.train = lambda self, *given, **named: _hugging_face(self, epochs, session)
    elif epochs_of == EpochsOf.LIGHTNING:
        for name in _LIGHTNINGS:
            if name in script or (name.rpartition(".")[0] and name.partition(".")[0] in script):
                _lightning(name, epochs, session)


def _hugging_face(trainer: Any, epochs: int, session: Session) -> None:
    strategy = str(getattr(trainer.args.eval_strategy, "value", trainer.args.eval_strategy))
    if strategy == "steps" and trainer.compute_metrics is not None:
        raise ReplayError(
            "This Trainer evaluates after steps, and not when an epoch ends: nothing that its evaluation logs can be "
            "answered of an adopted version."
        )
    handler = trainer.callback_handler
    handler.callbacks = [each for each in handler.callbacks if not type(each).__module__.startswith("transformers.")]
    args, state = trainer.args, trainer.state
    per_epoch = -(-len(trainer.get_train_dataloader()) // args.gradient_accumulation_steps)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    state.max_steps, state.num_train_epochs = steps, math.ceil(steps / per_epoch)
    trainer.create_optimizer_and_scheduler(steps)
    handler.optimizer, handler.lr_scheduler = trainer.optimizer, trainer.lr_scheduler
    targets = {_MODEL: trainer.model, _OPTIMIZER: trainer.optimizer, _SCHEDULER: trainer.lr_scheduler}
    session.add_targets(targets, CheckpointOptions())
    for epoch in session.loop("epoch", range(1, epochs + 1), sys._getframe()):
        trainer.model.train()
        state.epoch, state.global_step = float(epoch), epoch * per_epoch
        trainer.control = handler.on_epoch_end(args, state, trainer.control)
        if strategy == "epoch":
            trainer.evaluate()


def _lightning(name: str, epochs: int, session: Session) -> None:
    importlib.import_module(name)
    fit = importlib.import_module(f"{name}.loops.fit_loop")._FitLoop
    batches = importlib.import_module(f"{name}.loops.training_epoch_loop")._TrainingEpochLoop
    callbacks = importlib.import_module(f"{name}.callbacks")
    left_out = (callbacks.Checkpoint, callbacks.EarlyStopping)
    ticks: list[Any] = []

    def setup(self: Any) -> None:
        trainer = self.trainer
        trainer.callbacks[:] = [each for each in trainer.callbacks if not isinstance(each, left_out)]
        targets = {_MODEL: trainer.lightning_module}
        targets |= {f"{_OPTIMIZER} {at}": each for at, each in enumerate(trainer.optimizers)}
        targets |= {f"{_SCHEDULER} {at}": each.scheduler for at, each in enumerate(trainer.lr_scheduler_configs)}
        session.add_targets(targets, CheckpointOptions())
        ticks.append(iter(session.loop("epoch", range(1, epochs + 1), sys._getframe())))
        original_start(self)

    def run(self: Any, fetcher: Any) -> None:
        epoch = next(ticks[-1])
        trainer = self.trainer
        trainer.lightning_module.train()
        progress = trainer.fit_loop.epoch_progress.current
        progress.processed = progress.completed = epoch - 1
        if self._should_check_val_epoch():
            trainer.validating = True
            self.val_loop.run()
            trainer.training = True
            trainer.lightning_module.train()

    original_start: Callable[[Any], None] = fit.on_run_start
    fit.on_run_start, batches.run = setup, run
    fit.done = property(lambda self: self.max_batches == 0)

"""Callbacks for other people's training loops: `HuggingFaceCallback` and `LightningCallback`.

    trainer ── epoch begins, step begins ──> TrainerLoops ──> the session's main loop and nested loop
            ── metrics ────────────────────> flor.log, at that epoch and step

`flor.autolog()` adds them to every Trainer; they can be given to one by hand as well. The classes are made when they
are first asked for, since their bases are the libraries' own: importing this module imports neither library. What makes
their epochs ours is in the module of each library beside this one.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from flor_ray.automatic import hugging_face, lightning
from flor_ray.automatic.driving import TrainerLoops, Unlogged, log_metrics
from flor_ray.environment import late_patches
from flor_ray.errors import UsageError

_LIGHTNINGS = ("lightning.pytorch", "pytorch_lightning")  # one library under two names, with classes of their own

__all__ = ["HuggingFaceCallback", "LightningCallback", "TrainerLoops"]  # noqa: F822 - the first two are made on demand


def __getattr__(name: str) -> Any:
    if name == "HuggingFaceCallback":
        return _hugging_face_callback()
    if name == "LightningCallback":
        return _lightning_callback()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


@functools.cache
def _hugging_face_callback() -> type:
    transformers = _imported("transformers", "a Hugging Face Trainer")

    class HuggingFaceCallback(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """Logs what a Hugging Face Trainer logs, with its numbers of epoch and step (optimizer steps, from 0 in each
        epoch). What it says of the run as a whole, such as `train_loss`, belongs to no epoch; speeds are left out."""

        def __init__(self) -> None:
            self.epochs = hugging_face.HuggingFaceEpochs()

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if self._is_first(control):
                self.epochs.loops.begin_step()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if self._is_first(control):
                if "train_runtime" in logs:  # the run's totals, logged before the training's end is announced
                    self.epochs.loops.end()
                log_metrics(logs)

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.epochs.loops.end()

        def _is_first(self, control: Any) -> bool:
            """Whether there is no other of us: `autolog` adds one, and the script may have added its own."""
            owner = control.__dict__.setdefault("_flor_ray", self)
            return owner is self

    late_patches.after_import({"transformers.trainer": (hugging_face.patch,)})
    return HuggingFaceCallback


@functools.cache
def _lightning_callback() -> type:
    loaded = next((name for name in _LIGHTNINGS if name in sys.modules), None) or _LIGHTNINGS[0]
    pytorch = _imported(loaded, "a Lightning Trainer")

    class LightningCallback(pytorch.Callback):  # type: ignore[misc, name-defined]
        """Logs what a LightningModule gives to `self.log`, when Lightning logs it (`log_every_n_steps`, and at the end
        of epochs), with or without a logger. Steps are batches, from 0 in each epoch; the validation after an
        epoch's last batch belongs to the epoch, and the one that is tried before the first epoch to nothing."""

        def __init__(self) -> None:
            self.epochs = lightning.LightningEpochs()

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if self._is_first(trainer):
                lightning.tap(trainer, log_metrics)

        def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
            if self._is_first(trainer):
                Unlogged.begin()

        def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
            Unlogged.end()

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if self._is_first(trainer):
                self.epochs.loops.begin_step()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            Unlogged.end()
            self.epochs.loops.abandon()

        def _is_first(self, trainer: Any) -> bool:
            """Whether there is no other of us: `autolog` adds one, and the script may have added its own."""
            return next(one for one in trainer.callbacks if isinstance(one, LightningCallback)) is self

    late_patches.after_import({f"{name}.loops.fit_loop": (lightning.patch,) for name in _LIGHTNINGS})
    return LightningCallback


def _imported(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"This callback is for {purpose}, but {name} cannot be imported ({error}). Install it, or use flor.log."
        ) from error

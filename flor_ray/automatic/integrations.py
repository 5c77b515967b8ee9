"""Callbacks for other people's training loops: `HuggingFaceCallback` and `LightningCallback`.

    trainer ── epoch begins, step begins ──> TrainerLoops ──> the session's main loop and nested loop
            ── metrics ────────────────────> flor.log, at that epoch and step

`flor.autolog()` adds them to every Trainer; they can be given to one by hand as well. The classes are made when they
are first asked for, since their bases are the libraries' own: importing this module imports neither library.

Such a loop has no `for` statement of the script, so nothing tells what code follows an epoch: there are no checkpoints
to start from, and a replay runs the training from its beginning to the last epoch that is wanted.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from flor_ray import calls
from flor_ray.errors import ReplayError, UsageError

_PLACES = frozenset({"epoch", "step", "global_step"})  # what trainers add to their metrics, and is our key already
# Seconds and rates of Hugging Face's: another run of the same code has others, so a replay could only ever differ.
_SPEEDS = ("_runtime", "_per_second", "jit_compilation_time")
_LIGHTNINGS = ("lightning.pytorch", "pytorch_lightning")  # one library under two names, with classes of their own

__all__ = ["HuggingFaceCallback", "LightningCallback", "TrainerLoops"]  # noqa: F822 - the first two are made on demand


class TrainerLoops:
    """The session's main loop and nested loop, advanced by a trainer's events instead of `for` statements."""

    def __init__(self) -> None:
        self._epochs: _Loop | None = None
        self._steps: _Loop | None = None

    def begin_epoch(self) -> None:
        """The trainer begins its next epoch: what is logged belongs to it, and no longer to a step."""
        self.end_steps()
        self._epochs = self._epochs or _Loop("epoch")
        self._epochs.advance()

    def begin_step(self) -> None:
        """The trainer begins the next step of its epoch."""
        self._steps = self._steps or _Loop("step")
        self._steps.advance()

    def end_steps(self) -> None:
        """What is logged next belongs to the epoch."""
        if self._steps is not None:
            self._steps.finish()
        self._steps = None

    def end(self) -> None:
        """What is logged next belongs to the run."""
        self.end_steps()
        if self._epochs is not None:
            self._epochs.finish()
        self._epochs = None

    def abandon(self) -> None:
        """The training was left by an exception: its last epoch is not a finished one."""
        for loop in (self._steps, self._epochs):
            if loop is not None:
                loop.close()
        self._steps = self._epochs = None


class _Loop:
    def __init__(self, name: str) -> None:
        self._ticks = _Ticks()
        # This frame, where no `for` statement stands: the trainer's frame would look as if its loops were the script's.
        self._iterator = calls.current_session().loop(name, self._ticks, sys._getframe())
        self._name = name

    def advance(self) -> None:
        if next(self._iterator, None) is None:
            raise ReplayError(
                f"This replay would have to skip the {self._name} loop, but a trainer runs that loop, and it cannot be "
                "skipped. Replay the whole version: ask for a feature that is logged in that loop."
            )

    def finish(self) -> None:
        self._ticks.ended = True
        next(self._iterator, None)

    def close(self) -> None:
        if isinstance(self._iterator, Generator):
            self._iterator.close()


class _Ticks(Iterator[int]):
    """Elements of a loop whose length is not known before its end."""

    def __init__(self) -> None:
        self.ended = False
        self._next = 0

    def __next__(self) -> int:
        if self.ended:
            raise StopIteration
        self._next += 1
        return self._next


def log_metrics(metrics: Mapping[str, Any]) -> None:
    """Log the numbers among a trainer's metrics, but for speeds. A tensor is read now, which waits for its device: call
    this only where the trainer logs, too."""
    for name, value in metrics.items():
        number = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
        if name not in _PLACES and not name.endswith(_SPEEDS) and isinstance(number, int | float):
            calls.log(name, number)


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
            self._loops = TrainerLoops()

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self._loops.abandon()  # an earlier training that ended by an exception, of which there is no event

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if self._is_first(control):
                self._loops.begin_epoch()

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if self._is_first(control):
                self._loops.begin_step()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self._loops.end_steps()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if not self._is_first(control):
                return
            if "train_runtime" in logs:  # the run's totals, logged before the training's end is announced
                self._loops.end()
            log_metrics(logs)

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self._loops.end()

        def _is_first(self, control: Any) -> bool:
            """Whether there is no other of us: `autolog` adds one, and the script may have added its own."""
            owner = control.__dict__.setdefault("_flor_ray", self)
            return owner is self

    return HuggingFaceCallback


@functools.cache
def _lightning_callback() -> type:
    loaded = next((name for name in _LIGHTNINGS if name in sys.modules), None)
    lightning = _imported(loaded or _LIGHTNINGS[0], "a Lightning Trainer")

    class LightningCallback(lightning.Callback):  # type: ignore[misc, name-defined]
        """Logs what a LightningModule gives to `self.log`, when Lightning logs it (`log_every_n_steps`, and at the end
        of epochs), with or without a logger. Steps are batches, from 0 in each epoch; the validation after an
        epoch's last batch belongs to the epoch."""

        def __init__(self) -> None:
            self._loops = TrainerLoops()

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            connector = trainer._logger_connector
            if self._is_first(trainer) and "log_metrics" not in vars(connector):
                connector.log_metrics = _tapped(trainer, connector.log_metrics)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if self._is_first(trainer):
                self._loops.begin_epoch()

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if self._is_first(trainer):
                self._loops.begin_step()

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_last_batch:
                self._loops.end_steps()

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self._loops.end_steps()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self._loops.end()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self._loops.abandon()

        def _is_first(self, trainer: Any) -> bool:
            """Whether there is no other of us: `autolog` adds one, and the script may have added its own."""
            return next(one for one in trainer.callbacks if isinstance(one, LightningCallback)) is self

    return LightningCallback


def _tapped(trainer: Any, original: Any) -> Any:
    """Every metric goes through this method of Lightning's when, and only when, it is to be logged; without a logger it
    returns at once. A Logger of ours would see the same, but would be the only one where the script wants none."""

    def log(metrics: Mapping[str, Any], step: int | None = None) -> None:
        if not trainer.sanity_checking:
            log_metrics(metrics)
        original(metrics, step=step)

    return log


def _imported(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"This callback is for {purpose}, but {name} cannot be imported ({error}). Install it, or use flor.log."
        ) from error

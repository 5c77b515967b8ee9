"""A Lightning Trainer's epochs as our main loop.

    _FitLoop.run ─ on_advance_start ─> TrainerLoops.begin_epoch
                 ├ advance ─ _TrainingEpochLoop.on_advance_end, of the last batch ─> the steps are over
                 ├ on_advance_end ─> a replay goes on to the epochs that it wants in here
                 └ on_run_end ─> the training is over

Patched are methods of its loops, not hooks of a callback: an epoch has begun before any other callback hears of it. A
Trainer takes part if it has a `LightningCallback`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FrameType, ModuleType
from typing import Any

from flor_ray.automatic.driving import TrainerLoops, in_library
from flor_ray.state import stateful
from flor_ray.state.driven import DrivenLoop, Machinery, data_parts, generators_in, values_place

_WRITERS = ("progress", "loggers", "profilers", "model_summary")  # modules of what shows things, or writes them
_TRANSIENT = ("_data_fetcher", "_combined_loader", "trainer")  # made for each epoch, or not below the loops
_DEPTH = 6  # of loops in loops


class LightningEpochs:
    """The epochs of one Trainer; `LightningCallback` has them."""

    def __init__(self) -> None:
        self.loops = TrainerLoops()
        self._trainer: Any = None
        self._machinery: Machinery | None = None

    def fit(self, trainer: Any) -> None:
        """A training begins."""
        self._trainer = trainer
        self.loops = TrainerLoops(self._state)

    def begin_epoch(self) -> None:
        """The Trainer begins an epoch.

        Raises:
            StopIteration: a replay wants none any more; so the Trainer leaves its loop.
        """
        self.loops.begin_epoch()
        if self._machinery is not None:
            self._machinery.is_at_entry = False
        if self.loops.is_over:
            raise StopIteration

    def end_epoch(self, loop: Any, end: Callable[[], None]) -> None:
        """The Trainer ends an epoch; in a replay, it goes on to those that are wanted."""
        steering = self.loops.steering
        self.loops.end_steps()
        end()
        while steering.jumps:
            loop.on_iteration_done()
            loop.on_advance_start()
            steering = self.loops.steering
            loop.advance()
            self.loops.end_steps()
            end()

    def end_batch(self, loop: Any) -> None:
        """A batch of the training is over; the validation after an epoch's last one belongs to the epoch."""
        if loop.batch_progress.is_last_batch or loop._is_training_done:
            self.loops.end_steps()

    def _state(self, frame: FrameType) -> DrivenLoop:
        trainer = self._trainer
        module, data = trainer.lightning_module, trainer.datamodule
        callbacks = {f"{at} {type(each).__name__}": each for at, each in enumerate(trainer.callbacks)}
        callbacks = {name: each for name, each in callbacks.items() if not _is_ours(each)}
        users = {name: each for name, each in callbacks.items() if not in_library(type(each))}
        others = {n: e for n, e in callbacks.items() if n not in users and not _only_tells(type(e))}
        targets: dict[str, Any] = {"model": module, **users}
        targets |= {f"optimizer {at}": each for at, each in enumerate(trainer.optimizers)}
        targets |= {f"scheduler {at}": each.scheduler for at, each in enumerate(trainer.lr_scheduler_configs)}
        targets |= {"scaler": getattr(trainer.precision_plugin, "scaler", None)}
        if data is not None and not in_library(type(data)):
            targets["data"] = data
        targets |= {
            f"{name}.{key}": value
            for name, each in others.items()
            for key, value in vars(each).items()
            if stateful.is_module(value)
        }

        def loaders() -> dict[str, Any]:
            combined = trainer.fit_loop._combined_loader
            found: dict[str, Any] = {}
            for at, loader in enumerate(combined.flattened if combined is not None else ()):
                found |= data_parts(loader, f"loader {at}")
            return found

        def parts() -> dict[str, Any]:
            found = {"trainer": trainer, "state": trainer.state, "strategy": trainer.strategy}
            found |= {"precision": trainer.precision_plugin, "connector": trainer._logger_connector}
            return found | _loops_in(trainer.fit_loop, "fit") | _loggers_of(trainer) | others | users | loaders()

        def held() -> dict[str, Any]:
            found = {"the module": trainer.lightning_module, "the datamodule": trainer.datamodule}
            found |= {f"optimizer {at}": each for at, each in enumerate(trainer.optimizers)}
            found |= {f"scheduler {at}": each.scheduler for at, each in enumerate(trainer.lr_scheduler_configs)}
            found |= {f"callback {at} ({type(c).__name__})": c for at, c in enumerate(trainer.callbacks)}
            return found | loaders()

        generators = generators_in(loaders())
        datasets = {f"{n}.dataset": part.dataset for n, part in loaders().items() if "dataset" in vars(part)}
        self._machinery = Machinery(parts, held, apart=datasets, enters_once=True)
        fixed = {"trainer": trainer, "fit loop": trainer.fit_loop, "strategy": trainer.strategy} | loaders()
        targets = {name: value for name, value in (targets | generators).items() if value is not None}
        places = (values_place("data", datasets),)
        # What is logged in steps for the epoch's end is held by objects that only steps make.
        return DrivenLoop(frame, targets | {"machinery": self._machinery}, places, fixed, has_exits=False)


def _only_tells(kind: type) -> bool:
    return any(word in kind.__module__ for word in _WRITERS)


def _loops_in(root: Any, path: str) -> dict[str, Any]:
    """A loop of Lightning's, with the loops and counters that it consists of."""
    found: dict[str, Any] = {}
    todo = [(path, root, 0)]
    while todo:
        name, value, depth = todo.pop()
        if ".loops." not in type(value).__module__:
            continue
        found[name] = value
        if depth < _DEPTH:
            inner = ((key, item) for key, item in vars(value).items() if key not in _TRANSIENT)
            todo += [(f"{name}.{key}", item, depth + 1) for key, item in inner]
    return found


def _loggers_of(trainer: Any) -> dict[str, Any]:
    """A Trainer's loggers, and what they write with where that is Lightning's own: it goes by what it has written."""
    found: dict[str, Any] = {}
    for at, logger in enumerate(trainer.loggers):
        found[f"logger {at}"] = logger
        writer = vars(logger).get("_experiment")
        if type(writer).__module__.partition(".")[0] in ("lightning", "pytorch_lightning"):
            found[f"logger {at}.experiment"] = writer
    return found


def _is_ours(callback: Any) -> bool:
    return isinstance(getattr(callback, "epochs", None), LightningEpochs)


def epochs_of(trainer: Any) -> LightningEpochs | None:
    """Those of the first callback of ours: `autolog` adds one, and the script may have added its own."""
    return next((each.epochs for each in trainer.callbacks if _is_ours(each)), None)


def patch(fit: ModuleType) -> None:
    """Make the Trainers say where they are whose module `loops.fit_loop` this is. Does nothing the second time."""
    if not getattr(fit._FitLoop, "_flor_ray", False):
        fit._FitLoop._flor_ray = True
        _patch_fit_loop(fit._FitLoop)
        _patch_epoch_loop(fit._TrainingEpochLoop)


def _patch_fit_loop(loop: Any) -> None:
    starts, ends, over = loop.on_advance_start, loop.on_advance_end, loop.on_run_end

    @functools.wraps(starts)
    def on_advance_start(self: Any) -> None:
        epochs = epochs_of(self.trainer)
        if epochs is not None:
            if not epochs.loops.is_running:
                epochs.fit(self.trainer)
            epochs.begin_epoch()
        starts(self)

    @functools.wraps(ends)
    def on_advance_end(self: Any) -> None:
        epochs, end = epochs_of(self.trainer), functools.partial(ends, self)
        if epochs is None:
            end()
        else:
            epochs.end_epoch(self, end)

    @functools.wraps(over)
    def on_run_end(self: Any) -> None:
        epochs = epochs_of(self.trainer)
        if epochs is not None:
            epochs.loops.end()
        over(self)

    loop.on_advance_start, loop.on_advance_end, loop.on_run_end = on_advance_start, on_advance_end, on_run_end


def _patch_epoch_loop(loop: Any) -> None:
    ends = loop.on_advance_end

    @functools.wraps(ends)
    def on_advance_end(self: Any, data_fetcher: Any) -> None:
        epochs = epochs_of(self.trainer)
        if epochs is not None:
            epochs.end_batch(self)
        ends(self, data_fetcher)

    loop.on_advance_end = on_advance_end


def tap(trainer: Any, log: Callable[[Mapping[str, Any]], None]) -> None:
    """Let `log` see what a Trainer logs, when it does. Every metric goes through this method of Lightning's when, and
    only when, it is to be logged; without a logger it returns at once. A Logger of ours would see the same, but would
    be the only one where the script wants none."""
    connector = trainer._logger_connector
    if "log_metrics" in vars(connector):
        return
    original = connector.log_metrics

    def tapped(metrics: Mapping[str, Any], step: int | None = None) -> None:
        if not trainer.sanity_checking:
            log(metrics)
        original(metrics, step=step)

    connector.log_metrics = tapped

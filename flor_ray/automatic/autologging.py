"""`autolog`: hyper-parameters and metrics without a call for each.

    autolog()        ArgumentParser.parse_args ──> flor.arg, under the names of the Namespace
    autolog(config)  hyperparameters.flatten ────> flor.arg, under dotted names
    both             Trainer of transformers, lightning ──> a callback of flor_ray.automatic.integrations

What lives here: the hooks into other libraries. They are put in place when a library has been imported, or as soon as
it is, and stay for the rest of the process.
"""

from __future__ import annotations

import argparse
import functools
import sys
import sysconfig
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from flor_ray import calls
from flor_ray.automatic.hyperparameters import flatten
from flor_ray.automatic.torch_first import import_torch_if_used
from flor_ray.environment import late_patches
from flor_ray.errors import FlorWarning
from flor_ray.recording import flags, script, session
from flor_ray.recording.recorder import Recorder
from flor_ray.redaction import hide

_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


def autolog(*configs: object) -> None:
    """Record hyper-parameters and metrics of this run without a call for each. Calling it again does no harm.

    Without configs, what `argparse` reads from the command line from now on is recorded as arguments of the run. With
    configs (dataclass instances, OmegaConf DictConfig, argparse.Namespace, dict, pydantic models), these are: nested
    ones under dotted names, lists as JSON. A name has one value in a run, the first. The script's own values are never
    changed; a replay gets them from the recorded command line, and warns of those that differ.

    In both cases every Trainer of Hugging Face and Lightning that is made from now on gets a callback that records what
    it logs, when it logs it, and tells flor_ray of its epochs and steps, so that `flor.log` in your own code has the
    right ones. Its epochs are the main loop, with checkpoints as in a loop of your own.

    Raises:
        UsageError: a config is of no known kind.
    """
    values = [flatten(config) for config in configs]
    if session.installed() is None and calls.records_here():
        frame = script.main_frame(sys._getframe(1))
        if frame is not None and "__file__" in frame.f_globals:
            import_torch_if_used(Path(frame.f_globals["__file__"]))
    chosen = calls.current_session()
    if isinstance(chosen, session.Passive):
        return
    if not isinstance(chosen, Recorder):
        # A replayed run's random state begins with its first call, as the recorded one's began here. It names nothing.
        chosen.arg("", None)
    for parameters in values:
        _record(parameters)
    if not configs:
        _watch_argparse()
    late_patches.after_import(_HOOKS)


def _record(parameters: Mapping[str, object]) -> None:
    chosen = calls.current_session()
    for name, value in parameters.items():
        if name in flags.current().kwargs:
            continue  # --kwargs sets what flor.arg returns; if the script never asks, the end of the run tells so
        kept = chosen.arg(name, value)
        if repr(kept) != repr(value):
            recording = isinstance(chosen, Recorder)
            warnings.warn(
                f"Hyper-parameter {name!r} is {hide(name, value)!r}, but {hide(name, kept)!r} was recorded "
                + ("before: a run has one value per name." if recording else "when this version ran."),
                FlorWarning,
                stacklevel=3,
            )


# argparse


def _watch_argparse() -> None:
    original = argparse.ArgumentParser.parse_known_args
    if hasattr(original, "__wrapped__"):
        return
    depth = 0

    @functools.wraps(original)
    def watched(parser: Any, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        nonlocal depth
        depth += 1  # parsers of subcommands run inside: what they read is in the outer one's result
        try:
            parsed = original(parser, args, namespace)
        finally:
            depth -= 1
        if depth == 0 and (args is None or not _in_library(sys._getframe(1))):
            _record(flatten(parsed[0]))
        return parsed

    setattr(argparse.ArgumentParser, "parse_known_args", watched)  # noqa: B010 - mypy forbids the plain assignment


def _in_library(frame: FrameType | None) -> bool:
    """Whether a library reads options of its own, rather than the script its command line."""
    while frame is not None and frame.f_code.co_filename == argparse.__file__:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES)


# trainers


def _hook_hugging_face(trainer: ModuleType) -> None:
    from flor_ray.automatic.integrations import HuggingFaceCallback

    if HuggingFaceCallback not in trainer.DEFAULT_CALLBACKS:
        trainer.DEFAULT_CALLBACKS.insert(0, HuggingFaceCallback)  # first: other callbacks log in our epochs and steps


def _hook_lightning(trainer: ModuleType) -> None:
    original = trainer.Trainer.__init__
    if getattr(original, "_flor_ray", False):
        return

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        from flor_ray.automatic.integrations import LightningCallback

        original(self, *arguments, **named)
        if not any(isinstance(callback, LightningCallback) for callback in self.callbacks):
            self.callbacks.insert(0, LightningCallback())

    init._flor_ray = True  # type: ignore[attr-defined]
    trainer.Trainer.__init__ = init


_HOOKS: dict[str, tuple[late_patches.Patch, ...]] = {
    "transformers.trainer": (_hook_hugging_face,),
    "lightning.pytorch.trainer.trainer": (_hook_lightning,),
    "pytorch_lightning.trainer.trainer": (_hook_lightning,),
}

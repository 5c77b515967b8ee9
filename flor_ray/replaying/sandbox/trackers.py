"""Experiment trackers of a replayed script: offline, and in a scratch folder. What was tracked once is not sent again.

Weights & Biases and MLflow are held there even if the script names a mode or a server. Neptune, ClearML and Comet are
told by their environment variables only, so that a script's own arguments win. A script that asks its server for
something, such as a run to resume or a model, is refused that by the tracker.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flor_ray.environment import late_patches

_OFF = ("disabled", "dryrun")  # as good as offline, and meant


class Offline:
    """What `go_offline` holds in place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mlflow = (folder / "mlruns").as_uri()
        self._ignored: dict[str, str] = {}

    def sentences(self) -> tuple[str, ...]:
        """What a script asked of its trackers and did not get, one sentence for each function."""
        return tuple(self._ignored.values())

    def variables(self) -> Mapping[str, str]:
        """Settings that the trackers read themselves."""
        return {
            "WANDB_MODE": os.environ["WANDB_MODE"] if os.environ.get("WANDB_MODE") in _OFF else "offline",
            "WANDB_DIR": str(self._folder),
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "MLFLOW_TRACKING_URI": self._mlflow,
            "MLFLOW_REGISTRY_URI": self._mlflow,
            "MLFLOW_ALLOW_FILE_STORE": "true",  # the only backend without a database
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NEPTUNE_MODE": "offline",
            "CLEARML_OFFLINE_MODE": "1",
            "COMET_START_ONLINE": "0",
        }

    def patches(self) -> Mapping[str, list[late_patches.Patch]]:
        """What to replace in trackers that are imported, by the module in which it is."""
        return {
            "wandb.sdk.wandb_init": [_replacing("init", self._wandb_init)],
            "wandb.sdk.wandb_run": [_replacing("Run.__setstate__", _own_run)],
            "wandb.sdk.wandb_login": [_replacing("login", _logged_in)],
            "mlflow.tracking._tracking_service.utils": [
                _setting("_tracking_uri", self._mlflow),
                _replacing("set_tracking_uri", self._ignoring("mlflow.set_tracking_uri")),
            ],
            "mlflow.tracking._model_registry.utils": [
                _setting("_registry_uri", self._mlflow),
                _replacing("set_registry_uri", self._ignoring("mlflow.set_registry_uri")),
            ],
            "mlflow.tracking.client": [_replacing("MlflowClient.__init__", self._mlflow_client)],
        }

    def _wandb_init(self, init: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def offline(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind_partial(*args, **kwargs)
            mode = given.arguments.get("mode") or os.environ.get("WANDB_MODE")
            if mode not in _OFF:
                if given.arguments.get("mode") not in (None, "offline"):
                    self._ignore("wandb.init", f"mode={mode!r}")
                given.arguments["mode"] = "offline"
            given.arguments["dir"] = str(self._folder)
            return init(*given.args, **given.kwargs)

        return offline

    def _ignoring(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def ignored(uri: Any) -> None:
                self._ignore(name, repr(str(uri)))

            return ignored

        return make

    def _mlflow_client(self, init: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def scratch(*args: Any, **kwargs: Any) -> None:
            given = signature.bind_partial(*args, **kwargs)
            for name in ("tracking_uri", "registry_uri"):
                uri = given.arguments.get(name)
                if uri not in (None, self._mlflow):
                    self._ignore("MlflowClient", f"{name}={str(uri)!r}")
                    given.arguments[name] = self._mlflow
            init(*given.args, **given.kwargs)

        return scratch

    def _ignore(self, name: str, given: str) -> None:
        self._ignored.setdefault(name, f"{name} was called with {given}; replay tracks offline and drops it")


def go_offline(folder: Path) -> Offline:
    """Turn trackers offline for good, in this process and those that it starts. They write below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    offline = Offline(folder)
    os.environ.update(offline.variables())
    late_patches.after_import(offline.patches())
    return offline


def _logged_in(login: Callable[..., bool]) -> Callable[..., bool]:
    """No server is asked whether it knows the key."""

    @functools.wraps(login)
    def logged_in(*args: Any, **kwargs: Any) -> bool:
        return True

    return logged_in


def _own_run(set_state: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """A run that comes back from a checkpoint belongs to a process that has ended: it becomes the replay's own."""

    @functools.wraps(set_state)
    def own_run(run: Any, state: Any) -> None:
        live = getattr(sys.modules.get("wandb"), "run", None)
        if live is None:
            set_state(run, state)
        else:
            run.__dict__ = live.__dict__

    return own_run


def _replacing(attribute: str, make: Callable[[Any], Any]) -> late_patches.Patch:
    return lambda module: late_patches.replace(module, attribute, make)


def _setting(attribute: str, value: object) -> late_patches.Patch:
    def patch(module: ModuleType) -> None:
        vars(module)[attribute] = value

    return patch

"""Modes of the process are kept as changes, and put back."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flor_ray.errors import StoreError
from flor_ray.state import modes

_OF_PYTEST = "PYTEST_CURRENT_TEST"  # which pytest sets, and takes away

SETTERS: dict[str, Callable[[], Any]] = {
    "environment": lambda: os.environ.update({"FLOR_TEST_PHASE": "warm"}),
    "sys.path": lambda: sys.path.insert(0, "/nowhere"),
    "current folder": lambda: os.chdir(Path.cwd().parent),
    "warning filters": lambda: warnings.simplefilter("error"),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "arguments": lambda: sys.argv.append("--more"),
    "mode of new files": lambda: os.umask(0o001),
    "signal handlers": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "hooks of Python": lambda: setattr(sys, "displayhook", print),
    "levels of loggers": lambda: logging.getLogger("flor.test").setLevel(logging.ERROR),
    "garbage collector": lambda: gc.set_threshold(123, 4, 5),
    "switch interval": lambda: sys.setswitchinterval(0.125),
    "pandas' options": lambda: pd.set_option("display.precision", 3),
    "recursion limit": lambda: sys.setrecursionlimit(4321),
    "digits of integers": lambda: sys.set_int_max_str_digits(5432),
    "decimal context": lambda: setattr(decimal.getcontext(), "prec", 7),
    "numpy's error state": lambda: np.seterr(all="raise"),
    "numpy's buffer size": lambda: np.setbufsize(4096),
    "numpy's print options": lambda: np.set_printoptions(precision=3),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "torch's print options": lambda: setattr(torch._tensor_str.PRINT_OPTS, "precision", 2),
    "torch.get_default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch.is_grad_enabled": lambda: torch.set_grad_enabled(False),
    "torch.get_num_threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch.get_float32_matmul_precision": lambda: torch.set_float32_matmul_precision("medium"),
    "torch.is_autocast_cache_enabled": lambda: torch.set_autocast_cache_enabled(False),
    "torch.backends.cuda.math_sdp_enabled": lambda: torch.backends.cuda.enable_math_sdp(False),
    "torch.backends.mha.get_fastpath_enabled": lambda: torch.backends.mha.set_fastpath_enabled(False),
    "torch.backends.cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "torch.backends.cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "torch.backends.cuda.matmul.allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "autocast on cpu": lambda: torch.set_autocast_enabled("cpu", True),
}


@pytest.fixture(autouse=True)
def entered() -> Iterator[modes.Modes]:
    before = modes.modes()
    yield before
    modes.put(before, {"environment": ({_OF_PYTEST: os.environ[_OF_PYTEST]}, [])})


def test_where_nothing_differs_nothing_is_kept(entered: modes.Modes) -> None:
    assert modes.changes(entered) == {}


@pytest.mark.parametrize("name", SETTERS)
def test_a_mode_that_was_set_is_kept_and_put_back(name: str, entered: modes.Modes) -> None:
    SETTERS[name]()
    changed = modes.changes(entered)
    if name == "locale" and not changed:
        pytest.skip("this machine has no other locale")
    assert name in changed
    there = modes.modes()
    kept = pickle.loads(pickle.dumps(changed))
    modes.put(entered, {})
    assert modes.modes() == entered
    modes.put(entered, kept)
    assert modes.modes() == there


def test_a_replays_own_environment_and_path_stay(entered: modes.Modes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOR_TEST_GOES", "1")
    recorded = modes.modes()
    del os.environ["FLOR_TEST_GOES"]
    os.environ["FLOR_TEST_PHASE"] = "warm"
    sys.path.append("/recorded/plugins")
    changed = modes.changes(recorded)
    modes.put(entered, {})
    monkeypatch.setenv("FLOR_TEST_GOES", "1")
    monkeypatch.setenv("FLOR_TEST_WORKER", "7")
    monkeypatch.setattr(sys, "path", ["/worker", *sys.path])
    modes.put(modes.modes(), changed)
    found = {name: os.environ.get(f"FLOR_TEST_{name}") for name in ("GOES", "PHASE", "WORKER")}
    assert found == {"GOES": None, "PHASE": "warm", "WORKER": "7"}
    assert (sys.path[0], sys.path[-1]) == ("/worker", "/recorded/plugins")


def test_a_mode_that_cannot_be_set_here_is_told(entered: modes.Modes) -> None:
    with pytest.raises(StoreError, match="The mode 'current folder' cannot be set to '/no/such/folder'"):
        modes.put(entered, {"current folder": "/no/such/folder"})


def test_inference_mode_is_told_not_to_be_put_back(entered: modes.Modes) -> None:
    with torch.inference_mode():
        changed = modes.changes(entered)
    assert modes.cannot_be_put(changed) == {"inference mode"}

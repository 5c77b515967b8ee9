"""Modes of the process: what scripts set for everything that runs after it, in no object of theirs.

    recorded   entry of the loop: dtype float32 ──> epoch 3: float64 ──> its checkpoint: {default dtype: float64}
    replayed   entry of the loop: dtype float32 ──> epoch 3 restored: float64 ──> epoch 1 restored: float32

A checkpoint holds the modes that are no longer what they were when the loop was entered: most often none. What it does
not hold is put back to what it was at the entry. Environment and `sys.path` of a replay are others than the record's,
so of these the changes are kept.

Libraries are looked up in `sys.modules`: a script that does not use them never pays for their import.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of all numbers
import copy
import decimal
import gc
import locale
import logging
import operator
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.redaction import hide

Modes = dict[str, Any]
_UNREADABLE = object()

# Older names before those that took their place: torch refuses to read the former once the latter have been set.
_TORCH_ATTRIBUTES = (
    "backends.cudnn.enabled",
    "backends.cudnn.benchmark",
    "backends.cudnn.benchmark_limit",
    "backends.cudnn.deterministic",
    "backends.cudnn.allow_tf32",
    "backends.cuda.matmul.allow_tf32",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.fp32_precision",
    "backends.cuda.matmul.fp32_precision",
    "backends.cudnn.fp32_precision",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
    "backends.mkldnn.enabled",
    "backends.mkldnn.deterministic",
    "backends.mkldnn.fp32_precision",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.quantized.engine",
    "backends.opt_einsum.enabled",
    "utils.deterministic.fill_uninitialized_memory",
    "distributions.Distribution._validate_args",
)
_TORCH_CALLS = {  # function that tells, function that sets
    "get_default_dtype": "set_default_dtype",
    "is_grad_enabled": "set_grad_enabled",
    "get_num_threads": "set_num_threads",
    "get_float32_matmul_precision": "set_float32_matmul_precision",
    "is_autocast_cache_enabled": "set_autocast_cache_enabled",
    "backends.mha.get_fastpath_enabled": "backends.mha.set_fastpath_enabled",
    "backends.cuda.flash_sdp_enabled": "backends.cuda.enable_flash_sdp",
    "backends.cuda.mem_efficient_sdp_enabled": "backends.cuda.enable_mem_efficient_sdp",
    "backends.cuda.math_sdp_enabled": "backends.cuda.enable_math_sdp",
    "backends.cuda.cudnn_sdp_enabled": "backends.cuda.enable_cudnn_sdp",
}


@dataclass(frozen=True, slots=True)
class _Mode:
    read: Callable[[], Any]
    write: Callable[[Any], object]


def modes() -> Modes:
    """All modes as they are now."""
    found = {name: _read(mode) for name, mode in _every().items()}
    return {name: value for name, value in found.items() if value is not _UNREADABLE}


def _read(mode: _Mode) -> Any:
    try:
        return mode.read()
    except (AttributeError, RuntimeError):  # a library of another release, or that refuses
        return _UNREADABLE


def changes(entered: Modes) -> Modes:
    """What is no longer as it was when `entered` was read, in the form in which a checkpoint holds it."""
    found = {}
    for name, value in modes().items():
        if name not in entered or entered[name] != value:
            difference = _DIFFERENCES.get(name)
            found[name] = difference[0](entered[name], value) if difference and name in entered else value
    return found


def put(entered: Modes, changed: Mapping[str, Any]) -> None:
    """Put modes back to what they were when `entered` was read here, and on from there by the changes of a checkpoint.

    Raises:
        StoreError: one of them cannot be set here.
    """
    for name, mode in _every().items():  # one after the other: some follow others
        if name not in changed and name not in entered:
            continue
        wanted = entered.get(name)
        if name in changed:
            difference = _DIFFERENCES.get(name)
            wanted = difference[1](wanted, changed[name]) if difference and name in entered else changed[name]
        if _read(mode) == wanted:
            continue
        try:
            mode.write(wanted)
        except (OSError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise StoreError(f"The mode {name!r} cannot be set to {wanted!r:.200}: {error}") from error


def _every() -> dict[str, _Mode]:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    found = dict(_OF_PYTHON)
    if numpy is not None and hasattr(numpy, "geterr"):
        found |= _of_numpy(numpy)
    if torch is not None and hasattr(torch, "get_default_dtype"):
        found |= _of_torch(torch)
    sklearn = sys.modules.get("sklearn")
    if sklearn is not None and hasattr(sklearn, "get_config"):
        found["sklearn's configuration"] = _Mode(sklearn.get_config, lambda held: sklearn.set_config(**held))
    pandas = sys.modules.get("pandas")
    if pandas is not None and hasattr(pandas, "options"):
        found["pandas' options"] = _Mode(
            lambda: _flat(pandas.options.d), lambda held: _set_pandas_options(pandas, held)
        )
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None and hasattr(matplotlib, "rcParams"):
        found["matplotlib's settings"] = _Mode(matplotlib.rcParams.copy, matplotlib.rcParams.update)
    return found


def _set_pandas_options(pandas: Any, wanted: Mapping[str, Any]) -> None:
    now = _flat(pandas.options.d)
    for name, value in wanted.items():
        if now.get(name) != value:
            pandas.set_option(name, value)


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options by their whole names."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": copy.copy(value)}
    return found


# --- python ---------------------------------------------------------------------------------------------------------


def _decimal_context() -> Any:
    return decimal.getcontext().__reduce__()[1]


def _set_environment(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, text in wanted.items():
        if os.environ.get(name) != text:
            os.environ[name] = text
    time.tzset()


def _set_filters(wanted: Any) -> None:
    filters: Any = warnings.filters
    filters[:] = wanted
    with warnings.catch_warnings():
        pass  # lets modules look at the filters again


def _umask() -> int:
    """There is no way but to set one; what another thread makes in between is the user's own."""
    now = os.umask(0o077)
    os.umask(now)
    return now


# Those that are never set: nobody can, or torch does, as soon as a loader has workers.
_NEVER_SET = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD})
_SIGNALS = sorted(int(number) for number in signal.valid_signals() - _NEVER_SET)


def _signal_handlers() -> dict[int, Any]:
    """Those that can be set again: a handler that is None is not Python's."""
    return {number: held for number in _SIGNALS if (held := _signal.getsignal(number)) is not None}


def _set_signal_handlers(wanted: Mapping[int, Any]) -> None:
    for number, handler in wanted.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _loggers() -> dict[str, logging.Logger]:
    known = {name: one for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {"root": logging.root, **known}


_PLAIN_LOGGER = (logging.NOTSET, False, True)


def _logging_levels() -> tuple[int, dict[str, tuple[int, bool, bool]]]:
    held = {name: (one.level, one.disabled, one.propagate) for name, one in _loggers().items()}
    return logging.root.manager.disable, {name: state for name, state in held.items() if state != _PLAIN_LOGGER}


def _set_logging_levels(wanted: tuple[int, Mapping[str, tuple[int, bool, bool]]]) -> None:
    logging.disable(wanted[0])
    for name in wanted[1]:
        logging.getLogger(None if name == "root" else name)
    for name, one in _loggers().items():
        level, one.disabled, one.propagate = wanted[1].get(name, _PLAIN_LOGGER)
        if one.level != level:
            one.setLevel(level)


_HOOKS = ((sys, "displayhook"), (sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"))


def _hooks() -> dict[str, Any]:
    return {f"{module.__name__}.{name}": getattr(module, name) for module, name in _HOOKS}


def _set_hooks(wanted: Mapping[str, Any]) -> None:
    for module, name in _HOOKS:
        setattr(module, name, wanted[f"{module.__name__}.{name}"])


def _set_collector(wanted: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if wanted[0] else gc.disable)()
    gc.set_threshold(*wanted[1])


_OF_PYTHON = {
    "environment": _Mode(lambda: dict(os.environ), _set_environment),
    "sys.path": _Mode(lambda: list(sys.path), lambda held: operator.setitem(sys.path, slice(None), held)),
    "current folder": _Mode(os.getcwd, os.chdir),
    "warning filters": _Mode(lambda: list(warnings.filters), _set_filters),
    "locale": _Mode(lambda: locale.setlocale(locale.LC_ALL), lambda held: locale.setlocale(locale.LC_ALL, held)),
    "arguments": _Mode(lambda: list(sys.argv), lambda held: operator.setitem(sys.argv, slice(None), held)),
    "mode of new files": _Mode(_umask, os.umask),
    "signal handlers": _Mode(_signal_handlers, _set_signal_handlers),
    "hooks of Python": _Mode(_hooks, _set_hooks),
    "levels of loggers": _Mode(_logging_levels, _set_logging_levels),
    "garbage collector": _Mode(lambda: (gc.isenabled(), gc.get_threshold()), _set_collector),
    "switch interval": _Mode(sys.getswitchinterval, sys.setswitchinterval),
    "recursion limit": _Mode(sys.getrecursionlimit, sys.setrecursionlimit),
    "digits of integers": _Mode(sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "decimal context": _Mode(_decimal_context, lambda held: decimal.setcontext(decimal.Context(*held))),
}


def _environment_changes(entered: Mapping[str, str], now: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    return {n: v for n, v in now.items() if entered.get(n) != v}, sorted(entered.keys() - now.keys())


def _environment_with(entered: Mapping[str, str], changed: tuple[dict[str, str], list[str]]) -> dict[str, str]:
    return {n: v for n, v in entered.items() if n not in changed[1]} | changed[0]


def _path_changes(entered: list[str], now: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Put before, put after, and taken out."""
    added = [index for index, folder in enumerate(now) if folder not in entered]
    first = next((index for index, folder in enumerate(now) if folder in entered), len(now))
    front = [now[index] for index in added if index < first]
    return front, [now[index] for index in added if index > first], [f for f in entered if f not in now]


def _path_with(entered: list[str], changed: tuple[list[str], list[str], list[str]]) -> list[str]:
    front, back, gone = changed
    return [*front, *(folder for folder in entered if folder not in gone), *back]


def _folder_change(entered: str, now: str) -> str:
    return os.path.relpath(now, entered) if now.startswith(os.path.join(entered, "")) else now


def _items_changed(entered: Mapping[Any, Any], now: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in now.items() if name not in entered or entered[name] != value}


def _items_with(entered: Mapping[Any, Any], changed: Mapping[Any, Any]) -> dict[Any, Any]:
    return {**entered, **changed}


_DIFFERENCES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "environment": (_environment_changes, _environment_with),
    "sys.path": (_path_changes, _path_with),
    "current folder": (_folder_change, os.path.join),
    **dict.fromkeys(("signal handlers", "hooks of Python", "pandas' options"), (_items_changed, _items_with)),
}


# --- libraries ------------------------------------------------------------------------------------------------------


def _of_numpy(numpy: Any) -> dict[str, _Mode]:
    return {
        "numpy's error state": _Mode(numpy.geterr, lambda held: numpy.seterr(**held)),
        "numpy's buffer size": _Mode(numpy.getbufsize, numpy.setbufsize),
        "numpy's print options": _Mode(numpy.get_printoptions, lambda held: numpy.set_printoptions(**held)),
    }


def _of_torch(torch: Any) -> dict[str, _Mode]:
    found = {
        "torch's default device": _Mode(
            lambda: str(torch.get_default_device()),
            lambda held: torch.set_default_device(None if held == "cpu" else held),
        ),
        "inference mode": _Mode(lambda: _called(torch, "is_inference_mode_enabled"), _refuse_inference_mode),
        "deterministic algorithms": _Mode(
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda held: torch.use_deterministic_algorithms(held[0], warn_only=held[1]),
        ),
        "anomaly detection": _Mode(
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda held: torch.autograd.set_detect_anomaly(*held),
        ),
        "torch's print options": _Mode(
            lambda: dict(vars(torch._tensor_str.PRINT_OPTS)), lambda held: torch.set_printoptions(**held)
        ),
    }
    found |= {f"torch.{path}": _by_calls(torch, path, setter) for path, setter in _TORCH_CALLS.items()}
    found |= {f"torch.{path}": _by_assignment(torch, path) for path in _TORCH_ATTRIBUTES}
    for device in ("cpu", "cuda"):
        found[f"autocast on {device}"] = _autocast(torch, device)
    if torch.cuda.is_initialized():
        found["current GPU"] = _by_calls(torch, "cuda.current_device", "cuda.set_device")
    return found


def _by_calls(torch: Any, getter: str, setter: str) -> _Mode:
    def write(held: Any) -> None:
        operator.attrgetter(setter)(torch)(held)

    return _Mode(lambda: _called(torch, getter), write)


def _called(torch: Any, path: str) -> Any:
    return operator.attrgetter(path)(torch)()


def _by_assignment(torch: Any, path: str) -> _Mode:
    holder, _, name = path.rpartition(".")
    return _Mode(
        lambda: operator.attrgetter(path)(torch),
        lambda held: setattr(operator.attrgetter(holder)(torch), name, held),
    )


def _autocast(torch: Any, device: str) -> _Mode:
    def write(held: tuple[bool, Any]) -> None:
        torch.set_autocast_enabled(device, held[0])
        torch.set_autocast_dtype(device, held[1])

    return _Mode(lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)), write)


def _refuse_inference_mode(held: bool) -> None:
    raise ValueError("it can only be entered and left by a `with` statement")


def cannot_be_put(changed: Modes) -> set[str]:
    """Those of some changes that cannot be put back, or are secrets that a checkpoint must not hold."""
    refused = {name for name in changed if name == "inference mode"}
    if "environment" in changed:
        held = changed["environment"]
        variables = held[0] if isinstance(held, tuple) else held
        refused |= {"environment" for name, text in variables.items() if hide(name, text) != text}
    return refused

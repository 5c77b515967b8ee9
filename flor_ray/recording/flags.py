"""Our command line flags in a training script's own command line.

    python train.py --flor NAME --kwargs lr=0.01 hidden=64 --replay_flor 0/4

They are taken out of `sys.argv` before the script's own parser sees it, unless the script defines an option of that
name itself. What may live here: parsing. Nothing is read or changed unless one of the flags is there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flor_ray.errors import BadArgument, UsageError

NAMES = ("--flor", "--kwargs", "--replay_flor")
ENVIRONMENT = "FLOR_RAY_FLAGS"  # hands the flags down to worker processes, whose argv has lost them


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said to flor_ray, not to the script."""

    run: str = ""  # --flor
    kwargs: dict[str, str] = field(default_factory=dict)  # --kwargs, still text: flor.arg's default gives the type
    replay: tuple[int, int] | None = None  # --replay_flor i/n
    replay_data_prep: bool = False  # --replay_flor alone: operator DP

    @property
    def replaying(self) -> bool:
        return self.replay is not None or self.replay_data_prep


_taken: Flags | None = None


def current() -> Flags:
    """The flags of this process: taken from its command line, or handed down by the process that started it."""
    global _taken
    if _taken is None:
        # Another training script that this one starts has a command line of its own, and inherits nothing.
        inherited = os.environ.get(ENVIRONMENT) if multiprocessing.parent_process() else None
        _taken = _loads(inherited) if inherited else Flags()
    return _taken


def set_current(flags: Flags) -> None:
    """Make `flags` this process's, and its children's."""
    global _taken
    _taken = flags
    os.environ[ENVIRONMENT] = json.dumps(
        {
            "run": flags.run,
            "kwargs": flags.kwargs,
            "replay": flags.replay,
            "replay_data_prep": flags.replay_data_prep,
        }
    )


def take_from_argv() -> None:
    """Move our flags from `sys.argv` to `current()`; those that the script defines itself are left to it."""
    if Path(sys.argv[0]).stem in ("flor-ray", "-m"):
        return  # our own command line, or a module that has not started yet, read their arguments themselves
    ours = [name for name in NAMES if name not in _defined_by_script()]
    flags, rest = parse(sys.argv[1:], ours)
    if rest != sys.argv[1:]:
        sys.argv[1:] = rest
        set_current(flags)


def parse(arguments: Sequence[str], names: Sequence[str] = NAMES) -> tuple[Flags, list[str]]:
    """Split a command line into our flags and the rest.

    Raises:
        UsageError: a flag without its value, or a value that it cannot have.
    """
    run, replay, data_prep = "", None, False
    kwargs: dict[str, str] = {}
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word, equals, attached = queue.pop(0).partition("=")
        if word == "--" or word not in names:
            rest.append(word + equals + attached)
            if word == "--":
                rest.extend(queue)
                break
        elif word == "--flor":
            if not attached and (not queue or queue[0].startswith("--")):
                raise UsageError("--flor needs a name for this run, as in: python train.py --flor bigger_batch")
            run = attached or queue.pop(0)
        elif word == "--kwargs":
            pairs = [attached] if attached else []
            while queue and "=" in queue[0] and not queue[0].startswith("-"):
                pairs.append(queue.pop(0))
            if not pairs:
                raise UsageError("--kwargs needs name=value pairs, as in: python train.py --kwargs lr=0.01 hidden=64")
            kwargs.update(_pair(pair) for pair in pairs)
        elif attached or (queue and _is_part(queue[0])):
            replay = _part(attached or queue.pop(0))
        else:
            data_prep = True
    return Flags(run, kwargs, replay, data_prep), rest


def convert(name: str, text: str, default: object) -> object:
    """The value that `text` means for an argument with this default.

    Raises:
        BadArgument: the text does not fit the default's type.
    """
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        lowered = text.strip().lower()
        if lowered in ("true", "1", "yes", "on"):
            return True
        if lowered in ("false", "0", "no", "off"):
            return False
        raise BadArgument(name, text, "true or false")
    try:
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except ValueError:
        raise BadArgument(name, text, f"{type(default).__name__} like {default!r}") from None
    try:
        value: object = json.loads(text)
    except ValueError:
        if default is None:
            return text
        raise BadArgument(
            name, text, f"a {type(default).__name__} written as JSON, like {json.dumps(default)}"
        ) from None
    if isinstance(default, list | tuple | dict) and not isinstance(value, dict if isinstance(default, dict) else list):
        raise BadArgument(name, text, f"a {type(default).__name__} written as JSON, like {json.dumps(default)}")
    return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")  # the value may hold further "="
    if not equals or not name:
        raise UsageError(f"--kwargs takes name=value pairs, not {text!r}")
    return name, value


def _is_part(text: str) -> bool:
    left, slash, right = text.partition("/")
    return bool(slash) and left.isdigit() and right.isdigit()


def _part(text: str) -> tuple[int, int]:
    if not _is_part(text):
        raise UsageError(f"--replay_flor takes a part i/n, such as 0/4, not {text!r}")
    index, count = (int(number) for number in text.split("/"))
    if count == 0:
        raise UsageError(f"--replay_flor {text}: the main loop cannot be cut into 0 parts")
    if index >= count:
        raise UsageError(
            f"--replay_flor {text}: parts are numbered from 0, so the last of {count} is {count - 1}/{count}"
        )
    return index, count


def _defined_by_script() -> set[str]:
    """Our flags that the main script mentions as strings: those are options of its own."""
    try:
        text = Path(sys.argv[0]).read_text(errors="replace")
    except OSError:
        return set()
    return {name for name in NAMES if f'"{name}"' in text or f"'{name}'" in text}


def _loads(text: str) -> Flags:
    data = json.loads(text)
    replay = tuple(data["replay"]) if data["replay"] else None
    return Flags(data["run"], data["kwargs"], replay, data["replay_data_prep"])

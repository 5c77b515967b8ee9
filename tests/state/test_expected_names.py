"""A checkpoint names what states are made of: a changed one runs no program."""

from __future__ import annotations

import collections
import functools
import io
import operator
import os
import pickle
import random
import re
import subprocess
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flor_ray.errors import StoreError
from flor_ray.state import expected_names, random_states
from flor_ray.state.pickling import LoadedState


class Canary:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


class AsNamed:
    """A call of what a dotted name says."""

    def __init__(self, module: str, name: str, argument: str) -> None:
        self.pickle = f"\x80\x04\x8c{chr(len(module))}{module}\x8c{chr(len(name))}{name}\x93".encode("latin-1")
        self.pickle += f"\x8c{chr(len(argument))}{argument}\x85R.".encode("latin-1")


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda canary: pickle.dumps(Canary(os.system, f"touch {canary}")),
    "os.mkdir": lambda canary: pickle.dumps(Canary(os.mkdir, str(canary))),
    "subprocess": lambda canary: pickle.dumps(Canary(subprocess.check_call, ["touch", str(canary)])),
    "Popen": lambda canary: pickle.dumps(Canary(subprocess.Popen, ["touch", str(canary)])),
    "eval": lambda canary: pickle.dumps(Canary(eval, f"open({str(canary)!r}, 'w')")),
    "exec": lambda canary: pickle.dumps(Canary(exec, f"open({str(canary)!r}, 'w')")),
    "open": lambda canary: pickle.dumps(Canary(open, str(canary), "w")),
    "pickle": lambda canary: pickle.dumps(Canary(pickle.loads, pickle.dumps(Canary(os.mkdir, str(canary))))),
    "an alias": lambda canary: AsNamed("random", "_os.mkdir", str(canary)).pickle,
    "an alias of a library's": lambda canary: AsNamed("torch", "os.mkdir", str(canary)).pickle,
    "importlib": lambda canary: AsNamed("importlib", "import_module", "antigravity").pickle,
    "code": lambda canary: AsNamed("types", "FunctionType", "x").pickle,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_runs_programs_or_code_is_not_loaded_with_a_checkpoint(tmp_path: Path, name: str) -> None:
    data = HOSTILE[name](tmp_path / "canary")
    for skeleton in (data, pickle.dumps(((), ())) + data):
        with pytest.raises(StoreError, match=r"names .*, which no state is made of"):
            LoadedState(skeleton, ()).body(lambda reference: None)
    with pytest.raises(StoreError, match="random state names"):
        expected_names.random_state(data)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "value",
    [
        *(collections.Counter("ab"), functools.partial(max, 1), operator.itemgetter(1), re.compile("a"), Path("x")),
        *(os.stat("."), types.SimpleNamespace(a=1), random.Random(1), np.random.default_rng(1), torch.Size([1]), len),
        *(getattr, io.BytesIO(b"x"), os.path.join, [].append, np.sum, np.dtype("f4"), torch.float32, slice(1)),
    ],
    ids=lambda value: re.sub(" at 0x.*", "", repr(value), flags=re.I),
)
def test_what_states_are_made_of_is_loaded(value: object) -> None:
    found = LoadedState(pickle.dumps({"x": value}), ()).body(lambda reference: None)
    assert type(found["x"]) is type(value)


def test_random_states_are_read() -> None:
    for state in (random_states.global_state(), *random_states.global_state().values()):
        for protocol in (2, 4, 5):
            assert repr(expected_names.random_state(pickle.dumps(state, protocol))) == repr(state)


def test_garbage_is_no_random_state() -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        expected_names.random_state(b"\x80garbage")

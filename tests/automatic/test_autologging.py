"""Configurations as flat names and plain values, and what `autolog` does to other libraries."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import math
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pydantic import BaseModel

from flor_ray.automatic.hyperparameters import flatten
from flor_ray.errors import UsageError
from tests.conftest import environment


class Kind(enum.Enum):
    FAST = "fast"


@dataclasses.dataclass
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = (3, 5)


@dataclasses.dataclass
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    options: dict[str, Any] = dataclasses.field(default_factory=lambda: {"deep": {"er": 1}, "none": {}})


class Model(BaseModel):
    width: int = 64
    inner: dict[str, float] = {"rate": 0.5}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {}),
        ({"a": 1, "b": {"c": True, "d": {"e": None}}}, {"a": 1, "b.c": True, "b.d.e": None}),
        (Outer(), {"inner.rate": 0.1, "inner.sizes": [3, 5], "options.deep.er": 1, "options.none": {}}),
        (argparse.Namespace(lr=0.5, path=Path("a/b")), {"lr": 0.5, "path": "a/b"}),
        (
            OmegaConf.create({"root": "a", "data": {"path": "${root}/b", "sizes": [1, {"n": 2}]}}),
            {"root": "a", "data.path": "a/b", "data.sizes": [1, {"n": 2}]},
        ),
        ({"cfg": OmegaConf.create({"x": 1}), "list": OmegaConf.create([1, 2])}, {"cfg.x": 1, "list": [1, 2]}),
        (OmegaConf.structured(Inner(sizes=(1,))), {"rate": 0.1, "sizes": [1]}),
        (Model(), {"width": 64, "inner.rate": 0.5}),
        ({1: {2: 3}}, {"1.2": 3}),
        (
            {"kind": Kind.FAST, "dtype": torch.float16, "f": math.sin, "class": Inner, "set": {2, 1}, "bytes": b"x"},
            {
                "kind": "fast",
                "dtype": "torch.float16",
                "f": "math.sin",
                "class": "tests.automatic.test_autologging.Inner",
                "set": [1, 2],
                "bytes": "b'x'",
            },
        ),
        ({"n": np.float32(0.5), "t": torch.tensor(3)}, {"n": 0.5, "t": 3}),
        ({"object": object(), "path": PurePosixPath("x")}, {"object": "builtins.object", "path": "x"}),
    ],
)
def test_configurations_become_flat_names_and_plain_values(config: object, expected: dict[str, object]) -> None:
    assert repr(flatten(config)) == repr(expected)  # as text: True is not 1


@pytest.mark.parametrize("config", [3, "lr=0.1", [1, 2], Inner, None, OmegaConf.create([1])])
def test_anything_else_is_refused_with_what_can_be_taken(config: object) -> None:
    with pytest.raises(UsageError, match=rf"from {type(config).__name__} .* It takes dicts, dataclass instances, .*"):
        flatten(config)


def run(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_callbacks_load_their_libraries_when_they_are_asked_for() -> None:
    code = (
        "import sys, flor_ray, flor_ray.automatic.integrations, flor_ray.automatic.autologging\n"
        "print([name for name in ('transformers', 'lightning', 'pytorch_lightning', 'omegaconf', 'torch') "
        "if name in sys.modules])"
    )
    assert run(code) == "[]\n"


def test_a_rank_that_does_not_record_stays_silent_and_unchanged() -> None:
    code = (
        "import sys, argparse, flor_ray as flor\n"
        "before = argparse.ArgumentParser.parse_known_args, list(sys.meta_path)\n"
        "flor.autolog(); flor.autolog({'lr': 0.1})\n"
        "print(before == (argparse.ArgumentParser.parse_known_args, list(sys.meta_path)))"
    )
    assert run(code, RANK="1") == "True\n"


def test_a_hook_runs_once_right_after_its_module_is_imported() -> None:
    code = (
        "import sys\n"
        "from flor_ray.environment.late_patches import after_import\n"
        "def hook(module): print('hook', module.rgb_to_hsv is not None)\n"
        "after_import({'colorsys': (hook,)})\n"
        "finders = list(sys.meta_path)\n"
        "after_import({'colorsys': (hook,)})\n"
        "assert finders == sys.meta_path\n"
        "after_import({'colorsys': (hook, lambda module: print('another'))})\n"
        "import colorsys; import colorsys; print('imported')\n"
        "after_import({'colorsys': (lambda module: print('at once'),)})"
    )
    assert sorted(run(code).splitlines()[:2]) == ["another", "hook True"]
    assert run(code).splitlines()[2:] == ["imported", "at once"]


def test_trainers_are_hooked_once_however_often_it_is_asked_for() -> None:
    code = (
        "import sys, types\n"
        "from flor_ray.automatic import autologging\n"
        "from flor_ray.environment import late_patches\n"
        "late_patches.after_import(autologging._HOOKS); late_patches.after_import(autologging._HOOKS)\n"
        "print(sum(type(finder).__module__ == 'flor_ray.environment.late_patches' for finder in sys.meta_path))\n"
        "import transformers.trainer as trainer\n"
        "late_patches.after_import(autologging._HOOKS)\n"
        "print([callback.__name__ for callback in trainer.DEFAULT_CALLBACKS].count('HuggingFaceCallback'))\n"
        "print(type(trainer.__loader__).__name__, type(trainer.__spec__.loader).__name__)"
    )
    assert run(code) == "1\n1\nSourceFileLoader SourceFileLoader\n"


def test_a_missing_library_is_named_with_what_to_do() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from flor_ray.errors import UsageError\n"
        "try:\n    from flor_ray.automatic.integrations import HuggingFaceCallback\n"
        "except UsageError as error:\n    print(error)"
    )
    assert "is for a Hugging Face Trainer, but transformers cannot be imported" in run(code)

"""Which attributes of libraries a text may set."""

from __future__ import annotations

import os
import unittest
from pathlib import Path

import pytest

from flor_ray.analysis.foreign_attributes import _MAY_SET, ForeignAttributes, _Reader, foreign_attributes
from flor_ray.analysis.source import read

IMPORTS = """
import builtins, math, os.path, sys, torch
import torch.nn.functional as F
from importlib import import_module
from torch import nn as layers
from unittest import mock
"""


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("builtins.extra = 5", {("builtins", "extra")}),
        ("__builtins__.extra = 5", {("builtins", "extra")}),
        ("F.relu = g", {("torch.nn.functional", "relu")}),
        ("F.relu.calls += 1", {("torch.nn.functional.relu", "calls")}),
        ("def f():\n    import numpy as np\n    np.my = 1", {("numpy", "my")}),
        ("torch.Tensor.twice = twice", {("torch.Tensor", "twice")}),
        ("layers.Linear.forward: object = f", {("torch.nn.Linear", "forward")}),
        ("os.path.join, x = f, 1", {("os.path", "join")}),
        ("for math.tau2 in range(3): pass", {("math", "tau2")}),
        ("del math.tau2", {("math", "tau2")}),
        ("sys.modules['math'].tau2 = 1", {("math", "tau2")}),
        ("import_module('torch.nn').new = 1", {("torch.nn", "new")}),
        ("__import__('math').tau2 = 1", {("math", "tau2")}),
        ("getattr(torch, 'nn').new = 1", {("torch.nn", "new")}),
        ("there = torch.nn\nagain = there\nagain.new = 1", {("torch.nn", "new")}),
        ("setattr(torch, 'x', 1)", {("torch", "x")}),
        ("delattr(torch, 'x')", {("torch", "x")}),
        ("torch.__setattr__('x', 1)", {("torch", "x")}),
        ("type.__setattr__(torch.Tensor, 'x', 1)", {("torch.Tensor", "x")}),
        ("monkeypatch.setattr(math, 'floor', abs)", {("math", "floor")}),
        ("mock.patch.object(math, 'floor', abs)", {("math", "floor")}),
        ("vars(math)['tau2'] = 1", {("math", "tau2")}),
        ("del math.__dict__['tau2']", {("math", "tau2")}),
        ("math.__dict__.setdefault('tau2', 1)", {("math", "tau2")}),
        ("x = math.tau", set()),
        ("class M:\n    def f(self):\n        self.x = 1", set()),
    ],
)
def test_what_is_written_out_is_known_by_owner_and_name(text: str, pairs: set[tuple[str, str]]) -> None:
    assert foreign_attributes(IMPORTS + text).pairs == pairs


@pytest.mark.parametrize(
    "text",
    [
        "setattr(math, name, 1)",
        "for name, f in table: setattr(math, name, f)",
        "vars(math).update(table)",
        "math.__dict__.update(tau2=1)",
        "math.__dict__ |= table",
        "vars(math)[name] = 1",
        "math.__dict__.clear()",
    ],
)
def test_where_the_name_is_computed_any_may_be_set(text: str) -> None:
    assert foreign_attributes(IMPORTS + text).wholes == {"math"}


@pytest.mark.parametrize(
    "text",
    [
        "owner.relu = g",
        "for owner in (F, torch): owner.relu = g",
        "type(net).relu = g",
        "patch(F, 'relu', g)",
        "for name in ('relu', 'gelu'): setattr(owner, name, g)",
        "mock.patch('torch.nn.functional.relu', g).start()",
        "mock.patch.multiple(F, relu=g)",
        "vars(owner)['relu'] = g",
        "vars(owner).update({'relu': g})",
    ],
)
def test_where_the_owner_is_not_seen_it_may_be_any_that_is_mentioned(text: str) -> None:
    found = foreign_attributes(IMPORTS + text)
    assert "relu" in found.names
    assert not found.pairs


def test_owners_are_all_that_is_mentioned_of_libraries() -> None:
    text = "from math import *\nfrom .own import x\ndef f(net):\n    return torch.nn.functional.relu(net.x) + tau\n"
    found = foreign_attributes("import torch\n" + text + "patch('a.b.c')").owners
    assert {"torch", "torch.nn.functional", "torch.nn.functional.relu", "math.tau", "a.b", "a.b.c"} <= found
    assert not any("own" in path or path.startswith("net") for path in found)


def test_imports_are_found_however_they_are_written() -> None:
    text = (
        "import a.b as c, d\nfrom e import (f,  # one, two\n  g as h,\n)\nif x: from i import j, \\\n  k; import m.n\n"
    )
    uses = "c.z, d.z, f.z, h.z, j.z, k.z, m.n.z"
    found = foreign_attributes(text + uses).owners
    assert {"a.b.z", "d.z", "e.f.z", "e.g.z", "i.j.z", "i.k.z", "m.n.z"} <= found


def test_the_look_before_parsing_misses_nothing() -> None:
    found = 0
    for file in [*Path(unittest.__file__).parent.glob("*.py"), *Path(os.__file__).parent.glob("[c-s]*.py")]:
        text = file.read_text("utf-8", "replace")
        tree = read(text).tree
        sets_some = tree is not None and _Reader(tree).found() != ForeignAttributes()
        found += sets_some
        assert not sets_some or _MAY_SET.search(text), file
    assert found > 20


def test_a_text_that_is_no_python_sets_nothing() -> None:
    assert foreign_attributes("def (") == foreign_attributes("")

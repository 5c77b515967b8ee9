"""Functions that functions of libraries make are kept where nothing that they took along can change."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from flor_ray.errors import StoreError
from flor_ray.state.pickling import Findable, LoadedState, StatePickler, pickles, references_to, resolver

LIBRARY = """
import functools

seen = []

def install(key, index=0):
    def more(outputs):
        return [*outputs, key]
    def hook(outputs, *, scale=2):
        return [scale * index, more(outputs)]
    return hook

class Maker:
    def method(self, part):
        def hook():
            return part
        hook.note = "by hand"
        return hook

def wraps(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

@wraps
def decorated(key):
    def hook():
        return key
    return hook

def counts():
    count = 0
    def hook():
        nonlocal count
        count += 1
        return count
    return hook

def collects(into):
    def hook(value):
        into.append(value)
    return hook

def anew(key):
    def hook():
        return key
    key = key + 1
    key = key + 1
    return hook

def twice(key):
    if key:
        def hook():
            return key
    else:
        def hook():
            return -key
    return hook

def goes_on(key):
    def hook():
        return key
    yield hook

def itself(depth):
    def hook(n):
        return hook(n - 1) if n else depth
    return hook

def empty():
    def hook():
        return later
    if seen:
        later = 1
    return hook
"""


@pytest.fixture
def library() -> Iterator[Any]:
    module: Any = types.ModuleType("a_library")
    sys.modules["a_library"] = module
    exec(textwrap.dedent(LIBRARY), vars(module))
    yield module
    del sys.modules["a_library"]


def kept(value: Any, findable: Findable | None = None, resolve: Any = None) -> Any:
    """The value, as a checkpoint holds it."""
    pickler = StatePickler(findable or Findable(), {}, with_gradients=False)
    pickler.dump({"it": value})
    return LoadedState(pickler.close({}), []).body(resolve)["it"]


def test_what_they_took_along_is_kept_with_them(library: Any) -> None:
    hook = kept(library.install("a", 3))
    assert hook([1], scale=5) == [15, [1, "a"]]
    assert hook([]) == [6, ["a"]]
    assert hook.__globals__ is vars(library)
    assert (hook.__module__, hook.__qualname__) == ("a_library", "install.<locals>.hook")
    assert kept(library.decorated("b"))() == "b"
    assert kept(library.Maker().method(("c", int, None)))() == ("c", int, None)
    assert kept(library.Maker().method(len))() is len
    assert kept(library.Maker().method(1)).note == "by hand"


def test_parts_that_a_replay_has_too_are_referred_to(library: Any) -> None:
    net = torch.nn.Linear(2, 2)
    parts = {"net": {"parameters": list(net.parameters())}}
    findable = Findable(references_to({"net": net}, {}, parts))
    assert kept(library.Maker().method(net.bias), findable, resolver({"net": net}, {}, parts))() is net.bias
    assert pickles(library.Maker().method(torch.ones(2)), findable, {}, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.counts(),
        lambda library: library.collects([]),
        lambda library: library.Maker().method({"a": 1}),
        lambda library: library.Maker().method(([],)),
        lambda library: library.Maker().method(library.collects([])),
        lambda library: library.Maker().method([].append),
        lambda library: library.anew(1),
        lambda library: library.twice(1),
        lambda library: next(library.goes_on(1)),
        lambda library: library.itself(1),
        lambda library: library.empty(),
    ],
)
def test_what_may_change_is_not_kept(library: Any, make: Any) -> None:
    assert pickles(make(library), Findable(), {}, None).startswith("it cannot be pickled: Can't ")


def test_attributes_that_may_change_are_not_kept(library: Any) -> None:
    hook = library.install("a")
    hook.calls = []
    assert pickles(hook, Findable(), {}, None)


def test_those_of_the_users_are_not_kept(library: Any) -> None:
    findable = Findable(is_users=lambda code: code.__module__ == "a_library")
    assert pickles(library.install("a"), findable, {}, None)


def test_another_release_of_the_library_is_told(library: Any) -> None:
    pickler = StatePickler(Findable(), {}, with_gradients=False)
    pickler.dump({"it": library.install("a")})
    data = pickler.close({})
    with contextlib.suppress(AttributeError):
        del library.install
    with pytest.raises(StoreError, match=r"a_library\.install\.<locals>\.more was .* another release of that library"):
        LoadedState(data, []).body(lambda *reference: None)


def test_no_checkpoint_makes_what_no_state_is_made_of(library: Any) -> None:
    library.__name__ = "subprocess"
    sys.modules["subprocess"], ours = library, sys.modules["subprocess"]
    try:
        exec("def run(key):\n    def hook():\n        return key\n    return hook", vars(library))
        pickler = StatePickler(Findable(), {}, with_gradients=False)
        pickler.dump({"it": library.run("a")})
        with pytest.raises(StoreError, match="which no state is made of"):
            LoadedState(pickler.close({}), []).body(lambda *reference: None)
    finally:
        sys.modules["subprocess"] = ours

"""Errors cross the border between processes as they are: type, text and attributes."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pytest

import flor_ray
from flor_ray.errors import FlorError, ObjectCorrupt, ScriptFailed
from flor_ray.records import LackingFile, Operator, Segment
from flor_ray.scheduler.allowance import Allowance


def every_error() -> list[type[FlorError]]:
    """All classes of errors that there are in any module of ours."""
    for module in pkgutil.walk_packages(flor_ray.__path__, "flor_ray."):
        if "demo_versions" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(set(below(FlorError)), key=lambda kind: (kind.__module__, kind.__qualname__))


def below(kind: type[FlorError]) -> Iterator[type[FlorError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from below(one)


ERRORS = [kind for kind in every_error() if kind.__module__.startswith("flor_ray.")]


EXAMPLES = {
    "str": "é {0} %s",
    "float": 2.5,
    "int": 3,
    "Iterable[str]": ("é", "b\nc"),
    "Segment": Segment("v" * 40, 1, 2, Operator.DP_I, restore=0),
    "tuple[LackingFile, ...]": (LackingFile("é.csv", differs=True),),
    "Allowance": Allowance(9.0, None, ()),
}


def example(kind: type[FlorError]) -> FlorError:
    """One that is made as its class wants it."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    given = [EXAMPLES[str(p.annotation)] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*given) if given else kind("a text", "and more")


def attributes(error: BaseException) -> dict[str, Any]:
    return vars(error)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "travel",
    [
        lambda error: pickle.loads(pickle.dumps(error)),
        lambda error: pickle.loads(pickle.dumps(error, protocol=2)),
        lambda error: pickle.loads(cloudpickle.dumps(error)),
        copy.copy,
    ],
    ids=["pickle", "old pickle", "cloudpickle", "copy"],
)
def test_every_error_arrives_as_it_left(kind: type[FlorError], travel: Callable[[FlorError], FlorError]) -> None:
    error = example(kind)
    error.add_note("a note")
    arrived = travel(travel(error))  # to a worker, and on to the driver
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert repr(arrived) == repr(error)
    assert arrived.args == error.args
    assert attributes(arrived) == attributes(error)
    assert arrived.__notes__ == ["a note"]


def test_there_are_all_kinds_of_them() -> None:
    assert {ObjectCorrupt, ScriptFailed} < set(ERRORS)
    assert len(ERRORS) > 15

"""Readers do not unpickle: what stands for a pickled value, and who may have the object."""

from __future__ import annotations

import datetime
import pickle
import random
import uuid
from collections import Counter, OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from flor_ray.errors import UsageError
from flor_ray.records import Value
from flor_ray.store import not_loaded
from flor_ray.store.not_loaded import NotLoaded
from flor_ray.store.typed_values import decode


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "dataframe"])
def test_a_pickled_value_is_not_loaded_unless_pickles_are_allowed(tmp_path: Path, kind: str) -> None:
    canary, value = tmp_path / "canary", Value(kind, text="key")
    data = pickle.dumps(Canary(canary))
    found = decode(value, lambda key: data)
    assert isinstance(found, NotLoaded)
    assert found.data == data
    assert not canary.exists()
    decode(value, lambda key: data, pickles=True)
    assert canary.exists()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Counter(a=1), "collections.Counter"),
        ({"when": datetime.date(2026, 1, 1), "of": random.Random(1)}, "datetime.date"),
        (random.Random(1), "random.Random"),
        (Value("str"), "flor_ray.records.Value"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_its_type_is_read_off_the_pickle(value: object, kind: str, protocol: int) -> None:
    found = not_loaded.pickled(pickle.dumps(value, protocol))
    assert isinstance(found, NotLoaded)
    assert found.kind == kind
    assert repr(found).startswith(f"<not loaded: type {kind}, ")
    assert type(found.load()) is type(value)


PLAIN = [
    *(
        {1: 2},
        {3, 4},
        frozenset({5}),
        (1, (2, "x")),
        1 + 2j,
        range(3),
        OrderedDict(a=1),
        Decimal("1.5"),
        Fraction(1, 3),
    ),
    *(
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        [datetime.timedelta(seconds=1)],
        uuid.UUID(int=7),
        deque([1]),
    ),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
@pytest.mark.parametrize("protocol", [4, 5])
def test_what_can_run_nothing_is_read(value: object, protocol: int) -> None:
    found = not_loaded.pickled(pickle.dumps(value, protocol))
    assert found == value
    assert type(found) is type(value)


def test_things_that_hold_each_other_many_times_over_are_not_loaded() -> None:
    laughs: list[object] = ["ha"] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    circle: list[object] = []
    circle.append(circle)
    for value in (laughs, circle):
        assert isinstance(not_loaded.pickled(pickle.dumps(value)), NotLoaded)


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x80\x05\x8e" + b"\xff" * 8, b"c\x1b[2Jos\nsystem\n."])
def test_whatever_the_bytes_are_it_has_a_plain_name(data: bytes) -> None:
    assert "\x1b" not in repr(not_loaded.pickled(data))


def test_what_cannot_be_read_at_all_says_why() -> None:
    broken = NotLoaded("array", why="its bytes are gone")
    assert repr(broken) == "<not loaded: its bytes are gone>"
    with pytest.raises(ValueError, match="its bytes are gone"):
        broken.load()


def test_one_place_decides() -> None:
    assert not not_loaded.allowed(None, {})
    assert not_loaded.allowed(None, {"FLOR_PICKLES": "allow"})
    assert not not_loaded.allowed("refuse", {"FLOR_PICKLES": "allow"})
    assert not_loaded.allowed("allow", {})
    with pytest.raises(UsageError, match="FLOR_PICKLES='yes'"):
        not_loaded.allowed(None, {"FLOR_PICKLES": "yes"})
    with pytest.raises(UsageError, match="pickles='yes'"):
        not_loaded.allowed("yes", {})

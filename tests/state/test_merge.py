"""What a list held when it was saved is what it holds afterwards, whatever it holds now."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import fractions
import ipaddress
import itertools
import operator
import pathlib
import pickle
import re
import statistics
import string
import types
import uuid
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from flor_ray.state.merge import Merger
from flor_ray.state.reachable import attributes


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: int


class Below:
    __slots__ = ("__hidden", "__weakref__", "value")

    def __init__(self, value: int) -> None:
        self.value = value
        self.__hidden = value + 1

    def seen(self) -> Any:
        return self.value, self.__hidden


VALUE: Any = vars(Below)["value"]


class Above(Below):
    """Has a second slot of one name, and attributes besides."""

    __slots__ = ("__dict__", "__own__", "value")

    def __init__(self, value: int) -> None:
        VALUE.__set__(self, value)
        super().__init__(value + 2)
        self.__own__ = value + 3
        self.more = value + 4

    def seen(self) -> Any:
        return super().seen(), VALUE.__get__(self), self.__own__, self.more


def _covered() -> Any:
    """A class with a property, which cannot be set, in place of a slot."""
    return type("Covered", (Below,), {"__slots__": (), "value": property(VALUE.__get__)})


def _filled(kind: Any, value: int) -> Any:
    made = object.__new__(kind)
    VALUE.__set__(made, value)
    return made


PAIRS: dict[str, tuple[Any, Any]] = {
    "pattern": (re.compile("a"), re.compile("b")),
    "uuid": (uuid.UUID(int=1), uuid.UUID(int=2)),
    "decimal": (decimal.Decimal(1), decimal.Decimal(2)),
    "fraction": (fractions.Fraction(1, 2), fractions.Fraction(1, 3)),
    "date": (datetime.date(2000, 1, 1), datetime.date(2001, 1, 1)),
    "zone": (zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Europe/Berlin")),
    "path": (pathlib.Path("a"), pathlib.Path("b/c")),
    "pure path": (pathlib.PureWindowsPath("a"), pathlib.PureWindowsPath("b/c")),
    "address": (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2")),
    "normal": (statistics.NormalDist(1, 2), statistics.NormalDist(2, 2)),
    "namespace": (types.SimpleNamespace(a=1), types.SimpleNamespace(b=2)),
    "counter": (collections.Counter(a=1), collections.Counter(b=1)),
    "chain": (collections.ChainMap({1: 1}), collections.ChainMap({2: 1})),
    "generic": (list[int], list[str]),
    "dtype": (np.dtype("f4"), np.dtype([("b", "i8")])),
    "scalar": (np.float64(1), np.float64(2)),
    "size": (torch.Size([1]), torch.Size([2])),
    "device": (torch.device("cpu"), torch.device("meta")),
    "torch dtype": (torch.float32, torch.float64),
    "timestamp": (pd.Timestamp("2000"), pd.Timestamp("2001")),
    "frozen": (Frozen(1), Frozen(2)),
}


@pytest.mark.parametrize(("living", "saved"), PAIRS.values(), ids=PAIRS)
def test_what_is_put_back_is_what_was_saved(living: Any, saved: Any) -> None:
    again = pickle.loads(pickle.dumps(saved, protocol=5))
    got = Merger().merge([living], [again])
    assert got == [saved]
    assert [type(one) for one in got] == [type(saved)]


def test_what_compares_by_identity_is_put_back_too() -> None:
    for living, saved, look in (
        (string.Template("a"), string.Template("b"), operator.attrgetter("template")),
        (Below(1), Below(7), lambda one: one.seen()),
        (Above(1), Above(7), lambda one: one.seen()),
        (operator.itemgetter(0), operator.itemgetter(1), repr),
        (itertools.count(1), itertools.count(5), repr),
    ):
        wanted = look(saved)
        assert look(Merger().merge([living], [saved])[0]) == wanted


def test_a_covered_slot_is_filled_past_its_property() -> None:
    kind = _covered()
    living = _filled(kind, 1)
    assert Merger().merge(living, _filled(kind, 7)) is living
    assert living.value == 7


def test_all_slots_are_attributes() -> None:
    assert attributes(Above(1)) == {
        "value": 3,
        "Below.value": 1,
        "_Below__hidden": 4,
        "__own__": 4,
        "more": 5,
    }

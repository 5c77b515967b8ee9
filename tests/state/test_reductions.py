"""Objects that leave something out when they are pickled are kept with it."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from flor_ray.state.pickling import Findable, LoadedState, StatePickler
from flor_ray.state.reductions import is_own


def is_users(kind: Any) -> bool:
    return getattr(kind, "__module__", "") == __name__


def kept(value: Any) -> Any:
    """The value, as a checkpoint holds it."""
    pickler = StatePickler(Findable(is_users=is_users), {}, with_gradients=False)
    pickler.dump({"it": value})
    return LoadedState(pickler.close({}), []).body(lambda *reference: None)["it"]


class Reduced:
    def __init__(self, n: int = 0) -> None:
        self.n, self.seen = n, [n]

    def __reduce__(self) -> Any:
        return Reduced, (self.n,)


class Altered:
    def __init__(self) -> None:
        self.cache, self.lock = {"a": 1}, threading.Lock()

    def __getstate__(self) -> Any:
        return {"cache": {}}

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state, lock=threading.Lock())


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self) -> None:
        self.left, self.right = [1], [2]

    def __getstate__(self) -> Any:
        return None, {"left": self.left}


class Items(list[int]):
    more = 0

    def __reduce_ex__(self, protocol: object) -> Any:
        return Items, (), None, iter(self)


class Registered:
    seen = 0


class Going:
    def __init__(self, items: Iterator[int]) -> None:
        self.items = items

    def __getstate__(self) -> Any:
        return {}


def test_attributes_that_the_classes_leave_out_or_alter_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced = Reduced(3)
    reduced.seen.append(4)
    assert vars(kept(reduced)) == {"n": 3, "seen": [3, 4]}
    altered = kept(Altered())
    assert altered.cache == {"a": 1}
    with altered.lock:  # which the class has made anew
        pass
    slotted = kept(Slotted())
    assert (slotted.left, slotted.right) == ([1], [2])
    items = Items([1, 2])
    items.more = 3
    assert (list(kept(items)), kept(items).more) == ([1, 2], 3)
    monkeypatch.setitem(copyreg.dispatch_table, Registered, lambda it: (Registered, ()))
    registered = Registered()
    registered.seen = 5
    assert kept(registered).seen == 5


def test_what_objects_share_and_refer_to_in_a_circle_is_one_object_again() -> None:
    one, other = Reduced(1), Altered()
    one.seen = other.cache["one"] = [one, other]  # type: ignore[assignment]
    found = kept([one, other])
    assert found[0].seen is found[1].cache["one"]
    assert (found[0].seen[0], found[0].seen[1]) == (found[0], found[1])


def test_an_iterator_that_is_left_out_and_cannot_be_pickled_makes_its_object_lost() -> None:
    assert next(kept(Going(iter([1, 2]))).items) == 1
    with pytest.raises(pickle.PicklingError, match="a Going is pickled without its items"):
        kept(Going(n for n in (1, 2)))


def test_only_what_the_users_classes_say_themselves_counts() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Frozen:
        n: int

    class Color(enum.Enum):
        RED = 1

    class Plain:
        pass

    class Derived(Altered):
        pass

    assert [is_own(kind, is_users) for kind in (Altered, Derived, Frozen, Color, Plain, threading.Thread)] == [
        True, True, False, False, False, False
    ]  # fmt: skip

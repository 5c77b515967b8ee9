"""Attributes of libraries that the user's code has set since a loop began."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from flor_ray.analysis.foreign_attributes import foreign_attributes
from flor_ray.state.foreign import ForeignState


class Library(types.ModuleType):
    """Stands for any module."""

    a: int
    b: object
    Kind: Any
    function: Any
    lazy: types.ModuleType
    _hidden: int


def users(x: int) -> int:
    return x


users.__module__ = "users"


def is_users(thing: object) -> bool:
    return getattr(thing, "__module__", "") == "users"


@pytest.fixture
def lib() -> Iterator[Library]:
    lib = sys.modules["lib"] = Library("lib")
    lib.a, lib.b, lib._hidden = 1, [2], 3
    exec("class Kind:\n  x = 1\ndef function(): pass", vars(lib))
    yield lib
    del sys.modules["lib"]


def state_of(text: str) -> ForeignState:
    return ForeignState(foreign_attributes(f"import lib\n{text}"), is_users)


def test_what_the_text_sets_is_told_once_it_is_another_and_is_put_back(lib: Library) -> None:
    place = state_of("lib.a = lib.Kind.x = lib.function.calls = 5\ndel lib.b").place()
    assert place.read() == {}
    held, lib.a, lib.Kind.x, lib.function.calls = lib.b, 5, 6, 7
    del lib.b
    changed = place.read()
    assert changed == {"lib.a": 5, "lib.Kind.x": 6, "lib.function.calls": 7, "del lib.b": None}
    place.write({}, changed)
    assert (lib.a, lib.b, lib.Kind.x, hasattr(lib.function, "calls")) == (1, held, 1, False)
    place.write(changed, [])
    assert place.read() == changed


def test_what_is_set_here_and_gone_there_goes(lib: Library) -> None:
    place = state_of("lib.a = 5\ndel lib.a").place()
    lib.a = 5
    place.write({"del lib.a": None}, place.read())
    assert not hasattr(lib, "a")


def test_what_a_library_sets_itself_is_none_of_the_scripts_state(lib: Library) -> None:
    place = state_of("lib.function()\nowner.new = 1\nsetattr(lib, name, 1)").place()
    lib._hidden = 4
    lib.lazy = sys.modules["lib.lazy"] = types.ModuleType("lib.lazy")
    assert place.read() == {}
    vars(lib)["_users"] = users
    assert place.read() == {"lib._users": users}
    del sys.modules["lib.lazy"]


@pytest.mark.parametrize(
    "text", ["for o in (lib, lib.Kind): o.new = 1", "patch(lib, 'new', lib.Kind)", "setattr(lib, name, lib.Kind)"]
)
def test_where_the_text_does_not_say_who_has_it_all_that_it_mentions_are_looked_at(lib: Library, text: str) -> None:
    place = state_of(text).place()
    vars(lib)["new"] = lib.Kind.new = object()
    assert {"lib.new"} <= place.read().keys() <= {"lib.new", "lib.Kind.new"}


def test_the_classes_of_objects_are_looked_at_too(lib: Library) -> None:
    state = state_of("type(x).new = 1")
    lib.Kind.new = 1
    assert state.place().read() == {}
    del lib.Kind.new
    state.meet([lib.Kind()])
    lib.Kind.new = 1
    assert state.place().read() == {"lib.Kind.new": 1}


def test_a_library_that_is_imported_later_is_looked_at_then(lib: Library) -> None:
    del sys.modules["lib"]
    place = state_of("lib.a = 5").place()
    assert place.read() == {}
    sys.modules["lib"] = lib
    assert place.read() == {"lib.a": 1}  # nobody knows whether that is the library's own


def test_what_the_text_sets_is_followed_and_nothing_else(lib: Library) -> None:
    vars(lib).update(new={}, f=users)
    state = state_of("lib.b = lib.a = lib.function = lib.Kind = 1\npatch(lib, 'f')")
    assert state.followed() == {"lib.a": 1, "lib.b": lib.b, "lib.f": users}


def test_code_of_the_users_is_no_librarys(lib: Library) -> None:
    lib.Kind.__module__ = "users"
    place = state_of("lib.Kind.x = 2").place()
    lib.Kind.x = 2
    assert place.read() == {}

"""Which of the user's code a replay finds by its name when a loop begins."""

from __future__ import annotations

import sys
import types

import pytest

from flor_ray.state.early_code import EarlyCode

TEXT = """
def function(): pass
class Outer:
    class Inner: pass
    def method(self): pass
    @staticmethod
    def static(): pass
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("users")
    exec(TEXT, vars(module))
    monkeypatch.setitem(sys.modules, "users", module)
    return module


def is_users(thing: object) -> bool:
    return getattr(thing, "__module__" if not isinstance(thing, types.ModuleType) else "__name__", "") == "users"


def test_what_modules_and_their_classes_hold_is_early_and_all_else_of_the_users_is_late(
    module: types.ModuleType,
) -> None:
    code = EarlyCode(is_users)
    outer = module.Outer
    early = [module, module.function, outer, outer.Inner, outer.method, outer.static, dict, len, EarlyCode]
    assert [each for each in early if code.is_late(each)] == []
    exec(TEXT, vars(module))  # defined again, under the same names
    late = [module.function, module.Outer, module.Outer.Inner, module.Outer.method, module.Outer.static]
    assert [code.is_late(each) for each in late] == [True] * 5
    assert code.is_late(types.ModuleType("users"))
    assert not code.is_late(outer)


def test_code_that_is_gone_is_not_taken_for_what_took_its_place_in_memory(module: types.ModuleType) -> None:
    code = EarlyCode(is_users)
    for _ in range(100):
        exec("def function(): pass", vars(module))
        assert code.is_late(module.function)


def test_a_loop_that_begins_later_finds_what_is_there_then(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, gone = EarlyCode(is_users), module.Outer
    exec(TEXT, vars(module))
    monkeypatch.setitem(sys.modules, "users.more", more := types.ModuleType("users"))
    exec("def another(): pass", vars(more))
    again = EarlyCode(is_users, first)
    early = [module.function, module.Outer, module.Outer.Inner, module, more, more.another]
    assert [each for each in early if again.is_late(each)] == []
    assert again.is_late(gone)
    monkeypatch.delitem(sys.modules, "users.more")
    third = EarlyCode(is_users, again)
    assert third.is_late(more)
    assert third.is_late(more.another)
    assert not third.is_late(module.function)

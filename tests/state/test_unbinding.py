"""A variable of a running function that has been unbound cannot be read, on any Python, until it is bound again."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flor_ray.errors import ReplayError
from flor_ray.state import frames, unbinding

_KEPT = 7
_MANY = "\n".join(f"v{number} = {number}" for number in range(300))  # indices of more than a byte

# Each is the end of a function in which `x` and `y` are bound, and then `x` is unbound. All must raise.
READS = {
    "returned": "return x",
    "with another": "return (y, x)",  # from 3.13 on, one instruction loads both
    "before another": "return (x, y)",
    "after a store": "z = 5\nreturn x",  # ... or stores one and loads the other
    "compared with None": "return x is None",
    "as a condition": "return 1 if x else 2",
    "in a text": "return f'{x!r}'",
    "in a nested text": "return f\"{f'{x}'}\"",
    "augmented": "x += 1",
    "deleted": "del x",
    "passed on": "return list((x,))",
    "starred": "return [*[1], *x]",
    "an attribute of it": "return x.real",
    "an item of it": "return x[0]",
    "an item to set": "x[0] = 1",
    "iterated over": "for _ in x:\n    pass",
    "in a comprehension": "return [y + x for _ in range(2)]",
    "a comprehension's iterable": "return [z for z in x]",
    "after a comprehension that has the name": "z = [x for x in range(3)]\nreturn x",
    "matched": "match x:\n    case 1:\n        return 1",
    "in a with statement": "with x:\n    pass",
    "a default": "return (lambda a=x: a)()",
    "given by a name": "return dict(a=x)",
    "the second time": "try:\n    x\nexcept NameError:\n    pass\nreturn x",
    "in a loop": "for _ in range(3):\n    if y:\n        z = x\nreturn z",
    "where a branch binds it": "if not y:\n    x = 1\nreturn x",
    "of many": f"{_MANY}\nreturn (v299, x)",
}
# Ways past the function's own code: what they find cannot be used.
PAST_ITS_CODE = [
    "return eval('x + 1')",
    "return eval('x is None or x')",
    "return eval('f\"{x}\"')",
    "return '{x}'.format(**locals())",
    "return locals()['x'] == 1",
    "return 'x' in locals() and bool(locals()['x'])",
    "import pickle\nreturn pickle.dumps(locals()['x'])",
    "import copy\nreturn copy.deepcopy(locals()['x'])",
    "return {locals()['x']: 1}",
    "return locals()['x'].real",
    "return sorted([locals()['x'], 1])",
]
# After these it is bound again, and nothing raises.
BINDS = {
    "assigned": "x = 7\nreturn x",
    "unpacked": "x, z = 7, 8\nreturn (x, z)[0]",
    "a loop's": "for x in (6, 7):\n    pass\nreturn x",
    "walrus": "return (x := 7)",
    "imported": "import sys as x\nreturn 7 if x.version_info else 0",
    "a with statement's": "import contextlib\nwith contextlib.nullcontext(7) as x:\n    return x",
    "deleted after that": "x = 7\ndel x\nx = 7\nreturn x",
    "a comprehension has the name": "return [x for x in (7,)][0]",
    "a lambda has the name": "return (lambda x: x)(7)",
    "stored and loaded at once": "x = y\nz = x\nreturn z",
    "never read": "return y",
}


def _function(end: str, start: str = "x = y = 7\n", head: str = "def function():\n") -> Callable[[], Any]:
    body = f"{start}frames.write(sys._getframe(), {{}}, ['x'])\n{end}\n"
    namespace: dict[str, Any] = {"frames": frames, "sys": sys, "threading": threading}
    exec(head + textwrap.indent(body, "    "), namespace)
    function: Callable[[], Any] = namespace["function"]
    return function


@pytest.mark.parametrize("end", READS.values(), ids=READS)
def test_an_unbound_variable_cannot_be_read(end: str) -> None:
    with pytest.raises(NameError):
        _function(end)()


@pytest.mark.parametrize("end", PAST_ITS_CODE)
def test_an_unbound_variable_cannot_be_used_past_the_functions_code(end: str) -> None:
    try:
        value = str(_function(end)())
    except (NameError, KeyError, TypeError):
        return
    assert value == "False"  # Python 3.11 does not have it among its locals at all


@pytest.mark.parametrize("end", READS.values(), ids=READS)
def test_one_that_inner_functions_share_cannot_be_read(end: str) -> None:
    with pytest.raises(NameError):
        _function(end, start="x = y = 7\ndef inner():\n    return x\n")()


@pytest.mark.parametrize("end", BINDS.values(), ids=BINDS)
@pytest.mark.parametrize("start", ["x = y = 7\n", "x = y = 7\ndef inner():\n    return x\n"], ids=["own", "shared"])
def test_one_that_is_bound_again_can(end: str, start: str) -> None:
    assert _function(end, start)() == _KEPT


@pytest.mark.parametrize(
    "end", ["return inner()", "return [inner() for _ in range(2)]", "return (lambda: x)()", "class A:\n    z = x"]
)
def test_inner_functions_cannot_read_one_that_they_share(end: str) -> None:
    with pytest.raises(NameError):
        _function(end, start="x = y = 7\ndef inner():\n    return x\n")()


def test_an_inner_function_unbinds_what_it_shares() -> None:
    start = "x = y = 7\ndef inner():\n    nonlocal x\n    frames.write(sys._getframe(), {}, ['x'])\n    x\n"
    with pytest.raises(NameError):
        _function("inner()", start.replace("frames", "x\n    frames"))()


def test_parameters_can_be_unbound() -> None:
    for head in ("def function(x=1, y=1):\n", "def function(*x, y=1):\n", "def function(y=1, **x):\n"):
        with pytest.raises(NameError):
            _function("return x", start="", head=head)()


def test_a_generators_variable_can_be_unbound() -> None:
    generator = _function("yield y\nyield x")()
    assert next(generator) == _KEPT
    with pytest.raises(NameError):
        next(generator)


def test_another_call_of_the_function_keeps_its_own() -> None:
    end = "return function(False) if first else x"
    start = "x = y = 7\nif not first:\n    return x\n"
    assert _function(end, start, "def function(first=True):\n")() == _KEPT


def test_a_thread_that_runs_the_function_keeps_its_own() -> None:
    end = textwrap.dedent("""\
        found = []
        thread = threading.Thread(target=lambda: found.append(function(False)))
        thread.start()
        thread.join()
        return found[0]
        """)
    assert _function(end, "x = y = 7\nif not first:\n    return x\n", "def function(first=True):\n")() == _KEPT


def test_variables_can_be_unbound_one_after_the_other() -> None:
    def function() -> list[str]:
        a = b = c = 1
        told: list[str] = []
        for gone in (["a"], ["b"], ["a", "b"]):
            frames.write(sys._getframe(), {"c": 2}, gone)
            try:
                told.append(f"a {a} {c}")
            except NameError:
                told.append("no a")
            try:
                told.append(f"b {b} {c}")
            except NameError:
                told.append("no b")
            a = 3
        return told

    assert function() == ["no a", "b 1 2", "a 3 2", "no b", "no a", "no b"]


def test_an_unbound_variable_is_no_variable_for_a_checkpoint_nor_its_modules_namesake() -> None:
    namespace: dict[str, Any] = {"frames": frames, "sys": sys, "x": "the module's"}
    exec(
        "def function():\n    x = y = 7\n    frames.write(sys._getframe(), {}, ['x', 'never bound'])\n"
        "    return frames.read(sys._getframe(), ['x', 'y'])",
        namespace,
    )
    assert namespace["function"]() == {"y": 7}


def test_what_is_unbound_is_told_with_its_name() -> None:
    with pytest.raises(UnboundLocalError, match="'x'"):
        _function("return x")()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 unbinds without help")
def test_without_room_for_a_watch_nothing_is_unbound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbinding, "_tool", None)
    monkeypatch.setattr(unbinding._monitoring, "get_tool", lambda number: "taken")
    with pytest.raises(ReplayError, match="tool ids"):
        _function("return x")()

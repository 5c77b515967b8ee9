"""Variables going in and out of living frames, and loops whose iterators the script holds."""

from __future__ import annotations

import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest

from flor_ray.state import frames


def test_a_functions_variables_are_read_written_and_unbound() -> None:
    def function() -> dict[str, Any]:
        kept, changed, gone = 1, 1, 1
        cell = 1

        def inner() -> int:
            return cell

        frame = sys._getframe()
        assert frames.read(frame, ["kept", "gone", "cell", "missing"]) == {"kept": 1, "gone": 1, "cell": 1}
        frames.write(frame, {"changed": 2, "cell": 3}, ["gone"])
        found = {"kept": kept, "changed": changed, "cell": inner()}
        with pytest.raises(UnboundLocalError):
            found["gone"] = gone
        return found

    assert function() == {"kept": 1, "changed": 2, "cell": 3}


def test_a_modules_variables_are_read_written_and_unbound() -> None:
    namespace: dict[str, Any] = {"sys": sys, "found": []}
    exec("a = b = 1\nfound.append(sys._getframe())", namespace)
    frame: FrameType = namespace["found"][0]
    frames.write(frame, {"a": 2, "c": 3}, ["b"])
    assert (namespace["a"], namespace["c"], "b" in namespace) == (2, 3, False)
    assert frames.read(frame, ["a", "b"]) == {"a": 2}


def test_a_functions_globals_are_written_in_its_module() -> None:
    namespace: dict[str, Any] = {"frames": frames, "sys": sys, "n": 1}
    exec("def f():\n    frames.write(sys._getframe(), {'n': 2})\n    return n", namespace)
    assert (namespace["f"](), namespace["n"]) == (2, 2)


def test_a_held_loop_is_closed_when_the_script_is_seen_outside_of_its_lines() -> None:
    left = []

    def numbers() -> Generator[int, None, None]:
        try:
            yield from range(9)
        finally:
            left.append(True)

    held = frames.HeldLoops()
    frame, iterator = sys._getframe(), numbers()
    first = frame.f_lineno
    next(iterator)
    inside = range(first, frame.f_lineno + 3)
    held.add(iterator, frame, inside)
    held.close_left()
    assert left == []
    held.close_left()
    assert left == [True]
    held.close_left()
    assert left == [True]

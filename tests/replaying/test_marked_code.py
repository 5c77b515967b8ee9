"""Marks in a script's syntax tree: where they are put, and that nothing else changes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pytest

from flor_ray.analysis.marks import Own, marks_of
from flor_ray.analysis.source import read
from flor_ray.replaying import marked_code
from flor_ray.replaying.marked_code import instrumented


def ran(
    text: str,
    hindsight: Iterable[int] = (),
    stops: Iterable[int] = (),
    at_end: Iterable[int] = (),
    left: int | None = None,
    is_end: bool = False,
    runs: bool = True,
) -> list[str]:
    """What a marked text does, as a list of words."""
    text = f"{text}import flor_ray as flor\n"  # behind it: lines hold
    marks = marks_of(read(text), Own(), frozenset(hindsight), frozenset(stops), frozenset(at_end))
    told: list[str] = []

    @contextlib.contextmanager
    def observe(*names: str) -> Iterator[None]:
        told.append(f"guard {' '.join(names)}")
        yield
        told.append("end")

    class Flor:
        @staticmethod
        def loop(name: str, over: object) -> object:
            return over

        @staticmethod
        def iteration(name: str) -> contextlib.AbstractContextManager[None]:
            return contextlib.nullcontext()

    functions = {
        marked_code.OBSERVE: observe,
        marked_code.DONE: lambda line: line == left,
        marked_code.AT_END: lambda: is_end,
        marked_code.RUNS: lambda: runs,
    }
    space = {"flor": Flor, "tell": told.append, "range": range, **functions}
    exec(instrumented(text.encode(), "train.py", marks), space)
    return told


LOOP = """\
tell("before")
for epoch in flor.loop("epoch", range(2)):
    tell("head")
    if epoch:
        tell("new")
    for step in flor.loop("step", range(1)):
        tell("step")
    tell("tail")
    tell("last")
tell("after")
"""


def test_without_marks_the_script_runs_as_it_stands() -> None:
    epoch = ["head", "step", "tail", "last"]
    assert ran(LOOP) == ["before", *epoch, "head", "new", "step", "tail", "last", "after"]


def test_statements_that_were_added_are_guarded_in_any_block_and_neighbours_together() -> None:
    assert ran(LOOP, {5, 8, 9}) == [
        *("before", "head", "step", "guard tell", "tail", "last", "end"),
        *("head", "guard tell", "new", "end", "step", "guard tell", "tail", "last", "end", "after"),
    ]


def test_a_compound_statement_that_was_added_whole_is_guarded_whole() -> None:
    told = ran(LOOP, {4, 5})
    assert told[:5] == ["before", "head", "guard epoch tell", "end", "step"]


def test_an_epoch_may_be_left_after_a_stop_of_the_recorded_loops_body_only() -> None:
    assert ran(LOOP, stops={7}, left=7) == [
        *("before", "head", "step", "head", "new", "step", "after"),
    ]
    plain = LOOP.replace('flor.loop("epoch", range(2))', "range(2)")
    assert ran(plain, stops={7}, left=7).count("tail") == 2


def test_the_end_of_an_epoch_runs_the_chosen_statements_alone() -> None:
    assert ran(LOOP, {9}, at_end={9}, is_end=True) == ["before", "last", "last", "after"]


def test_the_body_of_an_iteration_can_be_skipped() -> None:
    text = 'for i in range(2):\n    with flor.iteration("epoch"):\n        tell("body")\n    tell("rest")\n'
    assert ran(text) == ["body", "rest"] * 2
    assert ran(text, runs=False) == ["rest"] * 2


def test_line_numbers_hold() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        ran(LOOP.replace('tell("tail")', "1 / 0"), {5, 8})
    assert raised.traceback[-1].lineno == 7  # counted from 0

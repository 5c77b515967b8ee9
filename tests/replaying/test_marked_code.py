"""Marks in a script's syntax tree: where they are put, and that nothing else changes."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator

import pytest

from flor_ray.replaying import marked_code
from flor_ray.replaying.marked_code import Marks, inserted_lines, instrumented, only_reads

READS = [
    "flor.log('x', loss.item())",
    "flor.log('x', {'a': [p.grad.norm().item() for p in net.parameters()]})",
    "flor.log(f'x{k}', round(float(a[k] + b.c) / len(d), 3))",
    "log('x', a if b > 0 else -c)",
    "total = sum(p.numel() for p in net.parameters())",
    "if epoch % 5 == 0:\n    flor.log('x', epoch)",
    "print('now', loss.item())",
    "def norm(model):\n    return model.step()",
]
MAY_CHANGE = [
    "flor.log('x', evaluate(net))",
    "flor.log('x', net(batch).sum())",
    "flor.log('x', torch.rand(1).item())",
    "flor.log('x', [a for a, b in loader])",
    "flor.log('x', list(loader))",
    "flor.log('x', next(stream))",
    "flor.log('x', queue.get())",
    "flor.log('x', w.zero_())",
    "flor.log('x', (n := 3))",
    "history[0] = 1",
    "net.eval()",
    "import numpy",
    "for x in range(3):\n    flor.log('x', x)",
    "with torch.no_grad():\n    flor.log('x', net)",
    "epoch += 1",
    "del net",
]


@pytest.mark.parametrize("text", READS)
def test_a_statement_that_only_reads_is_seen_to(text: str) -> None:
    assert only_reads(ast.parse(text).body[0])


@pytest.mark.parametrize("text", MAY_CHANGE)
def test_a_statement_that_may_change_something_is_not_taken_to_only_read(text: str) -> None:
    assert not only_reads(ast.parse(text).body[0])


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("a\nb\n", "a\nb\n", set()),
        ("a\nb\n", "a\nx\nb\n", {2}),
        ("a\r\nb\r\n", "a\r\nx\r\nb\r\n", {2}),
        ("a\nb\n", "x\ny\na\nb\nz\n", {1, 2, 5}),
        ("", "x\n", {1}),
        ("f(\n)\n", "f(\n)\ng(\n)\n", {3, 4}),
        ("a\nb\nc\n", "a\nB\nc\nx\n", {4}),
    ],
)
def test_inserted_lines_are_those_that_were_not_there(before: str, after: str, lines: set[int]) -> None:
    assert inserted_lines(before, after) == lines


def ran(text: str, marks: Marks, left: int | None = None, at_end: bool = False, runs: bool = True) -> list[str]:
    """What a marked text does, as a list of words."""
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
        marked_code.AT_END: lambda: at_end,
        marked_code.RUNS: lambda: runs,
    }
    exec(
        instrumented(text.encode(), "train.py", marks), {"flor": Flor, "tell": told.append, "range": range, **functions}
    )
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
    assert ran(LOOP, Marks()) == ["before", *epoch, "head", "new", "step", "tail", "last", "after"]


def test_statements_that_were_added_are_guarded_in_any_block_and_neighbours_together() -> None:
    assert ran(LOOP, Marks(frozenset({5, 8, 9}))) == [
        *("before", "head", "step", "guard tell", "tail", "last", "end"),
        *("head", "guard tell", "new", "end", "step", "guard tell", "tail", "last", "end", "after"),
    ]


def test_a_compound_statement_that_was_added_whole_is_guarded_whole() -> None:
    told = ran(LOOP, Marks(frozenset({4, 5})))
    assert told[:5] == ["before", "head", "guard epoch tell", "end", "step"]


def test_an_epoch_may_be_left_after_a_stop_of_the_recorded_loops_body_only() -> None:
    assert ran(LOOP, Marks(stops=frozenset({7})), left=7) == [
        *("before", "head", "step", "head", "new", "step", "after"),
    ]
    plain = LOOP.replace('flor.loop("epoch", range(2))', "range(2)")
    assert ran(plain, Marks(stops=frozenset({7})), left=7).count("tail") == 2


def test_the_end_of_an_epoch_runs_the_chosen_statements_alone() -> None:
    assert ran(LOOP, Marks(frozenset({9}), at_end=frozenset({9})), at_end=True) == ["before", "last", "last", "after"]


def test_the_body_of_an_iteration_can_be_skipped() -> None:
    text = 'for i in range(2):\n    with flor.iteration("epoch"):\n        tell("body")\n    tell("rest")\n'
    assert ran(text, Marks()) == ["body", "rest"] * 2
    assert ran(text, Marks(), runs=False) == ["rest"] * 2


def test_line_numbers_hold() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        ran(LOOP.replace('tell("tail")', "1 / 0"), Marks(frozenset({5, 8})))
    assert raised.traceback[-1].lineno == 7  # counted from 0

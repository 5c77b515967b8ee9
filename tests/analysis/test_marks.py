"""What is marked of a version's files: added lines, statements that only read, loops and iterations of ours."""

from __future__ import annotations

import ast

import pytest

from flor_ray.analysis.marks import (
    Marks,
    Own,
    Reading,
    inserted_lines,
    is_inserted,
    line_now,
    marks_of,
    own_names,
    without_inserted,
)
from flor_ray.analysis.source import read

READS = [
    "flor.log('x', loss.item())",
    "flor.log('x', {'a': [p.grad.norm().item() for p in net.parameters()]})",
    "flor.log(f'x{k}', round(float(a[k] + b.c) / len(d), 3))",
    "record('x', a if b > 0 else -c)",
    "flor.log(name='x', value=[i * 2 for i in range(3)])",
    "total = sum(p.numel() for p in net.parameters())",
    "if epoch % 5 == 0:\n    flor.log('x', epoch)",
    "print('now', loss.item())",
    "def norm(model):\n    return model.step()",
    "class Size:\n    unit = 'MB'\n    def of(self, net):\n        return net()",
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
    "history.log('x', loss.item())",
    "log('x', loss.item())",
    "flor.arg('x', 1)",
    "def norm(model, x=next(stream)):\n    return x",
    "@register\ndef norm(model):\n    return 1",
    "class Size:\n    unit = next(stream)",
]


def only_reads(text: str, before: str = "import flor_ray as flor\nrecord = flor.log\n", own: Own | None = None) -> bool:
    """Whether a statement that stands behind others only reads."""
    source = read(before + text)
    assert source.tree is not None
    return Reading(source, own or Own()).only_reads(source.tree.body[-1])


@pytest.mark.parametrize("text", READS)
def test_a_statement_that_only_reads_is_seen_to(text: str) -> None:
    assert only_reads(text)


@pytest.mark.parametrize("text", MAY_CHANGE)
def test_a_statement_that_may_change_something_is_not_taken_to_only_read(text: str) -> None:
    assert not only_reads(text)


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
        ("f(\n)\ng()\n", "n = \\\nf(\n)\nlog(n)\ng()\n", {1, 4}),
    ],
)
def test_inserted_lines_are_those_that_were_not_there(before: str, after: str, lines: set[int]) -> None:
    assert inserted_lines(before, after) == lines


def test_a_call_that_was_given_a_name_is_the_scripts_own() -> None:
    source = read("import flor_ray as flor\nn = \\\nf()\nflor.log('n', n)\n")
    assert marks_of(source, Own(), frozenset({2, 4})).quiet == {4}
    assert [n.lineno for n in source.nodes if isinstance(n, ast.Assign) and is_inserted(n, frozenset({2, 4}))] == []


OURS = "import flor_ray as flor\n"
HISTORY = "class History:\n    def log(self, w):\n        self.w = w\n\n\nhistory = History()\n"


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (OURS + HISTORY, "history.log(w)"),
        (HISTORY + "flor = history\n", "flor.log(w)"),
        ("from flor_ray import log\n\n\ndef log(name, value):\n    step()\n\n\n", "log('x', 1)"),
        (OURS + "def f(flor):\n    pass\n\n\n", "[flor.log('x', 1) for flor in things]"),
        (OURS + "len = train\n", "flor.log('x', len(net))"),
        (OURS + "def round(x):\n    step()\n\n\n", "flor.log('x', round(y))"),
        ("from tools import *\nimport flor_ray as flor\n", "flor.log('x', float(y))"),
    ],
)
def test_what_has_the_name_of_ours_or_of_a_builtin_is_not_trusted_for_it(before: str, text: str) -> None:
    assert not only_reads(text, before)


def test_names_that_the_project_itself_defines_are_not_trusted() -> None:
    own = own_names(
        {
            "meters.py": "class Meter:\n    def mean(self):\n        self.n = 0\n",
            "model.py": "class Net:\n    @property\n    def size(self):\n        return f()\ndef norm(x):\n    pass\n",
        }
    )
    assert own == Own(frozenset({"Meter", "mean", "Net", "size", "norm"}), frozenset({"size"}))
    for text in ("flor.log('x', meter.mean())", "flor.log('x', net.size)", "flor.log('x', w.norm())"):
        assert only_reads(text)
        assert not only_reads(text, own=own)
    assert only_reads("flor.log('x', meter.norm)", own=own)  # it is not called


def test_loops_and_iterations_of_ours_are_marked_and_of_added_statements_the_quiet_ones() -> None:
    text = """\
import flor_ray as flor
for epoch in enumerate(flor.loop("epoch", range(3))):
    for step in wheel.loop("step", range(3)):
        x = step; flor.log("x", x)
        y = f(x); flor.log("y", y)
    flor.log("z", 1)
    if epoch:
        flor.log("w", evaluate(net))
while True:
    with flor.iteration("epoch"), open(name) as file:
        pass
    with history.iteration("epoch"):
        pass
"""
    added = frozenset({4, 5, 6, 7, 8})
    assert marks_of(read(text), Own(), added) == Marks(
        hindsight=added, quiet=frozenset({4, 6}), loops=frozenset({2}), iterations=frozenset({10})
    )


def test_a_line_is_found_again_where_others_were_added_or_replaced() -> None:
    before = "a()\nb()\nc()\n"
    assert [line_now(before, "new\na()\nnew\nb()\nc()\n", line) for line in (1, 2, 3)] == [2, 4, 5]
    assert [line_now(before, "a()\nx = b()\nnew\nc()\n", line) for line in (1, 2, 3)] == [1, None, 4]
    assert line_now("a()\na()\n", "new\na()\na()\n", 2) == 3
    assert line_now(before, before, 9) is None


def test_a_text_without_what_was_inserted_keeps_its_lines() -> None:
    text = "for i in x:\n    a = 1\n    if a:\n        b = (\n            2\n        )\n    c = 3\nd = 4\n"
    assert without_inserted(text, frozenset({4, 5, 6, 8})) == (
        "for i in x:\n    a = 1\n    if a:\n        pass\n\n\n    c = 3\npass\n"
    )
    assert without_inserted(text, frozenset({5})) == text  # no statement of its own
    assert without_inserted("def (", frozenset({1})) == "def ("

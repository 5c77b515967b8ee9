"""Which recorded loops a statement runs in, through the calls of its function. Statements are found by their `log`."""

from __future__ import annotations

import pytest

from flor_ray.propagation import has_main_loop
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.names import names_of
from flor_ray.propagation.reading.nesting import Nesting, nesting_of
from flor_ray.propagation.reading.parse import parse
from flor_ray.propagation.reading.tree import Node, Tree

HEAD = "import flor_ray as flor\n"
SCRIPT = """\
flor.log("before", 1)
with flor.checkpointing(model=net):
    for epoch in flor.loop("epoch", range(3)):
        flor.log("in epoch", 1)
        for x, y in flor.loop("step", loader):
            if x:
                flor.log("in step", 1)
        evaluate(net)
        for x in flor.loop("validate", loader):
            flor.log("in validate", 1)
for x in flor.loop("test", loader):
    flor.log("in test", 1)
"""
FUNCTIONS = """\
def steps(net):
    flor.log("in epoch", 1)
    for x in flor.loop("step", net):
        flor.log("in step", 1)
def main():
    flor.log("before", 1)
    for epoch in flor.loop("epoch", range(3)):
        steps(1)
    flor.log("after", 1)
"""


def loops_by_log(source: str) -> dict[str | None, list[str | None] | None]:
    """For each logged name the names of the recorded loops around it, outermost first; None where nobody knows."""
    nesting, names = read(HEAD + source)
    called = {c.node.statement(): c.feature for c in calls(names_of(names)) if c.function in ("loop", "iteration")}
    found: dict[str | None, list[str | None] | None] = {}
    for call in calls(names_of(names)):
        if call.function == "log":
            path = nesting.path(call.node)
            found[call.feature] = None if path is None else [called[loop] for loop in nesting.recorded_around(path)]
    return found


def main_and_nested(source: str) -> tuple[str, str]:
    """The text of the first line of both loops."""
    nesting, tree = read(HEAD + source)
    return first_line(tree, nesting.main_loop), first_line(tree, nesting.nested_loop)


def read(source: str) -> tuple[Nesting, Tree]:
    tree = parse(source)
    return nesting_of(tree), tree


def first_line(tree: Tree, node: Node | None) -> str:
    return "" if node is None else tree.text(node).decode().split("\n")[0]


def test_the_loops_around_a_statement_are_told_from_the_outermost_on() -> None:
    assert loops_by_log(SCRIPT) == {
        "before": [],
        "in epoch": ["epoch"],
        "in step": ["epoch", "step"],
        "in validate": ["epoch", "validate"],
        "in test": ["test"],
    }
    assert main_and_nested(SCRIPT) == (
        'for epoch in flor.loop("epoch", range(3)):',
        'for x, y in flor.loop("step", loader):',
    )


@pytest.mark.parametrize("start", ["main()\n", 'if __name__ == "__main__":\n    main()\n', ""])
def test_a_function_runs_where_it_is_called_and_may_be_what_the_file_is_imported_for(start: str) -> None:
    expected = {"before": [], "in epoch": ["epoch"], "in step": ["epoch", "step"], "after": []}
    assert loops_by_log(FUNCTIONS + start) == expected
    assert main_and_nested(FUNCTIONS + start) == (
        'for epoch in flor.loop("epoch", range(3)):',
        'for x in flor.loop("step", net):',
    )


def test_methods_and_initialisers_run_where_they_are_called() -> None:
    source = """\
class Trainer:
    def __init__(self):
        flor.log("made", 1)
    def train(self):
        for epoch in flor.loop("epoch", range(3)):
            self.steps()
    def steps(self):
        for x in flor.loop("step", self.data):
            flor.log("in step", 1)
for trial in flor.loop("trial", range(2)):
    Trainer().train()
"""
    assert loops_by_log(source) == {"made": ["trial"], "in step": ["trial", "epoch", "step"]}


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    flor.log("x", 1)\nfor e in flor.loop("e", r):\n    DataLoader(collate=f)\n',
        'def f():\n    flor.log("x", 1)\nf()\nfor e in flor.loop("e", r):\n    f()\n',
        'class N:\n    def f(self):\n        flor.log("x", 1)\nhook(net.f)\nnet.f()\n',
        'class N:\n    def f(self):\n        flor.log("x", 1)\nclass M:\n    def f(self):\n        pass\nnet.f()\n',
        'def f():\n    flor.log("x", 1)\n    f()\n',
        'def f():\n    flor.log("x", 1)\n    g()\ndef g():\n    f()\n',
        'if a:\n    def f():\n        pass\nelse:\n    def f():\n        flor.log("x", 1)\nf()\n',
    ],
)
def test_nothing_is_said_of_what_may_run_at_several_places(source: str) -> None:
    assert loops_by_log(source) == {"x": None}


def test_what_a_loop_runs_over_and_what_comes_after_it_are_not_in_it() -> None:
    source = """\
def items():
    flor.log("over", 1)
for i, x in enumerate(tqdm(flor.loop("e", items())), 1):
    flor.log("in", 1)
else:
    flor.log("else", 1)
"""
    assert loops_by_log(source) == {"over": [], "in": ["e"], "else": []}


def test_a_loop_before_the_checkpointing_is_the_main_loop_only_if_there_is_no_other() -> None:
    prepared = "for x in flor.loop('data', r):\n    pass\n"
    armed = "def start():\n    flor.checkpointing(model=net)\n    train()\n"
    main = "def train():\n    for e in flor.loop('e', r):\n        pass\n"
    assert main_and_nested(main + armed + prepared + "start()\n") == ("for e in flor.loop('e', r):", "")
    assert main_and_nested(prepared + "flor.checkpointing(model=net)\n") == ("for x in flor.loop('data', r):", "")


def test_of_several_functions_that_nothing_calls_none_is_chosen() -> None:
    two = "".join(f"def {name}():\n    for e in flor.loop('{name}', r):\n        pass\n" for name in ("train", "test"))
    assert main_and_nested(two) == ("", "")
    assert main_and_nested(two + "test()\n") == ("for e in flor.loop('test', r):", "")


def test_what_is_recorded_with_iteration_is_a_loop() -> None:
    source = (
        "while a:\n    with flor.iteration('e', n):\n        flor.log('h', 1)\n"
        "        for s in flor.loop('s', b):\n            flor.log('i', 1)\n"
        "flor.log('s', 1)\n"
    )
    assert loops_by_log(source) == {"h": ["e"], "i": ["e", "s"], "s": []}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SCRIPT, True),
        (FUNCTIONS, True),
        ('def f():\n    flor.log("x", 1)\n', False),
        ("for e in range(3):\n    flor.log('x', e)\n", False),
        ("hook(run)\ndef run():\n    for e in flor.loop('e', r):\n        pass\n", False),
        ("(", False),
    ],
)
def test_a_file_has_a_main_loop_if_it_is_seen_to_come_to_one(source: str, expected: bool) -> None:
    assert has_main_loop(HEAD + source) is expected


def test_parts_are_told_apart_by_the_loops_that_a_statement_is_in_or_behind() -> None:
    for source in (SCRIPT, FUNCTIONS + "main()\n"):
        nesting, tree = read(HEAD + source)
        found = {}
        for call in calls(names_of(tree)):
            if call.function == "log":
                path = nesting.path(call.node)
                assert path is not None
                found[call.feature] = nesting.part(path, call.node.start)
        expected = {"before": (0, False), "in epoch": (1, False), "in step": (2, False)}
        expected |= {"in validate": (1, True), "in test": (0, True)} if source is SCRIPT else {"after": (0, True)}
        assert found == expected


def test_a_chain_of_a_thousand_calls_is_followed() -> None:
    chain = "".join(f"def f{i}():\n    f{i + 1}()\n" for i in range(1000))
    source = chain + "def f1000():\n    flor.log('x', 1)\nfor e in flor.loop('e', r):\n    f0()\n"
    assert loops_by_log(source) == {"x": ["e"]}

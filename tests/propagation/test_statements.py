"""The static scan: which statements log, under which names, and when they run."""

from __future__ import annotations

import pytest

from flor_ray.propagation import find_args, find_statements
from flor_ray.records import Region, Statement

SCRIPT = """\
import flor_ray as flor

def evaluate(net):
    flor.log("evaluated", net)

flor.log("prefix", 1)
with flor.checkpointing(model=net):
    for epoch in flor.loop("epoch", range(3)):
        flor.log("head", 1)
        for x, y in flor.loop("step", loader):
            if x:
                flor.log("inner", 1)
        evaluate(net)
        flor.log("tail", best)
        for x in flor.loop("validate", loader):
            flor.log("validated", 1)
for x in flor.loop("test", loader):
    flor.log("suffix", 1)
"""


def regions(source: str) -> dict[str | None, Region]:
    return {statement.name: statement.region for statement in find_statements(source, "train.py")}


def test_every_part_of_a_script_is_told_apart() -> None:
    assert regions(SCRIPT) == {
        "evaluated": Region.TAIL,
        "prefix": Region.PREFIX,
        "head": Region.HEAD,
        "inner": Region.INNER,
        "tail": Region.TAIL,
        "validated": Region.TAIL,
        "suffix": Region.SUFFIX,
    }


def test_a_statement_is_described_whole() -> None:
    source = (
        "from flor import MTK as Flor\nclass A:\n    def f(self):\n"
        '        print("{}".format(\n            Flor.log("x", 1)))\n'
    )
    assert find_statements(source, "a.py") == (Statement("x", "a.py", 4, 5, Region.WHOLE, ("A", "f")),)


@pytest.mark.parametrize(
    ("head", "call"),
    [
        ("import flor_ray", "flor_ray.log"),
        ("import flor_ray as flor", "flor.log"),
        ("import flor_ray as f, os", "f.log"),
        ("import flor", "flor.log"),
        ("from flor import MTK as Flor", "Flor.log"),
        ("from flor_ray import MTK", "MTK.log"),
        ("import flor_ray", "flor_ray.MTK.log"),
        ("from flor_ray import arg, log", "log"),
        ("from flor_ray import log as record", "record"),
        ("try:\n    import flor_ray as flor\nexcept ImportError:\n    import flor", "flor.log"),
    ],
)
def test_flor_ray_is_known_under_every_name_an_import_gives_it(head: str, call: str) -> None:
    assert [s.name for s in find_statements(f'{head}\n{call}("loss", 1)\n', "a.py")] == ["loss"]


@pytest.mark.parametrize(
    "source",
    [
        'import logging as flor\nflor.log("loss", 1)\n',
        'from math import log\nlog("loss", 1)\n',
        'import flor_ray\ndef f(flor_ray):\n    flor_ray.log("loss", 1)\n',
        'import flor_ray as flor\nflor.arg("loss", 1)\nflor.other("loss", 1)\nflor.log.x("loss", 1)\n',
        'import flor_ray as flor\n# flor.log("loss", 1)\ns = "flor.log(1)"\n',
    ],
)
def test_what_only_looks_like_a_log_is_none(source: str) -> None:
    assert find_statements(source, "a.py") == ()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ('"loss", 1', "loss"),
        ("'a' \"b\", 1", "ab"),
        ('("loss"), 1', "loss"),
        ('name="loss", value=1', "loss"),
        ('value=1, name="loss"', "loss"),
        ('f"{x}", 1', None),
        ("x, 1", None),
        ("*x", None),
        ("", None),
    ],
)
def test_a_name_is_known_if_it_is_a_plain_string(arguments: str, name: str | None) -> None:
    assert [s.name for s in find_statements(f"import flor\nflor.log({arguments})\n", "a.py")] == [name]


def test_args_are_found_and_are_not_logs() -> None:
    source = 'import flor\nlr = flor.arg("lr", 1e-3)\nfor e in flor.loop("e", range(flor.arg("n", 3))):\n    pass\n'
    assert find_statements(source, "a.py") == ()
    assert [(s.name, s.line, s.end_line, s.region) for s in find_args(source, "a.py")] == [
        ("lr", 2, 2, Region.PREFIX),
        ("n", 3, 3, Region.PREFIX),
    ]


def test_functions_run_where_they_are_called() -> None:
    source = """\
import flor_ray as flor
def steps(net):
    flor.log("head", 1)
    for x in flor.loop("step", net):
        flor.log("inner", 1)
    flor.log("tail", 1)
def main():
    flor.log("prefix", 1)
    for epoch in flor.loop("epoch", range(3)):
        steps(1)
        flor.log("tail2", 1)
    flor.log("suffix", 1)
if __name__ == "__main__":
    flor.log("before", 1)
    main()
    flor.log("after", 1)
"""
    expected = {
        "head": Region.HEAD,
        "inner": Region.INNER,
        "tail": Region.TAIL,
        "prefix": Region.PREFIX,
        "tail2": Region.TAIL,
        "suffix": Region.SUFFIX,
        "before": Region.PREFIX,
        "after": Region.SUFFIX,
    }
    assert regions(source) == expected
    imported = source[: source.index("if __name__")]
    assert regions(imported) == {
        name: expected[name] for name in ("head", "inner", "tail", "prefix", "tail2", "suffix")
    }


@pytest.mark.parametrize(
    "source",
    [
        'while True:\n    flor.log("x", 1)\n',
        'for e in range(3):\n    flor.log("x", 1)\n',
        'def f():\n    flor.log("x", 1)\nfor e in flor.loop(r):\n    DataLoader(collate=f)\n',
        'def f():\n    flor.log("x", 1)\nf()\nfor e in flor.loop(r):\n    f()\n',
        'class N:\n    def forward(self):\n        flor.log("x", 1)\nfor e in flor.loop(r):\n    N()(1)\n',
        'for trial in range(2):\n    flor.log("x", 1)\n    for e in flor.loop(r):\n        pass\n',
    ],
)
def test_what_may_run_anywhere_is_whole(source: str) -> None:
    assert regions("import flor\n" + source)["x"] is Region.WHOLE


def test_without_a_nested_loop_all_of_an_epoch_is_head() -> None:
    source = """\
import flor
for e in flor.loop(r):
    flor.log("a", 1)
    for x in d:
        flor.log("b", 1)
    flor.log("c", 1)
"""
    assert regions(source) == {"a": Region.HEAD, "b": Region.HEAD, "c": Region.HEAD}


def test_a_loop_before_checkpointing_is_prefix() -> None:
    source = """\
from flor import MTK as Flor
for x in Flor.loop(data):
    Flor.log("prepared", x)
Flor.checkpoints(net)
for epoch in Flor.loop(range(3)):
    Flor.log("head", 1)
"""
    assert regions(source) == {"prepared": Region.PREFIX, "head": Region.HEAD}


def test_loops_are_seen_through_enumerate_and_progress_bars() -> None:
    source = """\
import flor
for epoch in tqdm(flor.loop("epoch", range(3))):
    for i, x in enumerate(flor.loop("step", data), 1):
        flor.log("inner", 1)
    else:
        flor.log("tail", 1)
"""
    assert regions(source) == {"inner": Region.INNER, "tail": Region.TAIL}


def test_what_is_recorded_with_iteration_is_a_loop() -> None:
    source = (
        "import flor_ray as flor\nwhile a:\n    with flor.iteration('e', n):\n        flor.log('h', 1)\n"
        "        for s in flor.loop('s', b):\n            flor.log('i', 1)\n        flor.log('t', 1)\n"
        "flor.log('s', 1)\n"
    )
    found = find_statements(source, "a.py")
    assert [s.region for s in found] == [Region.HEAD, Region.INNER, Region.TAIL, Region.SUFFIX]

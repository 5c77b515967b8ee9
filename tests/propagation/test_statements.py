"""The static scan: which statements log, under which names."""

from __future__ import annotations

import pytest

from flor_ray.propagation import find_args, find_statements
from flor_ray.records import Statement


def test_a_statement_is_described_whole() -> None:
    source = (
        "from flor import MTK as Flor\nclass A:\n    def f(self):\n"
        '        print("{}".format(\n            Flor.log("x", 1)))\n'
    )
    assert find_statements(source, "a.py") == (Statement("x", "a.py", 4, 5, ("A", "f")),)


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
    assert [(s.name, s.line, s.end_line) for s in find_args(source, "a.py")] == [("lr", 2, 2), ("n", 3, 3)]

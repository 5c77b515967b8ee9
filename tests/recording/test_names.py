"""Which names values are kept under, and what a script's user is told of others."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from flor_ray.recording.names import KeptNames
from tests.conftest import Lab


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("loss", "loss"),
        ("", ""),
        ("r\udce9", "r\\udce9"),
        (np.str_("loss"), "loss"),
        (3, "3"),
        (np.int64(3), "3"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "Colour.RED"),
        (0.5, None),
        (None, None),
        (["a"], None),
        (b"a", None),
    ],
)
def test_a_name_is_a_text_or_becomes_one_or_is_none(given: object, kept: str | None) -> None:
    told: list[str] = []
    names = KeptNames(told.append)
    assert [names.of(given), names.of(given)] == [kept, kept]
    assert type(names.of(given)) in (str, type(None))
    assert len(told) == (kept != given)


ODD = r"""
import enum
import numpy as np
import flor_ray as flor

class Refusing:
    def __reduce__(self): raise Unsayable
    def __repr__(self): raise RuntimeError
class Unsayable(Exception):
    def __str__(self): raise ValueError

flor.arg("lr", "0.1")
flor.arg("odd", {(1, 2): Refusing()})
big = flor.arg("big", 10**5000)
recursive = []
recursive.append(recursive)
for epoch in flor.loop(7, range(1, 4)):
    for step in flor.loop("s\udce9", range(2)):
        flor.log("before", step)
        for name in (epoch, "n\udce9", [1], None, 0.3):
            flor.log(name, 0.5)
        flor.log("after", step)
    for value in ("a\udce9", {"k\udce9": 1}, recursive, big, [big], b"\xff", Refusing(), np.array([object()], object)):
        flor.log("value", value)
"""


def test_no_name_and_no_value_costs_another_one_and_all_can_be_read(lab: Lab) -> None:
    lab.write("train.py", ODD)
    utf8 = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
    arguments = ["train.py", "--flor", os.fsdecode(b"r\xe9"), "--kwargs", os.fsdecode(b"lr=\xe9")]
    done = lab.run([sys.executable, *arguments], lab.root, utf8)
    assert "A name is no text, but of type int" in done.stderr
    assert "train.py:18: FlorWarning" in done.stderr  # where the script says so
    steps = [(epoch, step, 0, step) for epoch in (1, 2, 3) for step in (0, 1)]
    assert lab.values("before") == lab.values("after") == steps
    assert [row[0] for row in lab.values("2")] == [2, 2]
    assert len(lab.values("n\\udce9")) == 6
    assert [row[3] for row in lab.values("value")][:2] == ["a\udce9", {"k\udce9": 1}]
    assert len(lab.values("value")) == 24
    (run,) = lab.experiments()
    assert (run.run, run.args["lr"], run.main_loop) == ("r\\udce9", "\udce9", "7")
    for command in (["versions"], ["versions", "--verbose"], ["dataframe"], ["dataframe", "--csv", "all.csv"]):
        shown = lab.run([sys.executable, "-m", "flor_ray.cli", *command], lab.root, utf8 | {"FLOR_PICKLES": "allow"})
        assert shown.stderr == ""
    assert "r\\udce9" in (lab.root / "all.csv").read_text()
    assert len(lab.frame("value")) == 24


def test_a_default_that_json_would_change_is_the_same_in_a_replay(lab: Lab) -> None:
    script = """
import numpy as np
import flor_ray as flor
cfg = flor.arg("cfg", {1: 2.5, (3, 4): [(5, 6)]})
rate = flor.arg("rate", np.float32(0.1))
kind = flor.arg("kind", np.sin)
total = 0.0
for epoch in flor.loop("epoch", range(2)):
    total += cfg[1] * rate
    flor.log("total", float(total))
"""
    lab.record(script)
    lab.write("train.py", script + "    flor.log('types', f'{type(rate).__name__} {cfg} {kind is np.sin}')\n")
    _, outcome = lab.replay(["types"])
    assert outcome.failures == []
    assert [row[3] for row in lab.values("types")] == ["float32 {1: 2.5, (3, 4): [(5, 6)]} True"] * 2

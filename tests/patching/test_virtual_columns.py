"""Which features the sources log: where, at which level, in which source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flor_ray.patching.virtual_columns import LoggingCode, VirtualColumn, virtual_columns
from flor_ray.records import Level

SCRIPT = """import flor_ray as flor
from metrics import report

flor.log("size", 3)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        flor.log("loss", step)
    flor.log("norm", epoch)
    report(epoch)
"""
METRICS = """import flor_ray as flor


def report(epoch):
    flor.log("f1", epoch)
"""
OLDER = SCRIPT.replace("norm", "old_norm")
NEWEST = LoggingCode("the working tree", {"train.py": SCRIPT, "metrics.py": METRICS}, ["train.py"])
FORMER = LoggingCode("version 12345678", {"train.py": OLDER, "metrics.py": METRICS}, ["train.py"])


def test_every_feature_of_the_newest_code_and_of_older_versions_is_a_column() -> None:
    found = virtual_columns([NEWEST, FORMER])
    assert found == {
        "size": VirtualColumn("size", frozenset({Level.DATA_PREP}), ("train.py:4",), "the working tree", False),
        "loss": VirtualColumn("loss", frozenset({Level.INNER}), ("train.py:7",), "the working tree", False),
        "norm": VirtualColumn("norm", frozenset({Level.OUTER}), ("train.py:8",), "the working tree", False),
        "f1": VirtualColumn("f1", frozenset({Level.OUTER}), ("metrics.py:5",), "the working tree"),
        "old_norm": VirtualColumn("old_norm", frozenset({Level.OUTER}), ("train.py:8",), "version 12345678", False),
    }


def test_only_the_names_that_are_asked_for_are_looked_for_and_no_further_than_needed() -> None:
    def codes() -> Iterator[LoggingCode]:
        yield NEWEST
        raise AssertionError("an older version was read")

    assert list(virtual_columns(codes(), ["norm"])) == ["norm"]
    assert virtual_columns([NEWEST, FORMER], ["nothing"]) == {}


def test_a_feature_at_several_places_has_all_of_their_levels_or_none_if_one_is_unknown() -> None:
    twice = SCRIPT.replace('flor.log("size", 3)', 'flor.log("norm", 3)')
    (column,) = virtual_columns(
        [LoggingCode("x", {"train.py": twice, "metrics.py": METRICS}, ["train.py"])], ["norm"]
    ).values()
    assert (column.levels, column.places) == (frozenset({Level.DATA_PREP, Level.OUTER}), ("train.py:4", "train.py:8"))
    hidden = {"train.py": SCRIPT, "never.py": METRICS.replace("f1", "norm")}
    (column,) = virtual_columns([LoggingCode("x", hidden, ["train.py"])], ["norm"]).values()
    assert (column.levels, column.places) == (frozenset(), ("never.py:5", "train.py:8"))


ONCE = {
    "in its loop": ("    flor.log('x', epoch)\n", False),
    "behind a condition": ("    if epoch:\n        flor.log('x', epoch)\n", False),
    "twice": ("    flor.log('x', epoch)\n    flor.log('x', epoch)\n", True),
    "in a loop of its own": ("    for part in parts:\n        flor.log('x', part)\n", True),
    "in a comprehension": ("    [flor.log('x', part) for part in parts]\n", True),
    "in a while": ("    while part():\n        flor.log('x', part)\n", True),
    "in a loop that is new": ("    for k in flor.loop('new', range(3)):\n        pass\n    flor.log('x', 1)\n", False),
    "in a function": ("    def inside():\n        flor.log('x', 1)\n    inside(), inside()\n", True),
}


@pytest.mark.parametrize("case", ONCE)
def test_a_place_gets_one_value_of_what_one_statement_logs_in_no_loop_but_those_of_its_level(case: str) -> None:
    lines, repeats = ONCE[case]
    text = f"import flor_ray as flor\nfor epoch in flor.loop('epoch', range(3)):\n    parts = [1, 2]\n{lines}"
    (column,) = virtual_columns([LoggingCode("x", {"train.py": text}, ["train.py"])], ["x"]).values()
    assert column.repeats is repeats
    inside = "def main():\n" + "".join(f"    {line}\n" for line in text.splitlines()[1:]) + "main()\n"
    within = LoggingCode("x", {"train.py": f"import flor_ray as flor\n{inside}"}, ["train.py"])
    assert virtual_columns([within], ["x"])["x"].repeats is repeats

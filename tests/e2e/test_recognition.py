"""Scripts that call us by unusual names, and others by ours: what is replayed is what the run would have logged."""

from __future__ import annotations

import pytest

from flor_ray.records import Operator, Variant
from tests.conftest import Lab

SCRIPT = """\
import flor_ray
from common import f

record = flor_ray.log


class History:
    def __init__(self):
        self.values = []

    def log(self, value):
        self.values.append(value)


history = History()
weight = 0.0
f.checkpointing(history=history)
for epoch in f.loop("epoch", range(4)):
    # HEAD
    for step in f.loop("step", range(2)):
        weight += epoch + step
        # INNER
    record("weight", weight)
    # BEFORE
    history.log(weight)
    # AFTER
"""


@pytest.mark.parametrize(
    ("place", "statement", "values", "variants"),
    [
        ("HEAD", 'record("x", len(history.values))', [0, 1, 2, 3], {Variant.OUTER}),
        ("INNER", 'record("x", weight)', [0.0, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 16.0], {Variant.INNER}),
        ("BEFORE", 'record("x", len(history.values))', [0, 1, 2, 3], {Variant.OUTER}),
        ("AFTER", 'record("x", len(history.values))', [1, 2, 3, 4], {Variant.END}),
    ],
)
def test_the_users_own_log_changes_what_it_likes_and_ours_is_known_by_any_name(
    lab: Lab, place: str, statement: str, values: list[float], variants: set[Variant]
) -> None:
    lab.write("common.py", "import flor_ray as f\n")
    lab.record(SCRIPT)
    lab.write("train.py", SCRIPT.replace(f"# {place}", statement))
    prepared, outcome = lab.replay(["x"])
    assert outcome.failures == []
    assert [value for *_, value in lab.values("x")] == values
    assert {cost.segment.operator for cost in prepared.costs} == {Operator.DP_I}
    assert {cost.segment.variant for cost in prepared.costs} == variants


def test_a_loop_before_checkpointing_is_not_the_main_loop_when_a_module_of_the_users_lends_us(lab: Lab) -> None:
    lab.write("common.py", "import flor_ray as f\n")
    warm = 'for warm in f.loop("warm", range(2)):\n    weight += warm\n'
    script = SCRIPT.replace("f.checkpointing", f"# f.checkpointing(history)\n{warm}f.checkpointing")
    assert lab.record(script).epochs == 4
    lab.write("train.py", script.replace("# INNER", 'record("x", weight)'))
    lab.replay(["x"], "epoch == 3")
    assert lab.values("x") == [(3, 0, 0, 7.0), (3, 1, 0, 10.0)]

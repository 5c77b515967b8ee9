"""Variables that only added lines make."""

from __future__ import annotations

from flor_ray.analysis.made_anew import MadeAnew, made_anew
from flor_ray.analysis.source import read

BEFORE = """
import flor_ray as flor
total = 0
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", data):
        clip(net)
    total += 1
show(total)
"""


def test_they_are_told_by_the_loops_that_make_them() -> None:
    after = BEFORE.replace("        clip", "        norm = \\\n        clip").replace(
        "    total += 1", "    total = size = 1"
    )
    after = after.replace("show(total)", "show(last := total)")
    assert made_anew(read(BEFORE), read(after)) == MadeAnew(frozenset({"norm", "size"}), frozenset({"norm"}))
    assert made_anew(read(BEFORE), read(BEFORE)) == MadeAnew()


def test_iterations_are_loops_too() -> None:
    before = "import flor_ray as flor\nfor e in flor.loop('e', range(3)):\n    pass\n"
    after = before.replace("pass", "with flor.iteration('s', 0, 1):\n        n = 1")
    assert made_anew(read(before), read(after)).in_steps == {"n"}


def test_loops_that_a_variable_holds_are_loops_too() -> None:
    before = "import flor_ray as flor\nepochs = tqdm(flor.loop('e', range(3)))\nfor e in epochs:\n    pass\n"
    after = before.replace("pass", "n = 1\n    for s in flor.loop('s', d):\n        m = 2")
    assert made_anew(read(before), read(after)) == MadeAnew(frozenset({"n", "s", "m"}), frozenset({"s", "m"}))

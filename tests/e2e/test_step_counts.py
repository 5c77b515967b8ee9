"""The record says how many steps each epoch had."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Lab

SCRIPT = """
import flor_ray as flor
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(4 - epoch)):
        flor.log("loss", step)
        if step == 2:
            break
    for batch in flor.loop("eval", range(epoch)):
        pass
"""


def test_a_run_counts_the_steps_of_each_epoch(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "project")
    lab.record(SCRIPT)
    (run,) = lab.experiments()
    assert [(times.epoch, times.steps) for times in run.profile.epochs] == [(1, 3), (2, 3), (3, 2)]

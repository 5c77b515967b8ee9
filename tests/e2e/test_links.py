"""Links of a version that lead out of its folder: a replay has them where the user's own folder has them, and nowhere
else; who misses one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_ray.reports import replays
from tests.conftest import Lab

SCRIPT = """
import os
import flor_ray as flor

start = float(open("data/start.txt").read()) if READS else 3.0
flor.arg("n", 1)
state = {"weight": start}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(2)):
    state["weight"] /= 2
    flor.log("loss", state["weight"])
"""


@pytest.mark.parametrize("reads", [False, True])
def test_a_link_that_the_user_has_no_more_is_not_made_and_told(tmp_path: Path, reads: bool) -> None:
    lab = Lab(tmp_path / "project")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/start.txt").write_text("3")
    (lab.root / "data").symlink_to("../outside")
    script = SCRIPT.replace("READS", str(reads))
    lab.record_forked(script)
    lab.write("train.py", script + '    flor.log("weight", state["weight"])\nflor.log("end", start)\n')
    (lab.root / "data").unlink()
    prepared, outcome = lab.replay(["end"])
    (said,) = replays.problems(prepared, outcome)
    expected = "data/start.txt is on no machine as it was read" if reads else "its link 'data' leads out of"
    assert expected in said
    assert bool(outcome.failures) == reads
    assert len(lab.values("end")) == (not reads)
    (lab.root / "data").symlink_to("../outside")
    prepared, outcome = lab.replay(["end"], again=True)
    assert lab.values("end") == [(None, None, 0, 3.0)]
    assert not [sentence for sentence in replays.problems(prepared, outcome) if "its link" in sentence]

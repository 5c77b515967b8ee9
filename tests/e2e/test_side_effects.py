"""Scripts that write by absolute paths, remove what they wrote, and track their runs: a replay leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Lab

SCRIPT = """
import csv
import os
import pickle
import random
import shutil
from pathlib import Path

import flor_ray as flor

out = Path(OUT)
table = out / "losses.csv"
shutil.rmtree(out / "tmp", ignore_errors=True)
os.makedirs(out / "tmp")
if not table.exists():
    table.write_text("epoch,loss\\n")
random.seed(1)
state = {"loss": 1.0}
best = None
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        state["loss"] *= 0.5 + random.random()
    with open(out / "tmp" / "part.pkl", "wb") as file:
        pickle.dump(state, file)
    path = out / f"epoch-{epoch}.pkl"
    os.replace(out / "tmp" / "part.pkl", path)
    if best is None or state["loss"] < best[0]:
        if best is not None:
            os.remove(best[1])
        best = (state["loss"], str(path))
    else:
        path.unlink()
    with open(table, "a") as file:
        csv.writer(file).writerow([epoch, state["loss"]])
    with open(best[1], "rb") as file:
        kept = pickle.load(file)
    rows = len(table.read_text().splitlines()) - 1
    flor.log("loss", state["loss"])
shutil.rmtree(out / "tmp")
"""


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if not {".git", ".flor"} & set(path.parts)
    }


@pytest.mark.parametrize("inside", [True, False])
def test_checkpoints_and_tables_at_absolute_paths_are_left_alone(lab: Lab, tmp_path: Path, inside: bool) -> None:
    """The best checkpoint is kept and others are removed; a table is appended to and read again."""
    out = lab.root / "runs/out" if inside else tmp_path / "elsewhere"
    out.mkdir(parents=True)
    lab.write(".gitignore", "runs/\n")
    script = SCRIPT.replace("OUT", repr(str(out)))
    lab.record(script)
    recorded = [value for *_, value in lab.values("loss")]
    lab.write(
        "train.py",
        script.replace(
            '    flor.log("loss", state["loss"])\n',
            '    flor.log("best", kept["loss"])\n    flor.log("grew", rows > 0)\n    flor.log("loss", state["loss"])\n',
        ),
    )
    before = contents(lab.root) | contents(out)
    _, outcome = lab.replay(["best", "grew"])
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    assert [value for *_, value in lab.values("best")] == [min(recorded[: e + 1]) for e in range(4)]
    assert [value for *_, value in lab.values("grew")] == [True] * 4
    assert contents(lab.root) | contents(out) == before


TRACKED = """
import wandb
import flor_ray as flor

run = wandb.init(project="p", mode=MODE, dir=DIR)
state = {"loss": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(2)):
    state["loss"] /= 2
    run.log({"loss": state["loss"]})
    flor.log("loss", state["loss"])
run.finish()
"""


def test_a_tracker_that_is_told_to_be_online_is_offline_in_a_replay(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "tracked"
    folder.mkdir()
    script = TRACKED.replace("DIR", repr(str(folder)))
    lab.record(script.replace("MODE", "'offline'"))
    before = contents(folder)
    script = script.replace("MODE", "'online'").replace(
        '    flor.log("loss"', '    flor.log("mode", run.settings._offline)\n    flor.log("loss"'
    )
    lab.write("train.py", script)
    _, outcome = lab.replay(["mode"])
    assert outcome.failures == []
    assert [value for *_, value in lab.values("mode")] == [True, True]
    assert contents(folder) == before

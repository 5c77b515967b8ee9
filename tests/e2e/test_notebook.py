"""A notebook, run by a real kernel: a recorded cell, tables with marks, a chart, a replay in a live cell."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flor_ray.errors import CellFailed
from flor_ray.records import Status
from tests.conftest import Lab, environment

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELL = """%%flor --flor {run} --kwargs lr={lr} -- --epochs 3
import sys
import flor_ray as flor
lr = flor.arg("lr", 1.0)
state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(int(sys.argv[2]))):
    state["weight"] *= lr
    flor.log("loss", state["weight"]){more}
print("<done>", sys.argv[1:], __name__)
"""
HINDSIGHT = '\n    flor.log("half", state["weight"] / 2)'
CELLS = (
    "%load_ext flor_ray\nimport flor_ray as flor, warnings",
    CELL.format(run="one", lr=0.5, more=""),
    CELL.format(run="two", lr=0.25, more=HINDSIGHT),
    'flor.explain("half", workers=1)',
    'flor.replay("half", workers=1, executor="local")',
    'flor.dataframe("half", "loss", "lr")',
    "flor.versions()",
    'flor.plot("half", by="lr", file="half.png")',
    "import pandas; pandas.DataFrame({'a': [1]})",
    "%%flor\nimport flor_ray as flor\nflor.log('x', 1)\nraise ValueError('no')",
    "%%flor --script taken.py\nprint(1)",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, list[list[Any]]]:
    lab = Lab(tmp_path_factory.mktemp("notebook") / "project")
    lab.write("taken.py", "print('mine')\n")
    lab.git("add", "taken.py")
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python", "language": "python"}
    client = nbclient.NotebookClient(
        notebook, timeout=200, allow_errors=True, resources={"metadata": {"path": str(lab.root)}}
    )
    client.execute(env=environment(IPYTHONDIR=str(lab.root.parent / "ipython")))
    return lab, [list(cell.outputs) for cell in notebook.cells]


def text_of(outputs: list[Any]) -> str:
    return "".join(each.get("text", "") for each in outputs)


def shown(outputs: list[Any], kind: str = "text/html") -> str:
    return "\n".join(str(each["data"].get(kind, "")) for each in outputs if "data" in each)


@pytest.mark.timeout(400)
def test_a_cell_is_recorded_as_a_script_and_git_is_as_it_was(outputs: tuple[Lab, list[list[Any]]]) -> None:
    lab, cells = outputs
    assert "<done> ['--epochs', '3'] __main__" in text_of(cells[1])
    assert [(run.run, run.script, run.epochs) for run in lab.experiments()] == [
        ("one", "flor_cell.py", 3),
        ("two", "flor_cell.py", 3),
        ("", "flor_cell.py", 0),
    ]
    assert lab.git("status", "--short").split("\n")[0] == "A  taken.py"
    assert not (lab.root / "flor_cell.py").exists()
    assert "ValueError: no" in text_of(cells[9])
    assert [(each["ename"], each["evalue"]) for each in cells[9] if each["output_type"] == "error"] == [
        ("CellFailed", str(CellFailed(1)))
    ]
    assert [each["ename"] for each in cells[10]] == ["UsageError"]
    assert (lab.root / "taken.py").read_text() == "print('mine')\n"


INTERRUPTED = """
import time
import flor_ray as flor
try:
    for epoch in flor.loop("epoch", range(100)):
        flor.log("loss", epoch)
        print("<epoch", epoch, flush=True)
        time.sleep(60 if epoch == 2 else 0)
finally:
    print("last words, " * 20_000, "<done>")
"""


def test_an_interrupt_of_a_cell_loses_nothing_that_was_logged_or_printed(lab: Lab) -> None:
    code = f"from flor_ray.cli import notebook; notebook.flor('--flor cut', {INTERRUPTED!r})"
    kernel = subprocess.Popen(
        [sys.executable, "-c", code], cwd=lab.root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert kernel.stdout is not None
    while b"<epoch 2" not in (line := kernel.stdout.readline()):
        assert line, kernel.stderr and kernel.stderr.read()
    time.sleep(0.5)  # until it sleeps: Python misses an interrupt that comes just before
    kernel.send_signal(signal.SIGINT)
    said, errors = kernel.communicate(timeout=60)
    assert b"<done>" in said
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    (run,) = lab.experiments()
    assert (run.run, run.status) == ("cut", Status.FAILED)
    assert lab.frame("loss")["loss"].tolist() == [0, 1, 2]
    assert not (lab.root / "flor_cell.py").exists()
    assert lab.git("status", "--short") == ""


@pytest.mark.timeout(400)
def test_results_are_shown_with_their_marks_and_a_replay_in_one_cell(outputs: tuple[Lab, list[list[Any]]]) -> None:
    lab, cells = outputs
    assert '<div class="flor-table">' in shown(cells[3])
    assert "Estimated time" in shown(cells[3], "text/plain")
    live = [each for each in cells[4] if each["output_type"] == "display_data"]
    assert len(live) == 1
    assert "Replaying: 3 of 3 rows, done" in live[0]["data"]["text/html"]
    (verdict,) = re.findall(r'title="replayed: (exact|unverified)"', shown(cells[4]))
    table = shown(cells[5])
    assert table.count(f'title="replayed: {verdict}"') == 3
    assert "half" in shown(cells[5], "text/plain")
    assert "flor_cell.py" in shown(cells[6])
    assert "var uPlot=" in shown(cells[7])
    assert Path(lab.root, "half.png").read_bytes().startswith(b"\x89PNG")
    assert 'class="dataframe"' in shown(cells[8])

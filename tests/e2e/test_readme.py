"""README.md and docs/, run: a reader who pastes their blocks one after another into a shell gets what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")  # how a block begins that is a file of this name
# In one folder, where they carry on one another's example. Recording comes last: its scripts are others than train.py,
# so that no statement of train.py could be carried into them.
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in ("tutorial", "propagation", "costs", "sql", "store", "importing", "recording")),
)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment(PATH=path), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def paste(page: str, folder: Path) -> str:
    """Run a page's blocks, in order, and return what they print."""
    output = ""
    for language, text in blocks(page):
        if text == "make demo\n" or "$DASHBOARD" in text:  # in the checkout: test_demo.py; on a cluster: test_ways.py
            continue
        file = FILE.match(text)
        if language == "sh":
            output += run(["bash", "-euo", "pipefail", "-c", text], folder)
        elif language == "python" and file is not None:
            (folder / file[1]).write_text(text)
        elif language == "python":
            output += run([sys.executable, "-c", text], folder)
    return output


def test_blocks_are_of_known_kinds_and_are_run() -> None:
    kinds = {
        str(page.relative_to(ROOT)): {language for language, _ in blocks(str(page.relative_to(ROOT)))}
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    }
    assert set().union(*kinds.values()) == {"sh", "python", "text", "sql", "yaml"}
    assert {page for page, found in kinds.items() if found & {"sh", "python"}} == set(PAGES)


@pytest.mark.timeout(600)
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    output = {page: paste(page, folder) for page in PAGES}
    assert "Estimated time" in output["README.md"]
    assert "grad_norm" in output["README.md"]
    assert output["docs/tutorial.md"].count("exact") == 2  # versions
    assert "Nothing to replay" not in output["docs/costs.md"]
    assert "weight_max" in output["docs/sql.md"]
    assert "incomplete" not in output["docs/sql.md"]
    assert "val_acc" in output["docs/recording.md"]
    run([sys.executable, "-c", AS_WE_READ_IT], folder)


# The example on the page about the store's format reads what flor_ray reads.
AS_WE_READ_IT = """
import pandas as pd

import flor_ray as flor
from read_store import log_records


def rows(frame, columns):
    return [tuple(None if pd.isna(value) else value for value in row) for row in frame[columns].itertuples(index=False)]


records = log_records(".flor")
for name in ("grad_norm", "weight_norm", "loss", "accuracy"):
    ours = flor.dataframe(name).dropna(subset=[name])
    theirs = records[records["name"] == name].rename(columns={"number": name})
    columns = [*(column for column in ("version", "epoch", "step") if column in ours), name]
    assert len(ours) == len(theirs) > 0
    assert set(rows(ours, columns)) == set(rows(theirs, columns)), name
"""

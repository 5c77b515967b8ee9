"""The README, run: a reader who pastes its blocks one after another into a shell gets what it promises."""

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


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment(PATH=path), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_blocks_are_of_known_kinds() -> None:
    assert {language for language, _ in blocks()} == {"sh", "python", "text"}


@pytest.mark.timeout(300)
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    output = ""
    for language, text in blocks():
        if text == "make demo\n":  # in the checkout: test_demo.py
            continue
        if language == "sh":
            output += run(["bash", "-euo", "pipefail", "-c", text], folder)
        elif text.startswith("# train.py\n"):
            (folder / "train.py").write_text(text)
        elif language == "python":
            output += run([sys.executable, "-c", text], folder)
    assert "Estimated time" in output
    assert "grad_norm" in output


def test_every_command_of_the_command_line_is_in_the_readme() -> None:
    import click

    from flor_ray.cli.commands import cli

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = cli.list_commands(click.Context(cli))
    assert [name for name in names if not re.search(rf"`flor-ray.*\b{name}\b|`{name}`", text)] == []


def test_every_public_name_is_in_the_readme() -> None:
    import flor_ray

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in flor_ray.__all__ if name not in text] == []

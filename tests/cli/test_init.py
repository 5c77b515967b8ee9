"""`flor-ray init`: what it prints and writes, and that scripts record and replay with it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flor_ray.cli.commands import cli
from flor_ray.cluster.worker import Worker
from tests.bench_modules import bench_module, bench_repository

trial = bench_module("proposals.trial")
CASES = {case.name: case for case in trial.script_cases()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a script in it that has carriage returns, and is only reached by a link."""
    data = CASES["in_functions"].files["in_functions.py"].replace(b"\n", b"\r\n")
    (tmp_path / "real.py").write_bytes(data)
    (tmp_path / "real.py").chmod(0o750)
    (tmp_path / "train.py").symlink_to("real.py")
    for path, text in CASES["several_files"].files.items():
        if path != "train.py":
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(text)
    (tmp_path / "several.py").write_bytes(CASES["several_files"].files["train.py"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(cli, ["init", *words], catch_exceptions=False)


def test_nothing_is_written_unless_asked_and_the_diff_is_what_is_written(folder: Path) -> None:
    before = (folder / "real.py").read_bytes()
    shown = init("train.py")
    assert shown.exit_code == 0
    assert (folder / "real.py").read_bytes() == before
    assert "# train.py:55: main loop, confidence 0.95: optimizer.step() runs in it (line 27)" in shown.stdout
    assert "Nothing is written yet: 3 lines more, 2 changed, in train.py. Add --write to do it." in shown.stderr
    patch = folder / "proposed.diff"
    patch.write_bytes(shown.stdout_bytes)
    (folder / "copy").mkdir()
    (folder / "copy" / "train.py").write_bytes(before)
    subprocess.run(["git", "apply", str(patch)], cwd=folder / "copy", check=True)
    assert init("train.py", "--write").exit_code == 0
    after = (folder / "real.py").read_bytes()
    assert (folder / "copy" / "train.py").read_bytes() == after
    assert after.count(b"\r\n") == after.count(b"\n") == before.count(b"\n") + 3
    assert (folder / "train.py").is_symlink()
    assert (folder / "real.py").stat().st_mode & 0o777 == 0o750
    again = init("train.py", "--write")
    assert "Nothing to add" in again.stderr
    assert (folder / "real.py").read_bytes() == after
    assert sorted(os.listdir(folder)) == ["copy", "lab", "proposed.diff", "real.py", "several.py", "train.py"]


def test_a_command_leads_to_its_script_and_that_to_other_files(folder: Path) -> None:
    told = init("--json", "--", "torchrun", "--nproc-per-node", "2", "-m", "several", "--lr", "0.1")
    found = json.loads(told.stdout)
    assert {each["path"] for each in found["proposals"]} == {"lab/engine.py"}
    assert (found["lines_added"], found["lines_changed"], found["refused"]) == (2, 2, [])


def test_a_script_without_a_main_loop_exits_with_1(folder: Path) -> None:
    (folder / "no_loop.py").write_bytes(CASES["no_loop"].files["no_loop.py"])
    done = init("no_loop.py")
    assert done.exit_code == 1
    assert "# no_loop.py: no call for the main loop: no loop was seen" in done.stdout


@pytest.mark.timeout(300)
def test_scripts_record_and_replay_with_what_was_proposed(tmp_path: Path) -> None:
    worker = Worker()
    try:
        for name in ("while_steps", "several_files"):  # all of them: bench/proposing.py
            plain, truth = (bench_repository(tmp_path / name / each, worker) for each in ("plain", "truth"))
            outcome = trial.judge(CASES[name], plain, truth)
            assert (outcome.exact, outcome.values) == (outcome.epochs, outcome.epochs), outcome
            assert outcome.epochs > 1
    finally:
        worker.close()

"""Secrets that a run is given are found nowhere in what it leaves behind, and its replay has its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flor_ray import pipeline
from flor_ray.pipeline import explained
from tests.bench_modules import bench_module
from tests.conftest import Lab

secrets: Any = bench_module("ways.planted")
SCRIPT, VARIABLES, FILES = secrets.SCRIPT, secrets.VARIABLES, secrets.FILES
HINDSIGHT = '    flor.log("lengths", [*lengths, len(os.environ["SESSION_TOKEN"])])\n'


@pytest.fixture
def planted(lab: Lab) -> Lab:
    secrets.plant(lab.root)
    done = secrets.run(lab.root)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        assert f"{name} (" in done.stderr
        assert "such files hold secrets" in done.stderr
    assert "A replay takes them from its environment: API_KEY, FLOR_ARGV_3, HUB_TOKEN" in done.stderr
    assert "planted" not in done.stderr
    return lab


def test_secrets_are_found_nowhere_in_what_a_run_leaves_behind(planted: Lab) -> None:
    secrets.run(planted.root, FAIL="1")
    assert secrets.found(secrets.left_behind(planted.root)) == set()
    shown = planted.cli("versions", check=True)
    assert "planted" not in shown.stdout + shown.stderr
    failed = planted.experiments()[-1]
    assert failed.error == "ValueError: refused: https://***@host"
    assert failed.argv[1] == "***"
    assert failed.run == "api_key=***"
    assert "access_key" not in failed.args
    assert planted.values("endpoint")[0][3] == "https://***@host/x"
    assert planted.values("access_key")[0][3] == "***"


def test_a_replay_has_them_from_its_environment_or_says_which_it_needs(
    planted: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.write("train.py", SCRIPT.replace("    flor.log", HINDSIGHT + "    flor.log"))
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    prepared = planted.prepare(["lengths"])
    assert "need API_KEY, CLIENT_SECRET, FLOR_ARGV_3, HUB_TOKEN in their environment" in str(explained(prepared))
    outcome = pipeline.run(prepared, planted.executor())
    (failure,) = {why for _, why in outcome.failures}
    assert "Set API_KEY, FLOR_ARGV_3, HUB_TOKEN in the environment of the workers" in failure
    monkeypatch.setenv("API_KEY", "planted01argv")
    monkeypatch.setenv("FLOR_ARGV_3", "--db=postgres://me:planted02url@host/x")
    monkeypatch.setenv("HUB_TOKEN", "planted03equals")
    outcome = pipeline.run(planted.prepare(["lengths"]), planted.executor())
    (failure,) = {why for _, why in outcome.failures}
    assert "Set CLIENT_SECRET in the environment of the workers" in failure
    monkeypatch.setenv("CLIENT_SECRET", "planted04kwargs")
    outcome = pipeline.run(planted.prepare(["lengths"]), planted.executor())
    assert outcome.failures == []
    seen = [value for *_, value in planted.values("lengths")]
    assert seen == [[13, 33, 15, 16, 15, 17]] * 2
    assert secrets.found(secrets.left_behind(planted.root)) == set()


def test_what_git_has_already_is_kept(lab: Lab) -> None:
    Path(lab.root, ".env").write_text("WIDTH=3")
    subprocess.run(["git", "-C", str(lab.root), "add", "-f", ".env"], check=True)
    run = lab.record("import flor_ray as flor\nflor.log('x', 1)\n")
    assert ".env" in lab.project.store.sources(run.project, run.version)

"""Secrets that a run is given are found nowhere in what it leaves behind, and its replay has its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flor_ray import pipeline
from flor_ray.pipeline import explained
from flor_ray.store import manifests
from flor_ray.store.objects import Objects
from tests.conftest import Lab

SCRIPT = """
import argparse
import os
import sys
import flor_ray as flor

parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--db")
parser.add_argument("--hub_token")
flor.autolog()
options = parser.parse_args()
flor.autolog({"model": {"width": 3, "service": {"password": "planted" + "05password"}}})
key = flor.arg("access_key", "planted" + "06default")
given = flor.arg("client_secret", "none yet")
settings = os.environ["MY_SERVICE_TOKEN"], os.environ["BROKER"]
flor.arg("endpoint", "https://me:planted" + "09url@host/x")
lengths = [len(options.api_key), len(options.db), len(options.hub_token), len(key), len(given)]
for epoch in flor.loop("epoch", range(2)):
    os.environ["SESSION_TOKEN"] = "planted" + "10session" + str(epoch)
    flor.log("loss", 1.0 / (epoch + 1))
if "FAIL" in os.environ:
    raise ValueError("refused: https://me:planted" + "11error@host")
"""
HINDSIGHT = '    flor.log("lengths", [*lengths, len(os.environ["SESSION_TOKEN"])])\n'
ARGUMENTS = (
    *("--flor", "api_key=planted12run", "--kwargs", "client_secret=planted04kwargs"),
    *("--api-key", "planted01argv", "--db=postgres://me:planted02url@host/x", "--hub_token=planted03equals"),
)
VARIABLES = {"MY_SERVICE_TOKEN": "planted07variable", "BROKER": "amqp://me:planted08broker@host"}
FILES = {".env": "planted13env", "keys/id_rsa": "planted14rsa", "server.pem": "planted15pem"}


def left_behind(lab: Lab) -> str:
    """All that the store and git have of the runs, decompressed."""
    found: list[bytes] = []
    for path in (lab.root / ".flor").rglob("*"):
        if path.is_file():
            found += [str(path).encode(), path.read_bytes()]
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                found += [str(table.to_pylist()).encode(), str(table.schema.metadata).encode()]
    objects: Objects = lab.project.store.objects
    for key in objects.infos():
        data = objects.get(key)
        if data.startswith(b"flor2 "):
            found.append(manifests.from_bytes(data, key).skeleton)
    git = ["git", "-C", str(lab.root)]
    ids = subprocess.run([*git, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True)
    log = subprocess.run([*git, "log", "--all", "--format=%B"], capture_output=True, check=True)
    return b"\n".join([*found, ids.stdout, log.stdout]).decode("utf-8", "replace")


@pytest.fixture
def planted(lab: Lab) -> Lab:
    for name, text in FILES.items():
        (lab.root / name).parent.mkdir(exist_ok=True)
        (lab.root / name).write_text(text)
    lab.write("train.py", SCRIPT)
    done = lab.run([sys.executable, "train.py", *ARGUMENTS], lab.root, VARIABLES)
    for name in FILES:
        assert f"{name} (" in done.stderr
        assert "such files hold secrets" in done.stderr
    assert "A replay takes them from its environment: API_KEY, FLOR_ARGV_3, HUB_TOKEN" in done.stderr
    assert "planted" not in done.stderr
    return lab


def test_secrets_are_found_nowhere_in_what_a_run_leaves_behind(planted: Lab) -> None:
    planted.run([sys.executable, "train.py", *ARGUMENTS], planted.root, VARIABLES | {"FAIL": "1"}, check=False)
    found = left_behind(planted).replace('"planted" + "', "").replace(':planted" + "', "")
    assert "planted" not in found
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
    assert "planted" not in left_behind(planted).replace('"planted" + "', "").replace(':planted" + "', "")


def test_what_git_has_already_is_kept(lab: Lab) -> None:
    Path(lab.root, ".env").write_text("WIDTH=3")
    subprocess.run(["git", "-C", str(lab.root), "add", "-f", ".env"], check=True)
    run = lab.record("import flor_ray as flor\nflor.log('x', 1)\n")
    assert ".env" in lab.project.store.sources(run.project, run.version)

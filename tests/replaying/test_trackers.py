"""Trackers of a replayed script stay offline, whatever the script says. Real libraries, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAD = """
import json, os, socket, sys
from pathlib import Path
folder = Path(sys.argv[1])
seen = {}
connect = socket.socket.connect
def no_network(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
        raise AssertionError(f"connected to {address}")
    return connect(self, address)
socket.socket.connect = no_network
"""
OFFLINE = """
from flor_ray import trackers
offline = trackers.go_offline(folder)
"""
FOOT = "\nseen['said'] = offline.sentences()\nprint(json.dumps(seen, default=str))\n"


def tracked(text: str, folder: Path, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + text + FOOT, str(folder / "trackers")],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("preloaded", [False, True])
def test_wandb_runs_offline_in_the_scratch_folder(tmp_path: Path, preloaded: bool) -> None:
    script = """
os.environ["WANDB_MODE"] = "online"
import wandb
from wandb import init
wandb.login(key="0" * 40)
run = init(project="p", mode="online", dir=str(folder.parent / "mine"), config={"rate": 1})
run.log({"loss": 1.0})
seen["offline"], seen["dir"] = run.settings._offline, run.dir
run.finish()
off = wandb.init(project="p", mode="disabled")
seen["disabled"] = off.disabled
off.finish()
"""
    seen = tracked(f"import wandb\n{OFFLINE}{script}" if preloaded else OFFLINE + script, tmp_path)
    assert seen["offline"]
    assert seen["dir"].startswith(str(tmp_path / "trackers/wandb/offline-run-"))
    assert seen["disabled"]
    assert seen["said"] == ["wandb.init was called with mode='online'; replay tracks offline and drops it"]
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("preloaded", [False, True])
def test_mlflow_tracks_into_the_scratch_folder(tmp_path: Path, preloaded: bool) -> None:
    script = """
os.environ["MLFLOW_TRACKING_URI"] = "http://tracking.example.com"
import mlflow
from mlflow import set_tracking_uri
from mlflow.tracking import MlflowClient
set_tracking_uri("http://tracking.example.com")
mlflow.set_experiment("mine")
with mlflow.start_run() as run:
    mlflow.log_param("rate", 1)
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_text("text", "note.txt")
seen["uri"], seen["registry"] = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
client = MlflowClient(tracking_uri="http://tracking.example.com")
seen["loss"] = client.get_run(run.info.run_id).data.metrics
"""
    seen = tracked(f"import mlflow\n{OFFLINE}{script}" if preloaded else OFFLINE + script, tmp_path)
    scratch = (tmp_path / "trackers/mlruns").as_uri()
    assert (seen["uri"], seen["registry"], seen["loss"]) == (scratch, scratch, {"loss": 0.5})
    assert seen["said"] == [
        "mlflow.set_tracking_uri was called with 'http://tracking.example.com'; replay tracks offline and drops it",
        "MlflowClient was called with tracking_uri='http://tracking.example.com'; replay tracks offline and drops it",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["trackers"]
    assert list((tmp_path / "trackers").rglob("note.txt"))


def test_other_trackers_are_told_by_their_variables(tmp_path: Path) -> None:
    seen = tracked(OFFLINE + "\nseen['variables'] = dict(os.environ)\n", tmp_path, WANDB_MODE="disabled")
    names = ("NEPTUNE_MODE", "CLEARML_OFFLINE_MODE", "COMET_START_ONLINE", "WANDB_MODE", "WANDB_SILENT")
    assert [seen["variables"][name] for name in names] == ["offline", "1", "0", "disabled", "true"]
    assert seen["said"] == []

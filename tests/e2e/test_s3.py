"""Record and replay with the store in a bucket: the same code, real HTTP, processes that share nothing but the URL."""

from __future__ import annotations

import os
import uuid

import pytest

from flor_ray.store.project import Project
from tests.conftest import Lab

SCRIPT = """
import flor_ray as flor
state = {"total": 0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(4)):
        state["total"] += step
    flor.log("epoch_total", state["total"])
"""


def test_a_run_is_recorded_into_a_bucket_and_replayed_from_it(
    lab: Lab, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    lab.write("train.py", SCRIPT)
    assert "Warning" not in lab.python("train.py", FLOR_RAY_STORE=url).stderr  # its end is written as Python ends, too
    assert not (lab.root / ".flor").exists()
    lab.write("train.py", SCRIPT.replace("        state", '        flor.log("before", state["total"])\n        state'))
    _, outcome = lab.replay(["before"], "epoch >= 2")
    assert outcome.failures == []
    totals = {epoch: value for epoch, _, _, value in lab.values("epoch_total")}
    starts = {epoch: value for epoch, step, _, value in lab.values("before") if step == 0}
    assert starts == {2: totals[1], 3: totals[2]}


def test_a_bucket_that_is_not_there_is_one_message_before_training_starts(lab: Lab, bucket: str) -> None:
    assert os.environ["AWS_ENDPOINT_URL"]
    lab.write("train.py", SCRIPT)
    done = lab.python("train.py", check=False, FLOR_RAY_STORE=f"s3://{bucket}-missing/store")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("flor_ray.errors.StoreError: ")
    assert Project.open(str(lab.root)).store.projects() == ()

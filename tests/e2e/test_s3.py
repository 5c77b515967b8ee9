"""Record and replay with the store in a bucket: the same code, real HTTP, processes that share nothing but the URL."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace

import pytest

from flor_ray import pipeline
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


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
LOOKS = """
import os, subprocess
names = [*os.environ, *subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()]
names += open("/proc/self/environ").read().split(chr(0))
seen = sorted({name.partition("=")[0] for name in names if name.startswith("AWS_")})
"""


def test_the_keys_of_the_store_are_not_in_the_environment_of_what_is_replayed_from_it(
    lab: Lab, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    lab.record_forked(LOOKS + SCRIPT, FLOR_RAY_STORE=url)
    lab.write("train.py", LOOKS + SCRIPT + 'flor.log("seen", seen)\n')
    for secrets, expected in ((), []), (("AWS_DEFAULT_REGION",), ["AWS_DEFAULT_REGION"]):
        prepared = lab.prepare(["seen"], again=True)
        prepared = replace(prepared, terms=replace(prepared.terms, secrets=secrets))
        assert pipeline.run(prepared, lab.executor()).failures == []
        assert lab.values("seen")[-1] == (None, None, 0, expected)


READS = """
import boto3
names = [one["Name"] for one in boto3.client("s3").list_buckets()["Buckets"]]
"""


def test_a_script_that_needs_keys_says_which_to_name_and_has_those_that_are_named(
    lab: Lab, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    lab.record_forked(READS + SCRIPT, FLOR_RAY_STORE=url)
    lab.write("train.py", READS + SCRIPT + 'flor.log("buckets", names)\n')
    _, outcome = lab.replay(["buckets"])
    (failed,) = [error for _, error in outcome.failures]
    assert "this worker has AWS_ACCESS_KEY_ID, " in failed
    assert "name what they need under `secrets` in flor.yaml" in failed
    prepared = lab.prepare(["buckets"])
    prepared = replace(prepared, terms=replace(prepared.terms, secrets=KEYS))
    assert pipeline.run(prepared, lab.executor()).failures == []
    assert bucket in lab.values("buckets")[0][3]


def test_a_bucket_that_is_not_there_is_one_message_before_training_starts(lab: Lab, bucket: str) -> None:
    assert os.environ["AWS_ENDPOINT_URL"]
    lab.write("train.py", SCRIPT)
    done = lab.python("train.py", check=False, FLOR_RAY_STORE=f"s3://{bucket}-missing/store")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("flor_ray.errors.StoreError: ")
    assert Project.open(str(lab.root)).store.projects() == ()

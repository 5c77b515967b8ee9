"""Which states are fetched ahead for a segment, and that they are in the machine's cache then."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import running
from flor_ray.records import Checkpoint, Operator, Point, Segment, Variant
from flor_ray.replaying.fetching import Fetcher, states, within
from flor_ray.state import snapshots
from flor_ray.store.store import Store
from tests.conftest import Lab

CHECKPOINTS = [
    Checkpoint("v", "train.py", 2, epoch, point, f"{epoch}{point}", 10, 0.1)
    for epoch in range(5)
    for point in (Point.EPOCH_END, Point.NESTED_EXIT)
]


def keys(segment: Segment) -> list[str]:
    return [checkpoint.key for checkpoint in states(segment, CHECKPOINTS)]


def test_the_states_of_a_segment_are_those_that_it_puts_back_in_their_order() -> None:
    inner = Segment("v", 3, 4, Operator.DP_I, restore=2)
    assert keys(inner) == [f"2{Point.EPOCH_END}"]
    assert keys(replace(inner, restore=None)) == []
    exits = [f"{epoch}{Point.NESTED_EXIT}" for epoch in (3, 4)]
    assert keys(replace(inner, variant=Variant.OUTER)) == [f"2{Point.EPOCH_END}", *exits]
    ends = [f"{epoch}{Point.EPOCH_END}" for epoch in (3, 4)]
    assert keys(replace(inner, variant=Variant.END)) == ends
    assert keys(replace(inner, last=9, variant=Variant.END)) == ends  # what was not kept cannot be fetched
    assert keys(Segment("v", 1, 4, Operator.DP_STAR)) == []


def test_no_more_is_fetched_for_a_segment_than_a_cache_holds() -> None:
    some = CHECKPOINTS[:4]
    assert within(some, 40) == tuple(some)
    assert within(some, 39) == tuple(some[:3])
    assert within(some, 0) == ()


SCRIPT = """
import flor_ray as flor
state = {"weights": [0.5] * 1000, "total": 0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        state["total"] += step
    flor.log("total", state["total"])
"""


def test_what_a_segment_restores_is_in_the_cache_before_it_runs(
    lab: Lab, bucket: str, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    lab.record_forked(SCRIPT, FLOR_RAY_STORE=url)
    lab.write(
        "train.py", SCRIPT.replace("        state[", '        flor.log("before", state["total"])\n        state[')
    )
    prepared = lab.prepare(["before"], "epoch == 3")
    (job,) = running.jobs(prepared, "replay-fetched").values()
    (cost,) = prepared.costs
    (checkpoint,) = states(cost.segment, job.checkpoints)
    fetcher, store = Fetcher(), Store(url)
    try:
        fetcher.wish(job, cost.segment)
        until = time.monotonic() + 30
        while fetcher.busy:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        fetcher.close()
    manifest, _ = snapshots.read(store.objects, checkpoint.key)
    assert store.objects.hits == 1 + len({part.key for part in manifest.parts})

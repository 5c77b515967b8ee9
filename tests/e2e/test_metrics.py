"""What a replay tells Ray's metrics, as Prometheus reads it on a node."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

import pytest
import ray

from flor_ray import filling
from flor_ray.cluster.metrics import _COUNTERS, _GAUGES
from tests.conftest import Lab

pytestmark = pytest.mark.timeout(300)
NAMES = [number.name for number in (*_COUNTERS, *_GAUGES)]
RAYS = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId"}  # Version is that of Ray
SCRIPT = """
import flor_ray as flor

state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        state["weight"] /= 2
    flor.log("loss", state["weight"])
"""


def scraped() -> dict[str, float]:
    """Ours, by name as Prometheus has it; the sum over processes."""
    found: dict[str, float] = {}
    (node,) = ray.nodes()  # type: ignore[no-untyped-call]
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if (match := re.match(r"ray_(flor_\w+)\{(.*)\} (\S+)", line)) is not None:
                name, labels, value = match.groups()
                assert {word for word in re.findall(r"(\w+)=", labels) if not word.startswith("otel_")} <= RAYS, labels
                found[name.removesuffix("_total")] = found.get(name.removesuffix("_total"), 0.0) + float(value)
    return found


def test_a_replay_on_ray_is_seen_in_rays_metrics(lab: Lab, ray_cluster: None) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", SCRIPT.replace("/= 2\n", '/= 2\n        flor.log("weight", state["weight"])\n'))
    began = scraped()
    filling.replay(["weight"], workers=1, path=str(lab.root), executor="ray")
    until = time.monotonic() + 60
    while (found := scraped()).get("flor_rows", 0) - began.get("flor_rows", 0) < 6 or "flor_queue_length" not in found:
        assert time.monotonic() < until, found
        time.sleep(1)
    grown = {name: found.get(name, 0.0) - began.get(name, 0.0) for name in NAMES}
    assert grown["flor_rows"] == 6
    assert grown["flor_segments"] >= 1
    assert grown["flor_worker_seconds"] > 0
    assert grown["flor_segments_failed"] == grown["flor_retries"] == 0
    assert found["flor_queue_length"] == 0
    assert found.keys() <= set(NAMES)


def test_the_page_of_the_docs_has_all_of_them() -> None:
    text = (Path(__file__).parents[2] / "docs/cluster.md").read_text()
    assert [name for name in NAMES if f"`ray_{name}`" not in text] == []

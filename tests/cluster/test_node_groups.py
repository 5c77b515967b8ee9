"""What Ray's autoscaler would start, as its own file and its own words have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flor_ray import processes
from flor_ray.cluster import node_groups, room
from flor_ray.cluster.demand import ENDLESS, NodeGroup
from flor_ray.cluster.room import NodeResources

GPU = NodeResources("gpu", {"CPU": 4, "GPU": 1}, labels={room.GROUP_LABEL: "gpu"})
CONFIG = {
    "max_workers": 3,
    "head_node_type": "head",
    "available_node_types": {"head": {"resources": {"CPU": 1}}, "gpu": {"resources": {"CPU": 4, "GPU": 1}}},
}


def autoscaler(monkeypatch: pytest.MonkeyPatch, address: str, file: Path | str) -> None:
    """One runs on this machine, with this file, for the cluster at this address."""
    others = ["python", "-u", "/other/monitor.py", "--gcs-address=10.9.9.9:1"], ["sh", "monitor.py"]
    ours = ["python", "-u", "/ray/monitor.py", "--logs-dir=x", f"--gcs-address={address}"]
    ours += [f"--autoscaling-config={file}"] * bool(file)
    monkeypatch.setattr(processes, "command_lines", lambda word: [*others, ours])


@pytest.mark.parametrize(
    ("its", "ours", "found"),
    [
        ("10.0.0.1:6379", "10.0.0.1:6379", 3),
        ("127.0.0.1:6379", "10.0.0.1:6379", 3),  # this machine's own
        ("10.0.0.1:6379", "127.0.0.1:6379", 3),
        ("10.0.0.1:6379", "10.0.0.1:6380", 0),
        ("10.0.0.1:6379", "10.0.0.2:6379", 0),  # another machine's cluster, while one runs here as well
        ("127.0.0.1:6379", "10.0.0.2:6379", 0),
    ],
)
@pytest.mark.parametrize("write", [json.dumps, lambda config: f"# a comment\n{json.dumps(config)}"])
def test_the_file_counts_of_the_autoscaler_of_this_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, its: str, ours: str, found: int, write: object
) -> None:
    file = tmp_path / "autoscaling.yaml"
    file.write_text(write(CONFIG))  # type: ignore[operator]
    autoscaler(monkeypatch, its, file)
    assert node_groups.in_file(ours, ["10.0.0.1"], []) == ((NodeGroup(GPU, found),) if found else ())


@pytest.mark.parametrize(
    "text", ["- a list", "{", "", "available_node_types: 3", "available_node_types: {a: {resources: 3}}"]
)
def test_a_file_that_says_nothing_starts_nothing_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "autoscaling.yaml"
    file.write_text(text)
    autoscaler(monkeypatch, "127.0.0.1:1", file)
    assert all(not group.node.resources for group in node_groups.in_file("127.0.0.1:1", [], []))
    autoscaler(monkeypatch, "127.0.0.1:1", tmp_path / "none.yaml")
    assert node_groups.in_file("127.0.0.1:1", [], []) == ()
    autoscaler(monkeypatch, "127.0.0.1:1", "")  # as on a head node that was started without one
    assert node_groups.in_file("127.0.0.1:1", [], []) == ()


def test_a_cluster_that_tells_it_is_believed() -> None:
    from ray.core.generated import autoscaler_pb2

    told = autoscaler_pb2.ClusterConfig()  # type: ignore[attr-defined]  # whose classes are made when it is imported
    for name, resources, count in (("gpu", {"CPU": 4, "GPU": 1}, 5), ("cpu", {"CPU": 8}, -1), ("empty", {}, 3)):
        group = told.node_group_configs.add(name=name, max_count=count)
        group.resources.update(resources)
    told.max_resources["GPU"] = 2
    cpu = NodeResources("cpu", {"CPU": 8}, labels={room.GROUP_LABEL: "cpu"})
    assert node_groups.told(told, [GPU]) == (NodeGroup(GPU, 1), NodeGroup(cpu, ENDLESS))

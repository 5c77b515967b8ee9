"""How many workers fit on which nodes, and what is said where none does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flor_ray.cluster.room import TYPE_LABEL, NodeResources, check, completed, room
from flor_ray.errors import UsageError
from flor_ray.records import ANY_SHAPE, WorkerShape

GB = 10**9


def node(name: str = "n", gpus: float = 0, cpus: float = 8, memory: int = 64 * GB, kind: str = "") -> NodeResources:
    typed = {f"accelerator_type:{kind}": 1.0} if kind else {}
    return NodeResources(
        name, {"GPU": gpus, "CPU": cpus, "memory": memory, **typed}, {TYPE_LABEL: kind} if kind else {}
    )


def fit(shape: WorkerShape, *nodes: NodeResources) -> int:
    return room(completed(shape, nodes), nodes)


def test_by_default_each_gpu_is_a_worker_or_each_cpu_where_there_is_none() -> None:
    assert completed(ANY_SHAPE, [node(gpus=2), node()]) == WorkerShape(1, 0)
    assert fit(ANY_SHAPE, node(gpus=2), node(gpus=1), node()) == 3
    assert completed(ANY_SHAPE, [node(), node(cpus=3)]) == WorkerShape(0, 1)
    assert fit(ANY_SHAPE, node(), node(cpus=3)) == 11
    assert fit(ANY_SHAPE, node(cpus=0)) == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (WorkerShape(gpus=0.5), 6),
        (WorkerShape(gpus=0.4), 6),  # two on each GPU: parts are of one
        (WorkerShape(gpus=0.1), 30),  # and 1 / 0.1 is 10
        (WorkerShape(gpus=2), 1),
        (WorkerShape(gpus=3), 0),
        (WorkerShape(gpus=0), 20),
        (WorkerShape(gpus=0, cpus=0.5), 40),
        (WorkerShape(gpus=0, cpus=3), 5),
        (WorkerShape(cpus=8), 2),  # with a GPU each
        (WorkerShape(gpus=0, memory_bytes=32 * GB), 6),
        (WorkerShape(gpus=0.5, cpus=3), 4),
        (WorkerShape(memory_bytes=40 * GB), 2),
        (WorkerShape(memory_bytes=65 * GB), 0),
    ],
)
def test_each_node_has_room_for_what_all_of_its_resources_allow(shape: WorkerShape, expected: int) -> None:
    assert fit(shape, node(gpus=2), node(gpus=1), node(cpus=4)) == expected


def test_one_type_goes_by_the_resource_and_several_by_the_label_as_ray_schedules() -> None:
    nodes = node("a", 4, kind="A100"), node("h", 2, kind="H100"), node("t", 1, kind="T4"), node("x", 1)
    assert fit(WorkerShape(accelerators=("A100",)), *nodes) == 4
    assert fit(WorkerShape(accelerators=("A100", "H100")), *nodes) == 6
    assert fit(WorkerShape(gpus=0.5, accelerators=("T4",)), *nodes) == 2
    assert fit(WorkerShape(accelerators=("V100",)), *nodes) == 0
    unlabelled = replace(nodes[0], labels={})
    assert (
        fit(WorkerShape(accelerators=("A100",)), unlabelled),
        fit(WorkerShape(accelerators=("A100", "T4")), unlabelled),
    ) == (4, 0)


def test_only_nodes_with_the_labels_that_are_asked_for_count() -> None:
    lasting = replace(node("a", 2), labels={"market": "on-demand", "zone": "b"})
    spot = replace(node("s", 4), labels={"market": "spot"})
    assert fit(WorkerShape(labels=(("market", "on-demand"),)), lasting, spot, node("x", 8)) == 2
    assert fit(WorkerShape(labels=(("market", "spot"), ("zone", "b"))), lasting, spot) == 0
    assert (
        "1 GPU on a node with zone=c, and no node of the cluster has that (a: 2 GPUs, 8 CPUs, 64.0 GB of memory, "
        in (said := refused(WorkerShape(labels=(("zone", "c"),)), None, lasting))
    )
    assert "market=on-demand, zone=b)" in said


def refused(shape: WorkerShape, workers: int | None, *nodes: NodeResources) -> str:
    with pytest.raises(UsageError) as caught:
        check(completed(shape, nodes), nodes, workers)
    return str(caught.value)


def test_what_no_node_has_is_refused_with_what_each_has() -> None:
    said = refused(WorkerShape(gpus=2, memory_bytes=8 * GB), None, node("a", 1, kind="T4"), node("b", cpus=1))
    assert said.startswith(
        "Each worker is to get 2 GPUs and 8.0 GB of memory, and no node of the cluster has that (a: 1 GPU of type T4, "
        "8 CPUs, 64.0 GB of memory; b: 0 GPUs, 1 CPU, 64.0 GB of memory). Change gpus, cpus, memory, accelerators or "
        "labels"
    )
    said = refused(WorkerShape(accelerators=("A100", "H100")), 3, *(node(f"n{i}") for i in range(9)))
    assert said.startswith("Each worker is to get 1 GPU of type A100 or H100, and no node")
    assert re.findall(r"\bn\d\b|and 4 more", said) == ["n0", "n1", "n2", "n3", "n4", "and 4 more"]
    assert "(it has none)" in refused(WorkerShape(gpus=1), None)


def test_more_workers_than_there_is_room_for_are_refused_with_how_many_there_are() -> None:
    assert refused(ANY_SHAPE, 3, node(gpus=2)).startswith("3 workers were asked for, but the cluster has 2 GPUs. ")
    assert refused(ANY_SHAPE, 9, node()).startswith("9 workers were asked for, but the cluster has 8 CPU slots. ")
    assert refused(WorkerShape(cpus=3), 3, node()).startswith(
        "3 workers were asked for, but the cluster has room for 2, with 3 CPUs each. "
    )
    assert check(WorkerShape(0, 3), [node()], 2) == 2

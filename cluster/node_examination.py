"""The examination of each node of a Ray cluster, by a task that runs nowhere else. Beside `joining` a door to Ray."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flor_ray.cluster import examination, joining
from flor_ray.cluster.examination import Diagnosis, Examined, SoughtData
from flor_ray.cluster.ray_failures import words


def examined(
    url: str | None, probe: str, sought: SoughtData | None, driver: Examined, seconds: float
) -> list[tuple[str, Diagnosis]]:
    """The diagnoses of all nodes, each with its node's name. That a node has not answered after so many seconds is one,
    and so is that it cannot run our code.

    Raises:
        ClusterRefused: no cluster can be joined.
    """
    joining.connect()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = sorted((node for node in nodes if node["Alive"]), key=lambda node: node["NodeManagerHostname"])
    remote: Any = ray.remote(examination.look)
    asked = {}
    for node in alive:
        only_there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=only_there)
        asked[task.remote(url, probe, sought)] = node
    until, waiting = time.monotonic() + seconds, list(asked)
    ray.wait(waiting, num_returns=len(waiting), timeout=max(0.0, until - time.monotonic()))
    found = []
    for reference, node in asked.items():
        name, counted = _name(node), node["Resources"].get("GPU", 0.0)
        found += [(name, diagnosis) for diagnosis in _answer(reference, driver, counted, seconds)]
    return found


def _answer(reference: Any, driver: Examined, ray_gpus: float, seconds: float) -> list[Diagnosis]:
    try:
        return examination.diagnoses(ray.get(reference, timeout=0.1), driver, ray_gpus)
    except ray.exceptions.GetTimeoutError:
        ray.cancel(reference, force=True)
        return [
            Diagnosis(
                "worker", False, f"has not begun, or not ended, within {seconds:.0f} s", "Look at `ray status` there."
            )
        ]
    except RayError as error:
        missing = "No module named 'flor_ray'" in str(error)
        return [Diagnosis("worker", False, words(error).removesuffix("."), _ADVICE[missing])]


_ADVICE = {
    True: "Install flor_ray there, or let a job bring it along.",
    False: "Look at that node's logs (/tmp/ray/session_latest/logs).",
}


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})"

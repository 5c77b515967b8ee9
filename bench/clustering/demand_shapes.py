"""Whether as many workers start as a plan counts on, on clusters of several shapes and beside others who hold a part.

One head node, and the nodes of each shape beside it; all are processes of this machine that say what they have. Workers
are started as a replay starts them. One more than was counted on is asked for, too: it must not come.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from flor_ray.cluster import actors, joining
from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.room import TYPE_LABEL
from flor_ray.records import ANY_SHAPE, WorkerShape
from flor_ray.scheduler.messages import WorkerJoined
from tests.ray_heads import RayHead

GB = 10**9
_START_SECONDS = 90.0  # for those that were counted on
_TOLD_SECONDS = 0.5  # until Ray's head node knows what is held
_MORE_SECONDS = 3.0  # for one more, which is not to come


@dataclass(frozen=True, slots=True)
class Case:
    """Workers of a shape on the cluster of `measure`, while others hold something."""

    name: str
    shape: WorkerShape
    planned: int  # that it has to be, by what the nodes have
    held: tuple[tuple[str, float], ...] = ()  # by others: resources of one actor each


# The head has 2 CPUs, one node 4 GPUs of type A100 and 1 CPU, the other one 1 GPU of type T4.
CASES = (
    Case("more GPUs than CPUs", ANY_SHAPE, 5),
    Case("half a GPU is held by others", ANY_SHAPE, 4, (("GPU", 0.5),)),
    Case("all CPUs are held by others", ANY_SHAPE, 5, (("CPU", 1.0),) * 4),
    Case("one type of several", WorkerShape(accelerators=("A100",)), 4),
    Case("thirds of a GPU", WorkerShape(gpus=1 / 3, accelerators=("T4",)), 3),
    Case("several types, by labels", WorkerShape(accelerators=("T4", "H100")), 1),
    Case("nodes with a label", WorkerShape(gpus=0, cpus=0.5, labels=((TYPE_LABEL, "T4"),)), 2),
    Case("two GPUs each", WorkerShape(gpus=2), 2),
    Case("no GPU", WorkerShape(gpus=0), 4),
    Case("shares of CPUs", WorkerShape(gpus=0, cpus=0.5), 6, (("CPU", 1.0),)),
    Case("memory", WorkerShape(gpus=0, cpus=0.25, memory_bytes=2 * GB), 3),
    Case("a GPU and a CPU each", WorkerShape(cpus=1), 2),
)
QUICK = (CASES[1], CASES[4], CASES[9])


@dataclass(frozen=True, slots=True)
class Started:
    """What a case came to."""

    case: Case
    counted: int
    started: int
    one_more: bool  # whether another one would have started beside them

    @property
    def equal(self) -> bool:
        return self.counted == self.started == self.case.planned and not self.one_more


def started(case: Case) -> Started:
    """Count on workers and start them, on the cluster to which this process is connected."""
    with _holding(case.held):
        time.sleep(_TOLD_SECONDS)
        crew = joining.crew(case.shape)
        with RayExecutor(case.shape) as executor:
            executor.start(crew.counted, None)
            joined, until = 0, time.monotonic() + _START_SECONDS
            while joined < crew.counted and time.monotonic() < until:
                joined += sum(isinstance(event, WorkerJoined) for event in executor.wait(0.3))
            return Started(case, crew.counted, joined, _starts(actors.options_of(crew.shape)))


@contextmanager
def _holding(held: Sequence[tuple[str, float]]) -> Iterator[None]:
    """Somebody else's actors, which have this of the cluster meanwhile."""
    words = {"GPU": "num_gpus", "CPU": "num_cpus"}
    holders = [_Holder.options(**{"num_cpus": 0, words[name]: count}).remote() for name, count in held]
    ray.get([holder.here.remote() for holder in holders], timeout=_START_SECONDS)
    yield
    for holder in holders:
        ray.kill(holder)


def _starts(options: dict[str, Any]) -> bool:
    """Whether there is room for one more."""
    holder = _Holder.options(**options).remote()
    ready, _ = ray.wait([holder.here.remote()], timeout=_MORE_SECONDS)
    ray.kill(holder)
    return bool(ready)


class _Holding:
    def here(self) -> None:
        """It has been given what it asked for."""


_Holder: Any = ray.remote(_Holding)


def measure(quick: bool) -> dict[str, object]:
    """For bench/cluster.py: the share of the cases in which as many workers started as were counted on."""
    a100 = f"--resources={json.dumps({'accelerator_type:A100': 4})}", f"--labels={TYPE_LABEL}=A100"
    t4 = f"--resources={json.dumps({'accelerator_type:T4': 1})}", f"--labels={TYPE_LABEL}=T4"
    store = "--object-store-memory=80000000"
    with RayHead(store, "--num-gpus=0", f"--memory={3 * GB}", cpus=2) as head:
        head.add_node(store, "--num-gpus=4", f"--memory={3 * GB}", *a100, cpus=1)
        head.add_node(store, "--num-gpus=1", f"--memory={3 * GB}", *t4, cpus=1)
        command = [sys.executable, "-m", "bench.clustering.demand_shapes", *["--quick"] * quick]
        variables = head.environment | {"RAY_ADDRESS": head.address}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found = json.loads(done.stdout.splitlines()[-1])
    equal = sum(one["equal"] for one in found) / len(found)
    return {
        "planned_workers_equal_started": equal,
        "cluster_shapes": len(found),
        "cluster_shapes_off": [one for one in found if not one["equal"]],
    }


def main() -> None:
    """Each case in turn, on the cluster at RAY_ADDRESS; one line of JSON."""
    joining.connect()
    found = [started(case) for case in (QUICK if "--quick" in sys.argv else CASES)]
    rows = [(one.case.name, one.case.planned, one.counted, one.started, one.one_more, one.equal) for one in found]
    names = ("shape", "expected", "planned", "started", "one_more", "equal")
    print(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))


if __name__ == "__main__":
    main()

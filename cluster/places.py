"""Where replays run, and how many workers there is room for: on a Ray cluster, or on this machine. Found out without
importing Ray, which takes longer than most answers do.

A replay runs on Ray if a cluster is at hand, if this machine has GPUs (Ray gives each worker one), if packages have to
be installed for it (Ray does that), and if it is long. What is left are short replays on a machine without a cluster:
Ray would be started for them on the same processors, and they are over before it is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from flor_ray import processes
from flor_ray.cluster import addresses, room
from flor_ray.cluster.room import NodeResources
from flor_ray.errors import UsageError
from flor_ray.records import ANY_SHAPE, Crew, WorkerShape

RAY, LOCAL = "ray", "local"
NEW_RAY = "new ray"  # a cluster that is started for a replay
NEW_NODES = "new nodes"  # all of them are started by the cluster, which waits for who needs them

_GPUS = Path("/proc/driver/nvidia/gpus")


def cluster_at_hand() -> bool:
    """Whether a Ray cluster was named (RAY_ADDRESS), this process is connected to one, or one runs on this machine."""
    return _connected() or bool(addresses.named()) or bool(addresses.here())


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def gpus_here() -> int:
    """GPUs of this machine, hidden ones too; without asking CUDA, which takes seconds and memory."""
    return len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0


def expected_crew(
    wanted: str | None = None,
    shape: WorkerShape = ANY_SHAPE,
    workers: int | None = None,
    scales_to: int | None = None,
) -> Crew:
    """The workers that a replay counts on: `workers`, or as many as there is room for, one per GPU, or one per CPU
    where there is none, if their shape says nothing else. Asks the cluster that is at hand, or else looks at this
    machine. `wanted` as in `choose`; local workers have no shape. `scales_to`: workers to which the cluster grows.

    Raises:
        UsageError: there is no room for workers of this shape, or for so many of them.
    """
    if wanted != LOCAL and cluster_at_hand():
        from flor_ray.cluster import joining

        return joining.crew(shape, workers, scales_to)
    if wanted != LOCAL and shape != ANY_SHAPE:
        here = this_machine()
        made = room.completed(replace(shape, accelerators=(), labels=()), [here])  # which are Ray's words
        found = room.check(made, [here], workers, "this machine")
    else:
        found = gpus_here() or os.cpu_count() or 1
    return Crew(shape, ("",) * (found if workers is None else workers), most=workers)


def this_machine() -> NodeResources:
    """What Ray would have here, were it started."""
    counts = {room.GPU: gpus_here(), room.CPU: os.cpu_count() or 1, room.MEMORY: processes.machine_bytes()}
    return NodeResources("this machine", counts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replay runs."""

    executor: str  # RAY or LOCAL
    why: str = ""  # a sentence for who waits, where it is not what he asked for

    @property
    def way(self) -> str:
        """How workers are started there, as `flor_ray.scheduler.calibration` learns what that takes."""
        return NEW_RAY if self.executor == RAY and not cluster_at_hand() else self.executor


def choose(
    wanted: str | None,
    workers: int,
    seconds: float,
    packages: Collection[str] = (),
    ray_start_seconds: float = 10.0,
    shape: WorkerShape = ANY_SHAPE,
) -> Place:
    """Where a replay runs that should take so many seconds on so many workers.

    Args:
        wanted: "ray" or "local", as the user asks for; None: see the module.
        packages: that have to be installed for it.
        ray_start_seconds: that starting Ray takes at least, so that what runs without it is surely over by then.
        shape: what each worker gets; who asks for local ones has none of it.

    Raises:
        UsageError: `wanted` is something else, or "local" for what this machine's processes cannot do.
    """
    if wanted not in (None, RAY, LOCAL):
        raise UsageError(f"executor={wanted!r} is not known; it is {RAY!r} or {LOCAL!r}.")
    unable = _unable(packages)
    if wanted == LOCAL and unable:
        raise UsageError(f'It cannot run on local workers: {unable}. Leave out --local (executor="local" in Python).')
    if wanted is not None:
        return Place(wanted)
    if cluster_at_hand():
        return Place(RAY)
    if shape.gpus or shape.accelerators or shape.labels:
        unable = "each worker is to have GPUs or a node of its own kind, which only Ray gives"
    if unable or seconds >= ray_start_seconds:
        return Place(RAY, f"Starting Ray on this machine: {unable}." if unable else "")
    processes = f"{workers} worker process{'' if workers == 1 else 'es'}"
    return Place(LOCAL, f"Running on {processes} of this machine: starting Ray would take longer (--ray does so).")


def _unable(packages: Collection[str]) -> str:
    """What local workers cannot do of a replay; "" if they can."""
    if gpus_here():
        return "this machine has GPUs, and only Ray gives each worker its own"
    return "the recorded packages are installed by Ray" if packages else ""

"""Workers on Ray that have room for several ranks: on one node as one actor with that many slots, or as a placement
group over several nodes, with an actor on each. The first one is the worker; the others start ranks for it
(`RankHost`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from flor_ray.cluster import room
from flor_ray.cluster.room import NodeResources
from flor_ray.errors import FlorError, UsageError
from flor_ray.records import WorkerShape
from flor_ray.replaying.meeting import Visit
from flor_ray.replaying.rank_hosts import RankHost
from flor_ray.replaying.rank_places import layouts
from flor_ray.replaying.task import ReplayTask

_GONE = 1  # exit status of a worker whose other nodes are gone


class _RankActor:
    """A host of ranks on some node of the cluster."""

    def __init__(self, without_gpu: bool, secrets: Mapping[str, str]) -> None:
        os.environ.update(secrets)
        self._host = RankHost(without_gpu)

    def visit(self, visit: Visit) -> list[ReplayTask] | FlorError:
        """A failing start is an answer, not a failing actor."""
        try:
            return self._host.visit(visit)
        except FlorError as error:
            return error

    def close(self) -> None:
        self._host.close()


@dataclass(frozen=True, slots=True)
class ActorHosts:
    """The hosts of a worker's ranks, as that sees them (`flor_ray.replaying.meeting.Hosts`)."""

    layout: tuple[int, ...]
    actors: tuple[Any, ...]  # of the machines after the first

    @property
    def address(self) -> str:
        return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    def visit(self, machine: int, visit: Visit) -> list[ReplayTask]:
        """A node that is gone takes the worker with it: its place is given to another group."""
        try:
            found = ray.get(self.actors[machine - 1].visit.remote(visit))
        except RayError:
            os._exit(_GONE)
        if isinstance(found, FlorError):
            raise found
        return list(found)


@dataclass(frozen=True, slots=True)
class RankActors:
    """What holds the slots of one group of ranks on several nodes."""

    group: Any  # placement group
    hosts: ActorHosts

    def strategy(self) -> PlacementGroupSchedulingStrategy:
        """By which the group's worker gets its slots."""
        return PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=0)

    def end(self) -> None:
        """Give all slots back; what runs there ends."""
        for actor in self.hosts.actors:
            ray.kill(actor)
        ray.util.remove_placement_group(self.group)


def scaled(shape: WorkerShape, ranks: int) -> WorkerShape:
    """What so many ranks get together."""
    memory = None if shape.memory_bytes is None else shape.memory_bytes * ranks
    gpus = None if shape.gpus is None else shape.gpus * ranks
    cpus = None if shape.cpus is None else shape.cpus * ranks
    return replace(shape, gpus=gpus, cpus=cpus, memory_bytes=memory)


def groups(shape: WorkerShape, ranks: int, nodes: Sequence[NodeResources]) -> list[tuple[int, ...]]:
    """How groups of so many ranks, each with this shape, which is complete, fit on the nodes; see `layouts`.

    Raises:
        UsageError: not one does.
    """
    slots = [room.fitting(shape, node) for node in nodes if not node.leaving]
    found = layouts(ranks, slots)
    if not found:
        raise UsageError(
            f"A version of {ranks} ranks is replayed by {ranks} processes at once, each with {room.words(shape)}, and "
            f"the cluster has room for {sum(slots)}. Add machines, or name versions with fewer ranks in the question."
        )
    return found


def spread(
    shape: WorkerShape, layout: tuple[int, ...], options: Mapping[str, Any], secrets: Mapping[str, str]
) -> RankActors:
    """Slots for a group on several nodes, and the actors there. `options` are those of one slot, without its resources;
    the worker itself is not made here."""
    bundles = [_bundle(scaled(shape, count)) for count in layout]
    several = len(shape.accelerators) > 1
    labels = [{room.TYPE_LABEL: f"in({','.join(shape.accelerators)})"}] * len(bundles) if several else None
    group = ray.util.placement_group(bundles, strategy="PACK", bundle_label_selector=labels)
    decorate: Any = ray.remote  # whose overloads do not know all options
    remote_class = decorate(_RankActor)
    actors = []
    for index, count in enumerate(layout[1:], start=1):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        own = {**options, **resources_of(scaled(shape, count)), "scheduling_strategy": strategy}
        actors.append(remote_class.options(**own).remote(not shape.gpus, dict(secrets)))
    return RankActors(group, ActorHosts(layout, tuple(actors)))


def resources_of(shape: WorkerShape) -> dict[str, Any]:
    """Options of an actor in a bundle of this shape."""
    found = {"num_cpus": shape.cpus, "num_gpus": shape.gpus, "memory": shape.memory_bytes}
    return {"num_cpus": 0} | {name: value for name, value in found.items() if value}


def _bundle(shape: WorkerShape) -> dict[str, float]:
    found = {room.CPU: shape.cpus, room.GPU: shape.gpus, room.MEMORY: shape.memory_bytes}
    kind = {f"{room.TYPE}{shape.accelerators[0]}": 0.001} if len(shape.accelerators) == 1 else {}
    return {name: float(count) for name, count in found.items() if count} | kind

"""How many workers of which kind a replay counts on: those that the cluster's nodes have room for beside what others
hold, and those that come on nodes which it starts for them. Pure.

    nodes: what each has, what is free of it ─┐
    node groups: what would be started ───────┼─> Crew: here, coming, held by others
    shape of a worker; how many are wanted ───┘

Every worker that is counted on is asked of Ray at once: those for which there is no room yet are what its autoscaler
goes by. What becomes free later, or comes with a node that nobody spoke of, is taken while the replay runs (`more`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.cluster import room
from flor_ray.cluster.room import CPU, GPU, NodeResources
from flor_ray.records import ANY_SHAPE, Crew, WorkerShape
from flor_ray.wording import counted

ENDLESS = -1  # nodes of a group: as many as are wanted
_SETTLING_SECONDS = 20.0  # from the first worker to when the others should be there, too
_RAYS_MOST = 2  # nodes that a cluster's file allows where it does not say so


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that a cluster starts when somebody waits for what they have."""

    node: NodeResources  # one of them
    count: int  # of them that may still be started; ENDLESS


@dataclass(frozen=True, slots=True)
class Growth:
    """What a cluster would start. `scales_to` is what the user says of it: to how many workers in all it grows."""

    groups: tuple[NodeGroup, ...] = ()
    scales_to: int | None = None


def crew(
    shape: WorkerShape, nodes: Sequence[NodeResources], growth: Growth = Growth(), workers: int | None = None
) -> Crew:
    """The workers that a replay counts on; `workers` are asked for.

    Raises:
        UsageError: no node has what each worker is to get, nor one that would be started; or not for so many.
    """
    groups = [group for group in growth.groups if group.count]
    made = room.completed(shape, [*nodes, *(group.node for group in groups)])
    staying = [node for node in nodes if not node.leaving]
    free = [_type(made, node) for node in staying for _ in range(room.fitting(made, node, free=True))]
    in_all = room.room(made, staying)
    comes = [(group, room.fitting(made, group.node)) for group in groups]
    coming = [_type(made, group.node) for group, each in comes for _ in range(each * max(0, group.count))]
    coming += [""] * ((growth.scales_to or 0) - in_all - len(coming))
    endless = any(group.count == ENDLESS and each for group, each in comes)
    if endless:
        coming += [""] * ((workers or 1) - len(free) - len(coming))
    if not in_all and not coming:
        if shape != ANY_SHAPE:
            room.check(made, nodes, workers)
        coming = [""] * (workers or 1)  # nodes may be started for what is so little: one CPU each
    if workers is not None and workers > in_all + len(coming):
        raise room.too_many(made, workers, in_all + len(coming))
    here = tuple(free[:workers])
    come = tuple(coming if workers is None else coming[: workers - len(here)])
    held = ("",) * min(in_all - len(free), in_all if workers is None else workers - len(here) - len(come))
    if here or come:
        return Crew(made, here, come, (), len(held), workers, endless)
    return Crew(made, held=held, most=workers, endless=endless)


def _type(shape: WorkerShape, node: NodeResources) -> str:
    return node.gpu_type if shape.gpus else ""


def more(crew: Crew, nodes: Sequence[NodeResources], there: int, starting: int, spare: int = 0) -> int:
    """How many workers can be added to those that are there, while a replay runs: what is free by now, but for the
    `spare` room that was free when it began, and not wanted. Those that are starting may have their room yet to come,
    and then it is theirs."""
    free = sum(room.fitting(crew.shape, node, free=True) for node in nodes) - starting - spare
    return max(0, free if crew.most is None else min(free, crew.most - there - starting))


# --- what a cluster starts --------------------------------------------------------------------------------------------


def groups_of_file(config: Mapping[str, object], nodes: Sequence[NodeResources]) -> tuple[NodeGroup, ...]:
    """What the file says that Ray's autoscaler works by (`ray up FILE`, `ray start --autoscaling-config FILE`)."""
    kinds, head = config.get("available_node_types"), config.get("head_node_type")
    if not isinstance(kinds, Mapping):
        return ()
    most = _whole(config.get("max_workers"), _RAYS_MOST)
    found = {}
    for name, kind in kinds.items():
        if name != head and isinstance(kind, Mapping):
            resources, labels = _numbers(kind.get("resources")), kind.get("labels")
            own = {f"{key}": f"{value}" for key, value in labels.items()} if isinstance(labels, Mapping) else {}
            node = NodeResources(f"{name}", resources, {**own, room.GROUP_LABEL: f"{name}"})
            found[f"{name}"] = (node, _whole(kind.get("max_workers"), most))
    return _left(found, most, nodes)


def groups_told(
    kinds: Mapping[str, tuple[Mapping[str, float], int]], most: Mapping[str, float], nodes: Sequence[NodeResources]
) -> tuple[NodeGroup, ...]:
    """What the cluster itself tells: resources and greatest number of nodes (ENDLESS) by group, and `most` of each
    resource that there may be in all."""
    found = {name: (NodeResources(name, has, {room.GROUP_LABEL: name}), count) for name, (has, count) in kinds.items()}
    left = _left(found, None, nodes)
    for name, limit in most.items():
        open_ = limit - sum(node.resources.get(name, 0) for node in nodes)
        within = []
        for group in left:
            each = group.node.resources.get(name, 0)
            count = math.inf if group.count == ENDLESS else group.count
            count = min(count, max(0, open_ // each)) if each else count
            open_ -= each * count if each else 0
            within.append(replace(group, count=ENDLESS if count == math.inf else int(count)))
        left = tuple(within)
    return left


def _left(
    kinds: Mapping[str, tuple[NodeResources, int]], most: int | None, nodes: Sequence[NodeResources]
) -> tuple[NodeGroup, ...]:
    """By group what may still be started, beside what is there; `most` nodes of all groups together."""
    there = [name for node in nodes if (name := _group(node, kinds))]
    open_ = math.inf if most is None else most - len(there)
    found = []
    for name, (node, count) in kinds.items():
        left = math.inf if count == ENDLESS else max(0, count - there.count(name))
        left = max(0, min(left, open_))
        open_ -= left if left < math.inf else 0
        found.append(NodeGroup(node, ENDLESS if left == math.inf else int(left)))
    return tuple(found)


def _group(node: NodeResources, kinds: Mapping[str, tuple[NodeResources, int]]) -> str:
    """The group that a node is of: as it says, or one that has what it has. "" for the head node, and for others."""
    if node.group in kinds or node.head:
        return "" if node.head else node.group
    alike = (
        name
        for name, (one, _) in kinds.items()
        if all(node.resources.get(r, 0) == one.resources.get(r, 0) for r in (CPU, GPU))
    )
    return next(alike, "")


def _numbers(given: object) -> dict[str, float]:
    pairs = given.items() if isinstance(given, Mapping) else ()
    return {f"{name}": float(count) for name, count in pairs if isinstance(count, int | float)}


def _whole(given: object, otherwise: int) -> int:
    return given if isinstance(given, int) and given >= 0 else otherwise


# --- words ------------------------------------------------------------------------------------------------------------


def sentences(crew: Crew) -> list[str]:
    """What a plan says of its workers, where they are not simply there."""
    found = []
    if crew.held:
        found.append(
            f"It counts on {_workers(crew, crew.counted)}. Others hold all that they need: the replay begins when the "
            "first of it is given back."
        )
    elif crew.coming:
        now = f"{counted(len(crew.here), 'worker')}, " if crew.here else ""
        rest = "others" if crew.here else "all of them"
        has = f"there is room for {now}and {rest} come" if crew.here else "all of them come"
        found.append(f"It counts on {_workers(crew, crew.counted)}: {has} on nodes that the cluster starts for them.")
    if crew.others:
        found.append(
            f"Others hold what {counted(crew.others, 'further worker')} would need: it counts on "
            f"{counted(crew.counted, 'worker')}, and takes what is given back while it runs."
        )
    if crew.endless and crew.most is None:
        found.append("The cluster says no number of nodes above which it starts none: --workers asks for more.")
    return found


@dataclass(slots=True)
class Headcount:
    """Says, while a replay runs, when fewer or more workers are there than it was planned for."""

    planned: int
    _began: float | None = None  # when the first one was there
    _most: int = 0  # that were there
    _told: int | None = None  # how many there were when that was said last
    _said: str = ""

    def now(self, there: int, now: float) -> str:
        """What is to be known now that there are so many; "" for nothing. Others may come a little after the first."""
        self._most = max(self._most, there)
        if there and self._began is None:
            self._began = now
        if self._began is None or (there < self.planned and now - self._began < _SETTLING_SECONDS):
            return self._said
        if there != (self.planned if self._told is None else self._told):
            self._told = there
            self._said = f"{self._planned()}; {there} {'is' if there == 1 else 'are'} there."
        return self._said

    def ended(self) -> list[str]:
        """What is to be known of it afterwards: that there were fewer all the time, if that was said."""
        fewer = self._told is not None and self._most < self.planned
        return [f"{self._planned()}; {counted(self._most, 'worker')} at most came."] if fewer else []

    def _planned(self) -> str:
        return f"Planned for {counted(self.planned, 'worker')}"


def _workers(crew: Crew, count: int) -> str:
    return f"{counted(count, 'worker')} with {room.words(crew.shape)}{'' if count == 1 else ' each'}"

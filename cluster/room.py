"""How many workers there is room for, by what each of them is to get, on nodes as Ray counts them. Pure.

shape ── completed (what is not said, by what there is) ──> shape ── of each node ──> how many fit
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.errors import UsageError
from flor_ray.records import WorkerShape
from flor_ray.wording import size

CPU, GPU, MEMORY = "CPU", "GPU", "memory"  # resources of Ray's
_TYPE = "accelerator_type:"  # with a type after it: a resource of nodes that have it
TYPE_LABEL = "ray.io/accelerator-type"
_MOST_NAMED = 5  # nodes in an error


@dataclass(frozen=True, slots=True)
class NodeResources:
    """What a node has in all, used or not."""

    name: str
    resources: Mapping[str, float]
    type_label: str = ""  # of its GPUs, where it says so
    id: str = ""  # Ray's

    def types(self) -> frozenset[str]:
        """Types of GPU by its resources, which Ray fills by itself and users may."""
        return frozenset(name.removeprefix(_TYPE) for name in self.resources if name.startswith(_TYPE))

    def has_one_of(self, accelerators: Sequence[str]) -> bool:
        """Whether Ray would take it for these types: one is asked for as a resource, several by the label."""
        if len(accelerators) == 1:
            return accelerators[0] in self.types()
        return not accelerators or self.type_label in accelerators


def completed(shape: WorkerShape, nodes: Sequence[NodeResources]) -> WorkerShape:
    """What each worker gets in the end, where it is not said."""
    gpus, cpus = shape.gpus, shape.cpus
    if gpus is None:
        gpus = 1 if shape.accelerators or any(node.resources.get(GPU, 0) >= 1 for node in nodes) else 0
    if cpus is None:
        cpus = 0 if gpus else 1
    return replace(shape, gpus=gpus, cpus=cpus)


def room(shape: WorkerShape, nodes: Sequence[NodeResources]) -> int:
    """How many workers of this shape, which is complete, the nodes have room for."""
    return sum(_on(node, shape) for node in nodes)


def _on(node: NodeResources, shape: WorkerShape) -> int:
    if not node.has_one_of(shape.accelerators):
        return 0
    has, counts = node.resources, []
    if shape.gpus:
        whole = int(has.get(GPU, 0))
        # Parts are of one GPU: three workers of 0.4 do not fit on one, nor five on two.
        counts.append(whole * _times(1, shape.gpus) if shape.gpus < 1 else _times(whole, shape.gpus))
    if shape.cpus:
        counts.append(_times(has.get(CPU, 0), shape.cpus))
    if shape.memory_bytes:
        counts.append(_times(has.get(MEMORY, 0), shape.memory_bytes))
    return min(counts, default=0)


def _times(whole: float, part: float) -> int:
    return math.floor(whole / part + 1e-9)


def check(shape: WorkerShape, nodes: Sequence[NodeResources], workers: int | None, where: str = "the cluster") -> int:
    """How many workers there is room for; `workers` are asked for.

    Raises:
        UsageError: for fewer, or for none; says what was seen.
    """
    found = room(shape, nodes)
    if not found:
        listed = "; ".join(f"{node.name}: {_has(node)}" for node in nodes[:_MOST_NAMED])
        more = "" if len(nodes) <= _MOST_NAMED else f"; and {len(nodes) - _MOST_NAMED} more"
        raise UsageError(
            f"Each worker is to get {words(shape)}, and no node of {where} has that ({listed or 'it has none'}{more}). "
            "Change gpus, cpus, memory or accelerators (`flor-ray config` says where they are set), or add such a "
            "node: one that is only started when it is needed has to be there first."
        )
    if workers is not None and workers > found:
        raise UsageError(
            f"{workers} workers were asked for, but {where} has {_slots(shape, found)}. Ask for at most that many, or "
            "add machines."
        )
    return found


def _slots(shape: WorkerShape, found: int) -> str:
    if shape.memory_bytes is None and not shape.accelerators and shape in (_ONE_GPU, _ONE_CPU):
        return f"{found} {'GPUs' if shape.gpus else 'CPU slots'}"
    return f"room for {found}, with {words(shape)} each"


_ONE_GPU, _ONE_CPU = WorkerShape(1, 0), WorkerShape(0, 1)


def words(shape: WorkerShape) -> str:
    """What a worker of a shape that is complete gets."""
    parts = [_counted(shape.gpus, "GPU")] if shape.gpus else []
    if parts and shape.accelerators:
        parts[0] += f" of type {' or '.join(shape.accelerators)}"
    parts += [_counted(shape.cpus, "CPU")] if shape.cpus else []
    parts += [f"{size(shape.memory_bytes)} of memory"] if shape.memory_bytes else []
    return " and ".join(parts) or "nothing"


def _has(node: NodeResources) -> str:
    has = node.resources
    types = sorted({*node.types(), node.type_label} - {""})
    gpus = _counted(has.get(GPU, 0), "GPU") + (f" of type {' and '.join(types)}" if types else "")
    return f"{gpus}, {_counted(has.get(CPU, 0), 'CPU')}, {size(int(has.get(MEMORY, 0)))} of memory"


def _counted(count: float, what: str) -> str:
    return f"{count:g} {what}{'' if count == 1 else 's'}"

"""How many workers there is room for, by what each of them is to get, on nodes as Ray counts them. Pure.

shape ── completed (what is not said, by what there is) ──> shape ── of each node ──> how many fit
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flor_ray.errors import UsageError
from flor_ray.records import WorkerShape
from flor_ray.wording import size

CPU, GPU, MEMORY = "CPU", "GPU", "memory"  # resources of Ray's
TYPE = "accelerator_type:"  # with a type after it: a resource of nodes that have it
TYPE_LABEL, GROUP_LABEL = "ray.io/accelerator-type", "ray.io/node-group"
_OF_RAY = "ray.io/"  # how labels begin that Ray gives
HEAD = "node:__internal_head__"  # a resource of the head node alone
_MOST_NAMED = 5  # nodes in an error
_PARTS = 10_000  # of one, which Ray tells apart


@dataclass(frozen=True, slots=True)
class NodeResources:
    """What a node has in all, used or not."""

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)  # its own, and Ray's
    id: str = ""  # Ray's
    free: Mapping[str, float] | None = None  # of these resources, what nobody holds now; None: all of it
    head: bool = False  # which a cluster does not start
    leaving: bool = False  # it is being taken away: nothing more is placed there

    def types(self) -> frozenset[str]:
        """Types of GPU by its resources, which Ray fills by itself and users may."""
        return frozenset(name.removeprefix(TYPE) for name in self.resources if name.startswith(TYPE))

    @property
    def type_label(self) -> str:
        """The type of its GPUs, where it says so."""
        return self.labels.get(TYPE_LABEL, "")

    @property
    def group(self) -> str:
        """What a cluster that starts its nodes itself calls those like it."""
        return self.labels.get(GROUP_LABEL, "")

    def has(self, labels: Sequence[tuple[str, str]]) -> bool:
        """Whether it has these labels."""
        return all(self.labels.get(name) == value for name, value in labels)

    def has_one_of(self, accelerators: Sequence[str]) -> bool:
        """Whether Ray would take it for these types: one is asked for as a resource, several by the label."""
        if len(accelerators) == 1:
            return accelerators[0] in self.types()
        return not accelerators or self.type_label in accelerators

    @property
    def gpu_type(self) -> str:
        """The one type that its GPUs are of; "" where that is not said, or several are."""
        if not self.resources.get(GPU, 0):
            return ""
        types = self.types() or {self.type_label}
        return next(iter(types)) if len(types) == 1 else ""


def completed(shape: WorkerShape, nodes: Sequence[NodeResources]) -> WorkerShape:
    """What each worker gets in the end, where it is not said."""
    gpus, cpus = shape.gpus, shape.cpus
    if gpus is None:
        gpus = 1 if shape.accelerators or any(node.resources.get(GPU, 0) >= 1 for node in nodes) else 0
    if cpus is None:
        cpus = 0 if gpus else 1
    return replace(shape, gpus=_granted(gpus), cpus=_granted(cpus))


def _granted(count: float) -> float:
    """A share as Ray counts it, in ten thousandths, and never more than it is: seven times 0.1429 is more than one."""
    return count if count % 1 == 0 else max(1, math.floor(count * _PARTS + 1e-6)) / _PARTS


def room(shape: WorkerShape, nodes: Sequence[NodeResources]) -> int:
    """How many workers of this shape, which is complete, the nodes have room for, whoever holds what of them now."""
    return sum(fitting(shape, node) for node in nodes)


def fitting(shape: WorkerShape, node: NodeResources, free: bool = False) -> int:
    """How many workers of a complete shape fit on a node; `free`: beside what is held there now."""
    if not node.has_one_of(shape.accelerators) or not node.has(shape.labels) or (free and node.leaving):
        return 0
    has, counts = node.free if free and node.free is not None else node.resources, []
    if shape.gpus:
        whole, part = divmod(has.get(GPU, 0) + 1e-9, 1)
        # Parts are of one GPU: three workers of 0.4 do not fit on one, nor five on two. Of GPUs that others hold parts
        # of, Ray tells the sum only; it fills one before it begins with the next.
        parts = shape.gpus < 1
        counts.append(
            int(whole) * _times(1, shape.gpus) + _times(part, shape.gpus) if parts else _times(whole, shape.gpus)
        )
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
            "Change gpus, cpus, memory, accelerators or labels (`flor-ray config` says where they are set), or add "
            "such a node. If the cluster starts such nodes when they are needed, and Ray does not say so, scales_to in "
            "flor.yaml does: how many workers it grows to."
        )
    if workers is not None and workers > found:
        raise too_many(shape, workers, found, where)
    return found


def too_many(shape: WorkerShape, workers: int, found: int, where: str = "the cluster") -> UsageError:
    """More workers were asked for than there can be."""
    return UsageError(
        f"{workers} workers were asked for, but {where} has {_slots(shape, found)}. Ask for at most that many, or "
        "add machines."
    )


def _slots(shape: WorkerShape, found: int) -> str:
    if shape in (_ONE_GPU, _ONE_CPU):
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
    where = ", ".join(f"{name}={value}" for name, value in shape.labels)
    return (" and ".join(parts) or "nothing") + (f" on a node with {where}" if where else "")


def _has(node: NodeResources) -> str:
    has = node.resources
    types = sorted({*node.types(), node.type_label} - {""})
    gpus = _counted(has.get(GPU, 0), "GPU") + (f" of type {' and '.join(types)}" if types else "")
    own = ", ".join(f"{name}={value}" for name, value in node.labels.items() if not name.startswith(_OF_RAY))
    labels = f", {own}" if own else ""
    return f"{gpus}, {_counted(has.get(CPU, 0), 'CPU')}, {size(int(has.get(MEMORY, 0)))} of memory{labels}"


def _counted(count: float, what: str) -> str:
    return f"{count:g} {what}{'' if count == 1 else 's'}"

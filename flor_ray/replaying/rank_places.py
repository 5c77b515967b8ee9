"""Where the ranks of a version run when it is replayed, and what each is told of that. Pure.

A launcher tells each rank who it is by variables, and where rank 0 waits for the others. A replay does the same, with
an address of its own, and what else the launcher of the recorded run sets.
"""

from __future__ import annotations

from collections.abc import Sequence

from flor_ray.records import Launch


def variables(launch: Launch, rank: int, layout: Sequence[int], address: str, port: int, gpus: bool) -> dict[str, str]:
    """Those of one rank. `layout` says how many ranks each machine has, in order; they meet at `address` and `port`.

    Without GPUs, a rank has the local rank that it was recorded with: then it says nothing of devices, and the script
    may have chosen its data by it.
    """
    node, local = _place(rank, layout)
    size = layout[node]
    if not gpus and launch.local_size and launch.size % launch.local_size == 0:
        node, local, size = rank // launch.local_size, rank % launch.local_size, launch.local_size
        nodes = launch.size // launch.local_size
    else:
        nodes = len(layout)
    found = {
        "RANK": rank,
        "WORLD_SIZE": launch.size,
        "LOCAL_RANK": local,
        "LOCAL_WORLD_SIZE": size,
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }
    if launch.launcher == "torchrun":
        found |= {
            "GROUP_RANK": node,
            "GROUP_WORLD_SIZE": nodes,
            "ROLE_NAME": "default",
            "ROLE_RANK": rank,
            "ROLE_WORLD_SIZE": launch.size,
            "TORCHELASTIC_RUN_ID": "none",
            "TORCHELASTIC_RESTART_COUNT": 0,
            "TORCHELASTIC_MAX_RESTARTS": 0,
        }
    elif launch.launcher == "ray train":
        found |= {"NODE_RANK": node}
    return {name: str(value) for name, value in found.items()}


def _place(rank: int, layout: Sequence[int]) -> tuple[int, int]:
    """The machine that a rank is on, and which one it is there."""
    for node, count in enumerate(layout):
        if rank < count:
            return node, rank
        rank -= count
    raise ValueError(f"{sum(layout)} places were given, and rank {rank} more has none")


def layouts(size: int, slots: Sequence[int]) -> list[tuple[int, ...]]:
    """How groups of so many ranks fit on nodes with so many slots each, as many groups as there are: each on as few
    nodes as can be, those that fit on one first."""
    free = sorted(slots, reverse=True)
    found: list[tuple[int, ...]] = []
    for index, count in enumerate(free):
        found += [(size,)] * (count // size)
        free[index] = count % size
    free.sort(reverse=True)
    while sum(free) >= size:
        group, left = [], size
        for index, count in enumerate(free):
            taken = min(count, left)
            if taken:
                group.append(taken)
                free[index], left = count - taken, left - taken
        found.append(tuple(group))
        free.sort(reverse=True)
    return found

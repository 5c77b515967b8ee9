"""Whether the ranks of a run share out the parameters of their model in a way that makes looking at one a collective.
That would stop the run for good where one rank does it and another does not: so nobody looks. What they share out as
DTensors is kept in parts (`state.shards`).
"""

from __future__ import annotations

import gc
import sys
from typing import Any

_KINDS = {  # module -> classes in it, and how they are called
    "torch.distributed.fsdp": {"FullyShardedDataParallel": "FullyShardedDataParallel"},
    "deepspeed": {"DeepSpeedEngine": "DeepSpeed"},
}


def kind_here() -> str:
    """What shares them out, in this process; "": nothing does."""
    found: dict[type, str] = {}
    for name, classes in _KINDS.items():
        module: Any = sys.modules.get(name)
        there = vars(module) if module is not None else {}
        found |= {there[one]: kind for one, kind in classes.items() if isinstance(there.get(one), type)}
    if not found:
        return ""
    kinds = tuple(found)
    sharded = next((type(one) for one in gc.get_objects() if issubclass(type(one), kinds)), None)
    return "" if sharded is None else next(kind for one, kind in found.items() if issubclass(sharded, one))

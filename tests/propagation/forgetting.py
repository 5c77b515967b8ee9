"""Forgetting what propagation remembers of sources, so that a question that is asked again is worked out again."""

from __future__ import annotations

import sys
from collections.abc import Callable


def forget() -> int:
    """Empty the memories of all modules of `flor_ray.propagation`; how many there are."""
    memories: dict[int, Callable[[], None]] = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("flor_ray.propagation"):
            for value in vars(module).values():
                clear = getattr(value, "cache_clear", None)
                if clear is not None and not isinstance(value, type):
                    memories[id(value)] = clear
    for clear in memories.values():
        clear()
    return len(memories)

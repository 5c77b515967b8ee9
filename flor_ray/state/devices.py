"""Where a tensor of a checkpoint can be put on the machine that replays.

A device's number is that of the process that recorded: ranks and workers are given GPUs of their own, and see fewer.
"""

from __future__ import annotations

import functools
import sys


@functools.lru_cache(maxsize=64)
def here(recorded: str) -> str:
    """The device of this process that stands for a recorded one, such as "cuda:1": the same one where there is such a
    one, the first of its kind where there are fewer, else the CPU."""
    kind, _, index = recorded.partition(":")
    if kind in ("cpu", "meta"):
        return recorded
    if kind == "mps":
        return recorded if sys.modules["torch"].backends.mps.is_available() else "cpu"
    module = getattr(sys.modules["torch"], kind, None)
    if module is None or not module.is_available():
        return "cpu"
    return recorded if not index or int(index) < module.device_count() else f"{kind}:{module.current_device()}"

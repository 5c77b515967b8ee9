"""Objects of the user's that stand beside a loop: its scope holds them, and nothing in the loop mentions them.

    stats = Stats(); net.register_forward_hook(stats)      what a library was given changes
    counter = Counter(); optimizer.step = counter(optimizer.step)      without being named

The ways to hand an object over are many, so what is small is kept whether there is one or not. A statement that is
added later may mention it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Set
from typing import Any

from flor_ray.analysis.source import read
from flor_ray.analysis.uses import words
from flor_ray.state import frames, stateful
from flor_ray.state.pickling import Findable, pickles
from flor_ray.state.selection import CODE, LoopFrame

_MOST_BYTES = 64 << 10
_MOST_OBJECTS = 100


def beside(scope: LoopFrame, mentioned: Set[str], text: str, is_users: Callable[[Any], bool]) -> dict[str, Any]:
    """Those of the scope that a loop stands in, by name. `text` is that of its file, without what was added to it."""
    there = frames.read(scope.frame, _names(text) - mentioned - scope.names.added)
    found = {
        name: value
        for name, value in there.items()
        if not isinstance(value, CODE) and is_users(type(value)) and not stateful.is_anchor(value)
    }
    small = (name for name in found if not pickles(found[name], Findable(is_users=is_users), {}, _MOST_BYTES))
    return {name: found[name] for name, _ in zip(small, range(_MOST_OBJECTS), strict=False)}


@functools.lru_cache(maxsize=64)
def _names(text: str) -> frozenset[str]:
    tree = read(text).tree
    return frozenset() if tree is None else frozenset(words(tree))

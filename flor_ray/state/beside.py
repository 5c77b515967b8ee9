"""Objects of the user's that stand beside a loop: its scope holds them, and nothing in the loop mentions them.

    stats = Stats(); net.register_forward_hook(stats)      what a library was given changes without being named
    tee = Tee(sys.stdout); sys.stdout = tee

The ways to hand an object over are many, so they are kept whether there is one or not: a statement that is added later
may mention them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Set
from typing import Any

from flor_ray.analysis.source import read
from flor_ray.analysis.uses import words
from flor_ray.state import frames, stateful
from flor_ray.state.merge import ATOMIC, has_parts
from flor_ray.state.pickling import Findable, pickles
from flor_ray.state.reachable import ReachedPlace
from flor_ray.state.selection import BESIDE, CODE, LoopFrame

_MOST_BYTES = 16 << 20  # of one; what is larger is data
_MOST_OBJECTS = 100


def beside_place(
    scope: LoopFrame, mentioned: Set[str], text: str, is_users: Callable[[Any], bool]
) -> ReachedPlace | None:
    """Those of the scope that a loop stands in, by name. `text` is that of its file, without what was added to it."""
    there = frames.read(scope.frame, _names(text) - mentioned - scope.names.added)
    found = [name for name, value in there.items() if _counts(value, is_users)][:_MOST_OBJECTS]
    if not found:
        return None
    return ReachedPlace(f"{scope.slot}{BESIDE}", lambda: frames.read(scope.frame, found), lambda values, remove: None)


def _counts(value: Any, is_users: Callable[[Any], bool]) -> bool:
    if isinstance(value, CODE) or not is_users(type(value)) or stateful.is_anchor(value) or stateful.is_data(value):
        return False
    if isinstance(value, (*ATOMIC, tuple, frozenset)) or not has_parts(value):  # no restore could fill it
        return False
    return pickles(value, Findable(is_users=is_users), {}, _MOST_BYTES) != "it is too large"


@functools.lru_cache(maxsize=64)
def _names(text: str) -> frozenset[str]:
    tree = read(text).tree
    return frozenset() if tree is None else frozenset(words(tree))

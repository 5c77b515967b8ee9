"""Where a script reads gradients, or goes back along a graph, outside its nested loop.

`.grad` of the parameters is not kept in checkpoints (it would add a third to their size for what almost nobody reads),
and the graph behind a loss cannot be, so code that uses them must run after real steps. A false alarm costs replay
time; a miss would cost a wrong value.
"""

from __future__ import annotations

from collections.abc import Callable

from flor_ray.records import Region

_HARMLESS = {"no_grad", "zero_grad", "requires_grad", "requires_grad_", "enable_grad", "set_grad_enabled"}


def read_in(words_in: Callable[[Region], frozenset[str] | None]) -> frozenset[Region]:
    """Regions among HEAD, TAIL and SUFFIX in which a run may read gradients.

    `words_in` says which names and attributes occur in what runs in a region; None: nobody knows, so they may be read.
    """
    return frozenset(region for region in (Region.HEAD, Region.TAIL, Region.SUFFIX) if may_read(words_in(region)))


def may_read(words: frozenset[str] | None) -> bool:
    """Whether a word tells of gradients, other than the well-known ones that read none."""
    return words is None or any(("grad" in w or "backward" in w) and w not in _HARMLESS for w in words)

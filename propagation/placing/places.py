"""Places in an older program, and what is known of a newer statement when its place is chosen. Values only."""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from flor_ray.propagation.adapting.doubts import Doubt, confidence
from flor_ray.propagation.placing.blocks import Neighbour
from flor_ray.propagation.reading.tree import Node, Tree


@dataclass(frozen=True, slots=True)
class BlockGap:
    """A gap between two statements of an older block."""

    block: Node
    gap: int  # statements of the block that stand before it
    after: bool  # it belongs to the statement before the gap, rather than to the one behind it
    doubts: tuple[Doubt, ...]
    why: str

    @property
    def confidence(self) -> float:
        """That the place is right, from 0 to 1."""
        return confidence(self.doubts)


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why there is none; `guess` is the statement after which it might be."""

    reason: str
    guess: Node | None = None
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What a statement reads, in the older version's names, and what that asks of its place."""

    reads: Set[str] = frozenset()
    after: Set[int] = frozenset()  # older nodes, by index, that must run before it
    before: Set[int] = frozenset()  # older nodes that must not
    names: Lookup[str, str] = field(default_factory=dict)  # what is read, as the newer version calls it -> `reads`
    moved: Set[int] = frozenset()  # first bytes of newer statements that are carried, too
    carried: tuple[tuple[Node, int], ...] = ()  # blocks and gaps of statements carried along, which it must follow


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a newer statement, and what of that is in the older block that it is to be put into."""

    unit: Node
    block: Node  # the older one
    left: Neighbour | None
    right: Neighbour | None
    is_first: bool  # nothing but logs stands before it in its own block: as good as the block's first place
    is_last: bool
    before: Sequence[Node]  # only-newer code between its left neighbour (or its block's start) and it
    after: Sequence[Node]
    flow: Flow

    @property
    def neighbours(self) -> list[Neighbour]:
        """Those that there are, the left one first."""
        return [each for each in (self.left, self.right) if each is not None]


def lines_of(tree: Tree, first: Node, last: Node) -> str:
    """`line 3` or `lines 3 to 5`."""
    start, end = tree.line(first.start), tree.last_line(last)
    return f"line {start}" if start == end else f"lines {start} to {end}"

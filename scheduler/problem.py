"""What a schedule is made for: workers as the scheduler sees them, and how segments can be cut. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from flor_ray.records import Segment, SegmentCost


@dataclass(frozen=True, slots=True)
class Slot:
    """A worker to be, or one that is there. Raises ValueError for seconds that no worker can have."""

    slowness: float = 1.0  # its seconds per estimated second; set-ups and runs alike
    ready_seconds: float = 0.0  # before it can begin: start, imports, what it still runs
    warm: frozenset[str] = frozenset()  # versions with a live process: no set-up
    held: frozenset[str] = frozenset()  # versions whose checkpoints it holds: nothing to read

    def __post_init__(self) -> None:
        if not (isfinite(self.slowness) and self.slowness > 0):
            raise ValueError(f"slowness is {self.slowness}; it must be a positive number")
        if not (isfinite(self.ready_seconds) and self.ready_seconds >= 0):
            raise ValueError(f"ready_seconds is {self.ready_seconds}; it must be a number, and not negative")


Workers = int | Sequence[Slot]  # a number: as many equal ones


def slots_of(workers: Workers) -> tuple[Slot, ...]:
    """One slot for each worker; a number stands for equal, cold and ready ones. Raises ValueError when there is
    none."""
    slots = (Slot(),) * workers if isinstance(workers, int) else tuple(workers)
    if not slots:
        raise ValueError(f"workers is {workers}; at least one is needed")
    return slots


def _no_points(segment: Segment) -> Sequence[int]:
    return ()


def _never(segment: Segment, points: Iterable[int]) -> tuple[Segment, ...]:
    raise ValueError(f"{segment} cannot be cut")


def _unknown(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, 0.0, 0.0, known=False)


@dataclass(frozen=True, slots=True)
class Cutting:
    """Where segments may be cut, doing it, and what the pieces cost: what the planner and the cost model know.

    The default: nowhere.
    """

    points: Callable[[Segment], Sequence[int]] = _no_points  # epochs that a piece can begin with, ascending
    cut: Callable[[Segment, Iterable[int]], tuple[Segment, ...]] = _never  # a piece begins at each of the points
    cost: Callable[[Segment], SegmentCost] = _unknown  # of a segment or a piece of one


def noticed(seconds: float) -> float:
    """Less than a nanosecond is none: what stands next to 0 cannot be halved and compared as other numbers can."""
    return 0.0 if seconds < 1e-9 else seconds

"""How segments can be cut: what the planner and the cost model know, in the form in which the scheduler uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flor_ray.records import Segment, SegmentCost


def _no_points(segment: Segment) -> Sequence[int]:
    return ()


def _never(segment: Segment, points: Iterable[int]) -> tuple[Segment, ...]:
    raise ValueError(f"{segment} cannot be cut")


def _unknown(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, 0.0, 0.0, known=False)


@dataclass(frozen=True, slots=True)
class Cutting:
    """Where segments may be cut, doing it, and what the pieces cost. The default: nowhere."""

    points: Callable[[Segment], Sequence[int]] = _no_points  # epochs that a piece can begin with, ascending
    cut: Callable[[Segment, Iterable[int]], tuple[Segment, ...]] = _never  # a piece begins at each of the points
    cost: Callable[[Segment], SegmentCost] = _unknown  # of a segment or a piece of one

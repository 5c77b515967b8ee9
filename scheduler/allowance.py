"""What may be spent, on which workers, and what segments take of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt

from flor_ray.records import SegmentCost
from flor_ray.scheduler.problem import Slot, Workers

ROUNDING = 1 + 1e-9  # sums of seconds that differ by less are equal


@dataclass(frozen=True, slots=True)
class Allowance:
    """A GPU budget, a deadline, or both. Raises ValueError for what leaves no time at all."""

    gpu_seconds: float | None  # all set-ups and runs together; None: no limit
    deadline_seconds: float | None  # until the last segment has ended; None: no limit
    slots: tuple[Slot, ...]
    safety: float = 0.0  # standard deviations to keep clear of both
    margin: float = 1.0  # both are kept even if everything takes so many times as long

    def __post_init__(self) -> None:
        for name, limit in (("gpu_seconds", self.gpu_seconds), ("deadline_seconds", self.deadline_seconds)):
            if limit is not None and not (limit > 0 and isfinite(limit)):
                raise ValueError(f"{name} is {limit}; it must be a positive number, or None for no limit")
        if not (self.safety >= 0 and isfinite(self.safety)):
            raise ValueError(f"safety is {self.safety}; it must be a number that is not negative")
        if not (self.margin >= 1 and isfinite(self.margin)):
            raise ValueError(f"margin is {self.margin}; it must be a number, and at least 1")

    @property
    def gpu(self) -> float:
        return inf if self.gpu_seconds is None else self.gpu_seconds / self.margin

    @property
    def deadline(self) -> float:
        return inf if self.deadline_seconds is None else self.deadline_seconds / self.margin

    @property
    def workers(self) -> Workers:
        return len(self.slots) if set(self.slots) == {Slot()} else self.slots

    @property
    def most_seconds(self) -> float:
        """GPU-seconds that nothing that keeps the limits can exceed."""
        return min(self.gpu, sum(max(0.0, self.deadline - slot.ready_seconds) for slot in self.slots))

    @property
    def ideal(self) -> Slot:
        """A worker that is as good as any of these in every respect: nothing takes less on one of them."""
        return Slot(
            slowness=min(slot.slowness for slot in self.slots),
            ready_seconds=min(slot.ready_seconds for slot in self.slots),
            warm=frozenset().union(*(slot.warm for slot in self.slots)),
            held=frozenset().union(*(slot.held for slot in self.slots)),
        )

    def on_fewer(self, workers: int) -> Allowance:
        """The same on so many of the workers: the fastest, and of those the first that are ready."""
        quickest = sorted(self.slots, key=lambda slot: (slot.slowness, slot.ready_seconds))
        return replace(self, slots=tuple(quickest[:workers]))

    def upper(self, seconds: float, variance: float) -> float:
        """What is held against the limits of something that should take so many seconds."""
        return seconds + self.safety * sqrt(max(0.0, variance))

    def __str__(self) -> str:
        given = [] if self.gpu_seconds is None else [gpu_span(self.gpu_seconds)]
        if self.deadline_seconds is not None:
            given.append(f"{span(self.deadline_seconds)} on {counted(len(self.slots), 'worker')}")
        return " and ".join(given)


def load(costs: Sequence[SegmentCost], slot: Slot) -> tuple[float, float]:
    """Seconds that a worker is busy with segments, and their variance."""
    each = [run(c, slot) for c in costs] + list(setups(costs, slot).values())
    return sum(seconds for seconds, _ in each), sum(variance for _, variance in each)


def run(cost: SegmentCost, slot: Slot) -> tuple[float, float]:
    """Seconds that a segment runs on a worker, and their variance."""
    read = cost.read_seconds if cost.segment.version in slot.held else 0.0
    return (cost.run_seconds - read) * slot.slowness, (cost.run_spread * slot.slowness) ** 2


def setups(costs: Iterable[SegmentCost], slot: Slot) -> dict[str, tuple[float, float]]:
    """Each version's set-up on a worker, the longest if they differ, and its variance."""
    found: dict[str, tuple[float, float]] = {}
    for c in costs:
        version = c.segment.version
        own = c.setup_seconds * slot.slowness, (c.setup_spread * slot.slowness) ** 2
        found[version] = (0.0, 0.0) if version in slot.warm else max(own, found.get(version, own))
    return found


def span(seconds: float) -> str:
    """Seconds as one reads them: "45 s", "12.5 min", "2.0 h"."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def gpu_span(seconds: float) -> str:
    number, unit = span(seconds).split()
    return f"{number} GPU-{ {'s': 'seconds', 'min': 'minutes', 'h': 'hours'}[unit] }"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""Fills worker after worker up to a deadline, cutting versions where a worker is full. Pure.

McNaughton's wrap-around rule (1959) with set-ups, and with a choice: a worker takes the longest version that still
fits as a whole, again and again, and then of the versions that do not fit the one of which the longest begin does. What
is left of that one is a version like any other. So all but the last few workers end within a fraction of an atom of
the deadline, and a worker adds one cut and so one set-up at most twice. The earliest deadline by which everything
fits is found by bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from flor_ray.scheduler.problem import Slot

_CHOICES = 32  # versions looked at for the one to cut
_CUTS = 2  # versions that one worker begins without ending them
_MARGIN = 1e-9  # relative; rounding of sums

Stretch = tuple[int, int, int]  # strip, first atom, end


@dataclass(frozen=True, slots=True)
class Strip:
    """A version as a row of atoms: parts that cannot be cut."""

    setup_seconds: float
    sums: list[float]  # seconds of the first k atoms, without cuts
    restores: list[float]  # what a piece that begins with the k-th atom takes more; 0 where a segment begins
    version: str = ""

    def seconds(self, begin: int, end: int) -> float:
        """What the piece from one atom up to another takes, restoring included; without set-up."""
        return self.restores[begin] + self.sums[end] - self.sums[begin]

    def furthest(self, begin: int, seconds: float) -> int:
        """End of the longest piece from an atom on that takes at most so many seconds; `begin` if there is none."""
        reach = seconds - self.restores[begin] + self.sums[begin]
        return bisect_right(self.sums, reach * (1 + _MARGIN), begin) - 1 if reach >= self.sums[begin] else begin

    @property
    def atoms(self) -> int:
        """The number of its atoms."""
        return len(self.restores)


def strip(setup_seconds: float, sizes: Sequence[float], version: str) -> Strip:
    """A version whose atoms are segments of their own, so that a cut between them costs nothing more."""
    return Strip(setup_seconds, [0.0, *accumulate(sizes)], [0.0] * len(sizes), version)


def earliest(
    fill: Callable[[Sequence[Strip], Sequence[Slot], float], list[list[Stretch]] | None],
    strips: Sequence[Strip],
    slots: Sequence[Slot],
    low: float,
    high: float,
    close: float = 1e-4,
) -> tuple[float, list[list[Stretch]] | None]:
    """The earliest deadline found between low and high, and stretches per worker; None if only high may do."""
    best = fill(strips, slots, low)
    if best is not None:
        return low, best
    while high > low * (1 + close):
        middle = (low + high) / 2
        if not low < middle < high:  # there is no number between them
            break
        filled = fill(strips, slots, middle)
        if filled is None:
            low = middle
        else:
            best, high = filled, middle
    return high, best


def fill(strips: Sequence[Strip], slots: Sequence[Slot], deadline: float) -> list[list[Stretch]] | None:
    """Stretches per worker that end by the deadline; None if not everything fits this way."""
    filling = _Filling(strips)
    capacities = capacities_of(slots, deadline)
    for worker, slot in enumerate(slots):
        for version in sorted(slot.warm | slot.held):
            filling.prefer(worker, version)
    room = sum(capacities)
    filled: list[list[Stretch]] = [[] for _ in slots]
    for worker in sorted(range(len(slots)), key=lambda w: (-capacities[w], w)):
        if filling.left > room * (1 + _MARGIN):
            return None
        room -= capacities[worker]
        filled[worker] = filling.take(worker, capacities[worker], slots[worker].warm)
        if not filling.pool:
            return filled
    return None


def capacities_of(slots: Sequence[Slot], deadline: float) -> list[float]:
    """Estimated seconds of work that each worker can do by the deadline."""
    return [max(0.0, deadline - slot.ready_seconds) / slot.slowness * (1 + _MARGIN) for slot in slots]


class _Filling:
    def __init__(self, strips: Sequence[Strip]) -> None:
        self.strips = strips
        self.begins = [0] * len(strips)  # first atom that is left
        self.pool = sorted((s.setup_seconds + s.seconds(0, s.atoms), i) for i, s in enumerate(strips) if s.atoms)
        self.left = sum(seconds for seconds, _ in self.pool)
        self.numbers = {s.version: i for i, s in enumerate(strips)}
        self.preferred: dict[int, list[int]] = {}

    def prefer(self, worker: int, version: str) -> None:
        if version in self.numbers:
            self.preferred.setdefault(worker, []).append(self.numbers[version])

    def take(self, worker: int, room: float, warm: frozenset[str]) -> list[Stretch]:
        taken: list[Stretch] = []
        for index in self.preferred.get(worker, ()):
            if self.begins[index] < self.strips[index].atoms:
                strip = self.strips[index]
                setup = 0.0 if strip.version in warm else strip.setup_seconds
                end = strip.furthest(self.begins[index], room - setup)
                if end > self.begins[index]:
                    room -= setup + strip.seconds(self.begins[index], end)
                    taken.append(self._cut(index, end))
        cuts = 0
        while self.pool:
            whole = bisect_right(self.pool, (room * (1 + 2 * _MARGIN), len(self.strips))) - 1
            if whole >= 0:
                seconds, index = self.pool[whole]
                taken.append(self._cut(index, self.strips[index].atoms))
                room -= seconds
                continue
            choice = self._choice(room, {index for index, _, _ in taken}) if cuts < _CUTS else None
            if choice is None:
                break
            index, end = choice
            strip = self.strips[index]
            room -= strip.setup_seconds + strip.seconds(self.begins[index], end)
            taken.append(self._cut(index, end))
            cuts += 1
        return taken

    def _choice(self, room: float, taken: set[int]) -> tuple[int, int] | None:
        """The version whose longest begin that fits saves most, and the begin's end."""
        pool = self.pool
        stride = max(1, len(pool) // _CHOICES)
        best: tuple[float, int, int] | None = None
        for position in range(0, len(pool), stride):
            index = pool[position][1]
            strip, begin = self.strips[index], self.begins[index]
            left = room - strip.setup_seconds
            if left <= 0 or index in taken:
                continue
            end = strip.furthest(begin, left)
            if begin < end < strip.atoms:
                saved = strip.sums[end] - strip.sums[begin] + strip.restores[begin] - strip.restores[end]
                if saved > 0 and (best is None or saved > best[0]):
                    best = saved, index, end
        return best and (best[1], best[2])

    def _cut(self, index: int, end: int) -> Stretch:
        """Takes what is left of a strip up to an atom off the pool."""
        strip, begin = self.strips[index], self.begins[index]
        seconds = strip.setup_seconds + strip.seconds(begin, strip.atoms)
        del self.pool[bisect_left(self.pool, (seconds, index))]
        self.left -= seconds
        self.begins[index] = end
        if end < strip.atoms:
            rest = strip.setup_seconds + strip.seconds(end, strip.atoms)
            insort(self.pool, (rest, index))
            self.left += rest
        return index, begin, end

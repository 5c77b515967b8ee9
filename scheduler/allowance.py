"""What may be spent, on which workers, and taking as much of a replay as a limit allows, in the order of ranks.

Pure. An *atom* is a stretch of a segment from one point at which it can be cut to the next; a segment that cannot be
cut is one atom. Its rank is the lowest of its epochs (`priorities`). Atoms are taken rank after rank; in one rank the
cheapest first, until one does not fit; then the next rank goes on with what is cheaper. An atom costs its run, its
version's set-up if it is the first one of it, and less what is saved where it joins a neighbour that was taken before:
that is a restore.

So of two limits, at the first rank where the answers differ the larger limit has answered more: costs within a rank do
not depend on each other, since its atoms are of different versions, and each limit takes the first so many of them in
the same order. (This needs costs that add up, as those of an estimate from recorded epochs do. It is greedy: leaving
an expensive epoch of a low rank out could pay for several of a higher one, and is not done, since ranks say what
matters.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite, sqrt

from flor_ray.records import Segment, SegmentCost, Variant
from flor_ray.scheduler.priorities import Ranks, rank_of, ranked
from flor_ray.scheduler.problem import Cutting, Slot, Workers
from flor_ray.wording import counted

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
        """GPU-seconds that estimates may add up to: the limit divided by the margin; infinite without one."""
        return inf if self.gpu_seconds is None else self.gpu_seconds / self.margin

    @property
    def deadline(self) -> float:
        """Seconds by which estimates have to end: the limit divided by the margin; infinite without one."""
        return inf if self.deadline_seconds is None else self.deadline_seconds / self.margin

    @property
    def workers(self) -> Workers:
        """The slots as `splitting.schedule` takes them: a number, if they are equal, cold and ready."""
        return len(self.slots) if set(self.slots) == {Slot()} else self.slots

    @property
    def most_seconds(self) -> float:
        """GPU-seconds that no schedule within the limits can exceed."""
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
        """These limits on so many of the workers: the fastest, and of those the first that are ready."""
        quickest = sorted(self.slots, key=lambda slot: (slot.slowness, slot.ready_seconds))
        return replace(self, slots=tuple(quickest[:workers]))

    def upper(self, seconds: float, variance: float) -> float:
        """So many seconds with the safety on top: what is held against a limit."""
        return seconds + self.safety * sqrt(max(0.0, variance))

    def __str__(self) -> str:
        given = [] if self.gpu_seconds is None else [gpu_span(self.gpu_seconds)]
        if self.deadline_seconds is not None:
            given.append(f"{span(self.deadline_seconds)} on {counted(len(self.slots), 'worker')}")
        return " and ".join(given)


class Atoms:
    """All atoms of a replay, and which of them a number of GPU-seconds pays for. Their costs are those on the best
    worker there could be (`Allowance.ideal`)."""

    def __init__(self, costs: Sequence[SegmentCost], cutting: Cutting, ranks: Ranks, allowance: Allowance) -> None:
        """`costs` are not empty."""
        self._allowance = allowance
        ideal = allowance.ideal
        self._setups = setups(costs, ideal)
        self._ranks = ranks
        self._rows = [_RowOfAtoms(c, cutting, ideal) for c in costs]
        self.least_seconds, self.cheapest = inf, costs[0].segment
        by_rank: dict[float, list[tuple[_RowOfAtoms, int]]] = {}
        longest = (allowance.deadline - ideal.ready_seconds) * ROUNDING
        for row in self._rows:
            setup, setup_variance = self._setups[row.version]
            for number, (seconds, variance) in enumerate(row.runs):
                alone = allowance.upper(setup + seconds, setup_variance + variance)
                if alone < self.least_seconds:
                    self.least_seconds, self.cheapest = alone, row.atoms[number]
                if alone <= longest:
                    by_rank.setdefault(rank_of(row.atoms[number], ranks), []).append((row, number))
        self._by_rank = [by_rank[rank] for rank in sorted(by_rank)]

    def take(self, limit_seconds: float) -> tuple[tuple[SegmentCost, ...], tuple[Segment, ...]]:
        """The atoms that fit into so many GPU-seconds, and the others; neighbours are joined."""
        for row in self._rows:
            row.taken = [False] * len(row.atoms)
        warm: set[str] = set()
        seconds = variance = 0.0
        for atoms in self._by_rank:
            for more, more_variance, row, number in self._cheapest_first(atoms, warm):
                if self._allowance.upper(seconds + more, variance + more_variance) > limit_seconds * ROUNDING:
                    break
                seconds, variance = seconds + more, variance + more_variance
                warm.add(row.version)
                row.taken[number] = True
        pieces = [row.pieces() for row in self._rows]
        chosen = ranked((c for taken, _ in pieces for c in taken), self._ranks)
        return chosen, tuple(s for _, left_out in pieces for s in left_out)

    def _cheapest_first(
        self, atoms: Sequence[tuple[_RowOfAtoms, int]], warm: Collection[str]
    ) -> list[tuple[float, float, _RowOfAtoms, int]]:
        each = []
        for row, number in atoms:
            seconds, variance = row.marginal(number)
            if row.version not in warm:
                setup, setup_variance = self._setups[row.version]
                seconds, variance = seconds + setup, variance + setup_variance
            each.append((seconds, variance, row, number))
        if len(each) > 1:
            each.sort(key=lambda atom: (self._allowance.upper(atom[0], atom[1]), atom[2].version))
        return each


class _RowOfAtoms:
    """One segment as a row of atoms."""

    def __init__(self, whole: SegmentCost, cutting: Cutting, slot: Slot) -> None:
        self.version = whole.segment.version
        self._whole = whole
        self._cutting = cutting
        self._slot = slot
        self._points = sorted(set(cutting.points(whole.segment)))
        self.atoms = cutting.cut(whole.segment, self._points) if self._points else (whole.segment,)
        self.taken = [False] * len(self.atoms)
        self.runs = [run(self._cost(atom) if self._points else whole, slot) for atom in self.atoms]
        self._savings: dict[int, float] = {}

    def marginal(self, number: int) -> tuple[float, float]:
        """What taking an atom adds to what its segment runs: seconds and variance."""
        seconds, variance = self.runs[number]
        if number > 0 and self.taken[number - 1]:
            seconds -= self._saving(number)
        if number + 1 < len(self.atoms) and self.taken[number + 1]:
            seconds -= self._saving(number + 1)
        return seconds, variance

    def pieces(self) -> tuple[list[SegmentCost], list[Segment]]:
        """What is taken and what is not, neighbours joined."""
        if all(self.taken):
            return [self._whole], []
        if not any(self.taken):
            return [], [self._whole.segment]
        borders = [p for p, (before, after) in zip(self._points, pairwise(self.taken), strict=True) if before != after]
        pieces = self._cutting.cut(self._whole.segment, borders)
        others, mine = (pieces[1::2], pieces[::2]) if self.taken[0] else (pieces[::2], pieces[1::2])
        return [self._cost(piece) for piece in mine], list(others)

    def _saving(self, number: int) -> float:
        """Seconds that an atom and the one before it take less together: the restore between them."""
        if number not in self._savings:
            both = replace(self.atoms[number - 1], last=self.atoms[number].last)
            together, _ = run(self._cost(both), self._slot)
            self._savings[number] = self.runs[number - 1][0] + self.runs[number][0] - together
        return self._savings[number]

    def _cost(self, piece: Segment) -> SegmentCost:
        if self._whole.known:
            return self._cutting.cost(piece)
        share = _epochs_run(piece) / _epochs_run(self._whole.segment)  # stand-in seconds say nothing of restores
        return replace(
            self._whole,
            segment=piece,
            run_seconds=self._whole.run_seconds * share,
            run_spread=self._whole.run_spread * sqrt(share),
            read_seconds=self._whole.read_seconds * share,
        )


def _epochs_run(segment: Segment) -> int:
    begin = segment.first - 1 if segment.variant is Variant.END else segment.restore or 0
    return max(1, segment.last - begin)


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
    """Seconds of worker time as one reads them: "45 GPU-seconds", "2.0 GPU-hours"."""
    number, unit = span(seconds).split()
    return f"{number} GPU-{ {'s': 'seconds', 'min': 'minutes', 'h': 'hours'}[unit] }"

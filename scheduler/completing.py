"""Fills worker after worker up to a deadline, with a look at what else could be in it. Pure.

Slower and closer than `filling` where workers have few atoms each. A worker begins with the version of the largest
atoms, since these get ever harder to place, and is completed with two more stretches so that least is lost: time
that stays free, and what cuts cost (another set-up and a restore for the rest of the version). Of completions that lose
about as little, the one with the largest atoms is taken.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from flor_ray.scheduler.filling import Stretch, Strip, capacities_of
from flor_ray.scheduler.problem import Slot

_MARGIN = 1e-9  # relative; rounding of sums
_NEAR = 3  # stretches looked at below the room that is left
_SEEDS = 10  # lengths tried for the first stretch
_SECONDS = 8  # stretches tried for the second one
_OPTIONS = 24  # begins of one strip that are looked at
_FEW = 4_000  # atoms for which every preference is tried
_ENOUGH = 1e-3  # of a worker's time; less loss is not looked for
_PREFERENCES = (
    0.01,
    0.0,
    0.03,
)  # of a worker's time; loss that a stretch of the largest atoms may have more than another

_Option = tuple[float, int, int]  # seconds with set-up, strip, end; from the first atom that is left


def complete(strips: Sequence[Strip], slots: Sequence[Slot], deadline: float) -> list[list[Stretch]] | None:
    """Stretches per worker that end by the deadline; None if not everything fits this way."""
    few = sum(strip.atoms for strip in strips) <= _FEW
    for preference in _PREFERENCES if few else _PREFERENCES[:1]:
        filled = _complete(_Completing(strips, preference), slots, deadline)
        if filled is not None:
            return filled
    return None


def _complete(completing: _Completing, slots: Sequence[Slot], deadline: float) -> list[list[Stretch]] | None:
    capacities = capacities_of(slots, deadline)
    room = sum(capacities)
    filled: list[list[Stretch]] = [[] for _ in slots]
    for worker in sorted(range(len(slots)), key=lambda w: (-capacities[w], w)):
        if completing.left > room * (1 + _MARGIN):
            return None
        room -= capacities[worker]
        filled[worker] = completing.take(capacities[worker])
        if not completing.options:
            return filled
    return None


class _Completing:
    def __init__(self, strips: Sequence[Strip], preference: float) -> None:
        self.preference = preference
        self.strips = strips
        self.begins = [0] * len(strips)  # first atom that is left
        self.atom = [s.sums[-1] / s.atoms for s in strips]  # typical atom
        largest = max(self.atom) or 1.0  # 1.0: nothing takes any time
        self.smaller = [1 - atom / largest for atom in self.atom]  # than the largest typical atom, as a share of it
        self.left = sum(s.setup_seconds + s.sums[-1] for s in strips)
        self.options = sorted(option for index in range(len(strips)) for option in self._options_of(index))
        self.order = sorted(range(len(strips)), key=lambda index: (-self.atom[index], index))

    def _options_of(self, index: int) -> list[_Option]:
        """Begins of what is left of a strip, not all if they are many, that run longer than a cut behind them costs."""
        strip, begin = self.strips[index], self.begins[index]
        stride = max(1, (strip.atoms - begin) // _OPTIONS)
        ends = [
            end
            for end in range(begin + stride, strip.atoms, stride)
            if 2 * (strip.sums[end] - strip.sums[begin]) > strip.setup_seconds + strip.restores[end]
        ]
        return [(strip.setup_seconds + strip.seconds(begin, end), index, end) for end in (*ends, strip.atoms)]

    def take(self, room: float) -> list[Stretch]:
        while self.order and self.begins[self.order[0]] == self.strips[self.order[0]].atoms:
            self.order.pop(0)
        first = self.order[0]
        best: tuple[float, list[_Option]] = (float("inf"), [])
        seeds = [option for option in self._options_of(first) if option[0] <= room]
        for seed in seeds[: -_SEEDS - 1 : -1]:
            best = min(best, self._completed([seed], room), key=lambda found: found[0])
            if best[0] <= _ENOUGH * room:
                break
        if not seeds:
            best = self._completed([], room)
        taken = [(index, self.begins[index], end) for _, index, end in best[1]]
        for index, _, end in taken:
            self._cut(index, end)
        used = sum(seconds for seconds, _, _ in best[1])
        return taken + self._rest(room - used, {index for index, _, _ in taken})

    def _completed(self, chosen: list[_Option], room: float) -> tuple[float, list[_Option]]:
        """The choice with what completes it best, and what that loses."""
        loss = sum(self._penalty(option, room) for option in chosen)
        left = room - sum(seconds for seconds, _, _ in chosen)
        without = [index for _, index, _ in chosen]
        best = (loss + left, chosen)
        if left <= _ENOUGH * room:
            return best
        single = self._nearest(left, without, room)
        if single is not None and loss + single[0] < best[0]:
            best = (loss + single[0], [*chosen, single[1]])
        end = bisect_right(self.options, (left, len(self.strips), 0))
        for position in range(end - 1, -1, -max(1, end // _SECONDS)):
            second = self.options[position]
            if second[1] in without or best[0] <= _ENOUGH * room:
                continue
            lost = loss + self._penalty(second, room)
            third = self._nearest(left - second[0], [*without, second[1]], room)
            if third is not None and lost + third[0] < best[0]:
                best = (lost + third[0], [*chosen, second, third[1]])
            if lost + left - second[0] < best[0]:
                best = (lost + left - second[0], [*chosen, second])
        return best

    def _nearest(self, left: float, without: Sequence[int], room: float) -> tuple[float, _Option] | None:
        """Of the longest stretches that fit the one that loses least, and the loss."""
        best: tuple[float, _Option] | None = None
        position = bisect_right(self.options, (left, len(self.strips), 0)) - 1
        looked = 0
        while position >= 0 and looked < _NEAR:
            option = self.options[position]
            position -= 1
            if option[1] in without:
                continue
            looked += 1
            loss = left - option[0] + self._penalty(option, room)
            if best is None or loss < best[0]:
                best = loss, option
        return best

    def _penalty(self, option: _Option, room: float) -> float:
        _, index, end = option
        strip = self.strips[index]
        lost = self.preference * room * self.smaller[index]
        return lost if end == strip.atoms else lost + strip.setup_seconds + strip.restores[end]

    def _rest(self, room: float, taken: set[int]) -> list[Stretch]:
        """Whatever else fits, the longest first."""
        stretches: list[Stretch] = []
        while True:
            found = self._nearest(room, sorted(taken), room)
            if found is None:
                return stretches
            seconds, index, end = found[1]
            stretches.append((index, self.begins[index], end))
            taken.add(index)
            room -= seconds
            self._cut(index, end)

    def _cut(self, index: int, end: int) -> None:
        strip = self.strips[index]
        for option in self._options_of(index):
            del self.options[bisect_left(self.options, option)]
        self.left -= strip.setup_seconds + strip.seconds(self.begins[index], strip.atoms)
        self.begins[index] = end
        if end < strip.atoms:
            self.left += strip.setup_seconds + strip.seconds(end, strip.atoms)
            for option in self._options_of(index):
                insort(self.options, option)

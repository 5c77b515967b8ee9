"""In which order wanted epochs are answered: within a version, across versions, across queries.

Pure. A rank says how soon something should run: what is lower goes first. Ranks choose what a budget pays for
(`flor_ray.scheduler.budget`), and of equal schedules the one that answers the important epochs early.

*Within a version:* the peak epochs, the last epoch, then coarse to fine: always the wanted epoch that is furthest from
those that came before it, the earliest of several. In a row of epochs this halves the longest gap.

    wanted    1   2   3   4   5   6   7   8      peak 3
    place     2   4   0   5   3   6   7   1

Furthest-point order is a 2-approximation of the k-centre problem at every k at once (Gonzalez 1985): after the first k
epochs no wanted one is further from an answered one than twice what the best choice of k epochs could achieve. (Peaks
are what the user chose, not for spread: each but the first counts as an epoch that is not among the k.)

*Across versions:* an epoch's rank is its place in its version's order, so each version gets its first epochs before any
gets its tenth. Versions that the user prefers go first among equals.

*Across queries:* start-time fair queueing (Goyal, Vin and Cheng 1996). A query's virtual time is the seconds that were
started for it divided by its weight; the query that is furthest behind goes next. See `fair`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite
from types import MappingProxyType

from flor_ray.records import Segment, SegmentCost
from flor_ray.scheduler.problem import Cutting

Ranks = Mapping[str, Mapping[int, float]]  # by version and epoch; epoch 0 is what is outside the main loop
_NO_PEAKS: Mapping[str, Collection[int]] = MappingProxyType({})


def order(epochs: Iterable[int], peaks: Collection[int] = (), end: bool = True) -> tuple[int, ...]:
    """The wanted epochs in the order of the module docstring, each once.

    Epoch 0, which stands for what is outside the main loop, comes first: it says something of the whole version. Peaks
    come in the order of their epochs; those that are not wanted have been answered, and are ignored. `end=False` leaves
    the last epoch to its turn; without peaks the middle one is first then. Raises ValueError for a negative epoch.
    """
    wanted = sorted(set(epochs))
    if wanted and wanted[0] < 0:
        raise ValueError(f"epoch {wanted[0]}: epochs begin with 1, and 0 stands for what is outside the main loop")
    outside, inside = (wanted[:1], wanted[1:]) if wanted[:1] == [0] else ([], wanted)
    if not inside:
        return tuple(outside)
    first = [epoch for epoch in sorted(set(peaks)) if epoch in set(inside)]
    if end and inside[-1] not in first:
        first.append(inside[-1])
    if not first:
        first.append(_nearest(inside, 0, len(inside), (inside[0] + inside[-1]) / 2))
    return (*outside, *first, *_coarse_to_fine(inside, first))


def _coarse_to_fine(epochs: Sequence[int], first: Iterable[int]) -> list[int]:
    """The other epochs, the furthest from all before it first. Both arguments are not empty; epochs ascend."""
    taken = [-1, *sorted(bisect_left(epochs, epoch) for epoch in first), len(epochs)]
    gaps = [_gap(epochs, low, high) for low, high in pairwise(taken) if high - low > 1]
    heapq.heapify(gaps)
    found = []
    while gaps:
        _, middle, low, high = heapq.heappop(gaps)
        found.append(epochs[middle])
        for left, right in ((low, middle), (middle, high)):
            if right - left > 1:
                heapq.heappush(gaps, _gap(epochs, left, right))
    return found


def _gap(epochs: Sequence[int], low: int, high: int) -> tuple[int, int, int, int]:
    """(-distance, position) of the epoch furthest from both ends of a gap, which are positions, or one beyond."""
    if low < 0:
        return epochs[0] - epochs[high], 0, low, high
    if high == len(epochs):
        return epochs[low] - epochs[-1], high - 1, low, high
    middle = bisect_left(epochs, _nearest(epochs, low + 1, high, (epochs[low] + epochs[high]) / 2))
    return -min(epochs[middle] - epochs[low], epochs[high] - epochs[middle]), middle, low, high


def _nearest(epochs: Sequence[int], low: int, high: int, value: float) -> int:
    """Of epochs[low:high] the one nearest to a value, the earlier of two."""
    after = bisect_left(epochs, value, low, high)
    return min(epochs[max(low, after - 1) : min(high, after + 1)], key=lambda epoch: (abs(epoch - value), epoch))


# --- across versions --------------------------------------------------------------------------------------------------


def wanted(costs: Iterable[SegmentCost]) -> dict[str, frozenset[int]]:
    """Epochs that segments answer, by version; 0 where it is what is outside the main loop."""
    found: dict[str, set[int]] = {}
    for c in costs:
        found.setdefault(c.segment.version, set()).update(range(c.segment.first, c.segment.last + 1))
    return {version: frozenset(epochs) for version, epochs in found.items()}


def ranks(
    wanted: Mapping[str, Collection[int]],
    peaks: Mapping[str, Collection[int]] = _NO_PEAKS,
    end: bool = True,
    first: Sequence[str] = (),
) -> dict[str, dict[int, float]]:
    """Rank of every wanted epoch: its place in its version's order.

    `first` are versions that go before others at the same place, in this order (newest first, say).
    """
    preferred = {version: number / (len(first) + 1) for number, version in enumerate(dict.fromkeys(first))}
    orders: dict[tuple[frozenset[int], frozenset[int]], tuple[int, ...]] = {}  # versions are often alike
    found: dict[str, dict[int, float]] = {}
    for version, epochs in wanted.items():
        kind = frozenset(epochs), frozenset(peaks.get(version, ()))
        if kind not in orders:
            orders[kind] = order(*kind, end=end)
        behind = preferred.get(version, len(first) / (len(first) + 1))
        found[version] = {epoch: place + behind for place, epoch in enumerate(orders[kind])}
    return found


def rank_of(segment: Segment, ranks: Ranks) -> float:
    """The lowest rank of a segment's epochs; infinite if none of them has one."""
    of_version = ranks.get(segment.version, {})
    return min((of_version[e] for e in range(segment.first, segment.last + 1) if e in of_version), default=inf)


def ranked(costs: Iterable[SegmentCost], ranks: Ranks) -> tuple[SegmentCost, ...]:
    """The costs with the ranks of their segments in place of their own."""
    return tuple(replace(c, rank=rank_of(c.segment, ranks)) for c in costs)


def ranked_cutting(cutting: Cutting, ranks: Ranks) -> Cutting:
    """A cutting that also gives the pieces' costs the ranks of their own epochs."""

    def cost(segment: Segment) -> SegmentCost:
        return replace(cutting.cost(segment), rank=rank_of(segment, ranks))

    return replace(cutting, cost=cost)


# --- across queries ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several queries wants, and its weight: twice the weight gets twice the seconds."""

    name: str
    weight: float
    costs: tuple[SegmentCost, ...]


def fair(queries: Sequence[Share]) -> tuple[SegmentCost, ...]:
    """The segments of all queries in a fair order, with it as their ranks: virtual time in seconds per weight.

    A segment that several queries want (equal but for its names) is in it once, with the names of all. It is charged in
    full to each of them: W(f) is the sum of the seconds of all segments of query f that were started, l(f) its longest
    segment (the first one of a version that is started has the set-up), w(f) its weight. Within a query, segments keep
    the order of their ranks.

    However many workers start segments in this order, and however fast each of them is, at any time:

        W(f) >= w(f) / (sum of w) * (seconds started in all - sum of l)     for each f with segments that wait
        |W(f)/w(f) - W(g)/w(g)| <= max(l(f)/w(f), l(g)/w(g))                for such f, g that share nothing with any

    The query with the least W/w among those that wait goes next. So when g had its last own turn it was not ahead of f,
    and W(g)/w(g) is at most W(f)/w(f) + l(g)/w(g) for what its own turns gave it; what it got in others' turns, being
    shared, comes on top. All work is of somebody's own turn, and the sum over all g gives the first line.

    Raises ValueError for a weight that is not a positive number, and for two queries of one name.
    """
    for share in queries:
        if not (share.weight > 0 and isfinite(share.weight)):
            raise ValueError(f"the weight of {share.name} is {share.weight}; it must be a positive number")
    if len({share.name for share in queries}) < len(queries):
        raise ValueError(f"queries need different names, not {', '.join(share.name for share in queries)}")
    merged, sharers = _merged(queries)
    waiting = [iter(_own_order(share, merged)) for share in queries]
    times = [0.0] * len(queries)
    turns = [(0.0, number) for number in range(len(queries))]  # a heap
    found: dict[Segment, SegmentCost] = {}
    warm: set[str] = set()
    while turns:
        time, number = heapq.heappop(turns)
        if time < times[number]:  # others' turns gave it something meanwhile
            heapq.heappush(turns, (times[number], number))
            continue
        key = next((key for key in waiting[number] if key not in found), None)
        if key is None:
            continue
        cost = found[key] = replace(merged[key], rank=time)
        seconds = cost.run_seconds + (0.0 if key.version in warm else cost.setup_seconds)
        warm.add(key.version)
        for sharer in sharers[key]:
            times[sharer] += seconds / queries[sharer].weight
        heapq.heappush(turns, (times[number], number))
    return tuple(found.values())


def _merged(queries: Sequence[Share]) -> tuple[dict[Segment, SegmentCost], dict[Segment, list[int]]]:
    """Segments without their names -> cost with all names, and which queries want it. Of several costs the longest."""
    merged: dict[Segment, SegmentCost] = {}
    sharers: dict[Segment, list[int]] = {}
    for number, share in enumerate(queries):
        for c in share.costs:
            key = replace(c.segment, names=())
            other = merged.get(key, c)
            names = tuple(sorted({*other.segment.names, *c.segment.names}))
            longest = max(other, c, key=lambda cost: cost.run_seconds)
            merged[key] = replace(longest, segment=replace(key, names=names))
            if number not in sharers.setdefault(key, []):
                sharers[key].append(number)
    return merged, sharers


def _own_order(share: Share, merged: Mapping[Segment, SegmentCost]) -> list[Segment]:
    in_order = sorted(share.costs, key=lambda c: (c.rank, c.segment.version, c.segment.first, c.segment.id))
    return [replace(c.segment, names=()) for c in in_order]

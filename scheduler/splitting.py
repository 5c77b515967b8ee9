"""Long segments -> pieces, so that n workers can share them.

Pure. Cutting helps the makespan and costs set-ups: every further piece of a version that runs on another worker
prepares the data there again. How short the pieces should be depends on what else there is to run, so several ways to
cut are tried, and no cut at all; the pieces that pack best are taken, of equals the fewest. The ways:

    even       Everything is cut for one deadline T, each piece filling it as far as its points allow. The smallest T
               worth a try is the one at which all work fits into n workers times T:

                   run seconds + set-ups of all versions + (restore and set-up) of every further piece  <=  n T

               The left side falls and the right side grows with T, so bisection finds it. That sum ignores that
               pieces are whole: multiples of T waste less set-up, and fractions fill what others leave.
    in line    All segments in a row, version after version, and worker after worker filled up to the smallest limit
               that leaves nothing over (McNaughton's wrap-around rule, 1959). Cuts lie where one worker is full and
               the next one goes on, so there are less than n of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.records import Segment, SegmentCost
from flor_ray.scheduler.packing import one_row, pack

_HALVINGS = 40  # of the deadline's interval: ends far below a microsecond for any replay
_LINE_HALVINGS = 12  # of the limit in line; less than a thousandth of what cutting can gain is left
_STRETCHES = (0.125, 0.25, 0.5, 1.0, 1.125, 1.25, 1.5, 2.0)  # of T without set-up; packing never needs much over 2 T
_GOOD_ENOUGH = 1.02  # times the share: estimates are not more exact than that
_RULED_POINTS = 20_000  # cost estimates spent on measuring pieces, a second or so; over many segments that is coarse


def split(
    costs: Sequence[SegmentCost],
    points: Mapping[Segment, Sequence[int]],
    workers: int,
    cost: Callable[[Segment], SegmentCost],
    cut: Callable[[Segment, Sequence[int]], Sequence[Segment]],
) -> tuple[SegmentCost, ...]:
    """The costs with long segments replaced by those of their pieces, order kept.

    `points` are the epochs at which each segment may be cut (none if missing), `cut` does it, and `cost` estimates a
    piece. The stand-in seconds of a segment of unknown cost are divided among its pieces by their epochs. Raises
    ValueError for less than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one is needed")
    whole = pack(costs, workers)
    cuttable = [c for c in costs if points.get(c.segment)]
    if not cuttable or whole.makespan_seconds <= _GOOD_ENOUGH * _share(costs, workers):
        return tuple(costs)
    each = max(16, _RULED_POINTS // len(cuttable))
    rulers = {c.segment: _ruler(c, _thinned(points[c.segment], each), cost, cut) for c in cuttable}
    deadline = _deadline(costs, rulers, workers)
    ways: list[Mapping[Segment, Sequence[int]]] = [_even_cuts(rulers, deadline, stretch) for stretch in _STRETCHES]
    ways.append(_cuts_in_line(costs, rulers, workers, deadline, whole.makespan_seconds))
    candidates = [tuple(costs), *(_pieces(costs, rulers, way, cost, cut) for way in ways)]
    return min(candidates, key=lambda pieces: (pack(pieces, workers).makespan_seconds, len(pieces)))


def _pieces(
    costs: Sequence[SegmentCost],
    rulers: Mapping[Segment, _Ruler],
    cuts: Mapping[Segment, Sequence[int]],
    cost: Callable[[Segment], SegmentCost],
    cut: Callable[[Segment, Sequence[int]], Sequence[Segment]],
) -> tuple[SegmentCost, ...]:
    pieces: list[SegmentCost] = []
    for c in costs:
        points = [rulers[c.segment].points[index] for index in cuts.get(c.segment, ())]
        pieces += [_piece_cost(piece, c, cost) for piece in cut(c.segment, points)] if points else [c]
    return tuple(pieces)


def _piece_cost(piece: Segment, whole: SegmentCost, cost: Callable[[Segment], SegmentCost]) -> SegmentCost:
    if whole.known:
        return cost(piece)
    part, all_ = (segment.last - (segment.restore or 0) for segment in (piece, whole.segment))
    return replace(whole, segment=piece, run_seconds=whole.run_seconds * part / all_)


def _even_cuts(rulers: Mapping[Segment, _Ruler], deadline: float, stretch: float) -> dict[Segment, tuple[int, ...]]:
    return {segment: ruler.cuts(stretch * (deadline - ruler.setup_seconds)) for segment, ruler in rulers.items()}


def _cuts_in_line(
    costs: Sequence[SegmentCost], rulers: Mapping[Segment, _Ruler], workers: int, low: float, high: float
) -> Mapping[Segment, Sequence[int]]:
    """Cuts for the smallest limit between low and high that bisection finds; none if only high will do."""
    row = one_row(costs)
    best: Mapping[Segment, Sequence[int]] = {}
    for _ in range(_LINE_HALVINGS):
        middle = (low + high) / 2
        cuts = _filled(row, rulers, workers, middle)
        if cuts is None:
            low = middle
        else:
            best, high = cuts, middle
    return best


def _filled(
    row: Sequence[SegmentCost], rulers: Mapping[Segment, _Ruler], workers: int, limit: float
) -> dict[Segment, list[int]] | None:
    """Where the row is cut when worker after worker is filled up to the limit; None if it does not fit."""
    cuts: dict[Segment, list[int]] = {}
    used, room, warm = 1, limit, ""
    for c in row:
        ruler = rulers.get(c.segment) or _Ruler(c.setup_seconds, (0,), (c.run_seconds,), (0.0, c.run_seconds))
        begin, end = 0, len(ruler.points)
        while begin < end:
            setup = 0.0 if c.segment.version == warm else c.setup_seconds
            until = ruler.furthest(begin, room - setup)
            if until == begin and room == limit:
                return None  # not even an empty worker can take what cannot be cut
            if until > begin:
                room, warm = room - setup - ruler.seconds(begin, until), c.segment.version
            if until < end:
                used, room, warm = used + 1, limit, ""
                cuts.setdefault(c.segment, []).extend([until] if until > begin else [])
            begin = until
        if used > workers:
            return None
    return cuts


@dataclass(frozen=True, slots=True)
class _Ruler:
    """Seconds of any piece of one segment, from two runs of partial sums.

    A segment that begins at `points[i]` and one that ends just before it together run longer than the whole by the
    restore at that point. So a piece from points[i] to before points[j] takes
    from_seconds[i] + to_seconds[j] - total, and no piece has to be measured by itself.
    """

    setup_seconds: float
    points: tuple[int, ...]  # points[0] is the segment's begin
    from_seconds: tuple[float, ...]  # of the piece from points[i] to the end
    to_seconds: tuple[float, ...]  # of the piece from the begin to before points[j]; one more, which is the whole

    def cuts(self, limit_seconds: float) -> tuple[int, ...]:
        """Indices of the fewest points to cut at, so that only pieces without a point in them exceed the limit."""
        chosen: list[int] = []
        begin, end = 0, len(self.points)
        while (begin := max(begin + 1, self.furthest(begin, limit_seconds))) < end:
            chosen.append(begin)
        return tuple(chosen)

    def furthest(self, begin: int, limit_seconds: float) -> int:
        """Index of the end of the longest piece from points[begin] within the limit; `begin` if there is none."""
        reach = limit_seconds - self.from_seconds[begin] + self.to_seconds[-1]
        return bisect_right(self.to_seconds, reach, begin + 1) - 1

    def seconds(self, begin: int, end: int) -> float:
        return self.from_seconds[begin] + self.to_seconds[end] - self.to_seconds[-1]

    @property
    def longest_atom_seconds(self) -> float:
        """Set-up and run of the longest piece that has no point in it."""
        return self.setup_seconds + max(self.seconds(index, index + 1) for index in range(len(self.points)))

    def restore_seconds(self, cuts: Sequence[int]) -> float:
        """What the pieces run longer than the whole."""
        return sum(self.from_seconds[index] + self.to_seconds[index] - self.to_seconds[-1] for index in cuts)


def _thinned(points: Sequence[int], most: int) -> list[int]:
    """At most so many of the points, evenly spaced."""
    begins = sorted(set(points))
    return begins[:: -(-len(begins) // most)]


def _ruler(
    whole: SegmentCost,
    points: Sequence[int],
    cost: Callable[[Segment], SegmentCost],
    cut: Callable[[Segment, Sequence[int]], Sequence[Segment]],
) -> _Ruler:
    halves = [[_piece_cost(half, whole, cost).run_seconds for half in cut(whole.segment, (p,))] for p in points]
    return _Ruler(
        setup_seconds=whole.setup_seconds,
        points=(whole.segment.first, *points),
        from_seconds=(whole.run_seconds, *(later for _, later in halves)),
        to_seconds=(0.0, *(earlier for earlier, _ in halves), whole.run_seconds),
    )


def _share(costs: Sequence[SegmentCost], workers: int) -> float:
    """Seconds per worker if nothing were cut and everything could be divided at will."""
    setups: dict[str, float] = {}
    for c in costs:
        setups[c.segment.version] = max(c.setup_seconds, setups.get(c.segment.version, 0.0))
    return (sum(c.run_seconds for c in costs) + sum(setups.values())) / workers


def _deadline(costs: Sequence[SegmentCost], rulers: Mapping[Segment, _Ruler], workers: int) -> float:
    """The smallest T of the module docstring, but not below what cannot be cut: no schedule ends before that."""
    share = _share(costs, workers)
    fixed = [c.setup_seconds + c.run_seconds for c in costs if c.segment not in rulers]
    low = max(share, *fixed, *(ruler.longest_atom_seconds for ruler in rulers.values()))
    high = max(low, *(c.setup_seconds + c.run_seconds for c in costs))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if share + _extra_seconds(rulers, middle, workers) / workers <= middle:
            high = middle
        else:
            low = middle
    return high


def _extra_seconds(rulers: Mapping[Segment, _Ruler], deadline: float, workers: int) -> float:
    """Restores and set-ups that cutting for a deadline adds; no worker sets a version up twice."""
    extra = 0.0
    pieces: dict[str, int] = {}
    for segment, ruler in rulers.items():
        cuts = ruler.cuts(deadline - ruler.setup_seconds)
        extra += ruler.restore_seconds(cuts)
        paid = pieces.get(segment.version, 0)
        pieces[segment.version] = min(workers - 1, paid + len(cuts))
        extra += ruler.setup_seconds * (pieces[segment.version] - paid)
    return extra

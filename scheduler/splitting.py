"""Long segments -> pieces, so that n workers can share them, and the schedule of these pieces.

Pure. Cutting helps the makespan and costs time: every further piece restores a state, and on another worker it prepares
its version's data again. So whole segments are packed first; that is the schedule if it ends as early as anything can.
Else every version becomes a strip of atoms, which cannot be cut (epochs between the points), and workers are filled up
to the earliest deadline by which everything fits (`filling`, and closer but with more cuts `completing`); the pieces
are then exchanged like any segments (`improving`), and neighbours that end up on one worker are one segment again. Few
atoms are also packed one by one. Of schedules that are about equally good the one with the fewest pieces is taken.

Versions with long stretches between points are scheduled first, and the others on top of them, if that ends as early:
what a worker runs last is then short, so that costs which are not as expected can still be evened out while the
schedule is carried out.

The lower bound holds however segments are cut at the points: it is that of the atoms, each without a restore.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from flor_ray.records import Operator, Segment, SegmentCost
from flor_ray.scheduler import bounds, completing, filling
from flor_ray.scheduler.bins import Bins, JobColumns, load, longest_setups
from flor_ray.scheduler.packing import Schedule, pack, schedule_of
from flor_ray.scheduler.problem import Cutting, Slot, Workers, slots_of
from flor_ray.scheduler.searching import search

_GOOD_ENOUGH = 1.002  # schedules that differ by less are equally good
_LONG = 0.01  # times the bound: longer stretches are felt if they are what a worker ends with
_FEW_ATOMS = 40  # for so few the pieces are packed from scratch, too
_CLOSE = 1e-3  # relative; how near the earliest deadline is found by trying
_RULED_POINTS = 40_000  # points measured; of more, evenly spaced ones are used


def schedule(costs: Sequence[SegmentCost], workers: Workers, cutting: Cutting) -> Schedule:
    """Cuts segments where that helps, and packs the pieces. `lower_bound_seconds` holds for any way to cut them.

    The stand-in seconds of a segment of unknown cost are divided among its pieces by their epochs. Raises ValueError
    when there is no worker, and for seconds that are negative or no number.
    """
    made = _in_one(costs, workers, cutting)
    return _in_layers(costs, made, slots_of(workers), cutting) or made


def _in_layers(
    costs: Sequence[SegmentCost], made: Schedule, slots: Sequence[Slot], cutting: Cutting
) -> Schedule | None:
    """A schedule about as good as `made` with what can be cut finely on top of the rest; None if there is none."""
    if len(set(slots)) > 1 or len(slots) < 2 or slots[0].warm or slots[0].held:
        return None
    stretches: dict[str, float] = {}  # seconds from one point to the next, by version
    for c in costs:
        stretch = c.run_seconds / (len(cutting.points(c.segment)) + 1)
        stretches[c.segment.version] = max(stretch, stretches.get(c.segment.version, 0.0))
    coarse = {version for version, seconds in stretches.items() if seconds > _LONG * made.lower_bound_seconds}
    if not coarse or len(coarse) == len(stretches):
        return None
    under = _in_one([c for c in costs if c.segment.version in coarse], slots, cutting)
    setups = longest_setups(c for assignment in under.assignments for c in assignment)
    ends = [load(assignment, slot, setups) for assignment, slot in zip(under.assignments, slots, strict=True)]
    busy = [replace(slot, ready_seconds=max(end, slot.ready_seconds)) for end, slot in zip(ends, slots, strict=True)]
    over = _in_one([c for c in costs if c.segment.version not in coarse], busy, cutting)
    makespan = max(under.makespan_seconds, over.makespan_seconds)
    if makespan > made.makespan_seconds * _GOOD_ENOUGH:
        return None
    assignments = tuple((*one, *two) for one, two in zip(under.assignments, over.assignments, strict=True))
    return replace(made, assignments=assignments, makespan_seconds=makespan)


def _in_one(costs: Sequence[SegmentCost], workers: Workers, cutting: Cutting) -> Schedule:
    slots = slots_of(workers)
    whole = pack(costs, workers)
    average = bounds.average(_least_work(costs, slots), slots)
    if whole.makespan_seconds <= average * _GOOD_ENOUGH:
        return replace(whole, lower_bound_seconds=average)
    rulers = _rulers(costs, cutting)
    if not rulers:
        return whole
    bound = max(average, bounds.least_makespan(_demands(costs, rulers, slots), slots))
    whole = replace(whole, lower_bound_seconds=bound)
    if whole.makespan_seconds <= bound * _GOOD_ENOUGH:
        return whole
    rows = _rows(costs, rulers)
    strips = [row.strip for row in rows]
    until, filled = filling.earliest(filling.fill, strips, slots, bound, whole.makespan_seconds)
    if until > bound * _GOOD_ENOUGH:
        _, closer = filling.earliest(completing.complete, strips, slots, bound, until / _GOOD_ENOUGH, _CLOSE)
        filled = closer or filled
    made = [whole]
    if filled is not None:
        made.append(_searched(_Pieces(rows, filled, cutting), bound, workers))
    if sum(strip.atoms for strip in strips) <= _FEW_ATOMS:
        made.append(_finest(rows, cutting, bound, workers))
    latest = min(one.makespan_seconds for one in made) * _GOOD_ENOUGH
    good = [one for one in made if one.makespan_seconds <= latest]
    return min(good, key=lambda one: (sum(map(len, one.assignments)), one.makespan_seconds))


@dataclass(frozen=True, slots=True)
class _Ruler:
    """Seconds of any piece of one segment, from two runs of partial sums.

    A piece that begins at points[i] and one that ends just before it together run longer than the whole by the restore
    at that point. So a piece from points[i] to before points[j] takes restores[i] + sums[j] - sums[i], and no piece has
    to be measured by itself.
    """

    points: tuple[int, ...]  # points[0] is the segment's begin
    sums: tuple[float, ...]  # seconds of the piece from the begin to before points[j]; one more, which is the whole
    dry_sums: tuple[float, ...]  # those seconds without reading
    restores: tuple[float, ...]  # what a piece from points[i] takes more than its atoms; 0 for the first
    every: bool  # all points are in it, so that nothing between them can be cut


def _rulers(costs: Sequence[SegmentCost], cutting: Cutting) -> dict[Segment, _Ruler]:
    points = {c.segment: sorted(set(cutting.points(c.segment))) for c in costs}
    stride = -(-sum(map(len, points.values())) // _RULED_POINTS)
    return {c.segment: _ruler(c, points[c.segment], stride, cutting) for c in costs if points[c.segment]}


def _ruler(whole: SegmentCost, points: Sequence[int], stride: int, cutting: Cutting) -> _Ruler:
    used = points[::stride]
    sums, dry_sums, restores = [0.0], [0.0], [0.0]
    for point in used:
        earlier, later = (_piece_cost(half, whole, cutting) for half in cutting.cut(whole.segment, (point,)))
        sums.append(max(earlier.run_seconds, sums[-1]))
        dry_sums.append(max(_dry(earlier), dry_sums[-1]))
        restores.append(max(0.0, earlier.run_seconds + later.run_seconds - whole.run_seconds))
    sums.append(max(whole.run_seconds, sums[-1]))
    dry_sums.append(max(_dry(whole), dry_sums[-1]))
    return _Ruler((whole.segment.first, *used), tuple(sums), tuple(dry_sums), tuple(restores), stride == 1)


def _dry(cost: SegmentCost) -> float:
    return max(0.0, cost.run_seconds - cost.read_seconds)


def _piece_cost(piece: Segment, whole: SegmentCost, cutting: Cutting) -> SegmentCost:
    """What a piece costs; its rank is the whole's."""
    if whole.known:
        return replace(cutting.cost(piece), rank=whole.rank)
    part, all_ = (segment.last - (segment.restore or 0) for segment in (piece, whole.segment))
    return replace(whole, segment=piece, run_seconds=whole.run_seconds * part / all_)


@dataclass(frozen=True, slots=True)
class _VersionStrip:
    """A version's segments one after the other, as one strip of atoms."""

    costs: tuple[SegmentCost, ...]
    ends: tuple[int, ...]  # atoms up to the end of each segment
    points: tuple[int, ...]  # epoch that each atom begins with
    strip: filling.Strip
    dry: tuple[float, ...]  # seconds of each atom without reading


def _rows(costs: Iterable[SegmentCost], rulers: Mapping[Segment, _Ruler]) -> list[_VersionStrip]:
    versions: dict[str, list[SegmentCost]] = {}
    for c in costs:
        versions.setdefault(c.segment.version, []).append(c)
    return [_row(sorted(versions[version], key=_by_epoch), rulers) for version in sorted(versions)]


def _row(costs: Sequence[SegmentCost], rulers: Mapping[Segment, _Ruler]) -> _VersionStrip:
    sums, restores, points = [0.0], list[float](), list[int]()
    ends, dry = list[int](), list[float]()
    for c in costs:
        ruler = rulers.get(c.segment) or _Ruler((c.segment.first,), (0.0, c.run_seconds), (0.0, _dry(c)), (0.0,), True)
        before = sums[-1]
        sums += [before + seconds for seconds in ruler.sums[1:]]
        dry += (after - before for before, after in pairwise(ruler.dry_sums))
        restores += ruler.restores
        points += ruler.points
        ends.append(len(points))
    setup = max(c.setup_seconds for c in costs)
    strip = filling.Strip(setup, sums, restores, costs[0].segment.version)
    return _VersionStrip(tuple(costs), tuple(ends), tuple(points), strip, tuple(dry))


def _by_epoch(cost: SegmentCost) -> tuple[bool, str]:
    return cost.segment.operator is Operator.DP, cost.segment.id


class _Pieces:
    """Stretches of rows on workers -> pieces as segments, and back to whole segments where neighbours meet."""

    def __init__(
        self, rows: Sequence[_VersionStrip], filled: Sequence[Sequence[filling.Stretch]], cutting: Cutting
    ) -> None:
        self.cutting = cutting
        self.wholes: dict[Segment, SegmentCost] = {}  # of each piece
        self.costs: list[SegmentCost] = []
        self.workers: list[int] = []
        cuts: dict[Segment, set[int]] = {}
        places: dict[tuple[Segment, int], int] = {}  # worker of the piece that begins with an epoch
        for worker, stretches in enumerate(filled):
            for index, begin, end in stretches:
                row = rows[index]
                number = bisect_left(row.ends, begin + 1)
                while begin < end:
                    segment, until = row.costs[number].segment, min(end, row.ends[number])
                    places[segment, row.points[begin]] = worker
                    if row.points[begin] != segment.first:
                        cuts.setdefault(segment, set()).add(row.points[begin])
                    begin, number = until, number + 1
        for row in rows:
            for whole in row.costs:
                for piece in self._pieces(whole, sorted(cuts.get(whole.segment, ()))):
                    self.costs.append(piece)
                    self.workers.append(places[whole.segment, piece.segment.first])
                    self.wholes[piece.segment] = whole

    def _pieces(self, whole: SegmentCost, cuts: Sequence[int]) -> list[SegmentCost]:
        if not cuts:
            return [whole]
        return [_piece_cost(piece, whole, self.cutting) for piece in self.cutting.cut(whole.segment, cuts)]

    def merged(self, assignments: Iterable[Iterable[SegmentCost]]) -> _Pieces:
        """These pieces, with every two neighbours that are on one worker made one."""
        places = {c.segment: worker for worker, assignment in enumerate(assignments) for c in assignment}
        merged = _Pieces((), (), self.cutting)
        cuts: dict[Segment, dict[int, int]] = {}  # whole segment -> first epoch of a piece -> its worker
        for c in self.costs:
            whole = self.wholes[c.segment].segment
            begun = cuts.setdefault(whole, {})
            worker = places[c.segment]
            if not begun or begun[next(reversed(begun))] != worker:
                begun[c.segment.first] = worker
        done: set[Segment] = set()
        for c in self.costs:
            whole_cost = self.wholes[c.segment]
            if whole_cost.segment in done:
                continue
            done.add(whole_cost.segment)
            begun = cuts[whole_cost.segment]
            for piece, worker in zip(self._pieces(whole_cost, list(begun)[1:]), begun.values(), strict=True):
                merged.costs.append(piece)
                merged.workers.append(worker)
                merged.wholes[piece.segment] = whole_cost
        return merged

    def bins(self, slots: Sequence[Slot]) -> Bins:
        bins = Bins(JobColumns(self.costs), slots)
        for job, worker in enumerate(self.workers):
            bins.add(worker, job)
        return bins


def _searched(pieces: _Pieces, bound: float, workers: Workers) -> Schedule:
    """The pieces as they are, or placed better if they are few; neighbours on one worker are one segment."""
    slots = slots_of(workers)
    pieces = pieces.merged(_assignments(pieces.bins(slots)))
    bins = pieces.bins(slots)
    better = search(bins, bound)
    return schedule_of(bins if better is bins else pieces.merged(_assignments(better)).bins(slots), bound, workers)


def _finest(rows: Sequence[_VersionStrip], cutting: Cutting, bound: float, workers: Workers) -> Schedule:
    """Everything cut everywhere and packed; then what stays together is one segment again."""
    everywhere = [(index, atom, atom + 1) for index, row in enumerate(rows) for atom in range(row.strip.atoms)]
    pieces = _Pieces(rows, [everywhere], cutting)
    packed = pack(pieces.costs, workers)
    return schedule_of(pieces.merged(packed.assignments).bins(slots_of(workers)), bound, workers)


def _assignments(bins: Bins) -> list[list[SegmentCost]]:
    return [[bins.work.costs[job] for job in jobs] for jobs in bins.jobs]


def _demands(
    costs: Sequence[SegmentCost], rulers: Mapping[Segment, _Ruler], slots: Sequence[Slot]
) -> list[bounds.Demand]:
    """What versions need however they are cut at the points. Needs all points: with some left out pieces could be
    shorter than the atoms, so those versions count as dividable."""
    if not all(ruler.every for ruler in rulers.values()):
        return []
    warm, held = _affine(slots)
    demands = []
    for row in _rows(costs, rulers):
        strip = row.strip
        if strip.version in held:
            demands.append(bounds.Demand(0.0 if strip.version in warm else strip.setup_seconds, sorted(row.dry)))
            continue
        sizes = sorted(after - before for before, after in pairwise(strip.sums))
        restores = [seconds for seconds in strip.restores if seconds > 0]
        setup = 0.0 if strip.version in warm else strip.setup_seconds
        demands.append(bounds.Demand(setup, sizes, len(row.costs), min(restores, default=0.0)))
    return demands


def _least_work(costs: Iterable[SegmentCost], slots: Sequence[Slot]) -> float:
    """Seconds of all runs and one set-up per version; cutting only adds to them."""
    warm, held = _affine(slots)
    setups: dict[str, float] = {}
    runs = 0.0
    for c in costs:
        version = c.segment.version
        runs += c.run_seconds - (c.read_seconds if version in held else 0.0)
        setups[version] = max(setups.get(version, 0.0), 0.0 if version in warm else c.setup_seconds)
    return runs + sum(setups.values())


def _affine(slots: Sequence[Slot]) -> tuple[set[str], set[str]]:
    """Versions that some worker has warm, and of which some worker holds the checkpoints."""
    return {v for slot in slots for v in slot.warm}, {v for slot in slots for v in slot.held}

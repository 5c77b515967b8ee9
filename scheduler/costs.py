"""What a segment costs: recorded profile -> seconds, corrected online (paper, section 4.3.2).

Pure. A recorded run measures all that its replay does again, so an estimate is a sum of what was measured:

    operator      set-up               run
    DP            process to loop      (final state + suffix) if the suffix is wanted
    DP*           process to loop      every epoch, and the suffix if wanted
    DP_i inner    process to loop      start state + every epoch from there to the last wanted one
    DP_i outer    process to loop      start state + (head + nested loop's exit state + tail) of the same epochs
    DP_i end      process to loop      the state at the end of every wanted epoch

Set-up is paid once per (version, worker), the run once per segment. What no record can tell is the hindsight
statement's own cost: `Correction` learns it from the first segments that come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Operator,
    Point,
    Profile,
    Segment,
    SegmentCost,
    SegmentReport,
    Variant,
)

_TELLING_SECONDS = 0.1  # estimates below this are mostly overhead, which tells nothing of other segments
RestoreBytes = Mapping[tuple[int, Point], int]  # by epoch and point


def restore_bytes(checkpoints: Iterable[Checkpoint]) -> dict[tuple[int, Point], int]:
    """Bytes to read for each state of one version. Of several checkpoints of one place the largest counts."""
    sizes: dict[tuple[int, Point], int] = {}
    for c in checkpoints:
        sizes[c.epoch, c.point] = max(c.bytes, sizes.get((c.epoch, c.point), 0))
    return sizes


def segment_cost(
    segment: Segment,
    profile: Profile,
    sizes: RestoreBytes,
    bandwidth_bytes_per_second: float,
    spawn_seconds: float,
) -> SegmentCost:
    """Estimated seconds of a segment.

    `spawn_seconds` is what starting a replay process takes beyond what the record did (fetching the source, forking).
    An epoch that was not measured (a crashed run) counts as the median of the measured ones; the first epoch warms
    caches up and is left out of that median unless it is all there is. `known` is False when seconds are needed of
    which nothing was measured; they are then 0, see `fill_unknown`. Raises ValueError for a bandwidth that is not
    positive.
    """
    if not bandwidth_bytes_per_second > 0:
        raise ValueError(f"bandwidth is {bandwidth_bytes_per_second} bytes per second; it must be positive")
    epochs = _epochs_run(segment)
    times = _epoch_times(profile)
    outer = segment.variant is Variant.OUTER
    run = sum(t.head_seconds + t.tail_seconds if outer else t.seconds for t in map(times, epochs))
    run += profile.suffix_seconds if segment.suffix else 0.0
    run += _bytes_restored(segment, sizes) / bandwidth_bytes_per_second
    known = bool(profile.epochs) or (not epochs and profile.setup_seconds > 0)
    return SegmentCost(segment, profile.setup_seconds + spawn_seconds, run, known)


def fill_unknown(costs: Sequence[SegmentCost]) -> tuple[SegmentCost, ...]:
    """Gives segments of unknown cost a stand-in, so that they are spread over workers like any other work.

    It is the median seconds per epoch of the known segments (1 second when none is known: then only the proportions
    matter) times their epochs. They stay marked as not known.
    """
    rates = [c.run_seconds / len(_epochs_run(c.segment)) for c in costs if c.known and _epochs_run(c.segment)]
    rate = median(rates) if rates else 1.0
    return tuple(
        c if c.known else replace(c, run_seconds=c.run_seconds + rate * max(1, len(_epochs_run(c.segment))))
        for c in costs
    )


@dataclass(frozen=True, slots=True)
class Correction:
    """Measured against estimated run seconds so far, a fold over reports.

    The sums weigh long segments more than short ones, whose measurements are mostly noise. Unknown costs (stand-ins)
    say something of their own version, and nothing of others.
    """

    measured_seconds: float = 0.0
    estimated_seconds: float = 0.0
    versions: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # version -> (measured, estimated)

    def observe(self, cost: SegmentCost, report: SegmentReport) -> Correction:
        """The correction with one more report in it. `cost` is the original estimate of the reported segment."""
        if cost.run_seconds <= _TELLING_SECONDS:
            return self
        version = cost.segment.version
        measured, estimated = self.versions.get(version, (0.0, 0.0))
        sums = (measured + report.run_seconds, estimated + cost.run_seconds)
        versions = {**self.versions, version: sums}
        if not cost.known:
            return replace(self, versions=versions)
        return Correction(
            self.measured_seconds + report.run_seconds, self.estimated_seconds + cost.run_seconds, versions
        )

    def ratio(self, version: str) -> float:
        """Factor for the run seconds of a version: its own if it has reports, else all versions', else 1."""
        measured, estimated = self.versions.get(version, (self.measured_seconds, self.estimated_seconds))
        return measured / estimated if estimated > 0 else 1.0


def correct(costs: Iterable[SegmentCost], reports: Iterable[SegmentReport]) -> tuple[SegmentCost, ...]:
    """Costs scaled by what the reports say. Costs and reports meet by segment; other reports are ignored.

    Always give the original estimates: correcting corrected ones would count the same reports twice.
    """
    estimates = {cost.segment: cost for cost in costs}
    correction = Correction()
    for report in reports:
        if report.segment in estimates:
            correction = correction.observe(estimates[report.segment], report)
    return tuple(
        replace(cost, run_seconds=cost.run_seconds * correction.ratio(segment.version))
        for segment, cost in estimates.items()
    )


def _epochs_run(segment: Segment) -> range:
    """Epochs that are run, wanted or to warm up."""
    if segment.operator is Operator.DP or segment.variant is Variant.END:
        return range(0)
    begin = 1 if segment.operator is Operator.DP_STAR else (segment.restore or 0) + 1
    return range(begin, segment.last + 1)


def _epoch_times(profile: Profile) -> Callable[[int], EpochTimes]:
    """Seconds of any epoch: as measured, else the typical ones."""
    measured = {times.epoch: times for times in profile.epochs}
    later = [times for times in profile.epochs if times.epoch != 1] or list(profile.epochs)
    typical = (
        median(times.head_seconds for times in later) if later else 0.0,
        median(times.inner_seconds for times in later) if later else 0.0,
        median(times.tail_seconds for times in later) if later else 0.0,
    )
    return lambda epoch: measured.get(epoch) or EpochTimes(epoch, *typical)


def _bytes_restored(segment: Segment, sizes: RestoreBytes) -> float:
    """Bytes of all states that the segment restores; a state of unknown size counts as the median of its kind."""
    places = [(segment.restore, Point.EPOCH_END)] if segment.restore is not None else []
    if segment.variant is Variant.END:
        places = [(epoch, Point.EPOCH_END) for epoch in range(segment.first, segment.last + 1)]
    if segment.operator is Operator.DP_I and segment.variant is Variant.OUTER:
        places += [(epoch, Point.NESTED_EXIT) for epoch in _epochs_run(segment)]
    if all(place in sizes for place in places):
        return float(sum(sizes[place] for place in places))
    typical = {point: _typical_bytes(sizes, point) for point in Point}
    return float(sum(sizes.get(place, typical[place[1]]) for place in places))


def _typical_bytes(sizes: RestoreBytes, point: Point) -> float:
    known = [size for (_, p), size in sizes.items() if p is point]
    return median(known) if known else 0.0

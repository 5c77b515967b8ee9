"""What a segment has to do: recorded profile -> seconds as recorded, and bytes to read (paper, section 4.3.2).

Pure. A recorded run measures all that its replay does again, so the work of a segment is a sum of what was measured:

    operator      set-up               run
    DP            imports' end to loop (final state + suffix) if the suffix is wanted
    DP*           imports' end to loop every epoch, and the suffix if wanted
    DP_i inner    imports' end to loop start state + every epoch from there to the last wanted one
    DP_i outer    imports' end to loop start state + (head + nested loop's exit state + tail) of the same epochs
    DP_i end      imports' end to loop the state at the end of every wanted epoch

Set-up is paid once per (version, worker), the run once per segment. Imports are a warm server's, once per worker. What
a first epoch takes longer than later ones (caches, threads) is paid by whichever epoch a process runs first, so it
belongs to the set-up. An epoch of which the rest is not wanted is left early: the last of a segment, and those in
`RecordedVersion.leave`, behind which the next epoch begins with a recorded state.

What no record can tell (files and forks, the machine, the statement's own cost) is `calibration`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median, stdev

from flor_ray.records import Checkpoint, EpochTimes, Operator, Point, Profile, Region, Segment, Variant

RestoreBytes = Mapping[tuple[int, Point], int]  # by epoch and point

NOISE = 0.1  # standard deviation of an epoch's seconds when it runs again, as a share of them
_UNMEASURED = 0.5  # that share for a set-up of which nobody knows how much of it was imports
# What a statement that was added takes, with what keeps it from disturbing the run: each time, and by bytes of state.
_STATEMENT_SECONDS = 3e-4
_STATEMENT_SECONDS_PER_BYTE = 1.5e-10
_ORDER = (Region.HEAD, Region.INNER, Region.TAIL)
# A replayer compares the state at a segment's end with the record where reading it costs little beside the segment.
_COMPARE_BYTES_PER_SECOND = 200e6
_COMPARE_SHARE = 0.05
_COMPARE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """What its recorded run, and the statements added since, tell of a version before it is replayed."""

    profile: Profile
    sizes: RestoreBytes = field(default_factory=dict)
    kind: str = ""  # of worker that it was recorded on: `hardware.kind`
    ends: Mapping[str, Region] = field(default_factory=dict)  # feature -> part of an epoch after which it can be left
    leave: frozenset[int] = (
        frozenset()
    )  # epochs that are left there although the next one is wanted: the planner's choice
    regions: Mapping[str, Region] = field(default_factory=dict)  # of the statements that were added, by feature


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """What a segment does, in seconds of the recorded run. Spreads are standard deviations."""

    setup_seconds: float = 0.0  # the script's own, without imports
    setup_spread: float = 0.0
    run_seconds: float = 0.0  # epochs and suffix, without reading states
    run_spread: float = 0.0
    epochs: int = 0  # that are run or restored
    reads: int = 0  # states
    read_bytes: int = 0
    known: bool = True  # False: there are epochs, and nothing was measured that could tell their seconds (they are 0)


def restore_bytes(checkpoints: Iterable[Checkpoint]) -> dict[tuple[int, Point], int]:
    """Bytes to read for each state of one version. Of several checkpoints of one place the largest counts."""
    sizes: dict[tuple[int, Point], int] = {}
    for c in checkpoints:
        sizes[c.epoch, c.point] = max(c.bytes, sizes.get((c.epoch, c.point), 0))
    return sizes


def work(segment: Segment, recorded: RecordedVersion) -> SegmentWork:
    """What a segment does again of the recorded run.

    An epoch that was not measured (a crashed run) counts as the median of the measured ones; the first epoch is left
    out of that median unless it is all there is.
    """
    profile = recorded.profile
    own = max(0.0, profile.setup_seconds - profile.import_seconds)
    blurred = own * (NOISE if profile.import_seconds > 0 else _UNMEASURED)
    if segment.operator is Operator.DP_STAR and not profile.epochs and not segment.last:  # it has no main loop
        return SegmentWork(run_seconds=own + profile.suffix_seconds, run_spread=blurred, known=own > 0)
    epochs = epochs_run(segment)
    until = _left_after(segment, recorded.ends)
    measured, typical, spread = _measured(profile, segment.variant)
    warm_up = _warm_up(profile, typical, segment.variant) if epochs else 0.0
    run, variance = 0.0, 0.0
    for epoch in epochs:
        part = _part(measured(epoch), segment.variant, until if _is_left(segment, recorded, epoch, until) else None)
        part -= warm_up if epoch == 1 else 0.0
        run += max(0.0, part)
        variance += (NOISE * part) ** 2 + (0.0 if measured(epoch) is not typical else spread**2)
    added = _added(segment, recorded) * len(epochs)
    run += added + (profile.suffix_seconds if segment.suffix else 0.0)
    variance += (added / 2) ** 2
    variance += (NOISE * profile.suffix_seconds) ** 2 if segment.suffix else 0.0
    places = _read(segment, recorded, until, run)
    return SegmentWork(
        setup_seconds=own + warm_up,
        setup_spread=blurred,
        run_seconds=run,
        run_spread=math.sqrt(variance),
        epochs=segment.last - segment.first + 1 if segment.variant is Variant.END else len(epochs),
        reads=len(places),
        read_bytes=_bytes(places, recorded.sizes),
        known=bool(profile.epochs) or (not epochs and profile.setup_seconds > 0),
    )


def typical_epoch_seconds(profile: Profile) -> float | None:
    """Median seconds of the epochs after the first (or of that, if it is all there is); None if none was measured."""
    typical = _measured(profile, Variant.INNER)[1]
    return typical.seconds if profile.epochs else None


def epochs_run(segment: Segment) -> range:
    """Epochs that a segment runs, because they are wanted or on the way to those; none if it only restores states."""
    if segment.operator is Operator.DP or segment.variant is Variant.END:
        return range(0)
    begin = 1 if segment.operator is Operator.DP_STAR else (segment.restore or 0) + 1
    return range(begin, segment.last + 1)


def _part(times: EpochTimes, variant: Variant, until: Region | None) -> float:
    """Seconds of an epoch that is left after a part of it (None: after all)."""
    inner = 0.0 if variant is Variant.OUTER else times.inner_seconds
    if until is Region.HEAD:
        return times.head_seconds
    return times.head_seconds + inner + (0.0 if until is Region.INNER else times.tail_seconds)


def _left_after(segment: Segment, ends: Mapping[str, Region]) -> Region | None:
    """The part of an epoch after which nothing more is wanted of it, if the replay can tell."""
    if segment.operator is not Operator.DP_I or not segment.names or any(name not in ends for name in segment.names):
        return None
    return max((ends[name] for name in segment.names), key=_ORDER.index)


def _is_left(segment: Segment, recorded: RecordedVersion, epoch: int, until: Region | None) -> bool:
    return until is not None and (epoch == segment.last or (epoch >= segment.first and epoch in recorded.leave))


def _added(segment: Segment, recorded: RecordedVersion) -> float:
    """Seconds of an epoch for the statements that were added. Those in one place run together."""
    regions = {recorded.regions.get(name, Region.PREFIX) for name in segment.names}
    inner = recorded.profile.steps if Region.INNER in regions else 0.0
    size = _typical_bytes(recorded.sizes, Point.EPOCH_END)
    each = _STATEMENT_SECONDS + _STATEMENT_SECONDS_PER_BYTE * size
    return each * (inner + (1 if regions & {Region.HEAD, Region.TAIL} else 0))


def _measured(profile: Profile, variant: Variant) -> tuple[Callable[[int], EpochTimes], EpochTimes, float]:
    """Seconds of any epoch (as measured, else the typical ones), the typical ones, and how far epochs are from them."""
    measured = {times.epoch: times for times in profile.epochs}
    later = [times for times in profile.epochs if times.epoch != 1] or list(profile.epochs)
    typical = EpochTimes(0, 0.0, 0.0, 0.0)
    if later:
        typical = EpochTimes(
            0,
            median(times.head_seconds for times in later),
            median(times.inner_seconds for times in later),
            median(times.tail_seconds for times in later),
        )
    parts = [_part(times, variant, None) for times in later]
    return (
        lambda epoch: measured.get(epoch, typical),
        typical,
        stdev(parts) if len(parts) > 1 else 0.3 * sum(parts),
    )


def _warm_up(profile: Profile, typical: EpochTimes, variant: Variant) -> float:
    first = next((times for times in profile.epochs if times.epoch == 1), None)
    if first is None or len(profile.epochs) < 2:
        return 0.0
    return max(0.0, _part(first, variant, None) - _part(typical, variant, None))


def _read(
    segment: Segment, recorded: RecordedVersion, until: Region | None, run_seconds: float
) -> list[tuple[int, Point]]:
    """States that are read: to begin with, in between, and to be compared with what the segment comes to."""
    if segment.variant is Variant.END and segment.operator is Operator.DP_I:
        return [(epoch, Point.EPOCH_END) for epoch in range(segment.first, segment.last + 1)]
    places = [(segment.restore, Point.EPOCH_END)] if segment.restore is not None else []
    if segment.operator is not Operator.DP_I:
        return places
    for epoch in epochs_run(segment):
        left = _is_left(segment, recorded, epoch, until)
        if segment.variant is Variant.OUTER and not (left and until is Region.HEAD):
            places.append((epoch, Point.NESTED_EXIT))
        if left and epoch < segment.last:
            places.append((epoch, Point.EPOCH_END))
    compared = [] if segment.variant is Variant.OUTER or until is Region.HEAD else [Point.NESTED_EXIT]
    compared += [Point.EPOCH_END] if until is None else []
    most = _COMPARE_BYTES_PER_SECOND * max(_COMPARE_SHARE * run_seconds, _COMPARE_SECONDS)
    places += [(segment.last, point) for point in compared if recorded.sizes.get((segment.last, point), most) < most]
    return places


def _bytes(places: Iterable[tuple[int, Point]], sizes: RestoreBytes) -> int:
    """A state of unknown size counts as the median of its kind."""
    total = 0
    for place in places:
        total += sizes[place] if place in sizes else _typical_bytes(sizes, place[1])
    return total


def _typical_bytes(sizes: RestoreBytes, point: Point) -> int:
    known = [size for (_, p), size in sizes.items() if p is point]
    return int(median(known)) if known else 0

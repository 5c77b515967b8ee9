"""The figures of a plan: what each segment and version should take, and all of it, with intervals. Pure.

Worker time is GPU time where each worker has a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

from flor_ray.records import SegmentCost, Stint
from flor_ray.reports import timelines
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.remaining import Expectation, time_left

_SURE = 1.645  # standard deviations on either side: nine of ten cases, as `CostModel.interval` has it


Interval = Callable[[Iterable[SegmentCost]], tuple[float, float]]


def of_spreads(costs: Iterable[SegmentCost]) -> tuple[float, float]:
    """The interval of segments that one worker does, if they are in doubt by nothing but their own spreads."""
    costs = list(costs)
    setups = {c.segment.version: c for c in costs}.values()
    seconds = sum(c.setup_seconds for c in setups) + sum(c.run_seconds for c in costs)
    reach = _SURE * sqrt(sum(c.setup_spread**2 for c in setups) + sum(c.run_spread**2 for c in costs))
    return max(0.0, seconds - reach), seconds + reach


@dataclass(frozen=True, slots=True)
class Basis:
    """What the figures of a plan rest on."""

    interval: Interval = of_spreads  # of what one worker does, each version set up once; such as `CostModel.interval`
    kind: str = ""  # worker class, such as the GPU's type; "" if not known
    calibrated: bool | None = None  # whether anything was measured on that class; None: not known
    gpus: bool = True  # whether each worker has a GPU, so that worker time is GPU time
    price_per_gpu_hour: float | None = None  # of an hour of worker time, in the user's currency
    costs: tuple[SegmentCost, ...] = ()  # of whole segments, before any was cut: what a trade-off table needs
    cutting: Cutting = field(default_factory=Cutting)
    expected: Expectation | None = None  # of all of it, with the start of workers; None: nothing is known of that

    @property
    def hours(self) -> str:
        return "GPU-hours" if self.gpus else "worker-hours"


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """One segment of a plan, or several of one version together."""

    version: str
    run: str
    features: tuple[str, ...]
    regions: tuple[str, ...]  # of the features' statements
    costs: tuple[SegmentCost, ...]
    stints: tuple[Stint, ...]  # of the same segments, as planned
    low_seconds: float  # of worker time
    high_seconds: float

    @property
    def pairs(self) -> Iterable[tuple[SegmentCost, Stint]]:
        return zip(self.costs, self.stints, strict=True)

    @property
    def setup_seconds(self) -> float:
        """Paid here; a segment whose version has been set up on its worker pays none."""
        return sum(stint.setup_seconds for stint in self.stints)

    @property
    def run_seconds(self) -> float:
        return self.seconds - self.setup_seconds

    @property
    def seconds(self) -> float:
        return sum(stint.ended - stint.began for stint in self.stints)

    @property
    def read_bytes(self) -> int:
        return sum(c.read_bytes for c in self.costs)

    @property
    def known(self) -> bool:
        return all(c.known for c in self.costs)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a whole plan comes to."""

    segments: int
    workers: int  # that have something to do
    ready_seconds: float  # of the makespan, before workers run
    makespan_seconds: float
    makespan_low_seconds: float
    makespan_high_seconds: float
    lower_bound_seconds: float
    gpu_seconds: float  # worker time
    gpu_low_seconds: float
    gpu_high_seconds: float
    read_bytes: int
    price: float | None  # of the worker time

    @property
    def ratio(self) -> float:
        """Of the makespan to what no schedule can beat, both without what passes before workers run."""
        bound = self.lower_bound_seconds - self.ready_seconds
        return (self.makespan_seconds - self.ready_seconds) / bound if bound > 0 else 1.0


def segment_rows(
    schedule: Schedule,
    runs: Mapping[str, str],
    regions: Mapping[tuple[str, str], str],
    names: Sequence[str],
    interval: Interval = of_spreads,
) -> list[ForecastRow]:
    """A row per segment, in the schedule's order. `runs` are by version, `regions` by version and feature."""
    costs = [cost for assignment in schedule.assignments for cost in assignment]
    found = []
    for cost, stint in zip(costs, timelines.planned(schedule).stints, strict=True):
        version = cost.segment.version
        features = cost.segment.names or tuple(name for name in names if (version, name) in regions)
        own = (str(regions[version, name]) for name in features if (version, name) in regions)
        found.append(
            _row(version, runs.get(version, ""), features, tuple(dict.fromkeys(own)), (cost,), (stint,), interval)
        )
    return found


def version_rows(
    rows: Iterable[ForecastRow], order: Iterable[str], interval: Interval = of_spreads
) -> list[ForecastRow]:
    """The rows of each version together, versions in this order."""
    groups: dict[str, list[ForecastRow]] = {version: [] for version in order}
    for row in rows:
        groups.setdefault(row.version, []).append(row)
    found = []
    for version, group in groups.items():
        if group:
            pairs = [(row.costs[0], row.stints[0]) for row in group]
            pairs.sort(key=lambda pair: pair[0].segment)
            costs, stints = zip(*pairs, strict=True)
            features = tuple(dict.fromkeys(name for row in group for name in row.features))
            regions = tuple(dict.fromkeys(region for row in group for region in row.regions))
            found.append(_row(version, group[0].run, features, regions, costs, stints, interval))
    return found


def totals(rows: Sequence[ForecastRow], schedule: Schedule, basis: Basis) -> Totals:
    """Of the rows of all segments."""
    work = sum(row.seconds for row in rows)
    ends: dict[str, float] = {}
    for row in rows:
        for stint in row.stints:
            ends[stint.worker] = max(stint.ended, ends.get(stint.worker, 0.0))
    last = max(ends, key=ends.__getitem__, default="")
    critical = [row for row in rows if row.stints[0].worker == last]
    planned = max((slot.ready_seconds for slot in schedule.slots), default=0.0)  # for imports
    run, bound = schedule.makespan_seconds - planned, max(0.0, schedule.lower_bound_seconds - planned)
    ready = planned if basis.expected is None else basis.expected.ready_seconds
    interval = _bounds(schedule.makespan_seconds, critical, basis.interval)
    if basis.expected is not None:
        interval = time_left(basis.expected.outlook()).interval
    price = basis.price_per_gpu_hour
    return Totals(
        len(rows),
        len(ends),
        ready,
        ready + run,
        *interval,
        ready + bound,
        work,
        *_bounds(work, rows, basis.interval),
        sum(row.read_bytes for row in rows),
        None if price is None else price * work / 3600,
    )


def _row(
    version: str,
    run: str,
    features: tuple[str, ...],
    regions: tuple[str, ...],
    costs: tuple[SegmentCost, ...],
    stints: tuple[Stint, ...],
    interval: Interval,
) -> ForecastRow:
    row = ForecastRow(version, run, features, regions, costs, stints, 0.0, 0.0)
    low, high = _bounds(row.seconds, [row], interval)
    return replace(row, low_seconds=low, high_seconds=high)


def _bounds(seconds: float, rows: Iterable[ForecastRow], interval: Interval) -> tuple[float, float]:
    """The interval of what these rows take: that of one worker which does all of them, in proportion, since on several
    workers some versions are set up more than once."""
    pairs = sorted((pair for row in rows for pair in row.pairs), key=lambda pair: pair[1].setup_seconds)
    costs = [c if s.setup_seconds > 0 else replace(c, setup_seconds=0.0, setup_spread=0.0) for c, s in pairs]
    setups = {c.segment.version: c.setup_seconds for c in costs}  # the last one counts: one that is paid, if any is
    alone = sum(setups.values()) + sum(c.run_seconds for c in costs)
    low, high = interval(costs)
    return (low * seconds / alone, high * seconds / alone) if alone > 0 else (seconds, seconds)

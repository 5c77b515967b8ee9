"""Work -> seconds on a class of workers, learned from the segments that come back. Pure: every change is a new value.

    seconds of a segment = set-up: prepare + the script's own x slowness
                         + run:    overhead + reads x latency + bytes / bandwidth + epochs and suffix x ratio
    ratio                = machine(kind) x statement(operator) x version

A `Calibration` is what a class of workers takes for what no record knows; it outlives a replay. The ratio is of one
replay: each of its factors is known to some width before anything has run, and each report moves every factor by the
share that its width has in what the report is off (a Kalman filter over logarithms). A version that has reports is
estimated by them and by what is common, each weighed by how sure it is. So a first report tells much of all versions,
later ones tell of their own, and a short segment, which is mostly overhead, tells nearly nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median

from flor_ray.records import Operator, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.costs import NOISE, RecordedVersion, SegmentWork, typical_epoch_seconds, work
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.remaining import Expectation

_TELLING_SECONDS = 0.1  # shorter computing is mostly overhead, which tells nothing of other segments
_NINETY = 1.645  # standard deviations on either side, that hold 90 %
_SLOWEST_LEARNING = 0.05  # weight of a new measurement, however many there were
_OVERHEAD_NOISE = 0.05  # seconds

# How far the factors of the ratio may be from 1 before anything has run: standard deviations of their logarithms.
_SAME_MACHINE = 0.05
_OTHER_MACHINE = 0.5
_STATEMENT = 0.1
_VERSION = 0.05
_STAND_IN = 1.5
_SURELY = 0.02  # no factor is ever known better: machines change

_FORGETTING = 0.9  # what a version's report weighs when the next one has come
_HISTORY = 64  # segments that are remembered
_RECENT = 3  # of these are compared with those before
_DRIFT = 1.25  # times longer or shorter


@dataclass(frozen=True, slots=True)
class Learned:
    """A measured quantity: its mean, its standard deviation, and how many measurements are in it."""

    value: float
    spread: float
    count: int = 0

    def learn(self, measured: float, weight: float = 1.0) -> Learned:
        """This quantity with one more measurement; `weight` is at most 1. What is far off counts as three standard
        deviations off, unless nothing was measured before: then the value is only a guess."""
        if not (math.isfinite(measured) and weight > 0):
            return self
        if self.count == 0 and weight < 0.1:
            return replace(self, value=self.value + weight * (measured - self.value))
        if self.count == 0:
            spread = max(self.spread * 0.5, abs(measured - self.value) * 0.5) if weight >= 0.5 else self.spread
            return Learned(self.value + weight * (measured - self.value), spread, 1)
        reach = 3 * max(self.spread, 0.1 * abs(self.value))
        off = max(-reach, min(reach, measured - self.value))
        share = weight * max(1 / (self.count + 1), _SLOWEST_LEARNING)
        variance = (1 - share) * (self.spread**2 + share * off**2)
        return Learned(self.value + share * off, math.sqrt(variance), self.count + 1)


# From when workers are wanted until the first of them runs, imports apart. Nothing is measured of a machine before its
# first replay; these are seconds of one with two cores, and of one that has something else to do.
_STARTS = {
    "local": Learned(2.0, 1.5),
    "ray": Learned(4.0, 3.0),
    "new ray": Learned(15.0, 5.0),
    "new nodes": Learned(120.0, 90.0),  # of a cloud
}
_ANY_START = Learned(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a class of workers takes for what is in no record. The defaults are a usual machine's, and wide."""

    prepare: Learned = Learned(0.15, 0.15)  # seconds per set-up: files written, process forked
    imports: Learned = Learned(0.9, 0.3)  # seconds of a server's start per second of recorded imports
    latency: Learned = Learned(0.005, 0.01)  # seconds per state that is read
    bandwidth: Learned = Learned(300e6, 200e6)  # bytes per second
    overhead: Learned = Learned(0.02, 0.02)  # seconds per segment: comparing, writing
    epoch_overhead: Learned = Learned(0.002, 0.004)  # seconds per epoch
    slowness: Mapping[str, Learned] = field(default_factory=dict)  # by kind that recorded: seconds per recorded second
    starts: Mapping[str, Learned] = field(default_factory=dict)  # by how workers are started; see `start`
    off: Learned = Learned(0.2, 0.15, 2)  # square of the logarithm of a replay's true over estimated seconds

    @property
    def measured(self) -> bool:
        """Whether anything of it was measured, or all of it is a guess."""
        return any(learned.count for learned in (self.prepare, self.latency, self.bandwidth, self.overhead))

    def ratio(self, recorded_on: str, here: str) -> Learned:
        """Seconds here per second on the recording class: 1, and wide, where nobody knows."""
        if recorded_on == here or not recorded_on or not here:
            return Learned(1.0, _SAME_MACHINE)
        return self.slowness.get(recorded_on, Learned(1.0, _OTHER_MACHINE))

    def start(self, way: str) -> Learned:
        """Seconds until the first worker runs, imports apart. `way`: "local" for processes of this machine, "ray" for a
        cluster that is there, "new ray" for one that is started first, "new nodes" for one that starts its nodes."""
        return self.starts.get(way) or _STARTS.get(way, _ANY_START)

    def read_seconds(self, reads: int, read_bytes: int) -> float:
        """Seconds to read and restore so many states, which have so many bytes together."""
        return reads * self.latency.value + read_bytes / self.bandwidth.value

    def observe(self, found: SegmentWork, report: SegmentReport, own_ratio: float) -> Calibration:
        """This calibration with one more report, on a segment of this work; `own_ratio` is its expected slowness."""
        changed = self
        if report.setup_seconds > 0:
            own = found.setup_seconds * own_ratio
            measured = max(0.01, report.setup_seconds - own)
            sure = self.prepare.spread**2 + _OVERHEAD_NOISE**2
            changed = replace(changed, prepare=self.prepare.learn(measured, sure / (sure + (NOISE * own) ** 2)))
        if found.reads and report.read_bytes > 0 and report.read_seconds > 0:
            changed = changed._read(found.reads, report.read_bytes, report.read_seconds)
        if not found.run_seconds and report.run_seconds > report.read_seconds:
            rest = report.run_seconds - report.read_seconds
            epochs = found.epochs * self.epoch_overhead.value
            changed = replace(changed, overhead=self.overhead.learn(max(0.0, rest - epochs)))
            if found.epochs > 1:
                each = max(0.0, rest - self.overhead.value) / found.epochs
                changed = replace(changed, epoch_overhead=self.epoch_overhead.learn(each))
        return changed

    def _read(self, reads: int, read_bytes: int, seconds: float) -> Calibration:
        """The time goes to latency and bandwidth in proportion to what each was thought to take."""
        in_latency = reads * self.latency.value
        share = in_latency / (in_latency + read_bytes / self.bandwidth.value)
        latency = self.latency.learn(seconds * share / reads, share)
        bandwidth = self.bandwidth.learn(read_bytes / (seconds * (1 - share)), 1 - share)
        return replace(self, latency=latency, bandwidth=bandwidth)


@dataclass(frozen=True, slots=True)
class _Factor:
    """The logarithm of a factor of the ratio: a mean, a variance, and how many reports have moved it."""

    mean: float
    variance: float
    count: int = 0

    def moved(self, innovation: float, total_variance: float) -> _Factor:
        gain = self.variance / total_variance
        variance = max(self.variance * (1 - gain), _SURELY**2)
        return _Factor(self.mean + gain * innovation, variance, self.count + 1)


@dataclass(frozen=True, slots=True)
class _OwnReports:
    """What a version's own reports on one class say: the logarithm of its ratio, and how sure that is."""

    mean: float = 0.0
    precision: float = 0.0

    def more(self, measured: float, variance: float) -> _OwnReports:
        before = self.precision * _FORGETTING
        precision = before + 1 / variance
        return _OwnReports((self.mean * before + measured / variance) / precision, precision)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A segment that came back: the logarithm of measured over expected seconds."""

    kind: str
    version: str
    ratio: float


_Key = tuple[str, str]  # of a factor: of what kind, and of what


@dataclass(frozen=True, slots=True)
class CostModel:
    """Costs of the segments of one replay, in seconds on workers of class `kind`.

    `recorded` is by version, `calibrations` by class. A version of which nothing was measured gets a stand-in: the
    median epoch of the others (1 second if there is none: then only the proportions matter).
    """

    recorded: Mapping[str, RecordedVersion]
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    kind: str = ""
    _factors: Mapping[_Key, _Factor] = field(default_factory=dict)
    _own: Mapping[_Key, Mapping[str, _OwnReports]] = field(default_factory=dict)  # of (version, statement), by kind
    _history: tuple[_Seen, ...] = ()
    _kinds: frozenset[str] = frozenset()  # whose segments have come back
    _stand_in: float = 0.0  # seconds of an epoch of which nothing is known
    _recorded_on: frozenset[str] = frozenset()
    _works: dict[Segment, SegmentWork] = field(
        default_factory=dict, compare=False, repr=False
    )  # a cache, for all its models

    def __post_init__(self) -> None:
        if not self._stand_in:
            seconds = [s for r in self.recorded.values() if (s := typical_epoch_seconds(r.profile))]
            object.__setattr__(self, "_stand_in", median(seconds) if seconds else 1.0)
            object.__setattr__(self, "_recorded_on", frozenset(r.kind for r in self.recorded.values()))

    # what it says

    def cost(self, segment: Segment) -> SegmentCost:
        """What a segment is thought to cost, by all that was learned so far. Raises KeyError for an unknown version."""
        return self._cost(segment, *self._seconds_per_recorded(segment, self._work(segment).known))

    def _cost(self, segment: Segment, machine: float, ratio: float) -> SegmentCost:
        found, calibration = self._work(segment), self._calibration(self.kind)
        read = calibration.read_seconds(found.reads, found.read_bytes)
        overhead = calibration.overhead.value + found.epochs * calibration.epoch_overhead.value
        return SegmentCost(
            segment,
            setup_seconds=calibration.prepare.value + found.setup_seconds * machine,
            run_seconds=found.run_seconds * ratio + read + overhead,
            known=found.known,
            read_seconds=read,
            read_bytes=found.read_bytes,
            setup_spread=math.hypot(calibration.prepare.spread, found.setup_spread * machine),
            run_spread=math.hypot(found.run_spread * ratio, 0.3 * read, calibration.overhead.spread),
        )

    def corrected(self, costs: Iterable[SegmentCost]) -> tuple[SegmentCost, ...]:
        """What segments are thought to cost now, from what they were thought to cost; their ranks stay."""
        seconds: dict[tuple[str, str, bool], tuple[float, float]] = {}  # which are the same for many of them
        found = []
        for before in costs:
            segment, known = before.segment, self._work(before.segment).known
            alike = segment.version, _statement(segment), known
            if alike not in seconds:
                seconds[alike] = self._seconds_per_recorded(segment, known)
            cost = self._cost(segment, *seconds[alike])
            found.append(replace(cost, rank=before.rank) if before.rank else cost)
        return tuple(found)

    def start(self, way: str) -> Learned:
        """`Calibration.start` of workers like this machine."""
        return self._calibration(self.kind).start(way)

    def expected(self, schedule: Schedule, way: str) -> Expectation:
        """What a whole replay should take if workers are started this `way` (`Calibration.start`). Its estimates are
        off as in earlier replays, and as nobody knows for a stand-in."""
        start, imports = self.start(way), self._calibration(self.kind).imports
        planned = min((slot.ready_seconds for slot in schedule.slots), default=0.0)
        costs = [cost for assignment in schedule.assignments for cost in assignment]
        seconds = sum(cost.run_seconds for cost in costs)
        unknown = sum(cost.run_seconds for cost in costs if not cost.known) / (seconds or 1.0)
        return Expectation(
            ready_seconds=start.value + planned,
            ready_spread=math.hypot(start.spread, planned * imports.spread / imports.value),
            run_seconds=schedule.makespan_seconds - planned,
            workers=sum(1 for assignment in schedule.assignments if assignment),
            spread=math.hypot(math.sqrt(self._calibration(self.kind).off.value), _STAND_IN * unknown),
        )

    def start_seconds(self) -> float:
        """Seconds that a worker takes once, before its first set-up: importing the versions' libraries."""
        imports = max((r.profile.import_seconds for r in self.recorded.values()), default=0.0)
        return self._calibration(self.kind).imports.value * imports

    def slowness(self) -> dict[str, float]:
        """By class of workers that is known: its seconds per second that `cost` estimates."""
        kinds = {self.kind, *self.calibrations}
        ours = self._slowness(self.kind)
        return {kind: self._slowness(kind) / ours for kind in sorted(kinds)}

    def interval(self, of: float | Iterable[SegmentCost]) -> tuple[float, float]:
        """The lowest and the highest seconds between which the true ones are in nine of ten cases.

        Of costs: one worker does all of it, each version set up once. Of a number: any estimate that was made of this
        model's costs, such as what remains. What costs have in common does not average out, what is their own does.
        """
        if isinstance(of, int | float):
            total, own = float(of), NOISE * float(of) / math.sqrt(max(1, len(self.recorded)))
            operators = [name for kind, name in self._factors if kind == "statement"]
        else:
            costs = list(of)
            setups = {cost.segment.version: cost for cost in costs}.values()
            total = sum(c.setup_seconds for c in setups) + sum(c.run_seconds for c in costs)
            own = math.sqrt(sum(c.setup_spread**2 for c in setups) + sum(c.run_spread**2 for c in costs))
            operators = [_statement(cost.segment) for cost in costs]
        if total <= 0:
            return 0.0, 0.0
        common = max((self._factor("statement", name).variance for name in operators), default=_STATEMENT**2)
        common += self._factor("machine", self.kind).variance
        reach = _NINETY * math.sqrt(common + (own / total) ** 2)
        return total * math.exp(-reach), total * math.exp(reach)

    def drift(self) -> str | None:
        """A sentence, if the last segments on a class of workers took longer or shorter than those before them: than
        those of their own versions, or of all if they are of several."""
        for kind in sorted(self._kinds):
            seen = [one for one in self._history if one.kind == kind]
            recent, before = seen[-_RECENT:], seen[:-_RECENT]
            own = {one.version: [b.ratio for b in before if b.version == one.version] for one in recent}
            if len(before) < _RECENT or (len(own) == 1 and not any(own.values())):
                continue
            usual = [median(own[one.version] or [b.ratio for b in before]) for one in recent]
            off = [one.ratio - was for one, was in zip(recent, usual, strict=True)]
            factor = math.exp(median(off))
            if (factor > _DRIFT and min(off) > 0) or (factor < 1 / _DRIFT and max(off) < 0):
                on = f" on {kind}" if kind else ""
                return f"The last {_RECENT} segments{on} took {factor:.1f}x as long as they would have before."
        return None

    def unknown_kinds(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """Of these classes of workers those that were never measured."""
        return tuple(kind for kind in dict.fromkeys(kinds) if not self._calibration(kind).measured)

    # what it learns

    def calibrated(self, kind: str, calibration: Calibration) -> CostModel:
        """This model with what was just measured of a class of workers."""
        return replace(self, calibrations={**self.calibrations, kind: calibration})

    def observe(self, report: SegmentReport, kind: str = "") -> CostModel:
        """This model with one more report, of the segment as it ended; `kind`: of the worker, else as the report says.

        A segment of a version that the model does not know, or that ran nothing, teaches nothing.
        """
        segment, kind = report.segment, kind or report.kind or self.kind
        if segment.version not in self.recorded or segment.operator is Operator.KNOWN:
            return self
        found, before = self._work(segment), self._calibration(kind)
        recorded_on = self.recorded[segment.version].kind
        slowness = before.ratio(recorded_on, kind)
        calibration = before
        if report.further_back:  # more has run than its segment says: that tells of its version only
            found = replace(found, known=False)
        else:
            calibration = before.observe(found, report, slowness.value * math.exp(self._machine(kind)))
        imports = self.recorded[segment.version].profile.import_seconds
        if report.start_seconds > 1 and imports > 1:
            calibration = replace(calibration, imports=calibration.imports.learn(report.start_seconds / imports))
        overhead = before.overhead.value + found.epochs * before.epoch_overhead.value
        measured = report.run_seconds - report.read_seconds - overhead
        expected = found.run_seconds * slowness.value
        changed = self
        if expected > _TELLING_SECONDS and measured > 0:
            changed = self._learn(segment, kind, found, math.log(measured / expected), expected)
        return replace(changed.calibrated(kind, calibration), _kinds=self._kinds | {kind})

    def started(self, way: str, seconds: float) -> CostModel:
        """This model with what was measured of a start of workers, imports apart."""
        before = self._calibration(self.kind)
        start = before.start(way).learn(max(0.01, seconds))
        return self.calibrated(self.kind, replace(before, starts={**before.starts, way: start}))

    def ended(self, planned_seconds: float, seconds: float) -> CostModel:
        """This model with what a whole replay took from its first worker's begin on. The shorter it was to be, the less
        it tells: then it is mostly overhead."""
        before = self._calibration(self.kind)
        if planned_seconds <= 0 or seconds <= 0:
            return self
        off = before.off.learn(math.log(seconds / planned_seconds) ** 2, planned_seconds / (planned_seconds + 1.0))
        return self.calibrated(self.kind, replace(before, off=off))

    def learned(self) -> dict[str, Calibration]:
        """Calibrations for later replays: of the classes whose segments have come back, and of this one."""
        found = {self.kind: self._calibration(self.kind)} if self.kind in self.calibrations else {}
        for kind in self._kinds:
            calibration, factor = self._calibration(kind), self._factor("machine", kind)
            slowness = dict(calibration.slowness)
            for recorded_on in self._recorded_on - {kind, ""}:
                prior = calibration.ratio(recorded_on, kind)
                value = prior.value * math.exp(factor.mean)
                slowness[recorded_on] = Learned(value, value * math.sqrt(factor.variance), prior.count + 1)
            found[kind] = replace(calibration, slowness=slowness)
        return found

    def _learn(self, segment: Segment, kind: str, found: SegmentWork, measured: float, expected: float) -> CostModel:
        """Move the factors by the logarithm of measured over expected seconds."""
        keys: list[_Key] = [("version", segment.version)]
        if found.known:
            keys += [("machine", kind), ("statement", _statement(segment))]
        factors = {key: self._factor(*key, known=found.known) for key in keys}
        innovation = measured - sum(factor.mean for factor in factors.values())
        noise = (NOISE / math.sqrt(max(1, min(found.epochs, 4)))) ** 2 + (_OVERHEAD_NOISE / expected) ** 2
        statement = factors.get(keys[-1])
        if found.known and statement is not None and statement.count == 0:
            # Nobody knows what a statement costs before it has run: when all takes much longer, it is most likely that.
            wider = max(0.0, innovation) ** 2 / 3 - factors["machine", kind].variance
            factors[keys[-1]] = replace(statement, variance=max(statement.variance, wider))
        total = sum(factor.variance for factor in factors.values()) + noise
        moved = {key: factor.moved(innovation, total) for key, factor in factors.items()}
        place = segment.version, _statement(segment)
        by_kind = self._own.get(place, {})
        own = {**by_kind, kind: by_kind.get(kind, _OwnReports()).more(measured, noise)}
        history = (*self._history, _Seen(kind, segment.version, measured))[-_HISTORY:]
        return replace(self, _factors={**self._factors, **moved}, _own={**self._own, place: own}, _history=history)

    # parts

    def _work(self, segment: Segment) -> SegmentWork:
        if segment not in self._works:
            found = work(segment, self.recorded[segment.version])
            if not found.known:
                seconds = self._stand_in * max(1, found.epochs)
                found = replace(found, run_seconds=found.run_seconds + seconds, run_spread=seconds)
            self._works[segment] = found
        return self._works[segment]

    def _calibration(self, kind: str) -> Calibration:
        return self.calibrations.get(kind) or Calibration()

    def _factor(self, what: str, name: str, known: bool = True) -> _Factor:
        found = self._factors.get((what, name))
        if found is not None:
            return found
        if what == "machine":
            ratios = [self._calibration(name).ratio(recorded_on, name) for recorded_on in self._recorded_on]
            spread = max((ratio.spread / max(ratio.value, 1e-9) for ratio in ratios), default=_SAME_MACHINE)
        elif what == "statement":
            spread = _STATEMENT
        else:
            spread = _VERSION if known else _STAND_IN
        return _Factor(0.0, spread**2)

    def _seconds_per_recorded(self, segment: Segment, known: bool) -> tuple[float, float]:
        """For each second of set-ups, and of runs, as they were recorded."""
        usual = self._calibration(self.kind).ratio(self.recorded[segment.version].kind, self.kind).value
        return usual * math.exp(self._machine()), usual * math.exp(self._ratio(segment, known))

    def _ratio(self, segment: Segment, known: bool) -> float:
        """Logarithm of the ratio of a version's segments: what is common to all, and what its own reports say."""
        common, machine = self._factor("statement", _statement(segment)), self._factor("machine", self.kind)
        precision = 1 / (common.variance + machine.variance + (_VERSION if known else _STAND_IN) ** 2)
        total = (common.mean + machine.mean) * precision
        for kind, own in self._own.get((segment.version, _statement(segment)), {}).items():
            total += (own.mean + machine.mean - self._machine(kind)) * own.precision
            precision += own.precision
        return total / precision

    def _machine(self, kind: str | None = None) -> float:
        return self._factor("machine", self.kind if kind is None else kind).mean

    def _slowness(self, kind: str) -> float:
        """Seconds of a class of workers per recorded second, over the classes that recorded."""
        kinds = [r.kind for r in self.recorded.values()] or [""]
        usual = median(self._calibration(kind).ratio(recorded_on, kind).value for recorded_on in kinds)
        return usual * math.exp(self._machine(kind))


def _statement(segment: Segment) -> str:
    """Segments of which the hindsight statements cost alike."""
    return f"{segment.operator} {segment.variant}" if segment.operator is Operator.DP_I else str(segment.operator)

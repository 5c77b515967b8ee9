"""How one run of a segment is answered: part by part as its process hands them over, measured, judged and written.

    process ── parts, then the rest ──> Answering ── rows and reports ──> store
                                                  ── reports of parts ──> whoever runs the worker

Epochs from a checkpoint (DP_i), of whatever variant, are handed over when one ends and `Limits.commit_seconds` have
passed; what comes after them can be replayed from the nearest checkpoint, by any worker. A whole script (DP*) and what
is outside the main loop (DP) are answered as a whole: without a checkpoint, what is left of them would begin with the
script's start again.

A part with values that nothing recorded confirms, and that depend on what no checkpoint could keep, waits for the next
one: the state at its end may confirm both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from flor_ray.records import Operator, Segment, SegmentReport
from flor_ray.replaying import results
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.version_process import VersionProcess, WarmServers
from flor_ray.store.store import Store


@dataclass(slots=True)
class Answering:
    """One run of a segment, from when its worker was told to run it."""

    job: VersionJob
    whole: Segment  # as the worker was told to run it
    store: Store
    servers: WarmServers
    kind: str
    start_seconds: float  # of imports that no report has told yet
    tell: Callable[[SegmentReport], None]  # of each part that is written
    begun: int = 0  # the first epoch that no process has answered
    _mark: float = field(default_factory=time.perf_counter)  # since when time belongs to the next answer
    _hits: int = 0
    _process: VersionProcess | None = None
    _ready: float | None = None  # when a process was ready that was made for this; None: it was there, or has answered
    _further_back: bool = False  # the process began further back than what it answers
    _warning: tuple[str, ...] = ()  # of that, not told yet
    _answered: bool = False  # at least a part
    _held: SegmentResult | None = None  # parts that wait to be confirmed

    def __post_init__(self) -> None:
        self.begun = self.whole.first
        self._hits = self.store.objects.hits
        self.servers.seconds = 0.0

    def rest(self, last: int) -> Segment:
        """What no process has answered, up to epoch `last`. It begins where all of it did."""
        if self.whole.operator is not Operator.DP_I:
            return self.whole
        return replace(self.whole, first=self.begun, last=last)

    def begins(self, process: VersionProcess, was_there: bool, further_back: str) -> None:
        """A process begins with what is left; `further_back` says why further back than that, "" if it does not."""
        self._process = process
        self._ready = None if was_there else time.perf_counter()
        self._further_back, self._warning = bool(further_back), (further_back,) if further_back else ()

    def part(self, result: SegmentResult) -> None:
        """The process has come to a part, and is at the rest. Raises StoreError if it cannot be written."""
        report = self._written(self._named(result), may_wait=True)
        if report is not None:
            self.tell(report)

    def all(self, result: SegmentResult) -> SegmentReport:
        """The process has come to the end. Raises StoreError if that cannot be written."""
        report = self._written(self._named(result), may_wait=False)
        assert report is not None
        return report

    def _named(self, result: SegmentResult) -> SegmentResult:
        """What a process has said, by the names of what the worker was told, and with what it took."""
        segment = self.whole
        if segment.operator is Operator.DP_I:
            segment = segment.part(self.begun, result.segment.last)
            self.begun = segment.last + 1
        setup, run = self._seconds(result)
        hits = self.store.objects.hits
        named = replace(
            result,
            segment=segment,
            kind=self.kind,
            start_seconds=self.start_seconds + self.servers.seconds,
            setup_seconds=setup,
            run_seconds=run,
            cache_hits=result.cache_hits + hits - self._hits,
            warnings=(*result.warnings, *self._warning),
            further_back=self._further_back,
        )
        self._warning, self._hits, self._ready, self._answered = (), hits, None, True
        self.start_seconds = self.servers.seconds = 0.0
        self._mark = time.perf_counter()
        return named

    def _seconds(self, result: SegmentResult) -> tuple[float, float]:
        """Set-up and run. Of what follows another part, the process knows best: it went on meanwhile."""
        if self._answered:
            return result.setup_seconds, result.run_seconds
        answered = time.perf_counter()
        assert self._process is not None
        self._process.evidence  # noqa: B018 - input files are looked at once
        setup = 0.0
        if self._ready is not None:
            judging = time.perf_counter() - answered
            setup = self._ready - self._mark - self.servers.seconds + result.setup_seconds + judging
        spent = max(0.0, time.perf_counter() - self._mark - self.servers.seconds)
        setup = min(setup, spent)  # part of which is measured in the process, by another clock
        return setup, spent - setup

    def _written(self, result: SegmentResult, may_wait: bool) -> SegmentReport | None:
        """The report, of what was held before too; None: it waits."""
        assert self._process is not None
        began = time.perf_counter()
        whole = result if self._held is None else results.joined(self._held, result)
        judged = results.judge_result(
            self._process.recorded, whole, self.job.doubtful, self._process.evidence, self.whole
        )
        if judged.in_doubt and may_wait:
            self._held = whole
            return None
        seconds = judged.report.run_seconds + time.perf_counter() - began
        judged = replace(judged, report=replace(judged.report, run_seconds=seconds))
        report = results.keep(self.store, self.job.experiment, self.job.origin, judged)
        self._held = None
        return report

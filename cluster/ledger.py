"""What each worker did, from events and instructions: the timeline of a replay, and what has taken too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flor_ray.records import Ending, RunningStint, Segment, SegmentReport, Stint
from flor_ray.scheduler.jobs import rows
from flor_ray.scheduler.messages import (
    EpochBegun,
    Event,
    Run,
    SegmentAdvanced,
    SegmentCancelled,
    SegmentDone,
    SegmentFailed,
    SegmentNotHere,
    SegmentShortened,
    SegmentSlow,
    WorkerJoined,
    WorkerLost,
)


@dataclass(slots=True)
class _OpenStint:
    segment: Segment  # as the worker was told to run it, without what was taken away since
    since: int  # the first epoch of it that it has not answered
    began: float
    epochs: int  # when it began, or rows if it has none
    estimated_seconds: float  # for all of that
    slow_at: float
    epoch: int = 0
    place: str = ""  # of the script in that epoch, where it takes long


@dataclass(slots=True)
class Ledger:
    """Times are seconds since the replay began."""

    stints: list[Stint] = field(default_factory=list)
    ended_badly: int = 0  # stints that failed, or whose worker was lost
    _ended_seconds: float = 0.0  # of all stints
    _running: dict[str, _OpenStint] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)

    def begins(self, run: Run, now: float) -> None:
        """A worker is told to run a segment."""
        slow_at = now + run.slow_after_seconds
        segment, seconds = run.segment, run.estimated_seconds
        self._running[run.worker] = _OpenStint(segment, segment.first, now, rows(segment), seconds, slow_at)

    def happens(self, event: Event, now: float, twice: bool = False) -> None:
        """`twice`: of what is done here, another worker has been told to have done it before."""
        match event:
            case WorkerJoined(worker=worker, kind=kind):
                self._kinds[worker] = kind
            case EpochBegun(worker=worker, epoch=epoch, place=place):
                if (running := self._running.get(worker)) is not None:
                    running.epoch, running.place = epoch, place
            case SegmentShortened(worker=worker, segment=segment, last=last):
                running = self._running.get(worker)
                if running is not None and running.segment == segment:
                    running.segment = replace(segment, last=last)
            case SegmentAdvanced(worker=worker, report=report):
                self._advances(worker, Ending.CANCELLED if twice else Ending.DONE, now, report)
            case SegmentDone(worker=worker, report=report):
                self._ends(worker, Ending.CANCELLED if twice else Ending.DONE, now, report)
            case SegmentNotHere(worker=worker):
                self._running.pop(worker, None)  # nothing of it has run
            case SegmentFailed(worker=worker):
                self._ends(worker, Ending.FAILED, now)
            case SegmentCancelled(worker=worker):
                self._ends(worker, Ending.CANCELLED, now)
            case WorkerLost(worker=worker):
                self._ends(worker, Ending.LOST, now)

    def slow(self, now: float) -> list[SegmentSlow]:
        """What has taken too long by now. Each is told once."""
        found = [(worker, one) for worker, one in self._running.items() if one.slow_at <= now]
        for _, one in found:
            one.slow_at = float("inf")
        return [SegmentSlow(worker, one.segment) for worker, one in found]

    def next_slow(self) -> float:
        """When `slow` is to be asked next; infinity if nothing runs."""
        return min((one.slow_at for one in self._running.values()), default=float("inf"))

    def place(self, worker: str, epoch: int) -> str:
        """Where the worker's script is in this epoch, if that takes longer than it should."""
        running = self._running.get(worker)
        return running.place if running is not None and running.epoch == epoch else ""

    def kind(self, worker: str) -> str:
        return self._kinds.get(worker, "")

    @property
    def kinds(self) -> Mapping[str, str]:
        """Worker classes by worker."""
        return self._kinds

    def open(self) -> tuple[RunningStint, ...]:
        """What workers are at."""
        return tuple(
            RunningStint(
                worker, one.segment.part(one.since, one.segment.last), one.began, one.estimated_seconds, one.epoch
            )
            for worker, one in self._running.items()
        )

    def stop(self, now: float) -> None:
        """The replay ends here, whatever still runs."""
        for worker in list(self._running):
            self._ends(worker, Ending.CANCELLED, now)

    def busy_seconds(self, now: float) -> float:
        """Seconds that workers have been at segments so far: GPU-seconds, where each has a GPU."""
        return self._ended_seconds + sum(now - running.began for running in self._running.values())

    def _advances(self, worker: str, ending: Ending, now: float, report: SegmentReport) -> None:
        """A part of what runs is answered: a stint of its own, and the next one begins."""
        running = self._running.get(worker)
        if running is not None:
            self._add(worker, running, ending, now, report)
            running.since, running.began = report.segment.last + 1, now

    def _ends(self, worker: str, ending: Ending, now: float, report: SegmentReport | None = None) -> None:
        running = self._running.pop(worker, None)
        if running is not None:
            self._add(worker, running, ending, now, report)

    def _add(self, worker: str, running: _OpenStint, ending: Ending, now: float, report: SegmentReport | None) -> None:
        """A stint ends. What was estimated for a segment is shared out to its parts by their epochs."""
        segment = running.segment.part(running.since, running.segment.last) if report is None else report.segment
        estimated = running.estimated_seconds
        if segment != running.segment:
            estimated *= rows(segment) / running.epochs
        setup = 0.0
        if report is not None and running.since == running.segment.first:
            setup = max(0.0, now - running.began - report.run_seconds)
        self.ended_badly += ending in (Ending.FAILED, Ending.LOST)
        self._ended_seconds += now - running.began
        count = 0 if report is None else report.rows
        kind = self.kind(worker)
        self.stints.append(Stint(worker, segment, running.began, now, ending, setup, estimated, kind, count))

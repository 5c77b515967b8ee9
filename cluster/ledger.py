"""What each worker did, from events and instructions: the timeline of a replay, and what has taken too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flor_ray.records import Ending, Segment, SegmentReport, Stint
from flor_ray.scheduler.messages import (
    Event,
    Run,
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
    segment: Segment
    began: float
    estimated_seconds: float
    slow_at: float


@dataclass(slots=True)
class Ledger:
    """Times are seconds since the replay began."""

    stints: list[Stint] = field(default_factory=list)
    _running: dict[str, _OpenStint] = field(default_factory=dict)
    _kinds: dict[str, str] = field(default_factory=dict)

    def begins(self, run: Run, now: float) -> None:
        self._running[run.worker] = _OpenStint(run.segment, now, run.estimated_seconds, now + run.slow_after_seconds)

    def happens(self, event: Event, now: float, twice: bool = False) -> None:
        """`twice`: of what is done here, another worker has been told to have done it before."""
        match event:
            case WorkerJoined(worker=worker, kind=kind):
                self._kinds[worker] = kind
            case SegmentShortened(worker=worker, segment=segment, last=last):
                running = self._running.get(worker)
                if running is not None and running.segment == segment:
                    running.segment = replace(segment, last=last)
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

    def kind(self, worker: str) -> str:
        return self._kinds.get(worker, "")

    @property
    def kinds(self) -> Mapping[str, str]:
        """Worker classes by worker."""
        return self._kinds

    def stop(self, now: float) -> None:
        """The replay ends here, whatever still runs."""
        for worker in list(self._running):
            self._ends(worker, Ending.CANCELLED, now)

    def busy_seconds(self, now: float) -> float:
        """Seconds that workers have been at segments so far: GPU-seconds, where each has a GPU."""
        return sum(s.ended - s.began for s in self.stints) + sum(now - r.began for r in self._running.values())

    def _ends(self, worker: str, ending: Ending, now: float, report: SegmentReport | None = None) -> None:
        running = self._running.pop(worker, None)
        if running is None:
            return
        self.stints.append(
            Stint(
                worker,
                running.segment if report is None else report.segment,
                running.began,
                now,
                ending,
                0.0 if report is None else max(0.0, now - running.began - report.run_seconds),
                running.estimated_seconds,
                self.kind(worker),
                0 if report is None else report.rows,
            )
        )

"""What a replay tells Ray's metrics, which Prometheus reads on each node. Beside `actors` a door to Ray.

    Progress, of the driver's loop ──> counters grow by what has been added since, gauges are as it says

The names are few and fixed, and no number has a label of ours: neither versions nor features, of which there is no end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray.util.metrics import Counter, Gauge

from flor_ray.cluster.driver import Progress


@dataclass(frozen=True, slots=True)
class _Number:
    name: str
    meaning: str
    of: Callable[[Progress], float]


_COUNTERS = (
    _Number("flor_segments", "Segments that were replayed.", lambda p: p.segments),
    _Number("flor_segments_failed", "Segments that were given up.", lambda p: p.failed),
    _Number("flor_retries", "Attempts at segments that were lost or failed, and were made again.", lambda p: p.retries),
    _Number(
        "flor_worker_seconds",
        "Time of workers with segments: GPU-seconds, where each has a GPU.",
        lambda p: p.busy_seconds,
    ),
    _Number("flor_rows", "Values that were written.", lambda p: p.values),
    _Number("flor_cache_hits", "Objects that workers found in their machine's cache.", lambda p: p.cache_hits),
)
_GAUGES = (
    _Number("flor_queue_length", "Segments that wait for a worker.", lambda p: p.waiting),
    _Number("flor_workers", "Workers that are there.", lambda p: p.workers),
)


@functools.cache
def _counters() -> list[tuple[_Number, Counter]]:
    """Those of this process: Ray collects them every few seconds, and would find none of a replay that has ended."""
    return [(number, Counter(number.name, number.meaning)) for number in _COUNTERS]


@functools.cache
def _gauges() -> list[tuple[_Number, Gauge]]:
    return [(number, Gauge(number.name, number.meaning)) for number in _GAUGES]


class Metrics:
    """Those of one replay. What is told before the process is connected to Ray, is told with what comes after."""

    def __init__(self) -> None:
        self._told = {number.name: 0.0 for number in _COUNTERS}

    def tell(self, progress: Progress) -> None:
        """Add what is new since the last call, and say how it stands."""
        if not ray.is_initialized():
            return
        for number, counter in _counters():
            total = float(number.of(progress))
            if total > self._told[number.name]:
                counter.inc(total - self._told[number.name])
                self._told[number.name] = total
        for number, gauge in _gauges():
            gauge.set(float(number.of(progress)))

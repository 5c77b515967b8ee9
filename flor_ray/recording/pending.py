"""A snapshot on its way from the thread that trains to the one that writes it."""

from __future__ import annotations

from dataclasses import dataclass

from flor_ray.records import EpochTimes, Point
from flor_ray.state.snapshots import Snapshot


@dataclass(slots=True)
class PendingCheckpoint:
    """A snapshot on its way to the store."""

    snapshot: Snapshot
    point: Point
    epoch: int
    filename: str
    line: int
    times: EpochTimes | None
    why: str = ""
    compress: bool | None = None  # see flor_ray.store.codecs

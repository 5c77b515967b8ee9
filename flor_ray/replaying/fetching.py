"""What a segment restores, brought into this machine's cache before it runs: while another one is running.

One thread, one segment at a time, object after object: little beside what the running segment reads and writes. The
newest wish counts. Nothing depends on it: what was not fetched in time is read by the segment itself, and what cannot
be read is for the segment to tell.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable

from flor_ray.errors import StoreError
from flor_ray.processes import start_background
from flor_ray.records import Checkpoint, Operator, Point, Segment, Variant
from flor_ray.replaying.job import VersionJob
from flor_ray.store import manifests
from flor_ray.store.objects import Objects
from flor_ray.store.store import Store

_LEAVE_SECONDS = 1.0  # a store that does not answer is not waited for
_MOST_BYTES = 2 << 30  # of one segment's states: a cache of the usual size holds those of several workers


class Fetcher:
    """For one worker. Any thread may wish."""

    def __init__(self) -> None:
        self._wishes = threading.Condition()
        self._wish: tuple[str, tuple[Checkpoint, ...]] | None = None  # the store, and what of it
        self._store: Store | None = None  # of its own: when the store is away, the fetcher does not wait for it
        self._thread: threading.Thread | None = None
        self._over = False
        self.busy = False  # with what was wished for

    def wish(self, job: VersionJob, segment: Segment) -> None:
        """Fetch what this segment restores, and nothing of an earlier wish any more."""
        with self._wishes:
            self._wish = job.store_url, within(states(segment, job.checkpoints), _MOST_BYTES)
            self.busy = True
            if self._thread is None:
                self._thread = start_background(self._fetch, name="flor-fetch")
            self._wishes.notify()

    def close(self) -> None:
        """Nothing is fetched from now on."""
        with self._wishes:
            self._over, self._wish = True, None
            self._wishes.notify()
        if self._thread is not None:
            self._thread.join(_LEAVE_SECONDS)

    def _fetch(self) -> None:
        while True:
            with self._wishes:
                self.busy = self._wish is not None
                self._wishes.wait_for(lambda: self._over or self._wish is not None)
                if self._over or self._wish is None:
                    return
                wish, self._wish = self._wish, None
            url, checkpoints = wish
            with contextlib.suppress(StoreError, OSError):  # which the segment will tell
                if self._store is None or self._store.url != url:
                    self._store = Store(url)
                for checkpoint in checkpoints if self._store.objects.cached else ():
                    self._bring(self._store.objects, checkpoint.key)

    def _bring(self, objects: Objects, key: str) -> None:
        manifest = manifests.from_bytes(objects.get(key), key)
        for part in dict.fromkeys(part.key for part in manifest.parts if part.key != key):
            if self._over or self._wish is not None:
                return
            objects.get(part)


def states(segment: Segment, checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
    """The states that a segment puts back, in their order: where it starts, and in between."""
    by_place = {(checkpoint.epoch, checkpoint.point): checkpoint for checkpoint in checkpoints}
    places = [] if segment.restore is None else [(segment.restore, Point.EPOCH_END)]
    if segment.operator is Operator.DP_I and segment.variant is Variant.END:
        places = [(epoch, Point.EPOCH_END) for epoch in range(segment.first, segment.last + 1)]
    elif segment.operator is Operator.DP_I and segment.variant is Variant.OUTER:
        places += [(epoch, Point.NESTED_EXIT) for epoch in range((segment.restore or 0) + 1, segment.last + 1)]
    return tuple(by_place[place] for place in places if place in by_place)


def within(checkpoints: Iterable[Checkpoint], most_bytes: int) -> tuple[Checkpoint, ...]:
    """The first of them, as long as they are not larger together."""
    found: list[Checkpoint] = []
    for checkpoint in checkpoints:
        most_bytes -= checkpoint.bytes
        if most_bytes < 0:
            break
        found.append(checkpoint)
    return tuple(found)

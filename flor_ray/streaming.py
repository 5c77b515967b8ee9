"""Rows of an answer while it is acquired: each as soon as no value that is still lacking can change it.

Segments land in the order of their priorities, and so do the rows. A statement whose rows do not stand for themselves
(it groups, sorts out duplicates, cuts or joins) is answered when the last of them is in.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from flor_ray.acquisition import Acquisition, Answered, How
from flor_ray.errors import ReplayStopped

if TYPE_CHECKING:
    import pyarrow as pa

    from flor_ray.cluster.driver import Progress

_OVER = -1  # instead of a number of segments that have landed


class Landings:
    """Is told of a replay's progress, and looks at the answer whenever a segment has landed."""

    def __init__(self) -> None:
        self._landed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._last = 0
        self._stopped = False
        self._failed: BaseException | None = None
        self._sent: Counter[str] = Counter()

    def tell(self, progress: Progress) -> None:
        """To be called from the replay. Raises ReplayStopped once nobody reads any more."""
        if self._stopped:
            raise ReplayStopped("Nobody reads this answer any more. What was finished is kept.")
        if progress.segments != self._last:
            self._last = progress.segments
            self._landed.put(progress.segments)

    def batches(self, question: Acquisition, how: How) -> Generator[pa.RecordBatch, None, Answered]:
        """The rows of the answer, each once; those of which something is still lacking come last. Returns it."""
        replay = threading.Thread(target=self._acquire, args=(question, how), name="flor acquisition", daemon=True)
        replay.start()
        try:
            while not self._is_over():
                settled = question.settled()
                if settled is not None:
                    yield from self._new(settled)
        finally:
            self._stopped = True
            replay.join()
        if self._failed is not None:
            raise self._failed
        answer = question.answer()
        yield from self._new(answer.table)
        return answer

    def _acquire(self, question: Acquisition, how: How) -> None:
        try:
            question.acquire(how)
        except BaseException as error:  # noqa: BLE001 - it is raised where the rows are read
            self._failed = None if self._stopped and isinstance(error, ReplayStopped) else error
        finally:
            self._landed.put(_OVER)

    def _is_over(self) -> bool:
        """Wait for the next segments; what landed meanwhile is looked at in one go."""
        over = self._landed.get() == _OVER
        while not self._landed.empty():
            over |= self._landed.get() == _OVER
        return over

    def _new(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        """The rows that have not been sent."""
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        left = self._sent.copy()
        fresh = []
        for index, row in enumerate(rows):
            key = repr(row)
            if left[key] > 0:
                left[key] -= 1
            else:
                self._sent[key] += 1
                fresh.append(index)
        if fresh:
            yield from table.take(fresh).to_batches()

"""How far a running segment is, how far it may go, and for how long it has waited: shared by a worker and its process.

The process claims each epoch before it runs it. The worker can take the epochs that are not claimed yet away, for
another worker to run: so no epoch is run twice, and none by nobody. A small file that both have mapped holds the
numbers; a lock on it makes claiming and taking away one step each. Beside them stands for how long the process has
waited for a store that was away: that is not the script's time.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NUMBERS = struct.Struct("=qq")  # epoch that was claimed last, last one that may be claimed
_WAITS = struct.Struct("=qq")  # nanoseconds waited, and of the monotonic clock since when it waits now; 0: it does not
_SIZE = _NUMBERS.size + _WAITS.size


class Claims:
    """One end of the file. Raises OSError if it cannot be made or mapped."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._descriptor).st_size < _SIZE:
                os.pwrite(self._descriptor, bytes(_SIZE), 0)
            self._map = mmap.mmap(self._descriptor, _SIZE)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._lock = threading.Lock()  # the file's own lock does not keep threads of one process apart

    def begin(self, last: int) -> None:
        """A segment is about to begin that may claim epochs up to `last`."""
        with self._locked():
            _NUMBERS.pack_into(self._map, 0, 0, last)
            waited, _ = _WAITS.unpack_from(self._map, _NUMBERS.size)
            _WAITS.pack_into(self._map, _NUMBERS.size, waited, 0)  # of a process that was killed as it waited

    def claim(self, epoch: int) -> bool:
        """Whether the segment may run this epoch. If so, it is claimed and cannot be taken away any more."""
        with self._locked():
            claimed, last = _NUMBERS.unpack_from(self._map)
            if epoch > last:
                return False
            # Of several ranks, one may be ahead: what it has claimed, all of them run.
            _NUMBERS.pack_into(self._map, 0, max(claimed, epoch), last)
            return True

    def shorten(self, last: int) -> int:
        """Take away what comes after epoch `last`, or after the claimed one if that is later. Returns the last epoch
        that is left."""
        with self._locked():
            claimed, before = _NUMBERS.unpack_from(self._map)
            left: int = min(before, max(last, claimed))
            _NUMBERS.pack_into(self._map, 0, claimed, left)
            return left

    @property
    def claimed(self) -> int:
        """The epoch that runs; 0 before the first."""
        with self._locked():
            return int(_NUMBERS.unpack_from(self._map)[0])

    @property
    def last(self) -> int:
        """The last epoch that may be claimed."""
        with self._locked():
            return int(_NUMBERS.unpack_from(self._map)[1])

    def waits(self, begins: bool) -> None:
        """The process begins to wait for the store, or has stopped."""
        with self._locked():
            waited, since = _WAITS.unpack_from(self._map, _NUMBERS.size)
            now = time.monotonic_ns()
            waited += now - since if since else 0
            _WAITS.pack_into(self._map, _NUMBERS.size, waited, now if begins else 0)

    @property
    def is_waiting(self) -> bool:
        """Whether the process waits for the store now."""
        with self._locked():
            return bool(_WAITS.unpack_from(self._map, _NUMBERS.size)[1])

    @property
    def waited_seconds(self) -> float:
        """For which processes have waited for the store so far."""
        with self._locked():
            waited, since = _WAITS.unpack_from(self._map, _NUMBERS.size)
            return float(waited + (time.monotonic_ns() - since if since else 0)) / 1e9

    def close(self) -> None:
        """Let go of the shared memory. Nothing else may be called after that."""
        with self._lock:
            self._map.close()
            os.close(self._descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

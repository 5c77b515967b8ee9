"""What a worker's scripts print, in one file that is there after they have ended: `ray logs` and the dashboard find it
among a session's logs. That of a worker without Ray is in the worker's folder and goes with it, unless a script fails:
then it is kept for a day, in a folder of its own.

    --- version a1b2c3d4, epochs 3-7: 2026-11-29 18:50:02
    (what it printed)

The file is bounded: when it is full it becomes the one before (.1), and that is gone. What a script prints goes into
its own file, from which it is copied while it runs; a worker that is killed has copied all but the last seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from flor_ray import processes
from flor_ray.records import Segment
from flor_ray.replaying import leftovers
from flor_ray.wording import place

_MOST_BYTES = 4 << 20  # of a file, of which there are two
_MOST_AT_ONCE = 1 << 20  # of what was printed since the last look: of more, the end
_MOST_PRINTED = 64 << 20  # of what a script has printed, before its file begins again
_COPY_SECONDS = 2.0


class OutputLog:
    """The file of one worker, in a folder that is there, and where it `stays` or not. What cannot be written is left
    out: no replay fails for it."""

    def __init__(self, folder: Path, stays: bool) -> None:
        self.path = folder / f"flor-replays-{os.getpid()}.log"
        self._stays = stays
        self._from: Path | None = None
        self._copied = 0
        self._due = 0.0

    def begins(self, segment: Segment, printed: Path) -> None:
        """A segment's script prints to this file, as it may have done in the segment before."""
        if self._from != printed:
            self._from, self._copied = printed, 0
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write(f"--- {place(segment)}: {now}\n".encode())

    def follow(self) -> None:
        """Copy what was printed, now and then."""
        if time.monotonic() >= self._due:
            self.copy()

    def copy(self) -> None:
        """Copy what was printed since the last time."""
        self._due = time.monotonic() + _COPY_SECONDS
        if self._from is None:
            return
        with contextlib.suppress(OSError), self._from.open("rb") as printed:  # the script may have removed it
            end = printed.seek(0, os.SEEK_END)
            begin = self._copied if self._copied <= end else 0
            left_out = max(0, end - begin - _MOST_AT_ONCE)
            printed.seek(begin + left_out)
            text = printed.read(_MOST_AT_ONCE)
            self._copied = end
            if text:
                note = f"--- {left_out} bytes are left out here\n".encode() if left_out else b""
                self._write(note + text)

    def begin_again(self) -> bool:
        """Empty the script's file, if that has become too large. Whoever prints appends to it."""
        if self._from is None or self._copied < _MOST_PRINTED:
            return False
        with contextlib.suppress(OSError):
            os.truncate(self._from, 0)
        self._copied = 0
        return True

    def kept(self) -> str:
        """Copy what was printed, and tell where it stays."""
        self.copy()
        if not self._stays:
            self._stays = True
            before = self.path
            self.path = Path(tempfile.mkdtemp(prefix=processes.folder_prefix(leftovers.LOG)), before.name)
            for suffix in ("", ".1"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.move(f"{before}{suffix}", f"{self.path}{suffix}")
        return f"{self.path} on {socket.gethostname()}"

    def _write(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            if self.path.exists() and self.path.stat().st_size + len(text) > _MOST_BYTES:
                self.path.replace(f"{self.path}.1")
            with self.path.open("ab") as file:
                file.write(text)

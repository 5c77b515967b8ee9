"""Where a replayed script is: its line, while a step takes longer than it should, and its stack when it is ended.

    replay process ── a thread, once a step is late ──> <folder>/place.txt    "4 train.py:31": in epoch 4
                   ── faulthandler, on a signal ──────> <folder>/stack.txt

The thread needs the interpreter, and does not touch the script. The signal is answered by C code, also while a library
hangs in C; but it interrupts system calls, so it is for processes that are about to be ended.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

_PLACE, _STACK = "place.txt", "stack.txt"
# One that libraries do not use: of the real-time signals those at the ends have users. macOS has none of them.
_SIGNAL = signal.SIGRTMAX - 7 if hasattr(signal, "SIGRTMAX") else signal.SIGUSR2
_AGAIN_SECONDS = 10.0  # between two looks at one step
_ANSWER_SECONDS = 2.0  # for a stack to be written
_POLL_SECONDS = 0.05
_STACK_BYTES = 6000  # of a stack that are told: the innermost calls come first
_OUTERMOST = " in serve_forks"
_FRAME = re.compile(r'^  File "(?P<path>.*)", line (?P<line>\d+) in (?P<function>.*)$', re.MULTILINE)


class Lookout:
    """In a replay process: which step it is at, and where its script is in that. `folder` is the replay's own, `root`
    holds the version's files; a step is late after so many seconds (None: never)."""

    def __init__(self, folder: str, root: str, late_seconds: float | None) -> None:
        self._folder, self._root, self._late_seconds = Path(folder), root, late_seconds
        self._step: tuple[int, float] | None = None  # epoch, and since when
        self._waiting: tuple[int, float] | None = None  # what it was when a wait for the store began
        self._due = 0.0
        if folder:
            # Open before the script runs, and for as long as it does: nothing redirects what is written there.
            self._place = os.open(self._folder / _PLACE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._stack = self._folder.joinpath(_STACK).open("wb")
            faulthandler.register(_SIGNAL, self._stack, all_threads=True)

    def begins(self, epoch: int) -> None:
        """The script goes on with this epoch, or with what comes before the first one (0)."""
        self._step = epoch, time.monotonic()

    def rests(self) -> None:
        """Nothing runs until `begins`."""
        self._step = None

    def waits(self, begins: bool) -> None:
        """A wait for the store begins, or ends: it is none of the script's time."""
        if begins:
            self._waiting, self._step = self._step, None
        elif self._waiting is not None:
            self.begins(self._waiting[0])

    def look(self) -> None:
        """Write down where the script is, if its step is late. For a thread of its own."""
        step, now = self._step, time.monotonic()
        if step is None or self._late_seconds is None or now - step[1] < self._late_seconds or now < self._due:
            return
        self._due = now + _AGAIN_SECONDS
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        if frame is not None:
            line = f"{step[0]} {_place(frame, self._root)}\n".encode(errors="replace")
            with contextlib.suppress(OSError):  # the disk is full
                os.pwrite(self._place, line, 0)
                os.ftruncate(self._place, len(line))


def place(folder: Path, epoch: int) -> str:
    """Where the script is in this epoch, as train.py:31; "" while that takes no longer than it should."""
    try:
        text = folder.joinpath(_PLACE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    at, _, found = text.partition("\n")[0].partition(" ")
    return found if at == str(epoch) else ""


def stack(process: int, folder: Path, root: Path) -> tuple[str, str]:
    """The calls that a replay process is in, and the place of them that is in the version's own files. Both "" if it
    does not answer: it is stopped, or its script has taken the signal for itself."""
    path = folder / _STACK
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, _SIGNAL)
    deadline, before = time.monotonic() + _ANSWER_SECONDS, -1
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        size = path.stat().st_size if path.exists() else 0
        if size and size == before:
            break
        before = size
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "", ""
    return read_stack(text, str(root))


def read_stack(text: str, root: str) -> tuple[str, str]:
    """The main thread's part of what faulthandler wrote, without what called the script and with paths relative to
    `root`; and the innermost place that is in a file below it, or else of all."""
    blocks = re.split(r"\n\n+|\n(?=(?:Current t|T)hread )", text)
    # Any thread may answer a signal; the script's is the one that everything began in.
    main = next((block for block in blocks if _OUTERMOST in block), blocks[-1])
    main = main.replace(f'"{root}{os.sep}', '"')
    frames = list(_FRAME.finditer(main))
    own = [frame for frame in frames if not os.path.isabs(frame["path"]) and not frame["path"].startswith("<")]
    if not frames:
        return main[:_STACK_BYTES].strip(), ""
    found = (own or frames)[0]
    return main[: (own or frames)[-1].end()][:_STACK_BYTES].strip(), f"{found['path']}:{found['line']}"


def _place(innermost: FrameType, root: str) -> str:
    frame: FrameType | None = innermost
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(f"{root}{os.sep}"):
            return f"{path[len(root) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{innermost.f_code.co_filename}:{innermost.f_lineno}"

"""How much of a script's set-up is importing libraries, which a warm server does once, before it forks replays.

Counted is what such a server does early (`early_imports`): imports at the top level of the script and of the user's
modules, and the parts that torch imports at its first use. An import inside a function is done again in each replay.

    import torch          <- the user's frame stands at this statement for as long as the import takes
      └ import numpy      <- audit events tell that it is still going on; the last one before the frame moves on is
        └ ...                taken for its end

It is measured since nothing else tells: of set-ups that replays do in 0.2 s, scripts that import torch record 3 to 11.
What a warm server's own imports take is no substitute: they would have to be done before the first estimate, and are
off by up to six seconds where a machine is busy.

Nothing here may raise: it runs inside the user's imports.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from opcode import opname
from types import FrameType

FIRST_USE = "torch._dynamo"  # with 800 other modules, when a script makes its first optimizer
_GAP_SECONDS = 0.05  # between two imports: the end of the first, after its last event
_MOST_FRAMES = 400  # that are looked through for the user's
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # the package's folder
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_SPECIAL = (FIRST_USE, "flor_ray")
EVENTS = frozenset({"import", "exec", "open", "compile", "marshal.loads", "os.listdir"})  # while something is imported

watching = False
_thread = 0
_began = 0.0  # when watching began: what came before is taken for imports
_seconds = 0.0  # of imports that have ended
_frame: FrameType | None = None  # whose statement imports
_place = -1  # that statement
_name = ""  # what it imports; "" once it is known whether that is the user's own
_counts = False
_since = 0.0
_last = 0.0
_ended = 0.0  # when the last import that counts did


def watch() -> None:
    """Begin to note imports. The caller gives `note` the audit events for as long as `watching` is true."""
    global watching, _thread, _began, _seconds, _frame, _ended
    if not _began:
        _thread, _began = threading.get_ident(), time.perf_counter()
        _seconds, _frame, _ended = 0.0, None, _began
        watching = True


def stop(process_started: float) -> float:
    """End it, and say how many seconds imports took since the process began (on the clock of `time.perf_counter`)."""
    global watching
    if watching:
        watching = False
        _close()
    return max(0.0, _began - process_started) + _seconds if _began else 0.0


def note(event: str, arguments: tuple[object, ...]) -> None:
    """An audit event, one of EVENTS; the caller is the hook. (Looking at frames raises others.)"""
    global _frame, _last
    if threading.get_ident() != _thread:
        return
    if _frame is not None:
        if _frame.f_lasti != _place or _has_ended(_frame):
            _close()
        elif _name and _is_own(_name):
            _frame = None  # the user's own module: what it imports counts, and the rest of it runs in each replay
        else:
            _last = time.perf_counter()
    if event == "import" and (_frame is None or not _counts):
        name, hook = arguments[0] if arguments else None, sys._getframe().f_back
        if isinstance(name, str) and hook is not None and hook.f_back is not None:
            _open(name, hook.f_back)


def _open(name: str, frame: FrameType) -> None:
    """An import begins, and none that counts is going on."""
    global _frame, _place, _name, _counts, _since, _last
    special = name.startswith(_SPECIAL)
    if _frame is not None and not special:
        return
    user = _users_frame(frame)
    if user is None:
        return
    now = time.perf_counter()
    early = user.f_code.co_name == "<module>" and _imports(user)
    _counts = early or special
    _frame = user if early or not special else frame
    _place, _name = _frame.f_lasti, name if early else ""
    _since, _last = now, now


def _close() -> None:
    global _frame, _seconds, _ended
    if _frame is not None and _counts:
        gap = _since - _ended
        _seconds += (_last - _since) + (gap if 0 < gap < _GAP_SECONDS else 0.0)
        _ended = _last
    _frame = None


def _users_frame(frame: FrameType | None) -> FrameType | None:
    for _ in range(_MOST_FRAMES):
        if frame is None or not _is_library(frame.f_code.co_filename):
            return frame
        frame = frame.f_back
    return None


def _is_library(path: str) -> bool:
    return path.startswith(("<frozen", _LIBRARY, _HERE)) or "site-packages" in path or "dist-packages" in path


def _imports(frame: FrameType) -> bool:
    """Whether the statement that runs is an import."""
    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and opname[code[frame.f_lasti]].startswith("IMPORT_")


def _is_own(name: str) -> bool:
    """Whether a module that is being imported is the user's. Not asked again once that is known."""
    global _name
    spec = getattr(sys.modules.get(name), "__spec__", None)
    origin = getattr(spec, "origin", None)
    if spec is None:
        return False
    _name = ""
    return isinstance(origin, str) and origin.endswith(".py") and not _is_library(origin)


def _has_ended(frame: FrameType) -> bool:
    """Whether a function was left by an exception: its frame then goes on standing at the import."""
    return frame.f_back is None and frame.f_code.co_name != "<module>"

"""`flor-ray run --capture`: numbers that a script prints or logs with `logging` become features. No parsing here.

    print ──> stdout, stderr ──> a complete line ──┐
    tqdm  ──> carriage return, flush ──> a redraw ─┼─> printed ──> (name, number) ──> CapturingRecorder ──> F
    logging ──> Logger.callHandlers ──> a message ─┘       at the current epoch and step

The streams stay the objects that they were: only their `write` and `flush` are watched, and they write first. Handlers
of `logging` are watched rather than added to, since a handler of ours on the root logger would turn the script's
`logging.basicConfig()` into nothing; while one runs, what it writes to a stream is not read a second time.

Which name is whose: a name that the script gives to `flor.log` or `flor.arg` is the script's, and never captured. Those
are found in the sources of its loaded modules when a name is first captured. A computed one, such as f"{x}", is seen
when it is used: from then on it is the script's, and a warning tells what had been captured before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, TypeVar, cast

from flor_ray import calls
from flor_ray.automatic.printed import LINE_CHARACTERS, Number, numbers_in
from flor_ray.automatic.torch_first import import_torch_if_used
from flor_ray.recording import script, session
from flor_ray.recording.recorder import Recorder
from flor_ray.records import LogRecord
from flor_ray.store import typed_values

T = TypeVar("T")
Report = Callable[[str, Number], None]

_NAMES = 500  # names with a file or a sample in them are no features; as many columns as anybody would read
_UP = "\x1b[A"  # how tqdm moves back, in a write of its own, from a bar that stands below another one
_BARS = 16  # as many rows of bars are remembered
_END = re.compile(r"\r\n|\n|\r")
_OURS = "flor-"  # begins the names of our own threads (flor_ray.recording.journal), whose libraries log as well


@contextlib.contextmanager
def capturing(path: Path) -> Iterator[None]:
    """Record the script at `path`, which the body of the `with` statement runs, and what it prints.

    Recording begins with the script's first line, inside its own frame, as if a call to us stood there. Does nothing in
    a process that does not record (a worker, a rank that is not the first).
    """
    taps = _Taps()
    before = sys.getprofile()

    def begin(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "<module>" and frame.f_code.co_filename == str(path):
            sys.setprofile(before)
            import_torch_if_used(path)
            recorder = cast(CapturingRecorder, CapturingRecorder.start())  # what `start` makes is of its own class
            session.install(recorder)
            taps.open(recorder.capture)

    if calls.records_here():
        sys.setprofile(begin)
    try:
        yield
    finally:
        if sys.getprofile() is begin:  # the script did not even begin
            sys.setprofile(before)
        taps.close()


class CapturingRecorder(Recorder):
    """A Recorder that takes captured numbers as well, for all names that are not the script's own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._own: set[str] = set()  # names that the script gave to us
        self._captured: Counter[str] = Counter()
        self._read: set[str] = set()  # files in whose sources names were looked for
        self._modules = 0
        self._users_code = script.users_code(self._root)
        self._thread = threading.get_ident()
        self._one_at_a_time = threading.Lock()

    def arg(self, name: str, default: object) -> Any:
        """An argument, recorded as by Recorder. From now on nothing that is printed under this name is captured."""
        self._claim(name)
        return super().arg(name, default)

    def log(self, name: str, value: T) -> T:
        """A value, recorded as by Recorder. From now on nothing that is printed under this name is captured."""
        self._claim(name)
        return super().log(name, value)

    def capture(self, name: str, value: Number) -> None:
        """Record a printed number. Unlike a call to `log`, a print does not prove that the script goes on: it may
        stand in a `finally` that an exception runs through."""
        with self._one_at_a_time:
            if name in self._own or (name not in self._captured and not self._accepts(name)):
                return
            if threading.get_ident() == self._thread:
                self._held_loops.close_left()
            self._captured[name] += 1
            level, epoch, step, iteration = self._context.key(name)
            self._journal.log(LogRecord(level, epoch, step, name, iteration, typed_values.encode(value), time.time()))

    def _claim(self, name: str) -> None:
        if name in self._own:
            return
        self._own.add(name)
        if name in self._captured:
            self._tell_once(
                f"{name!r} was captured {self._captured[name]} times from what the script prints before the script "
                "logged it itself: from now on only its own values are recorded. Print it under another name, or write "
                "its name as plain text in flor.log, to keep the two apart."
            )

    def _accepts(self, name: str) -> bool:
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._read_sources()
        if name in self._own:
            return False
        if len(self._captured) >= _NAMES:
            self._tell_once(
                f"The script has printed numbers under {_NAMES} names; further ones are not captured. "
                "Use flor.log for those that matter."
            )
            return False
        return True

    def _read_sources(self) -> None:
        """Names that the script's own modules give to us as plain text."""
        from flor_ray.propagation.reading.statements import (  # the first number pays for the parser
            find_args,
            find_statements,
        )

        for name, module in list(sys.modules.items()):
            filename = getattr(module, "__file__", None)
            if filename and filename not in self._read and (name == "__main__" or self._users_code(module)):
                self._read.add(filename)
                text = self._sources.remember(filename)
                found = (*find_statements(text, filename), *find_args(text, filename))
                self._own.update(statement.name for statement in found if statement.name is not None)


class _Taps:
    """What is watched, and how to stop watching it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._streams: list[_Stream] = []

    def open(self, report: Report) -> None:
        muted = _Muted()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "__dict__"):
                tap = _Stream(stream, report, muted)
                self._streams.append(tap)
                self._stack.callback(tap.close)
        _watch_logging(self._stack, report, muted)
        _mute_warnings(self._stack, muted)
        os.register_at_fork(after_in_child=self._stack.close)  # workers write, but nothing of it is recorded

    def close(self) -> None:
        for tap in self._streams:
            tap.drain()
        self._stack.close()


class _Muted(threading.local):
    """Whether what this thread writes is not to be read: it has been read already, or is not the script's."""

    on = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        before, self.on = self.on, True
        try:
            yield
        finally:
            self.on = before


class _Pending(threading.local):
    """A line of one thread that is not complete yet: threads that print at once do not mix their lines."""

    text = ""
    redraw = False  # it began with a carriage return: a progress bar
    row = 0  # of the terminal, counted from where the thread began: bars may stand below one another

    def __init__(self) -> None:
        self.drawn: dict[int, dict[str, Number]] = {}  # what the bar in a row showed before


class _Stream:
    """Watches `write` and `flush` of a text stream."""

    def __init__(self, stream: TextIO, report: Report, muted: _Muted) -> None:
        self._stream, self._report, self._muted = stream, report, muted
        self._write, self._flush = stream.write, stream.flush
        self._pending = _Pending()
        self._closed = False
        self._watches = {"write": self.write, "flush": self.flush}
        vars(stream).update(self._watches)

    def close(self) -> None:
        """Stop. A script that has put its own `write` in the place of ours keeps it."""
        self._closed = True
        for name, watch in self._watches.items():
            if vars(self._stream).get(name) is watch:
                del vars(self._stream)[name]

    def write(self, text: str) -> int:
        written = self._write(text)  # the terminal first: if it fails, the script hears of it as without us
        if not (self._muted.on or self._closed):
            if "\n" in text or "\r" in text:
                self._read(text)
            else:  # print() writes each value, separator and end by itself
                self._append(text)
        return written

    def flush(self) -> None:
        self._flush()
        # A bar is complete when it is shown, not when the next begins.
        if self._pending.redraw and not (self._muted.on or self._closed):
            self._bar(self._pending.text)

    def drain(self) -> None:
        """Read a last line that has no end."""
        self._finish()

    def _read(self, text: str) -> None:
        if text == "\n":
            self._finish()
            self._pending.redraw = False
            self._pending.row += 1
            return
        position = 0
        for end in _END.finditer(text):
            self._append(text[position : end.start()])
            position = end.end()
            returns = end.group() == "\r"
            self._finish(returns)
            self._pending.redraw = returns
            self._pending.row += not returns
        self._append(text[position:])

    def _append(self, text: str) -> None:
        pending = self._pending
        if _UP in text:  # back from a bar that stands below another one; what it shows is complete
            self._finish(returns=True)
            pending.row -= text.count(_UP)
            text = text.replace(_UP, "")
        if text and len(pending.text) <= LINE_CHARACTERS:  # one more shows that the line was longer
            pending.text = (pending.text + text)[: LINE_CHARACTERS + 1]

    def _finish(self, returns: bool = False) -> None:
        """The pending line is complete: it ends with a carriage return (`returns`), or with a newline."""
        pending = self._pending
        text, pending.text = pending.text, ""
        if pending.redraw or (returns and text):
            self._bar(text)
        elif text and (found := numbers_in(text)):
            with self._muted():
                for name, number in found:
                    self._report(name, number)

    def _bar(self, text: str) -> None:
        """A bar is drawn again and again: what it shows is a value when it has changed."""
        pending = self._pending
        if text and not text.strip():  # wiped out: the next in its row is another one
            pending.drawn.pop(pending.row, None)
        before = pending.drawn.get(pending.row, {})
        changed = [pair for pair in numbers_in(text) if repr(before.get(pair[0])) != repr(pair[1])]  # nan is not nan
        if changed:
            pending.drawn = dict(list(pending.drawn.items())[-_BARS:]) | {pending.row: before | dict(changed)}
        with self._muted():
            for name, number in changed:
                self._report(name, number)


def _watch_logging(stack: contextlib.ExitStack, report: Report, muted: _Muted) -> None:
    call_handlers, handle = logging.Logger.callHandlers, logging.Handler.handle

    def watched_call(logger: logging.Logger, record: logging.LogRecord) -> None:
        call_handlers(logger, record)
        if not muted.on and not threading.current_thread().name.startswith(_OURS):
            with muted():
                for line in _message(record).splitlines():
                    for name, number in numbers_in(line):
                        report(name, number)

    def watched_handle(handler: logging.Handler, record: logging.LogRecord) -> Any:
        with muted():
            return handle(handler, record)

    for owner, name, watch in (
        (logging.Logger, "callHandlers", watched_call),
        (logging.Handler, "handle", watched_handle),
    ):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, watch)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - objects' own __str__ may raise anything; the handlers have told of it
        return ""


def _mute_warnings(stack: contextlib.ExitStack, muted: _Muted) -> None:
    """A warning's words, ours among them, are no features."""
    show = warnings.showwarning

    def show_muted(*arguments: Any, **named: Any) -> None:
        with muted():
            show(*arguments, **named)

    stack.callback(setattr, warnings, "showwarning", show)
    warnings.showwarning = show_muted

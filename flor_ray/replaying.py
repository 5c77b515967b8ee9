"""Replaying: the same four calls as in recording, in a process that runs one patched version. No Ray here.

    worker ── Segment ──> Channel ──> Replayer ── restores, runs epochs first..last ──> Channel ── records ──> worker

The script runs from its top. At the main loop the Replayer takes segments from its channel: it restores the checkpoint
before a segment, lets the script run the segment's epochs, hands over what was logged, and takes the next one, in any
order. So data preparation is paid once per process. When there are no more segments the process ends, without running
the rest of the script.
"""

from __future__ import annotations

import ast
import os
import pickle
import random
import runpy
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from flor_ray import rng, schema, session, workspace
from flor_ray import script as scripts
from flor_ray.checkpoints import Capturer, LoadedState
from flor_ray.choosing import Chooser, Scope
from flor_ray.context import Context, Role
from flor_ray.errors import ReplayError
from flor_ray.files import Files
from flor_ray.objects import Objects
from flor_ray.records import LogRecord, Operator, Point, Segment, Variant
from flor_ray.results import SegmentResult
from flor_ray.session import CheckpointOptions

T = TypeVar("T")

_PARENT_SECONDS = 1.0  # how often a replay process looks whether its worker is still there


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """What a replay process needs to know of its version, besides its segments."""

    store_url: str
    root: str  # folder with the version's patched files
    original_root: str  # folder of the user's repository when the version was recorded; never written to
    script: str  # relative to root
    argv: tuple[str, ...]
    cwd: str  # relative to root, or absolute if it was outside the repository
    args: Mapping[str, object]  # recorded values of flor.arg
    checkpoints: Mapping[tuple[int, Point], str]  # (epoch, point) -> key
    rng: str | None = None  # key of the random state when the run began


class Channel(Protocol):
    """Where segments come from and results go to."""

    def next(self) -> Segment | None: ...

    def done(self, result: SegmentResult) -> None: ...


@dataclass(slots=True)
class PipeChannel:
    """The channel to a worker in another process. If that is gone, this process has nothing left to do."""

    connection: Connection
    root: str

    def next(self) -> Segment | None:
        try:
            segment: Segment | None = self.connection.recv()
        except (EOFError, OSError):
            _abandon(self.root)
        return segment

    def done(self, result: SegmentResult | ScriptError) -> None:
        try:
            self.connection.send(result)
        except OSError:
            _abandon(self.root)


class Replayer:
    """The session of a replayed script."""

    def __init__(self, task: ReplayTask, channel: Channel, objects: Objects, waits: bool, started: float) -> None:
        self._task = task
        self._channel = channel
        self._objects = objects
        self._context = Context(waits=waits)
        self._sources = scripts.LoopSources()
        self._held_loops = scripts.HeldLoops()
        self._capturer = Capturer(Chooser(scripts.users_code(Path(task.root).resolve())), recording=False)
        self._records: list[LogRecord] = []
        self._warnings: list[str] = []
        self._segment = channel.next()
        self._clock = started
        self._setup_seconds = 0.0
        self._main: Scope | None = None
        self._first_call = True
        self._moved = False  # the state is no longer what the prefix left
        self._ended = False  # all epochs of the segment have run; it is over when the script shows that it goes on

    # the four calls

    def arg(self, name: str, default: object) -> Any:
        self._begin_call()
        value = self._task.args.get(name, default)
        if isinstance(default, tuple) and isinstance(value, list):  # JSON knows no tuples
            value = tuple(value)
        self._context.count_outside(name)
        return value

    def log(self, name: str, value: T) -> T:
        self._begin_call()
        level, epoch, step, iteration = self._context.key(name)
        self._records.append(LogRecord(level, epoch, step, name, iteration, schema.encode(value), time.time()))
        return value

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        self._begin_call()
        self._capturer.add(targets)
        self._context.waits = False

    def loop(self, name: str | None, iterable: Iterable[T], frame: FrameType) -> Iterator[T]:
        self._held_loops.close_left()
        scope = Scope("main", frame, self._sources.names(frame), only_live=True)
        iterator = self._loop(name, iterable, scope)
        if scope.names.lines is not None:
            self._held_loops.add(iterator, frame, scope.names.lines)
        return iterator

    # loops

    def _loop(self, name: str | None, iterable: Iterable[T], scope: Scope) -> Generator[T, None, None]:
        self._begin_call()
        role = self._context.enter()
        if role is Role.MAIN:
            self._main = scope
            if self._task.checkpoints:
                self._capturer.enter(scope)
            yield from self._main_loop(iterable)
        elif role is Role.NESTED:
            yield from self._nested_loop(iterable, replace(scope, slot="nested", only_live=False))
        else:
            try:
                yield from iterable
            finally:
                self._context.leave(role)

    def _main_loop(self, iterable: Iterable[T]) -> Iterator[T]:
        self._setup_seconds = self._lap()
        elements = _Elements(iterable)
        try:
            while (segment := self._segment) is not None:
                if segment.operator is Operator.DP_STAR:
                    yield from self._whole_loop(segment, elements)
                    if segment.suffix:
                        return
                    self._finish()
                if segment.operator is Operator.DP:
                    if segment.suffix:
                        self._restore(Point.EPOCH_END, self._last_epoch(segment))
                        return
                    self._finish()
                else:
                    yield from self._epochs(segment, elements)
                    self._finish()
            self._exit()
        finally:
            self._context.leave(Role.MAIN)

    def _whole_loop(self, segment: Segment, elements: _Elements[T]) -> Iterator[T]:
        """All epochs; of a run that did not end, those that it finished."""
        epoch = 1
        while elements.has(epoch) and (segment.suffix or epoch <= segment.last):
            self._context.begin_epoch(epoch)
            self._moved = True
            self._ended = not segment.suffix and epoch == segment.last
            yield elements.at(epoch)
            self._ended = False
            epoch += 1

    def _epochs(self, segment: Segment, elements: _Elements[T]) -> Iterator[T]:
        begin = (segment.restore or 0) + 1
        if segment.restore is None and self._moved:
            raise ReplayError(f"Segment {segment.id} starts from the prefix, but this process has already left it.")
        for epoch in range(begin, segment.last + 1):
            if not elements.has(epoch):
                raise ReplayError(
                    f"The main loop ended after epoch {epoch - 1}; when recorded it went on to epoch {segment.last}. "
                    "Its number of epochs depends on something that has changed since."
                )
            element = elements.at(epoch)  # taken before the state is put back: it may draw random numbers
            if epoch == begin and segment.restore is not None:
                self._restore(Point.EPOCH_END, segment.restore)
            self._context.begin_epoch(epoch)
            self._moved = True
            self._ended = epoch == segment.last  # if the script leaves the loop now, it is a `break`
            yield element
            self._ended = False

    def _nested_loop(self, iterable: Iterable[T], scope: Scope) -> Iterator[T]:
        epoch = self._context.epoch or 0
        first = self._context.nested_in_epoch == 1
        try:
            skip = self._segment is not None and self._segment.variant is Variant.OUTER and first
            if skip and (epoch, Point.NESTED_EXIT) in self._task.checkpoints:
                self._capturer.enter(scope, iterable)
                self._restore(Point.NESTED_EXIT, epoch, scope)
                return
            for step, element in enumerate(iterable):
                self._context.step = step
                yield element
        finally:
            self._context.leave(Role.NESTED)

    # state

    def _restore(self, point: Point, epoch: int, scope: Scope | None = None) -> None:
        state = LoadedState.read(self._objects, self._task.checkpoints[epoch, point])
        self._capturer.restore(state, "main" if scope is None else scope.slot)
        self._moved = True

    def _last_epoch(self, segment: Segment) -> int:
        if segment.restore is None:
            raise ReplayError(f"Segment {segment.id} runs the suffix, but names no checkpoint to start it from.")
        return segment.restore

    def _begin_call(self) -> None:
        """First call: the random state must be the recorded one. Later ones: did the script leave the main loop?"""
        self._held_loops.close_left()
        if self._ended and self._context.epoch is None:
            self._finish(exhausted=True)
            self._exit()
        if not self._first_call:
            return
        self._first_call = False
        if self._task.rng is None:
            return
        recorded = pickle.loads(self._objects.get(self._task.rng))
        current = rng.global_state()
        fresh = rng.undrawn(recorded) & rng.undrawn(current)  # another seed, and no harm done yet
        same = rng.same_global_state(recorded, {name: current[name] for name in current.keys() - fresh})
        if not same and self._has_called_something():
            self._warnings.append(
                "the script draws random numbers before its first flor call, from a generator that it does not seed: "
                "data prepared before that may differ from the recorded run's"
            )
        rng.set_global_state(recorded)

    def _has_called_something(self) -> bool:
        """Whether the main script has called anything but us so far; imports alone prepare no data."""
        frame = scripts.main_frame(sys._getframe(1))
        if frame is None:
            return True
        try:
            tree = ast.parse(self._sources.remember(frame.f_code.co_filename))
        except (SyntaxError, ValueError):
            return True
        code = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        before = [s for s in tree.body if (s.end_lineno or s.lineno) < frame.f_lineno and not isinstance(s, code)]
        return any(isinstance(node, ast.Call) for statement in before for node in ast.walk(statement))

    # segments

    def _finish(self, exhausted: bool = False) -> None:
        segment = self._segment
        if segment is None:
            return
        outside = segment.operator is not Operator.DP_I
        kept = tuple(record for record in self._records if outside or record.epoch is not None)
        self._records = [] if outside else [record for record in self._records if record.epoch is None]
        result = SegmentResult(segment, kept, self._setup_seconds, self._lap(), tuple(self._warnings), exhausted)
        self._setup_seconds = 0.0
        self._ended = False
        self._warnings.clear()
        self._channel.done(result)
        self._segment = None if exhausted else self._channel.next()
        self._clock = time.perf_counter()

    def script_ended(self) -> None:
        """The script has run to its end: what is still open is what runs to the end."""
        if self._main is None:
            self._setup_seconds = 0.0
        if self._segment is not None and self._segment.operator is Operator.DP_I and not self._ended:
            raise ReplayError(
                "The script ended before the epochs that are wanted: its main loop was not reached, or it was left "
                "earlier than when it was recorded."
            )
        self._finish(exhausted=True)

    def _exit(self) -> None:
        """End the process here: the rest of the script is not wanted, and its `finally` blocks must not run."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds


class _Elements(Generic[T]):
    """The main loop's elements by epoch. Those that have been drawn are kept, so that replay can go back."""

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator = iter(iterable)
        self._drawn: list[T] = []

    def has(self, epoch: int) -> bool:
        while len(self._drawn) < epoch:
            try:
                self._drawn.append(next(self._iterator))
            except StopIteration:
                return False
        return True

    def at(self, epoch: int) -> T:
        if not self.has(epoch):
            raise IndexError(f"the main loop has no epoch {epoch}")
        return self._drawn[epoch - 1]


@dataclass(frozen=True, slots=True)
class ScriptError:
    """What a replay process sends instead of a result when its script, or the replay of it, fails."""

    message: str
    trace: str


def serve(connection: Connection) -> None:
    """Body of a replay process: receive a ReplayTask, run its script, and answer its segments until there are none."""
    started = scripts.process_started()
    task: ReplayTask = connection.recv()
    threading.Thread(target=_end_with, args=(os.getppid(), task.root), daemon=True).start()
    channel = PipeChannel(connection, task.root)
    try:
        run_script(task, channel, started)
    except BaseException as error:  # noqa: BLE001 - whatever the script raised is the answer
        channel.done(ScriptError(f"{type(error).__name__}: {error}".strip(), traceback.format_exc()))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def run_script(task: ReplayTask, channel: Channel, started: float) -> None:
    """Run a version's script under a Replayer. Most often this does not return: the process ends with its segments."""
    objects = Objects(Files(task.store_url))
    workspace.guard(Path(task.root), Path(task.original_root))
    script = Path(task.root, task.script)
    os.chdir(Path(task.root, task.cwd))
    sys.argv = [os.path.relpath(script), *task.argv]
    sys.path[0] = str(script.parent)
    if task.rng is not None:
        _start_rng(pickle.loads(objects.get(task.rng)))
    replayer = Replayer(
        task, channel, objects, scripts.calls_checkpointing(script.read_text(errors="replace")), started
    )
    session.install(replayer)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise ReplayError(f"the script called sys.exit({leaving.code!r})") from leaving
    replayer.script_ended()


def _end_with(parent: int, root: str) -> None:
    """End this process when the worker that started it is gone."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    _abandon(root)


def _abandon(root: str) -> NoReturn:
    """End now, and remove the files that the worker would have removed."""
    shutil.rmtree(Path(root).parent, ignore_errors=True)
    os._exit(1)


def _start_rng(state: Mapping[str, Any]) -> None:
    """Put generators from which nothing had been drawn when recording began into that state before the script runs."""
    fresh = rng.undrawn(state)
    if fresh:
        rng.set_global_state({"python": random.getstate()} | {name: state[name] for name in fresh})

"""Recording: what `arg`, `log`, `loop` and `checkpointing` do while a script trains.

    script ── log ──> buffer ── every second ──> F      (Journal's thread)
           ── loop ─> Snapshot ── queue ───────> S, C   (Journal's other thread)

Training never dies for a failed write: the loss is reported as a warning.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, TypeVar

from flor_ray import redaction
from flor_ray.analysis.loops import LoopNames
from flor_ray.analysis.source import calls_checkpointing
from flor_ray.environment import import_seconds, opened
from flor_ray.environment.inputs import InputFiles
from flor_ray.environment.surroundings import MODULE_KEY, RunSurroundings
from flor_ray.errors import FlorWarning
from flor_ray.recording import flags, script, session, train_worker
from flor_ray.recording.agreement import Agreement, FirstRank
from flor_ray.recording.board import Announcement, Identity, TorchBoard, backend
from flor_ray.recording.checkpointer import Checkpointer
from flor_ray.recording.context import Context, Role
from flor_ray.recording.endings import ScriptEnding
from flor_ray.recording.journal import Journal
from flor_ray.recording.launch import launch_here
from flor_ray.recording.names import KeptNames
from flor_ray.recording.pending import PendingCheckpoint
from flor_ray.recording.rank_journal import RankJournal
from flor_ray.recording.session import CheckpointOptions, Steering
from flor_ray.records import (
    ENTRIES,
    FIRST_CALL,
    HIDDEN_ARGS,
    HIDDEN_ARGV,
    RANKS,
    EpochTimes,
    Experiment,
    Level,
    LogRecord,
    Profile,
    Status,
)
from flor_ray.state import buckets, random_states
from flor_ray.state.checkpoints import Capturer
from flor_ray.state.driven import DrivenLoop
from flor_ray.state.frames import HeldLoops
from flor_ray.state.selection import Chooser, LoopFrame
from flor_ray.store import cache, typed_json, typed_values
from flor_ray.store.project import Project
from flor_ray.wording import printable

T = TypeVar("T")

DRIVEN_ELSEWHERE = LoopNames(unknown="a library runs it, and not as the main loop")
_ARRANGED_EPOCHS = 3  # after which it is known in which order gradients are summed


class Recorder:
    """Records one run. Create it with `start`, which commits the code that runs."""

    def __init__(
        self,
        experiment: Experiment,
        journal: Journal | RankJournal,
        root: Path,
        surroundings: RunSurroundings,
        waits: bool,
        ending: ScriptEnding,
        agreement: Agreement | None = None,
    ) -> None:
        self.experiment = experiment
        self._ending = ending
        self._surroundings = surroundings
        self._journal = journal
        self._context = Context(waits=waits)
        self._sources = script.LoopSources()
        self._held_loops = HeldLoops()
        self._clock = self._process_started = script.process_started()
        is_users = script.users_code(root)
        taken = script.taken_by(experiment.script, surroundings.script_text, root, is_users)
        capturer = Capturer(Chooser(is_users), text_of=self._text_of)
        self._checkpointer = Checkpointer(capturer, journal, self._clock, self._tell_once, taken, agreement)
        self._root = root
        self._pid = os.getpid()
        self._backend = ""  # of the ranks' group, when the main loop began
        self._buckets: tuple[int, ...] | None = ()  # how gradients are summed over them, by now
        self._args: dict[str, object] = {}
        self._hidden_args: dict[str, str] = {}  # those with secrets, and the variable that a replay looks for; "": none
        self._held: list[PendingCheckpoint] = []  # taken when a loop was left early: kept only if the script goes on
        self._held_epoch: EpochTimes | None = None
        self._epochs: list[EpochTimes] = []
        self._main_name: str | None = None
        self._main_place: tuple[str | None, tuple[str, int]] | None = None  # name, file and line
        self._main_scope: LoopFrame | None = None  # of iterations
        self._entries = 0  # how often the main loop was entered
        self._is_driven = False  # a library runs the main loop
        self._nested_name: str | None = None
        self._setup_seconds, self._import_seconds = 0.0, 0.0
        self._steps: list[int] = []  # of the first nested loop of each epoch
        self._in_epoch = False
        self._parts = [0.0, 0.0, 0.0]
        self._warned: set[str] = set()
        self._names = KeptNames(lambda message: _warn(message, stacklevel=6))  # the script's line
        self._error: str | None = None
        self._closed = False

    @classmethod
    def start(cls) -> Recorder:
        """Begin a run: commit the working tree to the shadow branch, and open the store.

        Raises:
            NoRepository: the script is not inside a git repository.
            StoreError: the store cannot be opened.
        """
        began = time.perf_counter()
        in_worker = script.in_ray_worker()
        frame, path = script.frame_and_file(sys._getframe(1))
        project = Project.open(str(path.parent) if path else ".")
        repository, store = project.repository, project.store
        root = Path(repository.root)
        driver = train_worker.driver_of(path) if in_worker and path is not None else None
        main = path if driver is None else driver.script
        name = main.relative_to(root).as_posix() if main is not None and main.is_relative_to(root) else ""
        run = redaction.redacted(printable(flags.current().run))
        with opened.paused():
            commit = repository.commit_shadow(f"flor: {run or name or 'interactive'}")
        for note in commit.notes:
            _warn(note)
        for left_out in commit.left_out:
            _warn(f"{left_out.path} ({left_out.bytes} bytes) is not kept with this version: {left_out.reason}.")
        sources = script.LoopSources()
        text = sources.remember(str(path)) if path is not None else ""
        surroundings = RunSurroundings(root, text, script.users_code(root))
        environment = surroundings.at_start()
        environment["rng"] = store.objects.put(pickle.dumps(random_states.global_state()))
        environment["lock"] = store.objects.put(surroundings.lock.encode())
        if (place := script.users_place(sys._getframe(1), root.resolve())) is not None:
            environment[FIRST_CALL] = list(place)
        board, launch = None, launch_here(bool(driver and name) if in_worker else None)
        if launch is not None:
            board = TorchBoard()
            environment[RANKS] = typed_json.to_plain(replace(launch, folder=_below(Path.cwd(), root)))
        if in_worker:
            environment["worker"] = "ray"
        if frame is not None and text and not script.is_compiled_from(frame, text):
            environment["source_changed"] = True
            _warn(
                f"{name} was edited after this process had started: version {commit.version[:8]} holds the edited text,"
                " not the code that runs now. Values replayed for this version may differ; run it again to be sure."
            )
        if frame is not None and (module := script.module_name(frame)):
            environment[MODULE_KEY] = module
        elif driver is not None and driver.module:
            environment[MODULE_KEY] = driver.module
        argv, hidden = redaction.command_line(sys.argv[1:] if driver is None else driver.argv)
        if hidden:
            environment[HIDDEN_ARGV] = hidden
            names = ", ".join(variable for variable, _ in hidden.values())
            _warn(
                "The command line has secrets, which are not recorded. A replay takes them from its environment: "
                f"{names}."
            )
        cwd = Path(opened.folder_at_start() or "." if driver is None else driver.cwd or root).resolve()
        experiment = Experiment(
            project=project.name,
            version=commit.version,
            parent=commit.parent,
            script=name,
            run=run,
            started=time.time(),
            ended=None,
            status=Status.RUNNING,
            argv=argv,
            cwd=cwd.relative_to(root).as_posix() if cwd.is_relative_to(root) else str(cwd),
            environment=environment,
        )
        store.begin_run(experiment)
        inputs = InputFiles(repository.root, folders_of_ours(store.url))
        journal = Journal(store, experiment, repository, inputs)
        of_script = None if in_worker else frame or script.main_frame(_main_threads_frame())
        agreement = None if board is None else FirstRank(board)
        ending = ScriptEnding(of_script, text)
        recorder = cls(experiment, journal, root, surroundings, calls_checkpointing(text), ending, agreement)
        if board is not None:
            Announcement(board, Identity(store.url, project.name, commit.version)).begin()
        recorder._sources = sources
        recorder._attach()
        recorder._clock += time.perf_counter() - began  # no replay does this
        return recorder

    # the four calls

    def arg(self, name: str, default: object) -> Any:
        self._confirm()
        kept = self._names.of(name)
        if kept is None:
            return default
        with self._context.lock:
            if kept not in self._args:
                text = flags.current().kwargs.get(name)
                value = default if text is None else flags.convert(name, text, default)
                self._args[kept] = value
                iteration = self._context.count_outside(kept)  # also in a loop, an argument belongs to the whole run
                recorded = redaction.hide(kept, value)
                if recorded is not value:  # by default it is what the script itself makes, in a replay too
                    self._hidden_args[kept] = "" if text is None else redaction.variable_of(kept)
                encoded = typed_values.encode(recorded)
                self._journal.log(LogRecord(Level.DATA_PREP, None, None, kept, iteration, encoded, time.time()))
            return self._args[kept]

    def log(self, name: str, value: T) -> T:
        self._held_loops.close_left()
        if self._held and self._context.is_loops_thread:  # what another thread does says nothing of the loop
            self._confirm()
        try:
            kept = self._names.known[name]
        except (KeyError, TypeError):
            found = self._names.of(name)
            if found is None:
                return value
            kept = found
        level, epoch, step, iteration = self._context.key(kept)
        encoded = typed_values.encode_later(value)
        record = LogRecord(level, epoch, step, kept, iteration, encoded, time.time())
        self._journal.log(record, typed_values.waiting_bytes(encoded))
        return value

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        self._checkpointer.add(targets, options)
        self._context.waits = False

    def loop(
        self, name: str | None, iterable: Iterable[T], frame: FrameType, driven: DrivenLoop | None = None
    ) -> Iterator[T]:
        self._held_loops.close_left()
        frame = frame if driven is None else driven.frame
        place = (self._relative(frame.f_code.co_filename), frame.f_lineno)
        names = self._sources.names(frame) if driven is None else DRIVEN_ELSEWHERE
        scope = LoopFrame("main", frame, names, only_live=True)
        iterator = self._loop(None if name is None else self._names.of(name), iterable, scope, place, driven)
        if scope.names.lines is not None:
            self._held_loops.add(iterator, frame, scope.names.lines)
        return iterator

    @contextlib.contextmanager
    def iteration(self, name: str, frame: FrameType) -> Iterator[None]:
        self._held_loops.close_left()
        self._confirm()
        name = self._names.of(name) or "iteration"
        role = self._context.enter_iteration(name)
        if role is Role.MAIN:
            if self._context.epoch == 1:
                self._main_loop_of_iterations_begins(name, frame)
            elif self._main_scope is not None and self._main_scope.frame is not frame:
                self._entries += not self._main_scope.names.unknown
                self._main_scope = replace(self._main_scope, frame=frame)
            self._begin_epoch(self._context.epoch or 0)
        elif role is Role.NESTED:
            self._nested_name = self._nested_name or name
            self._parts[1 if self._context.step else 0] += self._lap()
        failed = True
        try:
            yield
            failed = False
        finally:
            epoch = self._context.epoch or 0
            self._context.leave(role)
            if role is Role.MAIN:
                self._end_epoch(epoch, last=failed, hold=failed, returned=failed)
            elif role is Role.NESTED:
                self._parts[1] += self._lap()

    def _main_loop_of_iterations_begins(self, name: str, frame: FrameType) -> None:
        self._main_name = name
        self._set_up(self._lap())
        scope = LoopFrame("main", frame, self._sources.iteration_names(frame), only_live=False)
        self._main_scope, self._entries = scope, 1
        place = (self._relative(frame.f_code.co_filename), frame.f_lineno)
        self._keep(self._checkpointer.main_loop_begins(scope, place))

    # loops

    def steering(self) -> Steering:
        return Steering()

    def _loop(
        self,
        name: str | None,
        iterable: Iterable[T],
        scope: LoopFrame,
        place: tuple[str, int],
        driven: DrivenLoop | None,
    ) -> Generator[T, None, None]:
        """A generator, so that `break`, `return` and exceptions close it; its role is decided when it is entered."""
        self._confirm()
        role = self._context.enter()
        if role is Role.MAIN:
            self._main_place = name, place
            if driven is not None:
                self._is_driven = True
                self._checkpointer.drive(driven)
        if driven is not None and self._is_driven:
            scope = replace(scope, names=LoopNames())
        self._entries += self._main_place == (name, place)
        if role is Role.MAIN:
            yield from self._main_loop(name or "epoch", iterable, scope, place)
        elif role is Role.NESTED:
            yield from self._nested_loop(name or "step", iterable, replace(scope, slot="nested", only_live=False))
        else:
            try:
                yield from iterable
            finally:
                self._context.leave(role)

    def _main_loop(self, name: str, iterable: Iterable[T], scope: LoopFrame, place: tuple[str, int]) -> Iterator[T]:
        self._main_name = name
        self._set_up(self._lap())
        self._keep(self._checkpointer.main_loop_begins(scope, place))
        epochs = len(iterable) if isinstance(iterable, Sized) else None
        epoch, left_early = 0, True
        try:
            for epoch, element in enumerate(iterable, start=1):
                self._begin_epoch(epoch)
                yield element
                self._held_loops.close_left()
                self._end_epoch(epoch, last=epoch == epochs)
            left_early = False
            self._keep(self._checkpointer.main_loop_ends(epoch))
        finally:
            if left_early and self._in_epoch:
                self._end_epoch(epoch, last=True, hold=True, returned=not _left_by_break(scope))
            self._context.leave(Role.MAIN)
            self._lap()
            if "worker" in self.experiment.environment and (not left_early or _left_by_break(scope)):
                self._confirm()
                self._journal.settle(self._ended(0.0))  # Ray kills its workers when they have done their work

    def _nested_loop(self, name: str, iterable: Iterable[T], scope: LoopFrame) -> Iterator[T]:
        first = self._context.nested_in_epoch == 1
        epoch = self._context.epoch or 0
        if first:
            self._nested_name = name
            self._parts[0] += self._lap()
            self._checkpointer.nested_loop_begins(epoch, scope, iterable)
            self._lap()
        left_early, steps = True, 0
        try:
            for step, element in enumerate(iterable):
                self._context.begin_step(step)
                steps = step + 1
                yield element
            left_early = False
        finally:
            self._context.leave(Role.NESTED)
            if first:
                self._steps.append(steps)
                self._parts[1] += self._lap()
                returned = left_early and not _left_by_break(scope)
                self._keep(self._checkpointer.nested_loop_ends(epoch, scope, returned), hold=left_early)

    def _begin_epoch(self, epoch: int) -> None:
        if self._context.iterations is None:
            self._context.begin_epoch(epoch)
        self._checkpointer.epoch_begins(epoch)
        self._in_epoch = True
        self._parts = [0.0, 0.0, 0.0]
        self._lap()

    def _end_epoch(self, epoch: int, last: bool = False, hold: bool = False, returned: bool = False) -> None:
        """The epoch ran through, or (hold) was left early: then it counts only if the script goes on after it."""
        self._confirm()
        self._in_epoch = False
        self._parts[2 if self._context.nested_in_epoch else 0] += self._lap()
        head, inner, tail = self._parts
        times = EpochTimes(epoch, head, inner, tail, self._context.steps)
        if not self._buckets and epoch <= _ARRANGED_EPOCHS and RANKS in self.experiment.environment:
            self._buckets = buckets.order_here()
        if hold:
            self._held_epoch = times
        else:
            self._epochs.append(times)
        self._keep(self._checkpointer.epoch_ends(times, last, returned), hold)

    def _text_of(self, filename: str) -> str:
        return self._sources.without_inserted(filename)

    def _relative(self, filename: str) -> str:
        path = Path(filename)
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else filename

    def _keep(self, pending: PendingCheckpoint | None, hold: bool = False) -> None:
        """Hand a checkpoint on; one that was taken where a loop was left early is held until the script goes on."""
        if pending is not None and hold:
            self._held.append(pending)
        elif pending is not None:
            self._journal.checkpoint(pending)
        self._clock = time.perf_counter()  # what the snapshot cost is not the script's own time

    def _tell_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _warn(message)

    def _confirm(self) -> None:
        """The script goes on after a loop was left early, so it was a `break`, and what was held is real."""
        for pending in self._held:
            self._journal.checkpoint(pending)
        self._held.clear()
        if self._held_epoch is not None:
            self._epochs.append(self._held_epoch)
            self._held_epoch = None

    def _set_up(self, seconds: float) -> None:
        self._setup_seconds = seconds
        self._backend = backend()
        self._import_seconds = min(seconds, import_seconds.stop(self._process_started))

    def _lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds

    # the end

    def _attach(self) -> None:
        """Be told of every way in which the process may end, except SIGKILL."""
        atexit.register(self.close)
        self._workers_warned = mmap.mmap(-1, 1)  # memory that this process shares with all that it forks
        os.register_at_fork(after_in_child=self._after_fork)
        self._ending.watch(self._leaves)
        with contextlib.suppress(ValueError):  # not the main thread: SIGTERM is then seen as a crash
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._on_sigterm)

    def failed(self, error: BaseException) -> None:
        """The script ended by raising this, and who runs it has caught that."""
        self._ending.tell(error)

    def _leaves(self, error: str | None) -> None:
        """The process is about to end at once, by os._exit."""
        self._close(error)

    def _after_fork(self) -> None:
        """A forked worker stays silent, and dies of SIGTERM at once: with a handler of Python's, a signal that comes
        just before it waits for a semaphore would never be heard (pools end their workers like that)."""
        session.install(session.Passive("a worker process of the script", self._workers_warned))
        opened.stop()
        with contextlib.suppress(ValueError):  # forked from another thread than the main one
            if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._close("SIGTERM")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def close(self) -> None:
        """The script is over: write everything that is still in memory, and how it ended. Does nothing the second
        time."""
        self._close(self._ending.error())

    def _close(self, error: str | None) -> None:
        if self._closed or os.getpid() != self._pid:
            return
        self._closed, self._error = True, error
        if self._error is None:
            self._confirm()
        if self._main_name is None:
            self._set_up(self._lap())
        seconds = self._lap()
        unused = set(map(printable, flags.current().kwargs)) - self._args.keys()
        if unused:
            _warn(f"--kwargs {', '.join(sorted(unused))}: no flor.arg in the script asked for it.")
        self._journal.close(self._ended(seconds))

    def _ended(self, suffix_seconds: float) -> Experiment:
        """This run, as if it ended now."""
        steps = median(self._steps or [0])
        more: dict[str, object] = {ENTRIES: self._entries} if self._entries > 1 else {}
        launch = self.experiment.environment.get(RANKS)
        if isinstance(launch, dict):
            more[RANKS] = launch | {
                "backend": self._backend or backend(),
                "exchanged": self._journal.exchanged(),
                "buckets": self._buckets,
            }
        if self._hidden_args:
            more[HIDDEN_ARGS] = dict(self._hidden_args)
        return replace(
            self.experiment,
            ended=time.time(),
            status=Status.FINISHED if self._error is None else Status.FAILED,
            args={name: value for name, value in self._args.items() if name not in self._hidden_args},
            main_loop=self._main_name,
            nested_loop=self._nested_name,
            epochs=len(self._epochs),
            profile=Profile(self._setup_seconds, tuple(self._epochs), suffix_seconds, self._import_seconds, steps),
            environment=dict(self.experiment.environment) | self._surroundings.at_end() | more,
            error=self._error,
        )


def _below(folder: Path, root: Path) -> str:
    """A folder's path relative to `root`; "": it is not below that."""
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else ""


def _main_threads_frame() -> FrameType | None:
    return sys._current_frames().get(threading.main_thread().ident or 0)


def _left_by_break(scope: LoopFrame) -> bool:
    """Whether the loop in this frame is being left by a `break` that nothing but the code after the loop follows."""
    return scope.frame.f_lineno in scope.names.breaks and not scope.names.has_else


def folders_of_ours(store_url: str) -> list[str]:
    """Folders in which this process reads and writes for us."""
    cached = os.environ.get(cache.FOLDER_VARIABLE) or cache.default_folder(os.environ)
    return [os.path.abspath(os.path.expanduser(folder)) for folder in (store_url.removeprefix("file://"), cached)]


def _warn(message: str, stacklevel: int = 3) -> None:
    warnings.warn(message, FlorWarning, stacklevel=stacklevel)

"""Recording: what `arg`, `log`, `loop` and `checkpointing` do while a script trains.

    script ── log ──> buffer ── every second ──> F      (Journal's thread)
           ── loop ─> Snapshot ── queue ───────> S, C   (Journal's other thread)

Training never dies for a failed write: the loss is reported as a warning.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import platform
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

from flor_ray import flags, rng, schema, script, session
from flor_ray.checkpoints import Capturer, Scope, Snapshot
from flor_ray.context import Context, Role
from flor_ray.errors import FlorWarning
from flor_ray.journal import Journal, PendingCheckpoint
from flor_ray.project import Project
from flor_ray.records import GRADIENTS, EpochTimes, Experiment, Level, LogRecord, Point, Profile, Status

T = TypeVar("T")

_ENVIRONMENT_PREFIXES = ("CUDA_VISIBLE_DEVICES", "CUBLAS_", "OMP_", "MKL_", "PYTHONHASHSEED", "TOKENIZERS_PARALLELISM")


class Recorder:
    """Records one run. Create it with `start`, which commits the code that runs."""

    def __init__(self, experiment: Experiment, journal: Journal, root: Path, waits: bool) -> None:
        self.experiment = experiment
        self._journal = journal
        self._context = Context(waits=waits)
        self._sources = script.LoopSources()
        self._capturer = Capturer(script.users_class(root))
        self._root = root
        self._pid = os.getpid()
        self._args: dict[str, object] = {}
        self._checkpoints = False
        self._main: Scope | None = None
        self._place = ("", 0)
        self._generators: dict[str, Any] = {}  # by loop name: the loader itself
        self._held: list[PendingCheckpoint] = []  # taken when a loop was left early: kept only if the script goes on
        self._held_epoch: EpochTimes | None = None
        self._epochs: list[EpochTimes] = []
        self._main_name: str | None = None
        self._nested_name: str | None = None
        self._clock = script.process_started()
        self._setup_seconds = 0.0
        self._in_epoch = False
        self._parts = [0.0, 0.0, 0.0]
        self._warned: set[str] = set()
        self._error: str | None = None
        self._closed = False

    @classmethod
    def start(cls) -> Recorder:
        """Begin a run: commit the working tree to the shadow branch, and open the store.

        Raises:
            NoRepository: the script is not inside a git repository.
            StoreError: the store cannot be opened.
        """
        frame = script.main_frame(sys._getframe(1))
        filename = frame.f_globals.get("__file__") if frame is not None else None
        path = Path(filename).resolve() if filename else None
        project = Project.open(str(path.parent) if path else ".")
        repository, store = project.repository, project.store
        root = Path(repository.root)
        name = path.relative_to(root).as_posix() if path is not None and path.is_relative_to(root) else ""
        run = flags.current().run
        commit = repository.commit_shadow(f"flor: {run or name or 'interactive'}")
        for left_out in commit.left_out:
            _warn(f"{left_out.path} ({left_out.bytes} bytes) is not kept with this version: {left_out.reason}.")
        environment = _environment() | {"rng": store.objects.put(pickle.dumps(rng.global_state()))}
        sources = script.LoopSources()
        text = sources.remember(str(path)) if path is not None else ""
        if frame is not None and text and not script.is_compiled_from(frame, text, str(path)):
            environment["source_changed"] = True
            _warn(
                f"{name} was edited after this process had started: version {commit.version[:8]} holds the edited text,"
                " not the code that runs now. Values replayed for this version may differ; run it again to be sure."
            )
        cwd = Path.cwd()
        experiment = Experiment(
            project=project.name,
            version=commit.version,
            parent=commit.parent,
            script=name,
            run=run,
            started=time.time(),
            ended=None,
            status=Status.RUNNING,
            argv=tuple(sys.argv[1:]),
            cwd=cwd.relative_to(root).as_posix() if cwd.is_relative_to(root) else str(cwd),
            environment=environment,
        )
        store.begin_run(experiment)
        journal = Journal(store, experiment, repository)
        recorder = cls(experiment, journal, root, waits=script.calls_checkpointing(text))
        recorder._sources = sources
        recorder._attach()
        return recorder

    # the four calls

    def arg(self, name: str, default: object) -> Any:
        self._confirm()
        if name not in self._args:
            text = flags.current().kwargs.get(name)
            value = default if text is None else flags.convert(name, text, default)
            self._args[name] = value
            iteration = self._context.count_outside(name)  # also in a loop, an argument belongs to the whole run
            record = LogRecord(Level.DATA_PREP, None, None, name, iteration, schema.encode(value), time.time())
            self._journal.log(record)
        return self._args[name]

    def log(self, name: str, value: T) -> T:
        if self._held:
            self._confirm()
        level, epoch, step, iteration = self._context.key(name)
        self._journal.log(LogRecord(level, epoch, step, name, iteration, schema.encode(value), time.time()))
        return value

    def add_targets(self, targets: Mapping[str, Any]) -> None:
        self._capturer.add(targets)
        self._checkpoints = True
        self._context.waits = False

    def loop(self, name: str | None, iterable: Iterable[T], frame: FrameType) -> Iterator[T]:
        place = (frame.f_code.co_filename, frame.f_lineno)
        return self._loop(name, iterable, Scope("main", frame, self._sources.names(frame), only_live=True), place)

    # loops

    def _loop(self, name: str | None, iterable: Iterable[T], scope: Scope, place: tuple[str, int]) -> Iterator[T]:
        """A generator, so that `break`, `return` and exceptions close it; its role is decided when it is entered."""
        self._confirm()
        role = self._context.enter()
        if role is Role.MAIN:
            yield from self._main_loop(name or "epoch", iterable, scope, place)
        elif role is Role.NESTED:
            yield from self._nested_loop(name or "step", iterable, replace(scope, slot="nested", only_live=False))
        else:
            try:
                yield from iterable
            finally:
                self._context.leave(role)

    def _main_loop(self, name: str, iterable: Iterable[T], scope: Scope, place: tuple[str, int]) -> Iterator[T]:
        self._main_name, self._main, self._place = name, scope, place
        self._setup_seconds = self._lap()
        self._checkpoint(Point.EPOCH_END, 0, self._main, None)
        epoch, left_early = 0, True
        try:
            for epoch, element in enumerate(iterable, start=1):
                self._begin_epoch(epoch)
                yield element
                self._end_epoch(epoch)
            left_early = False
        finally:
            if left_early and self._in_epoch:
                self._end_epoch(epoch, hold=True)
            self._context.leave(Role.MAIN)
            self._lap()

    def _nested_loop(self, name: str, iterable: Iterable[T], scope: Scope) -> Iterator[T]:
        first = self._context.nested_in_epoch == 1
        epoch = self._context.epoch or 0
        if first:
            self._nested_name = name
            self._parts[0] += self._lap()
        if rng.generator_states(iterable):
            self._generators[name] = iterable
        left_early = True
        try:
            for step, element in enumerate(iterable):
                self._context.step = step
                yield element
            left_early = False
        finally:
            self._context.leave(Role.NESTED)
            if first:
                self._parts[1] += self._lap()
                self._checkpoint(Point.NESTED_EXIT, epoch, None, scope, hold=left_early)

    def _begin_epoch(self, epoch: int) -> None:
        self._context.begin_epoch(epoch)
        self._in_epoch = True
        self._parts = [0.0, 0.0, 0.0]
        self._lap()

    def _end_epoch(self, epoch: int, hold: bool = False) -> None:
        """The epoch ran through, or (hold) was left early: then it counts only if the script goes on after it."""
        self._confirm()
        self._in_epoch = False
        self._parts[2 if self._context.nested_in_epoch else 0] += self._lap()
        times = EpochTimes(epoch, *self._parts)
        if hold:
            self._held_epoch = times
        else:
            self._epochs.append(times)
        self._checkpoint(Point.EPOCH_END, epoch, self._main, None, times=times, hold=hold)

    # checkpoints

    def _checkpoint(
        self,
        point: Point,
        epoch: int,
        main: Scope | None,
        nested: Scope | None,
        times: EpochTimes | None = None,
        hold: bool = False,
    ) -> None:
        if not self._checkpoints or self._main is None:
            return
        names = self._main.names
        generators = {name: rng.generator_states(loader) for name, loader in self._generators.items()}
        try:
            with_gradients = not names.clears_gradients_first
            snapshot = self._capturer.take(
                [scope for scope in (main, nested) if scope is not None], generators, with_gradients
            )
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything; training must go on
            _warn(f"No checkpoint of epoch {epoch}: {type(error).__name__}: {error}")
            return
        if point is Point.EPOCH_END:  # the next epoch clears old gradients before it reads any
            snapshot.uncaptured -= {GRADIENTS}
        self._tell_uncaptured(snapshot, point)
        pending = PendingCheckpoint(snapshot, point, epoch, *self._place, times)
        if hold:
            self._held.append(pending)
        else:
            self._journal.checkpoint(pending)
        self._clock = time.perf_counter()  # what the snapshot cost is not the script's own time

    def _tell_uncaptured(self, snapshot: Snapshot, point: Point) -> None:
        missing = snapshot.uncaptured if point is Point.EPOCH_END else frozenset()
        for name in sorted(missing - self._warned):
            _warn(
                f"Variable {name!r} is carried from epoch to epoch but cannot be kept in a checkpoint (it cannot be "
                "pickled, or is too large): replays of this version run from the start instead."
            )
        for name in sorted(snapshot.opaque - self._warned):
            _warn(
                f"{name!r} is used in the main loop but cannot be kept in a checkpoint; values that depend on it may "
                "differ."
            )
        self._warned |= missing | snapshot.opaque

    def _confirm(self) -> None:
        """The script goes on after a loop was left early, so it was a `break`, and what was held is real."""
        for pending in self._held:
            self._journal.checkpoint(pending)
        self._held.clear()
        if self._held_epoch is not None:
            self._epochs.append(self._held_epoch)
            self._held_epoch = None

    def _lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds

    # the end

    def _attach(self) -> None:
        """Be told of every way in which the process may end, except SIGKILL."""
        atexit.register(self.close)
        os.register_at_fork(after_in_child=lambda: session.install(session.Passive()))
        previous = sys.excepthook

        def on_exception(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
            self._error = f"{kind.__name__}: {value}".splitlines()[0][:500]
            previous(kind, value, trace)

        sys.excepthook = on_exception
        with contextlib.suppress(ValueError):  # not the main thread: SIGTERM is then seen as a crash
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._error = "SIGTERM"
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def close(self) -> None:
        """Write everything that is still in memory, and how the run ended. Does nothing the second time."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        if self._error is None:
            self._confirm()
        seconds = self._lap()
        if self._main is None:
            self._setup_seconds, seconds = seconds, 0.0
        unused = flags.current().kwargs.keys() - self._args.keys()
        if unused:
            _warn(f"--kwargs {', '.join(sorted(unused))}: no flor.arg of the script asked for it.")
        self._journal.close(
            replace(
                self.experiment,
                ended=time.time(),
                status=Status.FINISHED if self._error is None else Status.FAILED,
                args=self._args,
                main_loop=self._main_name,
                nested_loop=self._nested_name,
                epochs=len(self._epochs),
                profile=Profile(self._setup_seconds, tuple(self._epochs), seconds),
                environment=dict(self.experiment.environment) | {"packages": _packages()},
                error=self._error,
            )
        )


def _warn(message: str) -> None:
    warnings.warn(message, FlorWarning, stacklevel=3)


def _environment() -> dict[str, object]:
    """What a replay needs to run in the same conditions, and a reader to tell runs apart."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": schema.process_start_ticks(os.getpid()),
        "machine": platform.machine(),
        "threads": torch.get_num_threads() if torch is not None else None,
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_ENVIRONMENT_PREFIXES)},
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch is not None else [],
    }


def _packages() -> dict[str, str]:
    """Versions of the imported top-level packages that say which one they are."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        version = getattr(module, "__version__", None) if "." not in name and not name.startswith("_") else None
        if isinstance(version, str):
            found[name] = version
    return found

"""One replay slot: prepares a version's files, runs its segments in one process, and writes what is new to the store.

A worker keeps the process of the version that it ran last, so that data preparation is paid once per (version, worker),
and the servers that such processes are forked from, so that imports are paid once per worker. It knows nothing of Ray;
a Ray actor and a thread wrap it alike.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from flor_ray import calibrations, hardware, results, workspace
from flor_ray.causes import Evidence
from flor_ray.claims import Claims
from flor_ray.environment import Expected, for_replay, path_of
from flor_ray.errors import Cancelled, LimitExceeded, ProcessKilled, ReplayError, ScriptFailed
from flor_ray.fidelity import RecordedValues
from flor_ray.limits import Watch
from flor_ray.marking import Marking
from flor_ray.packages import installed
from flor_ray.preload import Preload, preload
from flor_ray.records import DEFAULT_LIMITS, Checkpoint, Experiment, Limits, Operator, Segment, SegmentReport
from flor_ray.replay_task import ReplayTask
from flor_ray.replaying import ScriptError
from flor_ray.results import SegmentResult
from flor_ray.scheduler.calibration import Calibration
from flor_ray.store import Store
from flor_ray.warm import WarmServer, describe_status

_OUTPUT_BYTES = 4000  # of a failing script's output that go into the error
_EXIT_SECONDS = 5.0  # for a replay process to leave by itself once it has nothing to do
_POLL_SECONDS = 0.25  # between two looks whether a segment keeps its limits
_MODULES = ("*.py", "*/__init__.py")
_MAX_SERVERS = 2  # that a worker keeps: each holds the libraries of an environment in memory


@dataclass(frozen=True, slots=True)
class VersionJob:
    """What a worker needs to know of a version to replay segments of it."""

    store_url: str
    origin: str  # id of this replay
    experiment: Experiment
    checkpoints: tuple[Checkpoint, ...]
    patches: Mapping[str, str] = field(default_factory=dict)  # path -> source with the statements propagated
    original_root: str = ""  # the user's folder, "" where it is not at hand
    doubtful: Mapping[str, str] = field(default_factory=dict)  # feature -> variable that no checkpoint could keep
    limits: Limits = DEFAULT_LIMITS  # of each segment
    marking: Marking = field(default_factory=Marking)
    leave: frozenset[int] = frozenset()  # epochs that may be left early although the next one follows
    packages: tuple[str, ...] = ()  # to be installed for it, in an environment of its own: toolz==0.11.0
    expected: Expected = field(default_factory=Expected)  # where the driver thinks that it runs


class Worker:
    """Replays segments, one at a time. `without_gpu` hides GPUs that the slot does not own."""

    def __init__(self, without_gpu: bool = True) -> None:
        self._without_gpu = without_gpu
        self.kind = hardware.kind_here(not without_gpu)
        self._process: _ReplayProcess | None = None
        self._servers = _Servers()
        self._store: Store | None = None
        self._claims_folder = tempfile.TemporaryDirectory(prefix="flor-claims-")
        self._claims = Claims(Path(self._claims_folder.name, "claims"))
        self._lock = threading.Lock()  # `shorten`, `cancel` and `epoch` are called from other threads than `run`
        self._running: Segment | None = None
        self._cancelled = False
        self._start_seconds = 0.0  # of imports that no report has told yet

    def warm(self, job: VersionJob) -> None:
        """Import what the version imports, so that the first segment need not. Raises StoreError for a version whose
        files cannot be read, and ReplayError if there can be no server."""
        self._servers.seconds = 0.0
        store = self._open(job.store_url)
        with _Folder(job, store) as folder:
            self._servers.prepared(folder.preload(self._without_gpu))
        self._start_seconds += self._servers.seconds
        # Reading the store takes libraries that this process, too, imports when it first needs them.
        RecordedValues.read(store, job.experiment.project, job.experiment.version)

    def calibrate(self, job: VersionJob) -> Calibration:
        """Measure what a worker of this class takes, in a second or two. Raises ReplayError if no process answers."""
        store = self._open(job.store_url)
        return calibrations.calibrate(store, job.experiment.project, os.environ, self._without_gpu)

    def run(self, job: VersionJob, segment: Segment) -> SegmentReport:
        """Replay a segment and write its rows. Doing it again writes the same file again.

        Raises:
            ScriptFailed: the script raised, exceeded a limit, or did not behave as when it was recorded.
            ProcessKilled: its process was killed; running it again may succeed.
            Cancelled: `cancel` was called before it was done.
            StoreError: the version's files or the checkpoint cannot be read.
        """
        began = time.perf_counter()
        self._servers.seconds = 0.0
        store = self._open(job.store_url)
        with self._lock:
            self._running, self._cancelled = segment, False
            self._claims.begin(segment.last)
        try:
            was_there, process = self._process, self._process_for(job, segment, store)
            ready = time.perf_counter()
            result = process.run(segment, lambda: self._cancelled)
        except ReplayError:
            self._end_process()
            raise
        finally:
            with self._lock:
                self._running = None
        if result.exhausted:
            self._end_process()
        answered = time.perf_counter()
        evidence = process.evidence
        setup = 0.0
        if process is not was_there:
            judging = time.perf_counter() - answered  # input files are looked at once
            setup = ready - began - self._servers.seconds + result.setup_seconds + judging
        result = replace(
            result,
            kind=self.kind,
            start_seconds=self._start_seconds + self._servers.seconds,
            setup_seconds=setup,
            run_seconds=time.perf_counter() - began - self._servers.seconds - setup,
        )
        self._start_seconds = 0.0
        return results.write(store, job.experiment, job.origin, process.recorded, result, job.doubtful, evidence)

    def shorten(self, segment: Segment, last: int) -> int:
        """Let the running segment end after epoch `last`, or after the one that it is in if that is later. Returns its
        last epoch from now on: as before, if it is not running or runs as a whole."""
        with self._lock:
            if not self._runs(segment) or segment.operator is not Operator.DP_I:
                return segment.last
            return self._claims.shorten(max(last, segment.first))

    def cancel(self, segment: Segment) -> None:
        """Leave the segment if it is running: `run` raises Cancelled soon, unless it is nearly done."""
        with self._lock:
            self._cancelled = self._cancelled or self._runs(segment)

    def epoch(self, segment: Segment) -> int:
        """The epoch in which the segment is; 0 before the first one, and if it is not running."""
        with self._lock:
            return self._claims.claimed if self._runs(segment) else 0

    def _runs(self, segment: Segment) -> bool:
        """Whether it is what runs, or was that before it was shortened."""
        return self._running is not None and replace(self._running, last=segment.last) == segment

    def close(self) -> None:
        """End the live process and remove its files; end the servers."""
        self._end_process()
        self._servers.close()
        self._claims.close()
        self._claims_folder.cleanup()

    def _end_process(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.close()

    def _open(self, url: str) -> Store:
        if self._store is None or self._store.url != url:
            self._store = Store(url)
        return self._store

    def _process_for(self, job: VersionJob, segment: Segment, store: Store) -> _ReplayProcess:
        live = self._process
        if live is not None and (live.job != job or segment.from_prefix):
            self._end_process()
        if self._process is None:
            claims = str(self._claims.path)
            self._process = _ReplayProcess(job, store, self._servers, self._without_gpu, claims)
        return self._process


class _Servers:
    """Warm servers by environment; the one that was not used for longest makes room for another."""

    def __init__(self) -> None:
        self._by_environment: dict[frozenset[tuple[str, str]], WarmServer] = {}  # least recently used first
        self.seconds = 0.0  # that `prepared` took since this was last set to 0

    def prepared(self, wanted: Preload) -> WarmServer:
        """A server with the environment and the imports that are wanted."""
        began = time.perf_counter()
        key = frozenset(wanted.environment.items())
        server = self._by_environment.pop(key, None)
        if server is not None and not server.alive:
            server.close()
            server = None
        if server is None:
            while len(self._by_environment) >= _MAX_SERVERS:
                self._by_environment.pop(next(iter(self._by_environment))).close()
            server = WarmServer(wanted.environment)
        self._by_environment[key] = server
        server.preload(wanted)
        self.seconds += time.perf_counter() - began
        return server

    def close(self) -> None:
        for server in self._by_environment.values():
            server.close()
        self._by_environment.clear()


class _Folder:
    """A version's files, as they are replayed, in a folder of their own. Raises StoreError if they cannot be read."""

    def __init__(self, job: VersionJob, store: Store) -> None:
        self._job = job
        self.path = Path(tempfile.mkdtemp(prefix=f"flor-{job.experiment.version[:8]}-"))
        self.root = self.path / Path(job.original_root or job.experiment.project).name
        try:
            self._files = self._materialise(store)
        except BaseException:
            self.remove()
            raise

    @property
    def texts(self) -> dict[str, str]:
        """Of its Python files, by path."""
        return {p: data.decode(errors="replace") for p, data in self._files.items() if p.endswith(".py")}

    def preload(self, without_gpu: bool) -> Preload:
        """What the version may import early, also in view of modules that git ignores: they lie beside the others."""
        experiment = self._job.experiment
        recorded = [Path(self.root, entry) for entry in path_of(experiment.environment)]
        folders = {self.root, Path(self.root, experiment.script).parent, *recorded}
        at_hand = [(folder, path) for folder in folders for shape in _MODULES for path in folder.glob(shape)]
        # A module outside of the repository hides a library's like one at its root.
        roots = [(self.root if path.is_relative_to(self.root) else folder, path) for folder, path in at_hand]
        paths = {*self._files, *(path.relative_to(root).as_posix() for root, path in roots)}
        sources = {p: data for p, data in self._files.items() if p.endswith(".py")}
        return preload(sources, experiment.script, paths, for_replay(experiment.environment, os.environ, without_gpu))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _materialise(self, store: Store) -> dict[str, bytes]:
        """Write the version's files, and answer them by path."""
        job = self._job
        files = {
            name: (source.data, source.mode)
            for name, source in store.sources(job.experiment.project, job.experiment.version).items()
        }
        for name, text in job.patches.items():
            files[name] = (text.encode("utf-8", "surrogateescape"), files[name][1])
        self.root.mkdir(parents=True)
        workspace.materialise(self.root, files, Path(job.original_root) if job.original_root else None)
        return {name: data for name, (data, _) in files.items()}


class _ReplayProcess:
    """A version's script in a process of its own, in a folder of its own."""

    def __init__(self, job: VersionJob, store: Store, servers: _Servers, without_gpu: bool, claims: str) -> None:
        self.job = job
        self._claims = claims
        self._output_begin = 0  # where the output of the segment that runs begins
        self._began: float | None = None  # of the first segment, whose time includes the set-up; None once it has run
        self._warnings = _surprises(job.expected)  # told with the first segment
        self.recorded = RecordedValues.read(store, job.experiment.project, job.experiment.version)
        self._folder = _Folder(job, store)
        self._output = self._folder.path / "output.txt"
        try:
            self._start(servers.prepared(self._folder.preload(without_gpu)))
        except BaseException:
            self._folder.remove()
            raise

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What its replays are judged by. Input files are looked at once."""
        root = self.job.original_root or str(self._folder.root)
        return results.evidence(self.job.experiment, self.job.checkpoints, self._folder.texts, root)

    def run(self, segment: Segment, is_cancelled: Callable[[], bool]) -> SegmentResult:
        began, self._began = self._began or time.monotonic(), None
        watch = Watch(self.job.limits, self._process.pid, began)
        self._output_begin = self._output.stat().st_size
        try:
            self._connection.send(segment)
            while not self._connection.poll(_POLL_SECONDS):
                if self._process.wait(0) is not None and not self._connection.poll(0):
                    raise EOFError  # it has ended; something that it left behind holds the connection open
                if is_cancelled():
                    self._process.kill()
                    raise Cancelled("Another worker was faster.")
                if (sentence := watch.breach()) is not None:
                    self._process.kill()
                    raise LimitExceeded(*self._failure(sentence))
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, ScriptError):
            message, output = self._failure(answer.message)
            raise ScriptFailed(message, f"{answer.trace}{output}")
        assert isinstance(answer, SegmentResult)  # the other end is ours
        warnings, self._warnings = (*self._warnings, *answer.warnings), ()
        return replace(answer, warnings=warnings)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.send(None)
        self._connection.close()
        with contextlib.suppress(ProcessKilled):  # its server has ended, and it with that
            if self._process.wait(_EXIT_SECONDS) is None:
                self._process.kill()
                self._process.wait(_EXIT_SECONDS)
        self._folder.remove()

    def _ended(self) -> ReplayError:
        """The process has closed its connection instead of answering."""
        status = self._process.wait(_EXIT_SECONDS)
        if status is None:
            self._process.kill()
            return ScriptFailed(*self._failure("The script closed the replay process's connection to its worker."))
        if status < 0:
            return ProcessKilled(self._failure(f"The replay process {describe_status(status)}.")[0])
        return ScriptFailed(*self._failure(f"The script's process {describe_status(status)}."))

    def _start(self, server: WarmServer) -> None:
        task = self._task()
        ours, theirs = socket.socketpair()
        with theirs, self._output.open("wb") as output:
            self._process = server.fork(output, theirs, str(self._folder.path))
        self._began = time.monotonic()
        self._connection = Connection(ours.detach())
        self._connection.send(task)

    def _task(self) -> ReplayTask:
        experiment = self.job.experiment
        rng = experiment.environment.get("rng")
        return ReplayTask(
            store_url=self.job.store_url,
            root=str(self._folder.root),
            original_root=self.job.original_root or str(self._folder.root),
            script=experiment.script,
            argv=experiment.argv,
            cwd=experiment.cwd,
            args=experiment.args,
            checkpoints={(c.epoch, c.point): c.key for c in self.job.checkpoints},
            rng=rng if isinstance(rng, str) else None,
            sys_path=path_of(experiment.environment),
            marks=self.job.marking.marks,
            stops=self.job.marking.stops,
            leave=self.job.leave,
            sizes={(c.epoch, c.point): c.bytes for c in self.job.checkpoints},
            clocked=self.job.marking.clocked,
            claims=self._claims,
        )

    def _failure(self, sentence: str) -> tuple[str, str]:
        """A message that ends with the segment's last output, or the last of all if it has none; and that output."""
        try:
            with self._output.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                begin = self._output_begin if end > self._output_begin else 0
                file.seek(max(begin, end - _OUTPUT_BYTES))
                text = file.read().decode(errors="replace").strip()
        except OSError:  # the script has removed it
            text = ""
        return (f"{sentence}\nIts last output:\n{text}" if text else sentence), text


def _surprises(expected: Expected) -> tuple[str, ...]:
    """What the driver did not know of this environment when it said how a version's was another one."""
    unlike = expected.unlike(platform.python_version(), installed())
    if not unlike:
        return ()
    return (f"the worker on {socket.gethostname()} that replayed it has {unlike}: replayed values may differ",)

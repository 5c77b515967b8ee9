"""One replay slot: prepares a version's files, runs its segments in one process, and writes what is new to the store.

A worker keeps the process of the version that it ran last, so that imports and data preparation are paid once per
(version, worker). It knows nothing of Ray; a Ray actor and a thread wrap it alike.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from flor_ray import cache, results, workspace
from flor_ray.errors import ProcessKilled, ReplayError, ScriptFailed
from flor_ray.fidelity import RecordedValues
from flor_ray.records import Checkpoint, Experiment, Operator, Segment, SegmentReport
from flor_ray.replaying import ReplayTask, ScriptError
from flor_ray.results import SegmentResult
from flor_ray.store import Store

_OUTPUT_BYTES = 4000  # of a failing script's output that go into the error
_EXIT_SECONDS = 5.0  # for a replay process to leave by itself once it has nothing to do
_CHILD = (
    "import sys; from multiprocessing.connection import Connection; from flor_ray.replaying import serve; "
    "serve(Connection(int(sys.argv[1])))"
)


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


class Worker:
    """Replays segments, one at a time. `without_gpu` hides GPUs that the slot does not own."""

    def __init__(self, without_gpu: bool = True) -> None:
        self._without_gpu = without_gpu
        self._process: _ReplayProcess | None = None
        self._store: Store | None = None

    def run(self, job: VersionJob, segment: Segment) -> SegmentReport:
        """Replay a segment and write its rows. Doing it again writes the same file again.

        Raises:
            ScriptFailed: the script raised, or did not behave as when it was recorded.
            ProcessKilled: its process was killed; running it again may succeed.
            StoreError: the version's files or the checkpoint cannot be read.
        """
        store = self._open(job.store_url)
        process = self._process_for(job, segment, store)
        try:
            result = process.run(segment)
        except ReplayError:
            self.close()
            raise
        if result.exhausted:
            self.close()
        return results.write(store, job.experiment, job.origin, process.recorded, result, job.doubtful)

    def close(self) -> None:
        """End the live process and remove its files."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _open(self, url: str) -> Store:
        if self._store is None or self._store.url != url:
            self._store = Store(url)
        return self._store

    def _process_for(self, job: VersionJob, segment: Segment, store: Store) -> _ReplayProcess:
        live = self._process
        from_prefix = segment.operator is Operator.DP_STAR or (
            segment.operator is Operator.DP_I and segment.restore is None
        )
        if live is not None and (live.job != job or from_prefix):
            self.close()
        if self._process is None:
            self._process = _ReplayProcess(job, store, self._without_gpu)
        return self._process


class _ReplayProcess:
    """A version's script in a process of its own, in a folder of its own."""

    def __init__(self, job: VersionJob, store: Store, without_gpu: bool) -> None:
        self.job = job
        self._folder = Path(tempfile.mkdtemp(prefix=f"flor-{job.experiment.version[:8]}-"))
        self._root = self._folder / Path(job.original_root or job.experiment.project).name
        self._output = self._folder / "output.txt"
        self.recorded = RecordedValues.read(store, job.experiment.project, job.experiment.version)
        try:
            self._materialise(store)
            self._start(without_gpu)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def run(self, segment: Segment) -> SegmentResult:
        try:
            self._connection.send(segment)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            code = self._process.wait()
            if code < 0:
                name = signal.Signals(-code).name
                raise ProcessKilled(f"The replay process was killed by {name}.{self._tail()}") from error
            raise ScriptFailed(f"The script ended its process with exit status {code}.", self._tail()) from error
        if isinstance(answer, ScriptError):
            raise ScriptFailed(answer.message, f"{answer.trace}{self._tail()}")
        assert isinstance(answer, SegmentResult)  # the other end is ours
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.send(None)
        self._connection.close()
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _materialise(self, store: Store) -> None:
        experiment = self.job.experiment
        files = {
            name: (source.data, source.mode)
            for name, source in store.sources(experiment.project, experiment.version).items()
        }
        for name, text in self.job.patches.items():
            files[name] = (text.encode("utf-8", "surrogateescape"), files[name][1])
        self._root.mkdir(parents=True)
        original = Path(self.job.original_root) if self.job.original_root else None
        workspace.materialise(self._root, files, original)

    def _start(self, without_gpu: bool) -> None:
        experiment = self.job.experiment
        ours, theirs = socket.socketpair()
        with theirs, self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=_environment(experiment, without_gpu),
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        rng = experiment.environment.get("rng")
        self._connection.send(
            ReplayTask(
                store_url=self.job.store_url,
                root=str(self._root),
                original_root=self.job.original_root or str(self._root),
                script=experiment.script,
                argv=experiment.argv,
                cwd=experiment.cwd,
                args=experiment.args,
                checkpoints={(c.epoch, c.point): c.key for c in self.job.checkpoints},
                rng=rng if isinstance(rng, str) else None,
            )
        )

    def _tail(self) -> str:
        try:
            text = self._output.read_bytes()[-_OUTPUT_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""
        return f"\nIts last output:\n{text}" if text else ""


def _environment(experiment: Experiment, without_gpu: bool) -> dict[str, str]:
    """This process's environment with the recorded settings that change what a script computes."""
    ours = {name for name in os.environ if name.startswith("FLOR_RAY_") and name not in cache.VARIABLES}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment.pop("OMP_NUM_THREADS", None)  # Ray sets it; sums over threads would come out differently
    recorded = experiment.environment.get("variables")
    if isinstance(recorded, Mapping):
        environment |= {name: str(value) for name, value in recorded.items() if name != "CUDA_VISIBLE_DEVICES"}
    threads = experiment.environment.get("threads")
    if isinstance(threads, int):
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    # Several replays share a machine, each with as many threads as its record had: threads that wait must not spin.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for rank in ("RANK", "LOCAL_RANK"):
        environment.pop(rank, None)
    if without_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    environment["PYTHONUNBUFFERED"] = "1"
    return environment

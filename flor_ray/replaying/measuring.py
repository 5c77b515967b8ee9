"""What a new class of workers takes, measured in a second or two: forks that run a script which does nothing, and
checkpoints of the store that are read.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from flor_ray import processes
from flor_ray.environment.surroundings import for_replay
from flor_ray.errors import ReplayError
from flor_ray.records import Operator, Segment
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.task import ReplayTask
from flor_ray.replaying.warm import WarmServer
from flor_ray.scheduler.calibration import Calibration, Learned
from flor_ray.state.checkpoints import LoadedState
from flor_ray.store.store import Store

# The short calibration of a new class
_FORKS = 3
_FORK_SECONDS = 20.0  # after which a fork is given up
_READS = 3
_MOST_BYTES = 64 << 20  # of a checkpoint that is read to see how fast that is
_SCRIPT = "import flor_ray as flor\nfor _ in flor.loop('epoch', [0]):\n    pass\n"


def calibrate(store: Store, project: str, ours: Mapping[str, str], without_gpu: bool = True) -> Calibration:
    """Measure the class of worker that this process is, in a second or two: forks that run a script which does nothing,
    and checkpoints of the store that are read. `ours` is this process's environment.

    Raises:
        ReplayError: no process could be forked here.
        StoreError: the store cannot be read.
    """
    calibration = Calibration()
    with WarmServer(for_replay({}, ours, without_gpu)) as server:
        prepare = calibration.prepare
        for _ in range(_FORKS):
            prepare = prepare.learn(_timed(lambda: _fork(server, store.url)))
    latency, bandwidth = _reading(store, project, calibration)
    return Calibration(prepare=prepare, latency=latency, bandwidth=bandwidth)


def _fork(server: WarmServer, store_url: str) -> None:
    """What a set-up does, for a script that does nothing."""
    with tempfile.TemporaryDirectory(prefix=processes.folder_prefix("calibration")) as folder:
        root = Path(folder, "project")
        root.mkdir()
        root.joinpath("nothing.py").write_text(_SCRIPT, encoding="utf-8")
        task = ReplayTask(store_url, str(root), str(root), "nothing.py", (), ".", {}, {})
        ours, theirs = socket.socketpair()
        output = Path(folder, "output.txt")
        with theirs, output.open("wb") as file:
            process = server.fork(file, theirs, folder)
        with Connection(ours.detach()) as connection:
            connection.send(task)
            connection.send(Segment("calibration", 0, 0, Operator.DP))
            answer = connection.recv() if connection.poll(_FORK_SECONDS) else None
            if not isinstance(answer, SegmentResult):
                process.kill()
                said = getattr(answer, "message", None) or output.read_text(errors="replace").strip() or "nothing"
                raise ReplayError(f"A process that was forked to be timed did not answer. It said: {said}")
            connection.send(None)
        process.wait(_FORK_SECONDS)


def _reading(store: Store, project: str, calibration: Calibration) -> tuple[Learned, Learned]:
    """Latency and bandwidth from the smallest and the largest checkpoints of the newest run that has some."""
    latency, bandwidth = calibration.latency, calibration.bandwidth
    for experiment in reversed([e for e in store.experiments(project) if not e.is_imported]):
        found = sorted(store.checkpoints(project, experiment.version), key=lambda c: c.bytes)
        found = [c for c in found if c.bytes <= _MOST_BYTES]
        if not found:
            continue
        small, large = found[:_READS], found[-_READS:]
        for c in small:
            seconds = _timed(lambda key=c.key: LoadedState.read(store.objects, key))  # type: ignore[misc]
            latency = latency.learn(max(1e-5, seconds - c.bytes / bandwidth.value))
        for c in large:
            seconds = _timed(lambda key=c.key: LoadedState.read(store.objects, key))  # type: ignore[misc]
            if seconds > 2 * latency.value:
                bandwidth = bandwidth.learn(c.bytes / (seconds - latency.value))
        break
    return latency, bandwidth


def _timed(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started

"""What classes of workers take, in the store: one small file per replay and class, never changed; and how that is
measured of a class that nobody has seen.

    calibrations/<class>/<microseconds>-<random>.json

Each was learned from the one before it and a replay's reports, so the newest one holds. Any number of replays may keep
theirs at once: the one that is older by a moment is then forgotten, and with it the reports of one replay.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flor_ray import plan
from flor_ray.checkpoints import LoadedState
from flor_ray.environment import for_replay
from flor_ray.errors import FlorWarning, ReplayError
from flor_ray.files import Files
from flor_ray.fragments import quote
from flor_ray.hardware import kind as kind_of
from flor_ray.patching import Patched
from flor_ray.records import Checkpoint, Experiment, Operator, Region, Segment
from flor_ray.replay_task import ReplayTask
from flor_ray.results import SegmentResult
from flor_ray.scheduler.calibration import Calibration, Learned
from flor_ray.scheduler.costs import RecordedVersion, restore_bytes
from flor_ray.store import Store
from flor_ray.warm import WarmServer

_FOLDER = "calibrations"
_QUANTITIES = ("prepare", "imports", "latency", "bandwidth", "overhead", "epoch_overhead")
_LOOP = (Region.HEAD, Region.INNER, Region.TAIL)

# The short calibration of a new class
_FORKS = 3
_FORK_SECONDS = 20.0  # after which a fork is given up
_READS = 3
_MOST_BYTES = 64 << 20  # of a checkpoint that is read to see how fast that is
_SCRIPT = "import flor_ray as flor\nfor _ in flor.loop('epoch', [0]):\n    pass\n"


def recorded(
    experiment: Experiment, checkpoints: Iterable[Checkpoint], patched: Patched, calibration: Calibration
) -> RecordedVersion:
    """What is known of a version, for a `CostModel`. `calibration` is that of the workers it will run on."""
    found = tuple(checkpoints)
    return RecordedVersion(
        experiment.profile,
        restore_bytes(found),
        kind_of(experiment.environment),
        {name: region for name in patched.marking.stops if (region := patched.regions.get(name)) in _LOOP},
        plan.epochs_worth_leaving(experiment, found, calibration.bandwidth.value),
        patched.regions if patched.files else {},
    )


# --- in the store -----------------------------------------------------------------------------------------------------


def keep(files: Files, calibrations: Mapping[str, Calibration]) -> None:
    """Keep what was learned of classes of workers. It goes before what was kept earlier."""
    for kind, calibration in calibrations.items():
        folder = f"{_FOLDER}/{quote(kind or '-')}"
        newest = max((_microseconds(path) for path in files.list(folder)), default=0)
        data = json.dumps({"kind": kind, **_to_json(calibration)}, indent=1).encode()
        moment = max(int(time.time() * 1e6), newest + 1)  # later than all that could be seen
        files.create(f"{folder}/{moment:017d}-{secrets.token_hex(4)}.json", data)


def kept(files: Files) -> dict[str, Calibration]:
    """The newest calibration of each class.

    Warns:
        FlorWarning: a file is none; the one before it holds.
    """
    by_folder: dict[str, list[str]] = {}
    for path in sorted(files.list(_FOLDER), reverse=True):
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    found: dict[str, Calibration] = {}
    for paths in by_folder.values():
        for path in paths:
            try:
                row = json.loads(files.read(path))
                found[str(row["kind"])] = _from_json(row)
                break
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                warnings.warn(
                    f"{files.url}/{path} does not hold what a class of workers takes ({type(error).__name__}: {error}) "
                    "and is ignored. Delete it.",
                    FlorWarning,
                    stacklevel=2,
                )
    return found


def _to_json(calibration: Calibration) -> dict[str, Any]:
    row: dict[str, Any] = {name: _learned_json(getattr(calibration, name)) for name in _QUANTITIES}
    return row | {"slowness": {kind: _learned_json(found) for kind, found in calibration.slowness.items()}}


def _learned_json(learned: Learned) -> list[float]:
    return [learned.value, learned.spread, learned.count]


def _from_json(row: Mapping[str, Any]) -> Calibration:
    quantities = {name: _learned(row[name]) for name in _QUANTITIES if name in row}
    slowness = {str(kind): _learned(values) for kind, values in row["slowness"].items()}
    return Calibration(**quantities, slowness=slowness)


def _learned(values: Any) -> Learned:
    value, spread, count = float(values[0]), float(values[1]), int(values[2])
    if not (0 <= value < float("inf") and 0 <= spread < float("inf") and count >= 0):
        raise ValueError(f"{values} is no measurement")
    return Learned(value, spread, count)


def _microseconds(path: str) -> int:
    with contextlib.suppress(ValueError):
        return int(path.rpartition("/")[2].partition("-")[0])
    return 0


# --- measuring a new class --------------------------------------------------------------------------------------------


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
    with tempfile.TemporaryDirectory(prefix="flor-calibration-") as folder:
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
    for experiment in reversed(store.experiments(project)):
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

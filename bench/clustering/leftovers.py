"""Nothing is left of ten thousand segments: no process, descriptor or temporary file, and no memory that grows.

Versions of scripts that do next to nothing are replayed again and again, each epoch as a segment of its own, on worker
processes of this machine: real processes, forked from warm servers, that run one version's segments after each other.
So it is segments that are counted, not processes: a replay has a thousand segments of ten versions, and each version's
script is started once per replay and worker. The full run does a shorter one on a Ray of its own as well.

Everything of it has temporary files in a folder of its own, so that what is left there is its own; processes are known
by that folder in their environment, also those that nobody is the parent of any more.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from clustering import sleeping
from flor_ray import pipeline
from flor_ray.cluster.executors import Executor
from flor_ray.cluster.local import LocalExecutor
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.scheduler import packing
from flor_ray.store.project import Project

WORKERS = 2
_SAMPLE_SECONDS = 1.0
_SETTLE_SECONDS = 10.0  # for what was told to end
_WARM = 0.3  # of a worker's life, in which it imports and fills its caches
_LEAST_SAMPLES = 15  # of a process: what ran for a shorter time has only begun


@dataclass(frozen=True, slots=True)
class Sizes:
    versions: int
    epochs: int  # segments of each, in one replay
    replays: int
    on_ray: int  # replays


FULL = Sizes(10, 100, 10, 1)
QUICK = Sizes(4, 40, 2, 0)


@dataclass(slots=True)
class Samples:
    """Memory and descriptors of each process below this one, as time goes on."""

    memory: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    descriptors: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def take(self) -> None:
        for process in psutil.Process().children(recursive=True):
            try:
                self.memory[process.pid].append(process.memory_info().rss)
                self.descriptors[process.pid].append(process.num_fds())
            except psutil.Error:  # it has ended
                continue

    def growth(self, of: dict[int, list[int]]) -> int:
        """The most that one process has grown by, after its beginning."""
        grown = [0]
        for seen in of.values():
            warm = seen[int(len(seen) * _WARM) :]
            if len(warm) >= _LEAST_SAMPLES:
                third = len(warm) // 3
                grown.append(int(statistics.median(warm[-third:]) - statistics.median(warm[:third])))
        return max(grown)


def measure(quick: bool) -> dict[str, object]:
    """What is left of some hundred segments, or of ten thousand."""
    sizes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        project = sleeping.record(Path(folder, "project"), sizes.versions, sizes.epochs, 0.0)
        with _own_temporary_files(Path(folder)) as temporary:
            return _measured(project, sizes, temporary)


def _measured(project: Project, sizes: Sizes, temporary: Path) -> dict[str, object]:
    samples = Samples()
    warm = max(1, sizes.replays // 3)  # replays in which libraries are loaded and caches filled
    counted = sum(_replay(project, LocalExecutor(), samples) for _ in range(warm))
    before, descriptors = psutil.Process().memory_info().rss, psutil.Process().num_fds()
    for _ in range(sizes.replays - warm):
        counted += _replay(project, LocalExecutor(), samples)
    grown = psutil.Process().memory_info().rss - before
    opened = psutil.Process().num_fds() - descriptors
    on_ray = _on_ray(project, samples, sizes.on_ray) if sizes.on_ray else 0
    left, running = _left(temporary), _processes(temporary)
    if left or running:
        print(f"left: {', '.join([*left, *running])}", file=sys.stderr)
    return {
        "segments": counted,
        "segments_on_ray": on_ray,
        "temp_left": len(left),
        "processes_left": len(running),
        "descriptors_grown": max(0, opened, samples.growth(samples.descriptors)),
        "rss_growth_mb": round(max(0, grown) / (1 << 20), 1),
        "worker_rss_growth_mb": round(samples.growth(samples.memory) / (1 << 20), 1),
    }


def _replay(project: Project, executor: Executor, samples: Samples) -> int:
    """All of it once more; the number of segments."""
    prepared = _each_epoch(project)
    with _sampling(samples):
        outcome = pipeline.run(prepared, executor)
    if outcome.failures:
        raise RuntimeError(f"{len(outcome.failures)} segments failed, first {outcome.failures[0]}")
    return len(outcome.reports)


def _each_epoch(project: Project) -> Prepared:
    found = pipeline.prepare(project, [sleeping.NAME], terms=Terms(WORKERS), again=True)
    cutting = found.scheduled.cutting
    costs = [
        replace(cutting.cost(segment), run_seconds=0.05, setup_seconds=0.0)
        for whole in found.costs
        for segment in cutting.cut(whole.segment, cutting.points(whole.segment))
    ]
    return replace(found, scheduled=replace(found.scheduled, schedule=packing.pack(costs, WORKERS)))


def _on_ray(project: Project, samples: Samples, replays: int) -> int:
    import ray

    from flor_ray.cluster.actors import RayExecutor

    ray.init(
        "local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 << 20,
        _temp_dir=str(Path(tempfile.gettempdir()).parent / "ray"),
    )
    try:
        return sum(_replay(project, RayExecutor(), samples) for _ in range(replays))
    finally:
        ray.shutdown()


@contextmanager
def _own_temporary_files(folder: Path) -> Iterator[Path]:
    before, temporary = os.environ.get("TMPDIR"), folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    try:
        yield temporary
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


@contextmanager
def _sampling(samples: Samples) -> Iterator[None]:
    over = threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            samples.take()

    thread = threading.Thread(target=sample, name="samples", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _left(temporary: Path) -> list[str]:
    return _settled(lambda: sorted(os.listdir(temporary)))


def _processes(temporary: Path) -> list[str]:
    """What still runs with this folder for its temporary files."""

    def found() -> list[str]:
        names = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("TMPDIR") == str(temporary) and process.pid != os.getpid()
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    names.append(" ".join(process.cmdline()))
            except psutil.Error:  # somebody else's, or gone
                continue
        return names

    return _settled(found)


def _settled(look: Callable[[], list[str]]) -> list[str]:
    """What is there, once nothing is or some time has passed."""
    until = time.monotonic() + _SETTLE_SECONDS
    while (found := look()) and time.monotonic() < until:
        time.sleep(0.1)
    return found

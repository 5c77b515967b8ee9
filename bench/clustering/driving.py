"""What a replay costs its driver, and how well many workers are kept busy.

cost        real replays of segments of 20 ms on Ray: the driver's CPU time for each, and its memory meanwhile
makespan    actors that sleep in place of replaying, so that many fit on one machine: how much longer the replay
            takes than the least that it could from when the actors are there
long        10 000 segments of such actors: the driver's memory and open files meanwhile
simulated   the dispatcher in virtual time, with as many workers as no machine of ours holds
"""

from __future__ import annotations

import logging
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import heapify, heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

import psutil
import ray

from clustering import sleeping
from flor_ray import pipeline, running
from flor_ray.cluster import actors
from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.driver import Driver, Progress
from flor_ray.environment import hardware
from flor_ray.planning import segmenting
from flor_ray.records import Ending, Operator, Outcome, Segment, SegmentCost, SegmentReport
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler import bounds
from flor_ray.scheduler.packing import pack
from flor_ray.scheduler.problem import Cutting, Slot
from flor_ray.scheduler.simulate import simulate
from flor_ray.scheduler.world import World
from flor_ray.store.project import Project

SEGMENTS, QUICK_SEGMENTS = 500, 100
SETTLED = 50  # segments after which memory should not grow
ACTORS, QUICK_ACTORS = 16, 6
SLEEP_SECONDS, QUICK_SLEEP_SECONDS = 4.0, 0.4
EPOCHS = 25
MANY = 64
LONG_SEGMENTS, LONG_SECONDS = 10_000, 0.02
_OBJECT_STORE_BYTES = 100 << 20
_TOLD = 10  # segments between two looks at memory


def measure(quick: bool) -> dict[str, object]:
    """The part of bench/cluster.py."""
    segments = QUICK_SEGMENTS if quick else SEGMENTS
    with tempfile.TemporaryDirectory(prefix="flor-d", ignore_cleanup_errors=True) as folder:
        project = sleeping.record(Path(folder) / "p", segments // EPOCHS, EPOCHS, 0.02)
        workers = QUICK_ACTORS if quick else ACTORS
        with cluster(Path(folder) / "ray", workers):
            slept = asleep(project, workers, QUICK_SLEEP_SECONDS if quick else SLEEP_SECONDS)
            if not quick:
                slept |= long(project)
            found = cost(project)  # the last, since afterwards nothing is missing
    return found | slept | {"makespan_ratio_64_simulated": simulated(MANY)}


@contextmanager
def cluster(folder: Path, cpus: int) -> Iterator[None]:
    """A Ray of this process's own, with its files below the folder."""
    before = os.environ.get("RAY_TMPDIR")
    os.environ["RAY_TMPDIR"] = str(folder)
    ray.init(
        "local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
    )
    try:
        yield
    finally:
        ray.shutdown()
        os.environ.pop("RAY_TMPDIR")
        if before is not None:
            os.environ["RAY_TMPDIR"] = before


# --- real replays ---------------------------------------------------------------------------------------------------


def cost(project: Project) -> dict[str, object]:
    """Of a replay by two workers, in which each epoch is a segment."""
    prepared = sleeping.prepared(project, 2, 0.02)
    memory: list[tuple[int, float]] = []
    own = psutil.Process()

    def tell(progress: Progress) -> None:
        if not memory or progress.segments >= memory[-1][0] + _TOLD:
            memory.append((progress.segments, own.memory_info().rss / 1e6))

    began = time.process_time()
    outcome = pipeline.run(prepared, RayExecutor(), tell)
    seconds = time.process_time() - began
    _expect_whole(outcome, len(prepared.costs))
    settled = min(size for done, size in memory if done >= SETTLED)
    answers = [len(pickle.dumps(report)) for report in outcome.reports]
    return {
        "driver_segments": len(outcome.reports),
        "driver_ms_per_segment": round(1000 * seconds / len(outcome.reports), 2),
        "driver_bytes_back_per_segment": round(sum(answers) / len(answers)),  # rows go to the store, not through here
        "driver_rss_growth_mb": round(memory[-1][1] - settled, 1),
    }


# --- actors that sleep ----------------------------------------------------------------------------------------------


def asleep(project: Project, workers: int, seconds: float) -> dict[str, object]:
    """Of a replay whose actors sleep so long for each segment."""
    prepared = sleeping.prepared(project, workers, seconds)
    began = time.process_time()
    with _replaced(_sleeper(seconds)):
        outcome = pipeline.run(prepared, RayExecutor())
    spent = time.process_time() - began
    _expect_whole(outcome, len(prepared.costs))
    stints = outcome.stints
    joined = [min(s.began for s in stints if s.worker == worker) for worker in {s.worker for s in stints}]
    least = least_end(joined, len(prepared.costs), seconds) - min(joined)
    return {
        "makespan_actors": len(joined),
        "makespan_segments": len(prepared.costs),
        "makespan_segment_seconds": seconds,
        "makespan_ratio": round((max(s.ended for s in stints) - min(joined)) / least, 3),
        "makespan_driver_ms_per_segment": round(1000 * spent / len(prepared.costs), 2),
    }


def long(project: Project) -> dict[str, object]:
    """Of a replay of many versions, each of which is the one that is there under another name."""
    prepared = sleeping.prepared(project, 4, LONG_SECONDS)
    version, job = next(iter(running.jobs(prepared, "replay-long").items()))
    costs, jobs, recorded = [], {}, {}
    for number in range(LONG_SEGMENTS // EPOCHS):
        name = f"{version}-{number}"
        jobs[name] = replace(job, experiment=replace(job.experiment, version=name))
        recorded[name] = prepared.scheduled.model.recorded[version]
        for one in prepared.costs:
            if one.segment.version == version:
                costs.append(replace(one, segment=replace(one.segment, version=name)))
    seen: list[tuple[int, float, int]] = []
    own = psutil.Process()

    def tell(progress: Progress) -> None:
        if not seen or progress.segments >= seen[-1][0] + SETTLED:
            seen.append((progress.segments, own.memory_info().rss / 1e6, own.num_fds()))

    model = replace(prepared.scheduled.model, recorded=recorded)
    began = time.process_time()
    with _replaced(_sleeper(LONG_SECONDS)), RayExecutor() as executor:
        outcome = Driver(pack(costs, 4), Cutting(), model, jobs, executor, tell).carry_out()
    spent = time.process_time() - began
    _expect_whole(outcome, len(costs))
    settled = next((size, files) for done, size, files in seen if done >= SETTLED)
    return {
        "long_segments": len(costs),
        "long_driver_ms_per_segment": round(1000 * spent / len(costs), 2),
        "long_driver_rss_growth_mb": round(seen[-1][1] - settled[0], 1),
        "long_driver_files_growth": seen[-1][2] - settled[1],
    }


def least_end(joined: list[float], segments: int, seconds: float) -> float:
    """When so many segments of equal length have ended at the earliest, on workers that join at these times."""
    free = list(joined)
    heapify(free)
    end = 0.0
    for _ in range(segments):
        end = heappop(free) + seconds
        heappush(free, end)
    return end


def _sleeper(seconds: float) -> type:
    """What the driver asks of an actor of a replay, without the replay. Made here, so that Ray sends it by value."""
    kind = hardware.kind_here(with_gpu=False)
    place, rows = actors._ActorPlace, sleeping.STEPS

    class Sleeper:
        def __init__(self, *_: object) -> None:
            self._epoch = 0

        def ready(self, first: VersionJob | None) -> Any:
            return place(os.getpid(), ray.get_runtime_context().get_node_id(), kind)

        def run(self, job: VersionJob, segment: Segment) -> actors._SegmentEnd:
            self._epoch = segment.first
            time.sleep(seconds)
            self._epoch = 0
            return actors._SegmentEnd((), SegmentReport(segment, rows, 0.0, seconds, kind=kind))

        @ray.method(concurrency_group="beside")
        def stands(self, segment: Segment, heard: int) -> actors._Stand:
            return actors._Stand(self._epoch, "", (), "")

        @ray.method(concurrency_group="beside")
        def shorten(self, segment: Segment, last: int) -> int:
            return segment.last

        @ray.method(concurrency_group="beside")
        def fetch(self, job: VersionJob, segment: Segment) -> None:
            """Nothing is restored."""

        @ray.method(concurrency_group="beside")
        def cancel(self, segment: Segment) -> None:
            """It ends soon anyway."""

        def close(self) -> None:
            """Nothing is left."""

    return Sleeper


@contextmanager
def _replaced(actor: type) -> Iterator[None]:
    before = actors._ReplayActor
    actors._ReplayActor = actor  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        actors._ReplayActor = before  # type: ignore[misc]


def _expect_whole(outcome: Outcome, segments: int) -> None:
    if outcome.failures or len(outcome.reports) != segments:
        raise RuntimeError(f"{len(outcome.reports)} of {segments} segments were done: {outcome.failures[:1]}")


# --- virtual time ---------------------------------------------------------------------------------------------------


def simulated(workers: int) -> float:
    """Makespan over its lower bound, of 500 segments of 4 s on average, half of which take longer than estimated."""
    chance = Random(workers)
    lasts = [chance.randint(1, 7) for _ in range(SEGMENTS)]
    costs = [_price(Segment(f"v{n:03}", 1, last, Operator.DP_I, restore=0)) for n, last in enumerate(lasts)]
    cutting = Cutting(lambda s: range(s.first + 1, s.last + 1), segmenting.cut, _price)
    world = World(latency_seconds=0.01, noise=0.2, segment_noise=0.1)
    found = simulate(pack(costs, workers), workers, cutting, _price, world)
    useful = sum(stint.ended - stint.began for stint in found.stints if stint.ending is Ending.DONE)
    return round(found.makespan_seconds / bounds.average(useful, (Slot(),) * workers), 3)


def _price(segment: Segment) -> SegmentCost:
    return SegmentCost(segment, 0.0, float(segment.last - segment.first + 1), read_seconds=0.0)

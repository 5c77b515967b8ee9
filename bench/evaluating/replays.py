"""Replays of a system's levels on Ray: what was thought that they take, and what they took."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluating.warm_worker import WarmRay
from flor_ray import pipeline
from flor_ray.environment import hardware
from flor_ray.planning import calibrations
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Operator, Outcome
from flor_ray.replaying import measuring
from flor_ray.reports import replays
from flor_ray.scheduler import splitting
from flor_ray.store.project import Project

WORKERS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class VersionReplay:
    """One version's part in a replay. A worker's own start is no version's."""

    run: str
    seconds: float  # of processors
    estimated_seconds: float
    wall_seconds: float  # by its worker's account, as the estimate is

    @property
    def error_pct(self) -> float:
        return 100 * abs(self.estimated_seconds - self.wall_seconds) / self.wall_seconds


@dataclass(frozen=True, slots=True)
class LevelReplay:
    """The replay of a level's columns."""

    versions: tuple[VersionReplay, ...]  # in the order in which they were recorded
    operators: tuple[str, ...]
    sentences: tuple[str, ...]  # all that a user was told
    start_seconds: float  # of the worker
    makespans: dict[int, float]  # by number of workers: seconds by the estimates, with versions cut at checkpoints
    whole_makespans: dict[int, float]  # with whole versions only


def calibrate(project: Project) -> None:
    """Measure this machine, as is done when a worker joins."""
    found = measuring.calibrate(project.store, project.name, os.environ)
    calibrations.keep(project.store.files, {hardware.kind_here(with_gpu=False): found})


def replay(project: Project, names: Sequence[str], ray: WarmRay) -> LevelReplay:
    prepared = pipeline.prepare(project, names, terms=Terms(1), again=True)
    outcome = pipeline.run(prepared, ray)
    problems = replays.problems(prepared, outcome)
    return LevelReplay(
        _versions(prepared, outcome, ray.cpu_seconds),
        tuple(sorted({_operator(prepared, cost.segment.version) for cost in prepared.costs})),
        tuple(problems),
        sum(report.start_seconds for report in outcome.reports),
        _makespans(prepared, cuts=True),
        _makespans(prepared, cuts=False),
    )


def _operator(prepared: Prepared, version: str) -> str:
    segments = [cost.segment for cost in prepared.costs if cost.segment.version == version]
    kinds = {f"{s.operator} {s.variant}" if s.operator is Operator.DP_I else str(s.operator) for s in segments}
    return " and ".join(sorted(kinds))


def _versions(prepared: Prepared, outcome: Outcome, cpu_seconds: Mapping[str, float]) -> tuple[VersionReplay, ...]:
    found = []
    for version, experiment in prepared.experiments.items():
        reports = [report for report in outcome.reports if report.segment.version == version]
        costs = [cost for cost in prepared.costs if cost.segment.version == version]
        if not reports or not costs:
            continue
        # set-up is paid once per version and worker, and there is one worker
        estimated = max(cost.setup_seconds for cost in costs) + sum(cost.run_seconds for cost in costs)
        wall = sum(report.setup_seconds + report.run_seconds for report in reports)
        found.append(VersionReplay(experiment.run, cpu_seconds[version], estimated, wall))
    return tuple(found)


def _makespans(prepared: Prepared, cuts: bool) -> dict[int, float]:
    scheduled = prepared.scheduled
    cutting = scheduled.cutting
    found = {}
    for workers in WORKERS:
        if cuts:
            found[workers] = splitting.schedule(scheduled.estimates, workers, cutting).makespan_seconds
        else:
            found[workers] = _packed_whole(prepared, workers)
    return found


def _packed_whole(prepared: Prepared, workers: int) -> float:
    """Longest first, each version in one piece."""
    by_version: dict[str, float] = {}
    for cost in prepared.scheduled.estimates:
        known = by_version.get(cost.segment.version)
        by_version[cost.segment.version] = cost.run_seconds + (cost.setup_seconds if known is None else known)
    loads = [0.0] * workers
    for seconds in sorted(by_version.values(), reverse=True):
        loads[loads.index(min(loads))] += seconds
    return max(loads)

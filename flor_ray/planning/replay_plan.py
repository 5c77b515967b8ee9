"""A replay that is ready to run: all that is known before anything runs. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flor_ray.environment.surroundings import Environments
from flor_ray.patching.patching import Patched
from flor_ray.planning import missing
from flor_ray.planning.ranks import Ranked
from flor_ray.planning.shortcuts import Answer
from flor_ray.planning.terms import Terms
from flor_ray.records import Checkpoint, Experiment, SegmentCost
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Cutting
from flor_ray.store.project import Project


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule, and what it was made of."""

    schedule: Schedule  # with the segments of one environment together
    estimates: tuple[SegmentCost, ...]  # of the segments that are run, before they were cut
    cutting: Cutting
    model: CostModel
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is known before anything runs: what will be replayed, why, by whom, and what it should take."""

    project: Project
    names: tuple[str, ...]
    experiments: Mapping[str, Experiment]
    patched: Mapping[str, Patched]
    checkpoints: Mapping[str, tuple[Checkpoint, ...]]
    notes: tuple[str, ...]
    refusals: tuple[tuple[str, str, str], ...]  # version, name, reason
    skipped: tuple[missing.Skipped, ...]
    terms: Terms
    scheduled: Scheduled
    doubtful: Mapping[str, Mapping[str, str]]  # by version: features that depend on what no checkpoint could keep
    environments: Environments = field(default_factory=Environments)
    known: tuple[Answer, ...] = ()  # values that need no run
    question: str = ""  # as it was asked, for those who ask the same
    again: bool = False  # values are wanted anew that earlier replays have answered
    seen: Mapping[str, float] = field(default_factory=dict)  # replays that the store knew of, and when they had beaten
    ranked: Ranked = field(default_factory=Ranked)  # what is known of the versions' ranks

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.costs or self.known)

    @property
    def workers(self) -> int:
        """How many there are to be."""
        return self.terms.workers

    @property
    def versions(self) -> frozenset[str]:
        """All that will get values."""
        return frozenset([*(cost.segment.version for cost in self.costs), *(answer.version for answer in self.known)])

    @property
    def schedule(self) -> Schedule:
        return self.scheduled.schedule

    @property
    def costs(self) -> tuple[SegmentCost, ...]:
        return tuple(cost for assignment in self.schedule.assignments for cost in assignment)

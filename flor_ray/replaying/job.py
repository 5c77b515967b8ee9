"""What a worker is told of a version, to replay segments of it. Plain values that travel to any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flor_ray.analysis.epoch_ends import Marking
from flor_ray.environment.surroundings import Expected
from flor_ray.records import DEFAULT_LIMITS, Checkpoint, Experiment, Launch, Limits, RankRecord


@dataclass(frozen=True, slots=True)
class RankPart:
    """What a rank that is not the first starts from."""

    record: RankRecord
    checkpoints: tuple[Checkpoint, ...]


@dataclass(frozen=True, slots=True)
class VersionJob:
    """What a worker needs to know of a version to replay segments of it."""

    store_url: str
    origin: str  # id of this replay
    experiment: Experiment
    checkpoints: tuple[Checkpoint, ...]
    patches: Mapping[str, str] = field(default_factory=dict)  # path -> source with the statements propagated
    original_root: str = ""  # the user's folder, "" where it is not at hand
    versioned: frozenset[str] = frozenset()  # files there that versions hold: one that this version lacks was not there
    places: frozenset[str] = frozenset()  # outside, to which links in the user's folder lead
    doubtful: Mapping[str, str] = field(default_factory=dict)  # feature -> variable that no checkpoint could keep
    compares_entry: bool = False  # values from before the main loop are wanted
    limits: Limits = DEFAULT_LIMITS  # of each segment
    marking: Marking = field(default_factory=Marking)
    leave: frozenset[int] = frozenset()  # epochs that may be left early although the next one follows
    secrets: tuple[str, ...] = ()  # variables that the script may see, though they hold secrets
    data: Mapping[str, str] = field(default_factory=dict)  # recorded path -> where it is on a worker's machine
    at_hand: frozenset[str] = frozenset()  # of what its run read, what is on the driver's machine as it was
    as_it_is: bool = False  # where files are not those that the run read, it runs with them
    packages: tuple[str, ...] = ()  # to be installed for it, in an environment of its own: toolz==0.11.0
    launch: Launch | None = None  # of its ranks; None: it is one process
    parts: tuple[RankPart, ...] = ()  # of rank 1 and those after it
    expected: Expected = field(default_factory=Expected)  # where the driver thinks that it runs

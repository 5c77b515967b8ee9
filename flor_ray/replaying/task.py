"""What a replay process is given: its task, a channel for its segments, and the main loop's elements by epoch."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from flor_ray.analysis.epoch_ends import Marking
from flor_ray.analysis.marks import Marks, line_now
from flor_ray.environment.surroundings import MODULE_KEY
from flor_ray.errors import RestoreFailed, StoreAway
from flor_ray.records import (
    ADOPTED,
    FIRST_CALL,
    HIDDEN_ARGS,
    HIDDEN_ARGV,
    Checkpoint,
    Experiment,
    Launch,
    Point,
    Segment,
    WrittenFile,
)
from flor_ray.replaying.job import RankPart
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.sandbox.laid_data import LaidData

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """What a replay process needs to know of its version, besides its segments."""

    store_url: str
    root: str  # folder with the version's patched files
    original_root: str  # folder of the user's repository when the version was recorded; never written to
    script: str  # relative to root
    argv: tuple[str, ...]
    cwd: str  # relative to root, or absolute if it was outside the repository
    args: Mapping[str, object]  # recorded values of flor.arg
    checkpoints: Mapping[tuple[int, Point], str]  # (epoch, point) -> key
    rng: str | None = None  # key of the random state when the run began
    first_call: tuple[str, int] | None = None  # the call with which it began: path, line as it is now; None: not known
    error: str | None = None  # with which the recorded run ended
    compares_entry: bool = False  # values from before the main loop are wanted
    sys_path: tuple[str, ...] = ()  # as `environment.recorded_path` has it
    marks: Mapping[str, Marks] = field(default_factory=dict)  # by path, relative to root
    stops: Mapping[str, int] = field(default_factory=dict)  # feature -> line after which no epoch logs it any more
    sizes: Mapping[tuple[int, Point], int] = field(default_factory=dict)  # bytes of the checkpoints
    opaque: Mapping[tuple[int, Point], frozenset[str]] = field(default_factory=dict)  # what they say they do not hold
    clocked: frozenset[str] = frozenset()  # variables that are different in every run
    leave: frozenset[int] = frozenset()  # epochs whose end is restored sooner than what comes after a stop has run
    folder: str = ""  # of the replay, which vanishes with it; `root` is in it
    files: tuple[WrittenFile, ...] = ()  # that the recorded run wrote
    data: LaidData = field(default_factory=LaidData)  # what was laid of the data that it read
    newer: tuple[str, ...] = ()  # files that were made since, relative to root
    hidden_argv: Mapping[str, Sequence[str]] = field(default_factory=dict)  # as `redaction.command_line`
    hidden_args: Mapping[str, str] = field(default_factory=dict)  # and the variable that each has to come from
    module: str = ""  # under which the script runs as `python -m` does; "": as a file
    account: Mapping[str, str] = field(default_factory=dict)  # variables by which the store is reached
    commit_seconds: float = math.inf  # after which a segment hands over what it has, at the end of an epoch
    outage_seconds: float = 0.0  # for which a store that is away is waited for
    late_seconds: float | None = None  # after which it tells where a step is; None: never
    variables: Mapping[str, str] = field(default_factory=dict)  # of this rank, where there are several
    launch: Launch | None = None  # of the ranks
    rng_state: bytes = b""  # instead of `rng`: the random state itself
    adopted: str = ""  # who ran the epochs of an adopted run: `EpochsOf`; "": it was recorded
    epochs: int = 0  # of its main loop
    claims: str | None = None  # file by which a segment's rest can be taken away; see flor_ray.replaying.claims

    @classmethod
    def of(
        cls, store_url: str, root: str, experiment: Experiment, checkpoints: Sequence[Checkpoint], marking: Marking
    ) -> ReplayTask:
        """That of a recorded version whose files are in `root`, where they were recorded or put since."""
        rng = experiment.environment.get("rng")
        module = experiment.environment.get(MODULE_KEY)
        return cls(
            store_url=store_url,
            root=root,
            original_root=root,
            script=experiment.script,
            argv=experiment.argv,
            cwd=experiment.cwd,
            args=experiment.args,
            checkpoints={(c.epoch, c.point): c.key for c in checkpoints},
            rng=rng if isinstance(rng, str) else None,
            marks=marking.marks,
            stops=marking.stops,
            sizes={(c.epoch, c.point): c.bytes for c in checkpoints},
            opaque={(c.epoch, c.point): c.opaque for c in checkpoints if c.opaque},
            clocked=marking.clocked,
            error=experiment.error,
            module=module if isinstance(module, str) else "",
            hidden_argv=_mapping(experiment.environment.get(HIDDEN_ARGV)),
            hidden_args=_mapping(experiment.environment.get(HIDDEN_ARGS)),
            adopted=str(_mapping(experiment.environment.get(ADOPTED)).get("epochs_of", "")),
            epochs=experiment.epochs,
        )


def of_rank(task: ReplayTask, part: RankPart, first_calls: Mapping[int, tuple[str, int] | None]) -> ReplayTask:
    """The first rank's task, as another rank has it: it starts from states of its own. Files that the run wrote are
    laid by the first one, for all."""
    listed = part.checkpoints
    return replace(
        task,
        checkpoints={(c.epoch, c.point): c.key for c in listed},
        sizes={(c.epoch, c.point): c.bytes for c in listed},
        opaque={(c.epoch, c.point): c.opaque for c in listed if c.opaque},
        rng=None,
        rng_state=base64.b64decode(part.record.rng),
        first_call=first_calls.get(part.record.rank),
        files=(),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def first_call(experiment: Experiment, before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, int] | None:
    """Where the call stands with which a run began, in files that were `before` and are `now`; None: not known."""
    return call_now(experiment.environment.get(FIRST_CALL), before, now)


def call_now(place: object, before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, int] | None:
    """Where a call stands that was recorded at this file and line, as `first_call` has it."""
    if not isinstance(place, list | tuple):
        return None
    path, line = place
    found = line_now(before[path], now[path], line) if path in before and path in now else line
    return None if found is None else (path, found)


class Channel(Protocol):
    """Where segments come from and results go to."""

    def next(self) -> Segment | None:
        """The next segment to replay; None: there is none, and the process ends."""

    def claim(self, epoch: int) -> bool:
        """Whether the segment goes on with this epoch. False: its rest has been given to another worker."""

    @property
    def last(self) -> int | None:
        """The last epoch that can be claimed, as far as the segment was shortened; None: all of it."""

    def done(self, result: SegmentResult) -> None:
        """What the segment that `next` gave has yielded; or a part of it, that `goes_on`."""

    def waits(self, begins: bool) -> None:
        """A store that is away is waited for from now on, or is not any more."""

    def failed(self, error: RestoreFailed | StoreAway) -> None:
        """It cannot go on in this process. Ends the process if it is nobody's but ours: else what is raised next could
        be caught by the script, which would then go on in a wrong state."""


class Elements(Generic[T]):
    """The main loop's elements by epoch. Those that have been drawn are kept, so that replay can go back."""

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator = iter(iterable)
        self._drawn: list[T] = []

    def has(self, epoch: int) -> bool:
        """Whether the main loop comes to this epoch (from 1). Draws elements up to it."""
        while len(self._drawn) < epoch:
            try:
                self._drawn.append(next(self._iterator))
            except StopIteration:
                return False
        return True

    def at(self, epoch: int) -> T:
        """The element of an epoch (from 1).

        Raises:
            IndexError: the main loop ends before it.
        """
        if not self.has(epoch):
            raise IndexError(f"the main loop has no epoch {epoch}")
        return self._drawn[epoch - 1]

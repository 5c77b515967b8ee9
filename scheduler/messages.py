"""What the dispatcher is told and what it answers: plain values, for the driver of a real cluster and the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flor_ray.records import LackingFile, Segment, SegmentCost, SegmentReport
from flor_ray.scheduler.sharing import SegmentPart, Sifted

# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker is there and idle. One that was lost or retired may come back, cold."""

    worker: str
    kind: str = ""  # worker class, such as the GPU's type
    slot: int | None = None  # of the schedule, if it is one that was there when it was made
    node: str = ""  # the machine that it is on: workers of one have the same data


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """The worker will be gone soon: its node is to be preempted or scaled down."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker is gone, and with it what it ran."""

    worker: str


@dataclass(frozen=True, slots=True)
class EpochBegun:
    """How far a running segment is. It may be told again, with the place at which an epoch takes long."""

    worker: str
    segment: Segment
    epoch: int  # 0: before the first
    place: str = ""  # where the script is, as train.py:31, once its step takes longer than it should


@dataclass(frozen=True, slots=True)
class SegmentAdvanced:
    """The first epochs of a running segment are answered, and their rows in the store: the report's segment is that
    part, or the next one after it. The worker goes on with the rest."""

    worker: str
    report: SegmentReport


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """The report's segment is the one that ran; what was left of it, if its tail was taken away; and without the parts
    of which SegmentAdvanced has told."""

    worker: str
    report: SegmentReport


class SecondTry(StrEnum):
    """How the one further attempt is made at a segment that harms whoever runs it."""

    ELSEWHERE = "elsewhere"  # on another node, else by another worker, if there is one: it hung
    ALONE = "alone"  # while no other worker of its node runs anything: memory was too small


@dataclass(frozen=True, slots=True)
class SegmentFailed:
    """A segment has ended, and its rows are not there, but for the parts of which SegmentAdvanced has told."""

    worker: str
    segment: Segment
    error: str
    retryable: bool  # False: the script itself raised, and would again
    second: SecondTry | None = None  # of a retryable failure: it is tried once more, and so
    counts: bool = True  # as an attempt. False: it says nothing of the segment, such as that the store was away


@dataclass(frozen=True, slots=True)
class SegmentNotHere:
    """Nothing of the segment has run: the worker's node lacks files that its version read when it was recorded."""

    worker: str
    segment: Segment
    lacking: tuple[LackingFile, ...]


@dataclass(frozen=True, slots=True)
class SegmentTaken:
    """Nothing of the segment has run: other replays are at parts of it, or have done them."""

    worker: str
    segment: Segment
    parts: tuple[SegmentPart, ...]


@dataclass(frozen=True, slots=True)
class OthersAtWork:
    """What other replays do of segments that no worker is at."""

    sifted: tuple[Sifted, ...]


@dataclass(frozen=True, slots=True)
class NoOtherNode:
    """Answer to Seek: there is no node that has not been asked, or none on which a worker can be started."""

    version: str


@dataclass(frozen=True, slots=True)
class SegmentShortened:
    """Answer to Shorten. `last` is the epoch after which the segment will end now: as asked, or later if the worker
    was further by then. The segment's own last epoch: nothing has changed."""

    worker: str
    segment: Segment  # as it was when it was asked
    last: int


@dataclass(frozen=True, slots=True)
class SegmentCancelled:
    """Answer to Cancel: the worker has left the segment, and nothing of it was written. (It may be done instead.)"""

    worker: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class SegmentSlow:
    """A running segment has taken the `slow_after_seconds` of its Run."""

    worker: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class EstimateCorrected:
    """What later segments are thought to cost now; `slowness` is by worker class, 1 where it is not named."""

    costs: tuple[SegmentCost, ...] = ()
    slowness: Mapping[str, float] = field(default_factory=dict)


Event = (
    WorkerJoined
    | WorkerDraining
    | WorkerLost
    | EpochBegun
    | SegmentAdvanced
    | SegmentDone
    | SegmentFailed
    | SegmentNotHere
    | SegmentTaken
    | OthersAtWork
    | NoOtherNode
    | SegmentShortened
    | SegmentCancelled
    | SegmentSlow
    | EstimateCorrected
)

# --- instructions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Begin with the segment; tell when it has taken longer than this and is not done."""

    worker: str
    segment: Segment
    slow_after_seconds: float = float("inf")
    estimated_seconds: float = 0.0  # set-up included
    as_it_is: bool = False  # no node has the data that was read: run it with what is there


@dataclass(frozen=True, slots=True)
class Fetch:
    """The worker will most likely run this segment next: what that restores can be brought to it meanwhile."""

    worker: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class Shorten:
    """Let the running segment end after epoch `last`, or as soon after it as can be: another worker takes the rest."""

    worker: str
    segment: Segment
    last: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Leave the segment: another worker has done it."""

    worker: str
    segment: Segment


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The segment will not be tried again; `error` is that of its last attempt."""

    segment: Segment
    error: str
    lacking: tuple[LackingFile, ...] = ()  # files that no node has: the reason, if there are any


@dataclass(frozen=True, slots=True)
class Seek:
    """No worker that is there has the data of a version: start up to `count` of them on nodes other than these. They
    join; or NoOtherNode answers."""

    version: str
    count: int
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Retire:
    """The worker is not needed any more; it can be given back."""

    worker: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Every segment is done or given up. Told once, last."""


Instruction = Run | Fetch | Shorten | Cancel | GiveUp | Seek | Retire | Finished

"""What each worker did when: the timeline of a replay, what it tells, and how it is kept in the store.

    timelines/<project>/<origin>.json      one per replay, written once, when it is over (or was stopped)

A plan has one too (`planned`): what its schedule would look like if every estimate came true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from flor_ray.errors import StoreError, UsageError
from flor_ray.records import Ending, Segment, Stint
from flor_ray.scheduler.packing import Schedule
from flor_ray.scheduler.problem import Slot
from flor_ray.store import typed_json
from flor_ray.store.decisions import Decisions
from flor_ray.store.files import Files
from flor_ray.wording import place

T = TypeVar("T")

_FORMAT = 1
_SEGMENT, _STINT = ([field.name for field in fields(kind)] for kind in (Segment, Stint))
_BEFORE_SECONDS = 1e-6  # gaps below rounding are none


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the workers of one replay did."""

    origin: str  # the replay's id; "" for a plan
    names: tuple[str, ...]  # features that were asked for
    stints: tuple[Stint, ...]
    workers: int  # how many there were to be
    planned_makespan_seconds: float  # estimated before anything ran
    complete: bool = True  # False: stopped before everything was done or given up
    runs: Mapping[str, str] = field(default_factory=dict)  # by version: the run's name, if it has one
    bound_seconds: float = 0.0  # no schedule could have been faster, by the same estimates; 0: not known

    @property
    def worker_count(self) -> int:
        return max(self.workers, len({stint.worker for stint in self.stints}))

    @property
    def makespan_seconds(self) -> float:
        """From the replay's begin until the last worker was done."""
        return max((stint.ended for stint in self.stints), default=0.0)

    def lanes(self) -> dict[str, list[Stint]]:
        """Stints by worker, in order; workers in the order of their names, numbers as numbers."""
        found: dict[str, list[Stint]] = {}
        for stint in sorted(self.stints, key=lambda stint: (stint.began, stint.ended)):
            found.setdefault(stint.worker, []).append(stint)
        return {worker: found[worker] for worker in sorted(found, key=_natural)}


@dataclass(frozen=True, slots=True)
class IdleSpell:
    """Time in which a worker did nothing."""

    worker: str
    began: float
    ended: float
    why: str  # as far as the timeline tells

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Use:
    """Where the worker time of a replay went, in seconds. All but set-up add up to workers times makespan."""

    busy_seconds: float  # on segments that were done
    setup_seconds: float  # of busy
    wasted_seconds: float  # on segments that failed, were lost or were cancelled
    idle_seconds: float
    wasted_stints: int


# --- what there was ---------------------------------------------------------------------------------------------------


def planned(schedule: Schedule, names: Sequence[str] = (), runs: Mapping[str, str] | None = None) -> Timeline:
    """The timeline of a schedule in which every estimate comes true."""
    setups: dict[str, float] = {}
    for c in (c for assignment in schedule.assignments for c in assignment):
        setups[c.segment.version] = max(c.setup_seconds, setups.get(c.segment.version, 0.0))
    stints = []
    slots = schedule.slots or (Slot(),) * len(schedule.assignments)
    for number, (assignment, slot) in enumerate(zip(schedule.assignments, slots, strict=True), start=1):
        now, warm = slot.ready_seconds, set(slot.warm)
        for c in assignment:
            version = c.segment.version
            setup = 0.0 if version in warm else setups[version] * slot.slowness
            warm.add(version)
            read = min(c.read_seconds, c.run_seconds) if version in slot.held else 0.0
            taken = setup + (c.run_seconds - read) * slot.slowness
            stints.append(Stint(f"worker {number}", c.segment, now, now + taken, Ending.DONE, setup, taken))
            now += taken
    workers = len(schedule.assignments)
    return Timeline("", tuple(names), tuple(stints), workers, schedule.makespan_seconds, True, runs or {})


def use(timeline: Timeline) -> Use:
    """Where the time of all workers went. A worker that was to be there and did nothing was idle."""
    done = [stint for stint in timeline.stints if stint.ending is Ending.DONE]
    others = [stint for stint in timeline.stints if stint.ending is not Ending.DONE]
    busy = sum(stint.ended - stint.began for stint in done)
    wasted = sum(stint.ended - stint.began for stint in others)
    idle = max(0.0, timeline.worker_count * timeline.makespan_seconds - busy - wasted)
    return Use(busy, sum(stint.setup_seconds for stint in done), wasted, idle, len(others))


def longest_gap(timeline: Timeline) -> IdleSpell | None:
    """The longest time in which a worker that has run something did nothing; None if there was none."""
    found: tuple[float, float, str, Stint | None] | None = None  # began, ended, worker, what it did next
    until = timeline.makespan_seconds
    for worker, stints in timeline.lanes().items():
        free = 0.0
        for stint in (*stints, None):
            ended = until if stint is None else stint.began
            if ended - free > max(_BEFORE_SECONDS, found[1] - found[0] if found else 0.0):
                found = free, ended, worker, stint
            free = free if stint is None else max(free, stint.ended)
    if found is None:
        return None
    began, ended, worker, after = found
    return IdleSpell(worker, began, ended, _why_idle(timeline, worker, began, after))


def _why_idle(timeline: Timeline, worker: str, began: float, after: Stint | None) -> str:
    if after is None:
        last = max(timeline.stints, key=lambda stint: stint.ended)
        return f"nothing was left for it while {last.worker} ended {place(last.segment)}"
    freed = [
        stint
        for stint in timeline.stints
        if stint.worker != worker
        and stint.ending in (Ending.FAILED, Ending.LOST)
        and stint.segment.version == after.segment.version
        and began < stint.ended <= after.began + _BEFORE_SECONDS
    ]
    if freed:
        before = max(freed, key=lambda stint: stint.ended)
        return f"nothing was left for it until {place(before.segment)} {_ended(before)} on {before.worker}"
    if not began:
        return "it had not joined yet"
    return "no other work would have paid for its set-up then"


def _ended(stint: Stint) -> str:
    return "failed" if stint.ending is Ending.FAILED else "was lost"


def _natural(worker: str) -> tuple[object, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", worker))


# --- the store --------------------------------------------------------------------------------------------------------


def keep(files: Files, project: str, timeline: Timeline) -> None:
    """Write a replay's timeline, once per replay: what was written first stands.

    Raises:
        StoreError: the store cannot be written.
    """
    _KEPT.put(files, project, timeline.origin, timeline)


def every(files: Files, project: str) -> Iterator[Timeline]:
    """All timelines, newest first, each read when its turn comes. Of a damaged one a FlorWarning names the file.

    Raises:
        StoreError: the store cannot be read.
    """
    return _KEPT.newest_first(files, project, _KEPT.names(files, project))


def newest(files: Files, project: str) -> Timeline | None:
    """That of the latest replay that has one."""
    return next(every(files, project), None)


def find(files: Files, project: str, replay: str = "") -> Timeline:
    """The timeline of the replay whose id begins so (with or without "replay-"), by default the newest.

    Raises:
        UsageError: there is none, or several ids begin so.
        StoreError: it cannot be read, or is damaged.
    """
    if not replay:
        if (latest := newest(files, project)) is None:
            raise UsageError(f"No replay of {project} has a timeline. `flor-ray replay` keeps one of each that runs.")
        return latest
    known = _KEPT.names(files, project)
    fitting = [origin for origin in known if origin.startswith((replay, f"replay-{replay}"))]
    if len(fitting) != 1:
        found = f"{len(fitting)} replays" if fitting else "No replay"
        shown = ", ".join((fitting or list(known))[-3:]) or "none"
        raise UsageError(
            f"{found} of {project} with a timeline begin{'' if fitting else 's'} with {replay!r}; "
            f"{'they are' if fitting else 'the newest are'} {shown}. `flor-ray timeline --list` lists all."
        )
    try:
        return _KEPT.read(files, project, fitting[0])
    except FileNotFoundError:
        raise StoreError(f"The timeline of {fitting[0]} has just been deleted from {files.url}.") from None


def to_plain(timeline: Timeline) -> dict[str, object]:
    """A timeline for JSON, in rows without keys: ten thousand stints in less than a megabyte. Segments, workers and
    kinds are in it once."""
    segments = _Numbers[Segment]()
    words = _Numbers[str]()
    stints = []
    for s in timeline.stints:
        in_short = {"worker": words.of(s.worker), "segment": segments.of(s.segment), "kind": words.of(s.kind)}
        row = dict(zip(_STINT, typed_json.to_row(s), strict=True)) | in_short
        stints.append([round(value, 3) if isinstance(value, float) else value for value in row.values()])
    rows = [[words.of(s.version), *typed_json.to_row(s)[1:]] for s in segments.seen]
    return {
        "format": _FORMAT,
        "names": timeline.names,
        "workers": timeline.workers,
        "planned_makespan_seconds": timeline.planned_makespan_seconds,
        "complete": timeline.complete,
        **({"bound_seconds": timeline.bound_seconds} if timeline.bound_seconds else {}),
        "runs": dict(timeline.runs),
        "words": list(words.seen),
        "segment_columns": _SEGMENT,
        "segments": rows,
        "stint_columns": _STINT,
        "stints": stints,
    }


def from_plain(plain: Any, origin: str) -> Timeline:
    """The timeline of which `to_plain` made this. Raises ValueError, KeyError, TypeError or IndexError for what is
    none."""
    if plain["format"] != _FORMAT:
        raise ValueError(f"format {plain['format']} is that of another release; this one knows {_FORMAT}")
    words = plain["words"]

    def rows(of: str) -> Iterator[dict[str, Any]]:
        return (dict(zip(plain[f"{of}_columns"], row, strict=False)) for row in plain[f"{of}s"])

    segments = [typed_json.from_plain({**row, "version": words[row["version"]]}, Segment) for row in rows("segment")]
    stints = []
    for row in rows("stint"):
        whole = {"worker": words[row["worker"]], "segment": segments[row["segment"]], "kind": words[row["kind"]]}
        stints.append(typed_json.from_plain(row | whole, Stint))
    return typed_json.from_plain({**plain, "origin": origin, "stints": stints}, Timeline)


_KEPT = Decisions(
    "timelines", "a timeline", "Nothing else depends on it: delete it.", to_plain, from_plain, indent=None
)


class _Numbers(Generic[T]):
    """Numbers things in the order in which they come."""

    def __init__(self) -> None:
        self.seen: dict[T, int] = {}

    def of(self, thing: T) -> int:
        return self.seen.setdefault(thing, len(self.seen))

"""Which checkpoints stay, and which objects may go. Pure: values in, plans out; no I/O and no clock.

    policy   --keep rules + what is always kept                     ->  places of C to drop, per version
    reach    what is left of C, with its manifests' references,
             and the objects of F, G and E of all projects          ->  keys that are needed
    sweep    objects that nobody needs, and that are not too young  ->  keys to delete

Always kept, whatever the rules say: everything of a live version; of every other one the loop's entry (epoch 0), the
last epoch's checkpoints, and the last complete checkpoint. Nothing but checkpoints is ever dropped.

*Grace.* A writer puts objects first and the row that needs them last, so that what nobody needs yet may be about to be
needed. It is left alone until it is `grace` seconds old (putting an old object again makes it young), and while runs
and replays are live, also if it is older than that but not older than what they may rely on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from flor_ray.errors import UsageError
from flor_ray.records import Checkpoint, Point
from flor_ray.wording import parse_seconds

RULES: Mapping[str, str] = {  # what a rule keeps, for the command line's help
    "last": "of each version, the entry of the main loop and its last checkpoint (what every rule keeps)",
    "every:N": "each N-th epoch; where epochs have no checkpoint, one in N at most",
    "newest:N": "all checkpoints of the N newest versions",
    "within:30d": "all checkpoints of versions that began in the last 30 days (also h, m, w)",
    "run:NAME": "all checkpoints of the runs of this name; * and ? are wildcards",
    "version:ID": "all checkpoints of the version whose id begins with this",
}

Place = tuple[int, Point]  # of a checkpoint in its version: after which epoch, and where in it


class ObjectInfo(Protocol):
    """What the store says of an object."""

    @property
    def bytes(self) -> int: ...

    @property
    def modified(self) -> float: ...  # unix seconds: when it was last put


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version as far as its storage goes. `run` is None where its row in E is gone: then nothing is dropped."""

    project: str
    version: str
    run: str | None = None
    started: float = 0.0  # unix seconds
    epochs: int = 0
    live: bool = False  # it is being recorded or replayed
    checkpoints: tuple[Checkpoint, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # manifest's key -> the objects it refers to
    others: frozenset[str] = frozenset()  # objects of log records, source files and the start's random state
    log_bytes: int = 0

    def objects(self, dropped: Collection[Place] = ()) -> set[str]:
        """Everything that the version needs without the checkpoints in these places."""
        found = set(self.others)
        for c in self.checkpoints:
            if (c.epoch, c.point) not in dropped:
                found.add(c.key)
                found.update(self.needs.get(c.key, ()))
        return found


# --- rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """One --keep, understood."""

    kind: str
    number: float = 0.0  # N, or seconds
    text: str = ""

    def epochs(self, version: StoredVersion, newer: int, now: float) -> frozenset[int]:
        """Epochs whose checkpoints this rule keeps; `newer` versions of the project began later."""
        match self.kind:
            case "every":
                return _spaced(version, int(self.number))
            case "newest":
                whole = newer < self.number
            case "within":
                whole = now - version.started <= self.number
            case _:
                whole = self.names(version)
        return frozenset(c.epoch for c in version.checkpoints) if whole else frozenset()

    def names(self, version: StoredVersion) -> bool:
        """Whether this is a rule for versions by name, and this is one of them."""
        if self.kind == "run":
            return version.run is not None and fnmatchcase(version.run, self.text)
        return self.kind == "version" and version.version.startswith(self.text)


def _spaced(version: StoredVersion, distance: int) -> frozenset[int]:
    """Epochs from 0 on that a replay can start after, each at least so far from the one before.

    Not the multiples of N: where the recorder leaves epochs out, few of those may have a checkpoint.
    """
    found: list[int] = []
    for epoch in sorted(c.epoch for c in version.checkpoints if c.point is Point.EPOCH_END and not c.uncaptured):
        if epoch >= (found[-1] if found else 0) + distance or epoch == 0:
            found.append(epoch)
    return frozenset(found)


def parse_rule(word: str) -> Rule:
    """The rule that a --keep names. Raises UsageError, with all rules, for anything else."""
    kind, _, value = word.partition(":")
    if kind == "last" and word == "last":
        return Rule("last")
    if kind in ("every", "newest") and value.isascii() and value.isdigit() and int(value) > 0:
        return Rule(kind, number=int(value))
    if kind == "within" and value:
        return Rule(kind, number=parse_seconds(value))
    if kind in ("run", "version") and value:
        return Rule(kind, text=value)
    known = "; ".join(f"{rule}: {meaning}" for rule, meaning in RULES.items())
    raise UsageError(f"--keep {word} is not a rule. Rules, of which several may be given, are {known}.")


# --- policy ---------------------------------------------------------------------------------------------------------


def always_kept(version: StoredVersion) -> frozenset[Place]:
    """Places that no rule drops."""
    places = {(c.epoch, c.point) for c in version.checkpoints}
    if version.live or version.run is None:
        return frozenset(places)
    ends = [c.epoch for c in version.checkpoints if c.point is Point.EPOCH_END]
    whole = [c.epoch for c in version.checkpoints if c.point is Point.EPOCH_END and not c.uncaptured]
    last = max(ends, default=0)  # an exit state after it, of an epoch that never ended, is later still, and stays
    return frozenset(p for p in places if p[0] in (0, max(whole, default=0)) or p[0] >= last)


def choose(versions: Iterable[StoredVersion], rules: Sequence[Rule], now: float) -> dict[str, frozenset[Place]]:
    """Places to drop by version id, of the versions of one project. Without rules nothing is dropped.

    A checkpoint stays if any of the rules keeps it.
    """
    if not rules:
        return {}
    # Versions without any, such as imported ones, must not take the place of those whose checkpoints should be kept.
    newest_first = sorted((v for v in versions if v.checkpoints), key=lambda v: (-v.started, v.version))
    dropped = {}
    for newer, version in enumerate(newest_first):
        kept = always_kept(version)
        places = {(c.epoch, c.point) for c in version.checkpoints} - kept
        epochs = frozenset[int]().union(*(rule.epochs(version, newer, now) for rule in rules))
        gone = {place for place in places if place[0] not in epochs}
        if gone:
            dropped[version.version] = frozenset(gone)
    return dropped


def idle_rule(versions: Iterable[StoredVersion], rules: Sequence[Rule]) -> Rule | None:
    """A rule that names a run or a version that is not there: a slip of the pen that would drop what it was to keep."""
    versions = list(versions)
    named = (rule for rule in rules if rule.kind in ("run", "version"))
    return next((rule for rule in named if not any(map(rule.names, versions))), None)


# --- sweep ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sweep:
    """Objects that nobody needs. Keys are sorted."""

    keys: tuple[str, ...] = ()  # to delete
    bytes: int = 0  # of those
    young: int = 0  # how many are not old enough to go
    young_bytes: int = 0


def cutoff(now: float, grace_seconds: float, live_since: Iterable[float], margin_seconds: float) -> float:
    """Unix seconds before which an object that nobody needs must have been put last, to go.

    A live writer may rely on what was younger than `margin_seconds` when it looked, which was after it began.
    """
    return min([now - grace_seconds, *(started - margin_seconds for started in live_since)])


def sweep(infos: Mapping[str, ObjectInfo], needed: Collection[str], before: float) -> Sweep:
    """What goes of the objects in the store: `needed` are all keys that any version of any project needs."""
    unneeded = sorted(key for key in infos if key not in needed)
    old = [key for key in unneeded if infos[key].modified < before]
    total, doomed = sum(infos[key].bytes for key in unneeded), sum(infos[key].bytes for key in old)
    return Sweep(tuple(old), doomed, len(unneeded) - len(old), total - doomed)


# --- the plan -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """What becomes of one version's checkpoints."""

    version: StoredVersion
    dropped: frozenset[Place]
    bytes: int  # of objects that nobody needs without them; what several versions let go counts for the oldest


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What gc would do, in the order of the versions' begins."""

    versions: tuple[VersionPlan, ...]  # of the project that is tidied
    sweep: Sweep  # once the checkpoints are dropped
    already: Sweep  # before that: left by crashed writers, or by an earlier gc
    live: tuple[str, ...] = ()  # runs that are going on, in words

    @property
    def dropped(self) -> int:
        return sum(len(version.dropped) for version in self.versions)


def plan(
    project: str,
    versions: Sequence[StoredVersion],
    infos: Mapping[str, ObjectInfo],
    rules: Sequence[Rule],
    now: float,
    before: float,
    live: Sequence[str] = (),
) -> CollectionPlan:
    """What to drop of `project` by these rules, and what goes with it. `versions` are those of all projects."""
    ours = sorted((v for v in versions if v.project == project), key=lambda v: (v.started, v.version))
    drops = choose(ours, rules, now)
    needed, all_needed = set[str](), set[str]()
    for v in versions:
        gone = drops.get(v.version, frozenset()) if v.project == project else frozenset()
        needed |= v.objects(gone)
        all_needed |= v.objects()
    let_go = all_needed - needed
    plans = []
    for v in ours:
        freed = {key for key in v.objects() if key in let_go}
        let_go -= freed
        size = sum(infos[key].bytes for key in freed if key in infos)
        plans.append(VersionPlan(v, drops.get(v.version, frozenset()), size))
    return CollectionPlan(tuple(plans), sweep(infos, needed, before), sweep(infos, all_needed, before), tuple(live))


# --- what there is --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one version. Objects are counted once per version, however often it refers to them."""

    version: StoredVersion
    logical_bytes: int  # what its checkpoints hold, each counted in full
    own_bytes: int  # objects that only this version needs
    shared_bytes: int  # objects that other versions need too


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Bytes of a store. All versions of all projects share the objects."""

    usages: tuple[Usage, ...]  # of one project, by begin
    objects: int
    bytes: int  # of all objects
    logical_bytes: int  # what the checkpoints of all projects hold, each counted in full
    checkpoint_bytes: int  # of the objects that those checkpoints need
    unneeded: int  # objects that nobody needs
    unneeded_bytes: int
    missing: tuple[str, ...]  # keys of objects that are needed and are not there, sorted

    @property
    def ratio(self) -> float | None:
        """How often the bytes of checkpoints would be kept without deduplication and compression; None without any."""
        return self.logical_bytes / self.checkpoint_bytes if self.checkpoint_bytes else None


def storage(project: str, versions: Sequence[StoredVersion], infos: Mapping[str, ObjectInfo]) -> StoreUsage:
    """Who needs which bytes. `versions` are those of all projects, the usages those of `project`."""
    users: dict[str, int] = {}  # the sets of keys themselves are made twice: all of them at once would be large
    for v in versions:
        for key in v.objects():
            users[key] = users.get(key, 0) + 1
    size = {key: info.bytes for key, info in infos.items()}
    usages, of_checkpoints, logical = [], set[str](), 0
    for v in versions:
        held = sum(c.bytes for c in v.checkpoints)
        logical += held
        of_checkpoints.update(key for c in v.checkpoints for key in (c.key, *v.needs.get(c.key, ())))
        if v.project == project:
            keys = v.objects()
            own = sum(size.get(key, 0) for key in keys if users[key] == 1)
            usages.append(Usage(v, held, own, sum(size.get(key, 0) for key in keys) - own))
    usages.sort(key=lambda usage: (usage.version.started, usage.version.version))
    unneeded = [key for key in size if key not in users]
    return StoreUsage(
        usages=tuple(usages),
        objects=len(size),
        bytes=sum(size.values()),
        logical_bytes=logical,
        checkpoint_bytes=sum(size.get(key, 0) for key in of_checkpoints),
        unneeded=len(unneeded),
        unneeded_bytes=sum(size[key] for key in unneeded),
        missing=tuple(sorted(key for key in users if key not in size)),
    )

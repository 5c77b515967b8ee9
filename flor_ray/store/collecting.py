"""Tidying a store: read what there is, and carry out a plan of `retention` so that a kill at any point does no harm.

    survey ──> retention.plan ──> (the user says yes) ──> carry_out: 1. rows of C go   2. survey again   3. objects go

Rows go first, so that every checkpoint that is listed is whole at any moment; objects that a killed gc leaves behind
are what the next one finds. What cannot be read is never taken for unneeded: a damaged table or manifest stops gc
before it has deleted anything. Others may record, replay and tidy meanwhile (flor_ray.store.retention, Grace).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flor_ray.errors import ObjectCorrupt, ObjectMissing, StoreError, UsageError
from flor_ray.records import Checkpoint, Experiment, Status
from flor_ray.store import live_replays, manifests, ranks, retention, stored_data
from flor_ray.store.files import FileInfo
from flor_ray.store.live_replays import Replay
from flor_ray.store.objects import GRACE_SECONDS
from flor_ray.store.retention import CollectionPlan, Rule, StoredVersion
from flor_ray.store.store import Store

T = TypeVar("T")
Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much
_MANIFESTS = 64  # read at once: they hold small tensors, so that many of them would fill the memory
_DELETIONS = 64  # objects between two words of progress; Ctrl-C waits for no more than these
# A live run may rely on an object that nobody needs if it was younger than half of GRACE_SECONDS when the run looked
# (flor_ray.store.objects); an hour more for clocks that differ.
_RELIED_SECONDS = GRACE_SECONDS / 2 + 3600
_LEAST_GRACE_SECONDS = 3600.0  # while runs are live: others may be starting that are not seen yet
_TRUSTED_SECONDS = 30.0  # how old a listing may be that says an object is old


@dataclass(frozen=True, slots=True)
class Writer:
    """A run or a replay that is going on."""

    name: str  # in words
    since: float  # unix seconds


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store holds at one moment."""

    versions: tuple[StoredVersion, ...]  # of all projects
    infos: Mapping[str, FileInfo]  # all objects, by key
    live: tuple[Writer, ...]  # runs and replays that are going on
    now: float  # unix seconds
    damage: tuple[str, ...] = ()  # manifests that cannot be read, in sentences


@dataclass(slots=True)
class Done:
    """What gc has done; it fills while gc works, and is true also when that is interrupted."""

    dropped: int = 0  # checkpoints
    deleted: int = 0  # objects
    bytes: int = 0  # of those
    left: int = 0  # objects that were to be deleted and are still there
    unfinished: int = 0  # files that killed writers left half written, also deleted


def nobody(what: str, done: int, total: int) -> None:
    """Nobody is told."""


# --- reading --------------------------------------------------------------------------------------------------------


def survey(store: Store, tell: Tell = nobody, known: Mapping[str, tuple[str, ...]] | None = None) -> Survey:
    """Read all tables, and the manifests of all checkpoints but those that are `known` with what they refer to.

    Raises:
        StoreError: a table cannot be read.
    """
    now = time.time()
    infos = store.objects.infos()  # first: an object that comes later cannot be taken for one that nobody needs
    replays = live_replays.live(store.files, now)
    replayed = {(replay.project, version) for replay in replays for version in replay.versions}
    runs = [run for project in store.projects() for run in store.experiments(project, now, whole=True)]
    experiments = {(run.project, run.version): run for run in runs}
    log_bytes, logged, mirrored = store.sizes("log_records"), store.blob_keys(), store.source_keys()
    places = sorted({*experiments, *log_bytes, *logged, *mirrored, *store.sizes("checkpoints")})
    checkpoints = _checkpoints(store, places, tell)
    files = {project: store.all_written_files(project) for project in {project for project, _ in places}}
    contents = {
        (project, version): {
            state.kept for file in files[project].get(version, ()) for state in file.states if len(state.kept) > 1
        }
        for project, version in places
    }
    needs, damage = _references(store, checkpoints.values(), dict(known or {}), tell)
    versions = []
    for place in places:
        experiment = experiments.get(place)
        kept = [experiment.environment.get(part) for part in ("rng", "lock")] if experiment else []
        begun = {key for key in kept if isinstance(key, str)}
        version = StoredVersion(
            *place,
            run=None if experiment is None else experiment.run,
            started=0.0 if experiment is None else experiment.started,
            epochs=0 if experiment is None else experiment.epochs,
            live=place in replayed or (experiment is not None and experiment.status is Status.RUNNING),
            checkpoints=checkpoints[place],
            needs={c.key: needs[c.key] for c in checkpoints[place] if c.key in needs},
            others=frozenset(begun | logged.get(place, set()) | mirrored.get(place, set()) | contents[place]),
            log_bytes=log_bytes.get(place, 0),
        )
        versions.append(version)
    data = stored_data.references(store.files)
    if data:
        versions.append(StoredVersion("", "data", others=data))  # they belong to no version, and all may need them
    live = [_run(e) for e in experiments.values() if e.status is Status.RUNNING] + [_replay(r) for r in replays]
    return Survey(tuple(versions), infos, tuple(live), now, tuple(damage))


def _run(experiment: Experiment) -> Writer:
    run = f" ({experiment.run})" if experiment.run else ""
    name = f"version {experiment.version[:8]}{run} of {experiment.project} is being recorded"
    return Writer(name, experiment.started)


def _replay(replay: Replay) -> Writer:
    count = f"{len(replay.versions)} version{'' if len(replay.versions) == 1 else 's'}"
    return Writer(f"{count} of {replay.project} are being replayed ({replay.path} says so)", replay.started)


def _checkpoints(
    store: Store, places: Sequence[tuple[str, str]], tell: Tell
) -> dict[tuple[str, str], tuple[Checkpoint, ...]]:
    found: dict[tuple[str, str], tuple[Checkpoint, ...]] = {}
    for batch in _batches(places, _MANIFESTS):
        read = store.files.each(lambda place: store.checkpoints(place[0], place[1], whole=True), batch)
        found.update(zip(batch, read, strict=True))
        tell("Reading checkpoint lists", len(found), len(places))
    return found


def _references(
    store: Store,
    checkpoints: Iterable[Sequence[Checkpoint]],
    needs: dict[str, tuple[str, ...]],
    tell: Tell,
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What each manifest refers to, by its key; and which of them cannot be read."""
    users: dict[str, str] = {}
    for c in itertools.chain.from_iterable(checkpoints):
        users.setdefault(c.key, f"version {c.version[:8]}, epoch {c.epoch}")
    wanted = sorted(users.keys() - needs.keys())
    damage = []
    same: dict[str, str] = {}  # checkpoints share most of their objects: keep one string per key
    told = 0
    for batch in _batches(wanted, _MANIFESTS):
        for key, read in zip(batch, store.files.each(lambda key: _read(store, key), batch), strict=True):
            if isinstance(read, StoreError):
                damage.append(f"{users[key]}: {read}")
            else:
                needs[key] = tuple(same.setdefault(other, other) for other in sorted(read))
        told += len(batch)
        tell("Reading checkpoints", told, len(wanted))
    return needs, damage


def _read(store: Store, key: str) -> frozenset[str] | StoreError:
    """Only damage is a value: a store that cannot be reached raises."""
    try:
        data = store.objects.get(key)
    except (ObjectMissing, ObjectCorrupt) as error:
        return error
    try:
        return manifests.references(data)
    except StoreError as error:
        return error


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


# --- planning -------------------------------------------------------------------------------------------------------


def plan(found: Survey, project: str, rules: Sequence[Rule], grace_seconds: float) -> CollectionPlan:
    """What gc would do.

    Raises:
        StoreError: a manifest cannot be read, so that nobody knows what it needs.
        UsageError: a rule names nothing, or the grace is too short while runs are going on.
    """
    ours = [version for version in found.versions if version.project == project]
    if (idle := retention.idle_rule(ours, rules)) is not None:
        runs = ", ".join(sorted({version.run for version in ours if version.run})) or "none has a name"
        raise UsageError(
            f"--keep {idle.kind}:{idle.text} keeps nothing: {project} has no such {idle.kind}. Runs: {runs}. "
            "`flor-ray versions` lists all versions."
        )
    if found.damage:
        raise StoreError(
            f"{found.damage[0]} What that checkpoint needs is not known, so nothing is deleted"
            + (f" ({len(found.damage) - 1} more are damaged)." if len(found.damage) > 1 else ".")
        )
    if found.live and grace_seconds < _LEAST_GRACE_SECONDS:
        more = f", and {len(found.live) - 1} more runs or replays are going on" if found.live[1:] else ""
        raise UsageError(
            f"{found.live[0].name}{more}: with a grace under 1h, objects that it is about to need could be deleted. "
            "Wait until it has ended, or use --grace 1h or more."
        )
    before = _cutoff(found, grace_seconds)
    live = [writer.name for writer in found.live]
    return retention.plan(project, found.versions, found.infos, rules, found.now, before, live)


def _cutoff(found: Survey, grace_seconds: float) -> float:
    return retention.cutoff(found.now, grace_seconds, (writer.since for writer in found.live), _RELIED_SECONDS)


# --- doing ----------------------------------------------------------------------------------------------------------


def carry_out(
    store: Store,
    project: str,
    planned: CollectionPlan,
    found: Survey,
    grace_seconds: float,
    done: Done,
    tell: Tell = nobody,
) -> None:
    """Drop the rows that are planned to go, then delete what nobody needs any more. `found` is what was planned on.

    `done` says how far it came, also after an exception or Ctrl-C.

    Raises:
        StoreError: something cannot be read, written or deleted.
        UsageError: a run has begun meanwhile, and the grace is too short for that; or a replay of what is to go.
    """
    going = [item for item in planned.versions if item.dropped]
    for replay in live_replays.live(store.files, time.time()):
        if replay.project == project and not replay.versions.isdisjoint(item.version.version for item in going):
            raise UsageError(
                f"{_replay(replay).name} since this was planned. Nothing was deleted: run the command again."
            )
    for count, item in enumerate(going, start=1):
        for rank in (0, *ranks.of_version(store, project, item.version.version)):
            store.drop_checkpoints(*ranks.place(project, item.version.version, rank), item.dropped)
        done.dropped += len(item.dropped)
        tell("Dropping checkpoints", count, len(going))
    known = {key: keys for version in found.versions for key, keys in version.needs.items()}
    now = survey(store, tell, known)
    _delete(store, plan(now, project, (), grace_seconds), now, grace_seconds, done, tell)
    done.unfinished = sweep_unfinished(store)


def sweep_unfinished(store: Store) -> int:
    """Delete what killed writers left of files that never appeared; how many. No grace makes them go within a day: a
    large file may be on its way for long."""
    return store.files.sweep(time.time() - GRACE_SECONDS)


def _delete(store: Store, planned: CollectionPlan, found: Survey, grace_seconds: float, done: Done, tell: Tell) -> None:
    """What somebody has put again since the listing is young again: look once more before deleting it."""
    keys, infos, listed = planned.sweep.keys, found.infos, time.monotonic()
    before = _cutoff(found, grace_seconds)
    done.left = len(keys)
    for batch in _batches(keys, _DELETIONS):
        if time.monotonic() - listed > _TRUSTED_SECONDS:
            infos, listed = store.objects.infos(), time.monotonic()
        old = [key for key in batch if key in infos and infos[key].modified < before]
        store.files.each(store.objects.delete, old)
        done.deleted += len(old)
        done.bytes += sum(infos[key].bytes for key in old)
        done.left -= len(batch)
        tell("Deleting objects", len(keys) - done.left, len(keys))

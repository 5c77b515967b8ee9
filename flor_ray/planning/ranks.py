"""Versions of several ranks: what each has to start from, and why one cannot be replayed.

rank 0's checkpoints    0  1  2  3  4
rank 1's                0  1     3  4
                        ─> replays start at 0, 1, 3 and 4, where all ranks have their part
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flor_ray.environment.inputs import KEY
from flor_ray.errors import Damaged
from flor_ray.planning.missing import Skipped
from flor_ray.planning.terms import Terms
from flor_ray.records import RANKS, Checkpoint, Experiment, Gap, Launch, RankRecord
from flor_ray.replaying.job import RankPart
from flor_ray.store import ranks, typed_json
from flor_ray.store.project import Project
from flor_ray.wording import counted

_MOST = 4096  # ranks of a run that a replay starts


@dataclass(frozen=True, slots=True)
class Ranked:
    """What is known of the ranks of versions that are to be replayed."""

    launches: Mapping[str, Launch] = field(default_factory=dict)  # of those with several
    parts: Mapping[str, tuple[RankPart, ...]] = field(default_factory=dict)
    checkpoints: Mapping[str, tuple[Checkpoint, ...]] = field(default_factory=dict)  # of all versions
    experiments: Mapping[str, Experiment] = field(default_factory=dict)  # with what all of their ranks have read
    skipped: Mapping[str, str] = field(default_factory=dict)  # version -> why it cannot be replayed
    notes: tuple[str, ...] = ()


def launch_of(experiment: Experiment) -> Launch | None:
    """How a version's ranks were started; None: it was one process.

    Raises:
        ValueError: what its run says of that cannot be.
    """
    said = experiment.environment.get(RANKS)
    if said is None:
        return None
    found = typed_json.from_plain(said, Launch)
    if not 1 <= found.size <= _MOST:
        raise ValueError(f"it is said to have had {found.size} ranks")
    return found


def ranked(
    project: Project, experiments: Mapping[str, Experiment], usable: Mapping[str, tuple[Checkpoint, ...]]
) -> Ranked:
    """What the ranks of these versions have to start from. `usable` are the first one's checkpoints, by version."""
    launches: dict[str, Launch] = {}
    parts: dict[str, tuple[RankPart, ...]] = {}
    checkpoints = dict(usable)
    merged: dict[str, Experiment] = {}
    skipped: dict[str, str] = {}
    notes: list[str] = []
    for version in sorted(usable):
        try:
            launch = launch_of(experiments[version])
            records = {} if launch is None else ranks.read(project.store.files, project.name, version)
        except (ValueError, Damaged) as error:
            skipped[version] = f"what is kept of its ranks cannot be used ({error})"
            continue
        if launch is None:
            continue
        launches[version] = launch
        if lacking := sorted(set(range(1, launch.size)) - records.keys()):
            skipped[version] = _lacks(launch, lacking)
            continue
        found = _parts(project, version, launch, records)
        common = common_checkpoints(usable[version], [part.checkpoints for part in found])
        notes += _notes(version, launch, usable[version], common, records)
        exchanged = launch.exchanged or any(record.exchanged for record in records.values())
        if launch.size > 2 and launch.buckets is None:
            common = tuple(checkpoint for checkpoint in common if not checkpoint.epoch)
            notes.append(
                f"version {version[:8]}: the order in which its {launch.size} ranks summed their gradients is not "
                "known, so it is replayed from the beginning of its main loop"
            )
        parts[version], checkpoints[version] = found, () if exchanged else common
        merged[version] = with_inputs(experiments[version], records)
    return Ranked(launches, parts, checkpoints, merged, skipped, tuple(notes))


def _parts(project: Project, version: str, launch: Launch, records: Mapping[int, RankRecord]) -> tuple[RankPart, ...]:
    store = project.store
    found = []
    for rank in range(1, launch.size):
        listed = ranks.checkpoints(store, project.name, version, rank)
        there = tuple(checkpoint for checkpoint in listed if store.objects.exists(checkpoint.key))
        found.append(RankPart(records[rank], there))
    return tuple(found)


def common_checkpoints(first: Sequence[Checkpoint], others: Sequence[Sequence[Checkpoint]]) -> tuple[Checkpoint, ...]:
    """The first rank's checkpoints of which all ranks have their part; what a part lacks, the whole lacks. Pure."""
    by_place = [{(c.epoch, c.point): c for c in listed} for listed in others]
    found = []
    for checkpoint in first:
        parts = [listed.get((checkpoint.epoch, checkpoint.point)) for listed in by_place]
        there = [part for part in parts if part is not None]
        if len(there) == len(parts):
            found.append(
                replace(
                    checkpoint,
                    uncaptured=checkpoint.uncaptured.union(*(part.uncaptured for part in there)),
                    opaque=checkpoint.opaque.union(*(part.opaque for part in there)),
                )
            )
    return tuple(found)


def with_inputs(experiment: Experiment, records: Mapping[int, RankRecord]) -> Experiment:
    """A version whose input files are those of all its ranks: each may have read a part of the data. Pure."""
    rows = experiment.environment.get(KEY)
    if not isinstance(rows, list):
        return experiment
    known = {row.get("path") for row in rows if isinstance(row, dict)}
    more = {str(row.get("path")): dict(row) for _, record in sorted(records.items()) for row in record.inputs}
    added = [row for path, row in sorted(more.items()) if path not in known]
    return replace(experiment, environment={**experiment.environment, KEY: [*rows, *added]}) if added else experiment


def without(gaps: Sequence[Gap], skipped: Mapping[str, str]) -> tuple[tuple[Gap, ...], tuple[Skipped, ...]]:
    """The gaps of versions that can be replayed, and the others. Pure."""
    left = [Skipped(gap.version, skipped[gap.version]) for gap in gaps if gap.version in skipped]
    return tuple(gap for gap in gaps if gap.version not in skipped), tuple(dict.fromkeys(left))


def terms_for(terms: Terms, launches: Mapping[str, Launch]) -> tuple[Terms, tuple[str, ...]]:
    """Terms by which each worker has room for the ranks of any of these versions, and what the user should know. Pure.

    Each worker is a group of slots, as many as the version with most ranks takes. Of a budget it spends as much more.
    """
    width = max((launch.size for launch in launches.values()), default=1)
    if width == 1:
        return terms, ()
    groups = max(1, terms.workers // width)
    spent = None if terms.gpu_seconds is None else terms.gpu_seconds / width
    note = f"versions of up to {width} ranks are replayed by {counted(groups, 'group')} of {width} processes"
    if terms.workers < width:
        note += f", which take {width} workers' places; there are {terms.workers}"
    return replace(terms, workers=groups, gpu_seconds=spent, ranks=width), (note,)


def _lacks(launch: Launch, lacking: Sequence[int]) -> str:
    which = f"rank {lacking[0]}" if len(lacking) == 1 else f"ranks {', '.join(map(str, lacking[:5]))}"
    return (
        f"it ran as {launch.size} processes, and nothing of {which} is in the store: it was ended before that could be "
        "written, it does not use torch.distributed, or its machines see other stores. Train again, with a store that "
        "all machines see"
    )


def _notes(
    version: str,
    launch: Launch,
    first: Sequence[Checkpoint],
    common: Sequence[Checkpoint],
    records: Mapping[int, RankRecord],
) -> list[str]:
    files = sorted({*launch.exchanged, *(path for record in records.values() for path in record.exchanged)})
    if files:
        named = ", ".join(files[:3])
        return [f"version {version[:8]}: its ranks exchanged files ({named}), so it is replayed from its start"]
    lost = sorted({c.epoch for c in first} - {c.epoch for c in common})
    if not lost:
        return []
    epochs = ", ".join(map(str, lost))
    return [
        f"version {version[:8]}: of the checkpoints of epochs {epochs}, not all of its {launch.size} ranks have their "
        "part; replay starts from others"
    ]

"""What the flow asks the store before it plans: which versions, what they have, and from where they can be replayed.

Reads only. What it means is decided elsewhere: `missing` finds the gaps, `segmenting` how to fill them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flor_ray.analysis import dependence
from flor_ray.analysis.source import Texts
from flor_ray.environment import file_states
from flor_ray.environment.data_places import FileSource
from flor_ray.errors import BadWhere, Damaged
from flor_ray.patching.patching import Patched, narrowed
from flor_ray.planning.completeness import Completeness, completeness, marking_for
from flor_ray.planning.missing import Request
from flor_ray.planning.terms import Query
from flor_ray.records import ENTRIES, Checkpoint, Experiment, Gap, Level, Operator, Region, Segment, WrittenFile
from flor_ray.replaying import causes
from flor_ray.replaying.data import DataFinder
from flor_ray.store import columns
from flor_ray.store.fragments import RECORDED
from flor_ray.store.project import Project
from flor_ray.wording import some_versions

_OUTSIDE = -1  # stands for no epoch


def select(
    project: Project, names: Sequence[str], where: str | None, experiments: Sequence[Experiment]
) -> tuple[Mapping[str, frozenset[int] | None] | None, tuple[str, ...]]:
    """The versions and epochs that `where` picks (None: everything), and what the user should know about that."""
    if where is None:
        return None, ()
    from flor_ray.store.pivoting import data_frames, pivots  # and pandas, which nothing else here needs

    recorded = project.store.names(project.name)

    mentioned = data_frames.referenced_columns(where)
    levels = {column for column in mentioned if pivots.features_of([column], recorded)}
    if unknown := mentioned - levels - set(names) - set(pivots.DIMENSIONS) - set(data_frames.CONSTANTS):
        known = [*pivots.DIMENSIONS, *sorted(recorded | set(names))]
        raise BadWhere(where, f"there is no column {sorted(unknown)[0]!r}", known)
    shown = sorted(pivots.features_of(mentioned, recorded))
    dimensions = data_frames.dimensions(project.store, project.name, experiments, shown, names, project.pickles)
    notes = []
    for name in sorted((mentioned - set(pivots.DIMENSIONS) - set(data_frames.CONSTANTS)) & set(dimensions.columns)):
        lacking = dimensions.loc[dimensions[name].isna(), "version"].nunique()
        if lacking and not re.search(rf"\b{re.escape(name)}`?\.(isna|isnull|notna|notnull)\b", where):
            notes.append(
                f"{name} has missing values in {lacking} of {len(experiments)} versions; `where` counts as false there"
            )
    return data_frames.select(dimensions, where), tuple(notes)


def requests(
    project: Project, queries: Sequence[Query], experiments: Sequence[Experiment]
) -> tuple[list[Request], tuple[str, ...]]:
    """What each query asks for, and what the user should know about that."""
    found: list[Request] = []
    notes: list[str] = []
    for asked in queries:
        names = tuple(dict.fromkeys(asked.names))
        selected, said = select(project, names, asked.where, experiments)
        found.append(Request(names, selected))
        notes += said
    return found, tuple(dict.fromkeys(notes))


def have(project: Project, names: Sequence[str], again: bool) -> dict[tuple[str, str], frozenset[int | None]]:
    """Where each name has been answered: by a value, or by a replay in which its statement logged nothing."""
    found: dict[tuple[str, str], set[int | None]] = {}
    texts = ["version", "name", "origin"]
    logged = project.store.logged(project.name, names, columns=[*texts, "epoch"], in_order=False)
    for version, name, origin, epoch in columns.distinct(logged.rows, texts, "epoch", missing=_OUTSIDE):
        if origin == RECORDED or not again:
            found.setdefault((version, name), set()).add(None if epoch == _OUTSIDE else epoch)
    for kept in [] if again else logged.reports:
        segment = kept.report.segment
        is_outside = segment.operator is Operator.DP or (segment.operator is Operator.KNOWN and not segment.last)
        answered: list[int | None] = [] if is_outside else list(range(segment.first, segment.last + 1))
        if is_outside or segment.operator is Operator.DP_STAR:
            answered.append(None)
        for name in segment.names:
            found.setdefault((segment.version, name), set()).update(answered)
    return {key: frozenset(epochs) for key, epochs in found.items()}


def with_observed(project: Project, patched: Mapping[str, Patched]) -> dict[str, Patched]:
    """Regions that reading the sources leaves open, narrowed by the levels at which the runs logged other names."""
    names = frozenset().union(*(patch.witnesses for patch in patched.values()))
    versions = [version for version, patch in patched.items() if patch.witnesses]
    levels: dict[str, dict[str, set[Level]]] = {}
    if names:
        for version, origin, name, kind in project.store.kinds(project.name, names, versions):
            if origin == RECORDED:
                levels.setdefault(version, {}).setdefault(name, set()).update(map(Level, kind.levels))
    observed = {v: {name: frozenset(found) for name, found in of.items()} for v, of in levels.items()}
    return {v: narrowed(patch, observed[v]) if v in observed else patch for v, patch in patched.items()}


def with_entries(patched: Mapping[str, Patched], experiments: Mapping[str, Experiment]) -> dict[str, Patched]:
    """Of a version whose main loop was entered more than once, nothing but the whole gives the values of each entry."""
    found = dict(patched)
    for version, patch in patched.items():
        times = experiments[version].environment.get(ENTRIES, 1)
        if isinstance(times, int) and times > 1:
            whys = dict.fromkeys(patch.regions, f"its main loop was entered {times} times")
            found[version] = replace(patch, regions=dict.fromkeys(patch.regions, Region.WHOLE), whys=whys)
    return found


def usable_checkpoints(
    project: Project, versions: set[str]
) -> tuple[dict[str, tuple[Checkpoint, ...]], tuple[str, ...]]:
    """Checkpoints whose object is in the store; what is missing is told, and replay starts further back."""
    usable: dict[str, tuple[Checkpoint, ...]] = {}
    notes = []
    for version in sorted(versions):
        listed = project.store.checkpoints(project.name, version)
        try:
            files = project.store.written_files(project.name, version)
        except Damaged as error:  # its replay, which has to lay these files, fails with the same words
            notes.append(f"version {version[:8]}: {error}")
            usable[version] = ()
            continue
        usable[version] = tuple(_with_files(c, files) for c in listed if project.store.objects.exists(c.key))
        lost = sorted({c.epoch for c in listed} - {c.epoch for c in usable[version]})
        if lost:
            notes.append(
                f"version {version[:8]}: the checkpoint objects of epochs {', '.join(map(str, lost))} are missing from "
                f"{project.store.url}; replay starts from earlier ones"
            )
    return usable, tuple(notes)


def _with_files(checkpoint: Checkpoint, files: Sequence[WrittenFile]) -> Checkpoint:
    """A checkpoint that lacks the content of a file which the run goes on to read is no place to start from."""
    lost = file_states.lost_at(files, checkpoint.epoch, checkpoint.point)
    return replace(checkpoint, uncaptured=checkpoint.uncaptured | {f"the file {path}" for path in lost})


def with_completeness(
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    patched: Mapping[str, Patched],
    texts: Mapping[str, Texts],
    experiments: Mapping[str, Experiment],
) -> tuple[dict[str, Completeness], dict[str, Patched]]:
    """What of their checkpoints the versions' code can start from, and what the end of an epoch answers then."""
    found: dict[str, Completeness] = {}
    changed = dict(patched)
    for version, listed in checkpoints.items():
        if experiments[
            version
        ].is_adopted:  # what its files do not hold is told apart by name, and nothing starts there
            found[version] = Completeness(tuple(listed))
            continue
        script, files = experiments[version].script, {**texts.get(version, {}), **patched[version].files}
        one = found[version] = completeness(listed, script, files, experiments[version].epochs)
        marking = marking_for(one, script, files, patched[version].marking)
        changed[version] = replace(patched[version], marking=marking)
    return found, changed


def input_notes(project: Project, experiments: Mapping[str, Experiment], gaps: Sequence[Gap]) -> list[str]:
    """Input files that are not here, or not what they were when the versions were recorded that are to be replayed."""
    finder = DataFinder(fetches=False)
    changes: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for version in dict.fromkeys(gap.version for gap in gaps):
        environment = experiments[version].environment
        for one in finder.locate(environment, project.data, project.tree.root, project.store):
            if (change := one.change) is None:
                continue
            if one.source is FileSource.NOWHERE and change.missing:
                missing.setdefault(version, []).append(change.path)
            else:
                changes.setdefault(version, []).append(str(change))
    return [*describe_changes(changes), *describe_missing(missing)]


def doubtful(
    names: Sequence[str],
    segments: Sequence[Segment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
    found: Mapping[str, Completeness],
) -> dict[str, dict[str, str]]:
    """Per version, the wanted features that depend on what no checkpoint holds, with its name."""
    doubts: dict[str, dict[str, str]] = {}
    for version in sorted({segment.version for segment in segments}):
        if found[version].taken:
            files = {**texts.get(version, {}), **patched[version].files}
            depending = dependence.features_that_depend(found[version].taken, *files.values())
            doubts[version] = {name: depending[name] for name in names if name in depending}
    return {version: each for version, each in doubts.items() if each}


def describe_missing(missing: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes on the input files of versions that are neither on this machine nor in the store."""
    groups: dict[str, list[str]] = {}
    for version, paths in missing.items():
        groups.setdefault(causes.some(paths), []).append(version)
    return [
        f"{some_versions(versions)} read {paths}, not here as it was read: replayed on machines that have it, "
        "or with another file that all of them have in its place (`flor-ray data` shows what is where)"
        for paths, versions in groups.items()
    ]


def describe_changes(changes: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes on the input files of versions: by version, what has become of each."""
    groups: dict[str, list[str]] = {}
    for version, found in changes.items():
        groups.setdefault(causes.some(found), []).append(version)
    return [
        f"{found} since {some_versions(versions)} {'was' if len(versions) == 1 else 'were'} recorded: replayed values "
        "may differ"
        for found, versions in groups.items()
    ]

"""Replays that need not run: values that are known already (`flor_ray.known`), and versions that are the same run as
another one (`flor_ray.twins`). What lives here reads the store for these two, and writes what they found.

    gaps ─> known answers ─> the rest ─> copies of what other versions get ─> the rest is planned
                 └─> rows and reports, as of a replay          └─> rows and reports, once the others have run
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flor_ray import codecs, dependence, known, manifests, twins
from flor_ray.errors import StoreError
from flor_ray.fidelity import RecordedValues
from flor_ray.fragments import RECORDED
from flor_ray.known import Answer, Recorded
from flor_ray.manifests import Manifest, Part
from flor_ray.objects import Objects
from flor_ray.patching import Patched
from flor_ray.project import Project
from flor_ray.records import (
    Experiment,
    Fidelity,
    Gap,
    Level,
    LogRecord,
    Operator,
    Outcome,
    Region,
    Segment,
    SegmentReport,
)
from flor_ray.results import Judgement, judged, report_json
from flor_ray.schema import Value
from flor_ray.store import Store
from flor_ray.twins import Copy

Texts = Mapping[str, str]  # repository-relative path -> source text
Have = Mapping[tuple[str, str], frozenset[int | None]]  # answered places by (version, name)
_NUMPY = b"MT19937"  # numpy's random state begins with it
_EXACT = Judgement(Fidelity.EXACT)  # made of what was recorded, and of nothing else
_PLACE_COLUMNS = ("level", "epoch", "step", "iteration", "type", "number", "integer", "text")


@dataclass(frozen=True, slots=True)
class Avoided:
    """What need not run, and the gaps that are left."""

    known: tuple[Answer, ...] = ()
    copies: tuple[Copy, ...] = ()
    gaps: tuple[Gap, ...] = field(default=())


def avoid(
    project: Project,
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
    have: Have,
) -> Avoided:
    """Take out of the gaps what is known, and what other versions answer. Changes nothing.

    Args:
        texts: the versions' own files.
        have: what is answered.
    """
    answers = _known(project.store, gaps, experiments, texts, patched)
    rest = _without(gaps, {(a.version, a.name) for a in answers})
    copies = _copies(project, rest, experiments, texts, patched, have)
    copied = {copy.version for copy in copies}
    return Avoided(tuple(answers), tuple(copies), tuple(gap for gap in rest if gap.version not in copied))


def _without(gaps: Iterable[Gap], answered: set[tuple[str, str]]) -> list[Gap]:
    left = [replace(gap, names=tuple(n for n in gap.names if (gap.version, n) not in answered)) for gap in gaps]
    return [gap for gap in left if gap.names]


# --- known values ---------------------------------------------------------------------------------------------------


def _known(
    store: Store,
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
) -> list[Answer]:
    found = _Ways()
    asked = [
        (gap, name, found.of(experiments[gap.version], texts, patched, name)) for gap in gaps for name in gap.names
    ]
    asked = [(gap, name, ways) for gap, name, ways in asked if ways.computed is not None or ways.same_as]
    if not asked:
        return []
    names = {name for _, name, _ in asked}.union(*(ways.names for _, _, ways in asked))
    project = experiments[asked[0][0].version].project
    recorded = _recorded(store, project, names, {gap.version for gap, _, _ in asked})
    now, python = time.time(), platform.python_version()
    answers = []
    for gap, name, ways in asked:
        experiment, rows = experiments[gap.version], recorded.get(gap.version, {})
        answer = known.records(ways, experiment, name, rows, gap.epochs, gap.data_prep, python, now)
        if answer is not None:
            answers.append(answer)
    return answers


class _Ways:
    """`known.ways`, once for all versions with the same files."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int, frozenset[tuple[str, str]]], known.Ways] = {}
        self._kept: list[Patched] = []  # so that their ids stay theirs

    def of(
        self, experiment: Experiment, texts: Mapping[str, Texts], patched: Mapping[str, Patched], name: str
    ) -> known.Ways:
        patch, own = patched[experiment.version], texts.get(experiment.version, {})
        key = (name, experiment.script, id(patch), frozenset(own.items()))
        if key not in self._found:
            self._kept.append(patch)
            region = patch.regions.get(name, Region.WHOLE)
            self._found[key] = known.ways(experiment.script, own, {**own, **patch.files}, name, region)
        return self._found[key]


def _recorded(
    store: Store, project: str, names: Iterable[str], versions: Iterable[str]
) -> dict[str, dict[str, list[Recorded]]]:
    """Recorded values by version and name."""
    table = store.logs(project, names=names, versions=versions)
    columns = [table[column].to_pylist() for column in ("version", "name", "origin", *_PLACE_COLUMNS)]
    found: dict[str, dict[str, list[Recorded]]] = {}
    for version, name, origin, level, epoch, step, iteration, *value in zip(*columns, strict=True):
        if origin == RECORDED:
            row = Recorded(Level(level), epoch, step, iteration, Value(*value))
            found.setdefault(version, {}).setdefault(name, []).append(row)
    return found


# --- the same run twice ---------------------------------------------------------------------------------------------


def _copies(
    project: Project,
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
    have: Have,
) -> list[Copy]:
    lacking = {gap.version for gap in gaps}
    groups: dict[twins.Kind, list[str]] = {}
    for version, experiment in experiments.items() if lacking else ():
        files = {**texts.get(version, {}), **patched[version].files}
        kind = twins.kind_of(experiment, files)
        if kind is not None:
            groups.setdefault(kind, []).append(version)
    proven = []
    for versions in groups.values():
        if len(versions) > 1 and lacking & set(versions):
            first = versions[0]
            files = {**texts[first], **patched[first].files}
            if twins.is_seeded(experiments[first].script, files):
                proven += _proven(project, [experiments[v] for v in versions], files)
    of_clock = {(v, name) for group in proven for v in group for name in _clock_names(patched[v], texts[v])}
    able = {gap.version for gap in gaps} - {g.version for g in gaps if any((g.version, n) in of_clock for n in g.names)}

    verdicts = judged(project.store.replay_reports(project.name)) if proven else {}

    def trusted(version: str) -> bool:
        exact = version not in verdicts or verdicts[version].verdict is Fidelity.EXACT
        return exact and twins.knows_inputs(experiments[version])

    chosen = twins.sources(proven, [gap for gap in gaps if gap.version in able], have, trusted)
    return [Copy(v, source, tuple(g for g in gaps if g.version == v)) for v, source in chosen.items()]


def _clock_names(patch: Patched, own: Texts) -> frozenset[str]:
    found = [dependence.read_from_the_clock(text) for text in {**own, **patch.files}.values()]
    return frozenset(name[1:] for name in frozenset().union(*found) if name.startswith(">"))


def _proven(project: Project, experiments: Sequence[Experiment], files: Texts) -> list[list[str]]:
    """The versions of one kind in groups that nothing tells apart."""
    store = project.store
    of_clock = frozenset(
        n[1:] for text in files.values() for n in dependence.read_from_the_clock(text) if n.startswith(">")
    )
    comparing = _States(store.objects, with_numpy=twins.may_use_numpy(files))
    groups: list[tuple[twins.Evidence, list[str]]] = []
    for experiment in experiments:
        states = twins.proofs(experiment, store.checkpoints(project.name, experiment.version))
        if not states:
            continue
        recorded = RecordedValues.read(store, project.name, experiment.version).values
        evidence = twins.Evidence(states, recorded, of_clock)
        for other, versions in groups:
            if twins.same(other, evidence, comparing.same):
                versions.append(experiment.version)
                break
        else:
            groups.append((evidence, [experiment.version]))
    return [versions for _, versions in groups if len(versions) > 1]


class _States:
    """Compares states in the store. Equal ones may be kept in different ways: only parts that are, are read."""

    def __init__(self, objects: Objects, with_numpy: bool) -> None:
        """`with_numpy`: whether numpy's global random state counts. Each process has one that imports us."""
        self._objects = objects
        self._with_numpy = with_numpy

    def same(self, left: str, right: str) -> bool:
        if left == right:
            return True
        try:
            ours, theirs = (manifests.from_bytes(self._objects.get(key), key) for key in (left, right))
            return self._equal(ours, theirs)
        except StoreError:
            return False  # it is lost: nothing is proven then

    def _equal(self, ours: Manifest, theirs: Manifest) -> bool:
        if (ours.skeleton, ours.buffers, [p.size for p in ours.parts]) != (
            theirs.skeleton,
            theirs.buffers,
            [p.size for p in theirs.parts],
        ):
            return False
        differing = [at for at, (a, b) in enumerate(zip(ours.parts, theirs.parts, strict=True)) if a != b]
        return all(
            self._content(ours.parts[at]) == self._content(theirs.parts[at]) or self._does_not_count(ours, at)
            for at in differing
        )

    def _does_not_count(self, manifest: Manifest, at: int) -> bool:
        """Random states come first, and numpy's is the second of them (`rng.global_state`)."""
        is_second = len(manifest.buffers) > 1 and manifest.buffers[1] == at
        return not self._with_numpy and is_second and _NUMPY in self._content(manifest.parts[at])[:64]

    def _content(self, part: Part) -> bytes:
        kept = memoryview(self._objects.get(part.key))[part.offset : part.offset + part.length]
        return bytes(codecs.decode(kept, part.codec, part.size))


# --- writing --------------------------------------------------------------------------------------------------------


def write_known(store: Store, project: str, origin: str, answers: Iterable[Answer]) -> list[SegmentReport]:
    """Write what is known as a replay writes what it computed. Doing it twice has the effect of once."""
    by_segment: dict[tuple[str, int, int], dict[str, list[LogRecord]]] = {}
    for answer in answers:
        for first, last in _spans(answer.epochs, answer.outside):
            rows = [record for record in answer.records if _is_in(record, first, last)]
            by_segment.setdefault((answer.version, first, last), {})[answer.name] = rows
    return [
        _write(store, project, origin, Segment(version, first, last, Operator.KNOWN, names=tuple(rows)), rows, _EXACT)
        for (version, first, last), rows in by_segment.items()
    ]


def write_copies(
    store: Store, project: str, origin: str, copies: Iterable[Copy], outcome: Outcome
) -> tuple[list[SegmentReport], list[tuple[Segment, str]]]:
    """Copy what the sources have now. A source that failed, or did not compute what was recorded, is not copied."""
    failed = {segment.version: "failed" for segment, _ in outcome.failures}
    failed |= {r.segment.version: "did not compute what was recorded" for r in outcome.reports if r.mismatch}
    verdicts = judged(report_json(report) | {"version": report.segment.version} for report in outcome.reports)
    reports: list[SegmentReport] = []
    failures: list[tuple[Segment, str]] = []
    for copy in copies:
        segments = _segments(copy)
        if why := failed.get(copy.source):
            sentence = f"it is the same run as version {copy.source[:8]}, whose replay {why}: replay it on its own"
            failures += [(segment, sentence) for segment in segments]
            continue
        verdict = verdicts.get(copy.source, Judgement(Fidelity.EXACT))  # only exact ones of earlier replays are copied
        found = _values(store, project, {name for segment in segments for name in segment.names}, copy.source)
        for segment in segments:
            rows = {n: [r for r in found.get(n, ()) if _is_in(r, segment.first, segment.last)] for n in segment.names}
            reports.append(_write(store, project, origin, segment, rows, verdict))
    return reports, failures


def _segments(copy: Copy) -> list[Segment]:
    names: dict[tuple[int, int], list[str]] = {}
    for gap in copy.gaps:
        for span in _spans(gap.epochs, gap.data_prep):
            names.setdefault(span, []).extend(gap.names)
    return [Segment(copy.version, *span, Operator.COPIED, names=tuple(named)) for span, named in names.items()]


def _spans(epochs: Sequence[int], outside: bool) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive epochs; (0, 0) for outside the main loop."""
    if outside:
        yield 0, 0
    first = None
    for at, epoch in enumerate(epochs):
        first = epoch if first is None else first
        if at + 1 == len(epochs) or epochs[at + 1] != epoch + 1:
            yield first, epoch
            first = None


def _is_in(record: LogRecord, first: int, last: int) -> bool:
    return record.epoch is None if last == 0 else record.epoch is not None and first <= record.epoch <= last


def _values(store: Store, project: str, names: Iterable[str], version: str) -> dict[str, list[LogRecord]]:
    """All values of a version, recorded and replayed ones."""
    table = store.logs(project, names=names, versions=[version])
    columns = [table[column].to_pylist() for column in ("name", *_PLACE_COLUMNS)]
    found: dict[str, list[LogRecord]] = {}
    now = time.time()
    for name, level, epoch, step, iteration, *value in zip(*columns, strict=True):
        record = LogRecord(Level(level), epoch, step, name, iteration, Value(*value), now)
        found.setdefault(name, []).append(record)
    return found


def _write(
    store: Store,
    project: str,
    origin: str,
    segment: Segment,
    rows: Mapping[str, Sequence[LogRecord]],
    judgement: Judgement,
) -> SegmentReport:
    records = [record for name in segment.names for record in rows[name]]
    report = SegmentReport(
        segment, len(records), setup_seconds=0.0, run_seconds=0.0, verdict=judgement.verdict, cause=judgement.cause
    )
    store.write_replay(project, segment.version, origin, segment.id, records, report_json(report))
    return report

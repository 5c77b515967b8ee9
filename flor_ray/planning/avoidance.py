"""Replays that need not run, since `shortcuts` has the values: what it asks of the store, and what it found is written
there as a replay would write it.

    gaps ─> known answers ─> the rest is planned
                 └─> rows and reports
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.patching.patching import Patched
from flor_ray.planning import shortcuts
from flor_ray.planning.shortcuts import Answer, RecordedRow
from flor_ray.records import (
    Experiment,
    Fidelity,
    Gap,
    Level,
    LogRecord,
    Operator,
    Region,
    Segment,
    SegmentReport,
    Value,
)
from flor_ray.store.fragments import RECORDED
from flor_ray.store.store import Store

Texts = Mapping[str, str]  # repository-relative path -> source text
_PLACE_COLUMNS = ("level", "epoch", "step", "iteration", "type", "number", "integer", "text")


@dataclass(frozen=True, slots=True)
class Avoided:
    """What need not run, and the gaps that are left."""

    known: tuple[Answer, ...]
    gaps: tuple[Gap, ...]


def avoid(
    store: Store,
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
) -> Avoided:
    """Take out of the gaps what is known. Changes nothing. `texts` are the versions' own files."""
    answers = _known(store, gaps, experiments, texts, patched)
    return Avoided(tuple(answers), tuple(_without(gaps, {(a.version, a.name) for a in answers})))


def _without(gaps: Iterable[Gap], answered: set[tuple[str, str]]) -> list[Gap]:
    left = [replace(gap, names=tuple(n for n in gap.names if (gap.version, n) not in answered)) for gap in gaps]
    return [gap for gap in left if gap.names]


def _known(
    store: Store,
    gaps: Sequence[Gap],
    experiments: Mapping[str, Experiment],
    texts: Mapping[str, Texts],
    patched: Mapping[str, Patched],
) -> list[Answer]:
    found = _WaysOnce()
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
        answer = shortcuts.records(ways, experiment, name, rows, gap.epochs, gap.data_prep, python, now)
        if answer is not None:
            answers.append(answer)
    return answers


class _WaysOnce:
    """`shortcuts.ways`, once for all versions with the same files."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int, frozenset[tuple[str, str]]], shortcuts.Shortcut] = {}
        self._kept: list[Patched] = []  # so that their ids stay theirs

    def of(
        self, experiment: Experiment, texts: Mapping[str, Texts], patched: Mapping[str, Patched], name: str
    ) -> shortcuts.Shortcut:
        patch, own = patched[experiment.version], texts.get(experiment.version, {})
        key = (name, experiment.script, id(patch), frozenset(own.items()))
        if key not in self._found:
            self._kept.append(patch)
            region = patch.regions.get(name, Region.WHOLE)
            self._found[key] = shortcuts.ways(experiment.script, own, {**own, **patch.files}, name, region)
        return self._found[key]


def _recorded(
    store: Store, project: str, names: Iterable[str], versions: Iterable[str]
) -> dict[str, dict[str, list[RecordedRow]]]:
    """Recorded values by version and name."""
    table = store.logs(project, names=names, versions=versions)
    columns = [table[column].to_pylist() for column in ("version", "name", "origin", *_PLACE_COLUMNS)]
    found: dict[str, dict[str, list[RecordedRow]]] = {}
    for version, name, origin, level, epoch, step, iteration, *value in zip(*columns, strict=True):
        if origin == RECORDED:
            row = RecordedRow(Level(level), epoch, step, iteration, Value(*value))
            found.setdefault(version, {}).setdefault(name, []).append(row)
    return found


def write_known(store: Store, project: str, origin: str, answers: Iterable[Answer]) -> list[SegmentReport]:
    """Write what is known as a replay writes what it computed. Doing it twice has the effect of once."""
    by_segment: dict[tuple[str, int, int, Fidelity], dict[str, list[LogRecord]]] = {}
    for answer in answers:
        for first, last in _spans(answer.epochs, answer.outside):
            rows = [record for record in answer.records if _is_in(record, first, last)]
            by_segment.setdefault((answer.version, first, last, answer.verdict), {})[answer.name] = rows
    return [
        _write(store, project, origin, Segment(version, first, last, Operator.KNOWN, names=tuple(rows)), rows, verdict)
        for (version, first, last, verdict), rows in by_segment.items()
    ]


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


def _write(
    store: Store,
    project: str,
    origin: str,
    segment: Segment,
    rows: Mapping[str, Sequence[LogRecord]],
    verdict: Fidelity,
) -> SegmentReport:
    records = [record for name in segment.names for record in rows[name]]
    report = SegmentReport(segment, len(records), setup_seconds=0.0, run_seconds=0.0, verdict=verdict)
    store.write_replay(project, segment.version, origin, segment.id, records, report)
    return report

"""Columns that the newest code logs, with or without values, and how much of each is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flor_ray.patching import donors, statements
from flor_ray.patching.virtual_columns import VirtualColumn
from flor_ray.planning import catalogues, coverage, features
from flor_ray.planning.coverage import Stored
from flor_ray.planning.missing import Catalogue
from flor_ray.records import IMPORTED, Experiment
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.project import Project
from flor_ray.ui.snapshots import is_imported

_MOST_READ = 300  # versions whose sources are read to see which of them log a feature and never came to it


@dataclass(frozen=True, slots=True)
class AnsweredShare:
    """How much of a column is answered."""

    name: str
    at: tuple[str, ...]  # where the newest code logs it: "train.py:12"
    levels: tuple[str, ...]
    by_version: dict[str, tuple[int, int]]  # answered places, all places
    is_exact: bool  # False: at least so much
    column: str = ""  # of the table of runs

    @property
    def answered(self) -> int:
        """Places of all versions together that are answered."""
        return sum(answered for answered, _ in self.by_version.values())

    @property
    def places(self) -> int:
        """Places of all versions together."""
        return sum(places for _, places in self.by_version.values())


def shares_of(project: Project, runs: Sequence[ListedRun], columns: Mapping[str, VirtualColumn]) -> list[AnsweredShare]:
    """How much of each column is answered, by name."""
    if not columns or not runs:
        return []
    experiments = {run.version: _experiment(project.name, run) for run in runs}
    known = features.stored(project, sorted(columns))
    replayed = sorted(name for name, of in known.items() if of.replayed)
    have = catalogues.have(project, replayed, again=False) if replayed else {}
    own = _own(project, sorted(columns)) if len(runs) <= _MOST_READ else frozenset[tuple[str, str]]()
    catalogue = Catalogue(experiments, have, {})
    return [
        AnsweredShare(
            name,
            column.places,
            tuple(sorted(level.value for level in column.levels)),
            coverage.shares(name, known.get(name, Stored()), column, catalogue, own),
            len(runs) <= _MOST_READ,
        )
        for name, column in sorted(columns.items())
    ]


def _own(project: Project, names: Sequence[str]) -> frozenset[tuple[str, str]]:
    """The versions whose own code logs these names."""
    experiments = [e for e in project.experiments() if not e.is_imported]
    texts = statements.python_texts(project, experiments)
    return frozenset(
        (e.version, name) for e in experiments for name in names if donors.applies(e.script, texts[e.version], name)
    )


def _experiment(project: str, run: ListedRun) -> Experiment:
    """What coverage needs of a run: its epochs, and whether it has code."""
    environment: dict[str, object] = {IMPORTED: {}} if is_imported(run) else {}
    return Experiment(
        project,
        run.version,
        None,
        run.script,
        run.run,
        run.started,
        run.ended,
        run.status,
        epochs=run.epochs,
        environment=environment,
    )

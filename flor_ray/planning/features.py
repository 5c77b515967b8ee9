"""What can be asked for, as the store and the sources have it: every feature, with or without values. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.analysis.source import Texts
from flor_ray.patching import donors, statements
from flor_ray.patching.virtual_columns import LoggingCode, virtual_columns
from flor_ray.planning import catalogues
from flor_ray.planning.coverage import Covered, Stored, coverage
from flor_ray.planning.missing import Catalogue
from flor_ray.records import Experiment, Level, Status
from flor_ray.store.fragments import RECORDED
from flor_ray.store.project import Project


def features(project: Project, tell: statements.Tell = lambda what, done, total: None) -> list[Covered]:
    """All features of a project, by name.

    Raises:
        NothingRecorded: there are no versions.
    """
    experiments = project.experiments()
    texts = statements.python_texts(project, experiments, tell)
    virtual = virtual_columns(codes(project, experiments, texts, experiments))
    known = stored(project, sorted({*virtual, *project.store.names(project.name)}))
    by_version = {e.version: e for e in experiments}
    replayed = sorted(name for name, of in known.items() if of.replayed)
    catalogue = Catalogue(by_version, catalogues.have(project, replayed, again=False) if replayed else {}, {})
    own = {
        (e.version, name)
        for name in virtual
        for e in experiments
        if e.version not in known.get(name, Stored()).recorded and donors.applies(e.script, texts[e.version], name)
    }
    return coverage(known, virtual, catalogue, own)


def codes(
    project: Project, experiments: Sequence[Experiment], texts: Mapping[str, Texts], history: Sequence[Experiment]
) -> Iterator[LoggingCode]:
    """The working tree, then these versions from the newest on; `history` says which files are scripts."""
    scripts = list(dict.fromkeys(e.script for e in reversed(history) if not e.is_imported))
    yield LoggingCode("the working tree", statements.working_texts(project), scripts)
    for e in reversed(experiments):
        yield LoggingCode(f"version {e.version[:8]}", texts[e.version], [e.script])


def stored(project: Project, names: Sequence[str]) -> dict[str, Stored]:
    """What the store has of each of these names that has values."""
    found: dict[str, Stored] = {}
    for version, origin, name, kind in project.store.kinds(project.name, frozenset(names)):
        one = found.setdefault(name, Stored())
        one.levels.update(map(Level, kind.levels))
        one.levels_of.setdefault(version, set()).update(map(Level, kind.levels))
        one.types.update(kind.types)
        (one.recorded if origin == RECORDED else one.replayed).add(version)
    return found


@dataclass(frozen=True, slots=True)
class NamedFeatures:
    """The features that a question names, with or without values."""

    levels: Mapping[str, frozenset[Level]]  # by name: at which it was logged, or would be
    recorded: frozenset[tuple[str, str]]  # (version, name) that has recorded values
    repeating: frozenset[str]  # of which one place may get several values, which adds rows
    found_at: Mapping[tuple[str, str], frozenset[Level]]  # by version and name: where the store has values of it


def asked(
    project: Project, experiments: Sequence[Experiment], named: Callable[[str], bool], in_versions: bool = False
) -> NamedFeatures:
    """Those of which `named` is true: of the store and of the working tree, and, where `in_versions` says so, of the
    code of every version, which takes longer."""
    known = stored(project, sorted(filter(named, project.store.names(project.name))))
    texts = statements.python_texts(project, experiments) if in_versions else {}
    sources = list(codes(project, [e for e in experiments if e.version in texts], texts, experiments))
    logged = {name for source in sources for name in donors.features(source.texts) if named(name)}
    virtual = virtual_columns(sources, logged) if logged else {}
    levels = {name: frozenset(of.levels) for name, of in known.items()}
    for name, column in virtual.items():
        levels[name] = levels.get(name, frozenset()) | (column.levels or frozenset(Level))
    recorded = frozenset((v, name) for name, of in known.items() for v in of.recorded)
    repeating = frozenset(name for name, column in virtual.items() if column.repeats)
    found_at = {(v, name): frozenset(at) for name, of in known.items() for v, at in of.levels_of.items()}
    return NamedFeatures(levels, recorded, repeating, found_at)


def begun_epochs(project: Project, experiments: Sequence[Experiment]) -> dict[str, int]:
    """Of runs that have not finished: the last epoch in which they logged, where that is one that has not ended."""
    unfinished = {e.version: e.epochs for e in experiments if e.status is not Status.FINISHED}
    if not unfinished:
        return {}
    logs = project.store.logs(project.name, None, sorted(unfinished))
    last = dict(unfinished)
    for version, epoch in zip(logs["version"].to_pylist(), logs["epoch"].to_pylist(), strict=True):
        if epoch is not None and epoch > last[version]:
            last[version] = epoch
    return {version: epoch for version, epoch in last.items() if epoch > unfinished[version]}

"""Versions beside each other: their code, arguments, environment and values, and where a statement would land."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.errors import UsageError
from flor_ray.patching import statements
from flor_ray.patching.patching import Finding
from flor_ray.records import Experiment, SourceFile
from flor_ray.reports import placements
from flor_ray.store.pivoting import pivots
from flor_ray.store.project import Project
from flor_ray.ui.comparing import divergence, side_by_side
from flor_ray.ui.comparing.divergence import Divergence
from flor_ray.ui.comparing.side_by_side import LinePair

MOST_VERSIONS = 12
_DEPTH = 3  # of an environment's entries that are told one by one


@dataclass(frozen=True, slots=True)
class ComparedFact:
    """Something that versions may have in common."""

    name: str
    values: tuple[object, ...]  # one per version; None: it has none

    @property
    def differs(self) -> bool:
        """Whether not all have the same."""
        return any(repr(value) != repr(self.values[0]) for value in self.values[1:])


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """A file of versions."""

    path: str
    states: tuple[str, ...]  # one per version: "same", "changed", "added" or "removed", beside the first; "absent"

    @property
    def differs(self) -> bool:
        """Whether not all have the same."""
        return any(state not in ("same", "absent") for state in self.states)


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the statements of a name would stand in a version."""

    version: str
    findings: tuple[Finding, ...]
    files: Mapping[str, tuple[str, str]]  # path -> text as it was, and with the statements in it


def arguments(experiments: Sequence[Experiment]) -> list[ComparedFact]:
    """Those that any of them has."""
    names = sorted({name for e in experiments for name in e.args})
    return [ComparedFact(name, tuple(e.args.get(name) for e in experiments)) for name in names]


def environment(experiments: Sequence[Experiment]) -> list[ComparedFact]:
    """What they ran in, entry by entry: "packages.torch", "python"."""
    each: list[dict[str, object]] = [
        {"script": e.script, "argv": list(e.argv), "cwd": e.cwd, **dict(_entries(e.environment, "", _DEPTH))}
        for e in experiments
    ]
    names = dict.fromkeys(name for found in each for name in found)
    return [ComparedFact(name, tuple(found.get(name) for found in each)) for name in names]


def _entries(value: Mapping[str, object], before: str, depth: int) -> Iterable[tuple[str, object]]:
    for name, entry in sorted(value.items(), key=lambda item: str(item[0])):
        path = f"{before}{name}"
        if isinstance(entry, Mapping) and depth > 1:
            yield from _entries(entry, f"{path}.", depth - 1)
        else:
            yield path, entry


def files(project: Project, experiments: Sequence[Experiment]) -> list[ComparedFile]:
    """The files that any of them has, those that differ first."""
    each = [{path: file.oid for path, file in _sources(project, e).items()} for e in experiments]
    paths = sorted({path for of in each for path in of})
    found = [ComparedFile(path, tuple(_state(each[0].get(path), of.get(path)) for of in each)) for path in paths]
    return sorted(found, key=lambda one: not one.differs)


def _state(first: str | None, other: str | None) -> str:
    if first == other:
        return "same" if first is not None else "absent"
    return "added" if first is None else "removed" if other is None else "changed"


def _sources(project: Project, experiment: Experiment) -> Mapping[str, SourceFile]:
    """A version's files; none of one that was imported."""
    if experiment.is_imported:
        return {}
    mirrored = project.store.sources_of(project.name, [experiment.version])
    return (
        mirrored[experiment.version]
        if experiment.version in mirrored
        else statements.sources_from_git(project, experiment)
    )


def code(project: Project, left: Experiment, right: Experiment, path: str, whole: bool) -> list[LinePair]:
    """A file of two versions, line by line; a version that does not have it has an empty one.

    Raises:
        UsageError: neither has it, or it is no text.
    """
    found = [_sources(project, e).get(path) for e in (left, right)]
    if found == [None, None]:
        raise UsageError(f"Neither version has a file {path!r}.")
    texts = ["" if file is None else _text(path, file.data) for file in found]
    return side_by_side.pairs(texts[0], texts[1], None if whole else side_by_side.AROUND)


def _text(path: str, data: bytes) -> str:
    if b"\0" in data:
        raise UsageError(f"{path} is no text ({len(data)} bytes).")
    return data.decode("utf-8", "backslashreplace")


def values(project: Project, left: Experiment, right: Experiment) -> list[Divergence]:
    """Where the values of two versions begin to differ."""
    logs = pivots.read(project.store, project.name, (), (left, right)).logs
    return divergence.divergences(logs)


def landings(project: Project, experiments: Sequence[Experiment], name: str) -> tuple[list[Landing], list[str]]:
    """Where the statements of a name would stand in versions, as propagation has it; and notes.

    Raises:
        UnknownFeature: nobody logs it.
    """
    versions = {e.version for e in experiments}
    found = statements.propagated(project, [name], versions=versions)
    each = []
    for e in experiments:
        if e.version in found.patched:
            patched = found.patched[e.version]
            changed = {path: (patched.originals[path], text) for path, text in sorted(patched.files.items())}
            each.append(Landing(e.version, patched.findings, changed))
    return each, [f"{note}." for note in found.notes]


def said(finding: Finding) -> tuple[str, str]:
    """Where a statement would stand, and why there, in words."""
    return placements.where(finding), placements.why(finding)

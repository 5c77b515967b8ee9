"""The first half of the flow: names to patched sources, with the pins of the store and the answers that are known.

    project ─> texts of all versions ─┐
    working tree, versions ─> donors ─┼─> patching ─> findings and patched files, by version
    store ─> pins ────────────────────┘

Nothing runs here and nothing is changed, but for `pin` and `unpin`, which add to the store.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flor_ray.analysis.source import Texts
from flor_ray.errors import GitError, NoRepository, UnknownFeature, UnknownVersion, UsageError
from flor_ray.patching import adopted, answers, donors, patching
from flor_ray.patching.donors import Donor, Revision
from flor_ray.patching.patching import CarryingWays, Fate, Finding, Patched
from flor_ray.propagation import NOTEBOOK, as_sources, has_main_loop, propagate_tree_through
from flor_ray.records import Experiment, Pin, PinnedPlace, SourceFile, Status
from flor_ray.store import cache, pins
from flor_ray.store.project import Project
from flor_ray.wording import counted

Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_PY = ".py"


@dataclass(frozen=True, slots=True)
class Propagated:
    """What became of statements in versions."""

    names: tuple[str, ...]
    experiments: Mapping[str, Experiment]  # the chosen ones by version, oldest first
    patched: Mapping[str, Patched]
    notes: tuple[str, ...] = ()
    texts: Mapping[str, Texts] = field(default_factory=dict, repr=False)  # Python files of the versions, as they were

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        return [(version, finding) for version, patched in self.patched.items() for finding in patched.findings]


@dataclass(frozen=True, slots=True)
class Pinning:
    """A pin that was kept, and what it does."""

    place: PinnedPlace
    before: Propagated  # all versions as they were without it
    after: Propagated
    answered: frozenset[str] = frozenset()  # versions that have values of the name


def propagated(
    project: Project,
    names: Sequence[str],
    prefixes: Sequence[str] | None = None,
    tell: Tell = lambda what, done, total: None,
    versions: Collection[str] | None = None,
) -> Propagated:
    """Carry the statements of `names` into the versions whose ids begin so (None: all), or into these `versions`. What
    becomes of a version does not depend on which others are chosen. Those that were imported have no code: they are not
    among them, and a note says so.

    Raises:
        NothingRecorded: there are no versions.
        UnknownFeature: nobody logs one of the names.
        UnknownVersion: no version's id begins so, or several do.
        UsageError: one was imported.
    """
    every = project.experiments()
    history = _with_code(every)
    chosen = every if prefixes is None else choose(every, prefixes)
    if versions is not None:
        chosen = tuple(e for e in chosen if e.version in versions)
    with_code = _with_code(chosen)
    found = _Carrier(project, names, history, tell).propagated(with_code)
    imported = len(chosen) - len(with_code)
    return replace(found, notes=(*found.notes, _why_not(imported))) if imported else found


def _with_code(experiments: Iterable[Experiment]) -> tuple[Experiment, ...]:
    return tuple(e for e in experiments if not e.is_imported)


def _why_not(imported: int) -> str:
    which = f"{counted(imported, 'version')} that {'was' if imported == 1 else 'were'} imported"
    return f"{which} came without code, so that nothing of {'it' if imported == 1 else 'them'} can be replayed"


def choose(history: Sequence[Experiment], prefixes: Iterable[str]) -> tuple[Experiment, ...]:
    """The versions whose ids begin so, oldest first.

    Raises:
        UnknownVersion: that is not one version each.
        UsageError: one was imported, and has no code.
    """
    found = set()
    for prefix in prefixes:
        matching = [e.version for e in history if e.version.startswith(prefix.lower())]
        if len(matching) != 1 or not prefix:
            raise UnknownVersion(prefix, [e.version for e in history], matching)
        found.add(matching[0])
    chosen = tuple(e for e in history if e.version in found)
    if imported := [e.version[:8] for e in chosen if e.is_imported]:
        raise UsageError(f"Version {imported[0]} was imported, and came without code: nothing of it can be replayed.")
    return chosen


def pin(
    project: Project,
    name: str,
    prefix: str,
    pin: Pin,
    path: str | None = None,
    statement: int | None = None,
    tell: Tell = lambda what, done, total: None,
) -> Pinning:
    """Keep where a statement belongs in a version: for all versions with that file, and as a donor for those near it.

    `path` is the version's file, if it is not the one that corresponds; `statement` the line of the statement that is
    meant, if the name is logged in several places.

    Raises:
        UsageError: that is no place in that version.
    """
    every = project.experiments()
    (experiment,) = choose(every, [prefix])
    history = _with_code(every)
    sources = _Carrier(project, [name], history, tell)
    place = sources.place(experiment, name, pin, path, statement)
    before = sources.propagated(history)
    sources.add(place)
    after = sources.propagated(history)
    for finding in after.patched[experiment.version].findings:
        if finding.fate is Fate.REFUSED:
            raise UsageError(f"The pin was not kept: {name} in version {experiment.version[:8]}, {finding.why}.")
    answered = frozenset(version for version, *_ in project.store.kinds(project.name, [name]))
    return Pinning(pins.keep(project.store.files, project.name, place), before, after, answered)


def unpin(project: Project, name: str, prefix: str) -> tuple[PinnedPlace, ...]:
    """Remove the pins of a name in a version's files, also from all other versions with the same files.

    Raises:
        UsageError: there is none.
    """
    history = project.experiments()
    (experiment,) = choose(history, [prefix])
    texts = python_texts(project, [experiment])[experiment.version]
    blobs = {donors.blob_of(text) for text in texts.values()}
    kept = [place for place in pins.kept(project.store.files, project.name) if place.name == name]
    found = tuple(place for place in kept if place.blob in blobs or place.version == experiment.version)
    if not found:
        others = ", ".join(dict.fromkeys(place.version[:8] for place in kept))
        known = f"It is pinned in {others}." if others else "It is pinned nowhere."
        raise UsageError(f"{name} is not pinned in version {experiment.version[:8]}. {known}")
    for place in found:
        pins.remove(project.store.files, project.name, place)
    return found


class _Carrier:
    """All that is needed to carry some names anywhere."""

    def __init__(self, project: Project, names: Sequence[str], history: Sequence[Experiment], tell: Tell) -> None:
        self._names, self._tell = tuple(dict.fromkeys(names)), tell
        texts = python_texts(project, history, tell)
        self._history = [Revision(e.version, e.script, texts[e.version]) for e in history]
        working = working_texts(project)
        candidates: list[tuple[str, Texts]] = [("the working tree", working)]
        scripts = frozenset(e.script for e in history)
        found = donors.find_donors(self._names, candidates, scripts)
        if len(found) < len(self._names):
            notebooks = working_notebooks(project)
            candidates.append(("the working tree's notebooks", notebooks))
            scripts |= {path for path, text in notebooks.items() if has_main_loop(text)}
            candidates += [(f"version {r.version[:8]}", r.texts) for r in reversed(self._history)]
            found = donors.find_donors(self._names, candidates, scripts)
        self._donors = {name: tuple(map(self._dated, those)) for name, those in found.items()}
        for name in self._names:
            if name not in self._donors and name not in (recorded := project.store.names(project.name)):
                known = frozenset[str]().union(*(donors.features(text) for _, text in candidates))
                raise UnknownFeature(name, known | recorded, donors.unclear(working))
        self._pinned = [p for p in pins.kept(project.store.files, project.name) if p.name in self._names]
        self._ways = CarryingWays(answers.Propagations(cache.of_propagations()), propagate_tree_through)

    def _dated(self, donor: Donor) -> Donor:
        return replace(donor, version=next((r.version for r in self._history if r.texts is donor.tree), None))

    def add(self, place: PinnedPlace) -> None:
        """Count a pin in that is not kept yet."""
        self._pinned.append(place)

    def propagated(self, chosen: Sequence[Experiment]) -> Propagated:
        def tell(done: int, total: int) -> None:
            self._tell("Propagating", done, total)

        wanted = {e.version: e for e in chosen}
        patched = patching.patch_all(self._names, self._donors, self._history, self._pinned, self._ways, wanted, tell)
        texts = {r.version: r.texts for r in self._history if r.version in wanted}
        for version, experiment in wanted.items():
            if experiment.is_adopted:
                patched[version] = adopted.answerable(experiment, texts[version], patched[version])
        return Propagated(self._names, wanted, patched, tuple(map(self._stale, self._stale_pins())), texts)

    def _stale_pins(self) -> tuple[PinnedPlace, ...]:
        return patching.stale(self._pinned, self._donors)

    def _stale(self, place: PinnedPlace) -> str:
        short = place.version[:8]
        return (
            f"the pin of {place.name} in version {short} (after {place.path}:{place.pin.after}) is stale: it was for "
            f"`{place.statement}`, which no file contains any more. Pin it again, or remove the pin with "
            f"flor-ray propagate {place.name} --version {short} --remove"
        )

    def place(
        self, experiment: Experiment, name: str, pin: Pin, path: str | None, statement: int | None
    ) -> PinnedPlace:
        """What to keep. Raises UsageError where that would be no pin."""
        short = experiment.version[:8]
        revision = next(r for r in self._history if r.version == experiment.version)
        if donors.applies(revision.script, revision.texts, name):
            raise UsageError(f"Version {short} logs {name} itself; there is nothing to pin.")
        if name not in self._donors:
            raise UsageError(f"No file logs {name} with flor.log any more, so there is no statement to pin.")
        donor, line = self._statement(name, statement)
        target = posixpath.normpath(path) if path else donors.target_of(donor, revision.script, revision.texts)
        if target is None:
            raise UsageError(
                f"{donor.path} has no counterpart in version {short}, which ran {revision.script or 'no script'}. Say "
                f"with --file which file is meant: {', '.join(sorted(revision.texts)) or 'it has none'}."
            )
        if target not in revision.texts:
            listed = ", ".join(sorted(revision.texts)) or "none"
            raise UsageError(f"Version {short} has no Python file {target!r}. Its files: {listed}.")
        text = revision.texts[target]
        last = len(text.splitlines())
        if not 1 <= pin.after <= last:
            raise UsageError(f"{target} of version {short} has no line {pin.after}: its lines are 1 to {last}.")
        words, ordinal = donors.said(donor, name)[line]
        return PinnedPlace(name, words, ordinal, target, donors.blob_of(text), pin, experiment.version)

    def _statement(self, name: str, wanted: int | None) -> tuple[Donor, int]:
        places = [(donor, line) for donor in self._donors[name] for line in donors.said(donor, name)]
        chosen = [(donor, line) for donor, line in places if wanted in (None, line)]
        if len(chosen) == 1:
            return chosen[0]
        listed = ", ".join(f"{donor.path}:{line}" for donor, line in places)
        raise UsageError(
            f"{name} is logged in {len(places)} place{'s' if len(places) > 1 else ''} of {places[0][0].source}: "
            f"{listed}. Say with --statement LINE which one to pin."
        )


# --- texts ----------------------------------------------------------------------------------------------------------


def working_texts(project: Project) -> dict[str, str]:
    """The Python files of the working tree, as they are now."""
    return {path: _text(data) for path, data in project.tree.working_sources().items()}


def working_notebooks(project: Project) -> dict[str, str]:
    """The notebooks of the working tree as sources, as they are now: their code cells one below another."""
    found = project.tree.working_sources(NOTEBOOK).items()
    return as_sources({path: _text(data) for path, data in found if b"flor" in data})


def python_texts(
    project: Project, experiments: Sequence[Experiment], tell: Tell = lambda what, done, total: None
) -> dict[str, dict[str, str]]:
    """The Python files of versions. Those of a run that was killed before they were mirrored come from git, and are
    mirrored now (`sources_from_git`); where git has them no more, there are none, and propagation says so."""
    tell("Reading sources", 0, len(experiments))
    mirrored = project.store.sources_of(project.name, [e.version for e in _with_code(experiments)], _PY)
    decoded: dict[str, str] = {}
    found = {}
    for experiment in experiments:
        files: Mapping[str, SourceFile] | None = {} if experiment.is_imported else mirrored.get(experiment.version)
        if files is None:
            files = {path: file for path, file in sources_from_git(project, experiment).items() if path.endswith(_PY)}
        for file in files.values():
            if file.oid not in decoded:
                decoded[file.oid] = _text(file.data)
        found[experiment.version] = adopted.as_read(
            experiment, {path: decoded[file.oid] for path, file in files.items()}
        )
    tell("Reading sources", len(experiments), len(experiments))
    return found


def texts_of_commit(project: Project, commit: str) -> dict[str, str]:
    """The Python files of a commit. Raises GitError if there is none."""
    sources = project.repository.sources(commit)
    return {path: _text(file.data) for path, file in sources.items() if path.endswith(_PY)}


def sources_from_git(project: Project, experiment: Experiment) -> Mapping[str, SourceFile]:
    """All files of a version whose files the store does not have, which are mirrored now, if it may be written; none
    where git has them no more."""
    try:
        sources = project.repository.sources(experiment.version)
    except (GitError, NoRepository):
        return {}
    if experiment.status is not Status.RUNNING and not project.store.files.read_only:  # one that runs is about to do it
        project.store.write_sources(project.name, experiment.version, experiment.parent, sources)
    return sources


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")

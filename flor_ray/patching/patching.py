"""Carrying the wanted log statements into every version's source files. Pure: texts in, texts and findings out.

    donors     the files that log a name: the working tree's, else those of the nearest version that does
    findings   what became of each statement in a version: placed, present, pinned or refused
    patched    a version's files with the statements in them, and the region of each name

                 pinned here?       ─> there, or refused with the reason
    a version ─< pinned elsewhere?  ─> from the donor, or from the nearest version in which it is pinned, as it stands
                                       there: the nearer one in history, or if that is in doubt the surer one
                 else               ─> from the donor

What may live here: choosing donors and files, and calling `flor_ray.propagation` on pairs of files. No I/O.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from flor_ray import propagation
from flor_ray.analysis.dependence import gradients_read_in
from flor_ray.analysis.epoch_ends import Marking, marking
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.made_anew import MadeAnew, made_anew
from flor_ray.analysis.phases.phases import Clue, Logged, phases_of, settled
from flor_ray.analysis.source import Texts
from flor_ray.patching.donors import Donor, Revision, applies, blob_of, find_donors, said, statements, target_of
from flor_ray.records import (
    GRADIENTS,
    Level,
    Pin,
    PinnedPlace,
    Placement,
    Propagation,
    Refusal,
    Region,
    TreePropagation,
)

_Tree = tuple[str, frozenset[tuple[str, str]]]  # what was run, and all paths and texts
DOUBTFUL_BELOW = 0.9  # users are told of placements with less confidence: the others are as good as always right


class Propagate(Protocol):
    """How statements get from one file to another."""

    def __call__(self, newer: str, older: str, lines: Sequence[int], pins: Mapping[int, Pin]) -> Propagation: ...


class Through(Protocol):
    """How statements get from one tree to another one: `flor_ray.propagation.propagate_tree_through`."""

    def __call__(
        self,
        lineage: Sequence[Texts],
        lines: Mapping[str, Sequence[int]],
        *,
        scripts: Sequence[str | None],
        own: Texts | None,
        propagate_pair: Callable[[str, str, tuple[int, ...]], Propagation],
    ) -> TreePropagation: ...


Between = Callable[[Donor], Sequence[Revision]]  # the versions between a donor and a version, in that order


class Fate(StrEnum):
    """What became of a statement in a version."""

    PLACED = "placed"
    PRESENT = "present"  # the version has it already
    PINNED = "pinned"  # placed where the user said
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one statement in one version."""

    name: str
    fate: Fate
    path: str | None = None  # file of the version; None if it has none that corresponds
    line: int | None = None  # the statement's in the patched file; of a refused one None
    confidence: float = 0.0
    why: str = ""
    renames: Mapping[str, str] = field(default_factory=dict)  # newer identifier -> the version's
    best_guess: int | None = None  # of a refused one: line of the version's file after which it might belong
    after: int | None = None  # of a placed one: line of the version's file after which it stands
    donor: str = ""  # where it comes from: "train.py:12 (the working tree)"

    @property
    def is_doubtful(self) -> bool:
        return self.fate is Fate.PLACED and self.confidence < DOUBTFUL_BELOW


@dataclass(frozen=True, slots=True)
class Patched:
    """A version's sources with the wanted statements in them."""

    files: Mapping[str, str] = field(default_factory=dict)  # only those that were changed
    regions: Mapping[str, Region] = field(default_factory=dict)  # of each name that can be replayed
    refused: Mapping[str, str] = field(default_factory=dict)  # name -> reason
    tail_reads: frozenset[str] | None = None
    findings: tuple[Finding, ...] = ()
    originals: Mapping[str, str] = field(default_factory=dict)  # the files of findings, as the version had them
    whys: Mapping[str, str] = field(
        default_factory=dict
    )  # name -> why its region is larger than its place; few have one
    marking: Marking = field(default_factory=Marking)
    clues: Mapping[str, tuple[Clue, ...]] = field(default_factory=dict)  # of names whose region is WHOLE
    lost: frozenset[Region] = frozenset()  # regions that may read gradients, which checkpoints do not hold

    elsewhere: Mapping[str, str] = field(
        default_factory=dict
    )  # names that it logs itself, at other levels than is wanted
    made_in_steps: frozenset[str] = frozenset()  # variables that only added lines make, in nested loops
    missed_after: frozenset[str] = frozenset()  # those of the main loop that are read behind it

    @property
    def witnesses(self) -> frozenset[str]:
        """Names whose recorded levels tell more of the regions that are WHOLE."""
        return frozenset(name for clues in self.clues.values() for clue in clues for name in clue.witnesses)


# --- one version ----------------------------------------------------------------------------------------------------


def _once(newer: str, older: str, lines: Sequence[int], pins: Mapping[int, Pin]) -> Propagation:
    return propagation.propagate(newer, older, lines, pins=pins)


@dataclass(frozen=True, slots=True)
class CarryingWays:
    """How statements get anywhere. Without `through`, from file to file only."""

    propagate: Propagate = _once
    through: Through | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest version in which a name is pinned."""

    donors: tuple[Donor, ...]  # its files, patched; none if the pin could not be applied
    is_nearer: bool = False  # in history, than the name's own donor


def patch(
    names: Sequence[str],
    donors: Mapping[str, tuple[Donor, ...]],
    script: str,
    texts: Texts,
    pinned: Sequence[PinnedPlace] = (),
    near: Mapping[str, Near] | None = None,
    ways: CarryingWays | None = None,
    between: Between = lambda donor: (),
) -> Patched:
    """Carry the statements of `names` into one version, whose script is `script` and whose files are `texts`."""
    version = _VersionInWork(script, texts, pinned, ways or CarryingWays(), between)
    version.carry_all(names, donors, near or {})
    return version.patched(names)


class _VersionInWork:
    """One version, while statements are put into it."""

    def __init__(
        self, script: str, texts: Texts, pinned: Sequence[PinnedPlace], ways: CarryingWays, between: Between
    ) -> None:
        self._script, self._texts, self._pinned, self._between = script, texts, pinned, between
        self._propagate, self._through = ways.propagate, ways.through
        self._files = dict(texts)
        self._findings: dict[str, list[Finding]] = {}
        self._elsewhere: dict[str, str] = {}

    def has_pin(self, name: str, donors: Sequence[Donor]) -> bool:
        return any(self._pins(name, donor, target_of(donor, self._script, self._files)) for donor in donors)

    def carry_all(
        self, names: Sequence[str], donors: Mapping[str, tuple[Donor, ...]], near: Mapping[str, Near]
    ) -> None:
        """Pinned ones first: their lines are those of the files as they were. The others of one tree go together,
        since the versions between have none of them: where only some were there, these would be taken for others."""
        known = {name: donors.get(name, ()) for name in names}
        alone = [name for name in names if self.has_pin(name, known[name])]
        alone += [name for name in names if name not in alone and near.get(name, Near(())).donors]
        together: dict[object, list[str]] = {}
        for name in names:
            if applies(self._script, self._files, name):
                self._find_present(name, known[name])
            elif known[name] and name not in alone:
                together.setdefault(self._origin(known[name]), []).append(name)
        for name in alone:
            if name not in self._findings:
                self._carry_pinned(name, known[name], near.get(name, Near(())))
        for group in together.values():
            self._carry_together(group, known)

    def _find_present(self, name: str, donors: Sequence[Donor]) -> None:
        """Its own code logs it."""
        self._findings[name] = [
            Finding(name, Fate.PRESENT, path, s.line, 1.0, "the version logs it itself")
            for path, text in sorted(self._files.items())
            for s in statements(path, text, name)
        ]
        if reason := self._why_not_all(name, donors):
            self._elsewhere[name] = reason

    def _origin(self, donors: Sequence[Donor]) -> object:
        """What statements have in common that are carried together: the tree, and its script if that logs them."""
        concerned = self._concerned(donors)
        return donors[0].source, id(donors[0].tree), next((d.path for d in concerned if d.is_script), None)

    def _carry_pinned(self, name: str, donors: Sequence[Donor], near: Near) -> None:
        files, found = self._attempt({name: donors})
        doubtful = _confidence(found[name]) < DOUBTFUL_BELOW
        if near.donors and not self.has_pin(name, donors) and (doubtful or near.is_nearer):
            near_files, near_found = self._attempt({name: near.donors})
            sureness = _confidence(near_found[name])
            if (near.is_nearer and sureness >= DOUBTFUL_BELOW) or sureness > _confidence(found[name]):
                files, found = near_files, near_found
        self._files |= files
        self._findings |= found

    def _carry_together(self, names: Sequence[str], donors: Mapping[str, Sequence[Donor]]) -> None:
        """Names of which one is refused are carried without it: others may have leant on it."""
        while names:
            files, found = self._attempt({name: donors[name] for name in names})
            refused = [name for name in names if _is_refused(found[name])]
            self._findings |= {name: found[name] for name in refused or names}
            if not refused:
                self._files |= files
                return
            names = [name for name in names if name not in refused]

    def _why_not_all(self, name: str, donors: Sequence[Donor]) -> str:
        """Why a version that logs a name itself does not get all of its statements: some log at another level, where
        it has no values that would show what is missing. "" if it has all."""
        levels = levels_at(self._script, self._files, ((f.path, f.line) for f in self._findings[name]))
        for donor in self._concerned(donors) if levels else ():
            script = donor.path if donor.is_script else self._script
            more = levels_at(script, donor.tree, ((donor.path, line) for line in donor.lines[name])) - levels
            if more and target_of(donor, self._script, self._files) is not None:
                where = _LEVELS[min(more)]
                return (
                    f"{_words(donor, name)}: the version logs it itself, but not {where}: log that under another name"
                )
        return ""

    def _attempt(self, wanted: Mapping[str, Sequence[Donor]]) -> tuple[dict[str, str], dict[str, list[Finding]]]:
        """The changed files, which only count if nothing is refused, and what became of each name's statements."""
        files = dict(self._files)
        found: dict[str, list[Finding]] = {name: [] for name in wanted}
        free: list[tuple[str, Donor]] = []
        for name, donors in wanted.items():
            for donor in self._concerned(donors):
                target = target_of(donor, self._script, self._files)
                pins = self._pins(name, donor, target)
                if target is None and len(pins) < len(donor.lines[name]) and (donor.is_script or not self._through):
                    refusal = Finding(name, Fate.REFUSED, why=self._no_target(donor), donor=_words(donor, name))
                    found[name].append(refusal)
                elif pins or self._through is None:
                    found[name] += self._by_pairs(name, donor, target, pins, files)
                else:
                    free.append((name, donor))
        if free:
            for finding in self._by_trees(free, self._between(free[0][1]), files):
                found[finding.name].append(finding)
        for name, those in found.items():
            found[name] = [each for each in those if each.fate is Fate.REFUSED] or those
        if any(map(_is_refused, found.values())):
            return {}, found
        return {path: text for path, text in files.items() if text != self._files.get(path)}, found

    def _concerned(self, donors: Sequence[Donor]) -> Sequence[Donor]:
        """Not other scripts, if the one that the version ran logs the name too."""
        fitting = [d for d in donors if not d.is_script or target_of(d, self._script, self._files) is not None]
        return fitting if any(donor.is_script for donor in fitting) else donors

    def _by_pairs(
        self, name: str, donor: Donor, target: str | None, pins: Mapping[int, PinnedPlace], files: dict[str, str]
    ) -> list[Finding]:
        """Statements of one donor, each into the file where it is pinned, or into the donor's counterpart."""
        paths: dict[str, list[int]] = {}
        for line in donor.lines[name]:
            paths.setdefault(pins[line].path if line in pins else target or "", []).append(line)
        found = []
        for path, lines in sorted(paths.items()):
            before = files[path]
            fixed = {line: self._now(path, before, pins[line]) for line in lines if line in pins}
            outcome = self._propagate(donor.text, before, tuple(lines), fixed)
            found += [_placed(name, donor, path, each, each.line in pins) for each in outcome.placed]
            for refusal in outcome.refused:
                if refusal.line in pins:
                    reason = f"pinned after line {pins[refusal.line].pin.after}: {refusal.reason}"
                    refusal = replace(refusal, reason=reason, best_guess=None)
                found.append(self._refused(name, donor, path, refusal, before))
            files[path] = outcome.source
        return found

    def _by_trees(
        self, wanted: Sequence[tuple[str, Donor]], between: Sequence[Revision], files: dict[str, str]
    ) -> list[Finding]:
        """Statements of a tree's files, wherever their code is in this version, with the versions between as
        evidence."""
        assert self._through is not None
        lines: dict[str, list[int]] = {}
        meant: dict[tuple[str, int], list[tuple[str, Donor]]] = {}  # a line may log several names
        for name, donor in wanted:
            for line in donor.lines[name]:
                lines.setdefault(donor.path, []).append(line)
                meant.setdefault((donor.path, line), []).append((name, donor))
        script = next((donor for _, donor in wanted if donor.is_script), None)
        scripts: list[str | None] = []
        if script is not None:  # one that ran something else says nothing about it
            between = [r for r in between if target_of(script, r.script, r.texts) is not None]
            scripts = [script.path, *(r.script for r in between), self._script]
        outcome = self._through(
            [wanted[0][1].tree, *(r.texts for r in between), dict(files)],
            lines,
            scripts=scripts,
            own=self._texts,
            propagate_pair=lambda newer, older, lines: self._propagate(newer, older, lines, {}),
        )
        files |= outcome.sources
        found = [
            _placed(name, donor, p.older_path, p.placement, False)
            for p in outcome.placed
            for name, donor in meant[p.newer_path, p.placement.line]
        ]
        for r in outcome.refused:
            before = self._files[r.older_path] if r.older_path is not None else ""
            those = meant[r.newer_path, r.refusal.line]
            found += [self._refused(name, donor, r.older_path, r.refusal, before) for name, donor in those]
        return found

    def _refused(self, name: str, donor: Donor, path: str | None, refusal: Refusal, text: str) -> Finding:
        """A refusal by a text of the file, which may have got statements: its best guess is for the file as it was."""
        guess = None
        if refusal.best_guess is not None and path is not None:
            guess = _line_before(self._texts[path], text, refusal.best_guess)
        where = f"{donor.path}:{refusal.line} ({donor.source})"
        return Finding(
            name, Fate.REFUSED, path, None, refusal.confidence, refusal.reason, best_guess=guess, donor=where
        )

    def _pins(self, name: str, donor: Donor, target: str | None) -> dict[int, PinnedPlace]:
        """The pins that hold for a donor's statements in this version, by their lines in the donor."""
        candidates = [place for place in self._pinned if place.name == name]
        if not candidates:
            return {}
        known = said(donor, name)
        found = {}
        for place in candidates:
            path = next((p for p in (place.path, target) if p and self._holds(place, p)), None)
            for line, statement in known.items():
                if path is not None and statement == (place.statement, place.ordinal):
                    found[line] = replace(place, path=path)
        return found

    def _holds(self, place: PinnedPlace, path: str) -> bool:
        return path in self._texts and blob_of(self._texts[path]) == place.blob

    def _now(self, path: str, text: str, place: PinnedPlace) -> Pin:
        """A pin in a file that has got other statements meanwhile."""
        return replace(place.pin, after=_line_after(self._texts[path], text, place.pin.after))

    def _no_target(self, donor: Donor) -> str:
        if not self._texts:
            return "its source files are neither in the store nor in git any more"
        return f"it is logged in {donor.path} ({donor.source}), and this version ran {self._script or 'no script'}"

    def patched(self, names: Sequence[str]) -> Patched:
        files, script = self._files, self._script
        refused = {name: _reason(found) for name, found in self._findings.items() if _reason(found)}
        carried = [name for name in names if name in self._findings and name not in refused]
        phases = phases_of(script, files)
        logged = {name: phases.logged(name) for name in carried}
        reading = gradients_read_in(phases.words_in)
        lost = reading & {Region.HEAD, Region.SUFFIX}
        regions = {name: _region(one.clues, one.region, lost) for name, one in logged.items()}
        whys = {name: why for name, one in logged.items() if (why := _why(one, regions[name]))}
        changed = {path: text for path, text in files.items() if self._texts.get(path) != text}
        reads = phases.names_read_in_tail()
        if reads is not None and Region.TAIL in reading:
            reads |= {GRADIENTS}
        findings = [finding for name in names for finding in self._settled(name)]
        shown = {finding.path for finding in findings if finding.path is not None}
        originals = {path: self._texts[path] for path in sorted({*changed, *shown})}
        made = MadeAnew()
        if script in changed and script in self._texts:
            made = made_anew(read_all(self._texts)[script], read_all(files)[script])
        behind = phases.words_in(Region.SUFFIX)
        stops = {name: one.stop if regions[name] is one.region else None for name, one in logged.items()}
        return Patched(
            changed,
            regions,
            refused,
            reads,
            tuple(findings),
            originals,
            whys,
            marking=marking(script, self._texts, files, carried, stops),
            clues={name: one.clues for name, one in logged.items() if one.region is Region.WHOLE},
            lost=lost,
            elsewhere=self._elsewhere,
            made_in_steps=made.in_steps,
            missed_after=made.in_loops if behind is None else made.in_loops & behind,
        )

    def _settled(self, name: str) -> list[Finding]:
        """What became of a name's statements, with their lines in the files as they are in the end."""
        found = self._findings.get(name, [])
        lines = {path: [s.line for s in statements(path, self._files[path], name)] for path in self._files}
        places = sorted((f for f in found if f.line is not None), key=lambda f: (f.path or "", f.line or 0))
        final: dict[int, int] = {}
        for path in {f.path for f in places if f.path is not None}:
            here = [f for f in places if f.path == path]
            if len(here) == len(lines[path]):
                final |= {id(f): line for f, line in zip(here, lines[path], strict=True)}
        return [self._guessed(replace(f, line=final.get(id(f), f.line))) for f in found]

    def _guessed(self, finding: Finding) -> Finding:
        """A finding with the line of the version's own file that a statement stands behind."""
        if finding.fate is not Fate.PLACED or finding.path is None or finding.line is None:
            return finding
        before, after = self._texts[finding.path], self._files[finding.path]
        return replace(finding, after=_line_before(before, after, finding.line))


def _placed(name: str, donor: Donor, path: str, placed: Placement, pinned: bool) -> Finding:
    fate = Fate.PRESENT if placed.present else Fate.PINNED if pinned else Fate.PLACED
    where = f"{donor.path}:{placed.line} ({donor.source})"
    return Finding(name, fate, path, placed.placed_line, placed.confidence, placed.why, placed.renames, donor=where)


def _confidence(found: Sequence[Finding]) -> float:
    """Of the most doubtful statement; below all others if one is refused."""
    return min((-1.0 if f.fate is Fate.REFUSED else f.confidence for f in found), default=-1.0)


def _is_refused(found: Sequence[Finding]) -> bool:
    return any(finding.fate is Fate.REFUSED for finding in found)


def _reason(found: Sequence[Finding]) -> str:
    """Why a name is refused; "" if it is not."""
    refused = [finding for finding in found if finding.fate is Fate.REFUSED]
    return f"{refused[0].donor}: {refused[0].why}" if refused and refused[0].path else refused[0].why if refused else ""


_LEVELS = {
    Level.DATA_PREP: "outside of the main loop",
    Level.OUTER: "in the main loop itself",
    Level.INNER: "in the nested loop",
}
_LEVEL_OF = {Region.PREFIX: Level.DATA_PREP, Region.SUFFIX: Level.DATA_PREP, Region.INNER: Level.INNER}


def levels_at(script: str, files: Texts, places: Iterable[tuple[str | None, int | None]]) -> frozenset[Level]:
    """The levels at which statements log; none if nobody knows when one of them runs."""
    phases = phases_of(script, files)
    regions = [phases.regions_of(path or "", line or 0) for path, line in places]
    if not all(regions) or any(Region.WHOLE in each for each in regions):
        return frozenset()
    return frozenset(_LEVEL_OF.get(region, Level.OUTER) for each in regions for region in each)


def _words(donor: Donor, name: str) -> str:
    return f"{donor.path}:{donor.lines[name][0]} ({donor.source})"


def _line_after(before: str, after: str, line: int) -> int:
    """The line of `after` that is line `line` of `before`, which has the same lines, and no others."""
    if before == after:
        return line
    for old, new in _common_lines(before, after):
        if old == line:
            return new
    return line


def _line_before(before: str, after: str, line: int) -> int:
    """The other way: the last line of `before` that stands at or above a line of `after`."""
    if before == after:
        return line
    return max((old for old, new in _common_lines(before, after) if new <= line), default=1)


def _common_lines(before: str, after: str) -> Iterable[tuple[int, int]]:
    lines = iter(enumerate(after.split("\n"), start=1))
    for old, text in enumerate(before.split("\n"), start=1):
        for new, other in lines:
            if other.rstrip("\r") == text.rstrip("\r"):
                yield old, new
                break


# --- all versions ---------------------------------------------------------------------------------------------------


def patch_all(
    names: Sequence[str],
    donors: Mapping[str, tuple[Donor, ...]],
    history: Sequence[Revision],
    pinned: Sequence[PinnedPlace] = (),
    ways: CarryingWays | None = None,
    chosen: Iterable[str] | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Patched]:
    """Patch the chosen versions (None: all) of a history, oldest first. Versions with the same files cost one."""
    pinned = [place for place in pinned if place.name in names]
    past = _Past(history, donors, pinned, ways or CarryingWays())
    wanted = None if chosen is None else frozenset(chosen)
    todo = [at for at, r in enumerate(history) if wanted is None or r.version in wanted]
    found: dict[str, Patched] = {}
    with propagation.collecting_later():
        for done, at in enumerate(todo):
            tell(done, len(todo))
            found[history[at].version] = past.patched(names, at)
    tell(len(todo), len(todo))
    return found


def stale(pinned: Sequence[PinnedPlace], donors: Mapping[str, tuple[Donor, ...]]) -> tuple[PinnedPlace, ...]:
    """Pins of a statement that is not written so any more."""
    return tuple(
        place
        for place in pinned
        if place.name in donors
        and not any((place.statement, place.ordinal) in said(d, place.name).values() for d in donors[place.name])
    )


class _Past:
    """A history while its versions are patched."""

    def __init__(
        self,
        history: Sequence[Revision],
        donors: Mapping[str, tuple[Donor, ...]],
        pinned: Sequence[PinnedPlace],
        ways: CarryingWays,
    ) -> None:
        self._history, self._donors, self._pinned, self._ways = history, donors, pinned, ways
        self._trees = [(r.script, frozenset(r.texts.items())) for r in history]
        # The newest of the versions with the same files stands for all of them: the way to it is the shortest one.
        self._places = {tree: at for at, tree in enumerate(self._trees)}
        self._sites = {name: self._pinned_in(name) for name in sorted({place.name for place in pinned})}
        self._near: dict[tuple[str, _Tree], tuple[Donor, ...]] = {}
        self._known: dict[tuple[_Tree, tuple[tuple[str, _Tree, bool], ...]], Patched] = {}

    def patched(self, names: Sequence[str], at: int) -> Patched:
        """The version number `at`."""
        pinned = [(name, *self._closest(name, at)) for name in names if self._sites.get(name)]
        key = self._trees[at], tuple((name, self._trees[site], is_nearer) for name, site, is_nearer in pinned)
        if key not in self._known:
            near = {name: Near(self._pinned_donors(name, site), is_nearer) for name, site, is_nearer in pinned}
            self._known[key] = self._patch(names, at, near)
        return self._known[key]

    def _patch(self, names: Sequence[str], at: int, near: Mapping[str, Near]) -> Patched:
        r = self._history[self._places[self._trees[at]]]
        between = functools.partial(self._between, self._places[self._trees[at]])
        return patch(names, self._donors, r.script, r.texts, self._pinned, near, self._ways, between)

    def _between(self, at: int, donor: Donor) -> Sequence[Revision]:
        """The versions from a donor to the version number `at`, in that order, without equal ones in a row."""
        start = self._place_of(donor)
        numbers = range(start - 1, at, -1) if start > at else range(start + 1, at)
        chosen = [n for n in numbers if self._trees[n] != self._trees[at]]
        return [self._history[n] for i, n in enumerate(chosen) if not i or self._trees[n] != self._trees[chosen[i - 1]]]

    def _pinned_in(self, name: str) -> list[int]:
        """Where in history a pin of this name holds."""
        donors = self._donors.get(name, ())
        versions = [
            _VersionInWork(r.script, r.texts, self._pinned, self._ways, lambda donor: ()) for r in self._history
        ]
        return [at for at, version in enumerate(versions) if version.has_pin(name, donors)]

    def _closest(self, name: str, at: int) -> tuple[int, bool]:
        """Where a name is pinned nearest to a version, and whether its donor is further away."""
        site = min(self._sites[name], key=lambda site: (abs(site - at), -site))
        return site, abs(site - at) <= abs(self._place_of(self._donors[name][0]) - at)

    def _place_of(self, donor: Donor) -> int:
        """Where in history a donor stands: the working tree's behind all versions."""
        here = (number for number, r in enumerate(self._history) if r.version == donor.version)
        return next(here, len(self._history))

    def _pinned_donors(self, name: str, site: int) -> tuple[Donor, ...]:
        """A version in which a name is pinned, as the donor for those around it."""
        key, revision = (name, self._trees[site]), self._history[self._places[self._trees[site]]]
        if key not in self._near:
            there = self._patch([name], site, {})
            source = f"version {revision.version[:8]}, where it is pinned"
            tree = {**revision.texts, **there.files}
            found = {} if name in there.refused else find_donors([name], [(source, tree)], frozenset({revision.script}))
            self._near[key] = tuple(replace(donor, version=revision.version) for donor in found.get(name, ()))
        return self._near[key]


# --- regions --------------------------------------------------------------------------------------------------------


def _region(clues: Sequence[Clue], region: Region, lost: frozenset[Region]) -> Region:
    """Gradients are not in checkpoints: what may read them before a step has run needs everything."""
    return Region.WHOLE if region in lost or any(clue.regions & lost for clue in clues) else region


def _why(logged: Logged, region: Region) -> str:
    if region is not logged.region:
        return "it is logged where gradients may be read, which checkpoints do not hold"
    return logged.why


def narrowed(patched: Patched, observed: Mapping[str, frozenset[Level]]) -> Patched:
    """A version's patch with smaller regions than WHOLE where the levels at which the recorded run logged other names
    tell them: a statement beside one of these in a function ran when that one did."""
    regions, whys = dict(patched.regions), dict(patched.whys)
    for name, clues in patched.clues.items():
        region = settled(clues, observed)
        needed = {region, *(r for clue in clues for r in clue.regions)}
        needed |= {Region.HEAD} if region is Region.TAIL else set()  # the level is the same there
        if region is not Region.WHOLE and not needed & patched.lost:
            regions[name] = region
            whys[name] = (
                f"{patched.whys.get(name, '')}; but what the run logged there shows that no more than that is needed"
            )
    return replace(patched, regions=regions, whys=whys)

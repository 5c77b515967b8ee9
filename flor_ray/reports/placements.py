"""What is told of propagation: where statements would stand, diffs, and what to do about refusals. Values in, text out.

Hundreds of versions have few distinct files, so versions for which the same is to be said share a row or a diff.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from flor_ray.patching.patching import DOUBTFUL_BELOW, Fate, Finding, Patched
from flor_ray.patching.statements import Pinning, Propagated
from flor_ray.records import PinnedPlace
from flor_ray.reports.replays import pin_hint
from flor_ray.reports.text_tables import render
from flor_ray.wording import some_versions

_WORDS = {
    Fate.PLACED: "placed",
    Fate.PINNED: "pinned",
    Fate.PRESENT: "already there",
    Fate.REFUSED: "refused",
}
_DOUBTFUL = f"{_WORDS[Fate.PLACED]} with a confidence below {DOUBTFUL_BELOW}"
_NOWHERE = "without it (no code logs it now)"
_OUTCOMES = (*list(_WORDS.values())[:1], _DOUBTFUL, *list(_WORDS.values())[1:], _NOWHERE)
_AROUND = 4  # lines shown before and after a best guess


def table(found: Propagated, width: int) -> str:
    """Where each statement would stand, for each version; then how many of each outcome."""
    rows = []
    for finding, versions in _grouped(found):
        confidence = f"{finding.confidence:.2f}" if finding.confidence else ""
        row = [
            some_versions(versions).removeprefix("version "),
            finding.name,
            _WORDS[finding.fate],
            where(finding),
            confidence,
            why(finding),
        ]
        rows.append(row)
    columns = ["version", "feature", "outcome", "where", "conf.", "why"]
    if len(found.names) == 1:
        columns.remove("feature")
        rows = [[row[0], *row[2:]] for row in rows]
    return "\n".join([render(columns, rows, width), "", *_counts(found)])


def _grouped(found: Propagated) -> list[tuple[Finding, list[str]]]:
    """Findings with the versions that share them, in the order of the first of these."""
    groups: dict[str, tuple[Finding, list[str]]] = {}
    for version, finding in found.findings:
        groups.setdefault(repr(finding), (finding, []))[1].append(version)
    return list(groups.values())


def _counts(found: Propagated) -> list[str]:
    """Per name in how many versions it has which outcome: the worst one of its statements there."""
    lines = []
    for name in found.names:
        told = [_outcome([f for f in patched.findings if f.name == name]) for patched in found.patched.values()]
        counts = ", ".join(f"{told.count(word)} {word}" for word in _OUTCOMES if word in told)
        lines.append(f"{name} in {len(told)} version{'s' if len(told) != 1 else ''}: {counts}.")
    return lines


def _outcome(findings: Sequence[Finding]) -> str:
    fates = {finding.fate for finding in findings}
    if Fate.REFUSED not in fates and any(finding.is_doubtful for finding in findings):
        return _DOUBTFUL
    worst = (fate for fate in (Fate.REFUSED, Fate.PLACED, Fate.PINNED, Fate.PRESENT))
    return next((_WORDS[fate] for fate in worst if fate in fates), _NOWHERE)


def where(finding: Finding) -> str:
    """file:line of a statement in the patched file, or where one that was refused might belong."""
    if finding.line is not None:
        return f"{finding.path}:{finding.line}"
    if finding.best_guess is not None:
        return f"after {finding.path}:{finding.best_guess}?"
    return finding.path or ""


def why(finding: Finding) -> str:
    """The reason in words, with renames and with the donor, where that is not the newest code."""
    parts = [finding.why] if finding.why else []
    if finding.renames:
        parts.append(", ".join(f"{new} -> {old}" for new, old in sorted(finding.renames.items())))
    if finding.donor and "(the working tree)" not in finding.donor:
        parts.append(f"from {finding.donor}")
    return "; ".join(parts)


def advice(found: Propagated) -> list[str]:
    """What the user may do about refusals and doubts; nothing if there are none."""
    lines = []
    for name in found.names:
        mine = [(version, finding) for version, finding in found.findings if finding.name == name]
        refused = [(version, finding) for version, finding in mine if finding.fate is Fate.REFUSED]
        doubtful = [(version, finding) for version, finding in mine if finding.is_doubtful]
        for version, finding in sorted([*refused, *doubtful], key=lambda pair: pair[1].path is None)[:1]:
            lines.append(pin_hint(name, version, finding.best_guess or finding.after, finding.path is not None))
    return lines


# --- diffs ----------------------------------------------------------------------------------------------------------


def diffs(found: Propagated) -> str:
    """Unified diffs of the patched files, one for all versions that have the same, under lines of comment that say
    which those are and what became of each statement. `git apply` and `patch` skip these lines."""
    groups: dict[str, tuple[Patched, list[str]]] = {}
    for version, patched in found.patched.items():
        key = repr((patched.findings, sorted(patched.files.items()), sorted(patched.originals.items())))
        groups.setdefault(key, (patched, []))[1].append(version)
    return "\n".join(_diff_of_group(patched, versions) for patched, versions in groups.values())


def _diff_of_group(patched: Patched, versions: Sequence[str]) -> str:
    lines = [f"# {some_versions(versions, limit=8)}"]
    for finding in patched.findings:
        place = f" at {where(finding)}" if finding.line is not None else f" {where(finding)}".rstrip()
        confidence = f", confidence {finding.confidence:.2f}" if finding.confidence and finding.confidence < 1 else ""
        lines.append(f"# {finding.name}: {_WORDS[finding.fate]}{place}{confidence}: {why(finding)}")
        lines += [f"#   {line}" for line in _excerpt(finding, patched.originals)]
    return "\n".join(lines) + "\n" + diff_of(patched)


def diff_of(patched: Patched) -> str:
    """The unified diff of one version's files."""
    return "".join(unified(path, patched.originals[path], patched.files[path]) for path in sorted(patched.files))


def _excerpt(finding: Finding, originals: Mapping[str, str]) -> Iterable[str]:
    """The version's own lines around a best guess, with the numbers that a pin wants."""
    if finding.best_guess is None or finding.path is None or finding.path not in originals:
        return
    lines = originals[finding.path].removesuffix("\n").split("\n")
    first = max(finding.best_guess - _AROUND, 1)
    for number in range(first, min(finding.best_guess + _AROUND, len(lines)) + 1):
        mark = ">" if number == finding.best_guess else " "
        yield f"{mark} {number:5d}  {lines[number - 1]}".rstrip()


def unified(path: str, before: str, after: str) -> str:
    """A unified diff, byte for byte what `git apply` wants; carriage returns and form feeds are parts of lines."""
    old, new = (
        [*(f"{line}\n" for line in lines[:-1]), *filter(None, lines[-1:])]
        for lines in (before.split("\n"), after.split("\n"))
    )
    found = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in found)


# --- pins -----------------------------------------------------------------------------------------------------------


def pinned(done: Pinning) -> str:
    """What a new pin says and does."""
    place, name = done.place, done.place.name
    there = f"{place.path} of version {place.version[:8]}"
    column = f", at column {place.pin.indent}" if place.pin.indent is not None else ""
    lines = [f"Pinned {name} after line {place.pin.after}{column} of {there}:", ""]
    lines += diff_of(done.after.patched[place.version]).rstrip("\n").split("\n")
    same = _changed(done, Fate.PINNED, place.version)
    through = _changed(done, Fate.PLACED, place.version)
    lines.append("")
    if same:
        lines.append(f"It also holds where the file is the same: {some_versions(same)}")
    if through:
        lines.append(f"It has changed the place in {some_versions(through)}")
    if left := [v for v, patched in done.after.patched.items() if name in patched.refused]:
        lines.append(f"Still refused in {some_versions(left)}")
    if old := [v for v in (place.version, *same, *through) if v in done.answered]:
        lines.append(f"Values of earlier replays stay until `flor-ray replay {name} --again`: {some_versions(old)}")
    return "\n".join(lines).rstrip("\n")


def _changed(done: Pinning, fate: Fate, but: str) -> list[str]:
    """Other versions in which the statement has this fate, or another place, because of the pin."""
    name, found = done.place.name, []
    for version, patched in done.after.patched.items():
        here = [f for f in patched.findings if f.name == name]
        before = [f for f in done.before.patched[version].findings if f.name == name]
        if version != but and here != before and {f.fate for f in here} == {fate}:
            found.append(version)
    return found


def unpinned(places: Sequence[PinnedPlace]) -> str:
    """One line for each pin that was removed."""
    return "\n".join(
        f"Removed the pin of {place.name} after {place.path}:{place.pin.after} of version {place.version[:8]} "
        f"(by {place.who})."
        for place in places
    )


# --- JSON -----------------------------------------------------------------------------------------------------------


def as_json(found: Propagated, with_diff: bool) -> list[dict[str, object]]:
    """One object per version and statement."""
    rows = []
    for version, finding in found.findings:
        row: dict[str, object] = {
            "version": version,
            "run": found.experiments[version].run,
            "name": finding.name,
            "outcome": finding.fate.value,
            "file": finding.path,
            "line": finding.line,
            "confidence": finding.confidence,
            "why": finding.why,
            "renames": dict(finding.renames),
            "best_guess": finding.best_guess,
            "from": finding.donor,
        }
        rows.append(row | ({"diff": diff_of(found.patched[version])} if with_diff else {}))
    return rows

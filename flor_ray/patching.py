"""Carrying the wanted log statements into every version's source files. Pure: texts in, texts and refusals out.

    donors     the files that log a name: the working tree's, else those of the nearest version that does
    patched    a version's files with the statements in them, the region of each name, and what was refused

What may live here: choosing donors and files, and calling `flor_ray.propagation` on pairs of files. No I/O.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray import gradients
from flor_ray.propagation import find_statements, names_read_after_nested_loop, propagate
from flor_ray.records import GRADIENTS, Propagation, Region, Statement

Texts = Mapping[str, str]  # repository-relative path -> source text


@dataclass(frozen=True, slots=True)
class Donor:
    """A file that logs wanted names, and where."""

    path: str
    text: str
    lines: Mapping[str, tuple[int, ...]]  # feature name -> first lines of its statements
    is_script: bool  # it was run itself, rather than imported by what was run
    source: str  # for messages: "the working tree", or a version


@dataclass(frozen=True, slots=True)
class Patched:
    """A version's sources with the wanted statements in them."""

    files: Mapping[str, str] = field(default_factory=dict)  # only those that were changed
    regions: Mapping[str, Region] = field(default_factory=dict)  # of each name that can be replayed
    refused: Mapping[str, str] = field(default_factory=dict)  # name -> reason
    tail_reads: frozenset[str] | None = None


def find_donors(
    names: Sequence[str], candidates: Iterable[tuple[str, Texts]], scripts: frozenset[str]
) -> dict[str, tuple[Donor, ...]]:
    """For each name the files that log it, in the first candidate (source, texts) that has any. Unknown names are left
    out."""
    found: dict[str, tuple[Donor, ...]] = {}
    for source, texts in candidates:
        missing = [name for name in names if name not in found]
        if not missing:
            break
        for name in missing:
            donors = tuple(
                Donor(path, text, {name: lines}, path in scripts, source)
                for path, text in sorted(texts.items())
                if (lines := tuple(s.line for s in statements(path, text, name)))
            )
            if donors:
                found[name] = donors
    return found


def statements(path: str, text: str, name: str) -> tuple[Statement, ...]:
    """Statements in a file that log `name`."""
    if name not in text:  # most files: no need to parse them
        return ()
    return tuple(statement for statement in _find(path, text) if statement.name == name)


def features(texts: Texts) -> frozenset[str]:
    """Names that are logged anywhere in these files."""
    return frozenset(s.name for path, text in texts.items() for s in _find(path, text) if s.name is not None)


def patch(names: Sequence[str], donors: Mapping[str, tuple[Donor, ...]], script: str, texts: Texts) -> Patched:
    """Carry the statements of `names` into one version, whose script is `script` and whose files are `texts`."""
    files = dict(texts)
    refused: dict[str, str] = {}
    carried: list[str] = []
    for name in names:
        if _applies(files, script, name):
            carried.append(name)  # the version's own code logs it
        elif name in donors:
            reason = _carry(name, donors[name], script, files)
            if reason is None:
                carried.append(name)
            else:
                refused[name] = reason
    regions = {name: _region(name, script, files) for name in carried}
    regions = _without_lost_gradients(regions, script, files)
    changed = {path: text for path, text in files.items() if texts.get(path) != text}
    reads = names_read_after_nested_loop(files.get(script, ""))
    if reads is not None and Region.TAIL in gradients.read_in(files.get(script, ""), files):
        reads |= {GRADIENTS}
    return Patched(changed, regions, refused, reads)


@functools.lru_cache(maxsize=4096)
def _find(path: str, text: str) -> tuple[Statement, ...]:
    if "flor" not in text:
        return ()
    return find_statements(text, path)


@functools.lru_cache(maxsize=4096)
def _propagate(newer: str, older: str, lines: tuple[int, ...]) -> Propagation:
    """Hundreds of versions have few distinct files: each pair is matched once."""
    return propagate(newer, older, lines)


def _applies(files: Texts, script: str, name: str) -> bool:
    """Whether the version itself logs the name, in its script or in a file that its script may import."""
    return bool(statements(script, files.get(script, ""), name)) or any(
        statements(path, text, name)
        for path, text in files.items()
        if path != script and not _has_main_loop(path, text)
    )


def _has_main_loop(path: str, text: str) -> bool:
    return any(statement.region not in (Region.WHOLE,) for statement in _find(path, text))


def _carry(name: str, donors: tuple[Donor, ...], script: str, files: dict[str, str]) -> str | None:
    """Put the name's statements into `files`. Returns why not, and then has changed nothing."""
    patched: dict[str, str] = {}
    for donor in donors:
        target = _target(donor, script, files)
        if target is None:
            return f"it is logged in {donor.path} ({donor.source}), and this version ran {script or 'no script'}"
        outcome = _propagate(donor.text, files[target], donor.lines[name])
        if outcome.refused:
            refusal = outcome.refused[0]
            return f"{donor.path}:{refusal.line} ({donor.source}): {refusal.reason}"
        patched[target] = outcome.source
    files |= patched
    return None


def _target(donor: Donor, script: str, files: Texts) -> str | None:
    """The file of the version that corresponds to the donor's."""
    if donor.is_script:
        if donor.path == script or donor.path not in files:  # the script itself, perhaps under another name
            return script if script in files else None
        return None
    return donor.path if donor.path in files else None


def _region(name: str, script: str, files: Texts) -> Region:
    """Where the name's statements run. In files that the script imports, anywhere."""
    regions = {s.region for path, text in files.items() for s in statements(path, text, name) if path == script}
    if any(statements(path, text, name) for path, text in files.items() if path != script):
        return Region.WHOLE
    if len(regions) == 1:
        return regions.pop()
    if regions <= {Region.HEAD, Region.TAIL}:
        return Region.TAIL
    if regions <= {Region.HEAD, Region.INNER, Region.TAIL}:
        return Region.INNER
    if regions <= {Region.PREFIX, Region.SUFFIX}:
        return Region.SUFFIX
    return Region.WHOLE


def _without_lost_gradients(regions: Mapping[str, Region], script: str, files: Texts) -> dict[str, Region]:
    """Gradients are not in checkpoints: names in a region that reads them before a step has run need all of it."""
    lost = gradients.read_in(files.get(script, ""), files) & {Region.HEAD, Region.SUFFIX}
    return {name: Region.WHOLE if region in lost else region for name, region in regions.items()}

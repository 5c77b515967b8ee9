"""What logs a name in a version, as a digest: with equal ones two replays do the same work. Pure.

It covers where the name's statements stand in the version's own files, their text there, and all else that carrying
statements has changed in these files. So it is the same whether other names are asked for too, and another one as soon
as anything differs that the values could depend on; in doubt it differs, which costs time and no value.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable

from flor_ray.patching.patching import Fate, Finding, Patched

_CHARACTERS = 16
_Lines = tuple[int, int]  # first and last


def of_version(patched: Patched, names: Iterable[str], surroundings: object) -> dict[str, str]:
    """By name, what logs it in a version; `surroundings` are plain values that its replay depends on beside code."""
    changed = {path: rest for path in patched.files if (rest := _changed_beside(path, patched)) is not None}
    found = {}
    for name in names:
        own = [one for one in patched.findings if one.name == name and one.fate is not Fate.REFUSED]
        beside = {path: changed[path] for path in sorted({one.path for one in own if one.path in changed and one.path})}
        found[name] = of((name, [_place(one, patched) for one in own], beside, surroundings))
    return found


def of(plain: object) -> str:
    """A digest of plain values, such as a question."""
    return hashlib.blake2b(repr(plain).encode("utf-8", "surrogatepass")).hexdigest()[:_CHARACTERS]


def _place(finding: Finding, patched: Patched) -> tuple[bool, str, int, str]:
    """Whether the version has the statement itself, its file, its line without those that were added, and its text."""
    path, lines = finding.path or "", _text(finding.path or "", patched).split("\n")
    first, last = _around(finding, patched)
    above = sum(b - a + 1 for a, b in _added(path, patched) if b < first)
    return finding.fate is Fate.PRESENT, path, first - above, "\n".join(lines[first - 1 : last])


def _changed_beside(path: str, patched: Patched) -> str | None:
    """A file without the statements that were added, where that is not the version's own."""
    added = {line for first, last in _added(path, patched) for line in range(first, last + 1)}
    lines = patched.files[path].split("\n")
    rest = "\n".join(line for number, line in enumerate(lines, 1) if number not in added)
    return None if rest == patched.originals.get(path) else rest


def _added(path: str, patched: Patched) -> set[_Lines]:
    here = [one for one in patched.findings if one.path == path and one.fate in (Fate.PLACED, Fate.PINNED)]
    return {_around(one, patched) for one in here if one.line is not None}


def _around(finding: Finding, patched: Patched) -> _Lines:
    """First and last line of the innermost statement at a finding; of what is no Python, its line."""
    at = finding.line or 1
    spans = [span for span in _statements(_text(finding.path or "", patched)) if span[0] <= at <= span[1]]
    return min(spans, key=lambda span: span[1] - span[0], default=(at, at))


def _text(path: str, patched: Patched) -> str:
    return patched.files.get(path, patched.originals.get(path, ""))


@functools.lru_cache(maxsize=64)  # most versions' files are like those of others
def _statements(text: str) -> tuple[_Lines, ...]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple((n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, ast.stmt))

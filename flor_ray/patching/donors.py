"""The files that log a name, here and in old versions, and the file of a version that corresponds. Pure."""

from __future__ import annotations

import functools
import hashlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.analysis.source import Texts
from flor_ray.propagation import find_statements, has_main_loop
from flor_ray.records import Statement


@dataclass(frozen=True, slots=True)
class Donor:
    """A file that logs wanted names, and where."""

    path: str
    text: str
    lines: Mapping[str, tuple[int, ...]]  # feature name -> first lines of its statements
    is_script: bool  # it was run itself, rather than imported by what was run
    source: str  # for messages: "the working tree", or a version
    tree: Texts = field(default_factory=dict, compare=False, repr=False)  # all files that stand beside it
    version: str | None = field(default=None, compare=False)  # None: the working tree's


@dataclass(frozen=True, slots=True)
class Revision:
    """A version's code: what it ran, and its Python files."""

    version: str
    script: str
    texts: Texts


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
                Donor(path, text, {name: lines}, path in scripts, source, texts)
                for path, text in sorted(texts.items())
                if (lines := tuple(s.line for s in statements(path, text, name)))
            )
            if donors:
                found[name] = donors
    return found


def statements(path: str, text: str, name: str) -> tuple[Statement, ...]:
    """Statements in a file that log `name`."""
    if name not in text and not _may_put_names_together(text):  # no need to parse it
        return ()
    return tuple(statement for statement in _find(path, text) if statement.name == name)


@functools.lru_cache(maxsize=4096)
def _may_put_names_together(text: str) -> bool:
    """Whether a file may log under a name that nowhere stands in it as it is. Not if each `log` in it is called with a
    plain string, and a comma behind that."""
    return ("{" in text or "+" in text) and len(_LOG.findall(text)) != len(_LOG_BY_PLAIN_NAME.findall(text))


_LOG = re.compile(r"\blog\b")
_LOG_BY_PLAIN_NAME = re.compile(r"""\blog\(\s*(?:"[^"\\{}\n]*"|'[^'\\{}\n]*')\s*,""")


def features(texts: Texts) -> frozenset[str]:
    """Names that are logged anywhere in these files."""
    return frozenset(s.name for path, text in texts.items() for s in _find(path, text) if s.name is not None)


def unclear(texts: Texts) -> tuple[str, ...]:
    """Where these files log under names that only a run can tell."""
    found = [(path, s.line) for path, text in sorted(texts.items()) for s in _find(path, text) if s.name is None]
    return tuple(f"{path}:{line}" for path, line in found)


@functools.lru_cache(maxsize=4096)
def blob_of(text: str) -> str:
    """What tells one file's bytes from another's."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def said(donor: Donor, name: str) -> dict[int, tuple[str, int]]:
    """A donor's statements of a name as pins know them, by line: the text, and which of the equal ones it is."""
    found: dict[int, tuple[str, int]] = {}
    lines = donor.text.split("\n")
    for statement in statements(donor.path, donor.text, name):
        text = textwrap.dedent("\n".join(lines[statement.line - 1 : statement.end_line]).replace("\r", "")).strip()
        if statement.line not in found:
            found[statement.line] = text, sum(text == other for other, _ in found.values())
    return found


@functools.lru_cache(maxsize=4096)
def _find(path: str, text: str) -> tuple[Statement, ...]:
    if "flor" not in text:
        return ()
    return find_statements(text, path)


def applies(script: str, files: Texts, name: str) -> bool:
    """Whether a version itself logs the name, in its script or in a file that its script may import."""
    return bool(statements(script, files.get(script, ""), name)) or any(
        path != script and statements(path, text, name) and not _trains(text) for path, text in files.items()
    )


@functools.lru_cache(maxsize=4096)
def _trains(text: str) -> bool:
    """Whether a file is a script of its own: another one does not import it."""
    return has_main_loop(text)


def target_of(donor: Donor, script: str, files: Texts) -> str | None:
    """The file of the version that corresponds to the donor's."""
    if donor.is_script:
        if donor.path == script or donor.path not in files:  # the script itself, perhaps under another name
            return script if script in files else None
        return None
    return donor.path if donor.path in files else None

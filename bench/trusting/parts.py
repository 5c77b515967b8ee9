"""What random training scripts are made of: the parts in tests/cases/random_scripts. Pure, but for reading them.

A file has parts that begin with `== name`; what stands before the first is a comment. A part has sections, each a few
lines under a header in brackets. `$` in them becomes a letter of the part's own, so that a script may have it twice.

    [file PATH]     another file of the repository
    [top]           lines of the module before everything else: imports, functions, classes
    [setup]         before the main loop
    [head]          in each epoch, before the steps
    [step]          in each step
    [tail]          in each epoch, after the steps
    [after]         after the main loop
    [seen]          expressions, one a line, that a hindsight statement may log from the setup on
    [seen in step]  those that it may log only once the part's lines of an epoch have run
    [listed]        names that `flor.checkpointing` is given

A line `#? expression` is a place where a hindsight statement may log that expression, in the midst of other lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "tests" / "cases" / "random_scripts"
REGIONS = ("setup", "head", "step", "tail", "after")
_CODE = ("top", *REGIONS)
_OTHERS = ("seen", "seen in step", "listed")
_HEADER = re.compile(rf"^\[({'|'.join((*_CODE, *_OTHERS))}|file [^\]]+)\]\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    family: str  # its file
    code: Mapping[str, str]  # section -> lines
    files: Mapping[str, str]
    seen: tuple[str, ...] = ()
    seen_in_step: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    def lettered(self, letter: str) -> Part:
        """The part with a letter in place of `$`."""

        def put(text: str) -> str:
            return text.replace("$", letter)

        return Part(
            self.name,
            self.family,
            {section: put(text) for section, text in self.code.items()},
            {put(path): put(text) for path, text in self.files.items()},
            *(tuple(map(put, texts)) for texts in (self.seen, self.seen_in_step, self.listed)),
        )


def preamble() -> str:
    """Lines that every script begins with."""
    return (FOLDER / "preamble.txt").read_text(encoding="utf-8")


def every_part() -> Sequence[Part]:
    """In the order of the files' names and of their lines: the simpler families are not first."""
    files = sorted(path for path in FOLDER.glob("*.txt") if path.name != "preamble.txt")
    return [part for path in files for part in parts_of(path.stem, path.read_text(encoding="utf-8"))]


def parts_of(family: str, text: str) -> Sequence[Part]:
    """Of a file."""
    _, *pieces = re.split(r"^== (\w+)\n", text, flags=re.MULTILINE)
    return [_part(name, family, body) for name, body in zip(pieces[::2], pieces[1::2], strict=True)]


def _part(name: str, family: str, body: str) -> Part:
    _, *pieces = _HEADER.split(body)
    sections = {header: text.strip("\n") + "\n" for header, text in zip(pieces[::2], pieces[1::2], strict=True)}
    files = {header.removeprefix("file "): text for header, text in sections.items() if header.startswith("file ")}
    code = {header: text for header, text in sections.items() if header in _CODE}
    lines = {header: tuple(sections.get(header, "").splitlines()) for header in _OTHERS}
    listed = tuple(" ".join(lines["listed"]).split())
    return Part(name, family, code, files, lines["seen"], lines["seen in step"], listed)

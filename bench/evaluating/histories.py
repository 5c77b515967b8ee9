"""The systems of bench/systems: their versions, and what somebody wishes they had logged.

A folder holds system.toml, the user's files at the first version (base/) and a patch for each further one. A statement
has places: the newest version's is what the user types, the others say where it belongs in versions in which the code
stood elsewhere or a variable was named otherwise. They are written by hand, so that a run with the statements in it
from the start owes nothing to what propagates them.
"""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

SYSTEMS = Path(__file__).parents[1] / "systems"
MAKES_DATA = "make_data.py"
_FIRST = "first"  # the run's name of the base
_OURS = "flor"  # what lines that mention us have in them
_LOGS = ("flor.log(", "flor.arg(")


class HistoryError(ValueError):
    """A folder of bench/systems is not as the module's docstring says."""


class LoopLevel(StrEnum):
    """In how many loops a statement stands, and where outside them."""

    PREFIX = "prefix"  # before the main loop
    OUTER = "outer"
    INNER = "inner"


@dataclass(frozen=True, slots=True)
class StatementPlace:
    """After which line of which file a statement stands."""

    file: str
    after: str
    text: str
    until: int | None  # the last version for which this is the place; None: any

    def fits(self, files: Mapping[str, str], number: int) -> bool:
        lines = files.get(self.file, "").split("\n")
        return (self.until is None or number <= self.until) and lines.count(self.after) == 1

    def put(self, text: str) -> str:
        """The file's text with the statement in it."""
        indent = self.after[: len(self.after) - len(self.after.lstrip())]
        added = "".join(f"{indent}{line}\n" if line else "\n" for line in self.text.strip("\n").split("\n"))
        return f"\n{text}".replace(f"\n{self.after}\n", f"\n{self.after}\n{added}")[1:]


@dataclass(frozen=True, slots=True)
class Statement:
    """What is asked for in hindsight."""

    name: str
    level: LoopLevel
    places: tuple[StatementPlace, ...]  # the first that fits a version is its own


@dataclass(frozen=True, slots=True)
class SystemVersion:
    """The user's files as one run had them."""

    number: int  # from 1
    run: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class System:
    """One of the systems that the papers evaluate."""

    name: str
    title: str
    objective: str
    data: str
    evaluation: str
    paper_size: str
    script: str
    imports: tuple[str, ...]
    arguments: tuple[str, ...]  # of its script, for the size tiny
    statements: tuple[Statement, ...]
    versions: tuple[SystemVersion, ...]

    def names(self, level: LoopLevel) -> tuple[str, ...]:
        return tuple(statement.name for statement in self.statements if statement.level is level)

    def asking(self, version: SystemVersion, levels: Iterable[LoopLevel] = tuple(LoopLevel)) -> dict[str, str]:
        """A version's files with the statements of these levels in them, as far as they have a place there.

        Raises:
            HistoryError: one of them has no place in the newest version.
        """
        files, wanted = dict(version.files), set(levels)
        for statement in reversed([s for s in self.statements if s.level in wanted]):  # so that they stand in order
            place = next((p for p in statement.places if p.fits(version.files, version.number)), None)
            if place is not None:
                files[place.file] = place.put(files[place.file])
            elif version is self.versions[-1]:
                raise HistoryError(f"{self.name}: no place of {statement.name} fits the newest version.")
        return files

    def lines_added(self) -> tuple[int, int]:
        """Of the newest version: lines that are there because of us, and beside these the calls that log a value."""
        lines = [line for text in self.versions[-1].files.values() for line in text.split("\n") if _OURS in line]
        logging = sum(any(call in line for call in _LOGS) for line in lines)
        return len(lines) - logging, logging


def found() -> tuple[str, ...]:
    """Names of all systems."""
    return tuple(sorted(path.parent.name for path in SYSTEMS.glob("*/system.toml")))


def read(name: str) -> System:
    """Raises HistoryError for a folder that cannot be read or patched."""
    folder = SYSTEMS / name
    try:
        told = tomllib.loads((folder / "system.toml").read_text(encoding="utf-8"))
        return System(
            name=name,
            title=told["title"],
            objective=told["objective"],
            data=told["data"],
            evaluation=told["evaluation"],
            paper_size=told["paper_size"],
            script=told["script"],
            imports=tuple(told["imports"]),
            arguments=tuple(told.get("arguments", ())),
            statements=tuple(map(_statement, told["statements"])),
            versions=_versions(folder),
        )
    except (KeyError, OSError, ValueError) as error:
        raise HistoryError(f"{folder}: {error!r}") from error


def _statement(told: Mapping[str, Any]) -> Statement:
    places = [StatementPlace(p["file"], p["after"], p["text"], p.get("until")) for p in told["places"]]
    return Statement(told["name"], LoopLevel(told["level"]), tuple(places))


def _versions(folder: Path) -> tuple[SystemVersion, ...]:
    with tempfile.TemporaryDirectory(prefix="flor-history-") as name:
        root = Path(name)
        for file, text in _texts(folder / "base").items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text, encoding="utf-8")
        found = [SystemVersion(1, _FIRST, _texts(root))]
        for number, patch in enumerate(sorted(folder.glob("*.patch")), start=2):
            _git(root, ["apply", "--whitespace=nowarn", str(patch)])
            found.append(SystemVersion(number, patch.stem.partition("-")[2], _texts(root)))
    return tuple(found)


def _texts(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def _git(root: Path, arguments: Sequence[str]) -> None:
    # apart from any repository that the folder for temporary files may lie in
    done = subprocess.run(
        ["git", f"--git-dir={root / '.none'}", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise HistoryError(f"{' '.join(arguments)}: {done.stderr.strip()}")

"""Scripts of tests/cases/trust, as they are recorded and as they are with hindsight statements.

A case is a file NAME.py, which is train.py after the lines of preamble.txt if there is one, or a folder NAME of files
as they are. A line that begins with "#H " is a hindsight statement: a comment while the script is recorded, a
statement in the newest code and in the run that says what is right. There, too, a line that begins with "#R " stands
in place of the one after it. Conditions are JSON, in a line `# Conditions: {...}` or in conditions.json:

    files       more files: path -> text
    folder      the repository, below the folder that the files are in (default ".")
    commands    how it is run, one version each; PY is the interpreter (default ["PY train.py"])
    names       features that are asked for (default: all that stand in hindsight statements)
    where       conditions, asked for one after the other; null asks for everything (default [null])
    warned      true where values cannot be had: then each must be missing or wrong with a sentence that says so
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[2] / "tests" / "cases" / "trust"
STATE = CASES.parent / "state"
_HINDSIGHT_LINE = re.compile(r"^#[HR] .*\n", re.MULTILINE)
_REPLACED = re.compile(r"^#R (.*\n).*\n", re.MULTILINE)
_NAME = re.compile(r"""^#H .*?\blog\(\s*["'](\w+)["']""", re.MULTILINE)
_LOG = re.compile(r'^( *)flor\.log\("(\w+)", (.*)\)$', re.MULTILINE)
_CONDITIONS = "# Conditions: "


@dataclass(frozen=True, slots=True)
class TrustCase:
    name: str
    marked: Mapping[str, str]  # files, with hindsight statements behind "#H "
    names: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]  # what follows the interpreter
    where: tuple[str | None, ...]
    folder: str
    warned: bool

    def recorded(self) -> dict[str, str]:
        """The files without the statements."""
        return {path: _HINDSIGHT_LINE.sub("", text) for path, text in self.marked.items()}

    def newest(self) -> dict[str, str]:
        """The files with them."""
        return {
            path: re.sub("^#H ", "", _REPLACED.sub(r"\1", text), flags=re.MULTILINE)
            for path, text in self.marked.items()
        }


def every_case(folder: Path = CASES) -> Sequence[TrustCase]:
    """Those of a folder, by name."""
    found = [_of_file(path) for path in folder.glob("*.py")]
    found += [_of_folder(path) for path in folder.iterdir() if path.is_dir()]
    return sorted(found, key=lambda case: case.name)


def state_cases() -> Sequence[TrustCase]:
    """Scripts of tests/cases/state. Each logs what its state makes of itself, and in hindsight does so again."""
    found = []
    for path in sorted(STATE.glob("*/*.py")):
        text = _LOG.sub(r'\g<0>\n#H \1flor.log("again_\2", \3)', path.read_text(encoding="utf-8"))
        found.append(_case(f"{path.parent.name}/{path.stem}", {"train.py": text}, {}))
    return found


def _of_file(path: Path) -> TrustCase:
    text = path.read_text(encoding="utf-8")
    told = [line.removeprefix(_CONDITIONS) for line in text.splitlines() if line.startswith(_CONDITIONS)]
    preamble = path.parent / "preamble.txt"
    before = preamble.read_text(encoding="utf-8") if preamble.exists() else ""
    return _case(path.stem, {"train.py": before + text}, json.loads(told[0]) if told else {})


def _of_folder(folder: Path) -> TrustCase:
    files = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "conditions.json" and "__pycache__" not in path.parts
    }
    told = folder / "conditions.json"
    return _case(folder.name, files, json.loads(told.read_text(encoding="utf-8")) if told.exists() else {})


def _case(name: str, files: Mapping[str, str], conditions: Mapping[str, Any]) -> TrustCase:
    unknown = conditions.keys() - {"files", "folder", "commands", "names", "where", "warned"}
    if unknown:
        raise ValueError(f"{name}: unknown conditions {sorted(unknown)}")
    names = [found for text in files.values() for found in _NAME.findall(text)]
    commands = [shlex.split(command) for command in conditions.get("commands", ["PY train.py"])]
    return TrustCase(
        name,
        {**files, **conditions.get("files", {})},
        tuple(conditions.get("names", dict.fromkeys(names))),
        tuple(tuple(words[1:]) for words in commands),
        tuple(conditions.get("where", [None])),
        conditions.get("folder", "."),
        conditions.get("warned", False),
    )

"""The golden statements of tests/cases/sql: a file each, with what it needs and answers in some worlds.

`python -m tests.relational.golden` writes down again what each needs and answers, if that is what full acquisition
gives; `python -m tests.relational.golden NAME "SELECT ..."` begins a file. Look at what has changed before you keep it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.relational.acquiring import Acquired, acquire, connection, holds_if_redrawn
from tests.relational.worlds import Gap, World

CASES = Path(__file__).parents[1] / "cases" / "sql"
WORLDS = (0, 1, 2)
_REDRAWN = (101,)


@dataclass(frozen=True, slots=True)
class Golden:
    """One file."""

    path: Path
    statement: str
    worlds: dict[str, Any]  # seed -> what is needed and answered

    @property
    def is_ordered(self) -> bool:
        """Whether the order of rows is part of the answer."""
        return bool(json.loads(self.path.read_text(encoding="utf-8")).get("ordered"))


def read() -> list[Golden]:
    """All of them."""
    found = []
    for path in sorted(CASES.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found.append(Golden(path, content["statement"], content["worlds"]))
    return found


def told(gaps: Iterable[Gap]) -> dict[str, list[str]]:
    """Places by column, as files have them."""
    found: dict[str, list[str]] = {}
    for name, version, epoch in sorted(gaps, key=lambda gap: (gap[0], gap[1], gap[2] or 0)):
        found.setdefault(name, []).append(version if epoch is None else f"{version} {epoch}")
    return found


def answered(result: Acquired, ordered: bool) -> list[list[object]]:
    """Rows, as files have them."""
    rows = [[float(f"{value:.9g}") if isinstance(value, float) else value for value in row] for row in result.answer]
    return rows if ordered else sorted(rows, key=repr)


def problem(database: duckdb.DuckDBPyConnection, text: str, world: World, result: Acquired, ordered: bool) -> str:
    """What is wrong with an acquired answer; nothing: it is that of full acquisition, whatever the other gaps hold."""
    if not (result.is_right_in_order if ordered else result.is_right):
        return f"answers {result.answer}, and with everything acquired {result.truth}"
    for seed in _REDRAWN:
        if not holds_if_redrawn(database, text, world, result, seed):
            return f"has another answer if the gaps that are left are redrawn ({seed})"
    return ""


def _write(path: Path, statement: str, ordered: bool) -> str:
    worlds = {}
    database = connection()
    for seed in WORLDS:
        world = World(seed)
        result = acquire(database, statement, world)
        if wrong := problem(database, statement, world, result, ordered):
            return f"{path.stem} {wrong}"
        about = {"gaps": len(result.gaps), "needed": told(result.filled), "answer": answered(result, ordered)}
        worlds[str(seed)] = about | ({"fallback": result.fallback} if result.fallback else {})
    shown = [f'  "{seed}": {json.dumps(about, ensure_ascii=False)}' for seed, about in worlds.items()]
    head = f'{{"statement": {json.dumps(statement, ensure_ascii=False)},\n'
    head += '"ordered": true,\n' if ordered else ""
    path.write_text(head + '"worlds": {\n' + ",\n".join(shown) + "\n}}\n", encoding="utf-8")
    return ""


def main(arguments: list[str]) -> int:
    if arguments:
        name, statement = arguments
        problems = [_write(CASES / f"{name}.json", statement, "ORDER BY" in statement.rsplit(")", 1)[-1])]
    else:
        problems = [_write(golden.path, golden.statement, golden.is_ordered) for golden in read()]
    sys.stdout.write("\n".join(filter(None, problems)))
    return int(any(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Where a statement ended up, in terms of the older version, so that two ways to place it can be compared.

    a = f()
    <- here, or      the same to a statement that has nothing to do with `b`
    b = g()
    <- here

What may live here: reading places off patched sources, comparing them, and words for their difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flor_ray.propagation.histories.insertions import lines_above, statement_text
from flor_ray.propagation.reading.effects import MODES, TRAINING
from flor_ray.propagation.reading.statements import find_statements
from flor_ray.records import Placement

_LOG = re.compile(r"\s*(\w+\.)*\w+\(")  # begins with a call: the one that logs
_WORD = re.compile(r"[^\W\d]\w*")
_LEAVES = frozenset({"return", "raise", "break", "continue", "yield", "await", "exit", "import", "global", "nonlocal"})


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in an older file."""

    path: str
    above: int  # lines of the older file above it
    text: str  # of the statement, without the indentation of its first line
    present: bool  # it was there already
    indent: str


def spot_of(path: str, stages: Sequence[str], patched: str, placement: Placement) -> Spot:
    """Where a placement in a patched source is in the first of its earlier stages, each of which has fewer lines."""
    number = placement.placed_line
    lines = patched.split("\n")
    line = lines[number - 1] if 1 <= number <= len(lines) else ""
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    above, later = number - 1, patched
    for stage in reversed(stages):
        above, later = lines_above(stage, later, above + 1), stage
    return Spot(path, above, statement_text(patched, number), placement.present, indent)


def equivalent(older: str, one: Spot, other: Spot) -> bool:
    """Whether the statement can be moved from one spot to the other over lines that share no word with it.

    The lines between belong to the same block, do not leave it, and do not train: what steps, seeds or switches a model
    is not seen in the names. Log statements are passed freely: they change nothing.
    """
    if (one.path, one.text, one.present, one.indent) != (other.path, other.text, other.present, other.indent):
        return False
    first, last = sorted((one.above, other.above))
    lines = older.split("\n")
    logs = _lone_logs(older, lines) if first < last else set()
    between = [
        line
        for number, line in enumerate(lines[first:last], first + 1)
        if line.strip() and not line.lstrip().startswith("#") and number not in logs
    ]
    words = frozenset(_WORD.findall("\n".join(between)))
    if words & (_LEAVES | TRAINING | MODES) or words & frozenset(_WORD.findall(one.text)):
        return False
    return all(line.startswith(one.indent) for line in between)


def _lone_logs(source: str, lines: Sequence[str]) -> set[int]:
    """Lines of statements that do nothing but log."""
    found = (s for s in find_statements(source, "") if _LOG.match(lines[s.line - 1]))
    return {number for statement in found for number in range(statement.line, statement.end_line + 1)}


def difference(direct: Spot, other: Spot) -> str:
    """What the other way says, as the end of a sentence that says where the direct one has it."""
    if other.present and not direct.present:
        return f"line {other.above + 1} of the older version turns out to be it"
    if (direct.path, direct.above, direct.present) == (other.path, other.above, other.present):
        return f"it becomes `{other.text}`"
    return f"after line {other.above}" + (f" of {other.path}" if direct.path != other.path else "")

"""Two texts beside each other, line by line. Pure.

same      a line that both have
changed   a line that became another one
removed   only the left one has it
added     only the right one has it
skipped   so many lines that both have, left out between differences
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

AROUND = 4  # lines that both have, shown before and after a difference
_LIKE = 0.5  # lines less alike than this were not changed into each other: one went, another came
MOST_LINES = 20_000  # of a file that is compared line by line


@dataclass(frozen=True, slots=True)
class LinePair:
    """A row of two texts beside each other. Lines count from 1."""

    kind: str
    left: int | None = None
    right: int | None = None
    left_text: str = ""
    right_text: str = ""
    skipped: int = 0


def pairs(left: str, right: str, around: int | None = AROUND) -> list[LinePair]:
    """The rows; `around`: None shows all lines that both have."""
    one, other = left.splitlines(), right.splitlines()
    if max(len(one), len(other)) > MOST_LINES:
        return [LinePair("skipped", skipped=max(len(one), len(other)))]
    found: list[LinePair] = []
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            found += [LinePair("same", a + i + 1, c + i + 1, one[a + i], other[c + i]) for i in range(b - a)]
        else:
            found += _changed(one, other, range(a, b), range(c, d))
    return found if around is None else _folded(found, around)


def _changed(one: list[str], other: list[str], left: range, right: range) -> list[LinePair]:
    """Lines that stand for each other beside each other, as far as they are alike."""
    found: list[LinePair] = []
    paired = min(len(left), len(right))
    for a, b in zip(left[:paired], right[:paired], strict=True):
        if difflib.SequenceMatcher(None, one[a], other[b]).quick_ratio() >= _LIKE:
            found.append(LinePair("changed", a + 1, b + 1, one[a], other[b]))
        else:
            found.append(LinePair("removed", left=a + 1, left_text=one[a]))
            found.append(LinePair("added", right=b + 1, right_text=other[b]))
    found += [LinePair("removed", left=a + 1, left_text=one[a]) for a in left[paired:]]
    found += [LinePair("added", right=b + 1, right_text=other[b]) for b in right[paired:]]
    return found


def _folded(rows: list[LinePair], around: int) -> list[LinePair]:
    """The rows without what is far from any difference."""
    near = set[int]()
    for number, row in enumerate(rows):
        if row.kind != "same":
            near.update(range(number - around, number + around + 1))
    found: list[LinePair] = []
    skipped = 0
    for number, row in enumerate(rows):
        if number in near:
            if skipped:
                found.append(LinePair("skipped", skipped=skipped))
            found.append(row)
            skipped = 0
        else:
            skipped += 1
    return [*found, LinePair("skipped", skipped=skipped)] if skipped else found

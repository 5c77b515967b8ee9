"""One question to a propagation, and the answer that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Score(Enum):
    """What an answer is worth. EXACT and EQUIVALENT are right where something is to be inserted, DECLINED where not."""

    EXACT = "exact"
    EQUIVALENT = "equivalent"
    WRONG = "wrong"
    REFUSED = "refused"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Case:
    """Carry the statement at `line` of `newer` to `older`; `expected` is what must come out, None: nothing may."""

    stratum: str
    newer: str
    older: str
    line: int
    expected: str | None
    origin: str = ""  # where it comes from: repository, file, commits; or seed and edits
    hard: bool = False  # its neighbours or the kinds of the blocks around it differ between the versions
    renamed: bool = False  # the statement differs between the versions, by names only
    distance: int = 0  # commits between the versions, 0 for synthetic ones


@dataclass(frozen=True, slots=True)
class Answer:
    """What a propagation says: a source with the statement in it, or None if it refuses or sees it there already."""

    source: str | None
    confidence: float = 0.0
    why: str = ""
    present: bool = False  # it says that the statement is there already


Propagator = Callable[[str, str, int], Answer]
"""newer, older, line of the statement in newer -> answer."""

"""What statements may name: relations, and which of their columns have gaps. Values only.

A gap is a value that hindsight logging can give and that nobody has acquired yet. A relation with such columns has a
twin, `flagged`: the same rows and columns, and beside them a boolean for each column with gaps. Users' statements run
on the relation; statements that only look for what is needed run on its twin.

Whether a row exists can be a gap too. Where it is not known that all steps of an epoch have rows, and a step-level
column has a gap there, all rows of that epoch "open": filling the gap may put more rows beside them, or in the place of
the one that has no step. A view that has no row at all for such an epoch (one of steps only) has one without a step in
its twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that statements may name."""

    name: str
    columns: tuple[str, ...]  # as SELECT * shows them
    address: tuple[str, ...] = ()  # those of version, epoch and step that say which value of a feature a row has
    flags: Mapping[str, str] = field(default_factory=dict)  # column with gaps -> boolean column of `flagged`
    flagged: str = ""  # the twin; "": no column has gaps
    opens: str = ""  # boolean column of `flagged`: a step-level gap may add rows where this one stands; "": none may
    adders: tuple[str, ...] = ()  # the columns whose gaps may add such rows
    numbered: tuple[
        str, ...
    ] = ()  # what such rows need not have in common: step, the loop's own name, step-level columns
    appears: bool = False  # `flagged` has rows without a step where the relation has none, and some may be added


@dataclass(frozen=True, slots=True)
class Requirement:
    """Places whose value of one column decides about an answer, as a statement to be run on what is known."""

    relation: str
    column: str
    sql: str  # its rows: the relation's address, each once
    why: str = ""  # in words, for EXPLAIN
    stage: int = 0  # it holds once nothing is needed at lower stages; before, it may name too many places or too few


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a statement lacks before its answer is that of full acquisition.

    The answer is that of full acquisition when no requirement has a row. Whoever acquires takes the lowest stage that
    has rows, fills those, and looks at all again; to fill several stages at once costs fewer rounds, and may cost more
    values.
    """

    needed: tuple[Requirement, ...]
    fallback: str = ""  # why all gaps of the columns that are named are needed; "": they are not

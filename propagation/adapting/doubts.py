"""Why a placement may be wrong. A placement's confidence is what is left of 1 after each doubt has taken its share.

Shares take a little more than fits 4 437 placements in histories of 65 public repositories, of most of which rules have
been read off (`bench/propagation.py --history CLONE ... --shares` fits any others; what was found is in bench/results/
propagation-shares-*). TORN takes what it is wrong for by itself; together with others it is wrong more often. What was
wrong once in 25 times or more often, or was met too seldom to say, takes over 0.1: below 0.9 users are told. A share of
0.5 and more is a refusal, by MIN_CONFIDENCE: those are set by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from math import prod


class Doubt(Enum):
    """A reason for doubt: the share that it takes, and what it means. RESIDUE is every placement's, whatever it is."""

    RESIDUE = 0.005, ""
    ONE_NEIGHBOUR = 0.01, "only one of its neighbours is in the older version"
    NO_NEIGHBOUR = 0.04, "none of its neighbours is in the older version"
    UNMAPPED_BLOCK = 0.03, "its block has no counterpart, only its direct neighbours have"
    LOST_BLOCK = 0.5, "its block has no counterpart"
    OTHER_HEADER = 0.55, "the condition or loop around it is another one"
    MORE_OFTEN = 0.101, "a condition or loop around it is in the newer version only"
    OPPOSITE_HEADER = 0.55, "the condition around it asks for the opposite"
    OTHER_FUNCTION = 0.55, "the function around it has another name, and little of it is the same"
    FACING_HEADER = 0.105, "the condition or loop around it is written otherwise, around the same code"
    CHANGED_HEADER = 0.3, "the condition or loop around it has changed much, or another one is more like it"
    FOLLOWED = 0.14, "its neighbour stands in another block of the older version"
    TORN = 0.101, "its neighbours stand in different blocks of the older version"
    WEAK_NEIGHBOUR = 0.02, "a neighbour differs between the versions"
    CROSSED = 0.6, "what stands beside it stands in another order in the older version"
    REORDERED = 0.3, "what stands beside it stands in another order, but all that it depends on does not"
    SOME_CROSSED = 0.101, "some code around it stands in another order in the older version"
    AMID_OTHERS = 0.01, "code that only the older version has stands at the same place"
    BETWEEN = 0.101, "code that only the older version has may change what it reads"
    SET_OUTSIDE = 0.101, "what it reads is set in a loop in one version, and before the loop in the other"
    UNDECIDED = 0.02, "neither neighbour has more in common with it"
    STATE = 0.55, "code that only the older version has changes the state of what it reads"
    REPLACED = 0.03, "code beside it was replaced"
    NAME = 0.101, "what one of its names is called in the older version is not certain"
    LEFT_OVER = 0.101, "a variable is another one's counterpart only because their names are alike"
    SAME_NAME = 0.04, "a variable is the same only because it has one name in both versions"
    FACING_NAME = 0.101, "a variable is the same only because it is bound in code that replaces the other's"
    SAME_USE = 0.101, "a variable is the same only because the same code reads it: it is made in another way"
    UNREAD = 0.6, "the older version does not use what it sets"
    STRANGE_ONCE = 0.101, "it uses a name that the newer version uses at one more place, and the older nowhere"
    STRANGE = 0.55, "it uses a name that the newer version uses elsewhere too, and the older nowhere"
    OTHER_PART = 0.15, "it runs in another part of the script"

    @property
    def share(self) -> float:
        """The part of the confidence that it takes, from 0 to 1."""
        return float(self.value[0])

    @property
    def words(self) -> str:
        """What it means, for users; "" if they are not told."""
        return str(self.value[1])


def confidence(doubts: Iterable[Doubt]) -> float:
    """1 without doubts."""
    return prod(1.0 - doubt.share for doubt in set(doubts))

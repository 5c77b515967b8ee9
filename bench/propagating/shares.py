"""What each doubt's share of the confidence has to be, from cases whose answer is known: a noisy-or, fitted by EM.

A placement is right if none of its doubts comes true, and each does so on its own: P(right) = product of (1 - share).
Of a wrong one nobody knows which doubt came true, so each is blamed in proportion to its share; what it is blamed for,
per placement that has it, is its next share. Doubts met in few placements are held to where they started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import prod

from flor_ray.propagation import propagate
from flor_ray.propagation.adapting.doubts import Doubt
from propagating.cases import Answer, Case, Score
from propagating.measuring import clear_caches
from propagating.scoring import score

ENOUGH = 15  # placements; what is met in fewer keeps the share that it has
_HELD = 4  # placements that stand for the share that was there before
_STEPS = 300
_MOST_REFUSED = 0.5  # a share of so much or more means refusal, and is only moved by hand


@dataclass(frozen=True, slots=True)
class Seen:
    """A placement whose truth is known: its doubts, and whether it was wrong."""

    doubts: Set[Doubt]
    wrong: bool


@dataclass(frozen=True, slots=True)
class Share:
    """What was found for one doubt."""

    name: str
    placements: int
    wrong: int
    before: float
    share: float  # that fits best; `before` if it was met in fewer than ENOUGH placements


def fit(seen: Sequence[Seen], start: dict[Doubt, float]) -> dict[Doubt, float]:
    """The share of each doubt that makes what was seen most likely."""
    kinds = Counter((frozenset(each.doubts), each.wrong) for each in seen)
    met = Counter(doubt for each in seen for doubt in each.doubts)
    shares = dict(start)
    for _ in range(_STEPS):
        blamed = {doubt: _HELD * start[doubt] for doubt in met}
        for (doubts, wrong), count in kinds.items():
            fails = 1 - prod(1 - shares[doubt] for doubt in doubts)
            for doubt in doubts if wrong else ():
                blamed[doubt] += count * shares[doubt] / fails
        shares.update({doubt: blamed[doubt] / (met[doubt] + _HELD) for doubt in met})
    return {doubt: shares[doubt] if met[doubt] >= ENOUGH else start[doubt] for doubt in start}


def measured(cases: Sequence[Case], jobs: int) -> list[Share]:
    """The shares that fit these cases, of all doubts, in the order of the table in doubts.py."""
    wanted = [case for case in cases if case.expected is not None]
    with ProcessPoolExecutor(jobs) as pool:
        seen = [each for each in pool.map(_seen, wanted, chunksize=8) if each is not None]
    start = {doubt: doubt.share for doubt in Doubt}
    found = fit([each for each in seen if not _is_refused(each)], start)
    return [
        Share(
            doubt.name,
            sum(doubt in each.doubts for each in seen),
            sum(doubt in each.doubts and each.wrong for each in seen),
            doubt.share,
            round(found[doubt], 3),
        )
        for doubt in Doubt
    ]


def _seen(case: Case) -> Seen | None:
    """The doubts of a placement, of refused ones too if a place was found."""
    clear_caches()
    result = propagate(case.newer, case.older, [case.line], min_confidence=0.0)
    if not result.placed or result.placed[0].present:
        return None
    words = {part.strip() for part in result.placed[0].why.split(";")}
    doubts = {doubt for doubt in Doubt if doubt.words in words} | {Doubt.RESIDUE}
    wrong = score(case, Answer(result.source, 1.0)) is Score.WRONG
    return Seen(frozenset(doubts), wrong)


def _is_refused(each: Seen) -> bool:
    return any(doubt.share >= _MOST_REFUSED for doubt in each.doubts)

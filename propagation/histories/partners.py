"""Which file of an older tree is the one that a newer tree has under another path.

    pinned > equal path > content
    content: those with the most common words -> likeness of their trees (profiles.py) + a little for the path
    chosen:  two files that are each other's best by a margin; what could be two files is neither

What may live here: choosing among files. Nothing here propagates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flor_ray.propagation.histories.profiles import common_words, file_likeness
from flor_ray.propagation.matching.similarity import dice

MIN_FILE_LIKENESS = 0.5
"""Likeness from which on two files of different paths may be one, as in git. Files of one repository score 0.1 to 0.2
(median of pairs in pytorch/examples, nanoGPT and cleanrl; its forked scripts up to 0.9), a file and itself 10 commits
before 0.75, 30 commits before 0.45: half of those are not found, which is better than finding forks."""

MAX_STRANGER_LIKENESS = 0.2
"""Below this, two files of one path have so little in common that another file may have had that content (git: -B)."""

PATH_WEIGHT = 0.3
"""What a path is worth beside the content: `src/train.py` is rather `train.py` (+0.2) than an equal `main.py`."""

MARGIN = 0.1
"""A candidate wins only by this much. Copies of one script, which are common, differ by less."""

MAX_SHORTLIST = 4
"""Files per newer file whose trees are compared. Parsing costs a hundred times what comparing sets of words does."""


@dataclass(frozen=True, slots=True)
class Partner:
    """The older file or definition that corresponds."""

    path: str
    likeness: float  # 1.0 where the path, or whoever asked, says it


@dataclass(frozen=True, slots=True)
class NoPartner:
    """Why nothing corresponds."""

    reason: str


def partners(
    newer: Mapping[str, str], older: Mapping[str, str], wanted: Collection[str], pinned: Mapping[str, str]
) -> dict[str, Partner | NoPartner]:
    """For each wanted newer path the older file that corresponds; no older file is given to two newer ones.

    Pins come first, then equal paths, then content. Costs a set of words for each file whose path is not in the
    other tree, and a parse for each of the few that are close.
    """
    found: dict[str, Partner | NoPartner] = {}
    taken = set(pinned.values())
    for path in sorted(wanted):
        if path in pinned:
            there = pinned[path] in older
            found[path] = Partner(pinned[path], 1.0) if there else NoPartner(f"the older version has no {pinned[path]}")
        elif path in older and path not in taken:
            found[path] = Partner(path, 1.0)
    free_older = {path: older[path] for path in sorted(older) if path not in newer and path not in taken}
    by_path = [path for path in found if path not in pinned] if free_older else []
    strangers = [path for path in by_path if file_likeness(newer[path], older[path]) < MAX_STRANGER_LIKENESS]
    rest = [path for path in sorted(wanted) if path not in found] + strangers
    lost = {path for path in newer if path not in older and path not in pinned}
    choice = _PartnerChoice({path: newer[path] for path in sorted({*lost, *rest})}, free_older, rest)
    for path in rest:
        chosen = choice.of(path)
        if path not in found or isinstance(chosen, Partner):
            found[path] = chosen
    return found


class _PartnerChoice:
    """One-to-one choice among free files: a pair is made if each is the other's best by a margin, best pairs first."""

    def __init__(self, newer: Mapping[str, str], older: Mapping[str, str], wanted: Collection[str]) -> None:
        self._scores: dict[tuple[str, str], tuple[float, float]] = {}  # (newer, older) -> (with path, likeness)
        self._chosen: dict[str, Partner] = {}
        lists = {path: _closest(newer[path], older) for path in wanted}
        rivals = {path: _closest(older[path], newer) for path in sorted({p for each in lists.values() for p in each})}
        pairs = {(path, other) for path, each in lists.items() for other in each}
        pairs |= {(path, other) for other, each in rivals.items() for path in each}
        for path, other in sorted(pairs):
            likeness = file_likeness(newer[path], older[other])
            if likeness >= MIN_FILE_LIKENESS:
                self._scores[path, other] = likeness + PATH_WEIGHT * _path_likeness(path, other), likeness
        self._decide()

    def of(self, path: str) -> Partner | NoPartner:
        if path in self._chosen:
            return self._chosen[path]
        free = set(self._scores) - {pair for pair in self._scores if pair[1] in self._olders()}
        own = sorted((pair for pair in free if pair[0] == path), key=self._order)
        if not own:
            return NoPartner(f"the older version has no file that corresponds to {path}")
        if len(own) > 1 and self._scores[own[1]][0] > self._scores[own[0]][0] - MARGIN:
            first, second = sorted((own[0][1], own[1][1]))
            return NoPartner(f"two files of the older version could be {path}: {first} and {second}")
        others = sorted({pair[0] for pair in free if pair[1] == own[0][1]} - {path})
        return NoPartner(f"{own[0][1]} of the older version could be {path}, or {' or '.join(others)}")

    def _order(self, pair: tuple[str, str]) -> tuple[float, tuple[str, str]]:
        return -self._scores[pair][0], pair

    def _olders(self) -> set[str]:
        return {partner.path for partner in self._chosen.values()}

    def _decide(self) -> None:
        free = sorted(self._scores, key=self._order)
        while True:
            sure = next((pair for pair in free if self._wins(pair, free)), None)
            if sure is None:
                return
            self._chosen[sure[0]] = Partner(sure[1], self._scores[sure][1])
            free = [pair for pair in free if pair[0] != sure[0] and pair[1] != sure[1]]

    def _wins(self, pair: tuple[str, str], free: list[tuple[str, str]]) -> bool:
        least = self._scores[pair][0] - MARGIN
        rivals = (each for each in free if each != pair and (each[0] == pair[0] or each[1] == pair[1]))
        return all(self._scores[each][0] <= least for each in rivals)


def _closest(source: str, others: Mapping[str, str]) -> list[str]:
    """Paths of the texts that share most words with a source."""
    ranked = sorted((-common_words(source, text), path) for path, text in others.items())
    return [path for likeness, path in ranked[:MAX_SHORTLIST] if likeness < 0]


def _path_likeness(newer: str, older: str) -> float:
    ours, theirs = set(newer.split("/")), set(older.split("/"))
    return dice(len(ours & theirs), len(ours), len(theirs))

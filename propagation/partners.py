"""Which file, and which definition, of an older tree is the one that a newer tree has under another path or name.

    words      cheap: the sets of words of two files; only the few best are looked at again
    forms      the statements of a syntax tree, blind to the names of variables (so a renaming hides nothing)
    likeness   the mean of both, 0 to 1
    decision   a partner, or why there is none: two that are as good as each other are no partner

What may live here: comparing texts and choosing among them. Nothing here propagates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flor_ray.propagation.parse import decode, parse
from flor_ray.propagation.similarity import dice
from flor_ray.propagation.thresholds import MAX_LINES
from flor_ray.propagation.tree import SCOPES, Node, Tree

MIN_FILE_LIKENESS = 0.5
"""Likeness from which on two files of different paths may be one. git's default for renames is 50 %; two unrelated
training scripts score 0.2 to 0.35, since all of them import torch and call `loss.backward()`."""

MAX_STRANGER_LIKENESS = 0.2
"""Below this, two files of one path have so little in common that another file may have had that content (git: -B)."""

PATH_WEIGHT = 0.3
"""What a path is worth beside the content: `src/train.py` is rather `train.py` (+0.2) than `main.py` of equal content."""

MARGIN = 0.1
"""A candidate wins only by this much. Copies of one script, which are common, differ by less."""

MIN_DEFINITION_LIKENESS = 0.3
"""The same for two definitions of one name path: the name says it, the body must only not deny it."""

MIN_HOMONYM_LIKENESS = 0.5
"""The same if only the last name is equal, as for a method that has gone to another class."""

MAX_SHORTLIST = 4
"""Files per newer file whose trees are compared. Parsing costs a hundred times what comparing sets of words does."""

MAX_CHARACTERS = 1_000_000
"""Longer files are data, not code; nothing is compared with them."""

_WORD = re.compile(r"[^\W\d]\w*")
_DEFINITIONS = SCOPES - {"module"}


@dataclass(frozen=True, slots=True)
class Partner:
    """The older file or definition that corresponds."""

    path: str
    likeness: float  # 1.0 where the path, or whoever asked, says it


@dataclass(frozen=True, slots=True)
class NoPartner:
    """Why nothing corresponds."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Profile:
    """What a text is compared by. Hashes are of this process: good for equality, never for order."""

    forms: Counter[int]
    words: Counter[str]


# --- files --------------------------------------------------------------------------------------------------------


def partners(
    newer: Mapping[str, str], older: Mapping[str, str], wanted: Collection[str], pinned: Mapping[str, str]
) -> dict[str, Partner | NoPartner]:
    """For each wanted newer path the older file that corresponds; no older file is given to two newer ones.

    Pins come first, then equal paths, then content. Costs one set of words per file whose path is not in the other tree,
    and a parse for each of the few that are close.
    """
    found: dict[str, Partner | NoPartner] = {}
    for path in sorted(wanted):
        if path in pinned:
            there = pinned[path] in older
            found[path] = Partner(pinned[path], 1.0) if there else NoPartner(f"the older version has no {pinned[path]}")
        elif path in older:
            found[path] = Partner(path, 1.0)
    taken = set(pinned.values())
    free_older = [path for path in sorted(older) if path not in newer and path not in taken]
    free_newer = [path for path in sorted(newer) if path not in older and path not in pinned]
    if not free_older:
        rest: list[str] = []
    else:
        strangers = [path for path in sorted(wanted) if path in older and path not in pinned and path in newer]
        strangers = [path for path in strangers if _are_strangers(newer[path], older[path])]
        rest = [path for path in sorted(wanted) if path in newer and path not in found] + strangers
        free_newer = sorted({*free_newer, *strangers})
    chosen = _Choice({path: newer[path] for path in free_newer}, {path: older[path] for path in free_older}, rest)
    for path in sorted(wanted):
        if path not in found or (path in rest and isinstance(chosen.of(path), Partner)):
            found[path] = chosen.of(path)
    return found


class _Choice:
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


def file_likeness(newer: str, older: str) -> float:
    """How much of two files is the same, 0 to 1."""
    if newer == older:
        return 1.0
    if not (_is_comparable(newer) and _is_comparable(older)):
        return 0.0
    return _likeness(_file_profile(newer), _file_profile(older))


def _are_strangers(newer: str, older: str) -> bool:
    return _common_words(newer, older) < MAX_STRANGER_LIKENESS and file_likeness(newer, older) < MAX_STRANGER_LIKENESS


def _closest(source: str, others: Mapping[str, str]) -> list[str]:
    """Paths of the texts that share most words with a source."""
    ranked = sorted((-_common_words(source, text), path) for path, text in others.items())
    return [path for likeness, path in ranked[:MAX_SHORTLIST] if likeness < 0]


def _common_words(newer: str, older: str) -> float:
    ours, theirs = _words(newer), _words(older)
    return dice(len(ours & theirs), len(ours), len(theirs))


def _path_likeness(newer: str, older: str) -> float:
    ours, theirs = set(newer.split("/")), set(older.split("/"))
    return dice(len(ours & theirs), len(ours), len(theirs))


# --- definitions --------------------------------------------------------------------------------------------------


def definitions_around(source: str, line: int) -> tuple[tuple[str, ...], Node | None]:
    """Names of the functions and classes that a line is in, outermost first; and the innermost of them."""
    tree = parse(source)
    around: list[Node] = []
    for node in tree.nodes:  # in preorder: outer ones first
        if node.kind in _DEFINITIONS and tree.line(node.start) <= line <= tree.last_line(node):
            around.append(node)
    return tuple(_name(node) for node in around), around[-1] if around else None


def defines(source: str, names: tuple[str, ...]) -> bool:
    """Whether a source has a definition with this path of names."""
    return any(found == names for found, _ in _definitions(parse(source)))


def definition_partner(
    newer: str, line: int, older: Mapping[str, str], present: str | None
) -> tuple[tuple[str, ...], Partner | NoPartner | None]:
    """The older file to which the definition around a line has gone, and the definition's names.

    `present` is the text of the file that corresponds; definitions that it has have gone nowhere. Of a method both its
    class and it alone may have gone, so the longest path of names that some file has decides. None: no file has any.
    """
    names, node = definitions_around(newer, line)
    tree = parse(newer)
    while names and node is not None and not (present is not None and defines(present, names)):
        found = _homes(tree, node, names, older)
        if found is not None:
            return names, found
        node = next((each for each in node.ancestors() if each.kind in _DEFINITIONS), None)
        names = names[:-1]
    return names, None


def _homes(tree: Tree, node: Node, names: tuple[str, ...], older: Mapping[str, str]) -> Partner | NoPartner | None:
    profile = _profile(tree, node)
    scores: list[tuple[float, str]] = []
    for path, source in sorted(older.items()):
        if names[-1] not in source or not _is_comparable(source):
            continue
        other = parse(source)
        for found, definition in _definitions(other):
            if found[-1] == names[-1] and definition.kind == node.kind:
                likeness = _likeness(profile, _profile(other, definition))
                if likeness >= (MIN_DEFINITION_LIKENESS if found == names else MIN_HOMONYM_LIKENESS):
                    scores.append((likeness, path))
    if not scores:
        return None
    best, path = max(scores, key=lambda each: (each[0], each[1]))
    rivals = sorted({other for likeness, other in scores if likeness > best - MARGIN})
    if len(rivals) > 1:
        return NoPartner(f"`{'.'.join(names)}` could be that of {' or '.join(rivals)} in the older version")
    return Partner(path, best)


def _definitions(tree: Tree) -> Iterator[tuple[tuple[str, ...], Node]]:
    paths: dict[int, tuple[str, ...]] = {}
    for node in tree.nodes:
        if node.kind in _DEFINITIONS:
            outer = next((each for each in node.ancestors() if each.kind in _DEFINITIONS), None)
            paths[node.index] = (*(paths[outer.index] if outer is not None else ()), _name(node))
            yield paths[node.index], node


def _name(node: Node) -> str:
    name = node.child("name")
    return name.label if name is not None else ""


# --- profiles -----------------------------------------------------------------------------------------------------


def _is_comparable(source: str) -> bool:
    return len(source) <= MAX_CHARACTERS and source.count("\n") <= MAX_LINES


@lru_cache(maxsize=2048)
def _words(source: str) -> frozenset[str]:
    return frozenset(_WORD.findall(source)) if _is_comparable(source) else frozenset()


@lru_cache(maxsize=256)
def _file_profile(source: str) -> _Profile:
    tree = parse(source)
    return _profile(tree, tree.root)


def _profile(tree: Tree, node: Node) -> _Profile:
    """Of a compound statement only the header counts: what is in its block counts by itself."""
    forms: Counter[int] = Counter()
    for each in tree.subtree(node):
        if each.is_statement:
            parts = (c.shape for c in each.children if c.kind != "block" and not c.kind.endswith("_clause"))
            forms[hash((each.kind, each.label, *parts))] += 1
    return _Profile(forms, Counter(_WORD.findall(decode(tree.text(node)))))


def _likeness(newer: _Profile, older: _Profile) -> float:
    forms = dice((newer.forms & older.forms).total(), newer.forms.total(), older.forms.total())
    words = dice((newer.words & older.words).total(), newer.words.total(), older.words.total())
    return (forms + words) / 2

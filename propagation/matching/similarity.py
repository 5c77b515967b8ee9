"""How alike two subtrees are: dice coefficients. Nothing here decides what is matched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from collections.abc import Mapping as Lookup
from difflib import SequenceMatcher
from functools import lru_cache
from types import MappingProxyType

from flor_ray.propagation.matching.mapping import Mapping
from flor_ray.propagation.reading.effects import MODES, TRAINING, called_name
from flor_ray.propagation.reading.tree import Node, Tree

Features = tuple[Iterable[tuple[int, str]], Iterable[tuple[int, str]]]
"""Of the newer and the older tree: start of each log statement, and what it logs."""


_STATE_CHANGES = TRAINING | MODES
_ALIKE = 0.6  # of the letters of two names
_MAX_LETTERS = 400  # of both: a dictionary's key may be a whole text, and is no name then
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_]+")
_LONG_NAME = 5  # found within another by no chance
_SHORTEST_NAME = 3  # `l` is in every other name


def dice(common: float, left: float, right: float) -> float:
    """2 |A and B| / (|A| + |B|), 0 for two empty sets."""
    return 2.0 * common / (left + right) if left + right else 0.0


@lru_cache(maxsize=4096)
def alike(left: str, right: str) -> bool:
    """Whether two names have most of their letters in common: `data_url` and `url`, `optimizer` and `opt`.

    Where they have a word in common, the other words have to be alike: `train_data` is not `test_data`.
    """
    left, right = left.strip("_").lower(), right.strip("_").lower()
    mine, theirs = words_of(left), words_of(right)  # by now only those that `_` parts
    if min(len(left), len(right)) < _SHORTEST_NAME:
        return left == right != ""
    if _is_within(left, right) or _is_within(right, left):
        return True
    if len(left) + len(right) > _MAX_LETTERS:
        return False
    common = mine & theirs
    if common:
        return mine <= theirs or all(any(_alike_letters(a, b) for b in mine - common) for a in theirs - common)
    return _alike_letters(left, right)


def _is_within(short: str, long: str) -> bool:
    """Whether a name is a part of another: a short one at the beginning of a word, as `obs` is not in `log_probs`."""
    return short in long and (len(short) >= _LONG_NAME or f"_{short}" in f"_{long}")


def words_of(name: str) -> Set[str]:
    """The words that a name is made of: `train` and `data` of `train_data`, and of `TrainData`."""
    if len(name) > _MAX_LETTERS:
        return frozenset()
    return frozenset(word.lower() for word in _WORD.findall(name))


def have_one_spelling(left: str, right: str) -> bool:
    """Whether two names are made of the same letters or the same words: `nullContext` and
    `null_context`, `loss_1_critic` and `critic_loss_1`."""
    if len(_letters(left)) != len(_letters(right)) or min(len(left), len(right)) < _SHORTEST_NAME:
        return False
    return _letters(left) == _letters(right) or words_of(left) == words_of(right)


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _alike_letters(left: str, right: str) -> bool:
    if left.startswith(right) or right.startswith(left):
        return True
    if min(len(left), len(right)) < _LONG_NAME and left[:1] != right[:1]:
        return False  # an abbreviation begins as what it stands for: `img` is `image`, `out` is not in `counts`
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    return matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE


def anchor_dice(mapping: Mapping, newer: Node, older: Node) -> float:
    """GumTree's container similarity: the part of the descendants of both that are linked to each other."""
    return dice(_common(mapping, newer, older), newer.size - 1, older.size - 1)


def _common(mapping: Mapping, newer: Node, older: Node) -> int:
    """Linked pairs below both. The smaller of the two is looked through; if the other is all of its tree, by count."""
    small, large = (newer, older) if newer.size <= older.size else (older, newer)
    partners = mapping.partners(newer) if small is newer else mapping.newer_partners(older)
    if large.parent is None:
        return len(partners) - partners.count(None) - partners.count(large)
    first, last = large.index, large.index + large.size
    return sum(1 for partner in partners if partner is not None and first < partner.index < last)


class Likeness:
    """Similarity of two statements by text and form, with the words of each counted once."""

    def __init__(self, newer: Tree, older: Tree, features: Features = ((), ())) -> None:
        self._trees = newer, older
        self._features = dict(features[0]), dict(features[1])
        self._words: tuple[dict[int, Counter[str]], dict[int, Counter[str]]] = {}, {}
        self._forms: tuple[dict[int, Counter[str]], dict[int, Counter[str]]] = {}, {}
        self._known: dict[tuple[int, int], float] = {}  # every phase asks again about what is left over

    def words(self, newer: Node, older: Node) -> float:
        """Dice of the leaves' labels."""
        return _overlap(self._count(0, newer)[0], self._count(1, older)[0])

    def of(self, newer: Node, older: Node) -> float:
        """0 (nothing in common, or not comparable) to 1 (isomorphic). Same form but other names: above 0.6."""
        if newer.fingerprint == older.fingerprint:
            return 1.0
        if not _comparable(newer, older):
            return 0.0
        key = (newer.index, older.index)
        if key not in self._known:
            self._known[key] = self._measured(newer, older)
        return self._known[key]

    @property
    def effort(self) -> int:
        """How many pairs have been measured so far: the costly part of a matching."""
        return len(self._known)

    def _measured(self, newer: Node, older: Node) -> float:
        if self._features[0].get(newer.start) != self._features[1].get(older.start):
            return 0.0  # log statements of different features are different statements, however alike
        if _state_change(newer) != _state_change(older):
            return 0.0  # `net.eval()` is not `net.train()`, whatever else they share
        left, right = self._count(0, newer), self._count(1, older)
        words = _overlap(left[0], right[0])
        if newer.shape == older.shape:
            return 0.6 + 0.4 * words
        return 0.6 * words + 0.4 * _overlap(left[1], right[1]) if words else 0.3 * _overlap(left[1], right[1])

    def _count(self, side: int, node: Node) -> tuple[Counter[str], Counter[str]]:
        words, forms = self._words[side], self._forms[side]
        if node.index not in words:
            below = self._trees[side].subtree(node)
            words[node.index] = Counter(each.label for each in below if not each.children)
            forms[node.index] = Counter(each.kind for each in below if each.children)
        return words[node.index], forms[node.index]


def _state_change(statement: Node) -> str:
    """The method that a statement calls for what it does to an object's state, or ""."""
    call = statement.children[0] if statement.kind == "expression_statement" and statement.children else None
    name = called_name(call) if call is not None and call.kind == "call" else ""
    return name if name in _STATE_CHANGES else ""


def _comparable(newer: Node, older: Node) -> bool:
    if newer.kind != older.kind:
        return False
    if newer.kind != "expression_statement":
        return True
    return not newer.children or not older.children or newer.children[0].kind == older.children[0].kind


def _overlap(left: Counter[str], right: Counter[str]) -> float:
    if len(left) > len(right):
        left, right = right, left
    common = 0
    for word, count in left.items():
        other = right.get(word)
        if other is not None:
            common += count if count < other else other
    return dice(common, left.total(), right.total())


def _flag(owner: Node) -> str:
    """The name of the flag that is all that a condition asks for: `use_ema` of `if not args.use_ema`; "" for others."""
    condition = owner.child("condition")
    if condition is not None and condition.kind == "not_operator" and condition.children:
        condition = condition.children[0]
    if condition is None or condition.kind not in ("identifier", "attribute") or owner.kind == "while_statement":
        return ""
    return condition.children[-1].label if condition.children else condition.label


def word_dice(newer: Node, older: Node) -> float:
    """Dice of the leaves' labels of two small subtrees."""
    return _overlap(Counter(_leaf_labels(newer)), Counter(_leaf_labels(older)))


def _leaf_labels(node: Node) -> Iterator[str]:
    todo = [node]
    while todo:
        each = todo.pop()
        todo += each.children
        if not each.children:
            yield each.label


def header_likeness(newer: Node, older: Node, renames: Lookup[str, str] = MappingProxyType({})) -> float:
    """Dice of the words in what stands before the bodies of two compound statements, or clauses of them.

    0 if one says the opposite of the other, or if both ask for one flag alone, and for another. `renames` says what
    newer variables are called in the older version.
    """
    if any(child.kind == "not_operator" for child in newer.children) != any(
        child.kind == "not_operator" for child in older.children
    ):
        return 0.0
    flags = _flag(newer), _flag(older)
    if flags[0] and flags[1]:
        mine = renames.get(flags[0], flags[0])
        return 1.0 if mine == flags[1] else 0.5 if alike(mine, flags[1]) else 0.0
    return _overlap(_header_words(newer, renames), _header_words(older, {}))


def header_nodes(owner: Node) -> Iterator[Node]:
    """All that stands before the body of a compound statement, or of a clause of one."""
    todo = [child for child in owner.children if child.kind == "with_clause" or _is_header(child)]
    while todo:
        node = todo.pop()
        yield node
        todo += node.children


def _is_header(child: Node) -> bool:
    return child.kind != "block" and not child.kind.endswith("_clause")


def _header_words(owner: Node, renames: Lookup[str, str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for node in header_nodes(owner):
        label = renames.get(node.label, node.label) if node.kind == "identifier" else node.label
        words[f"{node.kind} {label}" if node.children else label] += 1
    return words

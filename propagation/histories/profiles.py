"""What two texts are compared by when nothing but their content can say that they are one.

    words    the identifiers and numbers in them; as sets, they cost next to nothing
    forms    the statements of the syntax tree, blind to the names of variables: a renaming hides nothing
    likeness the mean of the dice coefficients of both, 0 to 1

What may live here: measures. Nothing here decides what corresponds.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from flor_ray.propagation.matching.similarity import dice
from flor_ray.propagation.matching.thresholds import MAX_CHARACTERS, MAX_LINES
from flor_ray.propagation.reading.parse import parse
from flor_ray.propagation.reading.tree import SCOPES, Node, Tree

_WORD = re.compile(r"[^\W\d]\w*")
_DEFINITIONS = SCOPES - {"module"}


@dataclass(frozen=True, slots=True)
class TextProfile:
    """What a text is compared by. Hashes are of this process: good for equality, never for order."""

    forms: Counter[int]
    words: Counter[str]


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class in a file."""

    names: tuple[str, ...]  # of the definitions around it and its own, outermost first
    kind: str
    first: int  # lines
    last: int
    profile: TextProfile


def common_words(newer: str, older: str) -> float:
    """Dice of the sets of words."""
    ours, theirs = _words(newer), _words(older)
    return dice(len(ours & theirs), len(ours), len(theirs))


def file_likeness(newer: str, older: str) -> float:
    """How much of two files is the same, 0 to 1."""
    if newer == older:
        return 1.0
    if not (_is_comparable(newer) and _is_comparable(older)):
        return 0.0
    return likeness(_file_profile(newer), _file_profile(older))


def likeness(newer: TextProfile, older: TextProfile) -> float:
    """How much of two files, or definitions, is the same, 0 to 1."""
    forms = dice((newer.forms & older.forms).total(), newer.forms.total(), older.forms.total())
    words = dice((newer.words & older.words).total(), newer.words.total(), older.words.total())
    return (forms + words) / 2


@lru_cache(maxsize=256)
def definitions(source: str) -> tuple[Definition, ...]:
    """Functions and classes of a source, outer ones before those in them."""
    if not _is_comparable(source):
        return ()
    tree = parse(source)
    names: dict[int, tuple[str, ...]] = {}
    found = []
    for node in tree.nodes:
        if node.kind not in _DEFINITIONS:
            continue
        outer = next((each for each in node.ancestors() if each.kind in _DEFINITIONS), None)
        name = node.child("name")
        above = names[outer.index] if outer is not None else ()
        names[node.index] = (*above, name.label if name is not None else "")
        lines = tree.line(node.start), tree.last_line(node)
        found.append(Definition(names[node.index], node.kind, *lines, _profile(tree, node)))
    return tuple(found)


def _is_comparable(source: str) -> bool:
    return len(source) <= MAX_CHARACTERS and source.count("\n") <= MAX_LINES


@lru_cache(maxsize=2048)
def _words(source: str) -> frozenset[str]:
    return frozenset(_WORD.findall(source)) if _is_comparable(source) else frozenset()


@lru_cache(maxsize=256)
def _file_profile(source: str) -> TextProfile:
    tree = parse(source)
    return _profile(tree, tree.root)


def _profile(tree: Tree, node: Node) -> TextProfile:
    """Of a compound statement only the header counts: what is in its block counts by itself."""
    forms: Counter[int] = Counter()
    for each in tree.subtree(node):
        if each.is_statement:
            parts = (c.shape for c in each.children if c.kind != "block" and not c.kind.endswith("_clause"))
            forms[hash((each.kind, each.label, *parts))] += 1
    return TextProfile(forms, Counter(_WORD.findall(tree.text(node).decode("utf-8", "replace"))))

"""One walk through the versions between: every patched tree is the newer tree of the next step.

    tree 0 --propagate_tree--> tree 1 with the statements --propagate_tree--> tree 2 with them --> ... --> the target
    (path, line)               (path', line')                                (path'', line'')

A line that a step refuses is not followed any further. What may live here: where a walk stops, and following lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.propagation.histories.files import PropagatePair, propagate_tree
from flor_ray.propagation.histories.insertions import inserted_lines
from flor_ray.propagation.reading.parse import has_errors
from flor_ray.records import TreePlacement

MAX_BETWEEN = 8
"""Versions between that a walk stops at. Each costs a propagation, and each is one more chance to be declined."""

Key = tuple[str, int]  # path and line in the newest tree
Texts = Mapping[str, str]

_IMPORT = re.compile(r"\s*(?:from\s|import\s|$)")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A statement that every step has placed."""

    last: TreePlacement  # in the target; its newer path and line are those of the last tree before
    confidences: tuple[float, ...]  # one per step


@dataclass(frozen=True, slots=True)
class WalkOutcome:
    """What came out of a walk."""

    arrived: Mapping[Key, Arrival] = field(default_factory=dict)
    texts: Texts = field(default_factory=dict)  # of the target, with everything that arrived
    inserted: tuple[int, ...] = ()  # lines put into each tree, imports and empty ones left out


def walk(
    trees: Sequence[Texts],
    lines: Mapping[str, Sequence[int]],
    counterparts: Sequence[Mapping[str, str]],
    propagate_pair: PropagatePair,
    min_confidence: float,
) -> WalkOutcome:
    """Carry lines of the first tree through all others; `counterparts[i]` pins paths of tree i to those of the next."""
    arrived: dict[Key, Arrival] = {}
    inserted: list[int] = []
    here: dict[Key, list[tuple[Key, tuple[float, ...]]]] = {}  # where lines are now -> lines asked for
    for path, numbers in lines.items():
        for line in sorted(set(numbers)):
            here[path, line] = [((path, line), ())]
    newer = trees[0]
    for step, older in enumerate(trees[1:]):
        result = propagate_tree(
            newer,
            older,
            _by_path(here),
            counterparts=counterparts[step],
            min_confidence=min_confidence,
            propagate_pair=propagate_pair,
        )
        there: dict[Key, list[tuple[Key, tuple[float, ...]]]] = {}
        for each in result.placed:
            place = each.older_path, each.placement.placed_line
            for key, confidences in here[each.newer_path, each.placement.line]:
                confidences = (*confidences, each.placement.confidence)
                there.setdefault(place, []).append((key, confidences))
                if step == len(trees) - 2:
                    arrived[key] = Arrival(each, confidences)
        inserted.append(_inserted(older, result.sources))
        here, newer = there, {**older, **result.sources}
        if not here:
            break
    return WalkOutcome(arrived, newer, tuple(inserted))


def pins(scripts: Sequence[str | None], newer: int, older: int) -> dict[str, str]:
    """That the scripts of two versions, given by index, are one file."""
    if max(newer, older) >= len(scripts):
        return {}
    ours, theirs = scripts[newer], scripts[older]
    return {ours: theirs} if ours is not None and theirs is not None else {}


def stops(lineage: Sequence[Texts], paths: set[str] | None, scripts: Sequence[str | None]) -> list[int]:
    """Indices of the versions that a walk visits: the first, the last, and at most `MAX_BETWEEN` distinct ones between.

    They are a power of two apart, counted from the newest, so that walks to different targets visit the same ones.
    """
    last = len(lineage) - 1
    found: list[int] = []
    seen: list[object] = []  # the content of the stop before
    contents = [_content(tree, paths, scripts[i] if i < len(scripts) else None) for i, tree in enumerate(lineage)]
    for index in range(last):
        if index and (contents[index] in (*seen, contents[last]) or _is_broken(lineage[index], paths)):
            continue
        found.append(index)
        seen = [contents[index]]
    stride = 1
    while (len(found) - 1) // stride > MAX_BETWEEN:
        stride *= 2
    return [*found[::stride], last]


def _content(tree: Texts, paths: set[str] | None, script: str | None) -> object:
    if paths is None:
        return dict(tree)
    return [tree.get(path) for path in sorted(paths)] + [tree.get(script) if script is not None else None]


def _is_broken(tree: Texts, paths: set[str] | None) -> bool:
    return any(has_errors(tree[path]) for path in sorted(paths or ()) if path in tree)


def _by_path(keys: Mapping[Key, object]) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    for path, line in sorted(keys):
        lines.setdefault(path, []).append(line)
    return lines


def _inserted(older: Texts, patched: Texts) -> int:
    return sum(not _IMPORT.match(line) for path, text in patched.items() for line in inserted_lines(older[path], text))

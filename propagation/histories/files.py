"""Carry statements of a whole newer tree into an older one: several files, moved and renamed ones, moved definitions.

    (path, lines) --> partner            partners.py: the older file that corresponds, or none
          |              |  propagate    all lines of a file in one go, so that they see each other
          |              v
          |           placed, or refused because the definition around the line is not there
          |              |  homes.py: the one older file to which that definition has gone
          |              v  propagate    the newer file into that file
          `--> one answer per (path, line)

Pure, and it raises on nothing that was read. What may live here: which file is propagated into which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from posixpath import dirname
from types import MappingProxyType

from flor_ray.propagation.carrying.carry import propagate
from flor_ray.propagation.histories.homes import definition_partner
from flor_ray.propagation.histories.insertions import inserted_lines, lines_above, moved_line
from flor_ray.propagation.histories.notebooks import NOTEBOOK, as_sources, with_insertions
from flor_ray.propagation.histories.partners import NoPartner, Partner, partners
from flor_ray.propagation.matching.thresholds import MIN_CONFIDENCE
from flor_ray.records import Placement, Propagation, Refusal, TreePlacement, TreePropagation, TreeRefusal

PENALTY_RENAMED_FILE = 0.05
"""Less confidence in a file of another path. That it is the file is known by its content, and the placement looks at
the same content again; the doubt that is left is that a copy of it was deleted."""

PENALTY_MOVED_DEFINITION = 0.1
"""Less confidence in a file to which only the definition has gone: the names around it are those of another module."""

PENALTY_UNLIKE = 0.2
"""What comes on top if the two have nothing in common; in between in proportion."""

PropagatePair = Callable[[str, str, tuple[int, ...]], Propagation]
"""(newer source, older source, lines) -> result: `propagate`, or a cache in front of it."""

_RELATIVE = re.compile(r"\s*from\s+\.")
_IMPORTED = re.compile(r"\s*(?:from|import)\s+([\w.]+)")


def propagate_tree(
    newer: Mapping[str, str],
    older: Mapping[str, str],
    lines: Mapping[str, Sequence[int]],
    *,
    counterparts: Mapping[str, str] = MappingProxyType({}),
    min_confidence: float = MIN_CONFIDENCE,
    propagate_pair: PropagatePair | None = None,
) -> TreePropagation:
    """Carry the statements at these lines (from 1) of the newer tree's files into the older tree.

    Trees are repository-relative paths of Python files -> sources; lines of a notebook (`.ipynb`) are those of its code
    cells one below another, as notebooks.py writes them. Each (path, line) gets one TreePlacement or
    TreeRefusal; nothing but whole lines is inserted, and files without a placement stay as they are. `counterparts`
    pins newer paths to older ones (the run's script, say); otherwise equal paths correspond, then equal contents.
    `propagate_pair` stands in for `propagate`; it is asked once per file with lines, once per file to which definitions
    around refused lines have gone, and again without the lines that cannot stay in a file of another path.
    """
    written = older
    newer, older = as_sources(newer), as_sources(older)
    pair = propagate_pair or _plain(min_confidence)
    run = _TreeRun(newer, older, pair, min_confidence)
    wanted = {path: sorted(set(numbers)) for path, numbers in sorted(lines.items())}
    chosen = partners(newer, older, [path for path in wanted if path in newer], counterparts)
    for path, numbers in wanted.items():
        if path not in newer:
            run.refuse(path, (Refusal(line, f"the newer version has no {path}") for line in numbers))
        else:
            run.carry(path, numbers, chosen[path], pinned=path in counterparts)
    return _in_cells(run.result(), written)


def _in_cells(result: TreePropagation, written: Mapping[str, str]) -> TreePropagation:
    """A result whose notebooks are notebooks again."""
    texts = {
        path: with_insertions(written[path], text) if path.endswith(NOTEBOOK) else text
        for path, text in result.sources.items()
    }
    return replace(result, sources=texts)


def _plain(min_confidence: float) -> PropagatePair:
    return lambda newer, older, lines: propagate(newer, older, lines, min_confidence=min_confidence)


class _TreeRun:
    """One propagation of a tree, file by file. An older file may be added to several times."""

    def __init__(
        self, newer: Mapping[str, str], older: Mapping[str, str], pair: PropagatePair, min_confidence: float
    ) -> None:
        self._newer, self._older, self._pair, self._least = newer, older, pair, min_confidence
        self._texts = dict(older)
        self._placed: dict[tuple[str, int], TreePlacement] = {}
        self._refused: dict[tuple[str, int], TreeRefusal] = {}

    def carry(self, path: str, lines: Sequence[int], partner: Partner | NoPartner, pinned: bool) -> None:
        """Answer all lines of one newer file."""
        if isinstance(partner, NoPartner):
            left: Sequence[Refusal] = [Refusal(line, partner.reason) for line in lines]
            home = None
        else:
            home = partner.path
            moved = home != path and not pinned
            left = self._into(path, home, lines, _doubt(PENALTY_RENAMED_FILE, partner) if moved else 0.0)
        if pinned and home is None:  # whoever pins a file has decided where its code is
            self.refuse(path, left)
            return
        self._carry_moved(path, left, home)

    def refuse(self, path: str, refusals: Iterable[Refusal], older_path: str | None = None) -> None:
        for refusal in refusals:
            self._refused[path, refusal.line] = TreeRefusal(path, refusal, older_path)

    def result(self) -> TreePropagation:
        changed = {path: text for path, text in sorted(self._texts.items()) if text != self._older[path]}
        placed = tuple(placement for _, placement in sorted(self._placed.items(), key=lambda each: each[0]))
        refused = tuple(refusal for _, refusal in sorted(self._refused.items(), key=lambda each: each[0]))
        return TreePropagation(changed, placed, refused)

    def _carry_moved(self, path: str, refusals: Sequence[Refusal], home: str | None) -> None:
        """Try the files to which the definitions around refused lines have gone."""
        present = self._older[home] if home is not None else None
        others = {other: text for other, text in self._older.items() if other != home}
        by_target: dict[str, list[tuple[Refusal, str, Partner]]] = {}
        for refusal in refusals:
            names, found = definition_partner(self._newer, path, refusal.line, others, present)
            if isinstance(found, Partner):
                by_target.setdefault(found.path, []).append((refusal, ".".join(names), found))
            else:
                reason = found.reason if found is not None else refusal.reason
                self.refuse(path, [replace(refusal, reason=reason)], home)
        for target, group in sorted(by_target.items()):
            doubt = max(_doubt(PENALTY_MOVED_DEFINITION, found) for _, _, found in group)
            names_of = {refusal.line: name for refusal, name, _ in group}
            for refusal in self._into(path, target, sorted(names_of), doubt):
                reason = f"`{names_of[refusal.line]}` is in {target} in the older version: {refusal.reason}"
                self.refuse(path, [replace(refusal, reason=reason)], target)

    def _into(self, path: str, target: str, lines: Sequence[int], doubt: float) -> list[Refusal]:
        """Propagate lines into one older file. Returns what was refused there."""
        before, refused = self._texts[target], dict[int, Refusal]()
        while True:
            kept = tuple(line for line in lines if line not in refused)
            if not kept:
                return [refused[line] for line in lines]
            result = self._pair(self._newer[path], before, kept)
            refused |= {refusal.line: refusal for refusal in result.refused}
            placed = [replace(p, confidence=round(max(p.confidence - doubt, 0.0), 3)) for p in result.placed]
            dropped = self._dropped(path, target, before, result.source, placed)
            if not dropped:
                break
            refused |= dropped  # without these lines it is another question: the others may have leant on them
        self._accept(path, target, before, result.source, placed)
        return [refused[line] for line in lines if line in refused]

    def _dropped(
        self, path: str, target: str, before: str, after: str, placed: Sequence[Placement]
    ) -> dict[int, Refusal]:
        """Placements that cannot stay, and why."""
        dropped = {}
        for each in placed:
            if each.confidence < self._least:
                reason = f"the confidence of the best place ({each.confidence:.2f}) is below {self._least:.2f}"
                guess = lines_above(before, after, each.placed_line)
                dropped[each.line] = Refusal(each.line, reason, guess, each.confidence)
        if not dropped and path != target and (problem := _import_problem(path, target, before, after)):
            for each in placed:  # whose import is it?
                if len(placed) > 1:
                    alone = self._pair(self._newer[path], before, (each.line,)).source
                    problem = _import_problem(path, target, before, alone)
                if problem:
                    dropped[each.line] = Refusal(each.line, problem)
            if not dropped:
                dropped = {
                    each.line: Refusal(each.line, _import_problem(path, target, before, after)) for each in placed
                }
        return dropped

    def _accept(self, path: str, target: str, before: str, after: str, placed: Sequence[Placement]) -> None:
        for key, each in self._placed.items():
            if each.older_path == target:  # put there earlier, from another file
                line = moved_line(before, after, each.placement.placed_line)
                self._placed[key] = replace(each, placement=replace(each.placement, placed_line=line))
        self._texts[target] = after
        for placement in placed:
            self._placed[path, placement.line] = TreePlacement(path, target, placement)


def _doubt(penalty: float, partner: Partner) -> float:
    return penalty + PENALTY_UNLIKE * (1.0 - partner.likeness)


def _import_problem(path: str, target: str, before: str, after: str) -> str:
    """Imports that come along mean another module, or the very file, in a file of another path."""
    own = target.removesuffix(".py").replace("/", ".")
    for text in inserted_lines(before, after):
        if _RELATIVE.match(text) and dirname(path) != dirname(target):
            return f"it needs `{text.strip()}`, which is another module in {target}"
        imported = _IMPORTED.match(text)
        if imported and (own == imported[1] or own.endswith("." + imported[1])):
            return f"it needs `{text.strip()}`, which is {target} itself"
    return ""

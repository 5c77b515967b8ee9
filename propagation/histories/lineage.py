"""Evidence from the versions between: carry statements directly, and also version by version, and compare.

    v9 ------------------- direct -------------------> v1
     `-> v7 -> v5 -> v3 -> ... walk, step by step --> v1

    direct    walk       answer
    placed    same       the direct one, with more confidence
    placed    elsewhere  half the confidence, and so a refusal, as a rule, unless the difference is none (spots.py)
    placed    refused    the direct one, if in a file of that path: a walk is asked more questions, and may decline any
    refused   placed     the walk's, if every step was sure and what has to come along did not grow on the way

What may live here: which versions are asked, and what both answers are worth together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flor_ray.propagation.carrying.carry import propagate
from flor_ray.propagation.histories.files import PropagatePair, propagate_tree
from flor_ray.propagation.histories.insertions import lines_above, moved_line, statement_text
from flor_ray.propagation.histories.spots import Spot, difference, equivalent, spot_of
from flor_ray.propagation.histories.walk import Arrival, Key, Texts, WalkOutcome, pins, stops, walk
from flor_ray.propagation.matching.thresholds import MIN_CONFIDENCE
from flor_ray.records import Placement, Refusal, TreePlacement, TreePropagation, TreeRefusal

# Measured 10 and 30 commits apart in pytorch/examples, nanoGPT, pytorch-cifar and cleanrl, as bench/propagating does.
AGREEMENT = 0.3
"""Part of the doubt that agreement takes away: little, since both ways share one engine and most of its errors. Where
they agreed, 0.7 was right in 14 of 17 cases, 0.8 in 12 of 14, 0.95 in 293 of 307."""

DISAGREEMENT = 0.5
"""Factor on the confidence where the walk says otherwise: of 39 direct places 17 were wrong then, and of the 6 of a
second sample, harmless differences left out, 5. Nothing that is wrong so often may pass: the factor takes even the
surest insertion below `MIN_CONFIDENCE`."""

MIN_SURE_STEP = 0.9
"""Confidence of every step of a walk that is believed where the direct way is refused: two mapped neighbours each. With
less, as many were wrong as right; with this 2 of 8."""

PENALTY_STEP = 0.03
"""What each step of such a walk takes away: an error of one is carried on by all that follow."""

_NO_VERSION = "there is no older version"


def propagate_tree_through(
    lineage: Sequence[Texts],
    lines: Mapping[str, Sequence[int]],
    *,
    scripts: Sequence[str | None] = (),
    own: Texts | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    propagate_pair: PropagatePair | None = None,
) -> TreePropagation:
    """Carry statements of the first tree of a lineage (newest first) to its last, with those between as evidence.

    The result is that of `propagate_tree` from the first to the last of them: each line gets one answer, nothing but
    lines is inserted, no source makes it raise. In an empty lineage everything is refused. A file costs at most 11
    propagations, and 9 more for each line that only the walk could place. `propagate_pair` stands in for `propagate`,
    say as a cache: walks to neighbouring targets share steps.

    `scripts[i]` is the run's script in `lineage[i]`, where known: these are one file, whatever their paths. Versions in
    which no file concerned differs from the version before, or one is not Python, are not asked. `own` are the files
    of the last tree as they were before other statements were put there: the versions between do not have these, so a
    place on either side of them is one place.
    """
    if not lineage:
        gone = [(path, line) for path, numbers in sorted(lines.items()) for line in sorted(set(numbers))]
        return TreePropagation(refused=tuple(TreeRefusal(path, Refusal(line, _NO_VERSION)) for path, line in gone))
    return _WaysCompared(lineage, lines, scripts, own, min_confidence, propagate_pair).result()


class _WaysCompared:
    """The direct way and the walk to one target."""

    def __init__(
        self,
        lineage: Sequence[Texts],
        lines: Mapping[str, Sequence[int]],
        scripts: Sequence[str | None],
        own: Texts | None,
        min_confidence: float,
        propagate_pair: PropagatePair | None,
    ) -> None:
        self._lineage, self._scripts, self._least = lineage, scripts, min_confidence
        self._own = lineage[-1] if own is None else own
        self._pinned = pins(scripts, 0, len(lineage) - 1)
        # Evidence is collected at the usual threshold even if more is wanted: agreement may lift it above.
        self._evidence = evidence = min(min_confidence, MIN_CONFIDENCE)
        self._pair = propagate_pair or (lambda newer, older, at: propagate(newer, older, at, min_confidence=evidence))
        self._direct = self._directly(lines)
        self._stops = stops(lineage, self._concerned(lines), scripts)
        self._walk = self._walked(lines, lineage[-1]) if len(self._stops) > 2 else WalkOutcome()
        self._placed: dict[Key, TreePlacement] = {}
        self._refused = {(each.newer_path, each.refusal.line): each for each in self._direct.refused}

    def result(self) -> TreePropagation:
        direct = self._direct
        judged: dict[Key, tuple[float, str]] = {}
        for each in direct.placed:
            key = each.newer_path, each.placement.line
            judged[key] = confidence, _ = self._judge(each, self._walk.arrived.get(key))
            if confidence < self._least:
                self._refused[key] = self._refusal(each, *judged[key])
        kept: dict[str, list[int]] = {}
        for path, line in sorted(judged.keys() - self._refused.keys()):
            kept.setdefault(path, []).append(line)
        if judged.keys() & self._refused.keys():  # without them it is another question: others may have leant on them
            direct = self._directly(kept)
            self._refused |= {(each.newer_path, each.refusal.line): each for each in direct.refused}
        for each in direct.placed:
            confidence, why = judged[each.newer_path, each.placement.line]
            placement = replace(each.placement, confidence=confidence, why=each.placement.why + why)
            self._placed[each.newer_path, placement.line] = replace(each, placement=placement)
        sources = dict(direct.sources)
        for key in sorted(self._walk.arrived.keys() & self._refused.keys() - judged.keys()):
            self._rescue(key, sources)
        placed = tuple(each for _, each in sorted(self._placed.items(), key=lambda item: item[0]))
        refused = tuple(each for _, each in sorted(self._refused.items(), key=lambda item: item[0]))
        return TreePropagation(dict(sorted(sources.items())), placed, refused)

    # --- the two ways -----------------------------------------------------------------------------------------------

    def _directly(self, lines: Mapping[str, Sequence[int]]) -> TreePropagation:
        return propagate_tree(
            self._lineage[0],
            self._lineage[-1],
            lines,
            counterparts=self._pinned,
            min_confidence=self._evidence,
            propagate_pair=self._pair,
        )

    def _walked(self, lines: Mapping[str, Sequence[int]], target: Texts) -> WalkOutcome:
        trees = [*(self._lineage[stop] for stop in self._stops[:-1]), target]
        pinned = [pins(self._scripts, a, b) for a, b in zip(self._stops, self._stops[1:], strict=False)]
        return walk(trees, lines, pinned, self._pair, self._evidence)

    def _concerned(self, lines: Mapping[str, Sequence[int]]) -> set[str] | None:
        """Paths whose texts make a version worth asking; None: all, since nobody knows where the statements were."""
        if any(each.older_path is None for each in self._direct.refused):
            return None
        placed = {each.older_path for each in self._direct.placed}
        return {*lines, *placed, *(each.older_path for each in self._direct.refused if each.older_path is not None)}

    # --- what they are worth together -------------------------------------------------------------------------------

    def _judge(self, direct: TreePlacement, arrival: Arrival | None) -> tuple[float, str]:
        confidence = direct.placement.confidence
        if len(self._stops) < 3:
            return confidence, ""
        if arrival is None:
            if direct.older_path in {direct.newer_path, self._pinned.get(direct.newer_path)}:
                return confidence, ""
            # A fork of a file that is gone since looks like a renamed file, but not to its neighbours in time.
            return round(confidence * DISAGREEMENT, 3), ", but version by version nothing leads to that file"
        here = direct.older_path
        spot = self._spot(here, self._direct.sources.get(here, self._lineage[-1][here]), direct.placement)
        other = self._reached(arrival, self._walk)
        if spot == other:
            return round(confidence + AGREEMENT * (1.0 - confidence), 3), ", as version by version too"
        if equivalent(self._own[here], spot, other):
            return confidence, ""
        return round(confidence * DISAGREEMENT, 3), f", but version by version {difference(spot, other)}"

    def _spot(self, path: str, patched: str, placement: Placement) -> Spot:
        """Where a placement in a patched file of the last tree is in the version's own file."""
        return spot_of(path, (self._own[path], self._lineage[-1][path]), patched, placement)

    def _reached(self, arrival: Arrival, walk: WalkOutcome) -> Spot:
        return self._spot(arrival.last.older_path, walk.texts[arrival.last.older_path], arrival.last.placement)

    def _refusal(self, each: TreePlacement, confidence: float, why: str) -> TreeRefusal:
        older = self._lineage[-1][each.older_path]
        above = lines_above(older, self._direct.sources.get(each.older_path, older), each.placement.placed_line)
        reason = f"the confidence of the best place ({confidence:.2f}) is below {self._least:.2f}"
        if why and confidence < each.placement.confidence:
            line = lines_above(self._own[each.older_path], older, above + 1)
            reason = f"directly it belongs after line {line} of the older version{why}"
        return TreeRefusal(each.newer_path, Refusal(each.placement.line, reason, above, confidence), each.older_path)

    def _rescue(self, key: Key, sources: dict[str, str]) -> None:
        """Take the walk's place for a line that the direct way refuses, if the walk is beyond doubt."""
        path, line = key
        target = {**self._lineage[-1], **sources}
        alone = self._walked({path: [line]}, self._lineage[-1])  # so that what comes along is known to be for this line
        arrival = alone.arrived.get(key)
        if arrival is None or min(arrival.confidences) < MIN_SURE_STEP:
            return
        confidence = round(min(arrival.confidences) - PENALTY_STEP * len(arrival.confidences), 3)
        own = statement_text(self._lineage[0][path], line).count("\n") + 1
        if confidence < self._least or alone.inserted[-1] > max(own, alone.inserted[0]):
            return
        why = f"version by version: {arrival.last.placement.why}"
        if sources:  # the others that are there now are no reason for doubt, but may not draw it elsewhere
            before = self._reached(arrival, alone)
            alone = self._walked({path: [line]}, target)
            arrival = alone.arrived.get(key)
            if arrival is None or before != self._reached(arrival, alone):
                return
        home = arrival.last.older_path
        for other, each in self._placed.items():
            if each.older_path == home:
                moved = moved_line(target[home], alone.texts[home], each.placement.placed_line)
                self._placed[other] = replace(each, placement=replace(each.placement, placed_line=moved))
        placement = replace(arrival.last.placement, line=line, confidence=confidence, why=why)
        self._placed[key] = TreePlacement(path, home, placement)
        del self._refused[key]
        if alone.texts[home] != target[home]:
            sources[home] = alone.texts[home]

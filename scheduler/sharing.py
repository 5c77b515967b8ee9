"""Which parts of a segment other replays run, or have answered. Pure.

    segment 1-10, which can be cut before 4 and 7        1  2  3 | 4  5  6 | 7  8  9  10
    another replay holds 4-8, and has answered 1-3       answered| theirs  | ours

A part is left to others only whole, from one border to the next: who has to run to its middle could as well run it.
What others do counts only where it is the same work: the same version, statements, and a segment that answers as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from flor_ray.records import Claim, Operator, Segment

Statements = Mapping[str, Mapping[str, str]]  # version -> name -> digest of what logs it there


class Whose(StrEnum):
    """Who answers a part of a segment."""

    OURS = "ours"
    THEIRS = "theirs"  # another replay is at it
    ANSWERED = "answered"  # another replay has done it


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """A part of a segment, up to this epoch, from where the one before it ends."""

    last: int
    whose: Whose


@dataclass(frozen=True, slots=True)
class Sifted:
    """A segment in parts, which follow each other and together are all of it."""

    segment: Segment
    parts: tuple[SegmentPart, ...]


def statements_of(segment: Segment, statements: Statements) -> dict[str, str]:
    """The names that a segment answers, with what logs them. Of a version that is not known, names alone."""
    known = statements.get(segment.version, {})
    return {name: known.get(name, "") for name in segment.names}


def claim(segments: Iterable[Segment], statements: Statements) -> tuple[Claim, ...]:
    """What is claimed by whoever runs these segments; neighbours are one span."""
    epochs: dict[tuple[str, Operator, tuple[tuple[str, str], ...]], set[int]] = {}
    for segment in segments:
        named = tuple(sorted(statements_of(segment, statements).items()))
        key = segment.version, segment.operator, named
        epochs.setdefault(key, set()).update(range(segment.first, segment.last + 1))
    return tuple(Claim(*key, spans(found)) for key, found in sorted(epochs.items()))


def spans(epochs: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """First and last of each row of epochs that follow each other."""
    rows = groupby(enumerate(sorted(epochs)), key=lambda each: each[1] - each[0])
    return tuple((row[0][1], row[-1][1]) for row in (list(group) for _, group in rows))


def sift(
    segment: Segment,
    points: Sequence[int],
    statements: Statements,
    theirs: Iterable[Claim],
    answered: Iterable[Claim] = (),
) -> tuple[SegmentPart, ...]:
    """Whose each part of a segment is that can begin at these points; one part, if all of it is alike."""
    done = _covered(segment, statements, answered)
    taken = _covered(segment, statements, theirs) | done
    if not taken:
        return (SegmentPart(segment.last, Whose.OURS),)
    if segment.operator is not Operator.DP_I:
        points = ()
    begins = [segment.first, *(point for point in points if segment.first < point <= segment.last)]
    found: list[SegmentPart] = []
    for first, after in zip(begins, [*begins[1:], segment.last + 1], strict=True):
        epochs = set(range(first, after))
        whose = Whose.ANSWERED if epochs <= done else Whose.THEIRS if epochs <= taken else Whose.OURS
        if found and found[-1].whose is whose:
            found.pop()
        found.append(SegmentPart(after - 1, whose))
    return tuple(found)


def differing(segments: Iterable[Segment], statements: Statements, theirs: Iterable[Claim]) -> frozenset[str]:
    """Names that others log by other statements, in epochs that these segments answer, too."""
    found: set[str] = set()
    by_version: dict[str, list[Claim]] = {}
    for one in theirs:
        by_version.setdefault(one.version, []).append(one)
    for segment in segments:
        own = statements_of(segment, statements)
        for one in by_version.get(segment.version, ()):
            if any(first <= segment.last and segment.first <= last for first, last in one.spans):
                found.update(name for name, digest in one.statements if own.get(name, digest) != digest)
    return frozenset(found)


def _covered(segment: Segment, statements: Statements, claims: Iterable[Claim]) -> set[int]:
    """Epochs of a segment that these claims answer with all that it wants of them."""
    wanted = statements_of(segment, statements).items()
    found: set[int] = set()
    for one in claims:
        if one.version != segment.version or not wanted <= dict(one.statements).items():
            continue
        if one.operator is Operator.DP_STAR:
            return set(range(segment.first, segment.last + 1))
        if one.operator is not segment.operator:
            continue
        for first, last in one.spans:
            found.update(range(max(first, segment.first), min(last, segment.last) + 1))
    return found

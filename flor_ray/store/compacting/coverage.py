"""Which files a reader takes, where several hold the same log records. Pure.

A compacted file holds records of many runs and replays; of each it says which: its cover. What it was made of may still
be there, and other compactors may have made other files of the same. So, for each (version, origin):

    1. of compacted files the best one, which holds most; then the next best, if it has anything that is not read yet
    2. a fragment whose records are all read goes unread; one that holds more than a compacted file is read in its place

"Better" is a strict order in which a file stands above each of those that it was made of (`HeldCover.rank`). A file is
deleted only while a better one is there for all that it holds, so that the best of each place always stays, whoever
compacts and whatever is killed: no row is ever missing. And since readers go by the covers, none is there twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flor_ray.store.fragments import Fragment, visible

Range = tuple[int, int]  # numbers of records, both inclusive


@dataclass(frozen=True)
class Cover:
    """Which records of one run or replay a file holds."""

    ranges: tuple[Range, ...] = ()  # ascending, and none touches another
    segments: tuple[str, ...] = ()  # as fragments' names have them, sorted

    @cached_property
    def size(self) -> int:
        """Grows with whatever is covered."""
        return sum(last - first + 1 for first, last in self.ranges) + len(self.segments)

    def holds(self, other: Cover) -> bool:
        """Whether all of another cover is in this one."""
        if self == other:
            return True
        within = all(any(a <= first and last <= b for a, b in self.ranges) for first, last in other.ranges)
        return within and set(other.segments) <= set(self.segments)


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


NOTHING = Cover()


def union(covers: Iterable[Cover]) -> Cover:
    """All that these hold."""
    found = list(covers)
    if len(found) == 1:
        return found[0]
    segments = {segment for cover in found for segment in cover.segments}
    return Cover(_joined(part for cover in found for part in cover.ranges), tuple(sorted(segments)))


def cover_of(fragments: Iterable[Fragment]) -> Cover:
    """What fragments of one run or replay hold."""
    found = list(fragments)
    ranges = _joined((f.first, f.last) for f in found if f.segment is None)
    return Cover(ranges, tuple(sorted({f.segment for f in found if f.segment is not None})))


@dataclass(frozen=True, slots=True)
class HeldCover:
    """What a compacted file holds of one run or replay."""

    file: int  # which one, of those that are listed
    index: int  # of the cover in that file
    cover: Cover
    generation: int  # of the file: greater than those of all files that it was made of
    path: str

    @property
    def rank(self) -> tuple[int, int, str]:
        """What is smaller is better."""
        return -self.cover.size, -self.generation, self.path


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read of one run or replay."""

    fragments: tuple[Fragment, ...]
    held: tuple[HeldCover, ...]
    apart: bool  # no record can be in two of these, so that each key is known to be there once

    @property
    def covers(self) -> list[Cover]:
        """What each of these holds."""
        return [*(one.cover for one in self.held), *(cover_of([fragment]) for fragment in self.fragments)]

    @property
    def cover(self) -> Cover:
        """What all of these hold."""
        return union(self.covers)

    @property
    def overlaps(self) -> bool:
        """Whether a record or a segment is in several of these."""
        covers = self.covers
        return len(covers) > 1 and sum(cover.size for cover in covers) > union(covers).size

    @property
    def segments(self) -> list[str]:
        """The replayed segments, in the order in which their values count."""
        found = {f.segment for f in self.fragments if f.segment is not None}
        return sorted(found.union(*(held.cover.segments for held in self.held)))


def choose(fragments: Sequence[Fragment], held: Sequence[HeldCover]) -> Choice:
    """What to read of one run or replay of which there are these."""
    if not fragments and len(held) == 1:
        return Choice((), tuple(held), not held[0].cover.segments)
    known = NOTHING
    taken: list[HeldCover] = []
    for one in sorted(held, key=lambda one: one.rank):
        if not known.holds(one.cover):
            taken.append(one)
            known = union((known, one.cover))
    fresh = [f for f in visible(fragments) if not known.holds(cover_of([f]))]
    ranges = cover_of(f for f in fresh if f.segment is None)
    taken = [one for one in taken if one.cover.segments or not ranges.holds(one.cover)]
    covers = [*(one.cover for one in taken), *(cover_of([f]) for f in fresh)]
    return Choice(tuple(fresh), tuple(taken), _apart(covers))


def _apart(covers: Sequence[Cover]) -> bool:
    if any(cover.segments for cover in covers):
        return False
    ordered = sorted(r for cover in covers for r in cover.ranges)
    return all(a[1] < b[0] for a, b in itertools.pairwise(ordered))

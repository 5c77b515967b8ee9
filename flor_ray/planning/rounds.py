"""Rounds of acquiring what a question lacks: which values are open, which of them are asked for, and what was not got.

    lacking ── given up ──> open ── the question needs ──> wanted ──> looked at (propagation) ──> replayed ──┐
       ^                                                                                                     │
       └─────────────────────────── answered, or given up with a reason <────────────────────────────────────┘

Pure. A round ends with every wanted place answered or given up, so there are never more rounds than places. Until a
version was looked at, nobody knows where in it a statement stands, or whether it has a place there at all: then all of
its places are open, of which too many are asked for rather than too few. Looking costs no replay, and narrows them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from flor_ray.planning import missing
from flor_ray.planning.missing import Catalogue, Request
from flor_ray.records import Region, Segment

Places = Mapping[str, Mapping[str, frozenset[int | None]]]  # name -> version -> epochs; None: outside of the main loop


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What propagation said of names in versions: (version, name)."""

    regions: Mapping[tuple[str, str], Region] = field(default_factory=dict)
    own: frozenset[tuple[str, str]] = frozenset()  # the version logs it itself: what it recorded is all there is
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)  # why

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self.regions or key in self.own or key in self.refused

    def with_more(self, more: Whereabouts) -> Whereabouts:
        """What both say."""
        return Whereabouts({**self.regions, **more.regions}, self.own | more.own, {**self.refused, **more.refused})


def lacking(names: Iterable[str], catalogue: Catalogue, seen: Whereabouts) -> Places:
    """The places of each name that nobody has answered, also in versions that cannot be replayed: these are told, not
    forgotten. `catalogue.regions` need not be filled in. What a version logs itself, and did not log when it was
    recorded, was never there; nor is anything of runs that were imported, which have no code."""
    versions = [version for version, run in catalogue.experiments.items() if not run.is_imported]
    asked = Request(tuple(dict.fromkeys(names)))
    regions = {(v, name): seen.regions.get((v, name), Region.WHOLE) for v in versions for name in asked.names}
    known = replace(catalogue, regions=regions)
    found: dict[str, dict[str, frozenset[int | None]]] = {}
    for name in asked.names:
        for version in versions:
            if (version, name) not in seen.own:
                epochs, outside = missing.lacking(version, name, asked, known)
                if places := frozenset[int | None](epochs) | ({None} if outside else set()):
                    found.setdefault(name, {})[version] = places
    return found


def minus(places: Places, others: Collection[tuple[str, str, int | None]]) -> Places:
    """Places without others, (name, version, epoch) each."""
    found = {
        name: {v: frozenset(e for e in epochs if (name, v, e) not in others) for v, epochs in of.items()}
        for name, of in places.items()
    }
    kept = {name: {v: epochs for v, epochs in of.items() if epochs} for name, of in found.items()}
    return {name: of for name, of in kept.items() if of}


def wanted(places: Places, name: str, rows: Iterable[tuple[str, int | None]]) -> dict[str, frozenset[int | None]]:
    """Which places of a name the rows (version, epoch) of a table show: those of the epoch, and outside of the loop."""
    found: dict[str, set[int | None]] = {}
    of = places.get(name, {})
    for version, epoch in rows:
        if here := of.get(version, frozenset()) & {epoch, None}:
            found.setdefault(version, set()).update(here)
    return {version: frozenset(epochs) for version, epochs in found.items()}


def merged(several: Iterable[Places]) -> Places:
    """All of them as one."""
    found: dict[str, dict[str, frozenset[int | None]]] = {}
    for places in several:
        for name, of in places.items():
            for version, epochs in of.items():
                there = found.setdefault(name, {})
                there[version] = there.get(version, frozenset()) | epochs
    return found


def each(places: Places) -> frozenset[tuple[str, str, int | None]]:
    """All places as (name, version, epoch)."""
    return frozenset((name, v, e) for name, of in places.items() for v, epochs in of.items() for e in epochs)


def requests(places: Places) -> list[Request]:
    """The places as requests: one for all names that are wanted at the same ones."""
    groups: dict[tuple[tuple[str, frozenset[int]], ...], list[str]] = {}
    for name, of in places.items():
        key = tuple(
            sorted(((v, frozenset(e for e in es if e is not None)) for v, es in of.items()), key=lambda x: x[0])
        )
        groups.setdefault(key, []).append(name)
    return [Request(tuple(sorted(names)), dict(key)) for key, names in groups.items()]


def why_not(
    name: str,
    version: str,
    epoch: int | None,
    refused: Mapping[tuple[str, str], str],
    skipped: Mapping[str, str],
    failures: Iterable[tuple[Segment, str]],
) -> str | None:
    """Why a place was not answered: the version was refused or skipped, or its segment failed. None: nothing of that,
    so the terms left no room for it."""
    if reason := refused.get((version, name)) or skipped.get(version):
        return reason
    for segment, error in failures:
        covers = epoch is None or segment.first <= epoch <= segment.last
        if segment.version == version and name in segment.names and covers:
            return error
    return None

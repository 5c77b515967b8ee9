"""How much of each feature is there: levels and types, which versions have it, which share is answered. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from flor_ray.patching.virtual_columns import VirtualColumn
from flor_ray.planning import missing, rounds
from flor_ray.planning.missing import Catalogue, Request
from flor_ray.planning.rounds import Whereabouts
from flor_ray.records import Level, Region


@dataclass(slots=True)
class Stored:
    """What the store has of a feature."""

    levels: set[Level] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)  # versions that logged it when they were recorded
    replayed: set[str] = field(default_factory=set)
    levels_of: dict[str, set[Level]] = field(default_factory=dict)  # by version


@dataclass(frozen=True, slots=True)
class Covered:
    """A feature that can be asked for, with or without values."""

    name: str
    types: tuple[str, ...]  # of its values; none: it has none yet
    levels: tuple[Level, ...]  # none: only a run can tell
    is_hindsight: bool  # no version logged it when it was recorded
    versions: int  # that have values
    answered: int  # places: an epoch each, and one for what is outside of the loop
    places: int
    logged_at: tuple[str, ...]  # "train.py:12", in `source`; none: no file logs it under this name
    source: str

    @property
    def coverage(self) -> float:
        """The share of places that have been answered, by a value or by "nothing is logged there"."""
        return self.answered / self.places if self.places else 1.0


def coverage(
    stored: Mapping[str, Stored],
    columns: Mapping[str, VirtualColumn],
    catalogue: Catalogue,
    own: Collection[tuple[str, str]],
) -> list[Covered]:
    """All features, by name. `catalogue.have` need only have what was replayed; `own` are the (version, name) whose
    own code logs it, and those are answered with what was recorded."""
    return [
        _covered(name, stored.get(name, Stored()), columns.get(name), catalogue, own)
        for name in sorted({*stored, *columns})
    ]


def _covered(
    name: str,
    stored: Stored,
    column: VirtualColumn | None,
    catalogue: Catalogue,
    own: Collection[tuple[str, str]],
) -> Covered:
    levels = stored.levels or set(column.levels if column is not None else ())
    region = _region(levels)
    versions = list(catalogue.experiments)
    settled = {(v, name) for v in versions if v in stored.recorded or (v, name) in own or column is None}
    seen = Whereabouts({(v, name): region for v in versions}, frozenset(settled))
    lacking = rounds.each(rounds.lacking([name], catalogue, seen))
    everything = Catalogue(catalogue.experiments, {}, {})
    places = rounds.each(rounds.lacking([name], everything, Whereabouts({(v, name): region for v in versions})))
    return Covered(
        name,
        tuple(sorted(stored.types)),
        tuple(level for level in Level if level in levels),
        not stored.recorded,
        len(stored.recorded | stored.replayed),
        len(places) - len(lacking),
        len(places),
        () if column is None else column.places,
        "" if column is None else column.source,
    )


def shares(
    name: str, stored: Stored, column: VirtualColumn, catalogue: Catalogue, own: Collection[tuple[str, str]]
) -> dict[str, tuple[int, int]]:
    """Of each version with code: how many places of a feature are answered, and how many there are. Arguments are those
    of `coverage`; counted as there, version by version, for any number of them."""
    region = _region(stored.levels or set(column.levels))
    versions = [version for version, run in catalogue.experiments.items() if not run.is_imported]
    regions = {(version, name): region for version in versions}
    request = Request((name,))
    every, known = replace(catalogue, have={}, regions=regions), replace(catalogue, regions=regions)
    found = {}
    for version in versions:
        places = _count(missing.lacking(version, name, request, every))
        is_settled = version in stored.recorded or (version, name) in own
        lacking = 0 if is_settled else _count(missing.lacking(version, name, request, known))
        found[version] = places - lacking, places
    return found


def _count(lacking: tuple[tuple[int, ...], bool]) -> int:
    epochs, outside = lacking
    return len(epochs) + outside


def _region(levels: Iterable[Level]) -> Region:
    """Where a feature of these levels is looked for."""
    found = set(levels)
    if found == {Level.DATA_PREP}:
        return Region.PREFIX
    return Region.WHOLE if not found or Level.DATA_PREP in found else Region.TAIL

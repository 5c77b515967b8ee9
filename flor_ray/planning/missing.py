"""What is asked for, minus what the store has: request + catalogue -> gaps (paper, section 4.3.1, steps 2 to 4).

Pure: values in, values out. What lives here decides which values are *missing*; how they are got back is
`flor_ray.planning.segmenting`, and reading the catalogue from the store is the caller's work.

A name's region says where its values can be, and so which ones can be missing:

    region                looked for in                                missing is
    PREFIX, SUFFIX        outside the main loop                        the one place, unless a value is there
    HEAD, INNER, TAIL     every selected epoch                         the epochs without a value
    WHOLE                 both: nobody knows where it is logged        see `_lacking_anywhere`
    (no region)           nowhere: this version has no such statement  nothing; the refusal is told elsewhere
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flor_ray.records import RANKS, Experiment, Gap, Region, Status


@dataclass(frozen=True, slots=True)
class Request:
    """Names to answer, and where.

    `selected` maps each version that `where` picked to its picked epochs; None for a version means all its epochs.
    `selected=None` means every version, whole. Values outside the main loop belong to every row of a version, so a
    picked version wants them whichever of its epochs were picked.
    """

    names: tuple[str, ...]
    selected: Mapping[str, frozenset[int] | None] | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the store knows of every version.

    `have` holds the *answered* places, None standing for outside the main loop. That is where the name has a value
    and, added by the caller, where a finished replay ran the statement and it logged nothing: without these, a
    conditional statement (`if epoch % 5 == 0: flor.log(...)`) would be replayed again at every request, for ever.
    """

    experiments: Mapping[str, Experiment]  # by version
    have: Mapping[tuple[str, str], frozenset[int | None]]  # by (version, name)
    regions: Mapping[tuple[str, str], Region]  # by (version, name), in the patched source


@dataclass(frozen=True, slots=True)
class Skipped:
    """A selected version that lacks values and is not replayed now, with the reason in words."""

    version: str
    reason: str


def gaps(request: Request, catalogue: Catalogue) -> tuple[Gap, ...]:
    """Wanted values that are not there, oldest version first.

    Names of one version that lack the same places share a gap, so the pairs (place, name) of all gaps are disjoint.
    An epoch that began but never finished (crash) is wanted like any other: its start can still be restored.
    """
    found: list[Gap] = []
    for version in _selected_versions(request, catalogue):
        if _why_not(catalogue.experiments[version]):
            continue
        groups: dict[tuple[tuple[int, ...], bool], list[str]] = {}
        for name in dict.fromkeys(request.names):
            places = lacking(version, name, request, catalogue)
            if places != _NOTHING:
                groups.setdefault(places, []).append(name)
        found += [Gap(version, tuple(names), epochs, prep) for (epochs, prep), names in groups.items()]
    return tuple(found)


def merged(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The gaps of several requests as one: what two of them want is in it once, so that pairs are disjoint again."""
    places: dict[str, dict[str, tuple[set[int], bool]]] = {}  # version -> name -> epochs, whether outside the loop too
    for gap in gaps:
        names = places.setdefault(gap.version, {})
        for name in gap.names:
            epochs, prep = names.get(name, (set(), False))
            names[name] = epochs | set(gap.epochs), prep or gap.data_prep
    found: list[Gap] = []
    for version, names in places.items():
        groups: dict[tuple[tuple[int, ...], bool], list[str]] = {}
        for name, (epochs, prep) in names.items():
            groups.setdefault((tuple(sorted(epochs)), prep), []).append(name)
        found += [Gap(version, tuple(group), epochs, prep) for (epochs, prep), group in groups.items()]
    return tuple(found)


def skipped(request: Request, catalogue: Catalogue) -> tuple[Skipped, ...]:
    """Selected versions that lack wanted values and get no gap: those still running, those that no replay can start,
    and those not recorded."""
    unknown = sorted(set(request.selected or ()) - set(catalogue.experiments))
    found = [Skipped(version, "no run of this version is recorded") for version in unknown]
    for version in _selected_versions(request, catalogue):
        reason = _why_not(catalogue.experiments[version])
        lacks = [name for name in dict.fromkeys(request.names) if _may_lack(version, name, request, catalogue)]
        if lacks and reason:
            found.append(Skipped(version, reason.format(names=_names(lacks))))
    return tuple(found)


def _why_not(experiment: Experiment) -> str:
    """Why a version is not replayed now; "" if it can be."""
    if experiment.status is Status.RUNNING:
        return "it is still running; ask for {names} again when it has ended"
    launch = experiment.environment.get(RANKS)
    can_start = isinstance(launch, Mapping) and launch.get("launcher") == "ray train"
    if experiment.environment.get("worker") == "ray" and not can_start:
        return "it was recorded by a worker of Ray Train, which a replay cannot start; train again for {names}"
    return ""


_NOTHING: tuple[tuple[int, ...], bool] = ((), False)


def _selected_versions(request: Request, catalogue: Catalogue) -> list[str]:
    known = catalogue.experiments
    chosen = known if request.selected is None else [version for version in request.selected if version in known]
    return sorted(chosen, key=lambda version: (known[version].started, version))


def lacking(version: str, name: str, request: Request, catalogue: Catalogue) -> tuple[tuple[int, ...], bool]:
    """The missing places of one name in one version: (epochs, outside the main loop?)."""
    region = catalogue.regions.get((version, name))
    have = catalogue.have.get((version, name), frozenset())
    if region is None:
        return _NOTHING
    if region in (Region.PREFIX, Region.SUFFIX):
        return (), None not in have
    picked = None if request.selected is None else request.selected[version]
    epochs = range(1, catalogue.experiments[version].epochs + 1)
    missing = tuple(e for e in epochs if e not in have and (picked is None or e in picked))
    return _lacking_anywhere(missing, have) if region is Region.WHOLE else (missing, False)


def _lacking_anywhere(missing: tuple[int, ...], have: frozenset[int | None]) -> tuple[tuple[int, ...], bool]:
    """The missing places of a name that may be logged anywhere.

    Without any value, everything is missing. Its values show where it is logged: one that was only ever seen outside
    the main loop lacks no epochs, and one that was seen in epochs lacks other epochs, and the outside only beside
    them (the whole script has to run for those anyway).
    """
    if not have:
        return missing, True
    if have == {None}:
        return _NOTHING
    return missing, bool(missing) and None not in have


def _may_lack(version: str, name: str, request: Request, catalogue: Catalogue) -> bool:
    """Whether a running version lacks a name now, or has not come to it yet."""
    if (version, name) not in catalogue.regions:
        return False
    return not catalogue.have.get((version, name)) or lacking(version, name, request, catalogue) != _NOTHING


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)

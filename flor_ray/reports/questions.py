"""What is told to people of questions in SQL: why an answer is incomplete, and what answering one would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.records import Experiment, Level
from flor_ray.wording import counted, some_versions

_MOST = 20  # versions that an explanation lists


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Values of one feature in one version that an answer needs and has not got."""

    name: str
    version: str
    epochs: tuple[int, ...]
    outside: bool  # also, or only, what is logged outside of the main loop
    reason: str


@dataclass(frozen=True, slots=True)
class Necessity:
    """What a statement needs of one feature in one version, and what it does not."""

    name: str
    version: str
    needed: tuple[int, ...]  # epochs
    dropped: tuple[int, ...]  # epochs without a value that are not needed
    outside: bool  # whether what is logged outside of the main loop is needed
    why: str


def shortfalls(
    places: Mapping[str, Mapping[str, frozenset[int | None]]],
    reasons: Mapping[tuple[str, str, int | None], str],
    otherwise: str,
) -> tuple[Shortfall, ...]:
    """Places that an answer needs, by feature, version and reason; `otherwise` is that of those without one."""
    groups: dict[tuple[str, str, str], set[int | None]] = {}
    for name, of in places.items():
        for version, epochs in of.items():
            for epoch in epochs:
                reason = reasons.get((name, version, epoch), otherwise)
                groups.setdefault((name, version, reason), set()).add(epoch)
    return tuple(
        Shortfall(name, version, _epochs(found), None in found, reason)
        for (name, version, reason), found in groups.items()
    )


def incomplete(short: Iterable[Shortfall]) -> list[str]:
    """What the reader of an answer must know of what it lacks: a sentence for each feature and reason."""
    groups: dict[tuple[str, str], list[Shortfall]] = {}
    for one in short:
        groups.setdefault((one.name, one.reason), []).append(one)
    return [
        f"The answer is incomplete: it needs {name} in {counted(sum(map(_count, of)), 'place')} of "
        f"{some_versions(list(dict.fromkeys(one.version for one in of)))}, where there is no value: {reason}"
        for (name, reason), of in groups.items()
    ]


def deeper(found_at: Mapping[tuple[str, str], frozenset[Level]], depth: int | None) -> list[str]:
    """What a reader must know of features whose values stand, in some versions, only in loops that none of the views he
    reads goes into: a sentence for each. `depth` is that of the deepest view; None: no view is read."""
    hidden: dict[str, list[str]] = {}
    for (version, name), levels in sorted(found_at.items()):
        if depth is not None and levels and min(map(list(Level).index, levels)) > depth:
            hidden.setdefault(name, []).append(version)
    return [
        f"{some_versions(versions)} logged {name} in a loop that the view has no rows of, and none of it is shown: "
        "full_pivot has it"
        for name, versions in hidden.items()
    ]


def kept(
    needed: Mapping[str, Mapping[str, frozenset[int | None]]],
    lacking: Mapping[str, Mapping[str, frozenset[int | None]]],
    whys: Mapping[str, Sequence[str]],
    given_up: Mapping[tuple[str, str, int | None], str],
) -> tuple[Necessity, ...]:
    """Of each feature and version that lacks values: what of that is needed and what is not, and why."""
    found = []
    for name, of in lacking.items():
        for version, places in of.items():
            wanted = needed.get(name, {}).get(version, frozenset())
            refused = {given_up[name, version, e] for e in places if (name, version, e) in given_up}
            why = "; ".join([*sorted(refused), *(whys.get(name, ()) if wanted else ())])
            dropped = _epochs(places - wanted - {None})
            found.append(Necessity(name, version, _epochs(wanted), dropped, None in wanted, why or _NOT_NEEDED))
    return tuple(found)


_NOT_NEEDED = "no row that the statement looks at needs it"


def explained(rows: Sequence[Necessity], experiments: Mapping[str, Experiment]) -> list[list[str]]:
    """Necessity as cells of a table: version, run, feature, needed, not needed, why; what is needed comes first."""
    order = list(experiments)
    ordered = sorted(rows, key=lambda one: (not (one.needed or one.outside), order.index(one.version), one.name))
    return [
        [
            one.version[:8],
            experiments[one.version].run,
            one.name,
            _spans(one.needed, one.outside),
            _spans(one.dropped, False),
            one.why,
        ]
        for one in ordered[:_MOST]
    ] + ([["...", "", "", "", "", f"and {len(ordered) - _MOST} more"]] if len(ordered) > _MOST else [])


EXPLAINED = ("version", "run", "feature", "needed epochs", "not needed", "why")


def _epochs(places: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(sorted(e for e in places if e is not None))


def _count(one: Shortfall) -> int:
    return len(one.epochs) + one.outside


def _spans(epochs: Sequence[int], outside: bool) -> str:
    """1-3, 7, outside the loop; "" for nothing."""
    runs: list[list[int]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][1] + 1:
            runs[-1][1] = epoch
        else:
            runs.append([epoch, epoch])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join([*parts, *["outside the loop"] * outside])

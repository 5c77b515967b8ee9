"""Which epochs are peaks, as the record has a feature's values, and the order in which epochs are answered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from flor_ray.errors import UsageError
from flor_ray.planning.terms import Best, First
from flor_ray.records import Experiment, Value
from flor_ray.scheduler import priorities
from flor_ray.store import typed_values
from flor_ray.store.project import Project


def peaks(rows: Iterable[tuple[str, int | None, object]], feature: str, best: Best = "max") -> dict[str, int]:
    """The epoch at which each version's values are best, the first of several; rows are (version, epoch, value).

    A feature of the nested loop peaks where one of its steps does. Missing values (None, NaN) and those outside the
    main loop (epoch None) do not count; a version that has no others is not in the result.

    Raises:
        UsageError: a value is not a number, or all are logged outside the main loop.
    """
    sign = 1 if best == "max" else -1
    found: dict[str, tuple[float, int]] = {}  # version -> (signed value, minus epoch)
    outside = inside = False
    for version, epoch, value in rows:
        if value is None:
            continue
        if not isinstance(value, bool | int | float):
            raise UsageError(
                f"{feature!r} has values that are not numbers, such as in version {version[:8]}, so it has no peak. "
                "Name a feature whose values are numbers."
            )
        outside, inside = outside or epoch is None, inside or epoch is not None
        if epoch is not None and not math.isnan(value):
            candidate = sign * value, -epoch
            found[version] = max(candidate, found.get(version, candidate))
    if outside and not inside:
        raise UsageError(
            f"{feature!r} is logged outside the main loop, so no epoch is its peak. Name one that is logged in it."
        )
    return {version: -minus_epoch for version, (_, minus_epoch) in found.items()}


def peak_epochs(project: Project, first: First) -> dict[str, frozenset[int]]:
    """The peaks of every version, as the store has the values (recorded or replayed).

    Raises:
        UsageError: no version has values of a feature; or as `peaks` does.
    """
    found: dict[str, set[int]] = {}
    for peak in first.peaks:
        rows = _rows(project, peak.feature)
        if not rows:
            known = ", ".join(sorted(project.store.names(project.name))) or "none yet"
            raise UsageError(
                f"No version has values of {peak.feature!r}, so where it peaks is unknown. Features with "
                f"values: {known}."
            )
        for version, epoch in peaks(rows, peak.feature, peak.best).items():
            found.setdefault(version, set()).add(epoch)
    return {version: frozenset(epochs) for version, epochs in found.items()}


def _rows(project: Project, feature: str) -> list[tuple[str, int | None, object]]:
    table = project.store.logs(project.name, names=[feature])
    columns = [table[column].to_pylist() for column in ("version", "epoch", *typed_values.VALUE_COLUMNS)]
    return [(version, epoch, _value(Value(*value))) for version, epoch, *value in zip(*columns, strict=True)]


def _value(value: Value) -> object:
    """The value; of one that is kept as a blob, and so is no number, the reference to it."""
    return value if value.type in typed_values.BLOB_TYPES else typed_values.decode(value, str.encode)


def ranks(
    first: First,
    peak_epochs: Mapping[str, frozenset[int]],
    wanted: Mapping[str, frozenset[int]],
    experiments: Mapping[str, Experiment],
) -> dict[str, dict[int, float]]:
    """`priorities.ranks` of what is wanted, as the user says it."""
    newest = sorted(wanted, key=lambda version: (-experiments[version].started, version)) if first.newest else ()
    return priorities.ranks(wanted, peak_epochs, first.end, newest)

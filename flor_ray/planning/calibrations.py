"""What classes of workers take, in the store: one small file per replay and class, never changed; and how that is
measured of a class that nobody has seen.

    calibrations/<class>/<microseconds>-<random>.json

Each was learned from the one before it and a replay's reports, so the newest one holds. Any number of replays may keep
theirs at once: the one that is older by a moment is then forgotten, and with it the reports of one replay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from flor_ray.environment.hardware import kind as kind_of
from flor_ray.patching.patching import Patched
from flor_ray.planning import segmenting
from flor_ray.records import Checkpoint, Experiment, Region
from flor_ray.scheduler.calibration import Calibration, Learned
from flor_ray.scheduler.costs import RecordedVersion, restore_bytes
from flor_ray.store import typed_json
from flor_ray.store.decisions import Decisions
from flor_ray.store.files import Files

_NAMELESS = "-"  # the folder of a class without a name
_BY_NAME = ("slowness", "starts")
_QUANTITIES = tuple(field.name for field in fields(Calibration) if field.name not in _BY_NAME)
_LOOP = (Region.HEAD, Region.INNER, Region.TAIL)


def recorded(
    experiment: Experiment, checkpoints: Iterable[Checkpoint], patched: Patched, calibration: Calibration
) -> RecordedVersion:
    """What is known of a version, for a `CostModel`. `calibration` is that of the workers it will run on."""
    found = tuple(checkpoints)
    return RecordedVersion(
        experiment.profile,
        restore_bytes(found),
        kind_of(experiment.environment),
        {name: region for name in patched.marking.stops if (region := patched.regions.get(name)) in _LOOP},
        segmenting.epochs_worth_leaving(experiment, found, calibration.bandwidth.value),
        patched.regions if patched.files else {},
    )


# --- in the store -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kept:
    kind: str  # of workers
    calibration: Calibration


def keep(files: Files, calibrations: Mapping[str, Calibration]) -> None:
    """Keep what was learned of classes of workers. It goes before what was kept earlier."""
    for kind, calibration in calibrations.items():
        made = _Kept(kind, calibration)
        _KEPT.add(files, kind or _NAMELESS, lambda now, made=made: made)  # type: ignore[misc]


def kept(files: Files) -> dict[str, Calibration]:
    """The newest calibration of each class.

    Warns:
        FlorWarning: a file is none; the one before it holds.
    """
    each = (_KEPT.newest_first(files, subject, names) for subject, names in _KEPT.subjects(files).items())
    newest = (next(found, None) for found in each)
    return {one.kind: one.calibration for one in newest if one is not None}


def _to_plain(made: _Kept) -> object:
    quantities = {name: typed_json.to_row(getattr(made.calibration, name)) for name in _QUANTITIES}
    by_name = {name: _rows(getattr(made.calibration, name)) for name in _BY_NAME}
    return {"kind": made.kind, **quantities, **by_name}


def _rows(learned: Mapping[str, Learned]) -> dict[str, list[Any]]:
    return {name: typed_json.to_row(one) for name, one in learned.items()}


def _from_plain(plain: Any, name: str) -> _Kept:
    quantities = {name: _learned(plain[name]) for name in _QUANTITIES if name in plain}
    starts = _by_name(plain.get("starts", {}))  # younger than the rest
    calibration = replace(Calibration(), **quantities, slowness=_by_name(plain["slowness"]), starts=starts)
    return _Kept(typed_json.from_plain(plain["kind"], str), calibration)


def _by_name(rows: Mapping[str, Any]) -> dict[str, Learned]:
    return {name: _learned(row) for name, row in rows.items()}


def _learned(row: Any) -> Learned:
    found = typed_json.from_row(row, Learned)
    if not (0 <= found.value < math.inf and 0 <= found.spread < math.inf and found.count >= 0):
        raise ValueError(f"{row} is no measurement")
    return found


_KEPT = Decisions(
    "calibrations",
    "the calibration of a class of workers",
    "Delete it: the one before it holds.",
    _to_plain,
    _from_plain,
)


# --- measuring a new class --------------------------------------------------------------------------------------------

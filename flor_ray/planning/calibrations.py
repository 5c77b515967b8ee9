"""What classes of workers take, in the store: one small file per replay and class, never changed; and how that is
measured of a class that nobody has seen.

    calibrations/<class>/<microseconds>-<random>.json

Each was learned from the one before it and a replay's reports, so the newest one holds. Any number of replays may keep
theirs at once: the one that is older by a moment is then forgotten, and with it the reports of one replay.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from flor_ray.environment.hardware import kind as kind_of
from flor_ray.errors import FlorWarning
from flor_ray.patching.patching import Patched
from flor_ray.planning import segmenting
from flor_ray.records import Checkpoint, Experiment, Region
from flor_ray.scheduler.calibration import Calibration, Learned
from flor_ray.scheduler.costs import RecordedVersion, restore_bytes
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote

_FOLDER = "calibrations"
_QUANTITIES = ("prepare", "imports", "latency", "bandwidth", "overhead", "epoch_overhead")
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


def keep(files: Files, calibrations: Mapping[str, Calibration]) -> None:
    """Keep what was learned of classes of workers. It goes before what was kept earlier."""
    for kind, calibration in calibrations.items():
        folder = f"{_FOLDER}/{quote(kind or '-')}"
        newest = max((_microseconds(path) for path in files.list(folder)), default=0)
        data = json.dumps({"kind": kind, **_to_json(calibration)}, indent=1).encode()
        moment = max(int(time.time() * 1e6), newest + 1)  # later than all that could be seen
        files.create(f"{folder}/{moment:017d}-{secrets.token_hex(4)}.json", data)


def kept(files: Files) -> dict[str, Calibration]:
    """The newest calibration of each class.

    Warns:
        FlorWarning: a file is none; the one before it holds.
    """
    by_folder: dict[str, list[str]] = {}
    for path in sorted(files.list(_FOLDER), reverse=True):
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    found: dict[str, Calibration] = {}
    for paths in by_folder.values():
        for path in paths:
            try:
                row = json.loads(files.read(path))
                found[str(row["kind"])] = _from_json(row)
                break
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                warnings.warn(
                    f"{files.url}/{path} does not hold what a class of workers takes ({type(error).__name__}: {error}) "
                    "and is ignored. Delete it.",
                    FlorWarning,
                    stacklevel=2,
                )
    return found


def _to_json(calibration: Calibration) -> dict[str, Any]:
    row: dict[str, Any] = {name: _learned_json(getattr(calibration, name)) for name in _QUANTITIES}
    return row | {"slowness": {kind: _learned_json(found) for kind, found in calibration.slowness.items()}}


def _learned_json(learned: Learned) -> list[float]:
    return [learned.value, learned.spread, learned.count]


def _from_json(row: Mapping[str, Any]) -> Calibration:
    quantities = {name: _learned(row[name]) for name in _QUANTITIES if name in row}
    slowness = {str(kind): _learned(values) for kind, values in row["slowness"].items()}
    return Calibration(**quantities, slowness=slowness)


def _learned(values: Any) -> Learned:
    value, spread, count = float(values[0]), float(values[1]), int(values[2])
    if not (0 <= value < float("inf") and 0 <= spread < float("inf") and count >= 0):
        raise ValueError(f"{values} is no measurement")
    return Learned(value, spread, count)


def _microseconds(path: str) -> int:
    with contextlib.suppress(ValueError):
        return int(path.rpartition("/")[2].partition("-")[0])
    return 0


# --- measuring a new class --------------------------------------------------------------------------------------------

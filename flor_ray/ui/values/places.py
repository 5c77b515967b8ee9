"""Single values of the store, for pages that open them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from flor_ray.errors import UsageError
from flor_ray.store import typed_values
from flor_ray.ui import cells
from flor_ray.ui.curves.readings import Readings
from flor_ray.ui.snapshots import Snapshots
from flor_ray.ui.values import openings


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """Where a value is."""

    name: str
    version: str
    epoch: int = -1  # outside of the main loop
    step: int = -1  # outside of nested loops
    iteration: int = 0


def opened(snapshots: Snapshots, readings: Readings, place: ValuePlace) -> dict[str, Any]:
    """What is shown of a value, with how far it can be trusted; of a picture its pixels, as PNG in base 64.

    Raises:
        UsageError: there is none.
        StoreError: the store cannot be read, or the value is damaged.
    """
    reading = readings.of(place.name, snapshots.chosen([place.version], 1))
    at = (reading.epoch == place.epoch) & (reading.step == place.step) & (reading.iteration == place.iteration)
    rows = np.flatnonzero(at & ~reading.missing)
    value = reading.stored(int(rows[0])) if len(rows) else None
    if value is None:
        raise UsageError(f"{place.name} has no value there in version {place.version[:8]}.")
    found = openings.opened(typed_values.decode(value, snapshots.project.store.objects.get, pickles=False))
    mark = reading.marks[int(reading.mark[rows[0]])]
    said = {"trust": mark.trust.value, "reason": cells.readable(mark.reason), "label": cells.readable(place.name)}
    pixels = {"png": base64.b64encode(found.png).decode()} if found.png else {}
    return {**found.told, **said, **pixels}

"""Single values of the store, for pages that open them, and the names of all features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flor_ray.errors import UsageError
from flor_ray.patching import donors, statements
from flor_ray.store import typed_values
from flor_ray.store.project import Project
from flor_ray.ui import cells, charts, openings
from flor_ray.ui.openings import OpenedValue
from flor_ray.ui.readings import Readings


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """Where a value is."""

    name: str
    version: str
    epoch: int  # -1: outside of the main loop
    step: int  # -1: outside of nested loops
    iteration: int


def opened(project: Project, readings: Readings, place: ValuePlace) -> OpenedValue:
    """A value, with how far it can be trusted.

    Raises:
        UsageError: there is none.
        StoreError: the store cannot be read, or the value is damaged.
    """
    runs, _ = charts.chosen(project, [place.version])
    reading = readings.of(place.name, runs)
    at = (reading.epoch == place.epoch) & (reading.step == place.step) & (reading.iteration == place.iteration)
    rows = np.flatnonzero(at & ~reading.missing)
    value = reading.stored(int(rows[0])) if len(rows) else None
    if value is None:
        raise UsageError(f"{place.name} has no value there in version {place.version[:8]}.")
    found = openings.opened(typed_values.decode(value, project.store.objects.get, pickles=False))
    mark = reading.marks[int(reading.mark[rows[0]])]
    trusted = {"trust": mark.trust.value, "reason": cells.readable(mark.reason)}
    return OpenedValue({**found.told, **trusted, "label": cells.readable(place.name)}, found.png)


def picture(project: Project, readings: Readings, place: ValuePlace) -> bytes:
    """The PNG of a value. Raises as `opened` does, and UsageError if it is no picture."""
    found = opened(project, readings, place)
    if not found.png:
        raise UsageError(f"{place.name} is no picture there.")
    return found.png


def names(project: Project) -> list[dict[str, Any]]:
    """Features by name: those with values, and those that the working tree's code logs."""
    recorded = project.store.names(project.name)
    in_code = donors.features(statements.working_texts(project))
    return [
        {"name": name, "label": cells.readable(name), "virtual": name not in recorded}
        for name in sorted({*recorded, *in_code})
    ]

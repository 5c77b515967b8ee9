"""What the page of curves asks for: curves, the features that there are, and single values opened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from flor_ray.ui import cells
from flor_ray.ui.curves.charts import ChartAsked, chart
from flor_ray.ui.curves.readings import Readings
from flor_ray.ui.routes.answering import answer
from flor_ray.ui.routes.asked import Known
from flor_ray.ui.values import places
from flor_ray.ui.values.places import ValuePlace

router = APIRouter()
Names = Annotated[list[str], Query(max_length=20)]
Versions = Annotated[list[str], Query(max_length=400)]


def readings_of(request: Request) -> Readings:
    """What this server has read, for all requests."""
    found: Readings = request.app.state.readings
    return found


Read = Annotated[Readings, Depends(readings_of)]


@router.get("/curves")
def curves(
    known: Known,
    readings: Read,
    name: Names,
    version: Versions = [],  # noqa: B006 - FastAPI copies it
    axis: str = "epoch",
    pixels: int = 1000,
    first: float | None = None,
    last: float | None = None,
    log: bool = False,
    smooth: float = 0.0,
    by: str = "",
    best: str = "greatest",
) -> Response:
    """Curves of features and runs; see `charts`."""
    asked = ChartAsked(name, axis, version, pixels, first, last, log, smooth, by, best != "least")
    return answer(chart(known, readings, asked))


@router.get("/features")
def features(known: Known) -> Response:
    """Names that there are values of, or that the newest code logs."""
    found = known.latest()
    rows = [
        {"name": name, "label": cells.readable(name), "virtual": name not in found.features}
        for name in sorted({*found.features, *found.virtual})
    ]
    return answer({"features": rows})


@router.get("/value")
def value(known: Known, readings: Read, place: Annotated[ValuePlace, Depends()]) -> Response:
    """One value, opened; see `places`."""
    return answer(places.opened(known, readings, place))

"""What the page of curves asks for: curves, and single values opened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from flor_ray.ui import values
from flor_ray.ui.answering import answer
from flor_ray.ui.asked import Looked
from flor_ray.ui.charts import ChartAsked, chart
from flor_ray.ui.readings import Readings

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
    opened: Looked,
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
    return answer(chart(opened.project, readings, asked))


@router.get("/features")
def features(opened: Looked) -> Response:
    """Names that there are values of, or that the newest code logs."""
    return answer({"features": values.names(opened.project)})


@router.get("/value")
def value(
    opened: Looked,
    readings: Read,
    name: str,
    version: str,
    epoch: int = -1,
    step: int = -1,
    iteration: int = 0,
) -> Response:
    """One value, opened; see `openings`."""
    place = values.ValuePlace(name, version, epoch, step, iteration)
    return answer(values.opened(opened.project, readings, place).told)


@router.get("/picture")
def picture(
    opened: Looked,
    readings: Read,
    name: str,
    version: str,
    epoch: int = -1,
    step: int = -1,
    iteration: int = 0,
) -> Response:
    """The pixels of a value that is a picture, as PNG."""
    place = values.ValuePlace(name, version, epoch, step, iteration)
    return Response(values.picture(opened.project, readings, place), media_type="image/png")

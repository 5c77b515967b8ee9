"""What the page of curves shows, as plain data: curves of features and runs, or of groups, on so many pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flor_ray.errors import UsageError
from flor_ray.records import Experiment
from flor_ray.store.pivoting.slices import NONE
from flor_ray.ui import cells
from flor_ray.ui.curves import reducing
from flor_ray.ui.curves.marks import Trust
from flor_ray.ui.curves.readings import AXES, FeatureReading, Readings
from flor_ray.ui.curves.reducing import Band, Curve, Floats, Integers, PointState, Window
from flor_ray.ui.snapshots import Snapshots
from flor_ray.wording import counted

MOST_RUNS = 200  # on one chart: more lines tell nobody anything, and groups of them do
NEWEST_RUNS = 12  # that are shown where none are chosen
_MOST_PIXELS = 8000


@dataclass(frozen=True, slots=True)
class ChartAsked:
    """What is to be drawn."""

    names: Sequence[str]
    axis: str = "epoch"
    versions: Sequence[str] = ()  # ids, or how they begin; none: the newest ones
    pixels: int = 1000
    first: float | None = None  # of the axis; None: all of it
    last: float | None = None
    is_log: bool = False  # the x axis
    weight: float = 0.0  # of smoothing
    by: str = ""  # an argument that runs are grouped by; "": each has a curve of its own
    greatest: bool = True  # which number is the peak

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise UsageError(f"axis={self.axis!r}: give {', '.join(AXES)}.")
        if not 0 <= self.weight < 1:
            raise UsageError(f"smooth={self.weight:g}: give a number from 0 (the values as they are) to below 1.")
        if not 1 <= self.pixels <= _MOST_PIXELS:
            raise UsageError(f"pixels={self.pixels}: give a number from 1 to {_MOST_PIXELS}.")
        for edge in (self.first, self.last):
            if edge is not None and not np.isfinite(edge):
                raise UsageError("An axis goes from a number to a number.")


@dataclass(slots=True)
class _Drawn:
    """One run's curve of one feature."""

    reading: FeatureReading
    run: Experiment
    curve: Curve
    rows: Integers
    marks: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.marks = self.reading.mark[self.rows]


def chart(snapshots: Snapshots, readings: Readings, asked: ChartAsked) -> dict[str, Any]:
    """All that is drawn, and what is to be said of it.

    Raises:
        UnknownVersion: a run that is asked for is not there.
        UsageError: too many are.
        StoreError: the store cannot be read.
    """
    runs, notes = _chosen(snapshots, asked.versions)
    read = [readings.of(name, runs) for name in dict.fromkeys(asked.names)]
    drawn = [_Drawn(one, run, *one.curve(run.version, asked.axis)) for one in read for run in runs]
    seen = reducing.window([one.curve for one in drawn], asked.pixels, asked.first, asked.last, asked.is_log)
    if asked.axis == "time" and any(len(one.rows) < np.diff(one.reading.spans[one.run.version])[0] for one in drawn):
        notes.append("Values without a measured time are left out: the run did not record how long its epochs took.")
    found: dict[str, Any] = {
        "window": {"first": seen.first, "last": seen.last},
        "features": [_feature(one) for one in read],
        "runs": [_run(run) for run in runs],
        "arguments": sorted({cells.readable(name) for run in runs for name in run.args}),
    }
    if asked.by:
        found["bands"] = [band for one in read for band in _bands(one, drawn, seen, asked)]
        reduced = any(band["reduced"] for band in found["bands"])
    else:
        found["curves"] = [_curve(one, seen, asked) for one in drawn]
        reduced = any(curve["reduced"] for curve in found["curves"])
    if reduced:
        notes.append(
            "More points than pixels: of each pixel the least and the greatest value are drawn, and all that is no "
            "number. Zoom in to see more."
            if not asked.by
            else "More points than pixels: of each pixel a run counts with its mean. Zoom in to see more."
        )
    return {**found, "notes": notes}


def _chosen(snapshots: Snapshots, versions: Sequence[str]) -> tuple[Sequence[Experiment], list[str]]:
    """The runs with these ids, oldest first, or the newest ones; and what is to be said of the choice."""
    if versions:
        return sorted(snapshots.chosen(versions, MOST_RUNS), key=lambda run: (run.started, run.version)), []
    newest, every = snapshots.newest(NEWEST_RUNS), len(snapshots.latest().runs)
    return newest, [f"The newest {len(newest)} of {every} runs are shown."] if every > len(newest) else []


def _feature(one: FeatureReading) -> dict[str, Any]:
    numbers = bool((~one.missing & ~one.others).any())
    kind = "numbers" if numbers else "others" if one.others.any() else "none"
    return {
        "name": one.name,
        "label": cells.readable(one.name),
        "level": one.level,
        "kind": kind,
        "types": list(one.types),
        "missing": int(one.missing.sum()),
        "marks": [_mark(one, number) for number in range(len(one.marks))],
    }


def _mark(one: FeatureReading, number: int) -> dict[str, str]:
    mark = one.marks[number]
    return {"trust": mark.trust.value, "reason": cells.readable(mark.reason), "replay": cells.readable(mark.replay)}


def _run(run: Experiment) -> dict[str, Any]:
    return {
        "version": run.version,
        "run": cells.readable(run.run),
        "started": run.started,
        "status": run.status.value,
        "epochs": run.epochs,
        "args": {cells.readable(name): cells.cell(value) for name, value in run.args.items()},
    }


def _curve(one: _Drawn, seen: Window, asked: ChartAsked) -> dict[str, Any]:
    """What is sent of one curve; lists in which nothing is special are left out."""
    kept = reducing.reduced(one.curve, seen, one.marks if len(one.reading.marks) > 1 else None)
    points, rows = kept.points, one.rows[kept.points]
    state, marks = one.curve.state[points], one.marks[points]
    found: dict[str, Any] = {
        "name": one.reading.name,
        "version": one.run.version,
        "x": one.curve.x[points].tolist(),
        "y": plain(one.curve.y[points], state == PointState.NUMBER),
        "epoch": one.reading.epoch[rows].tolist(),
        "shown": kept.shown,
        "points": len(one.curve),
        "reduced": kept.is_reduced,
        "gaps": int((one.curve.state == PointState.GAP).sum()),
    }
    optional: list[tuple[str, npt.NDArray[np.integer[Any]], int]] = [
        ("step", one.reading.step[rows], NONE),
        ("state", state, PointState.NUMBER),
        ("mark", marks, 0),
        ("iteration", one.reading.iteration[rows], 0),
    ]
    found |= {name: values.tolist() for name, values, nothing in optional if (values != nothing).any()}
    if asked.weight:
        smooth = reducing.smoothed(one.curve.y, one.curve.state, asked.weight)
        found["smooth"] = plain(smooth[points], ~np.isnan(smooth[points]))
    places = {"peak": reducing.peak(one.curve, asked.greatest), "end": reducing.end(one.curve)}
    return found | {name: None if at is None else _point(one, at) for name, at in places.items()}


def _point(one: _Drawn, at: int) -> dict[str, Any]:
    row = one.rows[at]
    place = {"epoch": int(one.reading.epoch[row]), "step": int(one.reading.step[row])}
    return {"x": float(one.curve.x[at]), "y": float(one.curve.y[at]), **place}


def _bands(reading: FeatureReading, drawn: Sequence[_Drawn], seen: Window, asked: ChartAsked) -> list[dict[str, Any]]:
    mine = {one.run.version: one for one in drawn if one.reading is reading}
    labels = {version: label(one.run.args.get(asked.by)) for version, one in mine.items()}
    values: dict[str, Any] = {
        version: value if isinstance(value := mine[version].run.args.get(asked.by), int | float) else text
        for version, text in labels.items()
    }
    found = []
    for versions in reducing.groups(values).values():
        group = [mine[version] for version in versions]
        found.append(
            {
                "name": reading.name,
                "group": labels[versions[0]],
                "versions": versions,
                "trust": _trust(group),
                "left_out": _left_out(group),
                **_band(reducing.band([one.curve for one in group], seen)),
            }
        )
    return found


def label(value: object) -> str:
    """The name of a group."""
    return "(not set)" if value is None else cells.readable(str(value))[: cells.LONGEST]


def _band(found: Band) -> dict[str, Any]:
    def of(values: Floats) -> list[float | None]:
        return plain(values, np.isfinite(values))

    return {
        "x": found.x.tolist(),
        "mean": of(found.mean),
        "spread": of(found.spread),
        "lowest": of(found.lowest),
        "highest": of(found.highest),
        "runs": found.runs.tolist(),
        "reduced": found.is_reduced,
    }


def _trust(group: Sequence[_Drawn]) -> dict[str, int]:
    """How many of a group's values are of which trust."""
    found = dict.fromkeys((trust.value for trust in Trust), 0)
    for one in group:
        there = one.marks[one.curve.state != PointState.GAP]
        for number, count in enumerate(np.bincount(there, minlength=len(one.reading.marks)).tolist()):
            found[one.reading.marks[number].trust.value] += count
    return {trust: count for trust, count in found.items() if count}


def _left_out(group: Sequence[_Drawn]) -> str:
    """What of a group is no number, in words."""
    states = np.concatenate([one.curve.state for one in group])
    gaps, odd = (
        int((states == PointState.GAP).sum()),
        int(((states != PointState.GAP) & (states != PointState.NUMBER)).sum()),
    )
    parts = [f"{counted(gaps, 'place')} without a value"] * (gaps > 0)
    parts += [f"{counted(odd, 'value')} that {'is' if odd == 1 else 'are'} no finite number"] * (odd > 0)
    return " and ".join(parts)


def plain(values: Floats, there: npt.NDArray[np.bool_]) -> list[float | None]:
    """Numbers as JSON has them; null where there is none."""
    found: list[float | None] = values.tolist()
    for at in np.flatnonzero(~there).tolist():
        found[at] = None
    return found

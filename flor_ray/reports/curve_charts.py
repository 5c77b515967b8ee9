"""Curves of logged values: in a notebook with uPlot, which the output carries along, in files with matplotlib."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, Any

from flor_ray.errors import UsageError
from flor_ray.redaction import shown
from flor_ray.reports import html
from flor_ray.wording import counted

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = ("#3b7ddd", "#d9622b", "#2e9e5b", "#a855c7", "#c79a00", "#0f9fae", "#d14a7c", "#7a7f8a")
_NUMBERS = count()  # of charts in this process: each has an element of its own


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """One line: a feature of a run, or the mean of those of a group."""

    label: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]  # None: a gap, where nobody has a value or it is not finite
    group: int = 0  # lines of one group have one colour
    is_mean: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over epochs or steps. A notebook draws them; `save` writes a picture."""

    title: str
    axis: str  # "epoch" or "step"
    curves: tuple[DrawnCurve, ...]
    log: bool = False
    remarks: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        points = sum(len(curve.x) for curve in self.curves)
        said = f"{self.title} over {self.axis}: {counted(len(self.curves), 'curve')}, {counted(points, 'point')}"
        return "\n".join([f'{said}. A notebook draws it; save("curves.png") writes a picture.', *self.remarks])

    def _repr_html_(self) -> str:
        return _as_html(self)

    def save(self, file: str) -> None:
        """Write it as a picture; the name's ending says of which kind (png, svg, pdf).

        Raises:
            UsageError: matplotlib is not installed, or knows no such kind.
        """
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise UsageError(
                f"A picture in a file is drawn by matplotlib, which cannot be imported ({error}). Install it "
                "(pip install matplotlib), or leave out file= and look at the chart in a notebook."
            ) from error
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for curve in self.curves:
            y = [math.nan if value is None else value for value in curve.y]
            axes.plot(
                curve.x, y, color=_COLOURS[curve.group % len(_COLOURS)], label=_plain(curve.label), **_line(self, curve)
            )
        axes.set(title=_plain(self.title), xlabel=self.axis, yscale="log" if self.log else "linear")
        if 1 < len(self.curves) <= 20:
            axes.legend(fontsize="small")
        try:
            figure.savefig(file)
        except ValueError as error:
            raise UsageError(f"{file}: {error}") from None


def _plain(text: str) -> str:
    """A text in which matplotlib sees neither formulas nor what it leaves out of legends."""
    return text.replace("$", r"\$").removeprefix("_") or " "


def _line(chart: Chart, curve: DrawnCurve) -> dict[str, Any]:
    has_means = any(each.is_mean for each in chart.curves)
    style: dict[str, Any] = {
        "linewidth": 2.5 if curve.is_mean else 1.2,
        "alpha": 0.35 if has_means and not curve.is_mean else 1,
    }
    if len(curve.x) == 1:
        style["marker"] = "o"
    return style


# --- from a table ---------------------------------------------------------------------------------------------------


def of(frame: pd.DataFrame, names: Sequence[str], by: str | None, over: str | None, log: bool) -> Chart:
    """The curves of a table that `dataframe` answers: one for each run and name, coloured by `by` or by run; where `by`
    brings several runs together, their mean as well.

    Raises:
        UsageError: there is nothing to draw, or no such axis.
    """
    axis = over or ("step" if "step" in frame.columns else "epoch")
    if axis not in ("epoch", "step"):
        raise UsageError(f"x={over!r}: give 'epoch' or 'step'.")
    groups: dict[object, int] = {}
    curves: list[DrawnCurve] = []
    members: dict[tuple[str, object], list[DrawnCurve]] = {}
    for version, rows in frame.groupby("version", sort=False):
        run = str(rows["run"].iloc[0] or "") or str(version)[:8]
        key = _value(rows[by].iloc[0]) if by is not None else version
        for name in names:
            group = groups.setdefault((name, key), len(groups))
            found = _curve(rows, name, axis)
            if found is None:
                continue
            label = ", ".join(
                filter(None, [name if len(names) > 1 else "", run, f"{by}={key}" if by is not None else ""])
            )
            curves.append(DrawnCurve(shown(label), *found, group))
            members.setdefault((name, key), []).append(curves[-1])
    if not curves:
        raise UsageError(
            f"No version has a number for {' or '.join(names)} in an epoch or step: there is no curve to draw."
        )
    if by is not None:
        means = [_mean(by, key, each) for (_, key), each in members.items() if len(each) > 1]
        curves += [mean for mean in means if mean.x]
    left_out = sorted({str(v)[:8] for v in frame["version"]} - {str(v)[:8] for v in _drawn(frame, names)})
    remarks = [f"without a value: {', '.join(left_out)}"] if left_out else []
    return Chart(shown(", ".join(names)), axis, tuple(curves), log, tuple(remarks))


def _drawn(frame: pd.DataFrame, names: Sequence[str]) -> Sequence[object]:
    return list(frame.loc[frame[list(names)].notna().any(axis=1), "version"])


def _curve(rows: pd.DataFrame, name: str, axis: str) -> tuple[tuple[float, ...], tuple[float | None, ...]] | None:
    import pandas as pd

    numbers = pd.to_numeric(rows[name], errors="coerce")
    if not numbers.notna().any() or "epoch" not in rows.columns:
        return None
    if axis == "epoch" and "step" in rows.columns and not _is_per_step(rows, name):
        rows, numbers = rows.drop_duplicates("epoch"), numbers[~rows["epoch"].duplicated()]
    if axis == "step":
        x = [float(number) for number in range(len(rows))]
    elif axis == "epoch" and "step" in rows.columns:
        steps = rows.groupby("epoch")["step"].transform("count").clip(lower=1)
        at = rows.groupby("epoch").cumcount()
        x = [float(e) - 1 + (int(k) + 1) / float(n) for e, k, n in zip(rows["epoch"], at, steps, strict=True)]
    else:
        x = [float(epoch) for epoch in rows["epoch"]]
    y = [float(value) if pd.notna(value) and math.isfinite(value) else None for value in numbers]
    return tuple(x), tuple(y)


def _is_per_step(rows: pd.DataFrame, name: str) -> bool:
    """Whether a feature has several values in an epoch, rather than one that repeats."""
    return bool((rows.groupby("epoch")[name].nunique(dropna=False) > 1).any())


def _mean(by: str, key: object, curves: Sequence[DrawnCurve]) -> DrawnCurve:
    """Where all curves have a value: a mean of some of them would jump wherever one begins or ends."""
    at: dict[float, list[float]] = {}
    for curve in curves:
        for x, y in zip(curve.x, curve.y, strict=True):
            if y is not None:
                at.setdefault(x, []).append(y)
    xs = sorted(x for x, values in at.items() if len(values) == len(curves))
    means = tuple(math.fsum(at[x]) / len(curves) for x in xs)
    return DrawnCurve(shown(f"mean of {len(curves)}, {by}={key}"), tuple(xs), means, curves[0].group, is_mean=True)


def _value(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


# --- in a notebook --------------------------------------------------------------------------------------------------

_SCRIPT = """(function () {
const data = %s, made = %s, place = document.getElementById(%s);
%s
place.textContent = "";
const series = [{label: made.axis}].concat(made.series.map(function (one) {
  return {label: one.label, stroke: one.colour, width: one.width, alpha: one.alpha, points: {show: one.points}};
}));
const joined = uPlot.join(data);
const width = Math.max(320, Math.min(900, place.clientWidth || 800));
const chart = new uPlot({
  width: width, height: 340, title: made.title, series: series,
  scales: {x: {time: false}, y: made.log ? {distr: 3} : {}},
  axes: [made.axis, ""].map(function (label) {
    return {label: label, stroke: "#808894", grid: {stroke: "#80889433"}, labelSize: label ? 24 : 0};
  }),
  legend: {show: made.series.length <= 20}, cursor: {drag: {x: true, y: true, uni: 20}},
}, joined, place);
new ResizeObserver(function () {
  chart.setSize({width: Math.max(320, Math.min(900, place.clientWidth)), height: 340});
}).observe(place);
})();"""


def _as_html(chart: Chart) -> str:
    place = f"flor-chart-{next(_NUMBERS)}-{abs(hash(chart)) % 10**8}"
    data = [[list(curve.x), list(curve.y)] for curve in chart.curves]
    has_means = any(curve.is_mean for curve in chart.curves)
    series = [
        {
            "label": curve.label,
            "colour": _COLOURS[curve.group % len(_COLOURS)],
            "width": 3 if curve.is_mean else 1.5,
            "alpha": 0.35 if has_means and not curve.is_mean else 1,
            "points": len(curve.x) == 1,
        }
        for curve in chart.curves
    ]
    made: Mapping[str, object] = {"title": chart.title, "axis": chart.axis, "log": chart.log, "series": series}
    script = _SCRIPT % (_json(data), _json(made), _json(place), _vendored("uPlot.iife.min.js"))
    remarks = "".join(html.paragraph(each, soft=True) for each in chart.remarks)
    waiting = html.text(f"{chart.title} over {chart.axis}: trust this notebook to see the chart.")
    style = f"<style>{_vendored('uPlot.min.css')}</style>"
    return f'{style}<div id="{place}">{waiting}</div>{remarks}<script>{script}</script>'


def _json(value: object) -> str:
    """As a script may hold it: no text can end the script's element."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _vendored(name: str) -> str:
    return resources.files("flor_ray").joinpath("ui", "static", "uplot", name).read_text(encoding="utf-8").strip()

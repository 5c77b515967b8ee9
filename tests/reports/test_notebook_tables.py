"""What a notebook is given to show: tables with marks, charts that carry their script, pictures."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from flor_ray.errors import UsageError
from flor_ray.reports import curve_charts, marked_tables

HOSTILE = "<script>alert(1)</script>\x1b[31m\"'&"


def frame() -> pd.DataFrame:
    """Two versions of two epochs; of the second one, loss was replayed."""
    made = pd.DataFrame(
        {
            "version": ["a" * 40] * 2 + ["b" * 40] * 2,
            "run": ["one", "one", HOSTILE, HOSTILE],
            "epoch": [1, 2, 1, 2],
            "loss": [0.5, math.nan, 0.25, 0.125],
            "lr": [0.1, 0.1, 0.01, 0.01],
        }
    )
    made.attrs["fidelity"] = {"b" * 40: {"verdict": "diverged", "compared": 3, "cause": "other hardware"}}
    made.attrs["doubtful"] = {}
    made.attrs["provenance"] = {"loss": {"replay-1": {"b" * 40: [2]}}}
    return made


def cells(text: str) -> list[list[tuple[str, str]]]:
    body = ElementTree.fromstring(text)
    return [[(each.get("class") or "", each.text or "") for each in row] for row in body.iter("tr")]


def test_replayed_values_are_marked_by_how_far_they_can_be_trusted() -> None:
    text = marked_tables.of(frame()) or ""
    rows = cells(text)
    assert [name for _, name in rows[0]] == ["version", "run", "epoch", "loss", "lr"]
    assert [row[3] for row in rows[1:]] == [("n", "0.5"), ("n missing", "NaN"), ("n", "0.25"), ("n diverged", "0.125")]
    assert "version bbbbbbbb did not compute what was recorded: other hardware" in text
    picked = marked_tables.of(frame().query("epoch == 2")) or ""
    assert [row[3][0] for row in cells(picked)[1:]] == ["n missing", "n diverged"]


def test_names_and_values_with_markup_are_text() -> None:
    text = marked_tables.of(frame()) or ""
    assert "<script" not in text
    assert "\x1b" not in text
    chart = curve_charts.of(frame(), ["loss"], "run", None, False)
    html = chart._repr_html_()
    assert html.count("</script>") == 1
    assert "alert(1)</" not in html


def test_other_tables_are_not_ours_and_long_ones_are_cut() -> None:
    assert marked_tables.of(pd.DataFrame({"version": [1]})) is None
    many = pd.concat([frame()] * 50, ignore_index=True)
    many.attrs = frame().attrs
    assert "… 140 rows …" in (marked_tables.of(many) or "")


def test_curves_have_gaps_and_groups_have_means() -> None:
    made = frame()
    made["lr"] = 0.1
    chart = curve_charts.of(made, ["loss"], "lr", None, False)
    assert [(curve.y, curve.is_mean) for curve in chart.curves] == [
        ((0.5, None), False),
        ((0.25, 0.125), False),
        ((0.375,), True),
    ]
    assert {curve.group for curve in chart.curves} == {0}
    assert repr(chart).startswith("loss over epoch: 3 curves, 5 points.")
    with pytest.raises(UsageError, match="No version has a number for run"):
        curve_charts.of(made, ["run"], None, None, False)
    with pytest.raises(UsageError, match="give 'epoch' or 'step'"):
        curve_charts.of(made, ["loss"], None, "hour", False)


def test_steps_within_epochs_are_fractions_of_them() -> None:
    steps = pd.DataFrame({"version": ["a"] * 4, "run": [""] * 4, "epoch": [1, 1, 2, 2], "step": [0, 1, 0, 1]})
    steps["loss"] = [4.0, 3.0, 2.0, 1.0]
    steps["acc"] = [0.5, 0.5, 0.75, 0.75]
    assert curve_charts.of(steps, ["loss"], None, None, False).curves[0].x == (0, 1, 2, 3)
    assert curve_charts.of(steps, ["loss"], None, "epoch", False).curves[0].x == (0.5, 1.0, 1.5, 2.0)
    (acc,) = curve_charts.of(steps, ["acc"], None, "epoch", False).curves
    assert (acc.x, acc.y) == ((1, 2), (0.5, 0.75))


def test_a_chart_carries_its_script_and_becomes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = curve_charts.of(frame(), ["loss"], None, None, True)
    html = chart._repr_html_()
    assert "var uPlot=" in html
    assert re.findall(r'(?:src|href)="', html) == []
    pytest.importorskip("matplotlib")
    chart.save(str(tmp_path / "loss.svg"))
    assert "<svg" in (tmp_path / "loss.svg").read_text()
    with pytest.raises(UsageError, match="nonsense"):
        chart.save(str(tmp_path / "loss.nonsense"))
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        chart.save("loss.png")

"""Rows as CSV and JSON."""

from __future__ import annotations

import csv
import datetime
import io
import json

from flor_ray.reports.exports import as_csv, as_json

MOMENT = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
COLUMNS = ["name", "value", "at"]
ROWS: list[list[object]] = [
    ["a,b", 1.5, MOMENT],
    ['say "x"', float("nan"), None],
    ["", (1 << 60) + 1, True],
    ["-", [float("inf")], b"\0"],
]


def test_csv_reads_back_field_by_field() -> None:
    assert list(csv.reader(io.StringIO(as_csv(COLUMNS, ROWS)))) == [
        COLUMNS,
        ["a,b", "1.5", "2026-03-04T05:06:07+00:00"],
        ['say "x"', "nan", ""],
        ["", "1152921504606846977", "True"],
        ["-", "[inf]", "AA=="],
    ]


def test_json_holds_what_json_has_no_number_for_as_text() -> None:
    assert json.loads(as_json(COLUMNS, ROWS)) == [
        {"name": "a,b", "value": 1.5, "at": "2026-03-04T05:06:07+00:00"},
        {"name": 'say "x"', "value": "NaN", "at": None},
        {"name": "", "value": "1152921504606846977", "at": True},
        {"name": "-", "value": ["Infinity"], "at": "AA=="},
    ]
    assert json.loads(as_json(COLUMNS, [])) == []

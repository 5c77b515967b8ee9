"""FlorDB's four access paths in SQL (point, index scan, range scan, full scan), each equal to `flor.dataframe`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from flor_ray.relational import statements
from flor_ray.relational.database import RELATIONS, opened
from flor_ray.store.pivoting import data_frames, pivots
from flor_ray.store.pivoting.arrow_frames import frame_of
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from flor_ray.store.working_tree import PlainFolder
from tests.relational.recorded import START, Logged, experiment, store_of

RUNS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Runs that log at all levels, with values missing here and there; one has no loop, one logs in no nested loop."""
    chance = random.Random(16)
    runs = []
    for number in range(RUNS):
        epochs = 0 if number == 4 else chance.randint(2, 4)
        logged: list[Logged] = [("lr", None, None, chance.choice([0.1, 0.01])), ("opt", None, None, "adam")]
        for epoch in range(1, epochs + 1):
            for step in range(0 if number == 2 else 3):
                logged.append(("loss", epoch, step, math.nan if step == 1 else chance.random()))
                logged += [("hits", epoch, step, step)] if chance.random() < 0.5 else []
            logged += [("acc", epoch, None, round(chance.random(), 3))] if chance.random() < 0.8 else []
            logged.append(("ok", epoch, None, chance.random() < 0.5))
        version = f"{number:x}" * 40
        runs.append((experiment(version, epochs, 3, started=START + number, run=f"run {number % 2}"), logged))
    return store_of(tmp_path_factory.mktemp("paths"), runs)


def answered(store: Store, text: str) -> pd.DataFrame:
    statement = statements.parse(text, RELATIONS)
    project = Project(PlainFolder("/", ()), store, "p")
    with opened(project, statement, store.experiments("p"), {}, {}) as known:
        return frame_of(known.arrow(text))


def logged(store: Store, *names: str, level: str | None = None) -> pd.DataFrame:
    return data_frames.of(pivots.pivot(store, "p", names, store.experiments("p"), level=level))


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal values in equal order; times to the microsecond, since DuckDB has no finer ones with a zone."""
    assert list(found.columns) == list(expected.columns)
    for one in (found, expected):
        for column in one.columns:
            if isinstance(one[column].dtype, pd.DatetimeTZDtype):
                one[column] = one[column].astype("datetime64[us, UTC]")
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False)


Choice = Callable[[pd.DataFrame], Any]

ONE, TWO = "1" * 40, "2" * 40


def everything(frame: pd.DataFrame) -> Any:
    return frame.version == frame.version


PATHS: list[tuple[str, Choice]] = [
    # point
    (
        f"SELECT loss FROM full_pivot WHERE version = '{ONE}' AND epoch = 2 AND step = 1",
        lambda f: (f.version == ONE) & (f.epoch == 2) & (f.step == 1),
    ),
    (
        f"SELECT acc, lr, step FROM full_pivot WHERE version = '{TWO}' AND epoch = 1",
        lambda f: (f.version == TWO) & (f.epoch == 1),
    ),
    # index scan
    ("SELECT * FROM full_pivot WHERE run = 'run 1'", lambda f: f.run == "run 1"),
    ("SELECT version, epoch, step, hits FROM full_pivot WHERE lr = 0.1", lambda f: f.lr == 0.1),
    # range scan
    ("SELECT * FROM full_pivot WHERE epoch BETWEEN 2 AND 3", lambda f: f.epoch.between(2, 3).fillna(False)),
    ("SELECT * FROM full_pivot WHERE epoch >= 2", lambda f: (f.epoch >= 2).fillna(False)),
    ("SELECT * FROM full_pivot WHERE epoch < 3 AND step > 0", lambda f: ((f.epoch < 3) & (f.step > 0)).fillna(False)),
    ("SELECT version, acc FROM full_pivot WHERE acc > 0.4 AND acc <= 0.9", lambda f: (f.acc > 0.4) & (f.acc <= 0.9)),
    # full scan
    ("SELECT * FROM full_pivot", everything),
    ("SELECT version, epoch, step, loss, ok FROM full_pivot", everything),
]


@pytest.mark.parametrize(("text", "choice"), PATHS, ids=[text for text, _ in PATHS])
def test_an_access_path_answers_what_the_dataframe_has(store: Store, text: str, choice: Choice) -> None:
    frame = logged(store)
    chosen = frame[choice(frame).astype(bool)]
    assert len(chosen) > 0
    shown = text.removeprefix("SELECT ").partition(" FROM")[0]
    same(answered(store, text), chosen[list(frame.columns) if shown == "*" else shown.split(", ")])


@pytest.mark.parametrize(
    ("view", "level"), [("data_prep_pivot", "d"), ("outer_loop_pivot", "o"), ("inner_loop_pivot", "i")]
)
def test_the_views_of_levels_are_the_dataframes_of_levels(store: Store, view: str, level: str) -> None:
    names = {"d": ["lr", "opt"], "o": ["acc", "ok"], "i": ["hits", "loss"]}[level]
    frame = logged(store, *names, level=level)
    place = {"d": "version", "o": "epoch", "i": "step"}[level]
    same(answered(store, f"SELECT * FROM {view}"), frame[frame[place].notna()])


def test_a_column_keeps_the_type_that_it_has_in_a_dataframe(store: Store) -> None:
    found, expected = answered(store, "SELECT * FROM full_pivot").dtypes, logged(store).dtypes
    assert found.drop("timestamp").to_dict() == expected.drop("timestamp").to_dict()


def test_aggregates_are_those_of_pandas(store: Store) -> None:
    text = """SELECT version, count(hits), sum(hits) AS hits, max(acc) AS acc
              FROM full_pivot GROUP BY version ORDER BY version"""
    groups = logged(store).groupby("version")
    found = answered(store, text)
    assert found["count(hits)"].tolist() == groups["hits"].count().tolist()
    assert found["hits"].fillna(0).tolist() == groups["hits"].sum().tolist()
    assert str(found["hits"].dtype) == "Int64"
    pd.testing.assert_series_equal(found["acc"], groups["acc"].max(), check_index=False)


@pytest.mark.parametrize(
    ("text", "expected", "dtype"),
    [
        ("SELECT 9007199254740993 AS x UNION ALL SELECT NULL", [9007199254740993, None], "Int64"),
        ("SELECT 170141183460469231731687303715884105727 AS x", [2**127 - 1], "object"),
        ("SELECT sum(range) AS x FROM range(3)", [3], "int64"),
        ("SELECT true AS x UNION ALL SELECT NULL", [True, None], "boolean"),
        ("SELECT 'a' AS x UNION ALL SELECT NULL", ["a", None], "str"),
        ("SELECT NULL AS x", [None], "float64"),
    ],
)
def test_a_frame_changes_no_value(store: Store, text: str, expected: list[object], dtype: str) -> None:
    found = answered(store, text)["x"]
    assert str(found.dtype) == dtype
    assert [None if pd.isna(value) else value for value in found.tolist()] == expected

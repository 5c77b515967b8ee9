"""Pivots of real stores, and the selection of versions and epochs by a query string."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flor_ray.errors import BadWhere, FlorWarning
from flor_ray.records import Experiment, Level, LogRecord, Operator, Segment, SegmentReport, Status
from flor_ray.store import typed_values
from flor_ray.store.not_loaded import NotLoaded
from flor_ray.store.pivoting import pivot_columns, pivots
from flor_ray.store.pivoting.data_frames import dataframe, dimensions, of, referenced_columns, select
from flor_ray.store.store import Store

A, B, C = "a" * 40, "b" * 40, "c" * 40
REPORT = SegmentReport(Segment(A, 1, 3, Operator.DP_I, names=("g",)), rows=1, setup_seconds=0.5, run_seconds=1.5)


def run(version: str, epochs: int, name: str = "") -> Experiment:
    return Experiment("digits", version, None, "train.py", name, 0.5, None, Status.FINISHED, epochs=epochs)


def record(
    name: str, value: object, epoch: int | None = None, step: int | None = None, iteration: int = 0
) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
    return LogRecord(level, epoch, step, name, iteration, typed_values.encode(value), 0.0)


class Project:
    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.runs: list[Experiment] = []

    def add(self, version: str, epochs: int, *records: LogRecord, name: str = "") -> None:
        self.runs.append(run(version, epochs, name))
        self.store.append_logs("digits", version, "recorded", 0, records)

    def pivot(self, *names: str) -> pd.DataFrame:
        return dataframe(self.store, "digits", names, self.runs)

    def rows(self, *names: str) -> list[tuple[Any, ...]]:
        """The pivot without project, run and timestamp; versions by their first letter, missing values as None."""
        frame = self.pivot(*names).drop(columns=["project", "run", "timestamp"])
        frame["version"] = frame["version"].str[0]
        return [
            tuple(None if v is None or v is pd.NA or v != v else v for v in row) for row in frame.astype(object).values
        ]

    def where(self, query: str, virtual: Sequence[str] = ()) -> dict[str, list[int] | None]:
        names = sorted(referenced_columns(query))
        frame = dimensions(self.store, "digits", self.runs, names, virtual)
        found = select(frame, query)
        return {version[0]: None if epochs is None else sorted(epochs) for version, epochs in found.items()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(str(tmp_path))


@pytest.fixture
def trained(project: Project) -> Project:
    """a: two epochs of two steps; b: accuracy of its first epoch only; c: has not begun its main loop."""
    steps = [record("loss", e + s / 10, e, s) for e in (1, 2) for s in (0, 1)]
    project.add(A, 2, record("lr", 0.1), *steps, record("accuracy", 80, 1), record("accuracy", 90, 2), name="first")
    project.add(B, 3, record("lr", 0.2), record("accuracy", 70, 1))
    project.add(C, 0, record("lr", 0.3))
    return project


# --- levels ---------------------------------------------------------------------------------------------------------


def test_values_outside_the_main_loop_give_a_row_per_version(trained: Project) -> None:
    frame = trained.pivot("lr")
    assert list(frame.columns) == ["project", "version", "run", "timestamp", "lr"]
    assert frame.to_dict("list") == {
        "project": ["digits"] * 3,
        "version": [A, B, C],
        "run": ["first", "", ""],
        "timestamp": [pd.Timestamp("1970-01-01 00:00:00.5", tz="UTC")] * 3,
        "lr": [0.1, 0.2, 0.3],
    }


def test_values_in_the_main_loop_give_a_row_per_epoch_with_gaps(trained: Project) -> None:
    assert trained.rows("accuracy", "lr") == [
        ("a", 1, 80, 0.1),
        ("a", 2, 90, 0.1),
        ("b", 1, 70, 0.2),
        ("b", 2, None, 0.2),
        ("b", 3, None, 0.2),
        ("c", None, None, 0.3),
    ]


def test_values_in_the_nested_loop_give_a_row_per_step_with_gaps(trained: Project) -> None:
    assert trained.rows("loss", "accuracy") == [
        ("a", 1, 0, 1.0, 80),
        ("a", 1, 1, 1.1, 80),
        ("a", 2, 0, 2.0, 90),
        ("a", 2, 1, 2.1, 90),
        ("b", 1, None, None, 70),
        ("b", 2, None, None, None),
        ("b", 3, None, None, None),
        ("c", None, None, None, None),
    ]


def test_no_names_give_the_full_pivot_ordered_by_level_and_name(trained: Project) -> None:
    frame = trained.pivot()
    assert list(frame.columns)[4:] == ["epoch", "step", "lr", "accuracy", "loss"]
    assert len(frame) == 8


def test_columns_come_in_the_order_asked_for_and_once(trained: Project) -> None:
    assert list(trained.pivot("lr", "accuracy", "lr").columns)[4:] == ["epoch", "lr", "accuracy"]


def test_an_unknown_name_is_a_column_of_nan(trained: Project) -> None:
    assert trained.rows("nothing") == [("a", None), ("b", None), ("c", None)]
    assert trained.rows("nothing", "accuracy")[0] == ("a", 1, None, 80)


def test_no_experiments_are_an_empty_frame_with_columns(trained: Project) -> None:
    frame = dataframe(trained.store, "digits", ["lr"], [])
    assert (list(frame.columns), len(frame)) == (["project", "version", "run", "timestamp", "lr"], 0)


def test_experiments_may_be_chosen_and_keep_their_order(trained: Project) -> None:
    frame = dataframe(trained.store, "digits", ["lr"], [trained.runs[2], trained.runs[0]])
    assert frame["lr"].tolist() == [0.3, 0.1]


def test_epochs_that_the_run_did_not_count_are_shown_when_they_logged(project: Project) -> None:
    project.add(A, 1, record("x", 1, 1), record("x", 3, 3))
    assert project.rows("x") == [("a", 1, 1), ("a", 3, 3)]


def test_recorded_and_replayed_values_of_one_epoch_share_a_row(trained: Project) -> None:
    trained.store.write_replay(
        "digits", A, "replay-1", "s", [record("norm", 7.0, 2), record("accuracy", -1, 2)], REPORT
    )
    assert trained.rows("accuracy", "norm")[:2] == [("a", 1, 80, None), ("a", 2, 90, 7.0)]


def test_a_name_may_have_different_levels_in_a_version_and_all_can_be_read(project: Project) -> None:
    project.add(A, 2, record("x", 1), record("x", 2, 1), record("x", 3, 1, 0))
    assert project.rows("x") == [("a", 1, 0, 1, 2, 3), ("a", 2, None, 1, None, None)]


def test_a_feature_named_like_a_dimension_gets_a_suffix(project: Project) -> None:
    project.add(A, 1, record("version", "v1"), record("epoch", 7, 1))
    assert list(project.pivot().columns)[4:] == ["epoch", "version_logged", "epoch_logged"]
    assert project.rows() == [("a", 1, "v1", 7)]


# --- iterations -----------------------------------------------------------------------------------------------------


def test_repeated_values_have_rows_of_their_own(project: Project) -> None:
    project.add(
        A, 2, record("lr", 0.1), record("x", 1, 1), record("x", 2, 1, None, 1), record("y", 5, 1), record("x", 3, 2)
    )
    frame = project.pivot("x", "y", "lr")
    assert list(frame.columns)[4:] == ["epoch", "iteration", "x", "y", "lr"]
    assert project.rows("x", "y", "lr") == [
        ("a", 1, 0, 1, 5, 0.1),
        ("a", 1, 1, 2, None, 0.1),
        ("a", 2, 0, 3, None, 0.1),
    ]


def test_a_repeated_coarse_value_is_not_lost_in_a_finer_pivot(project: Project) -> None:
    project.add(
        A, 2, record("file", "x"), record("file", "y", iteration=1), record("acc", 1.0, 1), record("acc", 2.0, 2)
    )
    assert project.rows("acc", "file") == [
        ("a", 1, 0, 1.0, "x"),
        ("a", 1, 1, None, "y"),
        ("a", 2, 0, 2.0, "x"),
        ("a", 2, 1, None, "y"),
    ]


# --- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logged", "dtype", "expected"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1, None], "Int64", [1, pd.NA]),
        ([2**62 + 1, ...], "Int64", [2**62 + 1, pd.NA]),
        ([0.5, math.inf], "float64", [0.5, math.inf]),
        ([0.5, None], "float64", [0.5, math.nan]),
        ([1, 0.5], "float64", [1.0, 0.5]),
        ([2**62 + 1, 0.5], "object", [2**62 + 1, 0.5]),
        ([True, False], "bool", [True, False]),
        ([True, ...], "boolean", [True, pd.NA]),
        ([True, 2], "object", [True, 2]),
        (["a", "b"], "str", ["a", "b"]),
        (["a", ...], "str", ["a", math.nan]),
        (["a", "\udcff"], "object", ["a", "\udcff"]),
        (["a", 1], "object", ["a", 1]),
        ([2**70, 1], "object", [2**70, 1]),
        ([[1, 2], {"a": math.nan}], "object", [[1, 2], {"a": math.nan}]),
        ([None, None], "object", [None, None]),
        ([..., ...], "float64", [math.nan, math.nan]),
        ([b"x", {1: 2}], "object", [b"x", {1: 2}]),
    ],
)
def test_a_column_has_the_narrowest_type_that_holds_its_values(
    project: Project, logged: list[Any], dtype: str, expected: list[Any]
) -> None:
    values = [record("x", value, epoch) for epoch, value in enumerate(logged, 1) if value is not ...]
    project.add(A, 2, record("other", 1), *values)
    column = project.pivot("x", "other")["x"] if values else project.pivot("x", "other")["x"].repeat(2)
    assert str(column.dtype) == dtype
    assert repr(column.tolist()) == repr(expected)


def test_arrays_come_back_as_arrays_and_a_lost_one_is_named(project: Project) -> None:
    matrices = [np.full((2, 2), epoch) for epoch in (1, 2)]
    project.add(A, 3, *(record("cf", matrix, epoch) for epoch, matrix in enumerate(matrices, 1)))
    column = project.pivot("cf")["cf"]
    np.testing.assert_array_equal(np.stack(column[:2].tolist()), np.stack(matrices))
    assert math.isnan(column[2])
    key = project.store.logs("digits")["text"][0].as_py()
    project.store.objects.delete(key)
    with pytest.warns(FlorWarning, match=key):
        column = project.pivot("cf")["cf"]
    assert [isinstance(value, NotLoaded) for value in column] == [True, False, False]


# --- where ----------------------------------------------------------------------------------------------------------


def test_dimensions_have_every_epoch_once(trained: Project) -> None:
    frame = dimensions(trained.store, "digits", trained.runs, ["lr"], ["cf_matrix"])
    assert list(frame.columns)[4:] == ["epoch", "lr", "cf_matrix"]
    assert list(zip(frame["version"].str[0], frame["epoch"], frame["lr"], strict=True)) == [
        ("a", 1, 0.1),
        ("a", 2, 0.1),
        ("b", 1, 0.2),
        ("b", 2, 0.2),
        ("b", 3, 0.2),
        ("c", pd.NA, 0.3),
    ]
    assert frame["cf_matrix"].isna().all()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cf_matrix.isna()", {"a": [1, 2], "b": [1, 2, 3], "c": None}),
        ("cf_matrix.notna()", {}),
        ("accuracy < 85 and epoch >= 1", {"a": [1], "b": [1]}),
        ("accuracy < 85 or lr == 0.3", {"a": [1], "b": [1], "c": None}),
        ("accuracy.isna()", {"b": [2, 3], "c": None}),
        ("not accuracy > 85", {"a": [1], "b": [1]}),
        ("loss > 1.5", {"a": [2]}),
        ("loss > 0", {"a": [1, 2]}),
        ("run == 'first'", {"a": [1, 2]}),
        ("version.str.startswith('b') and epoch == 2", {"b": [2]}),
        ("epoch in [2, 3]", {"a": [2], "b": [2, 3]}),
        ("abs(lr - 0.2) < 0.01 & (epoch == 1)", {"b": [1]}),
        ("timestamp > '2030-01-01'", {}),
        ("timestamp < '1970-01-01T01:00+00:00' and epoch == 3", {"b": [3]}),
        ("epoch.isna()", {"c": None}),
        ("lr < inf", {"a": [1, 2], "b": [1, 2, 3], "c": None}),
        ("`lr` >= 0.2", {"b": [1, 2, 3], "c": None}),
        ("True", {"a": [1, 2], "b": [1, 2, 3], "c": None}),
        ("False", {}),
    ],
)
def test_where_picks_versions_and_epochs(trained: Project, query: str, expected: dict[str, list[int] | None]) -> None:
    assert trained.where(query, virtual=["cf_matrix"]) == expected


def test_where_sees_replayed_bools_with_gaps(trained: Project) -> None:
    trained.store.write_replay("digits", A, "replay-1", "s", [record("bad flag", True, 2)], REPORT)
    assert trained.where("`bad flag`") == {"a": [2]}
    assert trained.where("~`bad flag`.isna()") == {"a": [2]}


def test_where_on_no_experiments_picks_nothing(trained: Project) -> None:
    assert select(dimensions(trained.store, "digits", [], ["lr"]), "lr > 0") == {}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("accuracy <", "it does not parse"),
        ("", "it does not parse"),
        ("accuracy = 3", "it does not parse"),
        ("@secret > 1", "it does not parse"),
        ("acuracy < 3", "there is no column 'acuracy'"),
        ("accuracy + 1", "it gives values of type"),
        ("accuracy.mean()", "it gives a float"),
        ("run", "it gives values of type str, not true or false"),
        ("accuracy.nonsense()", "asks for `.nonsense`, which a condition may not"),
        ("run < 3", "TypeError"),
        ("__import__('os').system('true')", "ValueError|not a supported function|asks for `.system`"),
        ("[e for e in epoch]", "no column 'e'|not implemented"),
    ],
)
def test_a_where_that_makes_no_sense_says_why_and_lists_the_columns(trained: Project, query: str, why: str) -> None:
    frame = dimensions(trained.store, "digits", trained.runs, ["accuracy"])
    with pytest.raises(BadWhere, match=why) as caught:
        select(frame, query)
    assert {"version", "epoch"} <= set(caught.value.columns)


def test_the_columns_of_a_where_are_its_identifiers() -> None:
    assert referenced_columns("accuracy < 95 and epoch >= 3") == {"accuracy", "epoch"}
    assert referenced_columns("cf_matrix.isna() or sin(x) > `val acc`") == {"cf_matrix", "x", "val acc"}
    assert referenced_columns("  True ") == frozenset()
    with pytest.raises(BadWhere, match="does not parse"):
        referenced_columns("a <")


@pytest.mark.parametrize(
    "where",
    [
        "loss.to_csv('table.csv') is None",
        "loss.values.tofile('table.bin')",
        "loss.__class__.__init__.__globals__['os'].system('true')",
        "run.str.__class__",
        "run.str._orig.to_pickle('table')",
        "loss.agg('to_csv')",
        "loss.transform('to_csv')",
        "loss.apply(run)",
        "loss.pipe(run)",
        "@pd.io",
    ],
)
def test_a_condition_may_only_compute(where: str) -> None:
    with pytest.raises(BadWhere):
        referenced_columns(where)


def test_what_conditions_are_made_of_is_as_it_was() -> None:
    assert referenced_columns("loss == loss.groupby(version).transform('min')") == {"loss", "version"}
    assert referenced_columns("run.str.contains('a').fillna(False) | timestamp.dt.year > 2025") == {"run", "timestamp"}


def test_a_pivot_of_many_rows_is_right_everywhere(project: Project) -> None:
    for version, seed in ((A, 1.0), (B, 2.0)):
        steps = [record("loss", seed * e * s, e, s) for e in range(1, 21) for s in range(50)]
        project.add(version, 20, *steps, *(record("acc", seed * e, e) for e in range(1, 21)))
    frame = project.pivot("loss", "acc")
    seeds = frame["version"].map({A: 1.0, B: 2.0})
    assert len(frame) == 2000
    assert (frame["loss"] == seeds * frame["epoch"] * frame["step"]).all()
    assert (frame["acc"] == seeds * frame["epoch"]).all()
    pd.testing.assert_frame_equal(frame, project.pivot("loss", "acc"))


# --- one name at several levels ---------------------------------------------------------------------------------------


@pytest.fixture
def mixed(project: Project) -> Project:
    """a: a loss before and after the loop, per epoch and per step; b: per epoch only."""
    steps = [record("loss", e + s / 10, e, s) for e in (1, 2) for s in (0, 1)]
    epochs = [record("loss", 10.0 * e, e) for e in (1, 2)]
    project.add(A, 2, record("loss", 100.0), *steps, *epochs, record("loss", 200.0, iteration=1))
    project.add(B, 1, record("loss", 50.0, 1))
    return project


def test_each_level_of_a_name_has_a_column_where_a_version_has_several(mixed: Project) -> None:
    frame = mixed.pivot("loss")
    assert list(frame.columns)[4:] == ["epoch", "step", "iteration", "loss_d", "loss_o", "loss"]
    assert mixed.rows("loss") == [
        ("a", 1, 0, 0, 100.0, 10.0, 1.0),
        ("a", 1, 0, 1, 200.0, 10.0, None),
        ("a", 1, 1, 0, 100.0, 10.0, 1.1),
        ("a", 1, 1, 1, 200.0, 10.0, None),
        ("a", 2, 0, 0, 100.0, 20.0, 2.0),
        ("a", 2, 0, 1, 200.0, 20.0, None),
        ("a", 2, 1, 0, 100.0, 20.0, 2.1),
        ("a", 2, 1, 1, 200.0, 20.0, None),
        ("b", 1, None, 0, None, 50.0, 50.0),
    ]


@pytest.mark.parametrize(
    ("level", "rows"),
    [
        ("d", [("A", None, None, 0, 100.0), ("A", None, None, 1, 200.0), ("B", None, None, 0, None)]),
        ("o", [("A", 1, None, 0, 10.0), ("A", 2, None, 0, 20.0), ("B", 1, None, 0, 50.0)]),
        ("i", [*[("A", e, s, 0, e + s / 10) for e in (1, 2) for s in (0, 1)], ("B", 1, None, 0, None)]),
    ],
)
def test_a_level_that_is_asked_for_is_all_that_counts(mixed: Project, level: str, rows: list[tuple[Any, ...]]) -> None:
    found = pivots.pivot(mixed.store, "digits", ["loss"], mixed.runs, level=level)
    columns = ["version", "epoch", "step", "iteration", "loss"]
    blank = pivot_columns.Column(pivot_columns.Kind.NUMBER, np.zeros(found.length, np.int64))
    none = pivot_columns.Column(pivot_columns.Kind.OBJECT, np.full(found.length, None, object))
    shown = {c: found.columns.get(c, blank if c == "iteration" else none) for c in columns}
    got = [[column.value(row) for column in shown.values()] for row in range(found.length)]
    assert [(str(v)[0].upper(), e, s, i, None if x != x else x) for v, e, s, i, x in got] == rows


def test_a_level_of_one_name_leaves_coarser_values_of_others(trained: Project) -> None:
    frame = of(pivots.pivot(trained.store, "digits", ["accuracy", "lr", "loss"], trained.runs, level="o"))
    assert list(frame.columns)[4:] == ["epoch", "accuracy", "lr", "loss"]
    assert frame["accuracy"].tolist()[:3] == [80, 90, 70]
    assert frame["lr"].tolist() == [0.1, 0.1, 0.2, 0.2, 0.2, 0.3]
    assert frame["loss"].isna().all()
    trained.store.append_logs("digits", A, "recorded", 100, [record("loss", 9.0)])
    frame = of(pivots.pivot(trained.store, "digits", ["loss"], trained.runs, level="o"))
    assert frame["loss"].isna().all()  # what was logged outside of the loop is no value of an epoch


def test_a_feature_with_the_name_of_a_levels_column_keeps_it(mixed: Project) -> None:
    mixed.add(C, 1, record("loss_o", 7.0, 1))
    frame = mixed.pivot()
    assert {"loss", "loss_d", "loss_o", "loss_o_logged"} <= set(frame.columns)
    assert frame["loss_o"].dropna().tolist() == [7.0]
    assert frame["loss_o_logged"].dropna().unique().tolist() == [10.0, 20.0, 50.0]


def test_a_level_can_be_asked_of_where(mixed: Project) -> None:
    one, two = frozenset({1}), frozenset({2})
    queries = {"loss_o > 15": {A: two, B: one}, "loss_d == 200 and loss_o < 15": {A: one}}
    for query, expected in queries.items():
        names = sorted(pivots.features_of(referenced_columns(query), {"loss", "accuracy"}))
        assert names == ["loss"]
        assert select(dimensions(mixed.store, "digits", mixed.runs, names), query) == expected


def test_columns_are_those_of_features_or_of_their_levels() -> None:
    assert pivots.features_of(["loss_o", "x_d", "y_z", "epoch"], {"loss", "x_d", "x", "y"}) == {"loss", "x_d"}

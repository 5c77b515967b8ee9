"""Tables and views in SQL: what statements see of what was recorded, and that they see it unchanged."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flor_ray.errors import BadStatement
from flor_ray.records import Checkpoint, Operator, Point, Segment, SegmentReport, Skip, SourceFile
from flor_ray.records import EpochTimes as Times
from flor_ray.relational.database import RELATIONS, Database, opened
from flor_ray.relational.views import Gaps
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from flor_ray.store.working_tree import PlainFolder
from tests.relational.recorded import START, Logged, experiment, records, store_of

ONE, TWO = "a" * 40, "b" * 40


@dataclass(frozen=True)
class Asked:
    """What is known of a statement, by its words."""

    relations: tuple[str, ...]
    columns: frozenset[str]
    star: bool
    filters: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


def asked(text: str, star: bool | None = None) -> Asked:
    names = re.findall(r'"((?:[^"]|"")*)"|(\w+)', text)
    words = frozenset((quoted.replace('""', '"') or plain).lower() for quoted, plain in names)
    found = tuple(name for name in RELATIONS if name in words)
    return Asked(found, words, "*" in text.replace("count(*)", "") if star is None else star)


def database(
    store: Store,
    text: str,
    gaps: Gaps | None = None,
    levels: Mapping[str, Collection[str]] | None = None,
    star: bool | None = None,
    repeating: Collection[str] = (),
) -> Database:
    project = Project(PlainFolder("/", ()), store, "p")
    return opened(project, asked(text, star), store.experiments("p"), levels or {}, gaps or {}, repeating)


def rows(store: Store, text: str, **others: Any) -> list[tuple[Any, ...]]:
    with database(store, text, **others) as found:
        return found.rows(text)


def types(store: Store, text: str, **others: Any) -> dict[str, str]:
    with database(store, text, **others) as found:
        return {name: kind for name, kind, *_ in found.rows(f"DESCRIBE {text}")}


LOGGED: Sequence[Logged] = [
    ("lr", None, None, 0.1),
    ("loss", 1, 0, 1.0),
    ("loss", 1, 1, 0.5),
    ("acc", 1, None, 0.7),
    ("loss", 2, 0, 0.25),
    ("loss", 2, 1, math.nan),
    ("acc", 2, None, 0.8),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    other = [("lr", None, None, 0.2), ("acc", 1, None, 0.9)]
    first = experiment(ONE, 2, args={"lr": 0.1, "opt": "adam"}, main_loop="epoch", nested_loop="batch", run="first")
    second = experiment(TWO, 1, started=START + 100, main_loop="lap")
    return store_of(tmp_path, [(first, LOGGED), (second, other)])


# --- views ----------------------------------------------------------------------------------------------------------


def test_each_view_has_the_features_and_the_rows_of_its_level(store: Store) -> None:
    assert rows(store, "SELECT * EXCLUDE (project, timestamp) FROM data_prep_pivot") == [
        (ONE, "first", 0.1),
        (TWO, "", 0.2),
    ]
    assert rows(store, "SELECT * EXCLUDE (project, timestamp, run) FROM outer_loop_pivot") == [
        (ONE, 1, 0.7),
        (ONE, 2, 0.8),
        (TWO, 1, 0.9),
    ]
    found = rows(store, "SELECT version, epoch, step, loss FROM inner_loop_pivot")
    assert found[:3] == [(ONE, 1, 0, 1.0), (ONE, 1, 1, 0.5), (ONE, 2, 0, 0.25)]
    assert len(found) == 4
    assert math.isnan(found[3][3])


def test_coarser_values_repeat_on_finer_rows_also_where_an_epoch_has_no_outer_row(store: Store) -> None:
    assert rows(store, "SELECT epoch, step, lr, acc, loss FROM full_pivot WHERE NOT isnan(loss) OR loss IS NULL") == [
        (1, 0, 0.1, 0.7, 1.0),
        (1, 1, 0.1, 0.7, 0.5),
        (2, 0, 0.1, 0.8, 0.25),
        (1, None, 0.2, 0.9, None),
    ]


def test_which_rows_a_view_has_does_not_depend_on_the_columns_that_are_named(store: Store) -> None:
    assert rows(store, "SELECT count(*) FROM full_pivot") == [(5,)]
    assert rows(store, "SELECT count(acc) FROM full_pivot") == [(5,)]
    assert rows(store, "SELECT count(*) FROM outer_loop_pivot") == [(3,)]


def test_the_names_of_the_paper_and_those_of_users_loops_are_columns_too(store: Store) -> None:
    text = "SELECT projectid, versionid, batch, lap FROM full_pivot ORDER BY versionid, epoch, batch LIMIT 2"
    assert rows(store, text) == [("p", ONE, 0, None), ("p", ONE, 1, None)]
    assert rows(store, "SELECT lap FROM full_pivot WHERE version LIKE 'b%'") == [(1,)]
    assert "batch" not in types(store, "SELECT * FROM full_pivot")


def test_times_have_a_zone(store: Store) -> None:
    text = "SELECT timestamp FROM data_prep_pivot WHERE timestamp < '2023-11-14 22:14:00' LIMIT 1"
    assert rows(store, text) == [(datetime.datetime.fromtimestamp(START, datetime.UTC),)]


def test_a_feature_without_values_is_null_and_compares_with_anything(store: Store) -> None:
    gaps = {"h": {ONE: frozenset({1, 2})}}
    levels = {"h": ["o"]}
    for text in ("h = 'cat'", "h > 0.5", "h", "NOT h", "upper(h) = 'X'", "h + 1 > 2"):
        statement = f"SELECT epoch FROM outer_loop_pivot WHERE {text}"
        assert rows(store, statement, gaps=gaps, levels=levels) == []
    assert rows(store, "SELECT avg(h), max(h), count(h) FROM full_pivot", levels=levels) == [(None, None, 0)]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("SELECT lr FROM outer_loop_pivot", "lr is a column of data_prep_pivot and full_pivot."),
        ("SELECT o.LOSS FROM outer_loop_pivot o", "LOSS is a column of inner_loop_pivot and full_pivot."),
        ("SELECT nothing FROM outer_loop_pivot", "Ask with one SELECT"),
    ],
)
def test_a_column_of_another_view_is_told_where_it_is(store: Store, text: str, advice: str) -> None:
    with pytest.raises(BadStatement, match=re.escape(advice)):
        rows(store, text)


# --- gaps -----------------------------------------------------------------------------------------------------------


def flagged(store: Store, name: str, text: str, **others: Any) -> list[tuple[Any, ...]]:
    """Rows of a view's twin: epoch, step, the flag of h, the flag of rows that others may be added to."""
    with database(store, text, **others) as found:
        relation = found.relations[name]
        flag = '"' + relation.flags["h"] + '"' if relation.flags else "FALSE"
        opens = f'"{relation.opens}"' if relation.opens else "FALSE"
        step = "step" if "step" in relation.columns else "NULL"
        return found.rows(f'SELECT version[1], epoch, {step}, {flag}, {opens} FROM "{relation.flagged or name}"')


def test_gaps_are_flagged_on_the_rows_whose_value_they_could_give(store: Store) -> None:
    gaps = {"h": {ONE: frozenset({2}), TWO: frozenset[int | None]()}}
    found = flagged(store, "full_pivot", "SELECT h FROM full_pivot", gaps=gaps, levels={"h": ["o"]})
    assert found == [
        ("a", 1, 0, False, False),
        ("a", 1, 1, False, False),
        ("a", 2, 0, True, False),
        ("a", 2, 1, True, False),
        ("b", 1, None, False, False),
    ]


def test_a_gap_outside_the_main_loop_is_on_every_row_of_its_version(store: Store) -> None:
    gaps = {"h": {ONE: frozenset({None})}}
    found = flagged(store, "full_pivot", "SELECT h FROM full_pivot", gaps=gaps, levels={"h": ["d"]})
    assert [row[3] for row in found] == [True] * 4 + [False]


def test_select_star_shows_no_flag_and_no_feature_can_have_the_name_of_one(tmp_path: Path) -> None:
    logged = [("gap 0", 1, None, 1), ("opens", 1, None, 2), ("h", 1, None, 3)]
    store = store_of(tmp_path, [(experiment(ONE, 2), logged)])
    gaps = {"h": {ONE: frozenset({2})}}
    with database(store, "SELECT * FROM outer_loop_pivot", gaps=gaps, repeating=["h"]) as found:
        relation = found.relations["outer_loop_pivot"]
        assert relation.columns == ("project", "version", "run", "timestamp", "epoch", "gap 0", "h", "opens")
        assert relation.flags == {"h": "gap 0_"}
        assert relation.opens == "opens_"
        assert relation.adders == ("h",)
        assert found.arrow("SELECT * FROM outer_loop_pivot").schema.names == list(relation.columns)
        text = f'SELECT epoch, "gap 0", "gap 0_", opens_ FROM "{relation.flagged}"'
        assert found.rows(text) == [(1, 1, False, False), (2, None, True, True)]


def test_steps_that_were_counted_are_rows_before_a_nested_loops_gap_is_filled_and_after(tmp_path: Path) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 2, steps=3), [("acc", 1, None, 0.5), ("acc", 2, None, 0.5)])])
    text, levels = "SELECT h FROM full_pivot", {"h": ["i"]}
    assert rows(store, "SELECT count(*) FROM full_pivot") == [(2,)]
    gaps = {"h": {ONE: frozenset({2})}}
    expected = [("a", 1, None, False, False), *(("a", 2, step, True, False) for step in range(3))]
    assert flagged(store, "full_pivot", text, gaps=gaps, levels=levels) == expected
    segment = Segment(ONE, 2, 2, Operator.DP_I, names=("h",))
    report = SegmentReport(segment, rows=1, setup_seconds=0.0, run_seconds=0.0)
    store.write_replay("p", ONE, "r", segment.id, records([("h", 2, 1, 7.0)]), report)
    assert rows(store, "SELECT epoch, step, acc, h FROM full_pivot", levels=levels) == [
        (1, None, 0.5, None),
        (2, 0, 0.5, None),
        (2, 1, 0.5, 7.0),
        (2, 2, 0.5, None),
    ]


def test_where_steps_were_not_counted_a_nested_loops_gap_may_add_rows(tmp_path: Path) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 2), [("acc", 1, None, 0.5), ("loss", 2, 0, 0.5)])])
    gaps, levels = {"h": {ONE: frozenset({1, 2})}}, {"h": ["i"]}
    expected = [("a", 1, None, True, True), ("a", 2, 0, True, True)]
    assert flagged(store, "full_pivot", "SELECT h FROM full_pivot", gaps=gaps, levels=levels) == expected
    assert flagged(store, "inner_loop_pivot", "SELECT h FROM inner_loop_pivot", gaps=gaps, levels=levels) == expected
    assert rows(store, "SELECT epoch, step FROM inner_loop_pivot", gaps=gaps, levels=levels) == [(2, 0)]
    with database(store, "SELECT h, acc, loss FROM full_pivot, inner_loop_pivot", gaps=gaps, levels=levels) as found:
        assert found.relations["full_pivot"].numbered == ("step", "loss", "h")
        assert not found.relations["full_pivot"].appears
        assert found.relations["inner_loop_pivot"].appears


def test_a_feature_that_one_place_has_several_of_may_add_rows(tmp_path: Path) -> None:
    logged = [("h", 1, None, 1), ("h", 1, None, 2), ("acc", 1, None, 0.5), ("acc", 2, None, 0.6), ("lr", None, None, 1)]
    store = store_of(tmp_path, [(experiment(ONE, 2), logged)])
    text, gaps = "SELECT h FROM outer_loop_pivot", {"h": {ONE: frozenset({2})}}
    assert [row[3:] for row in flagged(store, "outer_loop_pivot", text, gaps=gaps)] == [(False, False)] * 2 + [
        (True, True)
    ]
    with database(store, "SELECT h, acc, lr FROM full_pivot", gaps=gaps) as found:
        assert found.relations["full_pivot"].numbered == ("step", "iteration", "acc", "h")
    assert rows(store, "SELECT epoch, iteration, h, acc FROM outer_loop_pivot") == [
        (1, 0, 1, 0.5),
        (1, 1, 2, None),
        (2, 0, None, 0.6),
    ]


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = [
    "val.loss", "val/loss", 'a "quoted" name', "it's", "two words", " lead", "trail ", "select", "group", "end",
    "üml", "日本", "x\ny", "tab\there", "a;b", "--", "/*", "%s", "$1", "a\\b", "0", "1e5", "_", "😀", "col,umn", "(x)",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_of_any_name_is_read_back(tmp_path: Path, name: str) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 1), [(name, 1, None, 7), ("other", 1, None, 8)])])
    identifier = '"' + name.replace('"', '""') + '"'
    assert rows(store, f"SELECT {identifier} FROM outer_loop_pivot", star=True) == [(7,)]
    with database(store, "SELECT * FROM outer_loop_pivot") as found:
        assert set(found.arrow("SELECT * EXCLUDE (project) FROM outer_loop_pivot").schema.names) >= {name, "other"}


@pytest.mark.parametrize("name", ["epoch", "Epoch", "version", "timestamp", "STEP", "run", "iteration", "project", ""])
def test_a_feature_with_the_name_of_a_dimension_gets_a_suffix(tmp_path: Path, name: str) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 1), [(name, 1, None, 7)])])
    assert rows(store, f'SELECT "{name}_logged", epoch FROM outer_loop_pivot') == [(7, 1)]


def test_the_suffix_takes_no_other_features_name(tmp_path: Path) -> None:
    logged = [("epoch", 1, None, 7), ("epoch_logged", 1, None, 8), ("Epoch", 1, None, 9)]
    store = store_of(tmp_path, [(experiment(ONE, 1), logged)])
    text = "SELECT * EXCLUDE (project, version, run, timestamp) FROM outer_loop_pivot"
    with database(store, text) as found:
        shown = found.arrow(text).to_pylist()[0]
    assert sorted(value for name, value in shown.items() if name != "epoch") == [7, 8, 9]
    assert shown["epoch_logged"] == 8


def test_names_that_differ_in_case_only_are_kept_apart_where_they_are_quoted(tmp_path: Path) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 1), [("Loss", 1, None, 1), ("loss", 1, None, 2), ("x", 1, None, 3)])])
    text = 'SELECT "Loss", "loss", o."Loss" + o."loss" AS both, x FROM outer_loop_pivot o WHERE "loss" > "Loss"'
    with database(store, text) as found:
        assert found.arrow(text).to_pylist() == [{"Loss": 1, "loss": 2, "both": 3, "x": 3}]
        assert found.features[found.inner('"Loss"').strip('"')] == "Loss"
    with database(store, "SELECT * FROM outer_loop_pivot") as found:
        assert found.arrow("SELECT * FROM outer_loop_pivot").schema.names[-3:] == ["Loss", "loss", "x"]
    assert rows(store, "SELECT X FROM outer_loop_pivot") == [(3,)]


@pytest.mark.parametrize("written", ["loss", "Loss", '"LOSS"', "max(loss)", "o.loss", "x AS loss"])
def test_names_that_differ_in_case_only_are_an_error_that_names_both(tmp_path: Path, written: str) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 1), [("Loss", 1, None, 1), ("loss", 1, None, 2), ("x", 1, None, 3)])])
    with pytest.raises(BadStatement, match='"Loss" or "loss"'):
        rows(store, f"SELECT {written} FROM outer_loop_pivot o")


def test_a_name_at_several_levels_has_a_column_for_each(tmp_path: Path) -> None:
    logged = [
        ("x", None, None, 100.0),
        ("x", 1, 0, 1.0),
        ("x", 1, 1, 2.0),
        ("x", 1, None, 50.0),
        ("x_o", None, None, 9),
    ]
    store = store_of(tmp_path, [(experiment(ONE, 1), logged)])
    assert rows(store, "SELECT step, x, x_o, x_d, x_o_logged FROM full_pivot") == [
        (0, 1.0, 9, 100.0, 50.0),
        (1, 2.0, 9, 100.0, 50.0),
    ]
    assert rows(store, "SELECT x FROM data_prep_pivot") == [(100.0,)]
    assert rows(store, "SELECT x FROM outer_loop_pivot") == [(50.0,)]
    assert rows(store, "SELECT x FROM inner_loop_pivot") == [(1.0,), (2.0,)]


def test_three_thousand_columns(tmp_path: Path) -> None:
    logged = [(f"metric {number}", 1, None, number) for number in range(3000)]
    store = store_of(tmp_path, [(experiment(ONE, 1), logged)])
    assert rows(store, "SELECT * EXCLUDE (project, version, run, timestamp, epoch) FROM full_pivot")[0][1:] == tuple(
        value for _, value in sorted((name, value) for name, *_, value in logged)
    )
    assert rows(store, 'SELECT "metric 2999" FROM outer_loop_pivot') == [(2999,)]


# --- values ---------------------------------------------------------------------------------------------------------

HUGE, LARGEST = 2**70, 2**63 - 1


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([1, 2**53 + 1, LARGEST, -(2**63)], "BIGINT", [1, 2**53 + 1, LARGEST, -(2**63)]),
        ([1, HUGE, -HUGE], "HUGEINT", [1, HUGE, -HUGE]),
        ([1, 10**50], "VARCHAR", ["1", str(10**50)]),
        ([1, 0.5], "DOUBLE", [1.0, 0.5]),
        ([2**60, 0.5], "DOUBLE", [float(2**60), 0.5]),
        ([2**53 + 1, 0.5], "VARCHAR", [str(2**53 + 1), "0.5"]),
        ([LARGEST, 0.5], "VARCHAR", [str(LARGEST), "0.5"]),
        ([math.inf, -math.inf, 1.5], "DOUBLE", [math.inf, -math.inf, 1.5]),
        ([True, False, None], "BOOLEAN", [True, False, None]),
        ([True, 1], "VARCHAR", ["true", "1"]),
        (["a", "1", None], "VARCHAR", ["a", "1", None]),
        ([1, "a", [1]], "VARCHAR", ["1", "a", "[1]"]),
        ([{"a": 1}, [2, "b"]], "JSON", ['{"a": 1}', '[2, "b"]']),
        ([None, None], '"NULL"', [None, None]),
        ([1, None, 3], "BIGINT", [1, None, 3]),
    ],
)  # fmt: skip
def test_a_column_is_as_narrow_as_its_values_allow_and_changes_none(
    tmp_path: Path, values: list[object], kind: str, shown: list[object]
) -> None:
    logged = [("x", epoch, None, value) for epoch, value in enumerate(values, 1)]
    store = store_of(tmp_path, [(experiment(ONE, len(values)), logged)])
    assert [value for (value,) in rows(store, "SELECT x FROM outer_loop_pivot")] == shown
    assert types(store, "SELECT x FROM outer_loop_pivot")["x"] == kind


def test_nan_is_a_value_that_sorts_above_all_others_and_is_found(store: Store) -> None:
    assert rows(store, "SELECT count(*) FROM inner_loop_pivot WHERE loss > 1e300") == [(1,)]
    assert rows(store, "SELECT count(*) FROM inner_loop_pivot WHERE is_nan(loss)") == [(1,)]
    assert rows(store, "SELECT max(nan_to_null(loss)) FROM inner_loop_pivot") == [(1.0,)]
    assert rows(store, "SELECT count(*) FROM inner_loop_pivot WHERE loss IS NULL") == [(0,)]


def test_what_a_column_cannot_show_as_it_was_is_told(tmp_path: Path) -> None:
    logged = [("x", 1, None, 1), ("x", 2, None, "a"), ("y", 1, None, 2)]
    store = store_of(tmp_path, [(experiment(ONE, 2), logged)])
    with database(store, "SELECT x, y FROM outer_loop_pivot") as found:
        assert found.notes == ("x holds values of several types (int, str), as text",)
    with database(store, "SELECT y FROM outer_loop_pivot") as found:
        assert found.notes == ()
    with pytest.raises(BadStatement, match="Cannot compare values of type VARCHAR"):
        rows(store, "SELECT epoch FROM outer_loop_pivot WHERE x > 0")


def test_arrays_are_references_into_the_object_store(tmp_path: Path) -> None:
    import numpy as np

    store = store_of(tmp_path, [(experiment(ONE, 1), [("cf", 1, None, np.arange(5)), ("b", 1, None, b"\x00\xff")])])
    text = """SELECT octet_length(object_bytes(cf)), object_bytes(b), s.bytes
              FROM outer_loop_pivot JOIN object_store s ON s.key = b"""
    assert rows(store, text) == [(168, b"\x00\xff", 2)]


# --- tables ---------------------------------------------------------------------------------------------------------


def test_experiments_and_their_arguments(store: Store) -> None:
    text = """SELECT projectid, versionid, filename, status, epochs, args->>'opt', CAST(args->>'lr' AS DOUBLE), argv
              FROM experiments"""
    assert rows(store, text) == [
        ("p", ONE, "train.py", "finished", 2, "adam", 0.1, []),
        ("p", TWO, "train.py", "finished", 1, None, None, []),
    ]
    assert rows(store, "SELECT count(*) FROM experiments WHERE ended - started = INTERVAL 1 MINUTE") == [(1,)]


def test_log_records_as_the_paper_has_them(store: Store) -> None:
    text = "SELECT projectid, versionid, loglevel, epoch, step, name, val FROM log_records WHERE name <> 'loss'"
    assert rows(store, text) == [
        ("p", ONE, "d", None, None, "lr", "0.1"),
        ("p", ONE, "o", 1, None, "acc", "0.7"),
        ("p", ONE, "o", 2, None, "acc", "0.8"),
        ("p", TWO, "d", None, None, "lr", "0.2"),
        ("p", TWO, "o", 1, None, "acc", "0.9"),
    ]
    assert rows(store, "SELECT avg(CAST(value AS DOUBLE)) FROM log_records WHERE name = 'acc' AND epoch = 1") == [
        (0.8,)
    ]
    figure_3 = """WITH outer_loop AS (SELECT CONCAT(projectid, '.', versionid, '.', epoch) rowid, name, val
                  FROM log_records WHERE loglevel = 'o') SELECT count(DISTINCT rowid) FROM outer_loop"""
    assert rows(store, figure_3) == [(3,)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, "1"), (HUGE, str(HUGE)), (True, "true"), (None, None), ("a", "a"), ([1, "b"], '[1, "b"]'), (math.nan, "nan"),
     (-math.inf, "-inf"), (1e300, "1e+300"), (2**53 + 1, str(2**53 + 1))],
)  # fmt: skip
def test_a_log_record_shows_its_value_as_text(tmp_path: Path, value: object, shown: str | None) -> None:
    store = store_of(tmp_path, [(experiment(ONE, 1), [("x", 1, None, value)])])
    assert rows(store, "SELECT value FROM log_records") == [(shown,)]


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(ONE, "train.py", 7, epoch, Point.EPOCH_END, "0" * 64, 10, 0.5, frozenset({"net"}))


def test_checkpoints_are_those_that_were_taken(store: Store) -> None:
    store.append_checkpoint("p", checkpoint(1), Times(1, 1.0, 2.0, 3.0))
    store.append_skips("p", ONE, [Skip(2, "it would have cost too much", Times(2, 1.0, 2.0, 3.0))])
    text = "SELECT projectid, versionid, filename, lineno, iteration, type, val, captured FROM checkpoints"
    assert rows(store, text) == [("p", ONE, "train.py", 7, 1, "manifest", "0" * 64, ["net"])]


def test_sources_are_read_for_the_rows_that_show_them(store: Store) -> None:
    files = {
        "train.py": SourceFile(b"import flor\n", "100644", "1" * 40),
        "lost.py": SourceFile(b"x", "100644", "2" * 40),
    }
    store.write_sources("p", ONE, None, files)
    (lost,) = rows(store, "SELECT key FROM source_code WHERE filename = 'lost.py'")
    store.objects.delete(lost[0])
    assert rows(store, "SELECT versionid, text FROM source_code WHERE filename = 'train.py'") == [
        (ONE, "import flor\n")
    ]
    assert rows(store, "SELECT filename FROM source_code ORDER BY ALL") == [("lost.py",), ("train.py",)]
    with pytest.raises(Exception, match=lost[0]):
        rows(store, "SELECT text FROM source_code")


def test_only_the_tables_that_a_statement_names_are_there(store: Store) -> None:
    with database(store, "SELECT 1") as found, pytest.raises(BadStatement, match="log_records"):
        found.rows("SELECT * FROM log_records")


# --- macros ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "peak", "low"),
    [
        ([0.5, 0.9, 0.7], 2, 1),
        ([0.9, math.nan, 0.9], 1, 1),
        ([None, 3, 7], 3, 2),
        ([math.nan, math.nan], None, None),
        ([None, None], None, None),
    ],
)  # fmt: skip
def test_peaks_and_ends(tmp_path: Path, accuracies: list[object], peak: int | None, low: int | None) -> None:
    logged: list[Logged] = [("acc", epoch, None, value) for epoch, value in enumerate(accuracies, 1)]
    logged += [("loss", epoch, step, 1.0) for epoch in range(1, len(accuracies) + 1) for step in (0, 1)]
    store = store_of(tmp_path, [(experiment(ONE, len(accuracies)), logged)])
    for name, expected in (("peak", peak), ("peak_min", low)):
        text = f"SELECT DISTINCT epoch FROM full_pivot QUALIFY {name}(acc, version, epoch)"
        assert rows(store, text) == ([] if expected is None else [(expected,)])
        text = f"SELECT {name}_epoch(acc, epoch) FROM outer_loop_pivot GROUP BY version"
        assert rows(store, text) == [(expected,)]
    text = "SELECT DISTINCT epoch FROM full_pivot QUALIFY at_end(version, epoch)"
    assert rows(store, text) == [(len(accuracies),)]

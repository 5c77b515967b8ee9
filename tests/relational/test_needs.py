"""The rule by itself: stages, costs, attempts, what falls back and what needs nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import duckdb
import pytest
from sqlglot import exp

from flor_ray.errors import BadStatement
from flor_ray.relational.clauses import is_grouped
from flor_ray.relational.needs import everything, lacking
from flor_ray.relational.normalising import NotWalked, normal
from flor_ray.relational.schema import Lacking, Relation
from flor_ray.relational.statements import parse
from tests.relational.acquiring import acquire, connection
from tests.relational.worlds import COLUMNS, RELATIONS, World


def found(text: str, costs: Mapping[str, float] | None = None, attempt: int = 0) -> Lacking:
    return lacking(parse(text, COLUMNS), RELATIONS, costs, attempt)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM full_pivot",
        "SELECT version, max(acc) FROM full_pivot GROUP BY version",
        "SELECT count(*) FROM full_pivot",
        "SELECT * FROM experiments",
        "SELECT 1",
        "VALUES (1)",
        "WITH x AS (SELECT gnorm FROM outer_loop_pivot) SELECT version FROM experiments",
        "PIVOT experiments ON status USING count(*)",
    ],
)
def test_what_names_no_column_with_gaps_needs_nothing(text: str) -> None:
    assert found(text) == Lacking(())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT version FROM outer_loop_pivot TABLESAMPLE 10% WHERE gnorm > 5", "SAMPLE"),
        ("SELECT COLUMNS('gnorm') FROM outer_loop_pivot", "COLUMNS()"),
        ("SELECT avg(gnorm) FROM outer_loop_pivot GROUP BY ROLLUP (version)", "grouping sets"),
        ("SELECT avg(gnorm) FROM outer_loop_pivot GROUP BY CUBE (version)", "grouping sets"),
        ("SELECT avg(gnorm) FROM outer_loop_pivot GROUP BY GROUPING SETS ((version), ())", "grouping sets"),
        ("WITH RECURSIVE t(n) AS (SELECT 1) SELECT gnorm FROM outer_loop_pivot, t", "recursive CTE"),
        ("SELECT a.gnorm FROM outer_loop_pivot a ASOF JOIN experiments b ON a.acc >= b.epochs", "ASOF"),
        ("SELECT a.gnorm FROM outer_loop_pivot a POSITIONAL JOIN experiments b", "POSITIONAL"),
        ("SELECT o FROM outer_loop_pivot o WHERE gnorm > 5", "could not be followed"),
        ("PIVOT outer_loop_pivot ON epoch USING max(gnorm)", "PIVOT"),
        ("UNPIVOT outer_loop_pivot ON gnorm, f1", "PIVOT"),
        ("SELECT gnorm FROM outer_loop_pivot LIMIT 10%", "percentage"),
        ("SELECT gnorm FROM outer_loop_pivot WHERE random() < 0.5", "uses Rand"),
        ("SELECT some_macro(gnorm) FROM outer_loop_pivot", "some_macro"),
        ("SELECT histogram(gnorm) FROM outer_loop_pivot", "histogram"),
        ("SELECT version, gnorm AS acc FROM outer_loop_pivot QUALIFY row_number() OVER (ORDER BY acc) = 1", "acc"),
        ("SELECT gnorm FROM outer_loop_pivot ORDER BY ALL", "ORDER BY ALL"),
        ("SELECT gnorm AS x FROM outer_loop_pivot UNION BY NAME SELECT 1 AS y", "BY NAME"),
        ("SELECT list_transform([gnorm], lambda x: x + 1) FROM outer_loop_pivot", "lambda"),
        ("SELECT gnorm FROM outer_loop_pivot LIMIT (SELECT max(epoch) FROM outer_loop_pivot WHERE f1 > 5)", "limits"),
        ('SELECT gnorm FROM (SELECT gnorm, f1 AS "gnorm?" FROM outer_loop_pivot)', "question mark"),
        ("SELECT t.gnorm FROM outer_loop_pivot AS t(a, b, c)", "renames"),
    ],
)
def test_what_the_rule_does_not_know_needs_all_gaps_of_the_named_columns(text: str, why: str) -> None:
    lacks = found(text)
    assert why in lacks.fallback
    assert "gnorm" in {one.column for one in lacks.needed}
    assert {one.relation for one in lacks.needed} == {"outer_loop_pivot"}
    assert all(one.why == lacks.fallback for one in lacks.needed)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT version FROM outer_loop_pivot NATURAL JOIN full_pivot",
        "SELECT max(COLUMNS('^g')) FROM outer_loop_pivot",
        "SELECT count(*) FROM (SELECT * FROM outer_loop_pivot EXCEPT SELECT * FROM outer_loop_pivot WHERE acc < 0.5)",
        "SELECT a, b, c FROM (SELECT * FROM outer_loop_pivot) AS t(p, v, r, e, x, y, a, b, c)",
        "WITH t(p, v, r, e, x, y, a, b, c) AS (SELECT * FROM outer_loop_pivot) SELECT a, b, c FROM t",
        "SELECT a, b, c FROM outer_loop_pivot AS t(p, v, r, e, x, y, a, b, c)",
        "SELECT count(*) FROM (SELECT * FROM outer_loop_pivot UNION BY NAME SELECT * FROM outer_loop_pivot)",
    ],
)
def test_what_decides_by_columns_that_it_does_not_name_needs_them(text: str) -> None:
    result = acquire(connection(), text, World(1))
    assert {"gnorm", "f1", "h"} <= {name for name, _, _ in result.filled}
    assert result.is_right


def test_a_fallback_names_all_gaps() -> None:
    database, world = connection(), World(3)
    statement = parse("SELECT gnorm FROM outer_loop_pivot WHERE epoch = 1", COLUMNS)
    world.make(database, world.had, statement.relations)
    lacks = everything(statement, RELATIONS, "it is tried")
    (one,) = [one for one in lacks.needed if one.relation == "outer_loop_pivot"]
    rows = database.execute(one.sql).fetchall()
    assert {world.gap("gnorm", row) for row in rows} == world.gaps(["gnorm"])
    assert len(rows) == len(set(rows))


def test_every_aggregate_is_known_as_one_or_falls_back() -> None:
    """One that was taken for a function of its row would be narrowed by that row."""
    kinds = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    names = {name for (name,) in connection().execute(kinds).fetchall() if name.isidentifier()}
    assert len(names) > 60
    known = set()
    for name in sorted(names):
        for arguments in ("gnorm", "gnorm, acc", "DISTINCT gnorm", "gnorm ORDER BY acc"):
            with contextlib.suppress(NotWalked, BadStatement):
                tree = parse(f"SELECT {name}({arguments}) AS a FROM outer_loop_pivot", COLUMNS).tree
                select = normal(tree, {"outer_loop_pivot": COLUMNS["outer_loop_pivot"]})
                assert isinstance(select, exp.Select)
                assert is_grouped(select), f"{name}({arguments})"
                known.add(name)
    assert {"count", "sum", "avg", "min", "max", "median", "arg_max", "list", "string_agg", "bool_or"} <= known


def test_columns_that_decide_about_rows_come_first_the_cheapest_of_all() -> None:
    text = "SELECT nparams FROM full_pivot WHERE gnorm > 5 AND f1 < 2"
    stages = {one.column: one.stage for one in found(text, {"f1": 0.5, "gnorm": 60.0}).needed}
    assert stages["f1"] < stages["gnorm"] < stages["nparams"]
    equal = {one.column: one.stage for one in found(text).needed}
    assert equal["f1"] == equal["gnorm"] < equal["nparams"]


def test_a_filter_by_a_known_order_is_asked_about_more_rows_each_time() -> None:
    database, world = connection(), World(5)
    text = "SELECT version, epoch FROM outer_loop_pivot WHERE gnorm > 100 ORDER BY acc DESC LIMIT 1"
    world.make(database, world.had, ["outer_loop_pivot"])
    asked = [len(database.execute(found(text, attempt=n).needed[0].sql).fetchall()) for n in range(4)]
    assert asked[0] <= 1
    assert asked == sorted(asked)
    assert asked[3] > asked[0]


def test_it_is_told_why() -> None:
    lacks = found("SELECT f1 FROM outer_loop_pivot WHERE acc > 0.5 AND gnorm > 7 ORDER BY h LIMIT 2")
    told = {one.column: one.why for one in lacks.needed}
    assert told["gnorm"].startswith("gnorm decides about")
    assert "7" in told["gnorm"]
    assert told["h"] == "h is what rows are ordered by"
    assert told["f1"] == "f1 is shown"


def test_requirements_have_the_address_of_their_relation() -> None:
    database, world = connection(), World(1)
    text = "SELECT d.nparams, o.gnorm, f.gstep FROM data_prep_pivot d JOIN outer_loop_pivot o USING (version)"
    text += " JOIN full_pivot f USING (version)"
    world.make(database, world.had, COLUMNS)
    address = {relation.name: list(relation.address) for relation in RELATIONS}
    for one in found(text).needed:
        assert [column[0] for column in database.execute(one.sql).description or []] == address[one.relation]


def test_relations_whose_columns_differ_in_case_only_fall_back() -> None:
    twins = Relation(
        "outer_loop_pivot", ("version", "epoch", "Loss", "loss"), ("version", "epoch"), {"Loss": "g"}, "flagged"
    )
    lacks = lacking(parse('SELECT "Loss" FROM outer_loop_pivot', ["outer_loop_pivot"]), [twins])
    assert "case only" in lacks.fallback
    assert [one.column for one in lacks.needed] == ["Loss"]


def test_names_that_need_quotes() -> None:
    database = duckdb.connect()
    columns = ("version", "epoch", "grad norm", 'say "so"', "select", "a.b")
    flags = {name: f"{name} gap" for name in columns[2:]}
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in (*columns, *flags.values())}
    types = ", ".join([*(f"{quoted[c]} INT" for c in columns), *(f"{quoted[f]} BOOLEAN" for f in flags.values())])
    database.execute(f'CREATE TABLE "the flagged" ({types})')
    database.execute('INSERT INTO "the flagged" VALUES (1, 1, NULL, 2, NULL, 4, true, false, true, false)')
    relation = Relation("The Pivot", columns, ("version", "epoch"), flags, "the flagged")
    text = 'SELECT "grad norm", "say ""so""" FROM "The Pivot" WHERE "SELECT" > 5 OR "a.b" > 1'
    lacks = lacking(parse(text, ["The Pivot"]), [relation])
    assert lacks.fallback == ""
    rows = {one.column: database.execute(one.sql).fetchall() for one in lacks.needed}
    assert rows["grad norm"] == [(1, 1)]
    assert rows["select"] == [], "a.b decides already"
    assert rows['say "so"'] == rows["a.b"] == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM outer_loop_pivot WHERE acc > 0.5 ORDER BY version LIMIT 3",
        "SELECT * FROM (SELECT * FROM outer_loop_pivot) WHERE epoch = 1",
        "SELECT o.* FROM outer_loop_pivot o JOIN experiments e USING (version)",
        "SELECT * FROM outer_loop_pivot UNION ALL SELECT * FROM outer_loop_pivot",
        "WITH r AS (SELECT *, row_number() OVER (ORDER BY acc) AS n FROM outer_loop_pivot) SELECT * FROM r WHERE n = 1",
    ],
)
def test_star_does_not_acquire(text: str) -> None:
    assert found(text) == Lacking(())


def test_a_place_among_the_columns_of_star_is_a_name() -> None:
    result = acquire(connection(), "SELECT * FROM outer_loop_pivot ORDER BY 7 DESC, version, epoch LIMIT 2", World(1))
    assert "gnorm" in {name for name, _, _ in result.filled}
    assert result.is_right


def test_star_does_not_acquire_but_a_name_beside_it_does() -> None:
    database = connection()
    result = acquire(database, "SELECT *, gnorm AS g FROM outer_loop_pivot WHERE epoch = 1", World(2))
    assert {name for name, _, _ in result.filled} == {"gnorm"}
    assert result.is_right

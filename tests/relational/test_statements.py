"""Which statements are answered, and what is read in them."""

from __future__ import annotations

import pytest

from flor_ray.errors import BadStatement
from flor_ray.relational.statements import Filter, SqlStatement, parse
from tests.relational.worlds import COLUMNS


def parsed(text: str) -> SqlStatement:
    return parse(text, COLUMNS)


REFUSED = {
    "": "is empty",
    "-- nothing": "is empty",
    "SELECT 1; SELECT 2": "2 statements",
    "SELECT 1; DROP TABLE experiments": "2 statements",
    "COPY experiments TO 'x.csv'": "begins with COPY",
    "COPY (SELECT 1) TO 'x.csv'": "begins with COPY",
    "ATTACH 'x.db' AS x": "begins with ATTACH",
    "DETACH x": "begins with DETACH",
    "USE x": "begins with USE",
    "SET threads = 1": "begins with SET",
    "RESET threads": "begins with RESET",
    "PRAGMA database_list": "begins with PRAGMA",
    "INSTALL httpfs": "begins with INSTALL",
    "LOAD httpfs": "begins with LOAD",
    "CALL pragma_version()": "begins with CALL",
    "EXPORT DATABASE 'x'": "begins with EXPORT",
    "CREATE TABLE x AS SELECT 1": "begins with CREATE",
    "CREATE MACRO f() AS 1": "begins with CREATE",
    "INSERT INTO experiments VALUES (1)": "begins with INSERT",
    "UPDATE experiments SET run = 'x'": "begins with UPDATE",
    "DELETE FROM experiments": "begins with DELETE",
    "DROP TABLE experiments": "begins with DROP",
    "VACUUM": "begins with VACUUM",
    "BEGIN": "begins with BEGIN",
    "EXPLAIN ANALYZE SELECT 1": "begins with ANALYZE",
    "EXPLAIN ANALYZE COPY experiments TO 'x'": "begins with ANALYZE",
    "EXPLAIN COPY experiments TO 'x'": "begins with COPY",
    "EXPLAIN EXPLAIN SELECT 1": "begins with EXPLAIN",
    "PREPARE x AS SELECT 1": "begins with PREPARE",
    "SELECT * FROM read_csv('/etc/passwd')": "function read_csv",
    "SELECT * FROM read_parquet('x')": "function read_parquet",
    "SELECT * FROM read_json_auto('x')": "function",
    "SELECT * FROM read_text('/etc/passwd')": "function read_text",
    "SELECT * FROM glob('*')": "function glob",
    "SELECT * FROM query('SELECT 1')": "function query",
    "SELECT * FROM query_table('experiments')": "function query_table",
    "SELECT * FROM duckdb_secrets()": "function duckdb_secrets",
    "SELECT * FROM a_macro(1)": "function a_macro",
    "SELECT * FROM experiments, LATERAL read_csv(version)": "read_csv",
    "SELECT version FROM experiments WHERE version IN (SELECT content FROM read_text('x'))": "function read_text",
    "WITH x AS (SELECT * FROM read_csv('y')) SELECT * FROM x": "function read_csv",
    "SELECT * FROM 'x.csv'": "no relation 'x.csv'",
    'SELECT * FROM "x.parquet"': "no relation 'x.parquet'",
    "SELECT * FROM nowhere": "no relation 'nowhere'",
    "SELECT * FROM information_schema.tables": "no relation 'information_schema.tables'",
    "SELECT * FROM main.experiments": "no relation 'main.experiments'",
    "SELECT * FROM experiments_flagged": "no relation 'experiments_flagged'",
    "SELECT * FROM x, (WITH x AS (SELECT 1) SELECT * FROM x) AS y": "no relation 'x'",
    "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a": "no relation 'b'",
    "SELECT getenv('HOME')": "calls getenv",
    "SELECT current_setting('home_directory')": "calls current_setting",
    "SELECT version FROM experiments WHERE epochs = ?": "parameter",
    "SELECT version FROM experiments WHERE epochs = $1": "parameter",
    "SELECT FROM WHERE": "could not be read",
    "/* a\n comment */ -- and one\n COPY experiments TO 'x'": "begins with COPY",
    "SELECT (1": "could not be read",
    "SELEC version FROM experiments": "begins with SELEC",
    "DESCRIBE experiments": "begins with DESCRIBE",
    "SHOW TABLES": "begins with SHOW",
    "SUMMARIZE experiments": "begins with SUMMARIZE",
    "SELECT 'unclosed": "could not be read",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_select_over_the_relations_is_refused(text: str) -> None:
    with pytest.raises(BadStatement) as refusal:
        parsed(text)
    assert REFUSED[text] in str(refusal.value)
    assert str(refusal.value).startswith("This statement is not answered: ")


def test_a_refusal_lists_the_relations_there_are() -> None:
    with pytest.raises(BadStatement, match="There are data_prep_pivot, experiments, full_pivot"):
        parsed("SELECT * FROM nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 1;",
        "VALUES (1), (2)",
        "(SELECT 1)",
        "FROM experiments",
        "TABLE experiments",
        "SELECT 1 UNION SELECT 2 EXCEPT SELECT 3",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "WITH a AS (SELECT 1 AS n), b AS (SELECT n FROM a) SELECT * FROM b",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t",
        "SELECT * FROM range(3)",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM unnest([1, 2])",
        "SELECT * FROM experiments /* a comment; with a semicolon */",
        "PIVOT experiments ON status USING count(*)",
    ],
)
def test_selects_are_answered(text: str) -> None:
    assert not parsed(text).explains


def test_explain_is_taken_off() -> None:
    statement = parsed("  explain SELECT version FROM experiments")
    assert statement.explains
    assert statement.text == "SELECT version FROM experiments"
    assert statement.relations == ("experiments",)


def test_relations_are_as_they_are_known() -> None:
    text = "SELECT * FROM Experiments JOIN FULL_PIVOT USING (version) WHERE run IN (SELECT run FROM experiments)"
    assert parsed(text).relations == ("experiments", "full_pivot")


def test_a_name_of_with_is_no_relation() -> None:
    assert parsed("WITH full_pivot AS (SELECT 1 AS a) SELECT a FROM full_pivot").relations == ()


def test_columns_are_all_names_without_case() -> None:
    statement = parsed('SELECT o.Gnorm, "F1" FROM outer_loop_pivot o JOIN experiments e USING (version) ORDER BY acc')
    assert {"gnorm", "f1", "version", "acc"} <= statement.columns
    assert "epoch" not in statement.columns
    assert statement.quoted == {"F1"}


def test_names_in_columns_are_columns() -> None:
    assert "gnorm" in parsed("SELECT COLUMNS('gnorm') FROM outer_loop_pivot").columns


@pytest.mark.parametrize(
    ("text", "star"),
    [
        ("SELECT * FROM experiments", True),
        ("SELECT e.* FROM experiments e", True),
        ("SELECT * EXCLUDE (run) FROM experiments", True),
        ("SELECT COLUMNS('a.*') FROM experiments", True),
        ("SELECT version FROM experiments NATURAL JOIN data_prep_pivot", True),
        ("SELECT e FROM experiments e", True),
        ("SELECT experiments FROM experiments", True),
        ("PIVOT experiments ON status USING count(*)", True),
        ("SELECT run FROM (SELECT * FROM experiments)", True),
        ("SELECT count(*) FROM experiments", False),
        ("SELECT version, run FROM experiments", False),
    ],
)
def test_star(text: str, star: bool) -> None:
    assert parsed(text).star is star


def filters(text: str) -> list[tuple[str, str, tuple[object, ...]]]:
    found = parsed(text).filters.get("outer_loop_pivot", ())
    assert all(isinstance(one, Filter) for one in found)
    return [(one.column, one.operator, one.values) for one in found]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("version = 'v01'", [("version", "=", ("v01",))]),
        ("'v01' = VERSION AND epoch > 2", [("version", "=", ("v01",)), ("epoch", ">", (2,))]),
        ("3 > epoch", [("epoch", "<", (3,))]),
        ("run IN ('a', 'b') AND (gnorm > 5 AND epoch <= 4)", [("run", "=", ("a", "b")), ("epoch", "<=", (4,))]),
        ("epoch BETWEEN 2 AND 3", [("epoch", ">=", (2,)), ("epoch", "<=", (3,))]),
        ("version = 'v01' OR epoch = 2", []),
        ("NOT version = 'v01'", []),
        ("version <> 'v01'", []),
        ("version = run", []),
        ("version = lower('V01')", []),
        ("version = 5", []),
        ("epoch = '2'", []),
        ("gnorm = 2", []),
        ("version IN (SELECT version FROM experiments)", []),
        ("version NOT IN ('v01')", []),
    ],
)
def test_filters(where: str, found: list[object]) -> None:
    assert filters(f"SELECT gnorm FROM outer_loop_pivot WHERE {where}") == found


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a.gnorm FROM outer_loop_pivot a, outer_loop_pivot b WHERE a.epoch = 1",
        "SELECT gnorm FROM outer_loop_pivot JOIN experiments USING (version) WHERE epoch = 1",
        "SELECT acc AS epoch FROM outer_loop_pivot WHERE epoch = 1",
        "SELECT max(gnorm) FROM outer_loop_pivot HAVING epoch = 1",
        "WITH outer_loop_pivot AS (SELECT * FROM outer_loop_pivot) SELECT * FROM outer_loop_pivot WHERE epoch = 1",
        "SELECT gnorm FROM outer_loop_pivot WHERE epoch = 1 UNION SELECT gnorm FROM outer_loop_pivot",
    ],
)
def test_no_filter_where_other_rows_may_matter(text: str) -> None:
    assert filters(text) == []


def test_filters_of_a_join_by_the_name_of_the_source() -> None:
    text = "SELECT o.gnorm FROM outer_loop_pivot o LEFT JOIN experiments e ON e.version = o.version WHERE o.epoch = 1"
    assert filters(text) == [("epoch", "=", (1,))]

"""Arrow tables are read as DuckDB's own tables are: also where it hands conditions down to the scan (1.4 took NaN for
less than everything there)."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from flor_ray.store.pivoting import arrow_columns

ROWS = 5000
NAN = "'nan'::DOUBLE"
CONDITIONS = [
    "x > 0", "x >= 0", "x < 0", "x = x", "x <> 0",
    f"x > {NAN}", f"x >= {NAN}", f"x = {NAN}", f"x <> {NAN}", f"x < {NAN}",
    "x <= 'inf'::DOUBLE", "x > 'inf'::DOUBLE", f"x IN ({NAN}, 0)", f"x NOT IN ({NAN}, 1)", f"x BETWEEN 0 AND {NAN}",
    "x IS NULL", "x IS NOT NULL", "isnan(x)", "NOT isnan(x)",
    f"x IS DISTINCT FROM {NAN}", "x IS NOT DISTINCT FROM NULL",
    "i > 2", "i IN (1, 2, 3)", "i IS DISTINCT FROM 1", "b", "NOT b", "b IS NOT TRUE",
    "s = 'a'", "s IN ('a', 'B')",
    "s > 'A'", "s <> ''", "t > '1970-01-01 00:00:50'", "z IS NULL", "z = 1", "z = 'a'", "x > 0 OR i > 2",
    "(x > 0 OR x IS NULL) AND b", "x > i",
    "x = (SELECT max(x) FROM {table})", "i IN (SELECT i FROM {table} WHERE x > 2)",
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    chance = np.random.default_rng(16)
    x = chance.normal(size=ROWS)
    for value in (np.nan, np.inf, -np.inf):
        x[chance.random(ROWS) < 0.1] = value
    columns = {
        "x": arrow_columns.floats(x, chance.random(ROWS) > 0.1),
        "i": arrow_columns.integers(chance.integers(-5, 5, ROWS), chance.random(ROWS) > 0.1),
        "b": arrow_columns.booleans(chance.random(ROWS) > 0.5, chance.random(ROWS) > 0.2),
        "s": arrow_columns.labels(chance.integers(0, 3, ROWS), ["a", "B", ""]),
        "t": arrow_columns.times([float(second) for second in chance.integers(0, 100, ROWS)]),
        "z": arrow_columns.typed(None, None, ROWS).array,
    }
    found = duckdb.connect()
    found.register("arrow", arrow_columns.table(columns))
    found.execute("SET TimeZone = 'UTC'; CREATE TABLE plain AS SELECT * FROM arrow")
    return found


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_holds_in_an_arrow_table_where_it_holds_in_one_of_duckdb(
    connection: duckdb.DuckDBPyConnection, condition: str
) -> None:
    shown = [
        connection.execute(
            f"SELECT count(*), count(x), max(x), min(x), sum(i) FROM {table} WHERE {condition.format(table=table)}"
        ).fetchall()
        for table in ("arrow", "plain")
    ]
    assert repr(shown[0]) == repr(shown[1])

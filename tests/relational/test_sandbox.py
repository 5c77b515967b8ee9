"""Statements that reach outside, each on the real DuckDB: nothing outside is read or written, and nothing breaks."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flor_ray.errors import BadStatement
from flor_ray.relational.database import Database, opened
from flor_ray.store.project import Project
from flor_ray.store.working_tree import PlainFolder
from tests.relational.recorded import experiment, store_of
from tests.relational.test_database import asked

SECRET = "the secret of this test"

STATEMENTS = [
    # files and networks
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_csv_auto('{file}')",
    "SELECT * FROM '{file}'",
    'SELECT * FROM "{file}"',
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM main.read_text('{file}')",
    "SELECT * FROM \"READ_text\"('{file}')",
    "SELECT * FROM system.main.read_text('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM read_duckdb('{file}')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT (SELECT content FROM read_text('{file}'))",
    "SELECT * FROM outer_loop_pivot WHERE acc IN (SELECT content FROM read_text('{file}'))",
    "WITH x AS (SELECT * FROM read_text('{file}')) SELECT * FROM x",
    "SELECT * FROM outer_loop_pivot, LATERAL (SELECT * FROM read_text('{file}'))",
    "SELECT 1 UNION SELECT content FROM read_text('{file}')",
    "SELECT * FROM (VALUES ((SELECT max(content) FROM read_text('{file}'))))",
    "SELECT * FROM outer_loop_pivot ORDER BY (SELECT max(content) FROM read_text('{file}'))",
    "SELECT * FROM read_csv('http://localhost:1/x.csv')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "PIVOT outer_loop_pivot ON epoch USING max((SELECT max(content) FROM read_text('{file}')))",
    "PIVOT (SELECT * FROM read_text('{file}')) ON size USING count(*)",
    "COPY outer_loop_pivot TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/out.db'",
    "ATTACH '{folder}/out.db' AS x; SELECT 1",
    # statements other than SELECT
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
    "SET memory_limit = '1TB'",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD json",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "USE main",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "CREATE TABLE x AS SELECT 1",
    "CREATE MACRO x(y) AS y",
    "CREATE SECRET (TYPE s3)",
    "DROP VIEW outer_loop_pivot",
    "INSERT INTO outer_loop_pivot VALUES (1)",
    "WITH x AS (INSERT INTO outer_loop_pivot VALUES (1)) SELECT 1",
    "DELETE FROM outer_loop_pivot",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "",
    "-- nothing",
    # statements in texts
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('outer_loop_pivot')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('SELECT * FROM read_text(''{file}'')')",
    # the process and its settings
    "SELECT getenv('HOME')",
    "SELECT current_setting('temp_directory')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('x', 's3')",
    "SELECT * FROM duckdb_logs()",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM pragma_version()",
    "SELECT getvariable('x')",
    "SELECT write_log('x')",
    "SELECT setseed(0.5)",
    "SELECT nextval('x')",
    "SELECT sleep_ms(1)",
    # addresses
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM arrow_scan_dumb(1, 2, 3)",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM python_arrow_scan(1)",
    "SELECT * FROM python_map_function(1)",
    "SELECT * FROM seq_scan('outer_loop_pivot')",
    "SELECT finalize('\\x00'::BLOB)",
    # the database's own tables
    "SELECT * FROM duckdb_settings",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM duckdb_views",
    'SELECT * FROM "rows 0"',
    "SELECT * FROM main.outer_loop_pivot",
    "WITH x AS (SELECT * FROM pg_settings) SELECT * FROM x",
    "SELECT * FROM pg_settings WHERE EXISTS (WITH pg_settings AS (SELECT 1) SELECT * FROM pg_settings)",
    # variables of Python
    "SELECT * FROM SECRET",
    "SELECT * FROM frame",
]


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Database]:
    store = store_of(tmp_path, [(experiment("a" * 40, 1), [("acc", 1, None, 0.5)])])
    project = Project(PlainFolder("/", ()), store, "p")
    with opened(project, asked("SELECT * FROM outer_loop_pivot"), store.experiments("p"), {}, {}) as found:
        yield found


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_that_reaches_outside_is_refused(known: Database, tmp_path: Path, text: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [SECRET]})
    file = tmp_path / "secret.csv"
    file.write_text(f"content\n{SECRET}\n")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for run in (known.rows, known.arrow, lambda text: list(known.batches(text))):
        with pytest.raises(BadStatement) as raised:
            run(text.format(file=file, folder=tmp_path))
        assert SECRET not in str(raised.value)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert known.rows("SELECT acc FROM outer_loop_pivot") == [(0.5,)]
    assert len(frame) == 1


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT epoch FROM outer_loop_pivot", [(1,)]),
        ("FROM outer_loop_pivot SELECT acc", [(0.5,)]),
        ("VALUES (1, 'a')", [(1, "a")]),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x UNION ALL SELECT 2", [(1,), (2,)]),
        ("SELECT sum(range) FROM range(4)", [(6,)]),
        ("SELECT unnest([1, 2])", [(1,), (2,)]),
        ("PIVOT (SELECT epoch, acc FROM outer_loop_pivot) ON epoch USING max(acc)", [(0.5,)]),
        ("SELECT 'read_text(x)' AS a -- COPY x TO 'y'", [("read_text(x)",)]),
        ("WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) SELECT max(a) FROM r", [(3,)]),
        ("SELECT 1;", [(1,)]),
    ],
)
def test_what_reaches_nothing_is_answered(known: Database, text: str, rows: list[tuple[object, ...]]) -> None:
    assert known.rows(text) == rows
    assert [tuple(row.values()) for row in known.arrow(text).to_pylist()] == rows


def test_settings_cannot_be_changed_and_are_bounded(known: Database) -> None:
    connection = known._connection
    found = dict(connection.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert found["enable_external_access"] == "false"
    assert found["lock_configuration"] == "true"
    assert found["TimeZone"] == "UTC"
    assert int(found["threads"]) <= 8
    assert found["temp_directory"] == known._folder.name
    assert "%" not in found["max_temp_directory_size"]


def test_what_spilled_to_disk_is_gone_with_the_database(known: Database) -> None:
    folder = Path(known._folder.name)
    assert folder.stat().st_mode & 0o077 == 0
    (folder / "spilled").write_text("x")
    known.close()
    assert not folder.exists()


LONG = "SELECT count(*) AS n FROM range(100000000000) a WHERE a.range % 7 = 3"

INTERRUPTED = """
import sys, tempfile
from pathlib import Path
from tests.relational.test_sandbox import LONG
from tests.relational.recorded import experiment, store_of
from tests.relational.test_database import database
with tempfile.TemporaryDirectory() as folder, database(store_of(Path(folder), []), LONG) as known:
    print("asking", flush=True)
    try:
        known.{how}(LONG)
    except KeyboardInterrupt:
        print("interrupted", known.rows("SELECT 1"), flush=True)
"""


@pytest.mark.parametrize("how", ["arrow", "rows"])
def test_ctrl_c_ends_a_statement_that_runs_too_long(how: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(how=how)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted [(1,)]\n"


def test_batches_that_nobody_reads_to_their_end_are_in_nobodys_way(known: Database) -> None:
    batches = known.batches("SELECT range AS r FROM range(10000)", 1000)
    assert next(batches).num_rows <= 10_000
    batches.close()
    assert sum(batch.num_rows for batch in known.batches("SELECT range AS r FROM range(10000)", 1000)) == 10_000
    assert known.rows("SELECT acc FROM outer_loop_pivot") == [(0.5,)]


def test_statements_may_be_asked_from_another_thread(known: Database) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(known.rows("SELECT acc FROM outer_loop_pivot")))
    thread.start()
    thread.join()
    assert found == [(0.5,)]

"""Damage, crashes and several processes on a local store. The rest is in contracts/."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flor_ray import processes, records
from flor_ray.errors import FlorWarning, ObjectMissing, StoreError
from flor_ray.records import (
    Checkpoint,
    Experiment,
    Level,
    LogRecord,
    Operator,
    Point,
    Segment,
    SegmentReport,
    SourceFile,
    Status,
)
from flor_ray.store.fragments import Fragment, combine, mergeable, parse, quote, unquoted, visible
from flor_ray.store.store import Store

A = "a" * 40
RUN = Experiment("digits", A, None, "train.py", "", 1000.0, None, Status.RUNNING)
ROW = LogRecord(Level.DATA_PREP, None, None, "lr", 0, records.Value("float", 0.1), 5.0)
REPORT = SegmentReport(Segment(A, 1, 3, Operator.DP_I, names=("g",)), rows=1, setup_seconds=0.5, run_seconds=1.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    store.begin_run(RUN)
    store.append_logs("digits", A, "recorded", 0, [ROW])
    store.write_replay("digits", A, "replay-1", "s", [ROW], REPORT)
    store.append_checkpoint("digits", Checkpoint(A, "t.py", 1, 1, Point.EPOCH_END, "k", 1, 0.1), None)
    store.write_sources("digits", A, None, {"t.py": SourceFile(b"1", "100644", "1" * 40)})
    return store


DAMAGED: list[tuple[str, str, Callable[[Store], object]]] = [
    ("log_records", "recorded.*parquet", lambda s: s.logs("digits")),
    ("log_records", "recorded.*parquet", lambda s: s.experiments("digits", now=9e9)),
    ("log_records", "replay-1.s.parquet", lambda s: s.logs("digits")),
    ("log_records", "replay-1.s.parquet", lambda s: s.logged("digits", [])),
    ("checkpoints", "*.parquet", lambda s: s.checkpoints("digits", A)),
    ("checkpoints", "*.parquet", lambda s: s.skips("digits", A)),
    ("source_code", "*.parquet", lambda s: s.sources_of("digits", [A])),
    ("experiments", "*.begin.json", lambda s: s.experiments("digits")),
]
REFUSED: list[tuple[str, str, Callable[[Store], object]]] = [
    ("source_code", "*.parquet", lambda s: s.sources("digits", A)),
    ("source_code", "*.parquet", lambda s: s.known_sources("digits", A)),
    ("experiments", "*.begin.json", lambda s: s.experiments("digits", whole=True)),
    ("checkpoints", "*.parquet", lambda s: s.checkpoints("digits", A, whole=True)),
    ("checkpoints", "*.parquet", lambda s: s.experiments("digits", now=9e9, whole=True)),
    ("log_records", "recorded.*parquet", lambda s: s.logged("digits", whole=True)),
    ("log_records", "recorded.*parquet", lambda s: s.blob_keys()),
]
DAMAGES = [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"garbage"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("table", "pattern", "read"), DAMAGED)
def test_a_damaged_file_is_named_and_never_half_read(
    store: Store, table: str, pattern: str, read: Callable[[Store], object], damage: Callable[[bytes], bytes]
) -> None:
    (path,) = Path(store.url, table).rglob(pattern)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(FlorWarning, match=rf"{re.escape(str(path))} .*(Restore|restore).*backup.*It is left out"):
        read(store)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("table", "pattern", "read"), REFUSED)
def test_what_must_know_all_refuses_a_damaged_file(
    store: Store, table: str, pattern: str, read: Callable[[Store], object], damage: Callable[[bytes], bytes]
) -> None:
    (path,) = Path(store.url, table).rglob(pattern)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=rf"{re.escape(str(path))} .*(Restore|restore).*backup"):
        read(store)


def test_a_parquet_file_with_other_columns_is_refused(store: Store) -> None:
    (source,) = Path(store.url, "checkpoints").rglob("*.parquet")
    (target,) = Path(store.url, "log_records").rglob("recorded*.parquet")
    target.write_bytes(source.read_bytes())
    with pytest.warns(FlorWarning, match="is not a whole Parquet file of flor_ray"):
        assert store.logs("digits").num_rows == 1  # of the replay


def test_a_lost_source_file_is_named_by_its_object(store: Store) -> None:
    key = store.known_sources("digits", A)["1" * 40]
    store.objects.delete(key)
    with pytest.raises(ObjectMissing, match=key):
        store.sources("digits", A)


def test_a_damaged_heartbeat_is_named(store: Store) -> None:
    store.files.write(f"experiments/digits/{A}.beat.json", b"{")
    with pytest.warns(FlorWarning, match=r"beat\.json is not a heartbeat"):
        assert len(store.experiments("digits")) == 1


def test_half_written_files_and_strangers_are_not_read(store: Store) -> None:
    folder = Path(store.url, "log_records", "digits", A)
    (folder / ".tmp-1-2-3").write_bytes(b"PAR1")
    (folder / "notes.txt").write_text("mine")
    (folder / "noorigin.parquet").write_bytes(b"")
    assert store.logs("digits").num_rows == 1


# --- runs of this host ----------------------------------------------------------------------------------------------


def here(**environment: object) -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid()} | environment


def status(store: Store, environment: dict[str, object]) -> Status:
    store.begin_run(replace(RUN, version="b" * 40, environment=environment))
    return store.experiments("digits", now=1e9)[-1].status


def test_a_process_of_this_host_is_looked_up(store: Store) -> None:
    began = processes.started(os.getpid())
    assert began is not None
    assert status(store, here(pid_started=began)) == Status.RUNNING  # however old its heartbeat is


def test_a_process_that_is_gone_has_crashed_at_once(store: Store) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    environment = here(pid=child.pid)
    store.begin_run(replace(RUN, version="b" * 40, environment=environment))
    store.beat("digits", "b" * 40, 1e9)
    assert store.experiments("digits", now=1e9)[-1].status == Status.CRASHED


def test_another_process_with_the_same_number_is_not_the_run(store: Store) -> None:
    assert status(store, here(pid_started=1)) == Status.CRASHED


# --- several processes ----------------------------------------------------------------------------------------------

WRITER = """
import sys
from flor_ray import processes
from flor_ray.records import Level, LogRecord, Value
from flor_ray.store.store import Store

store, me = Store(sys.argv[1]), int(sys.argv[2])
for part in range(6):
    rows = [LogRecord(Level.OUTER, 1 + part, None, f"x{me}", 0, Value("int", None, me), 0.0)]
    store.append_logs("digits", f"{me % 2:040x}", f"origin{me}", part, rows)
    store.merge_logs("digits", f"{me % 2:040x}", f"origin{me}")
    store.objects.put(b"shared" * 1000)
"""


def test_concurrent_processes_do_not_disturb_one_another(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, str(me)], env=environment, stderr=subprocess.PIPE)
        for me in range(4)
    ]
    store = Store(url)
    while any(writer.poll() is None for writer in writers):
        store.logs("digits")
    assert [writer.communicate()[1] for writer in writers] == [b""] * 4
    table = store.logs("digits")
    found = sorted(zip(*(table[c].to_pylist() for c in ("name", "epoch", "integer")), strict=True))
    assert found == [(f"x{me}", epoch, me) for me in range(4) for epoch in range(1, 7)]
    assert len(store.files.list("log_records")) == 4
    assert len(store.files.list("objects")) == 1


# --- names and ranges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a=b", "x.y", "~", "~2E", "ü", "\udcff", "plain_name-1", "a b\n"]
)
def test_quoted_names_are_safe_in_paths_and_urls_and_come_back(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_~-]+", quote(name))
    assert unquoted(quote(name)) == name


def ranged(first: int, last: int, origin: str = "recorded") -> Fragment:
    return Fragment("log_records/p/v", origin, first, last)


def test_a_fragment_is_its_path() -> None:
    replayed = Fragment("log_records/p/v", "replay-20261122T034100.123456Z-ab12", segment="dp_i-000001-000002")
    for fragment in (ranged(0, 9), ranged(10**12, 2 * 10**12), replayed):
        assert parse(fragment.path) == fragment
    assert ranged(0, 9).path == "log_records/p/v/recorded.000000000000-000000000009.parquet"
    assert [parse(f"log_records/p/v/{name}") for name in ("x.txt", "x.parquet", ".parquet")] == [None, None, None]


def test_ranges_within_others_of_their_origin_are_ignored() -> None:
    whole = [ranged(0, 9), ranged(10, 19), ranged(30, 39)]
    other = ranged(0, 4, origin="replay-1")
    parts = [ranged(0, 4), ranged(5, 9), ranged(12, 19), ranged(10, 11), other]
    assert visible([*parts, *whole]) == [*whole, other]
    assert mergeable([*parts, *whole]) == [whole[:2]]


def test_pairs_are_packed_in_order_also_when_they_are_too_large_to_multiply() -> None:
    left = np.array([0, 2**60, 2**60, 7], np.int64)
    right = np.array([2**61, 5, 2**40, 0], np.int64)
    order = sorted(range(4), key=lambda i: (left[i], right[i]))
    assert np.argsort(combine(left, right)).tolist() == order
    assert len(set(combine(left, right).tolist())) == 4

"""What is known of log records without reading rows, and older files, which do not say it."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flor_ray.errors import FlorWarning
from flor_ray.records import Level, LogRecord, Operator, Segment, SegmentReport
from flor_ray.store import log_files, typed_values
from flor_ray.store.files import Files
from flor_ray.store.log_files import LogFile, Named
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.store import Store

A, B = "a" * 40, "b" * 40
REPORT = SegmentReport(Segment(B, 1, 3, Operator.DP_I, names=("norm",)), 1, 0.0, 0.0)


def record(name: str, value: object, epoch: int | None = None, step: int | None = None) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
    return LogRecord(level, epoch, step, name, 0, typed_values.encode(value), 5.0)


ROWS = [
    record("lr", 0.1),
    record("loss", 1, 1, 0),
    record("loss", 0.5, 1, 1),
    record("loss", None, 1),
    record("f", b""),
]
NAMES = {
    "lr": Named(frozenset("d"), frozenset({"float"})),
    "loss": Named(frozenset("oi"), frozenset({"int", "float", "none"})),
    "f": Named(frozenset("d"), frozenset({"bytes"})),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    store.append_logs("digits", A, "recorded", 0, ROWS)
    store.append_logs("digits", B, "recorded", 0, [record("lr", 0.2)])
    store.write_replay("digits", B, "replay-1", "s", [record("norm", 2.0, 3)], REPORT)
    return store


def files(store: Store) -> list[Path]:
    return sorted(Path(store.url, "log_records").rglob("*.parquet"))


def make_old(path: Path) -> None:
    """Write a file as flor_ray 0.1.0 did: with its report, and without a word on its names."""
    table = pq.read_table(path)
    kept = {key: value for key, value in (table.schema.metadata or {}).items() if key == b"flor_report"}
    pq.write_table(table.replace_schema_metadata(kept), path, compression="zstd")


@pytest.fixture(params=["new", "old"])
def written(request: pytest.FixtureRequest, store: Store) -> Store:
    if request.param == "old":
        for path in files(store):
            make_old(path)
    return store


def test_names_levels_and_types_are_known_of_new_and_of_old_files(written: Store) -> None:
    assert written.names("digits") == {"lr", "loss", "f", "norm"}
    assert written.names("digits", [B]) == {"lr", "norm"}
    found = [(v, origin, name, kind) for v, origin, name, kind in written.kinds("digits", ["lr", "loss", "norm"])]
    assert sorted(found, key=lambda row: row[:3]) == [
        (A, "recorded", "loss", NAMES["loss"]),
        (A, "recorded", "lr", NAMES["lr"]),
        (B, "recorded", "lr", NAMES["lr"]),
        (B, "replay-1", "norm", Named(frozenset("o"), frozenset({"float"}))),
    ]
    assert written.logged("digits", []).reports == [KeptReport("replay-1", "s", REPORT)]
    key = written.logs("digits", ["f"])["text"][0].as_py()
    assert written.blob_keys() == {("digits", A): {key}, ("digits", B): set()}


def test_one_look_gives_rows_names_and_reports(written: Store) -> None:
    found = written.logged("digits", ["lr", "norm"])
    columns = [found.rows[column].to_pylist() for column in ("version", "name", "number", "origin")]
    assert list(zip(*columns, strict=True)) == [
        (A, "lr", 0.1, "recorded"),
        (B, "lr", 0.2, "recorded"),
        (B, "norm", 2.0, "replay-1"),
    ]
    assert found.names == {"lr", "loss", "f", "norm"}
    assert found.reports == written.logged("digits", []).reports


def test_no_row_is_read_to_know_the_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LogFile, columns: pa.Schema) -> pa.Table:
        raise AssertionError("rows were read")

    monkeypatch.setattr(LogFile, "_read", refuse)
    assert store.names("digits") == {"lr", "loss", "f", "norm"}
    assert store.logs("digits", ["nothing"]).num_rows == 0
    assert len(store.logged("digits", []).reports) == 1
    with pytest.raises(AssertionError, match="rows were read"):
        store.logs("digits", ["lr"])


def test_of_a_large_file_only_the_end_is_read_to_know_its_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = [record("loss", math.sin(n * n), 1, n) for n in range(20_000)]
    store.append_logs("digits", "c" * 40, "recorded", 0, noise)
    assert files(store)[-1].stat().st_size > 2 * log_files.END_BYTES
    read = Files.read
    whole: list[str] = []

    def noted(self: Files, path: str) -> bytes:
        whole.append(path)
        return read(self, path)

    monkeypatch.setattr(Files, "read", noted)
    assert store.names("digits") == {"lr", "loss", "f", "norm"}
    assert whole == []
    monkeypatch.setattr(log_files, "holds_metadata", lambda end: False)  # as of a file with very many columns
    assert store.names("digits") == {"lr", "loss", "f", "norm"}
    assert len(whole) == 4


def test_a_merge_of_old_and_new_files_knows_its_names(store: Store) -> None:
    make_old(files(store)[0])
    store.append_logs("digits", A, "recorded", len(ROWS), [record("accuracy", 0.9, 1)])
    store.merge_logs("digits", A, "recorded")
    (merged,) = Path(store.url, "log_records", "digits", A).iterdir()
    metadata = pq.read_schema(merged).metadata
    assert b"flor_names" in metadata
    assert LogFile(merged.read_bytes(), "here").names == NAMES | {
        "accuracy": Named(frozenset("o"), frozenset({"float"}))
    }


def test_few_rows_of_many_are_found(store: Store) -> None:
    many = [record("loss", float(step), 1, step) for step in range(5000)]
    store.append_logs("digits", "c" * 40, "recorded", 0, [*many, record("rare", 7.0, 1)])
    assert store.logs("digits", ["rare"])["number"].to_pylist() == [7.0]
    assert store.logs("digits", ["loss"], ["c" * 40])["number"].to_pylist() == [float(n) for n in range(5000)]


def test_damaged_names_are_told_with_their_file(store: Store) -> None:
    path = files(store)[0]
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"flor_names": b'{"lr": 1}'}), path)
    with pytest.warns(FlorWarning, match=rf"{path.name} is not a whole Parquet file"):
        store.names("digits")


def test_small_files_need_no_zstd_and_large_ones_have_it(store: Store) -> None:
    def codec(path: Path) -> str:
        return str(pq.ParquetFile(path).metadata.row_group(0).column(0).compression)

    store.append_logs("digits", "d" * 40, "recorded", 0, [record("x", float(n), 1, n) for n in range(20_000)])
    assert [codec(path) for path in files(store)] == ["SNAPPY", "SNAPPY", "SNAPPY", "ZSTD"]

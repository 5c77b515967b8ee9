"""Logged values as DataFrames that feel native: types, index, provenance, names of any kind, and frames in pieces."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flor_ray import lookup
from flor_ray.errors import FlorWarning, UnknownFeature, UsageError
from flor_ray.records import Experiment, Fidelity, Level, LogRecord, Mismatch, Operator, Segment, SegmentReport, Status
from flor_ray.store import log_files, log_pieces, typed_values
from flor_ray.store.compacting.compaction import Compactor
from flor_ray.store.log_files import LogFile
from flor_ray.store.log_reading import LogReader
from flor_ray.store.pivoting import pivots
from flor_ray.store.store import Store

A, B, C = "a" * 40, "b" * 40, "c" * 40
ODD_NAMES = [
    "val.acc",
    'say "hi"',
    "it's",
    "two words",
    " ",
    "select",
    "class",
    "Loss",
    "loss",
    "LOSS",
    "ünïcode 损失",
    "a,b;c",
    "semi\nline",
    "%s{0}`$",
    "x" * 500,
    "0",
]


class Lab:
    """A folder with a store, without git."""

    def __init__(self, root: Path) -> None:
        self.path = str(root)
        self.store = Store(str(root / ".flor"))
        self._started = 0.0

    def add(self, version: str, epochs: int, *records: LogRecord) -> None:
        self._started += 1.0
        run = Experiment("digits", version, None, "train.py", "", self._started, self._started + 0.5, Status.FINISHED)
        self.store.begin_run(run)
        self.store.append_logs("digits", version, "recorded", 0, records)
        ended = {"epochs": epochs, "main_loop": "epoch", "nested_loop": "step"}
        self.store.end_run(Experiment(**{f: getattr(run, f) for f in Experiment.__slots__} | ended))

    def replay(self, version: str, first: int, last: int, *records: LogRecord, verdict: Fidelity) -> None:
        names = tuple(sorted({r.name for r in records}))
        segment = Segment(version, first, last, Operator.DP_I, names=names)
        wrong = Mismatch("acc", 1, None, "1.0", "2.0") if verdict is Fidelity.DIVERGED else None
        report = SegmentReport(segment, len(records), 0.5, 1.5, compared=1, verdict=verdict, mismatch=wrong)
        self.store.write_replay("digits", version, "replay-1", segment.id, records, report)

    def file_of(self, version: str) -> Path:
        (path,) = Path(self.path, ".flor", "log_records", "digits", version).iterdir()
        return path

    def frame(self, *names: str, **options: Any) -> pd.DataFrame:
        return lookup.dataframe(*names, path=self.path, **options)

    def frames(self, *names: str, **options: Any) -> list[pd.DataFrame]:
        return list(lookup.dataframes(*names, path=self.path, **options))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("FLOR_RAY_PROJECT", "digits")
    return Lab(tmp_path)


def record(
    name: str, value: object, epoch: int | None = None, step: int | None = None, iteration: int = 0
) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
    return LogRecord(level, epoch, step, name, iteration, typed_values.encode(value), 0.0)


def test_names_of_any_kind_come_back_with_their_values(lab: Lab) -> None:
    lab.add(A, 1, *(record(name, number, 1) for number, name in enumerate(ODD_NAMES)))
    frame = lab.frame()
    assert frame[ODD_NAMES].iloc[0].tolist() == list(range(len(ODD_NAMES)))
    assert [c for c in frame if c not in pivots.DIMENSIONS] == sorted(ODD_NAMES)
    for number, name in enumerate(ODD_NAMES):
        assert lab.frame(name)[name].tolist() == [number]


def test_three_thousand_names_are_three_thousand_columns(lab: Lab) -> None:
    names = [f"layer.{number:04d}/grad" for number in range(3000)]
    lab.add(A, 2, *(record(name, number + e / 2, e) for e in (1, 2) for number, name in enumerate(names)))
    frame = lab.frame()
    assert frame[names].shape == (2, 3000)
    assert (frame[names].dtypes == "float64").all()
    assert frame[names].iloc[1].tolist() == [number + 1.0 for number in range(3000)]


def test_numbers_come_back_as_they_were_and_none_is_an_object(lab: Lab) -> None:
    epochs: dict[str, list[Any]] = {
        "int": [2**53 + 1, -(2**63), 2**63 - 1],
        "gap": [2**53 + 1, None, 7],
        "float": [math.nan, math.inf, -math.inf],
        "mixed": [1, 0.5, 2**53],
        "flag": [True, False, None],
    }
    lab.add(A, 3, *(record(name, v, e) for name, values in epochs.items() for e, v in enumerate(values, 1)))
    frame = lab.frame()
    types = {
        "int": "int64",
        "gap": "Int64",
        "float": "float64",
        "mixed": "float64",
        "flag": "boolean",
        "epoch": "int64",
    }
    assert {name: str(frame[name].dtype) for name in types} == types
    assert frame["int"].tolist() == epochs["int"]
    assert frame["gap"].tolist() == [2**53 + 1, pd.NA, 7]
    assert repr(frame["float"].tolist()) == "[nan, inf, -inf]"
    assert frame["mixed"].tolist() == [1.0, 0.5, 2.0**53]
    assert str(frame["timestamp"].dt.tz) == "UTC"


def test_values_of_mixed_types_keep_them(lab: Lab) -> None:
    values = [2**70, 0.5, "text", True, None, [1, 2], 2**62 + 1]
    lab.add(A, 7, *(record("x", value, epoch) for epoch, value in enumerate(values, 1)))
    shown = lab.frame("x")["x"].tolist()
    assert shown == values
    assert list(map(type, shown)) == list(map(type, values))


def test_an_index_has_the_dimensions_that_there_are(lab: Lab) -> None:
    lab.add(A, 1, record("lr", 0.5), record("acc", 1.0, 1), record("loss", 2.0, 1, 0), record("loss", 1.0, 1, 1))
    lab.add(B, 0, record("lr", 0.25))
    assert lab.frame("lr", index=True).index.names == ["version"]
    assert lab.frame("acc", index=True).index.tolist() == [(A, 1), (B, pd.NA)]
    frame = lab.frame("loss", "lr", index=True)
    assert frame.index.names == ["version", "epoch", "step"]
    assert frame[["loss", "lr"]].values.tolist() == [
        [2.0, 0.5],
        [1.0, 0.5],
        [pytest.approx(math.nan, nan_ok=True), 0.25],
    ]
    assert list(frame.columns) == ["project", "run", "timestamp", "loss", "lr"]
    lab.add(C, 1, record("loss", 2.0, 1, 0), record("loss", 3.0, 1, 0, 1))
    assert lab.frame("loss", index=True).index.names == ["version", "epoch", "step", "iteration"]


def test_provenance_says_what_was_replayed_and_by_which_replay(lab: Lab) -> None:
    lab.add(A, 3, record("acc", 1.0, 1), record("acc", 2.0, 2))
    lab.add(B, 1, record("acc", 3.0, 1))
    lab.replay(A, 2, 3, record("acc", -1.0, 2), record("acc", 5.0, 3), record("norm", 7.0, 3), verdict=Fidelity.EXACT)
    lab.replay(B, 1, 1, record("norm", 8.0, 1), record("words", 9), verdict=Fidelity.EXACT)
    frame = lab.frame()
    assert frame.attrs["provenance"] == {
        "acc": {"replay-1": {A: [3]}},
        "norm": {"replay-1": {A: [3], B: [1]}},
        "words": {"replay-1": {B: [None]}},
    }
    assert frame.loc[frame["version"] == A, "acc"].tolist() == [1.0, 2.0, 5.0]
    assert {v: said["verdict"] for v, said in frame.attrs["fidelity"].items()} == {A: "exact", B: "exact"}
    assert lab.frame("acc").attrs["provenance"] == {"acc": {"replay-1": {A: [3]}}}


def test_frames_in_pieces_are_the_rows_of_the_whole(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pivots, "_PIECE_RECORDS", 4)
    lab.add(A, 2, *(record("loss", e + s / 10, e, s) for e in (1, 2) for s in (0, 1)), record("best", 3))
    lab.add(B, 1, record("best", 4))
    lab.add(C, 1, record("loss", 0.5, 1, 0), record("loss", 0.25, 1, 0, 1), record("note", "long"))
    pieces = lab.frames()
    assert [piece["version"].unique().tolist() for piece in pieces] == [[A], [B, C]]
    assert all(piece.dtypes.astype(str).to_dict() == pieces[0].dtypes.astype(str).to_dict() for piece in pieces)
    whole = lab.frame()
    joined = pd.concat(pieces, ignore_index=True)
    assert list(joined.columns) == list(whole.columns)
    pd.testing.assert_frame_equal(joined, whole, check_dtype=False)
    indexed = lab.frames("loss", index=True)
    assert indexed[0].index.names == ["version", "epoch", "step", "iteration"]


def test_pieces_warn_of_the_versions_that_they_have(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pivots, "_PIECE_RECORDS", 1)
    for version in (A, B):
        lab.add(version, 1, record("acc", 1.0, 1))
    lab.replay(B, 1, 1, record("norm", 8.0, 1), verdict=Fidelity.DIVERGED)
    pieces = lookup.dataframes("norm", path=lab.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(pieces).attrs["diverged"] == []
    with pytest.warns(FlorWarning, match=B[:8]):
        (last,) = pieces
    assert last.attrs["diverged"] == [B]


def test_what_cannot_be_asked_is_told_before_the_first_piece(lab: Lab) -> None:
    lab.add(A, 1, record("acc", 1.0, 1))
    with pytest.raises(UnknownFeature):
        lookup.dataframes("acuracy", path=lab.path)
    with pytest.raises(UsageError, match="level='x'"):
        lookup.dataframes("acc", path=lab.path, level="x")


# --- large files ------------------------------------------------------------------------------------------------------


def test_a_version_that_is_read_in_parts_is_whole(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [record("loss", e + s / 10, e, s) for e in (1, 2, 3) for s in range(4)]
    lab.add(A, 3, *steps, *(record("acc", e, e) for e in (1, 2, 3)), record("note", "text"))
    lab.add(B, 1, record("loss", 9.0, 1, 0))
    whole = lab.frame()
    path = lab.file_of(A)
    pq.write_table(pq.read_table(path), path, row_group_size=5)
    opened: list[int] = []
    parts = LogFile.parts

    def counted(self: LogFile, *arguments: Any) -> Iterator[pa.Table]:
        for table in parts(self, *arguments):
            opened.append(table.num_rows)
            yield table

    monkeypatch.setattr(LogFile, "parts", counted)
    monkeypatch.setattr(log_files, "PART_ROWS", 3)
    monkeypatch.setattr(log_pieces, "PART_ROWS", 3)
    monkeypatch.setattr(pivots, "_READ_RECORDS", 2)
    monkeypatch.setattr(pivots, "_PIECE_RECORDS", 2)
    pd.testing.assert_frame_equal(lab.frame(), whole)
    assert sum(opened) == 16
    assert max(opened) <= 3
    joined = pd.concat(lab.frames(), ignore_index=True)
    pd.testing.assert_frame_equal(joined[list(whole)], whole, check_dtype=False)


def test_a_damaged_version_that_is_read_in_parts_costs_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add(A, 2, *(record("acc", float(number), 1, number) for number in range(2000)))
    lab.add(B, 1, record("acc", 9.0, 1))
    path = lab.file_of(A)
    pq.write_table(pq.read_table(path), path, row_group_size=500, compression="zstd")
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(2).column(0).dictionary_page_offset
    data[at : at + 60] = b"\xff" * 60
    path.write_bytes(data)
    monkeypatch.setattr(log_files, "PART_ROWS", 100)
    monkeypatch.setattr(log_pieces, "PART_ROWS", 100)
    monkeypatch.setattr(pivots, "_READ_RECORDS", 2)
    with pytest.warns(FlorWarning, match="It is left out"):
        frame = lab.frame("acc")
    assert frame["acc"].dropna().tolist() == [9.0]
    monkeypatch.setattr(pivots, "_PIECE_RECORDS", 2)
    with pytest.warns(FlorWarning, match="It is left out"):
        frames = lab.frames("acc")
    assert [frame["acc"].dropna().tolist() for frame in frames] == [[], [9.0]]


@pytest.mark.parametrize("parts", [1, 1 << 18])
def test_files_that_are_compacted_while_they_are_read_are_read_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    for version in (A, B, C):
        lab.add(version, 2, *(record("acc", float(e), e) for e in (1, 2)), record("loss", 0.5, 1, 0))
    whole, pieces = lab.frame(), lab.frames()
    listing, listed = LogReader.listing, list[str]()

    def then_compacted(self: LogReader, *arguments: Any) -> Any:
        found = listing(self, *arguments)
        if not listed:
            listed.append("once")
            assert Compactor(lab.store, "digits").compact().records == 9
        return found

    monkeypatch.setattr(log_pieces, "PART_ROWS", parts)
    monkeypatch.setattr(LogReader, "listing", then_compacted)
    pd.testing.assert_frame_equal(lab.frame(), whole)
    assert listed
    pd.testing.assert_frame_equal(pd.concat(lab.frames()), pd.concat(pieces))

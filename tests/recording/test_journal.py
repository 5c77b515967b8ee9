"""What the background writer does with records that cannot be written, now or ever."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from flor_ray.environment.inputs import InputFiles
from flor_ray.errors import FlorWarning
from flor_ray.recording import journal
from flor_ray.recording.journal import Journal
from flor_ray.records import Experiment, Level, LogRecord, Status, Value
from flor_ray.store import typed_values
from flor_ray.store.store import Store

RUN = Experiment("p", "a" * 40, None, "train.py", "", 0.0, None, Status.RUNNING)


class NoSources:
    """As much of a repository as a journal asks for."""

    def sources(self, version: str, known: frozenset[str]) -> dict[str, Any]:
        return {}


class RoomlessStore(Store):
    """Has no room for blobs of `most` bytes and more."""

    most = 1000

    def append_logs(self, project: str, version: str, origin: str, first: int, records: Sequence[LogRecord]) -> None:
        if any(len(record.value.blob or b"") >= self.most for record in records):
            raise OSError(28, "No space left on device")
        super().append_logs(project, version, origin, first, records)


def record(name: str, value: object, iteration: int = 0) -> LogRecord:
    kept = value if isinstance(value, Value) else typed_values.encode(value)
    return LogRecord(Level.DATA_PREP, None, None, name, iteration, kept, 0.0)


def written(store: Store, records: Sequence[LogRecord]) -> tuple[list[tuple[str, object]], list[str]]:
    """Names and numbers that are in the store when these were logged, and what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.begin_run(RUN)
        writer = Journal(store, RUN, cast(Any, NoSources()), InputFiles(".", []))
        for one in records:
            writer.log(one)
        writer.close(RUN)
    rows = store.logs("p").to_pylist()
    told = [str(warning.message) for warning in caught if issubclass(warning.category, FlorWarning)]
    return [(row["name"], row["integer"]) for row in rows], told


def test_a_record_that_cannot_be_written_costs_itself_only_and_is_named(tmp_path: Path) -> None:
    bad = Value("int", None, cast(int, "seven"))
    records = [record("good", n, n) for n in range(9)]
    records[4:4] = [record("bad", bad), record("bad", bad, 1)]
    rows, told = written(Store(str(tmp_path)), records)
    assert sorted(rows) == [("good", n) for n in range(9)]
    assert len(told) == 1
    assert told[0].startswith("A value of 'bad' cannot be kept (TypeError: ")


def test_a_blob_that_the_disk_has_no_room_for_costs_no_number_beside_it(tmp_path: Path) -> None:
    records = [record("a", 1), record("image", bytes(5000)), record("b", 2), record("c", b"small")]
    rows, told = written(RoomlessStore(str(tmp_path)), records)
    assert sorted(rows, key=str) == [("a", 1), ("b", 2), ("c", None)]
    assert "could not write" in told[0]
    assert "Of this run, 1 log record (image) could not be written" in told[-1]


def test_blobs_that_wait_for_a_disk_take_no_more_memory_than_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_WAIT_BLOB_BYTES", 10_000)
    writer = Journal(Store(str(tmp_path)), RUN, cast(Any, NoSources()), InputFiles(".", []))
    waiting = [record("image", bytes(4000), n) for n in range(5)] + [record("a", 1)]
    assert [(r.name, r.iteration) for r in writer._bounded(waiting)] == [("image", 3), ("image", 4), ("a", 0)]
    assert writer._dropped == {"image": 3}
    with pytest.warns(FlorWarning, match="3 log records \\(image\\)"):
        writer.close(RUN)


@pytest.mark.parametrize("name", ["r\udce9", "\ud800\ud800", ""])
def test_odd_names_of_variables_and_values_do_not_keep_others_out(tmp_path: Path, name: str) -> None:
    rows, told = written(Store(str(tmp_path)), [record("a", 1), record(name, 2), record("b", 3)])
    assert (len(rows), told) == (3, [])

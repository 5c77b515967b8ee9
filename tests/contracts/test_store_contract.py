"""What `Store` promises, whatever the file system below it."""

from __future__ import annotations

import math
import pickle
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flor_ray import records
from flor_ray.errors import StoreError
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Level,
    LogRecord,
    Operator,
    Point,
    Profile,
    Segment,
    SegmentReport,
    SourceFile,
    Status,
)
from flor_ray.store import typed_values
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.store import Store

A, B = "a" * 40, "b" * 40
RUN = Experiment(
    project="digits",
    version=A,
    parent=None,
    script="train.py",
    run="first try",
    started=1000.0,
    ended=None,
    status=Status.RUNNING,
    args={"lr": 0.1, "limit": math.inf, "sizes": [1, 2]},
    argv=("--data", "x y"),
    environment={"host": "elsewhere", "pid": 1, "variables": {"A": "1"}},
)
REPORT = SegmentReport(Segment(A, 1, 3, Operator.DP_I, names=("g",)), rows=1, setup_seconds=0.5, run_seconds=1.5)


def record(
    name: str, value: object, epoch: int | None = None, step: int | None = None, iteration: int = 0
) -> LogRecord:
    level = Level.DATA_PREP if epoch is None else Level.OUTER if step is None else Level.INNER
    return LogRecord(level, epoch, step, name, iteration, typed_values.encode(value), 5.0)


def losses(numbers: Iterable[int]) -> list[LogRecord]:
    return [record("loss", float(n), 1 + n // 10, n % 10) for n in numbers]


def values(store: Store, *columns: str, **chosen: Any) -> list[tuple[Any, ...]]:
    table = store.logs("digits", **chosen)
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def checkpoint(epoch: int, point: Point = Point.EPOCH_END) -> Checkpoint:
    key = f"{epoch}{point}"
    return Checkpoint(
        A, "train.py", 7, epoch, point, key, 10 * epoch, 0.5, frozenset({"net", "best"}), frozenset({"f"})
    )


# --- E --------------------------------------------------------------------------------------------------------------


def test_a_finished_run_comes_back_as_it_was_told(url: str) -> None:
    store = Store(url)
    profile = Profile(1.5, (EpochTimes(1, 0.1, 0.2, 0.3), EpochTimes(2, 0.1, math.nan, 0.3)), 0.5)
    ended = replace(
        RUN, status=Status.FAILED, ended=1010.0, epochs=2, profile=profile, error="KeyError: 'x'", main_loop="e"
    )
    store.begin_run(RUN)
    store.end_run(ended)
    (found,) = Store(url).experiments("digits", now=2000.0)
    assert repr(found) == repr(ended)  # repr, for the sake of NaN


def test_args_that_json_does_not_know_become_plain_values(url: str) -> None:
    store = Store(url)
    store.end_run(
        replace(RUN, args={"t": (1, 2), "n": np.float32(0.5), "s": frozenset({"x"}), "c": 1j, "v": -math.inf})
    )
    (found,) = store.experiments("digits")
    assert found.args == {"t": [1, 2], "n": 0.5, "s": ["x"], "c": "1j", "v": -math.inf}


def test_runs_are_listed_by_start_and_then_by_version(url: str) -> None:
    store = Store(url)
    for version, started in ((B, 3.0), ("c" * 40, 1.0), (A, 3.0)):
        store.end_run(replace(RUN, version=version, started=started, status=Status.FINISHED))
    assert [e.version[0] for e in store.experiments("digits")] == ["c", "a", "b"]


def test_a_run_of_another_host_is_dead_when_its_heart_stops(url: str) -> None:
    store = Store(url)
    store.begin_run(RUN)

    def status(now: float) -> Status:
        return store.experiments("digits", now=now)[0].status

    assert [status(1090.0), status(1091.0)] == [Status.RUNNING, Status.CRASHED]
    store.beat("digits", A, 1050.0)
    store.beat("digits", A, 1100.0)
    assert [status(1190.0), status(1191.0)] == [Status.RUNNING, Status.CRASHED]
    store.end_run(replace(RUN, status=Status.FINISHED))
    assert status(9999.0) == Status.FINISHED


def test_a_crashed_run_is_rebuilt_from_what_it_left(url: str) -> None:
    """Epochs 1 to 3 ended (the third left its checkpoint), the fourth had only begun."""
    store = Store(url)
    store.begin_run(RUN)
    store.append_checkpoint("digits", checkpoint(1), EpochTimes(1, 0.1, 0.2, 0.3))
    store.append_checkpoint("digits", checkpoint(3), EpochTimes(3, 0.4, 0.5, 0.6))
    store.append_logs("digits", A, "recorded", 0, [record("lr", 0.1), record("loss", 1.0, 4, 0)])
    store.write_replay("digits", A, "replay-1", "s", [record("acc", 1.0, 9)], REPORT)
    (found,) = store.experiments("digits", now=9999.0)
    times = (EpochTimes(1, 0.1, 0.2, 0.3), EpochTimes(3, 0.4, 0.5, 0.6))
    assert found == replace(
        RUN,
        status=Status.CRASHED,
        epochs=3,
        profile=Profile(epochs=times),
        main_loop="epoch",
        nested_loop="step",
        args={"lr": 0.1},
    )


def test_what_was_said_first_about_a_run_stands(url: str) -> None:
    store = Store(url)
    store.begin_run(RUN)
    store.begin_run(RUN)
    with pytest.raises(StoreError, match="another run was recorded as this version"):
        store.begin_run(replace(RUN, run="another"))
    store.end_run(replace(RUN, status=Status.FAILED))
    store.end_run(replace(RUN, status=Status.FINISHED))
    assert [e.status for e in store.experiments("digits")] == [Status.FAILED]


@pytest.mark.parametrize("name", ["may", "t30", "a=b", "my project", ".", "..", "v1.2", "ünï", "a/b", "~", "", "*[x]?"])
def test_any_project_name_keeps_to_itself(url: str, name: str) -> None:
    store = Store(url)
    run = replace(RUN, project=name, status=Status.FINISHED)
    store.end_run(run)
    store.append_logs(name, A, "recorded", 0, [record("x", 1)])
    store.write_sources(name, A, None, {"train.py": SourceFile(b"1", "100644", "1" * 40)})
    store.append_checkpoint(name, checkpoint(0), None)
    assert store.projects() == (name,)
    assert store.experiments(name) == (run,)
    assert store.logs(name).num_rows == 1
    assert store.logs("other").num_rows == 0
    assert store.sources(name, A) == {"train.py": SourceFile(b"1", "100644", "1" * 40)}
    assert store.checkpoints(name, A) == (checkpoint(0),)


def test_a_store_that_nobody_wrote_to_is_empty(url: str) -> None:
    store = Store(url)
    assert store.projects() == ()
    assert store.experiments("digits") == ()
    assert store.logs("digits").num_rows == 0
    assert store.logged("digits", []).reports == []
    assert store.checkpoints("digits", A) == ()
    assert store.known_sources("digits", A) == {}
    assert store.files.list() == []


# --- F --------------------------------------------------------------------------------------------------------------


def test_logs_have_all_columns_and_typed_values(url: str) -> None:
    store = Store(url)
    blob = np.arange(3)
    store.append_logs(
        "digits", A, "recorded", 0, [record("lr", math.nan), record("n", 3, 1), record("m", blob, 1, 0, 2)]
    )
    table = store.logs("digits")
    place, value = ["level", "epoch", "step", "name", "iteration"], ["type", "number", "integer", "text"]
    assert table.column_names == ["project", "version", "origin", *place, *value, "timestamp"]
    key = table["text"][2].as_py()
    nan, *rows = [tuple(row.values()) for row in table.to_pylist()]
    assert repr(nan) == repr(("digits", A, "recorded", "d", None, None, "lr", 0, "float", math.nan, None, None, 5.0))
    assert rows == [
        ("digits", A, "recorded", "o", 1, None, "n", 0, "int", None, 3, None, 5.0),
        ("digits", A, "recorded", "i", 1, 0, "m", 2, "array", None, None, key, 5.0),
    ]
    assert typed_values.decode(records.Value("array", text=key), store.objects.get).tolist() == [0, 1, 2]


def test_logs_can_be_narrowed_to_names_and_versions(url: str) -> None:
    store = Store(url)
    for version in (A, B):
        store.append_logs("digits", version, "recorded", 0, [record("x", 1), record("y", 2)])
    assert values(store, "version", "name", names=["y"]) == [(A, "y"), (B, "y")]
    assert values(store, "version", "name", versions=[B]) == [(B, "x"), (B, "y")]
    assert values(store, "version", "name", names=["x", "no"], versions=[A, "c"]) == [(A, "x")]
    assert values(store, "version", names=[]) == values(store, "version", versions=[]) == []


def test_recorded_values_go_before_replayed_and_newer_replays_before_older(url: str) -> None:
    store = Store(url)
    old, new = "replay-20261122T034100.123456Z-ab12", "replay-20261122T034100.123457Z-0000"
    store.write_replay("digits", A, new, "dp_i-000001-000002", [record("loss", 2.0, 1, 0), record("g", 2.0, 1)], REPORT)
    store.append_logs("digits", A, "recorded", 0, [record("loss", 0.0, 1, 0), record("loss", 0.5, 1, 0, 1)])
    store.write_replay("digits", A, old, "dp_i-000001-000002", [record("g", 1.0, e) for e in (1, 2)], REPORT)
    store.write_replay("digits", B, old, "dp_i-000001-000002", [record("g", 9.0, 1)], REPORT)
    assert values(store, "version", "origin", "name", "epoch", "step", "iteration", "number") == [
        (A, "recorded", "loss", 1, 0, 0, 0.0),
        (A, "recorded", "loss", 1, 0, 1, 0.5),
        (A, new, "g", 1, None, 0, 2.0),
        (A, old, "g", 2, None, 0, 1.0),
        (B, old, "g", 1, None, 0, 9.0),
    ]


def test_a_segment_that_is_replayed_again_replaces_itself(url: str) -> None:
    store = Store(url)
    for value in (1.0, 2.0):
        store.write_replay(
            "digits", A, "replay-1", "dp-000000-000000", [record("g", value)], replace(REPORT, run_seconds=value)
        )
    store.write_replay("digits", A, "replay-1", "dp_i-000001-000003", [], replace(REPORT, rows=0))
    assert values(store, "number") == [(2.0,)]
    assert store.logged("digits", []).reports == [
        KeptReport("replay-1", "dp-000000-000000", replace(REPORT, run_seconds=2.0)),
        KeptReport("replay-1", "dp_i-000001-000003", replace(REPORT, rows=0)),
    ]


def test_overlapping_segments_of_one_replay_give_each_value_once(url: str) -> None:
    store = Store(url)
    store.write_replay("digits", A, "replay-1", "dp_i-000001-000002", [record("g", 1.0, e) for e in (1, 2)], REPORT)
    store.write_replay("digits", A, "replay-1", "dp_i-000002-000003", [record("g", 1.0, e) for e in (2, 3)], REPORT)
    assert values(store, "epoch") == [(1,), (2,), (3,)]


def test_appending_nothing_writes_nothing(url: str) -> None:
    store = Store(url)
    store.append_logs("digits", A, "recorded", 0, [])
    assert store.files.list("log_records") == []


def append_in_parts(store: Store, sizes: Sequence[int]) -> list[LogRecord]:
    records = losses(range(sum(sizes)))
    first = 0
    for size in sizes:
        store.append_logs("digits", A, "recorded", first, records[first : first + size])
        first += size
    return records


def test_a_merge_changes_the_files_and_not_the_rows(url: str) -> None:
    store = Store(url)
    append_in_parts(store, [10, 1, 5])
    store.append_logs("digits", A, "recorded", 20, losses([20]))  # after a gap
    store.write_replay("digits", A, "replay-1", "s", [record("g", 1.0)], REPORT)
    before = store.logs("digits")
    store.merge_logs("digits", A, "recorded")
    store.merge_logs("digits", A, "recorded")
    folder = f"log_records/digits/{A}"
    assert store.files.list(folder) == [
        f"{folder}/recorded.000000000000-000000000015.parquet",
        f"{folder}/recorded.000000000020-000000000020.parquet",
        f"{folder}/replay-1.s.parquet",
    ]
    assert store.logs("digits").to_pylist() == before.to_pylist()
    append_in_parts(store, [16, 4])  # written again by a retry, and then the gap is filled
    store.merge_logs("digits", A, "recorded")
    assert store.files.list(folder)[0] == f"{folder}/recorded.000000000000-000000000020.parquet"
    assert values(store, "number", names=["loss"]) == [(float(n),) for n in range(21)]


def test_a_merge_that_is_killed_anywhere_loses_and_doubles_nothing(url: str) -> None:
    for deletions in range(4):
        store = Store(f"{url}/{deletions}")
        append_in_parts(store, [2, 2, 2])
        delete, count = store.files.delete, iter(range(deletions))

        def killed(path: str, delete: Any = delete, count: Any = count) -> None:
            if next(count, None) is None:
                raise KeyboardInterrupt
            delete(path)

        store.files.delete = killed  # type: ignore[method-assign]
        if deletions < 3:
            with pytest.raises(KeyboardInterrupt):
                store.merge_logs("digits", A, "recorded")
        store.files.delete = delete  # type: ignore[method-assign]
        assert values(store, "number") == [(float(n),) for n in range(6)]
        store.merge_logs("digits", A, "recorded")
        assert len(store.files.list("log_records")) == 1
        assert values(store, "number") == [(float(n),) for n in range(6)]


def test_readers_see_every_row_once_while_writers_and_merges_run(url: str) -> None:
    store = Store(url)
    done = threading.Event()
    failures: list[Exception] = []

    def merge() -> None:
        merging = Store(url)
        try:
            while not done.wait(0.005):
                merging.merge_logs("digits", A, "recorded")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test has to see it
            failures.append(error)

    mergers = [threading.Thread(target=merge) for _ in range(2)]
    for thread in mergers:
        thread.start()
    try:
        for number in range(15):
            store.append_logs("digits", A, "recorded", number * 2, losses([number * 2, number * 2 + 1]))
            seen = sorted(values(store, "number"))
            assert seen == [(float(n),) for n in range(number * 2 + 2)]
    finally:
        done.set()
        for thread in mergers:
            thread.join()
    assert failures == []
    store.merge_logs("digits", A, "recorded")
    assert len(store.files.list("log_records")) == 1


# --- C --------------------------------------------------------------------------------------------------------------


def times_of_crashed(store: Store) -> tuple[EpochTimes, ...]:
    """Epochs of a run that never said how it ended: what C has of them."""
    (run,) = store.experiments("digits", now=9e9)
    return run.profile.epochs


def test_checkpoints_come_in_the_order_in_which_they_were_taken(url: str) -> None:
    store = Store(url)
    store.begin_run(RUN)
    points = [(2, Point.EPOCH_END), (0, Point.EPOCH_END), (10, Point.EPOCH_END), (2, Point.NESTED_EXIT)]
    for epoch, point in points:
        known = EpochTimes(epoch, 1.0, 2.0, 3.0) if point is Point.EPOCH_END and epoch else None
        store.append_checkpoint("digits", checkpoint(epoch, point), known)
    expected = tuple(checkpoint(e, p) for e, p in (points[1], points[3], points[0], points[2]))
    times = (EpochTimes(2, 1.0, 2.0, 3.0), EpochTimes(10, 1.0, 2.0, 3.0))
    assert (store.checkpoints("digits", A), times_of_crashed(store)) == (expected, times)
    assert store.checkpoints("digits", B) == ()
    store.merge_checkpoints("digits", A)
    assert len(store.files.list("checkpoints")) == 1
    assert (store.checkpoints("digits", A), times_of_crashed(store)) == (expected, times)
    store.append_checkpoint("digits", checkpoint(11), None)
    store.append_checkpoint("digits", checkpoint(11), None)
    store.merge_checkpoints("digits", A)
    store.merge_checkpoints("digits", A)
    assert len(store.files.list("checkpoints")) == 1
    assert store.checkpoints("digits", A) == (*expected, checkpoint(11))


# --- G --------------------------------------------------------------------------------------------------------------


def test_sources_are_mirrored_and_unchanged_ones_not_sent_again(url: str) -> None:
    store = Store(url)
    old = SourceFile(b"print(1)", "100644", "1" * 40)
    new = SourceFile(b"print(2)", "100755", "2" * 40)
    link = SourceFile(b"train.py", "120000", "3" * 40)
    store.write_sources("digits", A, None, {"train.py": old, "name\nwith \udcff.py": link})
    known = store.known_sources("digits", A)
    assert known.keys() == {old.oid, link.oid}
    skipped = {"train.py": replace(old, data=b""), "new.py": new}
    store.write_sources("digits", B, A, skipped, known)
    assert store.sources("digits", A) == {"train.py": old, "name\nwith \udcff.py": link}
    assert store.sources("digits", B) == {"train.py": old, "new.py": new}
    assert len(store.files.list("objects")) == 3


def test_a_file_without_data_is_refused_unless_it_is_empty(url: str) -> None:
    store = Store(url)
    with pytest.raises(StoreError, match=r"train\.py of version b+ has no data"):
        store.write_sources("digits", B, A, {"train.py": SourceFile(b"", "100644", "1" * 40)})
    empty = {"__init__.py": SourceFile(b"", "100644", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")}
    store.write_sources("digits", B, A, empty)
    assert store.sources("digits", B) == empty


def test_a_version_without_mirrored_sources_is_a_store_error(url: str) -> None:
    store = Store(url)
    store.begin_run(RUN)
    with pytest.raises(StoreError, match=r"ended before its source files were written.*flor\.shadow"):
        store.sources("digits", A)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_a_store_can_be_sent_to_another_process(url: str) -> None:
    store = Store(url)
    store.begin_run(RUN)
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.url, copy.projects()) == (store.url, ("digits",))


def test_a_store_of_a_newer_flor_ray_is_not_touched(url: str) -> None:
    Store(url).begin_run(RUN)
    opened_before = Store(url)
    opened_before.files.write("format.json", b'{"format": 99}')
    with pytest.raises(StoreError, match=r"format\.json .*format 99.*Upgrade flor_ray"):
        Store(url)


@pytest.mark.parametrize("contents", [b"", b"garbage", b"[1]", b'{"format": null}', b"{}"])
def test_a_damaged_format_file_is_named(url: str, contents: bytes) -> None:
    Store(url).files.write("format.json", contents)
    with pytest.raises(StoreError, match=r"format\.json does not say.*Restore that file"):
        Store(url)

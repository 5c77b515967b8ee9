"""What importing makes of files that the libraries wrote themselves."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from flor_ray.errors import UsageError
from flor_ray.importing.arriving import ImportFate
from flor_ray.records import IMPORTED, Status
from flor_ray.store.imports import RunLog
from flor_ray.store.store import Store
from tests.imported_sources import CASES, EVENTS, KINDS, Row, by_run, imported, lay_out, rows, same

NAN = math.nan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def single(number: float) -> float:
    """A number as TensorBoard keeps it."""
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def expect(found: list[Row], wanted: list[Row]) -> None:
    """Rows, NaN included."""
    assert [row[:4] for row in found] == [row[:4] for row in wanted]
    assert [(a, b) for a, b in zip(found, wanted, strict=True) if not same(a[4], b[4])] == []


def test_tensorboard_scalars_texts_and_hyperparameters(store: Store, tmp_path: Path) -> None:
    done = imported(store, lay_out("tensorboard", tmp_path / "runs"))
    assert [(a.fate, a.experiment and a.experiment.run) for a in done.arrivals] == [
        (ImportFate.EMPTY, "hparams"),
        (ImportFate.NEW, "hparams/trial"),
        (ImportFate.NEW, "plain"),
        (ImportFate.NEW, "tensors"),
    ]
    found = by_run(store)
    expect(found["tensors"], [("acc", 1, step, 0, step / 4) for step in range(3)])
    expect(
        found["hparams/trial"],
        [
            ("layers", None, None, 0, 3.0),
            ("lr", None, None, 0, 0.1),
            ("nesterov", None, None, 0, True),
            ("opt", None, None, 0, "adam"),
            ("best", 1, 0, 0, 0.5),
        ],
    )
    of = {name: [row for row in found["plain"] if row[0] == name] for name in {row[0] for row in found["plain"]}}
    assert set(of) == {"train/loss", "it_s__ü_", "twice", "notes/text_summary"}  # tensorboardX's names
    expect(of["it_s__ü_"], [("it_s__ü_", 1, 0, 0, NAN), ("it_s__ü_", 1, 1, 0, math.inf)])
    expect(of["twice"], [("twice", 1, 3, 0, 1.0), ("twice", 1, 3, 1, 2.0)])
    expect(of["notes/text_summary"], [("notes/text_summary", 1, 0, 0, "two\nlines")])


def test_where_a_run_of_tensorboard_was_restarted_the_newest_values_are_taken(store: Store, tmp_path: Path) -> None:
    done = imported(store, lay_out("tensorboard", tmp_path) / "plain")
    losses = [(row[2], row[4]) for row in by_run(store)["plain"] if row[0] == "train/loss"]
    assert losses == [(step, single(1 / (step + 1))) for step in range(4)] + [(4, 14.0), (5, 15.0), (6, 16.0)]
    (arrival,) = done.arrivals
    said = " ".join(arrival.notes)
    assert "3 values of steps that were run again" in said  # two losses, and only.first
    assert "1 value (below) at steps below 0" in said
    assert "without histograms (1)" in said


def test_an_interrupted_run_of_tensorboard_keeps_what_it_did_not_run_again(store: Store, tmp_path: Path) -> None:
    """Without a word of its restart, only what is there twice is superseded."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(CASES / "tensorboard" / "plain" / f"{EVENTS}.a", folder / f"{EVENTS}.b")
    shutil.copy(CASES / "tensorboard" / "tensors" / "events.out.tfevents.1795965149.vm.2351.0", folder)
    imported(store, folder)
    (found,) = by_run(store).values()
    assert {row[0] for row in found} >= {"acc", "train/loss", "only.first"}


def test_wandb_history_config_and_summary(store: Store, tmp_path: Path) -> None:
    (arrival,) = imported(store, lay_out("wandb", tmp_path / "wandb")).arrivals
    run = arrival.experiment
    assert run is not None
    assert (run.run, run.status, run.error, run.epochs) == ("old", Status.FINISHED, None, 1)
    assert dict(run.args) == {"lr": 0.1, "layers": [1, 2], "opt.name": "adam", "big": 2**60, "text": "it's"}
    expect_wandb(rows(store, run.version))


def expect_wandb(found: list[Row]) -> None:
    outside = {row[0]: row[4] for row in found if row[1] is None}
    assert outside == {"lr": 0.1, "layers": [1, 2], "opt.name": "adam", "big": 2**60, "text": "it's", "best": 0.99}
    in_steps = sorted((row for row in found if row[1] is not None), key=lambda row: (row[0], row[2]))
    wanted: list[Row] = []
    for step in range(4):
        values = {"loss": 1 / (step + 1), "acc": step, "flag": step > 2, "nest.a": step, "note": f"step {step}"}
        values["train/grad.norm"] = NAN if step == 3 else math.inf
        wanted += [(name, 1, step, 0, value) for name, value in values.items()]
    expect(in_steps, sorted(wanted, key=lambda row: (row[0], row[2] or 0)))


MLFLOW = {
    "lr": 0.1,
    "layers": [1, 2],
    "big": 2**60,
    "name": "it's",
    "flag": True,
    "none": None,
    "a/b.c": "x: y #z",
}


def expect_mlflow(store: Store) -> None:
    """What `log_with_mlflow` in cases/imported/write.py has logged."""
    runs = {run.run: run for run in store.experiments("digits")}
    assert {name: (run.status, run.error) for name, run in runs.items()} == {
        "first run": (Status.FINISHED, None),
        "bad": (Status.FAILED, "MLflow has it as failed"),
    }
    assert dict(runs["first run"].args) == MLFLOW
    found = by_run(store)["first run"]
    assert {row[0]: row[4] for row in found if row[1] is None} == {**MLFLOW, "tags.team": "vision"}
    steps = [("train/loss", step, 0, 1 / (step + 1)) for step in range(4)]
    steps += [("train/loss", 3, 1, 9.0), ("nan", 1, 0, NAN), ("inf", 2, 0, math.inf), ("inf", 3, 0, -math.inf)]
    wanted: list[Row] = [(name, 1, step, iteration, value) for name, step, iteration, value in steps]
    expect(sorted((row for row in found if row[1] is not None), key=repr), sorted(wanted, key=repr))
    expect(by_run(store)["bad"], [("x", 1, 0, 0, 1.0)])


def test_a_database_of_mlflow(store: Store, tmp_path: Path) -> None:
    done = imported(store, lay_out("mlflow", tmp_path / "ml"))
    expect_mlflow(store)
    assert "1 value (below) at steps below 0" in " ".join(done.arrivals[0].notes)
    about: Any = store.experiments("digits")[0].environment[IMPORTED]
    assert about["from"] == "MLflow"
    assert about["about"]["experiment"] == "digits"


def test_a_deleted_run_of_mlflow_is_none(store: Store, tmp_path: Path) -> None:
    source = lay_out("mlflow", tmp_path / "ml")
    with sqlite3.connect(source / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'bad'")
    imported(store, source)
    assert list(by_run(store)) == ["first run"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("flordb")])
def test_flordb_keeps_loops_and_types(kind: str, store: Store, tmp_path: Path) -> None:
    """Of 3.x and 4.x, of JSON and of SQLite, the same comes out."""
    (arrival,) = imported(store, lay_out(kind, tmp_path / "source")).arrivals
    assert arrival.experiment is not None
    assert (arrival.experiment.main_loop, arrival.experiment.nested_loop) == ("epoch", "step")
    assert arrival.experiment.epochs == 3
    wanted: list[Row] = [
        ("lr", None, None, 0, 0.1),
        ("device", None, None, 0, "it's"),
        ("best", None, None, 0, math.inf),
        ("doc_value", None, None, 0, "x.pdf"),
        ("pages", None, None, 0, 5),
        ("doc_value", None, None, 1, "y.pdf"),
        ("pages", None, None, 1, 5),
    ]
    for epoch in (1, 2, 3):
        wanted.append(("acc", epoch, None, 0, NAN if epoch == 2 else (epoch - 1) / 2))
        wanted.append(("conf", epoch, None, 0, [[1, 2], [3, epoch - 1]]))
        for step, value in enumerate("ab"):
            wanted.append(("step_value", epoch, step, 0, value))
            wanted.append(("loss", epoch, step, 0, 1 / epoch))
            wanted.append(("big", epoch, step, 0, 2**60 + epoch - 1))
    expect(rows(store, arrival.run.version), wanted)
    assert any("Values of the loop doc are outside the main loop (epoch)" in note for note in arrival.notes)
    assert ("FlorDB 3 does not say" in " ".join(arrival.notes)) == (kind == "flordb 3 database")


def test_what_flordb_has_replayed_is_told_and_left_out(store: Store, tmp_path: Path) -> None:
    source = lay_out("flordb 4 database", tmp_path / "source")
    with sqlite3.connect(source / "f4.db") as connection:
        connection.execute("UPDATE logs SET source = 'replay' WHERE value_name = 'best'")
    (arrival,) = imported(store, source).arrivals
    assert "best" not in arrival.names
    assert "values that FlorDB has replayed, or read out of printed text (1)" in " ".join(arrival.notes)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_only_read_and_importing_again_adds_nothing(kind: str, store: Store, tmp_path: Path) -> None:
    source = lay_out(kind, tmp_path / "source")
    before = snapshot(source)
    first = imported(store, source)
    assert snapshot(source) == before
    kept = snapshot(Path(store.url))
    elsewhere = tmp_path / "copied" / "elsewhere"
    shutil.copytree(source, elsewhere)
    for path in (source, elsewhere):
        again = imported(store, path)
        fates = {ImportFate.THERE if a.fate is ImportFate.NEW else a.fate for a in first.arrivals}
        assert {arrival.fate for arrival in again.arrivals} == fates
        assert snapshot(Path(store.url)) == kept


def test_a_dry_run_says_all_of_it_and_writes_nothing(store: Store, tmp_path: Path) -> None:
    source = lay_out("mlflow", tmp_path / "source")
    told = imported(store, source, dry_run=True)
    assert store.projects() == ()
    assert [(a.fate, a.names, a.notes) for a in told.arrivals] == [
        (a.fate, a.names, a.notes) for a in imported(store, source).arrivals
    ]


def test_what_a_writer_has_not_moved_into_its_database_yet_is_read_too(store: Store, tmp_path: Path) -> None:
    """While it is open there, in the log beside it; and nothing there is touched."""
    source = lay_out("mlflow", tmp_path / "source")
    writer = sqlite3.connect(source / "mlflow.db", isolation_level=None)
    try:
        writer.execute("PRAGMA journal_mode = WAL")
        (run,) = writer.execute("SELECT run_uuid FROM runs WHERE name = 'bad'").fetchone()
        writer.execute("INSERT INTO metrics VALUES ('late', 2.5, 1700000000000, ?, 7, 0)", (run,))
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO metrics VALUES ('later', 2.5, 1700000000000, ?, 7, 0)", (run,))
        before = snapshot(source)
        assert {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm"} <= set(before)
        imported(store, source)
        assert snapshot(source) == before
        assert by_run(store)["bad"] == [("x", 1, 0, 0, 1.0), ("late", 1, 7, 0, 2.5)]
    finally:
        writer.close()


def test_a_database_that_is_written_all_the_time_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = lay_out("mlflow", tmp_path / "source")
    copy = shutil.copyfile

    def copied(path: str, to: str) -> None:
        copy(path, to)
        os.utime(path)

    monkeypatch.setattr(shutil, "copyfile", copied)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(UsageError, match="is written all the time: 5 copies were begun"):
        imported(store, source)


def test_a_run_that_is_still_going_on_waits_unless_it_is_asked_for(store: Store, tmp_path: Path) -> None:
    source = lay_out("tensorboard", tmp_path / "source") / "tensors"
    minutes = 1_795_965_149.0 + 300  # after its file was begun
    (arrival,) = imported(store, source, minutes).arrivals
    assert arrival.fate is ImportFate.GOING_ON
    assert "its last value is 5 minutes old" in arrival.notes[-1]
    assert store.projects() == ()
    assert imported(store, source, minutes, unfinished=True).arrivals[0].fate is ImportFate.NEW


def test_what_has_grown_since_it_was_imported_is_told(store: Store, tmp_path: Path) -> None:
    source = lay_out("tensorboard", tmp_path / "source") / "plain"
    second = source / f"{EVENTS}.b"
    second.rename(tmp_path / "aside")
    imported(store, source)
    had = by_run(store)
    (tmp_path / "aside").rename(second)
    (arrival,) = imported(store, source).arrivals
    assert arrival.fate is ImportFate.CHANGED
    assert "had 12 values when it was imported, and has 12 now, or others" in arrival.notes[-1], arrival.notes
    assert repr(by_run(store)) == repr(had)


def test_several_kinds_at_one_place_are_asked_about(store: Store, tmp_path: Path) -> None:
    lay_out("tensorboard", tmp_path / "logs")
    lay_out("wandb", tmp_path / "logs")
    with pytest.raises(UsageError, match=r"4 runs of TensorBoard, 1 run of wandb\. Say with --kind tensorboard\|wandb"):
        imported(store, tmp_path / "logs")
    assert [arrival.fate for arrival in imported(store, tmp_path / "logs", kind="wandb").arrivals] == [ImportFate.NEW]


def test_nothing_to_import_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="No run of TensorBoard"):
        imported(store, tmp_path / "empty")
    with pytest.raises(UsageError, match="There is nothing at"):
        imported(store, tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"No run of MLflow was found"):
        imported(store, lay_out("wandb", tmp_path / "w"), kind="mlflow")


def epochs_of(log: RunLog, epochs: str) -> list[tuple[str, int | None, int | None]]:
    return [(row["name"], row["epoch"], row["step"]) for row in log.collected(epochs).table.to_pylist()]


def test_steps_may_be_epochs_and_are_counted_from_1() -> None:
    log = RunLog()
    for step in (0, 2):
        log.add("acc", 0.5, 0.0, 1, step)
    log.add("lr", 0.1, 0.0)
    assert epochs_of(log, "step") == [("lr", None, None), ("acc", 1, None), ("acc", 3, None)]
    log = RunLog()
    log.add("acc", 0.5, 0.0, 1, 1)
    assert epochs_of(log, "step") == [("acc", 1, None)]
    log.add("acc", 0.5, 0.0, 1, 5_000_000)
    with pytest.raises(UsageError, match="its steps cannot be its epochs: they go from 1 to 5000000"):
        log.collected("step")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([0, 0, 1], [1, 1, 2]),  # counted from 0
        ([1.0, 1.0, 2.0], [1, 1, 2]),
        ([0.5, 1.0, 1.5], [1, 1, 2]),  # how much is done
    ],
)
def test_a_metric_may_say_the_epoch(said: list[float], wanted: list[int]) -> None:
    log = RunLog()
    for step, epoch in enumerate(said):
        log.add("epoch", epoch, 0.0, 1, 10 * step)
        log.add("loss", 0.5, 0.0, 1, 10 * step + 3)
    found = [row[1:] for row in epochs_of(log, "epoch") if row[0] == "loss"]
    assert found == [(epoch, 10 * step + 3) for step, epoch in enumerate(wanted)]


def test_a_metric_that_cannot_say_the_epoch_is_refused(store: Store, tmp_path: Path) -> None:
    (arrival,) = imported(store, lay_out("wandb", tmp_path / "w"), epochs="note").arrivals
    assert arrival.fate is ImportFate.UNREADABLE
    assert "it has no numbers called 'note'" in arrival.notes[0]


def test_integers_of_a_name_with_floats_become_floats_unless_one_would_change() -> None:
    log = RunLog()
    for name, values in (("a", [1, 0.5]), ("b", [2**53 + 1, 0.5]), ("c", [1, 2])):
        for step, value in enumerate(values):
            log.add(name, value, 0.0, 1, step)
    found: dict[str, list[str]] = {name: [] for name in "abc"}
    for row in log.collected().table.to_pylist():
        found[row["name"]].append(row["type"])
    assert found == {"a": ["float", "float"], "b": ["int", "float"], "c": ["int", "int"]}


def test_experiments_with_tags_and_models_are_no_runs_of_mlflow(store: Store, tmp_path: Path) -> None:
    experiment = tmp_path / "mlruns" / "1"
    for folder, meta in (
        (experiment, "name: digits\n"),
        (experiment / "r1", "run_id: r1\nstatus: 3\nstart_time: 1700000000000\n"),
        (experiment / "r2", "run_id: r2\nstatus: 3\nlifecycle_stage: deleted\n"),
        (experiment / "models" / "m-1", "model_id: m-1\nsource_run_id: r1\n"),
    ):
        for part in ("tags", "metrics", "params")[: 1 if folder == experiment else 3]:
            (folder / part).mkdir(parents=True)
        (folder / "meta.yaml").write_text(meta)
    (experiment / "r1" / "metrics" / "a").write_text("1700000000000 0.5 0\n")
    done = imported(store, tmp_path / "mlruns")
    assert [arrival.fate for arrival in done.arrivals] == [ImportFate.NEW]
    assert (done.notes, done.damaged) == (
        ["Without 2 folders of models, and of runs that MLflow has as deleted."],
        False,
    )


def test_an_event_file_that_says_nothing_does_not_cost_the_others(store: Store, tmp_path: Path) -> None:
    source = lay_out("tensorboard", tmp_path / "source") / "tensors"
    (source / "events.out.tfevents.1.vm").write_bytes(b"")
    (source / "events.out.tfevents.2.vm").write_bytes(b"what is this")
    (arrival,) = imported(store, source).arrivals
    assert arrival.values == 3
    assert f"{source}/events.out.tfevents.2.vm: the last 12 B are torn or damaged, and left out." in arrival.notes


def test_flordbs_epochs_are_its_loops(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FlorDB's runs have loops"):
        imported(store, lay_out("flordb 4", tmp_path / "f"), epochs="step")


def test_a_time_that_there_cannot_be_is_told() -> None:
    log = RunLog()
    for moment in (math.nan, 1e300, -math.inf, 5.0):
        log.add("a", 1.0, moment, 1, 0)
    assert log.collected().table["timestamp"].to_pylist() == [0.0, 0.0, 0.0, 5.0]
    assert log.untimed == 3


def test_what_was_imported_otherwise_or_has_ended_since_is_told(store: Store, tmp_path: Path) -> None:
    source = lay_out("mlflow", tmp_path / "m")
    with sqlite3.connect(source / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL WHERE name = 'first run'")
    imported(store, source)
    assert {run.run: run.error for run in store.experiments("digits")}[
        "first run"
    ] == "MLflow does not say how it ended"
    fates = {arrival.fate: arrival.notes[-1] for arrival in imported(store, source, epochs="step").arrivals}
    assert "was imported with its steps as they are" in fates[ImportFate.CHANGED]
    with sqlite3.connect(source / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET status = 'FINISHED' WHERE name = 'first run'")
    changed = [a for a in imported(store, source).arrivals if a.fate is ImportFate.CHANGED]
    assert ["has ended since it was imported" in arrival.notes[-1] for arrival in changed] == [True]


def test_a_link_to_a_database_leads_to_what_is_beside_that_too(store: Store, tmp_path: Path) -> None:
    source = lay_out("mlflow", tmp_path / "source")
    link = tmp_path / "link.db"
    link.symlink_to(source / "mlflow.db")
    writer = sqlite3.connect(source / "mlflow.db", isolation_level=None)
    try:
        writer.execute("PRAGMA journal_mode = WAL")
        (run,) = writer.execute("SELECT run_uuid FROM runs WHERE name = 'bad'").fetchone()
        writer.execute("INSERT INTO metrics VALUES ('late', 2.5, 1700000000000, ?, 7, 0)", (run,))
        imported(store, link)
        assert by_run(store)["bad"] == [("x", 1, 0, 0, 1.0), ("late", 1, 7, 0, 2.5)]
    finally:
        writer.close()


def test_a_copy_of_a_run_beside_it_is_told(store: Store, tmp_path: Path) -> None:
    source = lay_out("tensorboard", tmp_path / "source")
    shutil.copytree(source / "tensors", source / "tensors_backup")
    done = imported(store, source)
    assert f"{source}/tensors_backup holds the run that {source}/tensors holds, which is taken." in done.notes
    assert sorted(by_run(store)) == ["hparams/trial", "plain", "tensors"]

"""`flor-ray import`, and what becomes of imported versions in every other question."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray import lookup
from flor_ray.errors import UsageError
from flor_ray.importing import arriving
from flor_ray.importing.arriving import ImportFate
from flor_ray.patching import statements
from flor_ray.records import Status
from flor_ray.store.imports import write_run
from flor_ray.store.store import Store
from tests.conftest import Lab, environment
from tests.imported_sources import CASES, by_run, imported, lay_out, rows
from tests.importing.test_importing import expect_mlflow

SCRIPT = """
import flor_ray as flor
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    state["weight"] *= 0.5
    flor.log("loss", state["weight"])
"""
HINDSIGHT = SCRIPT.replace('    flor.log("loss"', '    flor.log("weight", state["weight"] + 1)\n    flor.log("loss"')


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A project with one recorded version and three imported ones."""
    lab = Lab(tmp_path_factory.mktemp("import") / "digits")
    lab.record_forked(SCRIPT)
    for kind in ("wandb", "mlflow"):
        done = lab.cli("import", str(lay_out(kind, lab.root.parent / kind)))
        assert done.returncode == 0, done.stderr
    lab.write("train.py", HINDSIGHT)
    return lab


def test_versions_and_values_are_shown_like_others(lab: Lab) -> None:
    runs = {run.run: run for run in lab.experiments()}
    assert set(runs) == {"", "old", "first run", "bad"}
    listed = lab.cli("versions", COLUMNS="200").stdout
    assert "from wandb" in listed
    assert "from MLflow" in listed
    assert "train.py" in listed
    frame = lab.frame("loss", "lr", "train/loss")
    of = frame[frame["run"] == "old"]
    assert of["loss"].tolist() == [1.0, 0.5, 1 / 3, 0.25]
    assert of["step"].tolist() == [0, 1, 2, 3]
    assert of["lr"].tolist() == [0.1] * 4
    assert frame[frame["run"] == ""]["loss"].tolist() == [0.5, 0.25, 0.125]


def test_a_replay_is_planned_without_them_and_one_sentence_says_so(lab: Lab) -> None:
    explained = lab.cli("explain", "weight")
    assert explained.returncode == 0, explained.stderr
    sentence = "3 versions that were imported came without code, so that nothing of them can be replayed"
    assert explained.stdout.count("came without code") == 1
    assert sentence in explained.stdout
    assert "w" not in {run.run for run in lab.experiments()}
    prepared, outcome = lab.replay(["weight"])
    assert [report.rows for report in outcome.reports] == [3]
    assert (prepared.skipped, prepared.refusals) == ((), ())


def test_where_may_ask_for_what_only_imported_versions_have(lab: Lab) -> None:
    prepared = lab.prepare(["weight"], "`train/loss` < 1", again=True)
    assert prepared.is_empty
    assert any("came without code" in note for note in prepared.notes)


def test_statements_are_not_propagated_to_them(lab: Lab) -> None:
    done = lab.cli("propagate", "weight")
    assert done.returncode == 0, done.stderr
    assert "weight in 1 version" in done.stdout
    old = next(run.version for run in lab.experiments() if run.run == "old")
    with pytest.raises(UsageError, match="was imported, and came without code: nothing of it can be replayed"):
        statements.propagated(lab.project, ["weight"], [old[:8]])
    done = lab.cli("propagate", "weight", "--version", old[:8], "--line", "1")
    assert done.returncode == 2
    assert "came without code" in done.stderr


def test_a_project_of_imported_versions_only_can_be_asked(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "digits")
    lab.write("train.py", HINDSIGHT)
    assert lab.cli("import", str(lay_out("flordb 4", tmp_path / "f"))).returncode == 0
    assert lab.frame("acc")["epoch"].tolist() == [1, 2, 3]
    explained = lab.cli("explain", "weight")
    assert explained.returncode == 0, explained.stderr
    assert "1 version that was imported came without code, so that nothing of it can be replayed" in explained.stdout
    for command in (["replay", "weight"], ["storage"], ["gc"], ["versions", "--verbose"], ["data"]):
        done = lab.cli(*command)
        assert "Traceback" not in done.stderr, done.stderr
    with pytest.raises(UsageError, match="No version and no file in the working tree logs 'nothing'"):
        lookup.dataframe("nothing", path=str(lab.root))


def test_recording_goes_on_beside_them(tmp_path: Path) -> None:
    """The next version has the parent that it would have had."""
    lab = Lab(tmp_path / "digits")
    lab.write("train.py", SCRIPT)
    lab.cli("import", str(lay_out("flordb 4", tmp_path / "f")), check=True)
    first, second = lab.record_forked(SCRIPT), lab.record_forked(HINDSIGHT)
    assert (first.parent, second.parent) == (None, first.version)
    assert {run.project for run in lab.experiments()} == {"digits"}


def test_a_dry_run_and_importing_twice_are_said(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "digits")
    source = str(lay_out("mlflow", tmp_path / "m"))
    done = lab.cli("import", source, "--dry-run")
    assert done.returncode == 0
    assert "2 runs would be imported into digits." in done.stdout
    assert not (lab.root / ".flor").exists()
    assert "2 runs are imported into digits." in lab.cli("import", source).stdout
    again = lab.cli("import", source)
    assert again.returncode == 0
    assert "0 runs are imported into digits, 2 there already." in again.stdout
    assert again.stderr == ""


def test_another_project_can_be_named(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "digits")
    lab.record_forked(SCRIPT)
    done = lab.cli("import", str(lay_out("wandb", tmp_path / "w")), "--as", "old")
    assert "1 run is imported into old." in done.stdout
    assert lab.project.store.projects() == ("digits", "old")
    assert len(lab.experiments()) == 1
    frame = lab.cli("dataframe", "loss", FLOR_RAY_PROJECT="old")
    assert "0.333333" in frame.stdout


def test_what_cannot_be_read_is_named_and_costs_itself(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "digits")
    source = lay_out("tensorboard", tmp_path / "t")
    broken = source / "broken" / "events.out.tfevents.1.vm"
    broken.parent.mkdir()
    broken.write_bytes(b"what is this")
    done = lab.cli("import", str(source))
    assert done.returncode == 1
    assert f"Note: {broken} is no event file of TensorBoard that can be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_in_a_configuration_is_hidden(tmp_path: Path) -> None:
    run = tmp_path / "r1"
    (run / "metrics").mkdir(parents=True)
    (run / "params").mkdir()
    (run / "tags").mkdir()
    (run / "meta.yaml").write_text("run_id: r1\nstatus: 3\nstart_time: 1700000000000\n")
    (run / "params" / "api_key").write_text("abcdefgh123")
    (run / "tags" / "db_password").write_text("hunter2hunter2")
    (run / "tags" / "mlflow.source.git.repoURL").write_text("https://me:ghp_abcdefgh@example.org/x.git")
    store = Store(str(tmp_path / "store"))
    imported(store, run)
    held = b"".join(path.read_bytes() for path in Path(store.url).rglob("*") if path.is_file())
    for secret in (b"abcdefgh123", b"hunter2", b"ghp_abcdefgh"):
        assert secret not in held
    assert {row[0]: row[4] for row in by_run(store)[""]} == {"api_key": "***", "tags.db_password": "***"}


def test_ctrl_c_leaves_whole_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished is in the store, nothing else is, and the next import adds the rest."""
    source = lay_out("tensorboard", tmp_path / "t")
    store = Store(str(tmp_path / "store"))
    written: list[object] = []

    def interrupted(*arguments: object) -> None:
        if written:
            raise KeyboardInterrupt
        write_run(*arguments)  # type: ignore[arg-type]
        written.append(arguments)

    monkeypatch.setattr(arriving, "write_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imported(store, source)
    assert list(by_run(store)) == ["hparams/trial"]
    monkeypatch.undo()
    assert [a.fate for a in imported(store, source).arrivals] == [
        ImportFate.EMPTY,
        ImportFate.THERE,
        ImportFate.NEW,
        ImportFate.NEW,
    ]


def test_a_killed_import_leaves_no_half_run(tmp_path: Path) -> None:
    """Killed between a run's values and the run itself: nobody sees the values, and the next import completes it."""
    source = lay_out("wandb", tmp_path / "w")
    code = (
        "import os, signal\n"
        "from tests.imported_sources import imported\n"
        "from flor_ray.store.store import Store\n"
        "Store.end_run = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import pathlib\n"
        f"imported(Store({str(tmp_path / 'store')!r}), pathlib.Path({str(source)!r}))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment(), timeout=100, check=False)
    assert done.returncode == -signal.SIGKILL
    store = Store(str(tmp_path / "store"))
    assert store.experiments("digits") == ()
    imported(store, source)
    assert len(by_run(store)["old"]) == 30


WRITES = """
import sys
sys.path.insert(0, {cases!r})
import write
{call}
"""


def test_folders_that_mlflow_writes_today(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    calls = ("import mlflow", 'mlflow.set_experiment("digits")', "write.log_with_mlflow()")
    _written(tmp_path, "\n".join(calls), MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_TRACKING_URI="file:./mlruns")
    store = Store(str(tmp_path / "store"))
    imported(store, tmp_path / "mlruns")
    expect_mlflow(store)


def test_files_that_wandb_writes_today(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    _written(tmp_path, "write.wandb(with_media=True)", WANDB_DIR=str(tmp_path))
    store = Store(str(tmp_path / "store"))
    (arrival,) = imported(store, tmp_path).arrivals
    assert arrival.experiment is not None
    assert arrival.experiment.status is Status.FINISHED
    found = rows(store, arrival.run.version)
    left_out = "histograms (4), media of the summary (2), "
    assert left_out in arrival.notes[-1]
    assert "tables (4)" in arrival.notes[-1]
    assert {row[0] for row in found if row[1]} == {"loss", "acc", "flag", "nest.a", "note", "train/grad.norm"}
    assert {row[0]: row[4] for row in found if row[1] is None}["best"] == 0.99
    losses = sorted((row[2] or 0, row[4]) for row in found if row[0] == "loss")
    assert losses == [(0, 1.0), (1, 0.5), (2, 1 / 3), (3, 0.25)]


def _written(folder: Path, call: str, **variables: str) -> None:
    code = WRITES.format(cases=str(CASES), call=call)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_imported_versions_do_not_take_the_place_of_those_whose_checkpoints_are_kept(tmp_path: Path) -> None:
    """`gc --keep newest:1` is about the newest version that has checkpoints."""
    lab = Lab(tmp_path / "digits")
    recorded = lab.record_forked(SCRIPT)
    had = lab.project.store.checkpoints("digits", recorded.version)
    (source,) = lay_out("flordb 4", tmp_path / "f").rglob("*.jsonl")
    source.write_text(source.read_text().replace("2026-", "2131-"))
    imported(lab.project.store, source)
    assert [run.is_imported for run in lab.experiments()] == [False, True]
    done = lab.cli("gc", "--keep", "newest:1", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.project.store.checkpoints("digits", recorded.version) == had

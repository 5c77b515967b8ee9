"""Questions to recorded runs: which columns there are, and SQL that replays just what its answer needs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import asking, lookup, pipeline
from flor_ray.acquisition import Acquisition, Answered, How
from flor_ray.errors import BadStatement, FlorWarning, UsageError
from flor_ray.patching import statements
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Level, LogRecord, Outcome, Status
from flor_ray.reports.plans import Explanation
from flor_ray.store.typed_values import encode
from tests.conftest import Lab, environment

EPOCHS = 4
SCRIPT = f"""
import flor_ray as flor

rate = flor.arg("rate", 1)
state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range({EPOCHS})):
    for step in flor.loop("step", range(3)):
        state["weight"] += rate * step
        flor.log("loss", 1 / state["weight"])
    flor.log("acc", (epoch * rate) % 5)
"""
HINDSIGHT = (
    SCRIPT.replace('        flor.log("loss"', '        flor.log("seen", state["weight"] * 2)\n        flor.log("loss"')
    + '    flor.log("norm", state["weight"] ** 2)\n'
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions; the code has got two more statements since, which nobody has run."""
    lab = Lab(tmp_path_factory.mktemp("asking") / "project")
    for rate in (1, 2, 3):
        lab.record_forked(SCRIPT, "--flor", f"rate{rate}", "--kwargs", f"rate={rate}")
    lab.write("train.py", HINDSIGHT)
    return lab.root


@pytest.fixture
def asked(recorded: Path, tmp_path: Path) -> Lab:
    """A copy to ask."""
    shutil.copytree(recorded, tmp_path / "project")
    return Lab(tmp_path / "project")


def test_a_saved_statement_is_a_column_and_its_coverage_grows_with_what_is_replayed(asked: Lab) -> None:
    frame = asking.columns(str(asked.root)).set_index("name")
    assert list(frame.index) == ["acc", "loss", "norm", "rate", "seen"]
    assert list(frame["kind"]) == ["recorded", "recorded", "hindsight", "recorded", "hindsight"]
    assert list(frame["level"]) == ["o", "i", "o", "d", "i"]
    assert list(frame["type"]) == ["int", "float", "", "int", ""]
    assert list(frame["versions"]) == [3, 3, 0, 3, 0]
    assert list(frame["coverage"]) == [1, 1, 0, 1, 0]
    assert list(frame.loc["norm", ["logged_at", "source"]]) == ["train.py:13", "the working tree"]
    asked.replay(["norm"], "rate == 2 and epoch >= 3")
    after = asking.columns(str(asked.root)).set_index("name").loc["norm"]
    assert list(after[["type", "kind", "versions", "coverage"]]) == ["float", "hindsight", 1, 2 / 12]
    shown = asked.cli("columns", check=True).stdout.splitlines()
    (line,) = (line for line in shown if line.startswith("norm"))
    assert line.split() == ["norm", "float", "o", "hindsight", "1", "17%", "train.py:13"]


def test_a_statement_that_only_an_older_version_has_is_a_column_of_that_version(asked: Lab) -> None:
    newest = asked.experiments()[-1].version
    asked.write("train.py", SCRIPT.replace('    flor.log("acc"', '    flor.log("accuracy"'))
    frame = asking.columns(str(asked.root)).set_index("name")
    assert list(frame.loc["acc", ["logged_at", "source", "coverage"]]) == [
        "train.py:11",
        f"version {newest[:8]}",
        1,
    ]
    assert list(frame.loc["accuracy", ["versions", "coverage", "source"]]) == [0, 0, "the working tree"]


def test_peak_and_end_epochs_are_tables_that_merge_with_the_values(asked: Lab) -> None:
    root = str(asked.root)
    versions = [e.version for e in asked.experiments()]
    peaks, least = lookup.epochs.peak("acc", path=root), lookup.epochs.peak("-acc", path=root)
    assert list(peaks["version"]) == versions
    assert list(peaks["epoch"]) == [4, 3, 4]  # of 0 1 2 3, 0 2 4 1 and 0 3 1 4
    assert list(least["epoch"]) == [1, 1, 1]
    assert list(lookup.epochs.end(path=root)["epoch"]) == [EPOCHS] * 3
    values = peaks.merge(lookup.dataframe("acc", path=root))
    assert list(values["acc"]) == [3, 4, 4]
    with pytest.raises(UsageError, match="No version has values of 'norm', so where it peaks is unknown"):
        lookup.epochs.peak("norm", path=root)


# --- SQL --------------------------------------------------------------------------------------------------------------

WHERE_GOOD = "SELECT run, epoch, norm FROM outer_loop_pivot WHERE acc >= 3 ORDER BY run, epoch"
GOOD = {"rate1": {4}, "rate2": {3}, "rate3": {2, 4}}  # epochs with acc >= 3


def ask(lab: Lab, sql: str, budget: float | None = None, agrees: bool = True) -> Answered:
    """The answer, with what it lacks acquired on threads of this process."""
    agreed: list[Explanation] = []

    def run(prepared: Prepared) -> Outcome:
        outcome = pipeline.run(prepared, lab.executor())
        assert outcome.failures == [] or budget is None
        return outcome

    def agree(explanation: Explanation) -> bool:
        agreed.append(explanation)
        return agrees

    question = Acquisition(lab.project, sql)
    question.acquire(How(lambda: Terms(1, gpu_seconds=budget), agree, run, "current"))
    return question.answer()


def replayed(lab: Lab, name: str) -> dict[str, set[int]]:
    """By run, the epochs in which a hindsight feature has values."""
    found = {e.run: {epoch for epoch, *_ in lab.values(name, e.version)} for e in lab.experiments()}
    return {run: epochs for run, epochs in found.items() if epochs}


def test_a_statement_replays_the_epochs_that_its_answer_needs_and_is_that_of_full_acquisition(asked: Lab) -> None:
    never = Acquisition(asked.project, WHERE_GOOD).answer()
    runs = {e.version: e.run for e in asked.experiments()}
    assert {runs[s.version]: set(s.epochs) for s in never.shortfalls} == GOOD
    assert [sentence.partition(":")[0] for sentence in never.sentences] == ["The answer is incomplete"]
    assert never.table["norm"].null_count == 4
    assert replayed(asked, "norm") == {}
    answer = ask(asked, WHERE_GOOD)
    assert (answer.shortfalls, answer.sentences) == ((), [])
    assert replayed(asked, "norm") == GOOD
    assert answer.table.num_rows == 4
    assert answer.table["norm"].null_count == 0
    asked.replay(["norm", "seen"])
    assert Acquisition(asked.project, WHERE_GOOD).answer().table.equals(answer.table)


def test_what_is_there_is_answered_without_looking_at_any_source(asked: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "propagated", None)
    sql = "SELECT run, max(acc) AS best FROM outer_loop_pivot GROUP BY run ORDER BY run"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = asking.query(sql, path=str(asked.root))
    assert frame.to_dict("list") == {"run": ["rate1", "rate2", "rate3"], "best": [3, 4, 4]}
    assert frame.attrs == {"incomplete": [], "fidelity": {}, "diverged": [], "doubtful": {}}
    everything = asking.query("SELECT * FROM full_pivot", path=str(asked.root))
    assert everything["norm"].isna().all()
    assert len(everything) == 3 * EPOCHS * 3


def test_an_answer_in_python_has_what_it_lacks_in_its_attrs_and_a_warning(asked: Lab) -> None:
    with pytest.warns(FlorWarning, match="The answer is incomplete: it needs norm in 4 places of 3 versions"):
        frame = asking.query(WHERE_GOOD, path=str(asked.root))  # no terminal: nothing is acquired
    assert sorted(tuple(one["epochs"]) for one in frame.attrs["incomplete"]) == [(2, 4), (3,), (4,)]
    whole = asking.query(WHERE_GOOD, acquire="always", executor="local", workers=1, path=str(asked.root))
    assert whole.attrs["incomplete"] == []
    assert set(whole.attrs["fidelity"]) == {e.version for e in asked.experiments()}
    assert whole["norm"].notna().all()
    with pytest.raises(UsageError, match="give 'ask', 'never' or 'always'"):
        asking.query(WHERE_GOOD, acquire="maybe", path=str(asked.root))


def test_who_reads_a_column_of_mixed_types_as_text_is_told(asked: Lab) -> None:
    run = asked.experiments()[-1]
    record = LogRecord(Level.OUTER, 1, None, "acc", 1, encode("high"), 0.0)
    asked.project.store.append_logs(run.project, run.version, "recorded", 10_000, [record])
    with pytest.warns(FlorWarning, match="acc holds values of several types"):
        asking.query("SELECT acc FROM outer_loop_pivot", acquire="never", path=str(asked.root))


def test_a_name_that_some_versions_log_deeper_than_the_view_is_told(asked: Lab) -> None:
    deeper = SCRIPT.replace('flor.log("loss", 1 / state["weight"])', 'flor.log("acc", state["weight"])')
    asked.record_forked(deeper.replace('    flor.log("acc", (epoch * rate) % 5)\n', ""))
    statement = "SELECT version, max(acc) FROM {} GROUP BY version"
    (told,) = Acquisition(asked.project, statement.format("outer_loop_pivot")).answer().sentences
    assert f"version {asked.experiments()[-1].version[:8]} logged acc in a loop that the view has no rows of" in told
    assert Acquisition(asked.project, statement.format("full_pivot")).answer().sentences == []


def test_explain_says_per_version_what_is_needed_and_runs_nothing(asked: Lab) -> None:
    frame = asking.query(f"EXPLAIN {WHERE_GOOD}", path=str(asked.root), workers=1)
    assert dict(zip(frame["run"], frame["needed epochs"], strict=True)) == {"rate1": "4", "rate2": "3", "rate3": "2, 4"}
    assert dict(zip(frame["run"], frame["not needed"], strict=True)) == {
        "rate1": "1-3",
        "rate2": "1-2, 4",
        "rate3": "1, 3",
    }
    assert "Estimated time" in frame.attrs["plan"]
    assert replayed(asked, "norm") == {}


def test_a_version_in_which_the_statement_has_no_place_makes_the_answer_incomplete(asked: Lab) -> None:
    other = asked.record_forked(SCRIPT.replace('state["weight"]', "state['other']").replace('"weight"', '"other"'))
    asked.write("train.py", HINDSIGHT)
    answer = ask(asked, "SELECT version, max(norm) AS norm FROM outer_loop_pivot GROUP BY version")
    assert {s.version for s in answer.shortfalls} == {other.version}
    assert replayed(asked, "norm") == {f"rate{n}": {1, 2, 3, 4} for n in (1, 2, 3)}
    (sentence,) = answer.sentences
    assert other.version[:8] in sentence
    assert "not to be acquired" not in sentence


def test_a_column_that_only_an_older_versions_code_logs_is_acquired_from_there(asked: Lab) -> None:
    sometimes = SCRIPT + '    if rate > 5:\n        flor.log("rare", epoch * 10)\n'
    asked.record_forked(sometimes, "--flor", "sometimes")
    asked.write("train.py", SCRIPT)
    answer = ask(asked, "SELECT run, epoch, rare FROM outer_loop_pivot WHERE epoch = 2 -- of all\n")
    assert answer.table.num_rows == 4
    assert answer.shortfalls == ()
    with pytest.raises(BadStatement, match=r'"norm" not found .*`flor-ray columns` lists the features'):
        ask(asked, "SELECT run, norm FROM outer_loop_pivot")
    for wrong in (
        "SELECT los FROM full_pivot",
        "SELECT f.los FROM full_pivot f",
        "SELECT max(los) AS los FROM full_pivot",
    ):
        with pytest.raises(BadStatement, match="Did you mean loss"):
            ask(asked, wrong)
    pivoted = ask(asked, "PIVOT outer_loop_pivot ON run USING max(acc) GROUP BY epoch")
    assert pivoted.table.num_rows == EPOCHS


def test_who_declines_gets_what_is_there_and_a_budget_takes_what_fits(asked: Lab) -> None:
    declined = ask(asked, WHERE_GOOD, agrees=False)
    assert {s.reason for s in declined.shortfalls} == {"it was not to be acquired"}
    little = ask(asked, WHERE_GOOD, budget=1e-3)
    assert all(s.reason.startswith("Nothing can be replayed in") for s in little.shortfalls)
    assert len(little.shortfalls) == 3
    assert replayed(asked, "norm") == {}


def test_a_filter_on_a_hindsight_column_asks_for_no_more_than_decides(asked: Lab) -> None:
    sql = "SELECT run, epoch, acc FROM outer_loop_pivot WHERE norm > 1.5 AND run = 'rate3' ORDER BY acc DESC LIMIT 1"
    answer = ask(asked, sql)
    assert answer.shortfalls == ()
    assert answer.table.to_pylist() == [{"run": "rate3", "epoch": 4, "acc": 4}]
    assert replayed(asked, "norm")["rate3"] < {1, 2, 3, 4}
    assert set(replayed(asked, "norm")) == {"rate3"}


def test_steps_of_a_nested_loop_are_acquired_by_epoch(asked: Lab) -> None:
    answer = ask(asked, "SELECT run, step, seen FROM full_pivot WHERE epoch = 2 AND run <> 'rate1' ORDER BY run, step")
    assert answer.table["seen"].null_count == 0
    assert answer.table.num_rows == 6
    assert replayed(asked, "seen") == {"rate2": {2}, "rate3": {2}}


def test_the_command_answers_explains_and_says_what_is_lacking(asked: Lab) -> None:
    done = asked.cli("query", WHERE_GOOD, "--format", "csv")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["run,epoch,norm", "rate1,4,", "rate2,3,", "rate3,2,", "rate3,4,"]
    assert "The answer is incomplete: it needs norm in 4 places of 3 versions" in done.stderr
    assert "add --acquire always" in done.stderr
    explained = asked.cli("query", WHERE_GOOD, "--explain", "--workers", "1", check=True).stdout
    assert re.search(r"rate3 +norm +2, 4 +1, 3", explained)
    assert replayed(asked, "norm") == {}
    always = asked.cli(
        "query", WHERE_GOOD, "--acquire", "always", "--local", "--workers", "1", "-o", "a.json", check=True
    )
    assert "Estimated time" in always.stderr
    assert replayed(asked, "norm") == GOOD
    rows = json.loads((asked.root / "a.json").read_text())
    assert [(row["run"], row["epoch"]) for row in rows] == [("rate1", 4), ("rate2", 3), ("rate3", 2), ("rate3", 4)]
    shown = asked.cli("query", "SELECT run, count(norm) AS n FROM outer_loop_pivot GROUP BY run ORDER BY run LIMIT 1")
    assert shown.stdout.splitlines()[0].split() == ["run", "n"]
    wrong = asked.cli("query", "COPY (SELECT 1) TO 'x.csv'")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("says", ["n", "y"])
def test_at_a_terminal_the_plan_is_shown_and_nothing_runs_unless_the_user_says_so(asked: Lab, says: str) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "flor_ray.cli", "query", WHERE_GOOD, "--local", "--workers", "1"]
    with subprocess.Popen(
        command, cwd=asked.root, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while data := os.read(ours, 4096):
                if b"Replay it?" not in shown and b"Replay it?" in shown + data:
                    assert b"Estimated time" in shown + data
                    os.write(ours, f"{says}\n".encode())
                shown += data
        os.close(ours)
    assert process.returncode == (0 if says == "y" else 1), shown.decode()
    assert replayed(asked, "norm") == (GOOD if says == "y" else {})


SLOW = HINDSIGHT.replace('state["weight"] ** 2', 'time.sleep(0.4) or state["weight"] ** 2').replace(
    "import flor_ray", "import time\nimport flor_ray", 1
)


def test_rows_are_streamed_as_their_segments_land_and_each_comes_once(asked: Lab) -> None:
    asked.write("train.py", SLOW)
    root = str(asked.root)
    sql = "SELECT run, epoch, norm FROM outer_loop_pivot WHERE run <> 'rate2' ORDER BY run, epoch"
    batches = []
    seen = []
    for batch in asking.query(sql, "always", stream=True, executor="local", workers=1, path=root):
        batches.append(batch.to_pylist())
        seen.append(replayed(asked, "norm"))
    assert seen[0] != seen[-1]  # while it was read, the rest ran
    rows = [row for batch in batches for row in batch]
    assert sorted((row["run"], row["epoch"]) for row in rows) == [(f"rate{n}", e) for n in (1, 3) for e in (1, 2, 3, 4)]
    assert all(row["norm"] is not None for row in rows)
    counts = "SELECT run, count(norm) AS n FROM outer_loop_pivot GROUP BY run"
    grouped = list(asking.query(counts, "always", stream=True, executor="local", workers=1, path=root))
    assert sorted((row["run"], row["n"]) for batch in grouped for row in batch.to_pylist()) == [
        (f"rate{n}", EPOCHS) for n in (1, 2, 3)
    ]


def test_a_question_that_is_interrupted_keeps_what_it_has_acquired_and_goes_on_there(asked: Lab) -> None:
    asked.write("train.py", SLOW)
    sql = "SELECT run, epoch, norm FROM outer_loop_pivot ORDER BY run, epoch"
    command = [sys.executable, "-m", "flor_ray.cli", "query", sql, "--acquire", "always", "--local", "--workers", "1"]
    with subprocess.Popen(command, cwd=asked.root, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not replayed(asked, "norm"):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    kept = replayed(asked, "norm")
    assert 0 < sum(map(len, kept.values())) < 3 * EPOCHS
    assert asking.query(sql, "always", executor="local", workers=1, path=str(asked.root))["norm"].notna().all()
    assert all(epochs <= replayed(asked, "norm")[run] for run, epochs in kept.items())


def test_a_stream_that_nobody_reads_on_ends_its_replay(asked: Lab) -> None:
    asked.write("train.py", SLOW)
    sql = "SELECT run, epoch, norm FROM outer_loop_pivot"
    batches = iter(asking.query(sql, "always", stream=True, executor="local", workers=1, path=str(asked.root)))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert 0 < sum(len(epochs) for epochs in replayed(asked, "norm").values()) < 3 * EPOCHS
    assert not [thread for thread in threading.enumerate() if thread.name == "flor acquisition"]


def test_a_relation_is_read_when_its_rows_are_asked_for(asked: Lab) -> None:
    lazy = asking.relation("outer_loop_pivot", str(asked.root))
    assert repr(lazy) == "flor.relation('outer_loop_pivot')"
    asked.replay(["norm"], "rate == 1")
    frame = lazy.df()
    assert list(frame.groupby("run")["norm"].count()) == [4, 0, 0]
    assert lazy.arrow().num_rows == len(frame) == 3 * EPOCHS
    with pytest.raises(UsageError, match=r"There is no relation 'pivot'\. There are experiments, "):
        asking.relation("pivot")


def test_an_answer_that_rests_on_a_diverged_replay_says_so(lab: Lab) -> None:
    random = SCRIPT.replace("import flor_ray", "import os\nimport flor_ray", 1).replace(
        'flor.log("loss", ', 'flor.log("loss", os.urandom(1)[0] + os.urandom(1)[0] * 256 + '
    )
    version = lab.record_forked(random).version
    lab.write("train.py", random.replace("        flor.log", '        flor.log("seen", step)\n        flor.log'))
    with pytest.warns(FlorWarning, match="but .* was recorded: replayed values of this version may not be those"):
        whole = asking.query(
            "SELECT epoch, seen FROM inner_loop_pivot", "always", executor="local", workers=1, path=str(lab.root)
        )
    assert whole.attrs["diverged"] == [version]
    with pytest.warns(FlorWarning, match="its replay computed loss"):
        later = asking.query("SELECT max(seen) AS seen FROM inner_loop_pivot", path=str(lab.root))
    assert later.attrs["diverged"] == [version]
    with pytest.warns(FlorWarning, match="its replay computed loss"):
        listed = asking.query("SELECT value FROM log_records WHERE name = 'seen'", path=str(lab.root))
    assert len(listed) == 3 * EPOCHS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asking.query("SELECT max(acc) AS acc FROM outer_loop_pivot", path=str(lab.root))


def test_a_run_that_has_not_ended_lacks_what_its_code_does_not_log_yet(asked: Lab) -> None:
    store, (*_, newest) = asked.project.store, asked.experiments()
    running = replace(
        newest,
        version="f" * 40,
        run="unfinished",
        status=Status.RUNNING,
        ended=None,
        started=time.time(),
        epochs=0,
        environment={},
    )
    store.begin_run(running)
    store.beat(asked.project.name, running.version, time.time())
    record = LogRecord(Level.OUTER, 1, None, "acc", 0, encode(4), 0.0)
    store.append_logs(asked.project.name, running.version, "recorded", 0, [record])
    store.write_sources(asked.project.name, running.version, None, store.sources(asked.project.name, newest.version))
    answer = ask(asked, WHERE_GOOD)
    assert [(s.version, s.epochs) for s in answer.shortfalls] == [(running.version, (1,))]
    assert "it is still running" in answer.shortfalls[0].reason
    assert replayed(asked, "norm") == GOOD
    store.end_run(replace(running, status=Status.FAILED, ended=time.time(), epochs=0))
    (short,) = ask(asked, WHERE_GOOD).shortfalls
    assert (short.version, short.epochs) == (running.version, (1,))
    assert short.reason == "the run ended within this epoch, and a replay answers whole epochs"

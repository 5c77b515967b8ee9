"""A replay that does not compute what was recorded says so, and why. Plain Python scripts in real processes."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from flor_ray import pipeline
from flor_ray.environment import inputs
from flor_ray.errors import FlorWarning
from flor_ray.records import Fidelity, Variant
from flor_ray.reports import replays
from tests.conftest import Lab

HEAD = """
import os, random, time
import flor_ray as flor

"""
LOOP = """
total = 0.0
state = {{"epochs": 0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        total += {term}
    state["epochs"] += 1
    flor.log("total", total)
"""
INNER = '        flor.log("part", total)\n    state["epochs"]'


def script(term: str = "random.random()", before: str = "random.seed(1)") -> str:
    return HEAD + before + LOOP.format(term=term)


def with_inner_statement(text: str) -> str:
    """It needs the steps of an epoch to run again, and these need the state before them."""
    return text.replace('    state["epochs"]', INNER)


def judged(lab: Lab, text: str) -> Any:
    """The newest version's entry in a DataFrame's attrs, after a replay of what is added, and the warnings."""
    lab.write("train.py", with_inner_statement(text))
    prepared, outcome = lab.replay(["part"], "epoch == 3")
    assert outcome.failures == []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = lab.frame("part")
    json.dumps(frame.attrs)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, FlorWarning)]
    return frame.attrs["fidelity"][lab.experiments()[-1].version], said, prepared, outcome


def test_a_replay_that_computes_what_was_recorded_is_exact_and_says_how_much_was_compared(lab: Lab) -> None:
    lab.record_forked(script())
    found, said, prepared, outcome = judged(lab, script())
    assert found["verdict"] == "exact"
    assert found["compared"] >= 1
    assert (found["cause"], found["mismatch"], said) == (None, None, [])
    summary = replays.summary(prepared, outcome)
    assert list(summary["fidelity"]) == ["exact"]
    assert list(summary["compared"]) == [found["compared"]]
    assert list(summary["outcome"]) == ["replayed"]


def test_a_changed_data_file_is_named_before_and_after(lab: Lab) -> None:
    before = "def rate(step):\n    return float(open('data/rates.txt').readlines()[step])"
    lab.write(".gitignore", "data/\n")
    lab.write("data/rates.txt", "1.5\n2.5\n3.5\n")
    lab.record_forked(script("rate(step)", before))
    (file,) = inputs.recorded(lab.experiments()[-1].environment)
    assert (file.path, file.bytes) == ("data/rates.txt", 12)
    lab.write("data/rates.txt", "1.5\n2.5\n9.5\n")
    short = lab.experiments()[-1].version[:8]
    lab.write("train.py", with_inner_statement(script("rate(step)", before)))
    note = f"data/rates.txt has changed since version {short} was recorded: replayed values may differ"
    assert note in str(pipeline.explained(lab.prepare(["part"])))
    found, said, prepared, outcome = judged(lab, script("rate(step)", before))
    assert found["verdict"] == "diverged"
    assert found["cause"].startswith("data/rates.txt has changed")
    assert len(said) == 1
    assert "Likely cause: data/rates.txt has changed" in said[0]
    assert said[0] in replays.problems(prepared, outcome)
    assert list(replays.summary(prepared, outcome)["outcome"]) == ["diverged"]


def test_a_changed_data_file_is_told_although_all_that_was_recorded_is_computed_alike(lab: Lab) -> None:
    before = 'label = open("label.txt").read()\nrandom.seed(1)'
    lab.write(".gitignore", "label.txt\n")
    lab.write("label.txt", "a")
    lab.record_forked(script(before=before))
    lab.write("label.txt", "b")
    found, said, _, outcome = judged(lab, script(before=before))
    assert (found["verdict"], found["cause"], found["mismatch"]) == ("unverified", "label.txt has changed", None)
    assert outcome.reports[0].states_compared == 1
    assert said == [
        f"version {lab.experiments()[-1].version[:8]}: label.txt has changed since it was recorded: replayed values of "
        "this version may not be those of the original run"
    ]


def test_a_missing_data_file_is_named_and_nothing_runs_unless_it_is_said_that_it_is_not_needed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = 'rate = float(open("rate.txt").read()) if os.path.exists("rate.txt") else 7.0'
    lab.write(".gitignore", "rate.txt\n")
    path = lab.write("rate.txt", "1.5")
    version = lab.record_forked(script("rate", before)).version[:8]
    path.unlink()
    lab.write("train.py", with_inner_statement(script("rate", before)))
    prepared, outcome = lab.replay(["part"], "epoch == 3")
    assert any(note.startswith(f"version {version} read rate.txt, not here") for note in prepared.notes)
    assert (outcome.reports, outcome.stints) == ([], [])
    (said,) = replays.problems(prepared, outcome)
    assert said.startswith(f"version {version}: not replayed, for rate.txt is on no machine as it was read. Put it")
    monkeypatch.setenv("FLOR_RAY_DATA", "rate.txt=none")
    found, _, prepared, _ = judged(lab, script("rate", before))
    assert f"rate.txt is missing since version {version} was recorded: replayed values may differ" in prepared.notes
    assert (found["verdict"], found["cause"].partition(";")[0]) == ("diverged", "rate.txt is missing")


def test_a_file_that_was_only_touched_or_belongs_to_the_version_is_not_told(lab: Lab) -> None:
    before = 'rate = float(open("rate.txt").read()) + float(open("own.txt").read())'
    lab.write(".gitignore", "rate.txt\n")
    path = lab.write("rate.txt", "1.5")
    lab.write("own.txt", "2.5")
    lab.record_forked(script("rate", before))
    assert [file.path for file in inputs.recorded(lab.experiments()[-1].environment)] == ["rate.txt"]
    path.write_text("1.5")
    lab.write("own.txt", "9.5")
    found, said, prepared, _ = judged(lab, script("rate", before))
    assert (found["verdict"], said) == ("exact", [])
    assert not any("changed" in note for note in prepared.notes)


COUNTER = """
def bump():
    count = int(open("state.txt").read()) + 1
    with open("state.txt", "w") as file:
        file.write(str(count))
    return count

open("state.txt", "w").write("0")
"""


def test_a_counter_in_a_file_that_the_script_rewrites_is_part_of_checkpoints(lab: Lab) -> None:
    lab.record_forked(script("bump()", COUNTER))
    run = lab.experiments()[-1]
    assert inputs.rewritten(run.environment) == ()
    assert [file.path for file in lab.project.store.written_files(run.project, run.version)] == ["state.txt"]
    found, said, _, _ = judged(lab, script("bump()", COUNTER))
    assert (found["verdict"], said) == ("exact", [])


def test_a_file_that_a_program_of_the_scripts_writes_and_the_script_reads_is_state(lab: Lab) -> None:
    setting = 'def bump():\n    os.system("echo 3 > state.txt")\n    return float(open("state.txt").read())\n'
    lab.record_forked(script("bump()", setting))
    assert inputs.rewritten(lab.experiments()[-1].environment) == ()
    found, said, _, _ = judged(lab, script("bump()", setting))
    assert (found["verdict"], said) == ("exact", [])


def test_a_counter_in_the_environment_is_state(lab: Lab) -> None:
    before = "\n".join(
        (
            "def bump():",
            '    os.environ["STEPS_DONE"] = str(int(os.environ.get("STEPS_DONE", 0)) + 1)',
            '    return int(os.environ["STEPS_DONE"])',
        )
    )
    lab.record_forked(script("bump()", before))
    found, said, _, _ = judged(lab, script("bump()", before))
    assert (found["verdict"], said) == ("exact", [])


def test_a_feature_that_depends_on_the_clock_is_no_divergence_and_is_said_to_be_measured_anew(lab: Lab) -> None:
    text = script(before="random.seed(1)\nbegan = time.time()")
    text = text.replace("        total +=", '        flor.log("seconds", time.time() - began)\n        total +=')
    lab.record_forked(text)
    added = (
        with_inner_statement(text)
        .replace("part", "minutes")
        .replace('minutes", total', 'minutes", (time.time() - began) / 60')
    )
    lab.write("train.py", added)
    _, outcome = lab.replay(["minutes"], "epoch == 3")
    (report,) = outcome.reports
    assert (report.verdict, report.clocked, report.measured) == (Fidelity.EXACT, 3, ("minutes",))
    sentence = "minutes depends on the clock: it was measured while replaying, not when recorded"
    with pytest.warns(FlorWarning, match=sentence):
        frame = lab.frame("minutes")
    assert frame.attrs["diverged"] == []


def test_a_segment_that_only_restores_a_state_is_unverified_and_needs_no_warning(lab: Lab) -> None:
    lab.record_forked(script())
    lab.write("train.py", script() + '    flor.log("twice", total * 2)\n')
    _, outcome = lab.replay(["twice"], "epoch == 3")
    (report,) = outcome.reports
    assert (report.segment.variant, report.verdict, report.cause) == (Variant.END, Fidelity.UNVERIFIED, None)
    assert replays.describe_comparison(report) == "unverified: nothing that was recorded was computed again"
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlorWarning)
        frame = lab.frame("twice")
    assert frame.attrs["fidelity"][lab.experiments()[-1].version]["verdict"] == "unverified"


def test_by_hand_the_verdict_and_its_cause_are_told(lab: Lab) -> None:
    before = 'rate = float(open("rate.txt").read())'
    lab.write(".gitignore", "rate.txt\n")
    lab.write("rate.txt", "1.5")
    lab.record_forked(script("rate", before))
    lab.write("rate.txt", "2.25")
    done = lab.python("train.py", "--replay_flor", "1/2")
    told = " ".join(done.stderr.split())
    assert "diverged: " in told
    assert "Likely cause: rate.txt has changed" in told

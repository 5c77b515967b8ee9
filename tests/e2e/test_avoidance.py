"""What is known is answered without running anything, and with the same values as if it had run."""

from __future__ import annotations

from typing import Any

import pytest

from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.records import Outcome
from flor_ray.replaying.job import VersionJob
from flor_ray.reports import replays
from flor_ray.store.fragments import NO_LOGS, Fragment
from flor_ray.store.log_files import log_bytes
from tests.conftest import Lab

SCRIPT = """
import random
import flor_ray as flor

epochs = flor.arg("epochs", 3)
rate = flor.arg("rate", 0.1)
random.seed(flor.arg("seed", 7))
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(epochs)):
    noise = 0.0
    for step in flor.loop("step", range(epoch + 1)):
        noise += random.random()
        state["weight"] *= 1 + rate * random.random()
        flor.log("weight", state["weight"])
    flor.log("noise", noise)
flor.log("final", state["weight"])
"""


def added(text: str, after: str, statement: str) -> str:
    """`text` with a statement added after the line that is `after`, at its indentation."""
    indent = after[: len(after) - len(after.lstrip())]
    assert text.count(f"\n{after}\n") == 1
    return text.replace(f"\n{after}\n", f"\n{after}\n{indent}{statement}\n")


KNOWN = SCRIPT
for after, statement in (
    ('state = {"weight": 1.0}', 'flor.log("rate2", rate * 2)'),
    ("    noise = 0.0", 'flor.log("label", f"r{rate:.2f}")'),
    ('        flor.log("weight", state["weight"])', 'flor.log("w", state["weight"])'),
    ("        noise += random.random()", 'flor.log("third", rate / 3)'),
    ('flor.log("final", state["weight"])', 'flor.log("last", {"epochs": epochs, "rate": rate})'),
):
    KNOWN = added(KNOWN, after, statement)
NAMES = ("rate2", "label", "w", "third", "last")


class NoExecutor(ThreadExecutor):
    """Fails if anything is run."""

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        raise AssertionError("something was run")


def replay_without_running(lab: Lab, *names: str) -> Outcome:
    prepared = lab.prepare(names)
    assert prepared.costs == ()
    return pipeline.run(prepared, NoExecutor())


def rows(lab: Lab, name: str, version: str) -> list[tuple[Any, ...]]:
    return [(*place, value.hex() if isinstance(value, float) else value) for *place, value in lab.values(name, version)]


@pytest.fixture
def reference(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A run with all statements in it from the start."""
    lab = Lab(tmp_path_factory.mktemp("reference") / "project")
    lab.record(KNOWN, "--kwargs", "rate=0.3")
    return lab


def test_known_values_are_those_of_a_run_that_had_the_statements(lab: Lab, reference: Lab) -> None:
    version = lab.record(SCRIPT, "--kwargs", "rate=0.3").version
    lab.write("train.py", KNOWN)
    outcome = replay_without_running(lab, *NAMES)
    assert outcome.failures == []
    for name in NAMES:
        assert rows(lab, name, version) == rows(reference, name, reference.experiments()[-1].version), name
    assert lab.prepare(NAMES).is_empty  # they are answered now
    assert list(lab.frame("rate2", "label").attrs["diverged"]) == []
    assert set(lab.frame("label", "rate2")["rate2"]) == {0.6}


def test_it_is_said_that_nothing_runs_and_why(lab: Lab) -> None:
    lab.record(SCRIPT)
    lab.record(SCRIPT, "--kwargs", "rate=0.5")
    lab.write("train.py", KNOWN)
    prepared = lab.prepare(["rate2", "w"])
    said = str(pipeline.explained(prepared))
    assert "Nothing has to run for rate2, w." in said
    assert "rate2 of 2 versions" in said
    assert "is known without running: it is computed from constants and arguments" in said
    assert "is known without running: it was recorded as weight" in said
    outcome = pipeline.run(prepared, NoExecutor())
    summary = replays.summary(prepared, outcome)
    assert list(summary["outcome"]) == ["known", "known"]
    assert list(summary["seconds"]) == [0.0, 0.0]
    assert list(summary["rows"]) == [1 + 6, 1 + 6]
    assert replays.problems(prepared, outcome) == []


def test_flor_replay_does_not_start_ray_for_what_is_known(lab: Lab) -> None:
    lab.record(SCRIPT)
    lab.write("train.py", KNOWN)
    code = (
        "import sys, flor_ray as flor; print(flor.replay(['rate2'], workers=1)['outcome'].tolist());"
        "print('ray' in sys.modules and sys.modules['ray'].is_initialized())"
    )
    done = lab.python("-c", code)
    assert done.stdout.split("\n")[:2] == ["['known']", "False"]


def test_the_command_line_says_so_too(lab: Lab) -> None:
    lab.record(SCRIPT)
    lab.write("train.py", KNOWN)
    done = lab.cli("replay", "rate2", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "Nothing has to run for rate2." in done.stdout
    assert "known" in done.stdout.splitlines()[-1]
    assert "Nothing to replay for rate2." in lab.cli("replay", "rate2", "--workers", "1").stdout


def test_where_is_kept_to_and_the_rest_comes_later(lab: Lab) -> None:
    version = lab.record(SCRIPT).version
    lab.write("train.py", KNOWN)
    prepared = lab.prepare(["w"], where="epoch >= 2")
    pipeline.run(prepared, NoExecutor())
    assert {epoch for epoch, *_ in lab.values("w", version)} == {2, 3}
    replay_without_running(lab, "w")
    assert rows(lab, "w", version) == rows(lab, "weight", version)


def test_known_and_replayed_features_are_answered_together(lab: Lab) -> None:
    version = lab.record(SCRIPT).version
    text = added(KNOWN, '    flor.log("noise", noise)', 'flor.log("squared", noise * noise + len(state))')
    lab.write("train.py", text)
    prepared, outcome = lab.replay(["label", "squared"])
    assert {name for cost in prepared.costs for name in cost.segment.names} == {"squared"}
    assert list(replays.summary(prepared, outcome)["outcome"]) == ["replayed"]
    assert len(lab.values("label", version)) == len(lab.values("squared", version)) == 3
    assert lab.prepare(["label", "squared"]).is_empty
    again = lab.prepare(["label"], again=True)
    assert [answer.name for answer in again.known] == ["label"]


def test_what_an_older_release_copied_from_an_equal_run_is_answered(lab: Lab) -> None:
    first, second = (lab.record(SCRIPT).version for _ in range(2))
    lab.write("train.py", added(SCRIPT, 'state = {"weight": 1.0}', 'flor.log("left", id(state)) if not state else 0'))
    assert lab.prepare(["left"]).versions == {first, second}
    copied = {"operator": "copied", "first": 0, "last": 0, "names": ["left"]}
    folder = f"log_records/{lab.project.name}/{first}"
    file = Fragment(folder, "replay-20260101T000000.000000Z-aaaa", segment="outside")
    lab.project.store.files.write(file.path, log_bytes(NO_LOGS, copied))
    assert lab.prepare(["left"]).versions == {second}

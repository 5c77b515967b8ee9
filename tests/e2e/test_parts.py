"""A running segment is written part by part: the rows of a whole one, whatever becomes of the worker on the way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flor_ray import pipeline, running
from flor_ray.cluster.driver import Progress
from flor_ray.cluster.worker import Worker
from flor_ray.errors import ReplayStopped
from flor_ray.records import Limits, Segment, SegmentReport, Variant
from flor_ray.replaying import results
from flor_ray.replaying.job import VersionJob
from tests.conftest import Lab, warm_servers

EPOCHS = 6
SCRIPT = f"""
import random
import time
import flor_ray as flor

random.seed(1)
state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range({EPOCHS})):
    for step in flor.loop("step", range(3)):
        state["weight"] += random.random()
    flor.log("weight", state["weight"])
"""
ITERATION = f"""
import random
import flor_ray as flor

random.seed(1)
state = {{"weight": 1.0}}
flor.checkpointing(state=state)
for epoch in range({EPOCHS}):
    with flor.iteration("epoch"):
        for step in flor.loop("step", range(3)):
            state["weight"] += random.random()
        flor.log("weight", state["weight"])
"""
INSIDE = """flor.log("seen", (step, state["weight"]))"""
AT_END = """flor.log("end", state["weight"] * 2)"""
EVERY_EPOCH = Limits(commit_seconds=0.0)
NUMBERS = itertools.count()


def with_statements(script: str) -> str:
    """Both statements in it: one where a step ends, one where an epoch does."""
    text = script.replace("+= random.random()\n", "+= random.random()\n@" + INSIDE + "\n")
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            indent = len(lines[-1]) - len(lines[-1].lstrip())
            line = " " * indent + line[1:]
        lines.append(line)
        if 'flor.log("weight"' in line:
            lines.append(line[: len(line) - len(line.lstrip())] + AT_END)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(servers=warm_servers()[0])
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lab]:
    found = {}
    for kind, script in {"loop": SCRIPT, "iteration": ITERATION}.items():
        lab = found[kind] = Lab(tmp_path_factory.mktemp("parts") / "project")
        lab.record_forked(script)
        lab.write("train.py", with_statements(script))
    return found


def asked(lab: Lab, name: str, limits: Limits = EVERY_EPOCH) -> tuple[VersionJob, Segment]:
    """All epochs, of a replay that is later than all before: its rows are the ones that count."""
    prepared = lab.prepare([name], again=True)
    (job,) = running.jobs(prepared, f"replay-{next(NUMBERS):04d}", limits).values()
    (segment,) = {replace(cost.segment, first=1, last=EPOCHS) for cost in prepared.costs}
    return job, segment


CASES = [
    ("loop", "seen", Variant.INNER),
    ("loop", "end", Variant.END),
    ("loop", "end", Variant.OUTER),
    ("loop", "end", Variant.INNER),
    ("iteration", "seen", Variant.INNER),
]


@pytest.mark.parametrize(("kind", "name", "variant"), CASES)
def test_a_segment_that_commits_at_each_epoch_writes_what_a_whole_one_does(
    labs: dict[str, Lab], worker: Worker, kind: str, name: str, variant: Variant
) -> None:
    lab = labs[kind]
    (whole_job, wanted), (parts_job, _) = asked(lab, name, Limits()), asked(lab, name)
    from_start = variant is Variant.END or kind == "iteration"
    wanted = replace(wanted, variant=variant, restore=None if from_start else 0)
    whole = worker.run(whole_job, wanted)
    expected = rows(lab, name, whole_job.origin)
    told: list[SegmentReport] = []
    last = worker.run(parts_job, wanted, told.append)
    reports = [*told, last]
    assert [report.segment for report in reports] == [wanted.part(e, e) for e in range(1, EPOCHS + 1)]
    assert rows(lab, name, parts_job.origin) == expected
    assert len(expected) == whole.rows == sum(report.rows for report in reports)
    assert sum(report.compared for report in reports) == whole.compared
    assert results.judged(reports)[wanted.version].verdict is results.judged([whole])[wanted.version].verdict
    assert all(report.setup_seconds == 0 for report in reports[1:])


def test_what_a_driver_that_was_stopped_had_answered_in_part_is_not_asked_for_again(labs: dict[str, Lab]) -> None:
    lab = labs["loop"]
    answered = 0

    def stop(progress: Progress) -> None:
        nonlocal answered
        answered = progress.answered
        if answered >= 2:
            raise ReplayStopped("It is enough.")

    slow = with_statements(SCRIPT).replace("(step, state", "(time.sleep(0.1), step, state")
    lab.write("train.py", slow.replace('"seen"', '"slowly"'))
    with pytest.raises(ReplayStopped):
        pipeline.run(lab.prepare(["slowly"]), lab.executor(), stop, EVERY_EPOCH)
    assert 2 <= answered < EPOCHS
    (left,) = (cost.segment for cost in lab.prepare(["slowly"]).costs)
    assert answered < left.first
    assert left.last == EPOCHS
    _, outcome = lab.replay(["slowly"])
    assert outcome.failures == []
    values = lab.values("slowly")
    assert [(epoch, step) for epoch, step, *_ in values] == [(e, s) for e in range(1, EPOCHS + 1) for s in range(3)]


def rows(lab: Lab, name: str, origin: str) -> list[tuple[object, ...]]:
    """All rows of a replay as they lie in its files, in the order of their places."""
    table = lab.project.store.logged(lab.project.name, [name]).rows
    found = [row for row in table.to_pylist() if row["origin"] == origin]
    return sorted((r["epoch"], r["step"] or 0, r["iteration"], r["number"], r["text"]) for r in found)

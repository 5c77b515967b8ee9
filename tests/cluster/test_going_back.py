"""A recorded state that cannot be put back costs time, not values: a worker goes on in a fresh process, or begins
further back, and reports the segment that it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from flor_ray import running
from flor_ray.cluster.worker import Worker
from flor_ray.errors import RestoreFailed, ScriptFailed
from flor_ray.records import Limits, Operator, Segment, SegmentReport, Variant
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.version_process import VersionProcess
from tests.conftest import Lab, warm_servers

SCRIPT = """
import flor_ray as flor


class Part:
    n = 0

    def state_dict(self):
        return {"n": self.n}

    def load_state_dict(self, state):
        if REFUSED:
            raise ValueError("no\\nway back")
        self.n = state["n"]


part = Part()
with flor.checkpointing(part=part):
    for epoch in flor.loop("epoch", range(6)):
        part.n += epoch
        flor.log("n", part.n)
"""
HINDSIGHT = '        flor.log("y", part.n)\nflor.log("z", part.n)\n'
NEVER, GONE_ON, LATE, ALWAYS = "False", "self.n > state['n']", "state['n'] >= 3", "True"
SUMS = {1: 0, 2: 1, 3: 3, 4: 6, 5: 10, 6: 15}  # by epoch


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(servers=warm_servers()[0])
    yield worker
    worker.close()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Segment]]:
    """The number of each process, and what it was given."""
    found: list[tuple[int, Segment]] = []
    processes: list[VersionProcess] = []
    run = VersionProcess.run

    def noted(self: VersionProcess, segment: Segment, *more: object) -> object:
        if self not in processes:
            processes.append(self)
        found.append((processes.index(self), segment))
        return run(self, segment, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(VersionProcess, "run", noted)
    return found


def job_of(lab: Lab, refused: str, hindsight: str = HINDSIGHT) -> VersionJob:
    """What a worker needs of a version in whose replays states are refused on this condition."""
    run = lab.record_forked(SCRIPT.replace("REFUSED", NEVER), FLOR_RAY_OVERHEAD="1")
    checkpoints = lab.project.store.checkpoints(run.project, run.version)
    assert {c.epoch for c in checkpoints} == set(range(7))
    patched = SCRIPT.replace("REFUSED", refused) + hindsight
    return VersionJob(lab.project.store.url, "replay-test", run, checkpoints, {"train.py": patched})


def inner(job: VersionJob, epoch: int, restore: int | None) -> Segment:
    return Segment(job.experiment.version, epoch, epoch, Operator.DP_I, Variant.INNER, restore, names=("y",))


def suffix(job: VersionJob) -> Segment:
    return Segment(job.experiment.version, 0, 0, Operator.DP, restore=6, suffix=True, names=("z",))


def test_what_a_process_cannot_go_back_to_a_fresh_one_begins_with(
    lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]
) -> None:
    job = job_of(lab, GONE_ON)
    later, earlier = inner(job, 5, 4), inner(job, 3, 2)
    reports = [worker.run(job, segment) for segment in (later, earlier)]
    assert tried == [(0, later), (0, earlier), (1, earlier)]
    assert [(r.segment, r.rows, r.warnings, r.further_back) for r in reports] == [
        (later, 1, (), False),
        (earlier, 1, (), False),
    ]
    assert [place[0::3] for place in lab.values("y")] == [(3, SUMS[3]), (5, SUMS[5])]


def test_a_lost_state_is_gone_around_and_remembered(lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]) -> None:
    job = job_of(lab, LATE)
    asked = [inner(job, 6, 5), inner(job, 5, 4), inner(job, 2, 1), suffix(job)]
    reports = [worker.run(job, segment) for segment in asked]
    assert tried == [
        (0, asked[0]),
        (1, inner(job, 6, 4)),
        (2, inner(job, 6, 0)),
        (2, inner(job, 5, 0)),
        (2, inner(job, 2, 0)),
        (2, Segment(job.experiment.version, 0, 6, Operator.DP, restore=0, suffix=True, names=("z",))),
    ]
    assert [report.segment for report in reports] == asked
    assert [report.rows for report in reports] == [1, 1, 1, 1]
    assert all(report.further_back for report in reports)
    assert reports[0].warnings == (
        "epoch 6 had to be replayed from the entry of the main loop: The state at the end of epoch 4 cannot be put "
        "back: ValueError: no way back",
    )
    assert [place[0::3] for place in lab.values("y")] == [(epoch, SUMS[epoch]) for epoch in (2, 5, 6)]
    assert [place[0::3] for place in lab.values("z")] == [(None, SUMS[6])]


def test_the_checkpoint_before_may_do(lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]) -> None:
    job = job_of(lab, "state['n'] == 10")
    assert (
        worker.run(job, inner(job, 6, 5)).warnings[0].startswith("epoch 6 had to be replayed from the end of epoch 4")
    )
    assert [segment.restore for _, segment in tried] == [5, 4]
    assert [place[0::3] for place in lab.values("y")] == [(6, SUMS[6])]


def test_what_was_written_before_a_state_failed_is_not_replayed_again(
    lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]
) -> None:
    """Epochs of which only their ends are restored: that of epoch 4 cannot be."""
    lab.record_forked(SCRIPT.replace("REFUSED", NEVER), FLOR_RAY_OVERHEAD="1")
    lab.write("train.py", SCRIPT.replace("REFUSED", NEVER) + HINDSIGHT.replace("part.n", "part.n * 2"))
    prepared = lab.prepare(["y"])
    (job,) = running.jobs(prepared, "replay-test", Limits(commit_seconds=0.0)).values()
    patches = {path: text.replace(f"if {NEVER}:", "if state['n'] == 6:") for path, text in job.patches.items()}
    whole = Segment(job.experiment.version, 1, 6, Operator.DP_I, Variant.END, None, names=("y",))
    parts: list[SegmentReport] = []
    end = worker.run(replace(job, patches=patches), whole, parts.append)
    assert tried == [(0, whole), (1, replace(whole, first=4, variant=Variant.INNER, restore=3))]
    assert [report.segment for report in (*parts, end)] == [whole.part(e, e) for e in range(1, 7)]
    assert [report.further_back for report in (*parts, end)] == [False] * 3 + [True] * 3
    told = [warning for report in (*parts, end) for warning in report.warnings]
    assert [text.split(":")[0] for text in told] == ["epochs 4-6 had to be replayed from the end of epoch 3"]
    assert [place[0::3] for place in lab.values("y")] == [(epoch, 2 * found) for epoch, found in SUMS.items()]


def test_where_no_state_can_be_put_back_the_script_begins_anew(
    lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]
) -> None:
    job = job_of(lab, ALWAYS)
    end = Segment(job.experiment.version, 3, 4, Operator.DP_I, Variant.END, names=("y",))
    reports = [worker.run(job, segment) for segment in (end, suffix(job))]
    assert [segment.restore for _, segment in tried] == [None, 2, 0, None, None]
    assert [segment.variant for _, segment in tried[:4]] == [Variant.END, *[Variant.INNER] * 3]
    assert tried[4][1].operator is Operator.DP_STAR
    assert [report.segment for report in reports] == [end, suffix(job)]
    assert "replayed from the start of the script" in reports[0].warnings[0]
    assert [place[0::3] for place in lab.values("y")] == [(3, SUMS[3]), (4, SUMS[4])]
    assert [place[0::3] for place in lab.values("z")] == [(None, SUMS[6])]


def test_what_the_script_raises_is_not_tried_again(lab: Lab, worker: Worker, tried: list[tuple[int, Segment]]) -> None:
    job = job_of(lab, NEVER, '        flor.log("y", 1 // (epoch - 4))\n')
    with pytest.raises(ScriptFailed, match="ZeroDivisionError"):
        worker.run(job, inner(job, 5, 4))
    assert len(tried) == 1


def test_a_state_that_is_lost_at_every_place_fails_the_segment(
    lab: Lab, worker: Worker, tried: list[tuple[int, Segment]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(lab, NEVER)

    def fails(self: VersionProcess, segment: Segment, *more: object) -> object:
        self.segments += 1
        raise RestoreFailed(4, "epoch_end", "as always")

    monkeypatch.setattr(VersionProcess, "run", fails)
    with pytest.raises(RestoreFailed, match="The state at the end of epoch 4 cannot be put back: as always"):
        worker.run(job, inner(job, 5, 4))


def test_a_script_that_catches_everything_does_not_go_on_in_a_wrong_state(lab: Lab, worker: Worker) -> None:
    job = job_of(lab, LATE)
    text = job.patches["train.py"]
    body = text[text.index("with flor.check") :]
    loop = "".join(f"    {line}\n" for line in body.splitlines() if "z" not in line)
    caught = f'{text.replace(body, "")}try:\n{loop}except Exception:\n    pass\nflor.log("z", part.n)\n'
    report = worker.run(replace(job, patches={"train.py": caught}), suffix(job))
    assert (report.rows, report.further_back) == (1, True)
    assert [place[0::3] for place in lab.values("z")] == [(None, SUMS[6])]

"""What classes of workers take is kept in the store, measured of new ones, and learned from real replays."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster.worker import Worker
from flor_ray.errors import FlorWarning
from flor_ray.planning import calibrations
from flor_ray.records import Operator, Region, Segment, SegmentReport, Variant
from flor_ray.replaying import measuring
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration, CostModel, Learned
from flor_ray.store.files import Files
from tests.conftest import Lab

KNOWN = Calibration(prepare=Learned(0.25, 0.1, 3), slowness={"GPU Y": Learned(2.0, 0.3, 5)})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"))


def test_what_was_learned_last_of_a_class_holds(files: Files) -> None:
    assert calibrations.kept(files) == {}
    calibrations.keep(files, {"CPU X / 3 GHz": Calibration(), "": KNOWN})
    calibrations.keep(files, {"CPU X / 3 GHz": KNOWN})
    assert calibrations.kept(files) == {"CPU X / 3 GHz": KNOWN, "": KNOWN}


def test_several_replays_may_keep_what_they_learned_at_once(files: Files) -> None:
    each = [Calibration(prepare=Learned(float(i), 0.1, 1)) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: calibrations.keep(files, {"X": one}), each))
    assert len(files.list("calibrations")) == 8
    assert calibrations.kept(files)["X"] in each


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"kind": "X"}', b'{"kind": "X", "slowness": {}, "prepare": [-1, 0, 0]}']
)
def test_a_file_that_is_no_calibration_is_named_and_the_one_before_it_holds(files: Files, content: bytes) -> None:
    calibrations.keep(files, {"X": KNOWN, "Y": KNOWN})
    files.create("calibrations/X/99999999999999999-ab.json", content)
    with pytest.warns(FlorWarning, match=r"calibrations/X/99999999999999999-ab\.json is not the calibration") as told:
        assert calibrations.kept(files) == {"X": KNOWN, "Y": KNOWN}
    assert len(told) == 1


SCRIPT = """
import time
import flor_ray as flor

time.sleep(0.5)
state = {"count": 0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(4)):
        time.sleep(0.05)
        state["count"] += 1
    time.sleep(0.02)
    flor.log("count", state["count"])
"""


def job(lab: Lab, statement: str, after: str) -> tuple[VersionJob, CostModel, tuple[Segment, ...]]:
    """A replay of the newest version with a statement in it: its job, a model of it, and its segments."""
    lab.write("train.py", SCRIPT.replace(after, after + statement))
    prepared = pipeline.prepare(lab.project, ["new"])
    segments = tuple(cost.segment for cost in prepared.costs)
    version = segments[0].version
    patched, experiment = prepared.patched[version], prepared.experiments[version]
    checkpoints = prepared.checkpoints[version]
    known = calibrations.recorded(experiment, checkpoints, patched, Calibration())
    found = VersionJob(
        store_url=lab.project.store.url,
        origin="replay-1",
        experiment=experiment,
        checkpoints=checkpoints,
        patches=patched.files,
        marking=patched.marking,
        leave=known.leave,
        original_root=str(lab.root),
    )
    return found, CostModel({version: known}), segments


def test_a_workers_reports_add_up_to_its_time_and_are_as_estimated(lab: Lab) -> None:
    experiment = lab.record(SCRIPT)
    assert experiment.profile.setup_seconds - experiment.profile.import_seconds == pytest.approx(0.5, abs=0.2)
    work, model, _ = job(lab, '        flor.log("new", step)\n', '        state["count"] += 1\n')
    assert model.recorded[experiment.version].ends == {"new": Region.INNER}
    segments = [
        Segment(experiment.version, first, last, Operator.DP_I, Variant.INNER, first - 1, names=("new",))
        for first, last in ((3, 4), (5, 6), (1, 2))
    ]
    reports: list[SegmentReport] = []
    worker = Worker()
    try:
        began = time.perf_counter()
        reports = [worker.run(work, segment) for segment in segments]
        took = time.perf_counter() - began
    finally:
        worker.close()
    told = sum(report.start_seconds + report.setup_seconds + report.run_seconds for report in reports)
    assert took * 0.95 - 0.1 < told <= took  # each report is written after it was made
    assert [report.start_seconds > 0.1 for report in reports] == [True, False, False]
    assert [report.setup_seconds > 0.5 for report in reports] == [True, False, False]
    assert all(0 < report.read_seconds < report.run_seconds and report.read_bytes > 0 for report in reports)
    assert {report.kind for report in reports} == {worker.kind}
    kept = [one.report for one in lab.project.store.logged(lab.project.name, []).reports]
    assert sum(one.start_seconds + one.setup_seconds + one.run_seconds for one in kept) == pytest.approx(told)
    for report in reports:
        cost = model.cost(report.segment)
        assert report.run_seconds == pytest.approx(cost.run_seconds, rel=0.25, abs=0.05)
        model = model.observe(report, worker.kind)
    assert reports[0].setup_seconds == pytest.approx(model.cost(segments[0]).setup_seconds, rel=0.3)
    assert model.learned()[worker.kind].measured


def test_a_new_class_is_calibrated_in_seconds(lab: Lab) -> None:
    lab.record(SCRIPT)
    began = time.perf_counter()
    found = measuring.calibrate(lab.project.store, lab.project.name, os.environ)
    assert time.perf_counter() - began < 30
    assert found.measured
    assert found.prepare.count == 3
    assert 0 < found.prepare.value < 2
    assert found.latency.count > 0

"""Training loops that libraries run, or prepare: recorded, and each epoch replayed by itself, from the checkpoint
before it, in any order. Cases are as in tests/cases/trust; each command is a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from flor_ray.cluster.worker import Worker
from tests.bench_modules import bench_module, run_in_a_fork
from tests.conftest import keep_usual_calibration, warm_servers
from tests.forking import TRAINING

CASES = Path(__file__).parents[1] / "cases" / "trainers"
IMPORTS = {  # of each case: its versions run in forks of a process that has imported these
    "accelerate": ("accelerate",),
    "amp": (),
    "hugging_face": ("transformers.trainer",),
    "lightning": ("lightning.pytorch",),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(servers=warm_servers()[0])
    yield worker
    worker.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", IMPORTS)
def test_each_epoch_is_replayed_from_the_checkpoint_before_it(name: str, worker: Worker, tmp_path: Path) -> None:
    (case,) = (each for each in bench_module("trusting.cases").every_case(CASES) if each.name == name)

    def forked(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        run_in_a_fork(arguments, folder, variables, (*TRAINING, *IMPORTS[name]))

    repository = bench_module("replaying.recording").Repository
    plain, truth = (repository(tmp_path / which, worker, python=forked) for which in ("plain", "truth"))
    for each, files in ((plain, case.recorded()), (truth, case.newest())):
        keep_usual_calibration(each.project)
        each.write(files)
        for command in case.commands:
            each.run(command, seeded=True)
    plain.write(case.newest())
    drive = plain.replay(case.names, shuffle=7)
    assert (drive.failures, drive.problems) == ((), ())
    versions = list(zip(plain.experiments(), truth.experiments(), strict=True))
    inside = [(s.version, s.first, s.last, s.operator) for s in drive.segments if s.operator != "DP"]
    epochs = [(one.version, epoch, epoch, "DP_i") for one, _ in versions for epoch in range(1, one.epochs + 1)]
    assert sorted(inside) == sorted(epochs)
    for ours, theirs in versions:
        for feature in case.names:
            assert plain.values(feature, ours.version) == truth.values(feature, theirs.version), (ours.argv, feature)
    ends = plain.replay(["at_end"], again=True, shuffle=8)  # no step of them need run, but Lightning's
    assert ("inner" in {segment.variant for segment in ends.segments}) == (name == "lightning")
    assert (ends.failures, ends.problems) == ((), ())
    for ours, theirs in versions:
        assert plain.values("at_end", ours.version) == truth.values("at_end", theirs.version), ours.argv

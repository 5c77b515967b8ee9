"""Versions of several ranks on a cluster: two nodes of one CPU each, so that each rank is on a node of its own. What
each column was, the script notes itself where it is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flor_ray.records import Experiment, Fidelity, Operator
from tests.conftest import Lab
from tests.rank_labs import COUNTS, DDP, TORCHRUN, TRAINER, recorded, replayed, told
from tests.ray_heads import RayHead

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with RayHead(cpus=1) as head:
        head.add_node()
        yield head


def expect_the_columns(lab: Lab, run: Experiment) -> None:
    for name, count in COUNTS.items():
        found = [(epoch, value) for epoch, _, _, value in lab.values(name, run.version)]
        assert found == told(lab, name), name
        assert len(found) == count


def test_each_rank_of_a_group_may_be_on_a_node_of_its_own(lab: Lab, head: RayHead) -> None:
    run = recorded(lab, DDP, *TORCHRUN, variables={"OMP_NUM_THREADS": "1"})
    found = replayed(lab, head)
    assert found == {"outcome": ["replayed"], "fidelity": ["exact"], "compared": [found["compared"][0]], "free": 2.0}
    assert found["compared"][0] >= 12
    expect_the_columns(lab, run)


def test_a_run_of_ray_train_is_replayed_with_a_column_of_each_level(lab: Lab, head: RayHead) -> None:
    run = recorded(lab, TRAINER, "train.py", variables=head.environment | {"RAY_ADDRESS": head.address})
    launch = run.environment["ranks"]
    assert isinstance(launch, dict)
    assert (launch["size"], launch["launcher"], launch["backend"], run.argv, run.cwd) == (
        2,
        "ray train",
        "gloo",
        (),
        ".",
    )
    found = replayed(lab, head)
    assert (found["outcome"], found["fidelity"], found["free"]) == (["replayed"], ["exact"], 2.0)
    expect_the_columns(lab, run)
    kept = lab.project.store.checkpoints(run.project, run.version)
    assert {one.epoch for one in kept if not one.uncaptured} == {0, 1, 2, 3}
    prepared, outcome = lab.replay(["noise"], where="epoch == 3", workers=2, again=True)
    assert [(cost.segment.operator, cost.segment.restore) for cost in prepared.costs] == [(Operator.DP_I, 2)]
    assert [(report.verdict, report.rows) for report in outcome.reports] == [(Fidelity.EXACT, 3)]
    expect_the_columns(lab, run)
    script = lab.root / "train.py"
    behind = '    flor.log("behind", [\n        len(here),\n    ])\n'
    script.write_text(script.read_text().replace("    ).fit()\n", f"    ).fit()\n{behind}"))
    prepared, outcome = lab.replay(["behind"], workers=2)
    assert [report.rows for report in outcome.reports] == [0]
    (sentence,) = [each for report in outcome.reports for each in report.warnings if "fit()" in each]
    line = next(n for n, text in enumerate(script.read_text().split("\n"), 1) if "behind" in text)
    assert sentence == (
        f'train.py:{line}: `flor.log("behind", [` stands behind fit(), in the driver of Ray Train, which '
        "a replay does not run; log it in the training function"
    )

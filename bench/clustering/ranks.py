"""Columns of runs of two ranks, replayed, beside what the runs themselves noted of them: bit for bit.

A script under torchrun (gloo) and a TorchTrainer of Ray Train's, recorded on a cluster of two nodes with one CPU each
and replayed there: each rank on a node of its own. Quick: the first script alone, on worker processes of this machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from flor_ray import filling
from flor_ray.records import Experiment
from tests.conftest import Lab, keep_usual_calibration
from tests.rank_labs import COUNTS, DDP, TORCHRUN, TRAINER, recorded, replayed, told
from tests.ray_heads import RayHead


def measure(quick: bool) -> dict[str, object]:
    """How many values were compared, and how many of these are wrong or missing."""
    with tempfile.TemporaryDirectory(prefix="flor-") as folder:
        lab = Lab(Path(folder, "ddp"))
        run = recorded(lab, DDP, *TORCHRUN, variables={"OMP_NUM_THREADS": "1"})
        keep_usual_calibration(lab.project)
        if quick:
            filling.replay(list(COUNTS), executor="local", path=str(lab.root))
            return _summed([_compared(lab, run)])
        with RayHead("--object-store-memory=80000000", cpus=1) as head:
            head.add_node()
            replayed(lab, head)
            trainer = Lab(Path(folder, "trainer"))
            variables = head.environment | {"RAY_ADDRESS": head.address}
            of_trainer = recorded(trainer, TRAINER, "train.py", variables=variables)
            replayed(trainer, head)
            return _summed([_compared(lab, run), _compared(trainer, of_trainer)])


def _compared(lab: Lab, run: Experiment) -> tuple[int, int]:
    """Values that there should be, and how many of them are not there, or others."""
    wanted = {name: told(lab, name) for name in COUNTS}
    found = {name: [(epoch, value) for epoch, _, _, value in lab.values(name, run.version)] for name in COUNTS}
    count = sum(COUNTS.values())
    right = sum(one == other for name in COUNTS for one, other in zip(found[name], wanted[name], strict=False))
    doubled = sum(max(0, len(found[name]) - COUNTS[name]) for name in COUNTS)
    return count, count - right + doubled


def _summed(each: list[tuple[int, int]]) -> dict[str, object]:
    return {
        "ranks_values_compared": sum(count for count, _ in each),
        "ranks_values_wrong": sum(wrong for _, wrong in each),
    }


if __name__ == "__main__":
    print(json.dumps(measure("--quick" in sys.argv)))

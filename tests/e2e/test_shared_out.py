"""Models whose parameters the ranks of a run share out: replays begin at any checkpoint, with what each rank had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from flor_ray.records import Experiment, Fidelity, Point
from tests.conftest import Lab
from tests.e2e.test_rank_replays import torchrun

_HEAD = """
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
import flor_ray as flor

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("ranks",))
"""
_LOOP = """
optimizer = torch.optim.AdamW(net.parameters(), lr=0.02, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
torch.manual_seed(100 + rank * SHARED)
average = {name: one.detach().clone() for name, one in net.state_dict().items()}
with flor.checkpointing(net=net, optimizer=optimizer, schedule=schedule):
    for epoch in flor.loop("epoch", range(4)):
        for step in flor.loop("step", range(3)):
            x = torch.randn(5, 6)
            loss = net(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.05)
            optimizer.step()
            # STEP
        for name, one in net.state_dict().items():
            average[name].mul_(0.9).add_(one.detach(), alpha=0.1)
        schedule.step()
        # EVALUATE
        flor.log("loss", loss.item())
        # EPOCH
dist.destroy_process_group()
"""
_FSDP = """
from torch.distributed.fsdp import fully_shard
for layer in net[0], net[3]:
    fully_shard(layer, mesh=mesh)
fully_shard(net, mesh=mesh)
"""
_TENSOR_PARALLEL = """
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
last = ColwiseParallel(output_layouts=Replicate())
parallelize_module(net, mesh, {"0": ColwiseParallel(), "3": RowwiseParallel(), "5": last})
"""
_EVALUATE = "with torch.no_grad(): loss = net(torch.ones(2, 6)).sum()"
_SCRIPTS = {  # ranks that share one layer's work are given the same batches
    "fsdp": _HEAD + _FSDP + _LOOP.replace("SHARED", "1").replace("# EVALUATE", f"{_EVALUATE}; net.reshard()"),
    "tensor parallel": _HEAD + _TENSOR_PARALLEL + _LOOP.replace("SHARED", "0"),
}
_STATEMENTS = {
    "# STEP": (
        'flor.log("part", net[0].weight.to_local().double().sum().item())\n'
        '            flor.log("norm", norm.full_tensor().item() if hasattr(norm, "full_tensor") else norm.item())\n'
        '            flor.log("moment", optimizer.state[net[0].weight]["exp_avg"].to_local().double().sum().item())'
    ),
    "# EPOCH": 'flor.log("whole", [average["3.weight"].full_tensor().sum().item(), optimizer.param_groups[0]["lr"]])',
}
_NAMES = ["part", "norm", "moment", "whole"]


@pytest.fixture(scope="module", params=list(_SCRIPTS))
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lab, Experiment, Experiment]:
    """A run with the statements in it, and one without."""
    lab = Lab(tmp_path_factory.mktemp("shared") / "project")
    plain = whole = _SCRIPTS[request.param]
    for place, statements in _STATEMENTS.items():
        whole = whole.replace(place, statements)
    for text in whole, plain:
        torchrun(lab, text)
    truth, run = lab.experiments()
    lab.write("train.py", whole)
    return lab, truth, run


def test_a_replay_starts_at_an_epoch_in_the_middle_with_what_each_rank_had(
    recorded: tuple[Lab, Experiment, Experiment],
) -> None:
    lab, truth, run = recorded
    prepared, outcome = lab.replay(_NAMES, where=f"epoch == 2 and version == '{run.version}'", workers=2)
    assert [(cost.segment.first, cost.segment.restore) for cost in prepared.costs] == [(2, 1)]
    assert outcome.failures == []
    assert {report.verdict for report in outcome.reports} == {Fidelity.EXACT}
    assert sum(report.states_compared for report in outcome.reports) >= 2  # those of both ranks
    for name in _NAMES:
        _same(lab, truth, run, name, epochs=[2])


def test_all_epochs_are_as_in_a_run_with_the_statements(recorded: tuple[Lab, Experiment, Experiment]) -> None:
    lab, truth, run = recorded
    _, outcome = lab.replay(_NAMES, workers=2, again=True)
    assert outcome.failures == []
    assert {report.verdict for report in outcome.reports} == {Fidelity.EXACT}
    for name in _NAMES:
        _same(lab, truth, run, name, epochs=range(1, 5))


def test_where_parameters_are_held_whole_no_checkpoint_is_taken_and_that_is_told(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "project")
    text = (_HEAD + _FSDP + _LOOP).replace("SHARED", "1").replace("# EVALUATE", _EVALUATE)
    said = torchrun(lab, text)
    assert said.count("FSDP holds parameters whole where a checkpoint is due") == 1  # by rank 0, and once
    assert "reshard()" in said
    (run,) = lab.experiments()
    assert [times.epoch for times in run.profile.epochs] == [1, 2, 3, 4]  # what epochs take is known all the same
    kept = lab.project.store.checkpoints(run.project, run.version)
    assert {one.epoch for one in kept if one.point is Point.EPOCH_END} == {0}
    before = text.replace("with flor.checkpointing", f"{_EVALUATE}\nwith flor.checkpointing")
    assert "FSDP holds parameters whole when the main loop begins" in torchrun(lab, before)


def _same(lab: Lab, truth: Experiment, run: Experiment, name: str, epochs: Sequence[int]) -> None:
    rows = [row for row in lab.values(name, truth.version) if row[0] in epochs]
    assert len(rows) == len(epochs) * (1 if name == "whole" else 3)
    assert [row for row in lab.values(name, run.version) if row[0] in epochs] == rows

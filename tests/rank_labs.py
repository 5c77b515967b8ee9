"""Scripts of several ranks that note, where they are recorded, what their hindsight columns would have been."""

from __future__ import annotations

import json
import sys
from typing import Any

from flor_ray.records import Experiment
from tests.conftest import Lab
from tests.ray_heads import RayHead

TRAINING = """
    torch.set_num_threads(1)
    rate = flor.arg("rate", 0.1)
    own = torch.randn(4)  # seeded by nobody
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(24, 4), torch.randn(24, 1))
    torch.manual_seed(100 + rank)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    net = WRAP(layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    loader = LOADER
    note("own", None, own.tolist())
    # BEFORE
    flor.checkpointing(net=net, optimizer=optimizer)
    for epoch in flor.loop("epoch", range(3)):
        loader.sampler.set_epoch(epoch)
        for x, y in flor.loop("step", loader):
            noise = torch.randn(x.shape) * 0.1 + own
            optimizer.zero_grad()
            loss = ((net(x + noise) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            flor.log("loss", loss.item())
            note("noise", epoch + 1, [noise.sum().item(), layers[0].weight.grad.sum().item()])
            # STEP
        note("drawn", epoch + 1, [rank, layers[2].weight.sum().item()])
        # EPOCH
        flor.log("norm", layers[0].weight.norm().item())
"""
NOTE = """
    def note(name, epoch, value):
        if rank == 0:
            with open(truth, "a") as file:
                print(json.dumps([name, epoch, value]), file=file)
"""
IMPORTS = """
import json
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
import flor_ray as flor
"""
DDP = f"""{IMPORTS}
def main():
    dist.init_process_group("gloo")
    rank, truth = dist.get_rank(), "truth.txt"
{NOTE}{TRAINING}
    dist.destroy_process_group()

main()
""".replace("WRAP", "DistributedDataParallel").replace(
    "LOADER", "DataLoader(data, batch_size=4, sampler=DistributedSampler(data, shuffle=True))"
)
TRAINER = f"""{IMPORTS}
import ray
from ray import train
from ray.train import RunConfig, ScalingConfig
from ray.train.collective import barrier, broadcast_from_rank_zero
from ray.train.torch import TorchTrainer, prepare_data_loader, prepare_model

def each_rank(config):
    rank, truth = train.get_context().get_world_rank(), config["truth"]
    assert broadcast_from_rank_zero(rank) == 0
    barrier()
{NOTE}{TRAINING}
        train.report({{"loss": loss.item()}})

if __name__ == "__main__":
    ray.init()
    here = os.path.dirname(os.path.abspath(__file__))
    TorchTrainer(
        each_rank,
        train_loop_config={{"truth": os.path.join(here, "truth.txt")}},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=os.path.join(here, "results")),
    ).fit()
""".replace("WRAP", "prepare_model").replace(
    "LOADER", "prepare_data_loader(DataLoader(data, batch_size=4, shuffle=True))"
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py")
COUNTS = {"own": 1, "noise": 9, "drawn": 3}  # values of each column
STATEMENTS = {
    "# BEFORE": 'flor.log("own", own.tolist())',
    "# STEP": 'flor.log("noise", [noise.sum().item(), layers[0].weight.grad.sum().item()])',
    "# EPOCH": 'flor.log("drawn", [rank, layers[2].weight.sum().item()])',
}
DRIVER = """
import json, sys
import ray
import flor_ray as flor

frame = flor.replay(["own", "noise", "drawn"], executor="ray", wait="60s")
ray.shutdown()
ray.init()
import time
until = time.monotonic() + 20
while ray.available_resources().get("CPU") != 2.0 and time.monotonic() < until:
    time.sleep(0.2)
print(json.dumps({
    "outcome": list(frame["outcome"]),
    "fidelity": list(frame["fidelity"]),
    "compared": [int(count) for count in frame["compared"]],
    "free": ray.available_resources().get("CPU"),
}))
"""


def told(lab: Lab, name: str) -> list[tuple[Any, Any]]:
    """What the recorded script has noted of a column: epoch and value, in order."""
    rows = map(json.loads, (lab.root / "truth.txt").read_text().splitlines())
    return [(epoch, value) for noted, epoch, value in rows if noted == name]


def recorded(lab: Lab, text: str, *command: str, variables: dict[str, str]) -> Experiment:
    """One run; afterwards the script has the statements in it."""
    lab.write(".gitignore", "truth.txt\nresults\n")
    lab.write("train.py", text)
    lab.run([sys.executable, *command], lab.root, variables)
    (run,) = lab.experiments()
    for place, statement in STATEMENTS.items():
        text = text.replace(place, statement)
    lab.write("train.py", text)
    return run


def replayed(lab: Lab, head: RayHead) -> dict[str, Any]:
    done = lab.run([sys.executable, "-c", DRIVER], lab.root, head.environment | {"RAY_ADDRESS": head.address})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

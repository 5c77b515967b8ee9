"""Several processes, one run: ranks of torchrun and of Ray Train; and several runs of one working tree at once."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from flor_ray.records import Point, Status
from flor_ray.state import snapshots
from flor_ray.store import ranks
from tests.conftest import Lab, environment

# Rank 1 reports what its calls cost in a file of its own.
DDP = """
import json
import os
import time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import flor_ray as flor

def note(truth):
    if rank == 0:
        with open("truth.txt", "a") as file:
            print(json.dumps(truth), file=file)

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
rate = flor.arg("rate", 0.1)
torch.manual_seed(0)
net = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
generator = torch.Generator().manual_seed(rank)
with flor.checkpointing(net=net, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(4)):
            x = torch.randn(8, 4, generator=generator)
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            flor.log("loss", loss.item())
        flor.log("norm", net.module.weight.norm().item())
        note([epoch + 1, net.module.weight.tolist()])
if rank == 1:
    flor.arg("rate", 0.1)
    calls, batch = 20_000, 200
    def seconds(call):
        times = []
        for _ in range(calls // batch):
            began = time.perf_counter()
            for _ in range(batch):
                call()
            times.append((time.perf_counter() - began) / batch)
        return min(times)  # other work on the machine only ever adds
    def looped():
        for _ in flor.loop("step", ()):
            pass
    costs = {
        "log": seconds(lambda: flor.log("quiet", 1.0)),
        "loop": seconds(looped),
        "checkpointing": seconds(lambda: flor.checkpointing(net=net)),
        "arg": seconds(lambda: flor.arg("rate", 0.1)),
    }
    with open("rank1.json", "w") as file:
        json.dump([costs, dist.get_rank()], file)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """Two ranks of torchrun, recorded; what they wrote on stderr."""
    lab = Lab(tmp_path_factory.mktemp("ranks") / "project")
    lab.write(".gitignore", "truth.txt\nrank1.json\n")
    lab.write("train.py", DDP)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "train.py"]
    done = lab.python(*torchrun, "--flor", "ddp", "--kwargs", "rate=0.05", OMP_NUM_THREADS="1")
    return lab, done.stderr


def test_torchrun_records_one_version_with_the_values_of_the_first_rank(distributed: tuple[Lab, str]) -> None:
    lab, _ = distributed
    (run,) = lab.experiments()
    assert (run.run, run.status, run.epochs, run.args) == ("ddp", Status.FINISHED, 3, {"rate": 0.05})
    assert len(lab.git("rev-list", "flor.shadow").split()) == 1
    assert [key[:3] for key in lab.values("loss")] == [(e, s, 0) for e in (1, 2, 3) for s in range(4)]
    table = lab.project.store.logs(run.project)
    assert sorted(set(table["name"].to_pylist())) == ["loss", "norm", "rate"]
    assert table.num_rows == 12 + 3 + 1


def test_each_rank_keeps_its_own_states_at_the_points_of_rank_0(distributed: tuple[Lab, str]) -> None:
    lab, _ = distributed
    (run,) = lab.experiments()
    launch = run.environment["ranks"]
    assert isinstance(launch, dict)
    assert (launch["size"], launch["launcher"], launch["backend"], launch["local_size"]) == (2, "torchrun", "gloo", 2)
    assert "--nproc_per_node=2" in launch["command"]
    store = lab.project.store
    first = store.checkpoints(run.project, run.version)
    other = ranks.checkpoints(store, run.project, run.version, 1)
    assert [(c.epoch, c.point) for c in other] == [(c.epoch, c.point) for c in first]
    assert {c.key for c in other}.isdisjoint(c.key for c in first)  # their generators differ
    (record,) = ranks.read(store.files, run.project, run.version).values()
    assert (record.rank, record.exchanged, record.first_call) == (1, (), ("train.py", 18))
    assert len(record.rng) > 1000


def test_the_calls_of_another_rank_cost_less_than_two_microseconds_and_say_nothing(
    distributed: tuple[Lab, str],
) -> None:
    lab, errors = distributed
    costs, rank = json.loads((lab.root / "rank1.json").read_text())
    assert rank == 1
    assert {name: cost for name, cost in costs.items() if cost >= 2e-6} == {}
    assert "FlorWarning" not in errors


def test_checkpoints_of_a_wrapped_module_hold_its_weights(distributed: tuple[Lab, str]) -> None:
    """Its parameters are there under the wrapper's names; a process without ranks can take them out again."""
    lab, _ = distributed
    (run,) = lab.experiments()
    store = lab.project.store
    truth = dict(json.loads(line) for line in (lab.root / "truth.txt").read_text().splitlines())
    ends = [c for c in store.checkpoints(run.project, run.version) if c.point is Point.EPOCH_END]
    assert [c.epoch for c in ends] == [0, 1, 2, 3]
    assert all(not checkpoint.uncaptured for checkpoint in ends)
    for checkpoint in ends:
        manifest, parts = snapshots.read(store.objects, checkpoint.key)
        if checkpoint.epoch:
            weight = np.array(truth[checkpoint.epoch], np.float32).tobytes()
            assert weight in manifest.skeleton + b"".join(parts)


# Ray Train's workers are actors with RANK and WORLD_SIZE in their environment; TorchTrainer itself would take a minute.
RAY = """
import os
import time
import ray
import flor_ray as flor

@ray.remote(num_cpus=1)
class Worker:
    def train(self, rank):
        os.environ |= RANKS
        total = 0
        flor.checkpointing()
        for epoch in flor.loop("epoch", range(2)):
            for step in flor.loop("step", range(2)):
                total += flor.log("loss", 0.5 + rank)
        return flor.arg("rate", 0.5), total

if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    workers = [Worker.remote() for _ in range(2)]
    print(ray.get([worker.train.remote(rank) for rank, worker in enumerate(workers)]))
    time.sleep(2)  # what workers print comes a little later
    ray.shutdown()
"""
OF_RAY_TRAIN = '{"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}'


def test_the_first_worker_of_ray_train_records_and_the_others_are_silent(lab: Lab) -> None:
    text = RAY.replace("RANKS", OF_RAY_TRAIN)
    lab.write("train.py", text)
    done = lab.python("train.py", RAY_DEDUP_LOGS="0")
    assert done.stdout.splitlines()[-1] == "[(0.5, 2.0), (0.5, 6.0)]"
    (run,) = lab.experiments()
    assert (run.script, run.status, run.epochs, run.nested_loop) == ("train.py", Status.FINISHED, 2, "step")
    assert lab.values("loss") == [(epoch, step, 0, 0.5) for epoch in (1, 2) for step in (0, 1)]
    assert {c.epoch for c in lab.project.store.checkpoints(lab.project.name, run.version)} == {0, 1, 2}
    lab.write(
        "train.py", text.replace("        return flor", '            flor.log("total", total)\n        return flor')
    )
    prepared = lab.prepare(["total"])
    assert prepared.costs == ()
    assert [skipped.reason for skipped in prepared.skipped] == [
        "it was recorded by a worker of Ray Train, which a replay cannot start; train again for `total`"
    ]


def test_a_worker_of_ray_that_is_no_rank_is_no_run_and_says_so(lab: Lab) -> None:
    lab.write(
        "train.py", RAY.replace("RANKS", "{}").replace("        return", '        flor.log("x", 1)\n        return')
    )
    done = lab.python("train.py", RAY_DEDUP_LOGS="0")
    assert done.stdout.splitlines()[-1] == "[(0.5, 2.0), (0.5, 6.0)]"
    assert (done.stdout + done.stderr).count("is not recorded: it is a Ray worker but not a rank of Ray Train") == 2
    assert not (lab.root / ".flor").exists()


def test_sixteen_runs_at_once_of_one_working_tree_all_land_and_none_mixes_with_another(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
import flor_ray as flor
n = flor.arg("n", 0)
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(50)):
        flor.log("step_of", [n, epoch, step])
    flor.log("epoch_of", n * 1000 + epoch)
""",
    )
    lab.write("changed.txt", "1")
    lab.git("add", ".")
    lab.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    lab.write("changed.txt", "2")
    lab.write("untracked.txt", "3")

    def users() -> object:
        files = {path.name: path.read_bytes() for path in lab.root.iterdir() if path.is_file()}
        head = lab.git("rev-parse", "HEAD"), lab.git("symbolic-ref", "HEAD")
        return (
            files,
            head,
            lab.git("--no-optional-locks", "status", "--porcelain"),
            (lab.root / ".git/index").read_bytes(),
        )

    before = users()
    command = [sys.executable, "train.py", "--flor"]
    runs = [
        subprocess.Popen([*command, f"run{n}", "--kwargs", f"n={n}"], cwd=lab.root, env=environment())
        for n in range(16)
    ]
    assert [process.wait(100) for process in runs] == [0] * 16
    assert users() == before
    found = {run.run: run for run in lab.experiments()}
    assert len(lab.experiments()) == 16
    assert set(found) == {f"run{n}" for n in range(16)}
    commits = lab.git("rev-list", "flor.shadow").split()
    assert sorted(commits) == sorted(run.version for run in found.values())
    assert [parent for parent in lab.git("log", "--format=%P", "flor.shadow").split("\n") if " " in parent] == []
    store = lab.project.store
    for n in range(16):
        run = found[f"run{n}"]
        assert (run.status, run.epochs, run.args) == (Status.FINISHED, 3, {"n": n})
        assert store.logs(run.project, versions=[run.version]).num_rows == 1 + 150 + 3
        steps = [value for *_, value in lab.values("step_of", run.version)]
        assert steps == [[n, epoch, step] for epoch in range(3) for step in range(50)]
        assert [value for *_, value in lab.values("epoch_of", run.version)] == [n * 1000 + epoch for epoch in range(3)]
        assert [c.epoch for c in store.checkpoints(run.project, run.version) if c.point is Point.EPOCH_END] == [
            0,
            1,
            2,
            3,
        ]
        assert store.sources(run.project, run.version)["changed.txt"].data == b"2"

"""A version of several ranks is replayed by as many processes: what each of them computes is what it had computed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import lookup, running
from flor_ray.cluster.worker import Worker
from flor_ray.planning.ranks import ranked
from flor_ray.records import Experiment, Fidelity, Operator, Outcome
from flor_ray.store import ranks
from tests.conftest import Lab, warm_servers

# Each rank draws numbers of its own, before the main loop and in it: for its shuffling, its noise and its dropout.
DDP = """
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler
import flor_ray as flor

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
rate = flor.arg("rate", 0.1)
own = torch.randn(4)  # seeded by nobody
torch.manual_seed(0)
data = TensorDataset(torch.randn(24, 4), torch.randn(24, 1))
torch.manual_seed(100 + rank)
layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
net = DistributedDataParallel(layers)
optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
sampler = DistributedSampler(data, shuffle=True)
# BEFORE
with flor.checkpointing(net=net, optimizer=optimizer):
    for epoch in flor.loop("epoch", range(4)):
        sampler.set_epoch(epoch)
        for x, y in flor.loop("step", DataLoader(data, batch_size=4, sampler=sampler)):
            noise = torch.randn(x.shape) * 0.1 + own
            optimizer.zero_grad()
            loss = ((net(x + noise) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            flor.log("loss", loss.item())
            # STEP
        # EPOCH
        flor.log("norm", layers[0].weight.norm().item())
# AFTER
dist.destroy_process_group()
"""
STATEMENTS = {
    "# BEFORE": 'flor.log("own", own.tolist())',
    "# STEP": 'flor.log("noise", [noise.sum().item(), layers[0].weight.grad.sum().item()])',
    "# EPOCH": 'flor.log("drawn", [rank, layers[2].weight.sum().item(), *sampler][:9])',
    "# AFTER": 'flor.log("end", layers[0].bias.tolist())',
}
NAMES = ["own", "noise", "drawn", "end"]
# Two processes were told what to draw by torchrun: what nobody has seeded they take from here.
SEED = """
import os
import torch
torch.manual_seed(17 * int(os.environ["RANK"]) + int(os.environ["SEED"]))
"""


def with_statements(text: str, only: tuple[str, ...] = tuple(STATEMENTS)) -> str:
    for place in only:
        text = text.replace(place, STATEMENTS[place])
    return text


def torchrun(lab: Lab, text: str, seed: str = "", size: int = 2) -> str:
    """Record a run; what was said on stderr."""
    lab.write("train.py", text)
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}", "train.py"]
    return lab.python(*command, OMP_NUM_THREADS="1", SEED=seed).stderr


def values_of_ranks(lab: Lab, run: Experiment, name: str) -> dict[int, list[tuple[object, ...]]]:
    """By rank."""
    store = lab.project.store
    found = {0: lab.values(name, run.version)}
    place = ranks.place(run.project, run.version, 1)
    rows = store.logs(place[0], [name], [place[1]]).to_pylist()
    found[1] = [(row["epoch"], row["step"], row["iteration"], json.loads(row["text"])) for row in rows]
    return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Experiment, Experiment]:
    """A run with the statements in it, and one without, from the same seeds."""
    lab = Lab(tmp_path_factory.mktemp("ranks") / "project")
    seeded = DDP.replace("own = torch.randn(4)", f"{SEED.strip()}\nown = torch.randn(4)")
    torchrun(lab, with_statements(seeded), "3")
    torchrun(lab, seeded, "3")
    truth, run = lab.experiments()
    lab.write("train.py", with_statements(seeded))
    return lab, truth, run


@pytest.fixture(scope="module")
def replayed(recorded: tuple[Lab, Experiment, Experiment]) -> Outcome:
    lab, _, _ = recorded
    _, outcome = lab.replay(NAMES, workers=2)
    return outcome


@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_each_level_is_that_of_a_run_with_the_statement_in_it(
    recorded: tuple[Lab, Experiment, Experiment], replayed: Outcome, name: str
) -> None:
    lab, truth, run = recorded
    assert replayed.failures == []
    found = lab.values(name, run.version)
    assert found == lab.values(name, truth.version)
    assert len(found) == {"own": 1, "noise": 12, "drawn": 4, "end": 1}[name]
    assert lab.values("loss", run.version) == lab.values("loss", truth.version)


def test_what_was_recorded_is_come_to_again_bit_for_bit(replayed: Outcome) -> None:
    epochs = [report for report in replayed.reports if report.segment.operator is Operator.DP_I]
    assert {report.verdict for report in epochs} == {Fidelity.EXACT}
    assert sum(report.states_compared for report in replayed.reports) >= 4  # those of both ranks


def test_each_rank_goes_on_with_its_own_random_numbers(
    recorded: tuple[Lab, Experiment, Experiment], replayed: Outcome
) -> None:
    lab, _, run = recorded
    for name in ("own", "noise", "drawn"):
        first, other = values_of_ranks(lab, run, name).values()
        assert len(first) == len(other) > 0
        assert all(row[:3] == its[:3] and row[3] != its[3] for row, its in zip(first, other, strict=True))
    first, other = values_of_ranks(lab, run, "end").values()
    assert first == other  # weights are those of all


def test_a_table_of_all_ranks_has_a_column_that_tells_them_apart(
    recorded: tuple[Lab, Experiment, Experiment], replayed: Outcome
) -> None:
    lab, _, run = recorded
    frame = lookup.dataframe("noise", "loss", path=str(lab.root), ranks="all")
    frame = frame[frame["version"] == run.version]
    assert list(frame["rank"]) == [0] * 12 + [1] * 12
    for rank, rows in values_of_ranks(lab, run, "noise").items():
        ours = frame[frame["rank"] == rank][["epoch", "step", "noise"]]
        assert list(ours.itertuples(index=False, name=None)) == [(row[0], row[1], row[3]) for row in rows]
    assert frame["loss"].notna().tolist() == [True] * 12 + [False] * 12  # rank 1's was not recorded
    assert "rank" not in lookup.dataframe("noise", path=str(lab.root))


def test_gc_takes_the_parts_of_all_ranks_or_of_none(small: Lab) -> None:
    (run,) = small.experiments()
    store = small.project.store
    before = set(store.objects.infos())
    assert "Nothing to delete." in small.cli("gc", "--grace", "0", "--yes", check=True).stdout
    assert set(store.objects.infos()) == before  # what rank 1 needs is needed
    small.cli("gc", "--keep", "last", "--grace", "0", "--yes", check=True)
    first = store.checkpoints(run.project, run.version)
    other = ranks.checkpoints(store, run.project, run.version, 1)
    assert [(c.epoch, c.point) for c in other] == [(c.epoch, c.point) for c in first]
    assert len(first) < 5
    assert all(store.objects.exists(c.key) for c in other)
    assert len(store.objects.infos()) < len(before)


def test_an_epoch_in_the_middle_starts_from_the_states_of_all_ranks(
    recorded: tuple[Lab, Experiment, Experiment], replayed: Outcome
) -> None:
    lab, truth, run = recorded
    prepared, outcome = lab.replay(["noise"], where=f"epoch == 3 and version == '{run.version}'", again=True)
    (segment,) = [cost.segment for cost in prepared.costs]
    assert (segment.first, segment.last, segment.restore) == (3, 3, 2)
    (report,) = outcome.reports
    assert (report.verdict, report.rows) == (Fidelity.EXACT, 3)
    assert lab.values("noise", run.version) == lab.values("noise", truth.version)


@pytest.fixture(scope="module")
def of_two_epochs(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("small") / "project")
    torchrun(lab, DDP.replace("range(4)", "range(2)"))
    return lab


@pytest.fixture
def small(of_two_epochs: Lab, tmp_path: Path) -> Lab:
    """One run, of two epochs."""
    shutil.copytree(of_two_epochs.root, tmp_path / "project", symlinks=True)
    return Lab(tmp_path / "project")


def test_a_rank_that_raises_fails_the_segment_with_its_number_and_its_words(small: Lab) -> None:
    wrong = 'flor.log("noise", noise.sum().item() if rank == 0 or epoch == 0 else {}["no such label"])'
    small.write("train.py", DDP.replace("range(4)", "range(2)").replace("# STEP", wrong))
    _, outcome = small.replay(["noise"])
    ((_, message),) = outcome.failures
    assert "Rank 1 of 2: KeyError: 'no such label'" in message
    assert replaying_here() == []


def replaying_here() -> list[int]:
    """Processes of this one's warm servers that replay; they end within a moment."""
    until = time.monotonic() + 10
    while (found := _descendants_in_folders()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _descendants_in_folders() -> list[int]:
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "/flor-" in process.cwd():
                found.append(process.pid)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def test_a_rank_that_is_killed_costs_an_attempt_and_no_value(small: Lab) -> None:
    slow = 'flor.log("noise", [__import__("time").sleep(0.4), noise.sum().item()][1])'
    small.write("train.py", DDP.replace("range(4)", "range(2)").replace("# STEP", slow))
    killed: list[int] = []

    def kill_one() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            if len(running := _descendants_in_folders()) == 2:
                time.sleep(0.5)
                killed.append(running[-1])
                os.kill(running[-1], signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one)
    killer.start()
    _, outcome = small.replay(["noise"])
    killer.join()
    assert killed
    assert outcome.failures == []
    assert len(small.values("noise")) == 6
    assert {report.verdict for report in outcome.reports} == {Fidelity.EXACT}


def test_where_a_rank_lacks_its_part_the_replay_starts_further_back(small: Lab) -> None:
    (run,) = small.experiments()
    store = small.project.store
    part = [c for c in ranks.checkpoints(store, run.project, run.version, 1) if c.epoch == 1]
    store.drop_checkpoints(*ranks.place(run.project, run.version, 1), {(c.epoch, c.point) for c in part})
    small.write("train.py", with_statements(DDP.replace("range(4)", "range(2)"), ("# STEP",)))
    prepared, outcome = small.replay(["noise"], where="epoch == 2")
    assert [cost.segment.restore for cost in prepared.costs] == [0]
    assert any("of the checkpoints of epochs 1, not all of its 2 ranks have their part" in n for n in prepared.notes)
    assert [report.verdict for report in outcome.reports] == [Fidelity.EXACT]


def test_a_version_that_lacks_a_rank_is_not_replayed(small: Lab) -> None:
    (run,) = small.experiments()
    files = small.project.store.files
    (path,) = files.list("ranks")
    files.delete(path)
    small.write("train.py", with_statements(DDP, ("# STEP",)))
    prepared = small.prepare(["noise"])
    assert prepared.costs == ()
    (skipped,) = prepared.skipped
    assert (skipped.version, skipped.reason.partition(":")[0]) == (
        run.version,
        "it ran as 2 processes, and nothing of rank 1 is in the store",
    )


def test_ranks_that_exchange_files_are_replayed_from_the_start(lab: Lab) -> None:
    text = DDP.replace("range(4)", "range(2)").replace(
        "# BEFORE",
        'if rank == 0:\n    open("words.txt", "w").write("a b")\ndist.barrier()\nwords = open("words.txt").read()',
    )
    lab.write(".gitignore", "words.txt\n")
    torchrun(lab, text)
    lab.write("train.py", with_statements(text, ("# STEP",)))
    prepared, outcome = lab.replay(["noise"])
    assert any("its ranks exchanged files (words.txt), so it is replayed from its start" in n for n in prepared.notes)
    assert outcome.failures == []
    (report,) = outcome.reports
    assert (report.mismatch, report.compared) == (None, 8), report


def test_a_script_that_wraps_its_module_only_among_ranks_is_replayed_among_ranks(lab: Lab) -> None:
    text = (
        DDP.replace("range(4)", "range(2)")
        .replace("dist.init", 'many = "RANK" in os.environ\nif many: dist.init')
        .replace("DistributedDataParallel(layers)", "DistributedDataParallel(layers) if many else layers")
    )
    torchrun(lab, text)
    lab.write("train.py", with_statements(text, ("# STEP",)))
    _, outcome = lab.replay(["noise"])
    assert outcome.failures == []
    assert {report.verdict for report in outcome.reports} == {Fidelity.EXACT}


# The layers are not used in the order in which they are made: gradients come in another order than DDP expects.
OF_THREE = (
    DDP.replace("range(4)", "range(3)")
    .replace("torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))", "*made[2:], made[0], made[1])")
    .replace(
        "layers =",
        "made = [torch.nn.Linear(300, 300), torch.nn.Linear(300, 1), torch.nn.Linear(4, 300)]\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.b, self.c, self.a = made\n"
        "    def forward(self, x):\n"
        "        return self.c(self.b(self.a(x)))\n"
        "layers =",
    )
    .replace("DistributedDataParallel(layers)", "DistributedDataParallel(Net())")
    .replace('flor.arg("rate", 0.1)', 'flor.arg("rate", 0.001)')
)


def test_three_ranks_sum_their_gradients_after_a_checkpoint_in_the_order_of_the_run(lab: Lab) -> None:
    torchrun(lab, OF_THREE, size=3)
    (run,) = lab.experiments()
    launch = run.environment["ranks"]
    assert isinstance(launch, dict)
    assert launch["buckets"] == [3, 2, 1, 0, 5, 4]
    lab.write("train.py", with_statements(OF_THREE, ("# STEP",)))
    prepared = lab.prepare(["noise"], where="epoch in (1, 3)")
    (job,) = running.jobs(prepared, "replay-1").values()
    worker = Worker(servers=warm_servers()[0])
    try:
        # The second one needs another process, in which they are summed as before the first step.
        for segment in sorted((cost.segment for cost in prepared.costs), reverse=True):
            report = worker.run(job, segment)
            assert (report.verdict, report.mismatch, report.further_back) == (Fidelity.EXACT, None, False)
            assert report.states_compared >= 3  # each rank's
    finally:
        worker.close()
    assert [cost.segment.restore for cost in prepared.costs] == [0, 2]


def test_where_the_order_of_sums_is_not_known_replays_start_with_the_main_loop(small: Lab) -> None:
    (run,) = small.experiments()
    launch = dict(run.environment["ranks"]) | {"size": 3, "buckets": None}  # type: ignore[call-overload]
    files, (path,) = small.project.store.files, small.project.store.files.list("ranks")
    files.write(path.replace("1.json", "2.json"), files.read(path).replace(b'"rank": 1', b'"rank": 2'))
    store = small.project.store
    for checkpoint in ranks.checkpoints(store, run.project, run.version, 1):
        project, version = ranks.place(run.project, run.version, 2)
        store.append_checkpoint(project, replace(checkpoint, version=version), None)
    of_three = replace(run, environment={**run.environment, "ranks": launch})
    found = ranked(small.project, {run.version: of_three}, {run.version: store.checkpoints(run.project, run.version)})
    assert {checkpoint.epoch for checkpoint in found.checkpoints[run.version]} == {0}
    assert any("the order in which its 3 ranks summed their gradients is not known" in note for note in found.notes)

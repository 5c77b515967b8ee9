"""Every trap of recording and replaying that FlorDB falls into, and the test that says that we do not.

    test_recording.py
        break, return, exception out of a loop      test_break_return_and_exceptions_out_of_loops_close_them
        flor.arg inside a loop                      test_an_argument_read_inside_a_loop_is_recorded_once_for_the_run
        arg values with `=`, lists, bools           test_arguments_take_the_type_of_their_default
        the script's own options named like ours    test_an_option_that_the_script_defines_itself_stays_with_the_script
        spawned processes must not become runs      test_worker_processes_and_other_ranks_do_not_become_runs
        sub-directory, detached HEAD, hook, dirt    test_a_script_in_a_subfolder_on_a_detached_head_with_a_failing_hook
        what ran is what is committed               test_the_code_that_ran_is_what_is_committed_though_the_file_is
        SIGTERM and SIGKILL                         test_a_killed_run_is_kept_and_marked_and_its_finished_epochs_are
        exceptions                                  test_a_run_that_raises_is_kept_and_marked
        runs at once                                test_two_runs_at_once_both_land_and_do_not_mix
        random.seed must not make ids collide       test_seeding_in_the_script_does_not_make_runs_collide
    test_kills.py
        SIGKILL at any moment                       test_a_kill_at_any_moment_loses_a_second_of_records
    test_ranks.py
        ranks must not become runs                  test_torchrun_records_one_version_with_the_values_of_the_first_rank
        many runs at once                           test_sixteen_runs_at_once_of_one_working_tree_all_land
    test_traps.py
        workers of a DataLoader                     test_workers_of_a_data_loader_do_not_become_runs
        Ctrl-C                                      test_ctrl_c_keeps_the_run_and_marks_it
        batches of a loop are no data to be stored  test_batches_that_a_loop_yields_are_not_stored
        a project called may, branches, analyses    test_runs_of_all_branches_are_replayed_and_an_analysis_that_ran_last
        a replay that fails leaves all as it was    test_a_failing_replay_leaves_git_and_every_file_of_the_user_alone
        an iterable that draws random numbers       test_an_iterable_that_draws_is_not_drawn_from_too_early
    test_replaying.py
        never in the user's working tree            test_replay_leaves_git_and_every_file_of_the_user_as_they_were
        values that are there are not run again     test_all_names_at_once_and_then_nothing_is_left_to_do
        `where` really filters                      test_where_restricts_versions_and_epochs
        other versions are still answered           test_a_script_that_fails_on_replay_is_told_and_other_versions
    test_values.py
        unseeded runs replay exactly                test_replayed_values_are_those_of_a_run_from_scratch_bit_for_bit
    test_observing.py
        a hindsight statement changes nothing       test_a_statement_that_disturbs_leaves_every_recorded_value_exact
    test_limits.py
        a crash leaves no half rows                 test_a_script_that_crashes_takes_nothing_with_it
    test_side_effects.py
        files that the script itself writes         test_checkpoints_and_tables_at_absolute_paths_are_left_alone

And state that training scripts carry in objects of torch, beyond the cases of tests/cases/state.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray.records import Status
from tests.conftest import Lab, environment
from tests.e2e.state_lab import StateLab, doubled, values_of
from tests.e2e.test_state import Checker


def test_every_test_of_the_list_is_there() -> None:
    """The list may cut the end of a name."""
    text, listed = "", 0
    for line in (__doc__ or "").splitlines():
        if line.endswith(".py"):
            text = (Path(__file__).parent / line.strip()).read_text()
        elif line.startswith("        "):
            listed += 1
            assert f"\ndef {line.split()[-1]}" in text, line
    assert listed == 28


def test_workers_of_a_data_loader_do_not_become_runs(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
import torch
from torch.utils.data import DataLoader, Dataset
import flor_ray as flor

class Data(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        flor.log("in_worker", index)
        return index

if __name__ == "__main__":
    torch.manual_seed(flor.arg("seed", 0))
    for method in ("fork", "spawn"):
        loader = DataLoader(Data(), batch_size=2, num_workers=1, multiprocessing_context=method)
        for epoch in flor.loop("epoch", range(1)):
            for batch in flor.loop("step", loader):
                flor.log(method, batch.tolist())
""",
    )
    done = lab.python("train.py", "--flor", "loaders")
    assert done.stdout == ""
    (run,) = lab.experiments()
    assert (run.run, run.status) == ("loaders", Status.FINISHED)
    assert [value for *_, value in lab.values("fork")] == [[0, 1], [2, 3]]
    assert [value for *_, value in lab.values("spawn")] == [[0, 1], [2, 3]]
    assert lab.values("in_worker") == []


def test_ctrl_c_keeps_the_run_and_marks_it(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
import time
import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(10)):
    total += epoch
    flor.log("total", total)
    if epoch == 2:
        print("ready", flush=True)
        time.sleep(60)
""",
    )
    process = subprocess.Popen(
        [sys.executable, "train.py"],
        cwd=lab.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    run = lab.experiments()[-1]
    assert (run.status, run.epochs) == (Status.FAILED, 2)
    assert run.error is not None
    assert run.error.startswith("KeyboardInterrupt")
    assert [value for *_, value in lab.values("total")] == [0, 1, 3]  # also what was logged just before


@pytest.mark.parametrize(("checkpoints", "arrays"), [("", 0), ("flor.checkpointing()", 2 * 2)])
def test_batches_that_a_loop_yields_are_not_stored(lab: Lab, checkpoints: str, arrays: int) -> None:
    """80 MB go through the loops. What is kept with checkpoints is what the epoch's tail may read: the last ones."""
    lab.record(
        f"""
import numpy as np
import flor_ray as flor
generator = np.random.default_rng(0)
total = 0.0
{checkpoints}
for epoch in flor.loop("epoch", [generator.random(500_000) for _ in range(2)]):
    for batch in flor.loop("step", [generator.random(500_000) for _ in range(9)]):
        total += batch.sum()
        flor.log("total", total)
"""
    )
    assert len(lab.values("total")) == 18
    stored = sum(info.bytes for info in lab.project.store.files.infos().values())
    assert stored < arrays * 4_000_000 + 100_000


PRELUDE = """
import copy
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset
import flor_ray as flor
X = torch.randn(16, 4)
Y = torch.randn(16, 1)
def total(module):
    return [float(value.detach().double().sum()) for value in module.state_dict().values()]
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
opt = torch.optim.AdamW(net.parameters(), lr=0.05)
"""
STATES = {
    "a compiled module": """
fast = torch.compile(net, backend="eager")
flor.checkpointing(net=fast, opt=opt)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        opt.zero_grad()
        loss = ((fast(X) - Y) ** 2).mean()
        loss.backward()
        opt.step()
        flor.log("inner", loss.item())
    flor.log("tail", [total(net), total(fast)])
flor.log("suffix", total(net))
""",
    "averages of a model, listed and not": """
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn
ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
swa = AveragedModel(net)
slow = SWALR(opt, swa_lr=0.01, anneal_epochs=2)
best, best_loss = None, float("inf")
flor.checkpointing(net=net, ema=ema)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        opt.zero_grad()
        loss = ((net(X) - Y) ** 2).mean()
        loss.backward()
        opt.step()
        ema.update_parameters(net)
    if epoch >= 1:
        swa.update_parameters(net)
        slow.step()
    if loss.item() < best_loss:
        best, best_loss = copy.deepcopy(net), loss.item()
    flor.log("tail", [total(ema), total(swa), int(swa.n_averaged), total(best), slow.get_last_lr()])
flor.log("suffix", [total(swa), best_loss])
""",
    "schedulers in a row, in a chain and on a plateau": """
from torch.optim import lr_scheduler as lrs
warm = lrs.LinearLR(opt, 0.1, total_iters=2)
line = lrs.SequentialLR(opt, [warm, lrs.CosineAnnealingLR(opt, 4)], milestones=[2])
other = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
chain = lrs.ChainedScheduler([lrs.ConstantLR(other, 0.5, total_iters=2), lrs.ExponentialLR(other, 0.9)], other)
third = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
plateau = lrs.ReduceLROnPlateau(third, patience=0, cooldown=1)
flor.checkpointing(net)
for epoch in flor.loop("epoch", range(5)):
    for step in flor.loop("step", range(2)):
        for each in (opt, other):
            each.zero_grad()
            ((net(X) - Y) ** 2).mean().backward()
            each.step()
    line.step()
    chain.step()
    plateau.step(float(epoch % 2))
    rates = [each.param_groups[0]["lr"] for each in (opt, other, third)]
    flor.log("tail", [total(net), rates, plateau.num_bad_epochs, plateau.best, line.last_epoch])
flor.log("suffix", rates)
""",
    "a scaler that is switched off, and one that overflows": """
off = torch.amp.GradScaler("cpu", enabled=False)
on = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
flor.checkpointing(net, opt, off)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(3)):
        opt.zero_grad()
        loss = ((net(X) - Y) ** 2).mean() * (float("inf") if step == epoch else 1.0)
        on.scale(off.scale(loss)).backward()
        on.step(opt)
        on.update()
        off.update()
    flor.log("tail", [total(net), on.get_scale(), off.get_scale(), on.state_dict()])
flor.log("suffix", on.get_scale())
""",
    "a loader with a generator, a sampler with another and random augmentation": """
class Weighted(Sampler):
    def __init__(self, n):
        self.n, self.generator, self.rounds = n, np.random.default_rng(5), 0
    def __len__(self):
        return self.n
    def __iter__(self):
        self.rounds += 1
        return iter(self.generator.choice(self.n, self.n).tolist())
def augment(batch):
    x = torch.stack([item[0] for item in batch])
    return x + torch.randn_like(x) * np.random.rand(), torch.stack([item[1] for item in batch])
g = torch.Generator().manual_seed(3)
mixed = DataLoader(TensorDataset(X, Y), batch_size=4, shuffle=True, generator=g, collate_fn=augment)
weighted = DataLoader(TensorDataset(X, Y), batch_size=8, sampler=Weighted(16), collate_fn=augment)
seen = 0.0
flor.checkpointing(net, opt)
for epoch in flor.loop("epoch", range(4)):
    for x, y in flor.loop("step", mixed if epoch % 2 else weighted):
        opt.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        seen += float(x.double().sum())
        flor.log("inner", [seen, loss.item()])
    net.eval()
    correct = 0.0
    for x, y in weighted:  # evaluation on a random part, which is not a loop of ours
        correct += float((net(x) - y).abs().mean())
    net.train()
    flor.log("tail", [seen, correct, total(net), weighted.sampler.rounds])
flor.log("suffix", [seen, total(net)])
""",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STATES)
def test_what_training_carries_is_replayed_from_any_checkpoint(name: str, tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = PRELUDE + STATES[name]
    run = lab.record(text)
    assert run.uncaptured() == set()
    newest, names = doubled(text)
    last = run.experiment.epochs
    logged = {feature: run.values(feature) for feature in names}
    check = Checker(lab, run, newest, {key: value for values in logged.values() for key, value in values.items()})
    inner = [feature for feature in names if feature == "inner"]
    check(inner, list(range(2, last + 1)))
    check(["tail"], list(range(1, last + 1)))
    check(["tail"], list(range(1, last + 1)), backwards=True)
    check([*inner, "tail"], [last])
    check(["suffix"], [])


REPLACED = {
    "a generator in an attribute": """
trainer = Trainer()
trainer.thing = torch.Generator()
def use():
    return torch.rand((), generator=trainer.thing).item()
def replace():
    trainer.thing = torch.Generator().manual_seed(5)
""",
    "an optimizer in an attribute": """
trainer = Trainer()
trainer.thing = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
def use():
    trainer.thing.zero_grad()
    loss = ((net(X) - Y) ** 2).mean()
    loss.backward()
    trainer.thing.step()
    return loss.item()
def replace():
    trainer.thing = torch.optim.Adam(net.parameters(), lr=0.01)
""",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "a generator in an attribute",
            # A nested loop's exit names the new object otherwise than its replay does: StoreError, not a wrong value.
            marks=pytest.mark.xfail(reason="only epochs up to the replacement can be restored", strict=True),
        ),
        "an optimizer in an attribute",
    ],
)
def test_an_object_of_torch_that_is_replaced_between_epochs_is_restored(name: str, tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = f"""{PRELUDE}
class Trainer:
    pass
{REPLACED[name]}
flor.checkpointing(net=net)
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        value = use()
    if epoch == 1:
        replace()
    flor.log("tail", [value, total(net)])
"""
    run = lab.record(text)
    newest, _ = doubled(text)
    check = Checker(lab, run, newest, run.values("tail"))
    check(["tail"], [3, 4])


COUNTING = """
import random
import flor_ray as flor

total = 0.0
flor.checkpointing(total=[total])
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        total += random.random()
    flor.log("total", total)
    {more}
"""


def snapshot(lab: Lab) -> dict[str, object]:
    """Every file of the user, and what git says."""
    names = [p for p in sorted(lab.root.rglob("*")) if p.is_file() and not {".git", ".flor"} & set(p.parts)]
    files: dict[str, object] = {str(path): path.read_bytes() for path in names}
    said = [lab.git("status", "--porcelain"), lab.git("rev-parse", "HEAD"), lab.git("stash", "list")]
    return files | {"git": [*said, lab.git("branch", "--show-current")]}


def test_runs_of_all_branches_are_replayed_and_an_analysis_that_ran_last_is_not_asked(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "may")
    lab.git("config", "user.email", "a@b.c")
    lab.git("config", "user.name", "a")
    for branch in ("t30", "other"):
        lab.git("checkout", "--quiet", "-b", branch)
        lab.record(COUNTING.format(more=f"branch = {branch!r}"), "--flor", branch)
        lab.git("add", "train.py")
        lab.git("commit", "--quiet", "-m", branch)
    lab.record("import flor_ray as flor\nflor.log('runs', 2)\n", script="analysis.py")
    lab.write("train.py", COUNTING.format(more='flor.log("more", [total, len(str(epoch))])'))
    prepared, outcome = lab.replay(["more"])
    assert {version for version, *_ in prepared.refusals} == {lab.experiments()[-1].version}
    assert outcome.failures == []
    for experiment in lab.experiments()[:2]:
        totals = [value for *_, value in lab.values("total", experiment.version)]
        assert [value[0] for *_, value in lab.values("more", experiment.version)] == totals
        assert len(totals) == 3


def test_a_failing_replay_leaves_git_and_every_file_of_the_user_alone(lab: Lab) -> None:
    lab.git("config", "user.email", "a@b.c")
    lab.git("config", "user.name", "a")
    lab.write("notes.txt", "mine")
    lab.git("add", "notes.txt")
    lab.git("commit", "--quiet", "-m", "notes")
    text = COUNTING.format(more='open("notes.txt", "w").write(str(epoch))')
    lab.record(text)
    lab.write("notes.txt", "mine again")
    lab.write("train.py", text + '    flor.log("fails", total / 0)\n')
    before = snapshot(lab)
    _, outcome = lab.replay(["fails"])
    assert "ZeroDivisionError" in outcome.failures[0][1]
    assert lab.values("fails") == []
    assert snapshot(lab) == before


def test_an_iterable_that_draws_is_not_drawn_from_too_early(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = COUNTING.replace("range(3)", "random.sample(range(9), 3)").format(more='flor.log("epoch_was", epoch)')
    text = text.replace("range(2)", "[random.random() for _ in range(3)]").replace("random.random()\n", "step\n")
    run = lab.record(text)
    again, _ = doubled(text)
    for epochs in ([3], [2], [1, 3]):
        segments = lab.plan(run, again, ["again_total", "again_epoch_was"], epochs)
        replayed = values_of(lab.replay(run, again, segments), lab.objects)
        for name in ("total", "epoch_was"):
            recorded = {key: value for key, value in run.values(name).items() if key[0] in epochs}
            assert {key: value for key, value in replayed.items() if key[2] == name} == recorded

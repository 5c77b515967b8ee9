"""Features without a call for each: what scripts print, read from argparse, or hand to a Trainer."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest

from flor_ray.records import Experiment, Operator, Status, Variant
from tests.conftest import Lab


def features(lab: Lab) -> dict[str, list[tuple[Any, ...]]]:
    """Every feature of the newest version, with its rows."""
    store, version = lab.project.store, lab.experiments()[-1].version
    names = {row["name"] for row in store.logs(lab.project.name, versions=[version]).to_pylist()}
    return {name: lab.values(name) for name in sorted(names)}


def captured(lab: Lab, text: str, *arguments: str, check: bool = True) -> tuple[Experiment, str, str]:
    """Record a script with --capture; its standard output and error are those it has without us."""
    lab.write("train.py", text)
    plain = lab.python("train.py", *arguments, check=False, FLOR_RAY_STORE=str(lab.root.parent / "plain"))
    done = lab.cli("run", "--capture", "--flor", "seen", "train.py", *arguments, check=check)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    return lab.experiments()[-1], done.stderr, plain.stderr


def test_a_script_that_knows_nothing_of_us_is_recorded_with_what_it_prints_and_logs(lab: Lab) -> None:
    run, stderr, plain = captured(
        lab,
        """
import logging, multiprocessing, os, subprocess, sys, threading

def work(rank):
    print(f"rank_loss: {rank}")

if __name__ == "__main__":
    print("seed: 42")
    for epoch in range(2):
        print(f"Epoch {epoch + 1}/2 - loss {0.5 / (epoch + 1)} - acc: {97 + epoch}%")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.info("val_loss: %.3f", float("nan"))
    logging.getLogger("a.b").debug("hidden: 1")
    print("on_stderr=7", file=sys.stderr)
    worker = multiprocessing.get_context("fork").Process(target=work, args=(1,))
    worker.start(); worker.join()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(work, [2])
    subprocess.run([sys.executable, "-c", "print('child: 1')"])
    thread = threading.Thread(target=print, args=("thread_value: 3",))
    thread.start(); thread.join()
    print(sys.stdout.isatty(), sys.stdout.fileno(), sys.stdout.encoding, type(sys.stdout), sys.stdout is sys.__stdout__)
    class Tee:
        def __init__(self, stream): self.stream = stream
        def write(self, text): return self.stream.write(text)
        def flush(self): self.stream.flush()
    sys.stdout = Tee(sys.stdout)
    print("teed: 4")
    sys.stdout = open(os.devnull, "w")
    print("nowhere: 5")
    sys.stdout = sys.__stdout__
    print("no newline: 6", end="")
""",
    )
    assert (run.status, run.run, run.script, run.epochs, run.main_loop) == (
        Status.FINISHED,
        "seen",
        "train.py",
        0,
        None,
    )
    rows = features(lab)
    ((*place, value),) = rows.pop("val_loss")
    assert (place, math.isnan(value)) == ([None, None, 0], True)
    assert rows == {
        "acc": [(None, None, 0, 97), (None, None, 1, 98)],
        "loss": [(None, None, 0, 0.5), (None, None, 1, 0.25)],
        "no_newline": [(None, None, 0, 6)],
        "on_stderr": [(None, None, 0, 7)],
        "seed": [(None, None, 0, 42)],
        "teed": [(None, None, 0, 4)],
        "thread_value": [(None, None, 0, 3)],
    }
    assert type(rows["acc"][0][3]) is int
    assert stderr == plain == "INFO val_loss: nan\non_stderr=7\n"


def test_captured_values_stand_at_the_epoch_and_step_and_the_scripts_own_names_are_its_own(lab: Lab) -> None:
    lab.write("helper.py", 'import flor_ray as flor\ndef report(value):\n    flor.log("own", value)\n')
    run, stderr, _ = captured(
        lab,
        """
import warnings
from tqdm import tqdm
import flor_ray as flor
import helper
lr = flor.arg("lr", 0.1)
print("lr:", lr, "own:", -1, "computed:", 1)
for epoch in flor.loop("epoch", range(2)):
    bar = tqdm(flor.loop("step", range(2)), mininterval=0, leave=False)
    for step in bar:
        bar.set_postfix(bar_loss=step + 0.5)
        print("own:", step)
        helper.report(10 + step)
    print(f"val_loss {epoch}.25")
    flor.log("".join(["com", "puted"]), epoch)
    print("computed:", 2)
    warnings.warn("not_a_feature: 3")
print("total: 1,234")
""",
    )
    assert (run.epochs, run.args) == (2, {"lr": 0.1})
    assert features(lab) == {
        "bar_loss": [(1, 0, 0, 0.5), (1, 1, 0, 1.5), (2, 0, 0, 0.5), (2, 1, 0, 1.5)],
        "computed": [(None, None, 0, 1), (1, None, 0, 0), (2, None, 0, 1)],
        "lr": [(None, None, 0, 0.1)],
        "own": [(1, 0, 0, 10), (1, 1, 0, 11), (2, 0, 0, 10), (2, 1, 0, 11)],
        "total": [(None, None, 0, 1234)],
        "val_loss": [(1, None, 0, 0.25), (2, None, 0, 1.25)],
    }
    assert stderr.count("'computed' was captured 1 times from what the script prints before") == 1


def test_a_captured_version_can_be_asked_in_hindsight_and_keeps_what_was_captured(lab: Lab) -> None:
    text = """
for epoch in range(2):
    print(f"loss: {0.5 + epoch}")
for number in range(600):
    print(f"file_{number}.png: 1")
"""
    _, stderr, _ = captured(lab, text)
    rows = features(lab)
    assert rows.pop("loss") == [(None, None, 0, 0.5), (None, None, 1, 1.5)]
    assert rows == {f"file_{number}.png": [(None, None, 0, 1)] for number in range(499)}
    assert stderr == (
        "Warning: The script has printed numbers under 500 names; further ones are not captured. "
        "Use flor.log for those that matter.\n"
    )
    lab.write(
        "train.py", "import flor_ray as flor\n" + text.replace("(2):\n", '(2):\n    flor.log("double", 2 * epoch)\n')
    )
    prepared, outcome = lab.replay(["double"])
    assert (prepared.refusals, outcome.failures, outcome.reports[0].mismatch) == ((), [], None)
    assert lab.values("double") == [(None, None, 0, 0), (None, None, 1, 2)]
    assert lab.values("loss") == [(None, None, 0, 0.5), (None, None, 1, 1.5)]


@pytest.mark.parametrize(
    ("end", "error"), [("sys.exit(3)", "SystemExit: 3"), ('raise ValueError("loss: 5")', "ValueError: loss: 5")]
)
def test_a_script_ends_as_it_does_without_us(lab: Lab, end: str, error: str) -> None:
    text = f"import sys\nprint('loss: 0.5')\ndef train():\n    {end}\ntrain()\n"
    run, stderr, plain = captured(lab, text, check=False)
    assert (run.status, run.error) == (Status.FAILED, error)
    assert features(lab) == {"loss": [(None, None, 0, 0.5)]}
    assert stderr.replace('"train.py"', f'"{lab.root}/train.py"') == plain


def test_nothing_is_captured_where_nothing_is_recorded(lab: Lab) -> None:
    lab.write("train.py", "print('loss: 0.5')\n")
    done = lab.cli("run", "--capture", "train.py", check=True, RANK="1")
    assert (done.stdout, done.stderr) == ("loss: 0.5\n", "")
    assert not (lab.root / ".flor").exists()
    done = lab.cli("run", "--replay_flor", "--capture", "train.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "captured output is not replayed" in done.stderr


ARGPARSE = """
import flor_ray as flor
flor.autolog()
flor.autolog()
import argparse
from dataclasses import dataclass, field
from pathlib import Path
from omegaconf import OmegaConf

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--out", type=Path, default=Path("out"))
commands = parser.add_subparsers(dest="command")
train = commands.add_parser("train")
train.add_argument("--sizes", type=int, nargs="*", default=[4, 2])
print(parser.parse_args())

@dataclass
class Optimizer:
    name: str = "sgd"
    betas: tuple = (0.9, 0.99)

@dataclass
class Config:
    width: int = 64
    optimizer: Optimizer = field(default_factory=Optimizer)

flor.autolog(Config(), OmegaConf.create({"data": {"root": "a", "path": "${data.root}/b"}, "lr": 0.2}))
"""


def test_hyper_parameters_come_from_argparse_dataclasses_and_omegaconf(lab: Lab) -> None:
    run = lab.record(ARGPARSE, "--lr", "0.5", "train", "--sizes", "3", "--kwargs", "width=7")
    assert run.args == {
        "lr": 0.5,
        "out": "out",
        "command": "train",
        "sizes": [3],
        "optimizer.name": "sgd",
        "optimizer.betas": [0.9, 0.99],
        "data.root": "a",
        "data.path": "a/b",
    }
    assert lab.values("sizes") == [(None, None, 0, [3])]
    done = lab.python("train.py")
    assert done.stdout == "Namespace(lr=0.1, out=PosixPath('out'), command=None)\n"
    assert "Hyper-parameter 'lr' is 0.2, but 0.1 was recorded before: a run has one value per name." in done.stderr


HUGGING_FACE = """
import flor_ray as flor
flor.autolog()
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from flor_ray.integrations import HuggingFaceCallback

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x, labels=None):
        out = self.layer(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}

class Mine(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **kwargs):
        flor.log("bias", model.layer.bias.item())

    def on_epoch_end(self, args, state, control, **kwargs):
        flor.log("steps_so_far", state.global_step)

data = [{"x": torch.tensor([float(i), 1.0]), "labels": torch.tensor([float(i)])} for i in range(4)]
net = Net()
trainer = Trainer(
    model=net,
    args=TrainingArguments(
        "out", num_train_epochs=2, per_device_train_batch_size=2, logging_steps=1, eval_strategy="epoch",
        save_strategy="no", learning_rate=args.lr, lr_scheduler_type="constant", report_to=[], use_cpu=True,
    ),
    train_dataset=data, eval_dataset=data, callbacks=[Mine(), HuggingFaceCallback()],
)
trainer.train()
history = trainer.state.log_history
print([entry[name] for name in ("loss", "eval_loss", "train_loss") for entry in history if name in entry])
"""


@pytest.mark.timeout(600)
def test_a_hugging_face_training_is_recorded_and_its_version_replayed(lab: Lab) -> None:
    lab.write("train.py", HUGGING_FACE)
    done = lab.python("train.py", "--lr", "0.05", FLOR_RAY_OVERHEAD="1")
    losses = ast.literal_eval(done.stdout.splitlines()[-1])
    (run,) = lab.experiments()
    assert (run.args, run.main_loop, run.nested_loop, run.epochs) == ({"lr": 0.05}, "epoch", "step", 2)
    rows = features(lab)
    steps = [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert rows["loss"] == [(*place, 0, loss) for place, loss in zip(steps, losses[:4], strict=True)]
    assert rows["eval_loss"] == [(1, None, 0, losses[4]), (2, None, 0, losses[5])]
    assert rows["train_loss"] == [(None, None, 0, losses[6])]
    assert rows["learning_rate"] == [(*place, 0, 0.05) for place in steps]
    assert rows["steps_so_far"] == [(1, None, 0, 2), (2, None, 0, 4)]
    assert [row[:3] for row in rows["bias"]] == [(*place, 0) for place in steps]
    assert rows.keys() == {
        "bias", "eval_loss", "grad_norm", "learning_rate", "loss", "lr", "steps_so_far", "total_flos", "train_loss"
    }  # fmt: skip

    hindsight = HUGGING_FACE.replace("net = Net()\n", 'net = Net()\nflor.log("initial", net.layer.bias.item())\n')
    hindsight += 'flor.log("final", net.layer.bias.item())\n'
    bias = '        flor.log("bias", model.layer.bias.item())\n'
    hindsight = hindsight.replace(bias, bias + '        flor.log("same", model.layer.bias.item())\n')
    lab.write("train.py", hindsight)
    prepared, outcome = lab.replay(["initial", "same", "final"])
    assert (prepared.refusals, outcome.failures) == ((), [])
    inner, rest = sorted((report for report in outcome.reports), key=lambda report: -report.segment.last)
    assert [inner.segment.operator, inner.segment.variant, rest.segment.operator] == [
        Operator.DP_I,
        Variant.INNER,
        Operator.DP,
    ]
    assert [(report.mismatch, report.warnings) for report in (inner, rest)] == [(None, ())] * 2
    assert lab.values("same") == rows["bias"]
    assert lab.values("final") == [(None, None, 0, rows["bias"][-1][3])]
    ((*place, initial),) = lab.values("initial")
    assert (place, initial != rows["bias"][0][3]) == ([None, None, 0], True)

    end = '        flor.log("steps_so_far", state.global_step)\n'
    last = '        flor.log("at_end", state.log_history[-1]["loss"])\n'
    lab.write("train.py", hindsight.replace(end, end + last))
    prepared, outcome = lab.replay(["at_end"], "epoch == 2")
    (report,) = outcome.reports
    assert (report.segment.restore, report.segment.variant, report.mismatch) == (1, Variant.OUTER, None)
    assert lab.values("at_end") == [(2, None, 0, losses[3])]


DRIVEN = """
import flor_ray as flor
from flor_ray.integrations import TrainerLoops

def train(steps, fail=False):
    for epoch in range(2):
        loops.begin_epoch()
        flor.log("head", epoch)
        for step in range(steps):
            loops.begin_step()
            flor.log("inner", step)
        if fail and epoch:
            raise KeyboardInterrupt
        loops.end_steps()
        flor.log("tail", epoch)
    loops.end()

loops = TrainerLoops()
try:
    train(2, fail=True)
except KeyboardInterrupt:
    loops.abandon()
flor.log("between", 1)
train(1)
flor.log("after", 1)
"""


def test_a_trainer_that_is_interrupted_and_one_that_trains_again_have_clear_places(lab: Lab) -> None:
    run = lab.record(DRIVEN)
    assert run.status is Status.FINISHED
    assert features(lab) == {
        "after": [(None, None, 0, 1)],
        "between": [(None, None, 0, 1)],
        "head": [(None, None, 0, 0), (None, None, 1, 1), (1, None, 0, 0), (2, None, 0, 1)],  # the second has no epochs
        "inner": [(None, None, 0, 0), (None, None, 1, 0), (1, 0, 0, 0), (1, 1, 0, 1), (2, 0, 0, 0), (2, 1, 0, 1)],
        "tail": [(None, None, 0, 0), (None, None, 1, 1), (1, None, 0, 0)],
    }


LIGHTNING = """
import importlib
import sys
import torch
import flor_ray as flor
from flor_ray.integrations import LightningCallback

L = importlib.import_module(sys.argv[1])
flor.autolog({"model": {"width": 3}})

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch).pow(2).mean()
        self.log("batch", float(index))
        self.log("mean_batch", float(index), on_step=False, on_epoch=True)
        flor.log("mine", index)
        return loss

    def validation_step(self, batch, index):
        self.log("val_batch", float(index))

    def on_train_epoch_end(self):
        self.log("at_end", float(self.current_epoch))

    def test_step(self, batch, index):
        self.log("test_batch", float(index))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

data = torch.utils.data.DataLoader(torch.ones(6, 2), batch_size=2)
trainer = L.Trainer(
    max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, log_every_n_steps=2,
    accelerator="cpu", enable_model_summary=False, callbacks=[LightningCallback()] * (len(sys.argv) - 2),
)
net = Net()
trainer.fit(net, data, data)
trainer.test(net, data)
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("arguments", [("lightning.pytorch",), ("pytorch_lightning", "given")])
def test_a_lightning_training_is_recorded_at_its_epochs_and_steps(lab: Lab, arguments: tuple[str, ...]) -> None:
    run = lab.record(LIGHTNING, *arguments)
    assert (run.args, run.main_loop, run.nested_loop, run.epochs) == ({"model.width": 3}, "epoch", "step", 2)
    assert features(lab) == {
        "at_end": [(1, None, 0, 0.0), (2, None, 0, 1.0)],
        "batch": [(1, 1, 0, 1.0), (2, 0, 0, 0.0), (2, 2, 0, 2.0)],  # every second of six
        "mean_batch": [(1, None, 0, 1.0), (2, None, 0, 1.0)],
        "mine": [(epoch, step, 0, step) for epoch in (1, 2) for step in range(3)],
        "model.width": [(None, None, 0, 3)],
        "test_batch": [(None, None, 0, 1.0)],
        "val_batch": [(1, None, 0, 1.0), (2, None, 0, 1.0)],
    }

"""Runs from before flor_ray, adopted: is what their checkpoint files answer what the runs would have logged?

Three histories without a line of ours are trained and committed, run by run: a loop that calls torch.save (a renamed
variable, a function that saves, another optimizer), Hugging Face's Trainer with its checkpoint folders, and Lightning
with its ModelCheckpoint. Each run is adopted. Then weight norms and a per-class metric of all epochs are asked for, by
statements in the newest code, and compared bit for bit with the same runs, trained again with these statements in them.
Each history is also asked for what no checkpoint knows, a value of each step, which has to be refused.

Prints a table and, last, one JSON object. Seconds are those of the processor, of child processes too. `--quick` has one
run of each history, `--keep` writes the result to bench/results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from flor_ray.reports import text_tables

BIN = Path(sys.executable).parent
# Stands in for us in the runs that are compared with: what is logged is printed.
TRUTH = """
import json, sys, types
module = types.ModuleType("flor_ray")
module.log = lambda name, value: (print("LOGGED", json.dumps([name, value]), flush=True), value)[1]
sys.modules["flor_ray"] = module
script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = script
exec(compile(open(script).read(), script, "exec"))
"""
PLAIN = """
import os, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
x = torch.randn(400, 10)
y = (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()
train = DataLoader(TensorDataset(x[:300], y[:300]), batch_size=32, shuffle=True)
held_out = DataLoader(TensorDataset(x[300:], y[300:]), batch_size=32)
net = nn.Sequential(nn.Linear(10, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 3))
opt = torch.optim.SGD(net.parameters(), lr=float(sys.argv[1]), momentum=0.9)
os.makedirs(sys.argv[2], exist_ok=True)


def predict(model):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(a).argmax(1) for a, _ in held_out])


for epoch in range(6):
    net.train()
    for a, b in train:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(a), b)
        loss.backward()
        opt.step()
        # step
    preds = predict(net)
    print(epoch, (preds == y[300:]).float().mean().item())
    # end
    torch.save({"model": net.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, f"{sys.argv[2]}/epoch_{epoch}.pt")
"""
PLAIN_LINES = {
    "end": """    flor.log("norm", [p.norm().item() for p in net.parameters()])
    flor.log("recall", [((preds == c) & (y[300:] == c)).sum().item() for c in range(3)])
""",
    "step": """        flor.log("step_loss", loss.item())
""",
}
RENAMED = (
    PLAIN.replace("net", "model")
    .replace("model.eval", "given.eval")
    .replace("def predict(model)", "def predict(given)")
    .replace("[model(a)", "[given(a)")
)
SAVING = PLAIN.replace(
    "    torch.save({", "    keep(net, opt, epoch, sys.argv[2])\n    #", 1
).replace(
    "\nfor epoch in",
    '''
def keep(model, optimizer, number, folder):
    state = {"weights": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": number + 1}
    torch.save(state, os.path.join(folder, f"epoch_{number + 1:02d}.pt"))


for epoch in''',
).replace("torch.optim.SGD(net.parameters(), lr=float(sys.argv[1]), momentum=0.9)",
          "torch.optim.Adam(net.parameters(), lr=float(sys.argv[1]))")  # fmt: skip
HUGGING_FACE = """
import sys
import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers import set_seed

set_seed(3)


class Sentences(torch.utils.data.Dataset):
    def __init__(self, count, seed):
        self.ids = torch.randint(3, 40, (count, 8), generator=torch.Generator().manual_seed(seed))
        self.labels = (self.ids[:, 0] > 20).long() + (self.ids[:, 1] > 30).long()

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        return {"input_ids": self.ids[index], "labels": self.labels[index]}


sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
model = BertForSequenceClassification(BertConfig(vocab_size=40, num_labels=3, **sizes))


class Report(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **more):
        # step
        pass

    def on_epoch_end(self, args, state, control, model=None, **more):
        # end
        print("epoch", state.epoch)


def measured(pred):
    best = np.argmax(pred.predictions, axis=-1)
    # metric
    return {"accuracy": float((best == pred.label_ids).mean())}


args = TrainingArguments(
    output_dir=sys.argv[2], num_train_epochs=4, per_device_train_batch_size=16, eval_strategy="epoch",
    save_strategy="epoch", report_to=[], disable_tqdm=True, learning_rate=float(sys.argv[1]),
)
Trainer(model=model, args=args, train_dataset=Sentences(96, 1), eval_dataset=Sentences(48, 2),
        compute_metrics=measured, callbacks=[Report()]).train()
"""
HUGGING_FACE_LINES = {
    "end": """        moments = [each["exp_avg"].norm().item() for each in more["optimizer"].state.values()]
        norms = [p.norm().item() for p in model.parameters()]
        flor.log("norm", norms + moments + more["lr_scheduler"].get_last_lr())
""",
    "metric": """    flor.log("recall", [int(((best == c) & (pred.label_ids == c)).sum()) for c in range(3)])
""",
    "step": """        flor.log("step_loss", state.global_step)
""",
}
LIGHTNING = """
import sys
import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(5)
x = torch.randn(240, 6)
y = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 3))
        self.seen = []

    def training_step(self, batch, index):
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        # step
        return loss

    def validation_step(self, batch, index):
        self.seen.append((self.layers(batch[0]).argmax(1), batch[1]))

    def on_validation_epoch_end(self):
        best, true = (torch.cat(part) for part in zip(*self.seen))
        # metric
        self.seen.clear()

    def on_train_epoch_end(self):
        # end
        print("epoch", self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=float(sys.argv[1]))


trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_progress_bar=False, num_sanity_val_steps=0,
    callbacks=[ModelCheckpoint(dirpath=sys.argv[2], filename="{epoch}", save_top_k=-1)],
)
train = DataLoader(TensorDataset(x[:180], y[:180]), batch_size=16, shuffle=True)
trainer.fit(Net(), train, DataLoader(TensorDataset(x[180:], y[180:]), batch_size=16))
"""
LIGHTNING_LINES = {
    "end": """        moments = [each["exp_avg"].norm().item() for each in self.optimizers().state.values()]
        flor.log("norm", [p.norm().item() for p in self.parameters()] + moments)
""",
    "metric": """        flor.log("recall", [int(((best == c) & (true == c)).sum()) for c in range(3)])
""",
    "step": """        flor.log("step_loss", loss.item())
""",
}


@dataclass(frozen=True, slots=True)
class History:
    """Runs of one kind, oldest first: text of the script, and its learning rate."""

    name: str
    runs: tuple[tuple[str, str], ...]
    lines: dict[str, str]  # statements of the newest code, by the comment that they stand for


HISTORIES = (
    History("torch.save", ((RENAMED, "0.1"), (SAVING, "0.01"), (PLAIN, "0.05"), (PLAIN, "0.1")), PLAIN_LINES),
    History("transformers", ((HUGGING_FACE, "1e-3"), (HUGGING_FACE, "3e-3")), HUGGING_FACE_LINES),
    History("lightning", ((LIGHTNING, "0.01"), (LIGHTNING, "0.03")), LIGHTNING_LINES),
)
NAMES = ("norm", "recall")


@dataclass(slots=True)
class Found:
    """What came of one history."""

    name: str
    versions: int = 0
    values: int = 0
    equal: int = 0
    wrong: int = 0
    refused: int = 0
    verdicts: set[str] = field(default_factory=set)
    again_seconds: float = 0.0  # of training again with the statements
    adopt_seconds: float = 0.0
    replay_seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run of each history")
    parser.add_argument("--only", choices=[history.name for history in HISTORIES], help="one history")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    found = []
    for history in HISTORIES:
        if options.only in (None, history.name):
            with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
                found.append(measured(history, Path(folder, "project"), 1 if options.quick else None))
    columns = [
        "history",
        "versions",
        "values",
        "equal",
        "wrong",
        "refused",
        "fidelity",
        "adopt s",
        "replay s",
        "train s",
    ]
    rows = [
        [f.name, *map(str, (f.versions, f.values, f.equal, f.wrong, f.refused)), ", ".join(sorted(f.verdicts))]
        + [f"{seconds:.1f}" for seconds in (f.adopt_seconds, f.replay_seconds, f.again_seconds)]
        for f in found
    ]
    print(text_tables.render(columns, rows, 10_000))
    result = {
        "histories": len(found),
        "versions": sum(f.versions for f in found),
        "values_compared": sum(f.values for f in found),
        "values_exact": sum(f.equal for f in found),
        "values_wrong": sum(f.wrong for f in found),
        "refused": sum(f.refused for f in found),
        "fidelity": sorted(set().union(*(f.verdicts for f in found))),
        "adopt_cpu_seconds": round(sum(f.adopt_seconds for f in found), 1),
        "replay_cpu_seconds": round(sum(f.replay_seconds for f in found), 1),
        "train_again_cpu_seconds": round(sum(f.again_seconds for f in found), 1),
    }
    if options.keep:
        stamp = time.strftime("%Y-%m-%d", time.gmtime())
        name = f"adopting-{platform.machine()}-{os.cpu_count()}cores-{stamp}.json"
        Path(__file__).parent.joinpath("results", name).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def measured(history: History, folder: Path, most: int | None) -> Found:
    """Train, adopt, ask, and compare one history."""
    folder.mkdir()
    Path(folder, ".gitignore").write_text("old*\nagain*\ntruth.py\n.flor\n")
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    called([*git, "init", "-q"], folder)
    script, found = folder / "train.py", Found(history.name)
    runs = history.runs[-most:] if most else history.runs
    for number, (text, rate) in enumerate(runs):
        script.write_text(text)
        called([*git, "add", "-A"], folder)
        called([*git, "commit", "-q", "--allow-empty", "-m", f"run {number}"], folder)
        called([sys.executable, "train.py", rate, f"old{number}"], folder)
    began = cpu()
    for number, (_, rate) in enumerate(runs):
        commit = f"HEAD~{len(runs) - 1 - number}"
        words = ["adopt", commit, "--checkpoints", f"old{number}", "--name", str(number), "--yes", "--"]
        called([str(BIN / "flor-ray"), *words, "python", "train.py", rate, f"old{number}"], folder)
    found.adopt_seconds, found.versions = cpu() - began, len(runs)
    truths = []
    began = cpu()
    for number, (text, rate) in enumerate(runs):
        Path(folder, "truth.py").write_text(with_lines(text, history.lines, text is RENAMED))
        said = called([sys.executable, "-c", TRUTH, "truth.py", rate, f"again{number}"], folder)
        lines = [line.partition("LOGGED ")[2] for line in said.splitlines() if "LOGGED " in line]
        truths.append([json.loads(line) for line in lines])
    found.again_seconds = cpu() - began
    script.write_text(with_lines(runs[-1][0], history.lines))
    began = cpu()
    called([str(BIN / "flor-ray"), "replay", *NAMES, "--local", "--yes"], folder)
    found.replay_seconds = cpu() - began
    refused = called([str(BIN / "flor-ray"), "explain", "step_loss"], folder, fails=True)
    found.refused = refused.count("Refused: version")
    compared(found, folder, truths)
    return found


ASK = """
import json, warnings
import flor_ray as flor
warnings.simplefilter("ignore")
df = flor.dataframe("norm", "recall")
rows = [[r["run"], int(r["epoch"]), *(v if isinstance(v, list) else json.loads(v) for v in (r["norm"], r["recall"]))]
        for r in df[["run", "epoch", "norm", "recall"]].to_dict("records") if r["epoch"] == r["epoch"]]
print("ASKED", json.dumps([rows, [one["verdict"] for one in df.attrs["fidelity"].values()]]))
"""


def compared(found: Found, folder: Path, truths: list[list[tuple[str, object]]]) -> None:
    """Each value that a run would have logged, beside the one that was answered."""
    said = called([sys.executable, "-c", ASK], folder)
    rows, verdicts = json.loads(
        next(line for line in said.splitlines() if line.startswith("ASKED ")).removeprefix("ASKED ")
    )
    found.verdicts = set(verdicts)
    answered = {(run, epoch): dict(zip(NAMES, values, strict=True)) for run, epoch, *values in rows}
    for number, truth in enumerate(truths):
        for name in NAMES:
            for epoch, wanted in enumerate((value for logged, value in truth if logged == name), start=1):
                value = answered.get((str(number), epoch), {}).get(name)
                found.values += 1
                found.equal += value == wanted
                found.wrong += value is not None and value != wanted


def with_lines(text: str, lines: dict[str, str], renamed: bool = False) -> str:
    """A script with the statements in it."""
    for comment, line in lines.items():
        line = line.replace("net.", "model.") if renamed else line
        before, found, after = text.partition(f"# {comment}\n")
        text = before.rstrip(" ") + line + after if found else text
    return "import flor_ray as flor\n" + text


def cpu() -> float:
    """Seconds of the processor that ended child processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def called(command: list[str], folder: Path, fails: bool = False) -> str:
    """What a command prints, both ways. Raises RuntimeError if it fails and may not."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode and not fails:
        raise RuntimeError(f"{command}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()

"""Trainers: a column per level for versions of a Hugging Face and a Lightning training and an Accelerate loop, from
checkpoints, against runs that had the statements in them.

    python bench/trainers.py [--only hugging_face lightning accelerate] [--versions 6] [--epochs 6] [--keep]

For each library: records versions that differ as people make them differ, then the same ones with three statements in
them (before the training, in a step, at an epoch's end), replays the first ones, and compares every value bit for bit.
Then the last epoch is asked for again, with the checkpoints and without them, in turn: `seconds_from_checkpoints` and
`seconds_from_start` are what one worker took for all versions, set-up included, its libraries imported before. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from replaying.drive import Serial
from replaying.forked import Forked
from replaying.recording import Repository

from flor_ray import pipeline
from flor_ray.cluster.worker import Worker
from flor_ray.planning import catalogues
from flor_ray.store.project import Project

_NAMES = ("before", "in_step", "at_end")
_TURNS = 2
_IMPORTS = ("transformers.trainer", "lightning.pytorch", "accelerate")
_LOADED = """
import torch
torch.manual_seed({seed})
xs = torch.randn({rows}, 8)
ys = xs.sum(1, keepdim=True)
"""
_HUGGING_FACE = (
    """
import flor_ray as flor
flor.autolog()
from transformers import Trainer, TrainingArguments
"""
    + _LOADED
    + """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layers = torch.nn.Linear(8, {width}), torch.nn.Dropout(0.1), torch.nn.Linear({width}, 1)
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, x, labels=None):
        out = self.layers(x)
        return {{"loss": ((out - labels) ** 2).mean(), "logits": out}}

class Own(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **more):
        self.rounds = getattr(self, "rounds", 0) + 1
        #in_step
        return super().compute_loss(model, inputs, return_outputs, **more)

def metrics(prediction):
    error = float(((prediction.predictions - prediction.label_ids) ** 2).mean())
    #at_end
    return {{"error": error}}

data = [{{"x": x, "labels": y}} for x, y in zip(xs, ys)]
net = Net()
arguments = TrainingArguments(
    "out", num_train_epochs={epochs}, per_device_train_batch_size={batch}, learning_rate={lr}, use_cpu=True,
    eval_strategy="epoch", save_strategy="no", report_to=[], disable_tqdm=True, logging_steps=4,
    gradient_accumulation_steps={accumulated}, lr_scheduler_type="{schedule}", bf16={bf16},
)
trainer = Own(model=net, args=arguments, train_dataset=data, eval_dataset=data[:64], compute_metrics=metrics)
#before
trainer.train()
"""
)
_LIGHTNING = (
    """
import flor_ray as flor
flor.autolog()
import lightning as L
"""
    + _LOADED
    + """
class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        layers = torch.nn.Linear(8, {width}), torch.nn.Dropout(0.1), torch.nn.Linear({width}, 1)
        self.layers = torch.nn.Sequential(*layers)
        self.rounds = 0
        self.errors = []

    def training_step(self, batch, index):
        self.rounds += 1
        loss = ((self.layers(batch[0]) - batch[1]) ** 2).mean()
        #in_step
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.errors.append(((self.layers(batch[0]) - batch[1]) ** 2).mean().item())

    def on_validation_epoch_end(self):
        error = sum(self.errors)
        #at_end
        self.errors.clear()
        self.log("error", error)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr={lr})
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)]

both = torch.utils.data.TensorDataset(xs, ys)
loader = torch.utils.data.DataLoader(both, batch_size={batch}, shuffle=True)
checks = torch.utils.data.DataLoader(both, batch_size=64)
net = Net()
trainer = L.Trainer(
    max_epochs={epochs}, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False, log_every_n_steps=4, accumulate_grad_batches={accumulated}, precision="{precision}",
)
#before
trainer.fit(net, loader, checks)
"""
)
_ACCELERATE = (
    """
import flor_ray as flor
from accelerate import Accelerator
"""
    + _LOADED
    + """
accelerator = Accelerator(cpu=True, gradient_accumulation_steps={accumulated}, mixed_precision="{mixed}")
net = torch.nn.Sequential(torch.nn.Linear(8, {width}), torch.nn.Dropout(0.1), torch.nn.Linear({width}, 1))
optimizer = torch.optim.AdamW(net.parameters(), lr={lr})
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(xs, ys), batch_size={batch}, shuffle=True)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.9)
net, optimizer, loader, scheduler = accelerator.prepare(net, optimizer, loader, scheduler)
rounds = 0
#before
with flor.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler):
    for epoch in flor.loop("epoch", range({epochs})):
        for x, y in flor.loop("step", loader):
            with accelerator.accumulate(net):
                loss = ((net(x) - y) ** 2).mean()
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            rounds += 1
            #in_step
        flor.log("loss", loss.item())
        #at_end
"""
)
_SOURCES = {"hugging_face": _HUGGING_FACE, "lightning": _LIGHTNING, "accelerate": _ACCELERATE}
_LOGGED = {
    "hugging_face": {
        "before": "net.layers[0].weight.norm().item()",
        "in_step": "model.layers[2].weight.norm().item() + self.rounds",
        "at_end": "float(prediction.predictions.sum())",
    },
    "lightning": {
        "before": "net.layers[0].weight.norm().item()",
        "in_step": "self.layers[2].weight.norm().item() + self.rounds",
        "at_end": "error + self.layers[2].weight.norm().item()",
    },
    "accelerate": {
        "before": "net[0].weight.norm().item()",
        "in_step": "net[2].weight.norm().item() + rounds",
        "at_end": "net[2].weight.norm().item() + rounds",
    },
}
_VERSIONS: Sequence[Mapping[str, object]] = (
    {},
    {"lr": 0.003},
    {"width": 48},
    {"batch": 16, "accumulated": 2},
    {"schedule": "cosine", "seed": 2},
    {"bf16": True, "precision": "bf16-mixed", "mixed": "bf16"},
)
_FIRST = {"seed": 1, "lr": 0.01, "width": 32, "batch": 32, "accumulated": 1, "schedule": "linear", "bf16": False}
_FIRST |= {"precision": "32-true", "mixed": "no"}


def text_of(library: str, options: Mapping[str, object], with_statements: bool) -> str:
    """A version's script."""
    text = _SOURCES[library].format(**{**_FIRST, **options})
    for name, value in _LOGGED[library].items():
        text = text.replace(f"#{name}\n", f'flor.log("{name}", {value})\n' if with_statements else "pass\n")
    return text


class Folder:
    """A repository in which one library's versions are recorded."""

    def __init__(self, root: Path, python: Forked) -> None:
        self._repository = Repository(root, python=python)
        self._repository.write({".gitignore": "out\n"})
        self.project = self._repository.project

    def record(self, text: str) -> str:
        """Run a script; the version that this is."""
        self._repository.write({"train.py": text})
        self._repository.run(["train.py"])
        return max(self.project.store.experiments(self.project.name), key=lambda one: one.started).version

    def values(self, version: str, name: str) -> list[tuple[Any, ...]]:
        """What a version has of a name, in order."""
        rows = self.project.store.logs(self.project.name, [name], versions=[version]).to_pylist()
        return sorted((row["epoch"] or 0, row["step"] or 0, row["iteration"], repr(row["number"])) for row in rows)


def measure(folder: Folder, library: str, versions: int, epochs: int, rows: int) -> dict[str, Any]:
    """One library's numbers."""
    options = [{**each, "epochs": epochs, "rows": rows} for each in _VERSIONS[:versions]]
    plain = [folder.record(text_of(library, each, with_statements=False)) for each in options]
    truth = [folder.record(text_of(library, each, with_statements=True)) for each in options]
    worker = Worker()
    try:
        prepared = pipeline.prepare(folder.project, _NAMES)
        outcome = pipeline.run(prepared, Serial(worker))
        taken = seconds(folder, worker, epochs)
    finally:
        worker.close()
    found = {"versions": len(plain), "refused": len(prepared.refusals), "failures": len(outcome.failures)}
    for name in _NAMES:
        pairs = [(folder.values(v, name), folder.values(o, name)) for v, o in zip(plain, truth, strict=True)]
        found[name] = sum(len(set(ours) & set(theirs)) for ours, theirs in pairs)
        found["values_wrong"] = found.get("values_wrong", 0) + sum(len(set(o) - set(t)) for o, t in pairs)
        found["values_compared"] = found.get("values_compared", 0) + sum(len(theirs) for _, theirs in pairs)
    found["values_exact"] = sum(found[name] for name in _NAMES)
    return found | taken


def seconds(folder: Folder, worker: Worker, epochs: int) -> dict[str, Any]:
    """What the last epoch of all versions takes from checkpoints and from the start, in turn."""
    taken: dict[str, list[float]] = {"seconds_from_checkpoints": [], "seconds_from_start": []}
    kept = catalogues.usable_checkpoints
    begun = set()
    for at, (name, usable) in enumerate([*zip(taken, (kept, _no_checkpoints), strict=True)] * _TURNS):
        catalogues.usable_checkpoints = usable
        try:
            prepared = pipeline.prepare(folder.project, ["at_end", "in_step"], f"epoch == {epochs}", again=True)
        finally:
            catalogues.usable_checkpoints = kept
        executor = Serial(worker)
        outcome = pipeline.run(prepared, executor)
        if at % 2 == 0:
            begun |= {report.segment.restore for report in outcome.reports}
        taken[name].append(sum(executor.seconds.values()))
    medians: dict[str, Any] = {name: round(statistics.median(each), 2) for name, each in taken.items()}
    ratios = [start / restored for restored, start in zip(*taken.values(), strict=True)]
    return medians | {"speedup": round(statistics.median(ratios), 2), "begun_at": sorted(map(str, begun))}


def _no_checkpoints(project: Project, versions: Iterable[str]) -> Any:
    return dict.fromkeys(versions, ()), ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", nargs="*", choices=sorted(_SOURCES), default=sorted(_SOURCES))
    parser.add_argument("--versions", type=int, default=len(_VERSIONS))
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rows", type=int, default=8192, help="of data; more make the epochs longer")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    asked = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="flor-bench-") as temporary,
        contextlib.closing(Forked(*_IMPORTS)) as python,
    ):
        for library in asked.only:
            folder = Folder(Path(temporary) / library, python)
            found = measure(folder, library, asked.versions, asked.epochs, asked.rows)
            results[library] = found
            print(library, *(f"{name} {value}" for name, value in found.items()), sep="  ", flush=True)
    counts = ("versions", "values_compared", "values_exact", "values_wrong", "refused", "failures")
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    totals = {name: sum(each[name] for each in results.values()) for name in counts}
    scale = {"epochs": asked.epochs, "rows": asked.rows}
    told = machine | {"trainers": len(results)} | totals | scale | {"by_library": results}
    if asked.keep:
        name = f"trainers-{platform.machine()}-{os.cpu_count()}cores-{machine['date']}.json"
        Path(__file__).parent.joinpath("results", name).write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))


if __name__ == "__main__":
    main()

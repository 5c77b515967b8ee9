"""In processes of their own: a training that is recorded and replayed on one GPU, in three modes of its kernels."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from replaying.recording import Repository

Figures = dict[str, Any]
_EPOCHS = 4
SCRIPT = '''"""A convolutional net with batch norm and dropout, in mixed precision where there is a GPU."""
import os
import sys

import torch
from torch import nn

import flor_ray as flor

mode, width, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(5)
if mode == "deterministic":
    torch.use_deterministic_algorithms(True)
torch.backends.cudnn.benchmark = mode == "benchmark"
net = nn.Sequential(
    nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
    nn.Conv2d(width, width, 3, padding=1, stride=2), nn.ReLU(),
    nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 10),
).to(device, memory_format=torch.channels_last)
table = nn.EmbeddingBag(1000, 10, mode="sum").to(device)
optimizer = torch.optim.AdamW([*net.parameters(), *table.parameters()], lr=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
#PREFIX
flor.checkpointing(net=net, table=table, optimizer=optimizer, scheduler=scheduler, scaler=scaler)
for epoch in flor.loop("epoch", range(EPOCHS)):
    net.train()
    for step in flor.loop("step", range(steps)):
        x = torch.randn(32, 3, 32, 32, device=device)
        words, y = torch.randint(1000, (32, 8), device=device), torch.randint(10, (32,), device=device)
        with torch.autocast(device, enabled=device == "cuda"):
            loss = nn.functional.cross_entropy(net(x) + table(words), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        #INNER
        scaler.step(optimizer)
        scaler.update()
        flor.log("loss", loss)
    scheduler.step()
    net.eval()
    with torch.no_grad():
        score = net(torch.ones(8, 3, 32, 32, device=device)).softmax(-1).max().item()
    flor.log("score", score)
    #OUTER
'''.replace("EPOCHS", str(_EPOCHS))
STATEMENTS = {
    "PREFIX": 'flor.log("parameters", sum(p.numel() for p in net.parameters()))',
    "INNER": 'flor.log("grad_norm", torch.stack([p.grad.norm() for p in net.parameters()]).norm())',
    "OUTER": 'flor.log("weights", [p.detach().float().norm().item() for p in net.parameters()])',
}
NAMES = {"PREFIX": "parameters", "INNER": "grad_norm", "OUTER": "weights"}
_MODES = {"deterministic": {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, "default": {}, "benchmark": {}}
_SILENT = """
def log(name, value): return value
def loop(name, iterable): return iterable
def checkpointing(**objects): pass
"""


def with_statements(script: str) -> str:
    """The script, as it would be with all statements from the start."""
    for place, text in STATEMENTS.items():
        script = script.replace(f"#{place}", text)
    return script


def exactness(device: str, folder: Path, seconds_left: float) -> Figures:
    """Columns of each level, replayed on Ray with a GPU for each worker, against runs that logged them."""
    found: Figures = {"wrong": []}
    for mode, variables in _MODES.items():
        found[mode] = _replayed(device, folder / mode, mode, variables, seconds_left / len(_MODES))
        if mode == "deterministic":
            found["wrong"] = found[mode]["differing"]
    return found


def _replayed(device: str, folder: Path, mode: str, variables: Mapping[str, str], seconds: float) -> Figures:
    os.environ |= variables
    plain, truth = Repository(folder / "plain"), Repository(folder / "truth")
    arguments = [mode, *(("64", "20") if device != "cpu" else ("4", "3"))]
    for repository, script in ((plain, SCRIPT), (truth, with_statements(SCRIPT))):
        repository.write({"train.py": script})
        repository.run(["train.py", *arguments])
    plain.write({"train.py": with_statements(SCRIPT)})
    command = ["replay", *NAMES.values(), "--yes"] + (["--gpus", "1"] if device != "cpu" else [])
    began = time.perf_counter()
    done = flor_ray(command, plain.root, seconds)
    for name in variables:
        del os.environ[name]
    if done.returncode:
        return {"differing": ["nothing was replayed"], "output": done.stdout[-1500:]}
    values = {name: _compare(plain, truth, name) for name in (*NAMES.values(), "loss", "score")}
    return {
        "values": sum(count for count, _ in values.values()),
        "differing": [f"{name}: {differing}" for name, (_, differing) in values.items() if differing],
        "told": sorted(set(re.findall(r"exact|within tolerance|diverged|unverified", done.stdout))),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _compare(plain: Repository, truth: Repository, name: str) -> tuple[int, int]:
    """How many values there are, and how many are not the other record's, bit for bit."""
    [ours], [theirs] = plain.experiments(), truth.experiments()
    got = {row[:3]: row[3] for row in plain.values(name, ours.version)}
    wanted = {row[:3]: row[3] for row in truth.values(name, theirs.version)}
    return len(wanted), sum(got.get(place) != value for place, value in wanted.items())


def flor_ray(arguments: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """`flor-ray` with these arguments."""
    command = [sys.executable, "-m", "flor_ray.cli.commands", *arguments]
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=max(30.0, seconds), check=False,
    )  # fmt: skip


def overhead(device: str, folder: Path, seconds_left: float) -> Figures:
    """A training beside the same without recording, taking turns: wall-clock seconds, since GPUs have no others."""
    silent = folder / "silent" / "flor_ray"
    silent.mkdir(parents=True)
    (silent / "__init__.py").write_text(_SILENT, encoding="utf-8")
    recorded, bare = Repository(folder / "recorded"), folder / "bare"
    bare.mkdir()
    recorded.write({"train.py": SCRIPT})
    (bare / "train.py").write_text(SCRIPT, encoding="utf-8")
    arguments = ["default", *(("128", "600") if device != "cpu" else ("4", "3"))]
    taken: dict[str, list[float]] = {"recorded": [], "bare": []}
    began = time.perf_counter()
    while len(taken["bare"]) < 3 and time.perf_counter() - began < seconds_left:
        started = time.perf_counter()
        recorded.run(["train.py", *arguments], every=False)
        taken["recorded"].append(round(time.perf_counter() - started, 2))
        started = time.perf_counter()
        variables = os.environ | {"PYTHONPATH": str(silent.parent)}
        subprocess.run(
            [sys.executable, "train.py", *arguments], cwd=bare, env=variables, check=True, capture_output=True
        )
        taken["bare"].append(round(time.perf_counter() - started, 2))
    best = {name: min(values) for name, values in taken.items()}
    return {"wrong": [], **taken, "overhead pct": round(100 * (best["recorded"] / best["bare"] - 1), 2)}


def many_versions(device: str, folder: Path, seconds_left: float) -> Figures:
    """Twenty versions, replayed by one worker: what it leaves on the device, and what of them is right."""
    repository = Repository(folder / "many")
    count, began = 20 if device != "cpu" else 2, time.perf_counter()
    for number in range(count):
        if time.perf_counter() - began > seconds_left / 2:
            break
        repository.write({"train.py": SCRIPT.replace("lr=1e-3", f"lr={1 + number}e-3")})
        repository.run(["train.py", "deterministic", "8", "3"])
    before = _memory_used(device)
    repository.write({"train.py": with_statements(SCRIPT.replace("lr=1e-3", f"lr={count}e-3"))})
    gpus = ["--gpus", "1"] if device != "cpu" else []
    left = seconds_left - (time.perf_counter() - began)
    done = flor_ray(["replay", "weights", "--workers", "1", "--yes", *gpus], repository.root, left)
    filled = sum(bool(repository.values("weights", one.version)) for one in repository.experiments())
    return {
        "wrong": [] if filled == len(repository.experiments()) else [f"{filled} of {count} filled", done.stdout[-800:]],
        "versions": filled,
        "MB left on the device": round((_memory_used(device) - before) / 1e6),
    }


def _memory_used(device: str) -> float:
    """Bytes of the first GPU that all processes have."""
    if device == "cpu":
        return 0.0
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return 1e6 * float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0])


def forks(device: str, folder: Path, seconds_left: float) -> Figures:
    """What looks at a process before its script uses a GPU leaves its forks free to use it."""
    script = (
        "import os, torch\n"
        "from flor_ray.environment import surroundings\n"
        "from flor_ray.state import random_states, snapshots\n"
        "random_states.global_state(); surroundings.processors(); snapshots.settle()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    os._exit(int(torch.ones(3, device={device!r}).sum().item()))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False)
    return {"wrong": [] if done.stdout.split() == ["3"] else [done.stdout + done.stderr[-800:]]}


def systems(device: str, folder: Path, seconds_left: float) -> Figures:
    """Two systems of bench/systems with the papers' models, two versions of each, while there is time."""
    script = (
        "import json, sys, tempfile; from pathlib import Path\n"
        f"sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(Path(__file__).parents[2])!r}]\n"
        "from evaluating import histories, measuring, runs\nfrom evaluating.warm_worker import WarmRay\n"
        "from flor_ray.cluster import joining\n"
        "picked = [histories.read(name) for name in sys.argv[2:]]\n"
        "server = runs.server(picked)\njoining.connect()\nworker = WarmRay()\n"
        "for system in picked:\n"
        "    folder = tempfile.mkdtemp()\n"
        "    wanted = measuring.Picked(2, ('--size', sys.argv[1], '--epochs', '2'))\n"
        "    say = lambda text: print(text, file=sys.stderr, flush=True)\n"
        "    found = measuring.measure(system, Path(folder), wanted, server, worker, say)\n"
        "    print(json.dumps({system.name: found}, default=str), flush=True)\n"
        "worker.end(); server.close()\n"
    )
    size = "paper" if device != "cpu" else "tiny"
    command = [sys.executable, "-c", script, size, *(("segformer", "yolos_tiny") if device != "cpu" else ("ppo",))]
    told = folder / "told.txt"
    with (
        told.open("w", encoding="utf-8") as output,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):  # what is done counts
        subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=max(30.0, seconds_left), check=False)
    text = told.read_text(encoding="utf-8")
    found = {
        name: figures
        for line in text.splitlines()
        if line.startswith("{")
        for name, figures in json.loads(line).items()
    }
    return {"wrong": [] if found else [text[-1500:]], **found}

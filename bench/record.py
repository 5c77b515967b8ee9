"""What recording costs: time against the same script without flor_ray, bytes against torch.save, and flor.log.

Each model of bench/training.py is trained by

    plain    the script with calls that do nothing in place of flor_ray's
    flor     flor_ray as it is (budget 2 %)
    every    flor_ray with a checkpoint after every epoch (FLOR_RAY_OVERHEAD=1)
    saved    plain, and torch.save of model and optimizer after every epoch

in processes of their own. They take turns of 0.4 s, all but one stopped, so that whatever else the machine does slows
them alike: run one after another, two runs of the same script differ by 10 % and more here. Overheads are medians of
ratios of running time, start and exit of the process included; beside them stands what recording accounts for itself
(checkpoints' time in both threads, and what a script that does nothing takes longer), which has no noise of that kind.
Epochs take 2 s or more (`--quick`: 1 s). Prints a table and, last, one JSON object; `--keep` writes that to
bench/results too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flor_ray.reports import text_tables
from flor_ray.store.project import Project

MODELS = ("resnet", "bert", "gpt2", "cnn")
WAYS = ("plain", "flor", "every", "saved")
FROZEN = ("resnet", "bert")
EPOCH_SECONDS = 2.2
TURN_SECONDS = 0.4  # long against the caches' warming up, short against the machine's moods

# The same calls without recording.
SILENT = """
def arg(name, default=None): return default
def log(name, value): return value
def loop(name, iterable): return iterable
def checkpointing(**objects): pass
"""


class Bench:
    """Git repositories with the training script in them, as a user would have one: one for each way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.silent = folder / "silent"
        (self.silent / "flor_ray").mkdir(parents=True)
        (self.silent / "flor_ray/__init__.py").write_text(SILENT)
        for way in WAYS:
            self.root(way).mkdir()
            shutil.copy(Path(__file__).parent / "training.py", self.root(way))
            subprocess.run(["git", "init", "--quiet", "."], cwd=self.root(way), check=True)

    def root(self, way: str) -> Path:
        return self.folder / way

    def train(self, ways: Sequence[str], *arguments: str) -> dict[str, Run]:
        """Train in these ways, taking turns."""
        turns = [Turns(self.command(way, arguments), self.root(way), self.environment(way)) for way in ways]
        order = list(turns)
        while not all(turn.done for turn in turns):
            order.reverse()  # who comes second is slower by a per cent: be it each in turn
            for turn in order:
                turn.take()
        return {way: self.result(way, turn) for way, turn in zip(ways, turns, strict=True)}

    def command(self, way: str, arguments: Sequence[str]) -> list[str]:
        shutil.rmtree(self.root(way) / ".flor", ignore_errors=True)
        save = ["--save", str(self.folder / "saved.pt")] if way == "saved" else []
        return [sys.executable, "training.py", *arguments, *save]

    def environment(self, way: str) -> dict[str, str]:
        ours = ("FLOR_RAY_", "PYTHONDONTWRITEBYTECODE")  # compiled once, as after an installation
        variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        variables["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
        if way in ("plain", "saved"):
            variables["PYTHONPATH"] = str(self.silent)
        if way == "every":
            variables["FLOR_RAY_OVERHEAD"] = "1"
        return variables

    def result(self, way: str, turn: Turns) -> Run:
        parameters, saved, loop = (float(word) for word in turn.output().split())
        stored = sum(p.stat().st_size for p in (self.root(way) / ".flor").rglob("*") if p.is_file())
        checkpoints, recording = self.checkpoints(way) if way in ("flor", "every") else (0, 0.0)
        return Run(turn.seconds, loop, parameters, saved or stored, checkpoints, recording)

    def checkpoints(self, way: str) -> tuple[int, float]:
        """Epochs that have a checkpoint, and seconds that these held the script up and kept a processor busy."""
        project = Project.open(str(self.root(way)))
        version = project.experiments()[-1].version
        found = project.store.checkpoints(project.name, version)
        return len({c.epoch for c in found}), sum(c.seconds + c.background_seconds for c in found)


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float  # of running, from start to exit of the process
    loop: float  # seconds of the main loop, other processes' turns included
    parameters: float
    bytes: float  # written by hand or into the store
    checkpoints: int
    recording: float  # seconds that checkpoints took, by their own account


class Turns:
    """A process that runs only when it is its turn."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], turn: float = TURN_SECONDS
    ) -> None:
        self.seconds, self.done = 0.0, False
        self._turn = turn
        self._output = folder.parent / f"{folder.name}.txt"
        started = time.perf_counter()
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdout=output, start_new_session=True
            )
        self._run_until(started)

    def take(self) -> None:
        if not self.done:
            started = time.perf_counter()
            os.killpg(self._process.pid, signal.SIGCONT)
            self._run_until(started)

    def _run_until(self, started: float) -> None:
        try:
            self.done = self._process.wait(self._turn) == 0
            if not self.done:
                raise SystemExit(f"{self._process.args!r} failed.")
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGSTOP)
        self.seconds += time.perf_counter() - started

    def output(self) -> str:
        return self._output.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of each kind, in 60 s")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=50, help="of each run (default 50)")
    parser.add_argument("--repeats", type=int, default=2, help="of plain and flor (default 2)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    if options.quick:
        options.models, options.epochs, options.repeats = ["cnn"], 3, 1
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        bench = Bench(Path(folder))
        seconds = 1.0 if options.quick else EPOCH_SECONDS
        fixed = fixed_cost(bench, 3 if options.quick else 9)
        settings = (options.epochs, seconds, options.repeats, options.quick, fixed)
        rows = {model: overhead(bench, model, *settings) for model in options.models}
        few, fine_tuned = (12, ("cnn",)) if options.quick else (24, FROZEN)
        frozen = {model: frozen_bytes(bench, model, few) for model in fine_tuned}
        logs = logging_cost(bench, 200_000 if options.quick else 1_000_000)
    result = summary(rows, frozen, logs, options.repeats, options.quick) | {"fixed_seconds": round(fixed, 2)}
    table = [[name, *(f"{value:.4g}" for value in row.values())] for name, row in rows.items()]
    print(text_tables.render(["model", *next(iter(rows.values()))], table, width=200))
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"record-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result | {"models": rows, "frozen": frozen, "logs": logs}, indent=1) + "\n")
    print(line)


def overhead(
    bench: Bench, model: str, epochs: int, epoch_seconds: float, repeats: int, quick: bool, fixed_seconds: float
) -> dict[str, float]:
    """One model: plain beside flor with each of them first in turn, then plain beside every and saved (quick: all
    four at once)."""
    steps = steps_of(bench, model, epoch_seconds)
    arguments = ("--model", model, "--steps", str(steps))
    bench.train(["flor"], *arguments, "--epochs", "1")  # compiles
    pairs: list[dict[str, Run]] = []
    if quick:
        pairs.append(bench.train(WAYS, *arguments, "--epochs", str(epochs)))
    for repeat in range(0 if quick else repeats):
        ways = ("plain", "flor") if repeat % 2 == 0 else ("flor", "plain")
        pairs.append(bench.train(ways, *arguments, "--epochs", str(epochs)))
        print(f"{model}: " + ", ".join(f"{way} {pairs[-1][way].seconds:.2f} s" for way in ways), flush=True)
    few = epochs if quick else max(2, epochs // 5)
    three = pairs[0] if quick else bench.train(("plain", "every", "saved"), *arguments, "--epochs", str(few))
    print(f"{model}: " + ", ".join(f"{way} {run.seconds:.2f} s" for way, run in three.items()), flush=True)

    def percent(runs: Sequence[Mapping[str, Run]], way: str) -> float:
        return 100 * (statistics.median(run[way].seconds / run["plain"].seconds for run in runs) - 1)

    saved_an_epoch = three["saved"].bytes / few
    return {
        "million_parameters": pairs[0]["plain"].parameters / 1e6,
        "epochs": epochs,
        "plain_seconds": statistics.median(pair["plain"].seconds for pair in pairs),
        "overhead_pct": percent(pairs, "flor"),
        "accounted_pct": statistics.median(
            100 * (fixed_seconds + pair["flor"].recording) / pair["plain"].seconds for pair in pairs
        ),
        "every_pct": percent([three], "every"),
        "torch_save_pct": percent([three], "saved"),
        "checkpoints": statistics.median(pair["flor"].checkpoints for pair in pairs),
        "bytes_ratio": statistics.median(pair["flor"].bytes for pair in pairs) / (saved_an_epoch * epochs),
        "bytes_ratio_every": three["every"].bytes / three["saved"].bytes,
    }


def fixed_cost(bench: Bench, repeats: int) -> float:
    """Seconds that recording adds to a script that does next to nothing: imports, the commit, and the end."""
    for way in ("plain", "flor"):
        (bench.root(way) / "nothing.py").write_text("import torch\nimport flor_ray as flor\nflor.log('x', 1)\n")
    seconds: dict[str, list[float]] = {"plain": [], "flor": []}
    for _ in range(repeats + 1):
        for way in seconds:
            turn = Turns([sys.executable, "nothing.py"], bench.root(way), bench.environment(way), 60.0)
            seconds[way].append(turn.seconds)
    return statistics.median(f - p for p, f in zip(seconds["plain"][1:], seconds["flor"][1:], strict=True))


def steps_of(bench: Bench, model: str, epoch_seconds: float) -> int:
    """Steps that make an epoch of so many seconds."""
    steps, loop = 4, 0.0
    while loop < 1.0:  # less would be measured by the noise of the machine
        steps *= 4
        loop = bench.train(["plain"], "--model", model, "--epochs", "1", "--steps", str(steps))["plain"].loop
    return max(1, round(epoch_seconds / (loop / steps)))


def frozen_bytes(bench: Bench, model: str, epochs: int) -> float:
    """Bytes against torch.save where only the last layer is trained, with a checkpoint after every epoch."""
    arguments = ("--model", model, "--epochs", str(epochs), "--steps", "2", "--frozen")
    runs = bench.train(("every", "saved"), *arguments)
    return runs["every"].bytes / runs["saved"].bytes


LOGGING = """
import resource, sys, time
import flor_ray as flor
count = int(sys.argv[1])
flor.log("first", 0.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
times = []
for epoch in flor.loop("epoch", range(10)):
    for step in flor.loop("step", range(count // 10)):
        value = step * 0.5
        started = time.perf_counter_ns()
        flor.log("loss", value)
        times.append(time.perf_counter_ns() - started)
times.sort()
from flor_ray import session
logged = time.perf_counter()
session.installed().close()
ended = time.perf_counter()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(times[len(times) // 2] / 1000, sum(times) / len(times) / 1000, ended - logged, grown / 1024)
"""


def logging_cost(bench: Bench, count: int) -> dict[str, float]:
    """Microseconds of a call, records a second until all are in the store, and how much memory that took."""
    root = bench.root("flor")
    (root / "logging_only.py").write_text(LOGGING)
    shutil.rmtree(root / ".flor", ignore_errors=True)
    command = [sys.executable, "logging_only.py", str(count)]
    started = time.perf_counter()
    environment = bench.environment("flor")
    done = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    median, mean, flush, grown = (float(word) for word in done.stdout.split())
    size = sum(p.stat().st_size for p in (root / ".flor" / "log_records").rglob("*") if p.is_file())
    return {
        "records": count,
        "log_us": median,
        "log_mean_us": mean,
        "seconds": seconds,
        "records_per_second": count / seconds,
        "flush_at_exit_seconds": flush,
        "rss_grown_mib": grown,
        "bytes_per_record": size / count,
    }


def summary(
    rows: dict[str, dict[str, float]], frozen: dict[str, float], logs: dict[str, float], repeats: int, quick: bool
) -> dict[str, object]:
    overheads = [row["overhead_pct"] for row in rows.values()]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": quick,
        "repeats": repeats,
        "overhead_mean_pct": round(statistics.mean(overheads), 2),
        "overhead_worst_pct": round(max(overheads), 2),
        "accounted_mean_pct": round(statistics.mean(row["accounted_pct"] for row in rows.values()), 2),
        "accounted_worst_pct": round(max(row["accounted_pct"] for row in rows.values()), 2),
        "torch_save_mean_pct": round(statistics.mean(row["torch_save_pct"] for row in rows.values()), 2),
        "every_epoch_mean_pct": round(statistics.mean(row["every_pct"] for row in rows.values()), 2),
        "log_us": round(logs["log_us"], 2),
        "records_per_second": round(logs["records_per_second"]),
        "rss_grown_mib": round(logs["rss_grown_mib"]),
        "bytes_ratio_full": round(max(row["bytes_ratio"] for row in rows.values()), 3),
        "bytes_ratio_full_every_epoch": round(max(row["bytes_ratio_every"] for row in rows.values()), 3),
        "bytes_ratio_frozen": round(max(frozen.values()), 3),
    }


if __name__ == "__main__":
    main()

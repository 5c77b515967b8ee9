"""What recording costs: time against the same script without flor_ray, bytes against torch.save, and flor.log.

Each model of bench/training.py is trained by

    plain    the script with calls that do nothing in place of flor_ray's
    flor     flor_ray as it is (budget 2 %)
    every    flor_ray with a checkpoint after every epoch (FLOR_RAY_OVERHEAD=1)
    saved    plain, and torch.save of model and optimizer after every epoch

in processes of their own, interleaved; overheads are ratios of medians of wall time, start and exit of the process
included. Epochs take 2 s or more. Prints a table and, last, one JSON object; `--keep` writes that to bench/results too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flor_ray import reports

MODELS = ("resnet", "bert", "gpt2", "cnn")
WAYS = ("plain", "flor", "every", "saved")
EPOCH_SECONDS = 2.2

# The same calls without recording.
SILENT = """
def arg(name, default=None): return default
def log(name, value): return value
def loop(name, iterable): return iterable
def checkpointing(**objects): pass
"""


class Bench:
    """A git repository with the training script in it, as a user would have it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.silent = folder / "silent"
        (self.silent / "flor_ray").mkdir(parents=True)
        (self.silent / "flor_ray/__init__.py").write_text(SILENT)
        self.root.mkdir()
        shutil.copy(Path(__file__).parent / "training.py", self.root)
        subprocess.run(["git", "init", "--quiet", "."], cwd=self.root, check=True)

    def train(self, way: str, *arguments: str) -> dict[str, float]:
        """Seconds of the whole process and of its loop, and bytes written by hand or into the store."""
        shutil.rmtree(self.root / ".flor", ignore_errors=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("FLOR_RAY_")}
        if way in ("plain", "saved"):
            variables["PYTHONPATH"] = str(self.silent)
        if way == "every":
            variables["FLOR_RAY_OVERHEAD"] = "1"
        target = self.root.parent / "saved.pt"
        command = [sys.executable, "training.py", *arguments]
        command += ["--save", str(target)] if way == "saved" else []
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=self.root, env=variables, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        parameters, loop, saved = (float(word) for word in done.stdout.split())
        stored = sum(p.stat().st_size for p in (self.root / ".flor").rglob("*") if p.is_file())
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "seconds": seconds,
            "processor": processor,
            "loop": loop,
            "parameters": parameters,
            "bytes": saved or stored,
            "checkpoints": len(list((self.root / ".flor").rglob("objects/*/*"))) and self.checkpoints(),
        }

    def checkpoints(self) -> int:
        """Epochs that have a checkpoint."""
        from flor_ray.project import Project

        project = Project.open(str(self.root))
        version = project.experiments()[-1].version
        return len({c.epoch for c in project.store.checkpoints(project.name, version)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of each kind, in 60 s: shows that it works")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=24, help="of each run (default 24)")
    parser.add_argument("--repeats", type=int, default=3, help="of plain and flor (default 3)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    if options.quick:
        options.models, options.epochs, options.repeats = ["cnn"], 3, 1
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        bench = Bench(Path(folder))
        rows = {model: overhead(bench, model, options.epochs, options.repeats) for model in options.models}
        frozen = {model: frozen_bytes(bench, model, options.epochs) for model in options.models if model != "cnn"}
        if options.quick:
            frozen = {"bert": frozen_bytes(bench, "bert", 8)}
        logs = logging_cost(bench, 200_000 if options.quick else 1_000_000)
    result = summary(rows, frozen, logs, options.repeats, options.quick)
    table = [[name, *(f"{value:.4g}" for value in row.values())] for name, row in rows.items()]
    print(reports.render(["model", *next(iter(rows.values()))], table, width=200))
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"record-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result | {"models": rows, "frozen": frozen, "logs": logs}, indent=1) + "\n")
    print(line)


def overhead(bench: Bench, model: str, epochs: int, repeats: int) -> dict[str, float]:
    """One model, all ways, interleaved; every and saved once."""
    trial = bench.train("plain", "--model", model, "--epochs", "2", "--steps", "8")
    steps = max(1, round(EPOCH_SECONDS / (trial["loop"] / 16)))
    arguments = ("--model", model, "--epochs", str(epochs), "--steps", str(steps))
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for repeat in range(repeats):
        for way in ("plain", "flor") if repeat % 2 == 0 else ("flor", "plain"):
            found[way].append(bench.train(way, *arguments))
            print(f"{model}, {way}: {found[way][-1]['seconds']:.2f} s", flush=True)
    for way in ("every", "saved"):
        found[way].append(bench.train(way, *arguments))
        print(f"{model}, {way}: {found[way][-1]['seconds']:.2f} s", flush=True)

    def median(way: str, what: str) -> float:
        return statistics.median(run[what] for run in found[way])

    plain = median("plain", "seconds")
    return {
        "million_parameters": median("plain", "parameters") / 1e6,
        "epoch_seconds": median("plain", "loop") / epochs,
        "plain_seconds": plain,
        "overhead_pct": 100 * (median("flor", "seconds") / plain - 1),
        "processor_overhead_pct": 100 * (median("flor", "processor") / median("plain", "processor") - 1),
        "every_pct": 100 * (median("every", "seconds") / plain - 1),
        "torch_save_pct": 100 * (median("saved", "seconds") / plain - 1),
        "checkpoints": median("flor", "checkpoints"),
        "bytes_ratio": median("flor", "bytes") / median("saved", "bytes"),
        "bytes_ratio_every": median("every", "bytes") / median("saved", "bytes"),
    }


def frozen_bytes(bench: Bench, model: str, epochs: int) -> float:
    """Bytes against torch.save where only the last layer is trained, with a checkpoint after every epoch."""
    arguments = ("--model", model, "--epochs", str(epochs), "--steps", "2", "--frozen")
    return bench.train("every", *arguments)["bytes"] / bench.train("saved", *arguments)["bytes"]


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
    script = bench.root / "logging_only.py"
    script.write_text(LOGGING)
    shutil.rmtree(bench.root / ".flor", ignore_errors=True)
    command = [sys.executable, script.name, str(count)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=bench.root, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    median, mean, flush, grown = (float(word) for word in done.stdout.split())
    size = sum(p.stat().st_size for p in (bench.root / ".flor" / "log_records").rglob("*") if p.is_file())
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

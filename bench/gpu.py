"""What of flor_ray touches a GPU, exercised and measured on a machine with one, in eight minutes at most.

    in this process     snapshots, deferred values, generators, the observer: are copies right although the script
                        changes and frees tensors at once, on streams of its own too; what do they cost
    forks               does looking at a process leave its forks free to use CUDA
    exactness           columns of three levels, replayed on Ray with num_gpus=1: with deterministic kernels, by
                        default, and with cudnn.benchmark
    overhead            what recording costs
    many versions       what twenty versions leave on the device
    systems             two systems of the papers in their own size

Prints a line for each and, last, one JSON object; "wrong" lists what was not as it should be. A check for which no
time is left is skipped, and told. `--rehearse` runs the same on the CPU, in small, where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import torch
from on_gpu import copies, training

_SECONDS = 480.0
# with the seconds that each may take at most; in the order of how much is learned from them
_PROCESSES: tuple[tuple[str, Callable[[str, Path, float], dict[str, Any]], float], ...] = (
    ("forks", training.forks, 30),
    ("exactness", training.exactness, 180),
    ("overhead", training.overhead, 60),
    ("many versions", training.many_versions, 100),
    ("systems", training.systems, 120),
)


def main() -> int:
    options = _options()
    if not options.rehearse and not torch.cuda.is_available():
        print("torch finds no GPU here, and this measures nothing else. `--rehearse` tries it on the CPU.")
        return 2
    device, scale = ("cpu", 1) if options.rehearse else ("cuda", 20)
    began = time.perf_counter()
    found: dict[str, dict[str, Any]] = {}
    for name, check in copies.checks():
        if name in options.only:
            _run(name, lambda check=check: check(device, scale), found)  # type: ignore[misc]
    for name, part, most in _PROCESSES:
        left = min(most, options.seconds - (time.perf_counter() - began))
        if name not in options.only:
            continue
        if left < 20:
            found[name] = {"wrong": [], "skipped": "no time was left"}
            continue
        with tempfile.TemporaryDirectory(prefix="flor-gpu-", ignore_cleanup_errors=True) as folder:
            _run(name, lambda part=part, folder=folder, left=left: part(device, Path(folder), left), found)  # type: ignore[misc]
    print(json.dumps(_result(found, time.perf_counter() - began, device), default=str))
    return int(any(figures["wrong"] for figures in found.values()))


def _run(name: str, check: Callable[[], dict[str, Any]], found: dict[str, dict[str, Any]]) -> None:
    """One that fails says so, and the others are still run."""
    try:
        found[name] = check()
    except Exception as error:  # noqa: BLE001 - the machine is at hand for minutes: the other checks must run
        traceback.print_exc()
        found[name] = {"wrong": [f"{type(error).__name__}: {error}"[:800]]}
    print(f"{name}: {json.dumps(found[name], default=str)[:1000]}", flush=True)


def _result(found: dict[str, dict[str, Any]], seconds: float, device: str) -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if device != "cpu" else []
    return {
        "gpus": gpus,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "rehearsed": device == "cpu",
        "wrong": {name: figures["wrong"] for name, figures in found.items() if figures["wrong"]},
        "skipped": [name for name, figures in found.items() if "skipped" in figures],
        "checks": found,
    }


def _options() -> argparse.Namespace:
    names = [name for name, _ in copies.checks()] + [name for name, _, _ in _PROCESSES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="these checks")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="that it may take (%(default)s)")
    options: argparse.Namespace = parser.parse_args()
    return options


if __name__ == "__main__":
    sys.exit(main())

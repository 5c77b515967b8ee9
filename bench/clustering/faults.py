"""Random faults in replays of sleeping scripts: the final table is the one without faults, byte for byte, nothing is
there twice, and little is run again.

    simulated   the dispatcher in virtual time (virtual_faults)
    processes   real workers of this machine (process_faults)
    ray         several nodes of a real Ray cluster (ray_faults)
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from clustering import faulty_runs, process_faults, ray_faults, virtual_faults
from clustering.faulty_runs import Verdict


@dataclass(frozen=True, slots=True)
class Runs:
    """How many of each kind."""

    simulated: int
    processes: int
    ray: int


WHOLE = Runs(130, 50, 20)
QUICK = Runs(20, 1, 1)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What became of all runs, by kind."""

    verdicts: dict[str, tuple[Verdict, ...]]

    @property
    def wrong(self) -> list[str]:
        """A line for each run that is not as it should be."""
        return [
            f"{kind} {number}: {verdict}"
            for kind, found in self.verdicts.items()
            for number, verdict in enumerate(found)
            if not verdict.as_it_should_be
        ]

    @property
    def summary(self) -> dict[str, object]:
        every = [verdict for found in self.verdicts.values() for verdict in found]
        return {f"fault_runs_{kind}": len(found) for kind, found in self.verdicts.items()} | {
            "fault_runs_identical": sum(verdict.identical for verdict in every),
            "faults_happened": sum(verdict.faults for verdict in every),
            "duplicate_rows": sum(verdict.duplicate_rows for verdict in every),
            "seconds_redone_per_fault_max": round(max(verdict.seconds_redone for verdict in every), 2),
            "fault_segments_least": min(verdict.segments for verdict in every),
        }


def soak(runs: Runs, seed: int, quick: bool, said: bool = False) -> Soaked:
    """All of them, by this seed; `said`: with a line on standard output for each that is real."""
    with _folder() as folder:
        found = {"simulated": tuple(virtual_faults.verdicts(runs.simulated, Random(f"{seed}/simulated")))}
        of = faulty_runs.template(folder) if runs.processes or runs.ray else None
        processes, ray = (Random(f"{seed}/{kind}") for kind in ("processes", "ray"))
        of_processes: Iterator[Verdict] = iter(())
        of_ray: Iterator[Verdict] = iter(())
        if of is not None:
            of_processes = process_faults.verdicts(of, folder, runs.processes, processes)
            of_ray = ray_faults.verdicts(of, folder, runs.ray, ray, quick) if runs.ray else of_ray
        found["processes"] = tuple(_told("processes", of_processes, said))
        found["ray"] = tuple(_told("ray", of_ray, said))
    return Soaked(found)


def measure(quick: bool) -> dict[str, object]:
    """The part of bench/cluster.py."""
    found = soak(QUICK if quick else WHOLE, 0, quick)
    return found.summary | {"fault_runs_wrong": found.wrong}


def _told(kind: str, verdicts: Iterator[Verdict], said: bool) -> Iterator[Verdict]:
    began = time.monotonic()
    for number, verdict in enumerate(verdicts):
        if said:
            state = "as it should be" if verdict.as_it_should_be else f"WRONG: {verdict}"
            print(f"{kind} {number}, {time.monotonic() - began:.0f} s: {verdict.what}: {state}", flush=True)
        yield verdict


@contextmanager
def _folder() -> Iterator[Path]:
    """A short path: sockets of Ray's are in it."""
    with tempfile.TemporaryDirectory(prefix="flor-f", ignore_cleanup_errors=True) as folder:
        yield Path(folder)

"""Replays on worker processes of this machine, some of whose processes are killed or stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from clustering.faulty_runs import Template, Verdict, kill, run, run_in_company, run_killed, scripts, servers, stop_for
from flor_ray.cluster.executors import Executor
from flor_ray.cluster.local import LocalExecutor

KINDS = ("worker", "script", "server", "hang", "stall")
_PAUSE_SECONDS = 1.0


def verdicts(of: Template, folder: Path, runs: int, chance: Random) -> Iterator[Verdict]:
    """Each run in a copy of its own, with one to three faults; every fifth time it is the driver that is killed, and
    every fifth time one of two that ask the same."""
    for number in range(runs):
        root = of.copy(folder / f"process-{number}")
        moments = sorted(chance.sample(range(2, of.rows - 40), chance.randint(1, 3)))
        if number % 5 == 2:
            yield run_killed(of, root, "local", [moment // 3 for moment in moments[:2]])
        elif number % 5 == 3:
            yield run_in_company(of, root, "local", moments[0] // 2)
        else:
            first = KINDS[number % len(KINDS)]  # so that a few runs have one of each
            kinds = [first, *(chance.choice(KINDS) for _ in moments[1:])]
            pick = Random(chance.random())
            at = list(zip(moments, kinds, strict=True))
            yield run(of, root, LocalExecutor(), at, partial(do, chance=pick))
        shutil.rmtree(root.parent)


def do(kind: str, executor: Executor, chance: Random) -> bool:
    """Whether it could be done now."""
    assert isinstance(executor, LocalExecutor)
    workers = sorted(executor.pids.values())
    if not workers:
        return False
    worker = chance.choice(workers)
    if kind == "worker":
        return kill(worker)
    if kind == "stall":  # the worker itself says nothing for a while
        return stop_for(worker, _PAUSE_SECONDS)
    own = servers(worker) if kind == "server" else scripts(worker)
    if not own:
        return False
    return stop_for(own[0], _PAUSE_SECONDS) if kind == "hang" else kill(own[0])

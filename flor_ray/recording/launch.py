"""How this process was started as one rank of several: by what, as which one, with how many."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flor_ray import redaction
from flor_ray.records import Launch

_TORCHRUN = ("torchrun", "torch.distributed.run", "torch.distributed.launch", "torch/distributed/run.py")


def rank_of(variables: Mapping[str, str]) -> int:
    """Which rank these variables make of a process; 0 where they say nothing."""
    text = next((variables[name] for name in ("RANK", "LOCAL_RANK") if name in variables), "0")
    return int(text) if text.isdecimal() else 0


def size_of(variables: Mapping[str, str]) -> int:
    """How many ranks these variables say that there are; 1 where they say nothing."""
    text = variables.get("WORLD_SIZE", "1")
    return int(text) if text.isdecimal() and "RANK" in variables else 1


RAY_TRAIN = "ray train"  # of which there may be one rank, too: a replay has to be told


def launch_here(of_ray_train: bool | None) -> Launch | None:
    """How the ranks were started that this process is one of; None: it is by itself. `of_ray_train`: by Ray Train, in a
    way that a replay can start again; None: it is no worker of Ray."""
    size = size_of(os.environ)
    if size < 2 and not of_ray_train:
        return None
    local = os.environ.get("LOCAL_WORLD_SIZE", "0")
    command, _ = redaction.command_line(_parents_command())
    if of_ray_train is not None:
        launcher, command = RAY_TRAIN if of_ray_train else "", ()
    else:
        by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ or any(word.endswith(_TORCHRUN) for word in command)
        launcher, command = ("torchrun", command) if by_torchrun else ("", ())
    return Launch(size, launcher, local_size=int(local) if local.isdecimal() else 0, command=command)


def _parents_command() -> list[str]:
    """The words with which this process's parent was started, as far as the system tells them."""
    try:
        data = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:  # no /proc, or it has ended
        return []
    return [word.decode(errors="replace") for word in data.split(b"\0") if word]

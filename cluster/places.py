"""Where there is room for workers: on a Ray cluster, or on this machine. Found out without importing Ray, which takes
longer than most answers do."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_GPUS = Path("/proc/driver/nvidia/gpus")
_CONNECT_SECONDS = 0.5  # for a cluster on this machine to answer


def cluster_at_hand() -> bool:
    """Whether a Ray cluster was named (RAY_ADDRESS), this process is connected to one, or one runs on this machine."""
    ray = sys.modules.get("ray")
    connected = ray is not None and ray.is_initialized()
    return connected or bool(os.environ.get("RAY_ADDRESS")) or _runs_here()


def _runs_here() -> bool:
    """Whether the cluster answers that ray.init would find on this machine: the file may tell of one that is gone."""
    folder = os.environ.get("RAY_TMPDIR") or (sys.platform == "linux" and os.environ.get("TMPDIR")) or "/tmp"
    try:
        host, _, port = Path(folder, "ray", "ray_current_cluster").read_text().strip().rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def gpus_here() -> int:
    """GPUs of this machine, hidden ones too; without asking CUDA, which takes seconds and memory."""
    return len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0


def expected_slots() -> int:
    """How many workers there will be room for: one per GPU, or one per CPU where there is none. Asks the cluster that
    is at hand, or else looks at this machine."""
    if cluster_at_hand():
        from flor_ray.cluster import actors

        return actors.slots()[0]
    return gpus_here() or os.cpu_count() or 1

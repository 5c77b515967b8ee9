"""What the first plan and the first curve would wait for, imported while nobody waits."""

from __future__ import annotations

import importlib
import threading

_MODULES = (
    "numpy",
    "pyarrow.compute",
    "pyarrow.parquet",
    "git",
    "pandas",
    "flor_ray.propagation",
    "flor_ray.cluster.places",
    "flor_ray.cluster.addresses",
)


def begin() -> None:
    """Import in the background, one after the other."""
    threading.Thread(target=_load, name="flor-page-imports", daemon=True).start()


def _load() -> None:
    for name in _MODULES:
        importlib.import_module(name)

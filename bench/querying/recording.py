"""Stores as recorders leave them behind: many runs, each with names that are logged in every step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flor_ray.records import Experiment, Status
from flor_ray.store import columns
from flor_ray.store.fragments import LOG_FILE_SCHEMA, RECORDED, Fragment, quote
from flor_ray.store.log_files import log_bytes
from flor_ray.store.store import Store

PROJECT = "measured"
NAMES = ("accuracy", "grad_norm", "loss", "lr")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is recorded."""

    runs: int
    epochs: int
    steps: int  # of an epoch, in each of which NAMES are logged

    @property
    def records(self) -> int:
        return self.runs * self.epochs * self.steps * len(NAMES)


def record(url: str, size: Size) -> None:
    """Runs that have logged random numbers. They are the same in each, on which reading them does not depend."""
    store = Store(url)
    rows = logged(size.epochs, size.steps, NAMES)
    data = log_bytes(rows)
    for number in range(size.runs):
        version = hashlib.sha1(f"{number}".encode()).hexdigest()
        began = 1_700_000_000.0 + 60 * number
        store.begin_run(Experiment(PROJECT, version, None, "train.py", "", began, None, Status.RUNNING))
        folder = f"log_records/{PROJECT}/{quote(version)}"
        store.files.write(Fragment(folder, RECORDED, 0, rows.num_rows - 1).path, data)
        store.end_run(
            Experiment(
                PROJECT,
                version,
                None,
                "train.py",
                "",
                began,
                began + 50,
                Status.FINISHED,
                main_loop="epoch",
                nested_loop="step",
                epochs=size.epochs,
            )
        )


def logged(epochs: int, steps: int, names: Sequence[str]) -> pa.Table:
    """Rows of F in the order of logging: in each step of each epoch a random number for each name."""
    places, count = epochs * steps, epochs * steps * len(names)
    one = np.zeros(count, np.int32)
    numbers = np.random.default_rng(0).random(count)
    made = {
        "level": columns.symbols(one, ["i"]),
        "epoch": columns.integers(np.repeat(np.arange(1, epochs + 1), steps * len(names))),
        "step": columns.integers(np.tile(np.repeat(np.arange(steps), len(names)), epochs)),
        "name": columns.symbols(np.tile(np.arange(len(names), dtype=np.int32), places), names),
        "iteration": columns.integers(np.zeros(count, np.int64)),
        "type": columns.symbols(one, ["float"]),
        "number": pa.Array.from_buffers(pa.float64(), count, [None, pa.py_buffer(numbers)]),
        "integer": pa.nulls(count, pa.int64()),
        "text": pa.nulls(count, pa.string()),
        "timestamp": pa.Array.from_buffers(pa.float64(), count, [None, pa.py_buffer(1.7e9 + np.arange(count) * 1e-3)]),
    }
    return pa.Table.from_arrays([made[name] for name in LOG_FILE_SCHEMA.names], schema=LOG_FILE_SCHEMA)

"""Sources of runs that other programs recorded, and what importing them comes to. Their files are in cases/imported."""

from __future__ import annotations

import gzip
import math
import shutil
from pathlib import Path

from flor_ray.importing import arriving
from flor_ray.importing.arriving import ImportDone, ImportTerms
from flor_ray.records import Value
from flor_ray.store.store import Store
from flor_ray.store.typed_values import VALUE_COLUMNS, decode

CASES = Path(__file__).parent / "cases" / "imported"
LATER = 4_000_000_000.0  # when nothing goes on any more
EVENTS = "events.out.tfevents.1795965149.vm"

Row = tuple[str, "int | None", "int | None", int, object]  # name, epoch, step, iteration, value


def lay_out(kind: str, folder: Path) -> Path:
    """The source of a kind as its program has it, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tensorboard":
        shutil.copytree(CASES / "tensorboard", folder, dirs_exist_ok=True)
    elif kind == "wandb":
        shutil.copy(CASES / "wandb-0.15.12.wandb", folder / "run-l07bldmn.wandb")
    elif kind == "mlflow":
        (folder / "mlflow.db").write_bytes(gzip.decompress((CASES / "mlflow-3.17.2.db.gz").read_bytes()))
    elif kind == "flordb 4":
        (folder / ".flor" / "runs").mkdir(parents=True)
        shutil.copy(CASES / "flordb-4.0.1.jsonl", folder / ".flor" / "runs" / "2026-11-29T15:12:51.507309.jsonl")
    elif kind == "flordb 4 database":
        (folder / "f4.db").write_bytes(gzip.decompress((CASES / "flordb-4.0.1.db.gz").read_bytes()))
    elif kind == "flordb 3":
        shutil.copy(CASES / "flordb-3.4.12.json", folder / ".flor.json")
    else:
        (folder / "f3.db").write_bytes(gzip.decompress((CASES / "flordb-3.4.12.db.gz").read_bytes()))
    return folder


KINDS = ("tensorboard", "wandb", "mlflow", "flordb 4", "flordb 4 database", "flordb 3", "flordb 3 database")


def imported(store: Store, path: Path, now: float = LATER, **wanted: object) -> ImportDone:
    """What became of the runs at a path."""
    done = ImportDone()
    arriving.import_runs(store, ImportTerms(str(path), "digits", **wanted), done, lambda *_: None, now)  # type: ignore[arg-type]
    return done


def rows(store: Store, version: str) -> list[Row]:
    """The values of a version, in the order in which they are kept."""
    found = []
    for row in store.logs("digits", versions=[version]).to_pylist():
        value = decode(Value(*(row[column] for column in VALUE_COLUMNS)), lambda key: b"")
        found.append((row["name"], row["epoch"], row["step"], row["iteration"], value))
    return found


def by_run(store: Store) -> dict[str, list[Row]]:
    """The values of all versions, by the names of their runs."""
    return {run.run: rows(store, run.version) for run in store.experiments("digits")}


def same(one: object, other: object) -> bool:
    """Whether values are equal, and of one type; NaN equals NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other

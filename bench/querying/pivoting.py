"""What it takes to make DataFrames of logged values: processor seconds and memory, each in a fresh process.

    1 M         four names in one run, a million records; as it was recorded, and compacted; the median of several
    10 M        in ten runs, the same two ways; the median too (first readers pay for a cold cache)
    100 M       in a hundred, in pieces (`flor.dataframes`)
    FlorDB      4.0.1 on the million records, in turns with ours

FlorDB is installed into a folder of its own below the user's cache, once.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flor_ray.store.compacting.compaction import Compactor
from flor_ray.store.store import Store
from querying.recording import NAMES, PROJECT, Size, record

FLORDB = "flordb==4.0.1"
_HERE = Path(__file__).parent
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured, and how often."""

    turns: int
    large_turns: int
    million: Size
    ten_million: Size
    streamed: Size
    peer_turns: int


SIZES = Sizes(5, 5, Size(1, 100, 2500), Size(10, 100, 2500), Size(100, 100, 2500), 2)
QUICK = Sizes(3, 1, Size(1, 100, 2500), Size(10, 100, 2500), Size(20, 100, 2500), 1)
_QUICK_PEER = Size(1, 10, 2500)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one process took."""

    seconds: float  # of the processor
    rows: int
    bytes: int = 0  # its greatest memory


def measure(quick: bool) -> dict[str, object]:
    """Figures by name; in `quick` fewer are streamed, and FlorDB is asked for a tenth, if it is installed."""
    sizes = QUICK if quick else SIZES
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        found = _million(Path(folder, "million"), sizes)
        found |= _large(Path(folder, "large"), sizes)
        found |= _against_flordb(Path(folder, "peer"), sizes, quick)
    return found


def _million(folder: Path, sizes: Sizes) -> dict[str, object]:
    store = _recorded(folder, sizes.million)
    fresh = [_read("whole", folder, store) for _ in range(sizes.turns)]
    _compact(store)
    compacted = [_read("whole", folder, store) for _ in range(sizes.turns)]
    _expect([*fresh, *compacted], sizes.million)
    return {
        "pivot_1m_seconds": _median(fresh),
        "pivot_1m_compacted_seconds": _median(compacted),
        "pivot_1m_rss_gb": _peak([*fresh, *compacted]),
    }


def _large(folder: Path, sizes: Sizes) -> dict[str, object]:
    store = _recorded(folder, sizes.ten_million)
    fresh = [_read("whole", folder, store) for _ in range(sizes.large_turns)]
    _compact(store)
    compacted = [_read("whole", folder, store) for _ in range(sizes.large_turns)]
    _expect([*fresh, *compacted], sizes.ten_million)
    streamed = [_read("streamed", folder, _recorded(folder, sizes.streamed))]
    _expect(streamed, sizes.streamed)
    millions = sizes.streamed.records // 1_000_000
    return {
        "pivot_10m_seconds": _median(fresh),
        "pivot_10m_compacted_seconds": _median(compacted),
        "pivot_10m_rss_gb": _peak([*fresh, *compacted]),
        f"pivot_{millions}m_streamed_seconds": _median(streamed),
        f"pivot_{millions}m_streamed_rss_gb": _peak(streamed),
    }


def _compact(store: str) -> None:
    Compactor(Store(store), PROJECT).compact()


def _against_flordb(folder: Path, sizes: Sizes, quick: bool) -> dict[str, object]:
    """In turns, so that what else the machine does counts for both."""
    python = _flordb(install=not quick)
    if python is None:
        return {"pivot_1m_vs_flordb": None}
    size = _QUICK_PEER if quick else sizes.million
    store = _recorded(folder, size)
    ours, theirs = list[Taken](), list[Taken]()
    for turn in range(sizes.peer_turns):
        repository = folder / f"repository-{turn}"
        repository.mkdir()
        subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
        asked = [str(python), str(_HERE / "peer.py"), str(size.epochs), str(size.steps), ",".join(NAMES)]
        theirs.append(_said(asked, repository))
        ours += [_read("whole", folder, store) for _ in range(sizes.turns)]
    _expect([*ours, *theirs], size)
    return {
        "flordb_records": size.records,
        "flordb_seconds": _median(theirs),
        "pivot_1m_vs_flordb": round(_median(theirs) / _median(ours), 1),
    }


# --- processes --------------------------------------------------------------------------------------------------------


def _recorded(folder: Path, size: Size) -> str:
    url = str(folder / f"store-{size.runs}")
    record(url, size)
    return url


def _read(how: str, folder: Path, store: str) -> Taken:
    return _said([sys.executable, str(_HERE / "reading.py"), how, str(folder), store], folder)


def _said(command: Sequence[str], folder: Path) -> Taken:
    variables = os.environ | {"FLOR_RAY_PROJECT": PROJECT}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return Taken(**json.loads(done.stdout.splitlines()[-1]))


def _expect(every: Sequence[Taken], size: Size) -> None:
    """All rows must have come."""
    rows = size.records // len(NAMES)
    if wrong := [taken.rows for taken in every if taken.rows != rows]:
        raise SystemExit(f"{rows} rows were recorded, and {wrong[0]} were read.")


def _median(every: Sequence[Taken]) -> float:
    return round(statistics.median(taken.seconds for taken in every), 3)


def _peak(every: Sequence[Taken]) -> float:
    return round(max(taken.bytes for taken in every) / _GB, 3)


def _flordb(install: bool) -> Path | None:
    """The Python of FlorDB's virtual environment; None where it is not there and not to be made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "flor_ray-bench" / f"{FLORDB}-{platform.python_version()}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.exists():
        return python
    if not install:
        return None
    print(f"installing {FLORDB} into {folder} ...", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", FLORDB], check=True)
    done.touch()
    return python

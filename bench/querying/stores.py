"""What reading a store of many runs takes, fresh and compacted, and whether readers see each row once meanwhile.

Each figure is of a process of its own: processor seconds from opening the store to the answer, without imports, and the
most memory that the process had.

    python bench/querying/stores.py [--quick]         all figures, as one JSON object
    python bench/querying/stores.py measure WHAT URL  one of them: what the processes run
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flor_ray.records import EpochTimes, Experiment, Level, LogRecord, Profile, Status, Value
from flor_ray.store.compacting.compaction import Compactor
from flor_ray.store.store import Store

PROJECT = "many"
METRICS = ("loss", "acc", "val_loss", "grad_norm")
ARGUMENTS = ("lr", "decay", "batch", "seed")
EPOCHS = 25
_ENVIRONMENT: Mapping[str, object] = {
    "python": "3.12.3",
    "host": "node",
    "pid": 1,
    "packages": {f"package_{number}": f"1.{number}.0" for number in range(60)},
    "sys_path": [f"/usr/lib/python{number}" for number in range(8)],
    "variables": {f"VARIABLE_{number}": "x" * 10 for number in range(30)},
}


def version_of(number: int) -> str:
    """The version of a run, by its number."""
    return hashlib.sha1(f"run {number}".encode()).hexdigest()


def experiment(number: int) -> Experiment:
    """A run that has ended, with an environment as large as they are."""
    return Experiment(
        PROJECT,
        version_of(number),
        None,
        "train.py",
        f"run{number}",
        1e9 + number,
        1e9 + number + 60,
        Status.FINISHED,
        {"lr": 0.1 * number, "batch": 32},
        main_loop="epoch",
        epochs=EPOCHS,
        profile=Profile(1.0, tuple(EpochTimes(epoch, 0.1, 0.2, 0.3) for epoch in range(1, EPOCHS + 1))),
        environment=_ENVIRONMENT,
    )


def records_of(number: int) -> list[LogRecord]:
    """What a run logs: four arguments, and four metrics in each of its epochs."""
    luck, began = random.Random(number), 1e9 + number
    found = [LogRecord(Level.DATA_PREP, None, None, name, 0, Value("float", 0.1), began) for name in ARGUMENTS]
    for epoch in range(1, EPOCHS + 1):
        found += [
            LogRecord(Level.OUTER, epoch, None, name, 0, Value("float", luck.random()), began + epoch)
            for name in METRICS
        ]
    return found


def make(url: str, numbers: range, with_logs: bool = True) -> None:
    """Write runs that have ended."""
    store = Store(url)
    for number in numbers:
        if with_logs:
            store.append_logs(PROJECT, version_of(number), "recorded", 0, records_of(number))
        store.end_run(experiment(number))


# --- one figure, in a process of its own ----------------------------------------------------------------------------


def _point(store: Store) -> int:
    version = version_of(37)
    run = store.experiment(PROJECT, version)
    rows = store.logged(PROJECT, ["loss"], [version]).rows.num_rows
    return int(rows) if run is not None else -1


def _one_metric(store: Store) -> int:
    return int(store.logged(PROJECT, ["loss"]).rows.num_rows)


def _listing(store: Store) -> int:
    return len(store.listed_runs(PROJECT))


def _compaction(store: Store) -> int:
    return Compactor(store, PROJECT).compact().records


MEASURES: Mapping[str, Callable[[Store], int]] = {
    "point": _point,
    "one_metric": _one_metric,
    "list": _listing,
    "compact": _compaction,
}


def measure_here(what: str, url: str) -> dict[str, float]:
    """One figure, of this process."""
    import pyarrow.compute  # noqa: F401 - imports are not what is measured

    began = time.process_time()
    found = MEASURES[what](Store(url))
    seconds = time.process_time() - began
    status = Path("/proc/self/status").read_text()  # getrusage tells no less than what the parent held
    return {"found": found, "seconds": seconds, "mb": int(status.partition("VmHWM:")[2].split()[0]) / 1024}


def measured(what: str, url: str, times: int = 3) -> dict[str, float]:
    """One figure, of new processes: the one that took least. Anything else on the machine only ever adds."""
    command = [sys.executable, __file__, "measure", what, url]
    done = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(times)]
    found: dict[str, float] = min(map(json.loads, done), key=lambda one: one["seconds"])
    return found


# --- all figures ----------------------------------------------------------------------------------------------------


def figures(folder: Path, quick: bool, tell: Callable[[str], None]) -> dict[str, float]:
    """All that this script measures; `quick` with a tenth of the runs."""
    runs, listed, fresh = (1000, 3000, 100) if quick else (10_000, 30_000, 1000)
    found: dict[str, float] = {"runs": runs, "listed_runs": listed}

    def note(name: str, what: str, url: str, expected: int, times: int = 3) -> None:
        one = measured(what, url, times)
        if one["found"] != expected:
            raise AssertionError(f"{name}: {one['found']} found, and there are {expected}")
        unit = 1000 if name.endswith("_ms") else 1
        found[name], found[f"{name.rpartition('_')[0]}_mb"] = round(one["seconds"] * unit, 4), round(one["mb"])
        tell(f"{name}: {found[name]}, {one['mb']:.0f} MB")

    url = str(folder / "runs")
    tell(f"writing {runs} runs")
    make(url, range(runs))
    note("point_lookup_fresh_ms", "point", url, EPOCHS)
    note("one_metric_10k_runs_fresh_seconds", "one_metric", url, runs * EPOCHS, times=1)
    note("compact_10k_runs_seconds", "compact", url, runs * (len(ARGUMENTS) + EPOCHS * len(METRICS)), times=1)
    note("point_lookup_ms", "point", url, EPOCHS)
    note("one_metric_10k_runs_seconds", "one_metric", url, runs * EPOCHS)
    tell(f"writing {listed - runs} runs without logs")
    make(url, range(runs, listed), with_logs=False)
    note("list_30k_runs_fresh_seconds", "list", url, listed, times=1)
    measured("compact", url, times=1)
    note("list_30k_runs_seconds", "list", url, listed)
    make(url, range(listed, listed + fresh))
    note("list_30k_runs_and_fresh_seconds", "list", url, listed + fresh)
    return found


# --- readers during writers and compactors --------------------------------------------------------------------------

WRITERS, COMPACTORS = 8, 2
RUNS_EACH = 12  # of a writer: then there is a new store, since what is read grows
PARTS = 4  # fragments of each run


def write(url: str, writer: int) -> None:
    """Record runs, one after another, as processes do: in parts, which are merged at the end of every other one."""
    store = Store(url)
    for count in range(RUNS_EACH):
        number = writer + WRITERS * count
        run, records = experiment(number), records_of(number)
        store.begin_run(Experiment(PROJECT, run.version, None, "train.py", "", time.time(), None, Status.RUNNING))
        each = -(-len(records) // PARTS)
        for first in range(0, len(records), each):
            store.append_logs(PROJECT, run.version, "recorded", first, records[first : first + each])
        store.end_run(run)
        if count % 2:
            store.merge_logs(PROJECT, run.version, "recorded")
        time.sleep(0.1)


def compact_always(url: str, until: Path) -> None:
    """Compact, again and again."""
    store = Store(url)
    while not until.exists():
        Compactor(store, PROJECT).compact()


def check(store: Store, known: set[str]) -> list[str]:
    """What is wrong with what a reader sees; `known` are versions that had ended before, and grows."""
    ended = {run.version for run in store.listed_runs(PROJECT) if run.status is Status.FINISHED}
    wrong = [f"version {version} is gone" for version in known - ended]
    table = store.logged(PROJECT, in_order=False, columns=["version", "name", "epoch"]).rows
    rows: dict[str, list[tuple[str, int | None]]] = {version: [] for version in ended}
    for version, name, epoch in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        rows.setdefault(version, []).append((name, epoch))
    whole = len(ARGUMENTS) + EPOCHS * len(METRICS)
    for version, found in rows.items():
        if len(set(found)) < len(found):
            wrong.append(f"version {version} has a row twice")
        if version in ended and len(found) != whole:
            wrong.append(f"version {version} has {len(found)} of {whole} rows")
    known |= ended
    return wrong


def readers_see_each_row_once(folder: Path, checks: int, tell: Callable[[str], None] = print) -> dict[str, float]:
    """Read again and again while 8 writers and 2 compactors work; what was wrong in any of so many checks."""
    wrong: list[str] = []
    done = runs = 0
    while done < checks:
        url, until = str(folder / f"busy-{done}"), folder / f"stop-{done}"
        make(url, range(WRITERS * RUNS_EACH, WRITERS * RUNS_EACH + 1))
        command = [sys.executable, __file__]
        writers = [subprocess.Popen([*command, "write", url, str(number)]) for number in range(WRITERS)]
        compactors = [subprocess.Popen([*command, "compact", url, str(until)]) for _ in range(COMPACTORS)]
        known: set[str] = set()
        store = Store(url)
        try:
            while done < checks and any(writer.poll() is None for writer in writers):
                wrong += check(store if done % 2 else Store(url), known)
                done += 1
        finally:
            codes = [writer.wait() for writer in writers]
            until.touch()
            codes += [compactor.wait() for compactor in compactors]
        wrong += check(Store(url), known)
        wrong += [f"a process ended with {code}" for code in codes if code]
        if len(known) != WRITERS * RUNS_EACH + 1:
            wrong.append(f"there are {len(known)} runs")
        runs += len(known)
        tell(f"{done} checks, {runs} runs, {len(wrong)} wrong")
        shutil.rmtree(url)
    for one in wrong[:10]:
        tell(one)
    return {"checks": done, "checks_wrong": len(wrong), "checked_runs": runs}


def measure(quick: bool, checks: int | None = None, tell: Callable[[str], None] = print) -> dict[str, float]:
    """All figures of this module by name; `quick` with a tenth of the runs, and 200 checks instead of 10,000."""
    folder = Path(tempfile.mkdtemp(prefix="flor-stores-"))
    try:
        found = figures(folder, quick, tell)
        return found | readers_see_each_row_once(folder, checks or (200 if quick else 10_000), tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(words: Sequence[str]) -> int:
    """The exit status is 1 if anything was wrong."""
    actions: dict[str, Callable[..., Any]] = {
        "measure": lambda what, url: print(json.dumps(measure_here(what, url))),
        "write": lambda url, writer: write(url, int(writer)),
        "compact": lambda url, until: compact_always(url, Path(until)),
    }
    if words and words[0] in actions:
        actions[words[0]](*words[1:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs, 200 checks")
    parser.add_argument("--checks", type=int, help="checks while writers and compactors work; default: 10000")
    asked = parser.parse_args(words)
    found = measure(asked.quick, asked.checks)
    print(json.dumps(found))
    return int(found["checks_wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

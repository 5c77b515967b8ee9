"""What a command costs before it answers: seconds of the processor, its child processes' included.

Records the demo's six versions, and copies their runs (through the store's own functions, so that each of them is what
a recorder leaves behind) until there are 1,000 of them in a second project. Then the commands take turns with
`python -c pass` and `git log -1`, each seven times after one turn that is not counted: compiled modules, the file cache
of the system and our caches of propagations are warm, as they are for who has asked before. A column is explained as
somebody would who has just added its statement: nothing of it has been replayed.

    goals    --help <= 0.15 s over `python -c pass`; `versions` of 1,000 runs <= 0.6 s; `dataframe` of one name among
             1,000 runs <= 1 s; `explain` of the demo's column <= 1.2 s

Prints a table of medians and, last, one JSON object; `--keep` writes that to bench/results too. `--quick` has 100 runs
and three turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flor_ray.cli import demo
from flor_ray.records import Experiment, Level, LogRecord, Point, Status, Value
from flor_ray.reports import text_tables
from flor_ray.store.project import Project

PASS = "python -c pass"


@dataclass(frozen=True, slots=True)
class Case:
    """A command, where it is run, and what it should cost."""

    name: str
    command: tuple[str, ...]
    folder: Path
    goal_seconds: float | None = None
    over_pass: bool = False  # whether the goal counts from what `python -c pass` costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 runs, three turns")
    parser.add_argument("--turns", type=int, default=7, help="of each command (default 7)")
    parser.add_argument("--runs", type=int, default=1000, help="in the project of many (default 1000)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.runs = 3, 100
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
        print("recording six versions ...", flush=True)
        recorded = demo.record_all(Path(folder, "demo"))
        print(f"copying them until there are {options.runs} ...", flush=True)
        many = Path(folder, "many")
        shutil.copytree(recorded, many, symlinks=True)
        multiply(Project.open(str(many)), options.runs)
        every = cases(recorded, many, options.runs)
        seconds = taking_turns(every, environment(Path(folder)), options.turns)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(table(every, seconds, medians))
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "turns": options.turns,
        "runs": options.runs,
        "cpu_seconds": {name: round(median, 4) for name, median in medians.items()},
        "missed": [case.name for case in every if is_missed(case, medians)],
    }
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"latency-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line + "\n")
    print(line)


def cases(recorded: Path, many: Path, runs: int) -> list[Case]:
    ours = str(Path(sys.executable).with_name("flor-ray"))  # not `-m`, whose own imports are not ours
    return [
        Case(PASS, (sys.executable, "-c", "pass"), recorded),
        Case("git log -1", ("git", "log", "-1", "flor.shadow"), recorded),
        Case("--help", (ours, "--help"), recorded, 0.15, over_pass=True),
        Case("--version", (ours, "--version"), recorded),
        Case("versions, demo", (ours, "versions"), recorded),
        Case("dataframe accuracy, demo", (ours, "dataframe", "accuracy"), recorded),
        Case("explain cf_matrix, demo", (ours, "explain", "cf_matrix"), recorded, 1.2),
        Case(f"versions, {runs} runs", (ours, "versions"), many, 0.6),
        Case(f"dataframe loss, {runs} runs", (ours, "dataframe", "loss"), many, 1.0),
    ]


# --- many runs ------------------------------------------------------------------------------------------------------


def multiply(project: Project, runs: int) -> None:
    """Copy the runs of a project under new ids, one after another, until there are so many."""
    patterns = [(experiment, rows_of(project, experiment)) for experiment in project.experiments()]
    parent = patterns[-1][0].version
    for index in range(runs - len(patterns)):
        experiment, rows = patterns[index % len(patterns)]
        version = hashlib.sha1(f"{index}".encode()).hexdigest()
        moved = 60.0 * (index + 1)  # a run a minute
        ended = None if experiment.ended is None else experiment.ended + moved
        copy = replace(experiment, version=version, parent=parent, started=experiment.started + moved, ended=ended)
        write(project, experiment, copy, [changed(row, index) for row in rows])
        parent = version


def rows_of(project: Project, experiment: Experiment) -> list[LogRecord]:
    table = project.store.logs(project.name, versions=[experiment.version])
    return [
        LogRecord(
            Level(row["level"]),
            row["epoch"],
            row["step"],
            row["name"],
            row["iteration"],
            Value(row["type"], row["number"], row["integer"], row["text"]),
            row["timestamp"],
        )
        for row in table.to_pylist()
    ]


def changed(row: LogRecord, index: int) -> LogRecord:
    """A record with a number of its own, so that no two runs are the same."""
    value = row.value
    if value.number is None:
        return row
    return replace(row, value=replace(value, number=value.number * (1 + index / 1e4)))


def write(project: Project, pattern: Experiment, copy: Experiment, rows: Sequence[LogRecord]) -> None:
    """What a recorder does for a run, in the order in which it does it."""
    store, name = project.store, project.name
    store.begin_run(replace(copy, status=Status.RUNNING, ended=None, args={}, epochs=0))
    sources = {path: replace(file, data=b"") for path, file in store.sources(name, pattern.version).items()}
    store.write_sources(name, copy.version, copy.parent, sources, store.known_sources(name, pattern.version))
    store.append_logs(name, copy.version, "recorded", 0, rows)
    times = {t.epoch: t for t in pattern.profile.epochs}
    for checkpoint in store.checkpoints(name, pattern.version):
        own = times.get(checkpoint.epoch) if checkpoint.point is Point.EPOCH_END else None
        store.append_checkpoint(name, replace(checkpoint, version=copy.version), own)
    store.append_skips(name, copy.version, store.skips(name, pattern.version))
    store.end_run(copy)
    store.merge_checkpoints(name, copy.version)


# --- measuring ------------------------------------------------------------------------------------------------------


def environment(folder: Path) -> dict[str, str]:
    """That of a user whose Python has compiled our modules once, as it does unless it is forbidden to."""
    ours = ("FLOR_RAY_", "PYTHONDONTWRITEBYTECODE")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return variables | {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def taking_turns(cases: Sequence[Case], variables: Mapping[str, str], turns: int) -> dict[str, list[float]]:
    """Processor seconds of each turn, by case."""
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for turn in range(turns + 1):
        print(f"turn {turn} of {turns} ..." if turn else "once, to warm up ...", flush=True)
        for case in cases:
            taken = processor_seconds(case, variables)
            if turn:
                seconds[case.name].append(taken)
    return seconds


def processor_seconds(case: Case, variables: Mapping[str, str]) -> float:
    """Of one run of a command and the processes that it waited for, as the system accounts for them."""
    output = case.folder.parent / "output.txt"
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 1, str(output), writing, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    before = os.getcwd()
    os.chdir(case.folder)  # posix_spawn has no folder of its own to give
    try:
        process = os.posix_spawnp(case.command[0], case.command, variables, file_actions=actions)
    finally:
        os.chdir(before)
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{case.name} failed:\n{output.read_text(errors='replace')}")
    return usage.ru_utime + usage.ru_stime


def allowed_seconds(case: Case, medians: dict[str, float]) -> float | None:
    if case.goal_seconds is None:
        return None
    return case.goal_seconds + (medians[PASS] if case.over_pass else 0.0)


def is_missed(case: Case, medians: dict[str, float]) -> bool:
    allowed = allowed_seconds(case, medians)
    return allowed is not None and medians[case.name] > allowed


def table(cases: Sequence[Case], seconds: dict[str, list[float]], medians: dict[str, float]) -> str:
    rows = []
    for case in cases:
        found, allowed = seconds[case.name], allowed_seconds(case, medians)
        goal = "" if allowed is None else f"{allowed:.3f} ({'missed' if is_missed(case, medians) else 'met'})"
        spread = f"{min(found):.3f} to {max(found):.3f}"
        over = medians[case.name] - medians[PASS]
        rows.append([case.name, f"{medians[case.name]:.3f}", spread, f"{over:.3f}", goal])
    return text_tables.render(["command", "CPU s", "all turns", f"over {PASS}", "goal"], rows, width=120)


if __name__ == "__main__":
    main()

"""What an outage of the store costs a replay, and what the loss of a worker: segments given up, and seconds redone.

    outage    an S3 server in a process of its own is stopped (SIGSTOP) for 70 s in mid-replay, then goes on
    faults    workers of this machine are killed in mid-segment, over and over; a segment commits every 30 s

`--quick` stops the server for 6 s and lets segments commit every 1.5 s. What is redone of a fault is what the lost
worker had run since the last commit of its segment, its set-up included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from flor_ray import lookup, pipeline
from flor_ray.cluster.driver import Progress
from flor_ray.cluster.local import LocalExecutor
from flor_ray.planning.terms import Terms
from flor_ray.records import Ending, Fidelity, Limits, Outcome
from flor_ray.replaying.results import judged
from flor_ray.store import cache
from tests.conftest import Lab, keep_usual_calibration
from tests.s3_servers import MotoProcess

SCRIPT = """
import time
import flor_ray as flor

state = {"weight": flor.arg("weight", 1.0)}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(EPOCHS)):
    for step in flor.loop("step", range(4)):
        state["weight"] = state["weight"] * 0.75 + epoch
    flor.log("weight", state["weight"])
"""
PLACE = '        state["weight"] ='
STATEMENT = '        flor.log("seen", state["weight"] + 0 * (time.sleep(SECONDS) or 0))\n'
Cells = list[tuple[object, ...]]


def measure(quick: bool) -> dict[str, object]:
    """The figures of both parts, by name."""
    return outage(quick) | faults(quick)


# --- the store is away ----------------------------------------------------------------------------------------------


def outage(quick: bool) -> dict[str, object]:
    """A server that is silent while segments begin, run, commit and end."""
    silent, versions = (6.0, 2) if quick else (70.0, 8)
    with contextlib.ExitStack() as ends:
        folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="flor-outage-"))
        server = ends.enter_context(MotoProcess())
        store = {"FLOR_RAY_STORE": "s3://flor/outage", cache.FOLDER_VARIABLE: f"{folder}/cache"}
        ends.enter_context(variables(**store, **server.environment))
        lab = recorded(Path(folder, "project"), versions, epochs=10, step_seconds=0.03)
        took = time.perf_counter()
        outcome = replayed(lab, LocalExecutor(), Limits(commit_seconds=1.0), stopping(server, silent))
        took = time.perf_counter() - took
        wrong = cells(lab) != expected(versions, 10)
    spoilt = [stint for stint in outcome.stints if stint.ending in (Ending.FAILED, Ending.LOST)]
    return {
        "outage_seconds": silent,
        "segments_lost_to_outage": len(outcome.failures),
        "segments_run_again_after_outage": len(spoilt),
        "outage_table_differs": wrong,
        "outage_versions_unlike_recorded": unlike_recorded(outcome),
        "outage_replay_seconds": round(took, 1),
    }


def stopping(server: MotoProcess, seconds: float) -> Callable[[Progress], None]:
    """Stops the server when the first rows are answered."""
    stopped = False

    def silence() -> None:
        with server.silent():
            time.sleep(seconds)

    def tell(progress: Progress) -> None:
        nonlocal stopped
        if progress.answered and not stopped:
            stopped = True
            threading.Thread(target=silence, daemon=True).start()

    return tell


# --- workers are lost -----------------------------------------------------------------------------------------------


def faults(quick: bool) -> dict[str, object]:
    """Workers that are killed while they are at a segment that would take much longer than a commit."""
    epochs, step, commit, kills = (15, 0.1, 1.5, 2) if quick else (60, 0.5, 30.0, 6)
    with tempfile.TemporaryDirectory(prefix="flor-redone-") as folder, variables(FLOR_RAY_STORE=None):
        lab = recorded(Path(folder, "project"), 2, epochs, step)
        executor = LocalExecutor()
        killer = _Killer(executor, kills, commit)
        outcome = replayed(lab, executor, Limits(commit_seconds=commit, retries=kills), killer.tell)
        wrong = cells(lab) != expected(2, epochs)
    lost = [stint.ended - stint.began for stint in outcome.stints if stint.ending is Ending.LOST]
    rows = sum(stint.rows for stint in outcome.stints if stint.ending is Ending.DONE)
    return {
        "faults": len(lost),
        "faults_commit_seconds": commit,
        "faults_epoch_seconds": 4 * step,
        "seconds_redone_per_fault_max": round(max(lost, default=0.0), 2),
        "rows_written_twice": rows - 2 * epochs * 4,
        "faults_segments_given_up": len(outcome.failures),
        "faults_table_differs": wrong,
        "faults_versions_unlike_recorded": unlike_recorded(outcome),
    }


class _Killer:
    """Kills one worker after the other, each at a random moment between two commits."""

    def __init__(self, executor: LocalExecutor, kills: int, commit_seconds: float) -> None:
        self._executor, self._left, self._commit = executor, kills, commit_seconds
        self._chance = Random(5)
        self._due: float | None = None

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._due is None and progress.answered:
            self._due = now + self._commit * self._chance.uniform(0.5, 1.5)
        if self._left and self._due is not None and now >= self._due and (pids := sorted(self._executor.pids.values())):
            os.kill(self._chance.choice(pids), signal.SIGKILL)
            self._left -= 1
            self._due = now + self._commit * self._chance.uniform(1.2, 1.8)


# --- what both need -------------------------------------------------------------------------------------------------


def recorded(root: Path, versions: int, epochs: int, step_seconds: float) -> Lab:
    """Some versions, and the newest code with a statement that makes their replays take a while."""
    lab = Lab(root)
    script = SCRIPT.replace("EPOCHS", str(epochs))
    for number in range(versions):
        store = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "FLOR_"))}
        lab.record_forked(script, "--kwargs", f"weight={number + 1}.0", torch=False, script="train.py", **store)
    keep_usual_calibration(lab.project)
    lab.write("train.py", script.replace(PLACE, STATEMENT.replace("SECONDS", str(step_seconds)) + PLACE))
    return lab


def replayed(lab: Lab, executor: LocalExecutor, limits: Limits, tell: Callable[[Progress], None]) -> Outcome:
    """What became of all versions, on two workers of this machine."""
    prepared = pipeline.prepare(lab.project, ["seen"], terms=Terms(2))
    return pipeline.run(prepared, executor, tell, limits)


def unlike_recorded(outcome: Outcome) -> int:
    """Versions of which not everything that was recorded came out again."""
    return sum(found.verdict is not Fidelity.EXACT for found in judged(outcome.reports).values())


def cells(lab: Lab) -> Cells:
    """The column, and where each value is: versions in the order in which they were recorded."""
    frame = lookup.dataframe("seen", path=str(lab.root))
    numbers = {version: number for number, version in enumerate(dict.fromkeys(frame["version"]))}
    places = zip(frame["version"].map(numbers), frame["epoch"], frame["step"], frame["seen"], strict=True)
    return sorted((int(v), int(e), int(s), float(value)) for v, e, s, value in places)


def expected(versions: int, epochs: int) -> Cells:
    """What the statement would have logged while recording."""
    found: Cells = []
    for number in range(versions):
        weight = number + 1.0
        for epoch in range(epochs):
            for step in range(4):
                found.append((number, epoch + 1, step, weight))
                weight = weight * 0.75 + epoch
    return found


@contextlib.contextmanager
def variables(**changed: str | None) -> Iterator[None]:
    """Meanwhile the environment has these; None: it lacks it."""
    before = {name: os.environ.get(name) for name in changed}
    put(changed)
    try:
        yield
    finally:
        put(before)


def put(values: dict[str, str | None]) -> None:
    """Set variables of this process's environment, or remove them."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short outage, and short segments")
    print(json.dumps(measure(parser.parse_args().quick)))


if __name__ == "__main__":
    main()

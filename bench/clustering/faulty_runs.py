"""A replay during which something goes wrong, and what became of it: the table has to be the one without any fault.

judge                 the table of a copy of the template, and what was run more than once
Faults                what happens when so many rows have been answered
run                   in this process: with the executor that is given
run_in_company        beside another driver that asks the same, and is killed
run_killed            the driver, too: in a process of its own that is killed, and asked again until it is done
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from clustering import asking, sleeping
from flor_ray import lookup, pipeline
from flor_ray.cluster.driver import Progress
from flor_ray.cluster.executors import Executor
from flor_ray.records import Ending, Limits, Outcome
from flor_ray.store.project import Project
from tests.conftest import environment

WORKERS = 2
SECONDS = 0.02  # of an epoch
EPOCHS = 2  # of a segment: the first is written before the second ends
LIMITS = Limits(commit_seconds=SECONDS / 2)
KEPT_SECONDS = 30.0  # between two times that a running segment's rows are written
_DRIVER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one run."""

    what: str  # the faults, in order
    segments: int
    identical: bool
    duplicate_rows: int
    faults: int  # that have really happened
    seconds_redone: float  # of worker time, the most for one fault
    told: str = ""  # what was wrong
    epoch_seconds: float = SECONDS  # of its longest epoch, set-up included

    @property
    def as_it_should_be(self) -> bool:
        """What runs is written every 30 s at the end of an epoch: more than that and an epoch is never run again."""
        return self.identical and not self.duplicate_rows and self.seconds_redone <= KEPT_SECONDS + self.epoch_seconds


@dataclass(frozen=True, slots=True)
class Template:
    """A recorded project, and what its table is when nothing goes wrong."""

    root: Path
    versions: int
    epochs: int
    table: bytes

    @property
    def segments(self) -> int:
        return self.rows // EPOCHS

    @property
    def rows(self) -> int:
        return self.versions * self.epochs

    def copy(self, to: Path) -> Path:
        """In a folder of this name; the project's own is named as it was, which a store in a bucket goes by."""
        root = to / self.root.name
        shutil.copytree(self.root, root, symlinks=True)
        return root


def template(folder: Path, versions: int = 8, epochs: int = 26) -> Template:
    """Record one, and find out its table by a replay that nothing disturbs."""
    from flor_ray.cluster.local import LocalExecutor

    root = folder / "template"
    sleeping.record(root, versions, epochs, SECONDS)
    plain = Template(root, versions, epochs, b"").copy(folder / "plain")
    outcome = pipeline.run(pipeline.prepare(Project.open(str(plain)), [sleeping.NAME]), LocalExecutor())
    if outcome.failures:
        raise RuntimeError(f"a replay without faults failed: {outcome.failures[0]}")
    values = [value for *_, value in sleeping.expected(versions, epochs)]
    if column(plain) != values:
        raise RuntimeError("a replay without faults did not give the values that were")
    return Template(root, versions, epochs, table(plain))


def column(root: Path, store_url: str | None = None) -> list[int]:
    """The statement's values by seed, epoch and step."""
    frame = lookup.dataframe(sleeping.NAME, path=str(root), store_url=store_url)
    frame = frame.assign(seed=frame["run"].str.removeprefix("run").astype(int))
    return list(frame.sort_values(["seed", "epoch", "step"])[sleeping.NAME])


def table(root: Path, store_url: str | None = None) -> bytes:
    """All of the table that its reader sees, as bytes."""
    frame = lookup.dataframe(sleeping.NAME, "number", path=str(root), store_url=store_url)
    frame = frame.sort_values(["run", "epoch", "step"]).reset_index(drop=True)
    return f"{frame.dtypes.to_dict()}\n{frame.to_csv()}".encode()


def duplicates(root: Path, store_url: str | None = None) -> int:
    """Rows that a reader gets more than once."""
    project = Project.open(str(root), store_url)
    rows = project.store.logs(project.name, names=[sleeping.NAME]).select(["version", "epoch", "step", "iteration"])
    return int(rows.num_rows - rows.group_by(["version", "epoch", "step", "iteration"]).aggregate([]).num_rows)


@dataclass
class Faults:
    """What happens at which row: each is done once, by whoever hears of progress, in a thread of its own where it
    lasts."""

    at: Sequence[tuple[int, str]]  # rows answered, and what happens then
    do: Callable[[str, Executor], bool]  # whether it could be done
    executor: Executor
    done: list[str] = field(default_factory=list)
    _waiting: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = sorted(self.at)

    def __call__(self, progress: Progress) -> None:
        if self._waiting and progress.answered >= self._waiting[0][0] and self.do(self._waiting[0][1], self.executor):
            self.done.append(self._waiting.pop(0)[1])


def run(
    of: Template,
    root: Path,
    executor: Executor,
    at: Sequence[tuple[int, str]],
    do: Callable[[str, Executor], bool],
    store_url: str | None = None,
    workers: int = WORKERS,
) -> Verdict:
    """Replay in this process, with these faults."""
    prepared = sleeping.prepared(Project.open(str(root), store_url), workers, SECONDS, EPOCHS)
    faults = Faults(at, do, executor)
    outcome = pipeline.run(prepared, executor, faults, LIMITS)
    return judge(of, root, faults.done, outcome, store_url)


def judge(
    of: Template, root: Path, faults: Sequence[str], outcome: Outcome | None, store_url: str | None = None
) -> Verdict:
    """Is the table the one without faults?"""
    told = "" if outcome is None else "; ".join(error for _, error in outcome.failures[:2])
    stints = [] if outcome is None else outcome.stints
    redone = [stint.ended - stint.began for stint in stints if stint.ending is not Ending.DONE]
    identical = not told and table(root, store_url) == of.table
    return Verdict(
        what=", ".join(faults),
        segments=of.segments,
        identical=identical,
        duplicate_rows=duplicates(root, store_url),
        faults=len(faults),
        seconds_redone=max(redone, default=0.0),
        told=told or ("" if identical else "the table is another one"),
    )


def run_in_company(of: Template, root: Path, executor: str, rows: int, **variables: str) -> Verdict:
    """Two drivers ask the same at once. The first is killed when it has answered so many rows; the other one has to
    come to an end."""
    command = asking.command(root, executor, WORKERS, SECONDS)
    first, other = (_driver(command, variables) for _ in range(2))
    watchdogs = [threading.Timer(_DRIVER_SECONDS, driver.kill) for driver in (first, other)]
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(other.stdout or ()))
    reader.start()
    try:
        for watchdog in watchdogs:
            watchdog.start()
        for line in first.stdout or ():
            if line.startswith("answered ") and int(line.split()[1]) >= rows:
                first.kill()
                break
        first.communicate()
        other.wait()
        reader.join()
    finally:
        for watchdog in watchdogs:
            watchdog.cancel()
    if other.returncode != 0:
        return Verdict("company", of.segments, False, 0, 1, 0.0, "".join(said[-20:]))
    return judge(of, root, ["company"], None)


def _driver(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_killed(of: Template, root: Path, executor: str, at: Sequence[int], **variables: str) -> Verdict:
    """The driver is killed when it has answered so many rows of what it was asked, time after time; then the rest is
    asked for."""
    command = asking.command(root, executor, WORKERS, SECONDS)
    killed = 0
    for rows in (*at, None):
        process = _driver(command, variables)
        watchdog = threading.Timer(_DRIVER_SECONDS, process.kill)
        watchdog.start()
        said: list[str] = []
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                answered = int(line.split()[1]) if line.startswith("answered ") else 0
                if rows is not None and answered >= rows:
                    process.kill()
                    killed += 1
                    break
            process.communicate()
        finally:
            watchdog.cancel()
        if rows is None and process.returncode != 0:
            return Verdict("driver", of.segments, False, 0, killed, 0.0, "".join(said[-20:]))
    return judge(of, root, ["driver"] * killed, None)


# --- processes ------------------------------------------------------------------------------------------------------


def kill(process: int) -> bool:
    """Whether there was something to kill."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def stop_for(process: int, seconds: float) -> bool:
    """Stopped now, and going on after a while."""

    def go_on() -> None:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)

    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
        threading.Thread(target=go_on, daemon=True).start()
        return True
    return False


def servers(worker: int) -> list[int]:
    """What a worker forks scripts from."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(worker).children():
            with contextlib.suppress(psutil.Error):
                if any("serve_forks" in word for word in child.cmdline()):
                    found.append(child.pid)
    return found


def scripts(worker: int) -> list[int]:
    """What a worker replays in: forks of its servers."""
    found = []
    for server in servers(worker):
        with contextlib.suppress(psutil.Error):
            found += [child.pid for child in psutil.Process(server).children()]
    return found

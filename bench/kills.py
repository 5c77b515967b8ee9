"""What a SIGKILL costs while recording: a small training run is killed at random moments, and its store is examined.

Moments are drawn (`--seed`) from three parts of a run, in turn:

    start       within the first second of recording: the shadow commit, the opening of the store
    training    any time in the main loop
    end         after the script's last statement, while the rest is written and merged

Half of the kills take the process alone, half its process group (as a container that runs out of memory does). The
script notes what it logs in a file of its own, which it syncs, and this is what its store is compared with. Prints a
table, what is wrong if anything is (then the exit status is 1), and, last, one JSON object. `--keep` writes that to
bench/results as well.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import track

from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.records import Experiment, Status, Value
from flor_ray.reports import text_tables
from flor_ray.state import snapshots
from flor_ray.store.project import Project
from flor_ray.store.typed_values import VALUE_COLUMNS, decode

MOMENTS = ("start", "training", "end")
FLUSH_SECONDS = 1.0  # what a kill may cost, by promise
BUSY_SECONDS = 1.0  # on top of it: a writer that has to wait for a core and for the disk
EPOCHS = 16  # of about 0.25 s: long enough to see a writer that is late

# Large tensors are objects of their own, small ones packed; the sleep stands for the work of a step.
SCRIPT = """
import os
import sys
import time

import torch

import flor_ray as flor

notes = os.open(os.environ["KILLS_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(*words):
    os.write(notes, (" ".join(map(str, (time.time(), *words))) + "\\n").encode())
    os.fsync(notes)


def probe(net, optimizer):
    slots = optimizer.state[net[0].weight]
    return [part.double().sum().item().hex() for part in (net[0].weight, slots["exp_avg"], net[2].bias)]


torch.set_num_threads(1)
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(64, 600), torch.nn.Dropout(0.1), torch.nn.Linear(600, 4))
optimizer = torch.optim.Adam(net.parameters())
print("begins", flush=True)
steps = 0
rate = flor.arg("rate", 0.5)
with flor.checkpointing(net=net, optimizer=optimizer):
    print("trains", flush=True)
    for epoch in flor.loop("epoch", range(EPOCHS)):
        for step in flor.loop("step", range(6)):
            time.sleep(0.03)
            loss = (net(torch.randn(8, 64)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            flor.log("loss", loss.item())
            note("log", "loss", epoch + 1, step, loss.item().hex())
        flor.log("steps", steps)
        note("log", "steps", epoch + 1, -1, float(steps).hex())
        note("epoch", epoch + 1, *probe(net, optimizer))
print("ends", flush=True)
""".replace("range(EPOCHS)", f"range({EPOCHS})")
NOTE = '        note("epoch"'
HINDSIGHT = SCRIPT.replace(NOTE, "        flor.log('probe', probe(net, optimizer))\n" + NOTE)
SCRIPT_NAME = "train.py"

Key = tuple[str, int, int]  # name, epoch, step (-1: none)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many runs to kill (default 50)")
    parser.add_argument("--replays", type=int, default=2, help="epochs to replay of each of them (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the epochs that are replayed")
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=MOMENTS, help="parts of a run (default all)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flor-kills-") as folder:
        bench = Bench(Path(folder), random.Random(options.seed), options.replays, tuple(options.moments))
        bench.prepare()
        console = Console(stderr=True)
        for number in track(range(options.kills), "killing", console=console, disable=not console.is_terminal):
            bench.kill(number)
        bench.finish()
    result = bench.result()
    rows = [[name, str(value)] for name, value in result.items()]
    print(text_tables.render(["measured", "value"], rows))
    for problem in bench.problems:
        print(f"WRONG: {problem}")
    line = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"kills-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line + "\n")
    print(line)
    return 1 if bench.problems else 0


@dataclass
class Notes:
    """What a script says that it did, by its own synced file."""

    logged: dict[Key, tuple[float, float]]  # when, and the value
    epochs: dict[int, tuple[float, list[str]]]  # when it ended, and its state

    @classmethod
    def read(cls, path: Path) -> Notes:
        notes = cls({}, {})
        for line in path.read_text().splitlines() if path.exists() else ():
            at, kind, *words = line.split(" ")
            if kind == "log":
                name, epoch, step, value = words
                notes.logged[name, int(epoch), int(step)] = float(at), float.fromhex(value)
            else:
                notes.epochs[int(words[0])] = float(at), words[1:]
        return notes


@dataclass
class Bench:
    """One git repository in which runs are killed one after another, and what was found."""

    folder: Path
    chance: random.Random
    replays: int
    moments: tuple[str, ...] = MOMENTS
    problems: list[str] = field(default_factory=list)
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    oldest_lost_seconds: float = 0.0
    truth: dict[int, list[str]] = field(default_factory=dict)  # the state at the end of each epoch
    ending_seconds: float = 0.0  # from the script's last statement to the end of its process
    git_state: object = None
    checked_objects: set[str] = field(default_factory=set)

    @property
    def root(self) -> Path:
        return self.folder / "project"

    # the steps

    def prepare(self) -> None:
        """A repository with committed, staged, changed and untracked files, and a first run that nobody kills."""
        os.environ["KILLS_NOTES"] = str(self.notes("replays"))  # theirs are not looked at
        self.root.mkdir()
        self.git("init", "--quiet", ".")
        for name in ("committed.txt", "staged.txt", "changed.txt", SCRIPT_NAME):
            (self.root / name).write_text(SCRIPT if name == SCRIPT_NAME else "1")
        self.git("add", ".")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
        for name in ("staged.txt", "changed.txt", "untracked.txt"):
            (self.root / name).write_text("2")
        self.git("add", "staged.txt")
        self.git_state = self.users_state()
        with self.running("whole") as (process, lines):
            for line in lines:
                if line == "ends":
                    ended = time.perf_counter()
            self.expect(process.wait() == 0, "the run that nobody kills failed")
            self.ending_seconds = time.perf_counter() - ended
        notes = Notes.read(self.notes("whole"))
        self.truth = {epoch: state for epoch, (_, state) in notes.epochs.items()}
        self.examine("whole", notes, killed=None)

    def kill(self, number: int) -> None:
        moment = self.moments[number % len(self.moments)]
        name = f"kill-{number:04d}"
        whole_group = bool(number % 2)
        share = self.chance.random()
        if moment == "end":
            share **= 2  # most of that time Python shuts down, and nothing can be lost any more
        with self.running(name) as (process, lines):
            wanted = {"start": "begins", "training": "trains", "end": "ends"}[moment]
            next((line for line in lines if line == wanted), None)
            time.sleep(share * {"start": 1.0, "training": 0.2 * EPOCHS, "end": self.ending_seconds}[moment])
            killed = time.time()
            self.counts["ended before its kill"] += process.poll() is not None
            if process.poll() is None:
                (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
        where = f"{name} ({moment}, {share:.3f}, {'group' if whole_group else 'process'})"
        self.counts[f"kills: {moment}"] += 1
        self.examine(name, Notes.read(self.notes(name)), killed, where)
        if number % 10 == 9:
            self.later_run(f"after-{number:04d}")

    def finish(self) -> None:
        """A normal run, and a look at all of the store and of git."""
        self.later_run("last")
        self.checked_objects.clear()
        self.check_objects("in the end")
        broken = self.git("fsck", "--no-dangling", "--no-progress").strip()
        self.expect(not broken, f"git fsck: {broken}")

    def later_run(self, name: str) -> None:
        with self.running(name) as (process, lines):
            collections.deque(lines, maxlen=0)
            self.expect(process.wait() == 0, f"{name}: a normal run after the kills failed")
        self.counts["later runs"] += 1
        self.examine(name, Notes.read(self.notes(name)), killed=None)

    # what is checked

    def examine(self, name: str, notes: Notes, killed: float | None, where: str = "") -> None:
        where = where or name
        self.expect(self.users_state() == self.git_state, f"{where}: HEAD, index, status or a file of the user changed")
        project = Project.open(str(self.root))
        self.check_objects(where)
        runs = [run for run in project.experiments() if run.run == name]
        if not runs:
            self.expect(killed is not None and not notes.logged, f"{where}: the run is not listed")
            self.counts["killed before they had begun"] += 1
            return
        self.expect(len(runs) == 1, f"{where}: {len(runs)} versions")
        run = runs[0]
        self.expect(run.status is Status.FINISHED or killed is not None, f"{where}: {run.status}")
        self.expect(run.status in (Status.CRASHED, Status.FINISHED), f"{where}: listed as {run.status}")
        if killed is not None:
            self.counts[f"listed as {run.status}"] += 1
        if run.status is Status.FINISHED:
            self.expect(len(notes.epochs) == EPOCHS, f"{where}: listed as finished after {len(notes.epochs)} epochs")
            killed = None  # how it ended is written last: nothing may be missing
        self.check_records(project, run, notes, killed, where)
        self.check_checkpoints(project, run, where)
        self.check_epochs(run, notes, killed, where)

    def check_records(self, project: Project, run: Experiment, notes: Notes, killed: float | None, where: str) -> None:
        """What the script noted is there once, with its value; only what came just before the kill may be missing."""
        found: dict[Key, float] = {}
        for row in project.store.logs(project.name, names=["loss", "steps"], versions=[run.version]).to_pylist():
            key = row["name"], row["epoch"], -1 if row["step"] is None else row["step"]
            value = decode(Value(*(row[column] for column in VALUE_COLUMNS)), project.store.objects.get)
            self.expect(key not in found, f"{where}: {key} is there twice")
            found[key] = float(value)
        lost = {key: at for key, (at, _) in notes.logged.items() if key not in found}
        wrong = [key for key, (_, value) in notes.logged.items() if found.get(key, value) != value]
        strange = found.keys() - notes.logged.keys()  # logged, and killed before that could be noted
        self.expect(not wrong, f"{where}: wrong values of {wrong}")
        self.expect(len(strange) <= (killed is not None), f"{where}: {sorted(strange)} were never logged")
        first_lost = min(lost.values(), default=float("inf"))
        holes = [key for key, (at, _) in notes.logged.items() if key in found and at > first_lost]
        self.expect(not holes, f"{where}: records are missing before {holes}")
        age = 0.0 if not lost else (killed or time.time()) - first_lost
        limit = 0.0 if killed is None else FLUSH_SECONDS + BUSY_SECONDS
        self.expect(age <= limit, f"{where}: {len(lost)} records are lost, the oldest {age:.2f} s before the kill")
        self.counts["records logged"] += len(notes.logged)
        self.counts["records lost"] += len(lost)
        self.oldest_lost_seconds = max(self.oldest_lost_seconds, age)

    def check_checkpoints(self, project: Project, run: Experiment, where: str) -> None:
        for checkpoint in project.store.checkpoints(project.name, run.version):
            try:
                snapshots.read(project.store.objects, checkpoint.key)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
                self.problems.append(f"{where}: checkpoint {checkpoint.epoch} {checkpoint.point}: {error!r}")
            self.counts["checkpoints read"] += 1

    def check_epochs(self, run: Experiment, notes: Notes, killed: float | None, where: str) -> None:
        """Every epoch that was over before the last seconds counts, and gives its values when it is replayed."""
        limit = float("inf") if killed is None else killed - FLUSH_SECONDS - BUSY_SECONDS
        sure = [epoch for epoch, (at, _) in notes.epochs.items() if at < limit]
        self.expect(
            len(sure) <= run.epochs <= len(notes.epochs), f"{where}: {run.epochs} of {len(notes.epochs)} epochs"
        )
        self.counts["epochs finished"] += len(notes.epochs)
        self.counts["epochs lost"] += len(notes.epochs) - run.epochs
        if not run.epochs or (killed is None and not where.startswith("kill")):
            return
        chosen = sorted(self.chance.sample(range(1, run.epochs + 1), min(self.replays, run.epochs)))
        wanted = " or ".join(f"epoch == {epoch}" for epoch in chosen)
        project = Project.open(str(self.root))
        (self.root / SCRIPT_NAME).write_text(HINDSIGHT)
        try:
            prepared = pipeline.prepare(project, ["probe"], f'version == "{run.version}" and ({wanted})')
            outcome = pipeline.run(prepared, ThreadExecutor())
        except Exception as error:  # noqa: BLE001 - as above
            self.problems.append(f"{where}: {error!r}")
            return
        finally:
            (self.root / SCRIPT_NAME).write_text(SCRIPT)
        self.expect(not outcome.failures, f"{where}: {outcome.failures}")
        mismatches = [report.mismatch for report in outcome.reports if report.mismatch is not None]
        self.expect(not mismatches, f"{where}: {mismatches}")
        rows = project.store.logs(project.name, names=["probe"], versions=[run.version]).to_pylist()
        found = {
            row["epoch"]: decode(Value(*(row[column] for column in VALUE_COLUMNS)), project.store.objects.get)
            for row in rows
        }
        for epoch in chosen:
            self.expect(found.get(epoch) == self.truth[epoch], f"{where}: epoch {epoch} is not what it was")
        self.counts["epochs replayed"] += len(chosen)

    def check_objects(self, where: str) -> None:
        """Every object has the hash that is its name; `get` compares them."""
        objects = Project.open(str(self.root)).store.objects
        for key in sorted(objects.infos().keys() - self.checked_objects):
            try:
                objects.get(key)
            except Exception as error:  # noqa: BLE001 - as above
                self.problems.append(f"{where}: object {key}: {error!r}")
            self.checked_objects.add(key)

    # helpers

    def expect(self, fine: bool, problem: str) -> None:
        if not fine:
            self.problems.append(problem)

    def git(self, *arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout

    def users_state(self) -> object:
        """HEAD, branches but ours, index, status, and the contents of the user's files."""
        branches = [line for line in self.git("for-each-ref").splitlines() if "flor.shadow" not in line]
        files = {path.name: path.read_bytes() for path in sorted(self.root.iterdir()) if path.is_file()}
        index = hashlib.sha256((self.root / ".git" / "index").read_bytes()).hexdigest()
        return (self.root / ".git" / "HEAD").read_text(), branches, index, self.git("status", "--porcelain"), files

    def notes(self, name: str) -> Path:
        return self.folder / f"{name}.txt"

    def running(self, name: str) -> _Running:
        return _Running(self, name)

    def result(self) -> dict[str, Any]:
        kills = sum(self.counts[f"kills: {moment}"] for moment in MOMENTS)
        named = (name.replace(":", "").replace(" ", "_") for name in self.counts)
        counted = dict(sorted(zip(named, self.counts.values(), strict=True)))
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "date": time.strftime("%Y-%m-%d"),
            "kills": kills,
            **counted,
            "objects_checked": len(self.checked_objects),
            "oldest_lost_seconds": round(self.oldest_lost_seconds, 2),
            "problems": len(self.problems),
        }


class _Running:
    """A run in a process group of its own, with the lines that it prints; nothing of it is left afterwards."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._errors = (bench.folder / f"{name}.stderr").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, SCRIPT_NAME, "--flor", name],
            cwd=bench.root,
            env=os.environ
            | {"KILLS_NOTES": str(bench.notes(name)), "FLOR_RAY_OVERHEAD": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], Iterator[str]]:
        output = self._process.stdout
        assert output is not None
        return self._process, map(str.strip, output)

    def __exit__(self, *error: object) -> None:
        output: IO[str] | None = self._process.stdout
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        if output is not None:
            output.close()
        if code not in (0, -signal.SIGKILL):
            self._errors.seek(0)
            print(self._errors.read(), file=sys.stderr)
        self._errors.close()


if __name__ == "__main__":
    sys.exit(main())

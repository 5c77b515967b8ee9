"""Questions in SQL to recorded runs, each acquired for itself: what of all epochs it replays, and whether it is right.

A project of several versions is recorded, and gets two statements more. Each question is put to a copy of it, and to
one in which everything has been replayed; both must answer the same. Replays run on threads of this process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flor_ray import pipeline
from flor_ray.acquisition import Acquisition, How
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Outcome
from flor_ray.replaying.version_process import WarmServers
from flor_ray.store.project import Project

EPOCHS = 8
SCRIPT = f"""
import flor_ray as flor

rate = flor.arg("rate", 1)
state = {{"weight": 1}}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range({EPOCHS})):
    for step in flor.loop("step", range(4)):
        state["weight"] = (state["weight"] * 31 + rate * step) % 1009
    flor.log("acc", (state["weight"] * rate) % 101)
"""
INNER = '        flor.log("seen", state["weight"] % 7)\n'
HINDSIGHT = SCRIPT.replace("        state[", f"{INNER}        state[") + '    flor.log("norm", state["weight"] ** 2)\n'
QUESTIONS = {
    "filter": "SELECT version, epoch, norm FROM outer_loop_pivot WHERE acc > 80",
    "best epoch": "SELECT version, epoch, norm FROM outer_loop_pivot "
    "QUALIFY row_number() OVER (PARTITION BY version ORDER BY acc DESC, epoch) = 1",
    "last epoch": "SELECT version, norm FROM outer_loop_pivot o "
    "WHERE epoch = (SELECT max(epoch) FROM outer_loop_pivot i WHERE i.version = o.version)",
    "top 3": "SELECT version, epoch, norm FROM outer_loop_pivot ORDER BY acc DESC, version, epoch LIMIT 3",
    "groups": "SELECT version, avg(norm) AS norm FROM outer_loop_pivot GROUP BY version HAVING max(acc) > 95",
    "unsure filter": "SELECT version, epoch, acc FROM outer_loop_pivot WHERE norm > 90000 "
    "ORDER BY acc DESC, version, epoch LIMIT 2",
    "exists": "SELECT version FROM experiments e WHERE EXISTS "
    "(SELECT 1 FROM outer_loop_pivot o WHERE o.version = e.version AND o.norm > 800000 AND o.epoch > 6)",
    "steps": "SELECT version, epoch, max(seen) AS seen FROM full_pivot WHERE epoch IN (2, 5) GROUP BY version, epoch",
}


def measure(quick: bool) -> dict[str, float]:
    """Figures by name: questions, those whose answers were wrong, the share of epochs that were replayed against
    acquiring all (the mean over questions), and the processor seconds of a question beside its replays."""
    versions = 4 if quick else 12
    with tempfile.TemporaryDirectory(prefix="flor-bench-") as place:
        folder = Path(place)
        recorded = _recorded(folder / "recorded" / "project", versions)
        everything = _copy(recorded, folder / "everything")
        servers = (WarmServers(), WarmServers())
        prepared = pipeline.prepare(Project.open(str(everything)), ["norm", "seen"], terms=Terms(1))
        pipeline.run(prepared, ThreadExecutor(servers))
        wrong, shares, seconds = 0, [], []
        for number, (name, sql) in enumerate(QUESTIONS.items()):
            copy = _copy(recorded, folder / str(number))
            began = time.process_time()
            rows, replayed = _asked(copy, sql, servers)
            seconds.append(time.process_time() - began)
            right, more = _asked(everything, sql, servers)
            wrong += rows != right or more != 0
            shares.append(replayed / (versions * EPOCHS))
            print(f"{name:15} {replayed:4} of {versions * EPOCHS} epochs  {'' if rows == right else 'WRONG'}")
    return {
        "questions": len(shares),
        "questions_wrong": wrong,
        "share_filled": round(sum(shares) / len(shares), 3),
        "question_cpu_seconds": round(sum(seconds) / len(seconds), 3),
    }


def _recorded(root: Path, versions: int) -> Path:
    root.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "."], cwd=root, check=True)
    script = root / "train.py"
    script.write_text(SCRIPT)
    for rate in range(1, versions + 1):
        command = [sys.executable, "train.py", "--flor", f"run{rate}", "--kwargs", f"rate={rate}"]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    script.write_text(HINDSIGHT)
    return root


def _copy(recorded: Path, folder: Path) -> Path:
    """The project elsewhere, under its own name."""
    shutil.copytree(recorded, folder / recorded.name)
    return folder / recorded.name


def _asked(root: Path, sql: str, servers: tuple[WarmServers, ...]) -> tuple[list[str], int]:
    """The rows of an answer, in an order of their own, and how many epochs were replayed for it."""
    replayed = 0

    def run(prepared: Prepared) -> Outcome:
        nonlocal replayed
        outcome = pipeline.run(prepared, ThreadExecutor(servers))
        replayed += sum(report.segment.last - report.segment.first + 1 for report in outcome.reports)
        return outcome

    question = Acquisition(Project.open(str(root)), sql)
    question.acquire(How(lambda: Terms(1), lambda explanation: True, run, "current"))
    answer = question.answer()
    return sorted(map(repr, answer.table.to_pylist())), replayed


if __name__ == "__main__":
    print(measure("--quick" in sys.argv))

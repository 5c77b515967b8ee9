"""Several people at once: two drivers ask one question, two ask different ones. Each driver is a process of its own.

    same question       each epoch is to run once, both tables are to be whole, both are to end as one alone would
    different ones      each is to have its share of the slots, while both are there

Scripts sleep, so that many workers fit on few cores; a slot is what a worker needs. With slots that are divided, one
driver alone has all of them, and two that share their work have half each: ideally all end at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clustering import sleeping
from flor_ray import pipeline
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Operator
from flor_ray.scheduler import packing
from flor_ray.store.project import Project
from tests.conftest import environment, keep_usual_calibration
from tests.ray_heads import RayHead

OTHER = "after"  # a second name, of a statement of its own
_SECONDS = 240.0  # for a driver
_PATHS = [str(Path(__file__).parents[depth]) for depth in (1, 2)]  # of bench and of the tests


@dataclass(frozen=True, slots=True)
class Size:
    """How much is replayed, by how many workers."""

    versions: int
    epochs: int
    seconds: float  # an epoch
    slots: int


QUICK = Size(versions=3, epochs=12, seconds=0.8, slots=4)
WHOLE = Size(versions=6, epochs=20, seconds=2.0, slots=6)


def measure(quick: bool, on: str = "local", told: Callable[[dict[str, Any]], None] | None = None) -> dict[str, object]:
    """What was found, by name; `on` is "local", or "ray" for one cluster that all drivers join. `told` is told what
    the drivers said."""
    size = QUICK if quick else WHOLE
    with tempfile.TemporaryDirectory(prefix="flor-users-") as folder:
        recorded = _recorded(Path(folder, "recorded"), size)
        same, other = (Path(shutil.copytree(recorded, Path(folder, name))) for name in ("same", "other"))
        with _place(on, size.slots) as variables:
            alone = _ask(recorded, size, variables, [[sleeping.NAME]])
            asked = _ask(same, size, variables, [[sleeping.NAME], [sleeping.NAME]])
            different = _ask(other, size, variables, [[sleeping.NAME], [OTHER]])
        twice = _twice(Project.open(str(same)))
    if told is not None:
        told({"alone": alone, "same": asked, "different": different})
    return {
        "epochs_replayed_twice_by_two_drivers": twice,
        "both_tables_whole": all(one["rows"] == size.versions * size.epochs * sleeping.STEPS for one in asked),
        "same_question_ratio": round(_seconds(asked) / _seconds(alone), 3),
        "same_question_ratio_with_start": round(_seconds(asked, "began") / _seconds(alone, "began"), 3),
        "share_error_max_pct": round(100 * _share_error(different, size.slots), 1),
    }


def _recorded(root: Path, size: Size) -> Path:
    """A project whose newest code has both statements."""
    sleeping.record(root, size.versions, size.epochs, size.seconds)
    script = root / "train.py"
    text = script.read_text()
    statement = f'    flor.log("{OTHER}", time.sleep({size.seconds}) or state["number"])\n'
    script.write_text(text + statement)
    keep_usual_calibration(Project.open(str(root)))
    return root


def _seconds(drivers: list[dict[str, Any]], since: str = "stints") -> float:
    """Until all drivers have ended, since the first segment began; or since the first driver `began`, with what
    starting workers takes, which on one machine is longer for two drivers than for one."""
    begins = [min(began for began, _ in one["stints"]) if since == "stints" else one[since] for one in drivers]
    return float(max(one["ended"] for one in drivers) - min(begins))


@contextlib.contextmanager
def _place(on: str, slots: int) -> Iterator[dict[str, str]]:
    """Where workers run; the environment of drivers."""
    if on == "local":
        yield environment()
        return
    with RayHead("--object-store-memory=100000000", cpus=slots) as head:
        yield {**head.environment, "RAY_ADDRESS": head.address}


def _ask(root: Path, size: Size, variables: dict[str, str], questions: list[list[str]]) -> list[dict[str, Any]]:
    """Drivers ask these questions at the same time; what each says."""
    on = "ray" if "RAY_ADDRESS" in variables else "local"
    drivers = []
    for number, names in enumerate(questions):
        told = root.parent / f"{root.name}-{number}.json"
        order = {"root": str(root), "names": names, "slots": size.slots, "seconds": size.seconds, "on": on}
        code = f"import sys; sys.path[:0] = {_PATHS}; from clustering import users; users.drive(sys.argv[1])"
        command = [sys.executable, "-c", code, json.dumps({**order, "told": str(told)})]
        process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        drivers.append((process, told))
    found = []
    for process, told in drivers:
        output, _ = process.communicate(timeout=_SECONDS)
        if process.returncode != 0:
            raise RuntimeError(f"a driver ended with {process.returncode}: {output.decode(errors='replace')}")
        found.append(json.loads(told.read_text()))
    return found


def drive(words: str) -> None:
    """One driver: asks, and says when it began and ended, what its workers did, and how many values it then reads."""
    order = json.loads(words)
    began = time.time()
    project = Project.open(order["root"])
    prepared = asked(project, order["names"], order["slots"], order["seconds"])
    zero: list[float] = []  # when the driver's clock was 0, which is when it tells first

    def tell(progress: object) -> None:
        if not zero:
            zero.append(time.time())

    if order["on"] == "local":
        os.cpu_count = lambda: order["slots"]  # workers mostly sleep
    outcome = pipeline.run(prepared, order["on"], tell)
    ended = time.time()
    if outcome.failures:
        raise RuntimeError(f"{outcome.failures}")
    first = project.store.logged(project.name, order["names"])
    said = {
        "began": began,
        "ended": ended,
        "rows": first.rows.num_rows,
        "stints": [(zero[0] + stint.began, zero[0] + stint.ended) for stint in outcome.stints],
        "shared": len(outcome.shared),
        "notes": outcome.notes,
    }
    Path(order["told"]).write_text(json.dumps(said))


def asked(project: Project, names: list[str], workers: int, seconds: float) -> Prepared:
    """A question with each epoch as a segment of its own, which is expected to take so long."""
    found = pipeline.prepare(project, names, terms=Terms(workers))
    cutting = found.scheduled.cutting
    costs = [
        replace(cutting.cost(segment), run_seconds=seconds, setup_seconds=0.0)
        for whole in found.costs
        for segment in cutting.cut(whole.segment, cutting.points(whole.segment))
    ]
    return replace(found, scheduled=replace(found.scheduled, schedule=packing.pack(costs, workers)))


def _twice(project: Project) -> int:
    """Epochs that more than one replay has run."""
    runs: Counter[tuple[str, int]] = Counter()
    for kept in project.store.logged(project.name, []).reports:
        segment = kept.report.segment
        if segment.operator is Operator.DP_I:
            runs.update((segment.version, epoch) for epoch in range(segment.first, segment.last + 1))
    return sum(number > 1 for number in runs.values())


def _share_error(asked: list[dict[str, Any]], slots: int) -> float:
    """By how much the slots that a driver had, on average over the time in which all had some, differ from a share."""
    begin = max(min(began for began, _ in one["stints"]) for one in asked)
    end = min(max(ended for _, ended in one["stints"]) for one in asked)
    share = slots / len(asked)
    errors: list[float] = []
    for one in asked:
        busy = sum(max(0.0, min(end, ended) - max(begin, began)) for began, ended in one["stints"])
        errors.append(abs(busy / (end - begin) / share - 1.0))
    return max(errors)

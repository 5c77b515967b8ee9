"""How long replays take, beside the same scripts run again from their start.

tail    N versions of the demo, a column of the tail: one warm worker, a cold process per version, re-execution
range   a column of the nested loop, for the last quarter of the epochs, beside those epochs in a plain run
set-up  versions of a script that imports transformers: what a version costs before its first epoch
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flor_ray import pipeline
from flor_ray.records import Point
from flor_ray.state.checkpoints import LoadedState
from flor_ray.store.project import Project
from replaying.cases import LANGUAGE_MODEL, SCRIPT, Group, insert
from replaying.recording import Drive, Execution, Repository, ScriptBroke, reexecute

TAIL = "cf_matrix"
RANGE = "gradient_norm"
_GRADIENT_NORM = f'flor.log("{RANGE}", net[4].weight.grad.norm().item())'
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    versions: int  # of the demo
    timed: int  # of these, run again and by cold processes; the others are taken to cost the same
    epochs: int
    epoch_seconds: float  # about
    copies: int  # of the training set; 0: as many as make such epochs
    range_versions: int  # of these, for the range
    setup_versions: int  # of the language model
    repeats: int
    every_epoch: bool = False  # a checkpoint after each, however busy the machine is


@dataclass(frozen=True, slots=True)
class Setup:
    """Seconds from order to answer of a version's first segment, less its own run time, and less what the script needs
    from its imports to its main loop. One number for each version: the first also pays for the imports."""

    first: list[float]
    others: list[float]
    preparation: list[float]  # of the script itself, in plain runs

    def add(self, drive: Drive, preparation: Mapping[str, float]) -> None:
        """What a replay of several versions by one worker took; `preparation` by version."""
        found: dict[str, float] = {}
        for segment in drive.segments:
            seconds = segment.wall_seconds - segment.run_seconds - preparation[segment.version]
            found.setdefault(segment.version, seconds)
        if found.keys() != preparation.keys():
            raise ScriptBroke("Not every version was replayed.")
        first, *others = found.values()
        self.first.append(first)
        self.others.extend(others)
        self.preparation.extend(preparation.values())


@dataclass(frozen=True, slots=True)
class Tail:
    """Seconds for all versions, one number for each repeat."""

    reexecution: list[float]
    warm: list[float]
    cold: list[float]
    prepare: list[float]
    executions: dict[str, Execution]  # the last plain run of each version
    setup: Setup  # of the demo's versions, in the warm replays
    further: list[float]  # seconds that the warm worker takes for a version after the first

    @property
    def epoch_seconds(self) -> float:
        return statistics.median(seconds for run in self.executions.values() for seconds in run.epochs)

    def ratio(self, other: Sequence[float]) -> float:
        return statistics.median(theirs / ours for theirs, ours in zip(other, self.warm, strict=True))


@dataclass(frozen=True, slots=True)
class Range:
    """One row for each version and repeat."""

    replayed: list[float]  # seconds of the wanted epochs' segments, once the process is set up
    restore: list[float]  # seconds to read the checkpoint before them
    epochs: list[float]  # seconds of the same epochs in a plain run with the statement in it

    def overhead_pct(self) -> float:
        rows = zip(self.replayed, self.restore, self.epochs, strict=True)
        return statistics.median(100 * (replayed / (restore + epochs) - 1) for replayed, restore, epochs in rows)


class Demo:
    """Versions of the demo whose epochs are as long as wanted: the training set is repeated, the test set is not."""

    def __init__(self, folder: Path, sizes: Sizes, say: Say) -> None:
        self.sizes = sizes
        self._folder = folder
        self._copies = sizes.copies or self._calibrate()
        say(f"the demo's training set is taken {self._copies} times")
        self.repository = Repository(folder / "demo")
        texts = self._texts()
        for index in range(sizes.versions):
            self.repository.write({SCRIPT: _with_lr(texts[index % (len(texts) - 1)], 0.001 * (1 + index / 10))})
            self.repository.record(run=f"v{index}", every=sizes.every_epoch)
            say(f"recorded version {index + 1} of {sizes.versions}")
        last = insert(texts[-1], "        loss.backward()", [_GRADIENT_NORM])
        self.repository.write({SCRIPT: last})

    def _texts(self) -> list[str]:
        folder = resources.files("flor_ray").joinpath("demo_versions")
        files = sorted((file for file in folder.iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
        return [sized_up(file.read_text(encoding="utf-8"), self.sizes.epochs, self._copies) for file in files]

    def _calibrate(self) -> int:
        self._copies = 8
        taken = reexecute({SCRIPT: self._texts()[0]}, {}, self._folder / "calibration").epochs
        return max(1, round(self._copies * self.sizes.epoch_seconds / statistics.median(taken)))

    def patched(self, name: str) -> dict[str, tuple[str, str]]:
        """Version -> its run name and its script with the statement of `name` in it."""
        prepared = pipeline.prepare(Project.open(str(self.repository.root)), [name], again=True)
        if prepared.refusals or len(prepared.costs) == 0:
            raise ScriptBroke(f"{name} cannot be replayed: {prepared.refusals}")
        versions = dict.fromkeys(cost.segment.version for cost in prepared.costs)
        return {v: (prepared.experiments[v].run, prepared.patched[v].files[SCRIPT]) for v in versions}

    def start_of_range(self, version: str) -> int:
        """The last epoch before the last quarter that has a checkpoint: on a busy machine not every one has."""
        listed = self.repository.project.store.checkpoints(self.repository.project.name, version)
        quarter = self.sizes.epochs - max(1, self.sizes.epochs // 4)
        return max(c.epoch for c in listed if c.point is Point.EPOCH_END and c.epoch <= quarter)

    def execute(self, text: str) -> Execution:
        return reexecute({SCRIPT: text}, {}, self._folder / "again")


def sized_up(text: str, epochs: int, copies: int) -> str:
    """A version of the demo with more epochs and a training set of several copies of itself."""
    for pattern, new in (
        (r"num_epochs = .*", f"num_epochs = {epochs}"),
        (
            r"TensorDataset\(train_images, train_labels\)",
            f"TensorDataset(train_images.repeat({copies}, 1, 1, 1), train_labels.repeat({copies}))",
        ),
    ):
        text, count = re.subn(pattern, new, text)
        if count != 1:
            raise ScriptBroke(f"The demo has {count} places like {pattern!r}, and must have one.")
    return text


def _with_lr(text: str, lr: float) -> str:
    return re.sub(r'flor\.arg\("lr", [\d.]+\)', f'flor.arg("lr", {lr:.4f})', text)


def measure_tail(demo: Demo, say: Say) -> Tail:
    """In turn: each version again from its start and by a cold process, then all by one warm worker."""
    patched = demo.patched(TAIL)
    result = Tail([], [], [], [], {}, Setup([], [], []), [])
    for _ in range(demo.sizes.repeats):
        reexecuted = cold = 0.0
        for version, (run, text) in list(patched.items())[: demo.sizes.timed]:
            result.executions[version] = demo.execute(text)
            reexecuted += result.executions[version].seconds
            drive = checked(demo.repository.replay([TAIL], f"run == '{run}'", again=True))
            cold += drive.run_seconds
        reexecuted, cold = (seconds * len(patched) / demo.sizes.timed for seconds in (reexecuted, cold))
        warm = checked(demo.repository.replay([TAIL], again=True))
        known = {version: run.preparation for version, run in result.executions.items()}
        usual = statistics.median(known.values())
        result.setup.add(warm, {version: known.get(version, usual) for version in patched})
        result.further.extend(_further_seconds(warm))
        for numbers, seconds in (
            (result.reexecution, reexecuted),
            (result.cold, cold),
            (result.warm, warm.run_seconds),
            (result.prepare, warm.prepare_seconds),
        ):
            numbers.append(seconds)
        say(f"re-execution {reexecuted:.1f} s, cold and serial {cold:.1f} s, warm {warm.run_seconds:.1f} s")
    return result


def _further_seconds(drive: Drive) -> list[float]:
    """What each version after the first took."""
    found: dict[str, float] = {}
    for segment in drive.segments:
        found[segment.version] = found.get(segment.version, 0.0) + segment.wall_seconds
    return list(found.values())[1:]


def measure_range(demo: Demo, executions: Mapping[str, Execution], say: Say) -> Range:
    """The epochs from the last checkpoint before the last quarter on. `executions`: plain runs that are known already,
    by version; without them each version is run again, with the statement in it."""
    patched = demo.patched(RANGE)
    result = Range([], [], [])
    for _ in range(demo.sizes.repeats):
        for version, (run, text) in list(patched.items())[: demo.sizes.range_versions]:
            execution = executions[version] if version in executions else demo.execute(text)
            after = demo.start_of_range(version)
            where = f"epoch > {after} and run == '{run}'"
            drive = checked(demo.repository.replay([RANGE], where, again=True))
            if sorted((s.first, s.last) for s in drive.segments) != [(after + 1, demo.sizes.epochs)]:
                raise ScriptBroke(f"Other epochs than those wanted were replayed: {drive.segments}")
            result.replayed.append(sum(segment.run_seconds for segment in drive.segments))
            result.restore.append(_restore_seconds(demo.repository, version, after))
            result.epochs.append(sum(execution.epochs[after:]))
            say(
                f"{run}: replayed {result.replayed[-1]:.2f} s; restore {result.restore[-1]:.3f} s "
                f"and epochs {result.epochs[-1]:.2f} s"
            )
    return result


def _restore_seconds(repository: Repository, version: str, epoch: int) -> float:
    """To read a checkpoint; putting it into the living objects is not counted, so the overhead is not flattered."""
    store = repository.project.store
    listed = store.checkpoints(repository.project.name, version)
    key = next((c.key for c in listed if (c.epoch, c.point) == (epoch, Point.EPOCH_END)), "")
    started = time.perf_counter()
    LoadedState.read(store.objects, key)
    return time.perf_counter() - started


def measure_setup(folder: Path, sizes: Sizes, say: Say) -> Setup:
    repository = Repository(folder / "language_model")
    repository.write(LANGUAGE_MODEL.files())
    arguments = dict(LANGUAGE_MODEL.tiny)
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(repository.record, arguments | {"lr": 0.001 * (index + 1)}, f"v{index}")
            for index in range(sizes.setup_versions)
        ]
        for run in runs:
            run.result()
    files = LANGUAGE_MODEL.hindsight(Group.OUTER)
    repository.write(files)
    result = Setup([], [], [])
    for repeat in range(sizes.repeats):
        preparation = reexecute(files, arguments, folder / f"preparation-{repeat}").preparation
        drive = checked(repository.replay(["embedding"], again=True))
        result.add(drive, {experiment.version: preparation for experiment in repository.experiments()})
        say(f"set-up {result.first[-1]:.2f} s, later versions {statistics.median(result.others):.2f} s")
    return result


def checked(drive: Drive) -> Drive:
    """The replay, if it is worth measuring.

    Raises:
        ScriptBroke: a segment failed, or computed something else than was recorded.
    """
    wrong = [*drive.failures, *(f"{s.version[:8]}: {s.mismatch}" for s in drive.segments if s.mismatch)]
    if wrong or not drive.segments:
        raise ScriptBroke("The replay went wrong:\n" + "\n".join(wrong or drive.problems or ["nothing was replayed"]))
    return drive

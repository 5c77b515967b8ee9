"""Records and replays scripts inside this process, through the real Recorder, plan and Replayer, in milliseconds.

Only the ends are stood in for: a journal that keeps rows in memory, and a channel that hands out planned segments. So
hundreds of scripts can be tried; `test_replaying.py` and `test_values.py` do the same with real processes.
"""

from __future__ import annotations

import builtins
import contextlib
import math
import os
import pickle
import re
import runpy
import sys
import time
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, cast

from flor_ray.analysis import epoch_ends
from flor_ray.analysis.epoch_ends import Marking
from flor_ray.analysis.marks import inserted_lines, marks_of, own_names
from flor_ray.analysis.source import calls_checkpointing, read
from flor_ray.environment.surroundings import RunSurroundings
from flor_ray.errors import FlorWarning, RestoreFailed, StoreAway
from flor_ray.patching import patching
from flor_ray.planning.completeness import completeness
from flor_ray.planning.segmenting import plan
from flor_ray.recording import script, session
from flor_ray.recording.endings import ScriptEnding
from flor_ray.recording.journal import Journal
from flor_ray.recording.pending import PendingCheckpoint
from flor_ray.recording.recorder import Recorder
from flor_ray.recording.session import CheckpointOptions
from flor_ray.records import Checkpoint, Experiment, Gap, LogRecord, Operator, Point, Region, Segment, Status
from flor_ray.replaying import marked_code
from flor_ray.replaying.replayer import Replayer
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.task import ReplayTask
from flor_ray.state import modes, random_states
from flor_ray.state.snapshots import SnapshotWriter
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects

VERSION = "v" * 8
Key = tuple[int | None, int | None, str, int]


@dataclass
class Run:
    """What was recorded of one script."""

    path: Path
    experiment: Experiment
    records: list[LogRecord]
    checkpoints: list[Checkpoint]
    warnings: list[str]
    before: Mapping[str, Any]  # random states when its process began
    rng: Mapping[str, Any]  # and at its first call
    objects: Objects
    text: str  # of the script

    def values(self, name: str) -> dict[Key, object]:
        return _values([record for record in self.records if record.name == name], self.objects)

    def uncaptured(self, point: Point = Point.EPOCH_END) -> set[str]:
        return {name for c in self.checkpoints if c.point is point for name in c.uncaptured}


class _Memory:
    """A journal that keeps what it is given."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._writer = SnapshotWriter(objects)
        self.records: list[LogRecord] = []
        self.checkpoints: list[Checkpoint] = []
        self.ended: Experiment | None = None

    background_seconds = device_seconds = restore_seconds = 0.0
    busy = ""

    def log(self, record: LogRecord, blob_bytes: int = 0) -> None:
        self.records.append(record)

    def checkpoint(self, pending: PendingCheckpoint) -> None:
        s = pending.snapshot
        key, size = self._writer.write(s, pending.compress), s.bytes
        self.checkpoints.append(
            Checkpoint(
                VERSION, pending.filename, pending.line, pending.epoch, pending.point, key, size, 0.0, s.captured,
                s.uncaptured, s.opaque,
            )
        )  # fmt: skip

    def close(self, ended: Experiment) -> None:
        self.ended = ended


class _Recorder(Recorder):
    """Remembers the random states of its first call."""

    rng: Mapping[str, Any] = {}

    def _confirm(self) -> None:
        self.rng = self.rng or random_states.global_state()
        super()._confirm()

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        self.rng = self.rng or random_states.global_state()
        super().add_targets(targets, replace(options, overhead=1.0))


class _Left(BaseException):
    """Stands for the end of a replay process."""


class _InProcess(Replayer):
    def _exit(self) -> NoReturn:
        raise _Left


@dataclass
class _Channel:
    segments: list[Segment]
    results: list[SegmentResult] = field(default_factory=list)

    def claim(self, epoch: int) -> bool:
        return True

    @property
    def last(self) -> None:
        return None

    def next(self) -> Segment | None:
        return self.segments.pop(0) if self.segments else None

    def waits(self, begins: bool) -> None:
        """Nothing waits here."""

    def done(self, result: SegmentResult) -> None:
        self.results.append(result)

    def failed(self, error: RestoreFailed | StoreAway) -> None:
        """It is raised, too."""


class StateLab:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = Objects(Files(str(root / ".flor")))
        self.states_compared = 0  # so far, in replays

    def record(self, text: str, fails: bool = False) -> Run:
        path = self.root / "train.py"
        path.write_text(text)
        memory = _Memory(self.objects)
        experiment = Experiment("p", VERSION, None, "train.py", "", time.time(), None, Status.RUNNING)
        before = random_states.global_state()
        surroundings = RunSurroundings(self.root, text, script.users_code(self.root))
        waits = calls_checkpointing(text)
        recorder = _Recorder(
            experiment, cast(Journal, memory), self.root, surroundings, waits, ScriptEnding(None, text)
        )
        with _as_session(recorder), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                runpy.run_path(str(path), run_name="__main__")
            except BaseException as error:
                if not fails:
                    raise
                recorder.failed(error)
            recorder.close()
        assert memory.ended is not None
        told = [str(warning.message) for warning in caught if issubclass(warning.category, FlorWarning)]
        rng_then = recorder.rng
        return Run(path, memory.ended, memory.records, memory.checkpoints, told, before, rng_then, self.objects, text)

    def replay(
        self,
        run: Run,
        text: str,
        segments: Sequence[Segment],
        stops: Mapping[str, int] | None = None,
        at_end: frozenset[int] = frozenset(),
    ) -> list[LogRecord]:
        """Run segments in one "process", in the order given; returns what was logged in the wanted epochs."""
        run.path.write_text(text)
        channel = _Channel(list(segments))
        added, ends = inserted_lines(run.text, text), frozenset((stops or {}).values())
        marks = marks_of(read(text), own_names({"train.py": text}), added, ends, at_end)
        task = ReplayTask(
            store_url=str(self.root / ".flor"),
            root=str(self.root),
            original_root=str(self.root),
            script="train.py",
            argv=(),
            cwd=".",
            args=run.experiment.args,
            checkpoints={(c.epoch, c.point): c.key for c in run.checkpoints},
            rng=self.objects.put(pickle.dumps(run.rng)),
            sizes={(c.epoch, c.point): c.bytes for c in run.checkpoints},
            opaque={(c.epoch, c.point): c.opaque for c in run.checkpoints},
            clocked=epoch_ends.clocked("train.py", {"train.py": text}),
            stops=stops or {},
            leave=frozenset(range(1, run.experiment.epochs + 1)) if stops else frozenset(),
            marks={"train.py": marks},
        )
        random_states.set_global_state(
            run.before
        )  # else data prepared before the first call would differ, and be reported
        waits = calls_checkpointing(text)
        replayer = _InProcess(task, channel, self.objects, waits, time.perf_counter(), marked=True)
        with _as_session(replayer), contextlib.suppress(_Left):
            with contextlib.suppress(SystemExit):
                marked_code.run_main(run.path, {str(run.path): marks}, replayer.marks)
            replayer.script_ended()
        if channel.segments:  # the process ended with a segment, because its script did
            return self._wanted(channel.results) + self.replay(run, text, channel.segments, stops, at_end)
        return self._wanted(channel.results)

    def _wanted(self, results: Sequence[SegmentResult]) -> list[LogRecord]:
        found = []
        for result in results:
            self.states_compared += result.states_compared
            if result.state_mismatch is not None:
                raise AssertionError(f"another state: {result.state_mismatch}")
            s = result.segment
            for record in result.records:
                if s.operator is Operator.DP_I:
                    if record.epoch is not None and s.first <= record.epoch <= s.last:
                        found.append(record)
                elif s.operator is Operator.DP_STAR or record.epoch is None:
                    found.append(record)
        return found

    def plan(self, run: Run, text: str, names: Sequence[str], epochs: Sequence[int]) -> list[Segment]:
        """The segments that answer `names`, which `text` logs."""
        patched = patching.patch(names, {}, "train.py", {"train.py": text})
        loop = tuple(n for n in names if patched.regions[n] not in (Region.PREFIX, Region.SUFFIX))
        outside = tuple(n for n in names if n not in loop or patched.regions[n] is Region.WHOLE)
        gaps = [Gap(VERSION, loop, tuple(epochs))] if loop and epochs else []
        gaps += [Gap(VERSION, outside, (), data_prep=True)] if outside else []
        found = completeness(run.checkpoints, "train.py", {"train.py": text}, run.experiment.epochs)
        planned = plan(
            gaps,
            {VERSION: run.experiment},
            {VERSION: found.checkpoints},
            {VERSION: replace(patched, marking=Marking())},
        )
        return list(planned.segments)


def doubled(text: str) -> tuple[str, list[str]]:
    """The script with a statement `flor.log("again_x", expression)` after every `flor.log("x", expression)`."""
    pattern = re.compile(r'^( *)flor\.log\("(\w+)", (.*)\)$', re.MULTILINE)
    names = sorted({match.group(2) for match in pattern.finditer(text)})
    return pattern.sub(r'\g<0>\n\1flor.log("again_\2", \3)', text), names


def values_of(records: Sequence[LogRecord], objects: Objects) -> dict[Key, object]:
    return _values(records, objects)


def _values(records: Sequence[LogRecord], objects: Objects) -> dict[Key, object]:
    found: dict[Key, object] = {}
    for record in records:
        value = record.value
        number = value.number
        exact = number.hex() if number is not None and not math.isnan(number) else str(number)
        name = record.name.removeprefix("again_")
        found[record.epoch, record.step, name, record.iteration] = (
            value.type, exact, value.integer, value.text, value.blob,
        )  # fmt: skip
    return found


@contextlib.contextmanager
def _as_session(new: Any) -> Iterator[None]:
    entered, modules, finders = modes.modes(), set(sys.modules), list(sys.meta_path)
    set_on = [(holder, dict(vars(holder))) for holder in _libraries_that_cases_set_something_on()]
    main = sys.modules["__main__"]
    root = str(new._root if isinstance(new, Recorder) else new._task.root)
    session.install(new)
    if "torch" in modules:
        sys.modules["torch"].utils.hooks.RemovableHandle.next_id = 0  # as in another process
    sys.path.insert(0, root)
    try:
        yield
    finally:
        session.install(None)
        modes.put(entered, {})  # another process would have its own
        for holder, held in set_on:
            for name in vars(holder).keys() - held.keys():
                if not isinstance(getattr(holder, name), types.ModuleType):  # imported meanwhile, which stays
                    delattr(holder, name)
            for name, value in held.items():
                if vars(holder).get(name) is not value:
                    setattr(holder, name, value)
        sys.meta_path[:] = finders
        sys.modules["__main__"] = main
        for name in {name for name in set(sys.modules) - modules if not name.startswith("flor_ray")}:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(root + os.sep):
                del sys.modules[name]


def _libraries_that_cases_set_something_on() -> Iterator[Any]:
    yield from (builtins, math)
    if "torch" in sys.modules:
        import numpy
        import torch

        yield from (numpy, torch, torch.nn.functional, torch.Tensor, torch.nn.Linear)

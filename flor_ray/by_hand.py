"""Replaying by hand, in the user's own process: `python train.py --replay_flor [i/n]`.

    --replay_flor        operator DP: before the main loop, and after it from the final checkpoint
    --replay_flor 0/1    operator DP*: all of it
    --replay_flor i/n    operator DP_i: part i of n of the main loop, from the nearest checkpoint before it; outer where
                         nothing that the record lacks is logged in the nested loop, else inner

Today's code runs against the newest recorded run of the script; what it logs beyond that run's record is added to it.
"""

from __future__ import annotations

import atexit
import secrets
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from flor_ray.analysis import epoch_ends
from flor_ray.analysis.epoch_ends import Marking
from flor_ray.analysis.marks import Marks, inserted_lines
from flor_ray.analysis.source import calls_checkpointing
from flor_ray.errors import NothingRecorded, RestoreFailed, StoreAway, UsageError
from flor_ray.patching import donors, patching, statements
from flor_ray.planning import segmenting
from flor_ray.planning.completeness import completeness
from flor_ray.recording import script as scripts
from flor_ray.recording.flags import Flags
from flor_ray.records import Checkpoint, Experiment, Gap, Operator, Point, Region, Segment, Status
from flor_ray.replaying import results
from flor_ray.replaying.causes import Evidence
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.replayer import Replayer
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.task import ReplayTask, first_call
from flor_ray.reports import replays
from flor_ray.store.project import Project


class _ByHand:
    """The channel of a script that its user replays in her own process: segments, whose rows go to the store."""

    def __init__(
        self,
        project: Project,
        experiment: Experiment,
        checkpoints: Sequence[Checkpoint],
        segments: Sequence[Segment],
        texts: Mapping[str, str],
    ) -> None:
        self._root, self._store, self._experiment = project.tree.root, project.store, experiment
        self._checkpoints = checkpoints
        self._segments = list(segments)
        self._texts = texts
        self._recorded = RecordedValues.read(project.store, experiment.project, experiment.version)
        self._origin = results.origin_id(time.time(), secrets.token_hex(2))

    def claim(self, epoch: int) -> bool:
        return True

    @property
    def last(self) -> None:
        return None

    def next(self) -> Segment | None:
        return self._segments.pop(0) if self._segments else None

    def waits(self, begins: bool) -> None:
        """Who runs a script by hand sees for himself that a store is away."""

    def done(self, result: SegmentResult) -> None:
        report = results.write(
            self._store, self._experiment, self._origin, self._recorded, result, evidence=self._evidence()
        )
        segment = report.segment
        span = f"epochs {segment.first} to {segment.last}" if segment.last else "outside the main loop"
        _say(
            f"replayed {self._experiment.version[:8]} ({span}): {report.rows} new values; "
            f"{replays.describe_comparison(report)}"
        )
        for warning in report.warnings:
            _say(warning)
        for sentence in replays.describe_judgement(results.judgement(report)):
            _say(sentence)

    def failed(self, error: RestoreFailed | StoreAway) -> None:
        _say("`flor-ray replay` begins further back where a state cannot be put back.")

    def _evidence(self) -> Evidence:
        files = self._store.written_files(self._experiment.project, self._experiment.version)
        return results.evidence(self._experiment, self._checkpoints, self._texts, self._root, files, laid=False)


def _say(sentence: str) -> None:
    sys.stderr.write(f"flor_ray: {sentence}\n")


def start(given: Flags) -> Replayer:
    """The session of `python train.py --replay_flor [i/n]`: today's code, on the newest recorded run of this script.

    Raises:
        NothingRecorded: this script was never recorded.
        UsageError: it has no main loop to take a part of.
    """
    frame = scripts.main_frame(sys._getframe(1))
    filename = frame.f_globals.get("__file__") if frame is not None else None
    if filename is None:
        raise UsageError("--replay_flor replays a script; there is none in an interactive session.")
    script = Path(filename).resolve()
    project = Project.open(str(script.parent))
    root, store = project.tree.root, project.store
    name = script.relative_to(root).as_posix()
    runs = [e for e in store.experiments(project.name) if e.script == name and e.status is not Status.RUNNING]
    if not runs:
        raise NothingRecorded(project.name, store.url)
    experiment = runs[-1]
    texts = statements.working_texts(project)
    recorded_checkpoints = store.checkpoints(project.name, experiment.version)
    listed = completeness(recorded_checkpoints, name, texts, experiment.epochs).checkpoints
    segments = [_segment_by_hand(given, experiment, listed)]
    if segments[0].operator is Operator.DP_I:
        recorded = set(store.names(project.name, [experiment.version]))
        segments = _least_for(segments[0], experiment, listed, texts, recorded) or segments
    recorded_files = store.sources_of(project.name, [experiment.version], ".py").get(experiment.version, {})
    before = {path: file.data.decode("utf-8", "surrogateescape") for path, file in recorded_files.items()}
    task = replace(
        ReplayTask.of(
            store.url,
            root,
            experiment,
            listed,
            Marking(_hindsight(before, texts), clocked=epoch_ends.clocked(name, texts)),
        ),
        first_call=first_call(experiment, before, texts),
        compares_entry=segments[0].operator is Operator.DP,
        script=name,
        argv=tuple(sys.argv[1:]),
    )
    waits = calls_checkpointing(script.read_text(errors="replace"))
    channel = _ByHand(project, experiment, listed, segments, texts)
    replayer = Replayer(task, channel, store.objects, waits, scripts.process_started())
    _finish_at_exit(replayer)
    return replayer


def _hindsight(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Marks]:
    """What was added to files. The script runs as it is, so these marks are only read."""
    changed = (path for path, text in now.items() if path in before and before[path] != text)
    return {path: Marks(inserted_lines(before[path], now[path])) for path in changed}


def _segment_by_hand(given: Flags, experiment: Experiment, listed: Sequence[Checkpoint]) -> Segment:
    """Part i of n of the main loop, from the nearest complete checkpoint before it; or what is outside of it."""
    version, epochs = experiment.version, experiment.epochs
    ends = sorted(c.epoch for c in listed if c.point is Point.EPOCH_END and not c.uncaptured)
    if given.replay is None:
        final = epochs if epochs in ends else None
        return Segment(version, 0, 0, Operator.DP, restore=final, suffix=final is not None)
    index, count = given.replay
    if epochs == 0:
        raise UsageError(f"Version {version[:8]} has no finished epochs, so it has no part {index}/{count} to replay.")
    if count == 1:
        return Segment(version, 1, epochs, Operator.DP_STAR, suffix=True)
    first, last = index * epochs // count + 1, (index + 1) * epochs // count
    if first > last:
        raise UsageError(f"Version {version[:8]} has {epochs} epochs; part {index}/{count} of them is empty.")
    return Segment(version, first, last, Operator.DP_I, restore=max((e for e in ends if e < first), default=None))


def _least_for(
    part: Segment,
    experiment: Experiment,
    listed: Sequence[Checkpoint],
    texts: Mapping[str, str],
    recorded: Collection[str],
) -> list[Segment]:
    """The segments that answer, for a part of the main loop, what today's code logs there and the record lacks. None if
    that is nothing, or nobody knows where it is logged."""
    lacking = sorted(donors.features(texts) - set(recorded))
    patched = patching.patch(lacking, {}, experiment.script, texts)
    regions = {name: region for name in lacking if (region := patched.regions.get(name)) is not None}
    names = [name for name, region in regions.items() if region in (Region.HEAD, Region.INNER, Region.TAIL)]
    if not names or Region.WHOLE in regions.values():
        return []
    version = experiment.version
    planned = segmenting.plan(
        [Gap(version, tuple(names), tuple(range(part.first, part.last + 1)))],
        {version: experiment},
        {version: listed},
        {version: replace(patched, marking=Marking())},  # it runs as it is: nothing marks where an epoch ends
    )
    return list(planned.segments)


def _finish_at_exit(replayer: Replayer) -> None:
    """A script that runs to its end says so; one that raises does not, and leaves nothing behind."""
    failed = False
    previous = sys.excepthook

    def on_exception(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        nonlocal failed
        failed = True
        previous(kind, value, trace)

    def at_exit() -> None:
        if not failed:
            replayer.script_ended()

    sys.excepthook = on_exception
    atexit.register(at_exit)

"""A hindsight statement sees, on replay, what an equal statement saw while the run was recorded. Bit for bit.

Each script of tests/cases/state logs what its state makes of itself: `flor.log("x", expression)`. The newest code logs
the same expressions again under other names, and every way of replaying them (parts of the main loop from a checkpoint,
with and without the nested loop, in any order, the suffix, everything) must give the recorded values. What cannot be
kept in a checkpoint has to be reported, as a comment at the top of the script says, and is replayed from the start.
"""

from __future__ import annotations

from pathlib import Path

import numpy  # noqa: F401 - a random generator counts only once its library is there
import pytest
import torch  # noqa: F401

from flor_ray.records import Operator, Point, Segment
from tests.conftest import Lab
from tests.e2e.state_lab import Key, Run, StateLab, doubled, values_of

CASES = Path(__file__).parents[1] / "cases" / "state"
SCRIPTS = sorted(CASES.glob("*/*.py"))
_NOTE = "# not in checkpoints: "

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("script", SCRIPTS, ids=[f"{path.parent.name}-{path.stem}" for path in SCRIPTS])
def test_replayed_state_is_recorded_state(script: Path, tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = script.read_text()
    if "from transformers" in text:  # which the suites of other Pythons do without
        pytest.importorskip("transformers")
    run = lab.record(text)
    reported = {line.removeprefix(_NOTE) for line in text.splitlines() if line.startswith(_NOTE)}
    assert run.uncaptured() == reported
    newest, names = doubled(text)
    last = run.experiment.epochs
    logged = {name: run.values(name) for name in names}
    outer = [n for n, values in logged.items() if any(key[0] is not None for key in values)]
    inner = [n for n, values in logged.items() if any(key[1] is not None for key in values)]
    outside = [n for n, values in logged.items() if any(key[0] is None for key in values)]
    check = Checker(lab, run, newest, {key: value for values in logged.values() for key, value in values.items()})
    every = list(range(1, last + 1))
    check(inner, every[1:])
    check(outer, every)
    check(outer, [2, last])
    check(outer, every, backwards=True)
    check(outside, [])
    check(names, every[2:])


class Checker:
    """Replays names and compares the values with those that were recorded."""

    def __init__(self, lab: StateLab, run: Run, newest: str, recorded: dict[Key, object]) -> None:
        self.lab, self.run, self.newest, self.recorded = lab, run, newest, recorded

    def __call__(self, names: list[str], epochs: list[int], backwards: bool = False) -> None:
        if not names:
            return
        again = [f"again_{name}" for name in names]
        segments = self.lab.plan(self.run, self.newest, again, epochs)
        if backwards:
            segments.sort(key=lambda segment: -segment.first)
        found: dict[Key, object] = {}
        for process in _processes(segments):
            records = self.lab.replay(self.run, self.newest, process)
            found |= values_of([record for record in records if record.name in again], self.lab.objects)
        places = {*epochs, *([] if epochs and segments[-1].operator is Operator.DP_I else [None])}
        wanted = {key: v for key, v in self.recorded.items() if key[2] in names and key[0] in places}
        assert wanted
        assert {key: value for key, value in found.items() if key[0] in places} == wanted


def _processes(segments: list[Segment]) -> list[list[Segment]]:
    """As a worker does it: one process for all segments of a version, a new one for whatever starts from the prefix."""
    found: list[list[Segment]] = []
    for segment in segments:
        fresh = segment.operator is Operator.DP_STAR or (segment.operator is Operator.DP_I and segment.restore is None)
        if fresh or not found:
            found.append([])
        found[-1].append(segment)
    return found


def test_workers_that_live_on_from_epoch_to_epoch_are_reported(tmp_path: Path) -> None:
    run = StateLab(tmp_path).record(
        "import flor_ray as flor\n"
        "from torch.utils.data import DataLoader\n"
        "loader = DataLoader([1, 2], num_workers=1, persistent_workers=True)\n"
        "flor.checkpointing()\n"
        "for epoch in flor.loop('epoch', range(2)):\n"
        "    n = len(loader)\n"
    )
    assert run.uncaptured() == {"workers of loader"}


def test_what_left_a_loop_by_return_has_no_exit_state(tmp_path: Path) -> None:
    run = StateLab(tmp_path).record((CASES / "plain" / "nested_helper_returns.py").read_text())
    assert [c.epoch for c in run.checkpoints if c.point is Point.NESTED_EXIT] == []


def test_what_cannot_be_kept_is_told_while_recording(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    told = lab.record((CASES / "plain" / "generator_data.py").read_text()).warnings
    assert told == [
        "Variable 'source' is carried from epoch to epoch but cannot be kept in a checkpoint (it cannot be pickled, or "
        "is too large): replays of this version run from the start instead."
    ]
    told = lab.record((CASES / "plain" / "enumerate.py").read_text()).warnings
    assert told == [
        "The main loop (train.py:5) has a position in enumerate(...): replays of this version run from "
        "the start instead of from checkpoints."
    ]
    told = lab.record((CASES / "plain" / "csv_writer.py").read_text()).warnings
    assert [text for text in told if "unclosed" not in text] == []
    told = lab.record((CASES / "plain" / "queue_told.py").read_text()).warnings
    assert told == [
        "'q' cannot be kept in a checkpoint, and the script takes something from it: epochs in which it does are "
        "replayed from the start."
    ]


def test_what_is_only_written_to_keeps_no_segment_from_starting_at_its_checkpoint(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = (CASES.parent / "trust" / "only_written_to.py").read_text()
    run = lab.record("".join(line for line in text.splitlines(True) if not line.startswith("#H ")))
    ends = [c for c in run.checkpoints if c.point is Point.EPOCH_END and c.epoch]
    assert all(c.opaque >= {"bar", "out", "done", "Journal.writer"} for c in ends)
    assert [told for told in run.warnings if "unclosed" not in told] == []
    (segment,) = lab.plan(run, text.replace("#H ", ""), ["first"], [5])
    assert (segment.operator, segment.restore) == (Operator.DP_I, 4)
    (segment,) = lab.plan(
        run, text.replace("#H ", "").replace('"lines", journal.lines', '"lines", bar.n'), ["lines"], [5]
    )
    assert (segment.operator, segment.restore) == (Operator.DP_I, None)


def test_real_processes_do_the_same(lab: Lab) -> None:
    """One script with an early stop, state in objects, helpers and closures, through the whole pipeline."""
    text = """
import random
import flor_ray as flor

class Meter:
    seen = []
    def __init__(self):
        self.best, self.patience = 1e9, 0
    def update(self, loss):
        Meter.seen.append(loss)
        self.patience = 0 if loss < self.best else self.patience + 1
        self.best = min(self.best, loss)
        return self.patience >= 2

def counter():
    n = 0
    def bump():
        nonlocal n
        n += 1
        return n
    return bump

def train(meter):
    bump = counter()
    flor.checkpointing()
    for epoch in flor.loop("epoch", range(30)):
        loss = 0.0
        for step in flor.loop("step", range(3)):
            loss += random.random()
            bump()
            flor.log("loss", loss)
        calls = bump()
        stop = meter.update(loss)
        flor.log("state", [calls, meter.best, meter.patience, sum(Meter.seen)])
        if stop:
            break
    return calls

meter = Meter()
calls = train(meter)
flor.log("end", [calls, meter.best])
"""
    run = lab.record(text)
    newest, names = doubled(text)
    lab.write("train.py", newest)
    _, outcome = lab.replay([f"again_{name}" for name in names])
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    for name in names:
        assert lab.values(f"again_{name}") == lab.values(name), name
    assert run.epochs > 2

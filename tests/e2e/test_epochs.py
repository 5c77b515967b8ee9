"""What runs of an epoch: its end alone, a part of it, iterations of `while` loops, loops in loops and after loops.

Every replayed value is compared with the recorded one, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy  # noqa: F401 - a random generator counts only once its library is there
import pytest
import torch  # noqa: F401

from flor_ray.analysis import epoch_ends
from flor_ray.records import Operator, Point, Segment, Variant
from tests.e2e.state_lab import VERSION, Run, StateLab, doubled, values_of

HEAD = """
import random
import torch
from torch import nn
import flor_ray as flor

ran = []
data = torch.randn(24, 4)
net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.2), nn.Linear(3, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
steps, best = 0, 1e9


def step(rows):
    optimizer.zero_grad()
    loss = net(data[rows]).pow(2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


flor.checkpointing(net=net, optimizer=optimizer)
"""
TRAIN = (
    HEAD
    + """
for epoch in flor.loop("epoch", range(4)):
    net.train()
    flor.log("draw", random.random())
    for rows in flor.loop("step", torch.randperm(24).split(8)):
        loss = step(rows)
        steps += 1
        flor.log("loss", loss)
    best = min(best, loss)
    net.eval()
    flor.log("tail", net(data).sum().item() + torch.rand(1).item())
    ran.append(epoch)
    flor.log("best", [best, steps, len(ran)])
"""
)
WHILE = (
    HEAD
    + """
epoch, loss = 0, 1e9
while epoch < 4:
    with flor.iteration("epoch", epoch):
        net.train()
        rows = torch.randperm(24)
        position = 0
        while position < 24:
            with flor.iteration("step"):
                loss = step(rows[position : position + 8])
                flor.log("loss", loss)
                steps += 1
            position += 8
        flor.log("tail", [net(data).sum().item(), steps, random.random()])
    epoch += 1
    best = min(best, loss)
flor.log("after", [best, epoch, steps])
"""
)


def again(lab: StateLab, run: Run, text: str, segments: Iterable[Segment], names: Iterable[str]) -> None:
    """The segments' values of these names are those that were recorded."""
    segments = list(segments)
    assert segments
    replayed = values_of(lab.replay(run, text, segments), lab.objects)
    epochs = {epoch for s in segments for epoch in range(s.first, s.last + 1)}
    for name in names:
        recorded = {key: value for key, value in run.values(name).items() if key[0] in epochs}
        assert recorded
        assert {key: value for key, value in replayed.items() if key[2] == name} == recorded


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2), (3, 1)])
def test_the_end_of_an_epoch_answers_without_running_it(order: tuple[int, ...], tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(TRAIN)
    text = TRAIN + '    flor.log("again_best", [best, steps, len(ran)])\n'
    found = epoch_ends.marking("train.py", {"train.py": TRAIN}, {"train.py": text}, ["again_best"], {})
    assert found.from_end == {"again_best": {"best", "steps"}}  # `ran` stays the same list
    segments = [Segment(VERSION, e, e, Operator.DP_I, Variant.END, names=("again_best",)) for e in order]
    records = lab.replay(run, text, segments, at_end=found.marks["train.py"].at_end)
    assert {record.name for record in records} == {"again_best"}  # nothing else of the epochs has run
    assert values_of(records, lab.objects) == {k: v for k, v in run.values("best").items() if k[0] in order}


def test_nothing_runs_after_an_epochs_last_wanted_statement(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(TRAIN)
    text, _ = doubled(TRAIN)
    stop = text.split("\n").index('    flor.log("again_draw", random.random())') + 1
    for variant in (Variant.OUTER, Variant.INNER):
        for restore in (1, None):
            first = 1 if restore is None else 2
            segment = Segment(VERSION, first, 4, Operator.DP_I, variant, restore, names=("again_draw",))
            records = lab.replay(run, text, [segment], stops={"again_draw": stop})
            assert {record.name for record in records} == {"draw", "again_draw"}
            draws = {k: v for k, v in run.values("draw").items() if (k[0] or 0) >= first}
            assert values_of([r for r in records if r.name == "draw"], lab.objects) == draws


def test_an_epoch_is_not_left_early_while_another_name_is_wanted_further_down(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(TRAIN)
    text, _ = doubled(TRAIN)
    stops = {"again_draw": text.split("\n").index('    flor.log("again_draw", random.random())') + 1}
    segment = Segment(VERSION, 2, 3, Operator.DP_I, Variant.INNER, 1, names=("again_draw", "again_tail"))
    names = {record.name for record in lab.replay(run, text, [segment], stops=stops)}
    assert {"again_draw", "again_tail"} <= names  # no stop is known of again_tail


@pytest.mark.parametrize("order", [((1, 4),), ((3, 4),), ((2, 2), (4, 4)), ((4, 4), (2, 3)), ((3, 3), (1, 1))])
def test_iterations_of_a_while_loop_are_replayed_from_any_checkpoint(
    order: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(WHILE)
    assert run.experiment.main_loop == "epoch"
    assert run.experiment.nested_loop == "step"
    assert run.experiment.epochs == 4
    assert not run.uncaptured()
    assert {c.epoch for c in run.checkpoints if c.point is Point.EPOCH_END} == {0, 1, 2, 3, 4}
    restores = {1: None if order[0][0] == 1 else 0}
    segments = [
        Segment(VERSION, a, b, Operator.DP_I, Variant.INNER, restores.get(a, a - 1), names=("tail",)) for a, b in order
    ]
    again(lab, run, WHILE, segments, ["loss", "tail"])


def test_what_follows_a_while_loop_is_replayed_from_its_last_iteration(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(WHILE)
    segment = Segment(VERSION, 0, 0, Operator.DP, restore=4, suffix=True)
    records = lab.replay(run, WHILE, [segment])
    assert values_of([r for r in records if r.name == "after"], lab.objects) == run.values("after")
    assert "loss" not in {record.name for record in records}


def test_a_plain_for_loop_around_iterations_keeps_a_place_that_no_checkpoint_holds(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = HEAD + 'for e in range(3):\n    with flor.iteration("epoch"):\n        flor.log("loss", step([0, 1, e]))\n'
    run = lab.record(text)
    assert run.uncaptured() == {"a position in for(...)"}
    assert [s.operator for s in lab.plan(run, text, ["loss"], [2])] == [Operator.DP_I]
    assert lab.plan(run, text, ["loss"], [2])[0].restore is None
    again(lab, run, text, lab.plan(run, text, ["loss"], [2]), ["loss"])


DEEP = (
    HEAD
    + """
net.eval()  # else a statement that is there twice would draw its dropout twice
for epoch in flor.loop("epoch", range(3)):
    for part in flor.loop("part", range(2)):
        for rows in flor.loop("batch", torch.randperm(24).split(12)):
            for repeat in flor.loop("repeat", range(2)):
                loss = step(rows)
                flor.log("loss", loss)
        flor.log("part_loss", net(data).sum().item())
    for rows in flor.loop("check", data.split(12)):
        flor.log("checked", net(rows).sum().item())
    draw = torch.rand(1).item()
    flor.log("tail", draw)
for again in flor.loop("tuning", range(2)):
    for rows in flor.loop("step", torch.randperm(24).split(12)):
        loss = step(rows)
        flor.log("tuned", loss)
"""
)


@pytest.mark.parametrize("epochs", [(3,), (2, 3), (1, 3)])
def test_loops_in_loops_and_after_loops_are_replayed(epochs: tuple[int, ...], tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(DEEP)
    text, names = doubled(DEEP)
    for name in names:
        segments = lab.plan(run, text, [f"again_{name}"], epochs)
        replayed = values_of([r for r in lab.replay(run, text, segments) if r.name == f"again_{name}"], lab.objects)
        recorded = run.values(name)
        assert replayed == {k: v for k, v in recorded.items() if k[0] is None or k[0] in epochs}
        assert replayed


@pytest.mark.parametrize("error", ["raise ValueError('bad batch')", "raise KeyboardInterrupt"])
def test_the_finished_epochs_of_a_run_that_failed_can_be_replayed(error: str, tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    failing = TRAIN.replace(
        "        steps += 1\n", f"        steps += 1\n        if steps == 8:\n            {error}\n"
    )
    run = lab.record(failing, fails=True)
    assert run.experiment.epochs == 2
    text, _ = doubled(failing)
    again(lab, run, text, lab.plan(run, text, ["again_loss"], [2]), ["loss"])


def test_a_state_that_the_replay_comes_to_is_compared_with_the_recorded_one(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    run = lab.record(TRAIN)
    segment = Segment(VERSION, 2, 3, Operator.DP_I, Variant.INNER, 1)
    lab.replay(run, TRAIN, [segment])
    assert lab.states_compared == 2  # at the nested loop's exit in epoch 3, and at its end
    for old, new, path in (
        ("steps += 1", "steps += 1; net[0].weight.data.mul_(1.001)", r"net\.0\.weight"),
        ("best = min(best, loss)", "best = min(best, loss) + 1", "best"),
        ("    ran.append(epoch)", "    ran.append(epoch); random.random()", "the random state of python"),
    ):
        with pytest.raises(AssertionError, match=f"another state: Mismatch.name='{path}', epoch=3"):
            lab.replay(run, TRAIN.replace(old, new), [segment])


def test_what_is_read_from_the_clock_is_not_compared(tmp_path: Path) -> None:
    lab = StateLab(tmp_path)
    text = TRAIN.replace("import random", "import random, time").replace(
        "    net.train()\n", "    net.train()\n    begun = time.time()\n    begin = [begun]\n"
    )
    run = lab.record(text + "    took = time.time() - begun\n    total = took + len(begin)\nprint(total)\n")
    segment = Segment(VERSION, 2, 3, Operator.DP_I, Variant.INNER, 1)
    lab.replay(run, run.text, [segment])
    assert lab.states_compared == 2

"""Which statements the state at an epoch's end can answer, and which variables it must hold for them."""

from __future__ import annotations

import pytest

from flor_ray.analysis.epoch_ends import marking
from flor_ray.records import Stop

SCRIPT = """\
import torch
import flor_ray as flor
from helper import norm, clipped

lr = flor.arg("lr", 0.1)
best = 0.0
flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(5)):
    for x, y in flor.loop("step", loader):
        loss = train(x, y)
    acc = evaluate(net)
    best = max(best, acc)
    # A
    save(net)
    # B
    flor.log("acc", acc)
    # C
    if acc > 0.9:
        break
    # D
# E
"""
HELPER = "def norm(net):\n    return net.w.norm()\n\n\ndef clipped(net):\n    return clip_grad_norm_(net)\n"


def marked(place: str, *statements: str, script: str = SCRIPT) -> dict[str, frozenset[str]]:
    """What the end of an epoch answers when statements are added at a place."""
    lines = script.split("\n")
    at = next(number for number, line in enumerate(lines) if line.strip() == f"# {place}")
    indent = lines[at][: lines[at].index("#")]
    after = "\n".join([*lines[: at + 1], *(indent + statement for statement in statements), *lines[at + 1 :]])
    texts = {"train.py": script, "helper.py": HELPER}
    found = marking("train.py", texts, {**texts, "train.py": after}, ["x"], {})
    if found.from_end:
        assert found.marks["train.py"].at_end
    return dict(found.from_end)


@pytest.mark.parametrize(
    ("place", "statements", "needs"),
    [
        ("B", ["flor.log('x', norm(net))"], set()),
        ("C", ["flor.log('x', best)"], {"best"}),
        ("D", ["flor.log('x', [best, acc, lr, epoch])"], {"best", "acc"}),
        ("C", ["w = net.w", "flor.log('x', w.sum() + lr)"], set()),
        ("C", ["with torch.no_grad():", "    flor.log('x', net(data).sum())"], set()),
        ("C", ["def size(net):", "    return len(net)", "flor.log('x', size(net))"], set()),
        ("D", ["flor.log('x', loss.item())"], {"loss"}),
    ],
)
def test_a_statement_that_nothing_changes_after_needs_the_epochs_end_alone(
    place: str, statements: list[str], needs: set[str]
) -> None:
    assert marked(place, *statements) == {"x": frozenset(needs)}


@pytest.mark.parametrize(
    ("place", "statements"),
    [
        ("A", ["flor.log('x', norm(net))"]),  # save(net) might change it
        ("E", ["flor.log('x', norm(net))"]),
        ("C", ["flor.log('x', net.w.grad.norm())"]),
        ("C", ["flor.log('x', clipped(net))"]),
    ],
)
def test_others_need_the_epoch(place: str, statements: list[str]) -> None:
    assert marked(place, *statements) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# E", 'for epoch in flor.loop("again", range(2)):\n    flor.log("y", 1)\n# E'),  # which is the main loop?
        ("    # D", "    best = 0\n    # D"),
        ("# E", 'flor.log("x", 3)\n# E'),  # logged elsewhere too
        ("    # D", "else:\n    print(1)\n    # D"),
    ],
)
def test_what_is_not_sure_is_not_answered_so(old: str, new: str) -> None:
    assert marked("C", "flor.log('x', best)", script=SCRIPT.replace(old, new)) == {}


def test_epochs_are_left_early_only_where_more_than_reading_follows() -> None:
    texts = {"train.py": SCRIPT}
    lines = SCRIPT.split("\n")
    for text, worth in (("    acc = evaluate(net)", True), ('    flor.log("acc", acc)', False)):
        line = lines.index(text) + 1
        found = marking("train.py", texts, texts, ["x"], {"x": Stop("train.py", line)})
        assert found.stops == {"x": line}
        assert (found.marks["train.py"].stops == {line}) is worth

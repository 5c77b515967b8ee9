"""Which checkpoints lack nothing that a version's code takes something from."""

from __future__ import annotations

import pytest

from flor_ray.analysis.epoch_ends import Marking, marking
from flor_ray.planning.completeness import Completeness, completeness, marking_for
from flor_ray.records import Checkpoint, Point

END, EXIT = Point.EPOCH_END, Point.NESTED_EXIT
SCRIPT = """
import flor_ray as flor
x = make()
flor.checkpointing(net=net)
for epoch in flor.loop("epoch", range(3)):
    {head}
    for step in flor.loop("step", range(2)):
        {inner}
    {tail}
    flor.log("loss", loss)
{after}
"""


def checkpoint(epoch: int, point: Point, *opaque: str) -> Checkpoint:
    return Checkpoint("v", "train.py", 5, epoch, point, f"{epoch}{point}", 100, 0.1, opaque=frozenset(opaque))


LISTED = [checkpoint(0, END, "x"), *(checkpoint(e, p, "x", "bar") for e in (1, 2, 3) for p in (EXIT, END))]


def found(
    listed: list[Checkpoint] = LISTED, head: str = "pass", inner: str = "pass", tail: str = "pass", after: str = ""
) -> Completeness:
    text = SCRIPT.format(head=head, inner=inner, tail=tail, after=after)
    return completeness(listed, "train.py", {"train.py": text}, 3)


def lacking(of: Completeness) -> dict[tuple[int, Point], set[str]]:
    return {(c.epoch, c.point): set(c.uncaptured) for c in of.checkpoints if c.uncaptured}


BEFORE_EPOCHS = {(epoch, END): {"x"} for epoch in (0, 1, 2)}
EXITS = {(epoch, EXIT): {"x"} for epoch in (1, 2, 3)}


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ("inner", BEFORE_EPOCHS),
        ("head", BEFORE_EPOCHS | EXITS),
        ("tail", BEFORE_EPOCHS | EXITS),
        ("after", {(3, END): {"x"}} | EXITS),
    ],
)
def test_a_checkpoint_lacks_what_is_taken_after_it(part: str, lost: dict[tuple[int, Point], set[str]]) -> None:
    take = "; loss = x.step()"
    of = found(
        LISTED,
        "bar = tqdm(total=2)" + take * (part == "head"),
        "bar.update(1)" + take * (part == "inner"),
        "pass" + take * (part == "tail"),
        "pass" + take * (part == "after"),
    )
    assert (lacking(of), of.taken) == (lost, frozenset({"x"}))


def test_nothing_is_lacking_where_nothing_is_taken() -> None:
    written = found(head="bar = tqdm(total=2)", inner="x.write(loss); bar.update(1)", after="x.close()")
    assert (lacking(written), written.taken) == ({}, frozenset())
    assert found([checkpoint(1, END)], inner="loss = x.step()").checkpoints == (checkpoint(1, END),)


def test_what_only_a_nested_loop_uses_counts_where_its_tail_takes_it() -> None:
    listed = [checkpoint(0, END), checkpoint(1, EXIT, "bar"), checkpoint(1, END)]
    head = "bar = tqdm(total=2); n = bar.n"
    assert lacking(found(listed, head=head, inner="bar.update(1)")) == {}
    assert lacking(found(listed, head=head, tail="loss = bar.n")) == {(1, EXIT): {"bar"}}


def test_the_end_of_an_epoch_answers_only_what_does_not_come_to_it() -> None:
    before = SCRIPT.format(head="pass", inner="loss = x.step()", tail="y = x", after="")
    for statement, answers in (("net.norm()", True), ("x.count", False), ("y.count", False)):
        line = f'    flor.log("new", {statement})\n'
        after = before.replace('    flor.log("loss", loss)\n', f'    flor.log("loss", loss)\n{line}')
        texts = {"train.py": after}
        marked = marking("train.py", {"train.py": before}, texts, ["new"], {})
        assert marked.from_end.keys() == {"new"}
        listed = [checkpoint(epoch, END, "x") for epoch in range(4)]
        checked = marking_for(completeness(listed, "train.py", texts, 3), "train.py", texts, marked)
        assert checked.from_end.keys() == ({"new"} if answers else set())
    assert marking_for(Completeness(()), "train.py", {}, Marking()) == Marking()

"""Which statements the state at an epoch's end can answer, and which variables it must hold for them."""

from __future__ import annotations

import pytest

from flor_ray.analysis.epoch_ends import clocked, marking
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


def marked(
    place: str, *statements: str, script: str = SCRIPT, helper: str = HELPER, **files: str
) -> dict[str, set[str]]:
    """What the end of an epoch answers when statements are added at a place."""
    lines = script.split("\n")
    at = next(number for number, line in enumerate(lines) if line.strip() == f"# {place}")
    indent = lines[at][: lines[at].index("#")]
    after = "\n".join([*lines[: at + 1], *(indent + statement for statement in statements), *lines[at + 1 :]])
    texts = {"train.py": script, "helper.py": helper, **files}
    found = marking("train.py", texts, {**texts, "train.py": after}, ["x"], {})
    if found.from_end:
        assert found.marks["train.py"].at_end
    return {name: set(needs) for name, needs in found.from_end.items()}


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
    assert marked(place, *statements) == {"x": needs}


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
        ("for epoch in", "epochs = flor.loop('outer', range(2))\nfor outer in epochs:\n  for epoch in"),
    ],
)
def test_what_is_not_sure_is_not_answered_so(old: str, new: str) -> None:
    assert marked("C", "flor.log('x', best)", script=SCRIPT.replace(old, new)) == {}


def test_a_loop_that_another_files_main_loop_runs_is_not_the_main_loop() -> None:
    script = "from helper import fit\nimport flor_ray as flor\ndef steps():\n  for x in flor.loop('step', d):\n"
    script += "    best = x\n    # A\nfit(steps)\n"
    helper = "import flor_ray as flor\ndef fit(run):\n  for epoch in flor.loop('epoch', range(3)):\n    run()\n"
    assert marked("A", "flor.log('x', best)", script=script, helper=helper) == {}
    assert marked("A", "flor.log('x', best)", script=script.replace("fit(", "("), helper="") == {"x": {"best"}}


HISTORY = """
class History:
    def log(self, value):
        net.w = value
history = History()
"""


@pytest.mark.parametrize(
    ("call", "is_answered"),
    [
        ("flor.log('w', net.w)", True),
        ("history.log(net.w)", False),  # the script's own class: it has moved on by the epoch's end
        ("history.log('w', net.w)", False),
        ("note('w', net.w)", False),
        ("net.size()", False),  # helper.py defines it
    ],
)
def test_what_only_has_the_name_of_ours_or_of_what_reads_is_not_taken_to_read(call: str, is_answered: bool) -> None:
    script = SCRIPT.replace("import torch\n", f"import torch\n{HISTORY}", 1).replace("    # D", f"    {call}\n    # D")
    helper = HELPER + "\n\nclass Net:\n    def size(self):\n        self.n = 0\n"
    assert marked("C", "flor.log('x', best)", script=script, helper=helper) == ({"x": {"best"}} if is_answered else {})


def test_a_script_that_gets_us_from_a_file_of_the_users_is_read_alike() -> None:
    script = SCRIPT.replace("import flor_ray as flor", "from common import flor")
    common = {"common.py": "import flor_ray as flor\n"}
    assert marked("C", "flor.log('x', best)", script=script, **common) == {"x": {"best"}}
    assert marked("C", "flor.log('x', best)", script=script) == {}


def test_a_name_that_somebody_may_log_unseen_is_not_answered_by_the_end_alone() -> None:
    handed = SCRIPT.replace("# E", "record.all = flor.log\nrecord.all('x', 1)\n# E")
    assert marked("C", "flor.log('x', best)", script=handed) == {}
    assert marked("C", "flor.log('x', best)", script=handed.replace("all('x'", "all('y'")) == {"x": {"best"}}


def test_iterations_are_marked_in_every_file_that_has_them() -> None:
    helper = "import flor_ray as flor\ndef fit():\n  while True:\n    with flor.iteration('epoch'):\n      f()\n"
    texts = {"train.py": "import helper\nhelper.fit()\n", "helper.py": helper, "other.py": "x = 1\n"}
    found = marking("train.py", texts, texts, [], {}).marks
    assert {path: marks.iterations for path, marks in found.items()} == {"helper.py": {4}}


def test_epochs_are_left_early_only_where_more_than_reading_follows() -> None:
    texts = {"train.py": SCRIPT}
    lines = SCRIPT.split("\n")
    for text, worth in (("    acc = evaluate(net)", True), ('    flor.log("acc", acc)', False)):
        line = lines.index(text) + 1
        found = marking("train.py", texts, texts, ["x"], {"x": Stop("train.py", line)})
        assert found.stops == {"x": line}
        assert (found.marks["train.py"].stops == {line}) is worth


def test_what_other_files_read_from_the_clock_is_known_by_its_module() -> None:
    files = {
        "train.py": "import time\nstarted = time.time()\nfor epoch in flor.loop('epoch', n):\n    loss = epoch\n",
        "pkg/bar.py": "import time\nlast = time.time()\ndef show():\n    global last\n    last = time.time()\n",
        "pkg/other.py": "last = 1\n",
    }
    assert clocked("train.py", files) == {"started", "pkg.bar.last", "pkg.bar.show"}

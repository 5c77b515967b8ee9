"""What is proposed for scripts of many shapes: tests/cases/init, with the expected calls in expected.txt there."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from flor_ray.analysis.proposing.proposals import Proposed, ProposedCall
from flor_ray.analysis.proposing.proposing import propose
from tests.bench_modules import bench_module

trial = bench_module("proposals.trial")
EXPECTED = trial.CASES / "expected.txt"
CASES = trial.script_cases()


def written(proposed: Proposed) -> str:
    lines = [f"{each.path}:{each.line} {each.what} {each.confidence:.2f} {each.call}" for each in proposed.proposals]
    lines += [f"{each.path}:{each.line} no {each.what}: {each.reason}" for each in proposed.refused]
    return "\n".join(lines)


def expected() -> dict[str, str]:
    """By case. To make the file anew: PYTHONPATH=. python -c "from tests.analysis.test_proposing import *; keep()"."""
    parts = EXPECTED.read_text(encoding="utf-8").split("== ")[1:]
    return {head.strip(): body.strip() for head, _, body in (part.partition("\n") for part in parts)}


def keep() -> None:
    parts = [f"== {case.name}\n{written(case.proposed)}\n" for case in CASES]
    EXPECTED.write_text("\n".join(parts), encoding="utf-8")


def of(text: str | bytes, **named: int) -> Proposed:
    return propose({"train.py": text if isinstance(text, bytes) else text.encode()}, "train.py", **named)


def calls(proposed: Proposed) -> list[str]:
    return [each.call for each in proposed.proposals]


def why_not(proposed: Proposed) -> str:
    return " ".join(each.reason for each in proposed.refused)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_each_script_gets_the_calls_that_it_needs_or_the_reason_why_not(case: object) -> None:
    assert written(case.proposed) == expected()[case.name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_what_has_its_calls_gets_no_more(case: object) -> None:
    files: Mapping[str, bytes] = {**case.files, **case.proposed.edited}  # type: ignore[attr-defined]
    again = propose(files, case.script)  # type: ignore[attr-defined]
    assert (calls(again), dict(again.edited)) == ([], {})


SCRIPT = """import torch
net = torch.nn.Linear(2, 1)  # caf\u00e9
opt = torch.optim.SGD(net.parameters(), lr=0.1)
step = 0
while step < 4:
\tfor x in torch.randn(4, 2).split(2):  # \u00e9
\t\topt.zero_grad(); net(x).sum().backward()
\t\topt.step()
\tnote = '''a
b\tc'''
\tstep += 1
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_all_bytes_stay_and_only_some_are_put_between_them(newline: str, encoding: str, ending: str) -> None:
    cookie = "# -*- coding: latin-1 -*-\n" if encoding == "latin-1" else ""
    before = (cookie + SCRIPT.rstrip("\n") + ending).replace("\n", newline).encode(encoding)
    (after,) = of(before).edited.values()
    rest = iter(after)
    assert all(byte in rest for byte in before)
    assert after.count(b"flor.iteration") == after.count(b"flor.loop") == after.count(b"flor.checkpointing") == 1
    ends = {"\n": b"\n", "\r\n": b"\r\n", "\r": b"\r"}[newline]
    assert after.replace(ends, b"").count(b"\n") == after.replace(ends, b"").count(b"\r") == 0
    assert "'''a" + newline + "b\tc'''" in after.decode(encoding)
    ast.parse(after)


def test_a_name_that_is_taken_is_left_alone() -> None:
    found = of("flor = 3\n" + SCRIPT + "print(flor)\n")
    assert "import flor_ray" in calls(found)
    assert any(call.startswith("flor_ray.checkpointing(") for call in calls(found))


def test_the_step_of_an_environment_or_a_profiler_trains_nothing() -> None:
    found = of("for epoch in range(3):\n    env.step(1)\n    prof.step()\nfor epoch in range(2):\n    pass\n")
    assert "several loops are over epochs" in why_not(found)


def test_a_part_that_may_not_exist_is_not_listed() -> None:
    branch = "if net.weight.sum() > 0:\n    sched = torch.optim.lr_scheduler.StepLR(opt, 1)\n"
    found = of(SCRIPT.replace("step = 0\n", f"step = 0\n{branch}"))
    assert "flor.checkpointing(net=net, opt=opt)" in calls(found)
    assert "only made in a branch" in why_not(found)
    both = branch + "else:\n    sched = torch.optim.lr_scheduler.StepLR(opt, 2)\n"
    found = of(SCRIPT.replace("step = 0\n", f"step = 0\n{both}"))
    assert "flor.checkpointing(net=net, opt=opt, sched=sched)" in calls(found)


def test_the_user_may_say_which_loops_are_meant() -> None:
    case = next(each for each in CASES if each.name == "two_phases")
    found = propose(case.files, case.script, main=11, nested=12)
    assert [each.line for each in found.proposals if each.what in (ProposedCall.MAIN, ProposedCall.NESTED)] == [11, 12]
    assert "loops begin in lines 6, 7, 11, 12" in why_not(propose(case.files, case.script, main=5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", "no Python of this version (line 1:"),
        (b"# coding: nonsense\nx = 1\n", "cannot be read: unknown encoding"),
        (b"x = '\xff'\n", "cannot be read"),
        (
            SCRIPT.partition("while")[0] + "while step < 4: opt.step(); step += 1\n",
            "line 5 holds more than one statement",
        ),
    ],
)
def test_what_cannot_be_read_or_changed_is_said(text: str | bytes, words: str) -> None:
    found = of(text)
    assert words in why_not(found)
    assert dict(found.edited) == {}


def test_arguments_that_are_read_while_a_module_is_imported_are_told() -> None:
    files = {
        "train.py": b"from options import args\n" + SCRIPT.encode(),
        "options.py": b"import argparse\nargs = argparse.ArgumentParser().parse_args()\n",
    }
    found = propose(files, "train.py")
    assert "flor.autolog()" not in calls(found)
    assert "options.py reads the command line while it is imported" in why_not(found)


def test_an_imported_module_runs_its_own_lines_once_and_not_those_of_its_main() -> None:
    files = {
        "train.py": b"import engine.fit\nimport engine.fit as again\n",
        "engine/__init__.py": b"",
        "engine/fit.py": SCRIPT.encode() + b'if __name__ == "__main__":\n    import options\n',
        "options.py": b"import argparse\nargs = argparse.ArgumentParser().parse_args()\n",
    }
    found = propose(files, "train.py")
    assert "options.py" not in why_not(found)
    assert any(each.path == "engine/fit.py" and 'flor.loop("step"' in each.call for each in found.proposals)


MADE = "import torch\nmodel = torch.nn.Linear(2, 1)\nopt = torch.optim.SGD(model.parameters(), lr=0.1)\n"
TRAINS = "opt.zero_grad(); model(x).sum().backward(); opt.step()\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            f"{MADE}scaler = torch.amp.GradScaler()\nfor epoch in range(3):\n    for x in loader:\n"
            "        scaler.scale(model(x).sum()).backward()\n        scaler.step(opt)\n",
            ["flor.checkpointing(model=model, opt=opt, scaler=scaler)", 'for x in flor.loop("step", loader)'],
        ),
        (
            f"{MADE}bar = tqdm(range(3))\nfor epoch in bar:\n    for x in loader:\n        {TRAINS}",
            ['for epoch in flor.loop("epoch", bar)', 'for x in flor.loop("step", loader)'],
        ),
        (f"{MADE}for e in 1, 2:\n    {TRAINS}", ['for e in flor.loop("epoch", (1, 2))']),
        (
            f"{MADE}for episode in range(3):\n    done = False\n    while not done:\n        {TRAINS}"
            "        x, r, done = env.step(1)\n",
            ['for episode in flor.loop("episode", range(3))', 'with flor.iteration("step"):'],
        ),
        (
            "def fit(net, opt, loader):\n    try:\n        for epoch in range(3):\n            for x in loader:\n"
            "                opt.zero_grad(); net(x).sum().backward(); opt.step()\n    finally:\n        pass\n"
            "fit(a, b, c)\n",
            ["flor.checkpointing(net=net, opt=opt)", 'for epoch in flor.loop("epoch", range(3))'],
        ),
    ],
)
def test_other_shapes_get_their_calls_too(text: str, wanted: list[str]) -> None:
    assert [call for call in wanted if call not in calls(of(text))] == []

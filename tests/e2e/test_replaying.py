"""Replay by real processes: which epochs run, what they may not touch, and what happens when something is missing.

Scripts are plain Python, so that a process starts quickly; `test_values.py` does the same on torch.
"""

from __future__ import annotations

import pytest

from flor_ray import pipeline
from flor_ray.errors import BadWhere, FlorWarning, NothingRecorded, UnknownFeature
from flor_ray.records import Fidelity, Operator, Variant
from flor_ray.reports import replays
from tests.conftest import Lab

SCRIPT = """
import random
import flor_ray as flor

epochs = flor.arg("epochs", 4)
rate = flor.arg("rate", 2)
history = []
best = 0
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(epochs)):
    noise = 0.0
    for step in flor.loop("step", range(5)):
        noise += random.random()
        state["weight"] *= 1 + rate / 100 * random.random()
        flor.log("weight", state["weight"])
    best = max(best, noise)
    history.append(noise)
    flor.log("best", best)
flor.log("mean", sum(history) / len(history))
"""


def with_statement(text: str, after: str, statement: str) -> str:
    """`text` with a statement added after the line that is `after`, at its indentation."""
    indent = after[: len(after) - len(after.lstrip())]
    assert f"\n{after}\n" in text
    return text.replace(f"\n{after}\n", f"\n{after}\n{indent}{statement}\n")


HINDSIGHT = SCRIPT
for after, statement in (
    ('state = {"weight": 1.0}', 'flor.log("prefix", rate * 10 + len(history))'),
    ("    noise = 0.0", 'flor.log("head", (best, len(history)))'),
    ('        flor.log("weight", state["weight"])', 'flor.log("inner", noise)'),
    ("    history.append(noise)", 'flor.log("tail", [round(x, 12) for x in history])'),
    ('flor.log("mean", sum(history) / len(history))', 'flor.log("suffix", max(history))'),
):
    HINDSIGHT = with_statement(HINDSIGHT, after, statement)
NAMES = ("prefix", "head", "inner", "tail", "suffix")


@pytest.mark.parametrize(
    ("name", "operator", "variant"),
    [
        ("prefix", Operator.DP, None),
        ("head", Operator.DP_I, Variant.OUTER),
        ("inner", Operator.DP_I, Variant.INNER),
        ("tail", Operator.DP_I, Variant.END),
        ("suffix", Operator.DP, None),
    ],
)
def test_a_feature_is_replayed_with_the_cheapest_operator(
    lab: Lab, name: str, operator: Operator, variant: Variant | None
) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    prepared, outcome = lab.replay([name])
    assert {cost.segment.operator for cost in prepared.costs} == {operator}
    assert variant is None or {cost.segment.variant for cost in prepared.costs} == {variant}
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    recorded_best = [value for *_, value in lab.values("best")]
    found = lab.values(name)
    if name == "prefix":
        assert found == [(None, None, 0, 20)]
    elif name == "head":
        assert found == [(e, None, 0, [best, e - 1]) for e, best in enumerate([0, *recorded_best[:-1]], start=1)]
    elif name == "inner":
        assert [place[:3] for place in found] == [(e, s, 0) for e in range(1, 5) for s in range(5)]
        ends = [value for _, step, _, value in found if step == 4]
        assert [max(ends[: e + 1]) for e in range(4)] == recorded_best
    elif name == "tail":
        histories = [value for *_, value in found]
        assert [len(history) for history in histories] == [1, 2, 3, 4]
        assert [max(history) for history in histories] == pytest.approx(recorded_best)
    else:
        assert found == [(None, None, 0, recorded_best[-1])]


def test_all_names_at_once_and_then_nothing_is_left_to_do(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    _, outcome = lab.replay(NAMES)
    assert outcome.failures == []
    assert all(lab.values(name) for name in NAMES)
    prepared, _ = lab.replay(NAMES)
    assert prepared.costs == ()
    before = {name: lab.values(name) for name in NAMES}
    again, outcome = lab.replay(NAMES, again=True)
    assert len(again.costs) == len(outcome.reports) > 0
    assert {name: lab.values(name) for name in NAMES} == before
    assert lab.frame("head")["head"].notna().sum() == 4  # a second replay doubles no rows


def test_where_restricts_versions_and_epochs(lab: Lab) -> None:
    lab.record_forked(SCRIPT, "--flor", "slow", "--kwargs", "rate=1")
    fast = lab.record_forked(SCRIPT, "--flor", "fast", "--kwargs", "rate=50")
    lab.write("train.py", HINDSIGHT)
    lab.replay(["tail"], "rate > 10 and epoch >= 3")
    frame = lab.frame("tail")
    filled = frame[frame["tail"].notna()]
    assert list(zip(filled["version"], filled["epoch"], strict=True)) == [(fast.version, 3), (fast.version, 4)]
    lab.replay(["tail"], "tail.isna()")
    assert lab.frame("tail")["tail"].notna().all()


def test_replay_leaves_git_and_every_file_of_the_user_as_they_were(lab: Lab) -> None:
    lab.write(".gitignore", "data/\n")
    lab.write("data/numbers.txt", "41")
    lab.write("committed.py", "x = 1\n")
    lab.git("add", ".")
    lab.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    lab.write("committed.py", "x = 2\n")
    lab.write("staged.py", "y = 1\n")
    lab.git("add", "staged.py")
    lab.write("staged.py", "y = 2\n")
    lab.write("notes.txt", "untracked")
    text = SCRIPT.replace("history = []", 'history = []\nnumber = int(open("data/numbers.txt").read())')
    text += 'open("data/numbers.txt", "w").write(str(number + 1))\nopen("out.txt", "w").write("done")\n'

    lab.write("train.py", text)
    lab.write("data/numbers.txt", "41")
    before = snapshot(lab)
    lab.python("train.py")
    assert (lab.root / "data/numbers.txt").read_text() == "42"  # the user's own run may write
    lab.write("data/numbers.txt", "41")
    (lab.root / "out.txt").unlink()
    assert snapshot(lab) == before

    lab.write("train.py", text + 'flor.log("suffix", number)\n')
    before = snapshot(lab)
    _, outcome = lab.replay(["suffix"])
    assert outcome.failures == []
    assert lab.values("suffix") == [(None, None, 0, 41)]
    assert snapshot(lab) == before  # the replayed script wrote, but not here


def snapshot(lab: Lab) -> dict[str, object]:
    """Everything of the user's that could have changed: git's view, the index, HEAD and all files."""
    files = {
        str(path.relative_to(lab.root)): path.read_bytes()
        for path in sorted(lab.root.rglob("*"))
        if path.is_file() and not {".git", ".flor"} & set(path.relative_to(lab.root).parts)
    }
    return {
        "status": lab.git("status", "--porcelain=v2", "--branch"),
        "head": (lab.root / ".git/HEAD").read_bytes(),
        "reflog": lab.git("reflog"),
        "branches": lab.git("branch", "--list", "--format=%(refname) %(objectname)").replace(shadow(lab), ""),
        "index": (lab.root / ".git/index").read_bytes(),
        "files": files,
    }


def shadow(lab: Lab) -> str:
    return lab.git("for-each-ref", "--format=%(refname) %(objectname)%0a", "refs/heads/flor.shadow")[:-1]


def test_a_script_that_fails_on_replay_is_told_and_other_versions_are_answered(lab: Lab) -> None:
    bad = lab.record_forked(SCRIPT.replace("best = 0\n", "best = 0\nextra = None\n"), "--flor", "bad")
    good = lab.record_forked(SCRIPT.replace("best = 0\n", "best = 0\nextra = 1\n"), "--flor", "good")
    text = SCRIPT.replace("best = 0\n", "best = 0\nextra = 1\n")
    lab.write("train.py", with_statement(text, '    flor.log("best", best)', 'flor.log("sum", extra + best)'))
    _, outcome = lab.replay(["sum"])
    assert {segment.version for segment, _ in outcome.failures} == {bad.version}
    assert "TypeError: unsupported operand type(s) for +: 'NoneType' and 'float'" in outcome.failures[0][1]
    assert lab.values("sum", bad.version) == []
    assert len(lab.values("sum", good.version)) == 4


def test_the_command_line_says_what_failed_and_exits_with_1(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", with_statement(SCRIPT, '    flor.log("best", best)', 'flor.log("broken", best / 0)'))
    done = lab.cli("replay", "broken", "--workers", "1", "--yes")
    assert done.returncode == 1
    assert "1-4: ZeroDivisionError" in done.stderr
    assert lab.values("broken") == []


def test_a_lost_checkpoint_is_told_and_replay_starts_further_back(lab: Lab) -> None:
    run = lab.record_forked(SCRIPT)
    store = lab.project.store
    for checkpoint in store.checkpoints(run.project, run.version):
        if checkpoint.epoch == 2:
            store.objects.delete(checkpoint.key)
    lab.write("train.py", HINDSIGHT)
    prepared, outcome = lab.replay(["head"], "epoch == 3")
    assert any("the checkpoint objects of epochs 2 are missing" in note for note in prepared.notes)
    assert [cost.segment.restore for cost in prepared.costs] == [1]
    assert outcome.failures == []
    assert [place[0] for place in lab.values("head")] == [3]


def test_from_a_corrupt_checkpoint_replay_goes_further_back_and_says_so(lab: Lab) -> None:
    run = lab.record_forked(SCRIPT)
    store = lab.project.store
    keys = {c.key for c in store.checkpoints(run.project, run.version) if c.epoch == 2}
    for path in (lab.root / ".flor/objects").rglob("*"):
        if path.is_file() and "".join(path.relative_to(lab.root / ".flor/objects").parts) in keys:
            path.write_bytes(b"garbage")
    lab.write("train.py", HINDSIGHT)
    _, outcome = lab.replay(["head"], "epoch == 3")
    assert outcome.failures == []
    (report,) = outcome.reports
    assert "epoch 3 had to be replayed from the end of epoch 1: The state at the end of epoch 2" in report.warnings[0]
    assert "is corrupt" in report.warnings[0]
    assert [place[0] for place in lab.values("head")] == [3]


def test_a_run_without_checkpoints_is_replayed_whole(lab: Lab) -> None:
    text = SCRIPT.replace("flor.checkpointing(state=state)\n", "")
    lab.record_forked(text)
    lab.write("train.py", with_statement(text, '    flor.log("best", best)', 'flor.log("twice", 2 * best)'))
    prepared, outcome = lab.replay(["twice"])
    assert [cost.segment.restore for cost in prepared.costs] == [None]
    assert outcome.failures == []
    assert lab.values("twice") == [(e, s, i, 2 * value) for e, s, i, value in lab.values("best")]


def test_an_uncaptured_variable_is_named_and_its_version_replayed_from_the_start(lab: Lab) -> None:
    text = SCRIPT.replace("best = 0\n", "best = 0\nticks = iter(range(100))\n")
    text = text.replace("    noise = 0.0\n", "    noise = 0.0 * next(ticks)\n")
    lab.write("train.py", text.replace("iter(range(100))", "(n for n in range(100))"))
    done = lab.python("train.py")
    assert "Variable 'ticks' is carried from epoch to epoch but cannot be kept in a checkpoint" in done.stderr
    lab.write(
        "train.py",
        with_statement(
            (lab.root / "train.py").read_text(), "    history.append(noise)", 'flor.log("tick", next(ticks))'
        ),
    )
    prepared, outcome = lab.replay(["tick"], "epoch == 4")
    assert [cost.segment.restore for cost in prepared.costs] == [None]
    assert any("`ticks`" in note for note in prepared.notes)
    assert outcome.failures == []


def test_a_changed_program_is_noticed_because_recorded_values_are_computed_again(lab: Lab) -> None:
    lab.write(".gitignore", "data.txt\n")
    lab.write("data.txt", "1.0")
    text = SCRIPT.replace("rate = flor", 'scale = float(open("data.txt").read())\nrate = flor').replace(
        "noise += random.random()", "noise += scale * random.random()"
    )
    lab.record_forked(text)
    lab.write("data.txt", "2.0")
    lab.write(
        "train.py", with_statement(text, '        flor.log("weight", state["weight"])', 'flor.log("noise", noise)')
    )
    _, outcome = lab.replay(["noise"], "epoch == 1")
    first = [report.mismatch for report in outcome.reports if report.mismatch is not None]
    assert [(m.name, m.epoch) for m in first] == [("noise", 1)]  # in the state at the nested loop's exit
    with pytest.warns(
        FlorWarning, match="the state at epoch 1 is not the recorded one: `noise` differs .* data.txt has changed"
    ):
        frame = lab.frame("noise")
    assert frame.attrs["diverged"] == [lab.experiments()[0].version]


def test_an_unseeded_script_that_draws_before_its_first_call_is_told_apart(lab: Lab) -> None:
    text = SCRIPT.replace(
        "import flor_ray as flor\n", "import flor_ray as flor\n\nsplit = random.sample(range(1000), 10)\n"
    )
    lab.record_forked(text)
    lab.write("train.py", with_statement(text, "best = 0", 'flor.log("split", split)'))
    _, outcome = lab.replay(["split"])
    assert [warning for report in outcome.reports for warning in report.warnings] == [
        "the script draws random numbers before its first flor call, from a generator that it does not seed: data "
        "prepared before that may differ from the recorded run's"
    ]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("0/1", "epochs 1 to 4): 4 new values; exact: 25 recorded values"),
        ("1/2", "epochs 3 to 4): 2 new values; exact: 2 recorded values"),
    ],
)
def test_by_hand_replays_todays_code_on_the_newest_run(lab: Lab, part: str, message: str) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", with_statement(SCRIPT, '    flor.log("best", best)', 'flor.log("twice", 2 * best)'))
    done = lab.python("train.py", "--replay_flor", part)
    assert message in done.stderr.replace("\n", " ")
    epochs = {"0/1": [1, 2, 3, 4], "1/2": [3, 4]}[part]
    assert lab.values("twice") == [(e, s, i, 2 * v) for e, s, i, v in lab.values("best") if e in epochs]
    assert len(lab.experiments()) == 1


def test_by_hand_a_part_restores_the_nested_loops_exit_where_nothing_in_it_is_lacking(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    noisy = SCRIPT.replace(
        "        noise += random.random()", "        print('step')\n        noise += random.random()"
    )
    tail = with_statement(noisy, "    history.append(noise)", 'flor.log("tail", [round(x, 12) for x in history])')
    lab.write("train.py", tail)
    done = lab.python("train.py", "--replay_flor", "1/2")
    assert "step" not in done.stdout
    assert [len(value) for *_, value in lab.values("tail")] == [3, 4]
    lab.write("train.py", with_statement(tail, '        flor.log("weight", state["weight"])', 'flor.log("in", noise)'))
    done = lab.python("train.py", "--replay_flor", "1/2")
    assert done.stdout.count("step") == 10
    assert [row[:2] for row in lab.values("in")] == [(e, s) for e in (3, 4) for s in range(5)]


def test_by_hand_without_a_part_answers_what_is_outside_the_main_loop(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    lab.python("train.py", "--replay_flor")
    assert lab.values("prefix") == [(None, None, 0, 20)]
    assert lab.values("suffix") == [(None, None, 0, lab.values("best")[-1][-1])]
    assert lab.values("tail") == []


def test_what_cannot_be_asked_is_one_clear_error(lab: Lab) -> None:
    with pytest.raises(NothingRecorded, match="No version of project 'project' is recorded"):
        lab.prepare(["tail"])
    lab.record_forked(SCRIPT)
    with pytest.raises(UnknownFeature, match=r"Did you mean 'weight'\?"):
        lab.prepare(["wieght"])
    with pytest.raises(BadWhere, match="there is no column 'acuracy'"):
        lab.prepare(["best"], "acuracy > 1")
    with pytest.raises(BadWhere, match="does not parse"):
        lab.prepare(["best"], "best >")


def test_a_version_that_ran_another_script_is_refused_with_the_reason(lab: Lab) -> None:
    other = lab.record_forked("import flor_ray as flor\nflor.log('x', 1)\n", script="other.py")
    lab.record_forked(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    prepared = lab.prepare(["tail"])
    assert [(version, name) for version, name, _ in prepared.refusals] == [(other.version, "tail")]
    assert "its flor.loop (line 12) has no counterpart in the older version" in prepared.refusals[0][2]


def test_a_conditional_statement_is_not_replayed_for_ever(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    lab.write(
        "train.py",
        SCRIPT.replace(
            '    flor.log("best", best)\n',
            '    flor.log("best", best)\n    if epoch % 2:\n        flor.log("odd", epoch)\n',
        ),
    )
    lab.replay(["odd"])
    assert lab.values("odd") == [(2, None, 0, 1), (4, None, 0, 3)]
    assert lab.prepare(["odd"]).costs == ()


SOCKET = """
import socket
import flor_ray as flor

near, far = socket.socketpair()
count = total = 0
flor.checkpointing(count=count)
for epoch in flor.loop("epoch", range(3)):
    far.send(b"x" * (epoch + 1))
    for step in flor.loop("step", range(2)):
        count += 1
    reply = len(near.recv(100))
    total += reply
    flor.log("count", count)
"""


def test_what_takes_something_from_what_no_checkpoint_could_keep_is_replayed_from_the_start(lab: Lab) -> None:
    lab.write("train.py", SOCKET)
    told = lab.python("train.py").stderr
    assert told.count("cannot be kept in a checkpoint") == 1
    assert "'near' cannot be kept in a checkpoint, and the script takes something from it" in told
    added = '    flor.log("words", reply)\n    flor.log("twice", count * 2)\n    total += reply\n'
    lab.write("train.py", SOCKET.replace("    total += reply\n", added))
    prepared, outcome = lab.replay(["words", "twice"], "epoch == 3")
    assert [cost.segment.restore for cost in prepared.costs] == [None]
    assert "variable `near` could not be captured, so epoch 3 can only be replayed from the start" in str(
        pipeline.explained(prepared)
    )
    assert (outcome.failures, replays.problems(prepared, outcome)) == ([], [])
    assert (lab.values("words"), lab.values("twice")) == ([(3, None, 0, 3)], [(3, None, 0, 12)])
    assert lab.frame("words", "twice").attrs["doubtful"] == {}


def test_what_only_gives_something_to_it_starts_at_a_checkpoint(lab: Lab) -> None:
    text = SOCKET.replace("    reply = len(near.recv(100))\n    total += reply\n", "").replace(
        "flor.checkpointing(count=count)", "flor.checkpointing(count=count, overhead=1)"
    )
    lab.write("train.py", text)
    lab.python("train.py")
    lab.write("train.py", text.replace("        count += 1\n", '        count += 1\n        flor.log("n", count)\n'))
    prepared, outcome = lab.replay(["n"], "epoch == 3")
    assert [cost.segment.restore for cost in prepared.costs] == [2]
    assert (outcome.failures, replays.problems(prepared, outcome)) == ([], [])
    assert lab.values("n") == [(3, 0, 0, 5), (3, 1, 0, 6)]


SWEEP = """
import flor_ray as flor

TABLE = {}


def trained(name):
    def keep(function):
        TABLE[name] = function
        return function
    return keep


@trained("sgd")
def train(rate):
    total = 0
    flor.checkpointing(note=[rate])
    for epoch in flor.loop("epoch", range(2)):
        total += rate * epoch
        flor.log("total", total)
    if rate > 2:
        raise ValueError("too large")


for rate in range(1, 5):
    TABLE["sgd"](rate)
"""


def test_each_entry_of_the_main_loop_is_replayed_up_to_where_the_run_failed(lab: Lab) -> None:
    lab.write("train.py", SWEEP)
    assert "too large" in lab.python("train.py", check=False).stderr
    lab.write("train.py", with_statement(SWEEP, '        flor.log("total", total)', 'flor.log("twice", 2 * total)'))
    prepared, outcome = lab.replay(["twice"], "epoch == 1")
    assert [cost.segment.operator for cost in prepared.costs] == [Operator.DP_STAR]
    assert outcome.failures == []
    assert lab.values("twice") == [(e, s, i, 2 * v) for e, s, i, v in lab.values("total")]
    assert len(lab.values("twice")) == 6
    assert [report.verdict for report in outcome.reports] == [Fidelity.EXACT]

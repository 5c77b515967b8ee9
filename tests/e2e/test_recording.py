"""What users' scripts do while they are recorded: every recording trap of the peer, with real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flor_ray.records import Point, Status
from tests.conftest import Lab, environment

LOOP = """
import flor_ray as flor
n = flor.arg("n", 4)
total = 0
with flor.checkpointing():
    for epoch in flor.loop("epoch", range(n)):
        for step in flor.loop("step", range(3)):
            total += step
            flor.log("seen", total)
        flor.log("total", total)
flor.log("final", total)
"""


def test_a_run_is_recorded_with_its_levels_epochs_steps_and_arguments(lab: Lab) -> None:
    run = lab.record(LOOP, "--flor", "first", "--kwargs", "n=2")
    assert (run.run, run.status, run.script, run.epochs) == ("first", Status.FINISHED, "train.py", 2)
    assert (run.args, run.main_loop, run.nested_loop) == ({"n": 2}, "epoch", "step")
    assert lab.values("seen") == [
        (1, 0, 0, 0),
        (1, 1, 0, 1),
        (1, 2, 0, 3),
        (2, 0, 0, 3),
        (2, 1, 0, 4),
        (2, 2, 0, 6),
    ]
    assert lab.values("total") == [(1, None, 0, 3), (2, None, 0, 6)]
    assert lab.values("final") == [(None, None, 0, 6)]
    assert lab.values("n") == [(None, None, 0, 2)]


def test_break_return_and_exceptions_out_of_loops_close_them(lab: Lab) -> None:
    run = lab.record(
        """
import flor_ray as flor

def train():
    for epoch in flor.loop("epoch", range(10)):
        for step in flor.loop("step", range(10)):
            if step == 2:
                break
            flor.log("inner", step)
        flor.log("outer", epoch)
        try:
            for step in flor.loop("validate", range(10)):
                flor.log("validated", step)
                if step == 1:
                    raise ValueError
        except ValueError:
            flor.log("caught", epoch)
        if epoch == 1:
            return
train()
flor.log("after", 1)
"""
    )
    assert run.epochs == 2
    assert lab.values("inner") == [(1, 0, 0, 0), (1, 1, 0, 1), (2, 0, 0, 0), (2, 1, 0, 1)]
    assert lab.values("outer") == [(1, None, 0, 0), (2, None, 0, 1)]
    assert lab.values("validated") == [(1, 0, 0, 0), (1, 1, 0, 1), (2, 0, 0, 0), (2, 1, 0, 1)]
    assert lab.values("caught") == [(1, None, 0, 0), (2, None, 0, 1)]
    assert lab.values("after") == [(None, None, 0, 1)]


def test_an_argument_read_inside_a_loop_is_recorded_once_for_the_run(lab: Lab) -> None:
    run = lab.record(
        """
import flor_ray as flor
for epoch in flor.loop("epoch", range(2)):
    for step in flor.loop("step", range(2)):
        lr = flor.arg("lr", 0.5)
"""
    )
    assert lab.values("lr") == [(None, None, 0, 0.5)]
    assert run.args == {"lr": 0.5}


def test_arguments_take_the_type_of_their_default(lab: Lab) -> None:
    run = lab.record(
        """
import flor_ray as flor
flor.arg("text", "a"); flor.arg("flag", False); flor.arg("sizes", [1]); flor.arg("count", 1); flor.arg("rate", 1.0)
flor.arg("anything")
""",
        "--kwargs", "text=x=y=z", "flag=true", "sizes=[64, 10]", "count=3", "rate=1e-3", "anything=hello",
    )  # fmt: skip
    expected = {"text": "x=y=z", "flag": True, "sizes": [64, 10], "count": 3, "rate": 0.001, "anything": "hello"}
    assert run.args == expected


def test_a_value_that_does_not_fit_its_default_is_one_clear_message(lab: Lab) -> None:
    lab.write("train.py", LOOP)
    done = lab.python("train.py", "--kwargs", "n=many", check=False)
    assert done.returncode == 1
    assert "BadArgument: --kwargs n=many is not int like 4" in done.stderr


def test_flags_are_gone_before_the_script_parses_its_own(lab: Lab) -> None:
    run = lab.record(
        """
import argparse
import flor_ray as flor
parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int)
depth = parser.parse_args().depth
flor.log("depth", depth)
""",
        "--flor", "named", "--depth", "3", "--kwargs", "lr=1",
    )  # fmt: skip
    assert (run.run, run.argv) == ("named", ("--depth", "3"))
    assert lab.values("depth") == [(None, None, 0, 3)]


def test_an_option_that_the_script_defines_itself_stays_with_the_script(lab: Lab) -> None:
    script = """
import argparse
import flor_ray as flor
parser = argparse.ArgumentParser()
parser.add_argument("--kwargs")
flor.log("kwargs", parser.parse_args().kwargs)
flor.log("lr", flor.arg("lr", 0.5))
"""
    run = lab.record(script, "--kwargs", "mine", "--flor", "named")
    assert (run.run, run.argv) == ("named", ("--kwargs", "mine"))
    lab.cli("run", "--flor", "other", "--kwargs", "lr=0.25", "train.py", "--kwargs", "mine", check=True)
    assert lab.experiments()[-1].run == "other"
    assert lab.experiments()[-1].args == {"lr": 0.25}
    assert lab.values("kwargs") == [(None, None, 0, "mine")]


def test_the_code_that_ran_is_what_is_committed_though_the_file_is_edited_meanwhile(lab: Lab) -> None:
    text = """
import flor_ray as flor
flor.log("a", 1)
open("train.py", "a").write("flor.log('later', 2)\\n")
"""
    run = lab.record(text)
    assert lab.git("show", f"{run.version}:train.py") == text
    assert lab.project.store.sources(run.project, run.version)["train.py"].data.decode() == text


def test_an_edit_before_the_first_call_is_noticed_and_told(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
import flor_ray as flor
open("train.py", "a").write("flor.log('b', 2)\\n")
flor.log("a", 1)
""",
    )
    done = lab.python("train.py")
    assert "train.py was edited after this process had started" in done.stderr


def test_worker_processes_and_other_ranks_do_not_become_runs(lab: Lab) -> None:
    lab.write(
        "train.py",
        """
import multiprocessing
import flor_ray as flor

def work(n):
    flor.log("worker", n)
    return flor.arg("lr", 0.5)

if __name__ == "__main__":
    print(flor.arg("lr", 0.5))
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(pool.map(work, [1, 2]))
""",
    )
    done = lab.python("train.py", "--kwargs", "lr=0.25")
    assert done.stdout == "0.25\n[0.25, 0.25]\n[0.25, 0.25]\n"
    assert len(lab.experiments()) == 1
    assert lab.values("worker") == []
    warned = done.stderr.count("`worker` and all else that process")
    assert 2 <= warned <= 3, "each spawned worker that logs says so, and one of those that were forked"
    assert "logs is not recorded" not in lab.python("train.py", RANK="1").stderr
    assert len(lab.experiments()) == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, Status.FAILED), (signal.SIGKILL, Status.CRASHED)])
def test_a_killed_run_is_kept_and_marked_and_its_finished_epochs_are_replayable(
    lab: Lab, number: signal.Signals, status: Status
) -> None:
    lab.write(
        "train.py",
        """
import time
import flor_ray as flor
total = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(100)):
    for step in flor.loop("step", range(2)):
        total += 1
        flor.log("seen", total)
    if epoch == 3:
        print("ready", flush=True)
        time.sleep(60)
""",
    )
    process = subprocess.Popen(
        [sys.executable, "train.py"], cwd=lab.root, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(2.5)  # more than the second that a kill may cost
    process.send_signal(number)
    process.wait(20)
    process.stdout.close()
    run = lab.experiments()[-1]
    assert (run.status, run.epochs) == (status, 3)
    assert [value for *_, value in lab.values("seen")] == list(range(1, 9))
    lab.write(
        "train.py",
        (lab.root / "train.py").read_text().replace("    if epoch", "    flor.log('t', total)\n    if epoch"),
    )
    _, outcome = lab.replay(["t"])
    assert outcome.failures == []
    assert lab.values("t") == [(1, None, 0, 2), (2, None, 0, 4), (3, None, 0, 6)]


def test_a_run_that_raises_is_kept_and_marked(lab: Lab) -> None:
    lab.write("train.py", LOOP.replace('flor.log("total", total)', '1 / (2 - epoch); flor.log("total", total)'))
    assert lab.python("train.py", check=False).returncode == 1
    run = lab.experiments()[-1]
    assert (run.status, run.error, run.epochs) == (Status.FAILED, "ZeroDivisionError: division by zero", 2)
    ends = [c.epoch for c in lab.project.store.checkpoints(run.project, run.version) if c.point is Point.EPOCH_END]
    assert ends == [0, 1, 2]  # the third epoch did not end


def test_a_script_that_exits_with_an_error_under_flor_ray_run_is_marked_as_failed(lab: Lab) -> None:
    lab.write("train.py", "import sys\nimport flor_ray as flor\nflor.log('a', 1)\nsys.exit(3)\n")
    assert lab.cli("run", "train.py").returncode == 3
    assert (lab.experiments()[-1].status, lab.experiments()[-1].error) == (Status.FAILED, "SystemExit: 3")


def test_all_that_eight_threads_log_is_there_and_belongs_to_one_run(lab: Lab) -> None:
    lab.record(
        """
import sys
import threading
sys.setswitchinterval(1e-6)
import flor_ray as flor

def work(number):
    for count in range(500):
        flor.log("seen", number * 1000 + count)
        list(flor.loop("mine", range(2)) if begun else ())

def train():
    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

begun = False
train()
for epoch in flor.loop("epoch", range(3)):
    begun = True
    for step in flor.loop("step", range(2)):
        flor.log("inner", step)
        train()
"""
    )
    assert len(lab.experiments()) == 1
    every = sorted(number * 1000 + count for number in range(8) for count in range(500))
    seen = lab.values("seen")
    for place in [(None, None), *((epoch, step) for epoch in (1, 2, 3) for step in (0, 1))]:
        here = [row for row in seen if row[:2] == place]
        assert sorted(value for *_, value in here) == every
        assert [iteration for _, _, iteration, _ in here] == list(range(4000))
    assert len(lab.values("inner")) == 6


def test_two_runs_at_once_both_land_and_do_not_mix(lab: Lab) -> None:
    lab.write("train.py", LOOP)
    command = [sys.executable, "train.py", "--flor"]
    runs = [
        subprocess.Popen([*command, f"run{n}", "--kwargs", f"n={n}"], cwd=lab.root, env=environment())
        for n in (2, 3, 5)
    ]
    assert [process.wait(60) for process in runs] == [0, 0, 0]
    found = {e.run: e for e in lab.experiments()}
    assert {name: (e.epochs, e.args) for name, e in found.items()} == {f"run{n}": (n, {"n": n}) for n in (2, 3, 5)}
    assert len({e.version for e in found.values()}) == 3
    assert len(lab.git("rev-list", "flor.shadow").split()) == 3
    for n in (2, 3, 5):
        assert len(lab.values("seen", found[f"run{n}"].version)) == 3 * n


def test_seeding_in_the_script_does_not_make_runs_collide(lab: Lab) -> None:
    text = "import random\nrandom.seed(0)\nimport flor_ray as flor\nflor.log('x', random.random())\n"
    first, second = lab.record(text), lab.record(text)
    assert first.version != second.version
    assert lab.values("x", first.version) == lab.values("x", second.version)


def test_a_script_in_a_subfolder_on_a_detached_head_with_a_failing_hook_is_recorded(lab: Lab) -> None:
    lab.write("tracked.txt", "1")
    lab.git("add", ".")
    lab.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    lab.git("checkout", "--quiet", "--detach")
    hook = lab.write(".git/hooks/pre-commit", "#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    lab.write("tracked.txt", "2")
    lab.write("deep/er/train.py", LOOP)
    lab.python("train.py", cwd=lab.root / "deep/er")
    run = lab.experiments()[-1]
    assert (run.script, run.cwd) == ("deep/er/train.py", "deep/er")
    assert lab.git("show", f"{run.version}:tracked.txt") == "2"


def test_outside_a_repository_the_message_says_git_init(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LOOP)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Run `git init` in your project's folder" in done.stderr
    assert os.listdir(tmp_path) == ["train.py"]


def test_a_store_that_cannot_be_written_is_one_message_before_training_starts(lab: Lab) -> None:
    lab.write("blocked", "a file, not a folder")
    lab.write("train.py", LOOP)
    done = lab.python("train.py", check=False, FLOR_RAY_STORE=str(lab.root / "blocked"))
    assert done.returncode == 1
    assert "StoreError" in done.stderr
    assert (lab.root / "blocked").read_text() == "a file, not a folder"


def test_the_older_face_with_unnamed_loops_works(lab: Lab) -> None:
    run = lab.record(
        """
from flor_ray import MTK as Flor
import flor_ray as flor
state = {"n": 0}
Flor.checkpoints(state)
for epoch in Flor.loop(range(2)):
    for data in Flor.loop([1, 2]):
        state["n"] += data
    flor.log("n", state["n"])
"""
    )
    assert (run.main_loop, run.nested_loop, run.epochs) == ("epoch", "step", 2)
    assert lab.values("n") == [(1, None, 0, 3), (2, None, 0, 6)]


def test_a_log_nested_in_a_print_returns_its_value(lab: Lab) -> None:
    lab.write("train.py", 'import flor_ray as flor\nprint("loss: {}".format(\n    flor.log("loss", 0.5)\n))\n')
    assert lab.python("train.py").stdout == "loss: 0.5\n"
    assert lab.values("loss") == [(None, None, 0, 0.5)]


DEAR = """
import torch
import flor_ray as flor

torch.manual_seed(1)
weight, count = torch.zeros(12_000_000), 0
flor.checkpointing(weight=weight)
for epoch in flor.loop("epoch", {epochs}):
    for step in flor.loop("step", range(2)):
        weight.add_(torch.rand(()))
        count += 1
    flor.log("count", count)
"""


@pytest.mark.parametrize("epochs", ["range(6)", "iter(range(6))"], ids=["of known length", "of unknown length"])
def test_a_dear_checkpoint_is_taken_first_and_last_and_values_between_are_replayed_all_the_same(
    lab: Lab, epochs: str
) -> None:
    run = lab.record(DEAR.format(epochs=epochs), FLOR_RAY_OVERHEAD="0.0001")
    place = lab.project.name, run.version
    store = lab.project.store
    assert [(c.epoch, c.point, c.why) for c in store.checkpoints(*place) if c.point is Point.EPOCH_END] == [
        (0, Point.EPOCH_END, "the entry of the main loop"),
        (6, Point.EPOCH_END, "the last epoch"),
    ]
    skipped = store.skips(*place)
    assert [skip.epoch for skip in skipped][:5] == [1, 2, 3, 4, 5]
    words = ("of the budget (0.0% of the run's time) were left", "restoring it would take", "those before it are still")
    assert all(any(part in skip.why for part in words) for skip in skipped)
    assert [times.epoch for times in run.profile.epochs] == [1, 2, 3, 4, 5, 6] == list(range(1, run.epochs + 1))
    text = DEAR.format(epochs=epochs)
    lab.write(
        "train.py",
        text.replace('    flor.log("count"', '    flor.log("first", weight[0].item())\n    flor.log("count"'),
    )
    _, outcome = lab.replay(["first"])
    assert outcome.failures == []
    assert sum(report.compared for report in outcome.reports) >= 5
    assert all(report.mismatch is None for report in outcome.reports)
    expected = lab.record((lab.root / "train.py").read_text())
    assert lab.values("first", run.version) == lab.values("first", expected.version)


def test_verbose_versions_show_what_was_decided_and_why(lab: Lab) -> None:
    lab.record(DEAR.format(epochs="range(4)"), FLOR_RAY_OVERHEAD="0.0001")
    shown = lab.cli("versions", "--verbose").stdout
    assert re.search(r"checkpoints after 2 of 5 epochs \(with 0, the loop's entry\), of up to 48\.\d MB", shown)
    rows = [line.split()[:2] for line in shown.splitlines() if re.match(r"\d(-\d)? +(checkpoint|none)", line)]
    assert rows == [["0", "checkpoint"], ["1-3", "none"], ["4", "checkpoint"]]


@pytest.mark.parametrize("wrong", ["0", "-1", "much"])
def test_a_budget_that_is_none_is_refused_before_anything_runs(lab: Lab, wrong: str) -> None:
    lab.write("train.py", "import flor_ray as flor\nflor.log('x', 1)\n")
    failed = lab.python("train.py", check=False, FLOR_RAY_OVERHEAD=wrong)
    assert failed.returncode == 1
    assert f"FLOR_RAY_OVERHEAD={wrong!r}: give a share of the run's time, such as 0.02 for 2 %" in failed.stderr
    lab.write("train.py", "import flor_ray as flor\nflor.checkpointing(x=[1], overhead='2 %')\n")
    assert "checkpointing(overhead='2 %'): give the share" in lab.python("train.py", check=False).stderr

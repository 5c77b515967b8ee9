"""`flor-ray storage` and `flor-ray gc` as users see them, and replays after checkpoints are gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flor_ray.store.retention import RULES
from tests.conftest import Lab, environment

SCRIPT = """
import random
import flor_ray as flor

state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(4)):
        state["weight"] *= 1 + random.random()
    flor.log("weight", state["weight"])
"""
LOGS = """
        flor.log("inner", state["weight"])
    flor.log("tail", -state["weight"])
    flor.log("weight", state["weight"])
"""
HINDSIGHT = SCRIPT.replace('\n    flor.log("weight", state["weight"])\n', LOGS)
SLEEPING = """
import time
import flor_ray as flor

flor.checkpointing(state={"x": 1})
for epoch in flor.loop("epoch", range(3)):
    flor.log("loss", epoch)
print("there", flush=True)
time.sleep(60)
"""


def epochs(lab: Lab) -> list[list[int]]:
    store, name = lab.project.store, lab.project.name
    return [sorted({c.epoch for c in store.checkpoints(name, e.version)}) for e in lab.experiments()]


def objects(lab: Lab) -> int:
    return len(lab.project.store.objects.infos())


def test_a_version_with_only_its_last_checkpoint_is_replayed_to_the_same_values(lab: Lab) -> None:
    lab.record_forked(SCRIPT, "--flor", "thinned")
    thinned = lab.experiments()[0].version
    lab.write("train.py", HINDSIGHT)
    lab.replay(["inner", "tail"])
    before = {name: lab.values(name, thinned) for name in ("inner", "tail")}
    assert [len(values) for values in before.values()] == [24, 6]
    planned = lab.cli("gc", "--keep", "last", "--grace", "0", "--dry-run", check=True).stdout
    assert re.search(r"thinned +3 +13 +0, 6 ", planned)
    assert epochs(lab) == [[0, 1, 2, 3, 4, 5, 6]]
    done = lab.cli("gc", "--keep", "last", "--grace", "0", "--yes", check=True).stdout
    assert done.startswith(planned)
    assert re.search(r"\nDropped 10 checkpoints, deleted \d+ objects: [\d.]+ k?B freed\.\n$", done)
    assert epochs(lab) == [[0, 6]]
    _, outcome = lab.replay(["inner", "tail"], again=True)
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    assert {name: lab.values(name, thinned) for name in before} == before
    assert "Nothing to delete." in lab.cli("gc", "--keep", "last", "--grace", "0", "--yes", check=True).stdout


def test_a_gc_without_anything_else_to_do_deletes_half_written_files_and_says_so(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    left = lab.root / ".flor/objects/.tmp-1-2-3"
    left.write_bytes(b"ha")
    os.utime(left, (1e9, 1e9))
    assert lab.cli("gc", "--dry-run", check=True).stdout == "Nothing to delete.\n"
    assert left.exists()
    said = "Nothing to delete.\nDeleted 1 file that killed writers had left half written.\n"
    assert lab.cli("gc", check=True).stdout == said
    assert not left.exists()


def test_gc_asks_and_no_means_no(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    done = lab.cli("gc", "--keep", "last", "--grace", "0")
    assert done.returncode == 130
    assert re.search(r"Drops 10 of 13 checkpoints.*Delete that\? It cannot be undone", done.stdout, re.DOTALL)
    assert epochs(lab) == [[0, 1, 2, 3, 4, 5, 6]]


def test_within_the_grace_checkpoints_go_and_their_objects_stay(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    count = objects(lab)
    done = lab.cli("gc", "--keep", "last", "--yes", check=True).stdout
    assert re.search(r"Left for a later gc: \d+ objects of [\d.]+ k?B that will be unneeded then", done)
    assert "deleted 0 objects" in done
    assert (epochs(lab), objects(lab)) == ([[0, 6]], count)


def test_what_a_killed_run_left_behind_goes_and_its_checkpoints_stay(lab: Lab) -> None:
    lab.write("train.py", SLEEPING)
    script = subprocess.Popen(
        [sys.executable, "train.py"], cwd=lab.root, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert script.stdout is not None
    assert script.stdout.readline() == "there\n"
    deadline = time.monotonic() + 30
    while epochs(lab) != [[0, 1, 2, 3]] and time.monotonic() < deadline:
        time.sleep(0.05)
    refused = lab.cli("gc", "--grace", "0")
    assert refused.returncode == 2
    assert re.search(r"Error: version \w{8} of project is being recorded.*--grace 1h or more", refused.stderr)
    kept = lab.cli("gc", "--keep", "last", "--grace", "1h", "--dry-run", check=True).stdout
    assert re.search(
        r"All checkpoints stay where version \w{8} of project is being recorded\.\nNothing to delete\.", kept
    )
    script.send_signal(signal.SIGKILL)
    script.wait()
    count = objects(lab)
    lost = lab.project.store.objects.put(b"put, and then the power failed")
    done = lab.cli("gc", "--grace", "0", "--yes", check=True).stdout
    assert "Deletes 1 object of 30 B; 1 of 30 B of these are unneeded already." in done
    assert not lab.project.store.objects.exists(lost)
    assert (objects(lab), epochs(lab)) == (count, [[0, 1, 2, 3]])


def test_ctrl_c_says_what_was_done_and_the_next_gc_does_the_rest(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    store = lab.project.store
    for number in range(3000):
        store.objects.put(f"{number}".encode())
    code = (
        "import os, signal, sys\n"
        "from flor_ray.cli import commands\n"
        "from flor_ray.store import collecting\n"
        "delete = collecting._delete\n"
        "def interrupted(*arguments):\n"
        "    *most, tell = arguments\n"
        "    delete(*most, lambda what, done, total: done >= 640 and os.kill(os.getpid(), signal.SIGINT))\n"
        "collecting._delete = interrupted\n"
        "sys.argv = ['flor-ray', 'gc', '--keep', 'last', '--grace', '0', '--yes']\n"
        "commands.main()\n"
    )
    done = lab.python("-c", code, check=False)
    assert done.returncode == 130, done.stderr
    assert re.search(
        r"Stopped\. Dropped 10 checkpoints, deleted 640 objects: .* 2\d\d\d objects more are still to be deleted",
        done.stderr,
    )
    assert epochs(lab) == [[0, 6]]
    again = lab.cli("gc", "--grace", "0", "--yes", check=True).stdout
    assert re.search(r"Dropped 0 checkpoints, deleted 2\d\d\d objects", again)
    lab.write("train.py", HINDSIGHT)
    _, outcome = lab.replay(["tail"])
    assert outcome.failures == []


def test_storage_prints_a_row_per_version_and_json_with_bytes(lab: Lab) -> None:
    first = lab.record_forked(SCRIPT, "--flor", "one")
    lab.record_forked(SCRIPT, "--flor", "two")
    lab.project.store.objects.put(b"lost")
    printed = lab.cli("storage", check=True).stdout
    assert re.search(rf"{first.version[:8]} +one +6 +13 +[\d.]+ kB +[\d.]+ kB +[\d.]+ k?B +[\d.]+ kB", printed)
    assert re.search(r"dedup ratio \d\.\d\.\nNo longer needed: 1 object of 4 B\. `flor-ray gc` deletes", printed)
    done = lab.cli("storage", "--json", check=True)
    found = json.loads(done.stdout)
    root = lab.root / ".flor"
    assert found["bytes"] == sum(p.stat().st_size for p in (root / "objects").rglob("*") if p.is_file())
    assert [(v["run"], v["epochs"], v["checkpoints"]) for v in found["versions"]] == [("one", 6, 13), ("two", 6, 13)]
    logs = Path(root, "log_records", lab.project.name, first.version)
    assert found["versions"][0]["log_bytes"] == sum(p.stat().st_size for p in logs.iterdir())
    assert (found["unneeded_objects"], found["unneeded_bytes"]) == (1, 4)
    assert (found["missing_objects"], found["damage"]) == ([], [])
    assert sum(v["logical_bytes"] for v in found["versions"]) == found["logical_bytes"]


def test_damage_is_named_by_both_and_gc_deletes_nothing(lab: Lab) -> None:
    version = lab.record_forked(SCRIPT).version
    key = lab.project.store.checkpoints(lab.project.name, version)[3].key
    (lab.root / ".flor/objects" / key[:2] / key[2:]).unlink()
    count = objects(lab)
    stopped = lab.cli("gc", "--keep", "last", "--grace", "0", "--yes")
    assert stopped.returncode == 1
    assert re.search(rf"Error: version {version[:8]}, epoch 2: Object {key} .*so nothing is deleted", stopped.stderr)
    assert "Traceback" not in stopped.stderr
    assert objects(lab) == count
    shown = lab.cli("storage", check=True).stdout
    assert f"Warning: 1 object that versions need is not in the store (such as {key})" in shown
    assert f"Warning: version {version[:8]}, epoch 2: Object {key} is referred to but is not in" in shown


@pytest.mark.parametrize(("words", "said"), [(["--keep", "best"], "every:N"), (["--grace", "1x"], "12h, 1d or 2w")])
def test_a_wrong_option_is_answered_with_the_right_ones(lab: Lab, words: list[str], said: str) -> None:
    lab.record_forked(SCRIPT)
    done = lab.cli("gc", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_every_rule_is_in_the_help(lab: Lab) -> None:
    text = lab.cli("gc", "--help", check=True).stdout
    assert [rule for rule in RULES if not re.search(rf"^    {re.escape(rule)} {{2}}", text, re.MULTILINE)] == []

"""What a script draws anew whenever it starts (names of temporary folders, ids, process numbers) is, where a replay
begins at a checkpoint, what it was in the run; so are the files below such names. Elsewhere the reader is told."""

from __future__ import annotations

from flor_ray.reports import replays
from tests.conftest import Lab

SCRIPT = """
import argparse, datetime, os, tempfile, time, uuid
import flor_ray as flor

class Config:
    pass

run = str(uuid.uuid4())
args = argparse.Namespace(out=f"runs/{run}")
os.makedirs(args.out)
config = Config()
config.name = f"run-{os.getpid()}"
day = datetime.datetime.now()
holder = tempfile.TemporaryDirectory()
scratch = tempfile.mkdtemp()
began = time.time()
total = 0
flor.checkpointing(overhead=1)
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        for folder in (scratch, holder.name, args.out):
            with open(os.path.join(folder, "n.txt"), "a") as file:
                file.write("x")
        total += step
    if time.time() - began > 100:
        break
    flor.log("total", total)
    #
flor.log("truth", [run, args.out, config.name, day.isoformat(), holder.name, scratch])
"""
COUNTED = """flor.log("counted", [
        [len(os.listdir(f)), os.path.getsize(f"{f}/n.txt")] for f in (scratch, holder.name, args.out)])
"""
DRAWN = """flor.log("drawn", [run, args.out, config.name, day.isoformat(), holder.name, scratch])
"""


def test_what_was_drawn_and_the_files_below_it_are_the_runs(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    truth = lab.values("truth")[0][-1]
    lab.write("train.py", SCRIPT.replace("#", COUNTED + "    " + DRAWN))
    prepared, outcome = lab.replay(["counted", "drawn"])
    assert outcome.failures == []
    assert [value for *_, value in lab.values("counted")] == [[[1, 2 * n]] * 3 for n in (1, 2, 3)]
    assert [value for *_, value in lab.values("drawn")] == [truth] * 3
    assert not replays.problems(prepared, outcome)


def test_who_asks_before_the_loop_is_told_that_it_was_drawn_anew(lab: Lab) -> None:
    lab.record_forked(SCRIPT)
    lab.write("train.py", SCRIPT.replace("total = 0", 'total = 0\nflor.log("name", [1, run])'))
    prepared, outcome = lab.replay(["name"])
    (told,) = (sentence for sentence in replays.problems(prepared, outcome) if "uuid4()" in sentence)
    assert "name depends on 'uuid4()'" in told
    assert list(lab.frame("name").attrs["doubtful"].values()) == [["name"]]

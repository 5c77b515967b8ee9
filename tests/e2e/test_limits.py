"""A script that hangs, leaks or crashes hurts its own segment only, and leaves no process behind."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.cluster.worker import Worker
from flor_ray.errors import LimitExceeded, ProcessKilled, ReplayError, ScriptFailed
from flor_ray.planning.terms import Terms
from flor_ray.records import DEFAULT_LIMITS, Limits, Operator, Segment
from flor_ray.replaying.job import VersionJob
from tests.conftest import Lab

SCRIPT = """
import flor_ray as flor


def slow(epoch):
    import time
    time.sleep(100 if epoch == 1 else 0)
    return epoch


state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(4)):
    state["weight"] += epoch
    flor.log("weight", state["weight"])
"""
HINDSIGHT = """
def misbehave():
    import os, signal, subprocess, time
    print("running", os.getpid(), subprocess.Popen(["sleep", "100"]).pid, flush=True)
    {}


state ="""
STATEMENT = """    flor.log("value", misbehave() if epoch + 1 == {} else epoch)
"""
BAD_EPOCH = 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("limits") / "project")
    lab.record_forked(SCRIPT)
    return lab


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def job(lab: Lab, misbehaviour: str, limits: Limits = DEFAULT_LIMITS) -> VersionJob:
    """What a worker needs to replay the recorded version with a statement that misbehaves in one epoch."""
    project, (experiment,) = lab.project, lab.experiments()
    checkpoints = project.store.checkpoints(project.name, experiment.version)
    patched = SCRIPT.replace("\nstate =", HINDSIGHT.format(misbehaviour)) + STATEMENT.format(BAD_EPOCH)
    return VersionJob(project.store.url, "replay-test", experiment, checkpoints, {"train.py": patched}, limits=limits)


def segment(job: VersionJob, epoch: int) -> Segment:
    return Segment(job.experiment.version, epoch, epoch, Operator.DP_I, restore=epoch - 1, names=("value",))


def failure(worker: Worker, job: VersionJob) -> ReplayError:
    """How the segment of the bad epoch fails; those before and after it are answered by processes of their own."""
    assert worker.run(job, segment(job, BAD_EPOCH - 1)).rows == 1
    with pytest.raises(ReplayError) as caught:
        worker.run(job, segment(job, BAD_EPOCH))
    message = str(caught.value)
    found = re.search(r"\nIts last output:\nrunning (\d+) (\d+)\b", message)
    assert found, message
    assert gone(*map(int, found.groups()))
    after = worker.run(job, segment(job, BAD_EPOCH + 1))
    assert after.rows == 1
    assert after.setup_seconds > 0
    return caught.value


def gone(*processes: int) -> bool:
    deadline = time.monotonic() + 5
    while any(map(runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(runs, processes))


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_script_that_hangs_is_ended_by_its_time_limit(recorded: Lab, worker: Worker) -> None:
    began = time.monotonic()
    error = failure(worker, job(recorded, "time.sleep(100)", Limits(seconds=3)))
    assert isinstance(error, LimitExceeded)
    assert re.match(
        r"The segment was ended after 3\.\d s: its time limit is 3 s, set-up included\. .*time-limit", str(error)
    )
    assert time.monotonic() - began < 20


def test_set_up_counts_for_the_first_segment_only(recorded: Lab, worker: Worker) -> None:
    quick = job(recorded, "pass", Limits(seconds=2))
    slow = {"train.py": "import time\ntime.sleep(1.2)\n" + quick.patches["train.py"]}
    patient = replace(quick, patches=slow)
    for epoch in (1, 3, 4):
        assert worker.run(patient, segment(patient, epoch)).rows == 1
    impatient = replace(patient, limits=Limits(0.5))
    with pytest.raises(LimitExceeded, match=r"its time limit is 0\.5 s"):
        worker.run(impatient, segment(impatient, 1))


def test_a_script_that_leaks_is_ended_by_its_memory_limit(recorded: Lab, worker: Worker) -> None:
    leak = "kept = []\n    while True:\n        kept.append(bytearray(b'x' * (50 << 20)))\n        time.sleep(0.1)"
    error = failure(worker, job(recorded, leak, Limits(memory_bytes=600 << 20)))
    assert isinstance(error, LimitExceeded)
    assert re.match(
        r"The segment was ended when its processes held [\d.]+ [MG]B of memory: its limit is 600 MB\.", str(error)
    )


def test_the_memory_of_processes_that_the_script_started_counts(recorded: Lab, worker: Worker) -> None:
    child = "x = b'x' * (900 << 20); import time; time.sleep(100)"
    leak = f'subprocess.run([__import__("sys").executable, "-c", {child!r}])'
    error = failure(worker, job(recorded, leak, Limits(memory_bytes=600 << 20)))
    assert isinstance(error, LimitExceeded)


@pytest.mark.parametrize(
    ("crash", "kind", "message"),
    [
        ("os.abort()", ProcessKilled, "The replay process was killed by SIGABRT."),
        ("os.kill(os.getpid(), signal.SIGKILL)", ProcessKilled, "The replay process was killed by SIGKILL."),
        ("os._exit(3)", ScriptFailed, "The script's process ended with exit status 3."),
        ("raise ValueError('bad')", ScriptFailed, "ValueError: bad"),
        ("os.closerange(3, 1000); time.sleep(100)", ScriptFailed, "The script closed the replay process's connection"),
    ],
)
def test_a_script_that_crashes_takes_nothing_with_it(
    recorded: Lab, worker: Worker, crash: str, kind: type[ReplayError], message: str
) -> None:
    error = failure(worker, job(recorded, crash))
    assert type(error) is kind
    assert str(error).startswith(message)


def test_the_output_of_earlier_segments_is_not_shown(recorded: Lab, worker: Worker) -> None:
    noisy = job(recorded, "raise ValueError('bad')")
    noisy = replace(noisy, patches={"train.py": noisy.patches["train.py"] + "    print('epoch', epoch + 1)\n"})
    assert "epoch 1" not in str(failure(worker, noisy))


def test_other_segments_of_a_replay_go_on(recorded: Lab) -> None:
    recorded.write("train.py", SCRIPT + '    flor.log("value", slow(epoch))\n')
    for where, failures in (("epoch == 2", ["The segment was ended after 3"]), ("epoch != 2", [])):
        outcome = pipeline.run(recorded.prepare(["value"], where, again=True), ThreadExecutor(), limits=Limits(3.0))
        assert [error[: len("The segment was ended after 3")] for _, error in outcome.failures] == failures
    assert [(epoch, value) for epoch, _, _, value in recorded.values("value")] == [(1, 0), (3, 2), (4, 3)]


def test_the_command_line_says_what_is_no_limit(recorded: Lab) -> None:
    refused = recorded.cli("replay", "value", "--memory-limit", "much")
    assert (refused.returncode, refused.stderr.strip()) == (
        2,
        "Error: memory limit='much' is not a number of bytes. Write 4096, 500M or 2G.",
    )


@pytest.mark.parametrize("retries", [0, 1])
def test_a_segment_is_tried_again_as_often_as_it_may(recorded: Lab, retries: int) -> None:
    kill = f"__import__('os').abort() if epoch + 1 == {BAD_EPOCH} else epoch"
    recorded.write("train.py", f'{SCRIPT}    flor.log("value", {kill})\n')
    outcome = pipeline.run(recorded.prepare(["value"], again=True), recorded.executor(), limits=Limits(retries=retries))
    ((failed, why),) = outcome.failures
    assert "was killed by SIGABRT" in why
    assert sum(stint.segment == failed for stint in outcome.stints) == retries + 1


class _NoWorkers(ThreadExecutor):
    """Of a cluster whose nodes do not come."""

    def start(self, workers: int, first: VersionJob | None) -> None:
        pass


def test_a_replay_waits_for_workers_as_long_as_it_may(recorded: Lab) -> None:
    recorded.write("train.py", f'{SCRIPT}    flor.log("value", epoch)\n')
    prepared = pipeline.prepare(recorded.project, ["value"], None, Terms(1, wait_seconds=1.0), again=True)
    began = time.monotonic()
    with pytest.raises(ReplayError, match=r"There has been no worker for 1 s\."):
        pipeline.run(prepared, _NoWorkers())
    assert 1 < time.monotonic() - began < 30

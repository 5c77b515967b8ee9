"""A script that hangs, leaks or crashes hurts its own segment only, and leaves no process behind."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import pipeline, processes
from flor_ray.cluster import executors
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.cluster.worker import Worker
from flor_ray.errors import LimitExceeded, MemoryShort, ProcessKilled, ReplayError, ScriptFailed, SegmentHung
from flor_ray.planning.terms import Terms
from flor_ray.records import DEFAULT_LIMITS, Ending, Limits, Operator, Segment
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.limits import parse_limits
from flor_ray.scheduler import overdue
from flor_ray.scheduler.messages import SecondTry, SegmentFailed
from flor_ray.scheduler.overdue import OverdueStep
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
        r"Version \w{8}, epoch 2, at train\.py:14\. The segment was ended after 3\.\d s: its time limit is 3 s, set-up "
        r"included\. .*time-limit",
        str(error),
    )
    assert time.monotonic() - began < 20


IN_PYTHON = "time.sleep(100)"
IN_C = "import ctypes; ctypes.PyDLL(None).sleep(100)"  # which keeps the interpreter to itself
DEAF = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(100)"
STOPPED = "os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.mark.parametrize(
    ("hangs", "function"),
    [(IN_PYTHON, "misbehave"), (IN_C, "misbehave"), (DEAF, "misbehave"), (STOPPED, None)],
    ids=["python", "C", "deaf", "stopped"],
)
def test_a_script_that_hangs_without_a_limit_is_ended_with_its_stack(
    recorded: Lab, worker: Worker, hangs: str, function: str | None
) -> None:
    error = failure(worker, job(recorded, hangs, Limits(late_seconds=0.2, step_seconds=2.0)))
    assert isinstance(error, SegmentHung)
    line = 14  # of `misbehave`, with the statement in it
    where = f", at train.py:{line}" if function else ""
    version = recorded.experiments()[0].version[:8]
    told = (
        rf"Version {version}, epoch 2{where}\. The script hangs: it has been in epoch 2 for \d+(\.\d)? s, and 0\.2 s "
    )
    assert re.match(told, str(error)), str(error)
    assert ("Its stack:" in str(error)) == (function is not None)
    assert function is None or f'File "train.py", line {line} in {function}' in str(error)
    event = executors.failure("w", segment(job(recorded, ""), BAD_EPOCH), error)
    assert isinstance(event, SegmentFailed)
    assert (event.retryable, event.second) == (True, SecondTry.ELSEWHERE)


def test_a_step_that_is_late_says_where_its_script_is(recorded: Lab, worker: Worker) -> None:
    slow = job(recorded, "time.sleep(4)", Limits(late_seconds=0.5))
    bad = segment(slow, BAD_EPOCH)
    with futures.ThreadPoolExecutor() as pool:
        running = pool.submit(worker.run, slow, bad)
        found = []
        while not running.done():
            found.append(worker.whereabouts(bad))
            time.sleep(0.05)
        assert running.result().rows == 1
    assert set(found) >= {(0, ""), (BAD_EPOCH, ""), (BAD_EPOCH, "train.py:14")}
    assert worker.whereabouts(bad) == (0, "")


def test_a_version_whose_steps_were_long_is_given_more_time(recorded: Lab, worker: Worker) -> None:
    patient = job(recorded, "time.sleep(1.2)", Limits(step_seconds=0.9))
    quick = replace(patient, patches={k: "import time\ntime.sleep(0.6)\n" + v for k, v in patient.patches.items()})
    assert worker.run(quick, segment(quick, BAD_EPOCH - 1)).rows == 1  # its set-up took more than 0.6 s
    assert worker.run(quick, segment(quick, BAD_EPOCH)).rows == 1


def test_no_limit_is_no_limit(recorded: Lab, worker: Worker) -> None:
    slow = job(recorded, "time.sleep(2)", replace(parse_limits("none", None), step_seconds=0.1))
    assert worker.run(slow, segment(slow, BAD_EPOCH)).rows == 1


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


def test_a_segment_is_ended_before_its_machine_runs_out_of_memory(
    recorded: Lab, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = job(recorded, "time.sleep(100)")
    monkeypatch.setattr(processes, "machine_use", lambda: (processes.tree_bytes(os.getpid()), 100 << 20))
    with pytest.raises(
        MemoryShort, match=r"before its machine ran out of memory: .* [MG]B of 100 MB were in use"
    ) as caught:
        worker.run(big, segment(big, BAD_EPOCH))
    event = executors.failure("w", segment(big, BAD_EPOCH), caught.value)
    assert isinstance(event, SegmentFailed)
    assert (event.retryable, event.second) == (True, SecondTry.ALONE)


@pytest.mark.parametrize("harm", ["os.kill(os.getpid(), signal.SIGKILL)", "raise RuntimeError('a loader was killed')"])
def test_what_the_kernel_killed_for_memory_is_told_as_that(
    recorded: Lab, worker: Worker, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    kills = itertools.count()
    monkeypatch.setattr(processes, "kills_for_memory", lambda: next(kills))
    shot = job(recorded, harm)
    with pytest.raises(
        MemoryShort, match=r"The kernel has killed a process meanwhile, since this machine had no memory"
    ):
        worker.run(shot, segment(shot, BAD_EPOCH))


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
    recorded.write("train.py", SCRIPT + '    flor.log("late", slow(epoch))\n')
    for where, failures in (("epoch == 2", 1), ("epoch != 2", 0)):
        outcome = pipeline.run(recorded.prepare(["late"], where, again=True), ThreadExecutor(), limits=Limits(3.0))
        assert len(outcome.failures) == failures
        assert all("The segment was ended after 3" in error for _, error in outcome.failures)
    assert [(epoch, value) for epoch, _, _, value in recorded.values("late")] == [(1, 0), (3, 2), (4, 3)]


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

    def start(self, workers: int, first: VersionJob | None, later: int = 0) -> None:
        pass


def test_a_replay_waits_for_workers_as_long_as_it_may(recorded: Lab) -> None:
    recorded.write("train.py", f'{SCRIPT}    flor.log("value", epoch)\n')
    prepared = pipeline.prepare(recorded.project, ["value"], None, Terms(1, wait_seconds=1.0), again=True)
    began = time.monotonic()
    with pytest.raises(ReplayError, match=r"There has been no worker for 1 s\."):
        pipeline.run(prepared, _NoWorkers())
    assert 1 < time.monotonic() - began < 30


def test_what_hangs_is_named_tried_once_more_and_given_up(recorded: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue, "_LEAST_LIMIT_SECONDS", 3.0)
    monkeypatch.setattr(overdue, "_LEAST_LATE_SECONDS", 0.3)
    monkeypatch.setattr(overdue, "_GENEROUS", 0.1)
    recorded.write("train.py", SCRIPT + '    flor.log("stuck", slow(epoch))\n')
    told: list[OverdueStep] = []
    outcome = pipeline.run(
        recorded.prepare(["stuck"], workers=2), ThreadExecutor(), lambda now: told.extend(now.overdue)
    )
    ((given_up, error),) = outcome.failures
    assert "The script hangs: it has been in epoch 2" in error
    assert [stint.ending for stint in outcome.stints if stint.segment == given_up] == [Ending.FAILED] * 2
    assert {(step.version, step.epoch, step.place) for step in told} >= {(given_up.version, 2, "train.py:7")}

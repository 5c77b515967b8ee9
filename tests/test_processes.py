"""Who is still running, since when, and how much memory a process group holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flor_ray import processes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
EVERYWHERE = pytest.mark.parametrize("linux", sorted({False, sys.platform == "linux"}))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@LINUX
def test_starts_are_those_that_older_stores_hold(child: subprocess.Popen[bytes]) -> None:
    """They were read from /proc/PID/stat, whose 22nd field they are."""
    for pid in (os.getpid(), child.pid):
        recorded = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        assert processes.started(pid) == pytest.approx(recorded, abs=1)
        assert processes.is_running(pid, recorded)


@EVERYWHERE
def test_a_process_is_told_from_a_later_one_by_its_start(
    child: subprocess.Popen[bytes], linux: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LINUX", linux)
    mine, its = processes.started(os.getpid()), processes.started(child.pid)
    assert mine is not None
    assert its is not None
    assert mine < its
    assert processes.is_running(child.pid, its)
    second = os.sysconf("SC_CLK_TCK")
    assert not processes.is_running(child.pid, its - 2 * second)
    assert not processes.is_running(child.pid, its + 2 * second)
    assert processes.is_running(child.pid, its + second // 2)  # a clock was set while it was read
    assert processes.is_running(child.pid, None)  # recorded where the system did not say
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not looked yet
    assert processes.started(child.pid) is None
    assert not processes.is_running(child.pid, its)
    child.communicate()
    assert processes.started(child.pid) is None
    assert not processes.is_running(child.pid, its)


def test_a_start_since_1970_does_not_depend_on_when_the_machine_was_booted(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LINUX", False)
    its = processes.started(child.pid)
    assert its is not None
    # Linux knows when it was booted to the second.
    assert its / os.sysconf("SC_CLK_TCK") == pytest.approx(time.time(), abs=30)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
def test_what_is_no_number_of_a_process_does_not_run(pid: int) -> None:
    assert not processes.is_running(pid, None)


@pytest.mark.parametrize("error", [PermissionError, OverflowError])
def test_someone_elses_process_may_be_hidden_and_counts_as_running(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pid: int, signal: int) -> None:
        raise error

    monkeypatch.setattr(os, "kill", refused)
    assert processes.is_running(2**22 + 1, 7)


def test_where_the_system_does_not_say_when_it_was_booted_the_number_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> float:
        raise RuntimeError("line 'btime' not found")

    monkeypatch.setattr(processes, "_LINUX", True)
    monkeypatch.setattr(psutil, "boot_time", unknown)
    assert processes.started(os.getpid()) is None
    assert processes.is_running(os.getpid(), 7)
    assert processes.age_seconds() == pytest.approx(time.process_time(), abs=1.0)


@EVERYWHERE
def test_a_process_knows_its_age(linux: bool) -> None:
    script = (
        "import time; time.sleep(1.5); from flor_ray import processes\n"
        f"processes._LINUX = {linux}; print(processes.age_seconds())"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # Only to the second does Linux know when it was booted, and so at which time a process began.
    blur = 0.02 if linux or sys.platform != "linux" else 1.0
    assert 1.5 - blur < float(done.stdout) < time.monotonic() - began + blur


def test_the_machine_has_no_more_memory_than_it_has() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < processes.machine_bytes() <= total


def test_pages_that_the_processes_of_a_group_share_count_once() -> None:
    script = """
import os, sys
data = b"x" * (200 << 20)
for _ in range(3):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert processes.group_bytes(process.pid, enough=2 << 30) > 800 << 20  # the quick answer: all that is mapped
        assert 200 << 20 < processes.group_bytes(process.pid) < 300 << 20
        assert process.stdin is not None
        process.stdin.close()
    assert processes.group_bytes(2**22 + 1) == 0  # nobody is in it


def test_no_background_thread_nor_what_it_starts_takes_a_signal() -> None:
    """The system chooses at random among the threads that let a signal in."""
    found: list[str] = []

    def run() -> None:
        asking = "import signal; print(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))"
        found.append(subprocess.run([sys.executable, "-c", asking], capture_output=True, text=True, check=True).stdout)
        found.append(str(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))))

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    thread = processes.start_background(run, name="flor-test")
    thread.join()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    kept_in = {signal.SIGKILL, signal.SIGSTOP}  # these cannot be blocked
    blocked = str(sorted(map(int, signal.valid_signals() - kept_in)))
    assert [each.strip() for each in found] == [blocked, blocked]


def test_descriptors_out_of_reach_have_numbers_that_no_script_is_given() -> None:
    before = os.listdir("/dev/fd")
    with processes.out_of_reach():
        ours = os.open(os.devnull, os.O_RDONLY)
    os.close(ours)
    assert ours > 100
    assert sorted(os.listdir("/dev/fd")) == sorted(before)

"""The server that replay processes are forked from: real servers, real forks, small scripts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from flor_ray.analysis.early_imports import Import, Preload
from flor_ray.errors import ProcessKilled
from flor_ray.records import Operator, Segment
from flor_ray.replaying.task import ReplayTask
from flor_ray.replaying.warm import WarmProcess, WarmServer
from tests.conftest import environment

MODULES = {
    "plain": "VALUE = 1",
    "starts_a_thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "jax": "",
    "needs_jax": "import jax",
    "kills": "import os\nos.abort()",
    "needs_plain": "import plain",
    "fails": "raise RuntimeError('no licence')",
}


@dataclass
class Bench:
    """A warm server, a folder of modules that it can import, and scripts to run in its forks."""

    server: WarmServer
    folder: Path
    count: int = 0

    def preload(self, *names: str, avoid: tuple[str, ...] = ()) -> None:
        self.server.preload(Preload(tuple(Import(*name.split(":")) for name in names), frozenset(avoid), {}))

    def start(self, script: str) -> tuple[WarmProcess, Connection, Path]:
        """A process that runs a script; the test ends it, or waits for it."""
        self.count += 1
        folder = self.folder / f"process{self.count}"
        root = folder / "root"
        root.mkdir(parents=True)
        (root / "train.py").write_text(script)
        ours, theirs = socket.socketpair()
        output = folder / "output.txt"
        with theirs, output.open("wb") as file:
            process = self.server.fork(file, theirs, str(folder))
        connection = Connection(ours.detach())
        task = ReplayTask(str(self.folder / "store"), str(root), str(root), "train.py", (), ".", {}, {})
        connection.send(task)
        connection.send(Segment("v", 0, 0, Operator.DP))
        return process, connection, output

    def run(self, script: str) -> tuple[int | None, str]:
        """Exit status and output of a script."""
        process, connection, output = self.start(script)
        with connection:
            return process.wait(30), output.read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    library = tmp_path / "library"
    library.mkdir()
    for name, text in MODULES.items():
        (library / f"{name}.py").write_text(text)
    path = os.pathsep.join(filter(None, [str(library), os.environ.get("PYTHONPATH")]))
    with WarmServer(environment(PYTHONPATH=path, MODE="recorded", PYTHONUNBUFFERED="1")) as server:
        yield Bench(server, tmp_path)


def gone(*processes: int) -> bool:
    """Whether processes have ended, within some seconds."""
    deadline = time.monotonic() + 10
    while any(map(runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(runs, processes))


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(output: Path, count: int) -> list[int]:
    """Process ids that a script prints."""
    deadline = time.monotonic() + 30
    while len(words := output.read_text().split()) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return [int(word) for word in words]


def test_a_fork_has_the_imports_the_environment_and_an_output_of_its_own(bench: Bench) -> None:
    bench.preload("plain")
    script = """
import os, sys
print("plain" in sys.modules, os.environ["MODE"], os.getcwd() == sys.path[0], sys.stdin.read() == "", flush=True)
os.system("echo from a program; echo and an error >&2")
"""
    assert bench.run(script) == (0, "True recorded True True\nfrom a program\nand an error\n")
    assert bench.run("print('another')") == (0, "another\n")


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("os._exit(3)", 3),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("raise ValueError", 1),
    ],
)
def test_how_a_process_ended_is_told_and_the_server_goes_on(bench: Bench, ending: str, status: int) -> None:
    assert bench.run(f"import os, signal\n{ending}")[0] == status
    assert bench.run("print('next')") == (0, "next\n")


def test_waiting_for_a_process_that_runs_ends_with_the_time(bench: Bench) -> None:
    process, connection, _ = bench.start("import time\ntime.sleep(60)")
    with connection:
        assert process.wait(0.05) is None
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


def test_what_a_process_leaves_behind_ends_with_it(bench: Bench) -> None:
    script = "import os, subprocess\nprint(subprocess.Popen(['sleep', '60']).pid)\nos._exit(0)"
    process, connection, output = bench.start(script)
    with connection:
        (left,) = pids(output, 1)
        assert process.wait(30) == 0
    assert gone(left)


def test_closing_the_server_ends_all_processes_and_removes_their_folders(bench: Bench) -> None:
    script = "import os, subprocess, time\nprint(os.getpid(), subprocess.Popen(['sleep', '60']).pid)\ntime.sleep(60)"
    process, connection, output = bench.start(script)
    with connection:
        running = pids(output, 2)
        assert running[0] == process.pid
        bench.server.close()
    assert gone(bench.server.pid, *running)
    assert not output.parent.exists()


def test_servers_and_their_processes_are_out_of_reach_of_ctrl_c(bench: Bench) -> None:
    process, connection, _ = bench.start("import time\ntime.sleep(60)")
    with connection:
        sessions = [os.getsid(pid) for pid in (bench.server.pid, process.pid)]
        assert sessions == [bench.server.pid, process.pid]


CLIENT = """
import sys, time
from pathlib import Path
from tests.test_warm import Bench
from flor_ray.warm import WarmServer
from tests.conftest import environment

bench = Bench(WarmServer(environment(PYTHONUNBUFFERED="1")), Path(sys.argv[1]))
hangs = "import os, subprocess, time\\nprint(os.getpid(), subprocess.Popen(['sleep', '60']).pid)\\ntime.sleep(60)"
process, connection, output = bench.start(hangs)
print(bench.server.pid, output, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_of_a_client_that_was_killed(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(tmp_path)], cwd=root, env=environment(), stdout=subprocess.PIPE, text=True
    )
    with client:
        assert client.stdout is not None
        server, output = client.stdout.readline().split()
        running = pids(Path(output), 2)
        client.kill()
    assert gone(int(server), *running)
    assert not Path(output).parent.exists()


def test_a_server_that_was_killed_is_told_with_its_processes_gone(bench: Bench) -> None:
    process, connection, _ = bench.start("import time\ntime.sleep(60)")
    with connection:
        os.kill(bench.server.pid, signal.SIGKILL)
        with pytest.raises(ProcessKilled, match="forked from was killed by SIGKILL"):
            process.wait(1)
    assert not bench.server.alive
    assert gone(process.pid)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "multiprocessing.py").write_text("raise SystemExit('a bad installation')")
    with pytest.raises(ProcessKilled, match=r"ended with exit status 1\. Its last output:\na bad installation"):
        WarmServer(environment(PYTHONPATH=str(tmp_path)))


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (
            "starts_a_thread",
            r"importing it starts threads \(Thread-1 \(sleep\)\), which a forked process does not have",
        ),
        ("needs_jax", "it imports jax, and its runtime has threads that a fork does not survive"),
        ("kills", r"importing it ended the server, or took over 300 s \(.*killed by SIGABRT.*\)"),
    ],
)
def test_a_module_that_cannot_be_forked_is_left_to_the_script_and_others_are_not(
    bench: Bench, module: str, why: str
) -> None:
    before = bench.server.pid
    bench.preload("plain", module, f"{module}:part", "needs_plain")
    (note,) = bench.server.notes
    assert Path(f"/proc/{before}").exists() is False
    loaded = f"import sys\nprint([name for name in ('plain', {module!r}, 'needs_plain') if name in sys.modules])"
    assert bench.run(loaded) == (0, "['plain', 'needs_plain']\n")
    assert re.fullmatch(rf"{module} is imported by the scripts themselves: {why}\.", note, re.DOTALL)


def test_an_import_that_fails_is_told_and_fails_again_in_the_script(bench: Bench) -> None:
    bench.preload("fails", "plain", "plain:MISSING")
    assert bench.server.notes == (
        "fails could not be imported early: RuntimeError: no licence.",
        "plain.MISSING could not be imported early: ModuleNotFoundError: No module named 'plain.MISSING'; "
        "'plain' is not a package.",
    )
    status, output = bench.run("import plain\nprint(plain.VALUE)\nimport fails")
    assert (status, output) == (1, "1\n")


def test_a_version_with_a_module_of_that_name_gets_its_own(bench: Bench) -> None:
    bench.preload("needs_plain", "jax")
    bench.preload("needs_plain", avoid=("plain",))
    assert bench.run("import sys\nprint('plain' in sys.modules, 'needs_plain' in sys.modules)") == (0, "False False\n")
    bench.preload("needs_plain")
    assert bench.run("import sys\nprint('plain' in sys.modules, 'needs_plain' in sys.modules)") == (0, "True True\n")


def test_the_second_of_two_versions_imports_nothing_again(bench: Bench) -> None:
    def seconds(work: Any) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    script = "import torch\nfrom torch import nn\nprint(float(torch.ones(50, 50).matmul(torch.ones(50, 50)).sum()))"
    importing = seconds(lambda: bench.preload("torch"))
    assert bench.run(script) == (0, "125000.0\n")
    assert seconds(lambda: bench.run(script)) < importing / 4


def test_forks_that_seed_nothing_draw_different_numbers(bench: Bench) -> None:
    bench.preload("numpy", "torch")
    script = "import random, numpy, torch\nprint(random.random(), numpy.random.rand(), torch.rand(1).item())"
    drawn = [bench.run(script)[1].split() for _ in range(2)]
    assert all(one != other for one, other in zip(*drawn, strict=True))

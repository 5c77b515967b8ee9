"""`flor-ray doctor`, without a cluster and on one of which a node lacks flor_ray and another cannot start workers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Lab
from tests.ray_heads import RAY, RayHead

pytestmark = pytest.mark.timeout(400)

SCRIPT = "import flor_ray as flor\nfor epoch in flor.loop('epoch', range(2)):\n    flor.log('loss', epoch)\n"
HANGS = """
import time
if "default_worker" in open("/proc/self/cmdline").read():
    time.sleep(3600)
"""


@contextmanager
def node(head: RayHead, path: Path) -> Iterator[None]:
    """Another node on this machine, whose Python looks for modules in `path` first."""
    command = [*RAY, "start", f"--address={head.address}", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
    log = open(path / "node.log", "wb")  # noqa: SIM115 - closed below
    environment = {**head.environment, "PYTHONPATH": str(path)}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while "Ray runtime started" not in (path / "node.log").read_text():
            assert process.poll() is None, (path / "node.log").read_text()
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


@pytest.fixture
def project(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "project")
    lab.record_forked(SCRIPT)
    return lab


def lines(lab: Lab, *arguments: str, status: int, **variables: str) -> list[str]:
    done = lab.cli("doctor", *arguments, check=False, **variables)
    assert (done.returncode, done.stderr) == (status, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


def test_without_a_cluster_this_machine_is_looked_at_and_none_is_started(project: Lab, tmp_path: Path) -> None:
    found = lines(project, status=0, RAY_TMPDIR=str(tmp_path))
    assert [line[:4] for line in found[:-1]] == ["ok  "] * (len(found) - 1)
    assert "ok    here  project            'project' has 1 recorded version" in found
    assert found[-2].endswith("none is named, and none runs here; a replay would start Ray on this machine")
    assert found[-1] == f"{len(found) - 1} checks: all well."


def test_what_is_wrong_is_a_line_with_what_to_do_and_the_exit_status(project: Lab, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    empty = Lab(tmp_path / "elsewhere/project")
    (tmp_path / "file").touch()
    for arguments in (["--store", f"{tmp_path}/file/x", "--local"], ["--store", "zzz://b", "--local"]):
        found = lines(empty, *arguments, status=1)
        assert any(line.startswith("FAIL  here  ") for line in found)
    found = lines(project, status=1, RAY_ADDRESS="127.0.0.1:1")
    (failed,) = [line for line in found if line.startswith("FAIL")]
    assert failed.split()[:3] == ["FAIL", "here", "cluster"]
    assert "No Ray cluster can be joined at '127.0.0.1:1'" in failed


def test_each_node_has_its_lines_and_one_that_cannot_begin_is_one(project: Lab, tmp_path: Path) -> None:
    for name in ("lacking", "hanging"):
        (tmp_path / name).mkdir()
    (tmp_path / "lacking/flor_ray.py").write_text("raise ModuleNotFoundError(\"No module named 'flor_ray'\")\n")
    (tmp_path / "hanging/sitecustomize.py").write_text(HANGS)
    with RayHead() as head, node(head, tmp_path / "lacking"), node(head, tmp_path / "hanging"):
        variables = {**head.environment, "RAY_ADDRESS": head.address}
        found = lines(project, "--timeout", "40", status=1, **variables)
    by_node: dict[str, list[str]] = {}
    for line in found[:-1]:
        _, machine, rest = line.split(maxsplit=2)
        by_node.setdefault(machine if machine == "here" else rest.split()[0], []).append(line)
    assert any("its token is accepted" in line for line in by_node.pop("here"))
    failed = sorted(line[line.index("worker") :] for rows in by_node.values() for line in rows if line[:4] == "FAIL")
    assert failed == [
        "worker             ModuleNotFoundError: No module named 'flor_ray'. "
        "Install flor_ray there, or let a job bring it along.",
        "worker             has not begun, or not ended, within 40 s. Look at `ray status` there.",
    ]
    (whole,) = [rows for rows in by_node.values() if len(rows) > 1]
    assert all(line.startswith("ok  ") for line in whole)
    assert any(" store create-only " in line for line in whole)
    assert any(" data " in line for line in whole)
    assert found[-1].endswith("2 failed.")
    assert not [path for path in (project.root / ".flor").iterdir() if path.name.startswith("doctor-")]

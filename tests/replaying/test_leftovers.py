"""What killed processes leave behind: who removes it, and who does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flor_ray import processes
from flor_ray.replaying import leftovers

HANGING_IMPORT = """
import ctypes, os
with open(os.environ["NOTE"], "w") as note:
    note.write(str(os.getpid()))
ctypes.PyDLL(None).sleep(100)
"""


@pytest.fixture
def dead() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has ended, and whose number may be used again."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    yield process
    process.kill()
    process.wait()


def name_of(process: subprocess.Popen[bytes], what: str = "worker") -> str:
    ours = processes.folder_prefix(what)
    since = processes.started(process.pid)
    return ours.replace(f"-{os.getpid()}-{processes.started(os.getpid())}-", f"-{process.pid}-{since}-") + "x_1"


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_a_folder_says_whose_it_is(dead: subprocess.Popen[bytes]) -> None:
    name = name_of(dead)
    assert not processes.owner_is_gone(name)
    assert processes.owners([name, f"{processes.folder_prefix('worker')}y", "flor-x"], "worker") == {
        dead.pid,
        os.getpid(),
    }
    dead.kill()
    dead.wait()
    assert processes.owner_is_gone(name)
    assert processes.owners([name], "worker") == frozenset()
    later = name.replace(f"-{dead.pid}-", f"-{os.getpid()}-")  # the number is another process's by now
    assert processes.owner_is_gone(later)
    place = name.split("-")[2]
    elsewhere = name.replace(place, "0" * 6)
    for other in (elsewhere, "flor-claims-abcdefgh", "flor-worker-0-1-2-x", f"my-{name}", f"{name}/x", "flor-", ""):
        assert not processes.owner_is_gone(other)


def test_sweeping_removes_what_nobody_owns_any_more_and_nothing_else(
    tmp_path: Path, dead: subprocess.Popen[bytes]
) -> None:
    gone, index = name_of(dead), name_of(dead, "index")
    mine = f"{processes.folder_prefix('worker')}abc"
    others = [mine, "flor-claims-abcdefgh", "somebody's"]
    for name in (gone, index, *others):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text("x")
    (tmp_path / gone / "below").chmod(0)
    (tmp_path / name_of(dead, "link")).symlink_to(tmp_path / mine)
    (tmp_path / name_of(dead, "file")).write_text("no folder of ours")
    theirs = name_of(dead, "theirs")
    (tmp_path / theirs).mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / theirs, 12345, 12345)
        others.append(theirs)
    left = sorted([*others, name_of(dead, "link"), name_of(dead, "file")])
    removed = {gone, index} if os.geteuid() == 0 else {gone, index, theirs}
    assert leftovers.sweep(str(tmp_path)) == ()
    dead.kill()
    dead.wait()
    found: list[tuple[str, ...]] = []
    sweepers = [threading.Thread(target=lambda: found.append(leftovers.sweep(str(tmp_path)))) for _ in range(4)]
    for sweeper in sweepers:
        sweeper.start()
    for sweeper in sweepers:
        sweeper.join()
    assert {name for names in found for name in names} == removed
    assert sorted(os.listdir(tmp_path)) == left
    assert (tmp_path / mine / "below" / "file").read_text() == "x"


def test_what_still_runs_in_a_folder_ends_with_it(tmp_path: Path, dead: subprocess.Popen[bytes]) -> None:
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '100']).pid, flush=True); time.sleep(100)"
    orphan = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert orphan.stdout is not None
    child = int(orphan.stdout.readline())
    folder = tmp_path / name_of(dead, "a1b2c3d4")
    innocent = tmp_path / name_of(dead, "b1b2c3d4")
    for path, process, since in ((folder, orphan.pid, processes.started(orphan.pid)), (innocent, os.getpid(), 1)):
        path.mkdir()
        leftovers.note_process(path, process)
        (path / "process.txt").write_text(f"{process} {since}")
    dead.kill()
    dead.wait()
    assert set(leftovers.sweep(str(tmp_path))) == {folder.name, innocent.name}
    assert orphan.wait(10) == -signal.SIGKILL
    assert eventually(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    orphan.stdout.close()


def test_a_server_whose_client_is_killed_while_it_imports_ends(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGING_IMPORT)
    client = (
        "import os\nfrom flor_ray.replaying.warm import WarmServer\nfrom flor_ray.analysis.early_imports import *\n"
        f"server = WarmServer(os.environ | {{'NOTE': {str(tmp_path / 'note')!r}, 'PYTHONPATH': {str(tmp_path)!r}}})\n"
        "server.preload(Preload((Import('hangs'),), frozenset(), {}))"
    )
    process = subprocess.Popen([sys.executable, "-c", client])
    note = tmp_path / "note"
    assert eventually(lambda: note.exists() and note.read_text() != "", 60)
    server = psutil.Process(int(note.read_text()))
    process.kill()
    process.wait()
    assert eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def test_a_scratch_folder_goes_with_its_own(tmp_path: Path) -> None:
    folder, scratch, other = tmp_path / "folder", tmp_path / f"{processes.folder_prefix('tmp')}a", tmp_path / "other"
    for path in (folder, scratch, other):
        path.mkdir()
    leftovers.note_scratch(folder, str(scratch))
    leftovers.remove(folder)
    assert os.listdir(tmp_path) == ["other"]
    folder.mkdir()
    leftovers.note_scratch(folder, str(other))  # which a script has written, say
    leftovers.remove(folder)
    assert os.listdir(tmp_path) == ["other"]

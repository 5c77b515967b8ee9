"""SIGKILL of a compactor at every step: every operation on files, one after another, ends the process once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray.store.compacting import compaction
from flor_ray.store.store import Store
from tests.contracts.test_compaction_contract import VERSIONS, compact, write_run

# In a process of its own, which forks one compactor after another: a fork of pytest's would have its threads' locks.
KILLER = """
import os, shutil, signal, sys, warnings
from tests.contracts.test_compaction_contract import compact, seen
from flor_ray.store.compacting import compaction
from flor_ray.store.store import Store

warnings.simplefilter("error")
made, work, tier, first = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
compaction._TIER = tier
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir", "os.link", "os.truncate"}
expected = seen(Store(made))
step = first
while True:
    step += 1
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(made, work)
    child = os.fork()
    if not child:
        left = step

        def hook(event, given):
            global left
            if event in EVENTS and work in str(given[0]):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        store = Store(work)
        sys.addaudithook(hook)
        compact(store)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert seen(Store(work)) == expected, step
    compact(Store(work))
    assert seen(Store(work)) == expected, step
    left_behind = [path for path in Store(work).files.list() if path.startswith(("experiments", "log_records"))]
    assert left_behind == [], (step, left_behind)
    if not os.WIFSIGNALED(status):
        assert status == 0, status
        print(step)
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tier", [4, 2])
def test_a_compactor_that_is_killed_at_any_step_leaves_a_store_that_reads_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: int
) -> None:
    """The second time, there is a compacted file already, and the new one is merged with it."""
    made = tmp_path / "made"
    store = Store(str(made))
    if tier == 2:
        write_run(store, VERSIONS[2], [2])
        compact(store)
    write_run(store, VERSIONS[0], [1])
    write_run(store, VERSIONS[1])
    monkeypatch.setattr(compaction, "_TIER", tier)
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(made), str(tmp_path / "work"), str(tier), "0"],
        capture_output=True,
        check=False,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])},
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout) > 60  # steps

"""Three nodes that have different data: what a version read decides where it is replayed, and nothing is blamed on its
script. A node is a raylet with mounts of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Lab, environment
from tests.ray_heads import RayHead

pytestmark = pytest.mark.timeout(400)

SCRIPT = """
import time
import flor_ray as flor

state = {"weight": 1.0}
rates = [float(line) for line in open("DATA/rates.txt")]
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(6)):
    for step in flor.loop("step", range(3)):
        state["weight"] *= rates[step]
    flor.log("weight", state["weight"])
"""
HINDSIGHT = "        flor.log('NAME', time.sleep(0.2) or rates[step])\n"
DRIVER = """
import json, sys
import flor_ray as flor
from flor_ray.reports import timelines
from flor_ray.store.project import Project

name, workers = sys.argv[1], int(sys.argv[2])
frame = flor.replay(name, workers=workers, executor="ray", wait="60s")
project = Project.open()
stints = timelines.find(project.store.files, project.name, "").stints
print(json.dumps({
    "outcome": sorted(frame["outcome"]),
    "stints": [[stint.worker, stint.ending.value] for stint in stints],
}))
"""
_USUAL = {"done", "cancelled"}  # one worker may help another, and be slower


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """With versions that read `common`, and one that reads `rare`, both beside the repository."""
    folder = tmp_path_factory.mktemp("nodes")
    for name in ("common", "rare"):
        Lab(folder / "project").write(f"../{name}/rates.txt", "1.5\n2.0\n0.25\n")
    lab = Lab(folder / "project")
    for _ in range(3):
        lab.record(SCRIPT.replace("DATA", "../common"), script="common.py")
    lab.record(SCRIPT.replace("DATA", "../rare"), script="rare.py")
    for name in ("common", "rare"):
        text = SCRIPT.replace("DATA", f"../{name}")
        hindsight = HINDSIGHT.replace("NAME", name)
        lab.write(f"{name}.py", text.replace("        state[", f"{hindsight}        state["))
    return lab


@pytest.fixture(scope="module")
def head(lab: Lab) -> Iterator[RayHead]:
    """Of three nodes, the last one lacks `common`, and is the only one that has `rare`."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a process cannot have mounts of its own here: {done.stderr.strip()}")
    above = lab.root.parent
    (above / "rare").rename(above / "kept")
    for name in ("rare", "empty"):
        (above / name).mkdir()
    with RayHead(cpus=1) as head:
        head.add_node()
        head.add_node(mounts={above / "common": above / "empty", above / "rare": above / "kept"})
        yield head


def replayed(lab: Lab, head: RayHead, name: str, workers: int) -> tuple[dict[str, Any], str]:
    """What became of a replay, and what was warned of."""
    variables = head.environment | {"RAY_ADDRESS": head.address}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, name, str(workers)],
        cwd=lab.root,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found, done.stderr


def versions(lab: Lab, script: str) -> list[str]:
    return [run.version for run in lab.experiments() if run.script == script]


def test_what_one_of_three_nodes_lacks_is_replayed_on_the_others(lab: Lab, head: RayHead) -> None:
    found, said = replayed(lab, head, "common", 3)
    assert found["outcome"] == ["replayed"] * 3
    assert {ending for _, ending in found["stints"]} <= _USUAL
    assert len({worker for worker, _ in found["stints"]}) == 2  # the third has run nothing
    assert not any(word in said for word in ("machine", "FileNotFoundError", "failed"))
    for version in versions(lab, "common.py"):
        assert [value for *_, value in lab.values("common", version)] == [1.5, 2.0, 0.25] * 6


def test_what_only_one_node_has_is_replayed_there_wherever_workers_began(lab: Lab, head: RayHead) -> None:
    found, said = replayed(lab, head, "rare", 1)
    assert set(found["outcome"]) == {"replayed"}
    assert {ending for _, ending in found["stints"]} <= _USUAL  # workers were sought, and the first one helps them
    assert not any(word in said for word in ("machine", "FileNotFoundError", "failed"))
    (version,) = versions(lab, "rare.py")
    assert [value for *_, value in lab.values("rare", version)] == [1.5, 2.0, 0.25] * 6

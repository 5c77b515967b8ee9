"""A run's environment is kept, without its secrets, and a replay has it again: folders, variables and packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray import pipeline
from flor_ray.cluster.actors import RayExecutor
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.environment.surroundings import Environments, Expected
from flor_ray.errors import UsageError
from flor_ray.planning.terms import Terms
from tests.conftest import Lab

SECRET = "wordThatNobodyMayRead"

IN_A_FOLDER = """
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "lib"))
import flor_ray as flor
import factors
import outside

settings = os.environ["SCALE"], os.getenv("DEBUG"), os.environ.get("API_TOKEN")
table = Path("data/table.txt").read_text()
for epoch in flor.loop("epoch", range(2)):
    flor.log("kept", epoch)
"""
HINDSIGHT = '    flor.log("seen", [factors.FACTOR, outside.OFFSET, table, Path.cwd().name, *settings])\n'


def test_a_script_in_a_folder_has_its_paths_and_variables_again_and_no_secret_is_kept(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "outside.py").write_text("OFFSET = 5\n")
    lab.write("lib/factors.py", "FACTOR = 3\n")
    lab.write("work/data/table.txt", "1 2 3")
    script = lab.write("work/train.py", IN_A_FOLDER)
    variables = {"SCALE": "7", "API_TOKEN": SECRET, "PYTHONPATH": str(outside), "TZ": "UTC"}
    lab.run([sys.executable, "train.py", "--lr", "1"], script.parent, variables)

    run = lab.experiments()[-1]
    assert (run.script, run.cwd, run.argv) == ("work/train.py", "work", ("--lr", "1"))
    kept = run.environment
    assert kept["sys_path"] == ["work", str(outside), "<python>", "lib"]
    recorded = kept["variables"]
    assert isinstance(recorded, dict)
    assert (recorded["SCALE"], recorded["TZ"]) == ("7", "UTC")
    assert kept["variables_left_out"] == ["API_TOKEN"]
    assert kept["variables_absent"] == ["DEBUG"]
    files = [path for path in Path(lab.root, ".flor").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]

    lab.write("lib/factors.py", "FACTOR = 4\n")  # each version has its own
    lab.write("work/train.py", IN_A_FOLDER + HINDSIGHT)
    monkeypatch.setenv("DEBUG", "1")
    monkeypatch.setenv("SCALE", "8")
    monkeypatch.setenv("API_TOKEN", "another")
    prepared, outcome = lab.replay(["seen"])
    assert prepared.notes == ()
    assert outcome.failures == []
    assert [value for *_, value in lab.values("seen")] == [[3, 5, "1 2 3", "work", "7", None, "another"]] * 2


def test_what_a_killed_run_knew_when_it_began_is_kept(lab: Lab) -> None:
    lab.write("train.py", "import os, flor_ray as flor\nflor.log('a', 1)\nos.kill(os.getpid(), 9)\n")
    lab.python("train.py", check=False)
    run = lab.experiments()[-1]
    lock = lab.project.store.objects.get(str(run.environment["lock"])).decode()
    assert "torch==" in lock
    assert "flor-ray==0.1.0 (local)" in lock
    assert "distributions" not in run.environment


def test_a_worker_whose_environment_the_driver_did_not_expect_says_so_once(lab: Lab) -> None:
    text = "import flor_ray as flor\nfor epoch in flor.loop('epoch', range(2)):\n    flor.log('kept', epoch)\n"
    version = lab.record(text).version
    lab.write("train.py", text + "    flor.log('seen', str(flor.log))\n")
    prepared = lab.prepare(["seen"])
    wanted = Environments(expected={version: Expected("3.2.0", {"torch": "0.1"})})
    outcome = pipeline.run(replace(prepared, environments=wanted), ThreadExecutor())
    [warning] = [warning for report in outcome.reports for warning in report.warnings]
    assert warning.startswith("the worker on ")
    assert "(expected: 3.2.0), torch " in warning
    assert warning.endswith(" (expected: 0.1): replayed values may differ")


VERSION = """
import flor_ray as flor
import {package}

for epoch in flor.loop("epoch", range(2)):
    flor.log("kept", epoch)
"""
ASKING = VERSION + '    flor.log("seen", {package}.__version__)\n'
OLD = "sortedcontainers==2.3.0"


@pytest.mark.timeout(400)
def test_versions_are_replayed_with_the_packages_that_they_were_recorded_with(
    lab: Lab, tmp_path: Path, ray_cluster: None
) -> None:
    """Three runs: with an older package, with one that no index has, and with what is installed."""
    older = tmp_path / "older"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--retries", "0", "--timeout", "10"]
    installed = subprocess.run(
        [*command, "--target", str(older), OLD], capture_output=True, text=True, timeout=60, check=False
    )
    if installed.returncode != 0:
        pytest.skip(f"pip cannot install {OLD} here: {installed.stderr.strip()[-200:]}")
    unknown = tmp_path / "unknown"
    (unknown / "florunknown-1.0.dist-info").mkdir(parents=True)
    (unknown / "florunknown.py").write_text('__version__ = "1.0"\n')

    first = lab.record(VERSION.format(package="sortedcontainers"), PYTHONPATH=str(older))
    second = lab.record(VERSION.format(package="florunknown"), PYTHONPATH=str(unknown))
    third = lab.record(VERSION.format(package="sortedcontainers"))
    shutil.rmtree(older)  # the machine on which they were recorded is gone
    shutil.rmtree(unknown)
    (lab.root / "train.py").write_text(ASKING.format(package="sortedcontainers"))

    told = "\n".join(lab.prepare(["seen"]).notes)
    assert f"version {first.version[:8]}: it was recorded with sortedcontainers 2.3.0 (here: " in told
    assert "--env recorded replays with the recorded packages" in told
    told = lab.cli("explain", "seen", "--workers", "2", "--env", "recorded").stdout
    assert "what can be is installed for the replay" in told
    prepared = pipeline.prepare(lab.project, ["seen"], terms=Terms(2), env="recorded")
    assert prepared.environments.packages == {first.version: (OLD,), second.version: ("florunknown==1.0",)}
    with pytest.raises(UsageError, match="Replay on Ray"):
        pipeline.run(prepared, ThreadExecutor())

    outcome = pipeline.run(prepared, RayExecutor())
    assert {segment.version for segment, _ in outcome.failures} == {second.version}
    assert "No matching distribution found for florunknown==1.0" in outcome.failures[0][1]
    assert [report.warnings for report in outcome.reports] == [()] * len(outcome.reports)
    here = {row[3] for row in lab.values("seen", third.version)}
    assert {row[3] for row in lab.values("seen", first.version)} == {"2.3.0"}
    assert len(here) == 1
    assert here != {"2.3.0"}


STARTED = """
import os, sys
os.chdir(os.path.dirname(os.path.abspath(__file__)) + "/deep")
import flor_ray as flor
exec(open("../inner.py").read())
flor.log("where", [os.getcwd() == __file__.rpartition("/")[0] + "/deep", __name__, __package__, sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("command", "folder", "module"),
    [(["work/train.py"], ".", None), (["train.py"], "work", None), (["-m", "work.train"], ".", "work.train")],
)
def test_a_run_says_where_and_how_it_was_started_wherever_it_went_before_its_first_call(
    lab: Lab, command: list[str], folder: str, module: str | None
) -> None:
    lab.write("work/deep/x.txt", "")
    lab.write("work/inner.py", "flor.log('rate', 3)\n")
    lab.write("work/train.py", STARTED)
    done = lab.run([sys.executable, *command, "a"], lab.root / folder, {})
    assert "was edited after" not in done.stderr  # the text that it executes is none of a script
    run = lab.experiments()[-1]
    assert (run.script, run.cwd, run.argv) == ("work/train.py", folder, ("a",))
    assert run.environment.get("module") == module
    lab.write(
        "work/train.py", STARTED + 'flor.log("seen", [os.path.basename(os.getcwd()), __package__, sys.argv[1:]])\n'
    )
    _, outcome = lab.replay(["seen"])
    assert outcome.failures == []
    assert lab.values("seen")[-1][-1] == ["deep", "work" if module else None, ["a"]]


def test_code_of_a_repository_inside_the_project_belongs_to_versions(lab: Lab) -> None:
    text = "import flor_ray as flor\nfrom lib import net\nfor epoch in flor.loop('epoch', range(2)):\n"
    text += "    flor.log('a', 1)\n"
    lab.write("lib/net.py", "SIZE = 3\n")
    subprocess.run(["git", "init", "--quiet", str(lab.root / "lib")], check=True)
    version = lab.record(text).version
    lab.write("lib/net.py", "SIZE = 4\n")
    lab.write("train.py", text + "    flor.log('size', net.SIZE)\n")
    _, outcome = lab.replay(["size"])
    assert outcome.failures == []
    assert [value for *_, value in lab.values("size", version)] == [3, 3]

"""`flor-ray propagate` on real recorded versions: what it says, what a pin changes, and what is computed twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import flor_ray as flor
from flor_ray.cli.commands import cli
from flor_ray.errors import FlorError, NothingRecorded, UnknownFeature, UnknownVersion, UsageError
from flor_ray.patching import answers, statements
from flor_ray.records import Experiment, SourceFile, Status
from flor_ray.store import cache
from tests.conftest import Lab

SCRIPT = """
import flor_ray as flor

total = 0
for epoch in flor.loop("epoch", range(2)):
    for step in flor.loop("step", range(3)):
        total += step
    flor.log("total", total)
"""
RENAMED = SCRIPT.replace("total", "amount").replace('"amount"', '"total"')
NEWEST = SCRIPT + '    flor.log("twice", 2 * total)\n'
UNLIKE = 'import flor_ray as flor\n\nx = [1]\nprint(x)\nflor.log("x", x)\n'


@pytest.fixture
def recorded(lab: Lab) -> tuple[Lab, Experiment, Experiment, Experiment]:
    """Two versions of one file and one in which names differ; and a statement in the newest code."""
    first, second, third = lab.record(SCRIPT), lab.record(SCRIPT), lab.record(RENAMED)
    lab.write("train.py", NEWEST)
    return lab, first, second, third


def flor_ray(lab: Lab, *arguments: str, fails: type[FlorError] | None = None) -> Result:
    """The command, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab.root)
        done = CliRunner().invoke(cli, arguments)
    if fails is None:
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    else:
        assert isinstance(done.exception, fails), done.output
    return done


def test_each_version_is_told_and_a_pin_moves_the_statement_there_and_near_by(
    recorded: tuple[Lab, Experiment, Experiment, Experiment],
) -> None:
    lab, first, second, third = recorded
    done = lab.cli("propagate", "twice")  # a process of its own, as for users
    assert done.returncode == 0
    assert f"2 versions: {first.version[:8]}, {second.version[:8]}" in done.stdout
    assert "total -> amount" in " ".join(done.stdout.split())
    diff = lab.cli("propagate", "twice", "--diff", "--versions", third.version[:6]).stdout
    assert '\n+    flor.log("twice", 2 * amount)\n' in diff
    assert "\x1b" not in diff
    lab.write("train.py", RENAMED)
    subprocess.run(["git", "apply", "-"], cwd=lab.root, input=diff, text=True, check=True)
    assert (lab.root / "train.py").read_text() == RENAMED + '    flor.log("twice", 2 * amount)\n'
    lab.write("train.py", NEWEST)

    said = flor_ray(lab, "propagate", "twice", "--version", first.version[:10], "--line", "7").output
    assert f"Pinned twice after line 7 of train.py of version {first.version[:8]}:" in said
    assert '\n+        flor.log("twice", 2 * total)\n' in said
    assert f"It also holds where the file is the same: version {second.version[:8]}\n" in said
    rows = json.loads(flor_ray(lab, "propagate", "twice", "--json").output)
    assert [(row["outcome"], row["line"]) for row in rows] == [("pinned", 8), ("pinned", 8), ("placed", 8)]
    assert rows[2]["from"].endswith("where it is pinned)") or rows[2]["confidence"] > 0.9

    lab.replay(["twice"], f"version == '{second.version}'")
    values = [(0, 0), (0, 1), (0, 2)]
    assert [place[:2] for place in lab.values("twice", second.version)] == [
        (e + 1, s) for e in (0, 1) for _, s in values
    ]
    assert [value for *_, value in lab.values("twice", second.version)] == [0, 2, 6, 6, 8, 12]

    lab.write("train.py", NEWEST.replace("2 * total", "total * 2"))
    stale = flor_ray(lab, "propagate", "twice")
    assert 'is stale: it was for `flor.log("twice", 2 * total)`' in stale.output
    assert "pinned by hand" not in stale.output
    lab.write("train.py", NEWEST)
    removed = flor_ray(lab, "propagate", "twice", "--version", second.version, "--remove").output
    assert removed.startswith(f"Removed the pin of twice after train.py:7 of version {first.version[:8]} (by ")
    assert "pinned" not in flor_ray(lab, "propagate", "twice").output


def test_what_is_refused_is_told_by_all_commands_with_what_to_do(lab: Lab) -> None:
    old = lab.record(UNLIKE)
    lab.record(SCRIPT)
    lab.write("train.py", NEWEST)
    done = flor_ray(lab, "propagate", "twice")
    assert done.exit_code == 1
    assert "twice in 2 versions: 1 placed, 1 refused." in done.output
    pointer = f"See flor-ray propagate twice --versions {old.version[:8]} --diff, or pin the place with"
    assert pointer in done.output
    explained = flor_ray(lab, "explain", "twice", "--workers", "1").output
    assert f"Refused: version {old.version[:8]}, twice: train.py:9 (the working tree): " in explained
    assert pointer in explained
    failed = flor_ray(lab, "propagate", "twice", "--version", old.version, "--line", "4", fails=UsageError)
    assert str(failed.exception).startswith(
        f"The pin was not kept: twice in version {old.version[:8]}, pinned after line 4"
    )
    assert not (lab.root / ".flor/pins").exists()


def test_what_cannot_be_asked_is_one_clear_error(lab: Lab) -> None:
    lab.write("train.py", NEWEST)
    flor_ray(lab, "propagate", "twice", fails=NothingRecorded)
    version = lab.record(SCRIPT).version
    lab.record(SCRIPT, script="other.py")
    lab.write("train.py", NEWEST + '    flor.log("twice", 3 * total)\n')

    def words(*arguments: str, fails: type[FlorError] = UsageError) -> str:
        return str(flor_ray(lab, "propagate", *arguments, fails=fails).exception)

    assert "Did you mean 'twice'?" in words("twize", fails=UnknownFeature)
    lab.write("maker.py", "import flor_ray as flor\nfor name in 'ab':\n    flor.log(name, 1)\n")
    assert "Under which name maker.py:3 logs, only a run can tell" in words("twize", fails=UnknownFeature)
    assert "No version begins with 'xyz'. The newest are " in words("twice", "--versions", "xyz", fails=UnknownVersion)
    assert words("twice", "--line", "3").startswith("--line needs --version V")
    assert words("twice", "--version", version).startswith("--version V goes with either --line N, to pin, or --remove")
    assert words("a", "b", "--version", version, "--line", "3").startswith("A pin is for one NAME in one --version")
    assert "is not pinned in version" in words("twice", "--version", version, "--remove")
    assert "logs total itself; there is nothing to pin" in words("total", "--version", version, "--line", "3")
    pinned = ("twice", "--version", version, "--line", "7")
    assert "is logged in 2 places of the working tree: train.py:9, train.py:10. Say with --statement" in words(*pinned)
    assert "has no line 9: its lines are 1 to 8" in words(*pinned[:3], "--line", "9", "--statement", "9")
    assert "has no Python file 'no.py'. Its files: train.py" in words(*pinned, "--statement", "9", "--file", "no.py")


def test_a_dataframe_of_where_statements_would_stand(
    recorded: tuple[Lab, Experiment, Experiment, Experiment],
) -> None:
    lab, first, _, third = recorded
    frame = flor.propagate("twice", [first.version[:12], third.version], path=str(lab.root))
    assert list(frame.columns) == ["version", "name", "file", "line", "confidence", "outcome", "why"]
    assert frame[["version", "name", "file", "line", "outcome"]].values.tolist() == [
        [first.version, "twice", "train.py", 9, "placed"],
        [third.version, "twice", "train.py", 9, "placed"],
    ]
    assert str(frame["line"].dtype) == "Int64"


def test_the_next_command_computes_nothing_again(
    recorded: tuple[Lab, Experiment, Experiment, Experiment], cache_folder: Path
) -> None:
    code = (
        "from flor_ray.patching import answers as p; made = []; real = p.Propagations.__init__\n"
        "p.Propagations.__init__ = lambda self, *a, **k: (real(self, *a, **k), made.append(self))[0]\n"
        "import flor_ray as flor; {}\n"
        "print(sum(each.computed for each in made))"
    )
    lab = recorded[0]
    assert int(lab.python("-c", code.format("flor.propagate('twice')")).stdout) > 0
    assert int(lab.python("-c", code.format("flor.explain('twice', workers=1)")).stdout) == 0


def test_a_thousand_versions_of_few_files(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    project = lab.project
    for number in range(1000):
        version = f"{number:040x}"
        text = SCRIPT.replace("total = 0", f"total = {number * 7 % 20}").encode()
        run = Experiment(project.name, version, None, "train.py", "", float(number), number + 1.0, Status.FINISHED)
        project.store.end_run(run)
        files = {"train.py": SourceFile(text, "100644", f"{number * 7 % 20:040x}")}
        project.store.write_sources(project.name, version, None, files)
    lab.write("train.py", NEWEST)
    made: list[answers.Propagations] = []
    real = answers.Propagations.__init__

    def counted(self: answers.Propagations, kept: cache.ObjectCache | None) -> None:
        real(self, kept, remembered={})  # as in a process that has just begun
        made.append(self)

    monkeypatch.setattr(answers.Propagations, "__init__", counted)
    for _ in range(2):
        assert len(statements.propagated(lab.project, ["twice"]).patched) == 1000
    computed = [process.computed for process in made]
    assert 20 <= computed[0] <= 200
    assert computed[1] == 0
    table = flor_ray(lab, "propagate", "twice").output.splitlines()
    assert table[-1] == "twice in 1000 versions: 1000 placed."
    assert len(table) < 60

"""Which libraries each command imports: what it needs, and none that its user would only wait for."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import Lab
from tests.imported_sources import CASES

SCRIPT = """
import flor_ray as flor
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    state["weight"] *= 0.5
    flor.log("loss", 1 / (epoch + 1))
"""
HINDSIGHT = SCRIPT.replace('    flor.log("loss"', '    flor.log("weight", state["weight"])\n    flor.log("loss"')
HEAVY = ("fsspec", "git", "numpy", "pandas", "pyarrow", "pydantic", "ray", "rich", "torch", "tree_sitter", "yaml")
STORE = {"numpy", "pyarrow"}
SOURCES = {"git", "tree_sitter"}

# Runs a command, and says afterwards which modules are there.
RUN = """
import sys
from flor_ray.cli.commands import main
sys.argv = ["flor-ray", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("lightness") / "project")
    lab.record(SCRIPT)
    lab.write("train.py", HINDSIGHT)
    return lab


def modules(lab: Lab, *arguments: str) -> set[str]:
    done = lab.run([sys.executable, "-c", RUN, *arguments], lab.root, {"RAY_TMPDIR": str(lab.root)})
    return set(done.stderr.splitlines()[-1].removeprefix("imported:").split())


def imported(lab: Lab, *arguments: str) -> set[str]:
    return modules(lab, *arguments) & set(HEAVY)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["-h"], ["explain", "--help"], ["submit", "--help"], ["gc", "--help"]]
)
def test_words_import_no_library(lab: Lab, arguments: list[str]) -> None:
    assert imported(lab, *arguments) == set()


def test_help_imports_only_the_modules_of_the_command_line(lab: Lab) -> None:
    ours = {name for name in modules(lab, "--help") if name.startswith("flor_ray.")}
    noted = {
        f"flor_ray.environment{name}" for name in ("", ".opened", ".import_seconds", ".program_files", ".written_files")
    }  # by `import flor_ray`
    assert ours - noted == {
        "flor_ray.cli",
        "flor_ray.cli.adopting",
        "flor_ray.cli.commands",
        "flor_ray.cli.configuration",
        "flor_ray.cli.data",
        "flor_ray.cli.health",
        "flor_ray.cli.imports",
        "flor_ray.importing",
        "flor_ray.importing.kinds",
        "flor_ray.errors",
        "flor_ray.redaction",
        "flor_ray.cli.saying",
        "flor_ray.cli.jobs",
        "flor_ray.cli.page",
        "flor_ray.cli.proposing",
        "flor_ray.cli.options",
        "flor_ray.cli.questions",
        "flor_ray.cli.replays",
        "flor_ray.cli.storage",
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["versions"], STORE),
        (["versions", "--verbose"], STORE),
        (["dataframe", "loss"], STORE),
        (["dataframe"], STORE),
        (["dataframe", "loss", "--csv", "out.csv"], STORE | {"pandas"}),
        (["columns"], STORE | SOURCES),
        (["explain", "weight"], STORE | SOURCES),
        (["explain", "weight", "--where", "loss < 1"], STORE | SOURCES | {"pandas"}),
        (["propagate", "weight"], STORE | SOURCES),
        (["propagate", "weight", "--diff"], STORE | SOURCES),
        (["simulate", "weight", "--workers", "1,2"], STORE | SOURCES),
        (["storage"], STORE),
        (["gc", "--dry-run"], STORE),
        (["timeline", "--list"], STORE),
        (["jobs"], STORE),
        (["import", str(CASES / "tensorboard"), "--dry-run"], STORE),
    ],
)
def test_a_question_imports_what_it_needs(lab: Lab, arguments: list[str], expected: set[str]) -> None:
    assert imported(lab, *arguments) == expected


def test_a_replay_on_local_workers_imports_neither_ray_nor_torch_in_its_driver(lab: Lab) -> None:
    assert imported(lab, "replay", "weight", "--workers", "1", "--local") == STORE | SOURCES | {"pandas"}

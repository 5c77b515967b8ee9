"""The command line's own words: help, examples, questions and exit statuses. What commands do is tested in e2e."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from flor_ray.cli.commands import cli
from tests.conftest import Lab

CONTEXT = click.Context(cli)
COMMANDS = cli.list_commands(CONTEXT)
RECORDED = """
import time
import flor_ray as flor
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        pass
    flor.log("loss", 1 / (epoch + 1))
"""


def test_the_commands_are_these() -> None:
    words = "adopt cancel columns compact config data dataframe demo doctor explain gc import init jobs logs propagate"
    words += " query replay run simulate status storage submit timeline ui versions"
    assert words.split() == COMMANDS
    assert [name for name in COMMANDS if cli.get_command(CONTEXT, name) is None] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_that_names_it(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert re.search(rf"Examples?:\n +flor-ray {command}", result.output)


def test_the_list_of_commands_says_what_each_is_for_in_a_line() -> None:
    _, _, listed = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:\n")
    said = {line.split()[0]: line for line in listed.splitlines()}
    assert list(said) == COMMANDS
    assert [name for name, line in said.items() if not line.endswith(".") or line.endswith("...")] == []


def test_every_option_is_explained() -> None:
    silent = [
        f"{name} {option.name}"
        for name in COMMANDS
        for command in [cli.get_command(CONTEXT, name)]
        for option in (command.params if command is not None else [])
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


def test_an_unknown_command_exits_with_2(lab: Lab) -> None:
    done = lab.cli("replya")
    assert done.returncode == 2
    assert "No such command 'replya'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["versions"], "No version of project 'project' is recorded in"),
        (["dataframe"], "No version of project 'project' is recorded in"),
        (["explain", "loss", "--workers", "1"], "No version of project 'project' is recorded in"),
        (["run", "missing.py"], "There is no script missing.py here"),
        (["run", "--kwargs"], "--kwargs needs name=value pairs"),
    ],
)
def test_what_cannot_be_done_is_one_line_without_a_traceback(lab: Lab, arguments: list[str], words: str) -> None:
    done = lab.cli(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_versions_and_dataframe_print_tables_and_write_csv(lab: Lab) -> None:
    lab.record(RECORDED, "--flor", "mine")
    listed = lab.cli("versions", check=True).stdout
    assert re.search(r"mine +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +train.py +finished +3", listed)
    printed = lab.cli("dataframe", "loss", check=True).stdout
    assert [line.split()[-1] for line in printed.splitlines()[2:]] == ["1", "0.5", "0.333333"]
    lab.cli("dataframe", "loss", "--csv", "out.csv", check=True)
    assert (lab.root / "out.csv").read_text().splitlines()[0] == "project,version,run,timestamp,epoch,loss"


def test_replays_of_more_than_a_minute_are_asked_about_and_no_means_no(lab: Lab) -> None:
    """The run says that it took long, because its clock does: recorded seconds are what an estimate is made of."""
    slow = RECORDED.replace("import time\n", "import time\nreal = time.perf_counter\n").replace(
        "        pass\n", "        time.perf_counter = lambda offset=100 * (epoch + 1): real() + offset\n"
    )
    lab.record(slow)
    lab.write("train.py", slow.replace("        time.perf", '        flor.log("x", step)\n        time.perf'))
    done = lab.cli("replay", "x", "--workers", "1")
    assert done.returncode == 130
    assert re.search(r"Spend about \d+ min", done.stdout)
    assert lab.values("x") == []
    assert lab.cli("replay", "x", "--workers", "1", "--yes", "--local").returncode == 0
    assert len(lab.values("x")) == 6


def test_a_corrupt_store_is_one_message_that_names_the_file(lab: Lab) -> None:
    lab.record(RECORDED)
    fragment = next((lab.root / ".flor/log_records").rglob("*.parquet"))
    fragment.write_bytes(fragment.read_bytes()[:-20])
    done = lab.cli("dataframe", "loss")
    assert done.returncode == 0
    assert done.stderr.count(f"{fragment.name} is not a whole Parquet file") == 1
    assert "Traceback" not in done.stderr

"""Our flags in a training script's command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from flor_ray.errors import BadArgument, UsageError
from flor_ray.recording import flags
from flor_ray.recording.flags import Flags, convert, parse


@pytest.mark.parametrize(
    ("line", "expected", "rest"),
    [
        ("", Flags(), ""),
        ("--epochs 3 file", Flags(), "--epochs 3 file"),
        ("--flor NAME --lr 1", Flags(run="NAME"), "--lr 1"),
        ("--flor=NAME", Flags(run="NAME"), ""),
        ("a --kwargs lr=0.1 hidden=64 --x", Flags(kwargs={"lr": "0.1", "hidden": "64"}), "a --x"),
        ("--kwargs where=a=b== c=", Flags(kwargs={"where": "a=b==", "c": ""}), ""),
        ("--kwargs=lr=0.1 hidden=64 rest", Flags(kwargs={"lr": "0.1", "hidden": "64"}), "rest"),
        ("--kwargs lr=1 --kwargs lr=2", Flags(kwargs={"lr": "2"}), ""),
        ("--kwargs lr=-1e-3", Flags(kwargs={"lr": "-1e-3"}), ""),
        ("--replay_flor", Flags(replay_data_prep=True), ""),
        ("--replay_flor out.txt", Flags(replay_data_prep=True), "out.txt"),
        ("--replay_flor 0/1", Flags(replay=(0, 1)), ""),
        ("--replay_flor=3/4 x", Flags(replay=(3, 4)), "x"),
        ("-- --flor NAME", Flags(), "-- --flor NAME"),
        ("--x=y --flor N -- --kwargs a=b", Flags(run="N"), "--x=y -- --kwargs a=b"),
    ],
)
def test_flags_are_split_from_the_rest(line: str, expected: Flags, rest: str) -> None:
    assert parse(line.split()) == (expected, rest.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--flor", "--flor needs a name"),
        ("--flor --kwargs a=b", "--flor needs a name"),
        ("--kwargs", "--kwargs needs name=value pairs"),
        ("--kwargs lr", "--kwargs needs name=value pairs"),
        ("--kwargs =3", "--kwargs takes name=value pairs, not '=3'"),
        ("--replay_flor=half", "takes a part i/n, such as 0/4, not 'half'"),
        ("--replay_flor 4/4", "parts are numbered from 0, so the last of 4 is 3/4"),
        ("--replay_flor 0/0", "cannot be cut into 0 parts"),
    ],
)
def test_mistakes_are_one_clear_message(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("3", 1, 3),
        ("-3", 1, -3),
        ("1e-3", 1.0, 0.001),
        ("3", 1.0, 3.0),
        ("inf", 1.0, float("inf")),
        ("True", False, True),
        ("off", True, False),
        ("a=b c", "x", "a=b c"),
        ("", "x", ""),
        ("[1, 2]", [0], [1, 2]),
        ("[1, 2]", (0,), (1, 2)),
        ('{"a": 1}', {}, {"a": 1}),
        ("5", None, 5),
        ("hello", None, "hello"),
    ],
)
def test_text_becomes_a_value_of_the_defaults_type(text: str, default: object, value: object) -> None:
    found = convert("name", text, default)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "default"), [("1.5", 1), ("x", 1.0), ("maybe", True), ("[1", [0]), ("{}", [0]), ("[]", {})]
)
def test_text_that_does_not_fit_is_refused(text: str, default: object) -> None:
    with pytest.raises(BadArgument):
        convert("name", text, default)


def test_an_option_that_the_script_defines_itself_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text('parser.add_argument("--kwargs")\n')
    monkeypatch.setattr(sys, "argv", [str(script), "--kwargs", "a=b", "--flor", "mine"])
    monkeypatch.setattr(flags, "_taken", None)
    monkeypatch.setenv(flags.ENVIRONMENT, "")
    flags.take_from_argv()
    assert sys.argv[1:] == ["--kwargs", "a=b"]
    assert flags.current() == Flags(run="mine")


def test_a_command_line_without_our_flags_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "none.py"), "--epochs=3"])
    monkeypatch.setattr(flags, "_taken", None)
    monkeypatch.delenv(flags.ENVIRONMENT, raising=False)
    flags.take_from_argv()
    assert sys.argv[1:] == ["--epochs=3"]
    assert flags.current() == Flags()


def test_flags_survive_the_way_to_a_worker_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(flags.ENVIRONMENT, "")
    monkeypatch.setattr(flags, "_taken", None)
    given = Flags("name", {"a": "b=c"}, (1, 3), True)
    flags.set_current(given)
    assert flags._loads(os.environ[flags.ENVIRONMENT]) == given

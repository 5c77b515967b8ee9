"""What a driver's command line says of the script that its workers run a function of."""

from __future__ import annotations

from pathlib import Path

import pytest

from flor_ray.recording.train_worker import TrainDriver, parsed

TRAIN, MODEL = Path("/home/u/p/train.py"), Path("/home/u/p/models/net.py")


@pytest.mark.parametrize(
    ("words", "file", "cwd", "expected"),
    [
        (["python", "train.py", "--lr", "0.1"], TRAIN, "/home/u/p", TrainDriver(TRAIN, ("--lr", "0.1"), "/home/u/p")),
        # The function may be another file's; the script is the driver's.
        (["python", "-u", "train.py"], MODEL, "/home/u/p", TrainDriver(TRAIN, (), "/home/u/p")),
        # Our own flags are no part of the script's command line.
        (["python", "train.py", "--flor", "a", "x"], TRAIN, "/home/u/p", TrainDriver(TRAIN, ("x",), "/home/u/p")),
        (
            ["python", "-m", "models.net", "x"],
            MODEL,
            "/home/u/p",
            TrainDriver(MODEL, ("x",), "/home/u/p", "models.net"),
        ),
        (["python", "-m", "other", "x"], MODEL, "/home/u/p", None),
        # On another machine, the folder is not known.
        (["python", "train.py", "7"], TRAIN, "", TrainDriver(TRAIN, ("7",))),
        (["python", "other.py"], TRAIN, "", None),
        (["python"], TRAIN, "/home/u/p", None),
        (["python", "-c", "import train"], TRAIN, "/home/u/p", None),
    ],
)
def test_the_script_and_its_words_are_taken_from_the_command_line(
    words: list[str], file: Path, cwd: str, expected: TrainDriver | None
) -> None:
    assert parsed(words, file, cwd) == expected

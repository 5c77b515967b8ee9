"""What scripts print is kept, as far as it fits."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from flor_ray import processes
from flor_ray.records import Operator, Segment
from flor_ray.replaying import leftovers, output_log
from flor_ray.replaying.output_log import OutputLog

SEGMENT = Segment("a1b2c3d4" * 5, 3, 7, Operator.DP_I, restore=2)


def test_what_is_printed_is_copied_once_with_its_segment(tmp_path: Path) -> None:
    log, printed = OutputLog(tmp_path, stays=True), tmp_path / "output.txt"
    printed.write_text("set-up\n")
    log.begins(SEGMENT, printed)
    log.follow()
    log.follow()
    with printed.open("a") as file:
        file.write("epoch 3\n")
    log.follow()  # too soon
    assert "epoch 3" not in log.path.read_text()
    log.copy()
    log.begins(SEGMENT, printed)
    head, setup, epoch, again = log.path.read_text().splitlines()
    assert (setup, epoch) == ("set-up", "epoch 3")
    assert head.startswith("--- version a1b2c3d4, epochs 3-7: 20")
    assert again.startswith("--- version a1b2c3d4")


def test_the_file_is_bounded_and_a_flood_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_log, "_MOST_BYTES", 1000)
    monkeypatch.setattr(output_log, "_MOST_AT_ONCE", 300)
    monkeypatch.setattr(output_log, "_MOST_PRINTED", 5000)
    log, printed = OutputLog(tmp_path, stays=True), tmp_path / "output.txt"
    emptied = 0
    with printed.open("ab") as file:
        for number in range(20):
            file.write(b"x" * 992 + f"\nend {number:2}\n".encode())
            file.flush()
            log.begins(SEGMENT, printed)
            log.copy()
            emptied += log.begin_again()
    assert emptied == 4
    assert printed.stat().st_size == 0
    files = sorted(path.name for path in tmp_path.glob("flor-*"))
    assert files == [f"flor-replays-{os.getpid()}.log", f"flor-replays-{os.getpid()}.log.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.glob("flor-*"))
    assert log.path.read_text().endswith("end 19\n")
    assert "--- 700 bytes are left out here\n" in log.path.read_text()


def test_where_nothing_stays_it_does_once_something_has_failed_and_goes_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = tmp_path / "own"
    own.mkdir()
    log, printed = OutputLog(own, stays=False), own / "output.txt"
    printed.write_text("hello\n")
    log.begins(SEGMENT, printed)
    told = log.kept()
    assert told.startswith(str(log.path))
    assert log.kept() == told
    assert sorted(os.listdir(own)) == ["output.txt"]
    assert log.path.read_text().endswith("hello\n")
    monkeypatch.setattr(processes, "owner_is_gone", lambda name: name.startswith("flor-"))
    assert leftovers.sweep(str(tmp_path)) == ()
    os.utime(log.path.parent, (time.time() - 90_000,) * 2)
    assert leftovers.sweep(str(tmp_path)) == (log.path.parent.name,)


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    log, printed = OutputLog(tmp_path / "gone", stays=True), tmp_path / "output.txt"
    printed.write_text("x")
    log.begins(SEGMENT, printed)
    printed.unlink()
    log.copy()
    assert not log.begin_again()

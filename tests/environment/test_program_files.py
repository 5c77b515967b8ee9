"""Files that programs change which a script starts: looked for at checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray.environment import program_files
from flor_ray.environment.program_files import ChangedFile, Surveyor, is_ours
from flor_ray.environment.written_files import ABSENT, FROM_START, UNREAD, WrittenFiles


def mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def recording(folder: Path, **settings: float) -> Surveyor:
    surveyor = Surveyor(lambda: str(folder), **settings)  # type: ignore[arg-type]
    surveyor.begin()
    return surveyor


def test_a_process_that_does_not_record_looks_at_nothing_until_it_does(tmp_path: Path) -> None:
    surveyor = Surveyor(lambda: str(tmp_path))
    surveyor.before_program()
    (tmp_path / "before.txt").write_text("1")
    assert surveyor.changed() == ()
    surveyor.begin()
    (tmp_path / "new.txt").write_text("1")
    assert [Path(each.path).name for each in surveyor.changed()] == ["new.txt"]


def test_nothing_is_looked_at_before_a_program_is_started(tmp_path: Path) -> None:
    surveyor = recording(tmp_path)
    (tmp_path / "new.txt").write_text("1")
    assert surveyor.changed() == ()


def test_what_is_made_changed_and_removed_is_found_once(tmp_path: Path) -> None:
    kept, gone, data = tmp_path / "kept.txt", tmp_path / "gone.txt", tmp_path / "out" / "data.txt"
    kept.write_text("1")
    gone.write_text("2")
    (tmp_path / ".venv").mkdir()
    surveyor = recording(tmp_path)
    surveyor.before_program()
    before = mark(kept), mark(gone)
    kept.write_text("1 and more")
    gone.unlink()
    data.parent.mkdir()
    data.write_text("3")
    (tmp_path / ".venv" / "library.py").write_text("4")
    assert surveyor.changed() == (
        ChangedFile(str(gone), before[1], None),
        ChangedFile(str(kept), before[0], mark(kept)),
        ChangedFile(str(data), None, mark(data)),
    )
    assert surveyor.changed() == ()


def test_a_folder_that_is_gone_or_too_dear_is_not_looked_at(tmp_path: Path) -> None:
    surveyor = recording(tmp_path / "none")
    surveyor.before_program()
    assert surveyor.changed() == ()
    dear = recording(tmp_path, _spent=1.0)
    dear.before_program()
    (tmp_path / "new.txt").write_text("1")
    assert dear.changed() == ()


def test_a_slow_file_system_is_surveyed_no_more_and_folders_of_data_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / "data" / f"{number}.txt").write_text("1")
    monkeypatch.setattr(program_files, "_MOST_FILES", 3)
    surveyor = recording(tmp_path)
    surveyor.before_program()
    (tmp_path / "new.txt").write_text("1")
    (tmp_path / "data" / "4.txt").write_text("1")
    assert [Path(each.path).name for each in surveyor.changed()] == ["new.txt"]
    monkeypatch.setattr(program_files, "_MOST_SECONDS", -1.0)
    slow = recording(tmp_path)
    slow.before_program()
    monkeypatch.undo()
    (tmp_path / "newer.txt").write_text("1")
    assert slow.changed() == ()
    slow.before_program()
    (tmp_path / "newest.txt").write_text("1")
    assert slow.changed() == ()


def test_a_programs_file_is_followed_from_its_first_checkpoint_on_and_read_ones_are_kept(tmp_path: Path) -> None:
    read = {str(tmp_path / "read.txt")}
    files = WrittenFiles(recording(tmp_path), followed=lambda path: path in read)
    files.programs.before_program()
    for name in ("read.txt", "unread.txt"):
        (tmp_path / name).write_text("1")
    files.at(1, "epoch_end")
    files.at(2, "epoch_end")
    (tmp_path / "unread.txt").write_text("12")
    files.at(3, "epoch_end")
    files.keep(lambda content: content.decode())
    found = {os.path.basename(path): [(s[0], s[2]) for s in states] for path, states in files.described().items()}
    assert found["read.txt"][:2] == [(FROM_START, ABSENT), (1, "1")]
    assert found["unread.txt"] == [(FROM_START, ABSENT), (1, UNREAD), (3, UNREAD)]


def test_our_own_git_is_no_program_of_the_scripts() -> None:
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "status"]
    assert is_ours("subprocess.Popen", ("git", command, None, None))
    assert not is_ours("subprocess.Popen", ("git", ["git", "status"], None, None))
    assert not is_ours("os.system", (b"git status",))


def test_a_script_that_starts_no_program_is_never_surveyed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import flor_ray as flor\nfrom flor_ray.environment import opened\n"
        "for epoch in flor.loop('epoch', range(2)):\n    flor.log('x', epoch)\nprint(opened.programs._marks)\n"
    )
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"

"""What is known of the files that a run writes: one history per path, with contents only of what the run has read."""

from __future__ import annotations

import mmap
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flor_ray.environment.written_files import ABSENT, FROM_START, LOST, UNREAD, WrittenFiles


class Script:
    """Does to files what a script does, and says so before, as the audit hook of `opened` does."""

    def __init__(self, folder: Path, **settings: int) -> None:
        self.files = WrittenFiles(**settings)  # type: ignore[arg-type]
        self.kept: list[bytes] = []
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        self.files.changes(self._path(name), was_read=False)
        Path(self._path(name)).write_text(text)

    def read(self, name: str) -> None:
        self.files.reads(self._path(name))

    def rename(self, old: str, new: str) -> None:
        self.files.renames(self._path(old), self._path(new), was_read=False)
        Path(self._path(old)).replace(self._path(new))

    def remove(self, name: str) -> None:
        self.files.changes(self._path(name), was_read=False)
        Path(self._path(name)).unlink()

    def checkpoint(self, epoch: int) -> None:
        self.files.at(epoch, "epoch_end")

    def history(self, name: str) -> list[tuple[int, str]]:
        self.files.keep(self._put)
        return [(epoch, kept) for epoch, _, kept, *_ in self.files.described().get(self._path(name), ())]

    def _put(self, content: bytes) -> str:
        self.kept.append(content)
        return content.decode()

    def _path(self, name: str) -> str:
        return str(self._folder / name)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_of_what_is_only_written_no_content_is_kept(script: Script) -> None:
    for epoch in range(3):
        script.write("last.pt", str(epoch))
        script.checkpoint(epoch)
    assert script.history("last.pt") == [(FROM_START, ABSENT), (0, UNREAD), (1, UNREAD), (2, UNREAD)]
    assert script.kept == []


def test_how_long_and_how_old_a_file_is_is_known_at_each_checkpoint(script: Script) -> None:
    marks = []
    for epoch in range(3):
        if epoch != 1:
            script.write("log", "x" * epoch)
        script.checkpoint(epoch)
        status = os.stat(script._path("log"))
        marks.append((status.st_size, status.st_mtime_ns))
    states = script.files.described()[script._path("log")]
    assert [(state[0], state[5], state[3]) for state in states] == [
        (FROM_START, None, 0), (0, *marks[0]), (2, *marks[2])
    ]  # fmt: skip


def test_what_is_read_after_it_was_written_is_kept_as_it_was_at_each_checkpoint(script: Script) -> None:
    for epoch in range(3):
        script.write("best.pt", f"of epoch {epoch}")
        script.checkpoint(epoch)
        script.read("best.pt")
    found = script.history("best.pt")
    assert found == [(FROM_START, ABSENT), *((epoch, f"of epoch {epoch}") for epoch in range(3))]


def test_a_file_that_was_there_and_is_read_before_it_is_changed_is_kept_as_it_was(
    script: Script, tmp_path: Path
) -> None:
    (tmp_path / "counter").write_text("old")
    script.files.changes(str(tmp_path / "counter"), was_read=True)
    (tmp_path / "counter").write_text("new")
    script.checkpoint(1)
    assert script.history("counter") == [(FROM_START, "old"), (1, UNREAD)]


def test_a_content_that_nobody_has_kept_before_the_file_changes_unseen_is_lost(script: Script, tmp_path: Path) -> None:
    script.write("state", "ours")
    script.checkpoint(1)
    script.read("state")
    (tmp_path / "state").write_text("another program's")
    assert script.history("state") == [(FROM_START, ABSENT), (1, LOST)]
    script.checkpoint(2)
    assert script.history("state") == [(FROM_START, ABSENT), (1, LOST), (2, UNREAD)]


def test_names_change_hands_and_files_go(script: Script) -> None:
    script.write("new.pt", "a")
    script.rename("new.pt", "last.pt")
    script.checkpoint(1)
    script.read("last.pt")
    assert script.history("last.pt") == [(FROM_START, ABSENT), (1, "a")]
    assert script.history("new.pt") == []  # it was there for a moment
    script.remove("last.pt")
    script.checkpoint(2)
    assert script.history("last.pt") == [(FROM_START, ABSENT), (1, "a"), (2, ABSENT)]


def test_files_beyond_those_that_are_followed_are_lost_if_they_are_read(tmp_path: Path) -> None:
    script = Script(tmp_path, most=1)
    for name in ("followed", "read", "unread"):
        script.write(name, name)
    script.read("read")
    script.checkpoint(1)
    assert script.history("read") == [(FROM_START, ABSENT), (0, LOST)]
    assert script.history("unread") == []
    assert script.history("followed") == [(FROM_START, ABSENT), (1, UNREAD)]


def test_a_file_that_is_held_open_past_python_is_lost_until_it_is_closed(tmp_path: Path) -> None:
    script = Script(tmp_path)
    for name in ("raw", "mapped", "closed"):
        script.write(name, "text")
        script.files.is_raw(str(tmp_path / name))
    descriptor = os.open(tmp_path / "raw", os.O_RDWR)
    with open(tmp_path / "mapped", "r+b") as file:
        mapping = mmap.mmap(file.fileno(), 0)
    script.checkpoint(1)
    os.close(descriptor)
    mapping.close()
    script.write("raw", "more text")
    script.checkpoint(2)
    assert script.history("raw") == [(FROM_START, ABSENT), (1, LOST), (2, UNREAD)]
    assert script.history("mapped") == [(FROM_START, ABSENT), (1, LOST)]
    assert script.history("closed") == [(FROM_START, ABSENT), (1, UNREAD)]


def test_a_descriptor_that_has_moved_on_since_the_loop_began_is_in_no_checkpoint(tmp_path: Path) -> None:
    files = WrittenFiles()
    descriptors = {}
    for name in ("read", "written", "emptied", "still"):
        (tmp_path / name).write_text("text")
        files.is_raw(str(tmp_path / name))
        descriptors[name] = os.open(tmp_path / name, os.O_RDONLY if name == "read" else os.O_RDWR)
    descriptors["memory"] = os.memfd_create("memory")
    try:
        assert files.at(0, "epoch_end") == set()
        os.read(descriptors["read"], 1)
        for name in ("written", "emptied", "memory"):
            os.write(descriptors[name], b"ab")
        os.ftruncate(descriptors["emptied"], 0)
        files.is_raw(str(tmp_path / "later"))
        descriptors["later"] = os.open(tmp_path / "later", os.O_WRONLY | os.O_CREAT)
        moved = {os.path.basename(path) for path in files.at(1, "epoch_end")}
        assert moved == {"read", "written", "emptied", "later", "memfd:memory"}
        os.lseek(descriptors["read"], 0, os.SEEK_SET)
        os.close(descriptors.pop("later"))
        moved = {os.path.basename(path) for path in files.at(2, "epoch_end")}
        assert moved == {"written", "emptied", "memfd:memory"}
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def test_a_temporary_file_that_is_open_has_another_name_in_a_replay(tmp_path: Path) -> None:
    files = WrittenFiles()
    path = str(tmp_path / "tmp123")
    files.is_random(path)
    files.is_raw(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert files.at(0, "epoch_end") == {path}
    os.close(descriptor)
    assert files.at(1, "epoch_end") == set()


def test_threads_may_rename_files_while_others_write_new_ones(tmp_path: Path) -> None:
    files = WrittenFiles(most=100_000)
    for number in range(2000):
        files.changes(str(tmp_path / f"old/{number}"), was_read=False)

    def work(name: str) -> None:
        for number in range(300):
            files.changes(str(tmp_path / f"{name}/{number}"), was_read=False)
            files.renames(str(tmp_path / f"{name}/{number}"), str(tmp_path / f"{name}/{number}.txt"), was_read=False)
            files.removes_tree(str(tmp_path / f"{name}/none"))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, "abcd"))
    finally:
        sys.setswitchinterval(before)
    assert files.follows(str(tmp_path / "d/299.txt"))

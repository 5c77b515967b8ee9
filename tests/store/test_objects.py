"""What is special about stores in a local folder, and URLs that are no stores. The rest is in contracts/."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flor_ray.errors import StoreError
from flor_ray.store.files import Files


def all_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_new_store_hides_itself_from_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    Files(str(tmp_path / ".flor")).write("a/b", b"1")
    assert (tmp_path / ".flor/.gitignore").read_text() == "*\n"
    status = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, check=True)
    assert status.stdout == b""
    assert Files(str(tmp_path / ".flor")).list() == ["a/b"]


def test_a_folder_of_the_users_gets_no_gitignore(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    Files(str(tmp_path)).write("a", b"1")
    assert all_files(tmp_path) == ["a", "train.py"]


def test_opening_and_reading_write_nothing(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "store"))
    files.list()
    files.exists("a")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("url", ["{}", "file://{}", "local://{}", "{}/"])
def test_a_local_store_is_known_by_its_folder(tmp_path: Path, url: str) -> None:
    assert Files(url.format(tmp_path)).url == str(tmp_path)


def test_a_relative_folder_is_fixed_when_the_store_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Files("store").url == str(tmp_path / "store")


def test_files_have_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        files = Files(str(tmp_path / "store"))
        files.write("a", b"1")
        files.create("b", b"1")
    finally:
        os.umask(previous)
    assert [stat.S_IMODE((tmp_path / "store" / name).stat().st_mode) for name in "ab"] == [0o640, 0o640]


def test_a_failed_write_leaves_the_old_file_and_no_junk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(str(tmp_path / "store"))
    files.write("a", b"old")

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match=r"Cannot write a in .*No space left on device.*The disk is full"):
        files.write("a", b"new")
    assert files.read("a") == b"old"
    assert all_files(tmp_path / "store") == [".gitignore", "a"]


def test_a_file_that_a_killed_process_left_half_written_is_not_seen(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "store"))
    files.write("a/b", b"1")
    (tmp_path / "store/a/.tmp-123-456-abcd").write_bytes(b"hal")
    assert files.list() == ["a/b"]


def test_what_killed_writers_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "store"))
    files.write("a/b", b"1")
    old, new = tmp_path / "store/a/.tmp-123-456-abcd", tmp_path / "store/a/.tmp-123-456-dcba"
    for path in (old, new):
        path.write_bytes(b"hal")
    os.utime(old, (1000.0, 1000.0))
    assert files.sweep(2000.0) == 1
    assert (old.exists(), new.exists(), files.read("a/b")) == (False, True, b"1")


def test_an_object_is_written_to_disk_without_a_copy_of_it(tmp_path: Path) -> None:
    code = f"""
import resource
from flor_ray.files import Files
from flor_ray.objects import Objects
objects = Objects(Files({str(tmp_path / "store")!r}))
objects.put(b"prepared")
data = memoryview(bytearray(200 << 20))
data[::4096] = bytes(len(data[::4096]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
objects.put(data)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # MiB


def test_an_object_of_a_colleague_whose_age_cannot_be_set_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(str(tmp_path / "store"))
    files.write("a", b"1")
    os.utime(tmp_path / "store/a", (1000.0, 1000.0))

    def refuse(path: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    files.touch("a", b"1")
    assert (files.modified("a") or 0.0) > 1000.0


def test_a_disk_without_hard_links_still_has_one_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    files = Files(str(tmp_path / "store"))
    assert [files.create("a", b"1"), files.create("a", b"2")] == [True, False]
    assert (files.read("a"), files.list()) == (b"1", ["a"])


def operations(files: Files) -> dict[str, Callable[[], object]]:
    return {
        "write": lambda: files.write("a/b", b"1"),
        "create": lambda: files.create("a/b", b"1"),
        "read": lambda: files.read("a/b"),
        "list": lambda: files.list("a"),
        "delete": lambda: files.delete("a/b"),
    }


@pytest.mark.parametrize("name", ["write", "create", "read", "list", "delete"])
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_a_store_error(tmp_path: Path, name: str) -> None:
    files = Files(str(tmp_path / "store"))
    files.write("a/b", b"1")
    (tmp_path / "store/a").chmod(0)
    try:
        with pytest.raises(StoreError, match="Check that you may read and write there"):
            operations(files)[name]()
    finally:
        (tmp_path / "store/a").chmod(0o700)


@pytest.mark.parametrize("name", ["write", "create", "read", "list", "delete"])
def test_refused_permission_is_a_store_error(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(str(tmp_path / "store"))

    def refuse(*arguments: object, **keywords: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for function in ("makedirs", "scandir", "unlink"):
        monkeypatch.setattr(os, function, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(StoreError, match="Check that you may read and write there"):
        operations(files)[name]()


@pytest.mark.parametrize("name", ["write", "create", "read", "list"])
def test_a_file_where_the_store_should_be_is_a_store_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"NotADirectoryError|FileExistsError"):
        operations(Files(str(tmp_path / "file")))[name]()


@pytest.mark.parametrize("url", ["nonsense://bucket/x", "hf-unknown+x://y"])
def test_an_unknown_kind_of_url_is_refused_with_advice(url: str) -> None:
    with pytest.raises(StoreError, match=r"is not the URL of a store.*s3://bucket/prefix"):
        Files(url)


def test_importing_the_doors_of_files_and_git_imports_no_large_library() -> None:
    code = (
        "import sys, flor_ray.store.objects, flor_ray.store.typed_values, flor_ray.store.repository\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'torch', 'fsspec', 's3fs', 'git', 'ray'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

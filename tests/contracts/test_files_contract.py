"""What `Files` and `Objects` promise, whatever the file system below them."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from flor_ray.errors import ObjectCorrupt, ObjectMissing, StoreError
from flor_ray.objects import Files, Objects

HELLO = "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"  # blake3 of b"hello world"


def test_what_is_written_can_be_listed_and_read(url: str) -> None:
    files = Files(url)
    files.write("a/b/one.bin", b"\x00\xff")
    files.write("a/two", b"")
    files.write("three", b"3")
    assert files.list() == ["a/b/one.bin", "a/two", "three"]
    assert files.list("a") == files.list("a/") == ["a/b/one.bin", "a/two"]
    assert files.read_many(["three", "a/two", "a/b/one.bin"]) == {
        "three": b"3",
        "a/two": b"",
        "a/b/one.bin": b"\x00\xff",
    }


def test_a_folder_is_not_a_prefix_of_names(url: str) -> None:
    files = Files(url)
    files.write_many({"ab/x": b"1", "a/x": b"2"})
    assert files.list("a") == ["a/x"]


def test_nothing_there_is_an_empty_listing_and_a_clear_read_error(url: str) -> None:
    files = Files(url)
    assert files.list() == []
    assert files.list("nowhere") == []
    assert not files.exists("nowhere")
    with pytest.raises(FileNotFoundError):
        files.read("nowhere")
    with pytest.raises(FileNotFoundError):
        files.read_many(["nowhere", "either"])


def test_a_folder_does_not_exist_as_a_file(url: str) -> None:
    files = Files(url)
    files.write("a/b", b"1")
    assert [files.exists(path) for path in ("a/b", "a", "b")] == [True, False, False]


def test_writing_again_replaces(url: str) -> None:
    files = Files(url)
    files.write("a", b"long old contents")
    files.write("a", b"new")
    assert (files.read("a"), files.list()) == (b"new", ["a"])


def test_deleting_is_fine_with_and_without_a_file(url: str) -> None:
    files = Files(url)
    files.write_many({"a/b": b"1", "a/c": b"2"})
    files.delete("a/b")
    files.delete("a/b")
    files.delete("never/was")
    assert files.list() == ["a/c"]


def test_create_has_one_winner_and_the_file_is_the_winners(url: str) -> None:
    files = Files(url)
    barrier = threading.Barrier(8)

    def race(index: int) -> bool:
        barrier.wait()
        return files.create("manifest", b"writer %d" % index)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert sum(won) == 1
    assert files.read("manifest") == b"writer %d" % won.index(True)
    assert files.create("manifest", b"late") is False
    assert files.list() == ["manifest"]


def test_another_instance_sees_every_change_at_once(url: str) -> None:
    ours, theirs = Files(url), Files(url)
    assert theirs.list("a") == []
    ours.write("a/1", b"1")
    assert theirs.list("a") == ["a/1"]
    ours.write("a/2", b"2")
    assert (theirs.list("a"), theirs.exists("a/2")) == (["a/1", "a/2"], True)
    ours.delete("a/1")
    assert (theirs.list("a"), theirs.exists("a/1")) == (["a/2"], False)


@pytest.mark.parametrize("name", ["with space", "a=b", "~2E", "100%", "ümlaut", "a+b", "[x]*?"])
def test_awkward_names_come_back_as_they_were(url: str, name: str) -> None:
    files = Files(url)
    files.write(f"{name}/{name}", b"1")
    assert (files.list(name), files.read(f"{name}/{name}")) == ([f"{name}/{name}"], b"1")


def test_many_files_at_once(url: str) -> None:
    files = Files(url)
    contents = {f"many/{index:03d}": bytes([index]) for index in range(40)}
    files.write_many(contents)
    assert files.list("many") == sorted(contents)
    assert files.read_many(contents) == contents


def test_files_can_be_sent_to_another_process(url: str) -> None:
    files = Files(url)
    files.write("a", b"1")
    copy = pickle.loads(pickle.dumps(files))
    assert (copy.url, copy.read("a")) == (files.url, b"1")


def test_only_memory_is_not_shared_with_other_processes(url: str) -> None:
    assert Files(url).shared is not url.startswith("memory")


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_go_on_reading(url: str) -> None:
    files = Files(url)
    files.write("a", b"1")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if files.read("a") == b"1" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- objects --------------------------------------------------------------------------------------------------------


def test_equal_blobs_are_kept_once_under_their_hash(url: str) -> None:
    files = Files(url)
    objects = Objects(files)
    assert objects.put(b"hello world") == HELLO
    assert objects.put_many([b"hello world", b"", b"hello world"])[::2] == [HELLO, HELLO]
    assert len(files.list("objects")) == 2
    assert files.list("objects/d7") == [f"objects/d7/{HELLO[2:]}"]
    assert (objects.get(HELLO), objects.exists(HELLO), objects.exists("0" * 64)) == (b"hello world", True, False)


def test_a_blob_that_is_there_is_not_written_again(url: str) -> None:
    Objects(Files(url)).put(b"hello world")
    files = Files(url)
    written: list[str] = []
    files.write = lambda path, data: written.append(path)  # type: ignore[method-assign]
    objects = Objects(files)
    objects.put(b"hello world")
    objects.put(b"other")
    objects.put(b"other")
    assert len(written) == 1


def test_a_deleted_blob_is_written_again(url: str) -> None:
    objects = Objects(Files(url))
    objects.put(b"hello world")
    objects.delete(HELLO)
    assert not objects.exists(HELLO)
    assert objects.put(b"hello world") == HELLO
    assert objects.get(HELLO) == b"hello world"


def test_a_missing_blob_is_named(url: str) -> None:
    with pytest.raises(ObjectMissing, match=HELLO) as caught:
        Objects(Files(url)).get(HELLO)
    assert caught.value.key == HELLO


def test_a_damaged_blob_is_never_returned(url: str) -> None:
    files = Files(url)
    objects = Objects(files)
    objects.put(b"hello world")
    files.write(f"objects/d7/{HELLO[2:]}", b"hello w")
    with pytest.raises(ObjectCorrupt, match=HELLO):
        objects.get(HELLO)
    with pytest.raises(ObjectCorrupt):
        objects.get_many([HELLO])


def test_many_threads_may_put_the_same_blobs(url: str) -> None:
    objects = Objects(Files(url))
    blobs = [bytes([index]) * 100 for index in range(10)]
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: tuple(objects.put_many(blobs)), range(8)))
    assert len(keys) == 1
    assert list(objects.get_many(keys.pop()).values()) == blobs


def test_a_large_blob_survives(url: str) -> None:
    objects = Objects(Files(url))
    data = os.urandom(1 << 20) * 12  # more than one part of a concurrent S3 download
    assert objects.get(objects.put(data)) == data


# --- S3 alone -------------------------------------------------------------------------------------------------------


def test_a_missing_bucket_is_said_to_be_missing(bucket: str) -> None:
    files = Files("s3://no-such-bucket/store")
    operations: tuple[Callable[[], object], ...] = (
        lambda: files.write("a", b"1"),
        lambda: files.create("a", b"1"),
        lambda: files.read("a"),
        files.list,
    )
    for operation in operations:
        with pytest.raises(StoreError, match=r"s3://no-such-bucket/store.*Create the bucket"):
            operation()


def test_an_endpoint_that_does_not_answer_is_a_store_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    files = Files("s3://flor/unreachable")
    operations: dict[str, Callable[[], object]] = {
        "write": lambda: files.write("a", b"1"),
        "create": lambda: files.create("a", b"1"),
        "read": lambda: files.read("a"),
        "list": files.list,
        "exists": lambda: files.exists("a"),
        "delete": lambda: files.delete("a"),
    }
    for operation in operations.values():
        with pytest.raises(StoreError, match=r"s3://flor/unreachable.*can be reached"):
            operation()
    s3fs.S3FileSystem.clear_instance_cache()

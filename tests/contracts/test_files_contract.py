"""What `Files` and `Objects` promise, whatever the file system below them."""

from __future__ import annotations

import array
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from flor_ray.errors import ObjectCorrupt, ObjectMissing
from flor_ray.store import objects
from flor_ray.store.files import Files
from flor_ray.store.objects import GRACE_SECONDS, Objects

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


def test_the_end_of_a_file_can_be_read_alone(url: str) -> None:
    files = Files(url)
    files.write("a/long", b"0123456789")
    files.write("a/none", b"")
    ends = [files.read_end("a/long", most) for most in (3, 10, 99)]
    assert ends == [b"789", b"0123456789", b"0123456789"]
    assert files.read_end("a/none", 3) == b""
    with pytest.raises(FileNotFoundError):
        files.read_end("nowhere", 3)


def test_any_part_of_a_file_can_be_read_alone(url: str) -> None:
    files = Files(url)
    files.write("a/long", b"0123456789")
    parts = [files.read_range("a/long", start, length) for start, length in ((0, 3), (4, 2), (7, 99), (2, 0))]
    assert parts == [b"012", b"45", b"789", b""]
    with pytest.raises(FileNotFoundError):
        files.read_range("nowhere", 1, 3)


def test_folders_that_hold_files_are_named(url: str) -> None:
    files = Files(url)
    assert files.folders("a") == files.folders() == []
    for path in ("a/one/x", "a/two/deep/y", "a/file", "b/z"):
        files.write(path, b"1")
    assert files.folders("a") == ["one", "two"]
    assert files.folders() == ["a", "b"]
    files.delete("a/two/deep/y")
    assert files.folders("a/") == ["one"]


def test_empty_folders_go_while_others_write_into_them(url: str) -> None:
    files = Files(url)
    ended = threading.Event()

    def prune() -> None:
        while not ended.wait(0.001):  # who never waits keeps all others from running
            files.prune("a")

    pruning = threading.Thread(target=prune)
    pruning.start()
    try:
        for number in range(100):
            files.write(f"a/{number % 3}/x", b"1")
            assert files.read(f"a/{number % 3}/x") == b"1"
            files.delete(f"a/{number % 3}/x")
    finally:
        ended.set()
        pruning.join()
    files.write("a/full/x", b"1")
    files.prune("a")
    assert files.list("a") == ["a/full/x"]
    if os.path.isdir(files.url):
        assert os.listdir(os.path.join(files.url, "a")) == ["full"]


def test_the_clock_that_dates_files_can_be_asked(url: str) -> None:
    files = Files(url)
    files.write("first", b"")
    now = files.now()
    files.write("last", b"")
    first, last = files.modified("first"), files.modified("last")
    assert first is not None
    assert last is not None
    assert first <= now <= last + 1
    assert files.list() == ["first", "last"]


def test_a_file_can_be_fetched_to_a_path_of_this_machine(url: str, tmp_path: Path) -> None:
    files = Files(url)
    data = bytes(range(256)) * 4096
    for path, content in {"a/long": data, "a/none": b""}.items():
        files.write(path, content)
        files.fetch(path, str(tmp_path / "target"))
        assert (tmp_path / "target").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        files.fetch("nowhere", str(tmp_path / "other"))


def test_a_folder_is_not_a_prefix_of_names(url: str) -> None:
    files = Files(url)
    for path, data in {"ab/x": b"1", "a/x": b"2"}.items():
        files.write(path, data)
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
    for path, data in {"a/b": b"1", "a/c": b"2"}.items():
        files.write(path, data)
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
    for path, data in contents.items():
        files.write(path, data)
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


def test_sizes_and_ages_come_with_one_listing(url: str) -> None:
    files = Files(url)
    begun = time.time()
    for path, data in {"a/1": b"one", "a/b/2": b"", "c": b"3"}.items():
        files.write(path, data)
    found = files.infos("a")
    assert {path: info.bytes for path, info in found.items()} == {"a/1": 3, "a/b/2": 0}
    assert files.infos("nowhere") == {}
    for path, info in found.items():
        assert begun - 2 <= info.modified <= time.time() + 2  # S3 counts in whole seconds
        assert files.modified(path) == pytest.approx(info.modified, abs=1)
    assert files.modified("a/nothing") is None


def test_touching_makes_a_file_young_and_brings_it_back(url: str) -> None:
    files = Files(url)
    files.write("a/1", b"same")
    before = files.modified("a/1")
    time.sleep(1.1)
    files.touch("a/1", b"same")
    after = files.modified("a/1")
    assert before is not None
    assert after is not None
    assert after > before
    files.delete("a/1")
    files.touch("a/1", b"same")
    assert files.read("a/1") == b"same"


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


@pytest.mark.parametrize("data", [b"hello world", bytearray(b"hello world"), memoryview(b"hello world")])
def test_any_buffer_can_be_stored(url: str, data: bytes | bytearray | memoryview) -> None:
    objects = Objects(Files(url))
    assert [objects.store(data), objects.store(data)] == [(HELLO, True), (HELLO, False)]
    assert Objects(Files(url)).store(data) == (HELLO, False)
    assert objects.get(HELLO) == b"hello world"


def test_a_buffer_of_numbers_is_stored_as_its_bytes(url: str) -> None:
    numbers = memoryview(array.array("d", [0.5, -1.0]))
    objects = Objects(Files(url))
    assert objects.get(objects.put(numbers)) == numbers.tobytes()


def test_objects_are_listed_by_key_with_size_and_age(url: str) -> None:
    objects = Objects(Files(url))
    assert objects.infos() == {}
    other = objects.put(b"other")
    objects.put(b"hello world")
    assert {key: info.bytes for key, info in objects.infos().items()} == {HELLO: 11, other: 5}


def move_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """For the object store it is now so many seconds later than it is."""
    monkeypatch.setattr(objects, "time", SimpleNamespace(time=lambda: time.time() + seconds))


def test_an_object_is_made_young_before_it_is_used_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(url)
    objects = Objects(files)
    objects.put(b"hello world")
    written = objects.infos()[HELLO].modified
    time.sleep(1.1)
    move_clock(monkeypatch, GRACE_SECONDS / 2 - 600)
    assert Objects(files).store(b"hello world") == (HELLO, False)
    assert objects.infos()[HELLO].modified == written
    move_clock(monkeypatch, GRACE_SECONDS / 2 + 600)
    assert Objects(files).store(b"hello world") == (HELLO, False)
    assert objects.infos()[HELLO].modified > written
    assert objects.get(HELLO) == b"hello world"


def test_a_long_run_does_not_trust_what_it_saw_long_ago(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(Files(url))
    objects.put(b"hello world")
    Objects(Files(url)).delete(HELLO)  # by garbage collection, elsewhere
    move_clock(monkeypatch, GRACE_SECONDS / 2 + 600)
    assert objects.store(b"hello world") == (HELLO, True)
    assert objects.get(HELLO) == b"hello world"


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

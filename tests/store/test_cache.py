"""The cache of remote objects: what it keeps, what it forgets, and how it is configured."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flor_ray.errors import UsageError
from flor_ray.store import cache
from flor_ray.store.cache import ObjectCache, from_environment
from flor_ray.wording import parse_bytes


def key_of(number: int) -> str:
    return f"{number:02x}" * 32


def age(folder: Path, number: int, seconds: float) -> None:
    key = key_of(number)
    then = time.time() - seconds
    os.utime(folder / key[:2] / key[2:], (then, then))


def kept(objects: ObjectCache, numbers: range) -> list[int]:
    return [number for number in numbers if objects.get(key_of(number)) is not None]


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore")


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    objects = ObjectCache(str(tmp_path), 1000)
    for number in range(9):
        objects.put(key_of(number), bytes(100))
        age(tmp_path, number, 1000 - number)
    assert objects.get(key_of(0)) == bytes(100)  # used just now
    objects.put(key_of(9), bytes(150))
    assert kept(objects, range(10)) == [0, 3, 4, 5, 6, 7, 8, 9]
    assert size(tmp_path) == 850


def test_the_limit_holds_for_several_processes_too(tmp_path: Path) -> None:
    ours, theirs = ObjectCache(str(tmp_path), 1000), ObjectCache(str(tmp_path), 1000)
    for number in range(40):
        (ours, theirs)[number % 2].put(key_of(number), bytes(90))
        assert size(tmp_path) <= 1000 + 50


def test_threads_may_put_and_get_at_once(tmp_path: Path) -> None:
    objects = ObjectCache(str(tmp_path), 2000)

    def use(number: int) -> bool:
        key = key_of(number % 30)
        objects.put(key, bytes([number % 30]) * 100)
        return objects.get(key) in (None, bytes([number % 30]) * 100)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(600)))
    assert size(tmp_path) <= 2000


def test_an_object_that_would_fill_the_cache_is_not_kept(tmp_path: Path) -> None:
    objects = ObjectCache(str(tmp_path), 1000)
    objects.put(key_of(1), bytes(100))
    objects.put(key_of(2), bytes(950))
    assert kept(objects, range(3)) == [1]


def test_what_killed_writers_left_does_not_stay(tmp_path: Path) -> None:
    objects = ObjectCache(str(tmp_path), 1000)
    objects.put(key_of(1), bytes(100))
    left = tmp_path / key_of(1)[:2] / ".tmp-1-2-3"
    left.write_bytes(bytes(500))
    os.utime(left, (0, 0))
    objects.put(key_of(2), bytes(100))
    assert not left.exists()
    assert kept(objects, range(3)) == [1, 2]


def test_a_dropped_object_is_gone(tmp_path: Path) -> None:
    objects = ObjectCache(str(tmp_path), 1000)
    objects.put(key_of(1), b"1")
    objects.drop(key_of(1))
    objects.drop(key_of(2))
    assert objects.get(key_of(1)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("500M", 500 << 20),
        ("2G", 2 << 30),
        ("1.5 GiB", 3 << 29),
        ("10kb", 10240),
        ("1T", 1 << 40),
    ],
)
def test_limits_are_written_as_people_do(text: str, expected: int) -> None:
    assert parse_bytes(text, "limit") == expected


@pytest.mark.parametrize("text", ["lots", "-1", "5X", "G", "1e9"])
def test_a_limit_that_is_none_is_refused_with_advice(text: str) -> None:
    with pytest.raises(UsageError, match=r"FLOR_RAY_CACHE_BYTES=.*Write 4096, 500M or 2G; 0 switches"):
        from_environment({cache.BYTES_VARIABLE: text})


def test_no_bytes_mean_no_cache(tmp_path: Path) -> None:
    assert from_environment({cache.BYTES_VARIABLE: "0", cache.FOLDER_VARIABLE: str(tmp_path)}) is None


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path) -> None:
    objects = from_environment({cache.FOLDER_VARIABLE: str(tmp_path / "here")})
    assert objects is not None
    objects.put(key_of(1), b"1")
    assert (tmp_path / "here" / key_of(1)[:2] / key_of(1)[2:]).read_bytes() == b"1"
    elsewhere = from_environment({"XDG_CACHE_HOME": str(tmp_path / "xdg")})
    assert elsewhere is not None
    elsewhere.put(key_of(1), b"1")
    assert (tmp_path / "xdg/flor_ray/objects" / key_of(1)[:2] / key_of(1)[2:]).read_bytes() == b"1"

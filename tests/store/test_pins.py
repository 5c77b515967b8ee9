"""Pinned places in the store: nobody's are lost, the latest one holds, and what is broken is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray.errors import StoreError
from flor_ray.records import Pin, PinnedPlace
from flor_ray.store import pins
from flor_ray.store.files import Files

PLACE = PinnedPlace("norm", 'flor.log("norm", \udcff)', 0, "train.py", "ab12", Pin(7), "v" * 40)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "store"))


def test_a_pin_is_kept_with_who_and_when(files: Files) -> None:
    done = pins.keep(files, "p/q", PLACE)
    assert pins.kept(files, "p/q") == (done,)
    assert replace(done, who="", created=0.0) == PLACE
    assert "@" in done.who
    assert done.created > 1.7e9
    assert pins.kept(files, "other") == ()


def test_the_latest_decision_on_a_statement_in_a_file_holds(files: Files) -> None:
    pins.keep(files, "p", PLACE)
    other = pins.keep(files, "p", replace(PLACE, blob="cd34"))
    latest = pins.keep(files, "p", replace(PLACE, pin=Pin(9, 4), version="w" * 40))
    assert pins.kept(files, "p") == (other, latest)
    pins.remove(files, "p", latest)
    assert pins.kept(files, "p") == (other,)
    again = pins.keep(files, "p", PLACE)
    assert pins.kept(files, "p") == (other, again)
    assert len(files.list("pins")) == 5  # nothing is ever changed or deleted


def test_a_later_decision_holds_even_where_the_clock_goes_back(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    pins.keep(files, "p", PLACE)
    monkeypatch.setattr("time.time", lambda: 1.0)
    latest = pins.keep(files, "p", replace(PLACE, pin=Pin(9)))
    assert pins.kept(files, "p") == (latest,)


def test_users_who_pin_at_once_do_not_lose_each_others(files: Files) -> None:
    places = [replace(PLACE, name=f"name{number}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: pins.keep(files, "p", place), places))
    assert sorted(place.name for place in pins.kept(files, "p")) == sorted(place.name for place in places)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"removed": false}', b'{"removed": false, "pin": {"after": "x"}}'])
def test_a_file_that_is_no_pin_is_named(files: Files, data: bytes) -> None:
    pins.keep(files, "p", PLACE)
    files.write("pins/p/1-x.json", data)
    with pytest.raises(StoreError, match=r"pins/p/1-x\.json is not a pinned place"):
        pins.kept(files, "p")

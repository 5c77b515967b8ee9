"""Where recorded files are looked for on another machine, in which order, and what counts as lacking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from flor_ray.environment import data_places
from flor_ray.environment.data_places import FileSource, Homes, asked_paths, locate, mapped_place
from flor_ray.environment.inputs import Change, Resemblance
from flor_ray.records import LackingFile

THEN, HERE = Homes("/home/me/six", "/home/me"), Homes("/tmp/pkg", "/root")
EQUAL, UNSURE, OTHER = Resemblance.EQUAL, Resemblance.UNSURE, Resemblance.OTHER


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("data/a.csv", ("/tmp/pkg/data/a.csv", "/home/me/six/data/a.csv")),
        ("/home/me/data/a.csv", ("/home/me/data/a.csv", "/tmp/data/a.csv", "/root/data/a.csv")),
        ("/mnt/a.csv", ("/mnt/a.csv",)),
        *((path, ()) for path in ("", "..", "../a.csv", "data/../a.csv", "/mnt//a.csv", "//a.csv", "a\0b", "./a.csv")),
    ],
)
def test_a_script_may_ask_for_a_file_where_it_was_and_where_that_is_from_here(
    path: str, asked: tuple[str, ...]
) -> None:
    assert asked_paths(path, THEN, HERE) == asked


def test_where_a_run_does_not_say_from_where_it_was_its_paths_are_those_of_here() -> None:
    assert asked_paths("data/a.csv", Homes(), HERE) == ("/tmp/pkg/data/a.csv",)
    assert asked_paths("/home/me/data/a.csv", Homes(), HERE) == ("/home/me/data/a.csv",)
    assert Homes.recorded({"root": "relative", "home": 3}) == Homes()
    assert Homes.recorded({"root": "/a", "home": "/b"}) == Homes("/a", "/b")


@pytest.mark.parametrize(
    ("path", "data", "place"),
    [
        ("data/a.csv", {"data": "/mnt/d"}, ("/mnt/d/a.csv", 2)),
        ("data/a.csv", {"data/": "/mnt/d/"}, ("/mnt/d/a.csv", 2)),
        ("data/a.csv", {"./data": "/mnt/d"}, ("/mnt/d/a.csv", 2)),
        ("data/deep/a.csv", {"data": "/mnt/d", "data/deep": "/mnt/e"}, ("/mnt/e/a.csv", 2)),
        ("data/deep/a.csv", {"/home/me/six/data": "/mnt/d"}, ("/mnt/d/deep/a.csv", 3)),
        ("data/a.csv", {"data/a.csv": "/mnt/b.csv"}, ("/mnt/b.csv", 1)),
        ("data/a.csv", {"data/a.csv": "~/b.csv"}, ("/root/b.csv", 1)),
        ("data/a.csv", {".": "/mnt/six"}, ("/mnt/six/data/a.csv", 3)),
        ("/home/me/data/a.csv", {"../data": "/mnt/d"}, ("/mnt/d/a.csv", 2)),
        ("/home/me/data/a.csv", {"~/data": "s3://b/d/"}, ("s3://b/d/a.csv", 0)),
        ("/home/me/data/a.csv", {"/": "/mnt"}, ("/mnt/home/me/data/a.csv", 5)),
        ("data/a.csv", {"data": "none"}, ("none", 0)),
        ("data2/a.csv", {"data": "/mnt/d"}, None),
        ("data", {"data/a.csv": "/mnt/d"}, None),
    ],
)
def test_the_longest_path_of_the_data_map_counts(path: str, data: Mapping[str, str], place: object) -> None:
    assert mapped_place(path, data, THEN, HERE) == place


FILE = {"path": "data/a.csv", "bytes": 3, "mtime_ns": 1, "hash": "ab"}
DATA = {"data": "/mnt/d"}


def located(there: Mapping[str, Resemblance], stored: Resemblance = Resemblance.NONE, **more: Any) -> Any:
    environment = {"inputs": [FILE | more], "root": THEN.root, "home": THEN.home}
    (one,) = locate(
        environment, DATA, HERE, lambda file, place: there.get(place, Resemblance.NONE), lambda file: stored
    )
    return one


@pytest.mark.parametrize(
    ("there", "stored", "source", "place", "unsure"),
    [
        ({"/tmp/pkg/data/a.csv": EQUAL, "/mnt/d/a.csv": EQUAL}, EQUAL, FileSource.HERE, "/tmp/pkg/data/a.csv", False),
        ({"/home/me/six/data/a.csv": EQUAL}, EQUAL, FileSource.HERE, "/home/me/six/data/a.csv", False),
        ({"/tmp/pkg/data/a.csv": UNSURE}, EQUAL, FileSource.HERE, "/tmp/pkg/data/a.csv", True),
        ({"/tmp/pkg/data/a.csv": OTHER, "/mnt/d/a.csv": EQUAL}, EQUAL, FileSource.MAPPED, "/mnt/d/a.csv", False),
        ({"/tmp/pkg/data/a.csv": OTHER, "/mnt/d/a.csv": OTHER}, EQUAL, FileSource.STORED, "", False),
        ({}, UNSURE, FileSource.STORED, "", True),
    ],
)
def test_a_file_counts_at_the_first_place_where_it_is_as_it_was(
    there: Mapping[str, Resemblance], stored: Resemblance, source: FileSource, place: str, unsure: bool
) -> None:
    one = located(there, stored)
    assert (one.source, one.place, one.unsure, one.lacking) == (source, place, unsure, None)
    assert one.change == (Change("data/a.csv", surely=False) if unsure else None)


def test_another_file_is_lacking_too_but_could_be_taken() -> None:
    one = located({"/mnt/d/a.csv": OTHER})
    assert (one.source, one.place, one.lacking) == (
        FileSource.NOWHERE,
        "/mnt/d/a.csv",
        LackingFile("data/a.csv", differs=True),
    )
    assert (one.change, one.lacking.passable) == (Change("data/a.csv"), True)
    nothing = located({})
    assert (nothing.lacking, nothing.change) == (LackingFile("data/a.csv"), Change("data/a.csv", missing=True))
    assert not nothing.lacking.passable


def test_hidden_files_of_a_home_are_optional_and_a_path_that_makes_a_detour_is_nowhere() -> None:
    assert located({}, path="/home/me/.cache/torch/weights.pt").lacking.passable
    assert not located({}, path="/home/me/data/.hidden").lacking.passable
    detour = located({"/tmp/etc/x": EQUAL}, EQUAL, path="../etc/x")
    assert (detour.source, detour.asked) == (FileSource.NOWHERE, ())


def test_what_the_script_does_without_is_not_lacking_and_is_a_change() -> None:
    environment = {"inputs": [FILE]}
    nothing = locate(environment, {"data/a.csv": "none"}, HERE, lambda *_: Resemblance.NONE, lambda _: Resemblance.NONE)
    assert data_places.lacking(environment, nothing) == ()
    assert data_places.differences(nothing) == (Change("data/a.csv", missing=True),)


def test_files_of_which_the_record_has_no_names_cannot_come_from_the_store() -> None:
    environment = {"inputs": [FILE, FILE | {"path": "state.txt", "rewritten": True}], "inputs_left_out": 200}
    stored = locate(environment, {}, HERE, lambda *_: Resemblance.NONE, lambda _: EQUAL)
    assert data_places.lacking(environment, stored) == (LackingFile("200 more files"),)
    nowhere = locate(environment, {}, HERE, lambda *_: Resemblance.NONE, lambda _: Resemblance.NONE)
    assert data_places.lacking(environment, nowhere) == (LackingFile("data/a.csv"),)
    here = locate(environment, {}, HERE, lambda *_: EQUAL, lambda _: EQUAL)
    assert data_places.lacking(environment, here) == ()

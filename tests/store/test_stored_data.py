"""Data files in the store: by the fingerprint that runs have recorded, in parts that files share."""

from __future__ import annotations

import json
from pathlib import Path

import blake3
import pytest

from flor_ray.errors import ObjectMissing, StoreError
from flor_ray.store import collecting, stored_data
from flor_ray.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(stored_data, "_PART_BYTES", 100)
    return Store(str(tmp_path / "store"))


def pushed(store: Store, path: Path, content: bytes) -> tuple[str, int]:
    """The name of a file with this content, once it is in the store, and how many bytes of it were new."""
    path.write_bytes(content)
    whole = blake3.blake3(content).hexdigest()
    name = stored_data.entry_name(whole, len(content), sampled=False)
    assert name is not None
    return name, stored_data.push(store.files, store.objects, name, str(path), whole=whole)


@pytest.mark.parametrize("content", [b"", b"x", bytes(100), bytes(range(250)) * 7])
def test_what_is_pulled_is_what_was_pushed(store: Store, tmp_path: Path, content: bytes) -> None:
    name, _ = pushed(store, tmp_path / "a", content)
    assert stored_data.names(store.files) == {name}
    stored = stored_data.read(store.files, name)
    assert stored is not None
    assert (stored.bytes, stored.sure) == (len(content), True)
    stored_data.pull(store.objects, stored, str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "store"]


def test_files_that_begin_alike_share_what_they_begin_with(store: Store, tmp_path: Path) -> None:
    content = bytes(n % 251 for n in range(450))
    assert pushed(store, tmp_path / "a", content)[1] == 450
    assert pushed(store, tmp_path / "a", content + b"one more row")[1] == 62  # its last part
    assert pushed(store, tmp_path / "b", content)[1] == 0
    assert stored_data.references(store.files) == store.objects.infos().keys()


def test_a_file_that_is_another_one_by_now_is_not_kept_under_its_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"now")
    with pytest.raises(ValueError, match="changed meanwhile"):
        stored_data.push(store.files, store.objects, "name", str(tmp_path / "a"), whole="0" * 64)
    assert stored_data.names(store.files) == frozenset()


def test_gc_keeps_what_data_files_are_made_of_until_their_entry_is_deleted(store: Store, tmp_path: Path) -> None:
    name, _ = pushed(store, tmp_path / "a", b"data" * 100)

    def unneeded() -> int:
        return len(collecting.plan(collecting.survey(store), "project", (), 0.0).sweep.keys)

    assert unneeded() == 0
    store.files.delete(f"data/{name}.json")
    assert unneeded() == 1  # four equal parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        json.dumps({"bytes": -1, "parts": [], "whole": ""}),
        json.dumps({"bytes": 10**15, "parts": ["0" * 64], "whole": ""}),
        json.dumps({"bytes": 5, "parts": "no list", "whole": ""}),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(store: Store, text: str) -> None:
    store.files.write("data/name.json", text.encode())
    with pytest.raises(StoreError, match=r"data/name\.json does not say what a data file is made of"):
        stored_data.read(store.files, "name")
    assert stored_data.read(store.files, "other") is None


def test_parts_that_are_not_there_or_lead_elsewhere_are_no_file(store: Store, tmp_path: Path) -> None:
    for key in ("0" * 64, "../../../etc/passwd"):
        stored = stored_data.StoredFile(5, (key,), "")
        with pytest.raises(ObjectMissing):
            stored_data.pull(store.objects, stored, str(tmp_path / "b"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("hash", ["", "../../x", "0" * 63, "A" * 64])
def test_what_is_no_fingerprint_names_nothing(hash: str) -> None:
    assert stored_data.entry_name(hash, 1, False) is None

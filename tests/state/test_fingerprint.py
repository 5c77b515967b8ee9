"""Fingerprints of what is made in C and held by classes in Python."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from flor_ray.state.fingerprint import fingerprint, hides, unchanged


def test_a_picture_is_looked_at_as_a_whole() -> None:
    held = [{"image": Image.new("RGB", (8, 8)), "words": ["a"]}]
    before = fingerprint(held)
    assert before
    assert not hides(before)
    assert unchanged(held, before)
    held[0]["image"].putpixel((3, 4), (0, 0, 1))  # type: ignore[attr-defined]
    assert not unchanged(held, before)


def test_a_picture_that_is_read_when_it_is_used_is_not_read_by_looking(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    picture = Image.open(tmp_path / "one.png")
    assert hides(fingerprint(picture))
    assert picture.fp is not None
    picture.load()
    assert not hides(fingerprint(picture))

"""Values that a page opens: arrays, pictures and tables are shown as such, and nothing that they hold is run."""

import pickle
import struct
import zlib

import numpy as np
import pandas as pd
import pytest

from flor_ray.store import not_loaded
from flor_ray.ui.values import openings, png


class Trap:
    """Unpickling it is an error of the test."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_a_confusion_matrix_is_shown_number_by_number() -> None:
    found = openings.opened(np.array([[3, 1], [0, 4]])).told
    assert found == {"kind": "matrix", "rows": [[3, 1], [0, 4]], "shape": [2, 2], "type": "int64"}
    assert openings.opened([[3, 1], [0, 4]]).told["kind"] == "matrix"


def test_a_row_of_numbers_is_a_histogram_and_its_numbers() -> None:
    found = openings.opened(np.array([1.0, 2.0, 2.0, np.nan])).told
    assert (found["kind"], found["count"], found["odd"]) == ("numbers", 4, 1)
    assert sum(found["counts"]) == 3
    assert found["numbers"] == [1.0, 2.0, 2.0, {"number": "NaN"}]


@pytest.mark.parametrize("values", [[0.0, 1e308, -1e308], [np.nan] * 3, [np.inf, 1.0], [5e-324, 1e-323]])
def test_numbers_of_any_size_have_a_histogram(values: list[float]) -> None:
    found = openings.opened(np.array(values)).told
    assert sum(found["counts"]) == np.isfinite(values).sum()


def test_an_array_of_pixels_is_a_picture_of_them() -> None:
    for shape in ((100, 120), (16, 12, 3), (3, 16, 12), (16, 12, 1)):
        found = openings.opened(np.random.default_rng(1).random(shape))
        assert found.told["kind"] == "picture"
        assert png.size(found.png) == (found.told["width"], found.told["height"])
        assert png.checked(found.png) == found.png


def test_pixels_survive() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    data = png.of(pixels)
    length = struct.unpack(">I", data[33:37])[0]
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(2, 10)
    assert (rows[:, 0] == 0).all()
    assert rows[:, 1:].tolist() == pixels.reshape(2, 9).tolist()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_of_a_picture_only_pixels_are_passed_on() -> None:
    clean = png.of(np.zeros((9, 9), np.uint8))
    dirty = clean[:33] + chunk(b"tEXt", b"<script>alert(1)</script>") + clean[33:] + b"<html>"
    assert png.checked(dirty) == clean
    assert openings.opened(dirty).png == clean


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg onload='alert(1)'/>",
        b"\x89PNG\r\n\x1a\n",
        png.of(np.zeros((9, 9), np.uint8))[:-3],
        png.of(np.zeros((9, 9), np.uint8)).replace(b"IDAT", b"IDAX"),
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b""),
    ],
)
def test_what_is_no_picture_is_not_passed_on(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it"):
        png.checked(data)
    found = openings.opened(data)
    assert (found.told["kind"], found.png) == ("text", b"")


def test_markup_stays_text_and_pickles_stay_closed() -> None:
    assert openings.opened("<b>\x1b[31m\n").told["text"] == "<b>\\x1b[31m\n"
    found = openings.opened(not_loaded.pickled(pickle.dumps(Trap()))).told
    assert (found["kind"], found["type"]) == ("text", "not loaded")


def test_a_table_is_shown_as_far_as_it_is_read() -> None:
    found = openings.opened(pd.DataFrame({"<i>": range(1000), "b": ["x"] * 1000})).told
    assert (found["kind"], found["shape"], len(found["rows"]), found["columns"]) == (
        "table",
        [1000, 2],
        100,
        ["<i>", "b"],
    )
    assert found["rows"][0] == [0, "x"]


def test_json_is_a_text_and_a_number_a_cell() -> None:
    assert openings.opened({"a": [1, "x"]}).told["text"] == '{\n "a": [\n  1,\n  "x"\n ]\n}'
    assert openings.opened(2**60).told == {"kind": "cell", "value": {"number": str(2**60)}, "type": "int"}

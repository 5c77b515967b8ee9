"""PNG files: made of arrays, and made anew of others' bytes, of which only what a picture consists of is left. Pure.

What a store says is a picture may be anything. `checked` goes through its chunks, checks their sums and sizes, and
gives those that hold pixels: no text, no profile, nothing behind the end.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PASSED_ON = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_MOST_SIDE = 20_000  # pixels: a header of a few bytes must not make a browser take gigabytes
_MOST_PIXELS = 50_000_000
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour type by the number of channels


def of(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of rows of grey values, or of 1 to 4 channels: grey, grey and opacity, RGB, RGB and opacity.

    Raises:
        ValueError: that is no picture.
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in _COLOURS or 0 in pixels.shape:
        raise ValueError(f"an array of {pixels.dtype} and the shape {pixels.shape} is no picture")
    height, width = pixels.shape[:2]
    _expect_size(width, height)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # before each row: 0, it is not filtered
    rows[:, 1:] = pixels.reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def checked(data: bytes) -> bytes:
    """The picture in a PNG file, and nothing else of it.

    Raises:
        ValueError: it is no PNG, is damaged, or is too large.
    """
    found, kinds = [_SIGNATURE], list[bytes]()
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            if len(content) != 13 or kinds:
                raise ValueError("its header is damaged")
            _expect_size(*struct.unpack(">II", content[:8]))
        if kind in _PASSED_ON:
            found.append(_chunk(kind, content))
        kinds.append(kind)
    if not kinds or kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or b"IDAT" not in kinds:
        raise ValueError("it does not hold a whole picture")
    return b"".join(found)


def size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG that was checked."""
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise ValueError("it is no PNG")
    at = len(_SIGNATURE)
    while at < len(data):
        if len(data) - at < 12:
            raise ValueError("it ends in the middle")
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if len(data) < at + 12 + length or data[at + 8 + length : at + 12 + length] != _sum(kind, content):
            raise ValueError("it is damaged")
        yield kind, content
        if kind == b"IEND":
            return
        at += 12 + length


def _expect_size(width: int, height: int) -> None:
    if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE and width * height <= _MOST_PIXELS):
        raise ValueError(f"it has {width} x {height} pixels, which is too large")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + _sum(kind, data)


def _sum(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(kind + data))

"""Lossless compression of what goes into the object store: zstd, after the bytes of equal rank were put side by side.

    float32   a0 a1 a2 a3 | b0 b1 b2 b3   ->   a0 b0 | a1 b1 | a2 b2 | a3 b3   ->   zstd

Trained weights are noise in all bytes but the last of each number (sign and exponent), so that shuffled float32
shrinks by a sixth, bfloat16 by a third, and masks, counters and untouched optimizer slots nearly vanish. A sample
decides.

pyarrow brings zstd, so that this room is part of the pyarrow door.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from flor_ray.errors import StoreError
from flor_ray.store import bounds

RAW = ""  # as it is
_WORTH = 0.7  # compress where a sample shrinks below this: zstd reads back at 1-2 GB/s, so less gain is not worth it
_WORTH_ANYTHING = 0.98  # the same where the user asked for compression
_SAMPLE_BYTES = 4 << 10
_SAMPLES = 3
_MIN_BYTES = 256  # below, the frame of zstd eats the gain
_LEVEL = 1


def choose(data: memoryview, itemsize: int, wanted: bool | None) -> str:
    """The codec for these bytes. `wanted`: None where it gains much, True where it gains anything, False never."""
    if wanted is False or len(data) < _MIN_BYTES:
        return RAW
    codec = f"zstd{itemsize}"
    plain = packed = 0
    for sample in _samples(data, itemsize):
        plain += len(sample)
        packed += len(encode(sample, codec))
    return codec if packed < plain * (_WORTH_ANYTHING if wanted else _WORTH) else RAW


def encode(data: memoryview | bytes, codec: str) -> memoryview | bytes:
    """The bytes as they are kept, shuffled and compressed as `codec` says. `decode` reverses it."""
    if codec == RAW:
        return data
    shuffled = _shuffle(data, _itemsize(codec))
    return pa.Codec("zstd", compression_level=_LEVEL).compress(shuffled, asbytes=True)  # type: ignore[no-any-return]


def decode(data: memoryview | bytes, codec: str, size: int) -> memoryview | bytes:
    """The `size` bytes that `encode` was given. Raises StoreError where they cannot be had."""
    if codec == RAW:
        return data
    itemsize = _itemsize(codec)
    try:
        bounds.expect_decompressed(size, len(data))
        plain = pa.Codec("zstd").decompress(pa.py_buffer(data), decompressed_size=size)
        return _unshuffle(plain, itemsize)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{len(data)} bytes of a checkpoint cannot be decompressed ({codec}): {error}") from error


def _itemsize(codec: str) -> int:
    if not codec.startswith("zstd") or not codec[4:].isdigit():
        raise StoreError(f"A checkpoint is compressed with {codec!r}; a newer flor_ray wrote it. Upgrade flor_ray.")
    return int(codec[4:])


def _samples(data: memoryview, itemsize: int) -> Iterator[memoryview]:
    if len(data) <= _SAMPLES * _SAMPLE_BYTES:
        yield data
        return
    for index in range(_SAMPLES):
        start = (len(data) - _SAMPLE_BYTES) * index // (_SAMPLES - 1) // itemsize * itemsize
        yield data[start : start + _SAMPLE_BYTES]


def _shuffle(data: memoryview | bytes, itemsize: int) -> memoryview | bytes:
    if itemsize < 2 or len(data) % itemsize:
        return data
    return np.frombuffer(data, np.uint8).reshape(-1, itemsize).T.tobytes()


def _unshuffle(data: pa.Buffer, itemsize: int) -> bytes:
    if itemsize < 2 or len(data) % itemsize:
        return data.to_pybytes()  # type: ignore[no-any-return]
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()

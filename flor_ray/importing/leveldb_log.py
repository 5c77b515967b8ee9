"""The log format of LevelDB, as `.wandb` files have it: records in fragments, in blocks of 32 KiB. Nothing here knows
what is in them.

    file        :W&B, 0xBEE1, a version     then blocks
    fragment    crc32 of the rest but the length: 4 bytes, length: 2, kind: 1, data
    kind        1 a whole record   2 its beginning   3 its middle   4 its end

A file that is still written, or whose writer was killed, ends anywhere. What was damaged costs the rest of its block.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from flor_ray.importing.found_runs import LARGEST_RECORD

HEADER = b":W&B\xe1\xbe\x00"
_BLOCK = 32 << 10
_HEAD = 7
_WHOLE, _BEGINNING, _MIDDLE, _END = 1, 2, 3, 4


@dataclass(slots=True)
class LogDamage:
    """What could not be read of a file."""

    records: int = 0  # that were damaged, or are torn
    bytes: int = 0  # that were skipped for it
    large: int = 0  # records that are larger than is read


def log_records(file: BinaryIO, damage: LogDamage) -> Iterator[bytes]:
    """The records of a file after its header; what is wrong with it is counted in `damage`."""
    parts: list[bytes] | None = None  # of a record that has begun
    held = 0  # bytes of them, were they all kept
    for kind, data in _fragments(file, damage):
        if parts is not None and kind not in (_MIDDLE, _END):  # its end never came
            damage.records += 1
            parts = None
        if kind == _WHOLE:
            yield data
        elif kind == _BEGINNING:
            parts, held = [data], len(data)
        elif kind in (_MIDDLE, _END) and parts is not None:
            held += len(data)
            if held <= LARGEST_RECORD:
                parts.append(data)
            if kind == _END:
                if held > LARGEST_RECORD:
                    damage.large += 1
                else:
                    yield b"".join(parts)
                parts = None
    if parts is not None:
        damage.records += 1


def _fragments(file: BinaryIO, damage: LogDamage) -> Iterator[tuple[int, bytes]]:
    """Kind and data of each fragment. What is left of a block behind a damaged one answers kind 0 once."""
    position = len(HEADER)
    file.seek(0)
    while block := file.read(_BLOCK):
        while len(block) < _BLOCK and (more := file.read(_BLOCK - len(block))):
            block += more
        end = len(block)
        while position + _HEAD <= end:
            length = int.from_bytes(block[position + 4 : position + 6], "little")
            stop = position + _HEAD + length
            kind = block[position + 6]
            if stop > end or zlib.crc32(block[position + 6 : stop]) != int.from_bytes(
                block[position : position + 4], "little"
            ):
                if any(block[position:]):  # zeros are room that was reserved
                    damage.records += 1
                    damage.bytes += end - position
                    yield 0, b""
                break
            yield kind, block[position + _HEAD : stop]
            position = stop
        else:
            if end < _BLOCK and any(block[position:]):
                damage.records += 1
                damage.bytes += end - position
        position = 0

"""TFRecord files: records of bytes, each with its length and checksums. Nothing here knows what is in them.

    length: 8 bytes   its crc: 4 bytes   data   their crc: 4 bytes

Files may have been cut off anywhere. A record that was damaged costs itself; a length that was, all behind it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from flor_ray.importing.found_runs import LARGEST_RECORD

_HEAD, _TAIL = 12, 4
_WINDOW = 1 << 18  # bytes that are read at once
_PIECE = 1024  # bytes whose checksum is computed one by one, for all pieces of a window side by side
_head = struct.Struct("<Q")

Words = npt.NDArray[np.uint32]


@dataclass(slots=True)
class Damage:
    """What could not be read of a file."""

    records: int = 0  # whose checksums do not fit
    large: int = 0  # larger than is read
    unread: int = 0  # bytes at the end


def records(file: BinaryIO, size: int, damage: Damage) -> Iterator[bytes]:
    """The records of a file with `size` bytes; what is wrong with it is counted in `damage`."""
    start = 0
    while start < size:
        file.seek(start)
        window = file.read(_WINDOW)
        spans = list(_spans(window))
        if not spans:
            length = _length_of(window)
            if length is None or start + _HEAD + length + _TAIL > size:
                damage.unread = size - start
                return
            if length > LARGEST_RECORD:
                damage.large += 1
                start += _HEAD + length + _TAIL
                continue
            window += file.read(_HEAD + length + _TAIL - len(window))
            spans = list(_spans(window))
            if not spans:
                damage.unread = size - start
                return
        whole = _checksums(window, spans).astype("<u4").tobytes()
        expected = [whole[at : at + _TAIL] for at in range(0, len(whole), _TAIL)]
        for (begin, end), crc in zip(spans, expected, strict=True):
            if window[end : end + _TAIL] == crc:
                yield window[begin:end]
            else:
                damage.records += 1
        start += spans[-1][1] + _TAIL


def _spans(window: bytes) -> Iterator[tuple[int, int]]:
    """Where the data of whole records are, up to the first whose length is damaged."""
    position, last = 0, len(window)
    while True:
        head = window[position : position + _HEAD]
        length = _lengths.get(head)
        if length is None:
            length = _length_of(head)
            if length is None:
                return
        begin = position + _HEAD
        end = begin + length
        position = end + _TAIL
        if position > last:
            return
        yield begin, end


def _length_of(head: bytes) -> int | None:
    """What a record's head says, if it is whole."""
    if len(head) < _HEAD:
        return None
    if int(_checksums(head, [(0, 8)])[0]) != int.from_bytes(head[8:_HEAD], "little"):
        return None
    length = int(_head.unpack_from(head)[0])
    if len(_lengths) < _KNOWN_LENGTHS:
        _lengths[head[:_HEAD]] = length
    return length


_lengths: dict[bytes, int] = {}  # most records of a file are as long as others
_KNOWN_LENGTHS = 10_000


# --- crc32c ---------------------------------------------------------------------------------------------------------


def _table() -> Words:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> np.uint32(1)) ^ (np.uint32(0x82F63B78) * (values & np.uint32(1)))
    return values


_TABLE = _table()


def _after_zeros(words: Words, count: int) -> Words:
    """Registers after so many more bytes of zeros."""
    for _ in range(count):
        words = _TABLE[words & np.uint32(255)] ^ (words >> np.uint32(8))
    return words


# What a piece's length of zeros makes of each byte of a register. It is linear: the four go together by xor.
_PIECE_OF_ZEROS = [_after_zeros(np.arange(256, dtype=np.uint32) << np.uint32(8 * n), _PIECE).tolist() for n in range(4)]


def _checksums(data: bytes, spans: list[tuple[int, int]]) -> Words:
    """The masked crc32c of each span."""
    pieces = [_pieces(begin, end) for begin, end in spans]
    flat = [piece for of_span in pieces for piece in of_span]
    first = np.zeros(len(flat), bool)
    first[np.cumsum([0, *map(len, pieces)])[:-1]] = True
    crcs = _side_by_side(np.frombuffer(data, np.uint8), flat, first)
    if len(flat) > len(spans):
        crcs = np.array(_joined(crcs.tolist(), [len(of_span) for of_span in pieces]), np.uint32)
    crcs = ~crcs
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xA282EAD8)


def _pieces(begin: int, end: int) -> list[tuple[int, int]]:
    """A span in pieces, all but the first of which have the full length."""
    short = begin + ((end - begin) % _PIECE if end - begin > _PIECE else end - begin)
    return [(begin, short), *((at, at + _PIECE) for at in range(short, end, _PIECE))]


def _side_by_side(data: npt.NDArray[np.uint8], pieces: list[tuple[int, int]], first: npt.NDArray[np.bool_]) -> Words:
    """The register after each piece; the `first` of a span begins with ones, others with zeros."""
    begin, end = np.array(pieces, np.int64).T
    order = np.argsort(begin - end, kind="stable")
    lengths, begin = (end - begin)[order], begin[order]
    found = np.where(first[order], np.uint32(0xFFFFFFFF), np.uint32(0))
    active = len(order) - np.searchsorted(lengths[::-1], np.arange(lengths.max(initial=0)), side="right")
    for offset, count in enumerate(active.tolist()):
        register = found[:count]
        index = (register ^ data[begin[:count] + offset]) & np.uint32(255)
        found[:count] = _TABLE[index] ^ (register >> np.uint32(8))
    back = np.empty_like(found)
    back[order] = found
    return back


def _joined(crcs: list[int], counts: list[int]) -> list[int]:
    found = []
    at = 0
    low, second, third, high = _PIECE_OF_ZEROS
    for count in counts:
        crc = crcs[at]
        for piece in crcs[at + 1 : at + count]:
            crc = low[crc & 255] ^ second[crc >> 8 & 255] ^ third[crc >> 16 & 255] ^ high[crc >> 24] ^ piece
        found.append(crc)
        at += count
    return found

"""The encoding of protocol buffers, as far as it needs no schema: fields by number, with what their bytes say.

wire type   0 varint: int   1 eight bytes: bytes   2 length-delimited: bytes   5 four bytes: bytes
"""

from __future__ import annotations

import struct

Field = tuple[int, int, "int | bytes"]  # number, wire type, value

VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
_SHORT = 0x80  # a varint below it is one byte
_MOST_FIELDS = 1 << 20  # of one message: a few bytes must not become much memory

_double, _float = struct.Struct("<d"), struct.Struct("<f")


def fields(data: bytes) -> list[Field]:
    """The fields of a message, in their order. Raises ValueError if these bytes are none."""
    found: list[Field] = []
    position, end = 0, len(data)
    try:
        while position < end:
            key = data[position]
            position += 1
            if key >= _SHORT:
                key, position = _varint(data, position - 1)
            wire = key & 7
            if wire == LENGTH:
                length = data[position]
                position += 1
                if length >= _SHORT:
                    length, position = _varint(data, position - 1)
                stop = position + length
                value: int | bytes = data[position:stop]
            elif wire == VARINT:
                number = data[position]
                stop = position + 1
                if number >= _SHORT:
                    number, stop = _varint(data, position)
                value = number
            elif wire in (EIGHT, FOUR):
                stop = position + (8 if wire == EIGHT else 4)
                value = data[position:stop]
            else:
                raise ValueError(f"no field has the wire type {wire}")
            if stop > end or key < 8:
                raise ValueError("a field reaches over its message's end, or has no number")
            position = stop
            found.append((key >> 3, wire, value))
            if len(found) > _MOST_FIELDS:
                raise ValueError("a message has more fields than are read")
    except IndexError:
        raise ValueError("a message ends within a field") from None
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _SHORT:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than ten bytes")


def signed(value: int) -> int:
    """What an int64 or int32 stands for that was read as a varint."""
    return value - (1 << 64) if value >> 63 else value


def zigzag(value: int) -> int:
    """What a sint64 stands for that was read as a varint."""
    return (value >> 1) ^ -(value & 1)


def double(data: bytes) -> float:
    """A number of eight bytes. Raises ValueError if there are not so many."""
    return _unpacked(_double, data)


def single(data: bytes) -> float:
    """A number of four bytes. Raises ValueError if there are not so many."""
    return _unpacked(_float, data)


def _unpacked(kind: struct.Struct, data: bytes) -> float:
    try:
        value: float = kind.unpack(data)[0]
    except struct.error as error:
        raise ValueError(str(error)) from None
    return value


def text(data: bytes) -> str:
    """A string field. Raises ValueError if it is no UTF-8."""
    return data.decode("utf-8")


def only(found: list[Field], number: int, wire: int) -> bytes | int | None:
    """The value of a field that a message has once at most: the last one, if it has it more often."""
    return next((value for n, w, value in reversed(found) if n == number and w == wire), None)

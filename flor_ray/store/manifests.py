"""The object that stands for a checkpoint in S: a pickle, and where the bytes of its tensors are.

    flor2 <bytes of head> <bytes of head, decompressed>\n
    head     zstd of: JSON {"keys", "parts", "buffers"} \n pickle
    pack     the bytes of small parts that no object in S had yet, one after another

A part lies whole in an object of its own (large ones), or is a range of a pack: of this manifest's, or of an earlier
one's that held the same bytes. So a checkpoint of a small model is one object, and what did not change costs nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from flor_ray.errors import StoreError
from flor_ray.store import checks, codecs, typed_json

_MAGIC = b"flor2 "
_HEAD_CODEC = "zstd1"


@dataclass(frozen=True, slots=True)
class Part:
    """Where bytes of a checkpoint are kept."""

    key: str  # object in S; "" = the pack of this manifest
    offset: int  # in that object
    length: int  # bytes as they are kept
    codec: str  # how (flor_ray.store.codecs)
    size: int  # bytes as they were

    def placed(self, key: str, start: int) -> Part:
        """This part as others may refer to it: where it is in the pack of its manifest, it gets the manifest's `key`,
        and an offset in the whole object, whose pack begins at byte `start`."""
        return self if self.key else replace(self, key=key, offset=start + self.offset)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint consists of: a pickle, and where the bytes are that it refers to."""

    skeleton: bytes  # the pickle
    parts: tuple[Part, ...]
    buffers: tuple[int, ...]  # parts that the pickle takes as out-of-band buffers, in order


def to_bytes(manifest: Manifest, pack: bytes | bytearray) -> tuple[bytes, int]:
    """The object's bytes, and where in them the pack begins. Offsets of parts in it are counted from its beginning."""
    keys = sorted({part.key for part in manifest.parts})
    index = {key: position for position, key in enumerate(keys)}
    rows = [[index[p.key], p.offset, p.length, p.codec, p.size] for p in manifest.parts]
    header = json.dumps({"keys": keys, "parts": rows, "buffers": manifest.buffers}, separators=(",", ":")).encode()
    plain = header + b"\n" + manifest.skeleton
    head = codecs.encode(plain, _HEAD_CODEC)
    lead = _MAGIC + f"{len(head)} {len(plain)}\n".encode()
    return b"".join((lead, head, pack)), len(lead) + len(head)


def from_bytes(data: bytes, key: str) -> Manifest:
    """A manifest whose parts all name their objects: those in its own pack get `key`, the manifest's own.

    Raises:
        StoreError: that is no manifest.
    """
    content, skeleton, start = _head(data, key)
    keys, buffers = content.keys, content.buffers
    parts = []
    for index, offset, length, codec, size in content.parts:
        if not (0 <= index < len(keys) and offset >= 0 and length >= 0 and size >= 0):
            raise _no_manifest(key, f"a part of {length} bytes at {offset} of object {index}")
        parts.append(Part(keys[index], offset, length, codec, size))
    if not all(0 <= buffer < len(parts) for buffer in buffers):
        raise _no_manifest(key, f"it has {len(parts)} parts, and other ones are buffers")
    return Manifest(skeleton, tuple(part.placed(key, start) for part in parts), buffers)


@dataclass(frozen=True, slots=True)
class _Header:
    keys: tuple[str, ...]
    parts: tuple[tuple[int, int, int, str, int], ...]  # index of the key, then as `Part` has them
    buffers: tuple[int, ...]


def _head(data: bytes, key: str) -> tuple[_Header, bytes, int]:
    """The header, the pickle, and where the pack begins."""
    try:
        lead, _, _ = data[:64].partition(b"\n")
        if not lead.startswith(_MAGIC):
            raise ValueError("it does not begin like one")
        length, size = (int(number) for number in lead.removeprefix(_MAGIC).split())
        start = len(lead) + 1 + length
        header, _, skeleton = bytes(codecs.decode(data[len(lead) + 1 : start], _HEAD_CODEC, size)).partition(b"\n")
        return typed_json.from_plain(checks.parsed(header), _Header), skeleton, start
    except (ValueError, StoreError) as error:
        raise _no_manifest(key, str(error)) from error


def _no_manifest(key: str, why: str) -> StoreError:
    return StoreError(
        f"Object {key[:12]} is not the manifest of a checkpoint ({why}). It may be one of an early flor_ray: "
        "record the version again."
    )


def references(data: bytes) -> frozenset[str]:
    """Keys of the other objects that the checkpoint with this manifest needs. Raises StoreError if it is none."""
    return frozenset(_head(data, "")[0].keys) - {""}

"""Files that runs read, kept in the store so that every machine can have them: `flor-ray data push`.

    data/<fingerprint>.json      the objects that the file is made of, in order

A file is found by the fingerprint that runs have recorded of it, whatever its name. Its objects are parts of equal
length, so that a file which others begin like shares their beginnings. gc keeps them for as long as the entry is there.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import blake3

from flor_ray.errors import StoreError
from flor_ray.store import checks, typed_json
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects

FOLDER = "data"
_HASH = re.compile(r"[0-9a-f]{64}")
_PART_BYTES = 16 << 20
_AT_ONCE = 8  # parts in memory


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store."""

    bytes: int
    parts: tuple[str, ...]  # keys of objects
    whole: str  # blake3 of all of it
    sure: bool = True  # it surely is the recorded file; else equal in size and where that was looked at


def entry_name(hash: str, bytes: int, sampled: bool) -> str | None:
    """What a file is found by: its recorded fingerprint; None if there is none, as of a file with secrets."""
    return f"{hash}-{bytes}{'-sampled' if sampled else ''}" if _HASH.fullmatch(hash) else None


def names(files: Files) -> frozenset[str]:
    """The fingerprints of all files that are kept."""
    return frozenset(path.removeprefix(f"{FOLDER}/").removesuffix(".json") for path in files.list(FOLDER))


def read(files: Files, name: str) -> StoredFile | None:
    """What is kept under a fingerprint; None: nothing.

    Raises:
        StoreError: it cannot be read, or makes no sense.
    """
    path = _path(name)
    try:
        found = typed_json.from_plain(checks.parsed(files.read(path)), StoredFile)
        if found.bytes < 0 or len(found.parts) != -(-found.bytes // _PART_BYTES):
            raise ValueError(f"{found.bytes} bytes are no {len(found.parts)} parts")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(
            f"{files.url}/{path} does not say what a data file is made of ({error}). Delete it, and push the file "
            "again."
        ) from error
    return found


def push(files: Files, objects: Objects, name: str, path: str, sure: bool = True, whole: str | None = None) -> int:
    """Keep the file at `path` under a fingerprint; how many bytes of it were not in the store yet.

    Raises:
        ValueError: all of it has not the blake3 `whole`: it is another file, or was changed meanwhile.
        OSError: it cannot be read.
        StoreError: the store cannot be written.
    """
    hasher, keys, new, size = blake3.blake3(), [], 0, 0
    with open(path, "rb") as file:
        for batch in _batches(file):
            for part in batch:
                hasher.update(part)
                size += len(part)
            for part, (key, is_new) in zip(batch, files.each(objects.store, batch), strict=True):
                keys.append(key)
                new += len(part) * is_new
    digest = hasher.hexdigest()
    if whole is not None and digest != whole:
        raise ValueError("it was changed meanwhile")
    entry = StoredFile(size, tuple(keys), digest, sure)
    files.write(_path(name), json.dumps(typed_json.to_plain(entry)).encode())
    return new


def pull(objects: Objects, stored: StoredFile, target: str) -> None:
    """Write a file that is kept to `target`, which appears when all of it is there.

    Raises:
        StoreError: a part of it is not in the store, or not what it was.
        OSError: it cannot be written.
    """
    partial, size = f"{target}.partial", 0
    with open(partial, "wb") as file:
        for keys in _groups(stored.parts):
            parts = objects.get_many(keys)
            for key in keys:
                size += file.write(parts[key])
    if size != stored.bytes:
        raise StoreError(f"A data file of {stored.bytes} bytes has {size} in the store's objects. Push it again.")
    os.replace(partial, target)


def references(files: Files) -> frozenset[str]:
    """Keys of all objects that data files are made of. Raises StoreError if one cannot be read."""
    found = files.each(lambda name: read(files, name), sorted(names(files)))
    return frozenset(key for stored in found if stored is not None for key in stored.parts)


def _batches(file: IO[bytes]) -> Iterator[list[bytes]]:
    parts = iter(lambda: file.read(_PART_BYTES), b"")
    while batch := list(itertools.islice(parts, _AT_ONCE)):
        yield batch


def _groups(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(keys), _AT_ONCE):
        yield keys[first : first + _AT_ONCE]


def _path(name: str) -> str:
    return f"{FOLDER}/{name}.json"

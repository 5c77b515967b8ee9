"""The content-addressed object store S [table S]: blobs under the hash of their bytes, on top of `files`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import blake3

from flor_ray.errors import ObjectCorrupt, ObjectMissing, StoreError
from flor_ray.store import cache
from flor_ray.store.files import Data, FileInfo, Files

_FOLDER = "objects"
_KEY_CHARACTERS = 64
_KEY = re.compile(rf"[0-9a-f]{{{_KEY_CHARACTERS}}}")

# Garbage collection leaves alone what is younger than this, referred to or not: a run stores objects first and what
# refers to them later. An object is never reused when it is older than half of it, so that whoever is told its key has
# the other half, 12 hours, to write the reference.
GRACE_SECONDS = 86_400.0
_REUSABLE_SECONDS = GRACE_SECONDS / 2


class Objects:
    """Blobs under their blake3 hash: equal bytes are kept once, and what is read is what was written.

    An object that `put` has named is safe from garbage collection for at least half of GRACE_SECONDS, even if it was
    written long ago. Reading from a remote store goes through `cache`.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._cache = cache.from_environment() if files.remote else None
        self.hits = 0  # reads that the cache has answered, in this process
        self._seen: dict[str, float] = {}  # key -> when it was written; single dict operations are atomic, so no lock

    def __reduce__(self) -> tuple[Any, ...]:
        return Objects, (self._files,)

    @property
    def cached(self) -> bool:
        """Whether what is read is kept on this machine."""
        return self._cache is not None

    def put(self, data: Data) -> str:
        """Store a blob, if it is not there yet, and return its key."""
        return self.store(data)[0]

    def store(self, data: Data, key: str | None = None) -> tuple[str, bool]:
        """Store a blob, and return its key and whether its bytes had to be written now.

        `data` may be any contiguous buffer, and must not change meanwhile; on local disks it is not copied. `key` is
        its blake3, from a caller that has computed it already.
        """
        if isinstance(data, memoryview):
            data = data.cast("B")
        key = key or key_of(data)
        now = time.time()
        if now - self._seen.get(key, 0.0) < _REUSABLE_SECONDS:
            return key, False
        path = _path(key)
        modified = self._files.modified(path)
        if modified is None:
            self._files.write(path, data)
        elif now - modified >= _REUSABLE_SECONDS:
            self._files.touch(path, data)
        self._seen[key] = modified if modified is not None and now - modified < _REUSABLE_SECONDS else now
        return key, modified is None

    def put_many(self, blobs: Iterable[Data]) -> list[str]:
        """Keys of several blobs, in order."""
        return list(self._files.each(self.put, blobs))

    def put_known(self, blobs: Mapping[str, Data]) -> None:
        """Store several blobs under their keys, which the caller has computed with `key_of`."""
        self._files.each(lambda item: self.store(item[1], item[0]), blobs.items())

    def get(self, key: str) -> bytes:
        """Raises ObjectMissing, or ObjectCorrupt where the bytes do not have the hash in their name."""
        if not _KEY.fullmatch(key):  # keys come out of files of the store: this one might lead out of it
            raise ObjectMissing(key[:_KEY_CHARACTERS], self._files.url)
        if self._cache is None:
            return self._fetch(key)
        data = self._cache.get(key)
        if data is not None:
            if key_of(data) == key:
                self.hits += 1  # may miss one where two threads count at once
                return data
            self._cache.drop(key)
        data = self._fetch(key)
        self._cache.put(key, data)
        return data

    def _fetch(self, key: str) -> bytes:
        try:
            data = self._files.read(_path(key))
        except FileNotFoundError:
            raise ObjectMissing(key, self._files.url) from None
        seen = key_of(data)
        if seen != key:
            raise ObjectCorrupt(key, seen)
        return data

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of several objects, by key; they are read side by side.

        Raises:
            ObjectMissing: one is not there.
            ObjectCorrupt: one is not what was put.
        """
        keys = list(dict.fromkeys(keys))
        return dict(zip(keys, self._files.each(self.get, keys), strict=True))

    def get_each(self, keys: Iterable[str]) -> dict[str, bytes | StoreError]:
        """As `get_many`; for an object that is not there, or is not what was put, the error that says so."""

        def one(key: str) -> bytes | StoreError:
            try:
                return self.get(key)
            except (ObjectMissing, ObjectCorrupt) as error:
                return error

        keys = list(dict.fromkeys(keys))
        return dict(zip(keys, self._files.each(one, keys), strict=True))

    def exists(self, key: str) -> bool:
        return self._files.exists(_path(key))

    def infos(self) -> dict[str, FileInfo]:
        """Sizes and ages of all objects, by key; one listing."""
        found = self._files.infos(_FOLDER)
        return {path.removeprefix(f"{_FOLDER}/").replace("/", ""): info for path, info in found.items()}

    def delete(self, key: str) -> None:
        """Delete an object. It need not be there."""
        self._seen.pop(key, None)
        self._files.delete(_path(key))


def key_of(data: Data) -> str:
    return blake3.blake3(data).hexdigest()


def _path(key: str) -> str:
    return f"{_FOLDER}/{key[:2]}/{key[2:]}"

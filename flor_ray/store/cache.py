"""Objects of remote stores that were read before, in a folder of this machine: bounded in bytes, oldest use goes first.

The folder is shared by all processes and stores, since an object's name is the hash of its bytes; whoever reads from it
checks that hash. Nothing is ever only here, so that everything may be deleted at any time. A disk that is full or may
not be written makes the cache useless, not wrong: objects then come from the store.

    FLOR_RAY_CACHE        the folder; ~/.cache/flor_ray/objects if not set
    FLOR_RAY_CACHE_BYTES  its limit: a number, or one such as 500M or 2G; 10G if not set, 0 for no cache

Answers of propagation are kept in the same way, in a folder of their own (`of_propagations`). Their names are not the
hashes of their bytes, so that who reads them checks them in its own way.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping

from flor_ray.store.local import LocalFiles
from flor_ray.wording import parse_bytes

FOLDER_VARIABLE = "FLOR_RAY_CACHE"
BYTES_VARIABLE = "FLOR_RAY_CACHE_BYTES"
VARIABLES = (FOLDER_VARIABLE, BYTES_VARIABLE)

_DEFAULT_BYTES = 10 << 30
_PROPAGATIONS_BYTES = 256 << 20  # some ten thousand answers of 5 to 20 KB
_FILL = 0.9  # what eviction leaves, so that it is not due again with the next object
_ABANDONED_SECONDS = 3600.0  # no write of one file takes that long
_UNSEEN = 0.05  # of the limit may be added between two looks at the folder, by each process


class ObjectCache:
    """Objects by key. Safe with any number of threads and processes; together they may exceed the limit for a moment,
    by a twentieth for each process."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        self._files = LocalFiles(folder)
        self._limit = limit_bytes
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._present: int | None = None  # bytes when this process last looked
        self._added = 0  # bytes since then, by this process

    def get(self, key: str) -> bytes | None:
        """An object's bytes, unchecked; None if they are not here."""
        with contextlib.suppress(OSError):
            data = self._files.read(_path(key))
            with contextlib.suppress(OSError):  # a folder that may only be read is still of use
                self._files.touch(_path(key), data)
            return data
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep an object, and drop those not used for longest if there are too many bytes. What cannot be kept is
        not."""
        if len(data) > self._limit * _FILL:
            return
        with contextlib.suppress(OSError):
            self._files.write(_path(key), data)
        if self._pid != os.getpid():  # another thread may have held the lock when this process was forked
            self._lock, self._pid = threading.Lock(), os.getpid()
        with contextlib.suppress(OSError), self._lock:
            self._added += len(data)
            total = None if self._present is None else self._present + self._added
            if total is None or total > self._limit or self._added > self._limit * _UNSEEN:
                self._present, self._added = self._evict(), 0

    def drop(self, key: str) -> None:
        """Forget an object, such as one that turned out to be damaged."""
        with contextlib.suppress(OSError):
            self._files.delete(_path(key))

    def _evict(self) -> int:
        """Delete what was not used for longest if there is too much; the bytes that are left."""
        self._files.sweep(time.time() - _ABANDONED_SECONDS)
        found = self._files.infos("")
        total = sum(info.bytes for info in found.values())
        if total > self._limit:
            for path, info in sorted(found.items(), key=lambda item: (item[1].modified, item[0])):
                if total <= self._limit * _FILL:
                    break
                self._files.delete(path)
                total -= info.bytes
        return total


def from_environment(variables: Mapping[str, str] = os.environ) -> ObjectCache | None:
    """The cache that the environment asks for; None if it wants none.

    Raises:
        UsageError: the limit is not a number of bytes.
    """
    limit = _limit_of(variables)
    folder = variables.get(FOLDER_VARIABLE) or default_folder(variables)
    return ObjectCache(os.path.abspath(os.path.expanduser(folder)), limit) if limit else None


def of_propagations(variables: Mapping[str, str] = os.environ) -> ObjectCache | None:
    """Where answers of propagation are kept: beside the objects' folder, or in the one that the environment names."""
    limit = min(_limit_of(variables), _PROPAGATIONS_BYTES)
    named = variables.get(FOLDER_VARIABLE)
    folder = os.path.join(named or os.path.dirname(default_folder(variables)), "propagations")
    return ObjectCache(os.path.abspath(os.path.expanduser(folder)), limit) if limit else None


def default_folder(variables: Mapping[str, str]) -> str:
    """Where the cache is unless the environment says otherwise; "~" stands for the user's home."""
    if sys.platform == "darwin":
        return "~/Library/Caches/flor_ray/objects"
    return os.path.join(variables.get("XDG_CACHE_HOME") or "~/.cache", "flor_ray", "objects")


def _limit_of(variables: Mapping[str, str]) -> int:
    text = variables.get(BYTES_VARIABLE) or str(_DEFAULT_BYTES)
    return parse_bytes(text, BYTES_VARIABLE, "; 0 switches the cache off")


def _path(key: str) -> str:
    return f"{key[:2]}/{key[2:]}"

"""Folders of the store to which small JSON files are only ever added: what users decide, and what replays leave behind.

    <folder>/<subject>/<name>.json      written once, whole, and never changed

Any number of writers may add at once, and none loses another's. `add` names a file by the microsecond, later than every
name that its writer has seen, whatever the clocks of other machines say; so names tell the order. `put` gives a name of
the caller's, which has one winner. What files mean, and which of them holds, is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flor_ray.errors import Damaged, FlorWarning
from flor_ray.store import checks
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted

T = TypeVar("T")

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Decisions(Generic[T]):
    """What is kept in one folder of every store, and how it is written."""

    folder: str
    noun: str  # what a file holds: "a pinned place"
    advice: str  # to whoever meets a file that does not: a sentence
    to_plain: Callable[[T], object]  # for JSON
    from_plain: Callable[[Any, str], T]  # of what JSON held, and the name; raises ValueError and the like
    indent: int | None = 1  # None: in as few bytes as can be

    def add(self, files: Files, subject: str, made: Callable[[float], T]) -> T:
        """Add what `made` makes of the moment (unix seconds) that the file is named by.

        Raises:
            StoreError: the store cannot be read or written.
        """
        newest = max(map(_microseconds, self.names(files, subject)), default=0)
        while True:
            moment = max(int(time.time() * 1e6), newest + 1)
            value = made(moment / 1e6)
            if self.put(files, subject, f"{moment:017d}-{secrets.token_hex(4)}", value):
                return value

    def put(self, files: Files, subject: str, name: str, value: T) -> bool:
        """Add under this name, unless there is such a file: what was written first stands. Whether it was this.

        Raises:
            StoreError: the store cannot be written.
        """
        separators = (",", ":") if self.indent is None else None
        text = json.dumps(self.to_plain(value), indent=self.indent, separators=separators)
        return files.create(self._path(subject, name), text.encode())

    def names(self, files: Files, subject: str) -> tuple[str, ...]:
        """Names of what there is on a subject, in their order."""
        return _names(files.list(f"{self.folder}/{quote(subject)}"))

    def subjects(self, files: Files) -> dict[str, tuple[str, ...]]:
        """The names on each subject, from one listing."""
        found: dict[str, list[str]] = {}
        for path in files.list(self.folder):
            found.setdefault(path.removeprefix(f"{self.folder}/").partition("/")[0], []).append(path)
        return {unquoted(subject): _names(paths) for subject, paths in found.items()}

    def read(self, files: Files, subject: str, name: str) -> T:
        """
        Raises:
            FileNotFoundError: there is no such file.
            StoreError: the store cannot be read.
            Damaged: the file does not hold what it should.
        """
        path = self._path(subject, name)
        return self._parsed(name, files.read(path), f"{files.url}/{path}")

    def all(self, files: Files, subject: str) -> tuple[T, ...]:
        """All on a subject, in the order of their names. Raises as `read` does."""
        paths = {self._path(subject, name): name for name in self.names(files, subject)}
        read = files.read_many(paths)
        return tuple(self._parsed(name, read[path], f"{files.url}/{path}") for path, name in paths.items())

    def newest_first(self, files: Files, subject: str, names: Sequence[str]) -> Iterator[T]:
        """What `names` name, from the last one on, each read when its turn comes.

        Raises:
            StoreError: the store cannot be read.

        Warns:
            FlorWarning: a file does not hold what it should, and is left out.
        """
        for name in reversed(names):
            try:
                yield self.read(files, subject, name)
            except Damaged as error:
                warnings.warn(f"{error} It is left out.", FlorWarning, stacklevel=2)

    def _path(self, subject: str, name: str) -> str:
        return f"{self.folder}/{quote(subject)}/{quote(name)}{_SUFFIX}"

    def _parsed(self, name: str, data: bytes, where: str) -> T:
        try:
            return self.from_plain(checks.parsed(data), name)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise Damaged(f"{where} is not {self.noun} ({type(error).__name__}: {error}). {self.advice}") from error


def _names(paths: Sequence[str]) -> tuple[str, ...]:
    names = (path.rpartition("/")[2] for path in paths if path.endswith(_SUFFIX))
    return tuple(sorted(unquoted(name.removesuffix(_SUFFIX)) for name in names))


def _microseconds(name: str) -> int:
    with contextlib.suppress(ValueError):
        return int(name.partition("-")[0])
    return 0

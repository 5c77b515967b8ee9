"""Propagations that were computed before: in this process, and in a folder of this machine that all commands share.

Whatever may change an answer is in its key: both texts, the lines, the pins, the code of `flor_ray.propagation`, its
parser and the interpreter. Nothing is only here, so that everything may be deleted at any time; an entry that does not
hold what was written is computed again.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import sys
import zlib
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Protocol

import blake3

from flor_ray import propagation, records
from flor_ray.records import Pin, Propagation
from flor_ray.store import typed_json
from flor_ray.store.cache import ObjectCache

_MAX_REMEMBERED = 4096  # answers of a process, of some 20 KB each
_DIGEST_BYTES = 32


class Compute(Protocol):
    """`flor_ray.propagation.propagate`."""

    def __call__(self, newer: str, older: str, lines: Sequence[int], *, pins: Mapping[int, Pin]) -> Propagation: ...


_remembered: OrderedDict[str, Propagation] = OrderedDict()


class Propagations:
    """`propagate`, whose answers are kept. `computed` counts those that were not known."""

    def __init__(
        self,
        kept: ObjectCache | None = None,
        compute: Compute = propagation.propagate,
        remembered: MutableMapping[str, Propagation] = _remembered,
    ) -> None:
        self.computed = 0
        self._kept, self._compute, self._remembered = kept, compute, remembered

    def __call__(self, newer: str, older: str, lines: Sequence[int], pins: Mapping[int, Pin]) -> Propagation:
        key = _key(newer, older, lines, pins)
        found = self._remembered.get(key) or self._read(key)
        if found is None:
            self.computed += 1
            found = self._compute(newer, older, lines, pins=pins)
            if self._kept is not None:
                self._kept.put(key, to_bytes(found))
        while len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[key] = found
        return found

    def _read(self, key: str) -> Propagation | None:
        data = self._kept.get(key) if self._kept is not None else None
        return None if data is None else from_bytes(data)


def to_bytes(answer: Propagation) -> bytes:
    """An answer, compressed, behind the digest of that."""
    body = zlib.compress(json.dumps(typed_json.to_plain(answer)).encode(), 1)
    return blake3.blake3(body).digest() + body


def from_bytes(data: bytes) -> Propagation | None:
    """The answer that was written; None where these are not the bytes of one."""
    body = data[_DIGEST_BYTES:]
    if blake3.blake3(body).digest() != data[:_DIGEST_BYTES]:
        return None
    with contextlib.suppress(ValueError, zlib.error):
        return typed_json.from_plain(json.loads(zlib.decompress(body)), Propagation)
    return None


def _key(newer: str, older: str, lines: Sequence[int], pins: Mapping[int, Pin]) -> str:
    digest = blake3.blake3(engine().encode())
    asked = [list(lines), [[line, pin.after, pin.indent] for line, pin in sorted(pins.items())]]
    for part in (json.dumps(asked), newer, older):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@functools.cache
def engine() -> str:
    """What computes the answers: a digest of its code and of what that relies on."""
    digest = blake3.blake3(f"{sys.implementation.cache_tag} {sys.version_info[:3]}".encode())
    for name in ("tree-sitter", "tree-sitter-python"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    digest.update(code(Path(propagation.__file__).parent, Path(records.__file__)))
    return digest.hexdigest()


def code(package: Path, *modules: Path) -> bytes:
    """A digest of a package's sources, those of the packages in it too, and of further modules."""
    digest = blake3.blake3()
    paths = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    for name, path in [*sorted(paths.items()), *((module.name, module) for module in modules)]:
        data = path.read_bytes()
        digest.update(f"{name} {len(data)} ".encode() + data)
    return digest.digest()

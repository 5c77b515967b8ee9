"""What a file system has to offer to hold a store: the contract of `local_files` and `remote_files`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview  # a memoryview must be contiguous
Paths: TypeAlias = list[str]  # `list` means a method in classes that have one


@dataclass(frozen=True, slots=True)
class FileInfo:
    bytes: int
    modified: float  # unix seconds of the last write, by the clock of whoever keeps the file


class Backend(Protocol):
    """Files by relative path. Errors are those of the operating system or of the client library."""

    create_only: bool | None  # whether `create` has one winner whatever the timing; None: not known yet

    def write(self, path: str, data: Data) -> None: ...

    def create(self, path: str, data: Data) -> bool: ...

    def probe_create(self) -> bool: ...

    def read(self, path: str) -> bytes: ...

    def list(self, prefix: str) -> Paths: ...

    def infos(self, prefix: str) -> dict[str, FileInfo]: ...

    def modified(self, path: str) -> float | None: ...

    def touch(self, path: str, data: Data) -> None: ...

    def delete(self, path: str) -> None: ...

    def sweep(self, before: float) -> int: ...

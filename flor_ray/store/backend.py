"""What a file system has to offer to hold a store: the contract of `local` and `remote`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview  # a memoryview must be contiguous
Paths: TypeAlias = list[str]  # `list` means a method in classes that have one


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a file system says of one file without reading it."""

    bytes: int
    modified: float  # unix seconds of the last write, by the clock of whoever keeps the file


class Backend(Protocol):
    """Files by relative path. Errors are those of the operating system or of the client library."""

    create_only: bool | None  # whether `create` has one winner whatever the timing; None: not known yet

    def write(self, path: str, data: Data) -> None:
        """Write a file, replacing what was there; readers see the old one or the new one, never a part."""

    def create(self, path: str, data: Data) -> bool:
        """Write a file unless there is one; whether this call did. See `create_only` for calls that overlap."""

    def probe_create(self) -> bool:
        """Find out whether `create` has one winner whatever the timing, and remember it as `create_only`."""

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError where there is none."""

    def read_end(self, path: str, most: int) -> bytes:
        """The last `most` bytes of a file, or all that it has. Raises FileNotFoundError where there is none."""

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of a file from byte `start` on; fewer where it ends. Raises FileNotFoundError."""

    def fetch(self, path: str, target: str) -> None:
        """Copy a file to a path of this machine, without having all of it in memory. Raises FileNotFoundError."""

    def list(self, prefix: str) -> Paths:
        """Paths of the files in a folder and below it, sorted; [] where there is no such folder. "" is everything."""

    def folders(self, prefix: str) -> Paths:
        """Names of the folders right in a folder that hold files, sorted."""

    def prune(self, prefix: str) -> None:
        """Remove the empty folders in a folder, where a file system has such. Writers may be at work in them."""

    def infos(self, prefix: str) -> dict[str, FileInfo]:
        """What is known of each file that `list` would name."""

    def modified(self, path: str) -> float | None:
        """When a file was last written or touched, in unix seconds; None where there is none."""

    def touch(self, path: str, data: Data) -> None:
        """Set the time of the last write to now. Where the file is gone, it is written again with `data`."""

    def delete(self, path: str) -> None:
        """Delete a file. It need not be there."""

    def sweep(self, before: float) -> int:
        """Delete what writers that were killed before `before` (unix seconds) have left behind; how many things."""

"""A file of the store of which only parts are read, as libraries read files: one request for each part, none twice."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable


class SpannedFile(io.RawIOBase):
    """A file of `size` bytes, read with `fetch` (start, length); parts that are `put` into it are not fetched."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size = size
        self._fetch = fetch
        self._position = 0
        self._spans: list[tuple[int, bytes]] = []  # by where they start

    def put(self, start: int, data: bytes) -> None:
        """These bytes are in the file from `start` on."""
        self._spans.append((start, data))
        self._spans.sort(key=lambda span: span[0])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, and say which it is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def size(self) -> int:
        """Bytes of the whole file."""
        return self._size

    def read(self, length: int | None = -1) -> bytes:
        """Raises FileNotFoundError where the file is gone."""
        rest = max(0, self._size - self._position)
        length = rest if length is None or length < 0 else min(length, rest)
        found = self._known(self._position, length)
        if found is None:
            found = self._fetch(self._position, length)
        self._position += len(found)
        return found

    def _known(self, start: int, length: int) -> bytes | None:
        index = bisect_right(self._spans, start, key=lambda span: span[0]) - 1
        if index < 0:
            return None
        begins, data = self._spans[index]
        if start + length > begins + len(data):
            return None
        return data[start - begins : start - begins + length]

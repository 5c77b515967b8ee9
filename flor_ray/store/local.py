"""Files in a folder of this machine, or of a network file system that is mounted here.

Files are written beside their place under a temporary name and renamed. A power failure may lose the newest ones: they
are renamed into place, but not synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator

from flor_ray.store.backend import Data, FileInfo, Paths

_TEMPORARY = ".tmp-"
_IGNORE_FILE = ".gitignore"
_PRUNED_TRIES = 10  # to write into a folder that others remove while it is empty
_STABLE_LISTINGS = 10  # tries for two equal listings; writers add a file a second, a listing takes ms


class LocalFiles:
    """The `Backend` of a folder, which is made by the first write."""

    create_only: bool | None = True  # a hard link is made once, or not at all

    def __init__(self, root: str) -> None:
        self._root = root
        self._prepared = False

    def write(self, path: str, data: Data) -> None:
        target = self._target(path)
        with self._temporary(target, data) as temporary:
            os.replace(temporary, target)

    def create(self, path: str, data: Data) -> bool:
        target = self._target(path)
        with self._temporary(target, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                return _create_without_links(target, data)
        return True

    def probe_create(self) -> bool:
        return True

    def read(self, path: str) -> bytes:
        with open(os.path.join(self._root, path), "rb", opener=_regular) as file:
            return file.read()

    def read_end(self, path: str, most: int) -> bytes:
        with open(os.path.join(self._root, path), "rb", opener=_regular) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with open(os.path.join(self._root, path), "rb", buffering=0, opener=_regular) as file:
            file.seek(start)
            parts = []
            while length > 0 and (part := file.read(length)):  # Linux gives at most 2 GiB a call
                parts.append(part)
                length -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def fetch(self, path: str, target: str) -> None:
        shutil.copyfile(os.path.join(self._root, path), target)

    def list(self, prefix: str) -> Paths:
        return sorted(self._stable_scan(prefix))

    def folders(self, prefix: str) -> Paths:
        folder = prefix.strip("/")
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self._root, folder)) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            return sorted(name for name in names if self._holds_files(f"{folder}/{name}" if folder else name))
        return []

    def _holds_files(self, folder: str) -> bool:
        inner = []
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self._root, folder)) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    inner.append(f"{folder}/{entry.name}")
                elif _is_file(entry) and not entry.name.startswith(_TEMPORARY):
                    return True
        return any(map(self._holds_files, inner))

    def prune(self, prefix: str) -> None:
        root = os.path.join(self._root, prefix.strip("/"))
        with contextlib.suppress(FileNotFoundError), os.scandir(root) as entries:
            for folder in [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]:
                with contextlib.suppress(OSError):  # it holds something, or somebody else was quicker
                    os.rmdir(folder)

    def infos(self, prefix: str) -> dict[str, FileInfo]:
        found = {}
        for path, entry in sorted(self._stable_scan(prefix).items()):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found[path] = FileInfo(status.st_size, status.st_mtime)
        return found

    def modified(self, path: str) -> float | None:
        try:  # os.path.isfile would take a refusal for an absence
            status = os.stat(os.path.join(self._root, path))
        except FileNotFoundError:
            return None
        return status.st_mtime if stat.S_ISREG(status.st_mode) else None

    def touch(self, path: str, data: Data) -> None:
        try:
            os.utime(os.path.join(self._root, path))
        except (FileNotFoundError, PermissionError):  # deleted meanwhile; or a colleague's, whose times are not ours
            self.write(path, data)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._root, path))

    def sweep(self, before: float) -> int:
        swept = 0
        for path, entry in self._scan("", temporary=True).items():
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(os.path.join(self._root, path))
                    swept += 1
        return swept

    def _stable_scan(self, prefix: str) -> dict[str, os.DirEntry[str]]:
        # Directory scans are no snapshot: a merge that runs meanwhile could hide rows from one scan (its result is
        # created behind the scan's position, its inputs are deleted before it). Two equal scans rule that out.
        found = self._scan(prefix)
        for _ in range(_STABLE_LISTINGS):
            again = self._scan(prefix)
            stable = again.keys() == found.keys()
            found = again
            if stable:
                break
        return found

    def _scan(self, prefix: str, temporary: bool = False) -> dict[str, os.DirEntry[str]]:
        """Files below a folder by path; with `temporary` what is not a file yet instead."""
        found: dict[str, os.DirEntry[str]] = {}
        pending = [prefix.strip("/")]
        while pending:
            folder = pending.pop()
            with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif not _is_file(entry):
                        continue
                    elif entry.name.startswith(_TEMPORARY) == temporary and path != _IGNORE_FILE:
                        found[path] = entry
        return found

    def _target(self, path: str) -> str:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        target = os.path.join(self._root, path)
        _make_folder(os.path.dirname(target))
        return target

    def _prepare(self) -> None:
        """Hide a new store from git. A folder that holds anything already is the user's, and stays as it is."""
        os.makedirs(self._root, exist_ok=True)
        if not os.listdir(self._root):
            with open(os.path.join(self._root, _IGNORE_FILE), "w", encoding="ascii") as file:
                file.write("*\n")

    @contextlib.contextmanager
    def _temporary(self, target: str, data: Data) -> Iterator[str]:
        # not tempfile: its mode is 0600, which would lock colleagues out of a shared store
        name = f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}-{os.urandom(4).hex()}"
        path = os.path.join(os.path.dirname(target), name)
        try:
            _write_into_folder(path, data)
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _write_into_folder(path: str, data: Data) -> None:
    """Write a new file into a folder that was there a moment ago; `prune` may have taken it for one that is left."""
    for _ in range(_PRUNED_TRIES):
        try:
            write_new(path, data)
        except FileNotFoundError:
            _make_folder(os.path.dirname(path))
        else:
            return
    write_new(path, data)


def _make_folder(path: str) -> None:
    """Make a folder, and those above it. `prune` may take away the same ones meanwhile: then what was there is not."""
    for _ in range(_PRUNED_TRIES):
        try:
            os.makedirs(path, exist_ok=True)
            return
        except (FileExistsError, FileNotFoundError):
            if os.path.lexists(path) and not os.path.isdir(path):
                break
    os.makedirs(path, exist_ok=True)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a file, or leads to one: no device and no pipe."""
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file(follow_symlinks=False)


def _regular(path: str, flags: int) -> int:
    """Open a file for reading. A device or a pipe, which might be read for ever, is none."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # a folder is refused by who opens it
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def write_new(path: str, data: Data) -> None:
    """Write a file that must not be there yet, straight from the caller's memory.

    Raises:
        FileExistsError: it is there already.
    """
    with open(path, "xb", buffering=0) as file, memoryview(data) as view, view.cast("B") as rest:
        written = 0
        while written < len(rest):  # Linux takes at most 2 GiB a call
            written += file.write(rest[written:])


def _create_without_links(target: str, data: Data) -> bool:
    """For file systems without hard links: one winner, but a reader may see it half written for a moment."""
    try:
        write_new(target, data)
    except FileExistsError:
        return False
    return True

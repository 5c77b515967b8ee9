"""The fsspec door: files below one URL, and the content-addressed object store S [table S] on top of them.

Promises, on local disks, `memory://` and S3-like stores alike:
- a file becomes visible whole or not at all, and a failed or killed write leaves nothing that a listing shows;
- `create` has one winner among any number of processes. Servers that ignore If-None-Match keep that promise only while
  the calls do not overlap;
- a listing and a read see what was written before they began;
- any number of threads and processes may use one store.
A power failure may lose the newest local files: they are renamed into place, but not synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import blake3

from flor_ray.errors import FlorError, ObjectCorrupt, ObjectMissing, StoreError

T = TypeVar("T")
Paths = list[str]  # the name `list` means a method in the classes below

_TEMPORARY = ".tmp-"
_IGNORE_FILE = ".gitignore"
_REMOTE_THREADS = 16  # requests in flight: enough to hide 20 ms round trips, few enough for a small MinIO
_STABLE_LISTINGS = 10  # tries for two equal local listings; writers add a file a second, a listing takes ms


class _Backend(Protocol):
    """What `Files` needs; paths are relative, errors are those of the operating system or of the client library."""

    def write(self, path: str, data: bytes) -> None: ...

    def create(self, path: str, data: bytes) -> bool: ...

    def read(self, path: str) -> bytes: ...

    def list(self, prefix: str) -> Paths: ...

    def exists(self, path: str) -> bool: ...

    def delete(self, path: str) -> None: ...


class _Local:
    """A folder. Files are written beside their place under a temporary name and renamed."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._prepared = False

    def write(self, path: str, data: bytes) -> None:
        target = self._target(path)
        with self._temporary(target, data) as temporary:
            os.replace(temporary, target)

    def create(self, path: str, data: bytes) -> bool:
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

    def read(self, path: str) -> bytes:
        with open(os.path.join(self._root, path), "rb") as file:
            return file.read()

    def list(self, prefix: str) -> Paths:
        # Directory scans are no snapshot: a merge that runs meanwhile could hide rows from one scan (its result is
        # created behind the scan's position, its inputs are deleted before it). Two equal scans rule that out.
        found = self._scan(prefix)
        for _ in range(_STABLE_LISTINGS):
            again = self._scan(prefix)
            if again == found:
                break
            found = again
        return found

    def exists(self, path: str) -> bool:
        try:  # os.path.isfile would take a refusal for an absence
            return stat.S_ISREG(os.stat(os.path.join(self._root, path)).st_mode)
        except FileNotFoundError:
            return False

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._root, path))

    def _scan(self, prefix: str) -> Paths:
        found: Paths = []
        pending = [prefix.strip("/")]
        while pending:
            folder = pending.pop()
            with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    elif not entry.name.startswith(_TEMPORARY) and path != _IGNORE_FILE:
                        found.append(path)
        return sorted(found)

    def _target(self, path: str) -> str:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        target = os.path.join(self._root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return target

    def _prepare(self) -> None:
        """Hide a new store from git. A folder that holds anything already is the user's, and stays as it is."""
        os.makedirs(self._root, exist_ok=True)
        if not os.listdir(self._root):
            with open(os.path.join(self._root, _IGNORE_FILE), "w", encoding="ascii") as file:
                file.write("*\n")

    @contextlib.contextmanager
    def _temporary(self, target: str, data: bytes) -> Iterator[str]:
        # not tempfile: its mode is 0600, which would lock colleagues out of a shared store
        name = f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}-{os.urandom(4).hex()}"
        path = os.path.join(os.path.dirname(target), name)
        try:
            with open(path, "xb") as file:
                file.write(data)
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _create_without_links(target: str, data: bytes) -> bool:
    """For file systems without hard links: one winner, but a reader may see it half written for a moment."""
    try:
        with open(target, "xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


class _Remote:
    """Any other fsspec file system. Its clients must not cross a fork, so they are made again in a child process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connect()

    def _connect(self) -> None:
        import fsspec.core  # local stores never need it

        self._pid = os.getpid()
        self._system, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        self._root = str(root).rstrip("/") + "/"

    @property
    def _fs(self) -> Any:
        if self._pid != os.getpid():
            self._connect()
        return self._system

    def write(self, path: str, data: bytes) -> None:
        self._fs.pipe_file(self._root + path, data)

    def create(self, path: str, data: bytes) -> bool:
        with _CREATING:  # memory:// checks and writes in two steps
            if self.exists(path):
                return False
            try:
                self._fs.pipe_file(self._root + path, data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno == errno.ENOSYS:  # the server knows no If-None-Match
                    self._fs.pipe_file(self._root + path, data)
                elif error.errno in (errno.EINVAL, errno.EBUSY) and self.exists(path):
                    return False
                else:
                    raise
            return True

    def read(self, path: str) -> bytes:
        return bytes(self._fs.cat_file(self._root + path))

    def list(self, prefix: str) -> Paths:
        folder = self._root + (prefix.strip("/") + "/" if prefix.strip("/") else "")
        try:
            found = self._fs.find(folder.rstrip("/"))
        except FileNotFoundError as error:
            if _is_bucket_missing(error):
                raise
            return []
        return sorted(path.removeprefix(self._root) for path in map(str, found) if path.startswith(folder))

    def exists(self, path: str) -> bool:
        try:  # isfile would take an unreachable server for an absence
            return bool(self._fs.info(self._root + path)["type"] == "file")
        except FileNotFoundError:
            return False

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._root + path)


_CREATING = threading.Lock()


class Files:
    """Files below one fsspec URL (a local folder, file://, memory://, s3://bucket/prefix, ...), by relative path.

    Every operation raises StoreError, with advice, where the store refuses or cannot be reached.
    """

    def __init__(self, url: str) -> None:
        local = _local_root(url)
        self.url = local or url.rstrip("/")
        self._is_local = local is not None
        try:
            self._backend: _Backend = _Local(local) if local is not None else _Remote(self.url)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{url!r} is not the URL of a store: {error}. Use a folder, or a URL such as s3://bucket/prefix."
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return Files, (self.url,)

    def __repr__(self) -> str:
        return f"Files({self.url!r})"

    @property
    def shared(self) -> bool:
        """Whether other processes see the same files."""
        return not self.url.startswith("memory:")

    def write(self, path: str, data: bytes) -> None:
        """Write a file, replacing what was there."""
        with self._explained("write", path):
            self._backend.write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file unless it is there already; whether it was we who wrote it."""
        with self._explained("write", path):
            return self._backend.create(path, data)

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError if there is no such file."""
        with self._explained("read", path, may_be_absent=True):
            return self._backend.read(path)

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Several files, concurrently where that helps. Raises FileNotFoundError if one is not there."""
        paths = list(dict.fromkeys(paths))
        return dict(zip(paths, self.each(self.read, paths), strict=True))

    def write_many(self, contents: Mapping[str, bytes]) -> None:
        self.each(lambda item: self.write(*item), contents.items())

    def each(self, do: Callable[[Any], T], items: Iterable[Any]) -> Sequence[T]:
        """`do` of every item, in order of the items; concurrently where requests have to travel."""
        items = list(items)
        if self._is_local or not self.shared or len(items) < 2:
            return [do(item) for item in items]
        with ThreadPoolExecutor(min(_REMOTE_THREADS, len(items)), "flor-files") as pool:
            return list(pool.map(do, items))

    def list(self, prefix: str = "") -> Paths:
        """Relative paths of all files in the folder `prefix` and below, sorted; none if it is not there."""
        with self._explained("list", prefix):
            return self._backend.list(prefix)

    def exists(self, path: str) -> bool:
        with self._explained("read", path):
            return self._backend.exists(path)

    def delete(self, path: str) -> None:
        """Delete a file; it is fine if there is none."""
        with self._explained("delete", path):
            self._backend.delete(path)

    @contextlib.contextmanager
    def _explained(self, verb: str, path: str, may_be_absent: bool = False) -> Iterator[None]:
        try:
            yield
        except FlorError:
            raise
        except Exception as error:
            if may_be_absent and isinstance(error, FileNotFoundError) and not _is_bucket_missing(error):
                raise
            seen = f"Cannot {verb} {path or 'files'} in {self.url}: {type(error).__name__}: {error}."
            raise StoreError(f"{seen} {_advice(error)}") from error


def _local_root(url: str) -> str | None:
    """The absolute folder that `url` names, None if it is not a local one."""
    for scheme in ("file://", "local://"):
        if url.startswith(scheme):
            return os.path.abspath(url.removeprefix(scheme))
    if "://" in url or url.startswith("memory:"):
        return None
    return str(Path(url).expanduser().absolute())


def _is_bucket_missing(error: BaseException) -> bool:
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") == "NoSuchBucket" or "bucket does not exist" in str(error)


def _advice(error: Exception) -> str:
    if _is_bucket_missing(error):
        return "Create the bucket, or check the store's URL."
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return "Check that you may read and write there (owner and mode of the folder, or the S3 credentials)."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, or choose another store."
    return "Check that the store's URL is right and that it can be reached from here (network, AWS_ENDPOINT_URL)."


class Objects:
    """Blobs under their blake3 hash: equal bytes are kept once, and what is read is what was written.

    Deduplication trusts what this instance has seen; tell `delete` when objects go.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._seen: set[str] = set()  # single set operations are atomic, so no lock

    def put(self, data: bytes) -> str:
        """Store a blob, if it is not there yet, and return its key."""
        key = blake3.blake3(data).hexdigest()
        if key not in self._seen:
            if not self._files.exists(_path(key)):
                self._files.write(_path(key), data)
            self._seen.add(key)
        return key

    def put_many(self, blobs: Iterable[bytes]) -> list[str]:
        """Keys of several blobs, in order."""
        return list(self._files.each(self.put, blobs))

    def get(self, key: str) -> bytes:
        """Raises ObjectMissing, or ObjectCorrupt where the bytes do not have the hash in their name."""
        try:
            data = self._files.read(_path(key))
        except FileNotFoundError:
            raise ObjectMissing(key, self._files.url) from None
        seen = blake3.blake3(data).hexdigest()
        if seen != key:
            raise ObjectCorrupt(key, seen)
        return data

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        keys = list(dict.fromkeys(keys))
        return dict(zip(keys, self._files.each(self.get, keys), strict=True))

    def exists(self, key: str) -> bool:
        return self._files.exists(_path(key))

    def delete(self, key: str) -> None:
        self._seen.discard(key)
        self._files.delete(_path(key))


def _path(key: str) -> str:
    return f"objects/{key[:2]}/{key[2:]}"

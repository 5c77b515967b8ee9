"""Files below one URL, on local disks and in object stores alike; the ground on which objects and tables stand.

Promises, on local disks, `memory://` and S3-like stores:
- a file becomes visible whole or not at all, and a failed or killed write leaves nothing that a listing shows;
- `create` has one winner among any number of processes. Servers that ignore If-None-Match keep that promise only while
  the calls do not overlap (`create_only` says which kind it is);
- a listing and a read see what was written before they began;
- any number of threads and processes may use one store;
- passing failures of a server are outlasted for some seconds (`remote` has the figures), or for as long as there is
  patience (`outages`); refusals are not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import types
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from flor_ray.errors import FlorError, FlorWarning, StoreAway, StoreError
from flor_ray.store.backend import Backend, Data, FileInfo, Paths
from flor_ray.store.local import LocalFiles
from flor_ray.store.outages import Patience, is_outage
from flor_ray.store.remote import is_bucket_missing, open_remote
from flor_ray.wording import ended

__all__ = ["Data", "FileInfo", "Files"]

T = TypeVar("T")

_CHANGES = frozenset({"write", "delete"})
_REMOTE_THREADS = 16  # requests in flight: enough to hide 20 ms round trips, few enough for a small MinIO


class Files:
    """Files below one fsspec URL (a local folder, file://, memory://, s3://bucket/prefix, ...), by relative path.

    Every operation raises StoreError, with advice, where the store refuses or cannot be reached. `account` has
    variables that this process's environment lacks, and by which the store's server is reached. Without `patience`,
    what cannot be done because the server is away fails at once, with StoreAway. Where they are `read_only`, whatever
    would change them is a StoreError.
    """

    def __init__(
        self,
        url: str,
        create_only: bool | None = None,
        account: Mapping[str, str] = types.MappingProxyType({}),
        patience: Patience | None = None,
        read_only: bool = False,
    ) -> None:
        local = _local_root(url)
        self.patience, self.read_only = patience, read_only
        self.url = local or url.rstrip("/")
        self._warned = False
        try:
            self._backend: Backend = LocalFiles(local) if local is not None else open_remote(self.url, account)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"{url!r} is not the URL of a store: {ended(str(error))} Use a folder, or a URL such as s3://bucket/prefix."
            ) from error
        self.create_only = create_only

    def __reduce__(self) -> tuple[Any, ...]:
        return Files, (self.url, self.create_only, {}, None, self.read_only)

    def __repr__(self) -> str:
        return f"Files({self.url!r})"

    def impatient(self) -> Files:
        """These files, for who would rather be told at once that they are away. Shares its connections."""
        found = object.__new__(Files)
        vars(found).update(vars(self), patience=None)
        return found

    @contextlib.contextmanager
    def outlasting(self, patience: Patience) -> Iterator[None]:
        """Meanwhile a server that is away is waited for."""
        before, self.patience = self.patience, patience
        try:
            yield
        finally:
            self.patience = before

    @property
    def shared(self) -> bool:
        """Whether other processes see the same files."""
        return not self.url.startswith("memory:")

    @property
    def remote(self) -> bool:
        """Whether requests have to travel."""
        return self.shared and not isinstance(self._backend, LocalFiles)

    @property
    def create_only(self) -> bool | None:
        """Whether `create` has one winner even if calls overlap; None if nobody has probed or told yet.

        It is settled for local disks and memory. For others, setting it to what `probe_create` once found saves
        `create` a request.
        """
        return self._backend.create_only

    @create_only.setter
    def create_only(self, known: bool | None) -> None:
        if self.remote and known is not None:
            self._backend.create_only = known

    def probe_create(self) -> bool:
        """Find out, and remember as `create_only`, whether the server honours If-None-Match: three small requests."""
        return self._do("write", "a probe", self._backend.probe_create)

    def write(self, path: str, data: Data) -> None:
        """Write a file, replacing what was there."""
        self._do("write", path, lambda: self._backend.write(path, data))

    def create(self, path: str, data: Data) -> bool:
        """Write a file unless it is there already; whether it was we who wrote it.

        If the answer of a server is lost, a repeated request finds what the first one wrote: False then means that the
        file is there, and who wrote it is told by what is in it.
        """
        if self.create_only is False and not self._warned:
            self._warned = True
            warnings.warn(
                f"The server of {self.url} ignores If-None-Match, by which one of several writers wins. Manifests are "
                "looked for before they are written instead: if two processes write the same one within milliseconds, "
                "the later one replaces the other's. Use a server that honours it if several machines share the store.",
                FlorWarning,
                stacklevel=2,
            )
        return self._do("write", path, lambda: self._backend.create(path, data))

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError if there is no such file."""
        return self._do("read", path, lambda: self._backend.read(path), may_be_absent=True)

    def read_end(self, path: str, most: int) -> bytes:
        """The last bytes of a file, at most so many. Raises FileNotFoundError if there is no such file."""
        return self._do("read", path, lambda: self._backend.read_end(path, most), may_be_absent=True)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Some bytes of a file; fewer where it ends. Raises FileNotFoundError if there is no such file."""
        return self._do("read", path, lambda: self._backend.read_range(path, start, length), may_be_absent=True)

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Several files, concurrently where that helps. Raises FileNotFoundError if one is not there."""
        paths = list(dict.fromkeys(paths))
        return dict(zip(paths, self.each(self.read, paths), strict=True))

    def fetch(self, path: str, target: str) -> None:
        """Copy a file to a path of this machine. Raises FileNotFoundError if it is not there."""
        self._do("read", path, lambda: self._backend.fetch(path, target), may_be_absent=True)

    def each(self, do: Callable[[Any], T], items: Iterable[Any]) -> Sequence[T]:
        """`do` of every item, in order of the items; concurrently where requests have to travel."""
        items = list(items)
        if not self.remote or len(items) < 2 or _ends():
            return [do(item) for item in items]
        with ThreadPoolExecutor(min(_REMOTE_THREADS, len(items)), "flor-files") as pool:
            return list(pool.map(do, items))

    def list(self, prefix: str = "") -> Paths:
        """Relative paths of all files in the folder `prefix` and below, sorted; none if it is not there."""
        return self._do("list", prefix, lambda: self._backend.list(prefix))

    def folders(self, prefix: str = "") -> Paths:
        """Names of the folders right in a folder that hold files, sorted, without listing these files."""
        return self._do("list", prefix, lambda: self._backend.folders(prefix))

    def prune(self, prefix: str) -> None:
        """Remove the empty folders in a folder: listings look into each. Others may write into them meanwhile."""
        self._do("delete", prefix, lambda: self._backend.prune(prefix))

    def infos(self, prefix: str = "") -> dict[str, FileInfo]:
        """Sizes and ages of what `list` lists, by path, sorted; one listing, no request per file.

        Raises:
            StoreError: also where the file system does not say when its files were written.
        """
        return self._do("list", prefix, lambda: self._backend.infos(prefix))

    def modified(self, path: str) -> float | None:
        """Unix seconds of a file's last write or touch; None if there is no such file."""
        return self._do("read", path, lambda: self._backend.modified(path))

    def now(self) -> float:
        """Unix seconds by the clock that dates files here: the server's, where there is one. Writes a file for it."""
        path = f"probe/{uuid.uuid4().hex}"
        self.write(path, b"")
        try:
            dated = self.modified(path)
        finally:
            self.delete(path)
        if dated is None:
            raise StoreError(
                f"Cannot find in {self.url} what has just been written there. Check what deletes its files."
            )
        return dated

    def exists(self, path: str) -> bool:
        return self.modified(path) is not None

    def touch(self, path: str, data: Data) -> None:
        """Make a file as young as if it were written now. `data` is what it holds: where a file's age cannot be set,
        and where the file is gone, it is written again."""
        self._do("write", path, lambda: self._backend.touch(path, data))

    def delete(self, path: str) -> None:
        """Delete a file; it is fine if there is none."""
        self._do("delete", path, lambda: self._backend.delete(path))

    def sweep(self, before: float) -> int:
        """Delete what killed writers left of files that never appeared, if they began before these unix seconds.

        Returns how many: temporary files of a folder, unfinished uploads in parts of an S3 bucket.
        """
        return self._do("delete", "unfinished files", lambda: self._backend.sweep(before))

    def _do(self, verb: str, path: str, do: Callable[[], T], may_be_absent: bool = False) -> T:
        if self.read_only and verb in _CHANGES:
            raise StoreError(f"{self.url} was opened for reading only: {path or 'its files'} cannot be changed here.")

        def tried() -> T:
            return self._explained(verb, path, do, may_be_absent)

        return tried() if self.patience is None else self.patience.outlast(tried)

    def _explained(self, verb: str, path: str, do: Callable[[], T], may_be_absent: bool) -> T:
        try:
            return do()
        except FlorError:
            raise
        except Exception as error:
            if may_be_absent and isinstance(error, FileNotFoundError) and not is_bucket_missing(error):
                raise
            seen = f"Cannot {verb} {path or 'files'} in {self.url}: {type(error).__name__}: {ended(str(error))}"
            kind = StoreAway if is_outage(error) else StoreError
            raise kind(f"{seen} {_advice(error)}") from error


def _ends() -> bool:
    """Whether Python is ending, and lets nobody start threads: a run that ends with its script is written then."""
    return not threading.main_thread().is_alive()


def _local_root(url: str) -> str | None:
    """The absolute folder that `url` names, None if it is not a local one."""
    for scheme in ("file://", "local://"):
        if url.startswith(scheme):
            return os.path.abspath(url.removeprefix(scheme))
    if "://" in url or url.startswith("memory:"):
        return None
    return str(Path(url).expanduser().absolute())


def _advice(error: Exception) -> str:
    if is_bucket_missing(error):
        return "Create the bucket, or check the store's URL."
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return "Check that you may read and write there (owner and mode of the folder, or the S3 credentials)."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: free some space, or choose another store."
    return "Check that the store's URL is right and that it can be reached from here (network, AWS_ENDPOINT_URL)."

"""The fsspec door: files of object stores (S3 first of all), of memory:// and of every other fsspec file system.

What a failing server costs, with S3: an operation gives up after three tries of each request, with a random pause
before each repetition. Measured: 1 to 3 s where connections are refused, 13 to 15 s where they are never answered, 31 s
where the server takes requests and says nothing, 33 s where it stops in the middle of an upload. A failing upload of a
large file also takes back its parts, which may double that. Whoever has more patience repeats the operation.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import random
import socket
import threading
import time
import types
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from flor_ray.store.backend import Data, FileInfo, Paths

_S3 = ("s3://", "s3a://")

# botocore repeats requests that fail with 500, 502, 503, 504, SlowDown, RequestTimeout, or without an answer; refusals
# (403, 404) it does not. s3fs' own five repetitions around that are switched off: they would multiply.
_TRIES = 3
_CONNECT_SECONDS = 4.0  # across the world is 0.3 s; the kernel sends a lost SYN again after 1 s and 3 s
_SILENCE_SECONDS = 10.0  # between two packets, or from the last byte of a request to the first one of its answer
_STALL_SECONDS = 5.0  # of an upload of which nothing is taken; the kernel, whose looks get rarer, says so after 6 to 13
_READS = 3  # of a file whose transfer broke off half way, which botocore does not repeat
_CONNECTIONS = 64  # four parts of each of the 16 files that `Files` moves at once

# S3 wants parts of 5 MiB at least, and 10,000 at most: 16 MiB allow objects of 156 GiB. With four at once, 150 MiB took
# 3.4 s to a radosgw on the same two cores, and 130 MiB of memory beside the object.
PART_BYTES = 16 << 20
_PARTS_AT_ONCE = 4

_CONFLICTS = 20  # tries of a create-only write while another one is under way, and the pause between them
_CONFLICT_SECONDS = 0.25

_BROKEN_OFF = {"ClientPayloadError", "IncompleteRead", "IncompleteReadError", "ResponseStreamingError"}
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")  # S3, Azure, SFTP, Google, ...
_CREATING = threading.Lock()
_CHANCE = random.Random()
_DRAWING = ("aiohttp.connector", "botocore.utils", "botocore.retryhandler", "botocore.retries.standard")


def open_remote(url: str, account: Mapping[str, str] = types.MappingProxyType({})) -> RemoteFiles:
    """The `Backend` of a URL; `account` as in `Files`. Raises ValueError or ImportError if fsspec has no file system
    for it."""
    return S3Files(url, account) if url.startswith(_S3) else RemoteFiles(url, account)


class RemoteFiles:
    """Any fsspec file system. Its clients must not cross a fork, so they are made again in a child process."""

    def __init__(self, url: str, account: Mapping[str, str] = types.MappingProxyType({})) -> None:
        self._url = url
        self._account = account
        self.create_only: bool | None = True if url.startswith("memory:") else None
        self._reconnect()

    def _reconnect(self) -> None:
        with _lent(self._account):
            self._connect()

    def _connect(self) -> None:
        import fsspec.core  # local stores never need it

        self._pid = os.getpid()
        self._system, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, **self._options())
        self._root = str(root).rstrip("/") + "/"

    def _options(self) -> dict[str, Any]:
        return {}

    @property
    def _fs(self) -> Any:
        if self._pid != os.getpid():
            self._reconnect()
        return self._system

    def write(self, path: str, data: Data) -> None:
        self._put(path, data, "overwrite")

    def _put(self, path: str, data: Data, mode: str) -> None:
        self._fs.pipe_file(self._root + path, bytes(data), mode=mode)

    def create(self, path: str, data: Data) -> bool:
        with _CREATING:  # memory:// checks and writes in two steps
            if self.modified(path) is not None:
                return False
            if self.create_only is False:
                self.write(path, data)
                return True
            return self._create(path, data)

    def _create(self, path: str, data: Data) -> bool:
        """The conditional write alone; on servers that ignore the condition it always wins."""
        for _ in range(_CONFLICTS):
            try:
                self._put(path, data, "create")
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno == errno.ENOSYS and self.create_only is None:  # the server knows no If-None-Match
                    self.write(path, data)
                elif error.errno in (errno.EINVAL, errno.EBUSY, errno.EIO) and self.modified(path) is not None:
                    return False
                elif _code(error) == "ConditionalRequestConflict":  # another writer, not done yet
                    time.sleep(_CONFLICT_SECONDS)
                    continue
                else:
                    raise
            return True
        raise OSError(errno.EBUSY, f"other writers of {path} were in the way {_CONFLICTS} times")

    def probe_create(self) -> bool:
        if self.create_only is None:
            path = f"probe/{uuid.uuid4().hex}"
            try:
                self.create_only = self._create(path, b"first") and not self._create(path, b"second")
            finally:
                self.delete(path)
        return self.create_only

    def read(self, path: str) -> bytes:
        return self._read(path, None)

    def read_end(self, path: str, most: int) -> bytes:
        try:
            return self._read(path, -most)[-most:]  # some servers send all of it
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return self.read(path)[-most:]  # of nothing, some servers have no end

    def read_range(self, path: str, start: int, length: int) -> bytes:
        return self._read(path, start, start + length) if length > 0 else b""

    def _read(self, path: str, start: int | None, end: int | None = None) -> bytes:
        for _ in range(_READS - 1):
            try:
                return bytes(self._fs.cat_file(self._root + path, start=start, end=end))
            except Exception as error:
                if type(error).__name__ not in _BROKEN_OFF:
                    raise
        return bytes(self._fs.cat_file(self._root + path, start=start, end=end))

    def fetch(self, path: str, target: str) -> None:
        self._fs.get_file(self._root + path, target)

    def list(self, prefix: str) -> Paths:
        return sorted(self._find(prefix))

    def folders(self, prefix: str) -> Paths:
        folder = self._root + (prefix.strip("/") + "/" if prefix.strip("/") else "")
        try:
            found = self._fs.ls(folder.rstrip("/"), detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return []
        return sorted(one["name"].rstrip("/").rpartition("/")[2] for one in found if one["type"] == "directory")

    def prune(self, prefix: str) -> None:
        pass  # object stores have no folders; other file systems keep theirs, which costs them a look each

    def infos(self, prefix: str) -> dict[str, FileInfo]:
        found = sorted(self._find(prefix).items())
        return {path: FileInfo(int(info["size"]), _modified(path, info)) for path, info in found}

    def _find(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        folder = self._root + (prefix.strip("/") + "/" if prefix.strip("/") else "")
        try:
            found = self._fs.find(folder.rstrip("/"), detail=True)
        except FileNotFoundError as error:
            if is_bucket_missing(error):
                raise
            return {}
        return {path.removeprefix(self._root): info for path, info in found.items() if path.startswith(folder)}

    def modified(self, path: str) -> float | None:
        try:  # isfile would take an unreachable server for an absence
            info = self._fs.info(self._root + path)
        except FileNotFoundError:
            return None
        return _modified(path, info) if info["type"] == "file" else None

    def touch(self, path: str, data: Data) -> None:
        self.write(path, data)  # object stores date a file by its last write and by nothing else

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._root + path)

    def sweep(self, before: float) -> int:
        return 0  # what a file system of this kind does with half of a file is its own affair


class S3Files(RemoteFiles):
    """Amazon's S3 and servers that speak its language. Large files travel in parts, and appear when all are there."""

    def _options(self) -> dict[str, Any]:
        import fsspec.config

        retries: dict[str, Any] = {}
        if "AWS_RETRY_MODE" not in os.environ:
            retries["mode"] = "standard"
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = _TRIES
        checks = {
            # Objects carry a better checksum in their name, and servers of before 2025 do not know these.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        ours = {
            "retries": retries,
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _SILENCE_SECONDS,
            "max_pool_connections": _CONNECTIONS,
            "connector_args": {"socket_factory": _impatient_socket},
            **{name: value for name, value in checks.items() if f"AWS_{name.upper()}" not in os.environ},
        }
        theirs = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})  # from ~/.config/fsspec or FSSPEC_S3_*
        return {
            "session": _session(os.getpid()),
            "config_kwargs": ours | theirs,
            "default_block_size": PART_BYTES,
            "max_concurrency": _PARTS_AT_ONCE,
        }

    def _connect(self) -> None:
        _draw_elsewhere()
        super()._connect()
        self._system.retries = 1  # see _TRIES; our options make the instance ours alone
        if self._account:
            self._system.connect()  # now: it takes its keys from the environment when it first needs them

    def _put(self, path: str, data: Data, mode: str) -> None:
        if memoryview(data).nbytes >= 2 * PART_BYTES:
            payload: bytes | _Slices = data if isinstance(data, bytes) else _Slices(data)
        else:
            payload = bytes(data)
        self._fs.pipe_file(self._root + path, payload, chunksize=PART_BYTES, mode=mode)

    def create(self, path: str, data: Data) -> bool:
        return self._create(path, data) if self.create_only else super().create(path, data)

    def modified(self, path: str) -> float | None:
        bucket, key, _ = self._fs.split_path(self._root + path)
        try:  # info() would also look for a folder of that name, with a second request for each new file
            head = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return None
        return _modified(path, head)

    def sweep(self, before: float) -> int:
        bucket, prefix, _ = self._fs.split_path(self._root)
        swept, more = 0, {"Prefix": prefix.rstrip("/") + "/" if prefix else ""}
        while True:
            page = self._fs.call_s3("list_multipart_uploads", Bucket=bucket, **more)
            for upload in page.get("Uploads", []):
                if _modified(upload["Key"], {"updated": upload["Initiated"]}) < before:
                    with contextlib.suppress(FileNotFoundError):  # ended meanwhile
                        name = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                        self._fs.call_s3("abort_multipart_upload", Bucket=bucket, **name)
                        swept += 1
            if not page.get("IsTruncated"):
                return swept
            more |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


class _Slices:
    """A buffer as s3fs needs it for an upload in parts: it takes slices, which botocore wants as bytes."""

    def __init__(self, data: bytearray | memoryview) -> None:
        self._bytes = memoryview(data).cast("B")

    def __len__(self) -> int:
        return len(self._bytes)

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self._bytes[part])


@contextlib.contextmanager
def _lent(variables: Mapping[str, str]) -> Iterator[None]:
    """Meanwhile, this process's environment has these variables too."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@functools.cache
def _draw_elsewhere() -> None:
    """Clients draw the lengths of their pauses from a generator of their own. That of `random` is the script's: a slow
    server would change what a script draws next, when it is recorded and when it is replayed."""
    modules = [importlib.import_module(name) for name in _DRAWING]
    for module in modules:
        vars(module)["random"] = _CHANCE
    begins = modules[-1].ExponentialBackoff.__init__
    begins.__defaults__ = tuple(_CHANCE.random if one == random.random else one for one in begins.__defaults__)


@functools.cache
def _session(pid: int) -> Any:
    """What S3 clients of this process are made from; one, so that equal stores share their connections."""
    from aiobotocore.session import AioSession

    made = AioSession()
    made.register("before-call.s3", _without_expectation)
    return made


def _without_expectation(params: dict[str, Any], **_: object) -> None:
    # A client that asks whether it may send ("Expect: 100-continue") waits for the answer without any limit: a server
    # that accepts connections and says nothing would hold a writer for ever.
    params["headers"].pop("Expect", None)


def _impatient_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices a server which vanishes during an upload; the kernel alone would try for 15 minutes."""
    made = socket.socket(*address[:3])
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_STALL_SECONDS * 1000))
    return made


def _modified(path: str, info: Mapping[str, Any]) -> float:
    for name in _MODIFIED:
        when = info.get(name)
        if isinstance(when, str):
            when = datetime.fromisoformat(when)
        if isinstance(when, datetime):
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        if isinstance(when, int | float):
            return float(when)
    raise OSError(errno.ENOTSUP, f"the file system does not say when {path} was written (it says {', '.join(info)})")


def is_bucket_missing(error: BaseException) -> bool:
    return _code(error) == "NoSuchBucket" or "bucket does not exist" in str(error)


def _code(error: BaseException) -> str | None:
    """S3's own name of an error."""
    response = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return None if code is None else str(code)

"""What only object stores can do to us: failing, refusing, hanging and half-finished requests, and uploads in parts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import s3fs

from flor_ray.errors import FlorWarning, StoreError
from flor_ray.store import remote
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects
from flor_ray.store.remote import PART_BYTES
from flor_ray.store.store import Store
from tests.s3_servers import Answer, Proxy, Request

LARGE = bytes(range(256)) * (PART_BYTES * 5 // 2 // 256)  # three parts


@pytest.fixture(autouse=True)
def fresh_clients(bucket: str) -> Iterator[None]:
    """Clients are kept by fsspec, with the endpoint that they were made for."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Request], Answer | None]], Proxy]]:
    """Puts a proxy that meddles with requests between us and the server."""
    with contextlib.ExitStack() as stack:

        def make(meddle: Callable[[Request], Answer | None]) -> Proxy:
            proxy = stack.enter_context(Proxy(os.environ["AWS_ENDPOINT_URL"], meddle))
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            return proxy

        yield make


def failing(answers: list[Answer]) -> Callable[[Request], Answer | None]:
    return lambda request: answers.pop(0) if answers else None


def error(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


def test_a_missing_bucket_is_said_to_be_missing(bucket: str) -> None:
    files = Files("s3://no-such-bucket/store")
    operations: tuple[Callable[[], object], ...] = (
        lambda: files.write("a", b"1"),
        lambda: files.create("a", b"1"),
        lambda: files.read("a"),
        files.list,
    )
    for operation in operations:
        with pytest.raises(StoreError, match=r"s3://no-such-bucket/store.*Create the bucket"):
            operation()


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (504, "GatewayTimeout"), (400, "RequestTimeout")],
)
def test_passing_failures_are_outlasted(url: str, behind: Callable[..., Proxy], status: int, code: str) -> None:
    proxy = behind(failing([error(status, code), error(status, code)]))
    files = Files(url)
    files.write("a", b"1")
    assert [request.method for request in proxy.seen] == ["PUT", "PUT", "PUT"]
    assert files.read("a") == b"1"


def test_refusals_are_not_repeated(url: str, behind: Callable[..., Proxy]) -> None:
    proxy = behind(lambda request: error(403, "AccessDenied"))
    with pytest.raises(StoreError, match="Check that you may read and write there"):
        Files(url).write("a", b"1")
    assert len(proxy.seen) == 1


def test_a_missing_bucket_is_not_asked_for_again(behind: Callable[..., Proxy]) -> None:
    proxy = behind(lambda request: None)
    with pytest.raises(StoreError, match="Create the bucket"):
        Files("s3://no-such-bucket/store").write("a", b"1")
    assert len(proxy.seen) == 1


def test_a_transfer_that_breaks_off_is_begun_again(url: str, behind: Callable[..., Proxy]) -> None:
    Files(url).write("a", b"12345")
    s3fs.S3FileSystem.clear_instance_cache()
    cuts = [Answer(200, b"12", cut=True), Answer(200, b"123", cut=True)]
    behind(lambda request: cuts.pop() if request.method == "GET" and cuts else None)
    assert Files(url).read("a") == b"12345"
    assert cuts == []


def test_a_server_that_is_gone_is_a_store_error_within_seconds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    files = Files(url)
    operations: dict[str, Callable[[], object]] = {
        "write": lambda: files.write("a", b"1"),
        "create": lambda: files.create("a", b"1"),
        "read": lambda: files.read("a"),
        "list": files.list,
        "infos": files.infos,
        "exists": lambda: files.exists("a"),
        "delete": lambda: files.delete("a"),
    }
    for operation in operations.values():
        begun = time.monotonic()
        with pytest.raises(StoreError, match=rf"{url}.*can be reached"):
            operation()
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize("megabytes", [0, 20])
def test_a_server_that_accepts_and_says_nothing_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    monkeypatch.setattr(remote, "_SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(remote, "_STALL_SECONDS", 1.0)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # a request, not its repetitions, is what could last for ever
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept())

        threading.Thread(target=accept, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(StoreError, match="can be reached"):
            Files(url).write("a", bytes(megabytes << 20))
        assert time.monotonic() - begun < 15


# --- create ---------------------------------------------------------------------------------------------------------


def test_a_new_store_probes_once_and_every_later_manifest_is_one_request(
    url: str, behind: Callable[..., Proxy]
) -> None:
    proxy = behind(lambda request: None)
    Store(url).beat("digits", "a" * 40, 1.0)
    assert json.loads(Files(url).read("format.json"))["create_only"] is True
    assert Files(url).list("probe") == []
    store = Store(url)
    del proxy.seen[:]
    store.beat("digits", "a" * 40, 2.0)
    assert [store.files.create("manifest", b"1"), store.files.create("manifest", b"2")] == [True, False]
    asked = [request.method for request in proxy.seen]
    assert asked[:3] == ["PUT", "PUT", "PUT"]
    assert asked[3:] in ([], ["HEAD"])  # who lost looks whether the file is there, if the server gives no clear reason


def ignoring(request: Request) -> Answer | None:
    request.headers.pop("if-none-match", None)
    return None


def not_implementing(request: Request) -> Answer | None:
    return error(501, "NotImplemented") if "if-none-match" in request.headers else None


@pytest.mark.parametrize("meddle", [ignoring, not_implementing])
def test_a_server_without_create_only_writes_is_found_out_and_said_so(
    url: str, behind: Callable[..., Proxy], pytestconfig: pytest.Config, meddle: Callable[[Request], Answer | None]
) -> None:
    if pytestconfig.getoption("--s3") == "radosgw" and meddle is ignoring:
        pytest.skip("radosgw checks signatures, so that no header can be taken away")
    behind(meddle)
    with pytest.warns(FlorWarning, match="ignores If-None-Match"):
        Store(url).beat("digits", "a" * 40, 1.0)
    assert json.loads(Files(url).read("format.json"))["create_only"] is False
    files = Store(url).files
    with pytest.warns(FlorWarning, match=r"ignores If-None-Match.*the later one replaces the other's"):
        assert files.create("manifest", b"first") is True
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert files.create("manifest", b"second") is False
    assert files.read("manifest") == b"first"


def test_a_store_whose_format_does_not_say_still_has_one_winner(url: str) -> None:
    files = Files(url)
    assert files.create_only is None
    assert [files.create("manifest", b"1"), files.create("manifest", b"2")] == [True, False]
    assert files.read("manifest") == b"1"


# --- large objects --------------------------------------------------------------------------------------------------


def test_a_large_object_travels_in_parts_and_arrives_whole(url: str, behind: Callable[..., Proxy]) -> None:
    proxy = behind(lambda request: None)
    objects = Objects(Files(url))
    key = objects.put(memoryview(LARGE))
    sent = [len(request.body) for request in proxy.seen if "partNumber=" in request.path]
    assert sorted(sent) == [PART_BYTES // 2, PART_BYTES, PART_BYTES]
    assert objects.get(key) == LARGE


def test_a_large_upload_that_fails_half_way_leaves_nothing(url: str, behind: Callable[..., Proxy]) -> None:
    behind(lambda request: error(403, "AccessDenied") if "partNumber=2" in request.path else None)
    files = Files(url)
    with pytest.raises(StoreError):
        files.write("a", LARGE)
    assert files.list() == []
    assert files.sweep(time.time() + 60) == 0  # no part was left behind either


def test_what_a_killed_upload_left_is_swept_once_it_is_old(url: str, bucket: str) -> None:
    client = boto3.client("s3")
    client.create_multipart_upload(Bucket=bucket, Key=f"{url.rpartition('/')[2]}/a")
    files, soon = Files(url), time.time() + 60
    assert [files.sweep(0.0), files.sweep(soon), files.sweep(soon)] == [0, 1, 0]


def test_a_large_upload_needs_little_memory_beside_the_object(url: str, tmp_path: Path) -> None:
    code = f"""
import resource
from flor_ray.files import Files
from flor_ray.objects import Objects
objects = Objects(Files({url!r}))
objects.put(b"connected")
data = memoryview(bytearray(150 << 20))
data[::4096] = bytes(len(data[::4096]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
objects.put(data)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150  # MiB: less than one copy of the object


# --- the cache ------------------------------------------------------------------------------------------------------


def test_an_object_that_was_read_comes_from_the_cache(
    url: str, behind: Callable[..., Proxy], cache_folder: Path
) -> None:
    proxy = behind(lambda request: None)
    key = Objects(Files(url)).put(b"hello world")
    assert Objects(Files(url)).get(key) == b"hello world"
    del proxy.seen[:]
    assert Objects(Files(url)).get(key) == b"hello world"
    assert proxy.seen == []
    (cached,) = [path for path in cache_folder.rglob("*") if path.is_file() and path.name != ".gitignore"]
    cached.write_bytes(b"hello w")
    assert Objects(Files(url)).get(key) == b"hello world"
    assert cached.read_bytes() == b"hello world"
    assert proxy.seen != []


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FLOR_RAY_CACHE", str(tmp_path / "file"))
    objects = Objects(Files(url))
    key = objects.put(b"hello world")
    assert [objects.get(key), objects.get(key)] == [b"hello world", b"hello world"]

"""A store that is away is waited for, whatever is done with it; what it answers is not."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Iterator

import botocore.exceptions  # type: ignore[import-untyped]
import fsspec.config
import pytest

from flor_ray.errors import StoreAway, StoreError
from flor_ray.store.files import Files
from flor_ray.store.outages import Patience, is_outage
from tests.s3_servers import MotoProcess


def client_error(code: str, status: int) -> BaseException:
    response = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    found: BaseException = botocore.exceptions.ClientError(response, "PutObject")
    return found


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


URL = {"endpoint_url": "http://nowhere", "error": "no"}
AWAY = [
    ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    TimeoutError("no answer"),
    OSError(errno.EHOSTUNREACH, "no route"),
    botocore.exceptions.EndpointConnectionError(**URL),
    botocore.exceptions.ReadTimeoutError(**URL),
    botocore.exceptions.ConnectTimeoutError(**URL),
    botocore.exceptions.ConnectionClosedError(**URL),
    client_error("InternalError", 500),
    client_error("503", 503),
    client_error("SlowDown", 503),
    client_error("TooManyRequests", 429),
    caused(OSError(errno.EREMOTEIO, "We encountered an internal error"), client_error("InternalError", 500)),
    caused(OSError(errno.EBUSY, "Reduce your request rate"), client_error("SlowDown", 503)),
]
ANSWERS = [
    FileNotFoundError("no such key"),
    PermissionError("denied"),
    caused(PermissionError("denied"), client_error("AccessDenied", 403)),
    client_error("AccessDenied", 403),
    client_error("NoSuchKey", 404),
    client_error("NotImplemented", 501),
    botocore.exceptions.NoCredentialsError(),
    botocore.exceptions.SSLError(**URL),
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EINVAL, "invalid"),
    ValueError("what"),
]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_what_may_pass_by_itself_is_an_outage(error: BaseException) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", ANSWERS, ids=repr)
def test_what_is_an_answer_is_none(error: BaseException) -> None:
    assert not is_outage(error)


def failing(times: int, error: Exception) -> Callable[[], int]:
    """Fails so often, then says how often it was asked."""
    asked = 0

    def do() -> int:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise error
        return asked

    return do


def test_patience_repeats_until_the_store_is_back_and_tells_it_once() -> None:
    told: list[StoreAway | None] = []
    away = StoreAway("gone")
    patience = Patience(60.0, told.append)
    assert patience.outlast(failing(2, away)) == 3
    assert told == [away, None]
    assert 1.4 <= patience.waited_seconds < 30
    assert patience.why is None


def test_patience_ends_with_its_time_and_at_once_for_what_is_an_answer() -> None:
    patience = Patience(0.2)
    with pytest.raises(StoreAway, match="gone"):
        patience.outlast(failing(99, StoreAway("gone")))
    refusal = failing(1, StoreError("denied"))
    with pytest.raises(StoreError, match="denied"):
        Patience(60.0).outlast(refusal)
    assert refusal() == 2


def test_who_is_told_to_end_waits_no_longer_and_may_have_patience_again() -> None:
    patience = Patience(60.0)
    threading.Timer(0.2, patience.end).start()
    began = time.monotonic()
    with pytest.raises(StoreAway):
        patience.outlast(failing(99, StoreAway("gone")))
    with pytest.raises(StoreAway):
        patience.outlast(failing(1, StoreAway("gone")))
    assert time.monotonic() - began < 20
    patience.renew()
    assert patience.outlast(failing(1, StoreAway("gone"))) == 2


def test_a_block_that_raises_leaves_no_patience() -> None:
    patience = Patience(60.0)
    with pytest.raises(KeyboardInterrupt), patience:
        raise KeyboardInterrupt
    with pytest.raises(StoreAway):
        patience.outlast(failing(1, StoreAway("gone")))


@pytest.fixture(scope="module")
def server() -> Iterator[MotoProcess]:
    with MotoProcess() as server:
        yield server


@pytest.fixture
def url(server: MotoProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    """In a bucket whose clients take half a second of silence for an outage."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    short = {"connect_timeout": 0.5, "read_timeout": 0.5, "retries": {"total_max_attempts": 1}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": short})
    return f"s3://flor/{time.monotonic_ns()}"


OPERATIONS: dict[str, Callable[[Files], object]] = {
    "write": lambda files: files.write("a/new", b"new"),
    "create": lambda files: files.create("a/created", b"new"),
    "read": lambda files: files.read("a/old"),
    "read many": lambda files: files.read_many(["a/old", "b/old"]),
    "end": lambda files: files.read_end("a/old", 2),
    "list": lambda files: files.list("a"),
    "folders": lambda files: files.folders(),
    "modified": lambda files: files.modified("a/old"),
    "delete": lambda files: files.delete("b/gone"),
}


def test_every_operation_outlasts_a_server_that_falls_silent(server: MotoProcess, url: str) -> None:
    patience = Patience(60.0)
    files = Files(url, patience=patience)
    for path in ("a/old", "b/old", "b/gone"):
        files.write(path, b"old")
    results: dict[str, object] = {}

    def run(name: str) -> None:
        results[name] = OPERATIONS[name](files)

    with server.silent():
        threads = [threading.Thread(target=run, args=(name,)) for name in OPERATIONS]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while patience.why is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(StoreAway, match="Cannot read a/old"):
            files.impatient().read("a/old")
    for thread in threads:
        thread.join(60)
    assert results.keys() == OPERATIONS.keys()
    assert (files.read("a/new"), results["read"], results["end"]) == (b"new", b"old", b"ld")
    assert results["read many"] == {"a/old": b"old", "b/old": b"old"}
    assert {"a/old"} <= {*files.list("a")} == {"a/old", "a/new", "a/created"}
    assert files.list("b") == ["b/old"]
    assert patience.why is None


def test_a_client_that_tries_again_leaves_the_scripts_random_numbers_alone(
    server: MotoProcess, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"connect_timeout": 0.3, "read_timeout": 0.3, "retries": {"mode": "standard", "total_max_attempts": 3}}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": short})
    files = Files(url)
    files.write("a", b"a")
    random.seed(7)
    before = random.getstate()
    with server.silent(), pytest.raises(StoreAway):
        files.read("a")
    assert random.getstate() == before


def test_an_absence_and_a_missing_bucket_are_answers_and_a_server_that_is_gone_is_an_outage(
    server: MotoProcess, url: str
) -> None:
    files = Files(url, patience=Patience(60.0))
    began = time.monotonic()
    with pytest.raises(FileNotFoundError):
        files.read("nothing")
    with pytest.raises(StoreError, match="Create the bucket") as caught:
        Files("s3://another/store", patience=Patience(60.0)).write("a", b"")
    assert not isinstance(caught.value, StoreAway)
    assert time.monotonic() - began < 20
    server.process.kill()  # it is the last test that needs it
    server.process.wait()
    with pytest.raises(StoreAway):
        files.impatient().read("a")

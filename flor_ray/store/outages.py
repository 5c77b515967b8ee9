"""A store that is away: which errors mean that, and for how long one waits for it.

Away is what may pass by itself: nobody answers, or the server says that it cannot serve just now (5xx, 429). A refusal
(403), what is not there (404) and a full disk are answers: nobody waits for another one.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from flor_ray.errors import StoreAway

T = TypeVar("T")

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0  # each pause is twice the one before
_ANSWERS = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)
_ERRNOS = {
    getattr(errno, name)
    for name in (
        *("ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN"),
        *("ENETUNREACH", "ENETDOWN", "ENETRESET", "ENOTCONN", "ESTALE"),
    )
    if hasattr(errno, name)
}
# Of botocore, aiohttp, requests and urllib3: the names of their classes, so that nothing of them is imported here.
_UNANSWERED = {
    *("HTTPClientError", "ClientConnectionError", "ClientPayloadError", "IncompleteRead", "IncompleteReadError"),
    *("ConnectionError", "ProtocolError", "NewConnectionError", "ServiceRequestError", "ServiceResponseError"),
}
_UNTRUSTED = {
    "SSLError",
    "ClientSSLError",
    "ServerFingerprintMismatch",
}  # a certificate does not become right by waiting
_TOO_BUSY = {"SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "Throttling", "ThrottlingException"}
_MOST_CAUSES = 5


def is_outage(error: BaseException) -> bool:
    """Whether an error of a file system or a client library means that its store is away."""
    one: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if one is None or isinstance(one, _ANSWERS):
            return False
        kinds = {kind.__name__ for kind in type(one).__mro__}
        if kinds & _UNTRUSTED:
            return False
        if isinstance(one, TimeoutError | ConnectionError) or kinds & _UNANSWERED or _cannot_serve(one):
            return True
        if isinstance(one, OSError) and one.errno in _ERRNOS:
            return True
        one = one.__cause__
    return False


def _cannot_serve(error: BaseException) -> bool:
    """Whether a server has answered that it cannot, just now."""
    response = getattr(error, "response", None)
    status = None
    if isinstance(response, dict):
        if response.get("Error", {}).get("Code") in _TOO_BUSY:
            return True
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for found in (status, *(getattr(error, name, None) for name in ("status", "status_code", "code"))):
        if isinstance(found, int) and (found == 429 or (500 <= found < 600 and found != 501)):
            return True
    return False


class Patience:
    """Repeats what cannot be done while the store is away, for up to so many seconds each. For any number of threads.

    `tell` hears when the first of them begins to wait, with the error, and when the last one has stopped (None).
    """

    def __init__(self, seconds: float, tell: Callable[[StoreAway | None], None] = lambda error: None) -> None:
        self.seconds = seconds
        self._tell = tell
        self._lock = threading.Lock()
        self._waiting = 0  # threads
        self._why: StoreAway | None = None
        self._since = self._waited = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Who was stopped does not wait for a store before it ends."""
        if error is not None:
            self.end()

    def outlast(self, do: Callable[[], T]) -> T:
        """What `do` returns, once it can. Raises its StoreAway when the time is over, and any other error at once."""
        try:
            return do()
        except StoreAway as error:
            if self.seconds <= 0 or self._over.is_set():
                raise
            with self._wait(error):
                return self._repeated(do)

    def _repeated(self, do: Callable[[], T]) -> T:
        end, pause = time.monotonic() + self.seconds, _FIRST_PAUSE_SECONDS
        while True:
            self._over.wait(min(pause, max(0.0, end - time.monotonic())))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                return do()
            except StoreAway:
                if self._over.is_set() or time.monotonic() >= end:
                    raise

    @contextmanager
    def _wait(self, error: StoreAway) -> Iterator[None]:
        with self._lock:
            self._waiting += 1
            if self._waiting == 1:
                self._why, self._since = error, time.monotonic()
                self._tell(error)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._waited += time.monotonic() - self._since
                    self._why = None
                    self._tell(None)

    def end(self) -> None:
        """Nobody waits any more: what is away now fails."""
        self._over.set()

    def renew(self) -> None:
        """After `end`: from now on there is patience again."""
        self._over.clear()

    @property
    def why(self) -> StoreAway | None:
        """The error for which somebody waits now."""
        return self._why

    @property
    def waited_seconds(self) -> float:
        """For which somebody has waited so far."""
        with self._lock:
            return self._waited + (time.monotonic() - self._since if self._waiting else 0.0)

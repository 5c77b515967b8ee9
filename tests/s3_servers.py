"""S3 servers for tests, each from `with` to the end of its block: moto's, and proxies that make a server worse."""

from __future__ import annotations

import contextlib
import http.client
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Moto:
    """The everyday server: Amazon's behaviour in a thread of this process."""

    def __enter__(self) -> Moto:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request would bury a failure's own output
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop()


class MotoProcess:
    """Amazon's behaviour in a process of its own, which can be stopped like a server that falls silent."""

    def __enter__(self) -> MotoProcess:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        try:
            self._make_bucket(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make_bucket(self, port: int) -> None:
        """The bucket "flor", as soon as the server answers."""
        import boto3

        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < until, "moto's server does not answer"
            time.sleep(0.05)
        keys = {name.lower(): value for name, value in self.environment.items() if "KEY" in name}
        url, region = self.environment["AWS_ENDPOINT_URL"], self.environment["AWS_DEFAULT_REGION"]
        boto3.client("s3", endpoint_url=url, region_name=region, **keys).create_bucket(Bucket="flor")

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Meanwhile it takes connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    cut: bool = False  # announce one byte more than there is, then hang up


class Proxy:
    """Passes requests on to a server unless `meddle` answers them itself. `seen` lists all, in order of arrival.

    `meddle` may change a request's headers. Signatures stay as they were: servers that check them will refuse.
    """

    def __init__(self, target: str, meddle: Callable[[Request], Answer | None] = lambda request: None) -> None:
        self.seen: list[Request] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("expect", "").lower() == "100-continue":
                    headers.pop("expect")
                body = self.rfile.read(int(headers.get("content-length", 0)))
                request = Request(self.command, self.path, headers, body)
                proxy.seen.append(request)
                answer = meddle(request)
                if answer is None:
                    self._pass_on(request)
                else:
                    self._answer(answer.status, {"Content-Type": "application/xml"}, answer.body, answer.cut)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def _pass_on(self, request: Request) -> None:
                connection = http.client.HTTPConnection(target.removeprefix("http://"), timeout=60)
                with contextlib.closing(connection):
                    connection.request(request.method, request.path, request.body or None, request.headers)
                    answer = connection.getresponse()
                    self._answer(answer.status, dict(answer.getheaders()), answer.read())

            def _answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
                self.send_response(status)
                hop = {"transfer-encoding", "connection", "content-length"}
                kept = {name: value for name, value in headers.items() if name.lower() not in hop}
                length = next((v for k, v in headers.items() if k.lower() == "content-length"), str(len(body)))
                kept["Content-Length"] = length if self.command == "HEAD" else str(len(body) + cut)
                for name, value in kept.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.close_connection = cut

            def log_message(self, format: str, *arguments: Any) -> None:
                pass  # standard error is for failures

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

"""Whether a Ray cluster can be at an address, found out in seconds and without Ray: what Ray itself does with a wrong
one is to try for half a minute, to write into the terminal what it tries, and to end the process.

Ray's own question, whether the head node is alive and lets this process in, comes after it (`cluster.actors`).
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from flor_ray.errors import ClusterRefused

VARIABLE = "RAY_ADDRESS"
_CONNECT_SECONDS = 4.0  # to a host that is named: one in another network may take a moment
_ANSWER_SECONDS = 4.0
_HERE_SECONDS = 0.5  # to a cluster on this machine
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty settings: how gRPC's clients begin
_SETTINGS = 4  # the type of the frame that its servers begin with

_HOST_AND_PORT = "Give the address of the cluster's head node as host:port, as in 10.0.0.1:6379"


def named() -> str:
    """The address that the user gives; "" for none."""
    return os.environ.get(VARIABLE, "").strip()


def here() -> str:
    """The address of the cluster that runs on this machine, as ray.init finds it; "" if none answers: the file may tell
    of one that is gone."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text().strip()
        socket.create_connection(_host_and_port(address), _HERE_SECONDS).close()
    except (OSError, ValueError):
        return ""
    return address


def check(address: str) -> None:
    """Raises ClusterRefused where no cluster can be."""
    if re.match(r"ray://", address):
        host = address.removeprefix("ray://").rpartition(":")[0] or "10.0.0.1"
        raise ClusterRefused(
            address,
            "it is the address of a Ray Client server, through which replays do not run",
            f"Give the address of the cluster's head node as host:port, as in {host}:6379, on a machine of the cluster",
        )
    try:
        host, port = _host_and_port(address)
    except ValueError as error:
        raise ClusterRefused(address, f"{error}", _HOST_AND_PORT) from None
    try:
        with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            answer = b"" if _encrypted() else _answer(connection)
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", "it is no name of a host")
        raise ClusterRefused(address, f"the host {host!r} is not known ({why})", _HOST_AND_PORT) from None
    except OSError as error:
        why = "nothing answered in time" if isinstance(error, TimeoutError) else f"{error.strerror or error}".lower()
        raise ClusterRefused(
            address, f"it cannot be reached ({why})", "Start the cluster (`ray start --head`), or correct the address"
        ) from None
    if answer.startswith((b"HTTP/", b"<")):
        raise ClusterRefused(
            address, "a web server answers there, which may be the cluster's dashboard", _HOST_AND_PORT
        )
    if not _encrypted() and (len(answer) < 9 or answer[3] != _SETTINGS):
        raise ClusterRefused(address, "what answers there is no Ray cluster", _HOST_AND_PORT)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise ValueError("it is no host:port")
    return host.strip("[]"), int(port)


def _encrypted() -> bool:
    """Whether Ray's connections are, so that no plain word is answered."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _answer(connection: socket.socket) -> bytes:
    """The first bytes that a server says when gRPC's clients begin; b"" for none."""
    connection.sendall(_PREFACE)
    found = b""
    while len(found) < 9:
        try:
            more = connection.recv(64)
        except OSError:  # it is silent, or has hung up
            break
        if not more:
            break
        found += more
    return found
